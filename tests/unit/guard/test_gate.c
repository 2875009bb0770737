/* SPDX-License-Identifier: GPL-2.0-only */
/* What becomes of opens and of scans that somebody asks for: see gate_fixture.h. */
#include "gate_fixture.h"

#include <sys/mman.h>

static int setup(void **state)
{
	static struct fixture fixture;

	*state = &fixture;
	return fixture_init(&fixture);
}

static int teardown(void **state)
{
	fixture_deinit(*state);
	return 0;
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
		assert_int_equal(gate_set_conf(&fixture->gate, fixture->conf), 0);
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

		/* not what was verified before */
		scratch_write("file", "0123456789", i + 1);
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
	assert_int_equal(fixture->gate.counters->rescans, 1);
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
	assert_int_equal(fake.marks, 0);
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
	lose_worker(fixture, 0);
	assert_held(fd);
	start_worker(fixture);
	assert_int_not_equal(next_scan(fixture), 0);
	lose_worker(fixture, 0);
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
	lose_worker(fixture, 0);
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
	assert_int_equal(fixture->gate.counters->timeouts, 1);

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

/* --- scans that somebody asks for --- */

struct probe {
	struct asker asker;
	unsigned n_told;
	struct wire_verdict verdict;
};

static void probe_told(struct asker *asker, const struct wire_verdict *verdict)
{
	struct probe *probe = (struct probe *)(void *)asker;

	probe->n_told++;
	probe->verdict = *verdict;
}

static void ask_fd(struct fixture *fixture, struct probe *probe, int fd,
		   const struct gate_order *order)
{
	struct gate_order own = *order;

	*probe = (struct probe){.asker.told = probe_told};
	own.asker = &probe->asker;
	gate_scan(&fixture->gate, fd, &own);
	run(fixture);
}

static void ask_with(struct fixture *fixture, struct probe *probe, const char *name,
		     const struct gate_order *order)
{
	int fd = open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	assert_true(fd >= 0);
	ask_fd(fixture, probe, fd, order);
	/* It stays the caller's. */
	assert_int_equal(close(fd), 0);
}

static void ask(struct fixture *fixture, struct probe *probe, const char *name, enum lane lane)
{
	ask_with(fixture, probe, name, &(const struct gate_order){.lane = lane});
}

static void assert_told(const struct probe *probe, enum verdict verdict, const char *reason)
{
	assert_int_equal(probe->n_told, 1);
	assert_int_equal(probe->verdict.verdict, verdict);
	assert_string_equal(probe->verdict.reason, reason);
}

static bool is_known(const struct probe *probe)
{
	return probe->n_told == 1 && probe->verdict.verdict == VERDICT_CLEAN &&
	       probe->verdict.flags == WIRE_VERDICT_KNOWN;
}

/* Scans a file and makes this of it. */
static void verify(struct fixture *fixture, const char *name, enum verdict verdict)
{
	struct probe probe;

	ask_with(fixture, &probe, name,
		 &(const struct gate_order){.lane = LANE_DEMAND, .afresh = true});
	send_verdict(fixture, verdict, "reason");
	assert_told(&probe, verdict, "reason");
}

static void assert_found(struct fixture *fixture, enum wire_answer answer, int32_t pid,
			 uint32_t uid, const char *exe)
{
	struct wire_found found;

	assert_int_equal(recv(fixture->reporter, &found, sizeof(found), MSG_DONTWAIT),
			 sizeof(found));
	assert_int_equal(found.answer, answer);
	assert_int_equal(found.pid, pid);
	assert_int_equal(found.uid, uid);
	assert_string_equal(found.exe, exe);
	assert_int_equal(recv(fixture->reporter, &found, sizeof(found), MSG_DONTWAIT), -1);
}

static void who_asks_is_told_the_verdict(void **state)
{
	struct fixture *fixture = *state;
	struct probe probe;

	start_engine(fixture);
	for (enum verdict verdict = VERDICT_CLEAN; verdict < VERDICT_COUNT; verdict++) {
		ask_with(fixture, &probe, "file",
			 &(const struct gate_order){.lane = LANE_SCHEDULED, .afresh = true});
		assert_int_equal(probe.n_told, 0);
		assert_int_equal(next_scan(fixture), inode_of("file"));
		send_verdict(fixture, verdict, "reason");
		assert_told(&probe, verdict, "reason");
		assert_int_equal(probe.verdict.flags, 0);
		assert_int_equal(fixture->gate.requests.n_requests, 0);
	}
	assert_no_more_answers();
}

static void it_need_not_be_in_scope(void **state)
{
	struct fixture *fixture = *state;
	struct probe probe;

	conf_fixture_set(fixture->conf, "on-access", "exclude", scratch);
	start_engine(fixture);
	ask(fixture, &probe, "file", LANE_DEMAND);
	send_verdict(fixture, VERDICT_INFECTED, "Eicar-Test");
	assert_told(&probe, VERDICT_INFECTED, "Eicar-Test");
}

static void an_empty_file_is_remembered_too(void **state)
{
	struct fixture *fixture = *state;
	struct probe probe;

	memory_or_skip(fixture);
	start_engine(fixture);
	ask(fixture, &probe, "empty", LANE_DEMAND);
	assert_told(&probe, VERDICT_CLEAN, "");
	assert_int_equal(probe.verdict.flags, 0);
	ask(fixture, &probe, "empty", LANE_DEMAND);
	assert_true(is_known(&probe));
}

static void an_empty_file_is_clean_without_a_worker(void **state)
{
	struct fixture *fixture = *state;
	struct probe probe;

	ask(fixture, &probe, "empty", LANE_DEMAND);
	assert_told(&probe, VERDICT_CLEAN, "");
	assert_int_equal(fixture->gate.requests.n_requests, 0);
}

static void a_clean_file_is_remembered(void **state)
{
	struct fixture *fixture = *state;
	struct probe probe;

	memory_or_skip(fixture);
	start_engine(fixture);
	verify(fixture, "file", VERDICT_CLEAN);
	ask(fixture, &probe, "file", LANE_DEMAND);
	assert_true(is_known(&probe));
	assert_answered(open_file(fixture, "file"), true);
	assert_int_equal(next_scan(fixture), 0);
	assert_int_equal(fixture->gate.counters->known, 2);

	/* and what an open was scanned for counts for a scan */
	(void)open_file(fixture, "other");
	send_verdict(fixture, VERDICT_CLEAN, "");
	ask(fixture, &probe, "other", LANE_SCHEDULED);
	assert_true(is_known(&probe));
}

static void afresh_it_is_scanned_all_the_same(void **state)
{
	struct fixture *fixture = *state;

	memory_or_skip(fixture);
	start_engine(fixture);
	verify(fixture, "file", VERDICT_CLEAN);
	verify(fixture, "file", VERDICT_CLEAN);
	assert_int_equal(fixture->gate.counters->known, 0);
}

static void nothing_but_clean_is_remembered(void **state)
{
	struct fixture *fixture = *state;
	struct probe probe;

	start_engine(fixture);
	for (enum verdict verdict = VERDICT_CLEAN + 1; verdict < VERDICT_COUNT; verdict++) {
		verify(fixture, "file", verdict);
		ask(fixture, &probe, "file", LANE_DEMAND);
		assert_int_equal(probe.n_told, 0);
		send_verdict(fixture, verdict, "");
	}
}

static void what_is_not_clean_any_more_is_not_remembered(void **state)
{
	struct fixture *fixture = *state;
	struct probe probe;

	memory_or_skip(fixture);
	start_engine(fixture);
	for (enum verdict verdict = VERDICT_CLEAN + 1; verdict < VERDICT_COUNT; verdict++) {
		verify(fixture, "file", VERDICT_CLEAN);
		fake.unmarks = 0;
		verify(fixture, "file", verdict);
		assert_int_equal(fake.unmarks, 1);
		ask(fixture, &probe, "file", LANE_DEMAND);
		assert_int_equal(probe.n_told, 0);
		send_verdict(fixture, verdict, "");
	}
	assert_held(open_file(fixture, "file"));
}

static void a_file_that_was_written_is_not_known(void **state)
{
	struct fixture *fixture = *state;
	struct probe probe;

	memory_or_skip(fixture);
	start_engine(fixture);
	scratch_write("file", "content", 7);
	verify(fixture, "file", VERDICT_CLEAN);
	scratch_write("file", "content!", 8);
	ask(fixture, &probe, "file", LANE_DEMAND);
	assert_int_equal(probe.n_told, 0);
	assert_held(open_file(fixture, "file"));
}

/* Nobody may have seen what was put in while the worker was at it. */
static void a_file_that_has_a_writer_is_not_remembered(void **state)
{
	struct fixture *fixture = *state;
	struct probe probe;
	int writer = open("file", O_WRONLY | O_CLOEXEC);

	memory_or_skip(fixture);
	start_engine(fixture);
	verify(fixture, "file", VERDICT_CLEAN);
	close(writer);
	ask(fixture, &probe, "file", LANE_DEMAND);
	assert_int_equal(probe.n_told, 0);
}

static void a_file_that_changed_is_scanned_again_for_who_asks(void **state)
{
	struct fixture *fixture = *state;
	struct probe probe;

	start_engine(fixture);
	ask(fixture, &probe, "other", LANE_DEMAND);
	for (size_t size = 1; size <= 3; size++) {
		scratch_write("other", "0123456789", size);
		send_verdict(fixture, VERDICT_CLEAN, "");
		assert_int_equal(probe.n_told, 0);
	}
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_told(&probe, VERDICT_CLEAN, "");
}

/* Or whoever changes his file again and again would keep a full scan busy. */
static void who_asks_for_a_file_that_never_rests_is_told_so(void **state)
{
	struct fixture *fixture = *state;
	struct probe probe;

	start_engine(fixture);
	ask(fixture, &probe, "other", LANE_SCHEDULED);
	for (size_t size = 1; size <= 4; size++) {
		assert_int_equal(probe.n_told, 0);
		scratch_write("other", "0123456789", size);
		send_verdict(fixture, VERDICT_CLEAN, "");
	}
	assert_told(&probe, VERDICT_INCOMPLETE, "it changed while it was scanned");
	assert_int_equal(next_scan(fixture), 0);
	assert_int_equal(fixture->gate.requests.n_requests, 0);
	ask(fixture, &probe, "other", LANE_SCHEDULED);
	assert_int_equal(probe.n_told, 0);
}

/* A millisecond later. */
static void set_clock_to_change_of(const char *name)
{
	struct stat status;

	assert_int_equal(stat(name, &status), 0);
	fake.started_us = (uint64_t)status.st_ctim.tv_sec * SECOND +
			  (uint64_t)status.st_ctim.tv_nsec / 1000 + 1000 - fake.now_us;
}

/* A change in the same tick of the clock could not be seen. */
static void what_had_just_changed_when_it_was_scanned_is_not_remembered(void **state)
{
	struct fixture *fixture = *state;
	struct probe probe;

	memory_or_skip(fixture);
	start_engine(fixture);
	scratch_write("file", "content", 7);
	set_clock_to_change_of("file");
	ask(fixture, &probe, "file", LANE_DEMAND);
	assert_int_equal(next_scan(fixture), inode_of("file"));
	fake.started_us = WALL_US;
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_told(&probe, VERDICT_CLEAN, "");

	ask(fixture, &probe, "file", LANE_DEMAND);
	assert_int_equal(probe.n_told, 0);
	send_verdict(fixture, VERDICT_CLEAN, "");
	ask(fixture, &probe, "file", LANE_DEMAND);
	assert_true(is_known(&probe));
}

/* It counts when the worker gets it, not when somebody asked. */
static void what_changed_while_it_waited_is_not_remembered_either(void **state)
{
	struct fixture *fixture = *state;
	struct probe first, second;

	memory_or_skip(fixture);
	start_engine(fixture);
	ask(fixture, &first, "other", LANE_DEMAND);
	ask(fixture, &second, "file", LANE_DEMAND);
	scratch_write("file", "content", 7);
	set_clock_to_change_of("file");
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_int_equal(next_scan(fixture), inode_of("file"));
	fake.started_us = WALL_US;
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_told(&second, VERDICT_CLEAN, "");
	ask(fixture, &second, "file", LANE_DEMAND);
	assert_int_equal(second.n_told, 0);
}

static void make_user_file(void)
{
	scratch_write("users", "content", 7);
	assert_int_equal(chown("users", 12345, 12345), 0);
}

/* Two system calls change its bytes and not its times. */
static void what_a_user_may_write_is_scanned_again_after_each_close(void **state)
{
	struct fixture *fixture = *state;
	struct probe probe;

	memory_or_skip(fixture);
	start_engine(fixture);
	watch_scratch(fixture);
	make_user_file();
	verify(fixture, "users", VERDICT_CLEAN);
	verify(fixture, "file", VERDICT_CLEAN);
	ask(fixture, &probe, "users", LANE_DEMAND);
	assert_true(is_known(&probe));

	close_written(fixture, "users");
	ask(fixture, &probe, "users", LANE_DEMAND);
	assert_int_equal(probe.n_told, 0);
	send_verdict(fixture, VERDICT_CLEAN, "");
	ask(fixture, &probe, "users", LANE_DEMAND);
	assert_true(is_known(&probe));

	overflow(fixture);
	assert_int_equal(fixture->gate.counters->overflows, 1);
	ask(fixture, &probe, "users", LANE_DEMAND);
	assert_int_equal(probe.n_told, 0);
	send_verdict(fixture, VERDICT_CLEAN, "");

	/* Nobody but root could have done so here. */
	close_written(fixture, "file");
	ask(fixture, &probe, "file", LANE_DEMAND);
	assert_true(is_known(&probe));
}

/* Whoever unmarks a filesystem makes the group forget. */
static void what_is_no_longer_watched_may_have_been_closed_unseen(void **state)
{
	struct fixture *fixture = *state;
	struct probe probe;

	memory_or_skip(fixture);
	start_engine(fixture);
	watch_scratch(fixture);
	make_user_file();
	gate_mounts_changed(&fixture->gate);
	for (unsigned i = 0; i < 2; i++) {
		verify(fixture, "users", VERDICT_CLEAN);
		/* Neither is a reason by itself. */
		gate_mounts_changed(&fixture->gate);
		assert_int_equal(gate_set_conf(&fixture->gate, fixture->conf), 0);
		ask(fixture, &probe, "users", LANE_DEMAND);
		assert_true(is_known(&probe));

		watch_forget_all(&fixture->gate.watch);
		if (i)
			gate_mounts_changed(&fixture->gate);
		else
			assert_int_equal(gate_set_conf(&fixture->gate, fixture->conf), 0);
		ask(fixture, &probe, "users", LANE_DEMAND);
		assert_int_equal(probe.n_told, 0);
		send_verdict(fixture, VERDICT_CLEAN, "");
	}
}

static void where_no_close_is_seen_only_what_root_writes_is_remembered(void **state)
{
	struct fixture *fixture = *state;
	struct probe probe;

	memory_or_skip(fixture);
	start_engine(fixture);
	make_user_file();
	verify(fixture, "users", VERDICT_CLEAN);
	ask(fixture, &probe, "users", LANE_DEMAND);
	assert_int_equal(probe.n_told, 0);
	send_verdict(fixture, VERDICT_CLEAN, "");
	verify(fixture, "file", VERDICT_CLEAN);
	ask(fixture, &probe, "file", LANE_DEMAND);
	assert_true(is_known(&probe));
}

/* What was opened is what needs attention. */
static void scans_are_counted_apart_from_opens(void **state)
{
	struct fixture *fixture = *state;
	const struct control_counters *counters = fixture->gate.counters;
	struct probe probe;

	start_engine(fixture);
	ask(fixture, &probe, "file", LANE_SCHEDULED);
	send_verdict(fixture, VERDICT_INCOMPLETE, "encrypted");
	ask(fixture, &probe, "file", LANE_DEMAND);
	send_verdict(fixture, VERDICT_FAILED, "reason");
	assert_int_equal(counters->scans[VERDICT_INCOMPLETE], 1);
	assert_int_equal(counters->scans[VERDICT_FAILED], 1);
	assert_int_equal(counters->verdicts[VERDICT_INCOMPLETE], 0);
	assert_int_equal(counters->verdicts[VERDICT_FAILED], 0);

	ask(fixture, &probe, "file", LANE_SCHEDULED);
	(void)open_file(fixture, "file");
	send_verdict(fixture, VERDICT_INCOMPLETE, "encrypted");
	assert_int_equal(counters->scans[VERDICT_INCOMPLETE], 1);
	assert_int_equal(counters->verdicts[VERDICT_INCOMPLETE], 1);
}

/* A worker may have been taken over by what it scanned. */
static void no_scan_takes_longer_than_it_may(void **state)
{
	struct wire_verdict verdict = wire_verdict_make(VERDICT_CLEAN, "");
	struct fixture *fixture = *state;
	struct probe probe;

	start_engine(fixture);
	for (unsigned i = 0; i < 2; i++) {
		ask_with(fixture, &probe, "file",
			 &(const struct gate_order){.lane = LANE_DEMAND, .afresh = true});
		assert_int_not_equal(next_scan(fixture), 0);
		verdict.id = fixture->workers[0].scan;
		verdict.cpu_us = i ? UINT64_MAX : 12345;
		fixture->workers[0].scan = 0;
		assert_int_equal(chan_send(fixture->workers[0].fd, &verdict.header, -1), 0);
		run(fixture);
		assert_told(&probe, VERDICT_CLEAN, "");
		assert_int_equal(probe.verdict.cpu_us, i ? 60 * SECOND : 12345);
	}
}

static void files_that_the_kernel_makes_up_are_not_scanned(void **state)
{
	struct fixture *fixture = *state;
	struct mount *mount = scratch_mount(fixture);
	struct probe probe;

	free(mount->type);
	mount->type = strdup("sysfs");
	start_engine(fixture);
	ask_with(fixture, &probe, "file",
		 &(const struct gate_order){.lane = LANE_SCHEDULED, .remote = true});
	assert_told(&probe, VERDICT_FAILED, "it is on the kernel's own filesystem");
	assert_int_equal(next_scan(fixture), 0);
}

static void under_other_signatures_nothing_is_known(void **state)
{
	struct fixture *fixture = *state;
	struct wire_engine_info info = {
		.header = WIRE_INIT(WIRE_ENGINE_INFO, struct wire_engine_info),
		.scan_deadline_ms = 60000,
		.set = 2,
	};
	struct probe probe;

	memory_or_skip(fixture);
	start_engine(fixture);
	assert_int_equal(gate_signatures(&fixture->gate), 1);
	assert_int_equal(pool_engine(fixture->gate.pool), 77);
	verify(fixture, "file", VERDICT_CLEAN);
	start_engine_with(fixture, &info);
	assert_int_equal(gate_signatures(&fixture->gate), 2);
	assert_int_equal(pool_engine(fixture->gate.pool), 78);
	ask(fixture, &probe, "file", LANE_DEMAND);
	assert_int_equal(probe.n_told, 0);
	send_verdict(fixture, VERDICT_CLEAN, "");

	/* What is clean under one set is so under an equal one. */
	info.set = 1;
	start_engine_with(fixture, &info);
	ask(fixture, &probe, "file", LANE_DEMAND);
	assert_true(is_known(&probe));
}

/* The kernel is told only where it tells us of each change. */
static void only_what_is_watched_gets_a_mark(void **state)
{
	struct fixture *fixture = *state;

	memory_or_skip(fixture);
	start_engine(fixture);
	verify(fixture, "file", VERDICT_CLEAN);
	assert_int_equal(fake.marks, 0);

	watch_scratch(fixture);
	verify(fixture, "file", VERDICT_CLEAN);
	assert_int_equal(fake.marks, 1);
	assert_int_equal(fixture->gate.counters->marks, 1);
	/* An open means that the kernel has forgotten. */
	assert_answered(open_file(fixture, "file"), true);
	assert_int_equal(fake.marks, 2);

	verify(fixture, "file", VERDICT_INCOMPLETE);
	assert_int_equal(fake.marks, 2);
}

static void a_scan_joins_an_open_and_an_open_a_scan(void **state)
{
	struct fixture *fixture = *state;
	struct probe first, second;
	int fd;

	start_engine(fixture);
	fd = open_file(fixture, "file");
	ask(fixture, &first, "file", LANE_SCHEDULED);
	send_verdict(fixture, VERDICT_INFECTED, "Eicar-Test");
	assert_answered(fd, false);
	assert_told(&first, VERDICT_INFECTED, "Eicar-Test");
	assert_int_equal(next_scan(fixture), 0);

	ask(fixture, &first, "other", LANE_SCHEDULED);
	ask(fixture, &second, "other", LANE_DEMAND);
	fd = open_file(fixture, "other");
	assert_held(fd);
	send_verdict(fixture, VERDICT_INFECTED, "Eicar-Test");
	assert_answered(fd, false);
	assert_told(&first, VERDICT_INFECTED, "Eicar-Test");
	assert_told(&second, VERDICT_INFECTED, "Eicar-Test");
	assert_int_equal(next_scan(fixture), 0);
	assert_int_equal(fixture->gate.counters->joined, 3);
}

static void who_asks_is_told_when_it_cannot_be_scanned(void **state)
{
	struct fixture *fixture = *state;
	struct probe probe;

	start_engine(fixture);
	ask(fixture, &probe, "file", LANE_DEMAND);
	lose_worker(fixture, 0);
	assert_int_equal(probe.n_told, 0);
	start_worker(fixture);
	assert_int_equal(next_scan(fixture), inode_of("file"));
	lose_worker(fixture, 0);
	assert_told(&probe, VERDICT_FAILED, "its worker died: Segmentation fault");

	/* it waits, and then there is nobody to wait for; and at once */
	ask(fixture, &probe, "other", LANE_DEMAND);
	assert_int_equal(probe.n_told, 0);
	gate_engine_down(&fixture->gate);
	assert_told(&probe, VERDICT_FAILED, "no engine is running");
	assert_int_equal(probe.verdict.flags, WIRE_VERDICT_NO_ENGINE);
	ask(fixture, &probe, "other", LANE_DEMAND);
	assert_told(&probe, VERDICT_FAILED, "no engine is running");
	assert_int_equal(probe.verdict.flags, WIRE_VERDICT_NO_ENGINE);
	assert_int_equal(fixture->gate.requests.n_requests, 0);
}

static void only_regular_files_that_are_somewhere_are_scanned(void **state)
{
	static const char nowhere[] = "it is on no filesystem that is mounted here";
	struct fixture *fixture = *state;
	int fd = memfd_create("nowhere", MFD_CLOEXEC);
	struct probe probe;

	start_engine(fixture);
	assert_int_equal(write(fd, "content", 7), 7);
	ask_fd(fixture, &probe, fd, &(const struct gate_order){.lane = LANE_DEMAND});
	assert_told(&probe, VERDICT_FAILED, nowhere);
	close(fd);

	assert_int_equal(mkfifo("fifo", 0600), 0);
	ask(fixture, &probe, "fifo", LANE_DEMAND);
	assert_told(&probe, VERDICT_FAILED, "not a regular file");
	ask(fixture, &probe, "out", LANE_DEMAND);
	assert_told(&probe, VERDICT_FAILED, "not a regular file");
	assert_int_equal(next_scan(fixture), 0);
	assert_int_equal(fixture->gate.requests.n_requests, 0);
}

static void on_remote_filesystems_only_as_ordered(void **state)
{
	struct fixture *fixture = *state;
	struct mount *mount = scratch_mount(fixture);
	struct probe probe;

	free(mount->type);
	mount->type = strdup("nfs4");
	start_engine(fixture);
	ask(fixture, &probe, "file", LANE_SCHEDULED);
	assert_told(&probe, VERDICT_FAILED,
		    "it is on a network or FUSE filesystem, which is not scanned unless "
		    "configured");
	ask_with(fixture, &probe, "file",
		 &(const struct gate_order){.lane = LANE_SCHEDULED, .remote = true});
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_told(&probe, VERDICT_CLEAN, "");
}

static void ask_for_new_file(struct fixture *fixture, struct probe *probe, unsigned number)
{
	char name[32];
	int fd;

	(void)snprintf(name, sizeof(name), "out/%u", number);
	fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, "1", 1), 1);
	*probe = (struct probe){.asker.told = probe_told};
	gate_scan(&fixture->gate, fd,
		  &(const struct gate_order){.lane = LANE_DEMAND, .asker = &probe->asker});
	close(fd);
}

