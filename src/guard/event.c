/* SPDX-License-Identifier: GPL-2.0-only */
#include "event.h"

#include <unistd.h>

void event_table_init(struct event_table *table, struct group *group, struct event *events,
		      unsigned max)
{
	*table = (struct event_table){.group = group, .max = max, .events = events};
	for (unsigned i = 0; i < GROUP_QUEUES; i++)
		group->queues[i].n_held = 0;
	for (unsigned i = max; i-- > 0;) {
		if (events[i].held) {
			table->n_held++;
			group->queues[events[i].queue].n_held++;
			continue;
		}
		events[i].next = table->unused;
		table->unused = &events[i];
	}
}

struct event *event_new(struct event_table *table, const struct group_event *open, uint64_t now_us)
{
	struct event *event = table->unused;

	if (!event)
		return NULL;
	table->unused = event->next;
	table->n_held++;
	table->group->queues[open->queue].n_held++;
	event->fd = open->fd;
	event->pid = open->pid;
	event->queue = open->queue;
	event->arrived_us = now_us;
	event->crashes = 0;
	/* Last: from here on a successor would answer it. */
	event->held = true;
	return event;
}

struct event *event_find(const struct event_table *table, int fd)
{
	for (unsigned i = 0; i < table->max; i++)
		if (table->events[i].held && table->events[i].fd == fd)
			return &table->events[i];
	return NULL;
}

void event_answer(struct event_table *table, struct event *event, bool allow)
{
	group_answer(table->group, event->queue, event->fd, allow);
	/* In this order: the number must not count as held when it can be used again, nor be free
	 * before the answer, or the kernel would give it to another event. */
	event->held = false;
	close(event->fd);

	event->next = table->unused;
	table->unused = event;
	table->n_held--;
	table->group->queues[event->queue].n_held--;
}
