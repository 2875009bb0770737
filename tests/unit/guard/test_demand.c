/* SPDX-License-Identifier: GPL-2.0-only */
/* What clients of the scan socket get, with the gate of gate_fixture.h behind it. */
#include "../../../src/guard/demand.h"
#include "gate_fixture.h"

#include <poll.h>

#define FILES 100

struct state {
	struct fixture fixture; /* the first, for those who have that */
	struct demand *demand;
	int porter; /* our end of what clients are announced on */
	unsigned fds_before;
};

/* --- setup --- */

static void make_demand(struct state *test)
{
	int ends[2];

	assert_int_equal(chan_pair(ends), 0);
	test->porter = ends[0];
	test->demand = demand_new(test->fixture.event, ends[1], &test->fixture.gate);
}

static int setup(void **state)
{
	static struct state test;

	test = (struct state){.fds_before = unit_count_fds()};
	*state = &test;
	if (fixture_init(&test.fixture) < 0)
		return -1;
	make_demand(&test);
	start_engine(&test.fixture);
	return test.demand ? 0 : -1;
}

/* No descriptor is left, of whomever. */
static int teardown(void **state)
{
	struct state *test = *state;

	assert_null(demand_free(test->demand));
	close(test->porter);
	fixture_deinit(&test->fixture);
	assert_int_equal(unit_count_fds(), test->fds_before);
	return 0;
}

static int group_setup(void **state)
{
	char name[32];

	if (fixture_group_setup(state) < 0)
		return -1;
	for (unsigned i = 0; i < FILES; i++) {
		(void)snprintf(name, sizeof(name), "out/%u", i);
		scratch_write(name, "content", 7);
	}
	return 0;
}

/* --- a client --- */

/* Has a client announced, as the porter does. */
static int connect_client(struct state *test)
{
	const struct wire_scan_client message = {
		.header = WIRE_INIT(WIRE_SCAN_CLIENT, struct wire_scan_client),
		.pid = getpid(),
		.uid = getuid(),
	};
	int ends[2];

	assert_int_equal(chan_pair(ends), 0);
	assert_int_equal(chan_send(test->porter, &message.header, ends[1]), 0);
	close(ends[1]);
	assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	run(&test->fixture);
	return ends[0];
}

static int send_scan_fd(int client, uint64_t id, int fd, uint32_t flags)
{
	const struct wire_scan scan = {
		.header = WIRE_INIT(WIRE_SCAN, struct wire_scan), .id = id, .flags = flags};

	return chan_send(client, &scan.header, fd);
}

static int send_scan(int client, uint64_t id, const char *name)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC), r;

	assert_true(fd >= 0);
	r = send_scan_fd(client, id, fd, 0);
	close(fd);
	return r;
}

static void send_plain(int client, enum wire_type type)
{
	const struct wire_plain plain = {.header = WIRE_INIT(type, struct wire_plain)};

	assert_int_equal(chan_send(client, &plain.header, -1), 0);
}

/* Returns whether there was a verdict. */
static bool next_verdict(int client, struct wire_verdict *verdict)
{
	ssize_t n = recv(client, verdict, sizeof(*verdict), 0);

	if (n < 0 && errno == EAGAIN)
		return false;
	assert_int_equal(n, sizeof(*verdict));
	assert_int_equal(verdict->header.type, WIRE_VERDICT);
	assert_int_equal(verdict->header.size, sizeof(*verdict));
	return true;
}

static void assert_verdict(int client, uint64_t id, enum verdict verdict, const char *reason)
{
	struct wire_verdict message;

	assert_true(next_verdict(client, &message));
	assert_int_equal(message.id, id);
	assert_int_equal(message.verdict, verdict);
	assert_string_equal(message.reason, reason);
}

static void assert_silent(int client)
{
	struct wire_verdict message;

	assert_false(next_verdict(client, &message));
}

static bool is_dropped(int client)
{
	struct pollfd ready = {.fd = client};

	return poll(&ready, 1, 0) == 1 && (ready.revents & POLLHUP);
}

