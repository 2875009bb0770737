/* SPDX-License-Identifier: GPL-2.0-only */
/* Who is told what of a run, how often, and who is left. */
#include "../../../src/common/chan.h"
#include "../../../src/fetcher/audience.h"
#include "../support/unit.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MS     UINT64_C(1000)
#define SECOND (1000 * MS)

static uint64_t now_us;
static int patience_ms; /* poll() was told to wait so long; 0: it was not */
static int reader;	/* who begins to read when he is waited for; -1: nobody */
static unsigned n_heard;

int __wrap_clock_gettime(clockid_t clock, struct timespec *time);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout);

int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
	*time = (struct timespec){.tv_sec = (time_t)(now_us / SECOND),
				  .tv_nsec = (long)(now_us % SECOND) * 1000};
	return 0;
}

/* Nobody waits in earnest. */
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout)
{
	char message[WIRE_MESSAGE_MAX];

	assert_int_equal(n, 1);
	assert_int_equal(fds[0].events, POLLOUT);
	patience_ms = timeout;
	if (reader < 0)
		return 0;
	while (recv(reader, message, sizeof(message), MSG_DONTWAIT) > 0)
		;
	fds[0].revents = POLLOUT;
	return 1;
}

static void hear(void *context)
{
	n_heard++;
}

static struct audience audience;
static int supervisor;

static int setup(void **state)
{
	int ends[2];

	now_us = 1000 * SECOND;
	patience_ms = 0;
	reader = -1;
	n_heard = 0;
	if (chan_pair(ends) < 0)
		return -1;
	supervisor = ends[1];
	audience = (struct audience){.channel = ends[0], .hear = hear};
	return 0;
}

static int teardown(void **state)
{
	audience_dismiss(&audience);
	close(audience.channel);
	close(supervisor);
	return 0;
}

static int join(void)
{
	int ends[2];

	assert_int_equal(chan_pair(ends), 0);
	audience_add(&audience, ends[0]);
	return ends[1];
}

/* The next message, or a type of 0: there is none, UINT16_MAX: this is the end. */
static const struct wire_header *next(int fd)
{
	static union {
		struct wire_header header;
		char bytes[WIRE_MESSAGE_MAX];
	} message;
	ssize_t n = recv(fd, &message, sizeof(message), MSG_DONTWAIT);

	if (n <= 0)
		message.header = (struct wire_header){.type = n == 0 ? UINT16_MAX : 0};
	return &message.header;
}

static void assert_progress(int fd, const char *file, uint64_t done, uint64_t total)
{
	const struct wire_update_progress *progress = (const void *)next(fd);

	assert_int_equal(progress->header.type, WIRE_UPDATE_PROGRESS);
	assert_int_equal(progress->header.size, sizeof(*progress));
	assert_string_equal(progress->file, file);
	assert_int_equal(progress->done, done);
	assert_int_equal(progress->total, total);
}

static void assert_nothing(int fd)
{
	assert_int_equal(next(fd)->type, 0);
}

static void assert_left(int fd)
{
	assert_int_equal(next(fd)->type, UINT16_MAX);
}

static const struct wire_update_done done = {
	.header = WIRE_INIT(WIRE_UPDATE_DONE, struct wire_update_done)};

static void test_all_are_told(void **state)
{
	int a = join(), b = join();

	audience_tell(&audience, &done.header);
	assert_int_equal(next(a)->type, WIRE_UPDATE_DONE);
	assert_int_equal(next(b)->type, WIRE_UPDATE_DONE);
	audience_dismiss(&audience);
	assert_left(a);
	assert_left(b);
	assert_int_equal(audience.n, 0);
	close(a);
	close(b);
}

static void test_there_is_an_end_to_them(void **state)
{
	int clients[AUDIENCE_MAX + 1];

	for (unsigned i = 0; i <= AUDIENCE_MAX; i++)
		clients[i] = join();
	assert_left(clients[AUDIENCE_MAX]);
	audience_tell(&audience, &done.header);
	for (unsigned i = 0; i < AUDIENCE_MAX; i++)
		assert_int_equal(next(clients[i])->type, WIRE_UPDATE_DONE);
	for (unsigned i = 0; i <= AUDIENCE_MAX; i++)
		close(clients[i]);
}

