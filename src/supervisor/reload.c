/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A reload goes through everyone who could refuse it before anything changes: the configuration
 * must be right, an engine must load the signatures, the reporter must be able to write its log,
 * the guard to watch the paths. Only then does the new engine take over. Until then, and when
 * anything fails, all goes on as before.
 *
 * A lean reload is for machines that have no memory for two engines: the signatures are only tried
 * before anything changes, which takes little, and the old engine ends before the new one loads.
 * Meanwhile opens are answered from what is known, or wait.
 */
#include "service.h"

#include "../common/chan.h"
#include "../common/clock.h"
#include "../common/log.h"
#include "../signatures/trial.h"
#include "supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

/* So long may whoever is asked take to answer, and the signatures to be tried. */
#define ANSWER_US (60 * CLOCK_US_PER_SEC)
#define TRIAL_US  ((TRIAL_TIMEOUT_S + 60) * CLOCK_US_PER_SEC)

/* So long may an old engine take to end: the guard gives scans some seconds in a lean reload. Then
 * it is killed, and so long later at the latest the new one starts. */
#define RELEASE_US (10 * CLOCK_US_PER_SEC)
#define KILLED_US  (2 * CLOCK_US_PER_SEC)

/* The distance of reloads that nobody asked for: each loads all signatures. */
#define UNASKED_US (60 * CLOCK_US_PER_SEC)

/* One that went wrong although nothing was wrong with what is loaded is repeated after so long,
 * then after twice as long, so often. */
#define REPEAT_S    30
#define REPEATS_MAX 5

static uint64_t reload_limit_us(const struct reload *reload)
{
	switch (reload->step) {
	case RELOAD_CONF:
	case RELOAD_REPORTER:
	case RELOAD_GUARD:
		return ANSWER_US;
	case RELOAD_ENGINE:
		return reload->lean ? TRIAL_US : SERVICE_LOAD_US;
	case RELOAD_RELEASE:
		return reload->released ? RELEASE_US : KILLED_US;
	case RELOAD_NONE:
	case RELOAD_SWITCH: /* see service_tick() */
	default:
		return 0;
	}
}

static void reload_enter(struct reload *reload, enum reload_step step)
{
	reload->step = step;
	reload->until_us = clock_monotonic_us() + reload_limit_us(reload);
}

static void reload_end_engine(struct child *engine)
{
	if (!engine)
		return;
	engine->ending = true;
	engine->source = sd_event_source_disable_unref(engine->source);
	(void)kill(-engine->pid, SIGKILL);
}

static void reload_trust(struct service *service, pid_t pid)
{
	const struct wire_trusted_pid trusted = {
		.header = WIRE_INIT(WIRE_TRUSTED_PID, struct wire_trusted_pid),
		.pid = pid,
	};

	service_send(service->current[CHILD_GUARD], &trusted.header);
}

/* Forgets what the reload holds. */
static void reload_finish(struct service *service)
{
	struct reload *reload = &service->reload;

	reload->loader_source = sd_event_source_disable_unref(reload->loader_source);
	if (reload->loader_channel >= 0) {
		close(reload->loader_channel);
		(void)kill(-reload->loader, SIGKILL);
		reload_trust(service, 0);
	}
	conf_free(reload->conf);
	if (reload->snapshot >= 0)
		close(reload->snapshot);
	if (reload->changes >= 0)
		close(reload->changes);
	*reload = (struct reload){
		.snapshot = -1,
		.loader_channel = -1,
		.changes = -1,
		.due_us = reload->due_us,
		.unasked_us = reload->unasked_us,
		.rest_us = clock_monotonic_us() + RELEASE_US,
		.failures = reload->failures,
	};
}

static void reload_give_up(struct service *service)
{
	/* Who may have the new configuration already gets the old one back. */
	if (service->reload.step == RELOAD_REPORTER || service->reload.step == RELOAD_GUARD)
		service_send_conf(service->current[CHILD_REPORTER], service->snapshot);
	if (service->reload.step == RELOAD_GUARD)
		service_send_conf(service->current[CHILD_GUARD], service->snapshot);
	reload_end_engine(service->reload.engine);
	reload_finish(service);
}

/* What was to be loaded is not right. */
static void reload_abort(struct service *service, const char *why)
{
	log_error("reload refused, everything stays as it was: %s", why);
	service->reload.failures = 0;
	reload_give_up(service);
}

