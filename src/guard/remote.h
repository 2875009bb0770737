/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * remote: marks on network and FUSE filesystems. To set one the kernel asks the filesystem for its
 * root, and a server that does not answer would keep us waiting: so a thread does it, which may
 * hang for good. Bounded, like everything.
 */
#include "group.h"

#include <stddef.h>
#include <stdint.h>

/* Filesystems that are marked or waited for. */
#define REMOTE_MAX 64

struct remote_mark {
	uint64_t device;
	uint64_t mount_id;
	int result; /* 0: marked; -EINPROGRESS; another negative errno: it failed */
	bool asked; /* a thread has not answered yet */
};

struct remote {
	struct group *group;
	int results[2]; /* pipe: what the threads say */
	struct remote_mark marks[REMOTE_MAX];
	size_t n;
};

/* remote_init() returns 0 or a negative errno. */
int remote_init(struct remote *remote, struct group *group);
void remote_deinit(struct remote *remote);

/*
 * remote_mark() begins to mark what is mounted at point, and says what became of that the last
 * time. Returns 0: it is marked; -EINPROGRESS; -ENOSPC: too many; or why it could not be. To be
 * called whenever anything is mounted: ids are used again, and the mark is set again in case.
 */
int remote_mark(struct remote *remote, uint64_t device, uint64_t mount_id, const char *point);

/* remote_fd() is readable when a thread has something to say; remote_read() takes it and returns
 * whether that is news. */
int remote_fd(const struct remote *remote);
bool remote_read(struct remote *remote);

/* remote_keep() forgets the marks of filesystems that keep() does not know any more: a mark goes
 * with its filesystem. */
void remote_keep(struct remote *remote,
		 bool (*keep)(const void *context, const struct remote_mark *mark),
		 const void *context);
