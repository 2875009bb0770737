/* SPDX-License-Identifier: GPL-2.0-only */
#include "scheduler.h"

#include "../common/clock.h"
#include "../common/log.h"
#include "checkpoint.h"
#include "full_scan.h"
#include "used_file.h"
#include "warm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ioprio.h>
#include <poll.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

/* Its memory is locked, as all of the guard's. */
#define STACK_SIZE (1 << 20)

/* The thread looks at the clock at least so often: it may be set, and a suspended machine's timers
 * stand still. What the journal gets comes along. */
#define LOOK_MS 5000

/* What cannot be begun is tried again after this time. */
#define RETRY_S 3600

/* And a scan that found no engine, unless one comes before. */
#define ENGINE_RETRY_S 60

/* Steps of a scan between two looks at everything else. */
#define STEPS 64

/* Whoever asks for the status sees one no older than this. */
#define PUBLISH_US (200 * CLOCK_US_PER_MS)

/* What was used is written down so often, and at the end. */
#define USED_US (300 * CLOCK_US_PER_SEC)

/* So long the end of the thread is waited for: it may be waiting for a disk. */
#define END_PATIENCE_S 2

/* Tasks that are handed to the gate in one go: opens are read between. */
#define ERRANDS_AT_ONCE 16

enum command_type { COMMAND_CONF, COMMAND_ENGINE, COMMAND_ORDER };

/* From the loop to the thread, by a pipe. */
struct command {
	enum command_type type;
	int value;		       /* CONF: the descriptor of a snapshot; ORDER: the verb */
	struct wire_engine_info *info; /* ENGINE: to be freed */
};

/* From the thread to the loop. */
struct errand {
	struct scan_task *task; /* to the gate; NULL: a line of log */
	int priority;
	char *text; /* to be freed */
};

struct scheduler {
	struct gate *gate;
	sd_event_source *source;
	int commands[2], errands[2], results[2]; /* results: the tasks that are back */
	pthread_t thread;
	pthread_mutex_t lock; /* of published only; the loop never waits for it */
	struct control_full_scan_reply published;
	unsigned published_obeyed;
	struct control_full_scan_reply seen; /* the loop's copy */
	struct control_warm_start_reply published_warm, seen_warm;
	unsigned seen_obeyed, ordered; /* so many scans were to begin at once, and did */

	/* The thread's. */
	int directory;
	bool has_ended; /* the loop has gone */
	struct conf *conf;
	struct wire_engine_info engine; /* loaded_at 0: none yet */
	struct pace pace;		/* of all that it has scanned */
	struct warm warm;
	uint64_t used_written_us;
	uint64_t n_used_written; /* what had been noted then */
	int used_error;		 /* said already */
	struct checkpoint checkpoint;
	struct full_scan *scan;	      /* NULL: none runs */
	const struct conf *scan_conf; /* which it was begun with */
	bool must_pause;
	int64_t pause_at; /* INT64_MAX: never */
	int64_t started, retry_at;
	int64_t delay;		  /* for the next slot */
	int64_t delay_slot;	  /* it was chosen after this one */
	bool is_ordered, is_anew; /* anew: not the rest of an unfinished one */
	bool scan_is_ordered;	  /* the one that runs */
	bool waits_for_engine;	  /* and that has been said */
	unsigned obeyed;	  /* scans that were ordered: they run, or problem says why not */
	int journal_error;	  /* said already */
	uint64_t published_us;
	char problem[WIRE_SIGNATURE_MAX];
};

static int64_t now_s(void)
{
	return (int64_t)(clock_wall_us() / CLOCK_US_PER_SEC);
}

/* --- in the thread: to the loop --- */

static void scheduler_log(void *context, int priority, const char *text)
{
	struct scheduler *scheduler = context;
	const struct errand errand = {.priority = priority, .text = strdup(text)};

	if (errand.text && write(scheduler->errands[1], &errand, sizeof(errand)) != sizeof(errand))
		free(errand.text);
}

