/* SPDX-License-Identifier: GPL-2.0-only */
/* A scan of real files, with threads, and a guard that is a thread of the test. */
#include "../../../src/cli/crew.h"
#include "../../../src/common/chan.h"
#include "../support/scratch.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#define FILES 100

/* What the guard is to do. */
struct guard {
	atomic_uint scans;	 /* taken */
	atomic_uint connections; /* made */
	unsigned dies_after;	 /* scans on each connection; 0: never */
	unsigned refuses_after;	 /* connections; 0: never */
	unsigned drops_beyond;	 /* connections at once, unanswered; 0: never */
	unsigned drops_first;	 /* connections, unanswered */
	bool is_silent;		 /* on its first connection */
	struct wire_verdict why;
};

struct fixture {
	struct guard guard;
	struct show *show;
	struct crew_options options;
	FILE *out, *err;
	char *out_text, *err_text;
	size_t out_size, err_size;
};

static struct fixture fixture;

/* --- the guard --- */

static atomic_uint guards; /* threads that run */

static void guard_answer(int fd, uint64_t id, const struct wire_verdict *verdict)
{
	struct wire_verdict message = *verdict;

	message.header = (struct wire_header)WIRE_INIT(WIRE_VERDICT, struct wire_verdict);
	message.id = id;
	(void)send(fd, &message, sizeof(message), MSG_NOSIGNAL);
}

static int guard_receive(int fd, struct wire_scan *scan, int *ret_file)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov = {scan, sizeof(*scan)};
	struct msghdr message = {.msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};
	ssize_t n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);

	*ret_file = -1;
	if (n > 0 && CMSG_FIRSTHDR(&message))
		memcpy(ret_file, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(*ret_file));
	return n > 0 ? 0 : -1;
}

static void *guard_serve(void *context)
{
	int fd = (int)(intptr_t)context, file;
	unsigned n = 0;
	struct wire_scan scan;

	while (guard_receive(fd, &scan, &file) == 0) {
		struct wire_verdict verdict = {.verdict = VERDICT_CLEAN};
		char content[8] = "";

		if (scan.header.type == WIRE_SCAN_WHY) {
			close(file);
			guard_answer(fd, scan.id, &fixture.guard.why);
			continue;
		}
		atomic_fetch_add(&fixture.guard.scans, 1);
		if (pread(file, content, sizeof(content) - 1, 0) > 0 && *content == 'X')
			verdict.verdict = VERDICT_INFECTED;
		close(file);
		if (*content == 'P')
			break;
		if (fixture.guard.is_silent && atomic_load(&fixture.guard.connections) == 1)
			continue;
		if (fixture.guard.dies_after && ++n > fixture.guard.dies_after)
			break;
		guard_answer(fd, scan.id, &verdict);
	}
	close(fd);
	atomic_fetch_sub(&guards, 1);
	return NULL;
}

static int guard_connect(void *context, int lost, char *problem, size_t problem_size)
{
	struct guard *guard = context;
	pthread_t thread;
	int ends[2];
	bool is_dropped;

	if (guard->refuses_after && atomic_load(&guard->connections) >= guard->refuses_after) {
		(void)snprintf(problem, problem_size, "nobody is there");
		return -ECONNREFUSED;
	}
	atomic_fetch_add(&guard->connections, 1);
	if (chan_pair(ends) < 0)
		return -EMFILE;
	is_dropped = atomic_load(&guard->connections) <= guard->drops_first;
	is_dropped |= guard->drops_beyond && atomic_load(&guards) >= guard->drops_beyond;
	if (is_dropped) {
		close(ends[1]);
		return ends[0];
	}
	atomic_fetch_add(&guards, 1);
	if (pthread_create(&thread, NULL, guard_serve, (void *)(intptr_t)ends[1]) != 0)
		return -EMFILE;
	(void)pthread_detach(thread);
	return ends[0];
}

/* --- opening files --- */

static atomic_int opens_to_wait; /* opens that wait for so many others */
static atomic_int opens_waiting;
static atomic_int refusals; /* of the file called "refused" */

