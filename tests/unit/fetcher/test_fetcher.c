/* SPDX-License-Identifier: GPL-2.0-only */
/* The fetcher's side of its channel: what it is told, when it runs, and what it says in the end. */
#include "../../../src/common/chan.h"
#include "../../../src/common/drop.h"
#include "../../../src/common/log.h"
#include "../../../src/fetcher/fetcher.h"
#include "../../../src/fetcher/run.h"
#include "../support/conf_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define DIRECTORY "/var/lib/somewhere"

static int supervisor, channel;
static unsigned n_runs;
static bool was_due_only[4];
static char mirrors[4][64];			     /* of each run */
static unsigned n_clients;			     /* when the last run ended */
static uint32_t requests;			     /* that a run sends */
static void (*meanwhile)(struct audience *audience); /* during the first run; NULL: nothing */
static char confined[64];			     /* where it may write */
static int confine_result;

void __wrap_run_all(const struct conf *conf, struct audience *audience, const char *mirror_to,
		    bool is_due_only, struct run_result *ret_result);
int __wrap_drop_writes(const char *const *writable, size_t n);

void __wrap_run_all(const struct conf *conf, struct audience *audience, const char *mirror_to,
		    bool is_due_only, struct run_result *ret_result)
{
	assert_string_not_equal(confined, "");
	assert_true(n_runs < N_ELEMENTS(was_due_only));
	was_due_only[n_runs] = is_due_only;
	(void)snprintf(mirrors[n_runs], sizeof(mirrors[0]), "%s", mirror_to ? mirror_to : "-");
	if (n_runs++ == 0 && meanwhile)
		meanwhile(audience);
	log_warning("run %u", n_runs);
	n_clients = audience->n;
	*ret_result = (struct run_result){
		.fetched = {.header = WIRE_INIT(WIRE_FETCHED, struct wire_fetched), .next = n_runs},
		.done = {.header = WIRE_INIT(WIRE_UPDATE_DONE, struct wire_update_done),
			 .requests = requests,
			 .bytes = n_runs},
	};
}

int __wrap_drop_writes(const char *const *writable, size_t n)
{
	assert_int_equal(n, 1);
	(void)snprintf(confined, sizeof(confined), "%s", writable[0]);
	return confine_result;
}

static int setup(void **state)
{
	int ends[2];

	n_runs = n_clients = 0;
	requests = 3;
	meanwhile = NULL;
	*confined = '\0';
	confine_result = 0;
	if (chan_pair(ends) < 0)
		return -1;
	supervisor = ends[0];
	channel = ends[1];
	return 0;
}

static int teardown(void **state)
{
	close(supervisor);
	close(channel);
	return 0;
}

static void send_conf(void)
{
	const struct wire_plain message = {.header = WIRE_INIT(WIRE_CONFIG, struct wire_plain)};
	struct conf *conf = conf_new();
	int snapshot;

	conf_fixture_set(conf, "engine", "signatures", DIRECTORY);
	snapshot = conf_snapshot(conf);
	assert_true(snapshot >= 0);
	assert_int_equal(chan_send(supervisor, &message.header, snapshot), 0);
	close(snapshot);
	conf_free(conf);
}

static void send_fetch(uint32_t flags)
{
	const struct wire_fetch message = {
		.header = WIRE_INIT(WIRE_FETCH, struct wire_fetch),
		.flags = flags,
	};

	assert_int_equal(chan_send(supervisor, &message.header, -1), 0);
}

/* Somebody joins. Returns his end. */
static int send_peer(void)
{
	const struct wire_peer message = {
		.header = WIRE_INIT(WIRE_PEER, struct wire_peer),
		.role = WIRE_PEER_UPDATE,
	};
	int ends[2];

	assert_int_equal(chan_pair(ends), 0);
	assert_int_equal(chan_send(supervisor, &message.header, ends[1]), 0);
	close(ends[1]);
	return ends[0];
}

static union {
	struct wire_header header;
	struct wire_note note;
	struct wire_fetched fetched;
	struct wire_update_done done;
	char bytes[WIRE_MESSAGE_MAX];
} message;

