/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * group: the fanotify groups, and the only place that asks the kernel about opens.
 *
 * One of them asks at a time; the others are called queues here, too, and give answers that are
 * still due. Whoever waits over a file holds on to its mark, and where that is taken back meanwhile
 * the kernel (seen on 6.18) lets everybody else open the file unasked until he goes on. So marks
 * are never taken back from the group that asks: when all are to go, another one without any begins
 * to ask, and takes no marks again until all who waited for its answers have gone on.
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

/* So often may all marks go while one opener waits. The kernel lets a user have 128 groups
 * (fs.fanotify.max_user_groups). */
#define GROUP_QUEUES 8

/* This one also asks about filesystems whose marks cannot be moved to another one, see remote.h. */
#define GROUP_STEADY_QUEUE 0

struct group_queue {
	int fd;
	bool has_marked;      /* a file or a directory */
	unsigned n_held;      /* opens that are not answered, see event.h */
	uint64_t answered_us; /* when one was, or when it left off asking; monotonic */

	/* Where the kernel puts events, so that none is ever in nobody's hands: what has a length
	 * has been read, and group_take() has not been called for it. */
	struct fanotify_event_metadata inbox[GROUP_BATCH];
};

/* In memory that outlives us, see estate.h. */
struct group {
	struct group_queue queues[GROUP_QUEUES];
	unsigned current;	  /* the one that asks, and that marks are set in */
	struct features features; /* but FEATURE_OVERLAY_EVENTS, see group_sees_layers() */
	bool overlay_probed;
	unsigned epoch; /* counts how often all marks went: whoever keeps a list of them compares */
	uint64_t rests_until_us; /* no file or directory is marked before; monotonic */
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
 * group_watch() and group_unwatch() set and remove the mark of a queue on what path is on: its
 * superblock, or its mount where there is no FEATURE_FILESYSTEM_MARKS. Return 0 or a negative
 * errno.
 */
int group_watch(const struct group *group, unsigned queue, const char *path);
int group_unwatch(const struct group *group, unsigned queue, const char *path);

/*
 * group_next() returns a queue that nobody waits for and that has marked nothing, so that it can be
 * the one that asks; -1: there is none. group_turn() makes it that one: whatever it is to watch
 * must be watched by then, and the marks of all others on files and directories are removed.
 * Without one, by -1, they are removed all the same: whoever waits then lets others in. See
 * watch_forget_all().
 */
int group_next(const struct group *group);
void group_turn(struct group *group, int next);

/*
 * group_lock_out_writers() takes a read lease on a file: granted only where nobody has it open for
 * writing and no writable mapping of it exists, and until group_let_writers_in() whoever wants to
 * write waits. So hold it for microseconds only. Returns whether it was granted.
 */
bool group_lock_out_writers(int fd);
void group_let_writers_in(int fd);

/*
 * group_ignore() tells the kernel not to ask about this file until it is modified. Only with
 * writers locked out, and for the very bytes that were verified. Returns whether it was done.
 */
bool group_ignore(struct group *group, int fd);

/* group_rest() sees to it that no file or directory is marked for a while: whoever can make all
 * marks go must not do so more often than there are queues for. */
void group_rest(struct group *group);

/* group_forget() takes that back for one file. Returns whether it was marked, or once has been. */
bool group_forget(struct group *group, int fd);

/* group_forget_path_only() does it by a descriptor opened with O_PATH. */
bool group_forget_path_only(struct group *group, int fd);

/*
 * group_pass_over() tells the kernel not to ask about the files directly in a directory, wherever
 * it is moved; group_look_into() takes that back. Needs FEATURE_IGNORE_MARKS. Return 0 or a
 * negative errno.
 */
int group_pass_over(struct group *group, int directory);
int group_look_into(struct group *group, int directory);
