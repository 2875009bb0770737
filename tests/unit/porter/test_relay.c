/* SPDX-License-Identifier: GPL-2.0-only */
/* What a relay hands on, and what it answers for itself. */
#include "../../../src/common/chan.h"
#include "../../../src/porter/relay.h"
#include "../support/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <holdfast/control.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

struct state {
	int client, guard; /* our ends */
	pid_t relay;
};

static int setup(void **state)
{
	static struct state test;
	int client[2], guard[2];

	*state = &test;
	if (chan_pair(client) < 0 || chan_pair(guard) < 0)
		return -1;
	test.relay = fork();
	if (test.relay == 0) {
		close(client[0]);
		close(guard[0]);
		relay_run(client[1], guard[1]);
		_exit(0);
	}
	close(client[1]);
	close(guard[1]);
	test.client = client[0];
	test.guard = guard[0];
	return test.relay < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	struct state *test = *state;

	(void)kill(test->relay, SIGKILL);
	(void)waitpid(test->relay, NULL, 0);
	close(test->client);
	close(test->guard);
	return 0;
}

static void hand_in(const struct state *test, enum wire_type type, uint64_t id, int fd)
{
	const struct wire_scan scan = {
		.header = WIRE_INIT(type, struct wire_scan), .id = id, .flags = WIRE_SCAN_AFRESH};

	assert_int_equal(chan_send(test->client, &scan.header, fd), 0);
	close(fd);
}

/* Whether something comes within a moment. */
static bool comes(int fd)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};

	return poll(&ready, 1, 2000) == 1;
}

static void assert_refused(const struct state *test, uint64_t id, const char *reason)
{
	struct wire_verdict verdict = {0};

	assert_true(comes(test->client));
	assert_int_equal(recv(test->client, &verdict, sizeof(verdict), 0), sizeof(verdict));
	assert_int_equal(verdict.id, id);
	assert_int_equal(verdict.verdict, VERDICT_FAILED);
	assert_string_equal(verdict.reason, reason);
	assert_false(chan_readable(test->guard));
}

struct handed_on {
	struct wire_scan scan;
	int fd;
};

static int take_file(void *context, struct chan_message *message)
{
	struct handed_on *handed_on = context;

	memcpy(&handed_on->scan, message, sizeof(handed_on->scan));
	handed_on->fd = message->fd;
	return 0;
}

static struct handed_on take(const struct state *test)
{
	static const struct chan_rule rules[] = {
		{WIRE_SCAN, sizeof(struct wire_scan), true, take_file},
		{WIRE_SCAN_WHY, sizeof(struct wire_scan), true, take_file},
		{0}};
	struct handed_on handed_on = {.fd = -1};

	assert_true(comes(test->guard));
	assert_int_equal(chan_serve(test->guard, rules, &handed_on), 0);
	return handed_on;
}

static void answer(const struct state *test, uint64_t id)
{
	struct wire_verdict verdict = wire_verdict_make(VERDICT_INFECTED, "Sig");

	verdict.id = id;
	assert_int_equal(chan_send(test->guard, &verdict.header, -1), 0);
}

static void a_file_and_its_verdict_are_handed_on(void **state)
{
	const struct state *test = *state;
	struct wire_verdict verdict;
	struct handed_on file;
	struct stat ours, theirs;

	assert_int_equal(stat("file", &ours), 0);
	hand_in(test, WIRE_SCAN, 7, open("file", O_RDONLY | O_CLOEXEC));
	file = take(test);
	assert_int_equal(file.scan.id, 7);
	assert_int_equal(file.scan.flags, WIRE_SCAN_AFRESH);
	assert_int_equal(fstat(file.fd, &theirs), 0);
	assert_int_equal(ours.st_ino, theirs.st_ino);
	close(file.fd);
	answer(test, 7);
	assert_true(comes(test->client));
	assert_int_equal(recv(test->client, &verdict, sizeof(verdict), 0), sizeof(verdict));
	assert_int_equal(verdict.id, 7);
	assert_int_equal(verdict.verdict, VERDICT_INFECTED);
	assert_string_equal(verdict.reason, "Sig");
}

static void what_shows_no_right_to_read_is_refused(void **state)
{
	static const char reason[] = "it was not opened for reading";
	const struct state *test = *state;

	hand_in(test, WIRE_SCAN, 1, open("file", O_PATH | O_CLOEXEC));
	assert_refused(test, 1, reason);
	hand_in(test, WIRE_SCAN, 2, open("file", O_WRONLY | O_CLOEXEC));
	assert_refused(test, 2, reason);
	hand_in(test, WIRE_SCAN, 3, open("file", O_RDWR | O_CLOEXEC));
	close(take(test).fd);
}

