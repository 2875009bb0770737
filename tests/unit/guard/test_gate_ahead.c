/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is scanned that nobody is held for: files that were just written, the share of the workers
 * that such work gets, and its priority. See gate_fixture.h.
 */
#include "gate_fixture.h"

/* More than files here need to settle. */
#define SETTLE (30 * CLOCK_US_PER_MS)

static struct {
	unsigned n, n_withheld; /* lines that were logged, and those of them about CAP_SYS_NICE */
} log_lines;

static void log_line_of(void *context, int priority, const char *text)
{
	log_lines.n++;
	log_lines.n_withheld += strstr(text, "CAP_SYS_NICE") != NULL;
}

static int setup(void **state)
{
	static struct fixture fixture;

	*state = &fixture;
	memset(&log_lines, 0, sizeof(log_lines));
	return fixture_init(&fixture);
}

static int teardown(void **state)
{
	fixture_deinit(*state);
	return 0;
}

/* One whose files are watched, and workers. */
static void start(struct fixture *fixture, unsigned n_workers)
{
	watch_scratch(fixture);
	start_engine(fixture);
	while (--n_workers)
		start_worker(fixture);
}

/* As if this file had been changed just now. */
static void make_fresh(const char *name)
{
	struct stat status;

	assert_int_equal(stat(name, &status), 0);
	fake.started_us = (uint64_t)status.st_ctim.tv_sec * SECOND +
			  (uint64_t)status.st_ctim.tv_nsec / 1000 - fake.now_us;
}

/* Writes a file, as whoever does so sees it: its times are those of now. */
static void land(struct fixture *fixture, const char *name)
{
	static unsigned n;
	char content[32];
	int length = snprintf(content, sizeof(content), "content %u", ++n);

	scratch_write(name, content, (size_t)length);
	make_fresh(name);
	close_written(fixture, name);
}

/* No worker has this to do. */
static bool is_scanned(struct fixture *fixture, const char *name)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		if (fixture->workers[i].fd >= 0 && scanned_by(fixture, i) == inode_of(name))
			return true;
	return false;
}

static bool is_low(const struct fixture *fixture, unsigned i)
{
	return fake.low[fake_low(fixture->workers[i].pid)];
}

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

static void ask(struct fixture *fixture, struct probe *probe, const char *name, enum lane lane)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	*probe = (struct probe){.asker.told = probe_told};
	gate_scan(&fixture->gate, fd,
		  &(const struct gate_order){.lane = lane, .afresh = true, .asker = &probe->asker});
	assert_int_equal(close(fd), 0);
	run(fixture);
}

static void assert_found(struct fixture *fixture, enum wire_answer answer, int32_t pid)
{
	struct wire_found found;

	assert_int_equal(recv(fixture->reporter, &found, sizeof(found), MSG_DONTWAIT),
			 sizeof(found));
	assert_int_equal(found.answer, answer);
	assert_int_equal(found.pid, pid);
	assert_string_equal(found.signature, "Eicar-Test");
	assert_int_equal(recv(fixture->reporter, &found, sizeof(found), MSG_DONTWAIT), -1);
}

/* --- scan-ahead --- */

static void what_was_written_is_scanned_once_it_has_settled(void **state)
{
	struct fixture *fixture = *state;

	memory_or_skip(fixture);
	start(fixture, 2);
	land(fixture, "file");
	assert_int_equal(fixture->gate.ahead.n, 1);
	pass_ahead(fixture, SETTLE / 2);
	assert_false(is_scanned(fixture, "file"));
	pass_ahead(fixture, SETTLE);
	assert_true(is_scanned(fixture, "file"));
	verdict_by(fixture, 0, VERDICT_CLEAN, "");
	assert_int_equal(fixture->gate.counters->ahead[VERDICT_CLEAN], 1);
	assert_int_equal(fixture->gate.counters->verdicts[VERDICT_CLEAN], 0);
	assert_int_equal(fixture->gate.counters->scans[VERDICT_CLEAN], 0);
	assert_int_equal(fake.marks, 1);

	/* Who opens it finds the verdict. */
	assert_answered(open_file(fixture, "file"), true);
	assert_false(is_scanned(fixture, "file"));
	assert_int_equal(fixture->gate.counters->known, 1);
	assert_int_equal(fixture->gate.ahead.n, 0);
}

