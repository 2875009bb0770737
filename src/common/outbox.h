/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * outbox: messages on their way to a peer that may be slow, absent or gone.
 *
 * Owns a bounded queue and the socket to the peer. Nothing here waits. When the queue is full a
 * note goes first, the oldest one or the new one; the oldest WIRE_FOUND goes only for another
 * WIRE_FOUND when there is nothing else. What is neither is never dropped. What was dropped is
 * counted, and told in a note once the queue is empty again.
 */
#include <holdfast/wire.h>
#include <stddef.h>

struct outbox;

/* outbox_new() makes an empty outbox for at most max messages, with no peer. NULL: out of
 * memory. */
struct outbox *outbox_new(size_t max);

/* outbox_free() closes the socket and forgets the messages. Takes NULL. Returns NULL. */
struct outbox *outbox_free(struct outbox *outbox);

/*
 * outbox_connect() takes ownership of fd and makes it the peer; -1: no peer. Closes the one before,
 * so an event loop must have forgotten that.
 */
void outbox_connect(struct outbox *outbox, int fd);

/* outbox_push() queues a copy of message (message->size bytes) and sends what can be sent. */
void outbox_push(struct outbox *outbox, const struct wire_header *message);

/* outbox_push_note() makes a WIRE_NOTE of a line of log and pushes it. */
void outbox_push_note(struct outbox *outbox, int priority, const char *text);

/*
 * outbox_flush() sends until the queue is empty (returns 0), the peer does not take more (-EAGAIN:
 * call again when fd is writable) or there is no peer (-ENOTCONN: the messages wait for the next
 * one).
 */
int outbox_flush(struct outbox *outbox);

/* outbox_waiting() returns how many messages are queued. */
size_t outbox_waiting(const struct outbox *outbox);

/* outbox_dropped() returns how many messages were lost so far because the queue was full. */
uint64_t outbox_dropped(const struct outbox *outbox);
