/* SPDX-License-Identifier: GPL-2.0-only */
#include "tree.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>

/* How many directories may be open at once. */
#define TREE_FDS 16

static int tree_remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
	return remove(path) < 0 && errno != ENOENT ? -errno : 0;
}

int tree_remove(const char *path)
{
	int r = nftw(path, tree_remove_one, TREE_FDS, FTW_DEPTH | FTW_PHYS);

	return r == -1 ? (errno == ENOENT ? 0 : -errno) : r;
}
