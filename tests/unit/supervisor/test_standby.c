/* SPDX-License-Identifier: GPL-2.0-only */
/* Who is the guard, and who comes after it: see family_fixture.h. */
#include "family_fixture.h"

/* What a guard is told that takes over, and a new one: its peers are the reporter, the control
 * socket and the engine. */
#define TAKES_OVER "take-over config history peer peer"
#define BEGINS	   "clone clone take-over config history peer peer peer"

#define GAP    "the guard is gone: opens that were held are let go, files are not protected"
#define ALONE  "no standby is left"
#define FOLLOW "a standby took over as the guard within"

static unsigned ended(enum wire_ended_role role)
{
	return service->history.ended[role].n;
}

/* --- making standbys --- */

static void the_first_of_a_family_makes_two_and_is_the_guard(void)
{
	struct process *first = current(CHILD_GUARD);

	assert_string_equal(told(first), BEGINS);
	assert_int_equal(first->n_clones, 2);
	assert_int_equal(first->order.predecessor, 0);
	assert_int_equal(first->order.has_crashed, 0);
	settle();
	assert_int_equal(count_standbys(), 2);
	assert_true(service->protecting);
	/* and that is enough */
	assert_string_equal(told(standby(0)), "");
	assert_string_equal(told(standby(1)), "");
	assert_int_equal(ended(WIRE_ENDED_STANDBY), 0);
	assert_false(logged(ALONE));
}

static void a_standby_counts_once_it_has_said_its_pid(void)
{
	struct process *first = current(CHILD_GUARD), *born;

	(void)make_silently(first);
	born = make(first);
	say_ready(first);
	forget_what_was_said();
	lose(first, ENDED_BY(SIGKILL));
	assert_ptr_equal(current(CHILD_GUARD), born);
	assert_string_equal(told(born), TAKES_OVER);
	assert_int_equal(count_standbys(), 0);
}

static void without_one_that_has_nobody_takes_over(void)
{
	struct process *first = current(CHILD_GUARD), *unborn = make_silently(first);

	say_ready(first);
	lose(first, ENDED_BY(SIGKILL));
	assert_true(logged(GAP));
	assert_int_equal(unborn->channel, -1); /* it was told to end */
	assert_int_equal(count_started(CHILD_GUARD), 2);
}

static void none_is_asked_for_before_the_guard_works(void)
{
	struct process *first = current(CHILD_GUARD), *left;

	settle();
	left = standby(1);
	forget_what_was_said();
	lose(first, ENDED_BY(SIGKILL));
	tick(3);
	assert_string_equal(told(left), "");
	say_ready(current(CHILD_GUARD));
	assert_string_equal(told(left), "clone");
	/* one is on its way: it is not asked for again */
	tick(2);
	assert_string_equal(told(left), "");
	(void)make(left);
	assert_int_equal(count_standbys(), 2);
	assert_string_equal(told(left), "");
}

static void a_standby_that_ends_is_replaced(void)
{
	struct process *gone, *left, *clone;

	protect();
	gone = standby(0);
	left = standby(1);
	lose(gone, ENDED_BY(SIGKILL));
	assert_string_equal(told(left), "clone");
	clone = make(left);
	assert_int_equal(count_standbys(), 2);
	assert_int_equal(ended(WIRE_ENDED_STANDBY), 1);
	assert_string_equal(service->history.ended[WIRE_ENDED_STANDBY].reason,
			    "was ended by Killed");
	assert_int_equal(ended(WIRE_ENDED_GUARD), 0);
	assert_true(logged("the standby of holdfast-guard"));
	/* who has ended is said once */
	lose(clone, ENDED_BY(SIGSEGV));
	(void)make(left);
	lose(current(CHILD_GUARD), ENDED_BY(SIGKILL));
	say_ready(current(CHILD_GUARD));
	assert_int_equal(current(CHILD_GUARD)->order.predecessor, FIRST_PID + 2);
}

/* For whoever asks how often it had to be. */
static void that_it_was_is_told_to_the_guard(void)
{
	protect();
	lose(standby(0), ENDED_BY(SIGKILL));
	assert_string_equal(told(current(CHILD_GUARD)), "history");
}

static void one_that_never_speaks_is_given_up(void)
{
	struct process *left, *silent;

	protect();
	left = standby(1);
	lose(standby(0), ENDED_BY(SIGKILL));
	silent = make_silently(left);
	silent->is_silent = true;
	forget_what_was_said();
	tick(4);
	assert_string_equal(told(left), "");
	assert_int_not_equal(silent->channel, -1);
	tick(1);
	assert_int_equal(silent->channel, -1);
	assert_string_equal(told(left), "clone");
	(void)make(left);
	assert_int_equal(count_standbys(), 2);
	/* nobody knows its pid */
	assert_int_equal(silent->kills, 0);
}

