/* SPDX-License-Identifier: GPL-2.0-only */
#include "renames.h"

#include "handle.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/fanotify.h>
#include <unistd.h>

/* FAN_ONDIR: of directories too. Moves of files come as well; there is no way not to have them. */
#define RENAMES_MASK (FAN_MOVE_SELF | FAN_ONDIR)

/* Room for what one read gives. A move takes a record with a handle; that events were lost is said
 * once. */
#define RENAMES_BUFFER_SIZE 4096
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

/* One event, where it is aligned: in what read() gives only the first one need be. */
struct renames_record {
	struct fanotify_event_metadata metadata;
	struct fanotify_event_info_header info;
	__kernel_fsid_t filesystem;
	unsigned size; /* struct file_handle; an array without a size can be no member */
	int type;
	unsigned char handle[MAX_HANDLE_SZ];
};
#define RENAMES_RECORD_SIZE_MIN offsetof(struct renames_record, handle)
_Static_assert(RENAMES_BUFFER_SIZE / RENAMES_RECORD_SIZE_MIN + 1 <= RENAMES_BATCH,
	       "a read must fit");

/* Returns whether the event counts. */
static bool renames_parse(const struct renames_record *record, size_t length,
			  struct renames_event *event)
{
	*event = (struct renames_event){.lost = record->metadata.mask & FAN_Q_OVERFLOW};
	if (event->lost || !(record->metadata.mask & FAN_ONDIR))
		return event->lost;
	if (length < RENAMES_RECORD_SIZE_MIN || record->info.info_type != FAN_EVENT_INFO_TYPE_FID ||
	    record->size > MAX_HANDLE_SZ)
		event->lost = true;
	else
		event->directory = handle_hash(record->type, record->handle, record->size);
	return true;
}

int renames_read(struct renames *renames, struct renames_event *events)
{
	char buffer[RENAMES_BUFFER_SIZE];
	ssize_t length = read(renames->fd, buffer, sizeof(buffer)), at = 0;
	struct renames_record record;
	int n = 0;

	if (length < 0)
		return -errno;
	while (length - at >= (ssize_t)sizeof(record.metadata)) {
		size_t rest = (size_t)(length - at);

		memcpy(&record, buffer + at, rest < sizeof(record) ? rest : sizeof(record));
		if (record.metadata.event_len < sizeof(record.metadata))
			break;
		n += renames_parse(&record, record.metadata.event_len, &events[n]);
		at += record.metadata.event_len;
	}
	return n;
}
