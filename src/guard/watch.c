/* SPDX-License-Identifier: GPL-2.0-only */
#include "watch.h"

#include "../common/line.h"
#include "../common/match.h"
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

void watch_init(struct watch *watch, struct group *group)
{
	*watch = (struct watch){.group = group};
}

void watch_deinit(struct watch *watch)
{
	free(watch->entries);
	*watch = (struct watch){.group = watch->group};
}

static bool watch_has_device(const struct watch *watch, size_t n, uint64_t device)
{
	for (size_t i = 0; i < n; i++)
		if (!*watch->entries[i].error && watch->entries[i].device == device)
			return true;
	return false;
}

/*
 * Finds the superblock behind a mount in /proc/self/mountinfo: "ID PARENT MAJOR:MINOR ... - TYPE
 * ...". The device of stat() would not do: on btrfs each subvolume has one of its own.
 */
static int watch_identify(uint64_t mount_id, struct watch_entry *entry)
{
	FILE *mounts = fopen("/proc/self/mountinfo", "re");
	unsigned long long id;
	unsigned device_major, device_minor;
	char *line = NULL;
	size_t line_size = 0;
	int r = -ENOENT;

	if (!mounts)
		return -errno;

	while (r < 0 && getline(&line, &line_size, mounts) > 0) {
		const char *dash = strstr(line, " - ");

		if (!dash ||
		    sscanf(line, "%llu %*u %u:%u", &id, &device_major, &device_minor) != 3 ||
		    id != mount_id)
			continue;
		entry->device = makedev(device_major, device_minor);
		(void)snprintf(entry->filesystem, sizeof(entry->filesystem), "%.*s",
			       (int)strcspn(dash + 3, " "), dash + 3);
		r = 0;
	}
	free(line);
	(void)fclose(mounts);
	return r;
}

/* Fills an entry with what its path is on now. */
static int watch_look(struct watch_entry *entry)
{
	struct statx status;

	if (statx(AT_FDCWD, entry->path, AT_NO_AUTOMOUNT, STATX_MNT_ID, &status) < 0)
		return -errno;
	entry->files_device = makedev(status.stx_dev_major, status.stx_dev_minor);
	entry->mount_id = status.stx_mnt_id;
	return watch_identify(status.stx_mnt_id, entry);
}

static int watch_add(struct watch *watch, const struct conf_entry *include)
{
	struct watch_entry *entry = &watch->entries[watch->n_entries++];
	int r;

	(void)snprintf(entry->path, sizeof(entry->path), "%.*s",
		       (int)match_literal_length(include->text), include->text);
	r = watch_look(entry);
	if (r == 0)
		r = group_watch(watch->group, entry->path);
	if (r < 0)
		(void)snprintf(entry->error, sizeof(entry->error), "%s", strerror(-r));
	return r;
}

/*
 * Unmarks what is in watch and not in other. A mark is removed by path, and another filesystem may
 * be mounted there by now: then the old mark stays, which costs a little, for the new one must not
 * go.
 */
static void watch_remove_missing(struct watch *watch, const struct watch *other)
{
	for (size_t i = 0; i < watch->n_entries; i++) {
		const struct watch_entry *entry = &watch->entries[i];
		struct watch_entry now = *entry;

		if (!*entry->error && !watch_has_device(other, other->n_entries, entry->device) &&
		    !watch_has_device(watch, i, entry->device) && watch_look(&now) == 0 &&
		    now.device == entry->device)
			(void)group_unwatch(watch->group, entry->path);
	}
}

int watch_apply(struct watch *watch, const struct conf *conf, bool strict, char *problem,
		size_t problem_size)
{
	size_t n = conf->mode == CONTROL_MODE_OFF ? 0 : conf->include.n_entries;
	struct watch next = {.group = watch->group};
	int r = 0;

	next.entries = calloc(n + 1, sizeof(*next.entries));
	if (!next.entries) {
		(void)snprintf(problem, problem_size, "out of memory");
		return -ENOMEM;
	}

	for (size_t i = 0; i < n && (r == 0 || !strict); i++)
		r = watch_add(&next, &conf->include.entries[i]);
	if (r < 0 && strict) {
		const struct watch_entry *failed = &next.entries[next.n_entries - 1];
		char escaped[512];

		(void)snprintf(problem, problem_size, "cannot watch %s: %s",
			       line_escape(escaped, sizeof(escaped), failed->path), failed->error);
		watch_remove_missing(&next, watch);
		watch_deinit(&next);
		return r;
	}

	watch_remove_missing(watch, &next);
	watch_deinit(watch);
	*watch = next;
	return 0;
}

size_t watch_count_missing(const struct watch *watch)
{
	size_t n = 0;

	for (size_t i = 0; i < watch->n_entries; i++)
		n += *watch->entries[i].error != '\0';
	return n;
}

/* Opens a directory on the mount that an entry's path is on. */
static int watch_open_mount(const struct watch_entry *entry)
{
	char path[WIRE_PATH_MAX];
	int fd = open(entry->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0 || errno != ENOTDIR)
		return fd < 0 ? -errno : fd;
	/* A single file is included. */
	(void)snprintf(path, sizeof(path), "%s", entry->path);
	*strrchr(path + 1, '/') = '\0';
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Looks a file up on the entry's mount. */
static int watch_lookup(const struct watch_entry *entry, int fd, char *buffer, size_t size)
{
	union {
		struct file_handle handle;
		char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} file = {.handle.handle_bytes = MAX_HANDLE_SZ};
	int unused, mount, found, r;

	if (name_to_handle_at(fd, "", &file.handle, &unused, AT_EMPTY_PATH) < 0)
		return -errno;
	mount = watch_open_mount(entry);
	if (mount < 0)
		return mount;
	found = open_by_handle_at(mount, &file.handle, O_PATH | O_CLOEXEC);
	r = found < 0 ? -errno : file_path(found, buffer, size);
	if (found >= 0)
		close(found);
	close(mount);
	return r;
}

/* Whether files of this device may be on the entry's filesystem. A handle of another filesystem
 * would be taken for one of any file there. */
static bool watch_may_hold(const struct watch_entry *entry, uint64_t device)
{
	return entry->files_device == device || !strcmp(entry->filesystem, "btrfs");
}

int watch_path(const struct watch *watch, int fd, char *buffer, size_t size)
{
	int r = file_path(fd, buffer, size);
	char ours[WIRE_PATH_MAX];
	struct statx status;
	uint64_t device;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &status) < 0)
		return -errno;
	device = makedev(status.stx_dev_major, status.stx_dev_minor);
	for (size_t i = 0; i < watch->n_entries; i++)
		if (watch->entries[i].mount_id == status.stx_mnt_id)
			return r;

	for (size_t i = 0; i < watch->n_entries; i++) {
		const struct watch_entry *entry = &watch->entries[i];
		int looked;

		if (*entry->error || !watch_may_hold(entry, device))
			continue;
		looked = watch_lookup(entry, fd, ours, sizeof(ours));
		if (looked == 0 && match_path(entry->path, ours)) {
			(void)snprintf(buffer, size, "%s", ours);
			return 0;
		}
		if (looked < 0)
			r = looked;
	}
	return r;
}
