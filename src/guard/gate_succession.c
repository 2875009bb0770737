/* SPDX-License-Identifier: GPL-2.0-only */
/* What a guard before us left, which has died at whatever moment. */
#include "../common/clock.h"
#include "../common/log.h"
#include "gate_inner.h"

#include <stdlib.h>

/* An open over which so many guards have crashed is not looked at again. */
#define GUARD_CRASHES_MAX 2

static int gate_compare_age(const void *a, const void *b)
{
	const struct event *const *one = a, *const *other = b;

	return (*one)->arrived_us < (*other)->arrived_us   ? -1
	       : (*one)->arrived_us > (*other)->arrived_us ? 1
							   : 0;
}

/* A worker scans this file. Who waits for that joins the request, as soon as he is looked at. */
struct request *gate_on_adopted(void *context, const struct roster_scan *scan)
{
	struct gate *gate = context;
	struct request *request;
	struct look look = {0};

	if (gate_look(gate, scan->fd, &look) < 0 || request_find(&gate->requests, look.id))
		return NULL;
	(void)gate_in_scope(gate, scan->fd);
	/* Who opened it joins below; nobody else waits any more. */
	request = gate_request(gate, scan->fd, &look,
			       scan->lane == LANE_OPEN ? LANE_DEMAND : (enum lane)scan->lane);
	if (!request)
		return NULL;
	request_claim(&gate->requests, request);
	request->origin.pid = scan->pid;
	request->origin.uid = scan->uid;
	request->timed_out = scan->timed_out;
	request->n_openers = scan->timed_out;
	request->state = scan->state;
	request->is_settled = scan->is_settled;
	request->stale = scan->stale;
	request->had_writer = true; /* for all we know */
	/* Whoever died may have been holding writers up. */
	group_let_writers_in(request->fd);
	return request;
}

/* The guard died just after it had made an event of it. Before anything is answered: then a number
 * may be another's. */
static void gate_take_doubles(struct gate *gate, unsigned queue)
{
	struct group_event events[GROUP_BATCH];
	int n = group_left(gate->group, queue, events);

	for (int i = 0; i < n; i++)
		if (events[i].type == GROUP_OPEN && event_find(&gate->events, events[i].fd))
			group_take(gate->group, &events[i]);
}

/* Events that were read by then, and given to nobody. */
static void gate_settle_inbox(struct gate *gate, unsigned queue, uint64_t arrived_us)
{
	struct group_event events[GROUP_BATCH];
	int n = group_left(gate->group, queue, events);

	for (int i = 0; i < n; i++)
		gate_take(gate, &events[i], arrived_us);
}

/* Its file is not looked at, which may be what they crashed over. */
static void gate_give_up(struct gate *gate, struct event *event)
{
	const struct wire_verdict verdict =
		wire_verdict_make(VERDICT_FAILED, "guards have crashed over it");
	int32_t pid = event->pid;
	unsigned crashes = event->crashes;

	(void)gate_answer_at_once(gate, event, (struct file_id){0}, &verdict);
	log_error("%u guards have crashed over an open of process %d: it is answered by on-failure",
		  crashes, pid);
}

static void gate_settle_event(struct gate *gate, struct event *event)
{
	if (event->crashes >= GUARD_CRASHES_MAX) {
		gate_give_up(gate, event);
		return;
	}
	/* Whoever died may have been holding writers up. */
	group_let_writers_in(event->fd);
	gate->estate->deciding = event;
	gate_decide(gate, event);
	gate->estate->deciding = NULL;
}

/* The opens that it held, in the order of their arrival. */
static void gate_settle_held(struct gate *gate)
{
	unsigned n = 0, n_held = gate->events.n_held;
	struct event **held = calloc(n_held + 1, sizeof(struct event *));

	for (unsigned i = 0; i < gate->events.max && n < n_held; i++) {
		struct event *event = &gate->events.events[i];

		if (!event->held)
			continue;
		event->prev = event->next = NULL;
		if (held)
			held[n++] = event;
		else
			gate_settle_event(gate, event);
	}
	if (held)
		qsort(held, n, sizeof(struct event *), gate_compare_age);
	for (unsigned i = 0; i < n; i++) {
		gate_settle_event(gate, held[i]);
		if (i % ANSWERS_BETWEEN_PROGRESS == 0)
			gate->owner->progress(gate->owner_context);
	}
	free(held);
}

/*
 * The marks are the kernel's, and what they rest on has gone with the guard that set them: the
 * list of directories that were passed over, of marks that are pinned. Files that were verified are
 * among the verdicts still.
 */
void gate_drop_marks(struct gate *gate)
{
	watch_forget_all(&gate->watch);
	if (gate->group->features.has[FEATURE_FILESYSTEM_MARKS])
		gate->estate->closes_epoch = gate->group->epoch;
	gate_check_closes(gate);
}

void gate_note_crash(struct estate *estate, bool has_crashed)
{
	struct event *deciding = atomic_exchange(&estate->deciding, NULL);

	if (deciding && deciding->held && has_crashed)
		deciding->crashes++;
}

static void gate_succeed(struct gate *gate)
{
	bool engine_down = gate->engine_down;
	uint64_t now = clock_monotonic_us();

	pool_adopt(gate->pool);
	/* We may have been told so just now; the engine of those workers is not a new one. */
	gate->engine_down = engine_down;
	gate_drop_marks(gate);
	if (gate->estate->may_miss_closes)
		gate_on_missed_close(gate);
	gate->estate->may_miss_closes = false;
	for (unsigned i = 0; i < GROUP_QUEUES; i++)
		gate_take_doubles(gate, i);
	gate_settle_held(gate);
	for (unsigned i = 0; i < GROUP_QUEUES; i++)
		gate_settle_inbox(gate, i, now);
}

void gate_start(struct gate *gate)
{
	gate->started = true;
	/* Later, openers would wait for it. Without it what was written or moved is scanned when it
	 * is opened. */
	(void)visitor_start(&gate->visitor);
	if (gate->estate->watching)
		gate_succeed(gate);
	gate->estate->watching = true;
	gate_read_on(gate);
}