static void malware_is_reported_when_it_lands(void **state)
{
	struct fixture *fixture = *state;

	start(fixture, 2);
	land(fixture, "file");
	pass_ahead(fixture, SETTLE);
	verdict_by(fixture, 0, VERDICT_INFECTED, "Eicar-Test");
	assert_found(fixture, WIRE_ANSWER_AHEAD, OPENER_PID);
	assert_int_equal(fixture->gate.counters->ahead[VERDICT_INFECTED], 1);
	if (fixture->gate.findings && filesystem_keeps_times(scratch_mount(fixture)->type))
		assert_answered(open_file(fixture, "file"), false);
}

static void what_could_not_be_verified_is_nobodys_business_yet(void **state)
{
	struct fixture *fixture = *state;
	unsigned before = log_lines.n;

	start(fixture, 2);
	land(fixture, "file");
	pass_ahead(fixture, SETTLE);
	verdict_by(fixture, 0, VERDICT_INCOMPLETE, "encrypted");
	assert_int_equal(fixture->gate.counters->ahead[VERDICT_INCOMPLETE], 1);
	assert_int_equal(log_lines.n, before);
}

static void many_closes_are_one_scan(void **state)
{
	struct fixture *fixture = *state;

	start(fixture, 2);
	for (unsigned i = 0; i < 5; i++) {
		land(fixture, "file");
		pass_ahead(fixture, SETTLE / 3);
		assert_false(is_scanned(fixture, "file"));
	}
	pass_ahead(fixture, SETTLE);
	verdict_by(fixture, 0, VERDICT_CLEAN, "");
	pass_ahead(fixture, SETTLE);
	assert_false(is_scanned(fixture, "file"));
	assert_int_equal(fixture->gate.counters->ahead[VERDICT_CLEAN], 1);
}

/* A change of its mode, say, is no close. */
static void one_that_was_changed_meanwhile_waits_anew(void **state)
{
	struct fixture *fixture = *state;

	start(fixture, 2);
	land(fixture, "file");
	fake.now_us += SETTLE;
	make_fresh("file");
	pass_ahead(fixture, 0);
	assert_false(is_scanned(fixture, "file"));
	assert_int_equal(fixture->gate.ahead.n, 1);
	pass_ahead(fixture, SETTLE);
	assert_true(is_scanned(fixture, "file"));
}

static void what_changes_without_end_is_given_up(void **state)
{
	struct fixture *fixture = *state;

	start(fixture, 2);
	land(fixture, "file");
	for (uint64_t waited = 0; waited < AHEAD_WAIT_MAX_US; waited += SETTLE) {
		fake.now_us += SETTLE;
		make_fresh("file");
		pass_ahead(fixture, 0);
		assert_false(is_scanned(fixture, "file"));
	}
	assert_int_equal(fixture->gate.ahead.n, 0);
	assert_int_equal(fixture->gate.counters->ahead_dropped, 1);
}

static void wait_in_vain(struct fixture *fixture, const char *name, unsigned n_dropped)
{
	pass_ahead(fixture, SETTLE);
	pass_ahead(fixture, SETTLE);
	if (inode_of(name))
		assert_false(is_scanned(fixture, name));
	assert_int_equal(fixture->gate.ahead.n, 0);
	assert_int_equal(fixture->gate.counters->ahead_dropped, n_dropped);
}