/* It went wrong, and need not the next time. */
static void reload_abort_once(struct service *service, const char *why)
{
	struct reload *reload = &service->reload;
	unsigned wait = REPEAT_S << reload->failures;
	char then[64] = "";

	if (!reload->due_us && reload->failures < REPEATS_MAX) {
		reload->failures++;
		reload->due_us = clock_monotonic_us() + wait * CLOCK_US_PER_SEC;
		(void)snprintf(then, sizeof(then), "; it is tried again in %u s", wait);
	}
	log_error("reload refused, everything stays as it was: %s%s", why, then);
	reload_give_up(service);
}

static const char *reload_frozen_key(const struct conf *old, const struct conf *new)
{
	if (old->uid != new->uid || old->gid != new->gid)
		return "user cannot change while the service runs: restart it";
	if (strcmp(old->run_dir, new->run_dir) || strcmp(old->state_dir, new->state_dir))
		return "run-dir and state-dir cannot change while the service runs: restart it";
	if (old->control_gid != new->control_gid)
		return "control-group cannot change while the service runs: restart it";
	return NULL;
}

static int reload_take_conf(void *context, struct chan_message *message)
{
	struct service *service = context;
	struct reload *reload = &service->reload;

	reload->snapshot = message->fd;
	reload->conf = conf_from_snapshot(message->fd);
	return reload->conf ? 0 : -EPROTO;
}

static int reload_take_note(void *context, struct chan_message *message)
{
	const struct wire_note *note = (const void *)message;

	struct service *service = context;

	if (LOG_PRI((int)note->priority) <= LOG_ERR)
		service->reload.complained = true;
	if (wire_string_ok(note->text, sizeof(note->text)))
		log_line(LOG_PRI((int)note->priority), "%s", note->text);
	return 0;
}

static int reload_take_watch(void *context, struct chan_message *message)
{
	struct service *service = context;

	if (service->reload.changes >= 0) {
		close(message->fd);
		return -EPROTO;
	}
	service->reload.changes = message->fd;
	return 0;
}

static int reload_take_not_watched(void *context, struct chan_message *message)
{
	const struct wire_result *result = (const void *)message;
	struct service *service = context;

	if (!wire_string_ok(result->text, sizeof(result->text)))
		return -EPROTO;
	memcpy(service->reload.not_watched, result->text, sizeof(result->text));
	return 0;
}

static const struct chan_rule loader_rules[] = {
	{WIRE_WATCH, sizeof(struct wire_plain), true, reload_take_watch},
	{WIRE_FAILED, sizeof(struct wire_result), false, reload_take_not_watched},
	{WIRE_CONFIG, sizeof(struct wire_plain), true, reload_take_conf},
	{WIRE_NOTE, sizeof(struct wire_note), false, reload_take_note},
	{0},
};

bool reload_is_lean(const struct service *service, const struct conf *conf)
{
	switch (conf->reload) {
	case CONF_RELOAD_LEAN:
		return true;
	case CONF_RELOAD_AUTO:
		return memory_is_short(memory_available(&service->files->memory), service->memory);
	case CONF_RELOAD_PARALLEL:
	default:
		return false;
	}
}

void reload_loader_ended(struct service *service)
{
	struct reload *reload = &service->reload;
	const char *frozen;

	reload->loader_source = sd_event_source_disable_unref(reload->loader_source);
	close(reload->loader_channel);
	reload->loader_channel = -1;
	reload_trust(service, 0);
	if (!reload->conf && reload->complained) {
		reload_abort(service, "the configuration is not valid");
		return;
	}
	if (!reload->conf) {
		reload_abort_once(service, "whoever reads the configuration ended unexpectedly");
		return;
	}
	frozen = reload_frozen_key(service->conf, reload->conf);
	if (frozen) {
		reload_abort(service, frozen);
		return;
	}

	reload->lean = reload_is_lean(service, reload->conf);
	reload_enter(reload, RELOAD_ENGINE);
	reload->engine =
		reload->lean ? service_spawn_trial(service, reload->conf, reload->snapshot)
			     : service_spawn(service, CHILD_ENGINE, reload->conf, reload->snapshot);
	if (!reload->engine)
		reload_abort_once(service, "no engine can be started");
}

static int reload_on_loader(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct service *service = userdata;
	int r = chan_serve(fd, loader_rules, service);

	if (r < 0 && r != -EAGAIN)
		reload_loader_ended(service);
	return 0;
}

static void reload_start(struct service *service)
{
	const struct wire_plain go = {.header = WIRE_INIT(WIRE_PING, struct wire_plain)};
	struct reload *reload = &service->reload;
	int r;

	reload->due_us = 0;
	reload->loader = child_load_conf(service->setup, &reload->loader_channel);
	if (reload->loader < 0) {
		reload_abort_once(service, strerror(-reload->loader));
		return;
	}
	reload_enter(reload, RELOAD_CONF);
	changes_forget(service);
	r = sd_event_add_io(service->event, &reload->loader_source, reload->loader_channel, EPOLLIN,
			    reload_on_loader, service);
	if (r < 0) {
		reload_abort_once(service, strerror(-r));
		return;
	}
	/* Before it opens anything the guard knows that it must not be held. */
	reload_trust(service, reload->loader);
	(void)chan_send(reload->loader_channel, &go.header, -1);
}

