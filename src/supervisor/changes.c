/* SPDX-License-Identifier: GPL-2.0-only */
#include "changes.h"

#include "../common/clock.h"
#include "../common/filesystem.h"
#include "../common/log.h"
#include "../common/mounts.h"
#include "../common/signature.h"
#include "service.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

/* Several files are changed one after the other: a reload waits until it has been quiet for so
 * long, but not for ever. */
#define QUIET_US (10 * CLOCK_US_PER_SEC)
#define WAIT_US	 (120 * CLOCK_US_PER_SEC)

/* IN_ATTRIB: it may have been unreadable. IN_CREATE: a link, symbolic or not, raises nothing else;
 * nor does a file that is then written, until it is (IN_MODIFY), which is of no use before it is
 * closed. */
#define CHANGED (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ATTRIB)
#define WATCHED (CHANGED | IN_CREATE | IN_MODIFY)
#define GONE	(IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT)

/* --- beginning to watch --- */

/* Whether a directory is on a filesystem that others change without an event. */
static bool changes_is_remote(const char *directory)
{
	FILE *stream = fopen("/proc/self/mountinfo", "re");
	char *path = conf_resolve_path(directory);
	struct mounts mounts = {0};
	const struct mount *mount = NULL;
	bool remote;

	if (stream && path && mounts_read(&mounts, stream) == 0)
		mount = mounts_of_path(&mounts, path);
	remote = mount && filesystem_kind(mount->type) == FILESYSTEM_REMOTE;
	mounts_free(&mounts);
	free(path);
	if (stream)
		(void)fclose(stream);
	return remote;
}

int changes_open(const struct conf *conf, char *problem, size_t problem_size)
{
	static const char not_noticed[] = "changes in %s are not noticed, so reload after them: %s";
	char directory[PATH_MAX];
	int fd;

	(void)conf_signatures_dir(conf, directory, sizeof(directory));
	if (changes_is_remote(directory)) {
		(void)snprintf(problem, problem_size, not_noticed, directory,
			       "it is on a network or FUSE filesystem");
		return -1;
	}
	fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (fd >= 0 && inotify_add_watch(fd, directory, WATCHED | IN_MOVE_SELF | IN_ONLYDIR) >= 0)
		return fd;
	(void)snprintf(problem, problem_size, not_noticed, directory, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

/* --- what happens in it --- */

static void changes_close(struct changes *changes)
{
	changes->source = sd_event_source_disable_unref(changes->source);
	if (changes->fd >= 0)
		close(changes->fd);
	changes->fd = -1;
}

/* Directories and files of other names come and go in freshclam's directory. */
static bool changes_concerns(const struct inotify_event *event)
{
	if (event->mask & IN_Q_OVERFLOW)
		return true;
	if (!(event->mask & WATCHED) || !event->len)
		return false;
	return !strcmp(event->name, SIGNATURE_CURRENT) ||
	       (!(event->mask & IN_ISDIR) && signature_is_file(event->name));
}

static void changes_note(struct changes *changes, uint32_t mask)
{
	uint64_t now = clock_monotonic_us();

	if (mask & IN_CREATE) {
		changes->created_us = now;
		return;
	}
	if (mask & IN_MODIFY) {
		/* What was created is being written, however slowly: its end will be told, and what
		 * else has changed waits for it. */
		changes->created_us = 0;
		if (changes->first_us)
			changes->last_us = now;
		return;
	}
	changes->last_us = now;
	if (!changes->first_us)
		changes->first_us = now;
}

static void changes_take_event(struct service *service, const struct inotify_event *event)
{
	struct changes *changes = &service->changes;
	char directory[PATH_MAX];

	if (changes->fd < 0)
		return; /* what follows the warning below */
	if (changes_concerns(event))
		changes_note(changes, event->mask);
	if (!(event->mask & GONE))
		return;
	log_warning("the directory of signatures, %s, was moved, removed or unmounted: what is "
		    "loaded stays in use, and changes are not noticed until the next reload",
		    conf_signatures_dir(service->conf, directory, sizeof(directory)));
	changes->first_us = changes->last_us = changes->created_us = 0;
	changes_close(changes);
}

static void changes_read(struct service *service)
{
	union {
		struct inotify_event align;
		char bytes[16 * (sizeof(struct inotify_event) + NAME_MAX + 1)];
	} buffer;
	ssize_t n;

	while (service->changes.fd >= 0 &&
	       (n = read(service->changes.fd, buffer.bytes, sizeof(buffer.bytes))) > 0)
		for (const char *at = buffer.bytes; at < buffer.bytes + n;) {
			const struct inotify_event *event = (const void *)at;

			changes_take_event(service, event);
			at += sizeof(*event) + event->len;
		}
}

static int changes_on_event(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	changes_read(userdata);
	return 0;
}

void changes_watch(struct service *service, int fd, const char *problem)
{
	struct changes *changes = &service->changes;

	changes_close(changes);
	/* Once, and not at each reload. */
	if (*problem && strcmp(changes->problem, problem) != 0)
		log_info("%s", problem);
	(void)snprintf(changes->problem, sizeof(changes->problem), "%s", problem);
	changes->fd = fd;
	if (fd >= 0 && sd_event_add_io(service->event, &changes->source, fd, EPOLLIN,
				       changes_on_event, service) < 0)
		changes_close(changes);
}

void changes_forget(struct service *service)
{
	changes_read(service);
	service->changes.first_us = service->changes.last_us = service->changes.created_us = 0;
}

void changes_tick(struct service *service)
{
	const struct changes *changes = &service->changes;
	uint64_t now = clock_monotonic_us();
	bool is_quiet = now - changes->last_us >= QUIET_US && now - changes->created_us >= QUIET_US;

	if (!(changes->first_us && (is_quiet || now - changes->first_us >= WAIT_US)) &&
	    !(changes->created_us && is_quiet))
		return;
	log_notice("the signatures have changed: they are reloaded");
	changes_forget(service);
	reload_begin_unasked(service);
}