static void scheduler_send(void *context, struct scan_task *task)
{
	struct scheduler *scheduler = context;
	const struct errand errand = {.task = task};

	task->owner = scheduler;
	/* The loop has gone: the process ends. */
	if (write(scheduler->errands[1], &errand, sizeof(errand)) != sizeof(errand))
		scheduler->has_ended = true;
}

static const struct scan_callbacks scan_callbacks = {
	.send = scheduler_send,
	.log = scheduler_log,
};

/* --- in the thread: when --- */

static struct schedule_decision scheduler_decide(struct scheduler *scheduler)
{
	const struct checkpoint *checkpoint = &scheduler->checkpoint;
	const struct conf *conf = scheduler->conf;
	const struct schedule_state state = {
		.schedule = conf->schedule,
		.finish_by = conf->finish_by,
		.last_slot = checkpoint->last_slot,
		.is_unfinished = checkpoint->is_unfinished,
		.is_stopped = checkpoint->is_stopped,
		.delay = scheduler->delay,
	};

	return schedule_decide(&state, scheduler->started, now_s());
}

/* Each slot has a delay of its own, so that the machines of a fleet do not stay together. */
static void scheduler_choose_delay(struct scheduler *scheduler)
{
	uint64_t most = scheduler->conf->scan_random_delay_ms / 1000;

	if (scheduler->delay_slot == scheduler->checkpoint.last_slot)
		return;
	scheduler->delay_slot = scheduler->checkpoint.last_slot;
	scheduler->delay = most ? randombytes_uniform((uint32_t)most + 1) : 0;
}

static void scheduler_save(struct scheduler *scheduler)
{
	int r = checkpoint_write(scheduler->directory, &scheduler->checkpoint);

	if (r < 0)
		(void)snprintf(scheduler->problem, sizeof(scheduler->problem),
			       "cannot write in state-dir: %s", strerror(-r));
}

static void scheduler_read_checkpoint(struct scheduler *scheduler)
{
	int r = checkpoint_read(scheduler->directory, &scheduler->checkpoint);

	if (r == 0)
		return;
	if (r != -ENOENT)
		scheduler_log(scheduler, LOG_WARNING,
			      "full scan: what was noted of the last one cannot be read: the next "
			      "one begins with the next slot");
	/* A new machine is not scanned at once, in the middle of the day. */
	scheduler->checkpoint.last_slot = scheduler->started;
	scheduler_save(scheduler);
}

/* --- in the thread: one scan --- */

static void scheduler_begin(struct scheduler *scheduler, int64_t slot, int64_t pause_at)
{
	const struct checkpoint before = scheduler->checkpoint;

	if (scheduler->is_anew) {
		full_scan_abandon(scheduler->directory, scheduler->conf, &scheduler->checkpoint);
		scheduler->checkpoint.afresh = true;
		scheduler->is_anew = false;
	}
	scheduler->checkpoint.last_slot = slot;
	scheduler->checkpoint.is_stopped = false;
	scheduler->pause_at = pause_at;
	scheduler->must_pause = false;
	scheduler->scan_conf = scheduler->conf;
	scheduler->scan = full_scan_new(scheduler->directory, scheduler->conf,
					&scheduler->checkpoint, &scheduler->pace,
					scheduler->gate->verdicts, &scan_callbacks, scheduler);
	if (!scheduler->scan) {
		scheduler->scan_conf = NULL;
		scheduler->checkpoint.last_slot = before.last_slot;
		scheduler->checkpoint.is_unfinished = before.is_unfinished;
		scheduler->retry_at = now_s() + RETRY_S;
		(void)snprintf(scheduler->problem, sizeof(scheduler->problem),
			       "a full scan cannot begin: %s", strerror(errno));
		scheduler_log(scheduler, LOG_ERR, scheduler->problem);
		return;
	}
	*scheduler->problem = '\0';
	full_scan_set_engine(scheduler->scan, &scheduler->engine);
	if (!scheduler->waits_for_engine)
		scheduler_log(scheduler, LOG_NOTICE,
			      !before.is_unfinished		   ? "full scan: begins"
			      : scheduler->checkpoint.sessions > 1 ? "full scan: goes on"
								   : "full scan: begins anew");
	scheduler_save(scheduler);
}

