/* SPDX-License-Identifier: GPL-2.0-only */
#include "pool.h"

#include "../common/chan.h"
#include "../common/log.h"
#include "priority.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

/* So long an engine may take to say how a worker ended. */
#define WORD_US CLOCK_US_PER_SEC

/* A scan at low priority gets the normal one after this part of its time: on a machine that is busy
 * with other things it would not end in time, which is no fault of the file. */
#define LOW_PART 4

struct engine;

/* The files of signatures that an engine told of. */
struct databases {
	struct wire_database entries[WIRE_DATABASES_MAX];
	unsigned n;
};

struct worker {
	struct worker *prev, *next; /* in its engine's list */
	struct engine *engine;
	sd_event_source *source;
	int fd;
	int32_t pid;
	struct request *request; /* NULL: idle */
	uint64_t scan_id;
	uint64_t deadline_us;
	uint64_t serial, arrived_us; /* see roster.h; these two and the next */
	uint32_t scans;
	bool must_scan;		     /* it was told to, whatever it knows of the content */
	bool may_have_vouched;	     /* for contents */
	struct roster_worker *entry; /* NULL: it is not on the roster */
	uint64_t question;	     /* that it was asked when it was adopted */
	bool is_adopted;   /* until it has answered us, what it says may be for a guard before us */
	bool is_inherited; /* so is what it scans */
	bool is_gone;	   /* its socket is closed; until the deadline the engine may say why */
	bool has_ended;	   /* the engine has said why: */
	int32_t signal;	   /* see struct wire_worker_ended */
	bool is_low;	   /* its priority */
	bool was_low;	   /* when it began with its request */
};

struct engine {
	struct engine *prev, *next;
	struct pool *pool;
	sd_event_source *source;
	int fd; /* -1: the engine died, its workers go on */
	int32_t pid;
	bool retired;
	bool is_asked; /* for a worker in place of one that is to be let go */
	struct wire_engine_info info;
	struct databases databases;
	struct worker *workers;
	unsigned n_workers;
};

struct pool {
	sd_event *event;
	struct roster *roster;
	const struct pool_callbacks *callbacks;
	void *context;
	struct engine *engines;
	unsigned n_engines;
	struct engine *current; /* NULL: no engine yet */
	struct databases databases;
	struct wire_engine_info info;
	unsigned generation;
	uint64_t release_us; /* until then may scans of released engines end; 0: no such */
	int contents;	     /* what engines are sent; -1: nothing */
	uid_t uid;	     /* of the workers; 0: not known, their priority is left alone */
	bool is_refused;     /* we may not give them any */
};

struct pool *pool_new(sd_event *event, struct roster *roster,
		      const struct pool_callbacks *callbacks, void *context)
{
	struct pool *pool = calloc(1, sizeof(*pool));

	if (pool)
		*pool = (struct pool){.event = event,
				      .roster = roster,
				      .callbacks = callbacks,
				      .context = context,
				      .contents = -1};
	return pool;
}

/* --- the roster --- */

static void roster_enter(struct roster *roster, struct worker *worker)
{
	for (size_t i = 0; i < ROSTER_WORKERS_MAX; i++) {
		struct roster_worker *entry = &roster->workers[i];

		if (entry->fd)
			continue;
		entry->pid = worker->pid;
		entry->serial = worker->serial;
		entry->arrived_us = worker->arrived_us;
		entry->scans = worker->scans;
		entry->is_busy = false;
		entry->is_low = worker->is_low;
		entry->fd = worker->fd;
		worker->entry = entry;
		return;
	}
}

static void roster_leave(struct worker *worker)
{
	if (worker->entry)
		worker->entry->fd = 0;
	worker->entry = NULL;
}

/* Nobody's signatures count. All entries go, whoever made them: a guard before us may have died
 * while it cleared them, and the numbers of their descriptors are others' by now. */
static void roster_clear(struct roster *roster, struct engine *engine)
{
	struct worker *worker;

	roster->engine = 0;
	for (size_t i = 0; i < ROSTER_WORKERS_MAX; i++)
		roster->workers[i].fd = 0;
	if (engine)
		DL_FOREACH (engine->workers, worker)
			worker->entry = NULL;
}

