/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The gate with a kernel, an engine and a clock of the test's own: the group's descriptor is a
 * socket on which the test writes events and reads answers.
 */
#include "../../../src/common/chan.h"
#include "../../../src/common/log.h"
#include "../../../src/guard/gate.h"
#include "../../../src/guard/opener.h"
#include "../support/conf_fixture.h"
#include "../support/scratch.h"

#include <errno.h>
#include <sys/fanotify.h>
#include <sys/socket.h>
#include <time.h>

#define SECOND UINT64_C(1000000)

/* Somebody's process that is always there, and not ours. */
#define OPENER_PID 1

/* --- what the linker puts in the place of the real ones --- */

static struct {
	int kernel;	 /* the test's end of the group */
	uint64_t now_us; /* since the machine was started */
} fake;

int __wrap_group_init(struct group *group);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time);

int __wrap_group_init(struct group *group)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
		return -errno;
	*group = (struct group){.fd = ends[0]};
	fake.kernel = ends[1];
	return 0;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
	time->tv_sec = (time_t)(fake.now_us / SECOND);
	time->tv_nsec = (long)(fake.now_us % SECOND) * 1000;
	return 0;
}

/* --- the fixture --- */

struct fixture {
	struct conf *conf;
	sd_event *event;
	struct outbox *outbox;
	int reporter; /* where findings arrive */
	struct gate gate;
	bool initialized;   /* the gate */
	int engine, worker; /* our ends; -1: none */
};

/* What none of the tests can do without. */
static bool can_run(void)
{
	const rlim_t needed = 8192;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < needed) {
		limit.rlim_cur = needed;
		if (limit.rlim_max < needed)
			limit.rlim_max = needed;
		if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
			print_message("skipped: 8192 descriptors are not allowed\n");
			return false;
		}
	}
	if (file_init() < 0 || opener_init() < 0) {
		print_message("skipped: /proc is not mounted\n");
		return false;
	}
	return true;
}

static int group_setup(void **state)
{
	if (scratch_setup(state) < 0)
		return -1;
	scratch_write("file", "content", 7);
	scratch_write("other", "content", 7);
	scratch_write("empty", "", 0);
	return mkdir("out", 0755);
}

static void ignore(void *context)
{
}

static int setup(void **state)
{
	static const struct gate_callbacks owner = {.progress = ignore, .switched = ignore};
	static struct fixture fixture;
	const char *what;
	FILE *mounts;
	int ends[2];

	fixture = (struct fixture){.conf = conf_new(), .engine = -1, .worker = -1};
	*state = &fixture;
	fake.now_us = 1000000 * SECOND;
	fixture.outbox = outbox_new(16);
	if (!fixture.conf || !fixture.outbox || chan_pair(ends) < 0 ||
	    sd_event_new(&fixture.event) < 0)
		return -1;
	outbox_connect(fixture.outbox, ends[0]);
	fixture.reporter = ends[1];
	fixture.conf->uid = 4294967294u; /* nobody's */
	conf_fixture_set(fixture.conf, "on-access", "include", scratch);
	if (gate_init(&fixture.gate, fixture.event, fixture.outbox, &owner, &fixture, &what) < 0)
		return -1;
	fixture.initialized = true;
	mounts = fopen("/proc/self/mountinfo", "re");
	if (!mounts || mounts_read(&fixture.gate.watch.mounts, mounts) < 0)
		return -1;
	(void)fclose(mounts);
	gate_set_conf(&fixture.gate, fixture.conf);
	return 0;
}

static void lose(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	if (fixture->initialized)
		gate_deinit(&fixture->gate);
	lose(&fixture->engine);
	lose(&fixture->worker);
	close(fake.kernel);
	close(fixture->reporter);
	outbox_free(fixture->outbox);
	sd_event_unref(fixture->event);
	conf_free(fixture->conf);
	return 0;
}

/* Lets the gate do what there is to do. The timer may come round again and again: the clock it
 * goes by is not the test's. */
static void run(struct fixture *fixture)
{
	for (unsigned i = 0; i < 50; i++)
		assert_true(sd_event_run(fixture->event, 0) >= 0);
}

/* The timer goes by the real clock, so it is made due by hand. */
static void pass_time(struct fixture *fixture, uint64_t us)
{
	fake.now_us += us;
	assert_true(sd_event_source_set_time(fixture->gate.sweeper, 0) >= 0);
	run(fixture);
}

/* Somebody opens a file. Returns the descriptor that the kernel would know the open by. */
static int open_by(struct fixture *fixture, const char *name, int32_t pid)
{
	const struct fanotify_event_metadata metadata = {
		.event_len = FAN_EVENT_METADATA_LEN,
		.vers = FANOTIFY_METADATA_VERSION,
		.metadata_len = FAN_EVENT_METADATA_LEN,
		.mask = FAN_OPEN_PERM,
		.fd = open(name, O_RDONLY | O_CLOEXEC),
		.pid = pid,
	};

	assert_true(metadata.fd >= 0);
	assert_int_equal(write(fake.kernel, &metadata, sizeof(metadata)), sizeof(metadata));
	run(fixture);
	return metadata.fd;
}

