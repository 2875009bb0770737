/* SPDX-License-Identifier: GPL-2.0-only */
#include "service.h"

#include "../common/chan.h"
#include "../common/clock.h"
#include "../common/log.h"
#include "notify.h"
#include "supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utlist.h>

/* A child that dies within this time of its start counts as failing again. */
#define FAILS_FAST_US (5 * CLOCK_US_PER_SEC)

/* So many failures in a row are answered by a restart at once; then the delay doubles, up to the
 * limit. */
#define FAILURES_FREE	  3
#define RESTART_DELAY_MAX 32 /* seconds */

/* Openers wait no longer than this for an engine that loads, and it no longer than this to be used
 * once it has. */
#define LATE_US (60 * CLOCK_US_PER_SEC)
#define USE_US	(60 * CLOCK_US_PER_SEC)

void service_send(struct child *child, const struct wire_header *message)
{
	/* Nothing to do about a failure: who does not read is dead, or will miss its heartbeat. */
	if (child && child->channel >= 0)
		(void)chan_send(child->channel, message, -1);
}

int service_send_fd(struct child *child, const struct wire_header *message, int fd)
{
	return child && child->channel >= 0 ? chan_send(child->channel, message, fd) : -ENOTCONN;
}

void service_send_conf(struct child *child, int snapshot)
{
	const struct wire_plain config = {.header = WIRE_INIT(WIRE_CONFIG, struct wire_plain)};

	if (service_send_fd(child, &config.header, snapshot) == 0)
		child->n_asked++;
}

void service_send_history(struct service *service)
{
	service_send(service->current[CHILD_GUARD], &service->history.header);
}

/* --- introducing --- */

/* Gives each of two children one end of a new socket. */
static void service_connect(struct child *a, enum wire_peer_role role_of_a, struct child *b,
			    enum wire_peer_role role_of_b)
{
	struct wire_peer to_a = {
		.header = WIRE_INIT(WIRE_PEER, struct wire_peer), .role = role_of_b, .pid = b->pid};
	struct wire_peer to_b = {
		.header = WIRE_INIT(WIRE_PEER, struct wire_peer), .role = role_of_a, .pid = a->pid};
	int ends[2], r = chan_pair(ends);

	if (r < 0) {
		log_error("cannot connect %s and %s: %s", child_name(a->role), child_name(b->role),
			  strerror(-r));
		return;
	}
	(void)service_send_fd(a, &to_a.header, ends[0]);
	(void)service_send_fd(b, &to_b.header, ends[1]);
	close(ends[0]);
	close(ends[1]);
}

void service_introduce(struct service *service, enum child_role role)
{
	struct child *guard = service->current[CHILD_GUARD], *child = service->current[role];
	static const enum wire_peer_role as[CHILD_ROLES] = {
		[CHILD_ENGINE] = WIRE_PEER_ENGINE,
		[CHILD_REPORTER] = WIRE_PEER_REPORTER,
		[CHILD_PORTER] = WIRE_PEER_PORTER,
	};

	if (!guard || !child || !child->ready)
		return;
	service_connect(guard, WIRE_PEER_GUARD, child, as[role]);
	child->introduced_us = clock_monotonic_us();
	if (role == CHILD_ENGINE)
		service->engine_down = false;
}

static void service_send_listener(struct child *child, enum wire_peer_role role, int fd)
{
	const struct wire_peer peer = {.header = WIRE_INIT(WIRE_PEER, struct wire_peer),
				       .role = role};

	(void)service_send_fd(child, &peer.header, fd);
}

void service_equip_guard(struct service *service)
{
	const struct wire_plain down = {.header = WIRE_INIT(WIRE_ENGINE_DOWN, struct wire_plain)};

	service_send_history(service);
	service_introduce(service, CHILD_REPORTER);
	service_send_listener(service->current[CHILD_GUARD], WIRE_PEER_CONTROL,
			      service->files->listeners.control);
	service_introduce(service, CHILD_PORTER);
	if (service->engine_down)
		service_send(service->current[CHILD_GUARD], &down.header);
}

/* --- starting --- */

struct child *service_adopt(struct service *service, enum child_role role, int channel)
{
	struct child *child = calloc(1, sizeof(*child));

