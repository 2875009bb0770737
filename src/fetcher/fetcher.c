/* SPDX-License-Identifier: GPL-2.0-only */
#include "fetcher.h"

#include "../common/chan.h"
#include "../common/drop.h"
#include "../common/log.h"
#include "run.h"

#include <errno.h>
#include <limits.h>
#include <sys/socket.h>
#include <unistd.h>

struct fetcher {
	struct conf *conf;
	struct audience audience;
	struct wire_fetch fetch; /* asked for last */
	bool is_asked;		 /* and not done yet */
	bool is_due_only;	 /* nobody wants it at once */
	bool is_closed;		 /* nobody can ask for more */
};

static void fetcher_log(void *context, int priority, const char *text)
{
	const struct wire_note note = wire_note_make(priority, text);
	const struct fetcher *fetcher = context;

	(void)chan_send(fetcher->audience.channel, &note.header, -1);
}

static int fetcher_take_conf(void *context, struct chan_message *message)
{
	struct fetcher *fetcher = context;

	fetcher->conf = fetcher->conf ? fetcher->conf : conf_from_snapshot(message->fd);
	close(message->fd);
	return fetcher->conf ? 0 : -EPROTO;
}

static int fetcher_take_fetch(void *context, struct chan_message *message)
{
	struct fetcher *fetcher = context;
	bool is_due_only;

	memcpy(&fetcher->fetch, message, sizeof(fetcher->fetch));
	is_due_only = fetcher->fetch.flags & WIRE_FETCH_IF_DUE;
	fetcher->is_due_only = is_due_only && (!fetcher->is_asked || fetcher->is_due_only);
	fetcher->is_asked = true;
	return wire_string_ok(fetcher->fetch.mirror_to, sizeof(fetcher->fetch.mirror_to)) ? 0
											  : -EPROTO;
}

static int fetcher_take_peer(void *context, struct chan_message *message)
{
	struct fetcher *fetcher = context;

	audience_add(&fetcher->audience, message->fd);
	return 0;
}

static const struct chan_rule rules[] = {
	{WIRE_CONFIG, sizeof(struct wire_plain), true, fetcher_take_conf},
	{WIRE_FETCH, sizeof(struct wire_fetch), false, fetcher_take_fetch},
	{WIRE_PEER, sizeof(struct wire_peer), true, fetcher_take_peer},
	{0},
};

/* Takes what has been sent meanwhile. Without a supervisor there is nothing to be fetched for. */
static void fetcher_hear(void *context)
{
	struct fetcher *fetcher = context;

	while (!fetcher->is_closed && chan_readable(fetcher->audience.channel))
		if (chan_serve(fetcher->audience.channel, rules, fetcher) < 0)
			_exit(1);
}

/* Whoever asks from here on is for the next fetcher: the supervisor cannot send to us any more.
 * What it had sent before is taken. */
static void fetcher_close(struct fetcher *fetcher)
{
	fetcher->is_closed = true;
	(void)shutdown(fetcher->audience.channel, SHUT_RD);
	while (chan_serve(fetcher->audience.channel, rules, fetcher) == 0)
		;
}

/* From here on nothing is written but there. */
static int fetcher_confine(const struct fetcher *fetcher)
{
	const char *mirror_to = fetcher->fetch.mirror_to;
	char directory[PATH_MAX];
	const char *const writable[] = {
		*mirror_to ? mirror_to
			   : conf_signatures_dir(fetcher->conf, directory, sizeof(directory))};

	return drop_writes(writable, 1);
}

/* Nothing can be done, and whoever asked is told why. */
static void fetcher_give_up(struct fetcher *fetcher, int error)
{
	struct wire_update_done done = {
		.header = WIRE_INIT(WIRE_UPDATE_DONE, struct wire_update_done),
		.result = WIRE_UPDATE_FAILED,
	};

	(void)snprintf(done.text, sizeof(done.text), "the fetcher cannot be confined: %s",
		       strerror(-error));
	log_error("signatures: %s", done.text);
	fetcher_hear(fetcher);
	audience_tell(&fetcher->audience, &done.header);
}

static void fetcher_run_once(struct fetcher *fetcher, struct run_result *ret_result)
{
	const char *mirror_to = fetcher->fetch.mirror_to;

	fetcher->is_asked = false;
	run_all(fetcher->conf, &fetcher->audience, *mirror_to ? mirror_to : NULL,
		fetcher->is_due_only, ret_result);
}

static void fetcher_do(struct fetcher *fetcher)
{
	struct run_result result;

	fetcher_run_once(fetcher, &result);
	fetcher_close(fetcher);
	/* Whoever joined while everything was being asked for is served by that. */
	if (fetcher->is_asked && !fetcher->is_due_only && !result.done.requests)
		fetcher_run_once(fetcher, &result);
	audience_tell(&fetcher->audience, &result.done.header);
	audience_dismiss(&fetcher->audience);
	(void)chan_send(fetcher->audience.channel, &result.fetched.header, -1);
}

int fetcher_run(int channel)
{
	struct fetcher fetcher = {
		.audience = {.channel = channel, .hear = fetcher_hear, .context = &fetcher},
		.is_due_only = true,
	};
	int r = 0;

	log_set_sink(fetcher_log, &fetcher);
	while (r == 0 && !(fetcher.conf && fetcher.is_asked))
		r = chan_serve(channel, rules, &fetcher);
	if (r == 0) {
		r = fetcher_confine(&fetcher);
		if (r < 0)
			fetcher_give_up(&fetcher, r);
		else
			fetcher_do(&fetcher);
	}
	log_set_sink(NULL, NULL);
	conf_free(fetcher.conf);
	return r < 0 ? 1 : 0;
}