static int open_file(struct fixture *fixture, const char *name)
{
	return open_by(fixture, name, OPENER_PID);
}

static void assert_held(int fd)
{
	struct fanotify_response response;

	assert_int_equal(recv(fake.kernel, &response, sizeof(response), MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
	assert_true(unit_fd_is_open(fd));
}

/* This open is answered now, and no other. */
static void assert_answered(int fd, bool allow)
{
	struct fanotify_response response = {0};

	assert_int_equal(recv(fake.kernel, &response, sizeof(response), MSG_DONTWAIT),
			 sizeof(response));
	assert_int_equal(response.fd, fd);
	assert_int_equal(response.response, allow ? FAN_ALLOW : FAN_DENY);
	assert_false(unit_fd_is_open(fd));
}

static void assert_no_more_answers(void)
{
	assert_held(0);
}

static void set(struct fixture *fixture, const char *key, const char *value)
{
	conf_fixture_set(fixture->conf, "on-access", key, value);
}

/* --- an engine --- */

static void start_worker(struct fixture *fixture)
{
	const struct wire_worker message = {.header = WIRE_INIT(WIRE_WORKER, struct wire_worker),
					    .pid = 4242};
	int ends[2];

	assert_int_equal(chan_pair(ends), 0);
	assert_int_equal(chan_send(fixture->engine, &message.header, ends[0]), 0);
	close(ends[0]);
	lose(&fixture->worker);
	fixture->worker = ends[1];
	run(fixture);
}

static void start_engine(struct fixture *fixture)
{
	const struct wire_engine_info info = {
		.header = WIRE_INIT(WIRE_ENGINE_INFO, struct wire_engine_info),
		.scan_deadline_ms = 60000,
	};
	int ends[2];

	assert_int_equal(chan_pair(ends), 0);
	assert_int_equal(pool_add_engine(fixture->gate.pool, ends[0]), 0);
	fixture->engine = ends[1];
	assert_int_equal(chan_send(fixture->engine, &info.header, -1), 0);
	start_worker(fixture);
}

static int take_scan(void *context, struct chan_message *message)
{
	*(uint64_t *)context = ((const struct wire_scan *)(const void *)message)->id;
	close(message->fd);
	return 0;
}

/* What the worker was given to do. 0: nothing. */
static uint64_t next_scan(struct fixture *fixture)
{
	static const struct chan_rule rules[] = {
		{WIRE_SCAN, sizeof(struct wire_scan), true, take_scan}, {0}};
	uint64_t id = 0;

	if (chan_readable(fixture->worker))
		assert_int_equal(chan_serve(fixture->worker, rules, &id), 0);
	return id;
}

static void send_verdict(struct fixture *fixture, enum verdict verdict, const char *reason)
{
	struct wire_verdict message = {.header = WIRE_INIT(WIRE_VERDICT, struct wire_verdict),
				       .id = next_scan(fixture),
				       .verdict = verdict};

	assert_int_not_equal(message.id, 0);
	(void)snprintf(message.reason, sizeof(message.reason), "%s", reason);
	assert_int_equal(chan_send(fixture->worker, &message.header, -1), 0);
	run(fixture);
}

/* --- what needs no verdict --- */

static void what_need_not_be_held_is_allowed_at_once(void **state)
{
	struct fixture *fixture = *state;

	/* not in scope, nothing in it, one of ours */
	assert_answered(open_file(fixture, "/proc/self/status"), true);
	assert_answered(open_file(fixture, "empty"), true);
	assert_answered(open_by(fixture, "file", getpid()), true);
	assert_held(open_by(fixture, "file", OPENER_PID));
}

static void the_excluded_are_allowed_at_once(void **state)
{
	struct fixture *fixture = *state;
	char path[PATH_MAX + 16];

	(void)snprintf(path, sizeof(path), "%s/other", scratch);
	set(fixture, "exclude", path);
	set(fixture, "exclude-user", "someone");
	fixture->conf->exclude_user.entries[0].uid = 12345;
	assert_answered(open_file(fixture, "other"), true);
	assert_held(open_file(fixture, "file"));
}

static void who_reads_the_configuration_is_not_held(void **state)
{
	struct fixture *fixture = *state;

	gate_trust(&fixture->gate, OPENER_PID);
	assert_answered(open_file(fixture, "file"), true);
	gate_trust(&fixture->gate, 0);
	assert_held(open_file(fixture, "file"));
	/* 0 is an opener that cannot be seen, not one that is trusted */
	assert_held(open_by(fixture, "file", 0));
}

static void only_in_mode_block_is_anybody_held(void **state)
{
	static const char *const modes[] = {"notify", "off"};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < N_ELEMENTS(modes); i++) {
		set(fixture, "mode", modes[i]);
		gate_set_conf(&fixture->gate, fixture->conf);
		assert_answered(open_file(fixture, "file"), true);
		assert_no_more_answers();
	}
}

/* --- verdicts --- */

static void who_opens_waits_for_the_verdict(void **state)
{
	static const struct {
		enum verdict verdict;
		const char *key; /* set to deny */
		bool allow;
	} cases[] = {
		{VERDICT_CLEAN, "on-failure", true},
		{VERDICT_INFECTED, "on-failure", false},
		{VERDICT_INCOMPLETE, "on-failure", true},
		{VERDICT_INCOMPLETE, "on-incomplete", false},
		{VERDICT_FAILED, "on-incomplete", true},
		{VERDICT_FAILED, "on-failure", false},
	};
	struct fixture *fixture = *state;

	start_engine(fixture);
	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		int first, second;

		fixture->conf->on_failure = fixture->conf->on_incomplete = CONF_ALLOW;
		set(fixture, cases[i].key, "deny");
		first = open_file(fixture, "file");
		second = open_file(fixture, "file");
		assert_held(first);
		send_verdict(fixture, cases[i].verdict, "reason");
		assert_answered(first, cases[i].allow);
		assert_answered(second, cases[i].allow);
		assert_no_more_answers();
		/* one scan for both */
		assert_int_equal(next_scan(fixture), 0);
	}
}

