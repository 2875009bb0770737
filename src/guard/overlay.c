/* SPDX-License-Identifier: GPL-2.0-only */
#include "overlay.h"

#include "../common/filesystem.h"
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The kernel stacks no more than two filesystems; this only ends what cannot be. */
#define DEPTH_MAX 4

/* The mount that a directory is on, with its path inside the superblock. */
static int overlay_find(const struct mounts *mounts, const char *path, const struct mount **ret,
			char *inside, size_t size)
{
	char real[PATH_MAX];
	struct statx status;
	int fd, r;

	if (*path != '/')
		return -EINVAL;
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = file_path(fd, real, sizeof(real));
	if (r == 0 && statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &status) < 0)
		r = -errno;
	close(fd);
	if (r < 0)
		return r;
	*ret = mounts_find(mounts, status.stx_mnt_id);
	return *ret && mount_inside(*ret, real, inside, size) ? 0 : -ENOENT;
}

static int overlay_add_tree(struct mounts *mounts, size_t overlay, unsigned depth);

static int overlay_add_layer(struct mounts *mounts, size_t overlay, const char *path, bool is_lower,
			     unsigned depth)
{
	const struct mount *mount = NULL;
	char inside[PATH_MAX];
	int r = overlay_find(mounts, path, &mount, inside, sizeof(inside));

	if (r == 0)
		r = mounts_add_layer(mounts, overlay, mount, inside, is_lower);
	if (r == 0 && filesystem_kind(mounts->mounts[mounts->n - 1].type) == FILESYSTEM_OVERLAY)
		r = overlay_add_tree(mounts, mounts->n - 1, depth + 1);
	return r;
}

/* Cuts the next directory from a list with colons between, in which a backslash takes the meaning
 * from the character behind it. Two colons stand before layers that hold data only. */
static char *overlay_next(char **list)
{
	char *path, *to;

	*list += strspn(*list, ":");
	path = to = *list;
	while (**list && **list != ':') {
		*list += **list == '\\' && (*list)[1];
		*to++ = *(*list)++;
	}
	*list += **list == ':';
	*to = '\0';
	return path;
}

static int overlay_add_list(struct mounts *mounts, size_t overlay, const char *value,
			    unsigned depth)
{
	char *copy = mounts_unescape(value), *list = copy, *path;
	int r = copy ? 0 : -ENOMEM;

	while (r == 0 && *(path = overlay_next(&list)))
		r = overlay_add_layer(mounts, overlay, path, true, depth);
	free(copy);
	return r;
}

/* The other options name one directory each, in which no character has a meaning. */
static int overlay_add_one(struct mounts *mounts, size_t overlay, const char *value, bool is_lower,
			   unsigned depth)
{
	char *path = mounts_unescape(value);
	int r = path ? overlay_add_layer(mounts, overlay, path, is_lower, depth) : -ENOMEM;

	free(path);
	return r;
}

static int overlay_add_option(struct mounts *mounts, size_t overlay, const char *name,
			      const char *value, unsigned depth)
{
	if (!strcmp(name, "lowerdir"))
		return overlay_add_list(mounts, overlay, value, depth);
	if (!strcmp(name, "lowerdir+") || !strcmp(name, "datadir+"))
		return overlay_add_one(mounts, overlay, value, true, depth);
	if (!strcmp(name, "upperdir"))
		return overlay_add_one(mounts, overlay, value, false, depth);
	return 0;
}

static int overlay_add_tree(struct mounts *mounts, size_t overlay, unsigned depth)
{
	char *options = strdup(mounts->mounts[overlay].options), *rest = options, *option;
	size_t before = mounts->n;
	int r = options ? 0 : -ENOMEM;

	if (depth > DEPTH_MAX)
		r = -ELOOP;
	while (r == 0 && (option = strsep(&rest, ","))) {
		char *name = strsep(&option, "=");

		if (option)
			r = overlay_add_option(mounts, overlay, name, option, depth);
	}
	free(options);
	return r == 0 && mounts->n == before ? -ENOENT : r;
}

int overlay_add_layers(struct mounts *mounts, size_t overlay)
{
	return overlay_add_tree(mounts, overlay, 0);
}