static void some_files_are_not_worth_it(void **state)
{
	struct fixture *fixture = *state;
	struct stat status;
	int writer, gone;

	memory_or_skip(fixture);
	start(fixture, 2);
	/* empty */
	close_written(fixture, "empty");
	wait_in_vain(fixture, "empty", 0);
	/* emptied since */
	land(fixture, "file");
	assert_int_equal(truncate("file", 0), 0);
	make_fresh("file");
	wait_in_vain(fixture, "file", 0);
	/* out of scope */
	scratch_write("out/side", "content", 7);
	conf_fixture_set(fixture->conf, "on-access", "exclude", "/**/out");
	land(fixture, "out/side");
	assert_int_equal(fixture->gate.ahead.n, 0);
	/* still open for writing */
	writer = open("other", O_WRONLY | O_CLOEXEC);
	land(fixture, "other");
	wait_in_vain(fixture, "other", 0);
	close(writer);
	/* ours */
	assert_int_equal(chown("third", fixture->conf->uid, 0), 0);
	land(fixture, "third");
	wait_in_vain(fixture, "third", 0);
	assert_int_equal(chown("third", 0, 0), 0);
	/* removed */
	scratch_write("temporary", "content", 7);
	assert_int_equal(stat("temporary", &status), 0);
	gone = open("temporary", O_RDONLY | O_CLOEXEC);
	land(fixture, "temporary");
	assert_int_equal(unlink("temporary"), 0);
	pass_ahead(fixture, SETTLE);
	pass_ahead(fixture, SETTLE);
	assert_int_equal(scanned_by(fixture, 0), 0);
	close(gone);
	/* verified in this state */
	(void)open_file(fixture, "fourth");
	verdict_by(fixture, 0, VERDICT_CLEAN, "");
	assert_int_equal(fixture->gate.counters->verdicts[VERDICT_CLEAN], 1);
	close_written(fixture, "fourth");
	wait_in_vain(fixture, "fourth", 0);
}

static void where_it_is_switched_off_nothing_waits(void **state)
{
	struct fixture *fixture = *state;

	start(fixture, 2);
	land(fixture, "file");
	set(fixture, "scan-ahead", "no");
	assert_int_equal(gate_set_conf(&fixture->gate, fixture->conf), 0);
	assert_int_equal(fixture->gate.ahead.n, 0);
	land(fixture, "file");
	wait_in_vain(fixture, "file", 0);

	set(fixture, "scan-ahead", "yes");
	set(fixture, "mode", "off");
	land(fixture, "file");
	wait_in_vain(fixture, "file", 0);

	set(fixture, "mode", "notify");
	land(fixture, "file");
	pass_ahead(fixture, SETTLE);
	assert_true(is_scanned(fixture, "file"));
}

/* While somebody looks at it already, what he finds may not be remembered: it waits. */
static void what_is_being_scanned_waits(void **state)
{
	struct fixture *fixture = *state;

	memory_or_skip(fixture);
	start(fixture, 4);
	land(fixture, "file");
	(void)open_file(fixture, "file");
	assert_true(is_scanned(fixture, "file"));
	pass_ahead(fixture, SETTLE);
	assert_int_equal(fixture->gate.ahead.n, 1);
	verdict_by(fixture, 0, VERDICT_CLEAN, "");
	assert_int_equal(fake.marks, 0); /* it had not settled */
	pass_ahead(fixture, SETTLE);
	assert_true(is_scanned(fixture, "file"));
	verdict_by(fixture, 0, VERDICT_CLEAN, "");
	assert_int_equal(fake.marks, 1);
}

/* On a filesystem whose times tell nothing too. */
static void what_an_open_has_verified_is_not_scanned_again(void **state)
{
	struct fixture *fixture = *state;

	start(fixture, 2);
	land(fixture, "file");
	fake.now_us += SETTLE;
	(void)open_file(fixture, "file");
	verdict_by(fixture, 0, VERDICT_CLEAN, "");
	assert_int_equal(fake.marks, 1);
	assert_int_equal(fixture->gate.ahead.n, 0);
	wait_in_vain(fixture, "file", 0);
}

