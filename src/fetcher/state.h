/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * state: what the fetcher remembers from run to run, as JSON in a file of its own: whom it may ask
 * when, and what it has from whom. "holdfast status" reads it too. Without it, or where it cannot
 * be understood, it begins anew.
 *
 *   {"version": 1, "next_run": 1790000000, "uuid": "...",
 *    "sources": [{"url": "http://mirror.example/clamav", "last_ok": 0, "failures": 0,
 *                 "retry_at": 0, "cool_until": 0, "cool_since": 0, "problem": ""}, ...],
 *    "items": [{"name": "daily", "custom": false, "source": "http://...", "checked": 0,
 *               "changed": 0, "version": 27450, "signatures": 2000000, "etag": "",
 *               "last_modified": "", "problem": ""}, ...]}
 *
 * Times are seconds since the epoch, 0: never. URLs are without passwords (url_display()).
 */
#include "../common/signature.h"
#include "source.h"

#define STATE_ITEMS_MAX 512

/* What is known of one database or custom file. */
struct state_item {
	char name[SIGNATURE_FILE_MAX + 1]; /* "daily", "local.ndb" */
	bool custom;
	char source[WIRE_SIGNATURE_MAX]; /* it came from; empty: none yet */
	int64_t checked; /* a source said last that we have what there is, or gave it */
	int64_t changed; /* it was published */
	uint32_t version;
	uint32_t signatures;		   /* that it has; 0: not known */
	char etag[256], last_modified[64]; /* custom: of what is in force */
	char problem[WIRE_SIGNATURE_MAX];  /* why the last check failed; empty: it did not */
};

struct state {
	int64_t next_run; /* when the schedule has it run next; 0: at once */
	char uuid[40];	  /* random, made once: the official servers want one in the user agent */
	struct source sources[SOURCES_MAX];
	unsigned n_sources;
	struct state_item items[STATE_ITEMS_MAX];
	unsigned n_items;
};

/* state_new() reads a file; whatever is wrong with it gives an empty state, with where and why in
 * problem (empty: nothing was wrong; a file that does not exist is not). NULL: out of memory.
 * state_free() takes NULL. */
struct state *state_new(const char *path, char *problem, size_t problem_size);
void state_free(struct state *state);

/* state_save() replaces the file, atomically and for good (fsync), readable for all. What is not
 * printable in a text becomes a question mark. Returns 0 or a negative errno. */
int state_save(const struct state *state, const char *path);

/* state_source() and state_item() find or make an entry. NULL where the table is full, or the name
 * too long: neither happens with what is configured, after state_forget(). state_source() takes a
 * URL with or without its password. */
struct source *state_source(struct state *state, const char *url);
struct state_item *state_item(struct state *state, const char *name, bool custom);

/* state_forget() removes what conf does not name any more. Entries move: pointers to them end. */
void state_forget(struct state *state, const struct conf *conf);
