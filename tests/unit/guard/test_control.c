/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/common/chan.h"
#include "../../../src/guard/control.h"
#include "../support/scratch.h"

#include <holdfast/control.h>
#include <sys/socket.h>
#include <sys/un.h>

struct fixture {
	sd_event *event;
	struct gate gate;
	struct control *control;
	int engine; /* the test's end */
	int worker; /* of that engine */
	int client;
};

/* --- a guard with an engine and a client --- */

static void on_nothing(void *context)
{
}

static const struct pool_callbacks callbacks = {.switched = on_nothing, .idle = on_nothing};

static void run(const struct fixture *fixture)
{
	int r;

	do
		r = sd_event_run(fixture->event, 0);
	while (r > 0);
	assert_int_equal(r, 0);
}

static int connect_client(struct fixture *fixture)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "control"};
	int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	fixture->client = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listener, 1) < 0 ||
	    connect(fixture->client, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -1;
	fixture->control = control_new(fixture->event, listener,
				       (struct control_sources){.gate = &fixture->gate});
	return fixture->control ? 0 : -1;
}

static int setup(void **state)
{
	static struct fixture fixture;
	static struct roster roster;

	roster = (struct roster){0};
	fixture = (struct fixture){.engine = -1, .worker = -1};
	*state = &fixture;
	if (sd_event_new(&fixture.event) < 0)
		return -1;
	fixture.gate.pool = pool_new(fixture.event, &roster, &callbacks, NULL);
	fixture.gate.findings = calloc(1, sizeof(*fixture.gate.findings));
	return fixture.gate.pool && fixture.gate.findings ? connect_client(&fixture) : -1;
}

static void lose(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	control_free(fixture->control);
	pool_free(fixture->gate.pool);
	free(fixture->gate.findings);
	sd_event_unref(fixture->event);
	lose(&fixture->engine);
	lose(&fixture->worker);
	lose(&fixture->client);
	return unlink("control");
}

/* --- what the engine says --- */

static void send_engine(struct fixture *fixture, const struct wire_header *message)
{
	assert_int_equal(chan_send(fixture->engine, message, -1), 0);
	run(fixture);
}

static void introduce_engine(struct fixture *fixture)
{
	int ends[2];

	lose(&fixture->engine);
	assert_int_equal(chan_pair(ends), 0);
	assert_int_equal(pool_add_engine(fixture->gate.pool, ends[0], 77), 0);
	fixture->engine = ends[1];
}

static void start_engine(struct fixture *fixture)
{
	const struct wire_engine_info info = {
		.header = WIRE_INIT(WIRE_ENGINE_INFO, struct wire_engine_info),
		.scan_deadline_ms = 60000,
	};

	introduce_engine(fixture);
	send_engine(fixture, &info.header);
}

static struct wire_database make_database(uint32_t i)
{
	struct wire_database database = {
		.header = WIRE_INIT(WIRE_DATABASE, struct wire_database),
		.built_at = 1000 + i,
		.version = 100 + i,
		.signatures = 10 + i,
	};

	(void)snprintf(database.name, sizeof(database.name), "%u.cvd", i);
	return database;
}

static void send_databases(struct fixture *fixture, uint32_t first, uint32_t n)
{
	for (uint32_t i = first; i < first + n; i++) {
		const struct wire_database database = make_database(i);

		send_engine(fixture, &database.header);
	}
}

/* With the first the engine becomes the current one. */
static void start_worker(struct fixture *fixture)
{
	const struct wire_worker message = {.header = WIRE_INIT(WIRE_WORKER, struct wire_worker)};
	int ends[2];

	lose(&fixture->worker);
	assert_int_equal(chan_pair(ends), 0);
	assert_int_equal(chan_send(fixture->engine, &message.header, ends[0]), 0);
	close(ends[0]);
	fixture->worker = ends[1];
	run(fixture);
}

/* Whether the guard wants nothing more of it. */
static bool is_dropped(const struct fixture *fixture)
{
	ssize_t n;
	char byte;

	do
		n = recv(fixture->engine, &byte, 1, MSG_DONTWAIT);
	while (n > 0);
	return n == 0;
}

/* --- what the client is told --- */

static struct control_database_reply ask(struct fixture *fixture, uint32_t index)
{
	const struct control_index_request request = {
		.header = WIRE_INIT(WIRE_CONTROL_DATABASE, struct control_index_request),
		.index = index,
	};
	struct control_database_reply reply;

	memset(&reply, 'x', sizeof(reply));
	assert_int_equal(chan_send(fixture->client, &request.header, -1), 0);
	run(fixture);
	assert_int_equal(recv(fixture->client, &reply, sizeof(reply), MSG_DONTWAIT), sizeof(reply));
	assert_int_equal(reply.header.type, WIRE_CONTROL_DATABASE_REPLY);
	assert_int_equal(reply.index, index);
	return reply;
}

static void assert_told(struct fixture *fixture, uint32_t first, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct control_database_reply reply = ask(fixture, i);
		const struct wire_database database = make_database(first + i);

		assert_int_equal(reply.n, n);
		assert_memory_equal(&reply.database, &database, sizeof(database));
	}
	assert_int_equal(ask(fixture, n).n, n);
	assert_string_equal(ask(fixture, n).database.name, "");
	assert_string_equal(ask(fixture, UINT32_MAX).database.name, "");
}

