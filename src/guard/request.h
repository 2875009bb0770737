/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * request: one file on its way to a verdict, and the opens that wait for it.
 *
 * Several opens of one file are one request. The table owns its requests; a request owns the
 * descriptor that is scanned and the events that wait. Bounded. Knows nothing of workers or policy.
 */
#include "event.h"
#include "file.h"

#include <holdfast/wire.h>
#include <uthash.h>

/* Files waiting for a verdict at once. The guard stops reading while less than a batch is free. */
#define REQUESTS_MAX 4096

/* Who caused the request: the first opener. */
struct request_origin {
	int32_t pid;
	uint32_t uid;
	char exe[WIRE_EXE_MAX];
};

struct request {
	struct file_id id;	 /* the key */
	struct file_state state; /* when the scan began */
	int fd;
	struct event *events;
	unsigned n_events;  /* that wait */
	unsigned n_openers; /* that ever waited, those already answered included */
	struct request_origin origin;
	uint64_t device;	/* of the superblock, see locate.h */
	bool may_be_remembered; /* the kernel tells when it changes */
	bool moved;		/* nobody opened it: it came into scope with its directory */

	bool waiting;	   /* in the queue; else a worker has it */
	bool stale;	   /* written to, or joined under newer signatures, since the scan began */
	bool timed_out;	   /* an opener was answered before the verdict */
	unsigned attempts; /* workers lost over it */
	unsigned rescans;  /* scans begun again because it changed */
	unsigned generation; /* of the signatures that the scan began with */

	struct request *prev, *next; /* in the queue */
	UT_hash_handle hh;
};

struct request_table {
	struct event_table *events;
	struct request *by_id; /* hash of all */
	struct request *queue; /* those that wait, first come first served */
	unsigned n_requests;
};

void request_table_init(struct request_table *table, struct event_table *events);

/* request_table_deinit() lets every opener go and forgets all requests. */
void request_table_deinit(struct request_table *table);

/* request_table_full() says that reading another batch of events could find no room. */
bool request_table_full(const struct request_table *table);

struct request *request_find(struct request_table *table, struct file_id id);

/*
 * request_new() makes a request for the file behind fd, of which it takes a duplicate, and puts it
 * at the end of the queue. Returns NULL with errno set: ENFILE (table full), ENOMEM, EMFILE.
 */
struct request *request_new(struct request_table *table, int fd, struct file_id id,
			    const struct file_state *state);

/* request_join() makes an open wait for the request's verdict. Takes the event. */
void request_join(struct request *request, struct event *event);

/* request_take() takes the first waiting request from the queue, of those that nobody has asked for
 * only if there is no other; NULL: none waits. */
struct request *request_take(struct request_table *table);

/* request_put_back() queues a request again, ahead of the others: it has waited already. */
void request_put_back(struct request_table *table, struct request *request);

/* request_requeue() queues a request again, behind the others. */
void request_requeue(struct request_table *table, struct request *request);

/*
 * request_answer() answers the opens that arrived at arrived_by_us (monotonic) or before,
 * UINT64_MAX: all of them; but no more than max, oldest first. Returns how many.
 */
unsigned request_answer(struct request_table *table, struct request *request, bool allow,
			uint64_t arrived_by_us, unsigned max);

/* request_free() forgets a request. All its opens must have been answered. Returns NULL. */
struct request *request_free(struct request_table *table, struct request *request);
