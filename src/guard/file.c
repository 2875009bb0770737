/* SPDX-License-Identifier: GPL-2.0-only */
#include "file.h"

#include "../common/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
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

int file_stat(int fd, struct file_id *ret_id, struct file_state *ret_state)
{
	struct statx status;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_SYNC_AS_STAT, STATX_BASIC_STATS, &status) < 0)
		return -errno;

	*ret_id = (struct file_id){
		.device = makedev(status.stx_dev_major, status.stx_dev_minor),
		.inode = status.stx_ino,
	};
	*ret_state = (struct file_state){
		.size = status.stx_size,
		.mtime_ns = file_time(status.stx_mtime),
		.ctime_ns = file_time(status.stx_ctime),
	};
	return 0;
}

bool file_state_settled(const struct file_state *state)
{
	/* Two ticks of the slowest clock in use, CONFIG_HZ=100. */
	const int64_t ticks_ns = 20000000;

	return (int64_t)clock_wall_us() * 1000 - state->ctime_ns > ticks_ns;
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

int file_path(int fd, char *buffer, size_t size)
{
	struct file_id id = {0};
	struct file_state state;
	char name[16];
	ssize_t length;
	int r;

	(void)snprintf(name, sizeof(name), "%d", fd);
	length = readlinkat(file_self_fd, name, buffer, size);
	if (length >= 0 && (size_t)length < size) {
		buffer[length] = '\0';
		file_strip_deleted(fd, buffer);
		return 0;
	}

	r = length < 0 ? -errno : -ENAMETOOLONG;
	(void)file_stat(fd, &id, &state);
	(void)snprintf(buffer, size, "(inode %llu on device %u:%u)", (unsigned long long)id.inode,
		       major(id.device), minor(id.device));
	return r;
}
