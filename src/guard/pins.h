/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * pins: the files with an ignore mark, where the kernel does not drop such marks by itself when
 * memory is short (no FEATURE_EVICTABLE_MARKS). Each keeps its inode in memory, so they are
 * bounded: the mark that was set or asked for least recently goes first.
 */
#include "../common/mounts.h"
#include "file.h"
#include "group.h"

/* About 20 MB of the kernel's memory: an inode takes a kilobyte or so, a mark 104 bytes. */
#define PINS_MAX 16384

struct pin;

struct pins {
	struct group *group;
	const struct mounts *mounts;
	struct pin *by_id; /* hash, oldest first */
	unsigned epoch;	   /* of the group, when they were set */
};

void pins_init(struct pins *pins, struct group *group, const struct mounts *mounts);
void pins_deinit(struct pins *pins);

/*
 * pins_add() notes that a file of the superblock device gets a mark, and takes the mark from
 * another if need be. Returns 0, or a negative errno: then it must not get one. Nothing to do, and
 * 0, with FEATURE_EVICTABLE_MARKS.
 */
int pins_add(struct pins *pins, int fd, struct file_id id, uint64_t device);

/* pins_drop() notes that a mark is gone. That all are, by group_forget_all(), is noticed. */
void pins_drop(struct pins *pins, struct file_id id);
