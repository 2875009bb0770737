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

/* Who has been answered has run by then, unless somebody keeps him from the processor: see the
 * limits in docs/ARCHITECTURE.md. */
#define GONE_ON_US CLOCK_US_PER_SEC

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

static int queue_init(struct group_queue *queue, unsigned class)
{
	queue->fd = fanotify_init(class | FAN_CLOEXEC | FAN_NONBLOCK | FAN_UNLIMITED_QUEUE |
					  FAN_UNLIMITED_MARKS,
				  EVENT_FLAGS);
	return queue->fd < 0 ? -errno : 0;
}

int group_init(struct group *group)
{
	int r;

	group->queues[GROUP_LOWER].fd = -1;
	r = queue_init(&group->queues[GROUP_UPPER], FAN_CLASS_PRE_CONTENT);
	if (r == 0)
		r = queue_init(&group->queues[GROUP_LOWER], FAN_CLASS_CONTENT);
	if (r < 0)
		return r;
	features_probe(&group->features, group->queues[GROUP_UPPER].fd, getenv("HOLDFAST_WITHOUT"));
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
	for (unsigned i = 0; i < GROUP_QUEUES; i++) {
		if (group->queues[i].fd >= 0)
			close(group->queues[i].fd);
		group->queues[i].fd = -1;
	}
}

/* How many events the kernel has for us. */
static unsigned queue_count_unread(const struct group_queue *queue)
{
	int bytes = 0;

	(void)ioctl(queue->fd, FIONREAD, &bytes);
	return (unsigned)bytes / sizeof(queue->inbox[0]);
}

int group_read(struct group *group, unsigned queue, struct group_event *events, bool *ret_lost)
{
	struct group_queue *from = &group->queues[queue];
	/* With a lease on its file an event is thrown away; if others came before it in this
	 * batch, read() does not even say so. */
	int n, unread = (int)queue_count_unread(from), error;
	ssize_t length;

	*ret_lost = false;
	if (!unread)
		return 0;
	/* All of one length: none of the FAN_REPORT_ flags that add records is set. */
	length = read(from->fd, from->inbox, sizeof(from->inbox));
	error = errno;
	n = length < 0 ? 0 : (int)((size_t)length / sizeof(from->inbox[0]));
	*ret_lost = n < GROUP_BATCH && n < unread;
	if (length < 0)
		return error == EAGAIN || error == EINTR ? 0 : -error;
	return group_left(group, queue, events);
}

int group_left(const struct group *group, unsigned queue, struct group_event *events)
{
	int n = 0;

	for (unsigned i = 0; i < GROUP_BATCH; i++) {
		const struct fanotify_event_metadata *metadata = &group->queues[queue].inbox[i];

		if (!metadata->event_len)
			continue;
		events[n++] = (struct group_event){
			.type = metadata->mask & FAN_Q_OVERFLOW	 ? GROUP_OVERFLOW
				: metadata->mask & FAN_OPEN_PERM ? GROUP_OPEN
								 : GROUP_CLOSED_WRITE,
			.fd = metadata->fd,
			.pid = metadata->pid,
			.queue = (uint16_t)queue,
			.place = (uint16_t)i,
		};
	}
	return n;
}

bool group_has_unread(const struct group *group)
{
	for (unsigned i = 0; i < GROUP_QUEUES; i++)
		if (queue_count_unread(&group->queues[i]))
			return true;
	return false;
}

void group_take(struct group *group, const struct group_event *event)
{
	*(volatile __u32 *)&group->queues[event->queue].inbox[event->place].event_len = 0;
}

void group_answer(struct group *group, unsigned queue, int fd, bool allow)
{
	const struct fanotify_response response = {.fd = fd,
						   .response = allow ? FAN_ALLOW : FAN_DENY};
	ssize_t n;

	/* The only failure is ENOENT: the opener was killed while it waited and needs no answer. */
	do
		n = write(group->queues[queue].fd, &response, sizeof(response));
	while (n < 0 && errno == EINTR);
	group->queues[queue].answered_us = clock_monotonic_us();
}

