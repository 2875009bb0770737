/* SPDX-License-Identifier: GPL-2.0-only */
/* What a guard leaves, and what of it is cleared away. The kernel's groups are ordinary
 * descriptors here. */
#include "../../../src/common/chan.h"
#include "../../../src/guard/estate.h"
#include "../support/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
	int group_error, renames_error;
	bool has_rename_watch;
	bool has_no_memory;
	const struct estate *estate; /* whose members are looked at when one is closed */
	bool was_member_when_closed;
} fake;

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_group_init(struct group *group);
int __wrap_renames_init(struct renames *renames);

void *__wrap_calloc(size_t n, size_t size)
{
	return fake.has_no_memory ? NULL : __real_calloc(n, size);
}

int __wrap_close(int fd)
{
	for (unsigned i = 0; fake.estate && i < ESTATE_MEMBERS_MAX; i++)
		fake.was_member_when_closed |= fake.estate->members[i].channel == fd;
	return __real_close(fd);
}

static int some_fd(void)
{
	return fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
}

int __wrap_group_init(struct group *group)
{
	for (unsigned i = 0; i < GROUP_QUEUES; i++)
		group->queues[i].fd = fake.group_error ? -1 : some_fd();
	if (fake.group_error)
		return fake.group_error;
	group->features.has[FEATURE_RENAME_WATCH] = fake.has_rename_watch;
	return 0;
}

int __wrap_renames_init(struct renames *renames)
{
	renames->fd = fake.renames_error ? -1 : some_fd();
	return fake.renames_error;
}

static int setup(void **state)
{
	const char *what;

	memset(&fake, 0, sizeof(fake));
	fake.has_rename_watch = true;
	*state = estate_new(&what);
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	fake.estate = NULL;
	assert_null(estate_free(*state));
	return 0;
}

/* --- the whole --- */

static void a_new_one_has_groups_and_nothing_else(void **state)
{
	const struct estate *estate = *state;

	for (unsigned i = 0; i < GROUP_QUEUES; i++)
		assert_true(unit_fd_is_open(estate->group.queues[i].fd));
	assert_true(unit_fd_is_open(estate->renames.fd));
	assert_int_equal(estate->verdicts, -1);
	assert_false(estate->watching);
	assert_null(estate->deciding);
	for (unsigned i = 0; i < EVENTS_MAX; i++)
		assert_false(estate->events[i].held);
}

static void where_renames_are_not_reported_there_is_one_group(void **state)
{
	const char *what;
	struct estate *estate;

	fake.has_rename_watch = false;
	estate = estate_new(&what);
	assert_non_null(estate);
	assert_int_equal(estate->renames.fd, -1);
	estate_free(estate);
}

static void without_a_group_there_is_none_and_nothing_is_left_open(void **state)
{
	unsigned fds = unit_count_fds();
	const char *what = NULL;

	fake.group_error = -EPERM;
	assert_null(estate_new(&what));
	assert_int_equal(errno, EPERM);
	assert_non_null(strstr(what, "fanotify"));
	fake.group_error = 0;
	fake.renames_error = -EMFILE;
	assert_null(estate_new(&what));
	assert_int_equal(errno, EMFILE);
	assert_int_equal(unit_count_fds(), fds);
	assert_null(estate_free(NULL));
}

static void what_it_has_is_closed_with_it(void **state)
{
	unsigned fds = unit_count_fds();
	const char *what;
	struct estate *estate = estate_new(&what);

	assert_non_null(estate);
	estate->verdicts = some_fd();
	assert_int_equal(unit_count_fds(), fds + GROUP_QUEUES + 2);
	estate_free(estate);
	assert_int_equal(unit_count_fds(), fds);
}

/* Guards of one family see the same. */
static void clones_share_it(void **state)
{
	struct estate *estate = *state;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		estate->events[EVENTS_MAX - 1].held = true;
		estate->group.epoch = 42;
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(estate->events[EVENTS_MAX - 1].held);
	assert_int_equal(estate->group.epoch, 42);
}

