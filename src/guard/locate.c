/* SPDX-License-Identifier: GPL-2.0-only */
#include "locate.h"

#include "file.h"
#include "handle.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* So many mounts of a superblock are tried before a handle counts as leading nowhere: some may be
 * hidden under others. */
#define MOUNTS_TRIED_MAX 8

static bool leads_to(const char *path, const struct statx *file)
{
	struct statx there;

	return file_look(path, &there) && file_same(&there, file);
}

/* Looks a handle up on one mount. To a file that the mount does not show the kernel gives no path
 * that means anything, so the name must lead to it. */
static int locate_on_mount(const struct mount *mount, const struct handle *handle,
			   const struct statx *file, char *inside)
{
	char path[LOCATION_PATH_MAX];
	struct statx found;
	int fd = handle_open(handle, mount, O_PATH), r;

	if (fd < 0)
		return fd;
	r = statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &found) < 0 ? -errno
	    : file_same(&found, file) ? file_path(fd, path, sizeof(path))
				      : -ESTALE;
	close(fd);
	if (r < 0)
		return r;
	if (!mount_inside(mount, path, inside, LOCATION_PATH_MAX))
		return -ESTALE;
	/* A mount of the whole superblock shows everything; what is unlinked has no name to try. */
	return !mount->root[1] || (file->stx_nlink == 0 && path[1]) || leads_to(path, file)
		       ? 0
		       : -ESTALE;
}

/* Whether a file of this device may be of the mount's superblock. On btrfs each subvolume has a
 * device of its own; is_known: the device is that of a superblock. */
static bool may_show(const struct mount *mount, uint64_t device, bool is_known)
{
	return mount->id && mount->is_reachable &&
	       (is_known ? mount->device == device : !strcmp(mount->type, "btrfs")) &&
	       filesystem_kind(mount->type) != FILESYSTEM_REMOTE;
}

static bool is_superblock(const struct mounts *mounts, uint64_t device)
{
	for (size_t i = 0; i < mounts->n; i++)
		if (mounts->mounts[i].device == device)
			return true;
	return false;
}

/* Finds a file that was opened by a mount that is not one of ours. */
static int locate_by_handle(const struct mounts *mounts, int fd, const struct statx *file,
			    const struct mount **ret_mount, char *inside)
{
	uint64_t device = makedev(file->stx_dev_major, file->stx_dev_minor);
	struct handle handle;
	bool is_known = is_superblock(mounts, device);
	int r = handle_of(fd, &handle), tried = 0;

	if (r < 0)
		return r;
	r = -ESTALE;
	for (size_t i = 0; i < mounts->n && r < 0 && tried < MOUNTS_TRIED_MAX; i++) {
		const struct mount *mount = &mounts->mounts[i];

		if (!may_show(mount, device, is_known))
			continue;
		tried++;
		r = locate_on_mount(mount, &handle, file, inside);
		*ret_mount = mount;
	}
	return r;
}

/* Whether the overlay shows this file of a lower layer by this name. Of the number of the inode
 * only the high bits may differ, which tell the layers' filesystems apart (xino). */
static bool overlay_shows(const char *name, const struct statx *file)
{
	const uint64_t low = UINT64_MAX >> 8;
	struct statx there;

	return file_look(name, &there) && ((there.stx_ino ^ file->stx_ino) & low) == 0;
}

/* What locate() is about. */
struct search {
	const struct mounts *mounts;
	const struct conf *conf;
	locate_rule rule;
	const struct statx *file;
	const struct mount *mount; /* by which it was found */
	const char *inside;	   /* its path inside the superblock */
	bool is_ours;		   /* it was opened by that mount */
};

/* What the rules say of a file by the name that one mount gives it. */
static enum policy_scope search_scope(const struct search *search, const struct mount *mount,
				      const char *name)
{
	enum policy_scope scope = search->rule(search->conf, name).scope;

	if (!mount->is_lower || overlay_shows(name, search->file))
		return scope;
	/* Opened through the overlay, by another name; nobody can tell which. */
	return search->is_ours ? POLICY_NOT_INCLUDED : POLICY_IN_SCOPE;
}

/* Looks through all names for one that is in scope. */
static void search_names(const struct search *search, struct location *location)
{
	char name[LOCATION_PATH_MAX];
	bool named = search->is_ours;

	for (size_t i = 0; i < search->mounts->n && location->scope != POLICY_IN_SCOPE; i++) {
		const struct mount *mount = &search->mounts->mounts[i];
		enum policy_scope scope;

		if (!mount->is_reachable || mount->device != search->mount->device ||
		    !mount_name(mount, search->inside, name, sizeof(name)))
			continue;
		scope = search_scope(search, mount, name);
		if (named && scope != POLICY_IN_SCOPE)
			continue;
		location->scope = scope;
		(void)snprintf(location->path, sizeof(location->path), "%s", name);
		named = true;
	}
}

void locate(const struct mounts *mounts, const struct conf *conf, locate_rule rule, int fd,
	    struct location *location)
{
	char inside[LOCATION_PATH_MAX];
	struct file_id id;
	struct statx file;
	struct search search = {
		.mounts = mounts, .conf = conf, .rule = rule, .file = &file, .inside = inside};

	*location->path = '\0';
	location->device = 0;
	location->scope = POLICY_NOT_INCLUDED;
	location->events_tell_of_change = location->times_tell_of_change = false;
	location->kind = FILESYSTEM_LOCAL;
	location->state = (struct file_state){0};
	location->error = file_path(fd, location->path, sizeof(location->path));
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_BASIC_STATS | STATX_MNT_ID,
		  &file) < 0) {
		location->error = -errno;
		return;
	}
	file_of_statx(&file, &id, &location->state);

	search.mount = mounts_find(mounts, file.stx_mnt_id);
	search.is_ours = search.mount && location->error == 0 &&
			 mount_inside(search.mount, location->path, inside, sizeof(inside));
	if (search.mount && location->error == 0)
		location->scope = rule(conf, location->path).scope;
	if (!search.is_ours) {
		/* A mount that has moved since the table was read: a name is a name. */
		if (location->scope == POLICY_IN_SCOPE)
			return;
		location->error = locate_by_handle(mounts, fd, &file, &search.mount, inside);
		if (location->error < 0)
			return;
	}
	/* A file that was opened by its handle need not have been given a place. */
	if (!inside[1] && !S_ISDIR(file.stx_mode)) {
		location->error = -ESTALE;
		return;
	}
	location->device = search.mount->device;
	location->kind = filesystem_kind(search.mount->type);
	location->events_tell_of_change = location->kind == FILESYSTEM_LOCAL;
	location->times_tell_of_change = filesystem_keeps_times(search.mount->type);
	search_names(&search, location);
	/* Its handle leads to any of the links of a file, not to the one that was opened. */
	if (!search.is_ours && file.stx_nlink > 1 && !S_ISDIR(file.stx_mode))
		location->scope = POLICY_IN_SCOPE;
}