int __real_walk_open(const struct walk_item *item);
int __wrap_walk_open(const struct walk_item *item);

int __wrap_walk_open(const struct walk_item *item)
{
	if (!strcmp(item->name, "refused") && atomic_fetch_sub(&refusals, 1) > 0)
		return -EPERM;
	atomic_fetch_add(&opens_waiting, 1);
	while (atomic_load(&opens_waiting) < atomic_load(&opens_to_wait))
		(void)usleep(100);
	return __real_walk_open(item);
}

/* --- a scan --- */

static const char *const paths[] = {scratch};
static struct conf_list no_rules;

static void write_files(void)
{
	(void)mkdir("sub", 0755);
	for (int i = 0; i < FILES; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "sub/%d", i);
		scratch_write(name, i == 7 ? "X" : "clean", 1);
	}
}

static int group_setup(void **state)
{
	if (scratch_setup(state) < 0)
		return -1;
	write_files();
	return 0;
}

static int setup(void **state)
{
	struct show_options options = {.summary = true};

	fixture = (struct fixture){0};
	options.out = fixture.out = open_memstream(&fixture.out_text, &fixture.out_size);
	options.err = fixture.err = open_memstream(&fixture.err_text, &fixture.err_size);
	fixture.show = show_new(&options);
	fixture.options = (struct crew_options){
		.paths = paths,
		.n_paths = 1,
		.rules = {.exclude = &no_rules, .cross_filesystems = true},
		.threads = 1,
		.threads_max = 1,
		.window = SCAN_WINDOW,
		.tries = 3,
		.silence_ms = -1,
		.may_ask_why = true,
		.show = fixture.show,
		.connect = guard_connect,
		.context = &fixture.guard,
	};
	atomic_store(&opens_to_wait, 0);
	atomic_store(&opens_waiting, 0);
	atomic_store(&refusals, 0);
	return 0;
}

/* The guards end with their connections, a moment later. */
static int teardown(void **state)
{
	while (atomic_load(&guards))
		(void)usleep(100);
	show_free(fixture.show);
	(void)fclose(fixture.out);
	(void)fclose(fixture.err);
	free(fixture.out_text);
	free(fixture.err_text);
	(void)unlink("refused");
	return 0;
}

static struct show_counts scan(void)
{
	struct crew_options options = fixture.options;
	struct crew *crew = crew_new(&options);
	struct pollfd done;

	/* it has what it needs of them */
	memset(&options, 0xff, sizeof(options));
	assert_non_null(crew);
	done = (struct pollfd){.fd = crew_fd(crew), .events = POLLIN};
	while (poll(&done, 1, 1) == 0)
		(void)crew_tick(crew);
	crew_free(crew);
	(void)fflush(fixture.out);
	(void)fflush(fixture.err);
	return show_counts(fixture.show);
}

static void every_file_gets_its_verdict(void **state)
{
	struct show_counts counts = scan();

	assert_int_equal(counts.files, FILES);
	assert_int_equal(counts.infected, 1);
	assert_int_equal(counts.errors, 0);
	assert_int_equal(counts.directories, 2);
	assert_int_equal(counts.bytes_done, FILES);
	assert_non_null(strstr(fixture.out_text, "/sub/7: "));
	assert_int_equal(fixture.guard.scans, FILES);
}

static void many_threads_scan_no_file_twice(void **state)
{
	struct show_counts counts;

	fixture.options.threads = fixture.options.threads_max = 8;
	counts = scan();
	assert_int_equal(counts.files, FILES);
	assert_int_equal(counts.infected, 1);
	assert_int_equal(fixture.guard.scans, FILES);
	assert_int_equal(fixture.guard.connections, 8);
}

/* As with a worker, which takes one at a time. */
static void a_window_of_one_is_enough(void **state)
{
	fixture.options.window = 1;
	assert_int_equal(scan().files, FILES);
}

/* The opens wait for each other: with one thread this would never end. */
static void opens_that_wait_are_joined_by_further_threads(void **state)
{
	struct show_counts counts;

	fixture.options.threads_max = 4;
	atomic_store(&opens_to_wait, 4);
	counts = scan();
	assert_int_equal(counts.files, FILES);
	assert_int_equal(fixture.guard.connections, 4);
}

