/* SPDX-License-Identifier: GPL-2.0-only */
#include "handle.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* struct file_handle ends with an array without a size. */
union raw_handle {
	struct file_handle handle;
	char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
};

int handle_of(int fd, struct handle *handle)
{
	union raw_handle raw = {.handle.handle_bytes = MAX_HANDLE_SZ};
	int unused;

	if (name_to_handle_at(fd, "", &raw.handle, &unused, AT_EMPTY_PATH) < 0)
		return -errno;
	handle->type = raw.handle.handle_type;
	handle->size = raw.handle.handle_bytes;
	memcpy(handle->bytes, raw.room + sizeof(struct file_handle), handle->size);
	return 0;
}

/* Opens the directory that is mounted; another mount may be on top of it by now. */
static int handle_open_mount(const struct mount *mount)
{
	int fd = open(mount->point, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK);
	struct statx status;

	if (fd < 0)
		return -errno;
	if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &status) < 0 ||
	    status.stx_mnt_id != mount->id) {
		close(fd);
		return -ESTALE;
	}
	return fd;
}

int handle_open(const struct handle *handle, const struct mount *mount, int flags)
{
	union raw_handle raw = {
		.handle = {.handle_bytes = handle->size, .handle_type = handle->type}};
	int directory = handle_open_mount(mount), fd;

	if (directory < 0)
		return directory;
	memcpy(raw.room + sizeof(struct file_handle), handle->bytes, handle->size);
	fd = open_by_handle_at(directory, &raw.handle, flags | O_CLOEXEC);
	if (fd < 0)
		fd = -errno;
	close(directory);
	return fd;
}

uint64_t handle_hash(int type, const unsigned char *bytes, size_t size)
{
	/* FNV-1a, 64 bits. */
	uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ (unsigned)type;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
	return hash;
}
