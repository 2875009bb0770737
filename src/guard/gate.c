/* SPDX-License-Identifier: GPL-2.0-only */
#include "gate_inner.h"

#include "../common/clock.h"
#include "../common/line.h"
#include "../common/log.h"
#include "../common/policy.h"
#include "opener.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utlist.h>

/* A file that changes under its scan is scanned again at once so often; then it queues behind
 * others. */
#define RESCANS_AT_ONCE 3

/*
 * Descriptors for everything else: the sockets of the workers of two engines, those that have ended
 * but were not noticed included (512), and of engines that finish their last scans; clients (128 of
 * the scan socket and 16 of the control socket); a batch of events of files that were closed (64);
 * what the threads have open (a few for the visitor and each remote mount, 128 for the full scan);
 * the processes that share our table (a dozen each).
 */
#define OTHER_DESCRIPTORS 2048
#define EVENTS_MIN	  1024

/* Deadlines are looked at so often. A timer for each open would cost two system calls each. */
#define SWEEP_INTERVAL_US (250 * CLOCK_US_PER_MS)

/*
 * Whoever opens one known file after the other asks again a few microseconds after an answer, and a
 * processor that has gone to sleep meanwhile takes longer than that to wake: on two of a virtual
 * machine such an open took 66 us, and takes 46 us where the guard lingers. So it does where it was
 * asked again so soon, for so many reads that give nothing; and for no more than so many reads, as
 * others have to have their turn.
 */
#define IN_A_ROW_US    100
#define LINGER_READS   64
#define LINGER_BATCHES 64

/* See gate_note_let_go(): who has been let go asks again at once. */
#define LET_GO_US (100 * CLOCK_US_PER_MS)

/* So long may scans go on when their engine has to make room for another one; but a third of the
 * hold timeout at most, so that some of it is left for the new engine. */
#define RELEASE_US (5 * CLOCK_US_PER_SEC)

/* While so many files are under way, none for which nobody waits is added. */
#define UNASKED_UP_TO 64

/* After the opens that wait. */
#define SETTLER_PRIORITY (SD_EVENT_PRIORITY_NORMAL + 1)

/* Why a file has no request. */
static const char no_room[] = "too many files wait for a verdict";

/* --- an open arrives --- */

bool gate_is_own(const struct gate *gate, int32_t pid)
{
	for (size_t i = 0; i < sizeof(gate->own_pids) / sizeof(gate->own_pids[0]); i++)
		if (pid > 0 && gate->own_pids[i] == pid)
			return true;
	return false;
}

bool gate_in_scope(struct gate *gate, int fd)
{
	locate(&gate->watch.mounts, gate->conf, policy_path, fd, &gate->location);
	return gate->location.error < 0 || gate->location.scope == POLICY_IN_SCOPE;
}

static bool gate_opener_excluded(const struct gate *gate, struct opener *opener)
{
	if (opener->uid != OPENER_UID_UNKNOWN &&
	    (opener->uid == gate->conf->uid || policy_user(gate->conf, opener->uid)))
		return true;
	return gate->conf->exclude_process.n_entries && *opener_exe(opener) &&
	       policy_process(gate->conf, opener_exe(opener)) && opener_exe_is_ours(opener);
}

/* Stops reading while another batch might find no room. The kernel keeps the opens meanwhile, and
 * the hold deadline makes room in the end. Where nobody is held there is no reason to. */
void gate_read_on(struct gate *gate)
{
	bool full = gate->conf->mode == CONTROL_MODE_BLOCK && request_table_full(&gate->requests);

	for (unsigned i = 0; i < GROUP_QUEUES; i++)
		(void)sd_event_source_set_enabled(
			gate->sources[i], full || !gate->started ? SD_EVENT_OFF : SD_EVENT_ON);
	(void)sd_event_source_set_enabled(gate->visitor_source,
					  gate_is_busy(gate) ? SD_EVENT_OFF : SD_EVENT_ON);
}

static void gate_arm_sweeper(struct gate *gate)
{
	int enabled = SD_EVENT_OFF;

	(void)sd_event_source_get_enabled(gate->sweeper, &enabled);
	if (enabled != SD_EVENT_OFF)
		return;
	(void)sd_event_source_set_time(gate->sweeper, clock_monotonic_us() + SWEEP_INTERVAL_US);
	(void)sd_event_source_set_enabled(gate->sweeper, SD_EVENT_ONESHOT);
}

/* Until the upper group asks alone again each open is an event, and brings us here. */
static void gate_follow_phase(struct gate *gate)
{
	if (gate->group->phase != GROUP_HOME)
		gate_arm_sweeper(gate);
}

/* Answers what waits for a request since arrived_by or longer. Each answer wakes all openers there
 * are, so thousands take seconds: the supervisor must hear that we are alive. */
static unsigned gate_answer(struct gate *gate, struct request *request, bool allow,
			    uint64_t arrived_by)
{
	unsigned n, total = 0;

	do {
		n = request_answer(&gate->requests, request, allow, arrived_by,
				   ANSWERS_BETWEEN_PROGRESS);
		total += n;
		if (n == ANSWERS_BETWEEN_PROGRESS)
			gate->owner->progress(gate->owner_context);
	} while (n == ANSWERS_BETWEEN_PROGRESS);
	return total;
}

static void gate_settle(struct gate *gate, struct request *request,
			const struct wire_verdict *verdict, bool may_remember);

uint64_t gate_signatures(const struct gate *gate)
{
	return pool_info(gate->pool)->set;
}

struct finding_key gate_finding_key(const struct gate *gate, struct file_id id,
				    const struct file_state *state)
{
	return (struct finding_key){id, *state, gate_signatures(gate)};
}

