/* SPDX-License-Identifier: GPL-2.0-only */
#include "guard.h"

#include "../common/chan.h"
#include "../common/clock.h"
#include "../common/log.h"
#include "control.h"
#include "gate.h"
#include "opener.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Notes and findings that wait for the reporter: at most 5 MB of them. */
#define OUTBOX_MAX 1024

/* The supervisor comes first: its heartbeat, and what it says of the peers. */
#define CHANNEL_PRIORITY (SD_EVENT_PRIORITY_NORMAL - 20)

struct guard {
	sd_event *event;
	int channel; /* to the supervisor */
	struct gate gate;
	struct control *control;
	struct outbox *reporter;
	sd_event_source *reporter_source; /* the reporter can be written to again */
	struct conf *conf;
	struct wire_history history;
	int64_t started_at;
	bool started; /* the marks are set */
};

static void guard_tell(struct guard *guard, enum wire_type type, const char *text)
{
	struct wire_result result = {.header = WIRE_INIT(type, struct wire_result)};

	if (text)
		(void)snprintf(result.text, sizeof(result.text), "%s", text);
	(void)chan_send(guard->channel, &result.header, -1);
}

/* The first marks are set when there are workers to ask: an open is never held for nobody. */
static int guard_try_start(struct guard *guard)
{
	char problem[WIRE_TEXT_MAX] = "out of memory";
	int r;

	if (guard->started || !guard->conf || !pool_alive(guard->gate.pool))
		return 0;
	r = watch_apply(&guard->gate.watch, guard->conf, problem, sizeof(problem));
	if (r < 0) {
		guard_tell(guard, WIRE_FAILED, problem);
		return r;
	}
	guard->started = true;
	guard_tell(guard, WIRE_READY, NULL);
	return 0;
}

/* A configuration that cannot be applied is refused, and the old one stays. */
static int guard_take_conf(void *context, struct chan_message *message)
{
	struct guard *guard = context;
	struct conf *conf = conf_from_snapshot(message->fd);
	char problem[WIRE_TEXT_MAX] = "out of memory";
	struct conf *old = guard->conf;

	close(message->fd);
	if (!conf)
		return -EPROTO;

	if (guard->started && watch_apply(&guard->gate.watch, conf, problem, sizeof(problem)) < 0) {
		guard_tell(guard, WIRE_FAILED, problem);
		conf_free(conf);
		return 0;
	}
	guard->conf = conf;
	gate_set_conf(&guard->gate, conf);
	conf_free(old);
	if (guard->started)
		guard_tell(guard, WIRE_READY, NULL);
	return 0;
}

