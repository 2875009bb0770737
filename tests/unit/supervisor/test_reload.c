/* SPDX-License-Identifier: GPL-2.0-only */
/* Reloads, and what engines that die or hang have to do with them. The programs are sockets whose
 * other ends the supervisor's own code holds; what it starts, kills and says is looked at. */
#include "../../../src/common/chan.h"
#include "../../../src/common/log.h"
#include "../../../src/supervisor/service.h"
#include "../../../src/supervisor/supervisor.h"
#include "../support/conf_fixture.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <utlist.h>

#define SECOND UINT64_C(1000000)
#define MINUTE (60 * SECOND)

#define PROGRAMS_MAX 64
#define FIRST_PID    1000
#define LOADER_PID   5000

/* What was started, in this order; its pid follows from that. */
struct program {
	enum child_role role;
	int fd; /* -1: it has ended */
	unsigned received[WIRE_TYPE_COUNT];
	unsigned kills; /* of its group */
};

static struct service service;
static struct supervisor_files files;
static struct program programs[PROGRAMS_MAX];
static unsigned n_programs;
static int loader; /* its end of the channel; -1: none */
static unsigned n_loaders, n_loader_kills;
static bool cannot_start;
static uint64_t now_us;
static struct conf *next_conf; /* what the loader reads */
static char lines[65536];      /* the log */

pid_t __wrap_child_load_conf(const struct child_setup *setup, int *ret_channel);
pid_t __wrap_child_start(const struct child_setup *setup, enum child_role role,
			 const struct conf *conf, int *ret_channel);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time);
int __wrap_kill(pid_t pid, int number);
void __wrap_log_set_sink(log_sink sink, void *context);
void __real_log_set_sink(log_sink sink, void *context);

/* --- what there is in the place of processes --- */

pid_t __wrap_child_load_conf(const struct child_setup *setup, int *ret_channel)
{
	int ends[2];

	if (cannot_start)
		return -EAGAIN;
	assert_int_equal(loader, -1);
	assert_int_equal(chan_pair(ends), 0);
	*ret_channel = ends[0];
	loader = ends[1];
	n_loaders++;
	return LOADER_PID;
}

pid_t __wrap_child_start(const struct child_setup *setup, enum child_role role,
			 const struct conf *conf, int *ret_channel)
{
	int ends[2];

	if (cannot_start)
		return -EAGAIN;
	assert_true(n_programs < PROGRAMS_MAX);
	assert_int_equal(chan_pair(ends), 0);
	*ret_channel = ends[0];
	programs[n_programs] = (struct program){.role = role, .fd = ends[1]};
	return FIRST_PID + (pid_t)n_programs++;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
	time->tv_sec = (time_t)(now_us / SECOND);
	time->tv_nsec = (long)(now_us % SECOND) * 1000;
	return 0;
}

int __wrap_kill(pid_t pid, int number)
{
	assert_int_equal(number, SIGKILL);
	if (pid == -LOADER_PID)
		n_loader_kills++;
	else if (pid < 0)
		programs[-pid - FIRST_PID].kills++;
	return 0;
}

void __wrap_log_set_sink(log_sink sink, void *context)
{
}

static void collect(void *context, int priority, const char *text)
{
	size_t used = strlen(lines);

	(void)snprintf(lines + used, sizeof(lines) - used, "%s\n", text);
}

/* --- what a test does --- */

/* The program of a role that was started last. */
static struct program *last(enum child_role role)
{
	for (unsigned i = n_programs; i--;)
		if (programs[i].role == role)
			return &programs[i];
	fail_msg("no such program was started");
	return NULL;
}

static pid_t pid_of(const struct program *program)
{
	return FIRST_PID + (pid_t)(program - programs);
}

static unsigned count(enum child_role role)
{
	unsigned n = 0;

	for (unsigned i = 0; i < n_programs; i++)
		n += programs[i].role == role;
	return n;
}

/* The supervisor does what there is to do, and the programs read what they were sent. */
static void run(void)
{
	union {
		struct wire_header header;
		char bytes[WIRE_MESSAGE_MAX];
	} message;

	while (sd_event_run(service.event, 0) > 0)
		;
	for (unsigned i = 0; i < n_programs; i++)
		while (programs[i].fd >= 0 &&
		       recv(programs[i].fd, &message, sizeof(message), MSG_DONTWAIT) > 0)
			programs[i].received[message.header.type]++;
}

