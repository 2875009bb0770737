/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * scheduler: the thread that runs full scans, when they are due or asked for, one at a time, and
 * warm starts, when the signatures have changed.
 *
 * It may open files and wait for disks, as the loop may not. The two share nothing but pipes, the
 * verdicts (which it only asks), the files that were used and the journal (which it writes):
 * whatever keeps the thread waiting, no opener waits for it. The functions here are the loop's.
 */
#include "gate.h"

#include <holdfast/control.h>

struct scheduler;

/*
 * scheduler_new() starts the thread. directory is CONTROL_SCANS_DIR, which the scheduler takes; -1:
 * there is none, problem says why, and no full scan can run. NULL with errno set where it cannot be
 * started.
 */
struct scheduler *scheduler_new(sd_event *event, struct gate *gate, int directory,
				const char *problem);

/*
 * scheduler_end() ends the thread and forgets all; a scan goes on after the next start. The group
 * must have been closed, or an open of the thread may wait for it. Returns false when the thread
 * does not end, as it waits for a disk: then it goes on using what it was given until the process
 * ends. Takes NULL.
 */
bool scheduler_end(struct scheduler *scheduler);

/* scheduler_set_conf() hands over a snapshot of the configuration, which stays the caller's. A scan
 * that runs goes on with the one that it was begun with. */
void scheduler_set_conf(struct scheduler *scheduler, int snapshot);

/* scheduler_set_engine() says whose signatures count from now on. */
void scheduler_set_engine(struct scheduler *scheduler, const struct wire_engine_info *info);

/* scheduler_order() does what somebody asks for. Returns 0 or a negative errno: -EALREADY where it
 * is so already. It is done a moment later. */
int scheduler_order(struct scheduler *scheduler, enum control_full_scan_verb verb);

/* scheduler_status() fills all of ret but header and error. */
void scheduler_status(struct scheduler *scheduler, struct control_full_scan_reply *ret);

/* scheduler_warm_status() fills all of ret but header. */
void scheduler_warm_status(struct scheduler *scheduler, struct control_warm_start_reply *ret);