static void a_guard_that_died_is_followed_by_another(void **state)
{
	struct show_counts counts;

	fixture.guard.dies_after = 20;
	counts = scan();
	assert_int_equal(counts.files, FILES);
	assert_int_equal(counts.infected, 1);
	assert_int_equal(counts.failed, 0);
	assert_int_equal(counts.errors, 0);
	assert_true(fixture.guard.connections > 2);
}

/* As the service does it: the thread's files are scanned over the connections that there are. */
static void a_connection_too_many_is_no_loss(void **state)
{
	struct show_counts counts;

	fixture.options.is_limited = true;
	fixture.options.threads = fixture.options.threads_max = 8;
	fixture.guard.drops_beyond = 2;
	/* all have a file */
	atomic_store(&opens_to_wait, 8);
	counts = scan();
	assert_int_equal(counts.files, FILES);
	assert_int_equal(counts.infected, 1);
	assert_int_equal(counts.failed, 0);
	assert_int_equal(counts.errors, 0);
	assert_int_equal(fixture.guard.scans, FILES);
}

static void somebody_goes_on_trying(void **state)
{
	struct show_counts counts;

	fixture.options.is_limited = true;
	fixture.options.threads = fixture.options.threads_max = 2;
	fixture.guard.drops_first = 2;
	counts = scan();
	assert_int_equal(counts.files, FILES);
	assert_int_equal(counts.failed, 0);
	assert_int_equal(fixture.guard.connections, 3);
}

/* Once there are too many, no more are made. */
static void a_crowded_crew_does_not_grow(void **state)
{
	struct show_counts counts;

	fixture.options.is_limited = true;
	fixture.options.threads_max = 8;
	fixture.guard.drops_beyond = 1;
	/* the first waits in its open, and the second is one too many: then opens go on */
	atomic_store(&opens_to_wait, 2);
	counts = scan();
	assert_int_equal(counts.files, FILES);
	assert_int_equal(counts.failed, 0);
	assert_int_equal(fixture.guard.connections, 2);
}

static void a_file_that_ends_every_limited_guard_is_given_up(void **state)
{
	struct show_counts counts;

	fixture.options.is_limited = true;
	fixture.options.threads = fixture.options.threads_max = 4;
	fixture.options.window = 1;
	scratch_write("poison", "P", 1);
	counts = scan();
	(void)unlink("poison");
	assert_int_equal(counts.files, FILES + 1);
	assert_int_equal(counts.failed, 1);
	assert_int_equal(counts.errors, 0);
}

static void a_file_that_ends_every_guard_is_given_up(void **state)
{
	struct show_counts counts;

	/* one file at a time: those that are under way with it would count as well */
	fixture.options.window = 1;
	scratch_write("poison", "P", 1);
	counts = scan();
	(void)unlink("poison");
	assert_int_equal(counts.files, FILES + 1);
	assert_int_equal(counts.failed, 1);
	assert_int_equal(counts.infected, 1);
	assert_int_equal(counts.errors, 0);
	assert_non_null(strstr(fixture.out_text, "/poison: not verified ("));
	assert_int_equal(fixture.guard.connections, 1 + 3);
}

static void a_connection_that_is_silent_is_lost(void **state)
{
	struct show_counts counts;

	fixture.options.silence_ms = 50;
	fixture.options.tries = 1000;
	fixture.guard.is_silent = true;
	counts = scan();
	assert_int_equal(counts.files, FILES);
	assert_int_equal(counts.failed, 0);
	assert_true(fixture.guard.connections >= 2);
}

static void without_anybody_to_ask_the_scan_ends_with_an_error(void **state)
{
	struct show_counts counts;

	fixture.guard.dies_after = 20;
	fixture.guard.refuses_after = 1;
	counts = scan();
	assert_int_equal(counts.errors, 1);
	assert_true(counts.failed > 0);
	assert_true(counts.files < FILES);
	assert_non_null(strstr(fixture.err_text, "nobody is there"));
	assert_non_null(strstr(fixture.out_text, ": not verified (nobody is there)\n"));
	assert_int_equal(show_exit_code(fixture.show) == 0, 0);
}