static void scheduler_end_scan(struct scheduler *scheduler)
{
	scheduler->scan = full_scan_free(scheduler->scan);
	if (scheduler->scan_conf != scheduler->conf)
		conf_free((struct conf *)scheduler->scan_conf);
	scheduler->scan_conf = NULL;
}

static void scheduler_finish(struct scheduler *scheduler)
{
	int r = full_scan_finish(scheduler->scan);

	if (r < 0)
		(void)snprintf(scheduler->problem, sizeof(scheduler->problem),
			       "the report of a full scan cannot be written: %s", strerror(-r));
	scheduler_end_scan(scheduler);
}

/* It goes on where that was noted last, with what it had counted there. */
static void scheduler_go_back(struct scheduler *scheduler)
{
	bool is_stopped = scheduler->checkpoint.is_stopped;

	free(scheduler->checkpoint.position);
	scheduler->checkpoint.position = NULL;
	(void)checkpoint_read(scheduler->directory, &scheduler->checkpoint);
	scheduler->checkpoint.is_stopped = is_stopped;
}

static void scheduler_say_no_engine(struct scheduler *scheduler)
{
	if (!scheduler->waits_for_engine)
		scheduler_log(scheduler, LOG_WARNING, "full scan: waits: no engine is running");
	(void)snprintf(scheduler->problem, sizeof(scheduler->problem), "no engine is running");
	scheduler->waits_for_engine = true;
}

static void scheduler_forget_engine_problem(struct scheduler *scheduler)
{
	if (scheduler->waits_for_engine)
		*scheduler->problem = '\0';
	scheduler->waits_for_engine = false;
}

/* There is no engine: what was found meanwhile is found again when there is one. */
static void scheduler_await_engine(struct scheduler *scheduler)
{
	scheduler_go_back(scheduler);
	/* To try once more is no session. */
	scheduler->checkpoint.sessions -= scheduler->waits_for_engine;
	scheduler->is_ordered = scheduler->scan_is_ordered;
	scheduler->retry_at = now_s() + ENGINE_RETRY_S;
	scheduler_say_no_engine(scheduler);
	scheduler_end_scan(scheduler);
}

static void scheduler_pause(struct scheduler *scheduler)
{
	int r = full_scan_pause(scheduler->scan);

	if (r < 0) {
		if (r != -ENOTCONN)
			(void)snprintf(scheduler->problem, sizeof(scheduler->problem),
				       "cannot write in state-dir: %s", strerror(-r));
		scheduler_go_back(scheduler);
	}
	if (!scheduler->has_ended)
		scheduler_log(scheduler, LOG_NOTICE, "full scan: paused");
	scheduler_end_scan(scheduler);
}

/* Goes on with the scan for a while. Returns how long to wait for something to come, in
 * milliseconds; 0: go on. */
static int scheduler_step(struct scheduler *scheduler)
{
	uint64_t wait_us;

	scheduler->must_pause |= now_s() >= scheduler->pause_at;
	if (scheduler->must_pause) {
		if (full_scan_under_way(scheduler->scan))
			return LOOK_MS;
		if (full_scan_is_done(scheduler->scan))
			scheduler_finish(scheduler);
		else
			scheduler_pause(scheduler);
		return 0;
	}
	for (unsigned i = 0; i < STEPS; i++) {
		switch (full_scan_step(scheduler->scan, &wait_us)) {
		case FULL_SCAN_GOES_ON:
			break;
		case FULL_SCAN_DONE:
			scheduler_finish(scheduler);
			return 0;
		case FULL_SCAN_MUST_PAUSE:
			scheduler_await_engine(scheduler);
			return 0;
		case FULL_SCAN_WAITS:
		default:
			wait_us /= CLOCK_US_PER_MS;
			return wait_us < LOOK_MS ? (int)wait_us + 1 : LOOK_MS;
		}
	}
	return 0;
}

