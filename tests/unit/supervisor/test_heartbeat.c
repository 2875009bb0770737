/* SPDX-License-Identifier: GPL-2.0-only */
/* Who is silent, or stopped, is killed: see family_fixture.h. */
#include "family_fixture.h"

static void the_guard_and_those_that_stand_by_are_asked(void)
{
	struct process *asked[3];

	protect();
	asked[0] = current(CHILD_GUARD);
	asked[1] = standby(0);
	asked[2] = standby(1);
	for (size_t i = 0; i < N_ELEMENTS(asked); i++) {
		asked[i]->is_silent = true;
		assert_string_equal(told(asked[i]), "");
	}
	tick(1);
	for (size_t i = 0; i < N_ELEMENTS(asked); i++) {
		assert_string_equal(told(asked[i]), "ping");
		asked[i]->is_silent = false;
	}
}

static void whoever_answers_is_left_alone(void)
{
	protect();
	tick(50);
	assert_int_equal(current(CHILD_GUARD)->kills, 0);
	assert_int_equal(count_standbys(), 2);
	assert_int_equal(count_started(CHILD_STANDBY), 2);
	assert_false(logged("it is killed"));
}

static void a_guard_that_leaves_four_questions_unanswered_is_killed(void)
{
	struct process *guard, *next;

	protect();
	guard = current(CHILD_GUARD);
	next = standby(0);
	guard->is_silent = true;
	tick(4);
	assert_string_equal(told(guard), "ping ping ping ping");
	assert_int_equal(guard->kills, 0);
	tick(1);
	assert_int_equal(guard->kills, 1);
	assert_true(
		logged("holdfast-guard (pid 1002) did not answer for 4 questions: it is killed"));
	assert_string_equal(service->history.ended[WIRE_ENDED_GUARD].reason,
			    "did not answer for 4 questions");
	assert_ptr_equal(current(CHILD_GUARD), next);
}

/* It may take longer than that to get to work, but then it is asked anew. */
static void an_answer_is_enough_for_all_questions(void)
{
	const struct wire_plain pong = {.header = WIRE_INIT(WIRE_PONG, struct wire_plain)};
	struct process *guard;

	protect();
	guard = current(CHILD_GUARD);
	guard->is_silent = true;
	for (unsigned i = 0; i < 5; i++) {
		tick(4);
		process_say(guard, &pong.header);
		run();
	}
	assert_int_equal(guard->kills, 0);
	tick(5);
	assert_int_equal(guard->kills, 1);
}

/* What it owed as a standby does not count. */
static void a_successor_is_given_all_the_time_there_is(void)
{
	struct process *next;

	protect();
	for (unsigned i = 0; i < 2; i++)
		standby(i)->is_silent = true;
	tick(4);
	lose(current(CHILD_GUARD), ENDED_BY(SIGKILL));
	next = current(CHILD_GUARD);
	tick(4);
	assert_int_equal(next->kills, 0);
	tick(1);
	assert_int_equal(next->kills, 1);
}

static void a_silent_standby_is_killed_and_replaced(void)
{
	struct process *silent, *other;

	protect();
	silent = standby(0);
	other = standby(1);
	silent->is_silent = true;
	tick(5);
	assert_int_equal(silent->kills, 1);
	assert_true(logged("the standby of holdfast-guard (pid 1003) did not answer"));
	(void)make(other);
	assert_int_equal(count_standbys(), 2);
	assert_int_equal(service->history.ended[WIRE_ENDED_STANDBY].n, 1);
	assert_int_equal(current(CHILD_GUARD)->kills, 0);
}

static void one_that_was_killed_is_not_asked_again(void)
{
	struct process *guard;

	protect();
	guard = current(CHILD_GUARD);
	guard->is_silent = guard->is_stuck = true;
	tick(5);
	(void)told(guard);
	assert_true(logged("it is killed"));
	tick(10);
	assert_string_equal(told(guard), "");
	assert_int_equal(guard->kills, 1);
	assert_false(logged("it is killed"));
	guard->is_stuck = false;
	lose(guard, ENDED_BY(SIGKILL));
}

static void whoever_is_stopped_is_killed_at_once_and_once(void)
{
	struct process *stopped[5];

	protect();
	stopped[0] = standby(0);
	stopped[1] = current(CHILD_ENGINE);
	stopped[2] = current(CHILD_REPORTER);
	stopped[3] = current(CHILD_PORTER);
	stopped[4] = current(CHILD_GUARD);
	for (size_t i = 0; i < N_ELEMENTS(stopped); i++) {
		stopped[i]->is_stuck = true;
		lose(stopped[i], STOPPED_BY(SIGSTOP));
		assert_int_equal(stopped[i]->kills, 1);
		assert_true(logged("was stopped (Stopped (signal)): it is killed"));
		lose(stopped[i], STOPPED_BY(SIGTSTP));
		assert_int_equal(stopped[i]->kills, 1);
		assert_false(logged("it is killed"));
	}
	for (size_t i = 0; i < N_ELEMENTS(stopped); i++) {
		stopped[i]->is_stuck = false;
		lose(stopped[i], ENDED_BY(SIGKILL));
	}
	assert_string_equal(service->history.ended[WIRE_ENDED_ENGINE].reason,
			    "was stopped (Stopped (signal))");
	/* that was said before */
	assert_false(logged("was stopped"));
	assert_int_equal(service->history.takeovers + service->history.gaps, 0);
	settle();
	assert_int_equal(service->history.takeovers, 1);
}