/* --- tests --- */

static void a_client_gets_its_verdicts(void **state)
{
	struct state *test = *state;
	int client = connect_client(test);

	assert_int_equal(send_scan(client, 7, "file"), 0);
	assert_int_equal(send_scan(client, UINT64_MAX, "other"), 0);
	run(&test->fixture);
	assert_silent(client);
	send_verdict(&test->fixture, VERDICT_INFECTED, "Eicar-Test");
	assert_verdict(client, 7, VERDICT_INFECTED, "Eicar-Test");
	assert_silent(client);
	send_verdict(&test->fixture, VERDICT_INCOMPLETE, "encrypted");
	assert_verdict(client, UINT64_MAX, VERDICT_INCOMPLETE, "encrypted");

	/* at once, too */
	assert_int_equal(send_scan(client, 8, "empty"), 0);
	assert_int_equal(send_scan(client, 9, "out"), 0);
	run(&test->fixture);
	assert_verdict(client, 8, VERDICT_CLEAN, "");
	assert_verdict(client, 9, VERDICT_FAILED, "not a regular file");
	close(client);
	run(&test->fixture);
}

static void two_clients_do_not_get_each_others(void **state)
{
	struct state *test = *state;
	int first = connect_client(test), second = connect_client(test);

	assert_int_equal(send_scan(first, 1, "file"), 0);
	run(&test->fixture);
	assert_int_equal(send_scan(second, 1, "other"), 0);
	assert_int_equal(send_scan(second, 2, "file"), 0);
	run(&test->fixture);
	send_verdict(&test->fixture, VERDICT_INFECTED, "one");
	send_verdict(&test->fixture, VERDICT_INFECTED, "two");
	assert_verdict(first, 1, VERDICT_INFECTED, "one");
	assert_verdict(second, 2, VERDICT_INFECTED, "one");
	assert_verdict(second, 1, VERDICT_INFECTED, "two");
	assert_silent(first);
	close(first);
	close(second);
}

/* The alert names the client, as the kernel does. */
static void what_is_found_is_reported(void **state)
{
	struct state *test = *state;
	int client = connect_client(test);
	struct wire_found found;
	struct opener opener;

	opener_read(getpid(), &opener);
	assert_int_equal(send_scan(client, 1, "file"), 0);
	run(&test->fixture);
	send_verdict(&test->fixture, VERDICT_INFECTED, "Eicar-Test");
	assert_int_equal(recv(test->fixture.reporter, &found, sizeof(found), MSG_DONTWAIT),
			 sizeof(found));
	assert_int_equal(found.answer, WIRE_ANSWER_DEMANDED);
	assert_int_equal(found.pid, getpid());
	assert_int_equal(found.uid, getuid());
	assert_string_equal(found.exe, opener_exe(&opener));
	close(client);
}

static void afresh_a_known_file_is_scanned(void **state)
{
	struct state *test = *state;
	struct wire_verdict verdict;
	int client, fd;

	memory_or_skip(&test->fixture);
	client = connect_client(test);
	fd = open("file", O_RDONLY | O_CLOEXEC);
	assert_int_equal(send_scan_fd(client, 1, fd, 0), 0);
	run(&test->fixture);
	send_verdict(&test->fixture, VERDICT_CLEAN, "");
	assert_true(next_verdict(client, &verdict));
	assert_int_equal(verdict.flags, 0);
	assert_int_equal(send_scan_fd(client, 2, fd, 0), 0);
	run(&test->fixture);
	assert_true(next_verdict(client, &verdict));
	assert_int_equal(verdict.flags, WIRE_VERDICT_KNOWN);
	assert_int_equal(send_scan_fd(client, 3, fd, WIRE_SCAN_AFRESH), 0);
	run(&test->fixture);
	assert_silent(client);
	send_verdict(&test->fixture, VERDICT_CLEAN, "");
	assert_verdict(client, 3, VERDICT_CLEAN, "");
	close(fd);
	close(client);
}