static void where_there_is_no_room_who_asks_is_told(void **state)
{
	struct fixture *fixture = *state;
	struct probe *probes = calloc(REQUESTS_MAX + 1, sizeof(*probes));

	assert_non_null(probes);
	for (unsigned i = 0; i < REQUESTS_MAX; i++) {
		ask_for_new_file(fixture, &probes[i], i);
		assert_int_equal(probes[i].n_told, 0);
	}
	ask_for_new_file(fixture, &probes[REQUESTS_MAX], REQUESTS_MAX);
	assert_told(&probes[REQUESTS_MAX], VERDICT_FAILED, "too many files wait for a verdict");

	gate_take_back(&fixture->gate, &probes[7].asker);
	ask_for_new_file(fixture, &probes[REQUESTS_MAX], REQUESTS_MAX);
	assert_int_equal(probes[REQUESTS_MAX].n_told, 0);
	assert_int_equal(probes[7].n_told, 0);
	gate_engine_down(&fixture->gate);
	assert_told(&probes[REQUESTS_MAX], VERDICT_FAILED, "no engine is running");
	free(probes);
}

static void who_takes_back_is_not_told(void **state)
{
	struct fixture *fixture = *state;
	struct probe first, second, third;
	int fd;

	start_engine(fixture);
	ask(fixture, &first, "file", LANE_DEMAND);
	ask(fixture, &second, "other", LANE_DEMAND);
	ask(fixture, &third, "third", LANE_DEMAND);
	gate_take_back(&fixture->gate, &first.asker);
	gate_take_back(&fixture->gate, &second.asker);
	/* twice is once, and after it was told nothing */
	gate_take_back(&fixture->gate, &second.asker);
	/* The scan that is under way goes on, the one that waited is forgotten. */
	assert_int_equal(next_scan(fixture), inode_of("file"));
	fd = open_file(fixture, "file");
	send_verdict(fixture, VERDICT_INFECTED, "");
	assert_answered(fd, false);
	assert_int_equal(next_scan(fixture), inode_of("third"));
	send_verdict(fixture, VERDICT_INFECTED, "");
	assert_int_equal(next_scan(fixture), 0);
	gate_take_back(&fixture->gate, &third.asker);
	assert_int_equal(first.n_told, 0);
	assert_int_equal(second.n_told, 0);
	assert_int_equal(third.n_told, 1);
}

