/* SPDX-License-Identifier: GPL-2.0-only */
/* The files that were used, with a clock of the test's own. */
#include "../../../src/guard/used.h"
#include "../support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SECOND UINT64_C(1000000)

static uint64_t now_us;
static struct used *used, *other;

int __wrap_clock_gettime(clockid_t clock, struct timespec *time);

int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
	time->tv_sec = (time_t)(now_us / SECOND);
	time->tv_nsec = (long)(now_us % SECOND) * 1000;
	return 0;
}

static int setup(void **state)
{
	now_us = 1000 * SECOND;
	used = calloc(1, sizeof(*used));
	other = calloc(1, sizeof(*other));
	if (!used || !other)
		return -1;
	used_begin(used);
	used_begin(other);
	return 0;
}

static int teardown(void **state)
{
	free(used);
	free(other);
	return 0;
}

static void use(const char *path)
{
	now_us += 10;
	used_note(used, used_expect(used, path));
}

/* Exactly these files are there, the most recently used first; NULL ends. */
static void assert_files(const char *const *paths)
{
	size_t n, i = 0;
	struct used_file *files = used_list(used, &n);
	char path[USED_PATH_MAX];

	assert_non_null(files);
	assert_int_equal(used_count(used), n);
	for (; paths[i]; i++) {
		assert_true(i < n);
		assert_true(used_path(used, &files[i], path));
		assert_string_equal(path, paths[i]);
	}
	assert_int_equal(n, i);
	free(files);
}

#define ASSERT_FILES(...) assert_files((const char *const[]){__VA_ARGS__, NULL})
#define ASSERT_NONE()	  assert_files((const char *const[]){NULL})

static struct used_file first_file(void)
{
	size_t n;
	struct used_file *files = used_list(used, &n), first;

	assert_true(files && n > 0);
	first = files[0];
	free(files);
	return first;
}

static void the_most_recently_used_come_first(void **state)
{
	ASSERT_NONE();
	use("/a");
	use("/b");
	use("/c");
	ASSERT_FILES("/c", "/b", "/a");
	use("/a");
	ASSERT_FILES("/a", "/c", "/b");
	use("/a");
	ASSERT_FILES("/a", "/c", "/b");
}

static void a_file_counts_once_it_is_clean(void **state)
{
	struct used_ticket ticket = used_expect(used, "/a");

	ASSERT_NONE();
	now_us += SECOND;
	used_note(used, ticket);
	ASSERT_FILES("/a");
	assert_int_equal(first_file().when, now_us);
}

static void a_file_that_is_not_clean_does_not_count_any_more(void **state)
{
	use("/a");
	use("/b");
	used_forget(used, used_expect(used, "/a"));
	used_forget(used, used_expect(used, "/c"));
	ASSERT_FILES("/b");
	use("/a");
	ASSERT_FILES("/a", "/b");
}

/* Whose verdict is outstanding keeps the time that it had. */
static void who_is_waited_for_is_there_already(void **state)
{
	use("/a");
	use("/b");
	(void)used_expect(used, "/a");
	ASSERT_FILES("/b", "/a");
}

static void nothing_is_noted_for_nobody(void **state)
{
	struct used_ticket none = {0}, ticket;

	used_note(NULL, used_expect(NULL, "/a"));
	used_forget(NULL, none);
	used_note(used, none);
	used_forget(used, none);
	ASSERT_NONE();
	used->is_ready = false;
	ticket = used_expect(used, "/a");
	used_begin(used);
	used_note(used, ticket);
	ASSERT_NONE();
}

static void a_long_path_is_not_noted(void **state)
{
	char path[USED_PATH_MAX + 1] = "/";

	memset(path + 1, 'x', USED_PATH_MAX - 1);
	use(path);
	ASSERT_NONE();
	path[USED_PATH_MAX - 1] = '\0';
	use(path);
	ASSERT_FILES(path);
}

/* Nine paths that have eight places. */
static void find_sharing(char paths[USED_PLACES + 1][32])
{
	uint32_t bucket = 0;
	unsigned n = 0;

	for (unsigned i = 0; n <= USED_PLACES; i++) {
		char path[32];
		struct used_ticket ticket;

		(void)snprintf(path, sizeof(path), "/%u", i);
		ticket = used_expect(other, path);
		if (n && (ticket.place - 1) / USED_PLACES != bucket)
			continue;
		bucket = (ticket.place - 1) / USED_PLACES;
		strcpy(paths[n++], path);
	}
}