/* The heartbeat. */
static void pass_time(uint64_t us)
{
	now_us += us;
	service_tick(&service);
	reload_tick(&service);
	run();
}

static void say(const struct program *program, const struct wire_header *message)
{
	assert_int_equal(chan_send(program->fd, message, -1), 0);
	run();
}

static void say_result(const struct program *program, enum wire_type type, const char *text)
{
	struct wire_result result = wire_result_make(type, text);

	result.signatures = 42;
	say(program, &result.header);
}

static void say_ready(const struct program *program)
{
	say_result(program, WIRE_READY, "");
}

/* The guard uses an engine. */
static void say_switched(const struct program *engine)
{
	const struct wire_switched switched = {
		.header = WIRE_INIT(WIRE_SWITCHED, struct wire_switched),
		.engine = pid_of(engine),
	};

	say(last(CHILD_GUARD), &switched.header);
}

static void end(struct program *program)
{
	struct child *child;

	close(program->fd);
	program->fd = -1;
	run();
	DL_FOREACH (service.children, child)
		if (child->pid == pid_of(program))
			break;
	assert_non_null(child);
	service_bury(child, SIGKILL);
	run();
}

/* The loader has read the configuration; NULL: it ended without. */
static void load(struct conf *conf)
{
	const struct wire_plain config = {.header = WIRE_INIT(WIRE_CONFIG, struct wire_plain)};

	if (conf) {
		int snapshot = conf_snapshot(conf);

		assert_int_equal(chan_send(loader, &config.header, snapshot), 0);
		close(snapshot);
	}
	close(loader);
	loader = -1;
	run();
}

static bool logged(const char *text)
{
	bool found = strstr(lines, text);

	lines[0] = '\0';
	return found;
}

/* A reload gets as far as this step. Returns the engine that loads, or tries. */
static struct program *reload_until(enum reload_step step)
{
	struct program *engine = NULL;

	if (service.reload.step == RELOAD_NONE)
		reload_begin(&service);
	run();
	if (step > RELOAD_CONF) {
		load(next_conf);
		engine = last(CHILD_ENGINE);
	}
	if (step > RELOAD_ENGINE)
		say_ready(engine);
	now_us += step > RELOAD_REPORTER ? 10 * SECOND : 0;
	if (step > RELOAD_REPORTER)
		say_ready(last(CHILD_REPORTER));
	if (step > RELOAD_GUARD)
		say_ready(last(CHILD_GUARD));
	assert_int_equal(service.reload.step, step);
	return engine;
}

static void set_reload(const char *how)
{
	conf_fixture_set(service.conf, "engine", "reload", how);
	conf_fixture_set(next_conf, "engine", "reload", how);
}

/* The service protects, and an engine is in use. */
static int setup(void **state)
{
	static const struct child_setup child_setup;

	now_us = 1000000 * SECOND;
	n_programs = n_loaders = n_loader_kills = 0;
	loader = -1;
	cannot_start = false;
	lines[0] = '\0';
	files = (struct supervisor_files){.changes = -1, .memory.meminfo = -1};
	service = (struct service){
		.setup = &child_setup,
		.files = &files,
		.conf = conf_new(),
		.snapshot = -1,
		.outbox = outbox_new(16),
		.reload = {.snapshot = -1, .loader_channel = -1, .changes = -1},
		.changes = {.fd = -1},
	};
	next_conf = conf_new();
	if (!service.conf || !next_conf || !service.outbox || sd_event_new(&service.event) < 0)
		return -1;
	set_reload("parallel");
	service.snapshot = conf_snapshot(service.conf);
	service_spawn_current(&service, CHILD_REPORTER);
	run();
	say_ready(last(CHILD_REPORTER));
	say_ready(last(CHILD_ENGINE));
	say_ready(last(CHILD_GUARD));
	say_switched(last(CHILD_ENGINE));
	return service.protecting ? 0 : -1;
}

