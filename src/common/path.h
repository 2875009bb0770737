/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* path: absolute paths as text, taken literally: * is a character as others. Pure. */
#include <stddef.h>

/*
 * path_rest() returns what of path follows directory: empty where they are the same, else beginning
 * with a slash; NULL where path is not at or below directory.
 */
const char *path_rest(const char *directory, const char *path);

/* path_join() writes directory with rest, as path_rest() returns it, behind it. Returns 0 or
 * -ENAMETOOLONG. */
int path_join(char *buffer, size_t size, const char *directory, const char *rest);

/* path_parent_length() returns how many of path's characters name the directory it is in. */
size_t path_parent_length(const char *path);

/* path_fit() copies a path of any length. What does not fit loses its middle, as where a file is
 * and what it is called stand at the ends. size must be 7 at least. */
void path_fit(char *buffer, size_t size, const char *path);