static void roster_begin(struct roster *roster, const struct engine *engine)
{
	roster->info = engine->info;
	memcpy(roster->databases, engine->databases.entries, sizeof(roster->databases));
	roster->n_databases = engine->databases.n;
	roster->engine_fd = engine->fd;
	roster->engine = engine->pid;
}

/* After the worker has been given it: one that has it and is taken for idle does no harm, the other
 * way round its file would wait. */
static void roster_note_scan(struct worker *worker)
{
	struct roster_worker *entry = worker->entry;
	const struct request *request = worker->request;

	if (!entry)
		return;
	entry->deadline_us = worker->deadline_us;
	entry->scans = worker->scans;
	entry->scan = (struct roster_scan){
		.id = worker->scan_id,
		.fd = request->fd,
		.state = request->state,
		.lane = request->lane,
		.pid = request->origin.pid,
		.uid = request->origin.uid,
		.is_settled = request->is_settled,
		.stale = request->stale,
		.timed_out = request->timed_out,
	};
	entry->is_busy = true;
}

/* Before anything is done about its verdict. */
static void roster_note_idle(struct worker *worker)
{
	if (worker->entry)
		worker->entry->is_busy = false;
}

/* --- priorities --- */

void pool_set_user(struct pool *pool, uid_t uid)
{
	pool->uid = uid;
}

/* In this order around the change, so that a successor never takes low for normal. */
static void worker_note_low(const struct worker *worker, bool is_low)
{
	if (worker->entry)
		worker->entry->is_low = is_low;
}

/* Costs system calls: so only where it is another one. */
static void worker_prioritize(struct worker *worker, bool is_low)
{
	struct pool *pool = worker->engine->pool;
	int r;

	if (worker->is_low == is_low || !pool->uid || pool->is_refused || worker->is_gone ||
	    worker->has_ended)
		return;
	if (is_low)
		worker_note_low(worker, true);
	r = priority_set(worker->pid, pool->uid, is_low);
	/* One that has ended says so by itself. One that could not be raised is tried again. */
	worker->is_low = is_low || (r < 0 && r != -EPERM);
	if (!worker->is_low)
		worker_note_low(worker, false);
	if (r == -EPERM) {
		pool->is_refused = true;
		log_warning("what nobody waits for is scanned at normal priority: CAP_SYS_NICE is "
			    "withheld from us");
	}
}

static bool request_is_low(const struct request *request)
{
	return !lane_is_awaited(request->lane) && !request->was_starved;
}

/* --- engines and workers --- */

static void worker_free(struct worker *worker)
{
	roster_leave(worker);
	DL_DELETE(worker->engine->workers, worker);
	worker->engine->n_workers--;
	sd_event_source_disable_unref(worker->source);
	close(worker->fd);
	free(worker);
}

static void engine_free(struct engine *engine)
{
	struct pool *pool = engine->pool;

	while (engine->workers)
		worker_free(engine->workers);
	DL_DELETE(pool->engines, engine);
	pool->n_engines--;
	sd_event_source_disable_unref(engine->source);
	if (pool->current == engine) {
		roster_clear(pool->roster, engine);
		pool->current = NULL;
	}
	if (engine->fd >= 0)
		close(engine->fd);
	free(engine);
}

struct pool *pool_free(struct pool *pool)
{
	if (!pool)
		return NULL;
	while (pool->engines)
		engine_free(pool->engines);
	if (pool->contents >= 0)
		close(pool->contents);
	free(pool);
	return NULL;
}

/* Frees what a retired engine no longer needs, and an engine that has nothing left to do. */
static void engine_settle(struct engine *engine)
{
	struct worker *worker, *next;

	if (engine->retired)
		DL_FOREACH_SAFE (engine->workers, worker, next)
			if (!worker->request)
				worker_free(worker);
	if (!engine->workers && (engine->retired || engine->fd < 0))
		engine_free(engine);
}

/* A newer engine has taken over. This one finishes its scans and forks no more workers. */
static void engine_retire(struct engine *engine)
{
	const struct wire_plain retire = {.header = WIRE_INIT(WIRE_RETIRE, struct wire_plain)};

	if (!engine->retired && engine->fd >= 0)
		(void)chan_send(engine->fd, &retire.header, -1);
	engine->retired = true;
	engine_settle(engine);
}

