/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * warm: the warm start. Files that were opened before (used.h) are verified again under signatures
 * that are new, or after a restart, the most recently used first, so that whoever opens them next
 * need not wait.
 *
 * Runs in the scheduler's thread beside full scans, keeps to the same pace, and touches nothing of
 * the loop's but the files that were used and verdicts_has(). A file is looked up by its path, on
 * the mount that it must be on, and is given to the gate only where its state is not known: so a
 * run in which nothing is new costs some microseconds for each file. Network, FUSE and overlay
 * filesystems are never looked at: nothing is remembered of their files.
 */
#include "../common/conf.h"
#include "../common/mounts.h"
#include "pace.h"
#include "scan_task.h"
#include "verdicts.h"

/* Files that the gate has at once, at most. */
#define WARM_TASKS_MAX 8

struct warm {
	struct used *used;
	const struct verdicts *verdicts;
	struct pace *pace;
	const struct scan_callbacks *owner;
	void *context;
	const struct conf *conf;
	uint64_t signatures; /* the set that counts */
	struct mounts mounts;
	uint64_t mounts_read_us;
	struct used_file *files; /* of this run; NULL: none is under way */
	size_t n, next;
	struct used_file again[WARM_TASKS_MAX]; /* that the gate has sent away */
	unsigned n_again;
	unsigned run; /* its number: verdicts of another come too late */
	unsigned under_way;
	bool has_no_engine; /* files came back that nobody could scan */
	uint64_t began_us, wait_until_us;
	struct control_warm_start_reply counts;
};

/* warm_init() keeps all that it is given. file_init() must have been called. */
void warm_init(struct warm *warm, struct used *used, const struct verdicts *verdicts,
	       struct pace *pace, const struct scan_callbacks *owner, void *context);

/* warm_deinit() forgets a run. Tasks may not come back any more. */
void warm_deinit(struct warm *warm);

/* warm_begin() begins a run under these signatures, in place of one that is under way; conf decides
 * what is in scope, and must live until warm_stop() or the next call. */
void warm_begin(struct warm *warm, const struct conf *conf, uint64_t signatures);

/* warm_set_conf() has another configuration decide from now on. */
void warm_set_conf(struct warm *warm, const struct conf *conf);

/* warm_stop() ends a run, if there is one; why: for the log. */
void warm_stop(struct warm *warm, const char *why);

/* warm_step() does a little. Returns whether there is more to do at once; else ret_wait_us says for
 * how long not, UINT64_MAX: until a task is back. */
bool warm_step(struct warm *warm, uint64_t *ret_wait_us);

/* warm_take() takes a task back, with its verdict, and frees it. */
void warm_take(struct warm *warm, struct scan_task *task);
