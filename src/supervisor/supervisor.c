/* SPDX-License-Identifier: GPL-2.0-only */
#include "supervisor.h"

#include "../common/chan.h"
#include "../common/clock.h"
#include "../common/log.h"
#include "notify.h"
#include "service.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utlist.h>

/* So long may the children take to end when the service stops. */
#define STOP_US (5 * CLOCK_US_PER_SEC)

/* Lines for a reporter that is slow or being restarted. */
#define OUTBOX_MAX 256

/* --- what the children say --- */

static void supervisor_log(void *context, int priority, const char *text)
{
	outbox_push_note(context, priority, text);
}

/* From now on lines go to the reporter, and those that waited for one too. */
static void supervisor_reporter_ready(struct child *reporter)
{
	struct service *service = reporter->service;

	outbox_connect(service->outbox, fcntl(reporter->channel, F_DUPFD_CLOEXEC, 0));
	log_set_sink(supervisor_log, service->outbox);
	(void)outbox_flush(service->outbox);
	if (service->protecting)
		service_introduce(service, CHILD_REPORTER);
	else
		service_spawn_current(service, CHILD_ENGINE);
}

static void supervisor_engine_ready(struct child *engine)
{
	struct service *service = engine->service;
	char directory[PATH_MAX];

	service_use_engine(service, engine);
	if (engine->test_only)
		log_error("ONLY THE EICAR TEST SIGNATURE IS LOADED: no malware will be found; put "
			  "signature files into %s and reload",
			  conf_signatures_dir(service->conf, directory, sizeof(directory)));
	if (service->current[CHILD_GUARD] || service->protecting)
		service_introduce(service, CHILD_ENGINE);
	else
		service_spawn_current(service, CHILD_GUARD);
}

/* What there is to do beside protecting files waits until they are. */
static void supervisor_begin(struct service *service)
{
	service->protecting = true;
	service_spawn_current(service, CHILD_PORTER);
	changes_watch(service, service->files->changes, service->files->not_watched);
	fetch_begin(service);
	age_begin(service);
}

static void supervisor_guard_replaced(struct service *service)
{
	uint64_t took_us = clock_monotonic_us() - service->guard_lost_us;

	if (service->has_gap) {
		service->history.last_gap_us = took_us;
		log_error("a new guard is protecting again: there was no protection for %llu ms",
			  (unsigned long long)(took_us / CLOCK_US_PER_MS));
	} else {
		service->history.takeovers++;
		service->history.last_takeover_us = took_us;
		log_notice(
			"a standby took over as the guard within %llu ms: opens waited, none was "
			"let go",
			(unsigned long long)(took_us / CLOCK_US_PER_MS));
	}
	service->guard_lost_us = 0;
	service->has_gap = false;
	service_send_history(service);
}

static void supervisor_guard_ready(struct service *service)
{
	const struct child *engine = service->current[CHILD_ENGINE];

	/* One that has taken over has the engine of the guard before it; if that is still in force.
	 */
	if (engine && service->protecting && service->serving != engine->pid)
		service_introduce(service, CHILD_ENGINE);
	if (service->guard_lost_us)
		supervisor_guard_replaced(service);
	else
		log_notice("%s: %zu include path(s), %u signature(s)",
			   service->conf->mode == CONTROL_MODE_BLOCK ? "protecting"
			   : service->conf->mode == CONTROL_MODE_NOTIFY
				   ? "watching without blocking"
				   : "on-access is off",
			   service->conf->include.n_entries, engine ? engine->signatures : 0);
	if (!service->protecting)
		supervisor_begin(service);
	notify_send("READY=1\nSTATUS=protecting");
	standby_fill(service);
}

static int supervisor_take_ready(void *context, struct chan_message *message)
{
	const struct wire_result *result = (const void *)message;
	struct child *child = context;
	struct service *service = child->service;
	bool was_ready = child->ready;

	child->ready = true;
	child->n_asked -= child->n_asked > 0;
	child->signatures = result->signatures;
	child->test_only = result->test_only;
	child->newest = result->newest;
	child->memory = result->memory;
	child->failure[0] = '\0';
	if (reload_child_ready(service, child, was_ready) || was_ready || child->ending ||
	    service->stopping)
		return 0;

	switch (child->role) {
	case CHILD_REPORTER:
		supervisor_reporter_ready(child);
		break;
	case CHILD_ENGINE:
		supervisor_engine_ready(child);
		break;
	case CHILD_GUARD:
		supervisor_guard_ready(service);
		break;
	case CHILD_PORTER:
		service_introduce(service, CHILD_PORTER);
		break;
	case CHILD_STANDBY:
	case CHILD_FETCHER:
	case CHILD_ROLES:
	default:
		break;
	}
	return 0;
}

static int supervisor_take_failed(void *context, struct chan_message *message)
{
	const struct wire_result *result = (const void *)message;
	struct child *child = context;
	struct service *service = child->service;

	if (!wire_string_ok(result->text, sizeof(result->text)))
		return -EPROTO;
	child->n_asked -= child->n_asked > 0;
	if (reload_child_failed(service, child, result->text))
		return 0;
	memcpy(child->failure, result->text, sizeof(child->failure));
	log_error("%s", result->text);
	/* A reporter that refuses its first configuration waits for another; there is none. */
	if (!child->ready && child->pid)
		(void)kill(child->pid, SIGKILL);
	return 0;
}

