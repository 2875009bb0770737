/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * event: an open that the kernel holds until we answer.
 *
 * An event is an owned value. Whoever has it answers it, exactly once: event_answer() consumes it,
 * and there is no other way to get rid of one. All events live in one bounded table, so that none
 * is allocated while an opener waits; and in memory that outlives us, as the kernel's question does
 * (estate.h).
 */
#include "group.h"

#include <stdatomic.h>

/* At most so many opens can be held at once. When no event is free the guard stops reading; the
 * kernel keeps the opens in its own queue. */
#define EVENTS_MAX 16384

struct event {
	struct event *prev, *next; /* its owner's list */
	int fd;
	int32_t pid;
	uint32_t queue;	     /* of the group */
	uint64_t arrived_us; /* clock_monotonic_us() */
	uint32_t crashes;    /* of guards that were deciding over it */
	_Atomic bool held;   /* it has not been answered */
};

struct event_table {
	struct group *group;
	struct event *events; /* all of them; not owned */
	struct event *unused; /* singly linked by next */
	unsigned n_held, max;
};

/*
 * event_table_init() makes a table of max events: EVENTS_MAX, or fewer where descriptors are short.
 * What the memory says is held is held; all zero: nothing is.
 */
void event_table_init(struct event_table *table, struct group *group, struct event *events,
		      unsigned max);

/* event_new() makes an event of an open; the descriptor goes with it. NULL: the table is full. */
struct event *event_new(struct event_table *table, const struct group_event *open, uint64_t now_us);

/* event_find() returns the held event with this descriptor; NULL: there is none. */
struct event *event_find(const struct event_table *table, int fd);

/* event_answer() answers, closes the descriptor and consumes the event. */
void event_answer(struct event_table *table, struct event *event, bool allow);
