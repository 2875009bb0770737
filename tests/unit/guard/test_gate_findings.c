/* SPDX-License-Identifier: GPL-2.0-only */
/* What the gate remembers of files that are not clean, or that workers do not survive: see
 * gate_fixture.h. */
#include "gate_fixture.h"

static struct {
	unsigned n, n_poison; /* lines that were logged, and those of them about poison */
	char last[WIRE_TEXT_MAX];
} log_lines;

static void log_line_of(void *context, int priority, const char *text)
{
	log_lines.n++;
	log_lines.n_poison += strstr(text, "workers do not survive it (its worker died: "
					   "Segmentation fault)") != NULL;
	(void)snprintf(log_lines.last, sizeof(log_lines.last), "%s", text);
}

static int setup(void **state)
{
	static struct fixture fixture;

	*state = &fixture;
	log_lines.n = log_lines.n_poison = 0;
	return fixture_init(&fixture);
}

static int teardown(void **state)
{
	fixture_deinit(*state);
	return 0;
}

static void start_engine_of(struct fixture *fixture, uint64_t set)
{
	const struct wire_engine_info info = {
		.header = WIRE_INIT(WIRE_ENGINE_INFO, struct wire_engine_info),
		.scan_deadline_ms = 60000,
		.set = set,
	};

	start_engine_with(fixture, &info);
}

static void start_block(struct fixture *fixture)
{
	memory_or_skip(fixture);
	set(fixture, "hold-timeout", "15s");
	start_engine(fixture);
}

static void assert_not_scanned(struct fixture *fixture)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		if (fixture->workers[i].fd >= 0)
			assert_int_equal(scanned_by(fixture, i), 0);
}

static void assert_found(struct fixture *fixture, enum wire_answer answer, const char *signature)
{
	struct wire_found found;

	assert_int_equal(recv(fixture->reporter, &found, sizeof(found), MSG_DONTWAIT),
			 sizeof(found));
	assert_int_equal(found.answer, answer);
	assert_string_equal(found.signature, signature);
	assert_int_equal(recv(fixture->reporter, &found, sizeof(found), MSG_DONTWAIT), -1);
}

/* Somebody asks for a scan. */
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

static void ask(struct fixture *fixture, struct probe *probe, const char *name, bool afresh)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	*probe = (struct probe){.asker.told = probe_told};
	gate_scan(&fixture->gate, fd,
		  &(const struct gate_order){
			  .lane = LANE_DEMAND, .afresh = afresh, .asker = &probe->asker});
	assert_int_equal(close(fd), 0);
	run(fixture);
}

static void assert_told(const struct probe *probe, enum verdict verdict, const char *reason)
{
	assert_int_equal(probe->n_told, 1);
	assert_int_equal(probe->verdict.verdict, verdict);
	assert_string_equal(probe->verdict.reason, reason);
}

/* An open of a file in which something is found. */
static void infect(struct fixture *fixture, const char *name)
{
	int fd = open_file(fixture, name);

	assert_held(fd);
	send_verdict(fixture, VERDICT_INFECTED, "Eicar-Test");
	assert_answered(fd, false);
	assert_found(fixture, WIRE_ANSWER_BLOCKED, "Eicar-Test");
}

/* An open of a file that crashes workers. Two are there at the end again, as before. */
static void poison(struct fixture *fixture, const char *name, bool allow)
{
	int fd = open_file(fixture, name);

	assert_int_equal(next_scan(fixture), inode_of(name));
	lose_worker(fixture, 0);
	assert_held(fd);
	start_worker(fixture);
	assert_int_equal(next_scan(fixture), inode_of(name));
	lose_worker(fixture, 0);
	assert_answered(fd, allow);
	start_worker(fixture);
}

/* --- infected --- */