/* Begins what is due. Returns how long nothing will be, in milliseconds. */
static int scheduler_look(struct scheduler *scheduler)
{
	struct schedule_decision decision;
	int64_t wait;

	if (scheduler->is_ordered && !scheduler->engine.loaded_at)
		scheduler_say_no_engine(scheduler);
	if (!scheduler->conf || !scheduler->engine.loaded_at || scheduler->directory < 0)
		return LOOK_MS;
	if (scheduler->is_ordered && now_s() < scheduler->retry_at)
		return LOOK_MS;
	scheduler->scan_is_ordered = scheduler->is_ordered;
	if (scheduler->is_ordered) {
		scheduler->is_ordered = false;
		scheduler_begin(scheduler, now_s(), INT64_MAX);
		return 0;
	}
	scheduler_choose_delay(scheduler);
	decision = scheduler_decide(scheduler);
	if (decision.action != SCHEDULE_WAIT && now_s() >= scheduler->retry_at) {
		scheduler_begin(scheduler, decision.slot, decision.until);
		return 0;
	}
	if (decision.action != SCHEDULE_WAIT)
		return LOOK_MS;
	/* A last slot that lies in the future was written by a clock that was wrong. */
	scheduler->checkpoint.last_slot = decision.slot;
	wait = decision.until - now_s();
	return wait < LOOK_MS / 1000 ? (int)(wait > 0 ? wait : 1) * 1000 : LOOK_MS;
}

/* --- in the thread: the warm start --- */

static bool scheduler_is_warm(const struct scheduler *scheduler)
{
	const struct conf *conf = scheduler->conf;

	return conf && conf->warm_start && conf->mode != CONTROL_MODE_OFF;
}

static void scheduler_say_used_error(struct scheduler *scheduler, int error)
{
	char text[256];

	if (error < 0 && error != scheduler->used_error) {
		(void)snprintf(text, sizeof(text),
			       "warm start: " CONTROL_SCANS_DIR "/used in state-dir: %s: after a "
			       "restart it is not known which files were used",
			       error == -EPERM	   ? "it does not belong to root alone"
			       : error == -EBADMSG ? "it is damaged"
						   : strerror(-error));
		scheduler_log(scheduler, LOG_WARNING, text);
	}
	scheduler->used_error = error;
}

/* What was used before a restart is read once, and by one guard of a family. */
static void scheduler_read_used(struct scheduler *scheduler)
{
	struct used *used = &scheduler->gate->estate->used;
	int r = scheduler->directory < 0 || used->is_ready
			? 0
			: used_file_read(scheduler->directory, used);

	scheduler_say_used_error(scheduler, r == -ENOENT ? 0 : r);
	used_begin(used);
}

static void scheduler_write_used(struct scheduler *scheduler)
{
	struct used *used = &scheduler->gate->estate->used;
	uint64_t n = used->n_noted;

	scheduler->used_written_us = clock_monotonic_us();
	if (scheduler->directory < 0 || !used->is_ready || n == scheduler->n_used_written ||
	    !scheduler->conf || !scheduler->conf->warm_start)
		return;
	scheduler_say_used_error(scheduler, used_file_write(scheduler->directory, used));
	scheduler->n_used_written = n;
}

/* Whoever does not want a warm start may not want such a list either. */
static void scheduler_forget_used(struct scheduler *scheduler)
{
	used_clear(&scheduler->gate->estate->used);
	if (scheduler->directory >= 0)
		used_file_remove(scheduler->directory);
}

/* The configuration, or the signatures, are others, or may be. */
static void scheduler_begin_warm(struct scheduler *scheduler)
{
	if (scheduler_is_warm(scheduler) && scheduler->engine.loaded_at)
		warm_begin(&scheduler->warm, scheduler->conf, scheduler->engine.set);
}

/* was_warm: under the configuration before. */
static void scheduler_set_warm(struct scheduler *scheduler, bool was_warm)
{
	if (scheduler->conf->warm_start)
		scheduler_read_used(scheduler);
	else
		scheduler_forget_used(scheduler);
	warm_set_conf(&scheduler->warm, scheduler->conf);
	if (!scheduler_is_warm(scheduler))
		warm_stop(&scheduler->warm, "it was switched off");
	else if (!was_warm)
		scheduler_begin_warm(scheduler);
}