	if (!child) {
		close(channel);
		return NULL;
	}
	*child = (struct child){
		.service = service,
		.role = role,
		.channel = channel,
		.started_us = clock_monotonic_us(),
		.heard_us = clock_monotonic_us(),
	};
	DL_APPEND(service->children, child);
	if (sd_event_add_io(service->event, &child->source, channel, EPOLLIN,
			    service_child_on_message, child) < 0) {
		/* It ends with its channel, and is started again then. */
		close(channel);
		child->channel = -1;
	}
	return child;
}

void service_forget(struct child *child)
{
	DL_DELETE(child->service->children, child);
	sd_event_source_disable_unref(child->source);
	if (child->channel >= 0)
		close(child->channel);
	free(child);
}

static struct child *service_start(struct service *service, enum child_role role,
				   const struct conf *conf)
{
	int channel;
	pid_t pid = child_start(service->setup, role, conf, &channel);
	struct child *child = pid < 0 ? NULL : service_adopt(service, role, channel);

	if (child)
		child->pid = pid;
	else
		log_error("cannot start %s: %s", child_name(role),
			  strerror(pid < 0 ? -pid : ENOMEM));
	return child;
}

struct child *service_spawn(struct service *service, enum child_role role, const struct conf *conf,
			    int snapshot)
{
	struct child *child = service_start(service, role, conf);

	service_send_conf(child, snapshot);
	return child;
}

struct child *service_spawn_trial(struct service *service, const struct conf *conf, int snapshot)
{
	const struct wire_plain trial = {.header = WIRE_INIT(WIRE_TRIAL, struct wire_plain)};
	struct child *child = service_start(service, CHILD_ENGINE, conf);

	service_send(child, &trial.header);
	service_send_conf(child, snapshot);
	return child;
}

static int service_on_restart_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct restart *restart = userdata;

	if (!restart->service->stopping && !restart->service->current[restart->role])
		service_spawn_current(restart->service, restart->role);
	return 0;
}

static void service_spawn_later(struct service *service, enum child_role role, unsigned seconds)
{
	struct restart *restart = &service->restarts[role];
	uint64_t when = clock_monotonic_us() + seconds * CLOCK_US_PER_SEC;

	*restart = (struct restart){
		.service = service,
		.role = role,
		.timer = sd_event_source_disable_unref(restart->timer),
		.failures = restart->failures,
	};
	(void)sd_event_add_time(service->event, &restart->timer, CLOCK_MONOTONIC, when, 0,
				service_on_restart_timer, restart);
}

void service_spawn_current(struct service *service, enum child_role role)
{
	struct child *child = service_start(service, role, service->conf);

	service->current[role] = child;
	if (!child) {
		service_spawn_later(service, role, 1);
		return;
	}
	if (role == CHILD_GUARD)
		standby_begin(service, child);
	service_send_conf(child, service->snapshot);
	if (role == CHILD_GUARD) {
		service_equip_guard(service);
		service_introduce(service, CHILD_ENGINE);
	} else if (role == CHILD_PORTER) {
		service_send_listener(child, WIRE_PEER_SCAN, service->files->listeners.scan);
	}
}

/* Seconds to wait before the next start. */
static unsigned service_restart_delay(struct restart *restart, const struct child *child)
{
	unsigned excess;

	if (!*child->failure && clock_monotonic_us() - child->started_us > FAILS_FAST_US)
		restart->failures = 0;
	restart->failures++;
	if (restart->failures <= FAILURES_FREE && !*child->failure)
		return 0;
	excess = restart->failures > FAILURES_FREE ? restart->failures - FAILURES_FREE : 1;
	return excess > 5 ? RESTART_DELAY_MAX : 1u << excess;
}

void service_use_engine(struct service *service, const struct child *engine)
{
	service->test_only = engine->test_only;
	service->newest = engine->newest;
	service->memory = engine->memory;
}

void service_release(struct service *service)
{
	const struct wire_plain release = {.header = WIRE_INIT(WIRE_RELEASE, struct wire_plain)};

	service_send(service->current[CHILD_GUARD], &release.header);
	service->serving = 0;
}

/* --- engines that take too long --- */

