/* SPDX-License-Identifier: GPL-2.0-only */
#include "group.h"

#include "../common/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
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

#define PASS_OVER_MASK (FAN_OPEN_PERM | FAN_EVENT_ON_CHILD)

/* See group_may_ignore(). */
#define IGNORE_GRACE_US CLOCK_US_PER_SEC

static unsigned group_watch_flags(const struct group *group)
{
	return group->features.has[FEATURE_FILESYSTEM_MARKS] ? FAN_MARK_FILESYSTEM : FAN_MARK_MOUNT;
}

/* Where a mark may give way to a shortage of memory; it was only there to save time. */
static unsigned group_evictable(const struct group *group)
{
	return group->features.has[FEATURE_EVICTABLE_MARKS] ? FAN_MARK_EVICTABLE : 0;
}

static unsigned group_ignore_flags(const struct group *group)
{
	return group->features.has[FEATURE_IGNORE_MARKS] ? FAN_MARK_IGNORE : FAN_MARK_IGNORED_MASK;
}

int group_init(struct group *group)
{
	group->fd = fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC | FAN_NONBLOCK |
					  FAN_UNLIMITED_QUEUE | FAN_UNLIMITED_MARKS,
				  EVENT_FLAGS);
	if (group->fd < 0)
		return -errno;

	features_probe(&group->features, group->fd, getenv("HOLDFAST_WITHOUT"));
	return 0;
}

int group_sees_layers(struct group *group)
{
	int r;

	/* A mark on a mount does not see the kernel's own, private one. */
	if (!group->features.has[FEATURE_FILESYSTEM_MARKS])
		return 0;
	if (!group->overlay_probed) {
		r = features_probe_overlay(getenv("HOLDFAST_WITHOUT"));
		if (r < 0)
			return r;
		group->features.has[FEATURE_OVERLAY_EVENTS] = r;
		group->overlay_probed = true;
	}
	return group->features.has[FEATURE_OVERLAY_EVENTS];
}

void group_deinit(struct group *group)
{
	if (group->fd >= 0)
		close(group->fd);
	group->fd = -1;
}

/* How many events the kernel has for us. */
static unsigned group_count_queued(const struct group *group)
{
	int bytes = 0;

	(void)ioctl(group->fd, FIONREAD, &bytes);
	return (unsigned)bytes / sizeof(group->inbox[0]);
}

/* Notes that so many have been read. */
static void group_hear(struct group *group, unsigned n)
{
	uint64_t now = clock_monotonic_us();
	bool is_drained = n < GROUP_BATCH;

	if (is_drained)
		group->drained_us = now;
	if (!group->unheard)
		return;
	/* What is read from now on came later. */
	group->unheard = is_drained || n > group->unheard ? 0 : group->unheard - n;
	group->forgot_us = group->let_go_us = now;
}

int group_read(struct group *group, struct group_event *events, bool *ret_lost)
{
	/* With a lease on its file an event is thrown away; if others came before it in this
	 * batch, read() does not even say so. */
	int n, queued = (int)group_count_queued(group), error;
	ssize_t length;

	/* All of one length: none of the FAN_REPORT_ flags that add records is set. */
	length = read(group->fd, group->inbox, sizeof(group->inbox));
	error = errno;
	n = length < 0 ? 0 : (int)((size_t)length / sizeof(group->inbox[0]));
	*ret_lost = n < GROUP_BATCH && n < queued;
	group_hear(group, (unsigned)n);
	if (length < 0)
		return error == EAGAIN || error == EINTR ? 0 : -error;
	return group_left(group, events);
}

int group_left(const struct group *group, struct group_event *events)
{
	int n = 0;

	for (unsigned i = 0; i < GROUP_BATCH; i++) {
		const struct fanotify_event_metadata *metadata = &group->inbox[i];

		if (!metadata->event_len)
			continue;
		events[n++] = (struct group_event){
			.type = metadata->mask & FAN_Q_OVERFLOW	 ? GROUP_OVERFLOW
				: metadata->mask & FAN_OPEN_PERM ? GROUP_OPEN
								 : GROUP_CLOSED_WRITE,
			.fd = metadata->fd,
			.pid = metadata->pid,
			.place = i,
		};
	}
	return n;
}

bool group_has_unread(const struct group *group)
{
	return group_count_queued(group) > 0;
}

void group_take(struct group *group, const struct group_event *event)
{
	*(volatile __u32 *)&group->inbox[event->place].event_len = 0;
}

