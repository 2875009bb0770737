/* SPDX-License-Identifier: GPL-2.0-only */
#include "checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_NAME     "checkpoint"
#define FILE_NAME_NEW "checkpoint.new"

/* Another format of the file, or of what it holds, gets another number. */
static const char checkpoint_magic[8] = "HFSCAN1";

/* A position is a path, which has no limit of its own; nobody has one that is longer. */
#define POSITION_MAX (1 << 20)

/* What the file begins with; the position follows. */
struct checkpoint_file {
	char magic[sizeof(checkpoint_magic)];
	uint64_t size; /* of the position */
	struct checkpoint checkpoint;
};

static int checkpoint_read_from(int fd, struct checkpoint_file *file, char **ret_position)
{
	char *position;

	if (read(fd, file, sizeof(*file)) != sizeof(*file) ||
	    memcmp(file->magic, checkpoint_magic, sizeof(checkpoint_magic)) != 0 ||
	    file->size > POSITION_MAX)
		return -EBADMSG;
	position = calloc(1, file->size + 1);
	if (!position)
		return -ENOMEM;
	if (read(fd, position, file->size) != (ssize_t)file->size ||
	    strlen(position) != file->size) {
		free(position);
		return -EBADMSG;
	}
	*ret_position = position;
	return 0;
}

int checkpoint_read(int directory, struct checkpoint *checkpoint)
{
	int fd = openat(directory, FILE_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), r;
	struct checkpoint_file file;
	char *position = NULL;

	if (fd < 0)
		return -errno;
	r = checkpoint_read_from(fd, &file, &position);
	close(fd);
	if (r < 0)
		return r;
	*checkpoint = file.checkpoint;
	checkpoint->position = position;
	return 0;
}

int checkpoint_write(int directory, const struct checkpoint *checkpoint)
{
	const char *position = checkpoint->position ? checkpoint->position : "";
	struct checkpoint_file file = {.size = strlen(position), .checkpoint = *checkpoint};
	int fd, r = 0;

	/* Nobody could read it. */
	if (file.size > POSITION_MAX)
		return -ENAMETOOLONG;
	fd = openat(directory, FILE_NAME_NEW, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
		    0600);
	if (fd < 0)
		return -errno;
	memcpy(file.magic, checkpoint_magic, sizeof(file.magic));
	file.checkpoint.position = NULL;
	errno = EIO; /* of a short write */
	if (write(fd, &file, sizeof(file)) != sizeof(file) ||
	    write(fd, position, file.size) != (ssize_t)file.size || fsync(fd) < 0)
		r = -errno;
	close(fd);
	if (r == 0 &&
	    (renameat(directory, FILE_NAME_NEW, directory, FILE_NAME) < 0 || fsync(directory) < 0))
		r = -errno;
	return r;
}