static void the_alert_says_who_caused_the_scan(void **state)
{
	static const struct gate_order demand = {
		.lane = LANE_DEMAND, .origin = {.pid = 77, .uid = 7, .exe = "/bin/demand"}};
	static const struct gate_order full_scan = {
		.lane = LANE_SCHEDULED, .origin = {.pid = 99, .uid = 9, .exe = "/bin/scan"}};
	struct fixture *fixture = *state;
	struct opener opener;
	struct probe first, second;
	int fd;

	opener_read(OPENER_PID, &opener);
	start_engine(fixture);
	ask_with(fixture, &first, "file", &demand);
	send_verdict(fixture, VERDICT_INFECTED, "Eicar-Test");
	assert_found(fixture, WIRE_ANSWER_DEMANDED, 77, 7, "/bin/demand");

	ask_with(fixture, &first, "file", &full_scan);
	send_verdict(fixture, VERDICT_INFECTED, "Eicar-Test");
	assert_found(fixture, WIRE_ANSWER_SCHEDULED, 99, 9, "/bin/scan");

	/* the most urgent, if there are more */
	for (unsigned i = 0; i < 2; i++) {
		ask_with(fixture, &first, "file", i ? &demand : &full_scan);
		ask_with(fixture, &second, "file", i ? &full_scan : &demand);
		send_verdict(fixture, VERDICT_INFECTED, "Eicar-Test");
		assert_found(fixture, WIRE_ANSWER_DEMANDED, 77, 7, "/bin/demand");
	}

	/* who opens comes before who asks */
	for (unsigned i = 0; i < 2; i++) {
		/* it is not what was found before */
		scratch_write("file", "0123456789", i + 1);
		if (i)
			ask_with(fixture, &first, "file", &full_scan);
		fd = open_file(fixture, "file");
		if (!i)
			ask_with(fixture, &first, "file", &demand);
		send_verdict(fixture, VERDICT_INFECTED, "Eicar-Test");
		assert_answered(fd, false);
		assert_found(fixture, WIRE_ANSWER_BLOCKED, OPENER_PID, opener.uid,
			     opener_exe(&opener));
	}
}

