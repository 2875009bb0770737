/* SPDX-License-Identifier: GPL-2.0-only */
#include "handle.h"

#include "file.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* struct file_handle ends with an array without a size. */
union raw_handle {
	struct file_handle handle;
	char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
};

int handle_at(int directory, const char *name, struct handle *handle)
{
	union raw_handle raw = {.handle.handle_bytes = MAX_HANDLE_SZ};
	int unused;

	if (name_to_handle_at(directory, name, &raw.handle, &unused, AT_EMPTY_PATH) < 0)
		return -errno;
	handle->type = raw.handle.handle_type;
	handle->size = raw.handle.handle_bytes;
	memcpy(handle->bytes, raw.room + sizeof(struct file_handle), handle->size);
	return 0;
}

int handle_of(int fd, struct handle *handle)
{
	return handle_at(fd, "", handle);
}

int handle_open_at(const struct handle *handle, int directory, int flags)
{
	union raw_handle raw = {
		.handle = {.handle_bytes = handle->size, .handle_type = handle->type}};
	int fd;

	memcpy(raw.room + sizeof(struct file_handle), handle->bytes, handle->size);
	fd = open_by_handle_at(directory, &raw.handle, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int handle_open(const struct handle *handle, const struct mount *mount, int flags)
{
	int directory = file_open_directory(mount->point, mount->id, false), fd;

	if (directory < 0)
		return directory;
	fd = handle_open_at(handle, directory, flags);
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
