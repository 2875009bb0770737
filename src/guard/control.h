/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * control: answers the command line over the control socket (include/holdfast/control.h).
 *
 * A client is served one request at a time and never waited for. One that breaks the protocol or
 * does not take its reply loses its connection.
 */
#include "gate.h"
#include "scheduler.h"

struct control;

/* What the replies are made of; owned by the guard. */
struct control_sources {
	const struct gate *gate;
	struct scheduler *scheduler;
	const struct wire_history *history;
	int64_t started_at; /* of the guard, seconds since the epoch */
	int supervisor;	    /* the channel to it */
};

/* control_new() serves the listening socket fd, which it takes. NULL: out of memory, fd stays
 * open. */
struct control *control_new(sd_event *event, int fd, struct control_sources sources);

/* control_free() takes NULL and returns NULL. */
struct control *control_free(struct control *control);