static void what_is_no_file_is_refused(void **state)
{
	static const char reason[] = "not a regular file";
	const struct state *test = *state;
	int ends[2];

	hand_in(test, WIRE_SCAN, 1, open(".", O_RDONLY | O_CLOEXEC));
	assert_refused(test, 1, reason);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	hand_in(test, WIRE_SCAN, 2, ends[0]);
	close(ends[1]);
	assert_refused(test, 2, reason);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	hand_in(test, WIRE_SCAN_WHY, 3, ends[0]);
	close(ends[1]);
	assert_refused(test, 3, reason);
	hand_in(test, WIRE_SCAN, 4, open("/dev/null", O_RDONLY | O_CLOEXEC));
	assert_refused(test, 4, reason);
}

static void what_is_on_no_filesystem_of_ours_is_refused(void **state)
{
	const struct state *test = *state;

	hand_in(test, WIRE_SCAN, 1, memfd_create("x", MFD_CLOEXEC));
	assert_refused(test, 1, "it is on no filesystem that is mounted here");
	hand_in(test, WIRE_SCAN, 2, open("/proc/self/status", O_RDONLY | O_CLOEXEC));
	assert_refused(test, 2, "it is on the kernel's own filesystem");
}

static void who_asks_why_need_not_have_it_open(void **state)
{
	const struct state *test = *state;
	struct handed_on file;

	hand_in(test, WIRE_SCAN_WHY, 9, open("file", O_PATH | O_CLOEXEC));
	file = take(test);
	assert_int_equal(file.scan.header.type, WIRE_SCAN_WHY);
	assert_int_equal(file.scan.id, 9);
	close(file.fd);
}

static void no_more_than_the_window_are_under_way(void **state)
{
	const struct state *test = *state;
	unsigned n = 0;

	for (uint64_t id = 1; id <= 3 * SCAN_WINDOW; id++)
		hand_in(test, WIRE_SCAN, id, open("file", O_RDONLY | O_CLOEXEC));
	for (; n <= SCAN_WINDOW && (n < SCAN_WINDOW ? comes(test->guard) : false); n++)
		close(take(test).fd);
	(void)usleep(50000);
	for (; chan_readable(test->guard); n++)
		close(take(test).fd);
	assert_int_equal(n, SCAN_WINDOW);
	/* room for others */
	for (uint64_t id = 1; id <= n; id++)
		answer(test, id);
	assert_true(comes(test->guard));
}

static void info_is_asked_for_and_handed_back(void **state)
{
	const struct wire_plain ask = {.header = WIRE_INIT(WIRE_SCAN_INFO, struct wire_plain)};
	const struct wire_engine_info info = {
		.header = WIRE_INIT(WIRE_ENGINE_INFO, struct wire_engine_info), .signatures = 5};
	struct wire_engine_info reply;
	const struct state *test = *state;
	struct wire_plain asked;

	assert_int_equal(chan_send(test->client, &ask.header, -1), 0);
	assert_true(comes(test->guard));
	assert_int_equal(recv(test->guard, &asked, sizeof(asked), 0), sizeof(asked));
	assert_int_equal(chan_send(test->guard, &info.header, -1), 0);
	assert_true(comes(test->client));
	assert_int_equal(recv(test->client, &reply, sizeof(reply), 0), sizeof(reply));
	assert_int_equal(reply.signatures, 5);
}

static void assert_ends(struct state *test)
{
	int status;

	assert_int_equal(waitpid(test->relay, &status, 0), test->relay);
	assert_true(WIFEXITED(status));
	test->relay = fork();
	if (test->relay == 0)
		_exit(0);
}

static void it_ends_with_its_client(void **state)
{
	struct state *test = *state;

	close(test->client);
	assert_ends(test);
	test->client = dup(0);
}

static void it_ends_with_the_guard(void **state)
{
	struct state *test = *state;

	close(test->guard);
	assert_ends(test);
	test->guard = dup(0);
}

static void who_breaks_the_protocol_loses_his_relay(void **state)
{
	const struct wire_plain unknown = {.header = WIRE_INIT(WIRE_PING, struct wire_plain)};
	struct state *test = *state;

	assert_int_equal(chan_send(test->client, &unknown.header, -1), 0);
	assert_ends(test);
}

static int group_setup(void **state)
{
	if (scratch_setup(state) < 0)
		return -1;
	scratch_write("file", "content", 7);
	return 0;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_file_and_its_verdict_are_handed_on),
		TEST(what_shows_no_right_to_read_is_refused),
		TEST(what_is_no_file_is_refused),
		TEST(what_is_on_no_filesystem_of_ours_is_refused),
		TEST(who_asks_why_need_not_have_it_open),
		TEST(no_more_than_the_window_are_under_way),
		TEST(info_is_asked_for_and_handed_back),
		TEST(it_ends_with_its_client),
		TEST(it_ends_with_the_guard),
		TEST(who_breaks_the_protocol_loses_his_relay),
	};

	return cmocka_run_group_tests_name("relay", tests, group_setup, scratch_teardown);
}