static int teardown(void **state)
{
	service.stopping = true;
	for (unsigned i = 0; i < n_programs; i++)
		if (programs[i].fd >= 0)
			end(&programs[i]);
	if (loader >= 0)
		load(NULL);
	standby_end_family(&service);
	assert_null(service.children);
	for (unsigned role = 0; role < CHILD_ROLES; role++)
		sd_event_source_disable_unref(service.restarts[role].timer);
	conf_free(service.reload.conf);
	if (service.reload.snapshot >= 0)
		close(service.reload.snapshot);
	sd_event_unref(service.event);
	outbox_free(service.outbox);
	close(service.snapshot);
	conf_free(service.conf);
	conf_free(next_conf);
	return 0;
}

/* --- how it goes --- */

static void all_agree_and_the_guard_has_switched(void **state)
{
	struct program *old = last(CHILD_ENGINE), *guard = last(CHILD_GUARD), *new;
	unsigned introduced;

	reload_begin(&service);
	run();
	assert_int_equal(guard->received[WIRE_TRUSTED_PID], 1);
	new = reload_until(RELOAD_GUARD);
	introduced = guard->received[WIRE_PEER];
	assert_int_equal(new->received[WIRE_PEER], 0);
	say_ready(guard);
	assert_int_equal(guard->received[WIRE_PEER], introduced + 1);
	assert_int_equal(new->received[WIRE_PEER], 1);
	say_switched(old); /* what it still had to say */
	assert_false(logged("reloaded"));
	say_switched(new);
	assert_true(logged("reloaded: 42 signature(s)"));
	end(old);
	assert_int_equal(old->kills, 1); /* its group: the workers */
	assert_int_equal(new->kills, 0);
	assert_int_equal(service.history.ended[WIRE_ENDED_ENGINE].n, 0);
	pass_time(60 * MINUTE);
	assert_int_equal(new->kills, 0);
}

static void lean_makes_room_first(void **state)
{
	struct program *old = last(CHILD_ENGINE), *guard = last(CHILD_GUARD), *trial, *new;

	set_reload("lean");
	trial = reload_until(RELOAD_GUARD);
	assert_int_equal(trial->received[WIRE_TRIAL], 1);
	assert_int_equal(trial->kills, 1);
	end(trial);
	assert_int_equal(guard->received[WIRE_RELEASE], 0);
	say_ready(guard);
	assert_int_equal(guard->received[WIRE_RELEASE], 1);
	pass_time(9 * SECOND);
	assert_int_equal(count(CHILD_ENGINE), 2);
	end(old);
	assert_int_equal(old->kills, 1);
	new = last(CHILD_ENGINE);
	assert_int_equal(count(CHILD_ENGINE), 3);
	assert_int_equal(new->received[WIRE_TRIAL], 0);
	say_ready(new);
	assert_false(logged("reloaded"));
	say_switched(new);
	assert_true(logged("reloaded"));
}

static void an_old_engine_that_does_not_end_is_killed(void **state)
{
	struct program *old = last(CHILD_ENGINE);

	set_reload("lean");
	end(reload_until(RELOAD_RELEASE));
	pass_time(9 * SECOND);
	assert_int_equal(old->kills, 0);
	pass_time(SECOND);
	assert_int_equal(old->kills, 1);
	assert_int_equal(count(CHILD_ENGINE), 2);
	end(old); /* not waited for any longer than it takes */
	assert_int_equal(count(CHILD_ENGINE), 3);
}

static void one_that_cannot_be_killed_is_not_waited_for(void **state)
{
	set_reload("lean");
	end(reload_until(RELOAD_RELEASE));
	pass_time(10 * SECOND);
	pass_time(SECOND);
	assert_int_equal(count(CHILD_ENGINE), 2);
	pass_time(SECOND);
	assert_int_equal(count(CHILD_ENGINE), 3);
}

static void without_an_old_engine_there_is_little_to_wait_for(void **state)
{
	struct program *old = last(CHILD_ENGINE);

	set_reload("lean");
	service.restarts[CHILD_ENGINE].failures = 9; /* the next start is not at once */
	say_result(old, WIRE_FAILED, "it is broken");
	end(old);
	assert_int_equal(count(CHILD_ENGINE), 1);
	end(reload_until(RELOAD_RELEASE));
	pass_time(SECOND);
	assert_int_equal(count(CHILD_ENGINE), 2);
	pass_time(SECOND);
	assert_int_equal(count(CHILD_ENGINE), 3);
}

