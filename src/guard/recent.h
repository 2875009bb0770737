/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * recent: the files that were marked as verified a moment ago, as the kernel's events go.
 *
 * When all marks are taken back at once, one that an opener still holds on to, who waited over it
 * and has not run since, stays in force until he does, and no modification clears it (seen on Linux
 * 6.18). One that ignores nothing any more does no harm then; so those that may be held on to are
 * emptied first. Part of the estate: a successor takes back what a guard before it has marked.
 */
#include "group.h"
#include "handle.h"

#include <stdint.h>

/* At once; the oldest is forgotten for another. To empty one takes some 8 us. */
#define RECENT_MAX 4096

struct recent_file {
	uint64_t marked_us; /* monotonic; 0: there is none here */
	uint64_t device;
	struct handle handle;
};

struct recent {
	uint32_t next;
	struct recent_file files[RECENT_MAX];
};

/* recent_add() notes that a file is about to be marked. */
void recent_add(struct recent *recent, int fd, uint64_t device);

/* recent_forget_all() empties the marks of those that may be held on to, and then takes all marks
 * back, group_forget_all(). */
void recent_forget_all(struct recent *recent, struct group *group, const struct mounts *mounts);
