/* SPDX-License-Identifier: GPL-2.0-only */
#include "used_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium/crypto_generichash.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_NAME "used"
#define NEW_NAME  "used.new"

#define MAGIC	UINT32_C(0x68667573)
#define VERSION 1

#define HASH_SIZE 16

/* The files follow, the most recently used first: of each this and its path. */
struct entry {
	uint64_t when;
	uint16_t length; /* of the path, without an end */
} __attribute__((packed));

struct header {
	uint32_t magic, version;
	uint64_t size; /* of what follows */
	unsigned char hash[HASH_SIZE];
};

#define SIZE_MAX_ALL ((size_t)USED_MAX * (sizeof(struct entry) + USED_PATH_MAX))

static void used_file_hash(const char *content, size_t size, unsigned char *ret_hash)
{
	(void)crypto_generichash(ret_hash, HASH_SIZE, (const unsigned char *)content, size, NULL,
				 0);
}

/* --- reading --- */

static bool is_ours(int fd)
{
	struct stat status;

	return fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_uid == geteuid() &&
	       !(status.st_mode & (S_IRWXG | S_IRWXO));
}

/* The content, to be freed. */
static int used_file_load(int fd, char **ret_content, size_t *ret_size)
{
	unsigned char hash[HASH_SIZE];
	struct header header;
	char *content;

	if (!is_ours(fd))
		return -EPERM;
	if (read(fd, &header, sizeof(header)) != sizeof(header) || header.magic != MAGIC ||
	    header.version != VERSION || header.size > SIZE_MAX_ALL)
		return -EBADMSG;
	content = malloc(header.size + 1);
	if (!content)
		return -ENOMEM;
	/* The file system may be asked for more at once than it gives. */
	*ret_size = 0;
	for (ssize_t n = 1; n > 0 && *ret_size < header.size; *ret_size += (size_t)(n > 0 ? n : 0))
		n = read(fd, content + *ret_size, header.size - *ret_size);
	used_file_hash(content, *ret_size, hash);
	if (*ret_size != header.size || memcmp(hash, header.hash, HASH_SIZE) != 0) {
		free(content);
		return -EBADMSG;
	}
	*ret_content = content;
	return 0;
}

/* What it says is checked all the same: it may be of another version of us. */
static void used_file_take(struct used *used, const char *content, size_t size)
{
	char path[USED_PATH_MAX];
	struct entry entry;

	for (size_t at = 0; size - at >= sizeof(entry); at += entry.length) {
		memcpy(&entry, content + at, sizeof(entry));
		at += sizeof(entry);
		if (entry.length >= sizeof(path) || entry.length > size - at || content[at] != '/')
			return;
		memcpy(path, content + at, entry.length);
		path[entry.length] = '\0';
		used_add(used, path, entry.when);
	}
}

int used_file_read(int directory, struct used *used)
{
	int fd = openat(directory, FILE_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), r;
	char *content = NULL;
	size_t size = 0;

	if (fd < 0)
		return errno == ELOOP ? -EPERM : -errno;
	r = used_file_load(fd, &content, &size);
	close(fd);
	if (r < 0)
		return r;
	used_file_take(used, content, size);
	free(content);
	return 0;
}

/* --- writing --- */

/* All files, to be freed. */
static char *used_file_format(const struct used *used, size_t *ret_size)
{
	size_t n = 0;
	struct used_file *files = used_list(used, &n);
	char *content = files ? malloc(n * (sizeof(struct entry) + USED_PATH_MAX) + 1) : NULL,
	     path[USED_PATH_MAX];

	*ret_size = 0;
	for (size_t i = 0; content && i < n; i++) {
		struct entry entry = {.when = files[i].when};

		if (!used_path(used, &files[i], path))
			continue;
		entry.length = (uint16_t)strlen(path);
		memcpy(content + *ret_size, &entry, sizeof(entry));
		memcpy(content + *ret_size + sizeof(entry), path, entry.length);
		*ret_size += sizeof(entry) + entry.length;
	}
	free(files);
	return content;
}

static int used_file_put(int directory, const struct header *header, const char *content)
{
	int fd = openat(directory, NEW_NAME, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			0600),
	    r = 0;

	if (fd < 0)
		return -errno;
	errno = ENOSPC; /* of a short write */
	if (write(fd, header, sizeof(*header)) != sizeof(*header) ||
	    write(fd, content, header->size) != (ssize_t)header->size || fsync(fd) < 0)
		r = -errno;
	close(fd);
	if (r == 0 && renameat(directory, NEW_NAME, directory, FILE_NAME) < 0)
		r = -errno;
	return r;
}

/* Whether what is there may be replaced. */
static bool used_file_is_ours(int directory)
{
	int fd = openat(directory, FILE_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	bool ours = fd < 0 ? errno == ENOENT : is_ours(fd);

	if (fd >= 0)
		close(fd);
	return ours;
}

int used_file_write(int directory, const struct used *used)
{
	struct header header = {.magic = MAGIC, .version = VERSION};
	char *content;
	int r;

	if (!used_file_is_ours(directory))
		return -EPERM;
	content = used_file_format(used, &header.size);
	if (!content)
		return -ENOMEM;
	used_file_hash(content, header.size, header.hash);
	(void)unlinkat(directory, NEW_NAME, 0);
	r = used_file_put(directory, &header, content);
	if (r < 0)
		(void)unlinkat(directory, NEW_NAME, 0);
	free(content);
	return r;
}

void used_file_remove(int directory)
{
	(void)unlinkat(directory, FILE_NAME, 0);
}
