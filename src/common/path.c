/* SPDX-License-Identifier: GPL-2.0-only */
#include "path.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const char *path_rest(const char *directory, const char *path)
{
	size_t length = strlen(directory);

	/* The root is the one directory whose name ends with a slash. */
	if (length == 1)
		return path[1] ? path : path + 1;
	if (strncmp(path, directory, length) || (path[length] && path[length] != '/'))
		return NULL;
	return path + length;
}

int path_join(char *buffer, size_t size, const char *directory, const char *rest)
{
	int n = snprintf(buffer, size, "%s%s", *rest && !directory[1] ? "" : directory, rest);

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

size_t path_parent_length(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == path ? 1 : (size_t)(slash - path);
}

void path_fit(char *buffer, size_t size, const char *path)
{
	static const char gap[] = "[...]";
	size_t length = strlen(path), head = (size - sizeof(gap)) / 2,
	       tail = size - sizeof(gap) - head;

	if (length < size)
		(void)snprintf(buffer, size, "%s", path);
	else
		(void)snprintf(buffer, size, "%.*s%s%s", (int)head, path, gap,
			       path + length - tail);
}