static void those_of_a_maker_that_ends_are_not_waited_for(void)
{
	struct process *maker, *clone;

	protect();
	maker = standby(1);
	lose(standby(0), ENDED_BY(SIGKILL));
	clone = make_silently(maker);
	lose(maker, ENDED_BY(SIGKILL));
	assert_int_equal(clone->channel, -1);
	assert_true(logged(ALONE));
	assert_int_equal(ended(WIRE_ENDED_STANDBY), 2);
}

static void that_none_is_left_is_said_once(void)
{
	protect();
	die(standby(0), ENDED_BY(SIGKILL));
	die(standby(1), ENDED_BY(SIGKILL));
	run();
	assert_int_equal(count_standbys(), 0);
	assert_true(logged(ALONE));
	tick(10);
	assert_false(logged(ALONE));
	/* and again of the next family */
	lose(current(CHILD_GUARD), ENDED_BY(SIGKILL));
	settle();
	assert_int_equal(count_standbys(), 2);
	assert_false(logged(ALONE));
	die(standby(0), ENDED_BY(SIGKILL));
	die(standby(1), ENDED_BY(SIGKILL));
	run();
	assert_true(logged(ALONE));
}

/* What it has said counts, although nobody has read it when it ends. */
static void one_that_ends_right_after_its_first_word_is_known(void)
{
	struct process *left, *clone;
	struct child *child;

	protect();
	left = standby(1);
	lose(standby(0), ENDED_BY(SIGKILL));
	clone = make_silently(left);
	/* that it has ended is heard of first */
	DL_FOREACH (service->children, child)
		assert_true(sd_event_source_set_priority(child->source, 10) >= 0);
	say_born(clone, clone->pid);
	die(clone, ENDED_BY(SIGKILL));
	assert_int_equal(raise(SIGCHLD), 0);
	run();
	assert_int_equal(ended(WIRE_ENDED_STANDBY), 2);
	(void)make(left);
	assert_int_equal(count_standbys(), 2);
}

static void only_one_that_is_being_made_is_believed_to_be_a_standby(void)
{
	static const enum child_role others[] = {CHILD_REPORTER, CHILD_ENGINE, CHILD_GUARD};
	struct process *other, *unborn;

	protect();
	for (size_t i = 0; i < N_ELEMENTS(others); i++) {
		other = current(others[i]);
		say_born(other, other->pid);
		run();
		assert_int_equal(other->kills, 1);
		settle();
	}
	other = standby(0);
	say_born(other, other->pid);
	run();
	assert_int_equal(other->kills, 1);
	unborn = make_silently(standby(0));
	say_born(unborn, 1);
	run();
	assert_int_equal(unborn->kills, 0); /* whose pid nobody knows */
	tick(5);
	assert_int_equal(unborn->channel, -1);
	unborn = make_silently(standby(0));
	say_result(unborn, WIRE_FAILED, "it has no memory");
	assert_true(logged("it has no memory"));
	assert_int_equal(unborn->kills, 0);
}

/* --- taking over --- */

static void a_standby_follows_at_once(void)
{
	struct process *guard, *next, *other;

	protect();
	guard = current(CHILD_GUARD);
	next = standby(0);
	other = standby(1);
	lose(guard, ENDED_BY(SIGSEGV));
	assert_ptr_equal(current(CHILD_GUARD), next);
	assert_string_equal(told(next), TAKES_OVER);
	assert_int_equal(next->order.predecessor, guard->pid);
	assert_int_equal(next->order.has_crashed, 1);
	assert_string_equal(told(other), "");
	assert_false(logged(GAP));
	assert_int_equal(count_started(CHILD_GUARD), 1);
	now_us += 12000;
	say_ready(next);
	assert_true(logged("a standby took over as the guard within 12 ms: opens waited, none was "
			   "let go"));
	assert_int_equal(service->history.takeovers, 1);
	assert_int_equal(service->history.last_takeover_us, 12000);
	assert_int_equal(service->history.gaps, 0);
	assert_int_equal(service->history.last_gap_us, 0);
	assert_int_equal(ended(WIRE_ENDED_GUARD), 1);
	assert_string_equal(service->history.ended[WIRE_ENDED_GUARD].reason,
			    "was ended by Segmentation fault");
	/* it has not said that it has the engine of the one before; and it is told, for status */
	assert_string_equal(told(next), "peer history");
	/* the rest of the family is not touched */
	assert_int_equal(next->kills + other->kills, 0);
}

