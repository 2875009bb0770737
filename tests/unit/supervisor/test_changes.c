/* SPDX-License-Identifier: GPL-2.0-only */
/* When others' changes in the directory of signatures make a reload. */
#include "../../../src/common/log.h"
#include "../../../src/supervisor/changes.h"
#include "../../../src/supervisor/service.h"
#include "../support/conf_fixture.h"
#include "../support/scratch.h"

#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000)

static uint64_t now_us;
static unsigned n_reloads, n_warnings, n_infos;

void __wrap_reload_begin_unasked(struct service *service);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time);

void __wrap_reload_begin_unasked(struct service *service)
{
	changes_forget(service);
	n_reloads++;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
	time->tv_sec = (time_t)(now_us / SECOND);
	time->tv_nsec = (long)(now_us % SECOND) * 1000;
	return 0;
}

static void count(void *context, int priority, const char *text)
{
	n_warnings += priority == LOG_WARNING;
	n_infos += priority == LOG_INFO;
}

static int setup(void **state)
{
	static struct service service;
	char directory[PATH_MAX + 16], problem[WIRE_TEXT_MAX];

	now_us = 1000000 * SECOND;
	n_reloads = n_warnings = n_infos = 0;
	service = (struct service){.conf = conf_new(), .changes = {.fd = -1}};
	(void)snprintf(directory, sizeof(directory), "%s/signatures", scratch);
	if (mkdir(directory, 0755) < 0 || !service.conf || sd_event_new(&service.event) < 0)
		return -1;
	conf_fixture_set(service.conf, "engine", "signatures", directory);
	changes_watch(&service, changes_open(service.conf, problem, sizeof(problem)), "");
	*state = &service;
	return service.changes.fd >= 0 ? 0 : -1;
}

static int teardown(void **state)
{
	struct service *service = *state;

	changes_watch(service, -1, "");
	sd_event_unref(service->event);
	conf_free(service->conf);
	return system("rm -rf signatures elsewhere");
}

/* What the heartbeat does after so long. */
static void pass_time(struct service *service, uint64_t us)
{
	while (sd_event_run(service->event, 0) > 0)
		;
	now_us += us;
	changes_tick(service);
}

static void once_it_is_quiet_there_is_one_reload(void **state)
{
	scratch_write("signatures/a.ndb", "a", 1);
	scratch_write("signatures/b.ndb", "b", 1);
	pass_time(*state, 9 * SECOND);
	assert_int_equal(n_reloads, 0);
	pass_time(*state, SECOND);
	assert_int_equal(n_reloads, 1);
	pass_time(*state, 1000 * SECOND);
	assert_int_equal(n_reloads, 1);
}

static void each_change_is_waited_for(void **state)
{
	for (unsigned i = 0; i < 5; i++) {
		scratch_write("signatures/a.ndb", "aaaaa", i);
		pass_time(*state, 9 * SECOND);
	}
	assert_int_equal(n_reloads, 0);
}

static void but_not_for_ever(void **state)
{
	for (unsigned i = 0; i < 15; i++) {
		scratch_write("signatures/a.ndb", "a", 1);
		pass_time(*state, 9 * SECOND);
	}
	assert_int_equal(n_reloads, 1);
}

static void what_is_moved_removed_and_published_counts(void **state)
{
	static const char *const steps[] = {
		"echo x > elsewhere; mv elsewhere signatures/daily.cld",
		"mv signatures/daily.cld elsewhere",
		"mv elsewhere signatures/main.cvd; ",
		"rm signatures/main.cvd",
		"ln -s sets/1 signatures/new; mv -T signatures/new signatures/current",
		"rm signatures/current",
	};

	for (unsigned i = 0; i < N_ELEMENTS(steps); i++) {
		assert_int_equal(system(steps[i]), 0);
		pass_time(*state, 10 * SECOND);
		assert_int_equal(n_reloads, i + 1);
	}
}

/* freshclam's, and the fetcher's. */
static void what_is_not_loaded_does_not_count(void **state)
{
	static const char step[] =
		"cd signatures; echo x > freshclam.dat; rm freshclam.dat; mkdir tmp.ndb; rmdir "
		"tmp.ndb; mkdir -p fetch/work sets/1; echo x > sets/1/daily.cvd; ln -s fetch "
		"README; "
		"chmod 755 *";

	assert_int_equal(system(step), 0);
	pass_time(*state, 10 * SECOND);
	assert_int_equal(n_reloads, 0);
}

