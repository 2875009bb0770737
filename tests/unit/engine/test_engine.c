/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/common/chan.h"
#include "../../../src/common/contents.h"
#include "../../../src/engine/engine.h"
#include "../../../src/signatures/trial.h"
#include "../support/conf_fixture.h"
#include "../support/scratch.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* What takes the place of the trial; shared with the process that the engine runs in. */
static struct tried {
	unsigned n;
	struct {
		char path[PATH_MAX], scratch[PATH_MAX];
	} trials[2];
	char bad[64]; /* the end of the path that is refused; empty: none */
} * tried;

int __wrap_trial_run(const struct trial *trial, uint32_t *ret_signatures, char *problem,
		     size_t problem_size);

int __wrap_trial_run(const struct trial *trial, uint32_t *ret_signatures, char *problem,
		     size_t problem_size)
{
	size_t length = strlen(trial->path), bad = strlen(tried->bad);

	if (tried->n == N_ELEMENTS(tried->trials) || trial->database)
		return -EINVAL;
	(void)snprintf(tried->trials[tried->n].path, PATH_MAX, "%s", trial->path);
	(void)snprintf(tried->trials[tried->n].scratch, PATH_MAX, "%s", trial->scratch);
	tried->n++;
	if (bad && length >= bad && !strcmp(trial->path + length - bad, tried->bad)) {
		(void)snprintf(problem, problem_size, "bad.ndb: Malformed database");
		return -EBADMSG;
	}
	*ret_signatures = 100 * tried->n;
	return 0;
}

struct fixture {
	struct conf *conf;
	int supervisor; /* the test's end */
	int engine;	/* the end of the engine */
	int status;
	struct wire_result result;
	struct wire_engine_info info;
	struct wire_database databases[4];
	unsigned n_databases, n_workers;
};