/* Gets rid of a worker, and returns what it was scanning; NULL: nothing. */
static struct request *worker_end(struct worker *worker)
{
	struct engine *engine = worker->engine;
	struct request *request = worker->request;
	const struct wire_worker kill_it = {
		.header = WIRE_INIT(WIRE_KILL_WORKER, struct wire_worker),
		.pid = worker->pid,
	};

	/* If the engine cannot be told, the worker's own alarm ends it. One that has ended may have
	 * left its pid to another. */
	if (engine->fd >= 0 && !worker->has_ended)
		(void)chan_send(engine->fd, &kill_it.header, -1);
	worker_free(worker);
	engine_settle(engine);
	return request;
}

/* While it is on the roster: if we end here, whoever follows us finds it lost. */
static void worker_distrust(struct worker *worker)
{
	struct pool *pool = worker->engine->pool;

	if (worker->may_have_vouched)
		pool->callbacks->distrusted(pool->context, worker->serial);
	worker->may_have_vouched = false;
}

/* The worker is of no use any more. Its request goes back to whoever decides. */
static void worker_lost(struct worker *worker, enum pool_loss loss, const char *why)
{
	struct pool *pool = worker->engine->pool;
	struct request *request;

	worker_distrust(worker);
	request = worker_end(worker);
	if (request)
		pool->callbacks->lost(pool->context, request, loss, why);
}

/* Whether a worker that this signal has ended has brought that upon itself. 0: it ended itself. */
static bool signal_is_crash(int32_t number)
{
	switch (number) {
	case 0:
	case SIGABRT:
	case SIGALRM: /* it passed max-scan-time */
	case SIGBUS:
	case SIGFPE:
	case SIGILL:
	case SIGSEGV:
	case SIGSYS: /* it did what workers may not */
	case SIGTRAP:
	case SIGXCPU:
	case SIGXFSZ:
		return true;
	default:
		return false;
	}
}

/* Who is to blame where a scan has run out of time. */
static enum pool_loss worker_blame_slow(const struct worker *worker)
{
	return worker->was_low ? POOL_STARVED : POOL_CRASHED;
}

/* The worker has ended. */
static void worker_lost_by(struct worker *worker)
{
	bool is_crash = worker->has_ended && signal_is_crash(worker->signal);
	char why[WIRE_SIGNATURE_MAX] = "its worker died";

	if (worker->has_ended && !worker->signal)
		(void)snprintf(why, sizeof(why), "its worker ended of itself");
	else if (worker->has_ended)
		(void)snprintf(why, sizeof(why), "its worker died: %s",
			       worker->signal == SIGALRM ? "it passed max-scan-time"
							 : strsignal(worker->signal));
	worker_lost(worker,
		    !is_crash			? POOL_KILLED
		    : worker->signal == SIGALRM ? worker_blame_slow(worker)
						: POOL_CRASHED,
		    why);
}

/* Its socket was closed. If it was at work the engine is heard first. */
static void worker_gone(struct worker *worker)
{
	if (!worker->request || worker->has_ended || worker->engine->fd < 0) {
		worker_lost_by(worker);
		return;
	}
	worker_distrust(worker);
	worker->is_gone = true;
	worker->deadline_us = clock_monotonic_us() + WORD_US;
	worker->source = sd_event_source_disable_unref(worker->source);
}

/* Of those that are left. */
static unsigned engine_count_alive(const struct engine *engine)
{
	const struct worker *worker;
	unsigned n = 0;

	DL_FOREACH (engine->workers, worker)
		n += !worker->is_gone;
	return n;
}

/* Whether it is time to replace a worker, which has nothing to do. */
static bool worker_is_due(const struct worker *worker, uint64_t now_us)
{
	return !worker->request && !worker->is_adopted &&
	       (worker->scans >= POOL_SCANS_MAX || now_us - worker->arrived_us >= POOL_AGE_MAX_US);
}

