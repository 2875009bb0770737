/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * run: one run of the fetcher, and what its parts share.
 *
 *   run.c       the order of things: what is asked for, published and told
 *   database.c  one database of the mirrors
 *   custom.c    one custom file
 *   mirror.c    a directory for other machines to fetch from
 */
#include "audience.h"
#include "state.h"
#include "store.h"
#include "transfer.h"

struct run {
	const struct conf *conf;
	struct audience *audience;
	struct store *store;
	struct state *state;
	struct transfer *transfer;
	const char *mirror_to; /* a mirror is kept in this directory; NULL: ours are fetched */
	/* What was known before, of which files are not yet what is known now: they are not in
	 * force. */
	struct state *before;
	int64_t began; /* seconds since the epoch */
};

/* What came of a run. */
struct run_result {
	struct wire_fetched fetched;
	struct wire_update_done done;
};

/*
 * run_all() asks for everything that the configuration names, publishes it, and tells the audience
 * of each; what is_due_only says is WIRE_FETCH_IF_DUE. Fills ret_result, which is for the caller to
 * tell.
 */
void run_all(const struct conf *conf, struct audience *audience, const char *mirror_to,
	     bool is_due_only, struct run_result *ret_result);

/* run_now() returns seconds since the epoch. */
int64_t run_now(void);

/* run_fail() makes an item one that failed, and says why. */
void run_fail(struct wire_update_item *item, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* run_fail_here() does so where a transfer failed for a reason of ours (LOCAL). */
void run_fail_here(const struct run *run, struct wire_update_item *item,
		   const struct transfer_reply *reply);

/* run_get() sends a request, tells the audience of it under that name, adds to what the item cost,
 * and notes what it says of the source; but for DONE, as what came may not be right. */
void run_get(struct run *run, struct source *source, const struct transfer_request *request,
	     struct transfer_reply *reply, struct wire_update_item *item, const char *file);

/* run_was_right() notes that what a source gave was right. */
void run_was_right(struct source *source);

/* run_empty_work() makes an empty directory in fetch/work and writes its path to buffer. Returns 0,
 * or a negative errno after run_fail(). */
int run_empty_work(struct run *run, const char *name, char *buffer, size_t size,
		   struct wire_update_item *item);

/*
 * run_open_partial() opens the file that a transfer of name goes to, what an earlier one has left
 * in it included, and writes its path to path. Returns it, or a negative errno after run_fail().
 */
int run_open_partial(struct run *run, const char *name, char *path, size_t size,
		     struct wire_update_item *item);

/* run_trial() tries a file: signatures of an item's name, and as a container of that database where
 * one is given. Returns 0 with how many there are, or a negative errno with the reason in problem.
 */
int run_trial(struct run *run, const char *path, const char *database, bool as_signed,
	      uint32_t *ret_signatures, char *problem, size_t problem_size);
