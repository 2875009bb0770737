/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * bypass: directories out of scope that many files are opened in. The kernel is told not to ask
 * about those files any more.
 *
 * It must ask again when such a directory comes into scope. The kernel keeps that mark wherever the
 * directory is moved, and tells of the move only afterwards. So that nobody can use the moment
 * between, only directories are bypassed that no one but root can move: the directories on the way
 * down from the root of the mount can be written to by root alone, or have the sticky bit and hold
 * root's. What root moves is looked at right after the move.
 *
 * Needs FEATURE_IGNORE_MARKS and FEATURE_RENAME_WATCH. Bounded: the directories that were seen
 * last.
 */
#include "handle.h"
#include "locate.h"
#include "watch.h"

#include <uthash.h>

/* Directories that are counted or bypassed. */
#define BYPASS_MAX 4096

/* Deeper ones are not bypassed. */
#define BYPASS_DEPTH_MAX 32

struct bypass_directory;
struct bypass_way;

struct bypass {
	struct group *group;
	const struct watch *watch;
	struct bypass_directory *by_path; /* hash, and the order in which they were seen first */
	struct bypass_way *ways;	  /* hash: the directories on the way to those bypassed */
	unsigned n;			  /* bypassed */
	unsigned epoch;			  /* of the group, when they were */
};

/* Told of a bypassed directory that is, or may be, in scope now; fd is closed after the call. */
typedef void (*bypass_moved)(void *context, int fd);

void bypass_init(struct bypass *bypass, struct group *group, const struct watch *watch);
void bypass_deinit(struct bypass *bypass);

/* bypass_count() counts an open out of scope: file is its path by one of our mounts. May make its
 * directory one that is bypassed. */
void bypass_count(struct bypass *bypass, const struct conf *conf, const char *file);

/*
 * bypass_end() makes the kernel ask again about the directories that this one (as handle_hash()
 * gives it) is on the way to, or is; and calls moved for each.
 */
void bypass_end(struct bypass *bypass, uint64_t directory, bypass_moved moved, void *context);

/* bypass_mounts_changed() does so for those whose files may be called otherwise now. */
void bypass_mounts_changed(struct bypass *bypass, bypass_moved moved, void *context);

/* bypass_end_all() does so for all. moved may be NULL. */
void bypass_end_all(struct bypass *bypass, bypass_moved moved, void *context);