int gate_look(struct gate *gate, int fd, struct look *ret)
{
	struct finding_key key;
	struct verdict_tag tag;
	int r = verdicts_tag(gate->verdicts, fd, "", gate_signatures(gate), &tag, &ret->id,
			     &ret->state);

	ret->is_known = r == 0 && verdicts_use(gate->verdicts, &tag);
	ret->finding = NULL;
	/* What has no tag, a device for one, is a file all the same. */
	if (r < 0)
		r = file_stat(fd, &ret->id, &ret->state);
	if (r == 0) {
		key = gate_finding_key(gate, ret->id, &ret->state);
		ret->finding = findings_find(gate->findings, &key);
	}
	return r;
}

/* The finding answers for the file. */
static struct wire_verdict gate_meet(struct gate *gate, const struct look *look)
{
	const struct finding_key key = gate_finding_key(gate, look->id, &look->state);
	const struct finding *finding = findings_meet(gate->findings, &key);

	gate->counters->known++;
	return wire_verdict_make(finding->kind == FINDING_INFECTED ? VERDICT_INFECTED
								   : VERDICT_FAILED,
				 finding->reason);
}

struct request *gate_request(struct gate *gate, int fd, const struct look *look, enum lane lane)
{
	struct request *request = request_new(&gate->requests, fd, look->id, &look->state, lane);

	if (!request)
		return NULL;
	/* What was known of it in other states is history. */
	findings_forget(gate->findings, look->id, &look->state);
	request->has_finding = look->finding != NULL;
	request->is_settled = file_state_settled(&look->state);
	request->generation = pool_generation(gate->pool);
	request->device = gate->location.device;
	request->may_be_marked = gate->location.error == 0 &&
				 gate->location.events_tell_of_change &&
				 watch_has(&gate->watch, gate->location.device);
	request->may_be_remembered =
		gate->location.error == 0 && gate->location.times_tell_of_change;
	gate_arm_sweeper(gate);
	return request;
}

/*
 * Finds a place among the files that are used for one in scope that is being opened, and which
 * gate->location is about. Not where it would be of no use to verify it before it is opened again.
 */
static struct used_ticket gate_expect_use(struct gate *gate, const struct request *request)
{
	if (!request->state.size || !(request->may_be_marked || request->may_be_remembered))
		return (struct used_ticket){0};
	return used_expect(gate->used, gate->location.path);
}

/* Notes that a file is clean, if it was opened. */
static void gate_note_use(struct gate *gate, const struct request *request, enum verdict verdict)
{
	if (verdict == VERDICT_CLEAN)
		used_note(gate->used, request->used);
	else if (verdict == VERDICT_INFECTED)
		used_forget(gate->used, request->used);
}

/* The file was verified, in the state that it is in now, and the kernel has forgotten. */
static void gate_let_known(struct gate *gate, struct event *event, const struct look *look)
{
	int fd = gate->location.events_tell_of_change && file_state_settled(&look->state) &&
				 group_may_mark(gate->group)
			 ? fcntl(event->fd, F_DUPFD_CLOEXEC, 0)
			 : -1;
	struct file_state now;
	struct file_id id;

	gate->counters->known++;
	event_answer(&gate->events, event, true);
	used_note(gate->used, used_expect(gate->used, gate->location.path));
	if (fd < 0)
		return;
	if (group_lock_out_writers(fd)) {
		if (file_stat(fd, &id, &now) == 0 && file_state_equal(&now, &look->state))
			gate_mark(gate, fd, id, gate->location.device);
		group_let_writers_in(fd);
	}
	close(fd);
}

bool gate_allows(const struct gate *gate, enum verdict verdict)
{
	switch (verdict) {
	case VERDICT_CLEAN:
		return true;
	case VERDICT_INFECTED:
		return false;
	case VERDICT_INCOMPLETE:
		return gate->conf->on_incomplete == CONF_ALLOW;
	case VERDICT_FAILED:
	case VERDICT_COUNT:
	default:
		return gate->conf->on_failure == CONF_ALLOW;
	}
}

/* Notes that n opens were answered by a key of the configuration. */
static void gate_count_decided(struct gate *gate, enum control_policy policy, bool allow,
			       unsigned n)
{
	struct control_decided *decided = &gate->counters->decided[policy];

	if (gate->conf->mode != CONTROL_MODE_BLOCK)
		return;
	if (allow)
		decided->allowed += n;
	else
		decided->denied += n;
}

/* The same by what the verdict was. */
static void gate_count_verdict(struct gate *gate, enum verdict verdict, bool allow, unsigned n)
{
	if (verdict == VERDICT_INCOMPLETE)
		gate_count_decided(gate, CONTROL_ON_INCOMPLETE, allow, n);
	else if (verdict == VERDICT_FAILED)
		gate_count_decided(gate, CONTROL_ON_FAILURE, allow, n);
}

/*
 * Whoever was asked about by the upper group while the lower one had begun to ask, too (group.h),
 * is asked about by that as well. Who was let go at the deadline must not be held as long again.
 * That is for the very process: for others what has become of the file meanwhile counts.
 */
static void gate_note_let_go(struct gate *gate, const struct request *request, uint64_t arrived_by)
{
	const struct event *event;

	if (gate->group->phase == GROUP_HOME)
		return;
	DL_FOREACH (request->events, event)
		if (event->arrived_us <= arrived_by && event->queue == GROUP_UPPER)
			gate->let_go[gate->n_let_go++ % LET_GO_MAX] = (struct let_go){
				.id = request->id,
				.pid = event->pid,
				.until_us = clock_monotonic_us() + LET_GO_US,
			};
}

/* Only once. */
static bool gate_was_let_go(struct gate *gate, const struct event *event, struct file_id id)
{
	for (unsigned i = 0; i < LET_GO_MAX && event->queue == GROUP_LOWER; i++) {
		struct let_go *let_go = &gate->let_go[i];

		if (let_go->until_us > event->arrived_us && let_go->pid == event->pid &&
		    let_go->id.inode == id.inode && let_go->id.device == id.device) {
			let_go->until_us = 0;
			return true;
		}
	}
	return false;
}

