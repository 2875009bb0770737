/* SPDX-License-Identifier: GPL-2.0-only */
#include "guard.h"

#include "../common/chan.h"
#include "../common/clock.h"
#include "../common/line.h"
#include "../common/log.h"
#include "control.h"
#include "demand.h"
#include "gate.h"
#include "opener.h"
#include "scheduler.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Notes and findings that wait for the reporter: at most 5 MB of them. */
#define OUTBOX_MAX 1024

/* The supervisor comes first: its heartbeat, and what it says of the peers. */
#define CHANNEL_PRIORITY (SD_EVENT_PRIORITY_NORMAL - 20)
#define MOUNTS_PRIORITY	 (SD_EVENT_PRIORITY_NORMAL - 15)

/* The mount table is read no more often than this because of moves. */
#define REWATCH_US CLOCK_US_PER_SEC

struct guard {
	sd_event *event;
	int channel;		  /* to the supervisor */
	int mounts;		  /* /proc/self/mountinfo, polled for changes */
	sd_event_source *rewatch; /* on when the mount table is to be read for other reasons */
	uint64_t rewatched_us;	  /* when that was done last */
	struct estate *estate;
	struct wire_take_over order;
	struct gate gate;
	struct control *control;
	struct demand *demand;
	struct scheduler *scheduler;
	struct outbox *reporter;
	sd_event_source *reporter_source; /* the reporter can be written to again */
	struct conf *conf;
	struct wire_history history;
	bool started; /* the marks are set */
};

static void guard_tell(struct guard *guard, enum wire_type type, const char *text)
{
	const struct wire_result result = wire_result_make(type, text);

	(void)chan_send(guard->channel, &result.header, -1);
}

/* Says what is not protected, once for each place. */
static void guard_log_missing(const struct guard *guard)
{
	const struct watch *watch = &guard->gate.watch;
	char escaped[512];

	for (size_t i = 0; i < watch->n_places; i++)
		if (watch_place_failed(&watch->places[i]))
			log_error("NOT PROTECTED: cannot watch %s: %s",
				  line_escape(escaped, sizeof(escaped), watch->places[i].point),
				  watch->places[i].note);
}

/*
 * The first marks are set when there are workers to ask: an open is never held for nobody. At the
 * start of the service what each include path is on must be fit to be marked. A guard that replaces
 * another protects what there is, and at once: openers wait.
 */
static int guard_try_start(struct guard *guard)
{
	bool strict = !guard->estate->watching && !guard->history.ended[WIRE_ENDED_GUARD].n;
	bool may_start = guard->estate->watching || pool_alive(guard->gate.pool);
	char problem[WIRE_TEXT_MAX];
	int r;

	if (guard->started || !guard->conf || !may_start)
		return 0;
	r = watch_apply(&guard->gate.watch, guard->conf, strict, problem, sizeof(problem));
	if (r < 0) {
		guard_tell(guard, WIRE_FAILED, problem);
		return r;
	}
	guard->started = true;
	if (guard->estate->watching)
		gate_mounts_changed(&guard->gate);
	gate_start(&guard->gate);
	guard_log_missing(guard);
	guard_tell(guard, WIRE_READY, "");
	return 0;
}

/* Looks anew at what the include paths are on and what is below them. */
static void guard_watch_again(struct guard *guard)
{
	size_t failed = watch_count_failed(&guard->gate.watch);
	char problem[WIRE_TEXT_MAX];

	if (!guard->started)
		return;
	if (watch_apply(&guard->gate.watch, guard->conf, false, problem, sizeof(problem)) < 0)
		log_error("%s", problem);
	else if (watch_count_failed(&guard->gate.watch) > failed)
		guard_log_missing(guard);
	gate_mounts_changed(&guard->gate);
}

/* Something was mounted or unmounted. */
static int guard_on_mounts(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	guard_watch_again(userdata);
	return 0;
}

/*
 * Moving a directory moves what is mounted in it, and is no change to the mount table as far as
 * poll() is concerned. Not more often than that: any user can rename.
 */
static void guard_on_moved(void *context)
{
	struct guard *guard = context;
	int enabled = SD_EVENT_OFF;

	(void)sd_event_source_get_enabled(guard->rewatch, &enabled);
	if (enabled != SD_EVENT_OFF)
		return;
	(void)sd_event_source_set_time(guard->rewatch,
				       clock_monotonic_us() > guard->rewatched_us + REWATCH_US
					       ? 0
					       : guard->rewatched_us + REWATCH_US);
	(void)sd_event_source_set_enabled(guard->rewatch, SD_EVENT_ONESHOT);
}