static void what_it_says_while_it_is_none_changes_nothing(void)
{
	protect();
	lose(current(CHILD_GUARD), ENDED_BY(SIGKILL));
	say_ready(current(CHILD_GUARD));
	settle();
	forget_what_was_said();
	/* as after another configuration */
	say_ready(current(CHILD_GUARD));
	assert_false(logged(FOLLOW));
	assert_int_equal(service->history.takeovers, 1);
}

static void whether_it_was_its_own_fault_is_told(void)
{
	static const struct {
		int status;
		uint32_t has_crashed;
	} cases[] = {
		{ENDED_BY(SIGKILL), 0},	  {ENDED_BY(SIGSEGV), 1}, {ENDED_BY(SIGABRT), 1},
		{ENDED_BY(SIGTERM), 1},	  {ENDED_WITH(1), 1},	  {ENDED_WITH(0) | 1 << 16, 1},
		{STOPPED_BY(SIGSTOP), 0},
	};

	protect();
	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		now_us += 10 * SECOND;
		lose(current(CHILD_GUARD), cases[i].status);
		if (current(CHILD_GUARD)->order.has_crashed != cases[i].has_crashed)
			fail_msg("case %zu", i);
		settle();
	}
	now_us += 10 * SECOND;
	current(CHILD_GUARD)->is_silent = true;
	tick(5);
	assert_int_equal(current(CHILD_GUARD)->order.has_crashed, 1);
	assert_int_equal(service->history.gaps, 0);
}

static void the_one_that_makes_another_takes_over_and_the_other_stays(void)
{
	struct process *maker, *clone;

	protect();
	maker = standby(1);
	lose(standby(0), ENDED_BY(SIGKILL));
	forget_what_was_said();
	lose(current(CHILD_GUARD), ENDED_BY(SIGKILL));
	assert_ptr_equal(current(CHILD_GUARD), maker);
	assert_string_equal(told(maker), TAKES_OVER);
	clone = make(maker);
	assert_int_equal(count_standbys(), 1);
	say_ready(maker);
	assert_string_equal(told(clone), "clone");

	/* Nor is the guard alone while another is on its way, however long that takes. */
	lose(maker, ENDED_BY(SIGKILL));
	assert_ptr_equal(current(CHILD_GUARD), clone);
	maker = clone;
	clone = make_silently(maker);
	say_ready(maker);
	tick(2);
	assert_false(logged(ALONE));
	say_born(clone, clone->pid);
	run();
	assert_string_equal(told(clone), "clone");
}

static void whoever_answers_is_preferred(void)
{
	struct process *answers;

	protect();
	standby(0)->is_silent = true;
	answers = standby(1);
	tick(2);
	lose(current(CHILD_GUARD), ENDED_BY(SIGKILL));
	assert_ptr_equal(current(CHILD_GUARD), answers);
}

static void one_that_was_killed_does_not_take_over(void)
{
	struct process *killed, *other;

	protect();
	killed = standby(0);
	other = standby(1);
	killed->is_stuck = true;
	lose(killed, STOPPED_BY(SIGSTOP));
	assert_int_equal(killed->kills, 1);
	/* nor is it counted */
	tick(1);
	(void)make(other);
	lose(current(CHILD_GUARD), ENDED_BY(SIGKILL));
	assert_ptr_equal(current(CHILD_GUARD), other);
	killed->is_stuck = false;
	lose(killed, ENDED_BY(SIGKILL));
}

static void both_can_end_at_once(void)
{
	struct process *guard, *second;

	protect();
	guard = current(CHILD_GUARD);
	second = standby(1);
	die(guard, ENDED_BY(SIGKILL));
	die(standby(0), ENDED_BY(SIGKILL));
	run();
	assert_ptr_equal(current(CHILD_GUARD), second);
	assert_false(logged(GAP));
	say_ready(second);
	assert_int_equal(service->history.takeovers, 1);
}

static void openers_wait_for_all_of_those_that_fail(void)
{
	protect();
	lose(current(CHILD_GUARD), ENDED_BY(SIGKILL));
	now_us += 3000;
	lose(current(CHILD_GUARD), ENDED_BY(SIGKILL));
	now_us += 2000;
	say_ready(current(CHILD_GUARD));
	assert_int_equal(service->history.takeovers, 1);
	assert_int_equal(service->history.last_takeover_us, 5000);
	assert_int_equal(ended(WIRE_ENDED_GUARD), 2);
}

