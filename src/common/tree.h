/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* tree: directories that go with all that is in them. */

/* tree_remove() removes a file, or a directory with everything below it; no symbolic link is
 * followed. What does not exist is removed. Returns 0 or a negative errno. */
int tree_remove(const char *path);