/* It gets them all; but what it has under way is bounded, and so is what it has open in here. */
static void a_client_that_wants_much_gets_it_by_and_by(void **state)
{
	struct state *test = *state;
	struct fixture *fixture = &test->fixture;
	int client = connect_client(test);
	bool told[FILES] = {0};
	struct wire_verdict verdict;
	unsigned n_told = 0, fds;
	char name[32];

	fds = unit_count_fds();
	for (unsigned i = 0; i < FILES; i++) {
		(void)snprintf(name, sizeof(name), "out/%u", i);
		assert_int_equal(send_scan(client, i, name), 0);
	}
	run(fixture);
	for (unsigned i = 0; i < FILES; i++) {
		unsigned expected = FILES - i < SCAN_WINDOW ? FILES - i : SCAN_WINDOW;

		assert_int_equal(fixture->gate.requests.n_requests, expected);
		assert_int_equal(unit_count_fds(), fds + expected);
		send_verdict(fixture, VERDICT_INCOMPLETE, "");
		while (next_verdict(client, &verdict)) {
			assert_true(verdict.id < FILES);
			assert_false(told[verdict.id]);
			told[verdict.id] = true;
			n_told++;
		}
		assert_int_equal(n_told, i + 1);
	}
	assert_int_equal(fixture->gate.requests.n_requests, 0);
	close(client);
}

/* Other clients do not wait for one that has its window full. */
static void a_full_window_is_its_own(void **state)
{
	struct state *test = *state;
	int greedy = connect_client(test), other = connect_client(test);

	for (unsigned i = 0; i < 3 * SCAN_WINDOW; i++)
		assert_int_equal(send_scan(greedy, i, "file"), 0);
	run(&test->fixture);
	assert_int_equal(send_scan(other, 1, "empty"), 0);
	run(&test->fixture);
	assert_verdict(other, 1, VERDICT_CLEAN, "");
	assert_silent(greedy);
	close(greedy);
	close(other);
}

static void what_a_client_that_went_asked_for_is_forgotten(void **state)
{
	struct state *test = *state;
	struct fixture *fixture = &test->fixture;
	int client = connect_client(test), other = connect_client(test);

	assert_int_equal(send_scan(client, 1, "file"), 0);
	assert_int_equal(send_scan(client, 2, "other"), 0);
	assert_int_equal(send_scan(client, 3, "third"), 0);
	run(fixture);
	assert_int_equal(send_scan(other, 4, "third"), 0);
	run(fixture);
	close(client);
	run(fixture);
	/* but not the one that a worker has, nor the one that somebody else wants */
	assert_int_equal(fixture->gate.requests.n_requests, 2);
	assert_int_equal(next_scan(fixture), inode_of("file"));
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_int_equal(next_scan(fixture), inode_of("third"));
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_verdict(other, 4, VERDICT_CLEAN, "");
	assert_silent(other);
	close(other);
}

static void at_the_end_what_is_under_way_is_forgotten(void **state)
{
	struct state *test = *state;
	int client = connect_client(test);

	for (unsigned i = 0; i < 3 * SCAN_WINDOW; i++)
		assert_int_equal(send_scan(client, i, "file"), 0);
	run(&test->fixture);
	test->demand = demand_free(test->demand);
	send_verdict(&test->fixture, VERDICT_CLEAN, "");
	assert_true(is_dropped(client));
	close(client);
}

/* Its verdicts pile up. It is not waited for, nor does it keep its connection by keeping still. */
static void a_client_that_never_reads_is_dropped(void **state)
{
	struct state *test = *state;
	struct fixture *fixture = &test->fixture;
	int client = connect_client(test), other = connect_client(test);
	unsigned n = 0, fds = unit_count_fds();

	while (!is_dropped(client)) {
		assert_true(n < 10000);
		assert_int_equal(send_scan(client, n++, "file"), 0);
		run(fixture);
		send_verdict(fixture, VERDICT_INCOMPLETE, "");
	}
	assert_int_equal(unit_count_fds(), fds - 1);
	/* at the first that it did not take */
	for (unsigned i = 0; i < n - 1; i++)
		assert_verdict(client, i, VERDICT_INCOMPLETE, "");
	assert_int_equal(send_scan(other, 1, "empty"), 0);
	run(fixture);
	assert_verdict(other, 1, VERDICT_CLEAN, "");
	close(client);
	close(other);
}