static int guard_on_reporter(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct guard *guard = userdata;

	if (outbox_flush(guard->reporter) != -EAGAIN)
		(void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
	return 0;
}

static int guard_take_reporter(struct guard *guard, int fd)
{
	int r;

	guard->reporter_source = sd_event_source_disable_unref(guard->reporter_source);
	outbox_connect(guard->reporter, fd);
	r = sd_event_add_io(guard->event, &guard->reporter_source, fd, EPOLLOUT, guard_on_reporter,
			    guard);
	if (r < 0)
		return r;
	return sd_event_source_set_priority(guard->reporter_source, SD_EVENT_PRIORITY_NORMAL + 10);
}

static int guard_take_control(struct guard *guard, int fd)
{
	control_free(guard->control);
	guard->control = control_new(guard->event, fd,
				     (struct control_sources){
					     .gate = &guard->gate,
					     .history = &guard->history,
					     .started_at = guard->started_at,
				     });
	return guard->control ? 0 : -ENOMEM;
}

static int guard_take_peer(void *context, struct chan_message *message)
{
	const struct wire_peer *peer = (const void *)message;
	struct guard *guard = context;
	int r;

	switch (peer->role) {
	case WIRE_PEER_REPORTER:
		return guard_take_reporter(guard, message->fd);
	case WIRE_PEER_CONTROL:
		return guard_take_control(guard, message->fd);
	case WIRE_PEER_ENGINE:
		r = pool_add_engine(guard->gate.pool, message->fd);
		break;
	default:
		r = -EPROTO;
		break;
	}
	if (r < 0)
		close(message->fd);
	return r == -EPROTO ? r : 0;
}

static int guard_take_ping(void *context, struct chan_message *message)
{
	const struct wire_plain pong = {.header = WIRE_INIT(WIRE_PONG, struct wire_plain)};
	struct guard *guard = context;

	(void)chan_send(guard->channel, &pong.header, -1);
	return 0;
}

static int guard_take_trusted_pid(void *context, struct chan_message *message)
{
	struct guard *guard = context;

	gate_trust(&guard->gate, ((const struct wire_trusted_pid *)(const void *)message)->pid);
	return 0;
}

static int guard_take_engine_down(void *context, struct chan_message *message)
{
	struct guard *guard = context;

	gate_engine_down(&guard->gate);
	return 0;
}

static int guard_take_history(void *context, struct chan_message *message)
{
	struct guard *guard = context;

	guard->history = *(const struct wire_history *)(const void *)message;
	return 0;
}

static const struct chan_rule guard_rules[] = {
	{WIRE_CONFIG, sizeof(struct wire_plain), true, guard_take_conf},
	{WIRE_PEER, sizeof(struct wire_peer), true, guard_take_peer},
	{WIRE_PING, sizeof(struct wire_plain), false, guard_take_ping},
	{WIRE_TRUSTED_PID, sizeof(struct wire_trusted_pid), false, guard_take_trusted_pid},
	{WIRE_ENGINE_DOWN, sizeof(struct wire_plain), false, guard_take_engine_down},
	{WIRE_HISTORY, sizeof(struct wire_history), false, guard_take_history},
	{0},
};

static int guard_on_channel(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct guard *guard = userdata;
	int r = chan_serve(fd, guard_rules, guard);

	if (r < 0 && r != -EAGAIN)
		return sd_event_exit(guard->event, r == -EPIPE ? 0 : 1);
	return 0;
}

/* Runs after each round of the loop's work: the last moment before waiting. */
static int guard_on_round(sd_event_source *source, void *userdata)
{
	struct guard *guard = userdata;
	int r = guard_try_start(guard);

	/* Lines may have been queued while the reporter did not read. */
	if (guard->reporter_source && outbox_flush(guard->reporter) == -EAGAIN)
		(void)sd_event_source_set_enabled(guard->reporter_source, SD_EVENT_ON);
	return r < 0 ? sd_event_exit(guard->event, 1) : 0;
}

static void guard_log(void *context, int priority, const char *text)
{
	outbox_push_note(context, priority, text);
}

static int guard_init(struct guard *guard, const char **ret_what)
{
	sd_event_source *source = NULL;
	int r;

	*ret_what = "out of memory";
	guard->reporter = outbox_new(OUTBOX_MAX);
	if (!guard->reporter)
		return -ENOMEM;
	*ret_what = "cannot make an event loop";
	r = sd_event_new(&guard->event);
	if (r < 0)
		return r;
	*ret_what = "cannot use /proc";
	r = opener_init();
	if (r < 0)
		return r;
	r = file_init();
	if (r < 0)
		return r;
	r = gate_init(&guard->gate, guard->event, guard->reporter, ret_what);
	if (r < 0)
		return r;
	*ret_what = "cannot make an event loop";
	r = sd_event_add_io(guard->event, &source, guard->channel, EPOLLIN, guard_on_channel,
			    guard);
	if (r < 0)
		return r;
	r = sd_event_source_set_priority(source, CHANNEL_PRIORITY);
	if (r < 0)
		return r;
	return sd_event_add_post(guard->event, NULL, guard_on_round, guard);
}

static void guard_deinit(struct guard *guard)
{
	control_free(guard->control);
	gate_deinit(&guard->gate);
	sd_event_source_disable_unref(guard->reporter_source);
	outbox_free(guard->reporter);
	conf_free(guard->conf);
	sd_event_unref(guard->event);
}

int guard_run(int channel)
{
	struct guard guard = {
		.channel = channel,
		.started_at = (int64_t)(clock_wall_us() / CLOCK_US_PER_SEC),
	};
	const char *what;
	int r = guard_init(&guard, &what);

	if (r < 0) {
		char problem[WIRE_TEXT_MAX];

		(void)snprintf(problem, sizeof(problem), "the guard cannot start: %s: %s", what,
			       strerror(-r));
		guard_tell(&guard, WIRE_FAILED, problem);
		return 1;
	}
	log_set_sink(guard_log, guard.reporter);
	r = sd_event_loop(guard.event);
	log_set_sink(NULL, NULL);
	guard_deinit(&guard);
	return r < 0 ? 1 : r;
}