/* --- who comes first --- */

static void with_one_worker_opens_go_first(void **state)
{
	struct fixture *fixture = *state;
	struct probe probes[3];

	start_engine(fixture);
	ask(fixture, &probes[0], "file", LANE_SCHEDULED);
	ask(fixture, &probes[1], "other", LANE_SCHEDULED);
	ask(fixture, &probes[2], "third", LANE_DEMAND);
	(void)open_file(fixture, "fourth");
	/* Nobody takes away what it has begun with. */
	assert_int_equal(next_scan(fixture), inode_of("file"));
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_int_equal(next_scan(fixture), inode_of("fourth"));
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_int_equal(next_scan(fixture), inode_of("third"));
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_int_equal(next_scan(fixture), inode_of("other"));
	send_verdict(fixture, VERDICT_CLEAN, "");
	for (size_t i = 0; i < N_ELEMENTS(probes); i++)
		assert_told(&probes[i], VERDICT_CLEAN, "");
}

static void of_several_workers_half_are_kept_for_opens(void **state)
{
	struct fixture *fixture = *state;
	struct probe probes[3];

	start_engine(fixture);
	start_worker(fixture);
	start_worker(fixture);
	start_worker(fixture);
	ask(fixture, &probes[0], "file", LANE_SCHEDULED);
	ask(fixture, &probes[1], "other", LANE_DEMAND);
	ask(fixture, &probes[2], "third", LANE_DEMAND);
	assert_int_equal(scanned_by(fixture, 0), inode_of("file"));
	assert_int_equal(scanned_by(fixture, 1), inode_of("other"));
	assert_int_equal(scanned_by(fixture, 2), 0);

	(void)open_file(fixture, "fourth");
	assert_int_equal(scanned_by(fixture, 2), inode_of("fourth"));
	/* When that is done its worker is kept again. */
	verdict_by(fixture, 2, VERDICT_CLEAN, "");
	assert_int_equal(scanned_by(fixture, 2), 0);
	verdict_by(fixture, 0, VERDICT_CLEAN, "");
	assert_int_equal(scanned_by(fixture, 0) + scanned_by(fixture, 2), inode_of("third"));
}

