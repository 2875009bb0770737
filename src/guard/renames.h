/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * renames: one more fanotify group, which reports which directories were moved. It holds nobody,
 * so its events come after the fact. Needs FEATURE_RENAME_WATCH.
 */
#include <stdbool.h>
#include <stdint.h>

/* At most so many moves come from one read. */
#define RENAMES_BATCH 96

struct renames {
	int fd; /* -1: there is no such group */
};

struct renames_event {
	bool lost;	    /* events were lost: anything may have been moved */
	uint64_t directory; /* handle_hash() of the one that was moved */
};

/* renames_init() makes the group. Returns 0 or a negative errno. */
int renames_init(struct renames *renames);
void renames_deinit(struct renames *renames);

/* renames_watch() and renames_unwatch() begin and end the reports on path's superblock. Return 0 or
 * a negative errno: -EXDEV on a subvolume of btrfs, whose top level must be used, and -ENODEV or
 * -EOPNOTSUPP where a filesystem has no handles. */
int renames_watch(struct renames *renames, const char *path);
void renames_unwatch(struct renames *renames, const char *path);

/* renames_read() reads up to RENAMES_BATCH moves of directories. Returns how many, or a negative
 * errno, -EAGAIN when nothing is left. 0: what was read were moves of files. */
int renames_read(struct renames *renames, struct renames_event *events);