static int setup(void **state)
{
	static struct fixture fixture;
	char path[PATH_MAX + 16];
	int ends[2];

	memset(&fixture, 0, sizeof(fixture));
	tried = mmap(NULL, sizeof(*tried), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	if (tried == MAP_FAILED)
		return -1;
	*state = &fixture;
	fixture.conf = conf_new();
	if (!fixture.conf || chan_pair(ends) < 0 || mkdir("signatures", 0755) < 0 ||
	    mkdir("run", 0755) < 0 || mkdir("run/scratch", 0755) < 0)
		return -1;
	fixture.supervisor = ends[0];
	fixture.engine = ends[1];
	(void)snprintf(path, sizeof(path), "%s/signatures", scratch);
	conf_fixture_set(fixture.conf, "engine", "signatures", path);
	conf_fixture_set(fixture.conf, "engine", "workers", "1");
	(void)snprintf(path, sizeof(path), "%s/run", scratch);
	conf_fixture_set(fixture.conf, "service", "run-dir", path);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	conf_free(fixture->conf);
	close(fixture->supervisor);
	(void)munmap(tried, sizeof(*tried));
	return nftw("signatures", scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS) ||
	       nftw("run", scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void send_conf(struct fixture *fixture)
{
	const struct wire_plain message = {.header = WIRE_INIT(WIRE_CONFIG, struct wire_plain)};
	int snapshot = conf_snapshot(fixture->conf);

	assert_true(snapshot >= 0);
	assert_int_equal(chan_send(fixture->supervisor, &message.header, snapshot), 0);
	close(snapshot);
}

static int take_result(void *context, struct chan_message *message)
{
	struct fixture *fixture = context;

	memcpy(&fixture->result, message, sizeof(fixture->result));
	return 0;
}

static int take_note(void *context, struct chan_message *message)
{
	return 0;
}

/* What it has loaded it leaves to the end of its process. */
static pid_t begin(struct fixture *fixture)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(engine_run(fixture->engine));
	close(fixture->engine);
	return pid;
}

/* It ends when there is nothing more to come from the supervisor, and is heard once more. */
static void end(struct fixture *fixture, pid_t pid)
{
	static const struct chan_rule rules[] = {
		{WIRE_NOTE, sizeof(struct wire_note), false, take_note},
		{WIRE_READY, sizeof(struct wire_result), false, take_result},
		{WIRE_FAILED, sizeof(struct wire_result), false, take_result},
		{0}};

	assert_int_equal(shutdown(fixture->supervisor, SHUT_WR), 0);
	assert_int_equal(waitpid(pid, &fixture->status, 0), pid);
	while (chan_serve(fixture->supervisor, rules, fixture) == 0)
		;
}

/* Runs it to its end. */
static void run(struct fixture *fixture)
{
	assert_int_equal(shutdown(fixture->supervisor, SHUT_WR), 0);
	end(fixture, begin(fixture));
}

/* --- trials --- */

static void run_trial(struct fixture *fixture)
{
	const struct wire_plain message = {.header = WIRE_INIT(WIRE_TRIAL, struct wire_plain)};

	assert_int_equal(chan_send(fixture->supervisor, &message.header, -1), 0);
	send_conf(fixture);
	run(fixture);
}

static void make_directories(void)
{
	static const char line[] = "Test:0:*:aabbccddeeff\n";
	const struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};

	scratch_write("signatures/a.ndb", line, sizeof(line) - 1);
	assert_int_equal(mkdir("signatures/sets", 0755), 0);
	assert_int_equal(mkdir("signatures/sets/1", 0755), 0);
	assert_int_equal(symlink("sets/1", "signatures/current"), 0);
	scratch_write("signatures/sets/1/b.ndb", line, sizeof(line) - 1);
	assert_int_equal(utimensat(AT_FDCWD, "signatures/a.ndb", times, 0), 0);
	assert_int_equal(utimensat(AT_FDCWD, "signatures/sets/1/b.ndb", times, 0), 0);
}

static void assert_tried(unsigned i, const char *path)
{
	char expected[PATH_MAX + 64];

	(void)snprintf(expected, sizeof(expected), "%s/%s", scratch, path);
	assert_string_equal(tried->trials[i].path, expected);
	(void)snprintf(expected, sizeof(expected), "%s/run/scratch", scratch);
	assert_string_equal(tried->trials[i].scratch, expected);
}

static void a_trial_is_of_both_directories(void **state)
{
	struct fixture *fixture = *state;

	make_directories();
	run_trial(fixture);
	assert_int_equal(fixture->result.header.type, WIRE_READY);
	assert_int_equal(fixture->status, 0);
	assert_int_equal(tried->n, 2);
	assert_tried(0, "signatures");
	assert_tried(1, "signatures/sets/1");
	/* and the one that is part of the engine */
	assert_int_equal(fixture->result.signatures, 100 + 200 + 1);
	assert_int_equal(fixture->result.test_only, 0);
	assert_int_equal(fixture->result.newest, 1000);
}

static void a_trial_says_what_does_not_load(void **state)
{
	struct fixture *fixture = *state;

	make_directories();
	(void)snprintf(tried->bad, sizeof(tried->bad), "/sets/1");
	run_trial(fixture);
	assert_int_equal(fixture->result.header.type, WIRE_FAILED);
	assert_string_equal(fixture->result.text, "signatures: bad.ndb: Malformed database");
	assert_int_not_equal(fixture->status, 0);
}

static void a_trial_tries_no_empty_directory(void **state)
{
	struct fixture *fixture = *state;

	run_trial(fixture);
	assert_int_equal(tried->n, 0);
	assert_int_equal(fixture->result.header.type, WIRE_READY);
	assert_int_equal(fixture->result.signatures, 1);
	assert_int_equal(fixture->result.test_only, 1);
}

static void a_trial_refuses_what_an_engine_would(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(mkfifo("signatures/a.ndb", 0644), 0);
	run_trial(fixture);
	assert_int_equal(tried->n, 0);
	assert_int_equal(fixture->result.header.type, WIRE_FAILED);
	assert_non_null(strstr(fixture->result.text, "is called like a file of signatures"));
}

/* --- serving --- */

static int take_info(void *context, struct chan_message *message)
{
	struct fixture *fixture = context;

	assert_int_equal(fixture->n_databases + fixture->n_workers, 0);
	memcpy(&fixture->info, message, sizeof(fixture->info));
	return 0;
}

/* A worker makes the engine the current one, and what it loaded must be known by then. */
static int take_database(void *context, struct chan_message *message)
{
	struct fixture *fixture = context;

	assert_int_not_equal(fixture->info.header.type, 0);
	assert_int_equal(fixture->n_workers, 0);
	assert_in_range(fixture->n_databases, 0, N_ELEMENTS(fixture->databases) - 1);
	memcpy(&fixture->databases[fixture->n_databases++], message, sizeof(struct wire_database));
	return 0;
}

static int take_worker(void *context, struct chan_message *message)
{
	struct fixture *fixture = context;

	fixture->n_workers++;
	close(message->fd);
	return 0;
}

static const struct wire_plain no_contents = {
	.header = WIRE_INIT(WIRE_NO_CONTENTS, struct wire_plain)};

static void a_guard_is_told_of_each_database(void **state)
{
	static const struct chan_rule rules[] = {
		{WIRE_ENGINE_INFO, sizeof(struct wire_engine_info), false, take_info},
		{WIRE_DATABASE, sizeof(struct wire_database), false, take_database},
		{WIRE_WORKER, sizeof(struct wire_worker), true, take_worker},
		{0}};
	const struct wire_peer peer = {.header = WIRE_INIT(WIRE_PEER, struct wire_peer),
				       .role = WIRE_PEER_GUARD};
	struct fixture *fixture = *state;
	pid_t engine;
	int ends[2];

	make_directories();
	send_conf(fixture);
	assert_int_equal(chan_pair(ends), 0);
	assert_int_equal(chan_send(fixture->supervisor, &peer.header, ends[1]), 0);
	close(ends[1]);
	assert_int_equal(chan_send(ends[0], &no_contents.header, -1), 0);
	engine = begin(fixture);
	while (!fixture->n_workers)
		assert_int_equal(chan_serve(ends[0], rules, fixture), 0);
	end(fixture, engine);
	assert_int_equal(fixture->result.header.type, WIRE_READY);
	assert_int_equal(fixture->result.signatures, 3);
	assert_int_equal(fixture->result.newest, 1000);
	assert_in_range(fixture->result.memory, 1 << 20, INT64_MAX);
	assert_int_equal(tried->n, 0);

	close(ends[0]);
	assert_int_equal(fixture->info.signatures, 3);
	assert_int_equal(fixture->n_databases, 2);
	assert_string_equal(fixture->databases[0].name, "a.ndb");
	assert_string_equal(fixture->databases[1].name, "b.ndb");
	assert_int_equal(fixture->n_workers, 1);
}

/* --- living --- */

struct life {
	int guard; /* the test's end */
	pid_t engine, worker;
	int socket; /* of the worker; -1: it is closed when it comes */
	int n_pongs, n_ended;
	struct wire_note note;
};

static int take_pong(void *context, struct chan_message *message)
{
	((struct life *)context)->n_pongs++;
	return 0;
}

static int keep_note(void *context, struct chan_message *message)
{
	memcpy(&((struct life *)context)->note, message, sizeof(struct wire_note));
	return 0;
}

static int ignore(void *context, struct chan_message *message)
{
	return 0;
}

static int keep_worker(void *context, struct chan_message *message)
{
	struct life *life = context;

	life->worker = ((const struct wire_worker *)(const void *)message)->pid;
	if (life->socket < 0)
		close(message->fd);
	else
		life->socket = message->fd;
	return 0;
}

static int count_ended(void *context, struct chan_message *message)
{
	((struct life *)context)->n_ended++;
	return 0;
}

static const struct chan_rule guard_rules[] = {
	{WIRE_ENGINE_INFO, sizeof(struct wire_engine_info), false, ignore},
	{WIRE_DATABASE, sizeof(struct wire_database), false, ignore},
	{WIRE_WORKER, sizeof(struct wire_worker), true, keep_worker},
	{WIRE_WORKER_ENDED, sizeof(struct wire_worker_ended), false, count_ended},
	{0}};

/* Serves both sockets until *n is not 0. */
static void await(const struct fixture *fixture, struct life *life, const int *n)
{
	static const struct chan_rule supervisor_rules[] = {
		{WIRE_NOTE, sizeof(struct wire_note), false, keep_note},
		{WIRE_READY, sizeof(struct wire_result), false, ignore},
		{WIRE_PONG, sizeof(struct wire_plain), false, take_pong},
		{0}};
	struct pollfd fds[] = {{.fd = fixture->supervisor, .events = POLLIN},
			       {.fd = life->guard, .events = POLLIN}};

	while (!*n) {
		assert_in_range(poll(fds, 2, 30000), 1, 2);
		if (fds[0].revents)
			assert_int_equal(chan_serve(fixture->supervisor, supervisor_rules, life),
					 0);
		if (fds[1].revents)
			assert_int_equal(chan_serve(life->guard, guard_rules, life), 0);
	}
}

/* A guard, who has said nothing of contents yet. */
static void begin_life_unsaid(struct fixture *fixture, struct life *life)
{
	const struct wire_peer peer = {.header = WIRE_INIT(WIRE_PEER, struct wire_peer),
				       .role = WIRE_PEER_GUARD};
	int ends[2];

	*life = (struct life){.socket = -1};
	send_conf(fixture);
	assert_int_equal(chan_pair(ends), 0);
	assert_int_equal(chan_send(fixture->supervisor, &peer.header, ends[1]), 0);
	close(ends[1]);
	life->guard = ends[0];
	life->engine = fork();
	assert_true(life->engine >= 0);
	if (life->engine == 0) {
		close(ends[0]);
		close(fixture->supervisor);
		_exit(engine_run(fixture->engine));
	}
	close(fixture->engine);
}

static void begin_life(struct fixture *fixture, struct life *life)
{
	begin_life_unsaid(fixture, life);
	assert_int_equal(chan_send(life->guard, &no_contents.header, -1), 0);
	await(fixture, life, &life->worker);
}

static void end_life(struct fixture *fixture, struct life *life)
{
	assert_int_equal(shutdown(fixture->supervisor, SHUT_WR), 0);
	assert_int_equal(waitpid(life->engine, &fixture->status, 0), life->engine);
	assert_int_equal(fixture->status, 0);
	close(life->guard);
}

static void a_ping_is_answered(void **state)
{
	const struct wire_plain ping = {.header = WIRE_INIT(WIRE_PING, struct wire_plain)};
	struct life life;

	begin_life(*state, &life);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(
			chan_send(((struct fixture *)*state)->supervisor, &ping.header, -1), 0);
		life.n_pongs = 0;
		await(*state, &life, &life.n_pongs);
	}
	end_life(*state, &life);
}