/* Lets it go if there is another in its place, which is asked for first. */
static void worker_replace(struct worker *worker)
{
	struct engine *engine = worker->engine;
	struct pool *pool = engine->pool;
	const struct wire_worker replace = {
		.header = WIRE_INIT(WIRE_REPLACE_WORKER, struct wire_worker),
		.pid = worker->pid,
	};

	if (engine_count_alive(engine) > engine->info.workers) {
		engine->is_asked = false;
		worker_free(worker);
		pool->callbacks->replaced(pool->context);
	} else if (engine->fd >= 0 && !engine->is_asked) {
		engine->is_asked = chan_send(engine->fd, &replace.header, -1) == 0;
	}
}

/* Workers of the current engine are replaced one after the other. */
static void pool_replace_one(struct pool *pool)
{
	uint64_t now_us = clock_monotonic_us();
	struct worker *worker;

	if (!pool->current)
		return;
	DL_FOREACH (pool->current->workers, worker)
		if (worker_is_due(worker, now_us)) {
			worker_replace(worker);
			return;
		}
}

struct worker_delivery {
	struct worker *worker;
	bool has_verdict;
	struct wire_verdict verdict;
};

/* Whether what it says of the content makes sense, which is then noted. */
static bool worker_take_content(const struct worker *worker, const struct wire_verdict *verdict)
{
	struct request_content *content = &worker->request->content;

	content->is_told = verdict->flags & WIRE_VERDICT_HASHED;
	content->is_known = verdict->flags & WIRE_VERDICT_SAME_CONTENT;
	memcpy(content->digest, verdict->digest, sizeof(content->digest));
	content->voucher = worker->serial;
	return !content->is_known ||
	       (content->is_told && verdict->verdict == VERDICT_CLEAN && !worker->must_scan);
}

static int worker_take_verdict(void *context, struct chan_message *message)
{
	const struct wire_verdict *verdict = (const void *)message;
	struct worker_delivery *delivery = context;
	const uint64_t deadline_us =
		delivery->worker->engine->info.scan_deadline_ms * CLOCK_US_PER_MS;

	if (delivery->worker->is_adopted && verdict->id != delivery->worker->scan_id)
		return 0;
	if (!delivery->worker->request || verdict->id != delivery->worker->scan_id ||
	    verdict->verdict >= VERDICT_COUNT ||
	    !wire_string_ok(verdict->reason, sizeof(verdict->reason)) ||
	    !wire_string_ok(verdict->warning, sizeof(verdict->warning)) ||
	    !worker_take_content(delivery->worker, verdict))
		return -EPROTO;
	delivery->has_verdict = true;
	delivery->worker->may_have_vouched = true;
	delivery->verdict = *verdict;
	delivery->verdict.flags = 0;
	memset(delivery->verdict.digest, 0, sizeof(delivery->verdict.digest));
	/* It is what a full scan pauses for, and a worker may have been made to say anything. */
	if (delivery->verdict.cpu_us > deadline_us)
		delivery->verdict.cpu_us = deadline_us;
	return 0;
}

/* It was asked when it was adopted. */
static int worker_take_pong(void *context, struct chan_message *message)
{
	const struct wire_question *answer = (const void *)message;
	struct worker_delivery *delivery = context;

	/* Others are answers to guards before us. */
	if (answer->number == delivery->worker->question)
		delivery->worker->is_adopted = false;
	return 0;
}

static const struct chan_rule worker_rules[] = {
	{WIRE_PONG, sizeof(struct wire_question), false, worker_take_pong},
	{WIRE_VERDICT, sizeof(struct wire_verdict), false, worker_take_verdict},
	{0},
};

static int worker_on_readable(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct worker_delivery delivery = {.worker = userdata};
	struct worker *worker = userdata;
	struct pool *pool = worker->engine->pool;
	struct request *request = worker->request;
	int r = chan_serve(fd, worker_rules, &delivery);

	if (r == -EAGAIN)
		return 0;
	if (r == -EPROTO)
		worker_lost(worker, POOL_CRASHED, "its worker broke the protocol");
	else if (r < 0)
		worker_gone(worker);
	if (r < 0)
		return 0;

	if (!delivery.has_verdict && !(worker->is_inherited && !worker->is_adopted))
		return 0;

	roster_note_idle(worker);
	worker->is_inherited = false;
	worker->request = NULL;
	engine_settle(worker->engine);
	if (delivery.has_verdict)
		pool->callbacks->verdict(pool->context, request, &delivery.verdict);
	else if (request)
		/* The guard before us has read its verdict, and had no time to answer. */
		pool->callbacks->given_back(pool->context, request);
	/* Before it is given something else: under load it is idle at no other time. */
	pool_replace_one(pool);
	pool->callbacks->idle(pool->context);
	return 0;
}

