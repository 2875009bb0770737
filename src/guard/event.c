/* SPDX-License-Identifier: GPL-2.0-only */
#include "event.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

int event_table_init(struct event_table *table, struct group *group, unsigned max)
{
	*table = (struct event_table){
		.group = group,
		.max = max,
		.events = calloc(max, sizeof(*table->events)),
	};
	if (!table->events)
		return -ENOMEM;

	for (unsigned i = max; i-- > 0;) {
		table->events[i].next = table->unused;
		table->unused = &table->events[i];
	}
	return 0;
}

void event_table_deinit(struct event_table *table)
{
	assert(table->n_held == 0);
	free(table->events);
	table->events = table->unused = NULL;
}

struct event *event_new(struct event_table *table, const struct group_event *open, uint64_t now_us)
{
	struct event *event = table->unused;

	if (!event)
		return NULL;
	table->unused = event->next;
	table->n_held++;
	*event = (struct event){.fd = open->fd, .pid = open->pid, .arrived_us = now_us};
	return event;
}

void event_answer(struct event_table *table, struct event *event, bool allow)
{
	group_answer(table->group, event->fd, allow);
	/* Not before the answer: the kernel would give the number to another event. */
	close(event->fd);

	event->fd = -1;
	event->next = table->unused;
	table->unused = event;
	table->n_held--;
}