/* --- its members --- */

/* A channel, whose other end is the supervisor's. */
static int channel(int *ret_other)
{
	int ends[2];

	assert_int_equal(chan_pair(ends), 0);
	*ret_other = ends[1];
	return ends[0];
}

static void a_process_is_noted_by_its_channel(void **state)
{
	int other, own = channel(&other);
	struct estate_member *member = estate_enter(*state, own);

	assert_non_null(member);
	assert_int_equal(member->channel, own);
	close(own);
	close(other);
}

static void there_is_room_for_some_and_no_more(void **state)
{
	int channels[ESTATE_MEMBERS_MAX], others[ESTATE_MEMBERS_MAX];

	for (int i = 0; i < ESTATE_MEMBERS_MAX; i++) {
		channels[i] = channel(&others[i]);
		assert_non_null(estate_enter(*state, channels[i]));
	}
	assert_null(estate_enter(*state, 100));
	close(others[3]);
	assert_non_null(estate_enter(*state, 100));
	assert_null(estate_enter(*state, 101));
	for (int i = 0; i < ESTATE_MEMBERS_MAX; i++) {
		assert_int_equal(unit_fd_is_open(channels[i]), i != 3);
		if (i == 3)
			continue;
		close(channels[i]);
		close(others[i]);
	}
}

static void who_was_given_up_is_closed_and_nobody_else(void **state)
{
	struct estate *estate = *state;
	int other, stays_other, new_other, leaves = channel(&other), stays = channel(&stays_other),
					   new = channel(&new_other);

	assert_non_null(estate_enter(estate, leaves));
	assert_non_null(estate_enter(estate, stays));
	close(other);

	/* In between a number that can be used again would count as a member's. */
	fake.estate = estate;
	assert_non_null(estate_enter(estate, new));
	fake.estate = NULL;
	assert_false(fake.was_member_when_closed);
	assert_false(unit_fd_is_open(leaves));
	assert_true(unit_fd_is_open(stays));
	assert_true(unit_fd_is_open(STDIN_FILENO));
	close(stays);
	close(stays_other);
	close(new);
	close(new_other);
}

/* --- sweeping --- */

/* Where something is put, so that there are gaps, and neighbours that stay and go. */
enum place {
	MEMBER = 40,
	UNBORN = 41,
	VERDICTS = 43,
	HELD = 44,
	LAST_HELD = 47,
	INBOX = 50,
	LAST_INBOX = 52,
	ENGINE = 70,
	WORKER = 72,
	BUSY = 74,
	SCANNED = 76,
	FAR = 900,
	PLACES_END = 1000
};

static bool is_of_a_group(const struct estate *estate, int fd)
{
	for (unsigned i = 0; i < GROUP_QUEUES; i++)
		if (fd == estate->group.queues[i].fd)
			return true;
	return fd == estate->renames.fd;
}

static bool stays(const struct estate *estate, int fd)
{
	switch (fd) {
	case STDIN_FILENO:
	case STDOUT_FILENO:
	case STDERR_FILENO:
	case MEMBER:
	case UNBORN:
	case VERDICTS:
	case HELD:
	case LAST_HELD:
	case INBOX:
	case LAST_INBOX:
	case ENGINE:
	case WORKER:
	case BUSY:
	case SCANNED:
	case FAR:
		return true;
	default:
		return is_of_a_group(estate, fd);
	}
}

