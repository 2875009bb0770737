/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * watch: which filesystems are marked, and for which include paths.
 *
 * Owns the list of marks. A mark is on the whole filesystem that an include path is on; policy
 * decides which of its opens count, by the path that watch_path() gives them.
 */
#include "../common/conf.h"
#include "group.h"

#include <holdfast/wire.h>

struct watch_entry {
	char path[WIRE_PATH_MAX]; /* what is marked: the part of the include rule before any * */
	uint64_t device;	  /* of the superblock */
	uint64_t files_device;	  /* what stat() says of its files; on btrfs, of one subvolume's */
	uint64_t mount_id;	  /* of the mount that path is on */
	char filesystem[32];	  /* its type: "ext4" */
	char error[128];	  /* why it is not marked; empty: it is */
};

struct watch {
	struct group *group;
	struct watch_entry *entries; /* one for each include rule, in their order */
	size_t n_entries;
};

void watch_init(struct watch *watch, struct group *group);
void watch_deinit(struct watch *watch);

/*
 * watch_apply() marks the filesystem of every include path of conf and unmarks those no longer
 * needed; in mode off it unmarks all. Returns 0, or a negative errno with what failed in problem.
 * strict: all or nothing, when one mark fails the old ones stay. Otherwise what can be marked is,
 * each entry says what happened to it, and only -ENOMEM is an error.
 */
int watch_apply(struct watch *watch, const struct conf *conf, bool strict, char *problem,
		size_t problem_size);

/* watch_count_missing() returns how many include paths are not marked. */
size_t watch_count_missing(const struct watch *watch);

/*
 * watch_path() writes the path of an open file in the terms of the rules. What /proc/self/fd says
 * is the path by the mount that the opener came through, and that may be a bind mount elsewhere, a
 * container's root or a mount of another namespace; the file is then looked up by its handle on our
 * own mount. Returns 0, or a negative errno where it cannot be told: then buffer holds something
 * for people. For that lookup it opens a directory, which raises no event: directories are not
 * watched.
 */
int watch_path(const struct watch *watch, int fd, char *buffer, size_t size);
