/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * recent: the files that were marked as verified a moment ago, as the kernel's events go. Openers
 * who waited over them may not have run yet, see gate_listen_again(). Part of the estate: a
 * successor has to see to what a guard before it has marked.
 */
#include "group.h"
#include "handle.h"

#include <stdint.h>

/* At once; the oldest is forgotten for another. To see to one takes some 8 us. */
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

/* recent_listen_again() gives those files a mark again that ignores nothing, group_listen(), and
 * forgets them: all marks were taken back. */
void recent_listen_again(struct recent *recent, struct group *group, const struct mounts *mounts);