static struct control_poison_reply ask_poison(struct fixture *fixture, uint32_t index)
{
	const struct control_index_request request = {
		.header = WIRE_INIT(WIRE_CONTROL_POISON, struct control_index_request),
		.index = index,
	};
	struct control_poison_reply reply;

	memset(&reply, 'x', sizeof(reply));
	assert_int_equal(chan_send(fixture->client, &request.header, -1), 0);
	run(fixture);
	assert_int_equal(recv(fixture->client, &reply, sizeof(reply), MSG_DONTWAIT), sizeof(reply));
	assert_int_equal(reply.header.type, WIRE_CONTROL_POISON_REPLY);
	assert_int_equal(reply.index, index);
	return reply;
}

/* Workers did not survive this file, under these signatures. */
static void poison(struct fixture *fixture, uint64_t inode, uint64_t signatures)
{
	const struct finding_key key = {.id = {1, inode}, .signatures = signatures};
	char path[32];

	(void)snprintf(path, sizeof(path), "/srv/%llu", (unsigned long long)inode);
	(void)findings_add(fixture->gate.findings, &key, FINDING_POISON, true, "it crashed", path);
	(void)findings_meet(fixture->gate.findings, &key);
}

/* --- tests --- */

static void the_poison_that_was_met_last_is_told_of_first(void **state)
{
	struct fixture *fixture = *state;
	struct control_poison_reply reply = ask_poison(fixture, 0);

	assert_int_equal(reply.n, 0);
	assert_string_equal(reply.path, "");
	poison(fixture, 1, 0);
	poison(fixture, 2, 0);
	poison(fixture, 3, 99); /* what counts now are the others */
	reply = ask_poison(fixture, 0);
	assert_int_equal(reply.n, 2);
	assert_string_equal(reply.path, "/srv/2");
	assert_string_equal(reply.reason, "it crashed");
	assert_int_equal(reply.met, 1);
	assert_true(reply.since > 0);
	assert_string_equal(ask_poison(fixture, 1).path, "/srv/1");
	assert_string_equal(ask_poison(fixture, 2).path, "");
	assert_int_equal(ask_poison(fixture, 2).n, 2);
}

static void only_the_last_poison_is_told_of(void **state)
{
	struct fixture *fixture = *state;

	for (uint64_t i = 0; i < 2 * CONTROL_POISON_MAX; i++)
		poison(fixture, i, 0);
	assert_string_not_equal(ask_poison(fixture, CONTROL_POISON_MAX - 1).path, "");
	assert_string_equal(ask_poison(fixture, CONTROL_POISON_MAX).path, "");
	assert_string_equal(ask_poison(fixture, UINT32_MAX).path, "");
	assert_int_equal(ask_poison(fixture, 0).n, 2 * CONTROL_POISON_MAX);
}

static void the_databases_of_the_current_engine_are_told_of(void **state)
{
	struct fixture *fixture = *state;

	assert_told(fixture, 0, 0);
	start_engine(fixture);
	send_databases(fixture, 0, 3);
	assert_told(fixture, 0, 0);
	start_worker(fixture);
	assert_told(fixture, 0, 3);
	/* one that has none */
	start_engine(fixture);
	start_worker(fixture);
	assert_told(fixture, 0, 0);
	start_engine(fixture);
	send_databases(fixture, 7, 2);
	assert_told(fixture, 0, 0);
	start_worker(fixture);
	assert_told(fixture, 7, 2);
}

/* Its workers go on with what it loaded. */
static void they_are_told_of_when_the_engine_has_died(void **state)
{
	struct fixture *fixture = *state;

	start_engine(fixture);
	send_databases(fixture, 0, 2);
	start_worker(fixture);
	lose(&fixture->engine);
	run(fixture);
	assert_told(fixture, 0, 2);
	lose(&fixture->worker);
	run(fixture);
	assert_told(fixture, 0, 2);
}

static void as_many_are_told_of_as_there_is_room_for(void **state)
{
	struct fixture *fixture = *state;

	start_engine(fixture);
	send_databases(fixture, 0, WIRE_DATABASES_MAX);
	assert_false(is_dropped(fixture));
	start_worker(fixture);
	assert_told(fixture, 0, WIRE_DATABASES_MAX);
	send_databases(fixture, 0, 1);
	assert_true(is_dropped(fixture));
	assert_told(fixture, 0, WIRE_DATABASES_MAX);
}

static void an_engine_that_says_what_it_may_not_is_dropped(void **state)
{
	struct fixture *fixture = *state;
	struct wire_database database = make_database(0);

	/* before it has said what it is */
	introduce_engine(fixture);
	send_engine(fixture, &database.header);
	assert_true(is_dropped(fixture));

	memset(database.name, 'n', sizeof(database.name));
	start_engine(fixture);
	send_engine(fixture, &database.header);
	assert_true(is_dropped(fixture));

	database.name[0] = '\0';
	start_engine(fixture);
	send_engine(fixture, &database.header);
	assert_true(is_dropped(fixture));
	assert_told(fixture, 0, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_databases_of_the_current_engine_are_told_of),
		TEST(the_poison_that_was_met_last_is_told_of_first),
		TEST(only_the_last_poison_is_told_of),
		TEST(they_are_told_of_when_the_engine_has_died),
		TEST(as_many_are_told_of_as_there_is_room_for),
		TEST(an_engine_that_says_what_it_may_not_is_dropped),
	};

	return cmocka_run_group_tests_name("control", tests, scratch_setup, scratch_teardown);
}