/* Whoever opens a file that waits in the background takes the idle worker. */
static void an_open_of_what_waits_is_not_kept_waiting(void **state)
{
	struct fixture *fixture = *state;
	struct probe probes[2];
	int fd;

	start_engine(fixture);
	start_worker(fixture);
	ask(fixture, &probes[0], "file", LANE_SCHEDULED);
	ask(fixture, &probes[1], "other", LANE_SCHEDULED);
	assert_int_equal(scanned_by(fixture, 1), 0);
	fd = open_file(fixture, "other");
	assert_int_equal(scanned_by(fixture, 1), inode_of("other"));
	verdict_by(fixture, 1, VERDICT_CLEAN, "");
	assert_answered(fd, true);
	assert_told(&probes[1], VERDICT_CLEAN, "");
}

static void a_more_urgent_asker_brings_a_file_forward(void **state)
{
	struct fixture *fixture = *state;
	struct probe probes[4];

	start_engine(fixture);
	ask(fixture, &probes[0], "file", LANE_SCHEDULED);
	ask(fixture, &probes[1], "other", LANE_SCHEDULED);
	ask(fixture, &probes[2], "third", LANE_SCHEDULED);
	ask(fixture, &probes[3], "third", LANE_DEMAND);
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_int_equal(next_scan(fixture), inode_of("third"));
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_told(&probes[2], VERDICT_CLEAN, "");
	assert_told(&probes[3], VERDICT_CLEAN, "");
}

