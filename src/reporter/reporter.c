/* SPDX-License-Identifier: GPL-2.0-only */
#include "reporter.h"

#include "../common/chan.h"
#include "sink.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <syslog.h>
#include <unistd.h>

struct reporter {
	int channel; /* to the supervisor */
	int guard;   /* -1: none */
	struct conf *conf;
	struct sink_file *file;
	bool stopping;	  /* the supervisor's end was announced */
	bool file_broken; /* so that a full disk is told of once, not with each line */
};

static void reporter_write(struct reporter *reporter, const struct report *report);

static void reporter_note(struct reporter *reporter, int priority, const char *text)
{
	struct report report;

	report_note(&report, priority, text);
	reporter_write(reporter, &report);
}

static void reporter_write_file(struct reporter *reporter, const struct report *report)
{
	int r = sink_file_write(reporter->file, report);
	bool was_broken = reporter->file_broken;
	char text[WIRE_TEXT_MAX];

	reporter->file_broken = r < 0;
	if (r < 0 && !was_broken) {
		(void)snprintf(text, sizeof(text), "log-file: lines are being lost: %s",
			       strerror(-r));
		reporter_note(reporter, LOG_ERR, text);
	}
}

static void reporter_write(struct reporter *reporter, const struct report *report)
{
	if (reporter->conf && reporter->conf->syslog)
		sink_system_write(report);
	if (reporter->file)
		reporter_write_file(reporter, report);
	sink_stderr_write(report);
}

static int reporter_take_note(void *context, struct chan_message *message)
{
	const struct wire_note *note = (const void *)message;

	if (!wire_string_ok(note->text, sizeof(note->text)))
		return -EPROTO;
	reporter_note(context, LOG_PRI(note->priority), note->text);
	return 0;
}

static int reporter_take_found(void *context, struct chan_message *message)
{
	const struct wire_found *found = (const void *)message;
	struct report report;

	if (!wire_string_ok(found->path, sizeof(found->path)) ||
	    !wire_string_ok(found->exe, sizeof(found->exe)) ||
	    !wire_string_ok(found->signature, sizeof(found->signature)))
		return -EPROTO;
	report_found(&report, found);
	reporter_write(context, &report);
	if (found->answer == WIRE_ANSWER_LATE)
		reporter_note(context, LOG_ERR,
			      "the file of the line above was opened before its verdict came: "
			      "hold-timeout had passed");
	if (found->answer == WIRE_ANSWER_MOVED)
		reporter_note(context, LOG_ERR,
			      "the file of the line above came with a directory that was moved "
			      "here; it can have been opened in the moment before it was scanned");
	return 0;
}

static void reporter_answer(struct reporter *reporter, enum wire_type type, const char *text)
{
	const struct wire_result result = wire_result_make(type, text);

	(void)chan_send(reporter->channel, &result.header, -1);
}

/* A configuration whose log file cannot be written is refused, and the old one stays. */
static int reporter_take_conf(void *context, struct chan_message *message)
{
	struct reporter *reporter = context;
	struct conf *conf = conf_from_snapshot(message->fd);
	struct sink_file *file = NULL;
	char problem[WIRE_TEXT_MAX];

	close(message->fd);
	if (!conf)
		return -EPROTO;
	if (conf->log_file && !(file = sink_file_open(conf, problem, sizeof(problem)))) {
		conf_free(conf);
		reporter_answer(reporter, WIRE_FAILED, problem);
		return 0;
	}

	sink_file_close(reporter->file);
	conf_free(reporter->conf);
	reporter->file = file;
	reporter->file_broken = false;
	reporter->conf = conf;
	sink_system_open(conf);
	reporter_answer(reporter, WIRE_READY, "");
	return 0;
}

static int reporter_take_peer(void *context, struct chan_message *message)
{
	struct reporter *reporter = context;

	if (((const struct wire_peer *)(const void *)message)->role != WIRE_PEER_GUARD) {
		close(message->fd);
		return -EPROTO;
	}
	if (reporter->guard >= 0)
		close(reporter->guard);
	reporter->guard = message->fd;
	return 0;
}

static const struct chan_rule guard_rules[] = {
	{WIRE_NOTE, sizeof(struct wire_note), false, reporter_take_note},
	{WIRE_FOUND, sizeof(struct wire_found), false, reporter_take_found},
	{0},
};

static int reporter_take_stopping(void *context, struct chan_message *message)
{
	struct reporter *reporter = context;

	reporter->stopping = true;
	return 0;
}

static const struct chan_rule channel_rules[] = {
	{WIRE_CONFIG, sizeof(struct wire_plain), true, reporter_take_conf},
	{WIRE_PEER, sizeof(struct wire_peer), true, reporter_take_peer},
	{WIRE_NOTE, sizeof(struct wire_note), false, reporter_take_note},
	{WIRE_STOPPING, sizeof(struct wire_plain), false, reporter_take_stopping},
	{0},
};

/* Serves whoever has something to say; *told becomes false when the supervisor has ended. Returns 0
 * or a negative errno. */
static int reporter_serve(struct reporter *reporter, bool *told)
{
	struct pollfd fds[] = {
		{.fd = reporter->guard, .events = POLLIN},
		{.fd = *told ? reporter->channel : -1, .events = POLLIN},
	};
	int r = 0;

	if (poll(fds, 2, -1) < 0)
		return errno == EINTR ? 0 : -errno;
	/* The guard's first: what it said before it died belongs before the line that it died. */
	if (fds[0].revents) {
		r = chan_serve(reporter->guard, guard_rules, reporter);
		if (r == -EPIPE) {
			close(reporter->guard);
			reporter->guard = -1;
			r = 0;
		}
	} else if (fds[1].revents) {
		r = chan_serve(reporter->channel, channel_rules, reporter);
		*told = r != -EPIPE;
		r = *told ? r : 0;
	}
	return r;
}

int reporter_run(int channel)
{
	struct reporter reporter = {.channel = channel, .guard = -1};
	bool told = true;
	int r = 0;

	/* An error ends the process: the supervisor starts another and introduces it to the guard.
	 */
	while (r == 0 && (told || reporter.guard >= 0))
		r = reporter_serve(&reporter, &told);
	if (!told && !reporter.stopping)
		reporter_note(&reporter, LOG_CRIT,
			      "holdfastd is gone without having been stopped: files are no longer "
			      "protected");

	sink_file_close(reporter.file);
	conf_free(reporter.conf);
	return r < 0;
}
