/* SPDX-License-Identifier: GPL-2.0-only */
#include "renames.h"

#include "handle.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/fanotify.h>
#include <unistd.h>

/* FAN_ONDIR: of directories too. Moves of files come as well; there is no way not to have them. */
#define RENAMES_MASK (FAN_MOVE_SELF | FAN_ONDIR)

/* Room for what one read gives. A move takes a record with a handle; that events were lost is said
 * once. */
#define RENAMES_BUFFER_SIZE 4096
#define RENAMES_EVENT_SIZE_MIN                                                                     \
	(sizeof(struct fanotify_event_metadata) + sizeof(struct fanotify_event_info_fid) +         \
	 sizeof(struct file_handle))
_Static_assert(RENAMES_BUFFER_SIZE / RENAMES_EVENT_SIZE_MIN + 1 <= RENAMES_BATCH,
	       "a read must fit");

int renames_init(struct renames *renames)
{
	/* The queue is bounded, fs.fanotify.max_queued_events: who renames faster than we read
	 * makes it overflow, which is reported, and costs time but no safety. */
	renames->fd = fanotify_init(FAN_CLASS_NOTIF | FAN_REPORT_FID | FAN_CLOEXEC | FAN_NONBLOCK |
					    FAN_UNLIMITED_MARKS,
				    O_RDONLY);
	return renames->fd < 0 ? -errno : 0;
}

void renames_deinit(struct renames *renames)
{
	if (renames->fd >= 0)
		close(renames->fd);
	renames->fd = -1;
}

int renames_watch(struct renames *renames, const char *path)
{
	return fanotify_mark(renames->fd, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, RENAMES_MASK,
			     AT_FDCWD, path) < 0
		       ? -errno
		       : 0;
}

void renames_unwatch(struct renames *renames, const char *path)
{
	(void)fanotify_mark(renames->fd, FAN_MARK_REMOVE | FAN_MARK_FILESYSTEM, RENAMES_MASK,
			    AT_FDCWD, path);
}

/* Returns whether the event counts. */
static bool renames_parse(const struct fanotify_event_metadata *metadata,
			  struct renames_event *event)
{
	const struct fanotify_event_info_fid *info = (const void *)(metadata + 1);
	const struct file_handle *handle = (const void *)info->handle;

	*event = (struct renames_event){.lost = metadata->mask & FAN_Q_OVERFLOW};
	if (event->lost || !(metadata->mask & FAN_ONDIR))
		return event->lost;
	if (metadata->event_len < sizeof(*metadata) + sizeof(*info) + sizeof(*handle) ||
	    info->hdr.info_type != FAN_EVENT_INFO_TYPE_FID)
		event->lost = true;
	else
		event->directory =
			handle_hash(handle->handle_type, handle->f_handle, handle->handle_bytes);
	return true;
}

int renames_read(struct renames *renames, struct renames_event *events)
{
	_Alignas(struct fanotify_event_metadata) char buffer[RENAMES_BUFFER_SIZE];
	const struct fanotify_event_metadata *metadata;
	ssize_t length = read(renames->fd, buffer, sizeof(buffer));
	int n = 0;

	if (length < 0)
		return -errno;
	for (const char *at = buffer; FAN_EVENT_OK((metadata = (const void *)at), length);
	     length -= metadata->event_len, at += metadata->event_len)
		n += renames_parse(metadata, &events[n]);
	return n;
}