/* --- what is not right, and what only went wrong --- */

static void what_is_bad_is_refused_once(void **state)
{
	const struct wire_note note = wire_note_make(LOG_ERR, "holdfast.conf:3: no");

	reload_begin(&service);
	assert_int_equal(chan_send(loader, &note.header, -1), 0);
	load(NULL);
	assert_true(logged("the configuration is not valid\n"));
	say_result(reload_until(RELOAD_ENGINE), WIRE_FAILED, "bad.ndb");
	assert_true(logged("refused, everything stays as it was: bad.ndb\n"));
	end(last(CHILD_ENGINE));
	(void)reload_until(RELOAD_REPORTER);
	say_result(last(CHILD_REPORTER), WIRE_FAILED, "no log");
	assert_true(logged("refused, everything stays as it was: no log\n"));
	pass_time(1000 * MINUTE);
	assert_int_equal(n_loaders, 3);
}

static void what_went_wrong_is_repeated_less_and_less_often(void **state)
{
	reload_begin(&service);
	for (unsigned i = 0; i < 5; i++) {
		load(NULL); /* killed for its memory, say */
		assert_true(logged("it is tried again in"));
		pass_time((30 * SECOND << i) - SECOND);
		assert_int_equal(n_loaders, i + 1);
		pass_time(SECOND);
		assert_int_equal(n_loaders, i + 2);
	}
	load(NULL);
	assert_false(logged("it is tried again in"));
	pass_time(1000 * MINUTE);
	assert_int_equal(n_loaders, 6);
	/* Whoever asks begins the count anew. */
	reload_begin(&service);
	load(NULL);
	pass_time(30 * SECOND);
	assert_int_equal(n_loaders, 8);
}

static void who_dies_in_a_reload_makes_it_come_again(void **state)
{
	static const struct {
		enum reload_step step;
		enum child_role who;
	} deaths[] = {
		{RELOAD_ENGINE, CHILD_ENGINE},
		{RELOAD_REPORTER, CHILD_REPORTER},
		{RELOAD_GUARD, CHILD_GUARD},
	};

	for (unsigned i = 0; i < N_ELEMENTS(deaths); i++) {
		struct program *engine = reload_until(deaths[i].step);

		end(last(deaths[i].who));
		assert_true(logged("it is tried again in 30 s"));
		if (deaths[i].who != CHILD_ENGINE) {
			assert_true(engine->kills > 0);
			end(engine);
			say_ready(last(deaths[i].who));
		}
		pass_time(30 * SECOND);
		end(reload_until(RELOAD_ENGINE));
		lines[0] = '\0';
		service.reload.due_us = 0;
		service.reload.failures = 0;
	}
}

static void what_cannot_be_started_is_tried_again(void **state)
{
	cannot_start = true;
	reload_begin(&service);
	assert_true(logged("it is tried again in 30 s"));
	cannot_start = false;
	pass_time(30 * SECOND);
	cannot_start = true;
	load(next_conf);
	assert_true(logged("no engine can be started; it is tried again in 60 s"));
	cannot_start = false;
	pass_time(MINUTE);
	(void)reload_until(RELOAD_SWITCH);
}

/* --- who never answers --- */

static void no_step_lasts_for_ever(void **state)
{
	static const struct {
		enum reload_step step;
		uint64_t limit_us;
		const char *reload;
	} steps[] = {
		{RELOAD_CONF, MINUTE, "parallel"},    {RELOAD_ENGINE, 15 * MINUTE, "parallel"},
		{RELOAD_ENGINE, 16 * MINUTE, "lean"}, {RELOAD_REPORTER, MINUTE, "parallel"},
		{RELOAD_GUARD, MINUTE, "parallel"},
	};
	struct program *reporter = last(CHILD_REPORTER), *guard = last(CHILD_GUARD);

	for (unsigned i = 0; i < N_ELEMENTS(steps); i++) {
		unsigned reported, guarded;
		struct program *engine;

		set_reload(steps[i].reload);
		engine = reload_until(steps[i].step);
		reported = reporter->received[WIRE_CONFIG];
		guarded = guard->received[WIRE_CONFIG];
		pass_time(steps[i].limit_us - SECOND);
		assert_int_equal(service.reload.step, steps[i].step);
		pass_time(SECOND);
		assert_int_equal(service.reload.step, RELOAD_NONE);
		assert_true(logged("it is tried again in"));
		if (engine) {
			assert_int_equal(engine->kills, 1);
			end(engine);
		} else {
			assert_int_equal(n_loader_kills, 1);
			close(loader);
			loader = -1;
		}
		/* Who may have it gets the old one back, and answers both in the end. */
		assert_int_equal(reporter->received[WIRE_CONFIG],
				 reported + (steps[i].step >= RELOAD_REPORTER));
		assert_int_equal(guard->received[WIRE_CONFIG],
				 guarded + (steps[i].step >= RELOAD_GUARD));
		for (unsigned j = 0; j < 2; j++) {
			if (steps[i].step >= RELOAD_REPORTER)
				say_ready(reporter);
			if (steps[i].step >= RELOAD_GUARD)
				say_ready(guard);
		}
		service.reload.due_us = 0;
	}
}

