/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* handle: a file by what its filesystem calls it, whatever its path is (open_by_handle_at(2)). */
#include "../common/mounts.h"

#include <fcntl.h>

struct handle {
	int type;
	unsigned size; /* of bytes */
	unsigned char bytes[MAX_HANDLE_SZ];
};

/* handle_of() fills handle from a descriptor. Returns 0 or a negative errno: not every filesystem
 * has handles. */
int handle_of(int fd, struct handle *handle);

/* handle_at() does so by a name in a directory, "": for the descriptor itself. Follows no symbolic
 * link. */
int handle_at(int directory, const char *name, struct handle *handle);

/*
 * handle_open() opens a file of the mount's superblock as it is seen on that mount, with the flags
 * of open(2). Raises no event with O_PATH, and none for directories. Returns a descriptor or a
 * negative errno: -ESTALE where the file is gone, or one of file_open_directory() for the mount.
 * Needs CAP_DAC_READ_SEARCH. A handle of another filesystem may lead to any file of this one:
 * compare what was opened with what was meant.
 */
int handle_open(const struct handle *handle, const struct mount *mount, int flags);

/* handle_open_at() does so on the mount that a directory is on. */
int handle_open_at(const struct handle *handle, int directory, int flags);

/* handle_hash() makes a number of a handle: equal for equal ones. */
uint64_t handle_hash(int type, const unsigned char *bytes, size_t size);