static int guard_on_rewatch(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct guard *guard = userdata;

	guard->rewatched_us = clock_monotonic_us();
	guard_watch_again(guard);
	return 0;
}

static int guard_on_remote(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct guard *guard = userdata;

	if (remote_read(&guard->gate.remote))
		guard_watch_again(guard);
	return 0;
}

static bool guard_may_others_change(const struct stat *status)
{
	return status->st_uid != geteuid() || (status->st_mode & (S_IWGRP | S_IWOTH));
}

/* Opens a directory that nobody else may write to: what is in there is believed. Returns -1 with
 * what is wrong in problem. */
static int guard_open_directory(const char *path, char *problem, size_t problem_size)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat status, above;

	if (fd < 0 || fstat(fd, &status) < 0 || fstatat(fd, "..", &above, 0) < 0) {
		(void)snprintf(problem, problem_size, "cannot open %s: %s", path, strerror(errno));
	} else if (guard_may_others_change(&status) || guard_may_others_change(&above)) {
		(void)snprintf(
			problem, problem_size,
			"%s, and the directory that it is in, must belong to root, and nobody "
			"else may write to them",
			path);
	} else {
		return fd;
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

/*
 * What the guard keeps on disk, opened before the first mark. Without it full scans cannot run, and
 * what was verified is not known after a restart; everything else works.
 */
static int guard_open_scans(struct guard *guard, const struct conf *conf)
{
	char path[PATH_MAX], problem[WIRE_SIGNATURE_MAX] = "", why[WIRE_SIGNATURE_MAX] = "";
	int directory;

	(void)snprintf(path, sizeof(path), "%s/%s", conf->state_dir, CONTROL_SCANS_DIR);
	directory = guard_open_directory(path, problem, sizeof(problem));
	if (directory < 0)
		log_error("no full scans, and nothing is known after a restart: %s", problem);
	else if (guard->gate.group->features.has[FEATURE_UNIQUE_MOUNT_IDS])
		guard->gate.journal = journal_open(directory, guard->gate.verdicts,
						   guard->estate->watching, why, sizeof(why));
	if (*why)
		log_warning("what was verified is not known after a restart: %s: %s", path, why);
	guard->scheduler = scheduler_new(guard->event, &guard->gate, directory, problem);
	return guard->scheduler ? 0 : -errno;
}

/* Makes it decide from now on. */
static int guard_use_conf(struct guard *guard, struct conf *conf)
{
	struct conf *old = guard->conf;
	int r = gate_set_conf(&guard->gate, conf);

	if (r == 0 && !guard->scheduler)
		r = guard_open_scans(guard, conf);
	if (r < 0)
		return r;
	guard->conf = conf;
	conf_free(old);
	return 0;
}

/* A configuration that cannot be applied is refused, and the old one stays. */
static int guard_apply_conf(struct guard *guard, int snapshot)
{
	struct conf *conf = conf_from_snapshot(snapshot);
	char problem[WIRE_TEXT_MAX];
	int r;

	if (!conf)
		return -EPROTO;
	if (guard->started &&
	    watch_apply(&guard->gate.watch, conf, true, problem, sizeof(problem)) < 0) {
		guard_tell(guard, WIRE_FAILED, problem);
		conf_free(conf);
		return 0;
	}
	r = guard_use_conf(guard, conf);
	if (r < 0) {
		guard_tell(guard, WIRE_FAILED, "the guard is out of memory");
		return r;
	}
	scheduler_set_conf(guard->scheduler, snapshot);
	if (guard->started)
		guard_tell(guard, WIRE_READY, "");
	return 0;
}

static int guard_take_conf(void *context, struct chan_message *message)
{
	int r = guard_apply_conf(context, message->fd);

	close(message->fd);
	return r;
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
					     .scheduler = guard->scheduler,
					     .history = &guard->history,
					     .started_at = guard->estate->started_at,
					     .supervisor = guard->channel,
				     });
	return guard->control ? 0 : -ENOMEM;
}