static void a_late_answer_is_not_taken_for_another(void **state)
{
	struct program *reporter = last(CHILD_REPORTER);

	end(reload_until(RELOAD_REPORTER)); /* given up; nothing was answered yet */
	pass_time(30 * SECOND);
	(void)reload_until(RELOAD_REPORTER);
	say_ready(reporter);
	say_result(reporter, WIRE_FAILED, "the one before");
	assert_int_equal(service.reload.step, RELOAD_REPORTER);
	say_ready(reporter);
	assert_int_equal(service.reload.step, RELOAD_GUARD);
}

static void an_engine_that_never_loads_is_not_waited_for(void **state)
{
	struct program *old = last(CHILD_ENGINE), *guard = last(CHILD_GUARD), *new;

	set_reload("lean");
	end(reload_until(RELOAD_RELEASE));
	end(old);
	new = last(CHILD_ENGINE);
	pass_time(59 * SECOND);
	assert_int_equal(guard->received[WIRE_ENGINE_DOWN], 0);
	pass_time(SECOND);
	assert_int_equal(guard->received[WIRE_ENGINE_DOWN], 1);
	pass_time(14 * MINUTE - SECOND);
	assert_int_equal(guard->received[WIRE_ENGINE_DOWN], 1);
	assert_int_equal(new->kills, 0);
	pass_time(SECOND);
	assert_int_equal(new->kills, 1);
	end(new);
	assert_false(logged("configuration and signatures reloaded"));
	assert_true(last(CHILD_ENGINE) != new);
	assert_int_equal(service.reload.step, RELOAD_NONE);
}

static void an_engine_that_the_guard_does_not_use_is_replaced(void **state)
{
	struct program *old = last(CHILD_ENGINE), *new = reload_until(RELOAD_SWITCH);

	pass_time(59 * SECOND);
	assert_int_equal(new->kills, 0);
	pass_time(SECOND);
	assert_int_equal(new->kills, 1);
	end(new);
	assert_false(logged("configuration and signatures reloaded"));
	assert_true(last(CHILD_ENGINE) != new);
	/* The old one serves meanwhile, even if another reload is asked for. */
	pass_time(MINUTE);
	(void)reload_until(RELOAD_ENGINE);
	assert_int_equal(old->kills, 0);
}

/* --- who dies at the switch --- */

static void an_engine_that_dies_before_the_switch_was_not_reloaded(void **state)
{
	end(reload_until(RELOAD_SWITCH));
	assert_false(logged("configuration and signatures reloaded"));
	assert_int_equal(service.reload.step, RELOAD_NONE);
	assert_int_equal(count(CHILD_ENGINE), 3); /* it is started again, as any that is lost */
}

static void a_guard_that_dies_before_the_switch_is_waited_for(void **state)
{
	struct program *new = reload_until(RELOAD_SWITCH);

	end(last(CHILD_GUARD));
	assert_false(logged("configuration and signatures reloaded"));
	say_ready(last(CHILD_GUARD));
	say_switched(new);
	assert_true(logged("configuration and signatures reloaded"));
}

/* --- how many, and how often --- */