static void an_infected_file_is_reported_once(void **state)
{
	struct fixture *fixture = *state;
	struct wire_found found;
	char path[PATH_MAX + 16];
	int fd;

	start_engine(fixture);
	fd = open_file(fixture, "file");
	(void)open_file(fixture, "file");
	send_verdict(fixture, VERDICT_INFECTED, "Eicar-Test");
	assert_answered(fd, false);

	assert_int_equal(recv(fixture->reporter, &found, sizeof(found), MSG_DONTWAIT),
			 sizeof(found));
	(void)snprintf(path, sizeof(path), "%s/file", scratch);
	assert_string_equal(found.path, path);
	assert_string_equal(found.signature, "Eicar-Test");
	assert_int_equal(found.pid, OPENER_PID);
	assert_int_equal(found.answer, WIRE_ANSWER_BLOCKED);
	assert_int_equal(found.openers, 2);
	assert_int_equal(recv(fixture->reporter, &found, sizeof(found), MSG_DONTWAIT), -1);
}

static void in_mode_notify_it_is_reported_and_not_blocked(void **state)
{
	struct fixture *fixture = *state;
	struct wire_found found;

	set(fixture, "mode", "notify");
	start_engine(fixture);
	assert_answered(open_file(fixture, "file"), true);
	send_verdict(fixture, VERDICT_INFECTED, "Eicar-Test");
	assert_no_more_answers();
	assert_int_equal(recv(fixture->reporter, &found, sizeof(found), MSG_DONTWAIT),
			 sizeof(found));
	assert_int_equal(found.answer, WIRE_ANSWER_NOTIFIED);
}

/* A clean verdict on what the file no longer is says nothing. */
static void a_file_that_changed_is_scanned_again(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	start_engine(fixture);
	fd = open_file(fixture, "other");
	scratch_write("other", "longer than before", 18);
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_held(fd);
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_answered(fd, true);
	assert_int_equal(fixture->gate.counters.rescans, 1);
}

/* However often: as long as it is not being written, some scan will be of what it is. */
static void no_verdict_on_other_bytes_lets_anybody_through(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	start_engine(fixture);
	fd = open_file(fixture, "other");
	for (size_t size = 1; size <= 10; size++) {
		scratch_write("other", "0123456789", size);
		send_verdict(fixture, VERDICT_CLEAN, "");
		assert_held(fd);
	}
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_answered(fd, true);
}

/* A writer outruns any verdict: openers of a busy file do not wait for it to pause. */
static void a_file_that_is_being_written_is_let_through_after_some_scans(void **state)
{
	struct fixture *fixture = *state;
	int fd, writer;

	start_engine(fixture);
	fd = open_file(fixture, "other");
	writer = open("other", O_WRONLY | O_CLOEXEC);
	assert_true(writer >= 0);
	for (size_t size = 1; size <= 3; size++) {
		assert_int_equal(pwrite(writer, "0123456789", size, 100 * (off_t)size), size);
		send_verdict(fixture, VERDICT_CLEAN, "");
		assert_held(fd);
	}
	assert_int_equal(pwrite(writer, "0", 1, 1000), 1);
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_answered(fd, true);
	assert_int_equal(fixture->gate.counters.marks, 0);
	close(writer);
}