/* However slowly: what has come of it so far is no set of signatures. */
static void a_file_that_is_being_written_is_waited_for(void **state)
{
	FILE *slow = fopen("signatures/c.ndb", "we");

	assert_non_null(slow);
	for (unsigned i = 0; i < 20; i++) {
		assert_true(fputc('c', slow) == 'c' && fflush(slow) == 0);
		pass_time(*state, 15 * SECOND);
		assert_int_equal(n_reloads, 0);
	}
	(void)fclose(slow);
	pass_time(*state, 9 * SECOND);
	assert_int_equal(n_reloads, 0);
	pass_time(*state, SECOND);
	assert_int_equal(n_reloads, 1);
}

/* What else has changed waits for it. */
static void one_that_is_being_written_keeps_the_others_waiting(void **state)
{
	FILE *slow = fopen("signatures/c.ndb", "we");

	assert_non_null(slow);
	scratch_write("signatures/a.ndb", "a", 1);
	for (unsigned i = 0; i < 5; i++) {
		assert_true(fputc('c', slow) == 'c' && fflush(slow) == 0);
		pass_time(*state, 9 * SECOND);
	}
	assert_int_equal(n_reloads, 0);
	(void)fclose(slow);
	pass_time(*state, 10 * SECOND);
	assert_int_equal(n_reloads, 1);
}

/* A link is all that happens. */
static void links_and_permissions_count(void **state)
{
	static const char *const steps[] = {
		"ln elsewhere signatures/hard.ndb",
		"ln -s ../elsewhere signatures/soft.ndb",
		"chmod 600 signatures/hard.ndb",
	};

	scratch_write("elsewhere", "x", 1);
	for (unsigned i = 0; i < N_ELEMENTS(steps); i++) {
		assert_int_equal(system(steps[i]), 0);
		pass_time(*state, 9 * SECOND);
		assert_int_equal(n_reloads, i);
		pass_time(*state, SECOND);
		assert_int_equal(n_reloads, i + 1);
		pass_time(*state, 1000 * SECOND);
		assert_int_equal(n_reloads, i + 1);
	}
}

/* Whether or not its news has been read. */
static void a_reload_meanwhile_has_seen_it(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		scratch_write("signatures/a.ndb", "a", 1);
		if (i)
			pass_time(*state, 0);
		__wrap_reload_begin_unasked(*state);
		pass_time(*state, 10 * SECOND);
		assert_int_equal(n_reloads, i + 1);
	}
}

static void a_directory_that_goes_is_warned_of_once(void **state)
{
	assert_int_equal(system("echo x > signatures/a.ndb; mv signatures elsewhere; "
				"rm -r elsewhere"),
			 0);
	pass_time(*state, 10 * SECOND);
	assert_int_equal(n_warnings, 1);
	assert_int_equal(n_reloads, 0);
	pass_time(*state, 10 * SECOND);
	assert_int_equal(n_warnings, 1);
}

static void what_cannot_be_watched_is_told_once(void **state)
{
	struct service *service = *state;
	char problem[WIRE_TEXT_MAX];

	assert_int_equal(rmdir("signatures"), 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(changes_open(service->conf, problem, sizeof(problem)), -1);
		changes_watch(service, -1, problem);
	}
	assert_int_equal(n_infos, 1);
	assert_non_null(strstr(problem, "/signatures are not noticed"));
	assert_non_null(strstr(problem, "No such file or directory"));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(once_it_is_quiet_there_is_one_reload),
		TEST(each_change_is_waited_for),
		TEST(but_not_for_ever),
		TEST(what_is_moved_removed_and_published_counts),
		TEST(what_is_not_loaded_does_not_count),
		TEST(a_file_that_is_being_written_is_waited_for),
		TEST(one_that_is_being_written_keeps_the_others_waiting),
		TEST(links_and_permissions_count),
		TEST(a_reload_meanwhile_has_seen_it),
		TEST(a_directory_that_goes_is_warned_of_once),
		TEST(what_cannot_be_watched_is_told_once),
	};

	log_set_sink(count, NULL);
	return cmocka_run_group_tests_name("changes", tests, scratch_setup, scratch_teardown);
}
