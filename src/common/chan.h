/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * chan: messages over SOCK_SEQPACKET sockets, with at most one file descriptor beside each.
 *
 * Which message may come over which socket, how long it is and whether it carries a descriptor
 * stands in one table per receiver (struct chan_rule). Whatever does not fit the table is an error
 * of the peer: its descriptors are closed and the caller drops it.
 *
 * Nothing here opens a file, and nothing waits but chan_serve() on a blocking socket.
 */
#include <holdfast/wire.h>
#include <stddef.h>

/* What a handler is given. The message has the length and version its rule asks for. */
struct chan_message {
	union {
		struct wire_header header;
		char bytes[WIRE_MESSAGE_MAX];
	};
	int fd; /* -1 where the rule has has_fd = false; the handler owns it */
};

/*
 * Handles one message. Returns 0, or a negative errno where the peer broke the protocol or the
 * caller cannot go on; chan_serve() passes that on.
 */
typedef int (*chan_handler)(void *context, struct chan_message *message);

struct chan_rule {
	enum wire_type type;
	size_t size;
	bool has_fd;
	chan_handler handler;
};

/* chan_pair() makes a connected pair, close-on-exec. Returns 0 or a negative errno. */
int chan_pair(int ret_ends[2]);

/*
 * chan_send() sends one message (message->size bytes) and, if pass_fd >= 0, that descriptor with
 * it; pass_fd stays the caller's. Never waits. Returns 0 or a negative errno: -EAGAIN when the peer
 * does not read, -EPIPE or
 * -ECONNRESET when it is gone. Raises no SIGPIPE.
 */
int chan_send(int fd, const struct wire_header *message, int pass_fd);

/*
 * chan_serve() receives one message and calls the handler of its rule. rules ends with a rule whose
 * handler is NULL. Returns what the handler returns,
 * -EAGAIN when there is nothing to read, -EPIPE when the peer has closed its
 * end, -EPROTO when the message fits no rule, or another negative errno.
 */
int chan_serve(int fd, const struct chan_rule *rules, void *context);

/* chan_pong() answers a WIRE_PING. A peer that does not read gets no answer. */
void chan_pong(int fd);

/* chan_readable() says whether chan_serve() would find something now: a message, or the end. */
bool chan_readable(int fd);