static void who_breaks_the_protocol_is_dropped(void **state)
{
	const struct wire_plain unknown = {.header = WIRE_INIT(WIRE_PING, struct wire_plain)},
				short_scan = {.header = WIRE_INIT(WIRE_SCAN, struct wire_plain)},
				info = {.header = WIRE_INIT(WIRE_SCAN_INFO, struct wire_plain)};
	const struct wire_scan no_file = {.header = WIRE_INIT(WIRE_SCAN, struct wire_scan)};
	const struct {
		const struct wire_header *message;
		int fd;
	} cases[] = {{&unknown.header, -1},
		     {&short_scan.header, 0},
		     {&no_file.header, -1},
		     {&info.header, 0}};
	struct state *test = *state;
	int other = connect_client(test);

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		int client = connect_client(test);

		/* what it had under way goes with it */
		assert_int_equal(send_scan(client, 1, "file"), 0);
		assert_int_equal(send_scan(client, 2, "other"), 0);
		run(&test->fixture);
		assert_false(is_dropped(client));
		assert_int_equal(chan_send(client, cases[i].message, cases[i].fd), 0);
		run(&test->fixture);
		assert_true(is_dropped(client));
		close(client);
		send_verdict(&test->fixture, VERDICT_INCOMPLETE, "");
		assert_int_equal(test->fixture.gate.requests.n_requests, 0);
	}
	assert_false(is_dropped(other));
	close(other);
}

static void info_says_what_the_engine_is(void **state)
{
	const struct wire_engine_info info = {
		.header = WIRE_INIT(WIRE_ENGINE_INFO, struct wire_engine_info),
		.scan_deadline_ms = 60000,
		.signatures = 123,
		.set = 5,
		.engine = "1.2.3",
		.versions = "daily.cvd 27450",
	};
	struct state *test = *state;
	int client = connect_client(test);
	struct wire_engine_info reply;

	start_engine_with(&test->fixture, &info);
	send_plain(client, WIRE_SCAN_INFO);
	run(&test->fixture);
	assert_int_equal(recv(client, &reply, sizeof(reply), 0), sizeof(reply));
	assert_memory_equal(&reply, &info, sizeof(info));
	assert_silent(client);
	close(client);
}

static void before_there_is_an_engine_info_is_empty(void **state)
{
	struct state *test = *state;
	int client;
	struct wire_engine_info reply;

	/* once more, without one */
	demand_free(test->demand);
	close(test->porter);
	fixture_deinit(&test->fixture);
	assert_int_equal(fixture_init(&test->fixture), 0);
	make_demand(test);
	client = connect_client(test);
	send_plain(client, WIRE_SCAN_INFO);
	run(&test->fixture);
	assert_int_equal(recv(client, &reply, sizeof(reply), 0), sizeof(reply));
	assert_int_equal(reply.header.type, WIRE_ENGINE_INFO);
	assert_int_equal(reply.signatures, 0);
	assert_string_equal(reply.versions, "");
	close(client);
}

static void ask_why(struct state *test, int client, uint64_t id, const char *name)
{
	const struct wire_scan why = {.header = WIRE_INIT(WIRE_SCAN_WHY, struct wire_scan),
				      .id = id};
	int fd = open(name, O_PATH | O_CLOEXEC);

	assert_int_equal(chan_send(client, &why.header, fd), 0);
	close(fd);
	run(&test->fixture);
}

static struct file_id id_of(const char *name)
{
	int fd = open(name, O_PATH | O_CLOEXEC);
	struct file_state state;
	struct file_id id;

	assert_int_equal(file_stat(fd, &id, &state), 0);
	close(fd);
	return id;
}