/* The engine's first worker is here: from now on its signatures count. Those introduced before it
 * have had their time, the ones after it may still come. */
static void engine_become_current(struct engine *engine)
{
	struct pool *pool = engine->pool;
	struct engine *other, *next;
	struct worker *worker;

	roster_clear(pool->roster, pool->current);
	roster_begin(pool->roster, engine);
	DL_FOREACH (engine->workers, worker)
		roster_enter(pool->roster, worker);
	pool->current = engine;
	pool->databases = engine->databases;
	pool->info = engine->info;
	pool->generation++;
	pool->release_us = 0;
	DL_FOREACH_SAFE (pool->engines, other, next) {
		if (other == engine)
			break;
		engine_retire(other);
	}
	pool->callbacks->switched(pool->context);
}

static int engine_take_info(void *context, struct chan_message *message)
{
	struct engine *engine = context;

	engine->info = *(const struct wire_engine_info *)(const void *)message;
	return engine->info.scan_deadline_ms &&
			       wire_string_ok(engine->info.engine, sizeof(engine->info.engine)) &&
			       wire_string_ok(engine->info.versions, sizeof(engine->info.versions))
		       ? 0
		       : -EPROTO;
}

/* Those that come after the first worker are too late to be told of. */
static int engine_take_database(void *context, struct chan_message *message)
{
	const struct wire_database *database = (const void *)message;
	struct engine *engine = context;
	struct databases *databases = &engine->databases;

	if (!engine->info.scan_deadline_ms || databases->n == WIRE_DATABASES_MAX ||
	    !wire_string_ok(database->name, sizeof(database->name)) || !*database->name)
		return -EPROTO;
	databases->entries[databases->n++] = *database;
	return 0;
}

static int engine_take_worker(void *context, struct chan_message *message)
{
	struct engine *engine = context;
	struct pool *pool = engine->pool;
	bool is_welcome = engine->info.scan_deadline_ms && engine->n_workers < ROSTER_WORKERS_MAX;
	struct worker *worker = is_welcome && !engine->retired ? calloc(1, sizeof(*worker)) : NULL;

	if (!worker) {
		/* It ends with its socket. One forked before the engine heard that it is retired
		 * does no harm; where there is no memory for it another one will be forked. */
		close(message->fd);
		return is_welcome || engine->retired ? 0 : -EPROTO;
	}

	worker->engine = engine;
	worker->fd = message->fd;
	worker->pid = ((const struct wire_worker *)(const void *)message)->pid;
	worker->serial = ++pool->roster->next_id;
	worker->arrived_us = clock_monotonic_us();
	DL_APPEND(engine->workers, worker);
	engine->n_workers++;
	if (sd_event_add_io(pool->event, &worker->source, worker->fd, EPOLLIN, worker_on_readable,
			    worker) < 0 ||
	    sd_event_source_set_priority(worker->source, POOL_PRIORITY) < 0) {
		worker_free(worker);
		return -ENOMEM;
	}

	if (pool->current == engine)
		roster_enter(pool->roster, worker);
	else
		engine_become_current(engine);
	engine->is_asked = false;
	pool_replace_one(pool);
	pool->callbacks->idle(pool->context);
	return 0;
}

/* Of workers that were given up, or were another guard's, there is nothing to know. */
static int engine_take_ended(void *context, struct chan_message *message)
{
	const struct wire_worker_ended *ended = (const void *)message;
	struct engine *engine = context;
	struct worker *worker;

	if (ended->signal < 0 || ended->signal >= NSIG)
		return -EPROTO;
	DL_FOREACH (engine->workers, worker)
		if (worker->pid == ended->pid && !worker->has_ended)
			break;
	if (!worker)
		return 0;
	worker->has_ended = true;
	worker->signal = ended->signal;
	/* Otherwise there may still be its verdict to read. */
	if (worker->is_gone)
		worker_lost_by(worker);
	return 0;
}

