/* SPDX-License-Identifier: GPL-2.0-only */
/* A log file that is a pipe stands for a log daemon: it takes lines when the test reads. */
#include "../../../src/common/chan.h"
#include "../../../src/common/outbox.h"
#include "../../../src/reporter/reporter.h"
#include "../support/conf_fixture.h"
#include "../support/scratch.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <syslog.h>

/* As many as the guard keeps. */
#define KEPT_MAX 1024

/* More than the reporter and all pipes and sockets on the way take. */
#define MANY 900

/* What the pipe takes, and the most that a line of the guard is. */
#define PIPE_SIZE 4096
#define LINE_SIZE ((int)sizeof("Thu Dec 15 15:42:03 2022 -> 899: S FOUND"))

#define PATIENCE_MS 30000

struct fixture {
	struct conf *conf;
	int supervisor; /* the test's end */
	pid_t pid;
	struct outbox *guard;
	int guard_fd;			     /* of the outbox */
	unsigned n_pongs, n_ready, n_failed; /* heard and not yet asked for */
	char problem[WIRE_TEXT_MAX];
	char buffer[1 << 20]; /* what came through the pipe and was not looked at */
	size_t length;
};

/* --- the process --- */

unsigned __wrap_alarm(unsigned seconds);

/* A moment is enough where nothing is read on purpose. */
unsigned __wrap_alarm(unsigned seconds)
{
	const struct itimerval soon = {.it_value.tv_usec = 100000};

	return (unsigned)setitimer(ITIMER_REAL, &soon, NULL);
}

static int setup(void **state)
{
	static struct fixture fixture;
	int ends[2], null;

	fixture = (struct fixture){.conf = conf_new(), .guard = outbox_new(KEPT_MAX)};
	*state = &fixture;
	if (!fixture.conf || !fixture.guard || chan_pair(ends) < 0 || mkfifo("pipe", 0644) < 0)
		return -1;
	conf_fixture_set(fixture.conf, "alerts", "syslog", "no");
	fixture.supervisor = ends[0];
	fixture.pid = fork();
	if (fixture.pid == 0) {
		null = open("/dev/null", O_WRONLY | O_CLOEXEC);
		(void)dup2(null, STDERR_FILENO);
		close(ends[0]);
		_exit(reporter_run(ends[1]));
	}
	close(ends[1]);
	return fixture.pid < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	if (fixture->pid) {
		(void)kill(fixture->pid, SIGKILL);
		(void)waitpid(fixture->pid, NULL, 0);
	}
	if (fixture->supervisor >= 0)
		close(fixture->supervisor);
	outbox_free(fixture->guard);
	conf_free(fixture->conf);
	(void)unlink("log");
	(void)unlink("other");
	return unlink("pipe");
}

/* --- what the reporter says --- */

static int take_pong(void *context, struct chan_message *message)
{
	((struct fixture *)context)->n_pongs++;
	return 0;
}

static int take_result(void *context, struct chan_message *message)
{
	const struct wire_result *result = (const void *)message;
	struct fixture *fixture = context;

	if (result->header.type == WIRE_READY)
		fixture->n_ready++;
	else
		fixture->n_failed++;
	memcpy(fixture->problem, result->text, sizeof(fixture->problem));
	return 0;
}

static void await(struct fixture *fixture, unsigned *n)
{
	static const struct chan_rule rules[] = {
		{WIRE_PONG, sizeof(struct wire_plain), false, take_pong},
		{WIRE_READY, sizeof(struct wire_result), false, take_result},
		{WIRE_FAILED, sizeof(struct wire_result), false, take_result},
		{0}};
	struct pollfd ready = {.fd = fixture->supervisor, .events = POLLIN};

	while (!*n) {
		assert_int_equal(poll(&ready, 1, PATIENCE_MS), 1);
		assert_int_equal(chan_serve(fixture->supervisor, rules, fixture), 0);
	}
	(*n)--;
}

/* --- what is said to it --- */

static void send_plain(struct fixture *fixture, enum wire_type type)
{
	const struct wire_plain message = {.header = WIRE_INIT(type, struct wire_plain)};

	assert_int_equal(chan_send(fixture->supervisor, &message.header, -1), 0);
}

