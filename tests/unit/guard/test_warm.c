/* SPDX-License-Identifier: GPL-2.0-only */
/* A warm start of a few files, with a gate, a clock and processors of the test's own. */
#include "../../../src/common/filesystem.h"
#include "../../../src/guard/warm.h"
#include "../support/conf_fixture.h"
#include "../support/mount_fixture.h"
#include "../support/scratch.h"
#include "make_verdicts.h"

#include <errno.h>
#include <sys/wait.h>
#include <time.h>

#define SECOND	   UINT64_C(1000000)
#define WALL_US	   (UINT64_C(4102488000) * SECOND)
#define SIGNATURES 7

/* --- what the linker puts in the place of the real ones --- */

static struct {
	uint64_t now_us, own_cpu_us;
	long processors;
} fake;

int __wrap_clock_gettime(clockid_t clock, struct timespec *time);
long __wrap_sysconf(int name);
long __real_sysconf(int name);

int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
	uint64_t now_us = clock == CLOCK_REALTIME	     ? WALL_US + fake.now_us
			  : clock == CLOCK_THREAD_CPUTIME_ID ? fake.own_cpu_us
							     : 1000 * SECOND + fake.now_us;

	time->tv_sec = (time_t)(now_us / SECOND);
	time->tv_nsec = (long)(now_us % SECOND) * 1000;
	return 0;
}

long __wrap_sysconf(int name)
{
	return name == _SC_NPROCESSORS_ONLN ? fake.processors : __real_sysconf(name);
}

/* --- the fixture --- */

struct fixture {
	struct conf *conf;
	struct used *used;
	struct verdicts *verdicts;
	struct pace pace;
	struct warm warm;
	struct scan_task *tasks[WARM_TASKS_MAX]; /* under way, the first that was sent first */
	unsigned n_tasks, most_tasks;
	char sent[512]; /* the names of all, one behind the other */
	unsigned n_logged;
	char logged[512]; /* the last line */
};

/* What a file is called says what is in it. */
static const char *name_of(int fd)
{
	static char path[PATH_MAX];

	assert_int_equal(file_path(fd, path, sizeof(path)), 0);
	return path + strlen(scratch) + 1;
}

static void on_send(void *context, struct scan_task *task)
{
	struct fixture *fixture = context;
	struct stat status;

	assert_int_equal(task->lane, LANE_WARM);
	assert_false(task->afresh || task->remote);
	assert_int_equal(fstat(task->fd, &status), 0);
	assert_int_equal(task->size, status.st_size);
	/* it can be read, and nobody's lease stops the thread */
	assert_int_equal(fcntl(task->fd, F_GETFL) & (O_ACCMODE | O_PATH | O_NONBLOCK),
			 O_RDONLY | O_NONBLOCK);
	assert_true(fixture->n_tasks < WARM_TASKS_MAX);
	fixture->tasks[fixture->n_tasks++] = task;
	if (fixture->n_tasks > fixture->most_tasks)
		fixture->most_tasks = fixture->n_tasks;
	(void)strcat(strcat(fixture->sent, name_of(task->fd)), " ");
}

static void on_log(void *context, int priority, const char *text)
{
	struct fixture *fixture = context;

	fixture->n_logged++;
	(void)snprintf(fixture->logged, sizeof(fixture->logged), "%s", text);
}

static const struct scan_callbacks owner = {.send = on_send, .log = on_log};

static int setup(void **state)
{
	static struct fixture fixture;

	fixture = (struct fixture){
		.conf = conf_new(),
		.used = calloc(1, sizeof(*fixture.used)),
		.verdicts = make_verdicts(1 << 16, false),
	};
	*state = &fixture;
	memset(&fake, 0, sizeof(fake));
	fake.processors = 2;
	if (!fixture.conf || !fixture.used || !fixture.verdicts || mkdir("in", 0755) < 0)
		return -1;
	conf_fixture_set(fixture.conf, "on-access", "include", scratch);
	pace_init(&fixture.pace, 100);
	warm_init(&fixture.warm, fixture.used, fixture.verdicts, &fixture.pace, &owner, &fixture);
	used_begin(fixture.used);
	return 0;
}

static void answer_with(struct fixture *fixture, struct wire_verdict verdict)
{
	struct scan_task *task = fixture->tasks[0];
	int fd = task->fd;

	memmove(fixture->tasks, fixture->tasks + 1, sizeof(fixture->tasks[0]) * --fixture->n_tasks);
	task->verdict = verdict;
	warm_take(&fixture->warm, task);
	assert_false(unit_fd_is_open(fd));
}