static void who_was_refused_is_told_why(void **state)
{
	static const char none[] = "the open was refused, and not by the on-access protection";
	const struct wire_verdict verdict = wire_verdict_make(VERDICT_INFECTED, "Eicar-Test"),
				  later = wire_verdict_make(VERDICT_INCOMPLETE, "encrypted");
	struct file_id file = id_of("file"), other = id_of("other");
	struct state *test = *state;
	int client = connect_client(test), second = connect_client(test);

	ask_why(test, client, 1, "file");
	assert_verdict(client, 1, VERDICT_FAILED, none);

	/* not somebody else, and not of another file */
	demand_denied(test->demand, getpid() + 1, file, &later);
	demand_denied(test->demand, getpid(), file, &verdict);
	demand_denied(test->demand, getpid(), other, &later);
	demand_denied(test->demand, getpid() + 1, file, &later);
	for (unsigned i = 0; i < 2; i++) {
		int fd = i ? client : second;

		ask_why(test, fd, 2, "file");
		assert_verdict(fd, 2, VERDICT_INFECTED, "Eicar-Test");
		ask_why(test, fd, 3, "other");
		assert_verdict(fd, 3, VERDICT_INCOMPLETE, "encrypted");
		ask_why(test, fd, 4, "third");
		assert_verdict(fd, 4, VERDICT_FAILED, none);
	}
	/* the last one counts */
	demand_denied(test->demand, getpid(), file, &later);
	ask_why(test, client, 5, "file");
	assert_verdict(client, 5, VERDICT_INCOMPLETE, "encrypted");
	demand_denied(NULL, getpid(), file, &later);
	close(client);
	close(second);
}

static void old_refusals_are_forgotten(void **state)
{
	const struct wire_verdict verdict = wire_verdict_make(VERDICT_INFECTED, "Eicar-Test");
	struct state *test = *state;
	int client = connect_client(test);

	demand_denied(test->demand, getpid(), id_of("other"), &verdict);
	for (unsigned i = 0; i < 31; i++)
		demand_denied(test->demand, getpid(), id_of("file"), &verdict);
	ask_why(test, client, 1, "other");
	assert_verdict(client, 1, VERDICT_INFECTED, "Eicar-Test");
	demand_denied(test->demand, getpid(), id_of("file"), &verdict);
	ask_why(test, client, 2, "other");
	assert_verdict(client, 2, VERDICT_FAILED,
		       "the open was refused, and not by the on-access protection");
	close(client);
}

static void a_client_outlives_the_porter(void **state)
{
	struct state *test = *state;
	int client = connect_client(test), again;

	close(test->porter);
	run(&test->fixture);
	ask_why(test, client, 1, "file");
	assert_verdict(client, 1, VERDICT_FAILED,
		       "the open was refused, and not by the on-access protection");
	/* another porter is introduced */
	demand_free(test->demand);
	make_demand(test);
	assert_true(is_dropped(client));
	again = connect_client(test);
	ask_why(test, again, 1, "file");
	assert_verdict(again, 1, VERDICT_FAILED,
		       "the open was refused, and not by the on-access protection");
	close(client);
	close(again);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_client_gets_its_verdicts),
		TEST(two_clients_do_not_get_each_others),
		TEST(what_is_found_is_reported),
		TEST(afresh_a_known_file_is_scanned),
		TEST(a_client_that_wants_much_gets_it_by_and_by),
		TEST(a_full_window_is_its_own),
		TEST(what_a_client_that_went_asked_for_is_forgotten),
		TEST(at_the_end_what_is_under_way_is_forgotten),
		TEST(a_client_that_never_reads_is_dropped),
		TEST(who_breaks_the_protocol_is_dropped),
		TEST(info_says_what_the_engine_is),
		TEST(before_there_is_an_engine_info_is_empty),
		TEST(who_was_refused_is_told_why),
		TEST(old_refusals_are_forgotten),
		TEST(a_client_outlives_the_porter),
	};

	if (!can_run())
		return UNIT_SKIPPED;
	log_set_sink(silent, NULL);
	return cmocka_run_group_tests_name("demand", tests, group_setup, scratch_teardown);
}