bool gate_answer_at_once(struct gate *gate, struct event *event, struct file_id id,
			 const struct wire_verdict *verdict)
{
	bool allow = gate_allows(gate, verdict->verdict) || gate->conf->mode != CONTROL_MODE_BLOCK;

	if (!allow) {
		gate->counters->denied++;
		gate->owner->denied(gate->owner_context, event->pid, id, verdict);
	}
	event_answer(&gate->events, event, allow);
	gate_count_verdict(gate, verdict->verdict, allow, 1);
	return allow;
}

/* gate->location is about the file of the event. */
static void gate_cannot_hold(struct gate *gate, struct event *event, struct file_id id)
{
	const struct wire_verdict verdict = wire_verdict_make(VERDICT_FAILED, no_room);
	bool allow = gate_answer_at_once(gate, event, id, &verdict);

	gate->counters->not_scanned++;
	alert_unverified(&gate->alert, ALERT_FAILED, gate->location.path, no_room, allow);
}

/* Its executable is looked up for those who found something. */
static void gate_fill_origin(struct request_origin *origin, const struct opener *opener)
{
	origin->pid = opener->pid;
	origin->uid = opener->uid;
	origin->exe[0] = '\0';
}

/* While the opener waits: whoever has been answered may be gone, and his pid be another's. */
static void gate_name_exe(struct request_origin *origin)
{
	struct opener opener = {.pid = origin->pid};

	if (!*origin->exe)
		(void)snprintf(origin->exe, sizeof(origin->exe), "%s", opener_exe(&opener));
}

/* What is known against the file answers for it; gate->location is about it. */
static void gate_refuse_known(struct gate *gate, struct event *event, const struct opener *opener,
			      const struct look *look)
{
	struct wire_verdict verdict = gate_meet(gate, look);
	struct request_origin origin;
	bool allow;

	gate_fill_origin(&origin, opener);
	if (verdict.verdict == VERDICT_INFECTED)
		gate_name_exe(&origin);
	allow = gate_answer_at_once(gate, event, look->id, &verdict);
	if (verdict.verdict != VERDICT_INFECTED) {
		gate->counters->poisoned++;
		return;
	}
	alert_found(&gate->alert, &origin, 1, gate->location.path,
		    allow ? WIRE_ANSWER_NOTIFIED : WIRE_ANSWER_BLOCKED, verdict.reason);
}

static struct wire_verdict gate_no_engine(void)
{
	struct wire_verdict verdict = wire_verdict_make(VERDICT_FAILED, "no engine is running");

	verdict.flags = WIRE_VERDICT_NO_ENGINE;
	return verdict;
}

/* A request has come, or more wait for it: what can be said at once, or the way to a worker. */
static void gate_begin(struct gate *gate, struct request *request, bool is_new)
{
	struct wire_verdict verdict;

	if (!is_new) {
		gate->counters->joined++;
		/* The scan under way may be one under signatures that no longer count. */
		request->stale |= request->generation != pool_generation(gate->pool);
		if (!request->waiting)
			pool_promoted(gate->pool, request);
		/* It may be waiting in a lane that had to leave the idle workers to opens. */
		gate_dispatch(gate, NULL);
	} else if (request->state.size == 0) {
		verdict = wire_verdict_make(VERDICT_CLEAN, "");
		gate_settle(gate, request, &verdict, true);
	} else if (gate->engine_down && !pool_alive(gate->pool)) {
		verdict = gate_no_engine();
		gate_settle(gate, request, &verdict, false);
	} else {
		gate_dispatch(gate, request);
	}
}

/* Answers for the file of gate->location if it was made, or emptied, just now: there is nothing in
 * it, whoever opens it, and no verdict on that could be remembered. Who unpacks an archive makes
 * many. */
static bool gate_let_just_made(struct gate *gate, struct event *event)
{
	const struct file_state *state = &gate->location.state;

	/* What a server says of size and times may be old. */
	if (!gate->location.events_tell_of_change || state->size || file_state_settled(state))
		return false;
	gate->counters->verdicts[VERDICT_CLEAN]++;
	event_answer(&gate->events, event, true);
	return true;
}

/* Takes an open in scope and makes it wait for the verdict on its file. */
static void gate_hold(struct gate *gate, struct event *event, const struct opener *opener)
{
	struct request *request = NULL;
	struct look look = {0};
	bool is_new = false;

	if (gate_look(gate, event->fd, &look) == 0) {
		if (look.finding) {
			gate_refuse_known(gate, event, opener, &look);
			return;
		}
		if (gate_was_let_go(gate, event, look.id)) {
			event_answer(&gate->events, event, true);
			return;
		}
		request = request_find(&gate->requests, look.id);
		if (!request && look.is_known) {
			gate_let_known(gate, event, &look);
			return;
		}
		is_new = !request;
		if (is_new)
			request = gate_request(gate, event->fd, &look, LANE_OPEN);
		if (request && !request->n_openers) {
			gate_fill_origin(&request->origin, opener);
			request->used = gate_expect_use(gate, request);
		}
	}
	if (!request) {
		gate_cannot_hold(gate, event, look.id);
		return;
	}

	request_join(&gate->requests, request, event);
	if (gate->conf->mode != CONTROL_MODE_BLOCK) {
		gate_name_exe(&request->origin);
		(void)gate_answer(gate, request, true, UINT64_MAX);
	}
	gate_begin(gate, request, is_new);
}

void gate_decide(struct gate *gate, struct event *event)
{
	struct opener opener;

	if (gate_is_own(gate, event->pid)) {
		gate->counters->excluded++;
		event_answer(&gate->events, event, true);
		return;
	}
	gate->opened_us = event->arrived_us;
	if (gate->conf->mode == CONTROL_MODE_OFF || !gate_in_scope(gate, event->fd)) {
		gate->counters->out_of_scope++;
		event_answer(&gate->events, event, true);
		if (gate->conf->mode != CONTROL_MODE_OFF)
			bypass_count(&gate->bypass, gate->conf, gate->location.path);
		return;
	}
	if (gate_let_just_made(gate, event))
		return;
	opener_read(event->pid, &opener);
	if (gate_opener_excluded(gate, &opener)) {
		gate->counters->excluded++;
		event_answer(&gate->events, event, true);
		return;
	}
	gate_hold(gate, event, &opener);
}