static void after_a_late_verdict_the_next_open_is_refused_at_once(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	start_block(fixture);
	infect(fixture, "fourth");
	fixture->gate.counters->denied = 0;
	fixture->n_denied = 0;
	fd = open_file(fixture, "file");
	pass_time(fixture, 16 * SECOND);
	assert_answered(fd, true);
	assert_int_equal(fixture->gate.counters->late, 0);
	send_verdict(fixture, VERDICT_INFECTED, "Eicar-Test");
	assert_found(fixture, WIRE_ANSWER_LATE, "Eicar-Test");
	assert_int_equal(fixture->gate.counters->late, 1);

	for (unsigned i = 0; i < 3; i++) {
		assert_answered(open_file(fixture, "file"), false);
		assert_found(fixture, WIRE_ANSWER_BLOCKED, "Eicar-Test");
		assert_int_equal(fixture->denied[i].pid, OPENER_PID);
		assert_int_equal(fixture->denied[i].id.inode, inode_of("file"));
		assert_string_equal(fixture->denied[i].verdict.reason, "Eicar-Test");
	}
	assert_not_scanned(fixture);
	assert_int_equal(fixture->gate.counters->known, 3);
	assert_int_equal(fixture->gate.counters->denied, 3);
	assert_int_equal(fixture->gate.counters->late, 1);
	/* without an engine, too */
	lose_worker(fixture, 0);
	gate_engine_down(&fixture->gate);
	assert_answered(open_file(fixture, "file"), false);
}

static void another_state_of_the_file_is_scanned(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	start_block(fixture);
	infect(fixture, "file");
	scratch_write("file", "not what it was", 15);
	fd = open_file(fixture, "file");
	assert_held(fd);
	assert_int_equal(next_scan(fixture), inode_of("file"));
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_answered(fd, true);
	assert_int_equal(findings_count(fixture->gate.findings, FINDING_INFECTED, 1), 0);
}

static void under_other_signatures_it_is_scanned(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	start_block(fixture);
	infect(fixture, "other");
	/* the same again */
	start_engine(fixture);
	assert_answered(open_file(fixture, "other"), false);
	assert_not_scanned(fixture);
	start_engine_of(fixture, 2);
	fd = open_file(fixture, "other");
	assert_held(fd);
	assert_int_equal(next_scan(fixture), inode_of("other"));
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_answered(fd, true);
}

static void in_mode_notify_the_known_are_told_of_and_let_through(void **state)
{
	struct fixture *fixture = *state;

	start_block(fixture);
	infect(fixture, "file");
	set(fixture, "mode", "notify");
	assert_int_equal(gate_set_conf(&fixture->gate, fixture->conf), 0);
	assert_answered(open_file(fixture, "file"), true);
	assert_found(fixture, WIRE_ANSWER_NOTIFIED, "Eicar-Test");
	assert_not_scanned(fixture);
	assert_int_equal(fixture->gate.counters->denied, 1);
}

/* Whoever asks gets a scan, and its verdict counts. */
static void a_scan_that_finds_it_clean_ends_it(void **state)
{
	struct fixture *fixture = *state;
	struct probe probe;

	start_block(fixture);
	infect(fixture, "third");
	ask(fixture, &probe, "third", false);
	assert_int_equal(probe.n_told, 0);
	/* whoever opens it need not wait for that */
	assert_answered(open_file(fixture, "third"), false);
	assert_found(fixture, WIRE_ANSWER_BLOCKED, "Eicar-Test");
	send_verdict(fixture, VERDICT_INCOMPLETE, "limit");
	assert_told(&probe, VERDICT_INCOMPLETE, "limit");
	assert_answered(open_file(fixture, "third"), false);
	assert_found(fixture, WIRE_ANSWER_BLOCKED, "Eicar-Test");

	ask(fixture, &probe, "third", true);
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_told(&probe, VERDICT_CLEAN, "");
	assert_int_equal(findings_count(fixture->gate.findings, FINDING_INFECTED, 1), 0);
}

/* What was found was in bytes that are no longer the file's. */
static void a_verdict_on_what_was_is_not_remembered(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	start_block(fixture);
	fd = open_file(fixture, "file");
	assert_int_not_equal(next_scan(fixture), 0);
	scratch_write("file", "changed meanwhile", 17);
	send_verdict(fixture, VERDICT_INFECTED, "Eicar-Test");
	assert_answered(fd, false);
	fd = open_file(fixture, "file");
	assert_held(fd);
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_answered(fd, true);
}

