/* SPDX-License-Identifier: GPL-2.0-only */
#include "visitor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

/* Its memory is locked, as all of the guard's. */
#define STACK_SIZE 131072

/* Of the pipes, in bytes. They bound how many descriptors are on their way: some 800 and 512. */
#define ORDERS_SIZE 131072
#define FILES_SIZE  4096

/* O_NONBLOCK: a FIFO in there, or a file with somebody's lease on it, must not stop the thread. */
#define FILE_FLAGS (O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

int visitor_init(struct visitor *visitor)
{
	*visitor = (struct visitor){.orders = {-1, -1}, .files = {-1, -1}};
	if (pipe2(visitor->orders, O_CLOEXEC) < 0 || pipe2(visitor->files, O_CLOEXEC) < 0 ||
	    fcntl(visitor->orders[1], F_SETPIPE_SZ, ORDERS_SIZE) < 0 ||
	    fcntl(visitor->files[1], F_SETPIPE_SZ, FILES_SIZE) < 0 ||
	    fcntl(visitor->orders[1], F_SETFL, O_NONBLOCK) < 0 ||
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

/* What the thread is to do. */
struct visitor_order {
	uint32_t ticket;      /* 0: open what is in the directory */
	int directory;	      /* the thread's to close */
	struct handle handle; /* of the file to open, on the mount of the directory */
};

/* What it has done. */
struct visitor_file {
	int fd; /* or a negative errno */
	uint32_t ticket;
};
_Static_assert(sizeof(struct visitor_order) <= PIPE_BUF, "never comes in pieces");

/* Returns false when nobody takes it any more. */
static bool visitor_hand_over(const struct visitor *visitor, const struct visitor_file *file)
{
	if (write(visitor->files[1], file, sizeof(*file)) == sizeof(*file))
		return true;
	if (file->fd >= 0)
		close(file->fd);
	return false;
}

static bool visitor_open_name(const struct visitor *visitor, int directory, const char *name)
{
	struct visitor_file file = {.fd = openat(directory, name, FILE_FLAGS)};
	struct stat status;

	if (file.fd < 0)
		return true;
	if (fstat(file.fd, &status) == 0 && S_ISREG(status.st_mode))
		return visitor_hand_over(visitor, &file);
	close(file.fd);
	return true;
}

/* Without a change of the access time where that is allowed: of root's own files. */
static bool visitor_open_handle(const struct visitor *visitor, const struct visitor_order *order)
{
	struct visitor_file file = {
		.fd = handle_open_at(&order->handle, order->directory, FILE_FLAGS | O_NOATIME),
		.ticket = order->ticket,
	};

	if (file.fd == -EPERM)
		file.fd = handle_open_at(&order->handle, order->directory, FILE_FLAGS);
	close(order->directory);
	return visitor_hand_over(visitor, &file);
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
			go_on = visitor_open_name(visitor, directory, entry->d_name);
	(void)closedir(stream);
	return go_on;
}

static void *visitor_run(void *argument)
{
	const struct visitor *visitor = argument;
	struct visitor_order order;

	while (read(visitor->orders[0], &order, sizeof(order)) == sizeof(order) &&
	       (order.ticket ? visitor_open_handle(visitor, &order)
			     : visitor_read(visitor, order.directory)))
		;
	return NULL;
}

int visitor_start(struct visitor *visitor)
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
	visitor_close(&visitor->orders[1]);
	visitor_close(&visitor->files[0]);
	if (visitor->running)
		(void)pthread_join(visitor->thread, NULL);
	visitor->running = false;
	visitor_close(&visitor->orders[0]);
	visitor_close(&visitor->files[1]);
}

/* Takes the directory of the order. */
static int visitor_send(struct visitor *visitor, const struct visitor_order *order)
{
	int r = visitor_start(visitor);

	if (r == 0 && write(visitor->orders[1], order, sizeof(*order)) != sizeof(*order))
		r = -errno;
	if (r < 0)
		close(order->directory);
	return r;
}

int visitor_visit(struct visitor *visitor, int directory)
{
	/* The duplicate would have the place of the reader in common. */
	const struct visitor_order order = {
		.directory = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};

	return order.directory < 0 ? -errno : visitor_send(visitor, &order);
}

int visitor_open(struct visitor *visitor, int root, const struct handle *handle, uint32_t ticket)
{
	const struct visitor_order order = {.ticket = ticket, .directory = root, .handle = *handle};

	return visitor_send(visitor, &order);
}

int visitor_fd(const struct visitor *visitor)
{
	return visitor->files[0];
}

int visitor_next(struct visitor *visitor, uint32_t *ret_ticket)
{
	struct visitor_file file;

	*ret_ticket = 0;
	if (read(visitor->files[0], &file, sizeof(file)) != sizeof(file))
		return -EAGAIN;
	*ret_ticket = file.ticket;
	return file.fd;
}
