/* SPDX-License-Identifier: GPL-2.0-only */
#include "answers.h"

#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MAX 3

/* The linker puts these in the place of close() and write(): what a successor would find, had we
 * been killed then, is seen. */
static struct {
	const struct answers *answers;
	const struct event *event;
	int fd;
	unsigned calls, answered;
	bool held; /* when it was closed */
	bool held_when_answered;
} closed;

int __real_close(int fd);
int __wrap_close(int fd);
ssize_t __real_write(int fd, const void *data, size_t size);
ssize_t __wrap_write(int fd, const void *data, size_t size);

int __wrap_close(int fd)
{
	if (closed.answers) {
		closed.fd = fd;
		closed.calls++;
		closed.answered = answers_count(closed.answers);
		closed.held = closed.event->held;
	}
	return __real_close(fd);
}

ssize_t __wrap_write(int fd, const void *data, size_t size)
{
	if (closed.answers)
		closed.held_when_answered = closed.event->held && unit_fd_is_open(closed.event->fd);
	return __real_write(fd, data, size);
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
	memset(&closed, 0, sizeof(closed));
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

	closed.answers = &fixture->answers;
	closed.event = event;
	event_answer(&fixture->table, event, true);
	closed.answers = NULL;
	assert_int_equal(closed.calls, 1);
	assert_int_equal(closed.fd, fd);
	assert_int_equal(closed.answered, 1);
	/* A successor would answer it until it has been, and not a number that is free. */
	assert_true(closed.held_when_answered);
	assert_false(closed.held);
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

/* --- for who comes after us --- */

/* The memory is that of a guard that has ended. */
static void what_is_held_is_held_for_the_next_one_too(void **state)
{
	struct fixture *fixture = *state;
	struct event *first = arrive(fixture), *second = arrive(fixture), *third = arrive(fixture);
	int fd = second->fd, other = third->fd;
	struct group_event open;
	struct event_table next;

	(void)answer(fixture, first, true);
	event_table_init(&next, &fixture->answers.group, fixture->events, MAX);
	assert_int_equal(next.n_held, 2);
	assert_ptr_equal(event_find(&next, fd), second);
	assert_ptr_equal(event_find(&next, other), third);
	assert_int_equal(second->arrived_us, 42);

	/* there is room for one, of which nothing is left of what was in its place */
	first->crashes = 7;
	open = answers_open(&fixture->answers);
	assert_ptr_equal(event_new(&next, &open, 43), first);
	assert_int_equal(first->crashes, 0);
	assert_null(event_new(&next, &open, 43));
	event_answer(&next, first, true);
	assert_int_equal(answers_next(&fixture->answers), open.fd);
	event_answer(&next, second, false);
	assert_int_equal(answers_next(&fixture->answers), -fd);
	event_answer(&next, third, true);
	assert_int_equal(answers_next(&fixture->answers), other);
	assert_int_equal(next.n_held, 0);
	fixture->table.n_held = 0; /* what the one before thought it had */
}

static void what_was_answered_is_not_found(void **state)
{
	struct fixture *fixture = *state;
	struct event *event = arrive(fixture);
	int fd = event->fd;

	assert_ptr_equal(event_find(&fixture->table, fd), event);
	assert_null(event_find(&fixture->table, fd + 1));
	(void)answer(fixture, event, true);
	assert_null(event_find(&fixture->table, fd));
}

/* Two pages: what says that an event is held is the first thing on the second, which cannot be
 * written to until all else has been. */
static struct {
	char *pages;
	size_t size;
	struct event *event;
	bool was_complete;
} guarded;

static void on_fault(int number, siginfo_t *info, void *context)
{
	const struct event *event = guarded.event;

	if ((char *)info->si_addr != guarded.pages + guarded.size)
		abort();
	guarded.was_complete = event->fd >= ANSWERS_FIRST_FD && event->pid == event->fd + 1000 &&
			       event->arrived_us == 42 && event->crashes == 0 && !event->held;
	(void)mprotect(guarded.pages, 2 * guarded.size, PROT_READ | PROT_WRITE);
}

static void it_is_held_once_all_of_it_is_there(void **state)
{
	struct sigaction catch = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO}, before;
	struct fixture *fixture = *state;
	struct event_table table;
	struct group_event open;

	guarded.size = (size_t)sysconf(_SC_PAGESIZE);
	guarded.pages = mmap(NULL, 2 * guarded.size, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(guarded.pages, MAP_FAILED);
	guarded.event = (struct event *)(void *)(guarded.pages + guarded.size -
						 offsetof(struct event, held));
	/* what was in its place before */
	*guarded.event = (struct event){.fd = 7, .pid = 7, .crashes = 7};
	event_table_init(&table, &fixture->answers.group, guarded.event, 1);
	open = answers_open(&fixture->answers);

	assert_int_equal(sigaction(SIGSEGV, &catch, &before), 0);
	assert_int_equal(mprotect(guarded.pages + guarded.size, guarded.size, PROT_READ), 0);
	guarded.was_complete = false;
	assert_non_null(event_new(&table, &open, 42));
	assert_int_equal(sigaction(SIGSEGV, &before, NULL), 0);
	assert_true(guarded.was_complete);
	assert_true(guarded.event->held);
	event_answer(&table, guarded.event, true);
	assert_int_equal(answers_next(&fixture->answers), open.fd);
	assert_int_equal(munmap(guarded.pages, 2 * guarded.size), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_event_is_answered_once_and_closed),
		TEST(it_is_closed_after_the_answer),
		TEST(the_table_is_bounded_and_counts),
		TEST(what_was_answered_makes_room),
		TEST(what_is_held_is_held_for_the_next_one_too),
		TEST(what_was_answered_is_not_found),
		TEST(it_is_held_once_all_of_it_is_there),
	};

	return cmocka_run_group_tests_name("event", tests, NULL, NULL);
}
