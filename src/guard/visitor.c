/* SPDX-License-Identifier: GPL-2.0-only */
#include "visitor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

/* Its memory is locked, as all of the guard's. */
#define STACK_SIZE 131072

/* Of each pipe, in bytes; the least that there is. It bounds how many descriptors are on their way.
 */
#define QUEUE_SIZE 4096

/* O_NONBLOCK: a FIFO in there, or a file with somebody's lease on it, must not stop the thread. */
#define FILE_FLAGS (O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

int visitor_init(struct visitor *visitor)
{
	*visitor = (struct visitor){.directories = {-1, -1}, .files = {-1, -1}};
	if (pipe2(visitor->directories, O_CLOEXEC) < 0 || pipe2(visitor->files, O_CLOEXEC) < 0 ||
	    fcntl(visitor->directories[1], F_SETPIPE_SZ, QUEUE_SIZE) < 0 ||
	    fcntl(visitor->files[1], F_SETPIPE_SZ, QUEUE_SIZE) < 0 ||
	    fcntl(visitor->directories[1], F_SETFL, O_NONBLOCK) < 0 ||
	    fcntl(visitor->files[0], F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

static void visitor_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Opens one file and hands it over. Returns false when nobody takes it any more. */
static bool visitor_open(const struct visitor *visitor, int directory, const char *name)
{
	int fd = openat(directory, name, FILE_FLAGS);
	struct stat status;

	if (fd < 0)
		return true;
	if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode)) {
		close(fd);
		return true;
	}
	if (write(visitor->files[1], &fd, sizeof(fd)) == sizeof(fd))
		return true;
	close(fd);
	return false;
}

/* Takes the descriptor. */
static bool visitor_read(const struct visitor *visitor, int directory)
{
	DIR *stream = fdopendir(directory);
	const struct dirent *entry;
	bool go_on = true;

	if (!stream) {
		close(directory);
		return true;
	}
	while (go_on && (entry = readdir(stream)))
		if (entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN)
			go_on = visitor_open(visitor, directory, entry->d_name);
	(void)closedir(stream);
	return go_on;
}

static void *visitor_run(void *argument)
{
	const struct visitor *visitor = argument;
	int directory;

	while (read(visitor->directories[0], &directory, sizeof(directory)) == sizeof(directory) &&
	       visitor_read(visitor, directory))
		;
	return NULL;
}

static int visitor_start(struct visitor *visitor)
{
	pthread_attr_t attributes;
	pthread_t thread;
	int r;

	if (visitor->running)
		return 0;
	(void)pthread_attr_init(&attributes);
	(void)pthread_attr_setstacksize(&attributes, STACK_SIZE);
	r = pthread_create(&thread, &attributes, visitor_run, visitor);
	(void)pthread_attr_destroy(&attributes);
	visitor->running = r == 0;
	if (visitor->running)
		visitor->thread = thread;
	return -r;
}

void visitor_deinit(struct visitor *visitor)
{
	/* Its next read() or write() fails. */
	visitor_close(&visitor->directories[1]);
	visitor_close(&visitor->files[0]);
	if (visitor->running)
		(void)pthread_join(visitor->thread, NULL);
	visitor->running = false;
	visitor_close(&visitor->directories[0]);
	visitor_close(&visitor->files[1]);
}

int visitor_visit(struct visitor *visitor, int directory)
{
	/* The duplicate would have the place of the reader in common. */
	int r = visitor_start(visitor),
	    fd = r < 0 ? r : openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return r < 0 ? r : -errno;
	if (write(visitor->directories[1], &fd, sizeof(fd)) == sizeof(fd))
		return 0;
	r = -errno;
	close(fd);
	return r;
}

int visitor_fd(const struct visitor *visitor)
{
	return visitor->files[0];
}

int visitor_next(struct visitor *visitor)
{
	int fd;

	return read(visitor->files[0], &fd, sizeof(fd)) == sizeof(fd) ? fd : -EAGAIN;
}
