/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * demand: scans that people ask for. The porter announces its clients, and their relays hand in
 * what the clients pass (src/porter): regular files of local filesystems, open for reading, which
 * shows that the client may read them. So nothing that comes from here can keep the loop waiting.
 *
 * A client that does not take its verdicts loses its connection, and what it asked for is
 * forgotten.
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