/* A worker whose engine has ended, say. */
static void so_is_one_that_was_not_started_by_us(void)
{
	struct process *stray;

	protect();
	stray = process_new(CHILD_ENGINE, -1);
	lose(stray, STOPPED_BY(SIGSTOP));
	assert_int_equal(stray->kills, 1);
	assert_true(stray->has_ended);
}

static void a_guard_that_cannot_end_is_not_waited_for_long(void)
{
	struct process *stuck, *next;

	protect();
	stuck = current(CHILD_GUARD);
	next = standby(0);
	stuck->is_stuck = true;
	lose(stuck, STOPPED_BY(SIGSTOP));
	now_us += 400000;
	tick(1);
	assert_ptr_equal(current(CHILD_GUARD), stuck);
	tick(1);
	assert_ptr_equal(current(CHILD_GUARD), next);
	assert_int_equal(next->order.predecessor, stuck->pid);
	settle();
	assert_int_equal(service->history.takeovers, 1);
	assert_int_equal(service->history.ended[WIRE_ENDED_GUARD].n, 1);
	forget_what_was_said();

	/* In the end it ends. */
	stuck->is_stuck = false;
	lose(stuck, ENDED_BY(SIGKILL));
	tick(10);
	assert_ptr_equal(current(CHILD_GUARD), next);
	assert_int_equal(service->history.takeovers, 1);
	assert_int_equal(service->history.ended[WIRE_ENDED_GUARD].n, 1);
	assert_int_equal(service->history.gaps, 0);
	assert_string_equal(told(next), "");
	assert_string_equal(lines, "");
	assert_int_equal(count_standbys(), 2);
}

static void nor_is_it_where_nobody_can_follow_at_once(void)
{
	struct process *stuck;

	protect();
	stuck = current(CHILD_GUARD);
	stuck->is_stuck = stuck->is_silent = true;
	service->restarts[CHILD_GUARD].failures = 4;
	tick(8);
	assert_true(logged("the guard is gone"));
	assert_null(service->current[CHILD_GUARD]); /* or no other would ever be started */
	stuck->is_stuck = false;
	lose(stuck, ENDED_BY(SIGKILL));
	assert_int_equal(service->history.gaps, 1);
}

/* It cannot follow itself, although one that it was to make is not there yet. */
static void nor_is_it_while_it_makes_another(void)
{
	struct process *stuck = current(CHILD_GUARD), *born;

	(void)make_silently(stuck);
	born = make(stuck);
	say_ready(stuck);
	stuck->is_stuck = true;
	lose(stuck, STOPPED_BY(SIGSTOP));
	tick(3);
	assert_ptr_equal(current(CHILD_GUARD), born);
	stuck->is_stuck = false;
	lose(stuck, ENDED_BY(SIGKILL));
}

static void so_is_its_successor(void)
{
	struct process *stuck[2];

	protect();
	for (unsigned i = 0; i < 2; i++) {
		stuck[i] = current(CHILD_GUARD);
		stuck[i]->is_stuck = stuck[i]->is_silent = true;
		tick(8);
		settle();
	}
	assert_int_equal(service->history.takeovers, 2);
	for (unsigned i = 0; i < 2; i++) {
		stuck[i]->is_stuck = false;
		lose(stuck[i], ENDED_BY(SIGKILL));
	}
	assert_int_equal(service->history.takeovers, 2);
	assert_int_equal(service->history.gaps, 0);
}

static void the_configuration_says_how_often(void)
{
	protect();
	assert_int_equal(heartbeat_interval_us(service), SECOND / 2);
	conf_fixture_set(service->conf, "service", "heartbeat", "60s");
	assert_int_equal(heartbeat_interval_us(service), 10 * SECOND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENARIO(the_guard_and_those_that_stand_by_are_asked),
		SCENARIO(whoever_answers_is_left_alone),
		SCENARIO(a_guard_that_leaves_four_questions_unanswered_is_killed),
		SCENARIO(an_answer_is_enough_for_all_questions),
		SCENARIO(a_successor_is_given_all_the_time_there_is),
		SCENARIO(a_silent_standby_is_killed_and_replaced),
		SCENARIO(one_that_was_killed_is_not_asked_again),
		SCENARIO(whoever_is_stopped_is_killed_at_once_and_once),
		SCENARIO(so_is_one_that_was_not_started_by_us),
		SCENARIO(a_guard_that_cannot_end_is_not_waited_for_long),
		SCENARIO(nor_is_it_where_nobody_can_follow_at_once),
		SCENARIO(nor_is_it_while_it_makes_another),
		SCENARIO(so_is_its_successor),
		SCENARIO(the_configuration_says_how_often),
	};

	return cmocka_run_group_tests_name("heartbeat", tests, NULL, NULL);
}
