/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* scratch: a directory of its own for a group of tests, and its removal. */
#include "unit.h"

#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Absolute, symbolic links resolved. It is the working directory between setup and teardown. */
static char scratch[PATH_MAX];

static inline int scratch_setup(void **state)
{
	const char *parent = getenv("TMPDIR");
	char name[PATH_MAX];

	(void)snprintf(name, sizeof(name), "%s/holdfast-unit-XXXXXX", parent ? parent : "/tmp");
	/* Others must be able to look in: one test reads as another user. */
	return !mkdtemp(name) || chmod(name, 0755) < 0 || !realpath(name, scratch) ||
			       chdir(scratch) < 0
		       ? -1
		       : 0;
}

static inline int scratch_remove_one(const char *path, const struct stat *status, int type,
				     struct FTW *walk)
{
	return remove(path);
}

static inline int scratch_teardown(void **state)
{
	return chdir("/") < 0 ? -1 : nftw(scratch, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void scratch_write(const char *name, const void *content, size_t size)
{
	FILE *file = fopen(name, "we");

	assert_non_null(file);
	assert_int_equal(fwrite(content, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}
