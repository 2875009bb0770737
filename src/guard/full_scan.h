/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * full_scan: one full scan, from its first file to its report, over as many sessions as it takes.
 *
 * Walks, passes over what was verified before, and gives the rest to the gate as tasks. Runs in the
 * scheduler's thread, where files may be opened and disks be waited for, and touches nothing of the
 * loop's but verdicts_has(). How tasks get to the loop and back is the scheduler's.
 */
#include "checkpoint.h"
#include "gate.h"
#include "pace.h"
#include "scan_task.h"

struct full_scan;

/*
 * full_scan_new() goes on with the unfinished scan of checkpoint, or begins one where there is
 * none, or where its report is lost or the rules have changed. directory is that of the checkpoint.
 * conf and checkpoint, of which it makes use and which it keeps up to date, must live on, and so
 * must the pace, which it keeps to. NULL: out of memory or directory cannot be written, with errno
 * set.
 */
struct full_scan *full_scan_new(int directory, const struct conf *conf,
				struct checkpoint *checkpoint, struct pace *pace,
				const struct verdicts *verdicts, const struct scan_callbacks *owner,
				void *context);

/*
 * full_scan_abandon() ends the unfinished scan of checkpoint, if there is one: its report says that
 * it was abandoned. full_scan_new() does so too where the rules have changed.
 */
void full_scan_abandon(int directory, const struct conf *conf, struct checkpoint *checkpoint);

/* full_scan_free() ends it as it is. No task may be under way. Takes NULL. Returns NULL. */
struct full_scan *full_scan_free(struct full_scan *scan);

/* full_scan_set_engine() says which signatures count from now on. Before the first step. */
void full_scan_set_engine(struct full_scan *scan, const struct wire_engine_info *info);

enum full_scan_progress {
	FULL_SCAN_GOES_ON, /* call again */
	FULL_SCAN_WAITS,   /* call again when a task is back, or after the time given */
	FULL_SCAN_DONE,	   /* everything is found, and no task is under way */
	/* There is no engine, and no task is under way: full_scan_pause() fails, so that it goes on
	 * where it was noted last. */
	FULL_SCAN_MUST_PAUSE
};

/* full_scan_step() does a little. ret_wait_us: with FULL_SCAN_WAITS; UINT64_MAX: for a task only.
 */
enum full_scan_progress full_scan_step(struct full_scan *scan, uint64_t *ret_wait_us);

/* full_scan_take() takes a task back, with its verdict, and frees it. */
void full_scan_take(struct full_scan *scan, struct scan_task *task);

/* full_scan_under_way() returns how many tasks have not come back. */
unsigned full_scan_under_way(const struct full_scan *scan);

/* full_scan_is_done() says whether there is nothing left but to finish it. */
bool full_scan_is_done(const struct full_scan *scan);

/* full_scan_where() returns the path of what was found last. */
const char *full_scan_where(const struct full_scan *scan);

/* full_scan_pause() notes where it is, to go on there. No task may be under way, and it may not be
 * done. Returns 0 or a negative errno, -ENOTCONN where there is no engine: then it will go on where
 * it was noted last. */
int full_scan_pause(struct full_scan *scan);

/* full_scan_finish() writes the report, after FULL_SCAN_DONE. Returns 0 or a negative errno. */
int full_scan_finish(struct full_scan *scan);