static int supervisor_take_pong(void *context, struct chan_message *message)
{
	struct child *child = context;

	child->unanswered = 0;
	return 0;
}

static int supervisor_take_standby(void *context, struct chan_message *message)
{
	struct child *child = context;

	return standby_born(child->service, child,
			    ((const struct wire_standby *)(const void *)message)->pid);
}

static int supervisor_take_switched(void *context, struct chan_message *message)
{
	struct child *child = context;
	struct service *service = child->service;

	if (child == service->current[CHILD_GUARD]) {
		service->serving = ((const struct wire_switched *)(const void *)message)->engine;
		reload_switched(service);
	}
	return 0;
}

static int supervisor_take_note(void *context, struct chan_message *message)
{
	const struct wire_note *note = (const void *)message;

	if (!wire_string_ok(note->text, sizeof(note->text)))
		return -EPROTO;
	log_line(LOG_PRI((int)note->priority), "%s", note->text);
	return 0;
}

static int supervisor_take_update(void *context, struct chan_message *message)
{
	struct child *child = context;

	if (child->role != CHILD_GUARD || child->service->stopping) {
		close(message->fd);
		return child->role == CHILD_GUARD ? 0 : -EPROTO;
	}
	fetch_ask(child->service, message->fd);
	return 0;
}

static int supervisor_take_fetched(void *context, struct chan_message *message)
{
	struct child *child = context;

	if (child->role != CHILD_FETCHER)
		return -EPROTO;
	return fetch_done(child->service, child, (const void *)message);
}

static const struct chan_rule child_rules[] = {
	{WIRE_READY, sizeof(struct wire_result), false, supervisor_take_ready},
	{WIRE_FAILED, sizeof(struct wire_result), false, supervisor_take_failed},
	{WIRE_PONG, sizeof(struct wire_plain), false, supervisor_take_pong},
	{WIRE_STANDBY, sizeof(struct wire_standby), false, supervisor_take_standby},
	{WIRE_SWITCHED, sizeof(struct wire_switched), false, supervisor_take_switched},
	{WIRE_NOTE, sizeof(struct wire_note), false, supervisor_take_note},
	{WIRE_UPDATE, sizeof(struct wire_plain), true, supervisor_take_update},
	{WIRE_FETCHED, sizeof(struct wire_fetched), false, supervisor_take_fetched},
	{0},
};

int service_child_on_message(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct child *child = userdata;
	int r;

	/* What it said may have been read meanwhile, see supervisor_drain(): to read on would be to
	 * wait. */
	if (!chan_readable(fd))
		return 0;
	r = chan_serve(fd, child_rules, child);
	child->heard_us = clock_monotonic_us();
	if (r < 0 && r != -EAGAIN) {
		/* It has ended, or is to end for breaking the protocol: SIGCHLD brings the rest. */
		child->source = sd_event_source_disable_unref(child->source);
		if (r == -EPROTO && child->pid)
			(void)kill(child->pid, SIGKILL);
	}
	return 0;
}

/* --- signals and time --- */

/* What the child said last is read before it is buried. */
static void supervisor_drain(struct child *child)
{
	while (child->source && chan_readable(child->channel) &&
	       chan_serve(child->channel, child_rules, child) == 0)
		;
}

static struct child *supervisor_find_child(const struct service *service, pid_t pid)
{
	struct child *child;

	DL_FOREACH (service->children, child)
		if (child->pid == pid)
			return child;
	return NULL;
}

/* Standbys that are there say so on their channels; what they have said last is read here. */
static void supervisor_drain_standbys(struct service *service)
{
	struct child *child, *next;

	DL_FOREACH_SAFE (service->children, child, next)
		if (child->role == CHILD_STANDBY && !child->pid)
			supervisor_drain(child);
}

static void supervisor_take_end(struct service *service, pid_t pid, int status)
{
	struct child *child = supervisor_find_child(service, pid);

	if (!child) {
		supervisor_drain_standbys(service);
		child = supervisor_find_child(service, pid);
	}
	/* Workers of an engine that died are our children too: see PR_SET_CHILD_SUBREAPER below. */
	if (WIFSTOPPED(status)) {
		if (child)
			heartbeat_stopped(child, WSTOPSIG(status));
		else
			(void)kill(pid, SIGKILL);
	} else if (child) {
		/* One that it has made may have said so already. */
		supervisor_drain_standbys(service);
		supervisor_drain(child);
		service_bury(child, status);
	}
}

static void supervisor_reap(struct service *service)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0)
		supervisor_take_end(service, pid, status);
}

static int supervisor_on_sigchld(sd_event_source *source, const struct signalfd_siginfo *info,
				 void *userdata)
{
	supervisor_reap(userdata);
	return 0;
}

static int supervisor_on_sighup(sd_event_source *source, const struct signalfd_siginfo *info,
				void *userdata)
{
	reload_begin(userdata);
	return 0;
}

