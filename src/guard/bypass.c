/* SPDX-License-Identifier: GPL-2.0-only */
#include "bypass.h"

#include "../common/path.h"
#include "file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A directory is worth a mark after so many opens: setting it up costs as much as answering a few.
 */
#define WORTH_IT 16

/* One that cannot be bypassed is looked at again after so many times as many opens. */
#define AGAIN_AFTER 64

struct bypass_directory {
	unsigned opens, worth_it;
	bool bypassed;
	uint64_t device;
	uint64_t names; /* mounts_names_hash() of the device */
	struct handle handle;
	uint64_t way[BYPASS_DEPTH_MAX]; /* handle_hash() of it and of those it is in */
	unsigned n_way;
	UT_hash_handle hh;
	char path[];
};

void bypass_init(struct bypass *bypass, struct group *group, const struct watch *watch)
{
	*bypass = (struct bypass){.group = group, .watch = watch};
}

static void bypass_drop(struct bypass *bypass, struct bypass_directory *directory)
{
	bypass->n -= directory->bypassed;
	HASH_DEL(bypass->by_path, directory);
	free(directory);
}

void bypass_forget(struct bypass *bypass)
{
	struct bypass_directory *directory, *next;

	HASH_ITER (hh, bypass->by_path, directory, next)
		bypass_drop(bypass, directory);
}

void bypass_deinit(struct bypass *bypass)
{
	bypass_forget(bypass);
}

/* --- ending --- */

/* Opens a bypassed directory wherever it is now. */
static int bypass_open(const struct bypass *bypass, const struct bypass_directory *directory)
{
	const struct mount *mount = mounts_showing(&bypass->watch->mounts, directory->device);

	return mount ? handle_open(&directory->handle, mount, O_RDONLY | O_DIRECTORY | O_NONBLOCK)
		     : -ENOENT;
}

/* Forgets a directory. The kernel's mark goes with it; where the directory cannot be opened any
 * more, on a filesystem that was unmounted for one, there is nothing to open in it either. */
static void bypass_end_one(struct bypass *bypass, struct bypass_directory *directory,
			   bypass_moved moved, void *context)
{
	int fd = directory->bypassed ? bypass_open(bypass, directory) : -1;

	bypass_drop(bypass, directory);
	if (fd < 0)
		return;
	(void)group_look_into(bypass->group, fd);
	if (moved)
		moved(context, fd);
	close(fd);
}

void bypass_end_all(struct bypass *bypass, bypass_moved moved, void *context)
{
	struct bypass_directory *directory, *next;

	HASH_ITER (hh, bypass->by_path, directory, next)
		bypass_end_one(bypass, directory, moved, context);
}

static bool bypass_goes_by(const struct bypass_directory *directory, uint64_t hash)
{
	for (unsigned i = 0; i < directory->n_way; i++)
		if (directory->way[i] == hash)
			return true;
	return false;
}

void bypass_end(struct bypass *bypass, uint64_t hash, bypass_moved moved, void *context)
{
	struct bypass_directory *directory, *next;

	if (!bypass->n)
		return;
	HASH_ITER (hh, bypass->by_path, directory, next)
		if (bypass_goes_by(directory, hash))
			bypass_end_one(bypass, directory, moved, context);
}

void bypass_mounts_changed(struct bypass *bypass, bypass_moved moved, void *context)
{
	const struct mounts *mounts = &bypass->watch->mounts;
	struct bypass_directory *directory, *next;
	uint64_t device = 0, names = 0;

	HASH_ITER (hh, bypass->by_path, directory, next) {
		if (!directory->bypassed)
			continue;
		if (directory->device != device || !names) {
			device = directory->device;
			names = mounts_names_hash(mounts, device);
		}
		if (directory->names != names)
			bypass_end_one(bypass, directory, moved, context);
	}
}

/* --- beginning --- */

/*
 * Whether only root can give a directory that is in another one a new name, there or elsewhere: for
 * either one must be able to write to the one that it is in, and if that has the sticky bit, own
 * one of the two. Where an access list says more than the mode, the bits of the group are the most
 * that it gives.
 */
static bool only_root_moves(const struct statx *directory, const struct statx *in)
{
	if (in->stx_uid != 0)
		return false;
	return !(in->stx_mode & (S_IWGRP | S_IWOTH)) ||
	       ((in->stx_mode & S_ISVTX) && directory->stx_uid == 0);
}

/* Walks up from a directory to the root of its mount, notes the way, and returns whether only root
 * can move any of them. */