/* Whoever waits for it is told, and some time later it is started again. */
static void service_watch_loading(struct service *service, struct child *engine, uint64_t since_us)
{
	const struct wire_plain down = {.header = WIRE_INIT(WIRE_ENGINE_DOWN, struct wire_plain)};

	if (since_us >= LATE_US && !engine->is_late) {
		engine->is_late = true;
		log_error(
			"an engine has been loading for %u s: where no worker of another is left, "
			"files that are not known are answered by on-failure until it has",
			(unsigned)(LATE_US / CLOCK_US_PER_SEC));
		service->engine_down = true;
		service_send(service->current[CHILD_GUARD], &down.header);
	}
	if (since_us >= SERVICE_LOAD_US && !engine->is_overdue) {
		engine->is_overdue = true;
		log_error("the engine has not loaded within %u min: it is killed",
			  (unsigned)(SERVICE_LOAD_US / CLOCK_US_PER_SEC / 60));
		(void)kill(-engine->pid, SIGKILL);
	}
}

void service_tick(struct service *service)
{
	struct child *engine = service->current[CHILD_ENGINE];
	uint64_t now = clock_monotonic_us();

	if (!engine || !service->protecting || !service->current[CHILD_GUARD])
		return;
	if (!engine->ready) {
		service_watch_loading(service, engine, now - engine->started_us);
	} else if (engine->pid != service->serving && now - engine->introduced_us >= USE_US) {
		log_error("the guard does not use the engine that has loaded: it is killed");
		engine->introduced_us = now;
		(void)kill(-engine->pid, SIGKILL);
	}
}

/* --- burying --- */

/* Why it ended, in child->reason. */
static void service_explain_end(struct child *child, int status)
{
	if (*child->reason)
		return;
	if (*child->failure)
		(void)snprintf(child->reason, sizeof(child->reason), "%s", child->failure);
	else if (WIFSIGNALED(status))
		(void)snprintf(child->reason, sizeof(child->reason), "was ended by %s",
			       strsignal(WTERMSIG(status)));
	else
		(void)snprintf(child->reason, sizeof(child->reason), "ended with status %d",
			       WEXITSTATUS(status));
}

/* Who failed, and whom we killed, has been told of. */
static void service_log_end(const struct child *child)
{
	if (!*child->failure && !child->killed_us)
		log_error("%s (pid %d) %s", child_name(child->role), child->pid, child->reason);
}

static void service_note_end(struct service *service, const struct child *child)
{
	static const enum wire_ended_role roles[CHILD_ROLES] = {
		[CHILD_GUARD] = WIRE_ENDED_GUARD,   [CHILD_STANDBY] = WIRE_ENDED_STANDBY,
		[CHILD_ENGINE] = WIRE_ENDED_ENGINE, [CHILD_REPORTER] = WIRE_ENDED_REPORTER,
		[CHILD_PORTER] = WIRE_ENDED_PORTER,
	};
	struct wire_ended *ended = &service->history.ended[roles[child->role]];

	ended->n++;
	ended->last_at = (int64_t)(clock_wall_us() / CLOCK_US_PER_SEC);
	memcpy(ended->reason, child->reason, sizeof(ended->reason));
}

/* Nobody takes over: the kernel lets everyone go once the last of the family has ended. */
static void service_close_group(struct service *service)
{
	standby_end_family(service);
	if (!service->protecting || service->has_gap)
		return;
	service->has_gap = true;
	service->history.gaps++;
	notify_send("STATUS=the guard is being restarted: files are not protected");
	log_error("the guard is gone: opens that were held are let go, files are not protected");
}

/* Returns whether another has taken over. */
static bool service_lost_guard(struct service *service, const struct child *guard, int status)
{
	bool has_successor;
	struct child *child;

	if (service->protecting && !service->guard_lost_us)
		service->guard_lost_us = clock_monotonic_us();
	/* Engines that were finishing their scans did so for this guard. */
	DL_FOREACH (service->children, child)
		if (child->role == CHILD_ENGINE && child->ending && child->pid != service->serving)
			(void)kill(-child->pid, SIGKILL);
	service->serving = 0;
	has_successor = standby_take_over(service, guard, status);
	if (!has_successor)
		service_close_group(service);
	return has_successor;
}