static int guard_take_demand(struct guard *guard, int fd)
{
	demand_free(guard->demand);
	guard->demand = demand_new(guard->event, fd, &guard->gate);
	return guard->demand ? 0 : -ENOMEM;
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
	case WIRE_PEER_PORTER:
		return guard_take_demand(guard, message->fd);
	case WIRE_PEER_ENGINE:
		r = pool_add_engine(guard->gate.pool, message->fd, peer->pid);
		break;
	default:
		r = -EPROTO;
		break;
	}
	if (r < 0) {
		log_error("a peer was not taken: %s", strerror(-r));
		close(message->fd);
	}
	return r == -EPROTO ? r : 0;
}

static void guard_say_alive(void *context)
{
	chan_pong(((const struct guard *)context)->channel);
}

static void guard_on_switched(void *context)
{
	struct guard *guard = context;
	const struct wire_switched switched = {
		.header = WIRE_INIT(WIRE_SWITCHED, struct wire_switched),
		.engine = pool_engine(guard->gate.pool),
	};

	if (guard->scheduler)
		scheduler_set_engine(guard->scheduler, pool_info(guard->gate.pool));
	(void)chan_send(guard->channel, &switched.header, -1);
}

static void guard_on_denied(void *context, int32_t pid, struct file_id id,
			    const struct wire_verdict *verdict)
{
	struct guard *guard = context;

	demand_denied(guard->demand, pid, id, verdict);
}

static int guard_take_ping(void *context, struct chan_message *message)
{
	guard_say_alive(context);
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

static int guard_take_release(void *context, struct chan_message *message)
{
	struct guard *guard = context;

	if (guard->conf)
		gate_release(&guard->gate);
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
	{WIRE_RELEASE, sizeof(struct wire_plain), false, guard_take_release},
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
	static const struct gate_callbacks callbacks = {
		.progress = guard_say_alive,
		.switched = guard_on_switched,
		.moved = guard_on_moved,
		.denied = guard_on_denied,
	};
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
	r = gate_init(&guard->gate, guard->estate, guard->event, guard->reporter, &callbacks, guard,
		      ret_what);
	if (r < 0)
		return r;
	*ret_what = "cannot watch /proc/self/mountinfo";
	guard->mounts = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	if (guard->mounts < 0)
		return -errno;
	r = sd_event_add_io(guard->event, &source, guard->mounts, EPOLLPRI, guard_on_mounts, guard);
	if (r < 0)
		return r;
	/* What is mounted is open to everybody until it is marked. */
	r = sd_event_source_set_priority(source, MOUNTS_PRIORITY);
	if (r < 0)
		return r;
	r = sd_event_add_io(guard->event, NULL, remote_fd(&guard->gate.remote), EPOLLIN,
			    guard_on_remote, guard);
	if (r < 0)
		return r;
	*ret_what = "cannot make an event loop";
	r = sd_event_add_time(guard->event, &guard->rewatch, CLOCK_MONOTONIC, 0, REWATCH_US / 10,
			      guard_on_rewatch, guard);
	if (r < 0)
		return r;
	r = sd_event_source_set_enabled(guard->rewatch, SD_EVENT_OFF);
	if (r < 0)
		return r;
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
	gate_let_go(&guard->gate);
	control_free(guard->control);
	demand_free(guard->demand);
	if (!scheduler_end(guard->scheduler))
		_exit(0);
	sd_event_source_disable_unref(guard->rewatch);
	journal_free(guard->gate.journal);
	gate_deinit(&guard->gate);
	sd_event_source_disable_unref(guard->reporter_source);
	outbox_free(guard->reporter);
	close(guard->mounts);
	conf_free(guard->conf);
	sd_event_unref(guard->event);
}

int guard_run(int channel, struct estate *estate, const struct wire_take_over *order)
{
	struct guard guard = {
		.channel = channel,
		.estate = estate,
		.order = *order,
	};
	const char *what;
	int r;

	/* What the one before us had open for itself is closed. */
	if (order->predecessor) {
		estate_sweep(estate);
		gate_note_crash(estate, order->has_crashed);
	}
	if (!estate->started_at)
		estate->started_at = (int64_t)(clock_wall_us() / CLOCK_US_PER_SEC);
	r = guard_init(&guard, &what);
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
	/* Not asked to: what we hold is for the next one. */
	if (r != 0)
		_exit(1);
	guard_deinit(&guard);
	return 0;
}