/*
 * Whether engines of the reload before have not ended: there are never more than two. One whose
 * workers the guard still uses is no such; it is one of the two. They are killed once they have had
 * their time.
 */
static bool reload_waits_for_engines(const struct service *service)
{
	bool is_over = clock_monotonic_us() >= service->reload.rest_us, waits = false;
	const struct child *child;

	DL_FOREACH (service->children, child) {
		if (child->role != CHILD_ENGINE || !child->ending || child->pid == service->serving)
			continue;
		waits = true;
		if (is_over)
			(void)kill(-child->pid, SIGKILL);
	}
	return waits;
}

static void reload_start_if_due(struct service *service)
{
	const struct child *guard = service->current[CHILD_GUARD];
	const struct child *reporter = service->current[CHILD_REPORTER];
	const struct reload *reload = &service->reload;

	if (reload->step == RELOAD_NONE && reload->due_us &&
	    clock_monotonic_us() >= reload->due_us && service->protecting && guard &&
	    guard->ready && reporter && reporter->ready && !reload_waits_for_engines(service))
		reload_start(service);
}

static void reload_begin_at(struct service *service, uint64_t when_us)
{
	service->reload.due_us = when_us;
	service->reload.failures = 0;
	reload_start_if_due(service);
}

void reload_begin(struct service *service)
{
	reload_begin_at(service, clock_monotonic_us());
}

void reload_begin_unasked(struct service *service)
{
	struct reload *reload = &service->reload;
	uint64_t when_us = clock_monotonic_us();

	if (reload->unasked_us && when_us < reload->unasked_us + UNASKED_US)
		when_us = reload->unasked_us + UNASKED_US;
	if (reload->due_us && reload->due_us <= when_us)
		return;
	reload->unasked_us = when_us;
	reload_begin_at(service, when_us);
}

/* The engine in force is so no longer. Returns it; NULL: there is none. */
static struct child *reload_depose_engine(struct service *service)
{
	struct child *old = service->current[CHILD_ENGINE];

	service->current[CHILD_ENGINE] = NULL;
	if (!old)
		return NULL;
	/* The guard retires it when its last scan is done; one that was being restarted it does not
	 * know yet. */
	old->ending = true;
	if (!old->ready)
		(void)kill(-old->pid, SIGKILL);
	return old;
}

/* The new configuration is in force. */
static void reload_use_conf(struct service *service)
{
	struct reload *reload = &service->reload;
	struct conf *old = service->conf;

	close(service->snapshot);
	service->conf = reload->conf;
	service->snapshot = reload->snapshot;
	changes_watch(service, reload->changes, reload->not_watched);
	fetch_conf_changed(service, old);
	conf_free(old);
	reload->conf = NULL;
	reload->snapshot = -1;
	reload->changes = -1;
}

/* The old engine, and whatever workers of one that was lost are still there, make room. */
static void reload_release(struct service *service)
{
	struct reload *reload = &service->reload;

	log_notice("lean reload: the new signatures were tried, and the old engine makes room for "
		   "them; files that are not known wait meanwhile");
	reload->released = reload_depose_engine(service);
	reload_enter(reload, RELOAD_RELEASE);
	service_release(service);
}

/* Everyone has agreed. */
static void reload_commit(struct service *service)
{
	struct restart *restart = &service->restarts[CHILD_ENGINE];
	struct reload *reload = &service->reload;

	restart->failures = 0;
	reload->failures = 0;
	restart->timer = sd_event_source_disable_unref(restart->timer);
	reload_use_conf(service);
	if (reload->lean) {
		reload_release(service);
		return;
	}
	(void)reload_depose_engine(service);
	service->current[CHILD_ENGINE] = reload->engine;
	service_use_engine(service, reload->engine);
	reload_enter(reload, RELOAD_SWITCH);
	service_introduce(service, CHILD_ENGINE);
}

/* There is room for the new engine. Whatever becomes of it: there is no other. */
static void reload_load(struct service *service)
{
	struct reload *reload = &service->reload;

	reload->released = NULL;
	reload_enter(reload, RELOAD_SWITCH);
	service_spawn_current(service, CHILD_ENGINE);
	reload->engine = service->current[CHILD_ENGINE];
	if (!reload->engine)
		reload_finish(service);
}