static void an_open_does_not_wait_for_what_was_written(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	start(fixture, 2);
	/* Half of the workers, one, is at work for it; the other waits for opens. */
	land(fixture, "file");
	land(fixture, "other");
	land(fixture, "third");
	pass_ahead(fixture, SETTLE);
	assert_true(is_scanned(fixture, "file"));
	assert_false(is_scanned(fixture, "other"));
	assert_int_equal(fixture->gate.ahead.n, 2);
	assert_int_equal(fixture->gate.requests.n_requests, 1);

	/* Of all that wait the one that is opened comes first. */
	fd = open_file(fixture, "third");
	assert_true(is_scanned(fixture, "third"));
	verdict_by(fixture, 1, VERDICT_CLEAN, "");
	assert_answered(fd, true);
}

static void what_opens_leave_no_time_for_is_dropped(void **state)
{
	struct fixture *fixture = *state;
	int first, second;

	start(fixture, 2);
	first = open_file(fixture, "third");
	second = open_file(fixture, "fourth");
	land(fixture, "file");
	land(fixture, "other");
	pass_ahead(fixture, SETTLE);
	assert_int_equal(fixture->gate.ahead.n, 2);
	pass_ahead(fixture, AHEAD_WAIT_MAX_US);
	assert_int_equal(fixture->gate.ahead.n, 0);
	assert_int_equal(fixture->gate.counters->ahead_dropped, 2);
	/* Who opens one of them is held as ever. */
	verdict_by(fixture, 0, VERDICT_CLEAN, "");
	assert_answered(first, true);
	first = open_file(fixture, "file");
	assert_true(is_scanned(fixture, "file"));
	assert_held(first);
	verdict_by(fixture, 1, VERDICT_CLEAN, "");
	assert_answered(second, true);
}

/* It would take time from them. */
static void while_opens_follow_each_other_what_was_written_waits(void **state)
{
	struct fixture *fixture = *state;
	uint64_t waited = SETTLE;

	start(fixture, 2);
	land(fixture, "file");
	fake.now_us += SETTLE;
	for (; waited < SECOND / 2; waited += SETTLE) {
		assert_answered(open_file(fixture, "empty"), true);
		pass_ahead(fixture, 1);
		assert_false(is_scanned(fixture, "file"));
		fake.now_us += SETTLE;
	}
	/* But not for ever, */
	fake.now_us += 2 * SETTLE;
	assert_answered(open_file(fixture, "empty"), true);
	pass_ahead(fixture, 1);
	assert_true(is_scanned(fixture, "file"));
	verdict_by(fixture, 0, VERDICT_CLEAN, "");

	/* and no longer than they go on, */
	land(fixture, "other");
	fake.now_us += SETTLE;
	assert_answered(open_file(fixture, "empty"), true);
	pass_ahead(fixture, SETTLE);
	assert_true(is_scanned(fixture, "other"));
	verdict_by(fixture, 0, VERDICT_CLEAN, "");

	/* and not where it gets crowded. */
	ahead_deinit(&fixture->gate.ahead);
	assert_int_equal(ahead_init(&fixture->gate.ahead, 1), 0);
	land(fixture, "third");
	fake.now_us += SETTLE;
	assert_answered(open_file(fixture, "empty"), true);
	pass_ahead(fixture, 1);
	assert_true(is_scanned(fixture, "third"));
}

/* Whoever unpacks an archive does not wait for us to look at him. */
static void what_was_made_just_now_is_opened_at_once(void **state)
{
	struct fixture *fixture = *state;

	start(fixture, 2);
	scratch_write("new", "", 0);
	make_fresh("new");
	assert_answered(open_file(fixture, "new"), true);
	assert_int_equal(fixture->gate.counters->verdicts[VERDICT_CLEAN], 1);
	assert_int_equal(fake.marks, 0);
	assert_int_equal(unlink("new"), 0);
	/* What has been empty for longer is remembered as others are. */
	fake.now_us += SECOND;
	assert_answered(open_file(fixture, "empty"), true);
	assert_int_equal(fake.marks, 1);
}