static const struct chan_rule engine_rules[] = {
	{WIRE_ENGINE_INFO, sizeof(struct wire_engine_info), false, engine_take_info},
	{WIRE_DATABASE, sizeof(struct wire_database), false, engine_take_database},
	{WIRE_WORKER, sizeof(struct wire_worker), true, engine_take_worker},
	{WIRE_WORKER_ENDED, sizeof(struct wire_worker_ended), false, engine_take_ended},
	{0},
};

/* A worker that is gone, and whose engine is gone too: nobody will say why. */
static struct worker *pool_find_orphan(const struct pool *pool)
{
	struct engine *engine;
	struct worker *worker;

	DL_FOREACH (pool->engines, engine)
		DL_FOREACH (engine->workers, worker)
			if (worker->is_gone && engine->fd < 0)
				return worker;
	return NULL;
}

static int engine_on_readable(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct engine *engine = userdata;
	struct pool *pool = engine->pool;
	int r = chan_serve(fd, engine_rules, engine);
	struct worker *orphan;

	if (r < 0 && r != -EAGAIN) {
		/* The supervisor sees to another engine; until then the workers that are left go
		 * on. */
		engine->source = sd_event_source_disable_unref(engine->source);
		if (pool->current == engine)
			pool->roster->engine_fd = -1;
		close(engine->fd);
		engine->fd = -1;
		engine_settle(engine);
		while ((orphan = pool_find_orphan(pool)))
			worker_lost_by(orphan);
	}
	return 0;
}

/* One that cannot be told has gone. */
static void engine_send_contents(const struct engine *engine)
{
	const int fd = engine->pool->contents;
	const struct wire_plain message = {
		.header = WIRE_INIT(fd < 0 ? WIRE_NO_CONTENTS : WIRE_CONTENTS, struct wire_plain),
	};

	if (engine->fd >= 0)
		(void)chan_send(engine->fd, &message.header, fd);
}

void pool_set_contents(struct pool *pool, int fd)
{
	struct engine *engine;

	if (pool->contents >= 0)
		close(pool->contents);
	pool->contents = fd;
	DL_FOREACH (pool->engines, engine)
		engine_send_contents(engine);
}

int pool_add_engine(struct pool *pool, int fd, int32_t pid)
{
	struct engine *engine;
	int r;

	if (pool->n_engines >= POOL_ENGINES_MAX)
		return -ENOSPC;

	engine = calloc(1, sizeof(*engine));
	if (!engine)
		return -ENOMEM;
	*engine = (struct engine){.pool = pool, .fd = fd, .pid = pid};
	r = sd_event_add_io(pool->event, &engine->source, fd, EPOLLIN, engine_on_readable, engine);
	if (r < 0) {
		free(engine);
		return r;
	}
	/* Workers are announced ahead of verdicts: after a loss they are what is waited for. */
	(void)sd_event_source_set_priority(engine->source, POOL_PRIORITY - 1);
	DL_APPEND(pool->engines, engine);
	pool->n_engines++;
	engine_send_contents(engine);
	return 0;
}

/* --- taking over --- */

/* What it is scanning. The descriptor was that of the request of the guard before us, and ours is a
 * duplicate. */
static void worker_inherit(struct worker *worker, int fd)
{
	struct pool *pool = worker->engine->pool;
	struct roster_worker *entry = worker->entry;

	worker->request = pool->callbacks->adopted(pool->context, &entry->scan);
	if (worker->request) {
		worker->is_inherited = true;
		worker->was_low = worker->is_low;
		worker->scan_id = entry->scan.id;
		entry->scan.fd = worker->request->fd;
		pool_promoted(pool, worker->request);
	} else {
		entry->is_busy = false;
	}
	close(fd);
}

