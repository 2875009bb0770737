/* SPDX-License-Identifier: GPL-2.0-only */
#include "request.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>

int request_table_init(struct request_table *table, struct event_table *events)
{
	*table = (struct request_table){
		.events = events,
		.requests = calloc(REQUESTS_MAX, sizeof(*table->requests)),
	};
	if (!table->requests)
		return -ENOMEM;
	for (unsigned i = REQUESTS_MAX; i-- > 0;) {
		table->requests[i].chain = table->unused;
		table->unused = &table->requests[i];
	}
	return 0;
}

void request_table_deinit(struct request_table *table)
{
	struct request *request, *next;

	REQUEST_FOREACH (table, request, next) {
		(void)request_answer(table, request, true, UINT64_MAX, UINT_MAX);
		request->askers = NULL;
		request_free(table, request);
	}
	free(table->requests);
	table->requests = table->unused = NULL;
}

bool request_table_full(const struct request_table *table)
{
	return table->n_requests + GROUP_BATCH > REQUESTS_MAX ||
	       table->events->n_held + GROUP_BATCH > table->events->max;
}

static struct request **request_chain(struct request_table *table, struct file_id id)
{
	/* The golden ratio spreads neighbours. Who makes files that share a chain has it gone
	 * through: it is never longer than there are requests. */
	uint64_t hash = (id.inode ^ id.device << 40) * UINT64_C(0x9e3779b97f4a7c15);

	return &table->chains[(hash >> 32) & (REQUESTS_CHAINS - 1)];
}

struct request *request_find(struct request_table *table, struct file_id id)
{
	struct request *request = *request_chain(table, id);

	while (request && (request->id.inode != id.inode || request->id.device != id.device))
		request = request->chain;
	return request;
}

struct request *request_new(struct request_table *table, int fd, struct file_id id,
			    const struct file_state *state, enum lane lane)
{
	struct request *request = table->unused, **chain = request_chain(table, id);
	int own;

	if (!request) {
		errno = ENFILE;
		return NULL;
	}
	own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (own < 0)
		return NULL;

	table->unused = request->chain;
	*request = (struct request){
		.id = id,
		.state = *state,
		.fd = own,
		.waiting = true,
		.lane = lane,
		.is_moved = lane == LANE_MOVED,
		.chain = *chain,
	};
	*chain = request;
	DL_APPEND2(table->live, request, live_prev, live_next);
	DL_APPEND(table->queues[lane], request);
	table->n_requests++;
	return request;
}

/* Moves a request to a more urgent lane. */
static void request_promote(struct request_table *table, struct request *request, enum lane lane)
{
	if (lane >= request->lane)
		return;
	if (request->waiting) {
		DL_DELETE(table->queues[request->lane], request);
		DL_APPEND(table->queues[lane], request);
	}
	request->lane = lane;
}

void request_join(struct request_table *table, struct request *request, struct event *event)
{
	DL_APPEND(request->events, event);
	request->n_events++;
	request->n_openers++;
	request_promote(table, request, LANE_OPEN);
}

void request_ask(struct request_table *table, struct request *request, struct asker *asker,
		 enum lane lane)
{
	DL_APPEND(request->askers, asker);
	asker->request = request;
	request_promote(table, request, lane);
}

void request_take_back(struct request_table *table, struct asker *asker)
{
	struct request *request = asker->request;

	DL_DELETE(request->askers, asker);
	asker->request = NULL;
	if (request->waiting && !request->n_events && !request->askers && !request->is_moved)
		request_free(table, request);
}

void request_tell(struct request *request, const struct wire_verdict *verdict)
{
	struct asker *asker;

	while ((asker = request->askers)) {
		DL_DELETE(request->askers, asker);
		asker->request = NULL;
		asker->told(asker, verdict);
	}
}

void request_claim(struct request_table *table, struct request *request)
{
	DL_DELETE(table->queues[request->lane], request);
	request->waiting = false;
}

bool request_waits(const struct request_table *table, enum lane last)
{
	for (enum lane lane = LANE_OPEN; lane <= last; lane++)
		if (table->queues[lane])
			return true;
	return false;
}

struct request *request_take(struct request_table *table, enum lane last)
{
	for (enum lane lane = LANE_OPEN; lane <= last; lane++) {
		struct request *request = table->queues[lane];

		if (!request)
			continue;
		request_claim(table, request);
		return request;
	}
	return NULL;
}

void request_put_back(struct request_table *table, struct request *request)
{
	assert(!request->waiting);

	DL_PREPEND(table->queues[request->lane], request);
	request->waiting = true;
}

void request_requeue(struct request_table *table, struct request *request)
{
	assert(!request->waiting);

	DL_APPEND(table->queues[request->lane], request);
	request->waiting = true;
}

unsigned request_answer(struct request_table *table, struct request *request, bool allow,
			uint64_t arrived_by_us, unsigned max)
{
	unsigned n = 0;

	/* In the order of their arrival, so the first that is too young ends it. */
	while (n < max && request->events && request->events->arrived_us <= arrived_by_us) {
		struct event *event = request->events;

		DL_DELETE(request->events, event);
		request->n_events--;
		event_answer(table->events, event, allow);
		n++;
	}
	return n;
}

struct request *request_free(struct request_table *table, struct request *request)
{
	struct request **chain = request_chain(table, request->id);

	assert(!request->events && !request->askers);

	if (request->waiting)
		DL_DELETE(table->queues[request->lane], request);
	DL_DELETE2(table->live, request, live_prev, live_next);
	while (*chain != request)
		chain = &(*chain)->chain;
	*chain = request->chain;
	close(request->fd);
	request->chain = table->unused;
	table->unused = request;
	table->n_requests--;
	return NULL;
}