static void a_worker_that_is_stopped_is_killed_and_replaced(void **state)
{
	struct fixture *fixture = *state;
	struct life life;
	char expected[64];
	pid_t stopped;

	begin_life(fixture, &life);
	/* The note comes before the next worker, and stays the last one: its end is not another. */
	for (unsigned i = 0; i < 3; i++) {
		stopped = life.worker;
		life.worker = 0;
		assert_int_equal(kill(stopped, SIGSTOP), 0);
		await(fixture, &life, &life.worker);
		assert_int_not_equal(life.worker, stopped);
		assert_int_equal(kill(stopped, 0), -1);
		(void)snprintf(expected, sizeof(expected), "worker %d was stopped: it is killed",
			       stopped);
		assert_string_equal(life.note.text, expected);
	}
	end_life(fixture, &life);
}

/* Asks it something over both sockets in turn: what it would do by itself it has done then. */
static void let_it_go_on(struct fixture *fixture, struct life *life)
{
	const struct wire_plain ping = {.header = WIRE_INIT(WIRE_PING, struct wire_plain)};

	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(chan_send(fixture->supervisor, &ping.header, -1), 0);
		life->n_pongs = 0;
		await(fixture, life, &life->n_pongs);
	}
	while (chan_readable(life->guard))
		assert_int_equal(chan_serve(life->guard, guard_rules, life), 0);
}