void group_answer(struct group *group, int fd, uint64_t arrived_us, bool allow)
{
	const struct fanotify_response response = {.fd = fd,
						   .response = allow ? FAN_ALLOW : FAN_DENY};
	ssize_t n;

	/* The only failure is ENOENT: the opener was killed while it waited and needs no answer. */
	do
		n = write(group->fd, &response, sizeof(response));
	while (n < 0 && errno == EINTR);
	if (arrived_us <= group->forgot_us)
		group->let_go_us = clock_monotonic_us();
}

static int group_mark(const struct group *group, unsigned flags, uint64_t mask, int fd,
		      const char *path)
{
	return fanotify_mark(group->fd, flags, mask, fd, path) < 0 ? -errno : 0;
}

int group_watch(struct group *group, const char *path)
{
	return group_mark(group, FAN_MARK_ADD | group_watch_flags(group), WATCH_MASK, AT_FDCWD,
			  path);
}

int group_unwatch(struct group *group, const char *path)
{
	return group_mark(group, FAN_MARK_REMOVE | group_watch_flags(group), WATCH_MASK, AT_FDCWD,
			  path);
}

bool group_lock_out_writers(int fd)
{
	return fcntl(fd, F_SETLEASE, F_RDLCK) == 0;
}

void group_let_writers_in(int fd)
{
	(void)fcntl(fd, F_SETLEASE, F_UNLCK);
}

/*
 * A file is subscribed as well, for two reasons. Where mounts are marked, what is written through a
 * mount of another namespace would be closed without an event. And a mark that listens to something
 * stays when it no longer ignores anything: were it to go while somebody waits over the file, the
 * kernel (seen on 6.18) would let everybody else open it unasked until he goes on.
 */
bool group_ignore(struct group *group, int fd)
{
	group->has_marked = true;
	if (group_mark(group, FAN_MARK_ADD | group_evictable(group), FAN_CLOSE_WRITE, fd, NULL) < 0)
		return false;
	return group_mark(group, FAN_MARK_ADD | group_ignore_flags(group) | group_evictable(group),
			  IGNORE_MASK, fd, NULL) == 0;
}

bool group_may_ignore(const struct group *group, uint64_t began_us)
{
	return !group->forgot_us ||
	       (!group->unheard && began_us > group->let_go_us + IGNORE_GRACE_US);
}

static bool group_forget_at(struct group *group, int fd, const char *path)
{
	bool had = group_mark(group, FAN_MARK_REMOVE | group_ignore_flags(group), IGNORE_MASK, fd,
			      path) == 0;

	/* One that the kernel cannot evict keeps the file in memory. */
	if (!group->features.has[FEATURE_EVICTABLE_MARKS])
		(void)group_mark(group, FAN_MARK_REMOVE, FAN_CLOSE_WRITE, fd, path);
	return had;
}

bool group_forget(struct group *group, int fd)
{
	return group_forget_at(group, fd, NULL);
}

/* Where /proc has the file of a descriptor. */
static const char *group_name(int fd, char *buffer, size_t size)
{
	(void)snprintf(buffer, size, "/proc/self/fd/%d", fd);
	return buffer;
}

bool group_forget_path_only(struct group *group, int fd)
{
	char path[32];

	return group_forget_at(group, AT_FDCWD, group_name(fd, path, sizeof(path)));
}

static void group_listen_at(struct group *group, int fd, const char *path)
{
	group->has_marked = true;
	(void)group_mark(group, FAN_MARK_ADD | group_evictable(group), FAN_CLOSE_WRITE, fd, path);
}

void group_listen(struct group *group, int fd)
{
	group_listen_at(group, fd, NULL);
}

void group_listen_path_only(struct group *group, int fd)
{
	char path[32];

	group_listen_at(group, AT_FDCWD, group_name(fd, path, sizeof(path)));
}

int group_pass_over(struct group *group, int directory)
{
	group->has_marked = true;
	return group_mark(group,
			  FAN_MARK_ADD | FAN_MARK_IGNORE | FAN_MARK_IGNORED_SURV_MODIFY |
				  group_evictable(group),
			  PASS_OVER_MASK, directory, NULL);
}

int group_look_into(struct group *group, int directory)
{
	return group_mark(group, FAN_MARK_REMOVE | FAN_MARK_IGNORE, PASS_OVER_MASK, directory,
			  NULL);
}

void group_forget_all(struct group *group)
{
	if (group->has_marked) {
		(void)fanotify_mark(group->fd, FAN_MARK_FLUSH, 0, AT_FDCWD, NULL);
		group->unheard = group_count_queued(group);
		group->forgot_us = group->let_go_us = clock_monotonic_us();
		group->has_marked = false;
	}
	group->epoch++;
}