static void what_there_is_no_room_for_is_dropped(void **state)
{
	struct fixture *fixture = *state;

	start(fixture, 2);
	ahead_deinit(&fixture->gate.ahead);
	assert_int_equal(ahead_init(&fixture->gate.ahead, 1), 0);
	land(fixture, "file");
	land(fixture, "other");
	assert_int_equal(fixture->gate.ahead.n, 1);
	assert_int_equal(fixture->gate.counters->ahead_dropped, 1);
	/* It is not one more. */
	land(fixture, "file");
	assert_int_equal(fixture->gate.counters->ahead_dropped, 1);
}

static void lanes_are_served_in_their_order(void **state)
{
	struct fixture *fixture = *state;
	struct probe scheduled, demanded;

	start(fixture, 1);
	ask(fixture, &scheduled, "file", LANE_SCHEDULED);
	ask(fixture, &scheduled, "other", LANE_SCHEDULED);
	ask(fixture, &demanded, "third", LANE_DEMAND);
	land(fixture, "fourth");
	pass_ahead(fixture, SETTLE);
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_int_equal(next_scan(fixture), inode_of("third"));
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_int_equal(next_scan(fixture), inode_of("fourth"));
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_int_equal(next_scan(fixture), inode_of("other"));
}

/* --- capacity --- */

static void what_nobody_is_held_for_gets_half_of_the_workers(void **state)
{
	struct fixture *fixture = *state;
	struct probe probes[3];
	int first, second;

	start(fixture, 4);
	ask(fixture, &probes[0], "file", LANE_SCHEDULED);
	ask(fixture, &probes[1], "other", LANE_DEMAND);
	ask(fixture, &probes[2], "third", LANE_SCHEDULED);
	assert_true(is_scanned(fixture, "file"));
	assert_true(is_scanned(fixture, "other"));
	assert_false(is_scanned(fixture, "third"));
	first = open_file(fixture, "fourth");
	assert_true(is_scanned(fixture, "fourth"));
	second = open_file(fixture, "third");
	assert_true(is_scanned(fixture, "third"));
	verdict_by(fixture, 2, VERDICT_CLEAN, "");
	verdict_by(fixture, 3, VERDICT_CLEAN, "");
	assert_answered(first, true);
	assert_answered(second, true);
}

/* Where opens have all workers but one, that one is for the next. */
static void one_is_idle_for_the_next_open(void **state)
{
	struct fixture *fixture = *state;
	struct probe probe;

	start(fixture, 4);
	(void)open_file(fixture, "file");
	(void)open_file(fixture, "other");
	(void)open_file(fixture, "third");
	ask(fixture, &probe, "fourth", LANE_SCHEDULED);
	assert_false(is_scanned(fixture, "fourth"));
	verdict_by(fixture, 0, VERDICT_CLEAN, "");
	assert_true(is_scanned(fixture, "fourth"));
}

/* --- priority --- */

static void what_nobody_waits_for_has_low_priority(void **state)
{
	static const enum lane lanes[] = {LANE_MOVED, LANE_AHEAD, LANE_WARM, LANE_SCHEDULED};
	struct fixture *fixture = *state;
	struct probe probe;

	start(fixture, 2);
	for (size_t i = 0; i < N_ELEMENTS(lanes); i++) {
		ask(fixture, &probe, "file", lanes[i]);
		assert_true(is_low(fixture, 0));
		verdict_by(fixture, 0, VERDICT_CLEAN, "");
	}
	/* It is kept until it is wrong. */
	assert_int_equal(fake.n_priorities, 1);
	assert_false(is_low(fixture, 1));
	ask(fixture, &probe, "file", LANE_DEMAND);
	assert_int_not_equal(scanned_by(fixture, 1), 0);
	verdict_by(fixture, 1, VERDICT_CLEAN, "");
	assert_int_equal(fake.n_priorities, 1);
}