/* One without a table would never look anything up. */
static void no_worker_is_forked_before_the_guard_has_said_what_it_has_to_look_up(void **state)
{
	const struct wire_plain table = {.header = WIRE_INIT(WIRE_CONTENTS, struct wire_plain)};
	struct fixture *fixture = *state;
	struct life life;
	int memory = -1, lent;
	struct contents *contents = contents_new(1 << 16, &memory);

	begin_life_unsaid(fixture, &life);
	let_it_go_on(fixture, &life);
	assert_int_equal(life.worker, 0);
	lent = contents_lend(memory);
	assert_int_equal(chan_send(life.guard, &table.header, lent), 0);
	await(fixture, &life, &life.worker);
	end_life(fixture, &life);
	contents_free(contents);
	close(lent);
	close(memory);
}

static void what_is_no_table_is_done_without(void **state)
{
	const struct wire_plain table = {.header = WIRE_INIT(WIRE_CONTENTS, struct wire_plain)};
	struct fixture *fixture = *state;
	struct life life;
	int memory = memfd_create("test", MFD_CLOEXEC);

	begin_life_unsaid(fixture, &life);
	assert_int_equal(chan_send(life.guard, &table.header, memory), 0);
	close(memory);
	await(fixture, &life, &life.worker);
	let_it_go_on(fixture, &life);
	assert_non_null(strstr(life.note.text, "the content cache cannot be used"));
	end_life(fixture, &life);
}