/* --- who is refused --- */

static void assert_denied(const struct fixture *fixture, unsigned i, const char *name, int32_t pid,
			  enum verdict verdict, const char *reason)
{
	assert_true(i < fixture->n_denied);
	struct file_state state;
	struct file_id id;
	int fd = open(name, O_PATH | O_CLOEXEC);

	assert_int_equal(file_stat(fd, &id, &state), 0);
	close(fd);
	assert_int_equal(fixture->denied[i].pid, pid);
	assert_int_equal(fixture->denied[i].id.inode, id.inode);
	assert_int_equal(fixture->denied[i].id.device, id.device);
	assert_int_equal(fixture->denied[i].verdict.verdict, verdict);
	assert_string_equal(fixture->denied[i].verdict.reason, reason);
}

static void each_who_is_refused_can_be_told_why(void **state)
{
	struct fixture *fixture = *state;
	struct probe probe;

	set(fixture, "on-incomplete", "deny");
	start_engine(fixture);
	(void)open_by(fixture, "file", OPENER_PID);
	(void)open_by(fixture, "file", 2);
	ask(fixture, &probe, "file", LANE_DEMAND);
	send_verdict(fixture, VERDICT_INFECTED, "Eicar-Test");
	assert_int_equal(fixture->n_denied, 2);
	assert_denied(fixture, 0, "file", OPENER_PID, VERDICT_INFECTED, "Eicar-Test");
	assert_denied(fixture, 1, "file", 2, VERDICT_INFECTED, "Eicar-Test");

	(void)open_by(fixture, "other", 2);
	send_verdict(fixture, VERDICT_INCOMPLETE, "encrypted");
	assert_int_equal(fixture->n_denied, 3);
	assert_denied(fixture, 2, "other", 2, VERDICT_INCOMPLETE, "encrypted");
	assert_int_equal(fixture->gate.counters->denied, 3);
}

static void who_is_let_through_was_not_refused(void **state)
{
	struct fixture *fixture = *state;

	start_engine(fixture);
	(void)open_file(fixture, "file");
	send_verdict(fixture, VERDICT_INCOMPLETE, "encrypted");
	(void)open_file(fixture, "file");
	send_verdict(fixture, VERDICT_CLEAN, "");
	set(fixture, "mode", "notify");
	(void)open_file(fixture, "other");
	send_verdict(fixture, VERDICT_INFECTED, "Eicar-Test");
	assert_int_equal(fixture->n_denied, 0);
}

