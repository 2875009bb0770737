/* SPDX-License-Identifier: GPL-2.0-only */
#include "verify.h"

#include "container.h"
#include "message.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* What is in front of the file that says which database this is, is little; no more is unpacked. */
#define ENTRIES_MAX 8

static const char *verify_suffix(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot ? dot : "";
}

/* The archive says which database it is by the name of a file in it: "daily.info". */
static bool verify_is(struct archive *archive, const char *database)
{
	const size_t length = strlen(database);
	struct archive_entry *entry;

	for (int i = 0; i < ENTRIES_MAX; i++) {
		const char *name = NULL;

		if (archive_read_next_header(archive, &entry) == ARCHIVE_OK)
			name = archive_entry_pathname(entry);
		if (!name)
			return false;
		if (!strcmp(verify_suffix(name), ".info"))
			return !strncmp(name, database, length) && !strcmp(name + length, ".info");
	}
	return false;
}

static int verify_name(const char *path, const char *database)
{
	struct archive *archive = archive_read_new();
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int r = -EBADMSG;

	if (!archive || fd < 0)
		r = archive ? -errno : -ENOMEM;
	else if (lseek(fd, CONTAINER_HEAD_SIZE, SEEK_SET) == CONTAINER_HEAD_SIZE &&
		 archive_read_support_filter_gzip(archive) == ARCHIVE_OK &&
		 archive_read_support_format_tar(archive) == ARCHIVE_OK &&
		 archive_read_open_fd(archive, fd, 65536) == ARCHIVE_OK &&
		 verify_is(archive, database))
		r = 0;
	(void)archive_read_free(archive);
	if (fd >= 0)
		close(fd);
	return r;
}

int verify_container(const char *path, const char *database, char *problem, size_t problem_size)
{
	const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	int r;

	/* libclamav goes by the name, and believes what is called .cld as it is. */
	if (strcasecmp(verify_suffix(name), ".cvd") != 0) {
		(void)snprintf(problem, problem_size, "%s: only a .cvd is signed", name);
		return -EINVAL;
	}
	message_forget();
	r = cl_cvdverify(path);
	if (r != CL_SUCCESS) {
		(void)snprintf(problem, problem_size, "%s: %s", name,
			       *message_errors() ? message_errors() : cl_strerror(r));
		return r == CL_EMEM ? -ENOMEM : -EBADMSG;
	}
	r = verify_name(path, database);
	if (r == -EBADMSG)
		(void)snprintf(problem, problem_size,
			       "%s: not what was asked for: it is not the database %s", name,
			       database);
	else if (r < 0)
		(void)snprintf(problem, problem_size, "%s: %s", name, strerror(-r));
	return r;
}