/* Nothing is to be done for a held open before its worker is asked. */
static void an_open_gets_a_worker_of_normal_priority(void **state)
{
	struct fixture *fixture = *state;
	struct probe probe;
	int fd;

	start(fixture, 2);
	ask(fixture, &probe, "file", LANE_SCHEDULED);
	verdict_by(fixture, 0, VERDICT_CLEAN, "");
	assert_int_equal(fake.n_priorities, 1);
	fd = open_file(fixture, "other");
	assert_int_equal(scanned_by(fixture, 1), inode_of("other"));
	assert_int_equal(fake.n_priorities, 1);
	/* Where there is none left, it takes what there is. */
	(void)open_file(fixture, "third");
	assert_int_equal(scanned_by(fixture, 0), inode_of("third"));
	assert_false(is_low(fixture, 0));
	verdict_by(fixture, 1, VERDICT_CLEAN, "");
	assert_answered(fd, true);
}

static void who_is_waited_for_gets_normal_priority_back(void **state)
{
	struct fixture *fixture = *state;
	struct probe first, second;
	int fd;

	start(fixture, 2);
	ask(fixture, &first, "file", LANE_SCHEDULED);
	assert_true(is_low(fixture, 0));
	fd = open_file(fixture, "file");
	assert_false(is_low(fixture, 0));
	assert_int_equal(scanned_by(fixture, 1), 0);
	verdict_by(fixture, 0, VERDICT_CLEAN, "");
	assert_answered(fd, true);

	ask(fixture, &first, "other", LANE_SCHEDULED);
	assert_true(is_low(fixture, 0));
	ask(fixture, &second, "other", LANE_WARM);
	assert_true(is_low(fixture, 0));
	ask(fixture, &second, "other", LANE_DEMAND);
	assert_false(is_low(fixture, 0));
}

static void where_it_is_withheld_all_goes_on_without(void **state)
{
	struct fixture *fixture = *state;
	struct probe probe;

	fake.is_nice_withheld = true;
	start(fixture, 2);
	for (unsigned i = 0; i < 3; i++) {
		ask(fixture, &probe, "file", LANE_SCHEDULED);
		(void)open_file(fixture, "file");
		verdict_by(fixture, 0, VERDICT_CLEAN, "");
		assert_int_equal(probe.n_told, 1);
	}
	assert_int_equal(log_lines.n_withheld, 1);
	assert_int_equal(fake.n_priorities, 1);
}

/* It may be that others leave it no processor. */
static void a_long_scan_gets_normal_priority_in_time(void **state)
{
	struct fixture *fixture = *state;
	struct probe probe;

	start(fixture, 2);
	ask(fixture, &probe, "file", LANE_SCHEDULED);
	pass_time(fixture, 14 * SECOND);
	assert_true(is_low(fixture, 0));
	pass_time(fixture, 2 * SECOND);
	assert_false(is_low(fixture, 0));
	verdict_by(fixture, 0, VERDICT_CLEAN, "");
	assert_int_equal(probe.n_told, 1);
}

static void end_slow(struct fixture *fixture, unsigned i, bool by_alarm)
{
	if (by_alarm) {
		lose_worker_by(fixture, i, SIGALRM);
	} else {
		pass_time(fixture, 61 * SECOND);
		lose(&fixture->workers[i].fd);
		fixture->workers[i].scan = 0;
	}
}