static void worker_adopt(struct engine *engine, struct roster_worker *entry)
{
	const struct wire_question ping = {
		.header = WIRE_INIT(WIRE_PING, struct wire_question),
		.number = ++engine->pool->roster->next_id,
	};
	struct pool *pool = engine->pool;
	struct worker *worker = calloc(1, sizeof(*worker));
	int scanned = entry->is_busy ? entry->scan.fd : -1;

	if (!worker) {
		/* It ends with its socket, and its engine forks another. */
		close(atomic_exchange(&entry->fd, 0));
		if (scanned >= 0)
			close(scanned);
		return;
	}
	*worker = (struct worker){
		.engine = engine,
		.fd = entry->fd,
		.pid = entry->pid,
		.entry = entry,
		.deadline_us = entry->deadline_us,
		.serial = entry->serial,
		.arrived_us = entry->arrived_us,
		.scans = entry->scans,
		.may_have_vouched = true,
		.question = ping.number,
		.is_adopted = true,
		.is_low = entry->is_low,
	};
	DL_APPEND(engine->workers, worker);
	engine->n_workers++;
	if (sd_event_add_io(pool->event, &worker->source, worker->fd, EPOLLIN, worker_on_readable,
			    worker) < 0 ||
	    sd_event_source_set_priority(worker->source, POOL_PRIORITY) < 0) {
		worker_free(worker);
		if (scanned >= 0)
			close(scanned);
		return;
	}
	/* If it has ended, its socket says so. */
	(void)chan_send(worker->fd, &ping.header, -1);
	if (scanned >= 0)
		worker_inherit(worker, scanned);
}

void pool_adopt(struct pool *pool)
{
	struct roster *roster = pool->roster;
	struct engine *engine;

	engine = roster->engine ? calloc(1, sizeof(*engine)) : NULL;
	if (!engine) {
		roster_clear(roster, NULL);
		return;
	}
	*engine = (struct engine){
		.pool = pool,
		.fd = roster->engine_fd,
		.pid = roster->engine,
		.info = roster->info,
		.databases.n = roster->n_databases,
	};
	memcpy(engine->databases.entries, roster->databases, sizeof(roster->databases));
	DL_APPEND(pool->engines, engine);
	pool->n_engines++;
	if (engine->fd >= 0 &&
	    (sd_event_add_io(pool->event, &engine->source, engine->fd, EPOLLIN, engine_on_readable,
			     engine) < 0 ||
	     sd_event_source_set_priority(engine->source, POOL_PRIORITY - 1) < 0)) {
		roster_clear(roster, NULL);
		engine_free(engine);
		return;
	}
	pool->current = engine;
	pool->databases = engine->databases;
	pool->info = engine->info;
	pool->generation++;
	/* It is another one where that of the guard before us could not be taken over. */
	engine_send_contents(engine);
	pool->callbacks->switched(pool->context);
	for (size_t i = 0; i < ROSTER_WORKERS_MAX; i++)
		if (roster->workers[i].fd)
			worker_adopt(engine, &roster->workers[i]);
	engine_settle(engine);
}

void pool_note(struct pool *pool, const struct request *request)
{
	struct worker *worker;

	if (!pool->current)
		return;
	DL_FOREACH (pool->current->workers, worker)
		if (worker->request == request && worker->entry) {
			worker->entry->scan.stale = request->stale;
			worker->entry->scan.timed_out = request->timed_out;
		}
}

void pool_retire(struct pool *pool, uint64_t serial)
{
	struct worker *worker;

	if (!pool->current)
		return;
	DL_FOREACH (pool->current->workers, worker)
		if (worker->serial == serial)
			worker->scans = POOL_SCANS_MAX;
}

/* --- what there is --- */

int32_t pool_engine(const struct pool *pool)
{
	return pool->current ? pool->current->pid : 0;
}

/* One that has this priority, if there is any. */
static struct worker *pool_find_idle(const struct pool *pool, bool is_low)
{
	struct worker *worker, *other = NULL;

	if (pool->current)
		DL_FOREACH (pool->current->workers, worker) {
			if (!worker->request && worker->is_low == is_low)
				return worker;
			if (!worker->request && !other)
				other = worker;
		}
	return other;
}

unsigned pool_idle(const struct pool *pool)
{
	const struct worker *worker;
	unsigned n = 0;

	if (pool->current)
		DL_FOREACH (pool->current->workers, worker)
			n += !worker->request;
	return n;
}

unsigned pool_unheld(const struct pool *pool)
{
	const struct worker *worker;
	unsigned n = 0;

	if (pool->current)
		DL_FOREACH (pool->current->workers, worker)
			n += worker->request && worker->request->lane != LANE_OPEN;
	return n;
}