/* Goes on with it for a while. Returns how long there is nothing to do, in milliseconds. */
static int scheduler_step_warm(struct scheduler *scheduler)
{
	uint64_t wait_us = 0;

	if (clock_monotonic_us() - scheduler->used_written_us > USED_US)
		scheduler_write_used(scheduler);
	for (unsigned i = 0; i < STEPS; i++)
		if (!warm_step(&scheduler->warm, &wait_us)) {
			wait_us /= CLOCK_US_PER_MS;
			return wait_us < LOOK_MS ? (int)wait_us + 1 : LOOK_MS;
		}
	return 0;
}

/* --- in the thread: from the loop --- */

static void scheduler_obey(struct scheduler *scheduler, enum control_full_scan_verb verb)
{
	switch (verb) {
	case CONTROL_FULL_SCAN_AFRESH:
	case CONTROL_FULL_SCAN_START:
		/* One that runs by now goes on. */
		scheduler->obeyed++;
		scheduler->is_ordered = !scheduler->scan;
		scheduler->is_anew = !scheduler->scan && verb == CONTROL_FULL_SCAN_AFRESH;
		scheduler->retry_at = 0;
		break;
	case CONTROL_FULL_SCAN_STOP:
		scheduler->is_ordered = scheduler->is_anew = false;
		scheduler->checkpoint.is_stopped = true;
		scheduler->must_pause = true;
		scheduler_forget_engine_problem(scheduler);
		if (!scheduler->scan)
			scheduler_save(scheduler);
		break;
	case CONTROL_FULL_SCAN_ASK:
	case CONTROL_FULL_SCAN_VERB_COUNT:
	default:
		break;
	}
}

static void scheduler_take_conf(struct scheduler *scheduler, int snapshot)
{
	struct conf *conf = conf_from_snapshot(snapshot), *old = scheduler->conf;
	bool was_warm = scheduler_is_warm(scheduler);

	close(snapshot);
	if (!conf)
		return;
	scheduler->conf = conf;
	scheduler->retry_at = 0;
	pace_set(&scheduler->pace, conf->scan_cpu);
	scheduler_set_warm(scheduler, was_warm);
	if (old != scheduler->scan_conf)
		conf_free(old);
}

static void scheduler_take_command(struct scheduler *scheduler)
{
	struct command command;

	if (read(scheduler->commands[0], &command, sizeof(command)) != sizeof(command)) {
		scheduler->has_ended = true;
		return;
	}
	switch (command.type) {
	case COMMAND_CONF:
		scheduler_take_conf(scheduler, command.value);
		break;
	case COMMAND_ENGINE:
		scheduler->engine = *command.info;
		free(command.info);
		scheduler->retry_at = 0;
		scheduler_forget_engine_problem(scheduler);
		if (scheduler->scan)
			full_scan_set_engine(scheduler->scan, &scheduler->engine);
		scheduler_begin_warm(scheduler);
		break;
	case COMMAND_ORDER:
	default:
		scheduler_obey(scheduler, (enum control_full_scan_verb)command.value);
		break;
	}
}

static void scheduler_write_journal(struct scheduler *scheduler)
{
	int r = scheduler->gate->journal ? journal_write(scheduler->gate->journal) : 0;
	char text[256];

	if (r < 0 && r != scheduler->journal_error) {
		(void)snprintf(
			text, sizeof(text),
			"cannot write down what was verified: %s: after a restart it will be "
			"scanned again",
			strerror(-r));
		scheduler_log(scheduler, LOG_WARNING, text);
	}
	scheduler->journal_error = r;
}

static void scheduler_take_results(struct scheduler *scheduler)
{
	struct scan_task *tasks[64];
	ssize_t n = read(scheduler->results[0], tasks, sizeof(tasks));

	/* A file counts as done when its verdict cannot be lost with the process any more. */
	scheduler_write_journal(scheduler);
	for (ssize_t i = 0; i < n / (ssize_t)sizeof(tasks[0]); i++)
		if (tasks[i]->lane == LANE_WARM)
			warm_take(&scheduler->warm, tasks[i]);
		else
			full_scan_take(scheduler->scan, tasks[i]);
}

/* --- in the thread: what others see --- */