static void assert_alive(struct fixture *fixture)
{
	send_plain(fixture, WIRE_PING);
	await(fixture, &fixture->n_pongs);
}

static void send_conf(struct fixture *fixture, const char *name)
{
	const struct wire_plain message = {.header = WIRE_INIT(WIRE_CONFIG, struct wire_plain)};
	char path[PATH_MAX + 16];
	int snapshot;

	(void)snprintf(path, sizeof(path), "%s/%s", scratch, name);
	conf_fixture_set(fixture->conf, "alerts", "log-file", path);
	snapshot = conf_snapshot(fixture->conf);
	assert_true(snapshot >= 0);
	assert_int_equal(chan_send(fixture->supervisor, &message.header, snapshot), 0);
	close(snapshot);
}

static void connect_guard(struct fixture *fixture)
{
	const struct wire_peer peer = {.header = WIRE_INIT(WIRE_PEER, struct wire_peer),
				       .role = WIRE_PEER_GUARD};
	int ends[2];

	assert_int_equal(chan_pair(ends), 0);
	assert_int_equal(chan_send(fixture->supervisor, &peer.header, ends[1]), 0);
	close(ends[1]);
	outbox_connect(fixture->guard, ends[0]);
	fixture->guard_fd = ends[0];
}

static void find(struct fixture *fixture, unsigned number)
{
	struct wire_found found = {.header = WIRE_INIT(WIRE_FOUND, struct wire_found)};

	(void)snprintf(found.path, sizeof(found.path), "%u", number);
	(void)snprintf(found.signature, sizeof(found.signature), "S");
	outbox_push(fixture->guard, &found.header);
}

/* As the supervisor says it, who sends what its channel takes. */
static void say(struct fixture *fixture, const char *text)
{
	const struct wire_note note = wire_note_make(LOG_NOTICE, text);

	assert_int_equal(chan_send(fixture->supervisor, &note.header, -1), 0);
}

/* --- what it writes --- */

static int open_pipe(void)
{
	int fd = open("pipe", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_SETPIPE_SZ, PIPE_SIZE), PIPE_SIZE);
	return fd;
}

/* The text of the next line of a file or pipe; the guard goes on meanwhile. */
static const char *next_line(struct fixture *fixture, int fd)
{
	static char line[4096];
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	char *end;
	size_t length;
	ssize_t n;

	while (!(end = memchr(fixture->buffer, '\n', fixture->length))) {
		(void)outbox_flush(fixture->guard);
		assert_int_equal(poll(&ready, 1, PATIENCE_MS), 1);
		n = read(fd, fixture->buffer + fixture->length,
			 sizeof(fixture->buffer) - fixture->length);
		assert_true(n >= 0);
		if (n == 0)
			return NULL;
		fixture->length += (size_t)n;
	}
	length = (size_t)(end - fixture->buffer);
	assert_true(length < sizeof(line));
	memcpy(line, fixture->buffer, length);
	line[length] = '\0';
	fixture->length -= length + 1;
	memmove(fixture->buffer, end + 1, fixture->length);
	end = strstr(line, " -> ");
	assert_non_null(end);
	return end + 4;
}

static void assert_found(struct fixture *fixture, int fd, unsigned first, unsigned after)
{
	char expected[64];

	for (unsigned i = first; i < after; i++) {
		(void)snprintf(expected, sizeof(expected), "%u: S FOUND", i);
		assert_string_equal(next_line(fixture, fd), expected);
	}
}

static int end(struct fixture *fixture)
{
	int status;

	close(fixture->supervisor);
	fixture->supervisor = -1;
	outbox_connect(fixture->guard, -1);
	assert_int_equal(waitpid(fixture->pid, &status, 0), fixture->pid);
	fixture->pid = 0;
	return status;
}

