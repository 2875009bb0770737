/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * gate: what becomes of one open, from the kernel's question to our answer. Read gate.c from top to
 * bottom to follow one.
 *
 * The gate owns the table of requests and the pool, and works on the estate, which outlives it. It
 * runs in the guard's event loop, where openers wait for it, so nothing in it may open a file
 * outside /proc, resolve a name, write to a log, or wait for anybody. The kernel is answered before
 * anything else is done with a verdict.
 */
#include "../common/conf.h"
#include "ahead.h"
#include "alert.h"
#include "bypass.h"
#include "candidates.h"
#include "estate.h"
#include "journal.h"
#include "locate.h"
#include "pins.h"
#include "pool.h"
#include "request.h"
#include "verdicts.h"
#include "visitor.h"
#include "watch.h"

/* Whom the gate tells. */
struct gate_callbacks {
	void (*progress)(void *context); /* answering many openers takes long, but goes on */
	void (*switched)(void *context); /* another engine's signatures count from now on */
	void (*moved)(void *context);	 /* a directory was moved; mounts may have been with it */
	/* This process was refused to open a file. */
	void (*denied)(void *context, int32_t pid, struct file_id id,
		       const struct wire_verdict *verdict);
};

#define LET_GO_MAX 64

/* Somebody who was let go at the deadline. */
struct let_go {
	struct file_id id;
	int32_t pid;
	uint64_t until_us; /* monotonic */
};

struct gate {
	sd_event *event;
	struct estate *estate;
	struct group *group; /* the estate's, as are the events and the next */
	struct control_counters *counters;
	struct findings *findings;
	struct used *used; /* NULL: nobody wants to know */
	struct remote remote;
	struct watch watch;   /* what is marked */
	struct bypass bypass; /* what of it is not asked about */
	struct pins pins;     /* what is verified, where the kernel needs help to forget it */
	struct visitor visitor;
	struct ahead ahead;	   /* what was written, and nobody has opened yet */
	struct ahead_file opening; /* of that, what the visitor opens */
	bool is_opening;
	struct verdicts *verdicts;    /* what was verified before */
	struct journal *journal;      /* and outlives us; NULL: nothing does */
	struct contents *contents;    /* the bytes of files that were verified; NULL: not kept */
	uint64_t contents_size;	      /* for which they were made; UINT64_MAX: not yet */
	struct candidates candidates; /* that will be put in there */
	struct alert alert;	      /* what the reporter is told */
	struct location location;     /* of the file looked at; only here as it is large */
	struct event_table events;
	struct request_table requests;
	struct pool *pool;
	const struct gate_callbacks *owner;
	void *owner_context;
	const struct conf *conf;		/* the guard's; not owned */
	sd_event_source *sources[GROUP_QUEUES]; /* of the group */
	sd_event_source *renames_source, *visitor_source;
	sd_event_source *sweeper; /* runs while something has a deadline */
	sd_event_source *settler; /* runs once nothing is unread, while there are candidates */
	sd_event_source *ahead_timer;
	uint64_t ahead_armed_us; /* when it runs next, UINT64_MAX: it does not */
	uint64_t opened_us;	 /* when opens were read last; monotonic */
	int32_t own_pids[3]; /* guard, supervisor, whoever reads the configuration (0: nobody) */
	bool started;	     /* events are read */
	uint64_t read_us;    /* when this was done last; monotonic */
	bool engine_down;    /* the supervisor cannot start an engine */
	uint64_t read_error_quiet_until_us;
	struct let_go let_go[LET_GO_MAX]; /* the last ones; see gate.c */
	unsigned n_let_go;
};

/* gate_init() reads no event yet. The estate must outlive the gate. Returns 0, or a negative errno
 * with what failed in *ret_what. */
int gate_init(struct gate *gate, struct estate *estate, sd_event *event, struct outbox *reporter,
	      const struct gate_callbacks *owner, void *context, const char **ret_what);

/* gate_note_crash() is called before all else by a guard that follows another. has_crashed: that
 * was ended by a fault of its own, so that the open it was deciding over may do the same to us. */
void gate_note_crash(struct estate *estate, bool has_crashed);

/*
 * gate_start() begins to read events, once there is a configuration and what it names is watched.
 * First come those that a guard before us has read and not answered.
 */
void gate_start(struct gate *gate);

/* gate_let_go() closes the groups: every held open is let go, and there are no more. */
void gate_let_go(struct gate *gate);

/* gate_deinit() does so too, and forgets all. */
void gate_deinit(struct gate *gate);

/*
 * gate_set_conf() makes conf decide from now on; it must live until the next call. In a mode that
 * does not block, whoever is held is let go. Nothing works before the first call, which makes the
 * table of verdicts; each makes another table of contents where its size has changed. Returns 0 or
 * -ENOMEM.
 */
int gate_set_conf(struct gate *gate, const struct conf *conf);

/* gate_mounts_changed() is called after watch_apply() has run for new mounts. */
void gate_mounts_changed(struct gate *gate);

/* gate_trust() never holds the opens of this process; 0: of nobody any more. */
void gate_trust(struct gate *gate, int32_t pid);

/* What somebody wants of gate_scan(). */
struct gate_order {
	enum lane lane;
	bool afresh; /* although it was verified in this state before */
	bool remote; /* on a network or FUSE filesystem too, which can keep a worker waiting */
	struct request_origin origin;
	struct asker *asker;
};

/*
 * gate_scan() has an open file scanned that nobody is held for, whether it is in scope or not. fd
 * stays the caller's. The asker is told in any case, maybe before this returns; VERDICT_FAILED with
 * the reason where it cannot be scanned.
 */
void gate_scan(struct gate *gate, int fd, const struct gate_order *order);

/* gate_count_ahead() returns how many files wait to be scanned as they were written. */
unsigned gate_count_ahead(const struct gate *gate);

/* gate_is_busy() says that so many files are under way that none should be added for which nobody
 * waits. */
bool gate_is_busy(const struct gate *gate);

/* gate_take_back() spares an asker that waits being told. */
void gate_take_back(struct gate *gate, struct asker *asker);

/* gate_signatures() returns the set of signatures that counts now, see struct wire_engine_info. */
uint64_t gate_signatures(const struct gate *gate);

/*
 * gate_release() lets go of all engines, as another one will come and there is no room for both:
 * scans under way have some seconds to end. What is not known waits until it is there, or its
 * hold deadline.
 */
void gate_release(struct gate *gate);

/* gate_engine_down() answers what waits by on-failure, and further opens too, until an engine
 * comes. */
void gate_engine_down(struct gate *gate);