static int64_t scheduler_next(struct scheduler *scheduler)
{
	struct schedule_decision decision;
	int64_t soon = now_s() > scheduler->retry_at ? now_s() : scheduler->retry_at;

	if (!scheduler->conf || scheduler->scan)
		return 0;
	if (scheduler->is_ordered)
		return soon;
	if (!scheduler->conf->schedule.days)
		return 0;
	decision = scheduler_decide(scheduler);
	return decision.action != SCHEDULE_WAIT ? soon
	       : decision.until == INT64_MAX	? 0
						: decision.until;
}

static void scheduler_publish(struct scheduler *scheduler)
{
	const struct checkpoint *checkpoint = &scheduler->checkpoint;
	struct control_full_scan_reply *reply = &scheduler->published;
	int64_t next = scheduler_next(scheduler);

	scheduler->published_us = clock_monotonic_us();
	(void)pthread_mutex_lock(&scheduler->lock);
	scheduler->published_obeyed = scheduler->obeyed;
	reply->state = scheduler->scan		   ? CONTROL_FULL_SCAN_RUNNING
		       : checkpoint->is_unfinished ? CONTROL_FULL_SCAN_PAUSED
						   : CONTROL_FULL_SCAN_IDLE;
	reply->next = next;
	reply->pause_at =
		scheduler->scan && scheduler->pause_at != INT64_MAX ? scheduler->pause_at : 0;
	reply->now = checkpoint->now;
	reply->last = checkpoint->last;
	(void)snprintf(reply->path, sizeof(reply->path), "%s",
		       scheduler->scan ? full_scan_where(scheduler->scan) : "");
	(void)snprintf(reply->problem, sizeof(reply->problem), "%s", scheduler->problem);
	if (scheduler->conf)
		(void)schedule_format(&scheduler->conf->schedule, reply->schedule,
				      sizeof(reply->schedule));
	scheduler->published_warm = scheduler->warm.counts;
	scheduler->published_warm.state = !scheduler_is_warm(scheduler) ? CONTROL_WARM_START_OFF
					  : scheduler->warm.files	? CONTROL_WARM_START_RUNNING
									: CONTROL_WARM_START_IDLE;
	(void)pthread_mutex_unlock(&scheduler->lock);
}

/* --- the thread --- */

/* Whatever else the machine has to do comes first. */
static void scheduler_be_modest(void)
{
	pid_t self = (pid_t)syscall(SYS_gettid);

	(void)setpriority(PRIO_PROCESS, (id_t)self, 19);
	(void)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, self,
		      IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0));
}

static void *scheduler_run(void *argument)
{
	struct scheduler *scheduler = argument;

	scheduler_be_modest();
	pace_init(&scheduler->pace, 100);
	warm_init(&scheduler->warm, &scheduler->gate->estate->used, scheduler->gate->verdicts,
		  &scheduler->pace, &scan_callbacks, scheduler);
	if (scheduler->directory >= 0)
		scheduler_read_checkpoint(scheduler);
	while (!scheduler->has_ended) {
		int wait_ms =
			scheduler->scan ? scheduler_step(scheduler) : scheduler_look(scheduler);
		int warm_ms = scheduler_step_warm(scheduler);
		struct pollfd fds[] = {
			{.fd = scheduler->commands[0], .events = POLLIN},
			{.fd = scheduler->results[0], .events = POLLIN},
		};

		wait_ms = warm_ms < wait_ms ? warm_ms : wait_ms;
		if (wait_ms || clock_monotonic_us() - scheduler->published_us > PUBLISH_US)
			scheduler_publish(scheduler);
		if (poll(fds, 2, wait_ms) == 0 && wait_ms == LOOK_MS)
			scheduler_write_journal(scheduler);
		if (fds[1].revents & POLLIN)
			scheduler_take_results(scheduler);
		if (fds[0].revents)
			scheduler_take_command(scheduler);
	}
	/* What the gate still has will not come back: then it goes on where it was noted last. */
	if (scheduler->scan && !full_scan_under_way(scheduler->scan) &&
	    !full_scan_is_done(scheduler->scan))
		scheduler_pause(scheduler);
	scheduler_write_journal(scheduler);
	scheduler_write_used(scheduler);
	warm_deinit(&scheduler->warm);
	return NULL;
}

