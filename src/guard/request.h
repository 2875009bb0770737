/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * request: one file on its way to a verdict, and the opens and others that wait for it.
 *
 * Whoever wants a verdict on a file that is under way joins its request. The table owns its
 * requests; a request owns the descriptor that is scanned and the events that wait. Bounded. Knows
 * nothing of workers or policy.
 */
#include "event.h"
#include "file.h"
#include "used.h"

#include <holdfast/wire.h>

/* Files waiting for a verdict at once. The guard stops reading while less than a batch is free. */
#define REQUESTS_MAX 4096

/* Chains of the table that they are found by. A power of two. */
#define REQUESTS_CHAINS 4096

/* Who has a file scanned, the most urgent first: nobody waits behind a later one for a worker. A
 * request is in the lane of the most urgent who wants it. */
enum lane {
	LANE_OPEN,	/* held openers */
	LANE_DEMAND,	/* people who look at a scan */
	LANE_MOVED,	/* the gate, as the file came into scope with its directory */
	LANE_AHEAD,	/* the gate, as somebody has written the file */
	LANE_WARM,	/* a warm start */
	LANE_SCHEDULED, /* a full scan */
	LANE_COUNT
};

/* lane_is_awaited() says whether somebody waits for what is in this lane. The others are at work
 * when nobody else is. */
static inline bool lane_is_awaited(enum lane lane)
{
	return lane <= LANE_DEMAND;
}

/* Who caused the request: the first opener; where nobody opened it, the most urgent who asked. */
struct request_origin {
	int32_t pid;
	uint32_t uid;
	char exe[WIRE_EXE_MAX];
};

struct request;

/* Somebody beside the openers who wants the verdict. Owned by whoever asks; told exactly once,
 * unless it is taken back before. */
struct asker {
	struct asker *prev, *next; /* in the request's list */
	struct request *request;   /* NULL: told */
	void (*told)(struct asker *asker, const struct wire_verdict *verdict);
};

/* What its last worker said of the bytes that it read. */
struct request_content {
	bool is_told;
	bool is_known; /* they were verified before, and are not scanned now */
	unsigned char digest[WIRE_DIGEST_SIZE];
	uint64_t voucher; /* the worker, see roster.h */
};

struct request {
	struct file_id id;	 /* the key */
	struct file_state state; /* when the scan began */
	bool is_settled;	 /* any later change makes another state, see file.h */
	bool had_writer; /* then: one with a mapping may change it in this state all the same */
	int fd;
	struct event *events;
	unsigned n_events;  /* that wait */
	unsigned n_openers; /* that ever waited, those already answered included */
	struct asker *askers;
	enum lane lane;
	bool is_moved; /* made in LANE_MOVED: wanted without anybody who waits */
	struct request_origin origin;
	struct used_ticket used; /* of the first opener */
	uint64_t device;	 /* of the superblock, see locate.h */
	bool may_be_marked;	 /* the kernel tells when it changes */
	bool may_be_remembered;	 /* its times do */
	bool afresh;		 /* somebody wants it scanned though its content may be known */
	struct request_content content;

	bool waiting;	  /* in the queue; else a worker has it */
	bool stale;	  /* written to, or joined under newer signatures, since the scan began */
	bool timed_out;	  /* an opener was answered before the verdict */
	bool was_starved; /* it ran out of time at low priority: not at that again */
	unsigned losses;  /* workers lost over it, for whatever reason */
	unsigned crashes; /* those of them that ended of themselves */
	bool has_finding; /* something was known against the file in this state */
	unsigned rescans; /* scans begun again because it changed */
	unsigned generation; /* of the signatures that the scan began with */

	struct request *prev, *next;	       /* in the queue */
	struct request *live_prev, *live_next; /* among all, in no order */
	struct request *chain; /* the next of the same hash; of those that are free */
};

struct request_table {
	struct event_table *events;
	struct request *requests; /* all there can be: none is allocated while an opener waits */
	struct request *unused;	  /* singly linked by chain */
	struct request *chains[REQUESTS_CHAINS]; /* by id */
	struct request *live;
	struct request *queues[LANE_COUNT]; /* those that wait, first come first served */
	unsigned n_requests;
};

/* Goes through all requests. The one at hand may be freed meanwhile, and no other. */
#define REQUEST_FOREACH(table, request, next)                                                      \
	for ((request) = (table)->live; (request) && ((next) = (request)->live_next, true);        \
	     (request) = (next))

/* request_table_init() allocates all that is needed. Returns 0 or -ENOMEM. */
int request_table_init(struct request_table *table, struct event_table *events);

/* request_table_deinit() lets every opener go and forgets all requests. Askers are not told, nor
 * touched: they may have gone before. A table that is all zero may be given to it. */
void request_table_deinit(struct request_table *table);

/* request_table_full() says that reading another batch of events could find no room. */
bool request_table_full(const struct request_table *table);

struct request *request_find(struct request_table *table, struct file_id id);

/*
 * request_new() makes a request for the file behind fd, of which it takes a duplicate, and puts it
 * at the end of the lane. Returns NULL with errno set: ENFILE (table full), EMFILE.
 */
struct request *request_new(struct request_table *table, int fd, struct file_id id,
			    const struct file_state *state, enum lane lane);

/* request_join() makes an open wait for the request's verdict. Takes the event. */
void request_join(struct request_table *table, struct request *request, struct event *event);

/* request_ask() makes somebody else wait for it, in this lane. */
void request_ask(struct request_table *table, struct request *request, struct asker *asker,
		 enum lane lane);

/* request_take_back() forgets an asker that has not been told. A request that nobody wants any
 * more, and that no worker has, is freed. */
void request_take_back(struct request_table *table, struct asker *asker);

/* request_tell() tells all askers the verdict. */
void request_tell(struct request *request, const struct wire_verdict *verdict);

/* request_take() takes the first waiting request of the most urgent lane, up to this one; NULL:
 * none waits there. */
struct request *request_take(struct request_table *table, enum lane last);

/* request_waits() says whether request_take() would find one. */
bool request_waits(const struct request_table *table, enum lane last);

/* request_claim() takes this request, which waits. */
void request_claim(struct request_table *table, struct request *request);

/* request_put_back() queues a request again, ahead of the others of its lane: it has waited
 * already. */
void request_put_back(struct request_table *table, struct request *request);

/* request_requeue() queues a request again, behind the others of its lane. */
void request_requeue(struct request_table *table, struct request *request);

/*
 * request_answer() answers the opens that arrived at arrived_by_us (monotonic) or before,
 * UINT64_MAX: all of them; but no more than max, oldest first. Returns how many.
 */
unsigned request_answer(struct request_table *table, struct request *request, bool allow,
			uint64_t arrived_by_us, unsigned max);

/* request_free() forgets a request. All its opens must have been answered, and all its askers told.
 * Returns NULL. */
struct request *request_free(struct request_table *table, struct request *request);
