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

/* --- the ways --- */

/* A directory that is on the way to some that are bypassed. Whoever renames directories of his own
 * must not cost us a search. */
struct bypass_way {
	uint64_t hash;
	unsigned n; /* ways that it is on */
	UT_hash_handle hh;
};

static struct bypass_way *bypass_find_way(const struct bypass *bypass, uint64_t hash)
{
	struct bypass_way *way;

	HASH_FIND(hh, bypass->ways, &hash, sizeof(hash), way);
	return way;
}

static void bypass_leave_way(struct bypass *bypass, uint64_t hash)
{
	struct bypass_way *way = bypass_find_way(bypass, hash);

	if (way && --way->n == 0) {
		HASH_DEL(bypass->ways, way);
		free(way);
	}
}

/* Returns false when out of memory: then it is on no way. */
static bool bypass_enter_way(struct bypass *bypass, uint64_t hash)
{
	struct bypass_way *way = bypass_find_way(bypass, hash);

	if (!way) {
		way = calloc(1, sizeof(*way));
		if (!way)
			return false;
		way->hash = hash;
		HASH_ADD(hh, bypass->ways, hash, sizeof(way->hash), way);
		if (!way->hh.tbl) {
			free(way);
			return false;
		}
	}
	way->n++;
	return true;
}

static void bypass_leave(struct bypass *bypass, struct bypass_directory *directory)
{
	while (directory->n_way)
		bypass_leave_way(bypass, directory->way[--directory->n_way]);
	bypass->n -= directory->bypassed;
	directory->bypassed = false;
}

static void bypass_drop(struct bypass *bypass, struct bypass_directory *directory)
{
	bypass_leave(bypass, directory);
	HASH_DEL(bypass->by_path, directory);
	free(directory);
}

void bypass_deinit(struct bypass *bypass)
{
	struct bypass_directory *directory, *next;

	HASH_ITER (hh, bypass->by_path, directory, next)
		bypass_drop(bypass, directory);
}

/* Starts over when all marks have gone. */
static void bypass_notice(struct bypass *bypass)
{
	if (bypass->epoch != bypass->group->epoch)
		bypass_deinit(bypass);
	bypass->epoch = bypass->group->epoch;
}

/* --- ending --- */

/* Opens a bypassed directory wherever it is now. */
static int bypass_open(const struct bypass *bypass, const struct bypass_directory *directory)
{
	const struct mount *mount = mounts_showing(&bypass->watch->mounts, directory->device);

	return mount ? handle_open(&directory->handle, mount, O_RDONLY | O_DIRECTORY | O_NONBLOCK)
		     : -ENOENT;
}

/* Forgets a directory, and the kernel's mark with it. One that cannot be opened, because its
 * filesystem is not mounted here any more, may still be somewhere else: then all marks go. */
static void bypass_end_one(struct bypass *bypass, struct bypass_directory *directory,
			   bypass_moved moved, void *context)
{
	bool bypassed = directory->bypassed;
	int fd = bypassed ? bypass_open(bypass, directory) : -1;

	bypass_drop(bypass, directory);
	if (fd < 0) {
		if (bypassed && bypass->epoch == bypass->group->epoch)
			watch_forget_all(bypass->watch);
		return;
	}
	(void)group_look_into(bypass->group, fd);
	if (moved)
		moved(context, fd);
	close(fd);
}

void bypass_end_all(struct bypass *bypass, bypass_moved moved, void *context)
{
	struct bypass_directory *directory, *next;

	bypass_notice(bypass);
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

	bypass_notice(bypass);
	if (!bypass_find_way(bypass, hash))
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

	bypass_notice(bypass);
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
static bool bypass_walk(struct handle *ret_handle, int fd, uint64_t *ret_way, unsigned *ret_n)
{
	struct statx here = {0}, above;
	struct handle handle;
	bool safe = true;
	int up, at = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	for (*ret_n = 0; at >= 0 && safe; at = up) {
		if (statx(at, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC,
			  STATX_BASIC_STATS | STATX_MNT_ID, &above) < 0 ||
		    handle_of(at, &handle) < 0 || *ret_n == BYPASS_DEPTH_MAX) {
			safe = false;
			break;
		}
		if (*ret_n == 0)
			*ret_handle = handle;
		else if (above.stx_mnt_id != here.stx_mnt_id || file_same(&above, &here))
			break;
		else
			safe = only_root_moves(&here, &above);
		ret_way[(*ret_n)++] = handle_hash(handle.type, handle.bytes, handle.size);
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
		/* By a mount whose ids are mapped somebody else is root. */
		if (mount->is_idmapped || (!mount->id && path_rest(mount->root, inside)))
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

/* Notes where a directory is, and tells the kernel. */
static bool bypass_mark(struct bypass *bypass, const struct conf *conf,
			struct bypass_directory *directory, int fd, struct location *location)
{
	uint64_t way[BYPASS_DEPTH_MAX];
	unsigned n_way;

	if (!bypass_is_outside(bypass, conf, fd, directory->path, location) ||
	    !bypass_walk(&directory->handle, fd, way, &n_way))
		return false;
	for (; directory->n_way < n_way; directory->n_way++) {
		directory->way[directory->n_way] = way[directory->n_way];
		if (!bypass_enter_way(bypass, way[directory->n_way]))
			return false;
	}
	return group_pass_over(bypass->group, fd) == 0;
}

static bool bypass_begin(struct bypass *bypass, const struct conf *conf,
			 struct bypass_directory *directory)
{
	const struct mounts *mounts = &bypass->watch->mounts;
	const struct mount *mount = mounts_of_path(mounts, directory->path);
	int fd = mount ? file_open_directory(directory->path, mount->id, true) : -ENOENT;
	struct location location;

	if (fd < 0)
		return false;
	directory->bypassed = bypass_mark(bypass, conf, directory, fd, &location);
	if (directory->bypassed) {
		bypass->n++;
		directory->device = location.device;
		directory->names = mounts_names_hash(mounts, location.device);
		/* It may have been moved after its path was read and before the way was noted;
		 * later moves are reported. */
		if (!bypass_is_outside(bypass, conf, fd, directory->path, &location)) {
			(void)group_look_into(bypass->group, fd);
			bypass_leave(bypass, directory);
		}
	} else {
		bypass_leave(bypass, directory);
	}
	close(fd);
	return directory->bypassed;
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
	if (!directory->hh.tbl) {
		free(directory);
		return NULL;
	}
	return directory;
}

void bypass_count(struct bypass *bypass, const struct conf *conf, const char *file)
{
	struct bypass_directory *directory;
	size_t length = path_parent_length(file);

	if (!bypass->group->features.has[FEATURE_IGNORE_MARKS] || length >= PATH_MAX ||
	    !group_may_mark(bypass->group))
		return;
	bypass_notice(bypass);
	directory = bypass_find(bypass, file, length);
	if (!directory)
		return;
	if (++directory->opens < directory->worth_it)
		return;
	/* The kernel has dropped the mark to save memory, or another directory is called so now.
	 * One or two opens would prove nothing: they were on their way when it was marked. */
	if (directory->bypassed) {
		bypass_end_one(bypass, directory, NULL, NULL);
		return;
	}
	directory->worth_it =
		bypass_begin(bypass, conf, directory) ? WORTH_IT : WORTH_IT * AGAIN_AFTER;
	directory->opens = 0;
}