/* --- in the loop --- */

static void task_told(struct asker *asker, const struct wire_verdict *verdict)
{
	struct scan_task *task = (void *)((char *)asker - offsetof(struct scan_task, asker));
	struct scheduler *scheduler = task->owner;

	task->verdict = *verdict;
	/* There is room: the pipe holds more than tasks can be under way. */
	(void)!write(scheduler->results[1], &task, sizeof(task));
}

static void scheduler_give(struct scheduler *scheduler, struct scan_task *task)
{
	static const char later[] = "too many files wait for a verdict";
	struct wire_verdict verdict = wire_verdict_make(VERDICT_FAILED, later);

	task->asker.told = task_told;
	if (task->lane == LANE_WARM && gate_is_busy(scheduler->gate)) {
		verdict.flags = WIRE_VERDICT_LATER;
		task_told(&task->asker, &verdict);
		return;
	}
	gate_scan(scheduler->gate, task->fd,
		  &(const struct gate_order){
			  .lane = task->lane,
			  .afresh = task->afresh,
			  .remote = task->remote,
			  .origin = {.pid = getpid()},
			  .asker = &task->asker,
		  });
}

static int scheduler_on_errand(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct errand errands[ERRANDS_AT_ONCE];
	ssize_t n = read(fd, errands, sizeof(errands));

	for (ssize_t i = 0; i < n / (ssize_t)sizeof(errands[0]); i++) {
		if (errands[i].task) {
			scheduler_give(userdata, errands[i].task);
		} else {
			log_line(errands[i].priority, "%s", errands[i].text);
			free(errands[i].text);
		}
	}
	return 0;
}

static int scheduler_start(struct scheduler *scheduler)
{
	pthread_attr_t attributes;
	int r;

	(void)pthread_attr_init(&attributes);
	(void)pthread_attr_setstacksize(&attributes, STACK_SIZE);
	r = pthread_create(&scheduler->thread, &attributes, scheduler_run, scheduler);
	(void)pthread_attr_destroy(&attributes);
	return -r;
}

static void close_pipe(int *ends)
{
	for (unsigned i = 0; i < 2; i++)
		if (ends[i] >= 0)
			close(ends[i]);
}

/* What is left where the thread does not run. */
static void scheduler_release(struct scheduler *scheduler)
{
	sd_event_source_disable_unref(scheduler->source);
	close_pipe(scheduler->commands);
	close_pipe(scheduler->errands);
	close_pipe(scheduler->results);
	if (scheduler->directory >= 0)
		close(scheduler->directory);
	free(scheduler->checkpoint.position);
	conf_free(scheduler->conf);
	free(scheduler);
}

struct scheduler *scheduler_new(sd_event *event, struct gate *gate, int directory,
				const char *problem)
{
	struct scheduler *scheduler = calloc(1, sizeof(*scheduler));
	int r = 0;

	if (!scheduler)
		return NULL;
	*scheduler = (struct scheduler){
		.gate = gate,
		.commands = {-1, -1},
		.errands = {-1, -1},
		.results = {-1, -1},
		.directory = -1,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.started = now_s(),
		.delay_slot = -1,
	};
	(void)snprintf(scheduler->problem, sizeof(scheduler->problem), "%s", problem);
	if (pipe2(scheduler->commands, O_CLOEXEC) < 0 || pipe2(scheduler->errands, O_CLOEXEC) < 0 ||
	    pipe2(scheduler->results, O_CLOEXEC) < 0 ||
	    fcntl(scheduler->commands[1], F_SETFL, O_NONBLOCK) < 0 ||
	    fcntl(scheduler->errands[0], F_SETFL, O_NONBLOCK) < 0 ||
	    fcntl(scheduler->results[1], F_SETFL, O_NONBLOCK) < 0)
		r = -errno;
	if (r == 0)
		r = sd_event_add_io(event, &scheduler->source, scheduler->errands[0], EPOLLIN,
				    scheduler_on_errand, scheduler);
	/* After everything that somebody waits for. */
	if (r == 0)
		r = sd_event_source_set_priority(scheduler->source, SD_EVENT_PRIORITY_IDLE);
	scheduler->directory = directory;
	if (r == 0)
		r = scheduler_start(scheduler);
	if (r < 0) {
		scheduler->directory = -1;
		scheduler_release(scheduler);
		errno = -r;
		return NULL;
	}
	return scheduler;
}