static void gate_open(struct gate *gate, const struct group_event *open, uint64_t now)
{
	struct event *event = event_new(&gate->events, open, now);

	assert(event); /* gate_read_on() saw to it that there is room for a batch */
	group_take(gate->group, open);
	gate->counters->opens++;
	gate->estate->deciding = event;
	gate_decide(gate, event);
	gate->estate->deciding = NULL;
}

/* What is being scanned may not be what the file is. */
static void gate_make_stale(struct gate *gate, struct request *request)
{
	request->stale = true;
	if (!request->waiting)
		pool_note(gate->pool, request);
}

/* Somebody closed a file after writing. For a mapping this comes when it is unmapped; the kernel
 * itself drops the mark on write(), but not on a store through a mapping. */
static void gate_closed_write(struct gate *gate, const struct group_event *closed)
{
	int fd = closed->fd;
	struct request *request = NULL;
	struct file_state state;
	struct file_id id;

	if (group_forget(gate->group, fd))
		gate->counters->drops++;
	if (file_stat(fd, &id, &state) == 0) {
		pins_drop(&gate->pins, id);
		verdicts_closed(gate->verdicts, id);
		candidates_closed(&gate->candidates, id);
		findings_forget(gate->findings, id, &state);
		request = request_find(&gate->requests, id);
		gate_keep_ahead(gate, closed, id, &state);
	}
	if (request)
		gate_make_stale(gate, request);
	group_take(gate->group, closed);
	close(fd);
}

/* What is known of files that others than root may write to rests on seeing them closed. The group
 * is made to forget when a filesystem is no longer watched, too. */
void gate_check_closes(struct gate *gate)
{
	if (gate->estate->closes_epoch == gate->group->epoch)
		return;
	gate->estate->closes_epoch = gate->group->epoch;
	verdicts_closes_missed(gate->verdicts);
	candidates_clear(&gate->candidates);
}

/* A close after writing may have gone unseen, of whatever file: nothing that rests on seeing them
 * counts any more, nor does any scan under way. */
void gate_on_missed_close(struct gate *gate)
{
	struct request *request, *next;

	watch_forget_all(&gate->watch);
	gate_check_closes(gate);
	REQUEST_FOREACH (&gate->requests, request, next)
		gate_make_stale(gate, request);
}

/*
 * The kernel could not open the file of an event for us: a lease on it, too little memory, a key
 * that is missing. If it was an open, it has refused that itself, and it is no reason to leave the
 * others waiting. If it was a close after writing, we cannot know of what.
 */
static void gate_on_lost_event(struct gate *gate, int error)
{
	uint64_t now = clock_monotonic_us();

	/* It is not the group it was: a new guard gets another. */
	if (error == -EBADF || error == -EINVAL || error == -EFAULT)
		(void)sd_event_exit(gate->event, 1);
	gate_on_missed_close(gate);
	gate->counters->read_errors++;
	if (now < gate->read_error_quiet_until_us)
		return;
	gate->read_error_quiet_until_us = now + ALERT_INTERVAL_US;
	log_error("the kernel could not open the file of an event for us, and refused it if it was "
		  "an open: %s",
		  error ? strerror(-error) : "somebody holds a lease on it");
}

void gate_take(struct gate *gate, const struct group_event *event, uint64_t now)
{
	switch (event->type) {
	case GROUP_OPEN:
		gate_open(gate, event, now);
		break;
	case GROUP_CLOSED_WRITE:
		gate_closed_write(gate, event);
		break;
	case GROUP_OVERFLOW:
	default:
		gate_on_missed_close(gate);
		gate->counters->overflows++;
		log_error("the kernel's event queue overflowed: opens went unverified");
		group_take(gate->group, event);
		break;
	}
}

/* Reads a batch of events. Returns whether there were any. */
static bool gate_read(struct gate *gate, unsigned queue)
{
	struct group_event events[GROUP_BATCH];
	uint64_t now = clock_monotonic_us();
	bool lost;
	int n;

	/* Until it is known that none was lost, a successor must take it that one was. */
	gate->estate->may_miss_closes = true;
	n = group_read(gate->group, queue, events, &lost);
	if (n < 0 || lost)
		gate_on_lost_event(gate, n < 0 ? n : 0);
	gate->estate->may_miss_closes = false;
	for (int i = 0; i < n; i++)
		gate_take(gate, &events[i], now);
	return n > 0;
}

/*
 * A close after writing is told to those who ask then, and must be known before an open that came
 * later. What only the upper group was told is older than all that the lower one has; unless that
 * has asked alone before both do.
 */
static bool gate_read_both(struct gate *gate)
{
	unsigned first = gate->group->phase == GROUP_RETURNING ? GROUP_LOWER : GROUP_UPPER;
	bool any = gate_read(gate, first);

	if (gate->conf->mode != CONTROL_MODE_BLOCK || !request_table_full(&gate->requests))
		any |= gate_read(gate, !first);
	return any;
}

static bool gate_read_next(struct gate *gate, unsigned queue)
{
	return gate->group->phase == GROUP_HOME ? gate_read(gate, queue) : gate_read_both(gate);
}

static int gate_on_events(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct gate *gate = userdata;
	bool lingers = clock_monotonic_us() - gate->read_us < IN_A_ROW_US;
	unsigned n_batches = 1, n_empty = 0, queue = 0;

	while (gate->group->queues[queue].fd != fd)
		queue++;
	(void)gate_read_next(gate, queue);
	while (lingers && !gate->requests.n_requests && n_empty < LINGER_READS &&
	       n_batches++ < LINGER_BATCHES)
		n_empty = gate_read_next(gate, queue) ? 0 : n_empty + 1;
	gate_follow_phase(gate);
	gate->read_us = clock_monotonic_us();
	gate_read_on(gate);
	gate_arm_settler(gate);
	return 0;
}

