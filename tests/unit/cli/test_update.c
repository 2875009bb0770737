/* SPDX-License-Identifier: GPL-2.0-only */
/* The verb, with a guard, or a fetcher of its own, that a child plays. */
#include "../../../src/cli/cli.h"
#include "../../../src/cli/launch.h"
#include "../../../src/common/chan.h"
#include "../support/scratch.h"

#include <errno.h>
#include <holdfast/control.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <syslog.h>

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

/* --- a fetcher of our own --- */

struct asked {
	struct wire_fetch fetch;
	int told;
};

static int take_conf(void *context, struct chan_message *message)
{
	return close(message->fd);
}

static int take_fetch(void *context, struct chan_message *message)
{
	memcpy(&((struct asked *)context)->fetch, message, sizeof(struct wire_fetch));
	return 0;
}

static int take_peer(void *context, struct chan_message *message)
{
	((struct asked *)context)->told = message->fd;
	return 0;
}

static const struct chan_rule fetcher_rules[] = {
	{WIRE_CONFIG, sizeof(struct wire_plain), true, take_conf},
	{WIRE_FETCH, sizeof(struct wire_fetch), false, take_fetch},
	{WIRE_PEER, sizeof(struct wire_peer), true, take_peer},
	{0},
};

static void send_note(int channel, const char *text)
{
	const struct wire_note note = wire_note_make(LOG_WARNING, text);

	(void)chan_send(channel, &note.header, -1);
}

static void send_pong(int channel)
{
	const struct wire_plain pong = {.header = WIRE_INIT(WIRE_PONG, struct wire_plain)};

	(void)chan_send(channel, &pong.header, -1);
}

static bool was_launched;

pid_t __wrap_launch_start(const char *directory, const char *name,
			  int (*confine)(const void *context), const void *context,
			  int *ret_channel);
pid_t __wrap_launch_start(const char *directory, const char *name,
			  int (*confine)(const void *context), const void *context,
			  int *ret_channel)
{
	struct asked asked = {.told = -1};
	int ends[2];
	pid_t pid;

	was_launched = true;
	assert_string_equal(name, "holdfast-fetch");
	assert_int_equal(chan_pair(ends), 0);
	pid = fork();
	if (pid == 0) {
		const struct wire_fetched fetched = {
			.header = WIRE_INIT(WIRE_FETCHED, struct wire_fetched)};

		close(ends[0]);
		while (asked.told < 0)
			if (chan_serve(ends[1], fetcher_rules, &asked) < 0)
				_exit(1);
		send_pong(ends[1]);
		send_note(ends[1], "said before it ended");
		if (*asked.fetch.mirror_to)
			send_note(ends[1], asked.fetch.mirror_to);
		send_item(asked.told, WIRE_UPDATE_UPDATED);
		send_done(asked.told, WIRE_UPDATE_UPDATED);
		close(asked.told);
		send_pong(ends[1]);
		send_note(ends[1], "said in the end");
		(void)chan_send(ends[1], &fetched.header, -1);
		_exit(0);
	}
	close(ends[1]);
	*ret_channel = ends[0];
	return pid;
}

static void configure(const char *signatures)
{
	char config[3 * PATH_MAX];

	(void)snprintf(config, sizeof(config),
		       "[service]\nuser = nobody\ncontrol-group = 0\nrun-dir = %s/run\n"
		       "state-dir = %s/state\n[on-access]\ninclude = /srv\n%s",
		       scratch, scratch, signatures);
	scratch_write("holdfast.conf", config, strlen(config));
}

static int setup(void **state)
{
	configure("[signatures]\nmirror = http://127.0.0.1:1\n");
	guard = 0;
	was_launched = false;
	cli.json = false;
	return mkdir("run", 0755);
}