static void at_the_hold_deadline_only_the_overdue_are_refused(void **state)
{
	static const char why[] = "no verdict within hold-timeout";
	struct fixture *fixture = *state;
	int early, late;

	set(fixture, "hold-timeout", "15s");
	set(fixture, "on-timeout", "deny");
	start_engine(fixture);
	early = open_by(fixture, "file", 2);
	pass_time(fixture, 10 * SECOND);
	late = open_by(fixture, "file", 3);
	assert_int_equal(fixture->n_denied, 0);
	pass_time(fixture, 6 * SECOND);
	assert_answered(early, false);
	assert_held(late);
	assert_int_equal(fixture->n_denied, 1);
	assert_denied(fixture, 0, "file", 2, VERDICT_INCOMPLETE, why);
	pass_time(fixture, 10 * SECOND);
	assert_answered(late, false);
	assert_int_equal(fixture->n_denied, 2);
	assert_denied(fixture, 1, "file", 3, VERDICT_INCOMPLETE, why);
	assert_int_equal(fixture->gate.counters->denied, 2);
}

static void who_is_refused_for_want_of_room_can_be_told_so(void **state)
{
	struct fanotify_event_metadata metadata = {
		.event_len = FAN_EVENT_METADATA_LEN,
		.vers = FANOTIFY_METADATA_VERSION,
		.metadata_len = FAN_EVENT_METADATA_LEN,
		.mask = FAN_OPEN_PERM,
		.pid = OPENER_PID,
	};
	struct fixture *fixture = *state;
	struct rlimit limit;

	for (unsigned deny = 0; deny <= 1; deny++) {
		set(fixture, "on-failure", deny ? "deny" : "allow");
		metadata.fd = open("file", O_RDONLY | O_CLOEXEC);
		assert_int_equal(write(fake.kernel, &metadata, sizeof(metadata)), sizeof(metadata));
		limit = unit_forbid_fds();
		run(fixture);
		setrlimit(RLIMIT_NOFILE, &limit);
		assert_answered(metadata.fd, !deny);
		assert_int_equal(fixture->n_denied, deny);
		assert_int_equal(fixture->gate.counters->denied, deny);
	}
	assert_denied(fixture, 0, "file", OPENER_PID, VERDICT_FAILED,
		      "too many files wait for a verdict");
	assert_int_equal(fixture->gate.counters->not_scanned, 2);
}

static void who_asks_waits_longer_than_openers(void **state)
{
	struct fixture *fixture = *state;
	struct probe waiting, under_way;

	set(fixture, "hold-timeout", "15s");
	start_engine(fixture);
	ask(fixture, &under_way, "file", LANE_DEMAND);
	ask(fixture, &waiting, "other", LANE_DEMAND);
	(void)open_file(fixture, "file");
	(void)open_file(fixture, "other");
	pass_time(fixture, 16 * SECOND);
	assert_int_equal(fixture->gate.counters->timeouts, 2);
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_told(&under_way, VERDICT_CLEAN, "");
	assert_int_equal(waiting.n_told, 0);
	assert_int_equal(next_scan(fixture), inode_of("other"));
	send_verdict(fixture, VERDICT_INCOMPLETE, "encrypted");
	assert_told(&waiting, VERDICT_INCOMPLETE, "encrypted");
}

/* --- an engine that makes room for the next --- */

/* It is told, and its socket is closed. */
static void assert_engine_let_go(struct fixture *fixture)
{
	struct wire_plain message;

	assert_int_equal(recv(fixture->engine, &message, sizeof(message), MSG_DONTWAIT),
			 sizeof(message));
	assert_int_equal(message.header.type, WIRE_RETIRE);
	while (recv(fixture->engine, &message, sizeof(message), MSG_DONTWAIT) > 0)
		assert_int_equal(message.header.type, WIRE_KILL_WORKER);
	assert_int_equal(recv(fixture->engine, &message, sizeof(message), MSG_DONTWAIT), 0);
}

static void a_released_engine_ends_its_scans_and_gets_no_more(void **state)
{
	struct fixture *fixture = *state;
	int under_way, later;

	start_engine(fixture);
	under_way = open_file(fixture, "file");
	assert_int_not_equal(next_scan(fixture), 0);
	gate_release(&fixture->gate);
	assert_int_equal(pool_alive(fixture->gate.pool), 0);
	later = open_file(fixture, "other");
	send_verdict(fixture, VERDICT_INFECTED, "Eicar-Test");
	assert_answered(under_way, false);
	assert_engine_let_go(fixture);
	assert_held(later);

	start_engine(fixture);
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_answered(later, true);
}

static void idle_workers_are_let_go_at_once(void **state)
{
	struct fixture *fixture = *state;

	start_engine(fixture);
	start_worker(fixture);
	gate_release(&fixture->gate);
	assert_engine_let_go(fixture);
	assert_int_equal(pool_alive(fixture->gate.pool), 0);
}

static void a_scan_that_takes_too_long_is_begun_again_by_the_next_engine(void **state)
{
	static const struct {
		const char *timeout;
		uint64_t grace;
	} cases[] = {{"1m", 5 * SECOND}, {"6s", 2 * SECOND}};
	struct fixture *fixture = *state;
	struct probe probe;
	int fd;

	set(fixture, "on-failure", "deny");
	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		set(fixture, "hold-timeout", cases[i].timeout);
		scratch_write("file", "0123456789", i + 1);
		start_engine(fixture);
		fd = open_file(fixture, "file");
		ask(fixture, &probe, "file", LANE_SCHEDULED);
		assert_int_equal(next_scan(fixture), inode_of("file"));
		gate_release(&fixture->gate);
		pass_time(fixture, cases[i].grace - SECOND / 10);
		assert_int_equal(pool_busy(fixture->gate.pool), 1);
		pass_time(fixture, SECOND / 5);
		assert_int_equal(pool_busy(fixture->gate.pool), 0);
		assert_engine_let_go(fixture);

		/* Nobody is to blame, and nobody is answered for it, however often. */
		gate_release(&fixture->gate);
		assert_held(fd);
		assert_int_equal(probe.n_told, 0);
		assert_int_equal(fixture->gate.counters->workers_lost, 0);
		start_engine(fixture);
		lose_worker(fixture, 0);
		start_worker(fixture);
		send_verdict(fixture, VERDICT_CLEAN, "");
		assert_answered(fd, true);
		assert_told(&probe, VERDICT_CLEAN, "");
		fixture->gate.counters->workers_lost = 0;
	}
}