/* The old engine has had its time. */
static void reload_make_room(struct service *service)
{
	struct reload *reload = &service->reload;

	if (!reload->released || reload->killed) {
		reload_load(service);
		return;
	}
	(void)kill(-reload->released->pid, SIGKILL);
	reload->killed = true;
	reload->until_us = clock_monotonic_us() + KILLED_US;
}

static void reload_too_late(struct service *service)
{
	switch (service->reload.step) {
	case RELOAD_CONF:
		reload_abort_once(service, "reading the configuration takes too long");
		break;
	case RELOAD_ENGINE:
		reload_abort_once(service, "the new engine takes too long to look at the "
					   "signatures");
		break;
	case RELOAD_REPORTER:
		reload_abort_once(service, "the reporter does not answer");
		break;
	case RELOAD_GUARD:
		reload_abort_once(service, "the guard does not answer");
		break;
	case RELOAD_RELEASE:
		reload_make_room(service);
		break;
	case RELOAD_NONE:
	case RELOAD_SWITCH:
	default:
		break;
	}
}

void reload_tick(struct service *service)
{
	if (service->reload.step == RELOAD_NONE)
		reload_start_if_due(service);
	else if (clock_monotonic_us() >= service->reload.until_us)
		reload_too_late(service);
}

void reload_switched(struct service *service)
{
	const struct child *engine = service->reload.engine;

	/* It may be news of an engine that was in force before. */
	if (service->reload.step != RELOAD_SWITCH || engine->pid != service->serving)
		return;
	log_notice("configuration and signatures reloaded: %u signature(s)", engine->signatures);
	reload_finish(service);
}

bool reload_child_ready(struct service *service, struct child *child, bool was_ready)
{
	struct reload *reload = &service->reload;

	if (reload->step == RELOAD_ENGINE && child == reload->engine) {
		if (child->test_only && !service->test_only) {
			reload_abort(service, "the directory of signatures is empty");
			return true;
		}
		if (reload->lean) {
			/* It has done what it was for. */
			reload_end_engine(child);
			reload->engine = NULL;
		}
		reload_enter(reload, RELOAD_REPORTER);
		service_send_conf(service->current[CHILD_REPORTER], reload->snapshot);
		return true;
	}
	/* The first word of a program is about the configuration it was started with; and one that
	 * was given up may be answered late. */
	if (!was_ready || child->n_asked)
		return false;
	if (reload->step == RELOAD_REPORTER && child == service->current[CHILD_REPORTER]) {
		reload_enter(reload, RELOAD_GUARD);
		service_send_conf(service->current[CHILD_GUARD], reload->snapshot);
		return true;
	}
	if (reload->step == RELOAD_GUARD && child == service->current[CHILD_GUARD]) {
		reload_commit(service);
		return true;
	}
	return false;
}

bool reload_child_failed(struct service *service, struct child *child, const char *why)
{
	struct reload *reload = &service->reload;
	bool concerns = (reload->step == RELOAD_ENGINE && child == reload->engine) ||
			(reload->step == RELOAD_REPORTER && !child->n_asked &&
			 child == service->current[CHILD_REPORTER]) ||
			(reload->step == RELOAD_GUARD && !child->n_asked &&
			 child == service->current[CHILD_GUARD]);

	if (concerns)
		reload_abort(service, why);
	return concerns;
}

/* All have agreed, and the new engine is lost before the guard uses it: too little memory even for
 * one, say. Another is started, as after any loss of an engine. */
static void reload_lost_engine(struct service *service)
{
	if (service->reload.lean)
		log_error("THE NEW SIGNATURES WERE TRIED, BUT NO ENGINE HAS LOADED THEM, and the "
			  "old one is gone: until one has, only files that are known are verified");
	else
		log_error("the new engine ended before it was used: another one is started, and "
			  "until it has loaded the old signatures are in force");
	service->reload.engine = NULL;
	reload_finish(service);
}

void reload_child_lost(struct service *service, struct child *child)
{
	struct reload *reload = &service->reload;

	if (reload->step == RELOAD_NONE || service->stopping)
		return;
	if (reload->step == RELOAD_RELEASE) {
		if (child == reload->released)
			reload_load(service);
	} else if (reload->step == RELOAD_SWITCH) {
		/* All have agreed: a guard that is started again uses the new engine too. */
		if (child == reload->engine)
			reload_lost_engine(service);
	} else if (child == reload->engine) {
		reload->engine = NULL;
		reload_abort_once(service, "the new engine ended unexpectedly");
	} else if (child->role == CHILD_GUARD || child->role == CHILD_REPORTER) {
		reload_abort_once(service, "a process it needs ended unexpectedly");
	}
}