static int teardown(void **state)
{
	if (guard > 0) {
		(void)kill(guard, SIGKILL);
		(void)waitpid(guard, NULL, 0);
	}
	/* what a fetcher of our own needs */
	(void)nftw("state", scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
	(void)nftw("m", scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
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

static void only_root(void)
{
	if (geteuid() == 0)
		return;
	print_message("skipped: not root\n");
	skip();
}

/* It says now and then that it is alive. */
static void all_that_our_own_fetcher_says_is_heard(void **state)
{
	only_root();
	assert_int_equal(update(NULL, NULL), 0);
	assert_true(was_launched);
	assert_string_equal(said, "daily      7, 0 B\nholdfast: said before it ended\n"
				  "holdfast: said in the end\n"
				  "updated: 3 requests, 0 B received\n");
}

static void where_nothing_is_configured_nothing_is_made(void **state)
{
	static const char *const mirrors[] = {NULL, "m", "no/such/directory", "holdfast.conf"};

	only_root();
	configure("");
	for (size_t i = 0; i < N_ELEMENTS(mirrors); i++) {
		assert_int_equal(update(mirrors[i] ? "--mirror-to" : NULL, mirrors[i]), 2);
		assert_string_equal(said, "holdfast: update: [signatures] names neither mirror nor "
					  "custom: there is nowhere to fetch from\n");
		assert_int_equal(access("state", F_OK), -1);
		assert_int_equal(access("m", F_OK), -1);
	}
	/* One of them is enough. */
	configure("[signatures]\ncustom = http://127.0.0.1:1/local.ndb\n");
	assert_int_equal(update(NULL, NULL), 0);
	assert_true(was_launched);
}

static void expect_own_directory_refused(const char *mirror_to)
{
	assert_int_equal(update("--mirror-to", mirror_to), 2);
	expect(" is the directory of signatures: what a mirror has would be loaded too; name "
	       "another directory\n");
	expect(mirror_to);
	assert_false(was_launched);
}

static void a_mirror_is_not_the_directory_of_signatures(void **state)
{
	char path[PATH_MAX + 16], config[2 * PATH_MAX];

	only_root();
	expect_own_directory_refused("state/signatures");
	expect_own_directory_refused("state/signatures/");
	expect_own_directory_refused("run/../state/./signatures");
	(void)snprintf(path, sizeof(path), "%s/state/signatures", scratch);
	expect_own_directory_refused(path);
	assert_int_equal(symlink("../state/signatures", "run/link"), 0);
	expect_own_directory_refused("run/link");
	(void)snprintf(config, sizeof(config),
		       "[engine]\nsignatures = %s/run/link\n[signatures]\n"
		       "mirror = http://127.0.0.1:1\n",
		       scratch);
	configure(config);
	expect_own_directory_refused("state/signatures");
	(void)snprintf(config, sizeof(config),
		       "[engine]\nsignatures = %s/run\n[signatures]\n"
		       "mirror = http://127.0.0.1:1\n",
		       scratch);
	configure(config);
	expect_own_directory_refused("run");
	/* What is beside it is not. */
	assert_int_equal(update("--mirror-to", "m"), 0);
	assert_true(was_launched);
	(void)snprintf(path, sizeof(path), "holdfast: %s/m\n", scratch);
	expect(path);
}

/* Root makes no directory where a link of somebody else leads. */
static void links_of_others_are_not_followed(void **state)
{
	static const char *const ways[] = {"run/link", "run/link/m", "run/own", "run/own/m",
					   "run/../run/link/m"};
	const struct passwd *nobody = getpwnam("nobody");
	char path[PATH_MAX + 16];

	only_root();
	assert_non_null(nobody);
	assert_int_equal(mkdir("run/theirs", 0755), 0);
	assert_int_equal(symlink("theirs", "run/link"), 0);
	assert_int_equal(symlink("link", "run/own"), 0);
	assert_int_equal(lchown("run/link", nobody->pw_uid, nobody->pw_gid), 0);
	for (size_t i = 0; i < N_ELEMENTS(ways); i++)
		for (int absolute = 0; absolute < 2; absolute++) {
			(void)snprintf(path, sizeof(path), "%s%s%s", absolute ? scratch : "",
				       absolute ? "/" : "", ways[i]);
			assert_int_equal(update("--mirror-to", path), 2);
			expect("run/link is a symbolic link that does not belong to root: name the "
			       "path it stands for\n");
			assert_int_equal(access("run/theirs/m", F_OK), -1);
		}
	assert_false(was_launched);
	/* Those of root are. */
	assert_int_equal(lchown("run/link", 0, 0), 0);
	assert_int_equal(update("--mirror-to", "run/own/m"), 0);
	(void)snprintf(path, sizeof(path), "holdfast: %s/run/theirs/m\n", scratch);
	expect(path);
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
		TEST(all_that_our_own_fetcher_says_is_heard),
		TEST(where_nothing_is_configured_nothing_is_made),
		TEST(a_mirror_is_not_the_directory_of_signatures),
		TEST(links_of_others_are_not_followed),
		TEST(an_operand_is_refused),
	};

	return cmocka_run_group_tests_name("update", tests, scratch_setup, scratch_teardown);
}
