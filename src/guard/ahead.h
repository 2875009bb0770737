/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * ahead: files that were closed after writing, and wait for a worker that has nothing else to do.
 *
 * Each waits until its state has settled (file.h), as no verdict before that can be remembered; one
 * that is closed again waits anew, so that many closes are one scan. Who waits for too long is
 * given up. A file is kept by its handle: a descriptor would keep its filesystem from being
 * unmounted.
 *
 * Bounded. Knows nothing of requests or policy, and never looks at a file.
 */
#include "file.h"
#include "handle.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Files that wait at once: about 2 MB. */
#define AHEAD_MAX 8192

/* Chains of the table that they are found by. A power of two. */
#define AHEAD_CHAINS 8192

/* A file is given up so long after it was closed first. One that is closed again and again may take
 * twice as long. */
#define AHEAD_WAIT_MAX_US UINT64_C(20000000)

struct ahead_file {
	struct file_id id;
	uint64_t device;      /* of its superblock, see locate.h */
	struct handle handle; /* by which it is found there */
	int32_t pid;	      /* of who closed it last; 0: not known */
	uint64_t due_us;      /* when it is worth looking at; monotonic, as all times here */
	uint64_t give_up_us;  /* when it has waited for too long */
	bool is_slow;	      /* it is among those that take long to settle */

	struct ahead_file *prev, *next; /* in its queue; unused ones: singly linked */
	struct ahead_file *chain;	/* the next of the same hash */
};

struct ahead {
	struct ahead_file *files, *unused;
	struct ahead_file *chains[AHEAD_CHAINS]; /* by id */
	struct ahead_file *queues[2]; /* in the order in which they are due, by is_slow */
	unsigned n, max;
};

/* ahead_init() makes room for max files. Returns 0 or -ENOMEM. A table that is all zero may be
 * given to ahead_deinit(). */
int ahead_init(struct ahead *ahead, unsigned max);
void ahead_deinit(struct ahead *ahead);

/* ahead_add() takes a file that needs so long to settle: its id, device, handle and pid are set.
 * Returns false where the table is full. */
bool ahead_add(struct ahead *ahead, const struct ahead_file *file, uint64_t settles_us,
	       uint64_t now_us);

/*
 * ahead_again() makes a file that waits wait anew, as it was closed once more, or gives it up if
 * that goes on for too long: *ret_given_up. Returns whether it was in the table.
 */
bool ahead_again(struct ahead *ahead, struct file_id id, int32_t pid, uint64_t settles_us,
		 uint64_t now_us, bool *ret_given_up);

/* ahead_drop() forgets a file that somebody has looked at meanwhile, if it is in the table. */
void ahead_drop(struct ahead *ahead, struct file_id id);

/* ahead_take() takes a file that is due out of the table. Returns false when there is none. */
bool ahead_take(struct ahead *ahead, uint64_t now_us, struct ahead_file *ret);

/* ahead_put_back() takes one again that has not settled, to wait for so long, if it was not added
 * meanwhile. Returns false where the table is full. */
bool ahead_put_back(struct ahead *ahead, const struct ahead_file *file, uint64_t settles_us,
		    uint64_t now_us);

/* ahead_give_up() forgets those that have waited for too long, UINT64_MAX: all. Returns how many.
 */
unsigned ahead_give_up(struct ahead *ahead, uint64_t now_us);

/* ahead_due_us() returns when the next is due; UINT64_MAX: there is none. */
uint64_t ahead_due_us(const struct ahead *ahead);