static void test_progress_several_times_a_second(void **state)
{
	int a = join();

	audience_begin(&audience, "daily.cvd");
	audience_progress(&audience, 10, 1000);
	assert_progress(a, "daily.cvd", 10, 1000);
	assert_int_equal(n_heard, 1);
	for (unsigned i = 0; i < 100; i++)
		audience_progress(&audience, 20 + i, 1000);
	now_us += 199 * MS;
	audience_progress(&audience, 200, 1000);
	assert_nothing(a);
	now_us += 1 * MS;
	audience_progress(&audience, 201, 1000);
	assert_progress(a, "daily.cvd", 201, 1000);
	assert_nothing(a);
	/* Whoever joins meanwhile is heard. */
	assert_int_equal(n_heard, 2);
	/* The end is always told. */
	audience_progress(&audience, 1000, 1000);
	assert_progress(a, "daily.cvd", 1000, 1000);
	/* And the beginning of the next file. */
	audience_begin(&audience, "main.cvd");
	audience_progress(&audience, 0, 500);
	assert_nothing(a);
	audience_progress(&audience, 1, 0);
	assert_progress(a, "main.cvd", 1, 0);
	close(a);
}

static void test_no_progress_of_what_is_not_worth_it(void **state)
{
	int a = join();

	audience_begin(&audience, "");
	audience_progress(&audience, 10, 512);
	audience_progress(&audience, 512, 512);
	assert_nothing(a);
	close(a);
}

static void test_the_supervisor_hears_that_we_live(void **state)
{
	audience_begin(&audience, "");
	audience_progress(&audience, 0, 0);
	assert_int_equal(next(supervisor)->type, WIRE_PONG);
	now_us += 9999 * MS;
	audience_progress(&audience, 10, 1000);
	assert_nothing(supervisor);
	now_us += 1 * MS;
	audience_progress(&audience, 10, 1000);
	assert_int_equal(next(supervisor)->type, WIRE_PONG);
	assert_nothing(supervisor);
}

/* Of servers that do not answer there is no progress. */
static void test_he_hears_it_at_each_request(void **state)
{
	audience_begin(&audience, "");
	assert_int_equal(next(supervisor)->type, WIRE_PONG);
	now_us += 9999 * MS;
	audience_begin(&audience, "daily.cvd");
	assert_nothing(supervisor);
	now_us += 1 * MS;
	audience_begin(&audience, "");
	assert_int_equal(next(supervisor)->type, WIRE_PONG);
	assert_nothing(supervisor);
	audience_begin(&audience, "");
	assert_nothing(supervisor);
}

/* Until no more can be sent to him. */
static unsigned fill(int client)
{
	unsigned n = 0;

	audience_begin(&audience, "daily.cvd");
	while (chan_send(audience.clients[0], &done.header, -1) == 0)
		n++;
	return n;
}

static void test_progress_waits_for_nobody(void **state)
{
	int a = join();
	unsigned n = fill(a);

	audience_progress(&audience, 10, 10);
	assert_int_equal(patience_ms, 0);
	assert_int_equal(audience.n, 1);
	while (n--)
		assert_int_equal(next(a)->type, WIRE_UPDATE_DONE);
	assert_nothing(a);
	close(a);
}

static void test_who_does_not_read_for_a_second_is_left(void **state)
{
	int slow = join(), a = join(), b = join();

	(void)fill(slow);
	audience_tell(&audience, &done.header);
	assert_int_equal(patience_ms, 1000);
	assert_int_equal(audience.n, 2);
	assert_int_equal(next(a)->type, WIRE_UPDATE_DONE);
	assert_int_equal(next(b)->type, WIRE_UPDATE_DONE);
	assert_nothing(a);
	assert_nothing(b);
	while (next(slow)->type == WIRE_UPDATE_DONE)
		;
	assert_left(slow);
	close(slow);
	close(a);
	close(b);
}

static void test_who_reads_in_time_is_not(void **state)
{
	int slow = join();

	(void)fill(slow);
	reader = slow;
	audience_tell(&audience, &done.header);
	assert_int_equal(audience.n, 1);
	assert_int_equal(next(slow)->type, WIRE_UPDATE_DONE);
	assert_nothing(slow);
	close(slow);
}

static void test_who_has_gone_is_not_waited_for(void **state)
{
	int gone = join(), a = join();

	close(gone);
	audience_tell(&audience, &done.header);
	assert_int_equal(patience_ms, 0);
	assert_int_equal(audience.n, 1);
	assert_int_equal(next(a)->type, WIRE_UPDATE_DONE);
	close(a);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_all_are_told),
		TEST(test_there_is_an_end_to_them),
		TEST(test_progress_several_times_a_second),
		TEST(test_no_progress_of_what_is_not_worth_it),
		TEST(test_the_supervisor_hears_that_we_live),
		TEST(test_he_hears_it_at_each_request),
		TEST(test_progress_waits_for_nobody),
		TEST(test_who_does_not_read_for_a_second_is_left),
		TEST(test_who_reads_in_time_is_not),
		TEST(test_who_has_gone_is_not_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