/* --- what somebody wants scanned --- */

bool gate_is_poison(const struct look *look)
{
	return look->finding && look->finding->kind == FINDING_POISON;
}

static void gate_refuse(const struct gate_order *order, const char *why)
{
	const struct wire_verdict verdict = wire_verdict_make(VERDICT_FAILED, why);

	order->asker->told(order->asker, &verdict);
}

/* Why a worker must not be given what gate->location is about; NULL: it may be. */
static const char *gate_problem(const struct gate *gate, const struct gate_order *order, int fd)
{
	struct statx status;

	/* Not fstat(): it would ask the server of a file that is refused for having one. */
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &status) < 0 ||
	    !S_ISREG(status.stx_mode))
		return "not a regular file";
	if (gate->location.error < 0)
		return "it is on no filesystem that is mounted here";
	if (gate->location.kind == FILESYSTEM_KERNEL)
		return "it is on the kernel's own filesystem";
	if (gate->location.kind == FILESYSTEM_REMOTE && !order->remote)
		return "it is on a network or FUSE filesystem, which is not scanned unless "
		       "configured";
	return NULL;
}

/* Whether what is known of the file is answer enough; then the asker is told. */
static bool gate_tell_known(struct gate *gate, const struct gate_order *order,
			    const struct look *look)
{
	struct wire_verdict known = wire_verdict_make(VERDICT_CLEAN, "");

	if (order->afresh || !(look->is_known || gate_is_poison(look)))
		return false;
	if (look->is_known) {
		gate->counters->known++;
		known.flags = WIRE_VERDICT_KNOWN;
	} else {
		known = gate_meet(gate, look);
	}
	order->asker->told(order->asker, &known);
	return true;
}

void gate_scan(struct gate *gate, int fd, const struct gate_order *order)
{
	struct look look = {0};
	struct request *request;
	const char *problem;
	bool is_new;

	/* The cheapest first: most of what is scanned again has not changed. */
	if (gate_look(gate, fd, &look) == 0 && gate_tell_known(gate, order, &look))
		return;
	(void)gate_in_scope(gate, fd);
	problem = gate_problem(gate, order, fd);
	if (problem) {
		gate_refuse(order, problem);
		return;
	}
	request = request_find(&gate->requests, look.id);
	is_new = !request;
	if (is_new)
		request = gate_request(gate, fd, &look, order->lane);
	if (!request) {
		gate_refuse(order, no_room);
		return;
	}
	if (is_new || order->lane < request->lane)
		request->origin = order->origin;
	request->afresh |= order->afresh;
	request_ask(&gate->requests, request, order->asker, order->lane);
	gate_begin(gate, request, is_new);
}

bool gate_is_busy(const struct gate *gate)
{
	return gate->requests.n_requests >= UNASKED_UP_TO;
}

void gate_take_back(struct gate *gate, struct asker *asker)
{
	if (asker->request)
		request_take_back(&gate->requests, asker);
}

/* --- the way to a worker --- */

bool gate_has_writer(int fd)
{
	if (!group_lock_out_writers(fd))
		return true;
	group_let_writers_in(fd);
	return false;
}

/* Where there are several workers, what no opener waits for gets half of them at most, and leaves
 * one idle: an open finds one as if there were nothing else. */
static enum lane gate_last_lane(const struct gate *gate)
{
	unsigned alive = pool_alive(gate->pool);
	bool may_take =
		alive < 2 || (pool_unheld(gate->pool) < alive / 2 && pool_idle(gate->pool) > 1);

	return may_take ? LANE_SCHEDULED : LANE_OPEN;
}

/* The next for an idle worker; NULL: there is none. */
static struct request *gate_next(struct gate *gate)
{
	enum lane last = gate_last_lane(gate);

	/* What was written becomes a request when there is nothing before it. */
	if (last >= LANE_AHEAD && gate->ahead.n && !request_waits(&gate->requests, LANE_AHEAD))
		gate_fill_ahead(gate);
	/* It will be one in a moment. */
	if (gate->is_opening && last > LANE_AHEAD)
		last = LANE_AHEAD;
	return request_take(&gate->requests, last);
}

void gate_dispatch(struct gate *gate, const struct request *looked_at)
{
	struct request *request;

	while (pool_idle(gate->pool) && (request = gate_next(gate))) {
		struct file_id id;

		/* What is scanned is the file as it is now, not as it was when the first opener
		 * came. */
		request->stale =
			request != looked_at && file_stat(request->fd, &id, &request->state) < 0;
		request->is_settled = file_state_settled(&request->state);
		request->had_writer = (request->may_be_remembered || request->may_be_marked) &&
				      gate_has_writer(request->fd);
		request->generation = pool_generation(gate->pool);
		if (!pool_scan(gate->pool, request))
			request_put_back(&gate->requests, request);
	}
}

static void gate_on_idle(void *context)
{
	gate_dispatch(context, NULL);
}

/* --- the verdict --- */

const char *gate_path(struct gate *gate, const struct request *request)
{
	(void)gate_in_scope(gate, request->fd);
	return gate->location.path;
}

/* What became of those who opened a file in which something was found. */
static enum wire_answer gate_told(const struct gate *gate, const struct request *request)
{
	static const enum wire_answer asked[LANE_COUNT] = {
		[LANE_MOVED] = WIRE_ANSWER_MOVED,	  [LANE_DEMAND] = WIRE_ANSWER_DEMANDED,
		[LANE_AHEAD] = WIRE_ANSWER_AHEAD,	  [LANE_WARM] = WIRE_ANSWER_WARM,
		[LANE_SCHEDULED] = WIRE_ANSWER_SCHEDULED,
	};

	if (!request->n_openers)
		return asked[request->lane];
	if (gate->conf->mode != CONTROL_MODE_BLOCK)
		return WIRE_ANSWER_NOTIFIED;
	return request->timed_out ? WIRE_ANSWER_LATE : WIRE_ANSWER_BLOCKED;
}

