/* SPDX-License-Identifier: GPL-2.0-only */
/* Opens that one of the two groups asks about while the other does, or has: see group.h. */
#include "gate_fixture.h"

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

/* Who asks from here on, and for as long as the test takes. */
static void enter(struct fixture *fixture, enum group_phase phase, enum group_queue_name speaks)
{
	fixture->gate.group->phase = phase;
	fixture->gate.group->phase_us = UINT64_MAX / 2;
	fake.kernel = fake.kernels[speaks];
}

static void who_is_asked_about_by_the_lower_group_is_answered_by_it(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	start_engine(fixture);
	enter(fixture, GROUP_DOWN, GROUP_LOWER);
	fd = open_file(fixture, "file");
	assert_held(fd);
	send_verdict(fixture, VERDICT_INFECTED, "Eicar-Test");
	assert_answered(fd, false);
	fake.kernel = fake.kernels[GROUP_UPPER];
	assert_no_more_answers();
}

static void while_the_lower_group_asks_nothing_is_marked(void **state)
{
	struct fixture *fixture = *state;

	memory_or_skip(fixture);
	start_engine(fixture);
	watch_scratch(fixture);
	enter(fixture, GROUP_DOWN, GROUP_LOWER);
	(void)open_file(fixture, "file");
	send_verdict(fixture, VERDICT_CLEAN, "");
	(void)open_file(fixture, "file"); /* which is known */
	assert_int_equal(fixture->gate.counters->known, 1);
	assert_int_equal(fake.marks, 0);
	enter(fixture, GROUP_RETURNING, GROUP_LOWER);
	(void)open_file(fixture, "file");
	assert_int_equal(fake.marks, 1);
}

/* --- who was let go at the deadline --- */

static void let_go(struct fixture *fixture, enum group_phase phase)
{
	int fd;

	set(fixture, "hold-timeout", "15s");
	set(fixture, "on-timeout", "allow");
	start_engine(fixture);
	enter(fixture, phase, GROUP_UPPER);
	fd = open_file(fixture, "file");
	pass_time(fixture, 16 * SECOND);
	assert_answered(fd, true);
	enter(fixture, phase, GROUP_LOWER);
}

static void who_was_let_go_is_not_held_again_but_once_only(void **state)
{
	struct fixture *fixture = *state;

	let_go(fixture, GROUP_DOWN);
	assert_answered(open_file(fixture, "file"), true);
	assert_held(open_file(fixture, "file"));
	assert_int_equal(fixture->gate.counters->timeouts, 1);
}

static void others_are_held(void **state)
{
	struct fixture *fixture = *state;

	let_go(fixture, GROUP_DOWN);
	assert_held(open_by(fixture, "file", 2));
	assert_held(open_file(fixture, "other"));
}

static void so_is_he_a_moment_later(void **state)
{
	struct fixture *fixture = *state;

	let_go(fixture, GROUP_DOWN);
	fake.now_us += SECOND;
	assert_held(open_file(fixture, "file"));
}

static void so_is_he_if_only_one_group_asked(void **state)
{
	struct fixture *fixture = *state;

	let_go(fixture, GROUP_HOME);
	assert_held(open_file(fixture, "file"));
}

static void what_was_found_meanwhile_counts(void **state)
{
	struct fixture *fixture = *state;

	memory_or_skip(fixture);
	log_set_sink(silent, NULL);
	let_go(fixture, GROUP_DOWN);
	send_verdict(fixture, VERDICT_INFECTED, "Eicar-Test");
	assert_answered(open_file(fixture, "file"), false);
	log_set_sink(NULL, NULL);
}

/* --- closes after writing --- */

static void know_what_a_user_may_write(struct fixture *fixture)
{
	int fd;

	memory_or_skip(fixture);
	set(fixture, "scan-ahead", "no");
	start_engine(fixture);
	watch_scratch(fixture);
	scratch_write("users", "content", 7);
	assert_int_equal(chown("users", 12345, 12345), 0);
	fd = open_file(fixture, "users");
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_answered(fd, true);
	assert_answered(open_file(fixture, "users"), true);
}

/* One group is told of a close, and the other one of an open that came later. */
static void assert_close_comes_first(struct fixture *fixture, enum group_phase phase,
				     enum group_queue_name told_of_close,
				     enum group_queue_name told_of_open)
{
	int fd;

	know_what_a_user_may_write(fixture);
	enter(fixture, phase, told_of_open);
	fd = tell(fake.kernel, FAN_OPEN_PERM, "users", OPENER_PID);
	(void)tell(fake.kernels[told_of_close], FAN_CLOSE_WRITE, "users", OPENER_PID);
	run(fixture);
	assert_held(fd);
}

static void a_close_that_only_the_upper_group_was_told_comes_first(void **state)
{
	assert_close_comes_first(*state, GROUP_DOWN, GROUP_UPPER, GROUP_LOWER);
}

static void so_does_one_that_only_the_lower_one_was_told(void **state)
{
	assert_close_comes_first(*state, GROUP_RETURNING, GROUP_LOWER, GROUP_UPPER);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(who_is_asked_about_by_the_lower_group_is_answered_by_it),
		TEST(while_the_lower_group_asks_nothing_is_marked),
		TEST(who_was_let_go_is_not_held_again_but_once_only),
		TEST(others_are_held),
		TEST(so_is_he_a_moment_later),
		TEST(so_is_he_if_only_one_group_asked),
		TEST(what_was_found_meanwhile_counts),
		TEST(a_close_that_only_the_upper_group_was_told_comes_first),
		TEST(so_does_one_that_only_the_lower_one_was_told),
	};

	if (!can_run())
		return UNIT_SKIPPED;
	return cmocka_run_group_tests_name("gate_groups", tests, fixture_group_setup,
					   scratch_teardown);
}