static void the_next_one_waits_for_the_engine_before(void **state)
{
	struct program *old = last(CHILD_ENGINE);

	for (unsigned killed = 0; killed <= 1; killed++) {
		struct program *new = reload_until(RELOAD_SWITCH);

		say_switched(new);
		reload_begin(&service);
		pass_time(9 * SECOND);
		assert_int_equal(n_loaders, killed + 1);
		assert_int_equal(old->kills, 0);
		if (killed) {
			pass_time(SECOND);
			assert_int_equal(old->kills, 1);
			assert_int_equal(n_loaders, killed + 1);
		}
		end(old);
		pass_time(SECOND);
		assert_int_equal(n_loaders, killed + 2);
		old = new;
	}
}

static void those_that_nobody_asked_for_keep_a_distance(void **state)
{
	reload_begin_unasked(&service);
	assert_int_equal(n_loaders, 1); /* the first at once */
	for (unsigned i = 0; i < 3; i++) {
		reload_begin_unasked(&service);
		say_result(reload_until(RELOAD_ENGINE), WIRE_FAILED, "bad.ndb");
		end(last(CHILD_ENGINE));
		for (unsigned j = 0; j < 59; j++) {
			pass_time(SECOND);
			reload_begin_unasked(&service);
		}
		assert_int_equal(n_loaders, i + 1);
		pass_time(SECOND);
		assert_int_equal(n_loaders, i + 2);
	}
	say_result(reload_until(RELOAD_ENGINE), WIRE_FAILED, "bad.ndb");
	end(last(CHILD_ENGINE));
	reload_begin_unasked(&service);
	assert_int_equal(n_loaders, 4);
	reload_begin(&service); /* for both */
	assert_int_equal(n_loaders, 5);
	say_result(reload_until(RELOAD_ENGINE), WIRE_FAILED, "bad.ndb");
	pass_time(10 * MINUTE);
	assert_int_equal(n_loaders, 5);
}

/* --- an engine that is lost --- */

static void its_workers_go_on_where_there_is_room(void **state)
{
	struct program *old = last(CHILD_ENGINE);

	end(old);
	assert_int_equal(last(CHILD_GUARD)->received[WIRE_RELEASE], 0);
	assert_int_equal(old->kills, 0);
	assert_int_equal(count(CHILD_ENGINE), 2);
}

static void and_make_room_where_there_is_none(void **state)
{
	struct program *old = last(CHILD_ENGINE);

	set_reload("lean");
	end(old);
	assert_int_equal(last(CHILD_GUARD)->received[WIRE_RELEASE], 1);
	assert_int_equal(old->kills, 1);
	assert_int_equal(count(CHILD_ENGINE), 2);
	/* Once. */
	end(last(CHILD_ENGINE));
	assert_int_equal(last(CHILD_GUARD)->received[WIRE_RELEASE], 1);
}

static void at_the_end_none_is_left_to_load(void **state)
{
	struct program *old = last(CHILD_ENGINE), *new = reload_until(RELOAD_ENGINE);

	service_kill_loading(&service);
	assert_int_equal(new->kills, 1);
	assert_int_equal(old->kills, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(all_agree_and_the_guard_has_switched),
		TEST(lean_makes_room_first),
		TEST(an_old_engine_that_does_not_end_is_killed),
		TEST(one_that_cannot_be_killed_is_not_waited_for),
		TEST(without_an_old_engine_there_is_little_to_wait_for),
		TEST(what_is_bad_is_refused_once),
		TEST(what_went_wrong_is_repeated_less_and_less_often),
		TEST(who_dies_in_a_reload_makes_it_come_again),
		TEST(what_cannot_be_started_is_tried_again),
		TEST(no_step_lasts_for_ever),
		TEST(a_late_answer_is_not_taken_for_another),
		TEST(an_engine_that_never_loads_is_not_waited_for),
		TEST(an_engine_that_the_guard_does_not_use_is_replaced),
		TEST(an_engine_that_dies_before_the_switch_was_not_reloaded),
		TEST(a_guard_that_dies_before_the_switch_is_waited_for),
		TEST(the_next_one_waits_for_the_engine_before),
		TEST(those_that_nobody_asked_for_keep_a_distance),
		TEST(its_workers_go_on_where_there_is_room),
		TEST(and_make_room_where_there_is_none),
		TEST(at_the_end_none_is_left_to_load),
	};

	__real_log_set_sink(collect, NULL);
	return cmocka_run_group_tests_name("reload", tests, NULL, NULL);
}
