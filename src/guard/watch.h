/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * watch: which filesystems are marked, and for which include paths.
 *
 * Owns the list of marks. A mark is on the whole filesystem that an include path is on; policy
 * decides which of its opens count.
 */
#include "../common/conf.h"
#include "group.h"

#include <holdfast/wire.h>

struct watch_entry {
	char path[WIRE_PATH_MAX]; /* what is marked: the part of the include
				     rule before any * */
	uint64_t device;	  /* of the superblock */
	char filesystem[32];	  /* its type: "ext4" */
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
 * needed; in mode off it unmarks all. All or nothing: when one mark fails the old ones stay.
 * Returns 0, or a negative errno with what failed in problem.
 */
int watch_apply(struct watch *watch, const struct conf *conf, char *problem, size_t problem_size);
