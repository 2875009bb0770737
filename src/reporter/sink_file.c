/* SPDX-License-Identifier: GPL-2.0-only */
#include "sink.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct sink_file {
	char *path;
	int fd;
	uint64_t size, max_size;
	bool torn; /* the last line was written in part only */
};

static int sink_file_reopen(struct sink_file *file)
{
	struct stat status;
	int fd = open(file->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);

	if (fd < 0)
		return -errno;
	if (file->fd >= 0)
		close(file->fd);
	file->fd = fd;
	file->size = fstat(fd, &status) == 0 ? (uint64_t)status.st_size : 0;
	return 0;
}

struct sink_file *sink_file_open(const struct conf *conf, char *problem, size_t problem_size)
{
	struct sink_file *file = calloc(1, sizeof(*file));
	int r = -ENOMEM;

	if (file) {
		*file = (struct sink_file){
			.path = strdup(conf->log_file),
			.fd = -1,
			.max_size = conf->log_file_max_size,
		};
		if (file->path)
			r = sink_file_reopen(file);
	}
	if (r < 0) {
		(void)snprintf(problem, problem_size,
			       "log-file: cannot write %s as user %s: %s; give it a directory of "
			       "its own that belongs to this user",
			       conf->log_file, conf->user, strerror(-r));
		return sink_file_close(file);
	}
	return file;
}

struct sink_file *sink_file_close(struct sink_file *file)
{
	if (!file)
		return NULL;
	if (file->fd >= 0)
		close(file->fd);
	free(file->path);
	free(file);
	return NULL;
}

/* When the old file cannot be put away, writing goes on: better a large log than a lost line. */
static void sink_file_rotate(struct sink_file *file)
{
	char old[PATH_MAX];

	(void)snprintf(old, sizeof(old), "%s.1", file->path);
	if (rename(file->path, old) == 0)
		(void)sink_file_reopen(file);
}

int sink_file_write(struct sink_file *file, const struct report *report)
{
	time_t seconds = (time_t)(report->time_us / 1000000);
	char date[64], line[REPORT_TEXT_MAX + 80];
	struct tm local;
	ssize_t written;
	int length;

	/* The form of ctime(), which log agents parse, in every locale. */
	(void)strftime(date, sizeof(date), "%a %b %e %H:%M:%S %Y", localtime_r(&seconds, &local));
	length = snprintf(line, sizeof(line), "%s%s -> %s\n", file->torn ? "\n" : "", date,
			  report->text);

	if (file->size && file->size + (uint64_t)length > file->max_size)
		sink_file_rotate(file);
	written = write(file->fd, line, (size_t)length);
	if (written < 0)
		return -errno;
	file->size += (uint64_t)written;
	file->torn = written < length;
	return file->torn ? -ENOSPC : 0;
}
