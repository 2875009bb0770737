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

/* Bytes written at once. */
#define CHUNK_SIZE 65536

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
	(void)crypto_generichash(hash, HASH_SIZE, (const unsigned char *)content, *ret_size, NULL,
				 0);
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

/* A file that is being written: what does not fit any more goes to it first. */
struct writer {
	int fd, error;
	crypto_generichash_state hash;
	uint64_t size; /* written */
	size_t n;      /* bytes that wait */
	char waiting[CHUNK_SIZE];
};

static void writer_flush(struct writer *writer)
{
	ssize_t n = write(writer->fd, writer->waiting, writer->n);

	if (!writer->error && n != (ssize_t)writer->n)
		writer->error = n < 0 ? -errno : -ENOSPC;
	(void)crypto_generichash_update(&writer->hash, (const unsigned char *)writer->waiting,
					writer->n);
	writer->size += writer->n;
	writer->n = 0;
}

static void writer_add(struct writer *writer, const void *data, size_t size)
{
	if (writer->n + size > sizeof(writer->waiting))
		writer_flush(writer);
	memcpy(writer->waiting + writer->n, data, size);
	writer->n += size;
}

static int writer_add_all(struct writer *writer, const struct used *used)
{
	char path[USED_PATH_MAX];
	size_t n = 0;
	struct used_file *files = used_list(used, &n);

	if (!files)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct entry entry = {.when = files[i].when};

		if (!used_path(used, &files[i], path))
			continue;
		entry.length = (uint16_t)strlen(path);
		writer_add(writer, &entry, sizeof(entry));
		writer_add(writer, path, entry.length);
	}
	writer_flush(writer);
	free(files);
	return writer->error;
}

/* The header, which makes it count, comes last. */
static int used_file_put(int fd, const struct used *used)
{
	struct writer writer = {.fd = fd};
	struct header header = {.magic = MAGIC, .version = VERSION};
	int r;

	(void)crypto_generichash_init(&writer.hash, NULL, 0, HASH_SIZE);
	if (lseek(fd, sizeof(header), SEEK_SET) < 0)
		return -errno;
	r = writer_add_all(&writer, used);
	if (r < 0)
		return r;
	header.size = writer.size;
	(void)crypto_generichash_final(&writer.hash, header.hash, HASH_SIZE);
	errno = ENOSPC; /* of a short write */
	return pwrite(fd, &header, sizeof(header), 0) != sizeof(header) || fsync(fd) < 0 ? -errno
											 : 0;
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
	int fd, r;

	if (!used_file_is_ours(directory))
		return -EPERM;
	(void)unlinkat(directory, NEW_NAME, 0);
	fd = openat(directory, NEW_NAME, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		    0600);
	if (fd < 0)
		return -errno;
	r = used_file_put(fd, used);
	close(fd);
	if (r == 0 && renameat(directory, NEW_NAME, directory, FILE_NAME) < 0)
		r = -errno;
	if (r < 0)
		(void)unlinkat(directory, NEW_NAME, 0);
	return r;
}

void used_file_remove(int directory)
{
	(void)unlinkat(directory, FILE_NAME, 0);
}