static void answer(struct fixture *fixture, enum verdict verdict)
{
	answer_with(fixture, wire_verdict_make(verdict, ""));
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	while (fixture->n_tasks)
		answer(fixture, VERDICT_CLEAN);
	warm_deinit(&fixture->warm);
	verdicts_free(fixture->verdicts);
	free(fixture->used);
	conf_free(fixture->conf);
	return nftw("in", scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void note(struct fixture *fixture, const char *name)
{
	char path[PATH_MAX + 64];

	(void)snprintf(path, sizeof(path), "%s/%s", scratch, name);
	fake.now_us += 10;
	used_note(fixture->used, used_expect(fixture->used, path));
}

static void use(struct fixture *fixture, const char *name)
{
	scratch_write(name, "content", 7);
	note(fixture, name);
}

static void begin(struct fixture *fixture)
{
	warm_begin(&fixture->warm, fixture->conf, SIGNATURES);
}

/* Goes on until there is something to wait for. Returns how long, UINT64_MAX: for a task. */
static uint64_t go_on(struct fixture *fixture)
{
	uint64_t wait_us = 0;

	for (unsigned n = 0; warm_step(&fixture->warm, &wait_us); n++)
		assert_true(n < 1000);
	return wait_us;
}

/* The same once it has begun. */
static uint64_t go_on_later(struct fixture *fixture)
{
	fake.now_us += 3 * SECOND;
	return go_on(fixture);
}

static void go_to_the_end(struct fixture *fixture, enum verdict verdict)
{
	for (unsigned n = 0; fixture->warm.files; n++) {
		uint64_t wait_us = go_on(fixture);

		assert_true(n < 1000);
		if (wait_us != UINT64_MAX)
			fake.now_us += wait_us;
		else if (fixture->n_tasks)
			answer(fixture, verdict);
	}
	assert_int_equal(fixture->warm.counts.done, fixture->warm.counts.of);
	assert_true(fixture->warm.counts.ended >= fixture->warm.counts.began);
}

/* --- which, and in which order --- */

static void the_most_recently_used_are_sent_first(void **state)
{
	struct fixture *fixture = *state;

	use(fixture, "in/a");
	use(fixture, "in/b");
	use(fixture, "in/c");
	note(fixture, "in/a");
	begin(fixture);
	assert_int_equal(fixture->warm.counts.of, 3);
	go_to_the_end(fixture, VERDICT_CLEAN);
	assert_string_equal(fixture->sent, "in/a in/c in/b ");
	assert_int_equal(fixture->warm.counts.verified, 3);
	assert_string_equal(fixture->logged,
			    "warm start: 3 files verified again in 3 s, 0 were known, 0 gone, 0 "
			    "not clean");
	assert_int_equal(fixture->n_logged, 2);
}

static void those_who_waited_over_the_switch_come_before_it(void **state)
{
	struct fixture *fixture = *state;

	use(fixture, "in/a");
	begin(fixture);
	assert_int_equal(go_on(fixture), 3 * SECOND);
	assert_int_equal(fixture->n_tasks, 0);
	fake.now_us += 3 * SECOND;
	assert_int_equal(go_on(fixture), UINT64_MAX);
	assert_int_equal(fixture->n_tasks, 1);
}

static void where_nothing_was_used_nothing_begins(void **state)
{
	struct fixture *fixture = *state;

	begin(fixture);
	assert_int_equal(go_on_later(fixture), UINT64_MAX);
	assert_int_equal(fixture->n_logged, 0);
	assert_null(fixture->warm.files);
}

static void know(struct fixture *fixture, const char *name, uint64_t signatures)
{
	struct verdict_tag tag;

	assert_int_equal(
		verdicts_tag(fixture->verdicts, AT_FDCWD, name, signatures, &tag, NULL, NULL), 0);
	verdicts_add(fixture->verdicts, &tag);
}

static void what_is_known_in_this_state_is_not_sent(void **state)
{
	struct fixture *fixture = *state;

	use(fixture, "in/known");
	use(fixture, "in/under-others");
	use(fixture, "in/changed");
	know(fixture, "in/known", SIGNATURES);
	know(fixture, "in/under-others", SIGNATURES + 1);
	know(fixture, "in/changed", SIGNATURES);
	scratch_write("in/changed", "0123456789", 10);
	begin(fixture);
	go_to_the_end(fixture, VERDICT_CLEAN);
	assert_string_equal(fixture->sent, "in/changed in/under-others ");
	assert_int_equal(fixture->warm.counts.known, 1);
}

static void what_was_opened_meanwhile_is_not_sent(void **state)
{
	struct fixture *fixture = *state;

	use(fixture, "in/a");
	use(fixture, "in/b");
	begin(fixture);
	note(fixture, "in/a");
	go_to_the_end(fixture, VERDICT_CLEAN);
	assert_string_equal(fixture->sent, "in/b ");
	assert_int_equal(fixture->warm.counts.known, 1);
	assert_int_equal(used_count(fixture->used), 2);
}

static void what_is_out_of_scope_is_passed_over_and_kept(void **state)
{
	struct fixture *fixture = *state;
	char path[PATH_MAX + 64];

	use(fixture, "in/a");
	use(fixture, "in/b");
	use(fixture, "in/empty");
	scratch_write("in/empty", "", 0);
	(void)snprintf(path, sizeof(path), "%s/in/b", scratch);
	conf_fixture_set(fixture->conf, "on-access", "exclude", path);
	begin(fixture);
	go_to_the_end(fixture, VERDICT_CLEAN);
	assert_string_equal(fixture->sent, "in/a ");
	assert_int_equal(fixture->warm.counts.passed_over, 2);
	assert_int_equal(used_count(fixture->used), 3);
}

static void the_configuration_may_change_meanwhile(void **state)
{
	struct fixture *fixture = *state;
	struct conf *other = conf_new();

	assert_non_null(other);
	conf_fixture_set(other, "on-access", "include", "/nowhere");
	use(fixture, "in/a");
	begin(fixture);
	warm_set_conf(&fixture->warm, other);
	go_to_the_end(fixture, VERDICT_CLEAN);
	assert_string_equal(fixture->sent, "");
	conf_free(other);
}

static void what_is_no_file_any_more_is_forgotten(void **state)
{
	struct fixture *fixture = *state;

	note(fixture, "in/gone");
	use(fixture, "in/link");
	assert_int_equal(unlink("in/link"), 0);
	assert_int_equal(symlink("here", "in/link"), 0);
	use(fixture, "in/directory");
	assert_int_equal(unlink("in/directory"), 0);
	assert_int_equal(mkdir("in/directory", 0755), 0);
	use(fixture, "in/file");
	note(fixture, "in/file/below");
	use(fixture, "in/fifo");
	assert_int_equal(unlink("in/fifo"), 0);
	assert_int_equal(mkfifo("in/fifo", 0600), 0);
	use(fixture, "in/here");
	begin(fixture);
	go_to_the_end(fixture, VERDICT_CLEAN);
	assert_string_equal(fixture->sent, "in/here in/file ");
	assert_int_equal(fixture->warm.counts.gone, 5);
	assert_int_equal(used_count(fixture->used), 2);
}

/* Its filesystem may come again. */
static void what_is_in_a_directory_that_is_not_there_is_kept(void **state)
{
	struct fixture *fixture = *state;

	note(fixture, "in/not/there");
	begin(fixture);
	go_to_the_end(fixture, VERDICT_CLEAN);
	assert_int_equal(fixture->warm.counts.gone, 0);
	assert_int_equal(fixture->warm.counts.passed_over, 1);
	assert_int_equal(used_count(fixture->used), 1);
}

/* Nobody leads us elsewhere. */
static void a_link_on_the_way_is_not_followed(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(mkdir("in/real", 0755), 0);
	scratch_write("in/real/file", "content", 7);
	assert_int_equal(symlink("real", "in/link"), 0);
	note(fixture, "in/link/file");
	begin(fixture);
	go_to_the_end(fixture, VERDICT_CLEAN);
	assert_string_equal(fixture->sent, "");
}

static void other_filesystems_on_the_way_are_not_entered(void **state)
{
	struct fixture *fixture = *state;
	pid_t child;

	use(fixture, "in/a");
	child = fork();
	if (child == 0) {
		bool ok = file_init() == 0 && mount_fixture_unshare() && mkdir("in/m", 0755) == 0 &&
			  mount("sysfs", "in/m", "sysfs", 0, NULL) == 0;

		note(fixture, "in/m/kernel/uevent_seqnum");
		begin(fixture);
		go_to_the_end(fixture, VERDICT_CLEAN);
		_exit(!ok ? UNIT_SKIPPED
		      : !strcmp(fixture->sent, "in/a ") && fixture->warm.counts.passed_over == 1
			      ? 0
			      : 1);
	} else {
		int status;

		assert_int_equal(waitpid(child, &status, 0), child);
		if (WEXITSTATUS(status) == UNIT_SKIPPED)
			skip();
		assert_int_equal(status, 0);
	}
}

/* --- how much --- */

static void so_many_are_under_way_and_no_more(void **state)
{
	static const struct {
		uint64_t percent;
		long processors;
		unsigned most;
	} cases[] = {{100, 2, 4}, {50, 2, 2}, {1, 2, 1}, {100, 64, WARM_TASKS_MAX}};
	struct fixture *fixture = *state;
	char name[32];

	for (unsigned i = 0; i < 20; i++) {
		(void)snprintf(name, sizeof(name), "in/%u", i);
		use(fixture, name);
	}
	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		fake.processors = cases[i].processors;
		pace_set(&fixture->pace, cases[i].percent);
		fixture->most_tasks = 0;
		*fixture->sent = '\0';
		begin(fixture);
		go_to_the_end(fixture, VERDICT_CLEAN);
		assert_int_equal(fixture->most_tasks, cases[i].most);
		assert_int_equal(fixture->warm.counts.verified, 20);
	}
}

static void what_it_takes_is_paid_for_by_a_pause(void **state)
{
	struct fixture *fixture = *state;
	struct wire_verdict verdict = wire_verdict_make(VERDICT_CLEAN, "");

	use(fixture, "in/a");
	use(fixture, "in/b");
	use(fixture, "in/c");
	pace_set(&fixture->pace, 25); /* of two processors */
	begin(fixture);
	assert_int_equal(go_on_later(fixture), UINT64_MAX);
	assert_int_equal(fixture->n_tasks, 1);
	verdict.cpu_us = 10 * SECOND;
	answer_with(fixture, verdict);
	/* half a second of it had been saved up */
	assert_in_range(go_on(fixture), 19 * SECOND - 10, 19 * SECOND + 10);
	assert_int_equal(fixture->n_tasks, 0);
	/* and so is what another scan takes */
	pace_charge(&fixture->pace, 5 * SECOND);
	assert_in_range(go_on(fixture), 29 * SECOND - 10, 29 * SECOND + 10);
	fake.now_us += 30 * SECOND;
	(void)go_on(fixture);
	assert_int_equal(fixture->n_tasks, 1);
}

/* --- what becomes of them --- */

static void what_is_found_infected_is_forgotten(void **state)
{
	struct fixture *fixture = *state;

	use(fixture, "in/a");
	use(fixture, "in/b");
	use(fixture, "in/c");
	begin(fixture);
	(void)go_on_later(fixture);
	answer(fixture, VERDICT_INFECTED);
	answer(fixture, VERDICT_INCOMPLETE);
	go_to_the_end(fixture, VERDICT_CLEAN);
	assert_int_equal(fixture->warm.counts.infected, 1);
	assert_int_equal(fixture->warm.counts.unverified, 1);
	assert_int_equal(fixture->warm.counts.verified, 1);
	assert_int_equal(used_count(fixture->used), 2);
	assert_non_null(strstr(fixture->logged, " 1 files verified again "));
	assert_non_null(strstr(fixture->logged, " 2 not clean"));
}

static void what_the_gate_knew_was_known(void **state)
{
	struct fixture *fixture = *state;
	struct wire_verdict verdict = wire_verdict_make(VERDICT_CLEAN, "");

	use(fixture, "in/a");
	begin(fixture);
	(void)go_on_later(fixture);
	verdict.flags = WIRE_VERDICT_KNOWN;
	answer_with(fixture, verdict);
	go_to_the_end(fixture, VERDICT_CLEAN);
	assert_int_equal(fixture->warm.counts.known, 1);
	assert_int_equal(fixture->warm.counts.verified, 0);
}

static void what_the_gate_sends_away_is_tried_again_later(void **state)
{
	struct fixture *fixture = *state;
	struct wire_verdict later = wire_verdict_make(VERDICT_FAILED, "");

	later.flags = WIRE_VERDICT_LATER;
	use(fixture, "in/a");
	use(fixture, "in/b");
	begin(fixture);
	for (unsigned i = 0; i < 20; i++) {
		(void)go_on_later(fixture);
		assert_int_equal(fixture->n_tasks, 2);
		answer_with(fixture, later);
		answer_with(fixture, later);
		assert_int_equal(go_on(fixture), SECOND);
		assert_int_equal(fixture->n_tasks, 0);
	}
	go_to_the_end(fixture, VERDICT_CLEAN);
	assert_int_equal(fixture->warm.counts.verified, 2);
	assert_int_equal(fixture->warm.counts.unverified, 0);
}

static void without_an_engine_it_ends(void **state)
{
	struct fixture *fixture = *state;
	struct wire_verdict none = wire_verdict_make(VERDICT_FAILED, "");

	none.flags = WIRE_VERDICT_NO_ENGINE;
	use(fixture, "in/a");
	use(fixture, "in/b");
	begin(fixture);
	(void)go_on_later(fixture);
	answer_with(fixture, none);
	assert_int_equal(go_on(fixture), UINT64_MAX);
	assert_null(fixture->warm.files);
	assert_string_equal(fixture->logged,
			    "warm start: ends after 0 of 2 files: no engine is running");
	/* one that comes begins it anew, whatever comes late */
	begin(fixture);
	answer_with(fixture, none);
	go_to_the_end(fixture, VERDICT_CLEAN);
	assert_int_equal(fixture->warm.counts.verified, 2);
}

static void other_signatures_begin_it_anew(void **state)
{
	struct fixture *fixture = *state;

	use(fixture, "in/a");
	use(fixture, "in/b");
	use(fixture, "in/c");
	begin(fixture);
	(void)go_on_later(fixture);
	assert_int_equal(fixture->n_tasks, 3);
	warm_begin(&fixture->warm, fixture->conf, SIGNATURES + 1);
	/* what was sent before counts for the old run only */
	answer(fixture, VERDICT_CLEAN);
	answer(fixture, VERDICT_INFECTED);
	assert_int_equal(fixture->warm.counts.done, 0);
	assert_int_equal(used_count(fixture->used), 3);
	know(fixture, "in/c", SIGNATURES);
	know(fixture, "in/b", SIGNATURES + 1);
	*fixture->sent = '\0';
	go_to_the_end(fixture, VERDICT_CLEAN);
	assert_string_equal(fixture->sent, "in/c in/a ");
}

static void it_can_be_stopped(void **state)
{
	struct fixture *fixture = *state;

	warm_stop(&fixture->warm, "there is none");
	assert_int_equal(fixture->n_logged, 0);
	use(fixture, "in/a");
	begin(fixture);
	(void)go_on_later(fixture);
	warm_stop(&fixture->warm, "so");
	assert_string_equal(fixture->logged, "warm start: ends after 0 of 1 files: so");
	assert_int_equal(go_on(fixture), UINT64_MAX);
	answer(fixture, VERDICT_CLEAN);
	assert_int_equal(fixture->n_logged, 2);
}

static void nothing_stays_open(void **state)
{
	struct fixture *fixture = *state;
	unsigned fds = unit_count_fds();

	use(fixture, "in/a");
	note(fixture, "in/gone");
	note(fixture, "in/not/there");
	use(fixture, "in/known");
	know(fixture, "in/known", SIGNATURES);
	begin(fixture);
	go_to_the_end(fixture, VERDICT_CLEAN);
	assert_int_equal(unit_count_fds(), fds);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

/* What these tests are about is not done on overlays and the like, nor before Linux 5.6. */
static bool can_run(void)
{
	struct mounts mounts = {0};
	bool can;

	if (file_init() < 0 || scratch_setup(NULL) < 0 || mount_fixture_read(&mounts) < 0)
		return false;
	can = filesystem_kind(mounts.mounts[mount_fixture_index(&mounts, scratch)].type) ==
	      FILESYSTEM_LOCAL;
	mounts_free(&mounts);
	return can;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_most_recently_used_are_sent_first),
		TEST(those_who_waited_over_the_switch_come_before_it),
		TEST(where_nothing_was_used_nothing_begins),
		TEST(what_is_known_in_this_state_is_not_sent),
		TEST(what_was_opened_meanwhile_is_not_sent),
		TEST(what_is_out_of_scope_is_passed_over_and_kept),
		TEST(the_configuration_may_change_meanwhile),
		TEST(what_is_no_file_any_more_is_forgotten),
		TEST(what_is_in_a_directory_that_is_not_there_is_kept),
		TEST(a_link_on_the_way_is_not_followed),
		TEST(other_filesystems_on_the_way_are_not_entered),
		TEST(so_many_are_under_way_and_no_more),
		TEST(what_it_takes_is_paid_for_by_a_pause),
		TEST(what_is_found_infected_is_forgotten),
		TEST(what_the_gate_knew_was_known),
		TEST(what_the_gate_sends_away_is_tried_again_later),
		TEST(without_an_engine_it_ends),
		TEST(other_signatures_begin_it_anew),
		TEST(it_can_be_stopped),
		TEST(nothing_stays_open),
	};

	if (!can_run()) {
		print_message("skipped: not on this filesystem\n");
		return UNIT_SKIPPED;
	}
	return cmocka_run_group_tests_name("warm", tests, NULL, scratch_teardown);
}