static void the_least_recently_used_makes_room(void **state)
{
	char paths[USED_PLACES + 1][32];

	find_sharing(paths);
	for (unsigned i = 0; i < USED_PLACES; i++)
		use(paths[i]);
	use(paths[0]);
	use(paths[USED_PLACES]);
	ASSERT_FILES(paths[8], paths[0], paths[7], paths[6], paths[5], paths[4], paths[3],
		     paths[2]);
	/* one that has gone leaves its place to the next */
	used_forget(used, used_expect(used, paths[5]));
	use(paths[1]);
	ASSERT_FILES(paths[1], paths[8], paths[0], paths[7], paths[6], paths[4], paths[3],
		     paths[2]);
}

static void a_ticket_that_was_overtaken_is_worth_nothing(void **state)
{
	char paths[USED_PLACES + 1][32];
	struct used_ticket ticket;

	find_sharing(paths);
	ticket = used_expect(used, paths[0]);
	for (unsigned i = 1; i <= USED_PLACES; i++)
		use(paths[i]);
	used_note(used, ticket);
	used_forget(used, ticket);
	ASSERT_FILES(paths[8], paths[7], paths[6], paths[5], paths[4], paths[3], paths[2],
		     paths[1]);
}

static void it_is_bounded_and_makes_use_of_its_places(void **state)
{
	char path[32];

	for (unsigned i = 0; i < 2 * USED_MAX; i++) {
		(void)snprintf(path, sizeof(path), "/srv/%u/%u", i / 100, i);
		use(path);
	}
	assert_in_range(used_count(used), USED_MAX - USED_MAX / 50, USED_MAX);
}

static void who_reads_sees_only_what_he_had_seen(void **state)
{
	char path[USED_PATH_MAX];
	struct used_file file;

	use("/a");
	file = first_file();
	assert_true(used_path(used, &file, path));
	use("/a");
	assert_false(used_path(used, &file, path));
	used_drop(used, &file);
	ASSERT_FILES("/a");
	file = first_file();
	used_drop(used, &file);
	ASSERT_NONE();
	assert_false(used_path(used, &file, path));
}

static void what_was_known_before_is_as_if_noted_then(void **state)
{
	use("/new");
	used_add(used, "/old", now_us - SECOND);
	used_add(used, "/older", now_us - 2 * SECOND);
	/* none of these is a time that it can have been */
	used_add(used, "/odd", (now_us - SECOND) | 1);
	used_add(used, "/never", 0);
	ASSERT_FILES("/new", "/old", "/older");
	/* what was noted since counts */
	used_add(used, "/new", now_us - SECOND);
	ASSERT_FILES("/new", "/old", "/older");
}

static void whether_there_is_news_can_be_told(void **state)
{
	uint64_t before = used->n_noted;

	(void)used_expect(used, "/a");
	assert_int_equal(used->n_noted, before);
	use("/a");
	assert_int_not_equal(used->n_noted, before);
}

static void a_guard_that_died_may_have_left_a_wrong_count(void **state)
{
	use("/a");
	use("/b");
	used->n = 0;
	used_recount(used);
	ASSERT_FILES("/b", "/a");
}

static void all_can_be_forgotten(void **state)
{
	use("/a");
	use("/b");
	used_clear(used);
	ASSERT_NONE();
	use("/b");
	ASSERT_FILES("/b");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_most_recently_used_come_first),
		TEST(a_file_counts_once_it_is_clean),
		TEST(a_file_that_is_not_clean_does_not_count_any_more),
		TEST(who_is_waited_for_is_there_already),
		TEST(nothing_is_noted_for_nobody),
		TEST(a_long_path_is_not_noted),
		TEST(the_least_recently_used_makes_room),
		TEST(a_ticket_that_was_overtaken_is_worth_nothing),
		TEST(it_is_bounded_and_makes_use_of_its_places),
		TEST(who_reads_sees_only_what_he_had_seen),
		TEST(what_was_known_before_is_as_if_noted_then),
		TEST(whether_there_is_news_can_be_told),
		TEST(a_guard_that_died_may_have_left_a_wrong_count),
		TEST(all_can_be_forgotten),
	};

	return cmocka_run_group_tests_name("used", tests, NULL, NULL);
}
