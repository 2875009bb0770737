/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * lane: one connection that files are passed over, and the files that are under way on it: to the
 * guard's scan socket, or to a worker. Messages are sent and taken many at a time. Belongs to one
 * thread.
 */
#include <holdfast/control.h>

/* A file on its way. */
struct lane_file {
	uint64_t id;	 /* given by the lane */
	int fd;		 /* owned */
	bool is_refused; /* it could not be opened, and fd only says which file it is: why? */
	char *path;	 /* owned */
	uint64_t size;
	unsigned tries; /* connections it was sent over */
};

/* Told of a file's verdict, or why it was refused. */
typedef void (*lane_done)(void *context, const struct lane_file *file,
			  const struct wire_verdict *verdict);

struct lane {
	int fd;		 /* -1: not connected */
	unsigned window; /* so many files under way at most: up to SCAN_WINDOW */
	uint32_t flags;	 /* of struct wire_scan */
	lane_done done;
	void *context;
	uint64_t last_id;
	struct lane_file files[SCAN_WINDOW];
	unsigned n_files; /* the first n_sent of them were sent */
	unsigned n_sent;
};

/* lane_is_full() says whether there is no room for a file. */
bool lane_is_full(const struct lane *lane);

/* lane_put() adds a file, which is sent later; takes over what file owns. The lane is not full. */
void lane_put(struct lane *lane, const struct lane_file *file);

/* lane_hand_over() takes the file that was put last, which becomes the caller's. There is one. */
void lane_hand_over(struct lane *lane, struct lane_file *ret_file);

/* lane_send() sends what was put and not sent. Returns 0 or a negative errno: -EAGAIN when the
 * peer must read first, another when the connection is of no use any more. */
int lane_send(struct lane *lane);

/*
 * lane_receive() takes the verdicts that are there; never waits. Returns how many, or a negative
 * errno: -EAGAIN when there is none, -EPIPE or -EPROTO when the connection is of no use any more.
 */
int lane_receive(struct lane *lane);

/* lane_attach() gives the lane a new connection, and closes the one it had: what is under way is
 * to be sent again. */
void lane_attach(struct lane *lane, int fd);

/* lane_give_up() ends the files that were sent over at least so many connections, as FAILED with
 * this reason. 0: all. */
void lane_give_up(struct lane *lane, unsigned tries, const char *reason);