bool scheduler_end(struct scheduler *scheduler)
{
	struct timespec until;

	if (!scheduler)
		return true;
	/* Its next read of a command finds the end, its next errand nobody who takes it. */
	close(scheduler->commands[1]);
	close(scheduler->errands[0]);
	scheduler->commands[1] = -1;
	scheduler->errands[0] = -1;
	scheduler->source = sd_event_source_disable_unref(scheduler->source);
	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += END_PATIENCE_S;
	if (pthread_timedjoin_np(scheduler->thread, NULL, &until) != 0)
		return false;
	scheduler_release(scheduler);
	return true;
}

/* Returns whether it will be obeyed; if not, what it holds is released. */
static bool scheduler_command(struct scheduler *scheduler, const struct command *command)
{
	if (write(scheduler->commands[1], command, sizeof(*command)) == sizeof(*command))
		return true;
	log_error("full scan: the scheduler does not listen: it waits for a disk");
	if (command->type == COMMAND_CONF)
		close(command->value);
	free(command->info);
	return false;
}

void scheduler_set_conf(struct scheduler *scheduler, int snapshot)
{
	struct command command = {.type = COMMAND_CONF,
				  .value = fcntl(snapshot, F_DUPFD_CLOEXEC, 0)};

	if (command.value >= 0)
		(void)scheduler_command(scheduler, &command);
}

void scheduler_set_engine(struct scheduler *scheduler, const struct wire_engine_info *info)
{
	struct command command = {.type = COMMAND_ENGINE, .info = malloc(sizeof(*info))};

	if (!command.info)
		return;
	*command.info = *info;
	(void)scheduler_command(scheduler, &command);
}

int scheduler_order(struct scheduler *scheduler, enum control_full_scan_verb verb)
{
	const struct command command = {.type = COMMAND_ORDER, .value = (int)verb};
	struct control_full_scan_reply now;
	bool is_running;

	scheduler_status(scheduler, &now);
	is_running = now.state == CONTROL_FULL_SCAN_RUNNING;
	if (*now.problem && scheduler->directory < 0)
		return -EIO;
	if (is_running && verb != CONTROL_FULL_SCAN_STOP)
		return -EALREADY;
	/* One that does not run may be about to. */
	if (!scheduler_command(scheduler, &command))
		return -EAGAIN;
	scheduler->ordered += verb != CONTROL_FULL_SCAN_STOP;
	return !is_running && verb == CONTROL_FULL_SCAN_STOP ? -EALREADY : 0;
}

/* The thread holds the lock for moments; where this is one of them, what was seen last will do. */
static void scheduler_see(struct scheduler *scheduler)
{
	if (pthread_mutex_trylock(&scheduler->lock) != 0)
		return;
	scheduler->seen = scheduler->published;
	scheduler->seen_obeyed = scheduler->published_obeyed;
	scheduler->seen_warm = scheduler->published_warm;
	(void)pthread_mutex_unlock(&scheduler->lock);
}

void scheduler_status(struct scheduler *scheduler, struct control_full_scan_reply *ret)
{
	const struct wire_header header = ret->header;

	scheduler_see(scheduler);
	*ret = scheduler->seen;
	ret->header = header;
	/* Whoever asked for one need not see that it has not quite begun. */
	if (scheduler->seen_obeyed != scheduler->ordered)
		ret->state = CONTROL_FULL_SCAN_RUNNING;
}

void scheduler_warm_status(struct scheduler *scheduler, struct control_warm_start_reply *ret)
{
	const struct wire_header header = ret->header;

	scheduler_see(scheduler);
	*ret = scheduler->seen_warm;
	ret->header = header;
	ret->files = used_count(&scheduler->gate->estate->used);
}