/* Reads the next message that came. Returns its type; 0: there is none, -1: this is the end. */
static int next(int fd)
{
	ssize_t n = recv(fd, &message, sizeof(message), MSG_DONTWAIT);

	return n > 0 ? message.header.type : n == 0 ? -1 : 0;
}

static void assert_told_of(int client, unsigned run)
{
	assert_int_equal(next(client), WIRE_UPDATE_DONE);
	assert_int_equal(message.done.bytes, run);
	assert_int_equal(next(client), -1);
	close(client);
}

/* It ran so often, and said so in the end. */
static void assert_ran(unsigned runs)
{
	assert_int_equal(fetcher_run(channel), 0);
	assert_int_equal(n_runs, runs);
	for (unsigned i = 1; i <= runs; i++) {
		char text[32];

		(void)snprintf(text, sizeof(text), "run %u", i);
		assert_int_equal(next(supervisor), WIRE_NOTE);
		assert_string_equal(message.note.text, text);
		assert_int_equal(message.note.priority, LOG_WARNING);
	}
	assert_int_equal(next(supervisor), WIRE_FETCHED);
	assert_int_equal(message.fetched.next, runs);
	assert_int_equal(next(supervisor), 0);
}

static void test_it_runs_once(void **state)
{
	send_conf();
	send_fetch(WIRE_FETCH_IF_DUE);
	assert_ran(1);
	assert_true(was_due_only[0]);
	assert_string_equal(mirrors[0], "-");
	assert_string_equal(confined, DIRECTORY);
}

static void test_when_somebody_asks(void **state)
{
	int client;

	send_fetch(0);
	client = send_peer();
	send_conf(); /* in whatever order */
	assert_ran(1);
	assert_false(was_due_only[0]);
	assert_int_equal(n_clients, 1);
	assert_told_of(client, 1);
}

static void test_both_before_it_begins(void **state)
{
	send_fetch(WIRE_FETCH_IF_DUE);
	send_fetch(0);
	send_conf();
	assert_ran(1);
	assert_false(was_due_only[0]);
}

static void test_in_either_order(void **state)
{
	send_fetch(0);
	send_fetch(WIRE_FETCH_IF_DUE);
	send_conf();
	assert_ran(1);
	assert_false(was_due_only[0]);
}

static void test_for_a_mirror(void **state)
{
	struct wire_fetch fetch = {.header = WIRE_INIT(WIRE_FETCH, struct wire_fetch)};

	(void)snprintf(fetch.mirror_to, sizeof(fetch.mirror_to), "/srv/mirror");
	send_conf();
	assert_int_equal(chan_send(supervisor, &fetch.header, -1), 0);
	assert_ran(1);
	assert_string_equal(mirrors[0], "/srv/mirror");
	assert_string_equal(confined, "/srv/mirror");
}

static void test_somebody_joins_after_the_order(void **state)
{
	int before, after;

	before = send_peer();
	send_conf();
	send_fetch(0);
	after = send_peer();
	assert_ran(1);
	assert_told_of(before, 1);
	assert_told_of(after, 1);
}

static int joined;

static void join(struct audience *audience)
{
	joined = send_peer();
	send_fetch(0);
	send_fetch(WIRE_FETCH_IF_DUE);
}

static void join_and_be_heard(struct audience *audience)
{
	join(audience);
	assert_int_equal(audience->n, 0);
	audience->hear(audience->context);
	assert_int_equal(audience->n, 1);
}

static void test_who_joins_is_served_by_what_is_under_way(void **state)
{
	send_conf();
	send_fetch(WIRE_FETCH_IF_DUE);
	meanwhile = join_and_be_heard;
	assert_ran(1);
	assert_int_equal(n_clients, 1);
	assert_told_of(joined, 1);
}

static void test_unless_nothing_was_asked(void **state)
{
	send_conf();
	send_fetch(WIRE_FETCH_IF_DUE);
	requests = 0; /* it was not due */
	meanwhile = join;
	assert_ran(2);
	assert_true(was_due_only[0]);
	assert_false(was_due_only[1]);
	assert_int_equal(n_clients, 1);
	assert_told_of(joined, 2);
}