static void guards_can_be_killed_without_end(void)
{
	protect();
	for (unsigned i = 0; i < 30; i++) {
		now_us += SECOND;
		lose(current(CHILD_GUARD), ENDED_BY(SIGKILL));
		now_us += 1000 + i;
		settle();
		assert_int_equal(count_standbys(), 2);
		assert_int_equal(service->history.last_takeover_us, 1000 + i);
	}
	assert_int_equal(service->history.takeovers, 30);
	assert_int_equal(ended(WIRE_ENDED_GUARD), 30);
	assert_int_equal(count_started(CHILD_GUARD), 1);
	assert_false(logged(GAP));
}

/* --- nobody takes over --- */

static void without_a_standby_there_is_a_gap_and_it_is_told(void)
{
	struct process *last;

	protect();
	for (unsigned i = 0; i < 2; i++)
		die(standby(i), ENDED_BY(SIGKILL));
	run();
	lose(current(CHILD_GUARD), ENDED_BY(SIGKILL));
	assert_true(logged(GAP));
	assert_int_equal(service->history.gaps, 1);
	last = current(CHILD_GUARD);
	assert_int_equal(count_started(CHILD_GUARD), 2);
	assert_int_equal(last->order.predecessor, 0);
	assert_int_equal(last->n_clones, 2);
	now_us += 40000;
	settle();
	assert_true(logged("a new guard is protecting again: there was no protection for 40 ms"));
	assert_int_equal(service->history.last_gap_us, 40000);
	assert_int_equal(service->history.takeovers, 0);
	assert_int_equal(count_standbys(), 2);
	/* from here on as before */
	lose(current(CHILD_GUARD), ENDED_BY(SIGKILL));
	assert_false(logged(GAP));
	say_ready(current(CHILD_GUARD));
	assert_true(logged(FOLLOW));
	assert_int_equal(service->history.gaps, 1);
	assert_int_equal(service->history.takeovers, 1);
}

/* Guards end as soon as they have taken over, or have got to work. */
static unsigned crash_until_given_up(void)
{
	unsigned n = 0;

	while (current(CHILD_GUARD) && !logged(GAP) && n < 20) {
		settle();
		now_us += SECOND / 2;
		lose(current(CHILD_GUARD), ENDED_BY(SIGSEGV));
		n++;
	}
	return n;
}

static void guards_that_keep_crashing_are_given_up(void)
{
	protect();
	assert_int_equal(crash_until_given_up(), 5);
	assert_int_equal(service->history.takeovers, 4);
	assert_int_equal(service->history.gaps, 1);
	/* all of the family, or the kernel's group would be there still */
	assert_int_equal(count_standbys(), 0);
	for (unsigned i = 0; i < n_processes; i++)
		if (processes[i].role == CHILD_GUARD || processes[i].role == CHILD_STANDBY)
			assert_true(processes[i].has_ended);
	/* and the next one does not begin at once */
	assert_int_equal(count_started(CHILD_GUARD), 1);
	assert_null(current(CHILD_GUARD));
	assert_int_equal(ended(WIRE_ENDED_STANDBY), 0);
}

static void so_are_guards_that_end_before_they_work(void)
{
	protect();
	for (unsigned i = 0; i < 4; i++) {
		lose(current(CHILD_GUARD), ENDED_BY(SIGSEGV));
		settle();
	}
	lose(current(CHILD_GUARD), ENDED_BY(SIGKILL));
	assert_false(logged(GAP));
	assert_int_equal(count_standbys(), 1);
	lose(current(CHILD_GUARD), ENDED_BY(SIGKILL));
	assert_true(logged(GAP));
	assert_null(current(CHILD_GUARD));
}

static void the_delay_is_told(void)
{
	protect();
	while (current(CHILD_GUARD)) {
		settle();
		lose(current(CHILD_GUARD), ENDED_BY(SIGSEGV));
	}
	assert_true(logged("holdfast-guard keeps failing: the next start is in 8 s"));
}

static void one_that_has_worked_for_long_is_none_that_fails(void)
{
	protect();
	for (unsigned i = 0; i < 20; i++) {
		now_us += 6 * SECOND;
		lose(current(CHILD_GUARD), ENDED_BY(SIGSEGV));
		settle();
	}
	assert_int_equal(service->history.takeovers, 20);
	assert_false(logged(GAP));
}

