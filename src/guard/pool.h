/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * pool: the workers that scan, whichever engine forked them.
 *
 * Owns the sockets to the engines and their workers. An engine becomes the current one when its
 * first worker arrives; the one before keeps only what it is scanning. The workers of an engine
 * that died go on until another one takes over. A worker that dies, breaks the protocol or passes
 * its deadline is lost: its engine is told to kill it and forks another.
 *
 * How a worker ended is known to its engine, who is given a moment to say so before the worker
 * counts as lost: what it was scanning may be to blame, or not.
 *
 * A worker that has scanned much, or for long, is replaced, so that what may have taken it over
 * does not stay: its engine forks another, and once that is there it is let go when it has nothing
 * to do.
 *
 * The pool moves requests, it does not decide over them. It never waits.
 */
#include "../common/clock.h"
#include "request.h"
#include "roster.h"

#include <sys/types.h>
#include <systemd/sd-event.h>

/* Engines at once: one current, one coming, the others finishing a scan. */
#define POOL_ENGINES_MAX 16

/* A worker that was given so many files, or is so old, is replaced with the next verdict: to fork
 * one takes some 40 ms with the official signatures. */
#define POOL_SCANS_MAX	10000
#define POOL_AGE_MAX_US (3600 * CLOCK_US_PER_SEC)

/* Verdicts are handled before new events are read. */
#define POOL_PRIORITY (SD_EVENT_PRIORITY_NORMAL - 10)

struct pool;

/* Who is to blame for the loss of a worker. */
enum pool_loss {
	POOL_CRASHED, /* what it was scanning: it ended of itself, or did not end */
	POOL_STARVED, /* maybe nobody: it ran out of time, some of which it was at low priority */
	POOL_KILLED   /* somebody else, or nobody can tell */
};

/* Whom the pool tells. context is the one of pool_new(). */
struct pool_callbacks {
	/* A verdict came. What it says has been checked, its strings end; what it says of the
	 * content is in request->content, and not in it. */
	void (*verdict)(void *context, struct request *request, const struct wire_verdict *verdict);
	/* The worker of this request was lost; why is for people. */
	void (*lost)(void *context, struct request *request, enum pool_loss loss, const char *why);
	/* This worker has ended, or was given up, for whatever reason but that it was not needed
	 * any more. It may have vouched for contents. */
	void (*distrusted)(void *context, uint64_t serial);
	/* A worker was let go after many scans. */
	void (*replaced)(void *context);
	/* A worker is scanning this for a guard before us. Returns the request that its verdict is
	 * for, which no worker has; NULL: it is for nobody. */
	struct request *(*adopted)(void *context, const struct roster_scan *scan);
	/* Another engine's signatures are the current ones from now on. */
	void (*switched)(void *context);
	/* The worker of this request was taken away from it, see pool_release(). */
	void (*given_back)(void *context, struct request *request);
	/* A worker is idle: pool_scan() will find one. */
	void (*idle)(void *context);
};

/* pool_new() keeps the roster, which must outlive the pool. Returns NULL when out of memory.
 * pool_free() takes NULL and returns NULL. */
struct pool *pool_new(sd_event *event, struct roster *roster,
		      const struct pool_callbacks *callbacks, void *context);
struct pool *pool_free(struct pool *pool);

/*
 * pool_add_engine() takes the socket to the engine of this pid that has loaded its signatures.
 * Returns 0 or a negative errno, -ENOSPC when there are too many; then fd stays the caller's.
 */
int pool_add_engine(struct pool *pool, int fd, int32_t pid);

/* pool_set_contents() takes the descriptor of the table of contents that all engines, and those
 * that come, are sent; -1: there is none. No engine has workers before. */
void pool_set_contents(struct pool *pool, int fd);

/* pool_adopt() takes over the engine and the workers that are on the roster. */
void pool_adopt(struct pool *pool);

/* pool_set_user() says whom the workers run as. Before that all have the same priority. */
void pool_set_user(struct pool *pool, uid_t uid);

/* pool_note() is called when a request that a worker has has become stale, or an opener was
 * answered before the verdict: a successor must know. */
void pool_note(struct pool *pool, const struct request *request);

/* pool_retire() has a worker replaced as soon as it has nothing to do, if it is there still. */
void pool_retire(struct pool *pool, uint64_t serial);

/* pool_engine() returns the pid of the current engine; 0: there is none. */
int32_t pool_engine(const struct pool *pool);

/*
 * pool_release() lets go of all engines, so that their memory is free for the next one: they get no
 * more to do, and there is no current one. Scans under way may end until until_us (monotonic);
 * those that have not are then given back by pool_sweep(), unless there is another engine by then.
 */
void pool_release(struct pool *pool, uint64_t until_us);

/* pool_idle() returns how many workers of the current engine have nothing to do. */
unsigned pool_idle(const struct pool *pool);

/* pool_unheld() returns how many of them have requests that no opener has joined. */
unsigned pool_unheld(const struct pool *pool);

/*
 * pool_scan() gives a request to an idle worker of the current engine. False: none is idle. A
 * worker has low priority while nobody waits for what it scans (lane_is_awaited()); it keeps what
 * it has until it gets work of the other kind.
 */
bool pool_scan(struct pool *pool, struct request *request);

/* pool_promoted() is called when a request that a worker has is in another lane: normal priority
 * comes back while the scan is under way. */
void pool_promoted(struct pool *pool, const struct request *request);

/* pool_sweep() drops the workers that passed their deadline, or the one of pool_release(), or that
 * are gone and nobody has said how. Scans at low priority that take long get the normal one. */
void pool_sweep(struct pool *pool, uint64_t now_us);

/* pool_generation() counts the switches of engines; 0: there has been no engine yet. */
unsigned pool_generation(const struct pool *pool);

/* pool_info() returns what the current engine said of itself; zeros before the first. */
const struct wire_engine_info *pool_info(const struct pool *pool);

/* pool_databases() returns the files of signatures that the current engine loaded, and how many it
 * told of; none before the first. */
const struct wire_database *pool_databases(const struct pool *pool, unsigned *ret_n);

unsigned pool_alive(const struct pool *pool);
unsigned pool_busy(const struct pool *pool);