static bool bypass_walk(struct bypass_directory *directory, int fd)
{
	struct statx here = {0}, above;
	struct handle handle;
	bool safe = true;
	int up, at = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	for (directory->n_way = 0; at >= 0 && safe; at = up) {
		if (statx(at, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID, &above) < 0 ||
		    handle_of(at, &handle) < 0 || directory->n_way == BYPASS_DEPTH_MAX) {
			safe = false;
			break;
		}
		if (directory->n_way == 0)
			directory->handle = handle;
		else if (above.stx_mnt_id != here.stx_mnt_id || file_same(&above, &here))
			break;
		else
			safe = only_root_moves(&here, &above);
		directory->way[directory->n_way++] =
			handle_hash(handle.type, handle.bytes, handle.size);
		here = above;
		up = openat(at, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK);
		close(at);
	}
	if (at >= 0)
		close(at);
	return safe && at >= 0;
}

/* Whether a file that is directly in this directory may be seen in scope without the directory: it
 * is mounted by itself, or seen through an overlay, which renames without moving. */
static bool bypass_shows_through(const struct mounts *mounts, const struct conf *conf,
				 uint64_t device, const char *inside)
{
	for (size_t i = 0; i < mounts->n; i++) {
		const struct mount *mount = &mounts->mounts[i];
		const char *name = path_rest(inside, mount->root);

		if (mount->device != device)
			continue;
		if (!mount->id && path_rest(mount->root, inside))
			return true;
		if (name && *name && !strchr(name + 1, '/') &&
		    policy_path(conf, mount->point).scope == POLICY_IN_SCOPE)
			return true;
	}
	return false;
}

/* Whether no file directly in this directory can be in scope, by any name that we know of. The walk
 * above saw no further than the mount: what is above its root, another one must not show. */
static bool bypass_is_outside(const struct bypass *bypass, const struct conf *conf, int fd,
			      const char *path, struct location *location)
{
	const struct mounts *mounts = &bypass->watch->mounts;
	const struct mount *mount = mounts_of_path(mounts, path);
	char inside[PATH_MAX];

	locate(mounts, conf, policy_directory, fd, location);
	return location->error == 0 && location->scope != POLICY_IN_SCOPE &&
	       !strcmp(location->path, path) && mount && !mount->root[1] &&
	       mount_inside(mount, path, inside, sizeof(inside)) &&
	       !bypass_shows_through(mounts, conf, location->device, inside) &&
	       watch_reports_renames(bypass->watch, location->device);
}

static bool bypass_begin(struct bypass *bypass, const struct conf *conf,
			 struct bypass_directory *directory)
{
	int fd =
		open(directory->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	struct location location;
	bool done = false;

	if (fd < 0)
		return false;
	if (bypass_is_outside(bypass, conf, fd, directory->path, &location) &&
	    bypass_walk(directory, fd) && group_pass_over(bypass->group, fd) == 0) {
		directory->device = location.device;
		directory->names = mounts_names_hash(&bypass->watch->mounts, location.device);
		/* It may have been moved after its path was read and before the way was noted;
		 * later moves are reported. */
		done = bypass_is_outside(bypass, conf, fd, directory->path, &location);
		if (!done)
			(void)group_look_into(bypass->group, fd);
	}
	close(fd);
	return done;
}

static struct bypass_directory *bypass_find(struct bypass *bypass, const char *path, size_t length)
{
	struct bypass_directory *directory;

	HASH_FIND(hh, bypass->by_path, path, length, directory);
	if (directory)
		return directory;
	/* The one that was seen first makes room. */
	if (HASH_COUNT(bypass->by_path) >= BYPASS_MAX)
		bypass_end_one(bypass, bypass->by_path, NULL, NULL);
	directory = calloc(1, sizeof(*directory) + length + 1);
	if (!directory)
		return NULL;
	directory->worth_it = WORTH_IT;
	memcpy(directory->path, path, length);
	HASH_ADD(hh, bypass->by_path, path, length, directory);
	return directory;
}

void bypass_count(struct bypass *bypass, const struct conf *conf, const char *file)
{
	struct bypass_directory *directory;
	size_t length = path_parent_length(file);

	if (!bypass->group->features.has[FEATURE_IGNORE_MARKS] || length >= PATH_MAX)
		return;
	directory = bypass_find(bypass, file, length);
	if (!directory || ++directory->opens < directory->worth_it)
		return;
	/* If it is already, the kernel has dropped the mark to save memory. */
	bypass->n -= directory->bypassed;
	directory->bypassed = bypass_begin(bypass, conf, directory);
	bypass->n += directory->bypassed;
	directory->opens = 0;
	directory->worth_it = directory->bypassed ? WORTH_IT : WORTH_IT * AGAIN_AFTER;
}
