/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/common/clock.h"
#include "../../../src/guard/group.h"
#include "../support/unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static struct {
	uint64_t now_us;
} fake;

int __wrap_clock_gettime(clockid_t clock, struct timespec *time);

int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
	time->tv_sec = (time_t)(fake.now_us / CLOCK_US_PER_SEC);
	time->tv_nsec = (long)(fake.now_us % CLOCK_US_PER_SEC) * 1000;
	return 0;
}

/* Queues that are pipes: what is written into one is unread. */
struct fixture {
	struct group group;
	int kernel[GROUP_QUEUES];
};

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	fake.now_us = 1000 * CLOCK_US_PER_SEC;
	for (unsigned i = 0; fixture && i < GROUP_QUEUES; i++) {
		int ends[2];

		if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
			return -1;
		fixture->group.queues[i].fd = ends[0];
		fixture->kernel[i] = ends[1];
	}
	*state = fixture;
	return fixture ? 0 : -1;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned i = 0; i < GROUP_QUEUES; i++)
		close(fixture->kernel[i]);
	group_deinit(&fixture->group);
	free(fixture);
	return 0;
}

/* Somebody is asked about, and it is not read. */
static void ask(struct fixture *fixture, unsigned queue)
{
	const struct fanotify_event_metadata event = {
		.event_len = FAN_EVENT_METADATA_LEN, .mask = FAN_OPEN_PERM, .fd = FAN_NOFD};

	assert_int_equal(write(fixture->kernel[queue], &event, sizeof(event)), sizeof(event));
}

/* All marks go while an opener waits for the upper group; what is watched was watched again. */
static void leave_upper(struct group *group)
{
	group->has_marked = true;
	assert_true(group_forget_all(group));
	group_flush(group);
	assert_int_equal(group->phase, GROUP_DOWN);
}

static bool ticks_after(struct group *group, unsigned seconds)
{
	fake.now_us += seconds * CLOCK_US_PER_SEC;
	return group_tick(group);
}

static void where_nothing_is_marked_nobody_takes_over(void **state)
{
	struct group *group = &((struct fixture *)*state)->group;

	assert_false(group_forget_all(group));
	assert_int_equal(group->phase, GROUP_HOME);
	assert_int_equal(group->epoch, 1);
	assert_false(ticks_after(group, 60));
}

static void the_lower_one_asks_for_a_while_and_then_both(void **state)
{
	struct group *group = &((struct fixture *)*state)->group;

	assert_true(group_may_mark(group));
	leave_upper(group);
	assert_false(group_may_mark(group));
	assert_false(group_tick(group));
	assert_true(ticks_after(group, 2));
	assert_int_equal(group->phase, GROUP_RETURNING);
	assert_true(group_may_mark(group));
	assert_false(group_tick(group));
	assert_true(ticks_after(group, 2));
	assert_int_equal(group->phase, GROUP_HOME);
	assert_false(ticks_after(group, 60));
}

static void marks_go_when_the_upper_one_no_longer_asks(void **state)
{
	struct group *group = &((struct fixture *)*state)->group;

	group->has_marked = true;
	group_flush(group);
	assert_true(group->has_marked);
	assert_true(group_forget_all(group));
	assert_true(group->has_marked);
	/* a guard that is killed here leaves that to the next one */
	assert_false(ticks_after(group, 60));
	assert_true(group_forget_all(group));
	group_flush(group);
	assert_false(group->has_marked);
	assert_true(ticks_after(group, 2));
}

static void while_an_opener_is_held_the_upper_one_does_not_ask(void **state)
{
	struct group *group = &((struct fixture *)*state)->group;

	group->queues[GROUP_UPPER].n_held = 1;
	leave_upper(group);
	assert_false(ticks_after(group, 60));
	group->queues[GROUP_UPPER].n_held = 0;
	assert_true(group_tick(group));
}

static void nor_while_one_is_unread(void **state)
{
	struct fixture *fixture = *state;
	struct group_event events[GROUP_BATCH];
	bool lost;

	ask(fixture, GROUP_UPPER);
	assert_true(group_has_unread(&fixture->group));
	leave_upper(&fixture->group);
	assert_false(ticks_after(&fixture->group, 60));
	/* nor while one is read and in nobody's hands */
	assert_int_equal(group_read(&fixture->group, GROUP_UPPER, events, &lost), 1);
	assert_false(group_has_unread(&fixture->group));
	assert_int_equal(events[0].queue, GROUP_UPPER);
	assert_false(ticks_after(&fixture->group, 60));
	group_take(&fixture->group, &events[0]);
	assert_true(ticks_after(&fixture->group, 60));
}

/* He may not have run, and holds on to what was marked. */
static void nor_right_after_one_was_answered(void **state)
{
	struct group *group = &((struct fixture *)*state)->group;

	leave_upper(group);
	fake.now_us += 60 * CLOCK_US_PER_SEC;
	group_answer(group, GROUP_UPPER, FAN_NOFD, true);
	assert_false(group_tick(group));
	assert_true(ticks_after(group, 2));
}

/* It marks no files, so nobody who waits for it holds on to one. */
static void who_waits_for_the_lower_one_does_not_matter(void **state)
{
	struct group *group = &((struct fixture *)*state)->group;

	leave_upper(group);
	group->queues[GROUP_LOWER].n_held = 1;
	ask(*state, GROUP_LOWER);
	assert_true(group_has_unread(group));
	assert_true(ticks_after(group, 2));
	assert_true(ticks_after(group, 2));
	assert_int_equal(group->phase, GROUP_HOME);
}

static void marks_may_go_again_at_any_time(void **state)
{
	struct group *group = &((struct fixture *)*state)->group;

	leave_upper(group);
	assert_false(group_forget_all(group));
	assert_int_equal(group->phase, GROUP_DOWN);
	assert_true(ticks_after(group, 2));
	leave_upper(group);
	assert_true(ticks_after(group, 2));
	assert_int_equal(group->epoch, 3);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(where_nothing_is_marked_nobody_takes_over),
		TEST(the_lower_one_asks_for_a_while_and_then_both),
		TEST(marks_go_when_the_upper_one_no_longer_asks),
		TEST(while_an_opener_is_held_the_upper_one_does_not_ask),
		TEST(nor_while_one_is_unread),
		TEST(nor_right_after_one_was_answered),
		TEST(who_waits_for_the_lower_one_does_not_matter),
		TEST(marks_may_go_again_at_any_time),
	};

	return cmocka_run_group_tests_name("group", tests, NULL, NULL);
}
