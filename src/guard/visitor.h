/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * visitor: a thread that opens the files of a directory for the event loop, which must not: the
 * open of a file on a marked filesystem waits for an answer of the loop, which allows whatever the
 * guard's own process opens.
 */
#include <stdbool.h>

struct visitor {
	int directories[2]; /* pipe of descriptors, from the loop to the thread */
	int files[2];	    /* and back */
	bool running;
	unsigned long thread; /* pthread_t */
};

/* visitor_init() starts no thread yet. Returns 0 or a negative errno. */
int visitor_init(struct visitor *visitor);

/* visitor_deinit() ends the thread. The group must have been closed, or it may wait for it. */
void visitor_deinit(struct visitor *visitor);

/*
 * visitor_visit() has the regular files directly in a directory opened, of which it takes a
 * duplicate. Never waits. Returns 0 or a negative errno: -EAGAIN when too many wait already.
 */
int visitor_visit(struct visitor *visitor, int directory);

/* visitor_fd() is readable when a file has been opened. */
int visitor_fd(const struct visitor *visitor);

/* visitor_next() returns the descriptor of a file, the caller's to close; -EAGAIN: none yet. */
int visitor_next(struct visitor *visitor);
