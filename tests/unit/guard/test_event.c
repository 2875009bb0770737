/* SPDX-License-Identifier: GPL-2.0-only */
#include "answers.h"

#define MAX 3

/* The linker puts this in the place of close(): what was answered before it was closed is seen. */
static struct {
	const struct answers *answers;
	int fd;
	unsigned calls, answered;
} closed;

int __real_close(int fd);
int __wrap_close(int fd);

int __wrap_close(int fd)
{
	if (closed.answers) {
		closed.fd = fd;
		closed.calls++;
		closed.answered = answers_count(closed.answers);
	}
	return __real_close(fd);
}

struct fixture {
	struct answers answers;
	struct event_table table;
	struct event events[MAX];
	unsigned fds_before;
};

static int setup(void **state)
{
	static struct fixture fixture;

	fixture = (struct fixture){.fds_before = unit_count_fds()};
	*state = &fixture;
	if (answers_init(&fixture.answers) < 0)
		return -1;
	event_table_init(&fixture.table, &fixture.answers.group, fixture.events, MAX);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(fixture->table.n_held, 0);
	answers_deinit(&fixture->answers);
	assert_int_equal(unit_count_fds(), fixture->fds_before);
	return 0;
}

static struct event *arrive(struct fixture *fixture)
{
	struct group_event open = answers_open(&fixture->answers);
	struct event *event = event_new(&fixture->table, &open, 42);

	assert_non_null(event);
	assert_int_equal(event->fd, open.fd);
	assert_int_equal(event->pid, open.pid);
	assert_int_equal(event->arrived_us, 42);
	return event;
}

/* Answers, and returns what arrived in the pipe. */
static int answer(struct fixture *fixture, struct event *event, bool allow)
{
	int got;

	event_answer(&fixture->table, event, allow);
	got = answers_next(&fixture->answers);
	assert_int_equal(answers_count(&fixture->answers), 0);
	return got;
}

static void an_event_is_answered_once_and_closed(void **state)
{
	struct fixture *fixture = *state;

	for (int allow = 0; allow <= 1; allow++) {
		struct event *event = arrive(fixture);
		int fd = event->fd;

		assert_int_equal(answers_count(&fixture->answers), 0);
		assert_true(unit_fd_is_open(fd));
		assert_int_equal(answer(fixture, event, allow), allow ? fd : -fd);
		assert_false(unit_fd_is_open(fd));
	}
}

/* Closed first, the number could already be that of another event when it is answered. */
static void it_is_closed_after_the_answer(void **state)
{
	struct fixture *fixture = *state;
	struct event *event = arrive(fixture);
	int fd = event->fd;

	closed.calls = 0;
	closed.answers = &fixture->answers;
	event_answer(&fixture->table, event, true);
	closed.answers = NULL;
	assert_int_equal(closed.calls, 1);
	assert_int_equal(closed.fd, fd);
	assert_int_equal(closed.answered, 1);
}

static void the_table_is_bounded_and_counts(void **state)
{
	struct fixture *fixture = *state;
	struct event *events[MAX];
	struct group_event open = answers_open(&fixture->answers);

	assert_int_equal(fixture->table.max, MAX);
	for (unsigned i = 0; i < MAX; i++) {
		assert_int_equal(fixture->table.n_held, i);
		events[i] = arrive(fixture);
	}
	assert_null(event_new(&fixture->table, &open, 0));
	assert_int_equal(fixture->table.n_held, MAX);
	/* the descriptor of what was not taken stays the caller's */
	assert_true(unit_fd_is_open(open.fd));

	for (unsigned i = 0; i < MAX; i++) {
		for (unsigned k = 0; k < i; k++)
			assert_ptr_not_equal(events[i], events[k]);
	}
	for (unsigned i = 0; i < MAX; i++) {
		int fd = events[i]->fd;

		assert_int_equal(answer(fixture, events[i], true), fd);
		assert_int_equal(fixture->table.n_held, MAX - 1 - i);
	}
	close(open.fd);
}

static void what_was_answered_makes_room(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned i = 0; i < 10 * MAX; i++) {
		struct event *first = arrive(fixture), *second = arrive(fixture);
		int fd = second->fd, other = first->fd;

		assert_int_equal(answer(fixture, second, i % 2), i % 2 ? fd : -fd);
		assert_int_equal(answer(fixture, first, true), other);
	}
	assert_int_equal(fixture->table.n_held, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_event_is_answered_once_and_closed),
		TEST(it_is_closed_after_the_answer),
		TEST(the_table_is_bounded_and_counts),
		TEST(what_was_answered_makes_room),
	};

	return cmocka_run_group_tests_name("event", tests, NULL, NULL);
}
