/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* cvds: the signed databases and cdiffs of HOLDFAST_TEST_CVDS: test-1.cvd to test-6.cvd,
 * test-2.cdiff to test-6.cdiff. A test that needs them is skipped where there are none. */
#include "scratch.h"

#include <sys/stat.h>

/* Content of one of them, or of any file; as large as they get. */
struct cvds_file {
	char content[1 << 18];
	size_t size;
};

static inline const char *cvds_directory(void)
{
	const char *directory = getenv("HOLDFAST_TEST_CVDS");
	struct stat status;

	if (!directory || stat(directory, &status) < 0) {
		print_message("skipped: HOLDFAST_TEST_CVDS does not name a directory\n");
		skip();
	}
	return directory;
}

static inline void cvds_read(struct cvds_file *file, const char *path)
{
	FILE *stream = fopen(path, "re");

	assert_non_null(stream);
	file->size = fread(file->content, 1, sizeof(file->content), stream);
	assert_true(file->size < sizeof(file->content));
	(void)fclose(stream);
}

static inline void cvds_get(struct cvds_file *file, const char *name)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/%s", cvds_directory(), name);
	cvds_read(file, path);
}

static inline void cvds_copy(const char *name, const char *to)
{
	struct cvds_file file;

	cvds_get(&file, name);
	scratch_write(to, file.content, file.size);
}