/* Where two changes may look like one, a writer may have made it clean since. */
static void what_had_just_changed_is_forgotten_when_a_writer_closes_it(void **state)
{
	struct fixture *fixture = *state;
	struct stat status;
	int fd;

	start_block(fixture);
	for (unsigned settled = 0; settled < 2; settled++) {
		scratch_write("file", "0123456789", settled + 1);
		assert_int_equal(stat("file", &status), 0);
		/* half a tick after the change, or long after it */
		fake.started_us = (uint64_t)status.st_ctim.tv_sec * SECOND +
				  (uint64_t)status.st_ctim.tv_nsec / 1000 + 5000 - fake.now_us +
				  settled * 10 * SECOND;
		infect(fixture, "file");
		close_written(fixture, "file");
		fd = open_file(fixture, "file");
		if (settled) {
			assert_answered(fd, false);
			break;
		}
		assert_held(fd);
		send_verdict(fixture, VERDICT_CLEAN, "");
		assert_answered(fd, true);
	}
}

/* A writer with a mapping changes what the times do not tell of. */
static void what_had_a_writer_is_forgotten_when_he_closes_it(void **state)
{
	struct fixture *fixture = *state;
	int writer, fd;

	start_block(fixture);
	scratch_write("other", "0123456789", 10);
	writer = open("other", O_RDWR | O_CLOEXEC);
	infect(fixture, "other");
	assert_answered(open_file(fixture, "other"), false);
	close(writer);
	close_written(fixture, "other");
	fd = open_file(fixture, "other");
	assert_held(fd);
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_answered(fd, true);
}

/* --- poison --- */

static void what_crashes_two_workers_is_not_given_to_a_third(void **state)
{
	static const char *const policies[] = {"allow", "deny"};
	struct fixture *fixture = *state;
	unsigned lines;

	start_block(fixture);
	for (unsigned i = 0; i < N_ELEMENTS(policies); i++) {
		bool allow = i == 0;

		scratch_write("file", "0123456789", i + 1);
		set(fixture, "on-failure", policies[i]);
		*fixture->gate.counters = (struct control_counters){0};
		poison(fixture, "file", allow);
		assert_int_equal(log_lines.n_poison, i + 1);
		lines = log_lines.n;
		for (unsigned n = 0; n < 3; n++)
			assert_answered(open_file(fixture, "file"), allow);
		assert_not_scanned(fixture);
		assert_int_equal(fixture->gate.counters->poisoned, 3);
		assert_int_equal(fixture->gate.counters->known, 3);
		assert_int_equal(fixture->gate.counters->workers_lost, 2);
		assert_int_equal(fixture->gate.counters->denied, allow ? 0 : 4);
		assert_int_equal(fixture->gate.counters->decided[CONTROL_ON_FAILURE].allowed,
				 allow ? 4 : 0);
		assert_int_equal(fixture->gate.counters->decided[CONTROL_ON_FAILURE].denied,
				 allow ? 0 : 4);
		/* said once */
		assert_int_equal(log_lines.n, lines);
		assert_int_equal(findings_count(fixture->gate.findings, FINDING_POISON, 1), 1);
		fixture->gate.alert.folds[ALERT_POISON].quiet_until_us = 0;
		fixture->gate.alert.folds[ALERT_FAILED].quiet_until_us = 0;
	}
}

static void poison_in_mode_notify_is_let_through(void **state)
{
	struct fixture *fixture = *state;

	start_block(fixture);
	set(fixture, "on-failure", "deny");
	poison(fixture, "third", false);
	set(fixture, "mode", "notify");
	assert_int_equal(gate_set_conf(&fixture->gate, fixture->conf), 0);
	assert_answered(open_file(fixture, "third"), true);
	assert_not_scanned(fixture);
	assert_int_equal(fixture->gate.counters->poisoned, 1);
	/* that was no question of policy */
	assert_int_equal(fixture->gate.counters->decided[CONTROL_ON_FAILURE].allowed, 0);
	assert_int_equal(fixture->gate.counters->decided[CONTROL_ON_FAILURE].denied, 1);
}

/* Whoever keeps opening it for writing must not cost two workers each time. */
static void poison_need_not_rest_to_be_remembered(void **state)
{
	struct fixture *fixture = *state;
	int writer;

	start_block(fixture);
	scratch_write("other", "01234567890", 11);
	writer = open("other", O_RDWR | O_CLOEXEC);
	poison(fixture, "other", true);
	assert_int_equal(close(writer), 0);
	close_written(fixture, "other");
	assert_answered(open_file(fixture, "other"), true);
	assert_not_scanned(fixture);
}