static void gate_report_found(struct gate *gate, const struct request *request,
			      const char *signature)
{
	enum wire_answer answer = gate_told(gate, request);

	gate->counters->late += answer == WIRE_ANSWER_LATE;
	alert_found(&gate->alert, &request->origin, request->n_openers, gate_path(gate, request),
		    answer, signature);
}

/* The file is looked up only for a line that will be written. */
static void gate_report_unverified(struct gate *gate, const struct request *request,
				   enum alert_kind kind, const char *reason, bool allow)
{
	const char *path = alert_is_due(&gate->alert, kind) ? gate_path(gate, request) : "";

	alert_unverified(&gate->alert, kind, path, reason, allow);
}

/* Those who are refused now, as they have waited since arrived_by or longer, may ask why. */
static void gate_note_denied(struct gate *gate, const struct request *request,
			     const struct wire_verdict *verdict, uint64_t arrived_by)
{
	const struct event *event;

	DL_FOREACH (request->events, event) {
		if (event->arrived_us > arrived_by)
			break;
		gate->owner->denied(gate->owner_context, event->pid, request->id, verdict);
	}
}

/* Ends a request: everyone who waits gets the answer, then the rest is done. */
static void gate_settle(struct gate *gate, struct request *request,
			const struct wire_verdict *verdict, bool may_remember)
{
	bool allow = gate_allows(gate, verdict->verdict) || gate->conf->mode != CONTROL_MODE_BLOCK;
	unsigned answered;

	if (!allow)
		gate_note_denied(gate, request, verdict, UINT64_MAX);
	if (verdict->verdict == VERDICT_INFECTED && request->n_events)
		gate_name_exe(&request->origin);
	answered = gate_answer(gate, request, allow, UINT64_MAX);
	gate_count_verdict(gate, verdict->verdict, allow, answered);
	if (request->n_openers || request->is_moved)
		gate->counters->verdicts[verdict->verdict]++;
	else if (request->lane == LANE_AHEAD)
		gate->counters->ahead[verdict->verdict]++;
	else
		gate->counters->scans[verdict->verdict]++;
	if (!allow)
		gate->counters->denied += answered;

	gate_learn(gate, request, verdict, may_remember);
	gate_note_use(gate, request, verdict->verdict);
	request_tell(request, verdict);
	if (verdict->verdict == VERDICT_INFECTED)
		gate_report_found(gate, request, verdict->reason);
	else if (verdict->verdict != VERDICT_CLEAN && request->n_openers)
		gate_report_unverified(gate, request,
				       verdict->verdict == VERDICT_FAILED ? ALERT_FAILED
									  : ALERT_INCOMPLETE,
				       verdict->reason, allow);

	request_free(&gate->requests, request);
	gate_read_on(gate);
}

/*
 * Whether a verdict on bytes that are no longer the file's still lets the openers through. While
 * somebody writes, any verdict is outrun the moment it is given, and openers of a busy log must not
 * wait for ever: after a few attempts the last one counts, this once. Without a writer the next
 * scan will hold. Those for whom nobody is held are told that it changes: whoever keeps changing
 * the mode of his file must not keep a full scan busy.
 */
static bool gate_must_scan_again(const struct request *request)
{
	return request->rescans < RESCANS_AT_ONCE ||
	       (request->n_events && !gate_has_writer(request->fd));
}

static void gate_scan_again(struct gate *gate, struct request *request)
{
	gate->counters->rescans++;
	if (request->rescans++ < RESCANS_AT_ONCE)
		request_put_back(&gate->requests, request);
	else
		request_requeue(&gate->requests, request);
}

static void gate_on_verdict(void *context, struct request *request,
			    const struct wire_verdict *verdict)
{
	const struct wire_verdict changed =
		wire_verdict_make(VERDICT_INCOMPLETE, "it changed while it was scanned");
	struct gate *gate = context;

	/* Whoever wants it scanned came when it had been given to the worker. */
	if (request->content.is_known && request->afresh)
		request_put_back(&gate->requests, request);
	else if (verdict->verdict == VERDICT_INFECTED || gate_still_holds(request))
		gate_settle(gate, request, verdict, true);
	else if (gate_must_scan_again(request))
		gate_scan_again(gate, request);
	else
		gate_settle(gate, request, request->n_events ? verdict : &changed, false);
}

/* Who is not to blame gets more attempts: whoever kills workers must not have files let through. */
static void gate_on_lost(void *context, struct request *request, enum pool_loss loss,
			 const char *why)
{
	const struct wire_verdict verdict = wire_verdict_make(VERDICT_FAILED, why);
	struct gate *gate = context;

	gate->counters->workers_lost++;
	request->losses++;
	request->crashes += loss == POOL_CRASHED;
	request->was_starved |= loss == POOL_STARVED;
	if (request->crashes < CRASHES_MAX && request->losses < LOSSES_MAX) {
		request_put_back(&gate->requests, request);
		gate_dispatch(gate, NULL);
		return;
	}
	gate_settle(gate, request, &verdict, false);
}

/* Its engine had to make room: that says nothing about the file. */
static void gate_on_given_back(void *context, struct request *request)
{
	struct gate *gate = context;

	request_put_back(&gate->requests, request);
}

/* --- deadlines, and everything from outside --- */

/*
 * At the hold deadline the opener is answered by policy. A scan under way goes on, and its verdict
 * still counts; a file that no worker has begun with is given up, or files that nobody waits for
 * any more would take up all the room.
 */
static void gate_let_overdue_go(struct gate *gate, struct request *request, uint64_t arrived_by)
{
	static const char why[] = "no verdict within hold-timeout";
	const struct wire_verdict verdict = wire_verdict_make(VERDICT_INCOMPLETE, why);
	bool allow = gate->conf->on_timeout == CONF_ALLOW;
	unsigned n;

	if (!request->n_events || request->events->arrived_us > arrived_by)
		return;
	if (!allow)
		gate_note_denied(gate, request, &verdict, arrived_by);
	else
		gate_note_let_go(gate, request, arrived_by);
	gate_name_exe(&request->origin);
	n = gate_answer(gate, request, allow, arrived_by);
	gate->counters->timeouts += n;
	gate_count_decided(gate, CONTROL_ON_TIMEOUT, allow, n);
	if (allow) {
		request->timed_out = true;
		pool_note(gate->pool, request);
	} else {
		gate->counters->denied += n;
	}
	gate_report_unverified(gate, request, ALERT_TIMEOUT, why, allow);
	if (request->waiting && !request->n_events && !request->askers)
		request_free(&gate->requests, request);
}

