/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * crew: threads that take files from one walk, open them and pass them on, each over a connection
 * of its own (lane.h).
 *
 * One thread keeps many workers busy, as it does not wait for verdicts. But opening a file that is
 * protected on access waits for its verdict there and then: when all threads wait, one more is
 * begun.
 */
#include "../common/walk.h"
#include "show.h"

struct crew_options {
	const char *const *paths; /* they and the exclude rules must live on */
	size_t n_paths;
	struct walk_rules rules;
	unsigned threads, threads_max; /* to begin with, and at most */
	unsigned window;	       /* of each lane */
	unsigned tries;		       /* connections that may be lost over a file */
	uint32_t flags;		       /* of struct wire_scan */
	int silence_ms;	  /* a connection that is silent for longer is lost; -1: never */
	bool may_ask_why; /* WIRE_SCAN_WHY is known there */
	bool is_limited;  /* a connection that ends before its first answer is one too many: its
			     thread ends, and others take its files */
	struct show *show;
	/*
	 * Returns a new connection, or a negative errno with what is wrong in problem. lost: the
	 * connection that it is for, closed by the caller afterwards, or -1. May wait. For all
	 * threads.
	 */
	int (*connect)(void *context, int lost, char *problem, size_t problem_size);
	void *context;
};

#define CREW_MAX 64

struct crew;

/* crew_new() begins a scan. Returns NULL when out of memory. */
struct crew *crew_new(const struct crew_options *options);

/* crew_fd() returns a descriptor that is readable once all is done. */
int crew_fd(const struct crew *crew);

/* crew_tick() begins one more thread where all wait. Returns whether it may ever do so again. */
bool crew_tick(struct crew *crew);

/* crew_stop() lets no further file be taken: what is under way is waited for. */
void crew_stop(struct crew *crew);

/* crew_free() waits for the threads. Takes NULL, returns NULL. */
struct crew *crew_free(struct crew *crew);