static void fill(struct estate *estate)
{
	(void)estate_enter(estate, MEMBER);
	(void)estate_enter(estate, UNBORN);
	(void)estate_enter(estate, 60);
	estate->members[2].channel = 0; /* which has left */
	estate->verdicts = VERDICTS;
	estate->roster.engine = 4711;
	estate->roster.engine_fd = ENGINE;
	estate->roster.workers[0] = (struct roster_worker){.fd = WORKER, .scan.fd = 63};
	estate->roster.workers[ROSTER_WORKERS_MAX - 1] =
		(struct roster_worker){.fd = BUSY, .is_busy = true, .scan.fd = SCANNED};
	estate->roster.workers[1] = (struct roster_worker){.is_busy = true, .scan.fd = 64};
	estate->events[0] = (struct event){.fd = HELD, .held = true};
	estate->events[1] = (struct event){.fd = 61};
	estate->events[2] = (struct event){.fd = FAR, .held = true};
	estate->events[EVENTS_MAX - 1] = (struct event){.fd = LAST_HELD, .held = true};
	estate->group.queues[0].inbox[0].event_len = FAN_EVENT_METADATA_LEN;
	estate->group.queues[0].inbox[0].fd = INBOX;
	estate->group.queues[0].inbox[1].fd = 62; /* which was taken */
	estate->group.queues[0].inbox[2].event_len = FAN_EVENT_METADATA_LEN;
	estate->group.queues[0].inbox[2].fd = FAN_NOFD;
	estate->group.queues[GROUP_QUEUES - 1].inbox[GROUP_BATCH - 1].event_len =
		FAN_EVENT_METADATA_LEN;
	estate->group.queues[GROUP_QUEUES - 1].inbox[GROUP_BATCH - 1].fd = LAST_INBOX;
}

/* In a process of its own, as nearly all it has open goes. Returns which descriptor, counted from
 * 1, is the first that is not as it should be; 0: there is none. */
static int sweep(struct estate *estate, bool (*expected)(const struct estate *estate, int fd))
{
	const struct rlimit limit = {PLACES_END, PLACES_END};
	int wrong = 0;
	pid_t pid = fork();

	if (pid == 0) {
		(void)setrlimit(RLIMIT_NOFILE, &limit);
		for (int fd = STDERR_FILENO + 1; fd < PLACES_END; fd++)
			if (!is_of_a_group(estate, fd))
				(void)dup2(STDIN_FILENO, fd);
		estate_sweep(estate);
		for (int fd = PLACES_END - 1; fd >= 0; fd--)
			if (unit_fd_is_open(fd) != expected(estate, fd))
				wrong = fd + 1;
		_exit(wrong > 255 ? 255 : wrong);
	}
	assert_int_equal(waitpid(pid, &wrong, 0), pid);
	assert_true(WIFEXITED(wrong));
	return WEXITSTATUS(wrong);
}

static void what_is_not_of_the_estate_is_closed(void **state)
{
	fill(*state);
	assert_int_equal(sweep(*state, stays), 0);
}

static bool is_standard_or_group(const struct estate *estate, int fd)
{
	return fd <= STDERR_FILENO || is_of_a_group(estate, fd);
}

static void an_estate_with_nothing_in_it_keeps_its_groups(void **state)
{
	assert_int_equal(sweep(*state, is_standard_or_group), 0);
}

static bool all_stay(const struct estate *estate, int fd)
{
	return true;
}

static void without_memory_nothing_is_closed(void **state)
{
	fill(*state);
	fake.has_no_memory = true;
	assert_int_equal(sweep(*state, all_stay), 0);
	fake.has_no_memory = false;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

/* The numbers of fill() are nobody's in this process. */
static int forget_numbers(void **state)
{
	struct estate *estate = *state;

	estate->verdicts = -1;
	return teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_new_one_has_groups_and_nothing_else),
		TEST(where_renames_are_not_reported_there_is_one_group),
		TEST(without_a_group_there_is_none_and_nothing_is_left_open),
		TEST(what_it_has_is_closed_with_it),
		TEST(clones_share_it),
		TEST(a_process_is_noted_by_its_channel),
		TEST(there_is_room_for_some_and_no_more),
		TEST(who_was_given_up_is_closed_and_nobody_else),
		cmocka_unit_test_setup_teardown(what_is_not_of_the_estate_is_closed, setup,
						forget_numbers),
		TEST(an_estate_with_nothing_in_it_keeps_its_groups),
		cmocka_unit_test_setup_teardown(without_memory_nothing_is_closed, setup,
						forget_numbers),
	};

	return cmocka_run_group_tests_name("estate", tests, NULL, NULL);
}