static void a_refused_open_is_told_with_its_signature(void **state)
{
	struct show_counts counts;

	scratch_write("refused", "x", 1);
	atomic_store(&refusals, 100);
	fixture.guard.why = (struct wire_verdict){.verdict = VERDICT_INFECTED, .reason = "Denied"};
	counts = scan();
	assert_int_equal(counts.infected, 2);
	assert_int_equal(counts.errors, 0);
	assert_non_null(strstr(fixture.out_text, "/refused: Denied FOUND\n"));
	assert_int_equal(counts.files, FILES + 1);
}

static void an_open_that_was_refused_by_somebody_else_is_an_error(void **state)
{
	struct show_counts counts;

	scratch_write("refused", "x", 1);
	atomic_store(&refusals, 100);
	fixture.guard.why = (struct wire_verdict){.verdict = VERDICT_FAILED, .reason = "none"};
	counts = scan();
	assert_int_equal(counts.errors, 1);
	assert_non_null(
		strstr(fixture.err_text, "/refused: cannot open: Operation not permitted\n"));
	assert_int_equal(counts.files, FILES);
}

static void nobody_is_asked_why_who_does_not_know(void **state)
{
	struct show_counts counts;

	scratch_write("refused", "x", 1);
	atomic_store(&refusals, 100);
	fixture.guard.why = (struct wire_verdict){.verdict = VERDICT_INFECTED, .reason = "Denied"};
	fixture.options.may_ask_why = false;
	counts = scan();
	assert_int_equal(counts.infected, 1);
	assert_int_equal(counts.errors, 1);
	/* it was opened once */
	assert_int_equal(atomic_load(&refusals), 99);
}

static void a_stopped_scan_takes_no_further_file(void **state)
{
	struct crew *crew;
	struct pollfd done;

	/* all wait in their first open until they are told to stop */
	atomic_store(&opens_to_wait, 2);
	crew = crew_new(&fixture.options);
	assert_non_null(crew);
	while (!atomic_load(&opens_waiting))
		(void)usleep(100);
	crew_stop(crew);
	atomic_store(&opens_to_wait, 0);
	done = (struct pollfd){.fd = crew_fd(crew), .events = POLLIN};
	assert_int_equal(poll(&done, 1, -1), 1);
	crew_free(crew);
	assert_true(show_counts(fixture.show).files <= 1);
	assert_int_equal(fixture.guard.scans, show_counts(fixture.show).files);
}

static void nothing_stays_open(void **state)
{
	unsigned before = unit_count_fds();

	fixture.options.threads = fixture.options.threads_max = 4;
	fixture.guard.dies_after = 30;
	(void)scan();
	while (atomic_load(&guards))
		(void)usleep(100);
	assert_int_equal(unit_count_fds(), before);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_file_gets_its_verdict),
		TEST(many_threads_scan_no_file_twice),
		TEST(a_window_of_one_is_enough),
		TEST(opens_that_wait_are_joined_by_further_threads),
		TEST(a_guard_that_died_is_followed_by_another),
		TEST(a_connection_too_many_is_no_loss),
		TEST(somebody_goes_on_trying),
		TEST(a_crowded_crew_does_not_grow),
		TEST(a_file_that_ends_every_limited_guard_is_given_up),
		TEST(a_file_that_ends_every_guard_is_given_up),
		TEST(a_connection_that_is_silent_is_lost),
		TEST(without_anybody_to_ask_the_scan_ends_with_an_error),
		TEST(a_refused_open_is_told_with_its_signature),
		TEST(an_open_that_was_refused_by_somebody_else_is_an_error),
		TEST(nobody_is_asked_why_who_does_not_know),
		TEST(a_stopped_scan_takes_no_further_file),
		TEST(nothing_stays_open),
	};

	return cmocka_run_group_tests_name("crew", tests, group_setup, scratch_teardown);
}