static int queue_mark(const struct group_queue *queue, unsigned flags, uint64_t mask, int fd,
		      const char *path)
{
	return fanotify_mark(queue->fd, flags, mask, fd, path) < 0 ? -errno : 0;
}

static int queue_watch(const struct group *group, unsigned queue, unsigned what, int fd,
		       const char *path)
{
	return queue_mark(&group->queues[queue], what | group_watch_flags(group), WATCH_MASK, fd,
			  path);
}

static bool group_asks(const struct group *group, unsigned queue)
{
	return queue == GROUP_UPPER ? group->phase != GROUP_DOWN : group->phase != GROUP_HOME;
}

int group_watch(const struct group *group, int fd, const char *path)
{
	int r = 0;

	for (unsigned i = 0; i < GROUP_QUEUES && r == 0; i++)
		if (group_asks(group, i))
			r = queue_watch(group, i, FAN_MARK_ADD, fd, path);
	/* In this order, so that somebody asks all the time. */
	for (unsigned i = 0; i < GROUP_QUEUES && r == 0; i++)
		if (!group_asks(group, i))
			(void)queue_watch(group, i, FAN_MARK_REMOVE, fd, path);
	return r;
}

int group_unwatch(const struct group *group, const char *path)
{
	int r = queue_watch(group, GROUP_UPPER, FAN_MARK_REMOVE, AT_FDCWD, path),
	    other = queue_watch(group, GROUP_LOWER, FAN_MARK_REMOVE, AT_FDCWD, path);

	return r < 0 ? other : r;
}

int group_watch_steadily(const struct group *group, const char *path)
{
	return queue_watch(group, GROUP_LOWER, FAN_MARK_ADD, AT_FDCWD, path);
}

static bool group_enter(struct group *group, enum group_phase phase)
{
	group->phase_us = clock_monotonic_us();
	group->phase = phase;
	return true;
}

bool group_forget_all(struct group *group)
{
	group->epoch++;
	if (group->has_marked)
		return group_enter(group, GROUP_DOWN);
	/* The guard before us may just have begun with it. */
	if (group->phase == GROUP_RETURNING)
		group->phase_us = clock_monotonic_us();
	return false;
}

/* Whether nobody waits for it, nor may have been answered and not have run yet. */
static bool queue_is_free(const struct group_queue *queue, uint64_t now)
{
	if (queue->n_held || queue_count_unread(queue))
		return false;
	for (unsigned i = 0; i < GROUP_BATCH; i++)
		if (queue->inbox[i].event_len)
			return false;
	return now > queue->answered_us + GONE_ON_US;
}

bool group_tick(struct group *group)
{
	uint64_t now = clock_monotonic_us();

	/* Whoever had begun to open a file when the phase began has been asked about by then. */
	if (now < group->phase_us + GONE_ON_US)
		return false;
	switch (group->phase) {
	case GROUP_DOWN:
		return !group->has_marked && queue_is_free(&group->queues[GROUP_UPPER], now) &&
		       group_enter(group, GROUP_RETURNING);
	case GROUP_RETURNING:
		return group_enter(group, GROUP_HOME);
	case GROUP_HOME:
	default:
		return false;
	}
}

void group_flush(struct group *group)
{
	if (group->phase == GROUP_DOWN && group->has_marked) {
		(void)queue_mark(&group->queues[GROUP_UPPER], FAN_MARK_FLUSH, 0, AT_FDCWD, NULL);
		group->has_marked = false;
	}
}

bool group_may_mark(const struct group *group)
{
	return group->phase != GROUP_DOWN;
}

/* On a file or a directory. */
static int group_mark(const struct group *group, unsigned flags, uint64_t mask, int fd,
		      const char *path)
{
	return queue_mark(&group->queues[GROUP_UPPER], flags, mask, fd, path);
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
