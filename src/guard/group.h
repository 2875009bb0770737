/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * group: the fanotify group, and the only place that asks the kernel about opens.
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

/* In memory that outlives us, see estate.h. */
struct group {
	int fd;
	struct features features; /* but FEATURE_OVERLAY_EVENTS, see group_sees_layers() */
	bool overlay_probed;
	unsigned epoch;	 /* counts group_forget_all(): whoever keeps a list of marks compares it */
	bool has_marked; /* a file or a directory, since then */

	/* All times are monotonic. */
	uint64_t drained_us; /* when the kernel had no more events for us than were read */
	uint64_t forgot_us;  /* when such marks were removed last; 0: never */
	unsigned unheard;    /* events that the kernel had queued then and that are not read yet */
	uint64_t let_go_us;  /* when the last was answered of those who waited then */

	/* Where the kernel puts events, so that none is ever in nobody's hands: what has a length
	 * has been read, and group_take() has not been called for it. */
	struct fanotify_event_metadata inbox[GROUP_BATCH];
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
	unsigned place; /* in the inbox */
};

/*
 * group_sees_layers() says whether an open through an overlay raises an event for the layer's file,
 * if that is on a marked superblock: 1 or 0; or a negative errno where that could not be found out.
 */
int group_sees_layers(struct group *group);

/* group_init() makes the group. Needs CAP_SYS_ADMIN. Returns 0 or a negative errno. */
int group_init(struct group *group);
void group_deinit(struct group *group);

/*
 * group_read() reads up to GROUP_BATCH events; the caller owns their descriptors. Returns how many,
 * 0 when there are none, or a negative errno. *ret_lost: an event could not be handed over, as the
 * kernel could not open its file for us. An open was refused then; but it may also have been the
 * news that a file was closed after writing, so that no mark on any file can be trusted.
 */
int group_read(struct group *group, struct group_event *events, bool *ret_lost);

/* group_has_unread() says whether the kernel has told of anything that was not read. */
bool group_has_unread(const struct group *group);

/* group_take() notes that an event is in other hands, or done with; not yet closed then. */
void group_take(struct group *group, const struct group_event *event);

/* group_left() does as group_read(), with what a guard before us has read and not taken. */
int group_left(const struct group *group, struct group_event *events);

/* group_answer() lets the opener behind fd, who has waited since arrived_us, go on or refuses it.
 * fd must still be open, and stays so. */
void group_answer(struct group *group, int fd, uint64_t arrived_us, bool allow);

/*
 * group_watch() and group_unwatch() set and remove the mark on what path is on: its superblock, or
 * its mount where there is no FEATURE_FILESYSTEM_MARKS. Return 0 or a negative errno.
 */
int group_watch(struct group *group, const char *path);
int group_unwatch(struct group *group, const char *path);

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

/*
 * group_may_ignore() says whether a file may be marked so whose openers have waited since began_us.
 * The kernel keeps a mark that was removed until the last opener who waited over it has gone on. So
 * that it goes before another one ignores anything, all who waited at group_forget_all() are
 * answered first, and given a second.
 */
bool group_may_ignore(const struct group *group, uint64_t began_us);

/* group_forget() takes that back for one file. Returns whether it was marked, or once has been. */
bool group_forget(struct group *group, int fd);

/* group_forget_path_only() does it by a descriptor opened with O_PATH. */
bool group_forget_path_only(struct group *group, int fd);

/* group_listen() gives a file a mark that ignores nothing, group_listen_path_only() does it by a
 * descriptor opened with O_PATH. See gate_listen_again(). */
void group_listen(struct group *group, int fd);
void group_listen_path_only(struct group *group, int fd);

/*
 * group_pass_over() tells the kernel not to ask about the files directly in a directory, wherever
 * it is moved; group_look_into() takes that back. Needs FEATURE_IGNORE_MARKS. Return 0 or a
 * negative errno.
 */
int group_pass_over(struct group *group, int directory);
int group_look_into(struct group *group, int directory);

/* group_forget_all() removes all marks from files and directories: new signatures came. */
void group_forget_all(struct group *group);
