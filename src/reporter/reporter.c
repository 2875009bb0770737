/* SPDX-License-Identifier: GPL-2.0-only */
#include "reporter.h"

#include "../common/chan.h"
#include "../common/clock.h"
#include "../common/outbox.h"
#include "writer.h"

#include <errno.h>
#include <poll.h>
#include <syslog.h>
#include <unistd.h>

/*
 * Lines that wait for the writer. Of the guard so many are taken, and the others wait in its own
 * queue; the supervisor's channel must be read in any case, as its questions come over it too.
 */
#define LINES_MAX	512
#define LINES_MAX_GUARD 256

/* More than a socket holds: what the guard said last is heard in one go. */
#define HEARD_AT_ONCE 1024

/* So long may a log daemon keep us once the supervisor has ended. One that stops waits as long. */
#define END_S 5

struct reporter {
	int channel; /* to the supervisor */
	int guard;   /* -1: none */
	int inbox;   /* of the writer; the outbox owns it */
	struct outbox *outbox;
	bool supervised; /* the supervisor has not ended */
	bool stopping;	 /* its end was announced */
};

static bool reporter_has_room(const struct reporter *reporter)
{
	return outbox_waiting(reporter->outbox) < LINES_MAX_GUARD;
}

/* --- the guard --- */

static int reporter_take_note(void *context, struct chan_message *message)
{
	const struct wire_note *note = (const void *)message;
	struct reporter *reporter = context;

	if (!wire_string_ok(note->text, sizeof(note->text)))
		return -EPROTO;
	outbox_push(reporter->outbox, &note->header);
	return 0;
}

static int reporter_take_found(void *context, struct chan_message *message)
{
	const struct wire_found *found = (const void *)message;
	struct reporter *reporter = context;

	if (!wire_string_ok(found->path, sizeof(found->path)) ||
	    !wire_string_ok(found->exe, sizeof(found->exe)) ||
	    !wire_string_ok(found->signature, sizeof(found->signature)))
		return -EPROTO;
	outbox_push(reporter->outbox, &found->header);
	return 0;
}

static const struct chan_rule guard_rules[] = {
	{WIRE_NOTE, sizeof(struct wire_note), false, reporter_take_note},
	{WIRE_FOUND, sizeof(struct wire_found), false, reporter_take_found},
	{0},
};

/* Takes what the guard has said; all of it: whether there is room or not. Returns 0 or a negative
 * errno. */
static int reporter_hear_guard(struct reporter *reporter, bool all)
{
	int r = 0;

	for (unsigned i = 0; i < HEARD_AT_ONCE && r == 0 && reporter->guard >= 0 &&
			     (all || reporter_has_room(reporter)) && chan_readable(reporter->guard);
	     i++)
		r = chan_serve(reporter->guard, guard_rules, reporter);
	if (r == -EPIPE) {
		close(reporter->guard);
		reporter->guard = -1;
		r = 0;
	}
	return r;
}

/* --- the supervisor --- */

static int reporter_take_conf(void *context, struct chan_message *message)
{
	struct reporter *reporter = context;
	const struct writer_conf conf = {
		.header = WIRE_INIT(WIRE_CONFIG, struct writer_conf),
		.conf = conf_from_snapshot(message->fd),
	};

	close(message->fd);
	if (!conf.conf)
		return -EPROTO;
	/* The writer opens the log file, which may keep it waiting, and answers. */
	outbox_push(reporter->outbox, &conf.header);
	return 0;
}

static int reporter_take_peer(void *context, struct chan_message *message)
{
	struct reporter *reporter = context;
	int guard = message->fd; /* listening to the one before takes another message */

	if (((const struct wire_peer *)(const void *)message)->role != WIRE_PEER_GUARD) {
		close(guard);
		return -EPROTO;
	}
	/* What the one before said and was not heard for want of room. */
	(void)reporter_hear_guard(reporter, true);
	if (reporter->guard >= 0)
		close(reporter->guard);
	reporter->guard = guard;
	return 0;
}

static int reporter_take_ping(void *context, struct chan_message *message)
{
	chan_pong(((const struct reporter *)context)->channel);
	return 0;
}

static int reporter_take_stopping(void *context, struct chan_message *message)
{
	struct reporter *reporter = context;

	reporter->stopping = true;
	return 0;
}

static const struct chan_rule channel_rules[] = {
	{WIRE_PING, sizeof(struct wire_plain), false, reporter_take_ping},
	{WIRE_CONFIG, sizeof(struct wire_plain), true, reporter_take_conf},
	{WIRE_PEER, sizeof(struct wire_peer), true, reporter_take_peer},
	{WIRE_NOTE, sizeof(struct wire_note), false, reporter_take_note},
	{WIRE_STOPPING, sizeof(struct wire_plain), false, reporter_take_stopping},
	{0},
};

static int reporter_hear_supervisor(struct reporter *reporter)
{
	int r = chan_serve(reporter->channel, channel_rules, reporter);

	if (r == -EPIPE) {
		reporter->supervised = false;
		(void)alarm(END_S);
		r = 0;
	}
	return r;
}

/* --- the process --- */

/* Serves whoever has something to say. Returns 0 or a negative errno. */
static int reporter_serve(struct reporter *reporter)
{
	bool is_behind = outbox_flush(reporter->outbox) == -EAGAIN;
	struct pollfd fds[] = {
		{.fd = reporter->supervised ? reporter->channel : -1, .events = POLLIN},
		{.fd = reporter_has_room(reporter) ? reporter->guard : -1, .events = POLLIN},
		{.fd = is_behind ? reporter->inbox : -1, .events = POLLOUT},
	};
	int r;

	if (poll(fds, 3, -1) < 0)
		return errno == EINTR ? 0 : -errno;
	/* The guard's first: what it said before it died belongs before the line that it died. */
	r = reporter_hear_guard(reporter, false);
	if (r == 0 && fds[0].revents)
		r = reporter_hear_supervisor(reporter);
	return r;
}

/* Returns 0 or a negative errno. */
static int reporter_loop(struct reporter *reporter)
{
	struct pollfd writable = {.fd = reporter->inbox, .events = POLLOUT};
	int r = 0;

	/* An error ends the process: the supervisor starts another and introduces it to the guard.
	 */
	while (r == 0 && (reporter->supervised || reporter->guard >= 0))
		r = reporter_serve(reporter);
	if (!reporter->supervised && !reporter->stopping)
		outbox_push_note(reporter->outbox, LOG_CRIT,
				 "holdfastd is gone without having been stopped: files are no "
				 "longer protected");
	while (outbox_flush(reporter->outbox) == -EAGAIN)
		(void)poll(&writable, 1, -1);
	return r;
}

int reporter_run(int channel)
{
	struct reporter reporter = {
		.channel = channel,
		.guard = -1,
		.outbox = outbox_new(LINES_MAX),
		.supervised = true,
	};
	struct writer *writer = NULL;
	int ends[2], r = -ENOMEM;

	if (reporter.outbox && chan_pair(ends) == 0) {
		reporter.inbox = ends[0];
		outbox_connect(reporter.outbox, ends[0]);
		writer = writer_start(ends[1], channel);
	}
	if (writer)
		r = reporter_loop(&reporter);
	/* Now nothing more comes, and the writer ends when it has written all. */
	outbox_free(reporter.outbox);
	(void)writer_end(writer);
	if (reporter.guard >= 0)
		close(reporter.guard);
	return r < 0;
}
