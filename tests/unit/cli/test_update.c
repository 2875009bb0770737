/* SPDX-License-Identifier: GPL-2.0-only */
/* The verb, with a guard that a child plays. */
#include "../../../src/cli/cli.h"
#include "../../../src/common/chan.h"
#include "../support/scratch.h"

#include <errno.h>
#include <holdfast/control.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

static struct cli cli = {.config = "holdfast.conf"};
static char said[65536]; /* on both standard streams */
static pid_t guard;

/* Runs the verb with words behind it. */
static int update(const char *first, const char *second)
{
	char *argv[] = {(char *)"holdfast", (char *)first, (char *)second, NULL};
	int error = dup(STDERR_FILENO), output = dup(STDOUT_FILENO), code;
	int file = open("said", O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	ssize_t n;

	(void)fflush(stdout);
	(void)dup2(file, STDERR_FILENO);
	(void)dup2(file, STDOUT_FILENO);
	code = verb_update(&cli, first ? second ? 3 : 2 : 1, argv);
	(void)fflush(stdout);
	(void)dup2(error, STDERR_FILENO);
	(void)dup2(output, STDOUT_FILENO);
	close(error);
	close(output);
	n = pread(file, said, sizeof(said) - 1, 0);
	said[n > 0 ? n : 0] = '\0';
	close(file);
	return code;
}

static void expect(const char *text)
{
	if (!strstr(said, text))
		fail_msg("'%s' is not in:\n%s", text, said);
}

static void send_item(int fd, uint32_t result)
{
	struct wire_update_item item = {
		.header = WIRE_INIT(WIRE_UPDATE_ITEM, struct wire_update_item),
		.result = result,
		.version_after = 7,
		.name = "daily",
	};

	(void)chan_send(fd, &item.header, -1);
}

static void send_done(int fd, uint32_t result)
{
	struct wire_update_done done = {
		.header = WIRE_INIT(WIRE_UPDATE_DONE, struct wire_update_done),
		.result = result,
		.requests = 3,
		.published = result == WIRE_UPDATE_UPDATED,
	};

	(void)chan_send(fd, &done.header, -1);
}

/* Where it listens. */
static int listen_as_guard(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "run/control"};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

/* A guard that takes one request for an update, answers as it is told to, and ends; the connection
 * then ends too, but for one that stays. */
static void with_guard(void (*answer)(int fd), bool stays)
{
	int listener = listen_as_guard();

	guard = fork();
	assert_true(guard >= 0);
	if (guard == 0) {
		struct wire_plain request;
		int fd;

		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		fd = accept(listener, NULL, NULL);
		if (recv(fd, &request, sizeof(request), 0) == sizeof(request) &&
		    request.header.type == WIRE_CONTROL_UPDATE)
			answer(fd);
		if (stays)
			(void)pause();
		_exit(0);
	}
	close(listener);
}

static int setup(void **state)
{
	char config[3 * PATH_MAX];

	(void)snprintf(config, sizeof(config),
		       "[service]\nuser = nobody\ncontrol-group = 0\nrun-dir = %s/run\n"
		       "state-dir = %s/state\n[on-access]\ninclude = /srv\n"
		       "[signatures]\nmirror = http://127.0.0.1:1\n",
		       scratch, scratch);
	scratch_write("holdfast.conf", config, strlen(config));
	guard = 0;
	cli.json = false;
	return mkdir("run", 0755);
}

static int teardown(void **state)
{
	if (guard > 0) {
		(void)kill(guard, SIGKILL);
		(void)waitpid(guard, NULL, 0);
	}
	return nftw("run", scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void answer_updated(int fd)
{
	send_item(fd, WIRE_UPDATE_UPDATED);
	send_done(fd, WIRE_UPDATE_UPDATED);
}

static void answer_cool_down(int fd)
{
	send_done(fd, WIRE_UPDATE_COOL_DOWN);
}

static void answer_half(int fd)
{
	send_item(fd, WIRE_UPDATE_UPDATED);
}

static void answer_nonsense(int fd)
{
	send_item(fd, WIRE_UPDATE_RESULT_COUNT);
	send_done(fd, WIRE_UPDATE_UPDATED);
}

/* The control socket is for more than this: it need not be closed. */
static void the_last_message_is_the_end(void **state)
{
	with_guard(answer_updated, true);
	assert_int_equal(update(NULL, NULL), 0);
	expect("daily      7, 0 B\nupdated: 3 requests, 0 B received\n"
	       "the service loads the new signatures now\n");
}

static void the_exit_code_tells_of_a_cool_down(void **state)
{
	with_guard(answer_cool_down, false);
	assert_int_equal(update("--quiet", NULL), 3);
	assert_string_equal(said, "");
}

static void an_end_without_a_result_is_a_failure(void **state)
{
	with_guard(answer_half, false);
	assert_int_equal(update(NULL, NULL), 2);
	expect("holdfast: update: the fetcher ended unexpectedly; the log says why\n");
}

static void what_makes_no_sense_is_a_failure(void **state)
{
	with_guard(answer_nonsense, true);
	assert_int_equal(update("--json", NULL), 2);
	expect("\"error\": \"the fetcher ended unexpectedly; the log says why\"");
	expect("\"exit_code\": 2");
}

/* Who may neither be another user nor is that user. */
static void without_the_service_not_everybody_may(void **state)
{
	pid_t pid;
	int status;

	if (geteuid() != 0) {
		print_message("skipped: not root, who can become somebody\n");
		skip();
	}
	pid = fork();
	if (pid == 0) {
		scratch_write("said", "", 0);
		(void)chmod("said", 0666);
		if (setgid(1) < 0 || setuid(1) < 0)
			_exit(99);
		_exit(update(NULL, NULL) == 2 && strstr(said, "without the service only root, or "
							      "user nobody, may fetch signatures")
			      ? 0
			      : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	(void)unlink("said");
	assert_int_equal(status, 0);
}

/* A mirror is kept without the service, even where one runs. */
static void a_mirror_must_be_a_directory_that_can_be_made(void **state)
{
	with_guard(answer_updated, true);
	assert_int_equal(update("--mirror-to", "no/such/directory"), 2);
	expect("update: cannot make the directory no/such/directory: No such file or directory\n");
	assert_int_equal(update("--mirror-to", ""), 2);
	expect("--mirror-to: no directory\n");
	if (geteuid() != 0)
		return;
	assert_int_equal(update("--mirror-to", "run"), 2);
	expect("the service's user, nobody, may not write to ");
	expect("/run, or not reach it: name a directory that belongs to it");
	assert_int_equal(update("--mirror-to", "holdfast.conf"), 2);
	expect("holdfast.conf: Not a directory\n");
}

static void an_operand_is_refused(void **state)
{
	assert_int_equal(update("daily", NULL), 2);
	expect("usage: holdfast update");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_last_message_is_the_end),
		TEST(the_exit_code_tells_of_a_cool_down),
		TEST(an_end_without_a_result_is_a_failure),
		TEST(what_makes_no_sense_is_a_failure),
		TEST(without_the_service_not_everybody_may),
		TEST(a_mirror_must_be_a_directory_that_can_be_made),
		TEST(an_operand_is_refused),
	};

	return cmocka_run_group_tests_name("update", tests, scratch_setup, scratch_teardown);
}
