/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * audience: who is told of a run: whoever asked for it, by a socket each, and the supervisor, who
 * only wants to hear that we are alive.
 */
#include <holdfast/wire.h>

/* Clients at once; further ones are turned away. */
#define AUDIENCE_MAX 16

struct audience {
	int channel; /* to the supervisor */
	/* Takes what has come over it meanwhile: somebody may have joined. */
	void (*hear)(void *context);
	void *context;
	int clients[AUDIENCE_MAX];
	unsigned n;
	char file[WIRE_DATABASE_NAME_MAX]; /* being transferred; empty: none */
	uint64_t told_us;		   /* progress was told last, of this file */
	uint64_t alive_us;		   /* the supervisor was told last */
};

/* audience_add() takes ownership of a client's socket. */
void audience_add(struct audience *audience, int fd);

/* audience_begin() says which file the progress that follows is of; "": one that is not worth
 * telling of. */
void audience_begin(struct audience *audience, const char *file);

/* audience_progress() tells of a transfer; called as often as one likes. Progress that a client
 * does not read is lost. */
void audience_progress(struct audience *audience, uint64_t done, uint64_t total);

/* audience_tell() tells what nobody may miss; a client who does not read for a second is left. */
void audience_tell(struct audience *audience, const struct wire_header *message);

/* audience_dismiss() closes the sockets of all. */
void audience_dismiss(struct audience *audience);