static void before_files_are_protected_nobody_takes_over(void)
{
	struct process *first = current(CHILD_GUARD);

	(void)make(first);
	(void)make(first);
	forget_what_was_said();
	lose(first, ENDED_BY(SIGSEGV));
	assert_true(logged("the service cannot start"));
	assert_int_equal(count_started(CHILD_GUARD), 1);
	assert_int_equal(service->history.gaps, 0);
}

/* Those of the family before share nothing with the new guard. */
static void one_of_the_family_before_is_not_asked(void)
{
	struct process *old, *guard;

	protect();
	old = standby(1);
	old->is_stuck = true;
	service->restarts[CHILD_GUARD].failures = 4;
	lose(current(CHILD_GUARD), ENDED_BY(SIGSEGV));
	assert_true(logged(GAP));
	__real_service_spawn_current(service, CHILD_GUARD); /* some seconds later */
	run();
	guard = current(CHILD_GUARD);
	assert_non_null(guard);
	assert_int_equal(old->kills, 1);
	assert_int_equal(guard->n_clones, 2);
	forget_what_was_said();
	say_ready(guard);
	assert_string_equal(told(old), "");
	settle();
	assert_int_equal(count_standbys(), 2);
	tick(10);
	lose(standby(1), ENDED_BY(SIGKILL));
	assert_string_equal(told(old), "");
	assert_int_equal(old->kills, 1);
	settle();
	assert_int_equal(count_standbys(), 2);
	old->is_stuck = false;
	lose(old, ENDED_BY(SIGKILL));
	assert_int_equal(count_standbys(), 2);
}

/* --- the stop --- */

static void all_end_when_the_service_stops(void)
{
	protect();
}

static void one_that_is_being_made_does_not_keep_it_from_stopping(void)
{
	protect();
	lose(standby(0), ENDED_BY(SIGKILL));
	(void)make_silently(standby(0));
}

static void nobody_takes_over_while_it_stops(void)
{
	protect();
	die(current(CHILD_GUARD), ENDED_BY(SIGKILL));
	die(standby(0), ENDED_BY(SIGKILL));
}

/* family_fixture.h fails on any that is asked for */
static void none_is_made_while_it_stops(void)
{
	protect();
	die(standby(0), ENDED_BY(SIGKILL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENARIO(the_first_of_a_family_makes_two_and_is_the_guard),
		SCENARIO(a_standby_counts_once_it_has_said_its_pid),
		SCENARIO(without_one_that_has_nobody_takes_over),
		SCENARIO(none_is_asked_for_before_the_guard_works),
		SCENARIO(a_standby_that_ends_is_replaced),
		SCENARIO(that_it_was_is_told_to_the_guard),
		SCENARIO(one_that_never_speaks_is_given_up),
		SCENARIO(those_of_a_maker_that_ends_are_not_waited_for),
		SCENARIO(that_none_is_left_is_said_once),
		SCENARIO(one_that_ends_right_after_its_first_word_is_known),
		SCENARIO(only_one_that_is_being_made_is_believed_to_be_a_standby),
		SCENARIO(a_standby_follows_at_once),
		SCENARIO(what_it_says_while_it_is_none_changes_nothing),
		SCENARIO(whether_it_was_its_own_fault_is_told),
		SCENARIO(the_one_that_makes_another_takes_over_and_the_other_stays),
		SCENARIO(whoever_answers_is_preferred),
		SCENARIO(one_that_was_killed_does_not_take_over),
		SCENARIO(both_can_end_at_once),
		SCENARIO(openers_wait_for_all_of_those_that_fail),
		SCENARIO(guards_can_be_killed_without_end),
		SCENARIO(without_a_standby_there_is_a_gap_and_it_is_told),
		SCENARIO(guards_that_keep_crashing_are_given_up),
		SCENARIO(so_are_guards_that_end_before_they_work),
		SCENARIO(the_delay_is_told),
		SCENARIO(one_that_has_worked_for_long_is_none_that_fails),
		SCENARIO(before_files_are_protected_nobody_takes_over),
		SCENARIO(one_of_the_family_before_is_not_asked),
		SCENARIO(all_end_when_the_service_stops),
		SCENARIO(one_that_is_being_made_does_not_keep_it_from_stopping),
		SCENARIO(nobody_takes_over_while_it_stops),
		SCENARIO(none_is_made_while_it_stops),
	};

	return cmocka_run_group_tests_name("standby", tests, NULL, NULL);
}
