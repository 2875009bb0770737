/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * demand: scans that people ask for, over the scan socket (include/holdfast/control.h).
 *
 * Everybody may connect, so everything is bounded: connections, those of one user, files under way
 * on each. A client that breaks the protocol or does not take its verdicts loses its connection,
 * and what it asked for is forgotten. Whoever passes a descriptor open for reading may read the
 * file: nobody is told anything about a file that he may not read.
 */
#include "gate.h"

struct demand;

/* demand_new() serves the listening socket fd, which it takes. NULL: out of memory, fd stays open.
 */
struct demand *demand_new(sd_event *event, int fd, struct gate *gate);

/* demand_free() takes NULL and returns NULL. */
struct demand *demand_free(struct demand *demand);

/* demand_denied() notes why a process was refused to open a file, in case that it asks. Takes NULL.
 */
void demand_denied(struct demand *demand, int32_t pid, struct file_id id,
		   const struct wire_verdict *verdict);
