/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/common/clock.h"
#include "../../../src/guard/group.h"
#include "../support/unit.h"

#include <errno.h>
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

/* Every queue but this one and the current one is waited for. */
static void occupy_all_but(struct fixture *fixture, unsigned queue)
{
	for (unsigned i = 0; i < GROUP_QUEUES; i++)
		fixture->group.queues[i].n_held = i != queue;
}

static void another_queue_comes_next(void **state)
{
	struct fixture *fixture = *state;
	struct group *group = &fixture->group;
	int next = group_next(group);

	assert_int_not_equal(next, group->current);
	assert_in_range(next, 0, GROUP_QUEUES - 1);
	group_turn(group, next);
	assert_int_equal(group->current, next);
	assert_int_equal(group->epoch, 1);
}

static void one_with_an_opener_that_is_held_does_not_come_next(void **state)
{
	struct fixture *fixture = *state;

	occupy_all_but(fixture, 3);
	assert_int_equal(group_next(&fixture->group), 3);
	fixture->group.queues[3].n_held = 1;
	assert_int_equal(group_next(&fixture->group), -1);
}

static void nor_does_one_whose_opener_is_unread(void **state)
{
	struct fixture *fixture = *state;
	struct group_event events[GROUP_BATCH];
	bool lost;

	occupy_all_but(fixture, 3);
	ask(fixture, 3);
	assert_true(group_has_unread(&fixture->group));
	assert_int_equal(group_next(&fixture->group), -1);
	/* nor one that is read and in nobody's hands */
	assert_int_equal(group_read(&fixture->group, 3, events, &lost), 1);
	assert_false(group_has_unread(&fixture->group));
	assert_int_equal(events[0].queue, 3);
	assert_int_equal(group_next(&fixture->group), -1);
	group_take(&fixture->group, &events[0]);
	assert_int_equal(group_next(&fixture->group), 3);
}

/* Who has been answered may not have run, and holds on to what was marked. */
static void nor_does_one_that_asked_a_moment_ago(void **state)
{
	struct fixture *fixture = *state;
	struct group *group = &fixture->group;

	group_turn(group, 3);
	group_turn(group, 4);
	occupy_all_but(fixture, 3);
	assert_int_equal(group_next(group), -1);
	fake.now_us += 2 * CLOCK_US_PER_SEC;
	assert_int_equal(group_next(group), 3);
	group_answer(group, 3, FAN_NOFD, true);
	assert_int_equal(group_next(group), -1);
	fake.now_us += 2 * CLOCK_US_PER_SEC;
	assert_int_equal(group_next(group), 3);
}

/* Then it is the marks that count. */
static void without_a_next_one_the_marks_go_all_the_same(void **state)
{
	struct fixture *fixture = *state;

	fixture->group.queues[0].has_marked = true;
	fixture->group.queues[5].has_marked = true;
	group_turn(&fixture->group, -1);
	assert_int_equal(fixture->group.current, 0);
	assert_false(fixture->group.queues[0].has_marked);
	assert_false(fixture->group.queues[5].has_marked);
	assert_int_equal(fixture->group.epoch, 1);
}

static void while_it_rests_nothing_is_marked(void **state)
{
	struct fixture *fixture = *state;
	struct group *group = &fixture->group;

	group_rest(group);
	assert_false(group_ignore(group, STDIN_FILENO));
	assert_int_equal(group_pass_over(group, STDIN_FILENO), -EAGAIN);
	assert_false(group->queues[0].has_marked);
	fake.now_us += 3600 * CLOCK_US_PER_SEC;
	/* it is tried, on what is no group of the kernel's */
	assert_int_equal(group_pass_over(group, STDIN_FILENO), -EINVAL);
	assert_true(group->queues[0].has_marked);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(another_queue_comes_next),
		TEST(one_with_an_opener_that_is_held_does_not_come_next),
		TEST(nor_does_one_whose_opener_is_unread),
		TEST(nor_does_one_that_asked_a_moment_ago),
		TEST(without_a_next_one_the_marks_go_all_the_same),
		TEST(while_it_rests_nothing_is_marked),
	};

	return cmocka_run_group_tests_name("group", tests, NULL, NULL);
}