/* No engine can be started, and the last worker has gone. */
static void gate_fail_waiting(struct gate *gate)
{
	const struct wire_verdict verdict = gate_no_engine();
	struct request *request, *next;

	if (!gate->engine_down || pool_alive(gate->pool))
		return;
	REQUEST_FOREACH (&gate->requests, request, next)
		if (request->waiting)
			gate_settle(gate, request, &verdict, false);
}

static int gate_on_sweep(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct gate *gate = userdata;
	uint64_t now = clock_monotonic_us(),
		 timeout = gate->conf->hold_timeout_ms * CLOCK_US_PER_MS;
	struct request *request, *next;

	/* A machine that has just booted is younger than the timeout. */
	if (now > timeout)
		REQUEST_FOREACH (&gate->requests, request, next)
			gate_let_overdue_go(gate, request, now - timeout);
	pool_sweep(gate->pool, now);
	gate_fail_waiting(gate);
	gate_read_on(gate);
	watch_tick(&gate->watch);

	if (gate->requests.n_requests)
		gate_arm_sweeper(gate);
	gate_follow_phase(gate);
	return 0;
}

static void gate_on_switched(void *context)
{
	struct gate *gate = context;

	gate->engine_down = false;
	gate_drop_marks(gate);
	gate->owner->switched(gate->owner_context);
}

void gate_release(struct gate *gate)
{
	uint64_t grace = gate->conf->hold_timeout_ms * CLOCK_US_PER_MS / 3;

	gate->engine_down = false;
	pool_release(gate->pool, clock_monotonic_us() + (grace < RELEASE_US ? grace : RELEASE_US));
}

void gate_engine_down(struct gate *gate)
{
	gate->engine_down = true;
	gate_fail_waiting(gate);
}

static int gate_make_verdicts(struct gate *gate, const struct conf *conf)
{
	int old = gate->estate->verdicts, memory = old;

	gate->verdicts = verdicts_new(conf->verdict_cache,
				      gate->group->features.has[FEATURE_UNIQUE_MOUNT_IDS], &memory);
	/* In this order: the number must not be in the estate when it can be used again. */
	gate->estate->verdicts = memory;
	if (old >= 0 && old != memory)
		close(old);
	return gate->verdicts ? 0 : -ENOMEM;
}

/* Workers that still have an old table must find nothing in it that is no longer believed. */
static void gate_end_contents(struct gate *gate)
{
	candidates_clear(&gate->candidates);
	if (gate->contents)
		contents_clear(gate->contents);
	gate->contents = contents_free(gate->contents);
}

/* Without memory for it there is none. */
static void gate_make_contents(struct gate *gate, const struct conf *conf)
{
	int old = gate->estate->contents, memory = old, lent = -1;

	gate_end_contents(gate);
	gate->contents_size = conf->content_cache;
	if (conf->content_cache)
		gate->contents = contents_new(conf->content_cache, &memory);
	else
		memory = -1;
	/* In this order: the number must not be in the estate when it can be used again. */
	gate->estate->contents = memory;
	if (old >= 0 && old != memory)
		close(old);
	if (gate->contents)
		lent = contents_lend(memory);
	if (conf->content_cache && lent < 0)
		log_error("the content cache cannot be made: each file is scanned, whatever is "
			  "known of its content");
	pool_set_contents(gate->pool, lent < 0 ? -1 : lent);
}

int gate_set_conf(struct gate *gate, const struct conf *conf)
{
	struct request *request, *next;

	if (!gate->verdicts && gate_make_verdicts(gate, conf) < 0)
		return -ENOMEM;
	if (gate->contents_size != conf->content_cache)
		gate_make_contents(gate, conf);
	gate->conf = conf;
	gate->used = conf->warm_start ? &gate->estate->used : NULL;
	pool_set_user(gate->pool, conf->uid);
	if (!gate_scans_ahead(gate))
		(void)ahead_give_up(&gate->ahead, UINT64_MAX);
	gate_check_closes(gate);
	/* What was out of scope may not be any more. */
	bypass_end_all(&gate->bypass, NULL, NULL);
	/* Who waits for a verdict that no longer matters need not wait on. */
	if (conf->mode != CONTROL_MODE_BLOCK)
		REQUEST_FOREACH (&gate->requests, request, next)
			(void)gate_answer(gate, request, true, UINT64_MAX);
	gate_read_on(gate);
	return 0;
}

void gate_mounts_changed(struct gate *gate)
{
	const struct mounts *mounts = &gate->watch.mounts;
	uint64_t *ids = calloc(mounts->n + 1, sizeof(*ids));

	/* Without memory nothing is known to be there still. */
	for (size_t i = 0; ids && i < mounts->n; i++)
		ids[i] = mounts->mounts[i].id;
	verdicts_mounts_changed(gate->verdicts, ids, ids ? mounts->n : 0);
	free(ids);
	gate_check_closes(gate);
	bypass_mounts_changed(&gate->bypass, gate_on_moved, gate);
}

void gate_trust(struct gate *gate, int32_t pid)
{
	gate->own_pids[2] = pid;
}

/* Each held open takes a descriptor, and so does each request; the sockets come on top. With fewer
 * than are needed for some of both the kernel would refuse opens for want of a descriptor. */
static unsigned gate_count_events(void)
{
	struct rlimit limit;
	rlim_t n;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 ||
	    limit.rlim_cur <= REQUESTS_MAX + OTHER_DESCRIPTORS)
		return 0;
	n = limit.rlim_cur - REQUESTS_MAX - OTHER_DESCRIPTORS;
	return n < EVENTS_MAX ? (unsigned)n : EVENTS_MAX;
}