static void test_unless_nothing_was_asked_and_he_was_heard(void **state)
{
	requests = 0;
	send_conf();
	send_fetch(WIRE_FETCH_IF_DUE);
	meanwhile = join_and_be_heard;
	assert_ran(2);
	assert_false(was_due_only[1]);
	assert_told_of(joined, 2);
}

static void remind(struct audience *audience)
{
	send_fetch(WIRE_FETCH_IF_DUE);
}

static void test_the_schedule_does_not_ask_twice(void **state)
{
	requests = 0;
	send_conf();
	send_fetch(0);
	meanwhile = remind;
	assert_ran(1);
}

static void test_who_comes_too_late_is_for_the_next(void **state)
{
	const struct wire_plain late = {.header = WIRE_INIT(WIRE_PING, struct wire_plain)};

	send_conf();
	send_fetch(0);
	assert_ran(1);
	assert_int_equal(chan_send(supervisor, &late.header, -1), -EPIPE);
}

/* --- what goes wrong --- */

static void test_without_a_supervisor_nothing_is_fetched(void **state)
{
	send_conf();
	assert_int_equal(shutdown(supervisor, SHUT_WR), 0);
	assert_int_equal(fetcher_run(channel), 1);
	assert_int_equal(n_runs, 0);
	assert_int_equal(next(supervisor), 0);
}

static void leave(struct audience *audience)
{
	assert_int_equal(shutdown(supervisor, SHUT_WR), 0);
	audience->hear(audience->context);
	_exit(7); /* it went on */
}

static void test_nor_is_it_fetched_on(void **state)
{
	int status;
	pid_t pid;

	send_conf();
	send_fetch(0);
	meanwhile = leave;
	pid = fork();
	if (pid == 0)
		_exit(fetcher_run(channel) + 10);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 1);
}

static void test_what_is_no_order(void **state)
{
	struct wire_fetch fetch = {.header = WIRE_INIT(WIRE_FETCH, struct wire_fetch)};

	memset(fetch.mirror_to, 'x', sizeof(fetch.mirror_to));
	send_conf();
	assert_int_equal(chan_send(supervisor, &fetch.header, -1), 0);
	assert_int_equal(fetcher_run(channel), 1);
	assert_int_equal(n_runs, 0);
}

static void test_what_is_no_configuration(void **state)
{
	const struct wire_plain conf = {.header = WIRE_INIT(WIRE_CONFIG, struct wire_plain)};
	unsigned before = unit_count_fds();

	assert_int_equal(chan_send(supervisor, &conf.header, STDERR_FILENO), 0);
	send_fetch(0);
	assert_int_equal(fetcher_run(channel), 1);
	assert_int_equal(n_runs, 0);
	assert_int_equal(unit_count_fds(), before);
}

static void test_it_does_not_run_unconfined(void **state)
{
	send_conf();
	send_fetch(0);
	confine_result = -ENOENT;
	assert_int_equal(fetcher_run(channel), 1);
	assert_int_equal(n_runs, 0);
	assert_int_equal(next(supervisor), WIRE_NOTE);
	assert_int_equal(message.note.priority, LOG_ERR);
	assert_non_null(strstr(message.note.text, "cannot be confined: No such file"));
	assert_int_equal(next(supervisor), 0);
}

static void test_unless_the_kernel_cannot(void **state)
{
	send_conf();
	send_fetch(0);
	confine_result = 1;
	assert_ran(1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_it_runs_once),
		TEST(test_when_somebody_asks),
		TEST(test_both_before_it_begins),
		TEST(test_in_either_order),
		TEST(test_for_a_mirror),
		TEST(test_somebody_joins_after_the_order),
		TEST(test_who_joins_is_served_by_what_is_under_way),
		TEST(test_unless_nothing_was_asked),
		TEST(test_unless_nothing_was_asked_and_he_was_heard),
		TEST(test_the_schedule_does_not_ask_twice),
		TEST(test_who_comes_too_late_is_for_the_next),
		TEST(test_without_a_supervisor_nothing_is_fetched),
		TEST(test_nor_is_it_fetched_on),
		TEST(test_what_is_no_order),
		TEST(test_what_is_no_configuration),
		TEST(test_it_does_not_run_unconfined),
		TEST(test_unless_the_kernel_cannot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