/* Scans on demand and full scans kill no workers either, unless somebody insists. */
static void who_asks_for_poison_is_told_at_once(void **state)
{
	struct fixture *fixture = *state;
	struct probe probe;

	start_block(fixture);
	poison(fixture, "third", true);
	ask(fixture, &probe, "third", false);
	assert_told(&probe, VERDICT_FAILED, "its worker died: Segmentation fault");
	assert_int_equal(probe.verdict.flags, 0);
	assert_not_scanned(fixture);

	/* no news */
	ask(fixture, &probe, "third", true);
	fixture->gate.alert.folds[ALERT_POISON].quiet_until_us = 0;
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(next_scan(fixture), inode_of("third"));
		lose_worker(fixture, 0);
		start_worker(fixture);
	}
	assert_told(&probe, VERDICT_FAILED, "its worker died: Segmentation fault");
	assert_int_equal(log_lines.n_poison, 1);

	ask(fixture, &probe, "third", true);
	assert_int_equal(probe.n_told, 0);
	assert_int_equal(next_scan(fixture), inode_of("third"));
	send_verdict(fixture, VERDICT_INFECTED, "Eicar-Test");
	assert_told(&probe, VERDICT_INFECTED, "Eicar-Test");
	assert_int_equal(findings_count(fixture->gate.findings, FINDING_POISON, 1), 0);
	assert_answered(open_file(fixture, "third"), false);
}

static void poison_ends_with_a_change_or_with_other_signatures(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	start_block(fixture);
	poison(fixture, "fourth", true);
	scratch_write("fourth", "changed", 7);
	fd = open_file(fixture, "fourth");
	assert_held(fd);
	send_verdict(fixture, VERDICT_INCOMPLETE, "x");
	assert_answered(fd, true);

	poison(fixture, "fourth", true);
	start_engine(fixture);
	assert_answered(open_file(fixture, "fourth"), true);
	assert_not_scanned(fixture);
	start_engine_of(fixture, 3);
	fd = open_file(fixture, "fourth");
	assert_held(fd);
	assert_int_equal(next_scan(fixture), inode_of("fourth"));
	assert_int_equal(findings_count(fixture->gate.findings, FINDING_POISON, 3), 0);
}

/* --- who is to blame --- */

static void who_kills_workers_does_not_have_files_let_through(void **state)
{
	static const int32_t numbers[] = {SIGKILL, SIGTERM, SIGKILL, SIGHUP,
					  SIGINT,  SIGKILL, SIGUSR1};
	struct fixture *fixture = *state;
	int fd;

	start_block(fixture);
	fd = open_file(fixture, "third");
	for (unsigned i = 0; i < N_ELEMENTS(numbers); i++) {
		assert_int_equal(next_scan(fixture), inode_of("third"));
		lose_worker_by(fixture, 0, numbers[i]);
		assert_held(fd);
		start_worker(fixture);
	}
	assert_int_equal(next_scan(fixture), inode_of("third"));
	send_verdict(fixture, VERDICT_INFECTED, "Eicar-Test");
	assert_answered(fd, false);
}

/* There is a bound to it, and it is no poison then: the next open tries again. */
static void a_file_whose_workers_are_killed_is_given_up_this_once(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	start_block(fixture);
	set(fixture, "on-failure", "deny");
	fd = open_file(fixture, "third");
	for (unsigned i = 0; i < 8; i++) {
		assert_held(fd);
		assert_int_equal(next_scan(fixture), inode_of("third"));
		/* one crash is none too many */
		lose_worker_by(fixture, 0, i == 3 ? SIGSEGV : SIGKILL);
		start_worker(fixture);
	}
	assert_answered(fd, false);
	assert_int_equal(findings_count(fixture->gate.findings, FINDING_POISON, 1), 0);
	fd = open_file(fixture, "third");
	assert_held(fd);
	assert_int_equal(next_scan(fixture), inode_of("third"));
}

static void every_way_to_crash_counts(void **state)
{
	static const int32_t numbers[] = {0,	  SIGSEGV, SIGBUS,  SIGILL,  SIGFPE, SIGABRT,
					  SIGSYS, SIGALRM, SIGXCPU, SIGTRAP, SIGXFSZ};
	struct fixture *fixture = *state;

	start_block(fixture);
	for (unsigned i = 0; i < N_ELEMENTS(numbers); i++) {
		int fd;

		scratch_write("file", "01234567890123456789", i + 1);
		fd = open_file(fixture, "file");
		for (unsigned n = 0; n < 2; n++) {
			assert_held(fd);
			lose_worker_by(fixture, 0, numbers[i]);
			start_worker(fixture);
		}
		assert_answered(fd, true);
		assert_answered(open_file(fixture, "file"), true);
		assert_not_scanned(fixture);
	}
}

