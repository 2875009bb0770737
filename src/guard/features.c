/* SPDX-License-Identifier: GPL-2.0-only */
#include "features.h"

#include "../common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* How long the overlay may take to raise its event before it is taken that there is none. */
#define OVERLAY_PATIENCE_MS 2000

#define OVERLAY_STACK_SIZE 65536

static const char *const names[FEATURE_COUNT] = {
	[FEATURE_FILESYSTEM_MARKS] = "filesystem-marks",
	[FEATURE_EVICTABLE_MARKS] = "evictable-marks",
	[FEATURE_IGNORE_MARKS] = "ignore-marks",
	[FEATURE_RENAME_WATCH] = "rename-watch",
	[FEATURE_OVERLAY_EVENTS] = "overlay-events",
	[FEATURE_UNIQUE_MOUNT_IDS] = "unique-mount-ids",
};

const char *feature_name(enum feature feature)
{
	return (unsigned)feature < FEATURE_COUNT ? names[feature] : "unknown";
}

/* FEATURE_COUNT: there is no such feature. */
static enum feature feature_find(const char *name, size_t length)
{
	enum feature feature = 0;

	while (feature < FEATURE_COUNT &&
	       (strlen(names[feature]) != length || strncmp(names[feature], name, length) != 0))
		feature++;
	return feature;
}

static bool features_listed(const char *list, enum feature feature)
{
	for (const char *name = list; name && *name; name += strspn(name, ",")) {
		size_t length = strcspn(name, ",");

		if (feature_find(name, length) == feature)
			return true;
		name += length;
	}
	return false;
}

/* procfs takes every kind of mark but one with permission events, so nothing can hang on this one.
 */
static bool probe_filesystem_marks(int group_fd)
{
	if (fanotify_mark(group_fd, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_CLOSE_WRITE, AT_FDCWD,
			  "/proc") < 0)
		return false;
	(void)fanotify_mark(group_fd, FAN_MARK_REMOVE | FAN_MARK_FILESYSTEM, FAN_CLOSE_WRITE,
			    AT_FDCWD, "/proc");
	return true;
}

/* Tries an ignore mark on a file that nobody opens. */
static bool probe_file_mark(int group_fd, unsigned flags)
{
	int fd = memfd_create("holdfast-probe", MFD_CLOEXEC);
	bool known;

	if (fd < 0)
		return false;
	known = fanotify_mark(group_fd, FAN_MARK_ADD | flags, FAN_OPEN_PERM, fd, NULL) == 0;
	close(fd);
	return known;
}

