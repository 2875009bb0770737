/* SPDX-License-Identifier: GPL-2.0-only */
#include "outbox.h"

#include "chan.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>

struct letter {
	struct letter *prev, *next;
	struct wire_header message[]; /* and what follows it */
};

struct outbox {
	struct letter *letters;
	size_t n_letters, max;
	uint64_t dropped;
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

/* Drops a letter so that one of this type has room. Returns false where it is the new one that must
 * go. */
static bool outbox_make_room(struct outbox *outbox, uint16_t type)
{
	struct letter *victim = outbox->letters;

	outbox->dropped++;
	while (victim && victim->message->type == WIRE_FOUND)
		victim = victim->next;
	if (!victim && type != WIRE_FOUND)
		return false;
	outbox_remove(outbox, victim ? victim : outbox->letters);
	return true;
}

static bool outbox_append(struct outbox *outbox, const struct wire_header *message)
{
	struct letter *letter = malloc(sizeof(*letter) + message->size);

	if (!letter) {
		outbox->dropped++;
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
	const struct wire_note note = wire_note_make(priority, text);

	outbox_push(outbox, &note.header);
}

int outbox_flush(struct outbox *outbox)
{
	while (outbox->letters) {
		int r = outbox->gone ? -ENOTCONN
				     : chan_send(outbox->fd, outbox->letters->message, -1);

		if (r < 0) {
			outbox->gone = r != -EAGAIN;
			return outbox->gone ? -ENOTCONN : -EAGAIN;
		}
		outbox_remove(outbox, outbox->letters);
	}

	return 0;
}

uint64_t outbox_dropped(const struct outbox *outbox)
{
	return outbox->dropped;
}