static void a_worker_that_passes_the_deadline_counts_as_crashed(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	start_block(fixture);
	set(fixture, "hold-timeout", "60m");
	fd = open_file(fixture, "third");
	for (unsigned i = 0; i < 2; i++) {
		assert_held(fd);
		assert_int_equal(next_scan(fixture), inode_of("third"));
		pass_time(fixture, 61 * SECOND);
		drop_worker(fixture, 0);
		start_worker(fixture);
	}
	assert_answered(fd, true);
	assert_answered(open_file(fixture, "third"), true);
	assert_not_scanned(fixture);
}

/* Nobody is given the file before it is known who is to blame; but not for ever. */
static void the_engine_is_heard_before_a_worker_counts_as_lost(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	start_block(fixture);
	set(fixture, "hold-timeout", "60m");
	start_worker(fixture);
	start_worker(fixture);
	fd = open_file(fixture, "third");
	for (unsigned i = 0; i < 3; i++) {
		unsigned holder = 0;

		while (fixture->workers[holder].fd < 0 || !scanned_by(fixture, holder))
			assert_true(++holder < WORKERS_MAX);
		drop_worker(fixture, holder);
		assert_held(fd);
		assert_not_scanned(fixture);
		assert_int_equal(fixture->gate.counters->workers_lost, i);
		if (i == 0)
			pass_time(fixture, 2 * SECOND); /* it says nothing: nobody can tell */
		else
			tell_end(fixture, holder, SIGSEGV);
		assert_int_equal(fixture->gate.counters->workers_lost, i + 1);
	}
	assert_answered(fd, true);
	assert_answered(open_file(fixture, "third"), true);
}

static void without_an_engine_nobody_can_tell(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	start_block(fixture);
	set(fixture, "hold-timeout", "60m");
	fd = open_file(fixture, "third");
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(next_scan(fixture), inode_of("third"));
		drop_worker(fixture, 0);
		assert_int_equal(fixture->gate.counters->workers_lost, i);
		lose(&fixture->engine);
		run(fixture);
		assert_int_equal(fixture->gate.counters->workers_lost, i + 1);
		assert_held(fd);
		start_engine(fixture);
	}
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_answered(fd, true);
}

/* The engine may be faster than what its worker has said last. */
static void a_verdict_that_was_given_counts_whatever_became_of_the_worker(void **state)
{
	struct fixture *fixture = *state;
	struct wire_verdict verdict = wire_verdict_make(VERDICT_INFECTED, "Eicar-Test");
	int fd;

	start_block(fixture);
	fd = open_file(fixture, "third");
	assert_int_not_equal(next_scan(fixture), 0);
	verdict.id = fixture->workers[0].scan;
	assert_int_equal(chan_send(fixture->workers[0].fd, &verdict.header, -1), 0);
	lose(&fixture->workers[0].fd);
	tell_end(fixture, 0, SIGSEGV);
	assert_answered(fd, false);
	assert_int_equal(fixture->gate.counters->workers_lost, 0);
	assert_int_equal(pool_alive(fixture->gate.pool), 0);
}

static void what_an_engine_says_of_workers_that_are_not_there_is_ignored(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	start_block(fixture);
	fixture->workers[1].pid = 1;
	tell_end(fixture, 1, SIGSEGV);
	fd = open_file(fixture, "third");
	assert_int_equal(next_scan(fixture), inode_of("third"));
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_answered(fd, true);
	start_worker(fixture);
	assert_int_equal(pool_alive(fixture->gate.pool), 2);
	/* but no nonsense */
	tell_end(fixture, 0, 4000);
	assert_int_equal(recv(fixture->engine, &fd, sizeof(fd), MSG_DONTWAIT), 0);
}

/* --- counted --- */