/* Its log file is a pipe that is full and that nobody reads; the guard has said more than fits. */
static int begin_full(struct fixture *fixture)
{
	int fd, in_pipe;
	size_t waiting;

	send_conf(fixture, "pipe");
	fd = open_pipe();
	await(fixture, &fixture->n_ready);
	connect_guard(fixture);
	for (unsigned i = 0; i < MANY; i++)
		find(fixture, i);
	/* Until the writer waits, and a round of the loop makes no room for the guard. */
	do {
		waiting = outbox_waiting(fixture->guard);
		assert_alive(fixture);
		(void)outbox_flush(fixture->guard);
		assert_int_equal(ioctl(fd, FIONREAD, &in_pipe), 0);
	} while (outbox_waiting(fixture->guard) < waiting || in_pipe + LINE_SIZE <= PIPE_SIZE);
	assert_in_range(waiting, 1, MANY - 1);
	return fd;
}

/* --- tests --- */

static void a_log_file_that_cannot_be_opened_yet_keeps_nobody_waiting(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	send_conf(fixture, "pipe"); /* opening it waits for a reader */
	assert_alive(fixture);
	assert_alive(fixture);
	assert_int_equal(fixture->n_ready, 0);
	fd = open_pipe();
	await(fixture, &fixture->n_ready);
	say(fixture, "a");
	assert_string_equal(next_line(fixture, fd), "a");
	close(fd);
}

static void a_log_that_nobody_takes_loses_no_finding(void **state)
{
	struct fixture *fixture = *state;
	int fd = begin_full(fixture);

	/* What is too much waits with the guard, who may drop what is less important. */
	for (unsigned i = 0; i < 100; i++)
		assert_alive(fixture);
	assert_int_equal(outbox_flush(fixture->guard), -EAGAIN);

	assert_found(fixture, fd, 0, MANY);
	say(fixture, "the end"); /* nothing was dropped */
	assert_string_equal(next_line(fixture, fd), "the end");
	close(fd);
}

static void notes_go_before_findings_and_are_counted(void **state)
{
	struct fixture *fixture = *state;
	int fd = begin_full(fixture);
	unsigned n_found = 0, n_notes = 0;
	char expected[128];
	const char *line;

	for (unsigned i = 0; i < 2 * MANY; i++) {
		say(fixture, "a note");
		assert_alive(fixture);
	}
	while (!strstr(line = next_line(fixture, fd), "were dropped")) {
		(void)snprintf(expected, sizeof(expected), "%u: S FOUND", n_found);
		if (strcmp(line, expected) == 0)
			n_found++;
		else
			n_notes++;
	}
	(void)snprintf(expected, sizeof(expected),
		       "%u line(s) before this one were dropped, 0 of them FOUND lines",
		       2 * MANY - n_notes);
	assert_int_equal(strncmp(line, expected, strlen(expected)), 0);
	assert_in_range(n_notes, 1, 2 * MANY - 1);
	assert_found(fixture, fd, n_found, MANY);
	close(fd);
}

static void a_configuration_divides_the_lines(void **state)
{
	struct fixture *fixture = *state;
	int pipe = begin_full(fixture), log;
	const char *line;

	send_conf(fixture, "log");
	say(fixture, "to the new one");
	assert_alive(fixture);
	assert_int_equal(fixture->n_ready, 0);
	/* of the guard, those that were heard before it */
	while ((line = next_line(fixture, pipe)))
		assert_null(strstr(line, "to the new one"));
	await(fixture, &fixture->n_ready);
	close(pipe);
	send_plain(fixture, WIRE_STOPPING);
	assert_int_equal(end(fixture), 0);
	log = open("log", O_RDONLY | O_CLOEXEC);
	assert_string_equal(next_line(fixture, log), "to the new one");
	close(log);
}

static void a_log_file_that_cannot_be_written_is_refused(void **state)
{
	struct fixture *fixture = *state;
	int log;

	send_conf(fixture, "log");
	await(fixture, &fixture->n_ready);
	send_conf(fixture, "nowhere/log");
	await(fixture, &fixture->n_failed);
	assert_non_null(strstr(fixture->problem, "nowhere/log"));
	say(fixture, "to the old one");
	send_plain(fixture, WIRE_STOPPING);
	assert_int_equal(end(fixture), 0);
	log = open("log", O_RDONLY | O_CLOEXEC);
	assert_string_equal(next_line(fixture, log), "to the old one");
	assert_null(next_line(fixture, log));
	close(log);
}

