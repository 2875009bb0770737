/* SPDX-License-Identifier: GPL-2.0-only */
#include "group.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/fanotify.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * How the kernel opens the files of events, within our read(). O_NONBLOCK: with somebody's write
 * lease on a file (fcntl(2), F_SETLEASE; any user may take one on his own) that open would keep us
 * waiting for as long as he likes, up to lease-break-time; this way it fails, and the kernel
 * refuses the open that it was for.
 */
#define EVENT_FLAGS (O_RDONLY | O_CLOEXEC | O_LARGEFILE | O_NOATIME | O_NONBLOCK)

#define WATCH_MASK  (FAN_OPEN_PERM | FAN_CLOSE_WRITE)
#define IGNORE_MASK FAN_OPEN_PERM

/* Not in the headers of Debian 11 and 12; the values are the kernel's,
 * include/uapi/linux/fanotify.h. */
#ifndef FAN_MARK_EVICTABLE
#define FAN_MARK_EVICTABLE 0x00000200
#endif
#ifndef FAN_MARK_IGNORE
#define FAN_MARK_IGNORE 0x00000400
#endif

#define IGNORE_FLAGS (FAN_MARK_IGNORE | FAN_MARK_EVICTABLE)

/* Tries it on a file that nobody opens. */
static bool group_probe_ignore(int group_fd)
{
	int fd = memfd_create("holdfast-probe", MFD_CLOEXEC);
	bool known;

	if (fd < 0)
		return false;
	known = fanotify_mark(group_fd, FAN_MARK_ADD | IGNORE_FLAGS, IGNORE_MASK, fd, NULL) == 0;
	close(fd);
	return known;
}

int group_init(struct group *group)
{
	group->fd = fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC | FAN_NONBLOCK |
					  FAN_UNLIMITED_QUEUE | FAN_UNLIMITED_MARKS,
				  EVENT_FLAGS);
	if (group->fd < 0)
		return -errno;

	group->can_ignore = group_probe_ignore(group->fd);
	return 0;
}

void group_deinit(struct group *group)
{
	if (group->fd >= 0)
		close(group->fd);
	group->fd = -1;
}

int group_read(struct group *group, struct group_event *events)
{
	/* All of one length: none of the FAN_REPORT_ flags that add records is set. */
	struct fanotify_event_metadata metadata[GROUP_BATCH];
	ssize_t length = read(group->fd, metadata, sizeof(metadata));
	int n;

	if (length < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;

	n = (int)((size_t)length / sizeof(metadata[0]));
	for (int i = 0; i < n; i++)
		events[i] = (struct group_event){
			.type = metadata[i].mask & FAN_Q_OVERFLOW  ? GROUP_OVERFLOW
				: metadata[i].mask & FAN_OPEN_PERM ? GROUP_OPEN
								   : GROUP_CLOSED_WRITE,
			.fd = metadata[i].fd,
			.pid = metadata[i].pid,
		};
	return n;
}

void group_answer(struct group *group, int fd, bool allow)
{
	const struct fanotify_response response = {.fd = fd,
						   .response = allow ? FAN_ALLOW : FAN_DENY};
	ssize_t n;

	/* The only failure is ENOENT: the opener was killed while it waited and needs no answer. */
	do
		n = write(group->fd, &response, sizeof(response));
	while (n < 0 && errno == EINTR);
}

int group_watch(struct group *group, const char *path)
{
	return fanotify_mark(group->fd, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, WATCH_MASK, AT_FDCWD,
			     path) < 0
		       ? -errno
		       : 0;
}

int group_unwatch(struct group *group, const char *path)
{
	return fanotify_mark(group->fd, FAN_MARK_REMOVE | FAN_MARK_FILESYSTEM, WATCH_MASK, AT_FDCWD,
			     path) < 0
		       ? -errno
		       : 0;
}

bool group_lock_out_writers(int fd)
{
	return fcntl(fd, F_SETLEASE, F_RDLCK) == 0;
}

void group_let_writers_in(int fd)
{
	(void)fcntl(fd, F_SETLEASE, F_UNLCK);
}

bool group_ignore(struct group *group, int fd)
{
	return fanotify_mark(group->fd, FAN_MARK_ADD | IGNORE_FLAGS, IGNORE_MASK, fd, NULL) == 0;
}

bool group_forget(struct group *group, int fd)
{
	return group->can_ignore && fanotify_mark(group->fd, FAN_MARK_REMOVE | FAN_MARK_IGNORE,
						  IGNORE_MASK, fd, NULL) == 0;
}

void group_forget_all(struct group *group)
{
	(void)fanotify_mark(group->fd, FAN_MARK_FLUSH, 0, AT_FDCWD, NULL);
}