/* Makes the table of descriptors as large as it will ever be: the kernel would need memory to make
 * it larger while openers wait, and refuse an open for want of it. */
static void gate_use_descriptors(const struct gate *gate)
{
	int last = (int)gate->events.max + REQUESTS_MAX + OTHER_DESCRIPTORS - 1,
	    fd = fcntl(gate->group->queues[0].fd, F_DUPFD_CLOEXEC, last);

	if (fd >= 0)
		close(fd);
}

/* What the group of opens needs beside it. */
static int gate_add_sources(struct gate *gate)
{
	int r = visitor_init(&gate->visitor);

	if (r < 0)
		return r;
	r = gate_add_ahead(gate);
	if (r < 0)
		return r;
	r = sd_event_add_io(gate->event, &gate->visitor_source, visitor_fd(&gate->visitor), EPOLLIN,
			    gate_on_visited, gate);
	if (r < 0 || gate->estate->renames.fd < 0)
		return r;
	/* By turns with the opens: whoever renames without end must not keep them waiting. */
	return sd_event_add_io(gate->event, &gate->renames_source, gate->estate->renames.fd,
			       EPOLLIN, gate_on_renames, gate);
}

static int gate_add_queues(struct gate *gate)
{
	int r = 0;

	for (unsigned i = 0; i < GROUP_QUEUES && r >= 0; i++) {
		r = sd_event_add_io(gate->event, &gate->sources[i], gate->group->queues[i].fd,
				    EPOLLIN, gate_on_events, gate);
		if (r >= 0)
			r = sd_event_source_set_enabled(gate->sources[i], SD_EVENT_OFF);
	}
	return r;
}

int gate_init(struct gate *gate, struct estate *estate, sd_event *event, struct outbox *reporter,
	      const struct gate_callbacks *owner, void *context, const char **ret_what)
{
	static const struct pool_callbacks callbacks = {
		.verdict = gate_on_verdict,
		.lost = gate_on_lost,
		.distrusted = gate_on_distrusted,
		.replaced = gate_on_replaced,
		.given_back = gate_on_given_back,
		.adopted = gate_on_adopted,
		.switched = gate_on_switched,
		.idle = gate_on_idle,
	};
	int r;

	*gate = (struct gate){
		.event = event,
		.estate = estate,
		.group = &estate->group,
		.counters = &estate->counters,
		.findings = &estate->findings,
		.contents_size = UINT64_MAX,
		.remote.results = {-1, -1},
		.visitor = {.orders = {-1, -1}, .files = {-1, -1}},
		.owner = owner,
		.owner_context = context,
		.own_pids = {getpid(), getppid(), 0},
		.ahead_armed_us = UINT64_MAX,
	};
	*ret_what = "too few open files are allowed (LimitNOFILE, ulimit -n)";
	event_table_init(&gate->events, gate->group, estate->events, gate_count_events());
	if (gate->events.max < EVENTS_MIN)
		return -EMFILE;
	*ret_what = "out of memory";
	r = request_table_init(&gate->requests, &gate->events);
	if (r == 0)
		r = ahead_init(&gate->ahead, AHEAD_MAX);
	if (r < 0)
		return r;
	gate_use_descriptors(gate);
	used_recount(&estate->used);
	watch_init(&gate->watch, gate->group, &estate->renames, &gate->remote);
	bypass_init(&gate->bypass, gate->group, &gate->watch);
	pins_init(&gate->pins, gate->group, &gate->watch.mounts);
	alert_init(&gate->alert, reporter);

	*ret_what = "cannot make an event loop";
	gate->pool = pool_new(event, &estate->roster, &callbacks, gate);
	if (!gate->pool)
		return -ENOMEM;
	r = remote_init(&gate->remote, gate->group);
	if (r < 0)
		return r;
	r = sd_event_add_time(event, &gate->sweeper, CLOCK_MONOTONIC, 0, SWEEP_INTERVAL_US / 10,
			      gate_on_sweep, gate);
	if (r < 0)
		return r;
	r = sd_event_source_set_enabled(gate->sweeper, SD_EVENT_OFF);
	if (r < 0)
		return r;
	r = sd_event_add_defer(event, &gate->settler, gate_on_settler, gate);
	if (r < 0)
		return r;
	(void)sd_event_source_set_priority(gate->settler, SETTLER_PRIORITY);
	r = sd_event_source_set_enabled(gate->settler, SD_EVENT_OFF);
	if (r < 0)
		return r;
	r = gate_add_sources(gate);
	return r < 0 ? r : gate_add_queues(gate);
}

void gate_let_go(struct gate *gate)
{
	for (unsigned i = 0; i < GROUP_QUEUES; i++)
		gate->sources[i] = sd_event_source_disable_unref(gate->sources[i]);
	/* The kernel lets everyone go at once; one by one takes time that openers spend waiting. */
	group_deinit(gate->group);
}

void gate_deinit(struct gate *gate)
{
	gate_let_go(gate);
	gate->sweeper = sd_event_source_disable_unref(gate->sweeper);
	gate->settler = sd_event_source_disable_unref(gate->settler);
	gate->renames_source = sd_event_source_disable_unref(gate->renames_source);
	gate->visitor_source = sd_event_source_disable_unref(gate->visitor_source);
	gate->ahead_timer = sd_event_source_disable_unref(gate->ahead_timer);
	gate->pool = pool_free(gate->pool);
	visitor_deinit(&gate->visitor);
	ahead_deinit(&gate->ahead);
	bypass_deinit(&gate->bypass);
	pins_deinit(&gate->pins);
	request_table_deinit(&gate->requests);
	assert(gate->events.n_held == 0);
	verdicts_free(gate->verdicts);
	contents_free(gate->contents);
	watch_deinit(&gate->watch);
	remote_deinit(&gate->remote);
}