static bool probe_rename_watch(void)
{
	int fd = fanotify_init(FAN_CLASS_NOTIF | FAN_REPORT_FID | FAN_CLOEXEC, O_RDONLY);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static bool probe_unique_mount_ids(void)
{
	struct statx status;

	return statx(AT_FDCWD, "/", AT_STATX_DONT_SYNC, STATX_MNT_ID_UNIQUE, &status) == 0 &&
	       status.stx_mask & STATX_MNT_ID_UNIQUE;
}

void features_probe(struct features *features, int group_fd, const char *without)
{
	*features = (struct features){
		.has = {
			[FEATURE_FILESYSTEM_MARKS] = probe_filesystem_marks(group_fd),
			[FEATURE_EVICTABLE_MARKS] = probe_file_mark(
				group_fd, FAN_MARK_IGNORED_MASK | FAN_MARK_EVICTABLE),
			[FEATURE_IGNORE_MARKS] = probe_file_mark(group_fd, FAN_MARK_IGNORE),
			[FEATURE_RENAME_WATCH] = probe_rename_watch(),
			[FEATURE_UNIQUE_MOUNT_IDS] = probe_unique_mount_ids(),
		}};
	for (enum feature feature = 0; feature < FEATURE_COUNT; feature++)
		if (features_listed(without, feature))
			features->has[feature] = false;
	if (features_listed(without, FEATURE_COUNT))
		log_warning("HOLDFAST_WITHOUT=%s names a feature that there is not", without);
}

/* --- overlay --- */

/*
 * An overlay on a tmpfs of its own, in the mount namespace of a thread. The thread opens a file in
 * it; if that raises an event on the tmpfs, it waits until it is answered.
 */
struct overlay_probe {
	int group;
	int ready; /* eventfd: the overlay is mounted, or could not be */
	bool mounted;
	int done; /* eventfd: the open has returned */
	bool opened;
};

static void signal_event(int fd)
{
	const uint64_t one = 1;

	(void)!write(fd, &one, sizeof(one));
}

/*
 * Everything is mounted over /proc, which exists everywhere, for this thread alone. Two layers that
 * are only read: one to be written to wants capabilities that the guard does not have.
 */
static bool overlay_mount(int group_fd)
{
	const unsigned long flags = MS_NODEV | MS_NOSUID | MS_NOEXEC;
	int fd;

	if (unshare(CLONE_FS | CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", "/proc", "tmpfs", flags, "size=64k") < 0 ||
	    mkdir("/proc/upper", 0700) < 0 || mkdir("/proc/lower", 0700) < 0 ||
	    mkdir("/proc/merged", 0700) < 0)
		return false;
	fd = open("/proc/lower/file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0)
		return false;
	close(fd);
	return mount("overlay", "/proc/merged", "overlay", flags,
		     "lowerdir=/proc/upper:/proc/lower") == 0 &&
	       fanotify_mark(group_fd, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_OPEN_PERM, AT_FDCWD,
			     "/proc/lower") == 0;
}

static void *overlay_open(void *argument)
{
	struct overlay_probe *probe = argument;
	int fd = -1;

	probe->mounted = overlay_mount(probe->group);
	signal_event(probe->ready);
	if (probe->mounted)
		fd = open("/proc/merged/file", O_RDONLY | O_CLOEXEC);
	probe->opened = fd >= 0;
	if (fd >= 0)
		close(fd);
	signal_event(probe->done);
	return NULL;
}

/* Waits for the thread's open, and answers the event if one comes. Returns whether one did. */
static int overlay_watch(struct overlay_probe *probe)
{
	struct pollfd fds[] = {{.fd = probe->done, .events = POLLIN},
			       {.fd = probe->group, .events = POLLIN}};
	struct fanotify_event_metadata metadata;
	int seen = 0;

	while (poll(fds, 2, OVERLAY_PATIENCE_MS) > 0) {
		struct fanotify_response response = {.response = FAN_ALLOW};

		if (fds[0].revents)
			return probe->opened ? seen : -EIO;
		if (read(probe->group, &metadata, sizeof(metadata)) != sizeof(metadata))
			return -EIO;
		response.fd = metadata.fd;
		(void)!write(probe->group, &response, sizeof(response));
		close(metadata.fd);
		seen = 1;
	}
	return -ETIMEDOUT;
}

/* With the group and both signals there. */
static int overlay_try(struct overlay_probe *probe)
{
	pthread_attr_t attributes;
	pthread_t thread;
	uint64_t unused;
	int r;

	(void)pthread_attr_init(&attributes);
	(void)pthread_attr_setstacksize(&attributes, OVERLAY_STACK_SIZE);
	r = pthread_create(&thread, &attributes, overlay_open, probe);
	(void)pthread_attr_destroy(&attributes);
	if (r != 0)
		return -r;
	(void)!read(probe->ready, &unused, sizeof(unused));
	r = probe->mounted ? overlay_watch(probe) : -ENOTSUP;
	/* Lets the thread go, if it still waits. */
	close(probe->group);
	probe->group = -1;
	(void)pthread_join(thread, NULL);
	return r;
}

int features_probe_overlay(const char *without)
{
	struct overlay_probe probe = {
		.group = fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC, O_RDONLY | O_CLOEXEC),
		.ready = eventfd(0, EFD_CLOEXEC),
		.done = eventfd(0, EFD_CLOEXEC),
	};
	const int *fds[] = {&probe.group, &probe.ready, &probe.done};
	int r = 0;

	if (!features_listed(without, FEATURE_OVERLAY_EVENTS))
		r = probe.group < 0 || probe.ready < 0 || probe.done < 0 ? -EMFILE
									 : overlay_try(&probe);
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (*fds[i] >= 0)
			close(*fds[i]);
	return r;
}
