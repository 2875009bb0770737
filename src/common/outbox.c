/* SPDX-License-Identifier: GPL-2.0-only */
#include "outbox.h"

#include "chan.h"
#include "clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>
#include <unistd.h>
#include <utlist.h>

struct letter {
	struct letter *prev, *next;
	struct wire_header message[]; /* and what follows it */
};

struct outbox {
	struct letter *letters;
	size_t n_letters, max;
	uint64_t dropped; /* ever */
	uint64_t untold_dropped,
		untold_found; /* since the last note about that; findings of them */
	int fd;
	bool gone; /* the peer closed its end; fd stays open, as the event loop may still know it */
};

struct outbox *outbox_new(size_t max)
{
	struct outbox *outbox = calloc(1, sizeof(*outbox));

	if (outbox) {
		outbox->max = max;
		outbox->fd = -1;
		outbox->gone = true;
	}
	return outbox;
}

static void outbox_remove(struct outbox *outbox, struct letter *letter)
{
	DL_DELETE(outbox->letters, letter);
	outbox->n_letters--;
	free(letter);
}

struct outbox *outbox_free(struct outbox *outbox)
{
	if (!outbox)
		return NULL;

	while (outbox->letters)
		outbox_remove(outbox, outbox->letters);
	outbox_connect(outbox, -1);
	free(outbox);
	return NULL;
}

void outbox_connect(struct outbox *outbox, int fd)
{
	if (outbox->fd >= 0)
		close(outbox->fd);
	outbox->fd = fd;
	outbox->gone = fd < 0;
}

static void outbox_count_drop(struct outbox *outbox, uint16_t type)
{
	outbox->dropped++;
	outbox->untold_dropped++;
	outbox->untold_found += type == WIRE_FOUND;
}

static struct letter *outbox_oldest(const struct outbox *outbox, uint16_t type)
{
	struct letter *letter = outbox->letters;

	while (letter && letter->message->type != type)
		letter = letter->next;
	return letter;
}

/* Drops a letter so that one of this type has room. Returns false where it is the new one that must
 * go. */
static bool outbox_make_room(struct outbox *outbox, uint16_t type)
{
	struct letter *victim = outbox_oldest(outbox, WIRE_NOTE);

	if (!victim && type == WIRE_FOUND)
		victim = outbox_oldest(outbox, WIRE_FOUND);
	if (victim) {
		outbox_count_drop(outbox, victim->message->type);
		outbox_remove(outbox, victim);
	} else if (type == WIRE_NOTE || type == WIRE_FOUND) {
		outbox_count_drop(outbox, type);
		return false;
	}
	return true;
}

static bool outbox_append(struct outbox *outbox, const struct wire_header *message)
{
	struct letter *letter = malloc(sizeof(*letter) + message->size);

	if (!letter) {
		outbox_count_drop(outbox, message->type);
		return false;
	}
	memcpy(letter->message, message, message->size);
	DL_APPEND(outbox->letters, letter);
	outbox->n_letters++;
	return true;
}

void outbox_push(struct outbox *outbox, const struct wire_header *message)
{
	if (outbox->n_letters >= outbox->max && !outbox_make_room(outbox, message->type))
		return;
	if (outbox_append(outbox, message))
		(void)outbox_flush(outbox);
}

void outbox_push_note(struct outbox *outbox, int priority, const char *text)
{
	struct wire_note note = wire_note_make(priority, text);

	/* It may wait here for long. */
	note.time_us = (int64_t)clock_wall_us();
	outbox_push(outbox, &note.header);
}

static int outbox_send(struct outbox *outbox, const struct wire_header *message)
{
	int r = outbox->gone ? -ENOTCONN : chan_send(outbox->fd, message, -1);

	if (r == 0 || r == -EAGAIN)
		return r;
	outbox->gone = true;
	return -ENOTCONN;
}

/* Only once the queue is empty: where it stays full, each such note would cost another line. */
static int outbox_tell_dropped(struct outbox *outbox)
{
	struct wire_note note;
	char text[160];
	int r;

	if (!outbox->untold_dropped)
		return 0;
	(void)snprintf(text, sizeof(text),
		       "%llu line(s) before this one were dropped, %llu of them FOUND lines: they "
		       "came faster than they could be written",
		       (unsigned long long)outbox->untold_dropped,
		       (unsigned long long)outbox->untold_found);
	note = wire_note_make(LOG_ERR, text);
	r = outbox_send(outbox, &note.header);
	if (r == 0)
		outbox->untold_dropped = outbox->untold_found = 0;
	return r;
}

int outbox_flush(struct outbox *outbox)
{
	while (outbox->letters) {
		int r = outbox_send(outbox, outbox->letters->message);

		if (r < 0)
			return r;
		outbox_remove(outbox, outbox->letters);
	}
	return outbox_tell_dropped(outbox);
}

size_t outbox_waiting(const struct outbox *outbox)
{
	return outbox->n_letters;
}

uint64_t outbox_dropped(const struct outbox *outbox)
{
	return outbox->dropped;
}
