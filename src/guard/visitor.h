/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * visitor: a thread that opens files for the event loop, which must not: the open of a file on a
 * marked filesystem waits for an answer of the loop, which allows whatever the guard's own process
 * opens.
 */
#include "handle.h"

#include <stdbool.h>

struct visitor {
	int orders[2]; /* pipe, from the loop to the thread */
	int files[2];  /* and back */
	bool running;
	unsigned long thread; /* pthread_t */
};

/* visitor_init() starts no thread yet. Returns 0 or a negative errno. */
int visitor_init(struct visitor *visitor);

/* visitor_start() starts it, if it was not; else the first order does. Returns as visitor_init().
 */
int visitor_start(struct visitor *visitor);

/* visitor_deinit() ends the thread. The group must have been closed, or it may wait for it. */
void visitor_deinit(struct visitor *visitor);

/*
 * visitor_visit() has the regular files directly in a directory opened, of which it takes a
 * duplicate. Never waits. Returns 0 or a negative errno: -EAGAIN when too many wait already.
 */
int visitor_visit(struct visitor *visitor, int directory);

/*
 * visitor_open() has one file opened by its handle; root is a directory of its mount, which is
 * closed. ticket, not 0, comes back with it. Never waits. Returns as visitor_visit().
 */
int visitor_open(struct visitor *visitor, int root, const struct handle *handle, uint32_t ticket);

/* visitor_fd() is readable when there is something to get. */
int visitor_fd(const struct visitor *visitor);

/*
 * visitor_next() gets the descriptor of a file, the caller's to close, with its ticket, 0: it was
 * in a directory. Or a negative errno: -EAGAIN: there is nothing yet; another one with a ticket:
 * that file cannot be opened.
 */
int visitor_next(struct visitor *visitor, uint32_t *ret_ticket);
