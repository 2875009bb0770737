/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * group: the two fanotify groups, and the only place that asks the kernel about opens.
 *
 * Whoever waits over a file holds on to its mark, and where that is taken back meanwhile the kernel
 * (seen on 6.18) lets everybody else open the file unasked until he goes on. So marks on files are
 * never taken back from a group that asks: when all are to go, the lower group, which never marks a
 * file, asks in place of the upper one until all whom that had asked have gone on. The kernel goes
 * by the upper group first, by its class, so that
 *
 * - who is asked by the lower one holds on to no mark of the upper one (on older kernels, to which
 *   one mark that was taken back is as good as another, he would let others in; and close() of the
 *   upper group would wait for him)
 * - an open is asked about in any case while the one takes the place of the other; maybe by both.
 *
 * Three kinds of mark, kept apart in mind and in code:
 *
 * - watch: on a superblock, or on a mount where the kernel knows no better; the kernel asks before
 *   every open of a file on it
 * - ignore: on a file; it was verified, do not ask until it is modified
 * - pass over: on a directory; it is out of scope, do not ask about the files directly in it. What
 *   is in there was never verified
 *
 * FAN_OPEN_EXEC_PERM is not subscribed: the kernel raises FAN_OPEN_PERM for the open of an exec as
 * well (fanotify(7)), so the second event would only double the cost of every exec.
 *
 * Nothing here waits, and nothing opens a file.
 */
#include "features.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/fanotify.h>

/* So many events are read at once. */
#define GROUP_BATCH 64

enum group_queue_name { GROUP_UPPER, GROUP_LOWER, GROUP_QUEUES };

/* Who asks. */
enum group_phase {
	GROUP_HOME,	/* the upper group: files and directories can be marked */
	GROUP_DOWN,	/* the lower one */
	GROUP_RETURNING /* both, for a moment: as GROUP_HOME */
};

/* What the kernel keeps for one of the groups, and we with it. */
struct group_queue {
	int fd;
	unsigned n_held;      /* opens that are not answered, see event.h */
	uint64_t answered_us; /* when one was, the last time; monotonic */

	/* Where the kernel puts events, so that none is ever in nobody's hands: what has a length
	 * has been read, and group_take() has not been called for it. */
	struct fanotify_event_metadata inbox[GROUP_BATCH];
};

/* In memory that outlives us, see estate.h. */
struct group {
	struct group_queue queues[GROUP_QUEUES];
	enum group_phase phase;
	uint64_t phase_us; /* since when; monotonic */
	bool has_marked;   /* a file or a directory */
	unsigned epoch; /* counts group_forget_all(): whoever keeps a list of marks compares it */
	struct features features; /* but FEATURE_OVERLAY_EVENTS, see group_sees_layers() */
	bool overlay_probed;
};

enum group_event_type {
	GROUP_OPEN,	    /* an opener waits: answer with group_answer(), then close fd */
	GROUP_CLOSED_WRITE, /* somebody closed it after writing: close fd */
	GROUP_OVERFLOW	    /* the kernel lost events; fd is -1 */
};

struct group_event {
	enum group_event_type type;
	int fd;
	int32_t pid;	/* 0: the process is not visible from here */
	uint16_t queue; /* whose it is */
	uint16_t place; /* in the inbox */
};

/*
 * group_sees_layers() says whether an open through an overlay raises an event for the layer's file,
 * if that is on a marked superblock: 1 or 0; or a negative errno where that could not be found out.
 */
int group_sees_layers(struct group *group);

/* group_init() makes the groups. Needs CAP_SYS_ADMIN. Returns 0 or a negative errno. */
int group_init(struct group *group);
void group_deinit(struct group *group);

/*
 * group_read() reads up to GROUP_BATCH events of a queue; the caller owns their descriptors.
 * Returns how many, 0 when there are none, or a negative errno. *ret_lost: an event could not be
 * handed over, as the kernel could not open its file for us. An open was refused then; but it may
 * also have been the news that a file was closed after writing, so that no mark on any file can be
 * trusted.
 */
int group_read(struct group *group, unsigned queue, struct group_event *events, bool *ret_lost);

/* group_has_unread() says whether the kernel has told of anything that was not read. */
bool group_has_unread(const struct group *group);

/* group_take() notes that an event is in other hands, or done with; not yet closed then. */
void group_take(struct group *group, const struct group_event *event);

/* group_left() does as group_read(), with what a guard before us has read and not taken. */
int group_left(const struct group *group, unsigned queue, struct group_event *events);

/* group_answer() lets the opener behind an event of that queue go on or refuses it. fd must still
 * be open, and stays so. */
void group_answer(struct group *group, unsigned queue, int fd, bool allow);

/*
 * group_watch() marks what path is on, NULL: what the file of fd is on: its superblock, or its
 * mount where there is no FEATURE_FILESYSTEM_MARKS; for the group that asks, and no more for the
 * other one. group_unwatch() takes that back. Return 0 or a negative errno: then those who asked
 * before still do.
 */
int group_watch(const struct group *group, int fd, const char *path);
int group_unwatch(const struct group *group, const char *path);

/* group_watch_steadily() does it for good, see remote.h: no file on there is ever marked. */
int group_watch_steadily(const struct group *group, const char *path);

/*
 * group_forget_all() makes all marks on files and directories go, and group_tick() goes on with
 * that: to be called now and then unless the phase is GROUP_HOME. Both return whether it is another
 * phase now: then all that is watched must be, once more; and after that group_flush() removes the
 * marks. See watch_forget_all().
 */
bool group_forget_all(struct group *group);
bool group_tick(struct group *group);
void group_flush(struct group *group);

/* group_may_mark() says whether files and directories can be marked at present. */
bool group_may_mark(const struct group *group);

/*
 * group_lock_out_writers() takes a read lease on a file: granted only where nobody has it open for
 * writing and no writable mapping of it exists, and until group_let_writers_in() whoever wants to
 * write waits. So hold it for microseconds only. Returns whether it was granted.
 */
bool group_lock_out_writers(int fd);
void group_let_writers_in(int fd);

/*
 * group_ignore() tells the kernel not to ask about this file until it is modified. Only with
 * writers locked out, and for the very bytes that were verified. Only while group_may_mark().
 * Returns whether it was done.
 */
bool group_ignore(struct group *group, int fd);

/* group_forget() takes that back for one file. Returns whether it was marked, or once has been. */
bool group_forget(struct group *group, int fd);

/* group_forget_path_only() does it by a descriptor opened with O_PATH. */
bool group_forget_path_only(struct group *group, int fd);

/*
 * group_pass_over() tells the kernel not to ask about the files directly in a directory, wherever
 * it is moved; group_look_into() takes that back. Needs FEATURE_IGNORE_MARKS and group_may_mark().
 * Return 0 or a negative errno.
 */
int group_pass_over(struct group *group, int directory);
int group_look_into(struct group *group, int directory);