/* Until its main thread waits for somebody to say something. */
static void await_idle(const struct fixture *fixture)
{
	char path[64], state = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", fixture->pid);
	while (state != 'S') {
		FILE *stat = fopen(path, "re");

		assert_non_null(stat);
		assert_int_equal(fscanf(stat, "%*d (%*[^)]) %c", &state), 1);
		(void)fclose(stat);
		(void)sched_yield();
	}
}

static void what_a_guard_said_stands_before_what_is_said_of_it(void **state)
{
	struct fixture *fixture = *state;
	int log, status;

	send_conf(fixture, "log");
	await(fixture, &fixture->n_ready);
	connect_guard(fixture);
	assert_alive(fixture);
	/* So that it finds both. */
	await_idle(fixture);
	assert_int_equal(kill(fixture->pid, SIGSTOP), 0);
	assert_int_equal(waitpid(fixture->pid, &status, WUNTRACED), fixture->pid);
	say(fixture, "it is gone");
	for (unsigned i = 0; i < 10; i++)
		find(fixture, i);
	assert_int_equal(outbox_waiting(fixture->guard), 0);
	outbox_connect(fixture->guard, -1);
	assert_int_equal(kill(fixture->pid, SIGCONT), 0);
	send_plain(fixture, WIRE_STOPPING);
	assert_int_equal(end(fixture), 0);
	log = open("log", O_RDONLY | O_CLOEXEC);
	assert_found(fixture, log, 0, 10);
	assert_string_equal(next_line(fixture, log), "it is gone");
	close(log);
}

static void what_a_guard_said_is_heard_before_the_next(void **state)
{
	struct fixture *fixture = *state;
	unsigned n_sent;
	int fd = begin_full(fixture);

	n_sent = MANY - (unsigned)outbox_waiting(fixture->guard);
	/* Its socket is closed with what was not read in it; the rest is for the next. */
	connect_guard(fixture);
	assert_alive(fixture);
	assert_found(fixture, fd, 0, n_sent);
	assert_found(fixture, fd, n_sent, MANY);
	close(fd);
}

static void what_is_queued_is_written_before_the_end(void **state)
{
	struct fixture *fixture = *state;
	int fd = begin_full(fixture);
	unsigned n_sent = MANY - (unsigned)outbox_waiting(fixture->guard);

	send_plain(fixture, WIRE_STOPPING);
	close(fixture->supervisor);
	fixture->supervisor = -1;
	outbox_connect(fixture->guard, -1);
	assert_found(fixture, fd, 0, n_sent);
	assert_null(next_line(fixture, fd));
	close(fd);
	assert_int_equal(end(fixture), 0);
}

static void an_end_that_was_not_announced_is_told(void **state)
{
	struct fixture *fixture = *state;
	int log;

	send_conf(fixture, "log");
	await(fixture, &fixture->n_ready);
	say(fixture, "a");
	assert_int_equal(end(fixture), 0);
	log = open("log", O_RDONLY | O_CLOEXEC);
	assert_string_equal(next_line(fixture, log), "a");
	assert_non_null(strstr(next_line(fixture, log), "holdfastd is gone"));
	assert_null(next_line(fixture, log));
	close(log);
}

static void a_log_that_is_never_taken_does_not_keep_it_from_ending(void **state)
{
	struct fixture *fixture = *state;
	int fd = begin_full(fixture), status;

	send_plain(fixture, WIRE_STOPPING);
	status = end(fixture);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGALRM);
	close(fd);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_log_file_that_cannot_be_opened_yet_keeps_nobody_waiting),
		TEST(a_log_that_nobody_takes_loses_no_finding),
		TEST(notes_go_before_findings_and_are_counted),
		TEST(a_configuration_divides_the_lines),
		TEST(a_log_file_that_cannot_be_written_is_refused),
		TEST(what_a_guard_said_stands_before_what_is_said_of_it),
		TEST(what_a_guard_said_is_heard_before_the_next),
		TEST(what_is_queued_is_written_before_the_end),
		TEST(an_end_that_was_not_announced_is_told),
		TEST(a_log_that_is_never_taken_does_not_keep_it_from_ending),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("reporter", tests, scratch_setup, scratch_teardown);
}