static void a_worker_that_is_to_be_replaced_goes_after_the_other_has_come(void **state)
{
	struct wire_worker replace = {.header = WIRE_INIT(WIRE_REPLACE_WORKER, struct wire_worker)};
	struct fixture *fixture = *state;
	struct life life;
	int socket;

	begin_life_unsaid(fixture, &life);
	life.socket = 0;
	assert_int_equal(chan_send(life.guard, &no_contents.header, -1), 0);
	await(fixture, &life, &life.worker);
	for (unsigned i = 0; i < 3; i++) {
		replace.pid = life.worker;
		socket = life.socket;
		life.worker = life.n_ended = 0;
		assert_int_equal(chan_send(life.guard, &replace.header, -1), 0);
		/* twice is once */
		assert_int_equal(chan_send(life.guard, &replace.header, -1), 0);
		await(fixture, &life, &life.worker);
		assert_int_not_equal(life.worker, replace.pid);
		assert_int_equal(kill(replace.pid, 0), 0);
		assert_int_equal(life.n_ended, 0);

		close(socket);
		socket = life.worker;
		await(fixture, &life, &life.n_ended);
		let_it_go_on(fixture, &life);
		assert_int_equal(life.worker, socket);
		assert_int_equal(life.n_ended, 1);
	}
	/* it has no such worker */
	replace.pid = getpid();
	assert_int_equal(chan_send(life.guard, &replace.header, -1), 0);
	socket = life.worker;
	let_it_go_on(fixture, &life);
	assert_int_equal(life.worker, socket);
	close(life.socket);
	end_life(fixture, &life);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_trial_is_of_both_directories),
		TEST(a_trial_says_what_does_not_load),
		TEST(a_trial_tries_no_empty_directory),
		TEST(a_trial_refuses_what_an_engine_would),
		TEST(a_guard_is_told_of_each_database),
		TEST(a_ping_is_answered),
		TEST(a_worker_that_is_stopped_is_killed_and_replaced),
		TEST(no_worker_is_forked_before_the_guard_has_said_what_it_has_to_look_up),
		TEST(what_is_no_table_is_done_without),
		TEST(a_worker_that_is_to_be_replaced_goes_after_the_other_has_come),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("engine", tests, scratch_setup, scratch_teardown);
}