/* What was found was in it, whatever is in it now. */
static void an_infected_file_that_changed_is_denied_at_once(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	start_engine(fixture);
	fd = open_file(fixture, "other");
	scratch_write("other", "changed once more", 17);
	send_verdict(fixture, VERDICT_INFECTED, "Eicar-Test");
	assert_answered(fd, false);
}

static void a_lost_worker_is_tried_once_more(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	set(fixture, "on-failure", "deny");
	start_engine(fixture);
	fd = open_file(fixture, "file");
	lose(&fixture->worker);
	run(fixture);
	assert_held(fd);
	start_worker(fixture);
	assert_int_not_equal(next_scan(fixture), 0);
	lose(&fixture->worker);
	run(fixture);
	assert_answered(fd, false);
	assert_no_more_answers();
}

static void without_an_engine_the_configured_answer_is_given(void **state)
{
	struct fixture *fixture = *state;
	int fd = open_file(fixture, "file");

	set(fixture, "on-failure", "deny");
	assert_held(fd); /* one may still come */
	gate_engine_down(&fixture->gate);
	assert_answered(fd, false);
	assert_answered(open_file(fixture, "file"), false);
	start_engine(fixture);
	assert_held(open_file(fixture, "file"));
	/* when that one goes, too, another may come */
	lose(&fixture->engine);
	lose(&fixture->worker);
	run(fixture);
	assert_held(open_file(fixture, "other"));
}

/* --- time --- */

static void at_the_hold_deadline_the_opener_is_answered(void **state)
{
	struct fixture *fixture = *state;
	struct wire_found found;
	int early, late;

	set(fixture, "hold-timeout", "15s");
	start_engine(fixture);
	early = open_file(fixture, "file");
	pass_time(fixture, 10 * SECOND);
	late = open_file(fixture, "file");
	assert_held(early);
	pass_time(fixture, 6 * SECOND);
	assert_answered(early, true);
	assert_held(late);
	assert_int_equal(fixture->gate.counters.timeouts, 1);

	/* the scan goes on, and what it finds still counts */
	send_verdict(fixture, VERDICT_INFECTED, "Eicar-Test");
	assert_answered(late, false);
	assert_no_more_answers();
	assert_int_equal(recv(fixture->reporter, &found, sizeof(found), MSG_DONTWAIT),
			 sizeof(found));
	assert_int_equal(found.answer, WIRE_ANSWER_LATE);
}

/* hold-timeout may be longer than the machine has been running. */
static void the_hold_deadline_holds_right_after_the_machine_was_started(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	set(fixture, "hold-timeout", "15s");
	fake.now_us = 5 * SECOND;
	fd = open_file(fixture, "file");
	pass_time(fixture, SECOND);
	assert_held(fd);
	pass_time(fixture, 15 * SECOND);
	assert_answered(fd, true);
}

static void at_the_end_everyone_is_let_go(void **state)
{
	struct fixture *fixture = *state;
	int first = open_file(fixture, "file"), second = open_file(fixture, "other");

	assert_held(first);
	gate_deinit(&fixture->gate);
	fixture->initialized = false;
	/* The kernel does it, at once, when the group is closed: not one by one. */
	assert_false(unit_fd_is_open(first));
	assert_false(unit_fd_is_open(second));
	assert_int_equal(recv(fake.kernel, &first, sizeof(first), MSG_DONTWAIT), 0);
}

static void silent(void *context, int priority, const char *text)
{
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_need_not_be_held_is_allowed_at_once),
		TEST(the_excluded_are_allowed_at_once),
		TEST(who_reads_the_configuration_is_not_held),
		TEST(only_in_mode_block_is_anybody_held),
		TEST(who_opens_waits_for_the_verdict),
		TEST(an_infected_file_is_reported_once),
		TEST(in_mode_notify_it_is_reported_and_not_blocked),
		TEST(a_file_that_changed_is_scanned_again),
		TEST(no_verdict_on_other_bytes_lets_anybody_through),
		TEST(a_file_that_is_being_written_is_let_through_after_some_scans),
		TEST(an_infected_file_that_changed_is_denied_at_once),
		TEST(a_lost_worker_is_tried_once_more),
		TEST(without_an_engine_the_configured_answer_is_given),
		TEST(at_the_hold_deadline_the_opener_is_answered),
		TEST(the_hold_deadline_holds_right_after_the_machine_was_started),
		TEST(at_the_end_everyone_is_let_go),
	};

	if (!can_run())
		return UNIT_SKIPPED;
	/* its complaints about files that could not be scanned are not for whoever runs this */
	log_set_sink(silent, NULL);
	return cmocka_run_group_tests_name("gate", tests, group_setup, scratch_teardown);
}