static int supervisor_on_sigterm(sd_event_source *source, const struct signalfd_siginfo *info,
				 void *userdata)
{
	struct service *service = userdata;

	log_notice("stopping: files are no longer protected");
	notify_send("STOPPING=1\nSTATUS=stopping");
	return sd_event_exit(service->event, 0);
}

static int supervisor_on_heartbeat(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct service *service = userdata;

	notify_send("WATCHDOG=1");
	(void)outbox_flush(service->outbox);
	heartbeat_tick(service);
	service_tick(service);
	reload_tick(service);
	fetch_tick(service);
	changes_tick(service);
	age_tick(service);
	(void)sd_event_source_set_time(source,
				       clock_monotonic_us() + heartbeat_interval_us(service));
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* --- the process --- */

static int supervisor_init(struct service *service)
{
	static const struct {
		int signal;
		sd_event_signal_handler_t handler;
	} signals[] = {
		{SIGCHLD, supervisor_on_sigchld},
		{SIGHUP, supervisor_on_sighup},
		{SIGTERM, supervisor_on_sigterm},
		{SIGINT, supervisor_on_sigterm},
	};
	sigset_t mask;
	int r = sd_event_new(&service->event);

	if (r < 0)
		return r;
	service->outbox = outbox_new(OUTBOX_MAX);
	if (!service->outbox)
		return -ENOMEM;
	service->snapshot = conf_snapshot(service->conf);
	if (service->snapshot < 0)
		return service->snapshot;

	(void)sigemptyset(&mask);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		(void)sigaddset(&mask, signals[i].signal);
		(void)sigprocmask(SIG_BLOCK, &mask, NULL);
		r = sd_event_add_signal(service->event, NULL, signals[i].signal, signals[i].handler,
					service);
		if (r < 0)
			return r;
	}
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	return sd_event_add_time(service->event, NULL, CLOCK_MONOTONIC, 0,
				 heartbeat_interval_us(service) / 10, supervisor_on_heartbeat,
				 service);
}

/* Waits until no child of a role is left, and kills what is left at the deadline. What cannot be
 * killed, as it waits for a disk, is left to init. */
static void supervisor_await_end(struct service *service, enum child_role role)
{
	uint64_t deadline = clock_monotonic_us() + STOP_US;
	const struct timespec pause = {.tv_nsec = 50000000};
	sigset_t chld;

	(void)sigemptyset(&chld);
	(void)sigaddset(&chld, SIGCHLD);
	while (service_end(service, role) && clock_monotonic_us() < deadline + STOP_US) {
		supervisor_reap(service);
		if (clock_monotonic_us() > deadline)
			service_kill(service, role);
		if (service_end(service, role))
			(void)sigtimedwait(&chld, NULL, &pause);
	}
}

static void supervisor_stop(struct service *service)
{
	const struct wire_plain stopping = {.header = WIRE_INIT(WIRE_STOPPING, struct wire_plain)};

	service->stopping = true;
	fetch_stop(service);
	service_kill_loading(service);
	/* The guard first: what it holds is let go, and nothing of ours is held any more. The
	 * reporter last: it has the lines of all the others to write. */
	supervisor_await_end(service, CHILD_GUARD);
	standby_end_family(service);
	supervisor_await_end(service, CHILD_STANDBY);
	supervisor_await_end(service, CHILD_ENGINE);
	supervisor_await_end(service, CHILD_PORTER);
	supervisor_await_end(service, CHILD_FETCHER);
	/* Workers in the middle of a scan outlive their engine, and relays their porter; now nobody
	 * waits for them. One that waits for its client's FUSE server cannot be killed. */
	for (uint64_t deadline = clock_monotonic_us() + STOP_US;
	     service_kill_strays(service) && clock_monotonic_us() < deadline;)
		supervisor_reap(service);
	outbox_push(service->outbox, &stopping.header);
	log_set_sink(NULL, NULL);
	outbox_connect(service->outbox, -1);
	supervisor_await_end(service, CHILD_REPORTER);
}

int supervisor_run(struct conf *conf, const struct child_setup *setup,
		   const struct supervisor_files *files)
{
	struct service service = {
		.setup = setup,
		.files = files,
		.conf = conf,
		.reload = {.snapshot = -1, .loader_channel = -1, .changes = -1},
		.changes = {.fd = -1},
		.history =
			{
				.header = WIRE_INIT(WIRE_HISTORY, struct wire_history),
				.started_at = (int64_t)(clock_wall_us() / CLOCK_US_PER_SEC),
			},
	};
	int r = supervisor_init(&service);

	if (r < 0) {
		log_error("cannot start: %s", strerror(-r));
		return 1;
	}
	service_spawn_current(&service, CHILD_REPORTER);
	r = sd_event_loop(service.event);
	supervisor_stop(&service);

	for (size_t role = 0; role < CHILD_ROLES; role++)
		sd_event_source_disable_unref(service.restarts[role].timer);
	outbox_free(service.outbox);
	sd_event_unref(service.event);
	close(service.snapshot);
	conf_free(service.conf);
	return r < 0 ? 1 : r;
}