static void opens_are_counted_by_what_decided_over_them(void **state)
{
	static const char *const policies[] = {"allow", "deny"};
	struct fixture *fixture = *state;
	const struct control_decided *decided = fixture->gate.counters->decided;

	set(fixture, "hold-timeout", "15s");
	start_engine(fixture);
	for (unsigned i = 0; i < N_ELEMENTS(policies); i++) {
		bool allow = i == 0;
		int fds[2];

		scratch_write("file", "0123456789", i + 1);
		set(fixture, "on-timeout", policies[i]);
		set(fixture, "on-incomplete", policies[i]);
		set(fixture, "on-failure", policies[i]);
		for (unsigned n = 0; n < 2; n++)
			fds[n] = open_file(fixture, "file");
		pass_time(fixture, 16 * SECOND);
		for (unsigned n = 0; n < 2; n++)
			assert_answered(fds[n], allow);
		send_verdict(fixture, VERDICT_INCOMPLETE, "x");
		fds[0] = open_file(fixture, "file");
		send_verdict(fixture, VERDICT_INCOMPLETE, "x");
		assert_answered(fds[0], allow);
		for (unsigned n = 0; n < 3; n++) {
			fds[0] = open_file(fixture, "file");
			send_verdict(fixture, VERDICT_FAILED, "x");
			assert_answered(fds[0], allow);
		}
		assert_int_equal(decided[CONTROL_ON_TIMEOUT].allowed, 2);
		assert_int_equal(decided[CONTROL_ON_INCOMPLETE].allowed, 1);
		assert_int_equal(decided[CONTROL_ON_FAILURE].allowed, 3);
		assert_int_equal(decided[CONTROL_ON_TIMEOUT].denied, allow ? 0 : 2);
		assert_int_equal(decided[CONTROL_ON_INCOMPLETE].denied, allow ? 0 : 1);
		assert_int_equal(decided[CONTROL_ON_FAILURE].denied, allow ? 0 : 3);
	}
	assert_int_equal(fixture->gate.counters->timeouts, 4);
	/* clean and infected are no question of policy, nor is what nobody is held for */
	set(fixture, "mode", "notify");
	assert_answered(open_file(fixture, "other"), true);
	send_verdict(fixture, VERDICT_FAILED, "x");
	assert_int_equal(decided[CONTROL_ON_FAILURE].allowed, 3);
}

/* A file for which there is no room is named. */
static void what_there_is_no_room_for_is_logged(void **state)
{
	struct fixture *fixture = *state;
	struct request_table *table = &fixture->gate.requests;
	struct request *unused = table->unused;

	table->unused = NULL;
	assert_answered(open_file(fixture, "other"), true);
	table->unused = unused;
	assert_non_null(strstr(log_lines.last,
			       "/other: not verified (too many files wait for a verdict), "
			       "allowed"));
	assert_int_equal(fixture->gate.counters->decided[CONTROL_ON_FAILURE].allowed, 1);
	assert_int_equal(fixture->gate.counters->not_scanned, 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(after_a_late_verdict_the_next_open_is_refused_at_once),
		TEST(another_state_of_the_file_is_scanned),
		TEST(under_other_signatures_it_is_scanned),
		TEST(in_mode_notify_the_known_are_told_of_and_let_through),
		TEST(a_scan_that_finds_it_clean_ends_it),
		TEST(a_verdict_on_what_was_is_not_remembered),
		TEST(what_had_just_changed_is_forgotten_when_a_writer_closes_it),
		TEST(what_had_a_writer_is_forgotten_when_he_closes_it),
		TEST(what_crashes_two_workers_is_not_given_to_a_third),
		TEST(poison_in_mode_notify_is_let_through),
		TEST(poison_need_not_rest_to_be_remembered),
		TEST(who_asks_for_poison_is_told_at_once),
		TEST(poison_ends_with_a_change_or_with_other_signatures),
		TEST(who_kills_workers_does_not_have_files_let_through),
		TEST(a_file_whose_workers_are_killed_is_given_up_this_once),
		TEST(every_way_to_crash_counts),
		TEST(a_worker_that_passes_the_deadline_counts_as_crashed),
		TEST(the_engine_is_heard_before_a_worker_counts_as_lost),
		TEST(without_an_engine_nobody_can_tell),
		TEST(a_verdict_that_was_given_counts_whatever_became_of_the_worker),
		TEST(what_an_engine_says_of_workers_that_are_not_there_is_ignored),
		TEST(opens_are_counted_by_what_decided_over_them),
		TEST(what_there_is_no_room_for_is_logged),
	};

	if (!can_run())
		return UNIT_SKIPPED;
	log_set_sink(log_line_of, NULL);
	return cmocka_run_group_tests_name("gate_findings", tests, fixture_group_setup,
					   scratch_teardown);
}