static void while_there_is_no_engine_the_known_are_answered_and_others_wait(void **state)
{
	struct fixture *fixture = *state;
	unsigned epoch = fixture->gate.group->epoch;
	struct probe probe;
	int fd;

	memory_or_skip(fixture);
	set(fixture, "hold-timeout", "15s");
	set(fixture, "on-timeout", "deny");
	start_engine(fixture);
	verify(fixture, "file", VERDICT_CLEAN);
	epoch = fixture->gate.group->epoch;
	gate_release(&fixture->gate);
	assert_answered(open_file(fixture, "file"), true);
	fd = open_file(fixture, "other");
	ask(fixture, &probe, "third", LANE_DEMAND);
	pass_time(fixture, 14 * SECOND);
	assert_held(fd);
	pass_time(fixture, 2 * SECOND);
	assert_answered(fd, false);
	assert_int_equal(fixture->gate.counters->timeouts, 1);

	/* The marks go with the switch. */
	assert_int_equal(fixture->gate.group->epoch, epoch);
	assert_int_equal(probe.n_told, 0);
	start_engine(fixture);
	assert_int_equal(fixture->gate.group->epoch, epoch + 1);
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_told(&probe, VERDICT_CLEAN, "");
}

/* Only once it is known that none can be started. */
static void a_release_is_no_reason_to_answer_by_on_failure(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	set(fixture, "on-failure", "deny");
	gate_engine_down(&fixture->gate);
	gate_release(&fixture->gate);
	fd = open_file(fixture, "file");
	assert_held(fd);
	gate_engine_down(&fixture->gate);
	assert_answered(fd, false);
}

/* An engine that comes early lets the others go on. */
static void a_scan_is_not_taken_back_once_there_is_another_engine(void **state)
{
	struct fixture *fixture = *state;
	int fd, worker;

	set(fixture, "hold-timeout", "1m");
	start_engine(fixture);
	fd = open_file(fixture, "file");
	assert_int_not_equal(next_scan(fixture), 0);
	worker = fixture->workers[0].fd;
	fixture->workers[0].fd = -1;
	gate_release(&fixture->gate);
	start_engine(fixture);
	pass_time(fixture, 6 * SECOND);
	assert_int_equal(pool_busy(fixture->gate.pool), 1);
	close(worker);
	run(fixture);
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_answered(fd, true);
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
		TEST(who_asks_is_told_the_verdict),
		TEST(it_need_not_be_in_scope),
		TEST(an_empty_file_is_clean_without_a_worker),
		TEST(an_empty_file_is_remembered_too),
		TEST(a_clean_file_is_remembered),
		TEST(afresh_it_is_scanned_all_the_same),
		TEST(nothing_but_clean_is_remembered),
		TEST(what_is_not_clean_any_more_is_not_remembered),
		TEST(who_asks_for_a_file_that_never_rests_is_told_so),
		TEST(what_had_just_changed_when_it_was_scanned_is_not_remembered),
		TEST(what_changed_while_it_waited_is_not_remembered_either),
		TEST(what_a_user_may_write_is_scanned_again_after_each_close),
		TEST(what_is_no_longer_watched_may_have_been_closed_unseen),
		TEST(where_no_close_is_seen_only_what_root_writes_is_remembered),
		TEST(scans_are_counted_apart_from_opens),
		TEST(no_scan_takes_longer_than_it_may),
		TEST(files_that_the_kernel_makes_up_are_not_scanned),
		TEST(a_file_that_was_written_is_not_known),
		TEST(a_file_that_has_a_writer_is_not_remembered),
		TEST(a_file_that_changed_is_scanned_again_for_who_asks),
		TEST(under_other_signatures_nothing_is_known),
		TEST(only_what_is_watched_gets_a_mark),
		TEST(a_scan_joins_an_open_and_an_open_a_scan),
		TEST(who_asks_is_told_when_it_cannot_be_scanned),
		TEST(only_regular_files_that_are_somewhere_are_scanned),
		TEST(on_remote_filesystems_only_as_ordered),
		TEST(where_there_is_no_room_who_asks_is_told),
		TEST(who_takes_back_is_not_told),
		TEST(the_alert_says_who_caused_the_scan),
		TEST(with_one_worker_opens_go_first),
		TEST(of_several_workers_half_are_kept_for_opens),
		TEST(an_open_of_what_waits_is_not_kept_waiting),
		TEST(a_more_urgent_asker_brings_a_file_forward),
		TEST(each_who_is_refused_can_be_told_why),
		TEST(who_is_let_through_was_not_refused),
		TEST(at_the_hold_deadline_only_the_overdue_are_refused),
		TEST(who_is_refused_for_want_of_room_can_be_told_so),
		TEST(who_asks_waits_longer_than_openers),
		TEST(a_released_engine_ends_its_scans_and_gets_no_more),
		TEST(idle_workers_are_let_go_at_once),
		TEST(a_scan_that_takes_too_long_is_begun_again_by_the_next_engine),
		TEST(while_there_is_no_engine_the_known_are_answered_and_others_wait),
		TEST(a_release_is_no_reason_to_answer_by_on_failure),
		TEST(a_scan_is_not_taken_back_once_there_is_another_engine),
	};

	if (!can_run())
		return UNIT_SKIPPED;
	log_set_sink(silent, NULL);
	return cmocka_run_group_tests_name("gate", tests, fixture_group_setup, scratch_teardown);
}
