/* SPDX-License-Identifier: GPL-2.0-only */
#include "file.h"

#include "../common/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static int file_self_fd = -1; /* /proc/self/fd */

int file_init(void)
{
	file_self_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return file_self_fd < 0 ? -errno : 0;
}

static int64_t file_time(struct statx_timestamp time)
{
	return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

void file_of_statx(const struct statx *status, struct file_id *ret_id, struct file_state *ret_state)
{
	*ret_id = (struct file_id){
		.device = makedev(status->stx_dev_major, status->stx_dev_minor),
		.inode = status->stx_ino,
	};
	*ret_state = (struct file_state){
		.size = status->stx_size,
		.mtime_ns = file_time(status->stx_mtime),
		.ctime_ns = file_time(status->stx_ctime),
	};
}

int file_stat(int fd, struct file_id *ret_id, struct file_state *ret_state)
{
	struct statx status;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &status) < 0)
		return -errno;
	file_of_statx(&status, ret_id, ret_state);
	return 0;
}

bool file_only_root_writes(const struct statx *status)
{
	return status->stx_uid == 0 && !(status->stx_mode & (S_IWGRP | S_IWOTH));
}

bool file_same(const struct statx *a, const struct statx *b)
{
	return a->stx_ino == b->stx_ino && a->stx_dev_major == b->stx_dev_major &&
	       a->stx_dev_minor == b->stx_dev_minor;
}

uint64_t file_state_settles_us(const struct file_state *state)
{
	/* Two ticks of the slowest clock in use, CONFIG_HZ=100. Some filesystems keep whole seconds
	 * only, ext3 for one: a ctime that is none falls on one once in a billion times. */
	const int64_t second_ns = 1000000000, ticks_ns = 20000000;
	bool is_coarse = state->ctime_ns % second_ns == 0;

	int64_t left_ns = state->ctime_ns + (is_coarse ? 2 * second_ns : ticks_ns) -
			  (int64_t)clock_wall_us() * 1000;

	return left_ns < 0 ? 0 : (uint64_t)left_ns / 1000 + 1;
}

bool file_state_settled(const struct file_state *state)
{
	return file_state_settles_us(state) == 0;
}

bool file_state_equal(const struct file_state *a, const struct file_state *b)
{
	return a->size == b->size && a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns;
}

static void file_strip_deleted(int fd, char *path)
{
	static const char suffix[] = " (deleted)";
	size_t length = strlen(path), suffix_length = sizeof(suffix) - 1;
	struct stat status;

	/* A file that is still linked may really be called so. */
	if (length > suffix_length && !strcmp(path + length - suffix_length, suffix) &&
	    fstat(fd, &status) == 0 && status.st_nlink == 0)
		path[length - suffix_length] = '\0';
}

static int file_open_carefully(int directory, const char *path, uint64_t flags, uint64_t resolve)
{
	const struct open_how how = {.flags = flags | O_PATH | O_CLOEXEC,
				     .resolve = resolve | RESOLVE_NO_SYMLINKS};
	int fd = (int)syscall(SYS_openat2, directory, path, &how, sizeof(how));

	return fd < 0 ? -errno : fd;
}

int file_open_directory(const char *path, uint64_t mount_id, bool cached)
{
	int at = file_open_carefully(AT_FDCWD, path, O_DIRECTORY, cached ? RESOLVE_CACHED : 0), fd;
	struct statx status;

	if (at < 0)
		return at;
	if (statx(at, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID, &status) < 0)
		fd = -errno;
	else if (status.stx_mnt_id != mount_id)
		fd = -EXDEV;
	else
		fd = openat(at, ".", O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
	if (fd == -1)
		fd = -errno;
	close(at);
	return fd;
}

int file_open_below(int directory, const char *name)
{
	return file_open_carefully(directory, name, O_NOFOLLOW, RESOLVE_BENEATH | RESOLVE_NO_XDEV);
}

int file_reopen(int fd, int flags)
{
	char name[16];
	int again;

	(void)snprintf(name, sizeof(name), "%d", fd);
	again = openat(file_self_fd, name, flags | O_CLOEXEC);
	return again < 0 ? -errno : again;
}

bool file_look(const char *path, struct statx *ret)
{
	int fd = file_open_carefully(AT_FDCWD, path, O_NOFOLLOW, RESOLVE_CACHED);
	bool there;

	if (fd < 0)
		return false;
	there = statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, ret) == 0;
	close(fd);
	return there;
}

/* The kernel escapes newlines, and nothing else. */
static void file_unescape_newlines(char *path)
{
	char *to = path;

	for (const char *from = path; *from;) {
		bool newline = !strncmp(from, "\\012", 4);

		*to++ = newline ? '\n' : *from;
		from += newline ? 4 : 1;
	}
	*to = '\0';
}

/*
 * A link in /proc holds PATH_MAX bytes, and a path can be longer: it was walked in steps. The names
 * of mapped files in /proc/self/maps have no such limit. The mapping cannot be touched, so nothing
 * is read from the file.
 */
static int file_path_long(int fd, char *buffer, size_t size)
{
	void *mapping = mmap(NULL, 1, PROT_NONE, MAP_PRIVATE, fd, 0);
	FILE *maps = mapping == MAP_FAILED ? NULL : fopen("/proc/self/maps", "re");
	char prefix[32], *line = NULL;
	size_t line_size = 0;
	ssize_t length;
	int r = -ENAMETOOLONG;

	(void)snprintf(prefix, sizeof(prefix), "%lx-", (unsigned long)mapping);
	while (maps && r < 0 && (length = getline(&line, &line_size, maps)) > 0) {
		const char *path = strchr(line, '/');

		if (strncmp(line, prefix, strlen(prefix)) || !path || strlen(path) > size)
			continue;
		line[length - 1] = '\0';
		(void)snprintf(buffer, size, "%s", path);
		file_unescape_newlines(buffer);
		r = 0;
	}
	free(line);
	if (maps)
		(void)fclose(maps);
	if (mapping != MAP_FAILED)
		(void)munmap(mapping, 1);
	return r;
}

/* What people are told of a file without a path. */
static void file_describe(int fd, char *buffer, size_t size)
{
	struct file_id id = {0};
	struct file_state state;

	(void)file_stat(fd, &id, &state);
	(void)snprintf(buffer, size, "(inode %llu on device %u:%u)", (unsigned long long)id.inode,
		       major(id.device), minor(id.device));
}

int file_path(int fd, char *buffer, size_t size)
{
	char name[16];
	ssize_t length;
	int r = 0;

	(void)snprintf(name, sizeof(name), "%d", fd);
	length = readlinkat(file_self_fd, name, buffer, size);
	if (length < 0)
		r = -errno;
	else if ((size_t)length >= size)
		r = -ENAMETOOLONG;
	else
		buffer[length] = '\0';
	if (r == -ENAMETOOLONG)
		r = file_path_long(fd, buffer, size);
	if (r < 0)
		file_describe(fd, buffer, size);
	else
		file_strip_deleted(fd, buffer);
	return r;
}