static void service_lost_engine(struct service *service, const struct child *child, unsigned delay)
{
	const struct wire_plain down = {.header = WIRE_INIT(WIRE_ENGINE_DOWN, struct wire_plain)};

	/* Its workers serve the guard until another engine takes over, where there is room for
	 * both. */
	if (service->serving && reload_is_lean(service, service->conf)) {
		log_notice("the workers of the engine that was lost make room for another one");
		service_release(service);
		(void)kill(-child->pid, SIGKILL);
	}
	if (delay) {
		service->engine_down = true;
		service_send(service->current[CHILD_GUARD], &down.header);
	}
}

static void service_restart(struct service *service, const struct child *child, int status)
{
	enum child_role role = child->role;
	unsigned delay;

	if (role == CHILD_GUARD && service_lost_guard(service, child, status))
		return;
	delay = service_restart_delay(&service->restarts[role], child);
	switch (role) {
	case CHILD_ENGINE:
		service_lost_engine(service, child, delay);
		break;
	case CHILD_REPORTER:
		outbox_connect(service->outbox, -1);
		break;
	case CHILD_GUARD:
	case CHILD_STANDBY:
	case CHILD_PORTER:
	case CHILD_FETCHER:
	case CHILD_ROLES:
	default:
		break;
	}
	service_send_history(service);

	if (!delay) {
		service_spawn_current(service, role);
		return;
	}
	log_error("%s keeps failing: the next start is in %u s", child_name(role), delay);
	service_spawn_later(service, role, delay);
}

void service_bury(struct child *child, int status)
{
	struct service *service = child->service;
	bool was_current = service->current[child->role] == child;

	if (!child->ending) {
		service_explain_end(child, status);
		service_log_end(child);
	}
	/* An engine that was only tried, or a fetcher, leaves nothing to be replaced. */
	if (!child->ending && (was_current || child->role == CHILD_STANDBY))
		service_note_end(service, child);
	standby_lost(service, child);
	if (was_current)
		service->current[child->role] = NULL;
	/* An engine's workers outlive it. */
	if (child->role == CHILD_ENGINE && child->ending && child->pid != service->serving)
		(void)kill(-child->pid, SIGKILL);
	reload_child_lost(service, child);
	fetch_child_lost(service, child);

	if (was_current && !service->stopping) {
		/* Without a porter nothing but scans on demand is missing. */
		if (service->protecting || child->role == CHILD_PORTER) {
			service_restart(service, child, status);
		} else {
			log_error("the service cannot start");
			(void)sd_event_exit(service->event, 1);
		}
	}
	service_forget(child);
	standby_fill(service);
}

void service_lost_touch(struct service *service, struct child *guard)
{
	guard->ending = true;
	service->current[CHILD_GUARD] = NULL;
	service_note_end(service, guard);
	service_restart(service, guard, 0);
}

unsigned service_end(struct service *service, enum child_role role)
{
	struct child *child;
	unsigned n = 0;

	DL_FOREACH (service->children, child) {
		if (child->role != role)
			continue;
		n++;
		child->ending = true;
		child->source = sd_event_source_disable_unref(child->source);
		if (child->channel >= 0)
			close(child->channel);
		child->channel = -1;
	}
	return n;
}

void service_kill(struct service *service, enum child_role role)
{
	struct child *child;

	DL_FOREACH (service->children, child)
		if (child->role == role)
			service_kill_child(child);
}

void service_kill_child(const struct child *child)
{
	if (child->pid > 0)
		(void)kill(-child->pid, SIGKILL);
}

void service_kill_loading(struct service *service)
{
	struct child *child;

	DL_FOREACH (service->children, child)
		if (child->role == CHILD_ENGINE && !child->ready)
			(void)kill(-child->pid, SIGKILL);
}

static bool service_is_child(const struct service *service, pid_t pid)
{
	const struct child *child;

	DL_FOREACH (service->children, child)
		if (child->pid == pid)
			return true;
	return false;
}

unsigned service_kill_strays(struct service *service)
{
	char path[64];
	unsigned n = 0;
	FILE *list;
	int pid;

	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	list = fopen(path, "re");
	while (list && fscanf(list, "%d", &pid) == 1)
		if (!service_is_child(service, pid)) {
			(void)kill(pid, SIGKILL);
			n++;
		}
	if (list)
		(void)fclose(list);
	return n;
}