/* A file that ran out of time at low priority is not known to be too much for a worker. */
static void what_was_starved_gets_another_chance(void **state)
{
	struct fixture *fixture = *state;
	struct probe probe;

	for (unsigned by_alarm = 0; by_alarm < 2; by_alarm++) {
		const char *name = by_alarm ? "other" : "file";

		if (!by_alarm)
			start(fixture, 1);
		else
			start_worker(fixture);
		ask(fixture, &probe, name, LANE_SCHEDULED);
		assert_true(is_low(fixture, 0));
		end_slow(fixture, 0, by_alarm);
		assert_int_equal(probe.n_told, 0);

		/* At normal priority, whoever wants it. */
		start_worker(fixture);
		assert_true(is_scanned(fixture, name));
		assert_false(is_low(fixture, 0));
		end_slow(fixture, 0, by_alarm);
		assert_int_equal(probe.n_told, 0);
		assert_int_equal(findings_count(fixture->gate.findings, FINDING_POISON,
						gate_signatures(&fixture->gate)),
				 by_alarm);

		/* What runs out of time then does so twice before it is given up, as ever. */
		start_worker(fixture);
		assert_false(is_low(fixture, 0));
		end_slow(fixture, 0, by_alarm);
		assert_int_equal(probe.n_told, 1);
		assert_int_equal(probe.verdict.verdict, VERDICT_FAILED);
	}
}

/* Whoever crashes does so at any priority. */
static void a_crash_is_one_at_low_priority_too(void **state)
{
	struct fixture *fixture = *state;
	struct probe probe;

	start(fixture, 1);
	ask(fixture, &probe, "file", LANE_SCHEDULED);
	lose_worker(fixture, 0);
	start_worker(fixture);
	assert_true(is_low(fixture, 0));
	assert_true(is_scanned(fixture, "file"));
	lose_worker(fixture, 0);
	assert_int_equal(probe.n_told, 1);
	assert_int_equal(probe.verdict.verdict, VERDICT_FAILED);
}

/* The pid of a worker that has gone may be another's. */
static void one_that_has_gone_is_left_alone(void **state)
{
	struct fixture *fixture = *state;
	struct probe probe;
	unsigned before;

	start(fixture, 2);
	ask(fixture, &probe, "file", LANE_SCHEDULED);
	drop_worker(fixture, 0);
	before = fake.n_priorities;
	(void)open_file(fixture, "file");
	pass_time(fixture, SECOND / 2);
	assert_int_equal(fake.n_priorities, before);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_was_written_is_scanned_once_it_has_settled),
		TEST(malware_is_reported_when_it_lands),
		TEST(what_could_not_be_verified_is_nobodys_business_yet),
		TEST(many_closes_are_one_scan),
		TEST(one_that_was_changed_meanwhile_waits_anew),
		TEST(what_changes_without_end_is_given_up),
		TEST(some_files_are_not_worth_it),
		TEST(where_it_is_switched_off_nothing_waits),
		TEST(what_is_being_scanned_waits),
		TEST(what_an_open_has_verified_is_not_scanned_again),
		TEST(an_open_does_not_wait_for_what_was_written),
		TEST(what_opens_leave_no_time_for_is_dropped),
		TEST(while_opens_follow_each_other_what_was_written_waits),
		TEST(what_was_made_just_now_is_opened_at_once),
		TEST(what_there_is_no_room_for_is_dropped),
		TEST(lanes_are_served_in_their_order),
		TEST(what_nobody_is_held_for_gets_half_of_the_workers),
		TEST(one_is_idle_for_the_next_open),
		TEST(what_nobody_waits_for_has_low_priority),
		TEST(an_open_gets_a_worker_of_normal_priority),
		TEST(who_is_waited_for_gets_normal_priority_back),
		TEST(where_it_is_withheld_all_goes_on_without),
		TEST(a_long_scan_gets_normal_priority_in_time),
		TEST(what_was_starved_gets_another_chance),
		TEST(a_crash_is_one_at_low_priority_too),
		TEST(one_that_has_gone_is_left_alone),
	};

	if (!can_run())
		return UNIT_SKIPPED;
	log_set_sink(log_line_of, NULL);
	return cmocka_run_group_tests_name("gate_ahead", tests, fixture_group_setup,
					   scratch_teardown);
}
