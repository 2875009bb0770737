/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* mount_fixture: tables of mounts, written down by a test or read from the kernel; and a mount
 * namespace of the test's own, to mount things in that nobody else sees. */
#include "../../../src/common/mounts.h"
#include "unit.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* Lines of /proc/self/mountinfo, appended. */
static inline int mount_fixture_add(struct mounts *mounts, const char *text)
{
	/* Copied, as fmemopen() is not for constants. */
	char *copy = strdup(text);
	FILE *stream = copy ? fmemopen(copy, strlen(copy), "r") : NULL;
	int r = stream ? mounts_read(mounts, stream) : -1;

	if (stream)
		(void)fclose(stream);
	free(copy);
	return r;
}

/* What is mounted now, appended. */
static inline int mount_fixture_read(struct mounts *mounts)
{
	FILE *stream = fopen("/proc/self/mountinfo", "re");
	int r = stream ? mounts_read(mounts, stream) : -1;

	if (stream)
		(void)fclose(stream);
	return r;
}

/* The index of the mount that a path is on, as the kernel says; it must be in the table. */
static inline size_t mount_fixture_index(const struct mounts *mounts, const char *path)
{
	const struct mount *mount;
	struct statx status;

	assert_int_equal(statx(AT_FDCWD, path, 0, STATX_MNT_ID, &status), 0);
	mount = mounts_find(mounts, status.stx_mnt_id);
	assert_non_null(mount);
	return (size_t)(mount - mounts->mounts);
}

/* From here on what is mounted is seen by this process only. Returns whether that can be had. */
static inline bool mount_fixture_unshare(void)
{
	return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}