bool pool_scan(struct pool *pool, struct request *request)
{
	struct wire_scan scan = {.header = WIRE_INIT(WIRE_SCAN, struct wire_scan)};
	struct worker *worker = pool_find_idle(pool, request_is_low(request));

	if (!worker)
		return false;
	worker_prioritize(worker, request_is_low(request));
	worker->was_low = worker->is_low;
	scan.id = worker->scan_id = ++pool->roster->next_id;
	scan.size = request->state.size;
	scan.flags = request->afresh ? WIRE_SCAN_AFRESH : 0;
	if (chan_send(worker->fd, &scan.header, request->fd) < 0) {
		worker_lost(worker, POOL_KILLED, "");
		return false;
	}
	worker->request = request;
	worker->must_scan = request->afresh;
	worker->scans++;
	request->content.is_told = request->content.is_known = false;
	worker->deadline_us = clock_monotonic_us() + pool->info.scan_deadline_ms * CLOCK_US_PER_MS;
	roster_note_scan(worker);
	return true;
}

void pool_promoted(struct pool *pool, const struct request *request)
{
	struct engine *engine;
	struct worker *worker;

	if (request_is_low(request))
		return;
	DL_FOREACH (pool->engines, engine)
		DL_FOREACH (engine->workers, worker)
			if (worker->request == request)
				worker_prioritize(worker, false);
}

/* Those that have been at work at low priority for long get the normal one. */
static void pool_hurry_slow(const struct pool *pool, uint64_t now_us)
{
	struct engine *engine;
	struct worker *worker;

	DL_FOREACH (pool->engines, engine) {
		uint64_t time_us = engine->info.scan_deadline_ms * CLOCK_US_PER_MS,
			 left_us = time_us - time_us / LOW_PART;

		DL_FOREACH (engine->workers, worker)
			if (worker->request && now_us + left_us >= worker->deadline_us)
				worker_prioritize(worker, false);
	}
}

/* A worker that is scanning, with a deadline before that. */
static struct worker *pool_find_busy(const struct pool *pool, uint64_t deadline_us)
{
	struct engine *engine;
	struct worker *worker;

	DL_FOREACH (pool->engines, engine)
		DL_FOREACH (engine->workers, worker)
			if (worker->request && worker->deadline_us < deadline_us)
				return worker;
	return NULL;
}

void pool_release(struct pool *pool, uint64_t until_us)
{
	struct engine *engine, *next;

	roster_clear(pool->roster, pool->current);
	pool->current = NULL;
	pool->release_us = until_us;
	DL_FOREACH_SAFE (pool->engines, engine, next)
		engine_retire(engine);
}

/* What was released has had its time. */
static void pool_give_back(struct pool *pool)
{
	struct worker *worker;

	pool->release_us = 0;
	while ((worker = pool_find_busy(pool, UINT64_MAX)))
		pool->callbacks->given_back(pool->context, worker_end(worker));
}

void pool_sweep(struct pool *pool, uint64_t now_us)
{
	struct worker *worker;

	if (pool->release_us && now_us >= pool->release_us)
		pool_give_back(pool);

	pool_hurry_slow(pool, now_us);
	/* Losing a worker may free its engine: begin again after each. */
	while ((worker = pool_find_busy(pool, now_us)))
		if (worker->is_gone)
			worker_lost_by(worker);
		else
			worker_lost(worker, worker_blame_slow(worker),
				    "its worker passed the deadline");
}

unsigned pool_generation(const struct pool *pool)
{
	return pool->generation;
}

const struct wire_engine_info *pool_info(const struct pool *pool)
{
	return &pool->info;
}

const struct wire_database *pool_databases(const struct pool *pool, unsigned *ret_n)
{
	*ret_n = pool->databases.n;
	return pool->databases.entries;
}

unsigned pool_alive(const struct pool *pool)
{
	return pool->current ? pool->current->n_workers : 0;
}

unsigned pool_busy(const struct pool *pool)
{
	const struct engine *engine;
	const struct worker *worker;
	unsigned n = 0;

	DL_FOREACH (pool->engines, engine)
		DL_FOREACH (engine->workers, worker)
			n += worker->request != NULL;
	return n;
}
