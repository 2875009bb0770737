/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/cli/human.h"
#include "../../../src/cli/progress.h"
#include "../support/unit.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static char line[2048];

/* Every character that is not ASCII counts as two. */
static unsigned columns(const char *text)
{
	unsigned n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0x80) == 0	     ? 1
		     : ((unsigned char)*text & 0xc0) == 0xc0 ? 2
							     : 0;
	return n;
}

static const char *format(unsigned width, const struct progress *progress)
{
	return progress_format(line, sizeof(line), width, progress);
}

static struct progress half_done(const char *path)
{
	return (struct progress){
		.files = 50,
		.bytes = 50 << 20,
		.has_totals = true,
		.total_files = 100,
		.total_bytes = 100 << 20,
		.elapsed_us = 10000000,
		.path = path,
	};
}

static void it_says_how_much_is_done_and_how_long_it_takes(void **state)
{
	const struct progress progress = half_done("/srv/a");

	assert_string_equal(format(200, &progress),
			    "[##########          ]  50%  50/100 files  50.0 MB/100.0 MB  5.0 MB/s"
			    "  ETA 0:10  /srv/a");
}

static void without_totals_there_is_no_percentage(void **state)
{
	struct progress progress = half_done("/srv/a");

	progress.has_totals = false;
	assert_string_equal(format(200, &progress),
			    "counting  50 files  50.0 MB  5.0 MB/s  /srv/a");
}

static void a_narrow_terminal_gets_less(void **state)
{
	const struct progress progress = half_done("/srv/a");

	assert_null(strchr(format(80, &progress), '['));
	assert_non_null(strstr(line, "50%"));
}

/* What was counted is what was there then. */
static void it_is_never_more_than_all(void **state)
{
	struct progress progress = half_done("");

	progress.files = 500;
	progress.bytes = 500 << 20;
	assert_non_null(strstr(format(200, &progress), "100%"));
	assert_non_null(strstr(line, "ETA 0:00"));
}

static void nothing_to_do_is_all_done(void **state)
{
	const struct progress progress = {.has_totals = true, .path = ""};

	assert_non_null(strstr(format(200, &progress), "100%"));
}

static void hours_have_their_place(void **state)
{
	struct progress progress = half_done("");

	progress.elapsed_us = UINT64_C(3723) * 1000000;
	assert_non_null(strstr(format(200, &progress), "ETA 1:02:03"));
}

static void a_long_path_shows_its_end(void **state)
{
	const struct progress progress = half_done(
		"/srv/a/very/long/path/that/does/not/fit/into/the/line/at/all/really/end");
	size_t length = strlen(format(110, &progress));

	assert_int_equal(length, 110);
	assert_non_null(strstr(line, "..."));
	assert_string_equal(line + length - 4, "/end");
}

static void no_line_is_wider_than_the_terminal(void **state)
{
	static const char long_path[] = "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
					"aaaaaaaaaaaaaaaaaaaaaaaaa";
	static const char wide_path[] = "/srv/\xc3\xa4\xc3\xb6\xc3\xbc/\xe6\xbc\xa2\xe5\xad\x97/x";
	static const char *const paths[] = {"", "/a", wide_path, "/a\n\x1b[2Jb\xff", long_path};

	for (size_t i = 0; i < N_ELEMENTS(paths); i++)
		for (unsigned width = 1; width < 200; width++)
			for (int totals = 0; totals < 2; totals++) {
				struct progress progress = half_done(paths[i]);

				progress.has_totals = totals;
				if (columns(format(width, &progress)) > width)
					fail_msg("%u columns: %s", width, line);
				for (const char *c = line; *c; c++)
					assert_true((unsigned char)*c >= ' ');
			}
}

static void cutting_keeps_characters_whole(void **state)
{
	for (unsigned width = 90; width < 130; width++) {
		const struct progress progress = half_done(
			"/\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
			"\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4");
		const char *cut = strstr(format(width, &progress), "...");

		if (cut && cut[3])
			assert_int_equal((unsigned char)cut[3], 0xc3);
	}
}

/* --- transfers --- */

static const char *format_transfer(unsigned width, const struct progress_transfer *transfer)
{
	return progress_format_transfer(line, sizeof(line), width, transfer);
}

static struct progress_transfer half_received(const char *name)
{
	return (struct progress_transfer){
		.name = name,
		.done = 30 << 20,
		.total = 60 << 20,
		.received = 20 << 20,
		.elapsed_us = 10000000,
	};
}

/* What was there before says nothing of how fast it is. */
static void a_transfer_says_how_far_and_how_fast_it_is(void **state)
{
	const struct progress_transfer transfer = half_received("daily.cvd");

	assert_string_equal(format_transfer(120, &transfer),
			    "daily.cvd             [##########          ]  50%  30.0 MB/60.0 MB  "
			    "2.0 MB/s  ETA 0:15");
}

static void a_transfer_without_a_total_has_no_percentage(void **state)
{
	struct progress_transfer transfer = half_received("local.ndb");

	transfer.total = 0;
	assert_string_equal(format_transfer(120, &transfer),
			    "local.ndb             30.0 MB  2.0 MB/s");
}

static void a_transfer_that_stands_still_never_ends(void **state)
{
	struct progress_transfer transfer = half_received("daily.cvd");

	transfer.received = 0;
	assert_null(strstr(format_transfer(120, &transfer), "ETA"));
	transfer.elapsed_us = 0;
	assert_non_null(strstr(format_transfer(120, &transfer), " 0 B/s"));
}

/* A server may send more than it said. */
static void a_transfer_is_never_more_than_all(void **state)
{
	struct progress_transfer transfer = half_received("daily.cvd");

	transfer.done = 61 << 20;
	assert_non_null(strstr(format_transfer(120, &transfer), "[####################] 100%"));
	assert_non_null(strstr(line, "ETA 0:00"));
}

static void a_long_name_shows_its_end(void **state)
{
	const struct progress_transfer transfer =
		half_received("a-very-long-name-of-a-file-27451.cdiff");
	const char *expected = "...-file-27451.cdiff  [";

	assert_int_equal(strncmp(format_transfer(120, &transfer), expected, strlen(expected)), 0);
}

static void no_transfer_is_wider_than_the_terminal(void **state)
{
	static const char *const names[] = {
		"", "daily.cvd", "\n\x1b[2J\xff",
		"\xe6\xbc\xa2\xe5\xad\x97\xe6\xbc\xa2\xe5\xad\x97\xe6"
		"\xbc\xa2\xe5\xad\x97\xe6\xbc\xa2\xe5\xad\x97.\xe6\xbc\xa2"
		"\xe5\xad\x97.cvd"};

	for (size_t i = 0; i < N_ELEMENTS(names); i++)
		for (unsigned width = 1; width < 200; width++)
			for (int total = 0; total < 2; total++) {
				struct progress_transfer transfer = half_received(names[i]);

				transfer.total = total ? UINT64_MAX : 0;
				if (columns(format_transfer(width, &transfer)) > width)
					fail_msg("%u columns: %s", width, line);
				for (const char *c = line; *c; c++)
					assert_true((unsigned char)*c >= ' ');
			}
}

static void numbers_are_written_for_people(void **state)
{
	char text[64];

	assert_string_equal(human_bytes(text, sizeof(text), 0), "0 B");
	assert_string_equal(human_bytes(text, sizeof(text), 1023), "1023 B");
	assert_string_equal(human_bytes(text, sizeof(text), 1536), "1.5 KB");
	assert_string_equal(human_bytes(text, sizeof(text), UINT64_MAX), "16.0 EB");
	assert_string_equal(human_duration(text, sizeof(text), -5), "0 s");
	assert_string_equal(human_duration(text, sizeof(text), 59), "59 s");
	assert_string_equal(human_duration(text, sizeof(text), 61), "1 min 1 s");
	assert_string_equal(human_duration(text, sizeof(text), 3723), "1 h 2 min");
	assert_string_equal(human_duration(text, sizeof(text), 90000), "1 d 1 h");
	(void)setenv("TZ", "UTC", 1);
	tzset();
	assert_string_equal(human_time(text, sizeof(text), 1795312800), "2026-11-22 02:00:00");
	assert_string_equal(human_time_near(text, sizeof(text), 1795312800, 1795312799), "02:00");
	assert_string_equal(human_time_near(text, sizeof(text), 1795312800, 1795312800 - 7200 - 1),
			    "2026-11-22 02:00");
	assert_string_equal(
		human_time_near(text, sizeof(text), 1795312800, 1795312800 + INT64_C(365) * 86400),
		"2026-11-22 02:00");
	assert_string_equal(human_count(text, sizeof(text), 0), "0");
	assert_string_equal(human_count(text, sizeof(text), 999), "999");
	assert_string_equal(human_count(text, sizeof(text), 1000), "1,000");
	assert_string_equal(human_count(text, sizeof(text), 2041234), "2,041,234");
	assert_string_equal(human_count(text, sizeof(text), UINT64_MAX),
			    "18,446,744,073,709,551,615");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_says_how_much_is_done_and_how_long_it_takes),
		cmocka_unit_test(without_totals_there_is_no_percentage),
		cmocka_unit_test(a_narrow_terminal_gets_less),
		cmocka_unit_test(it_is_never_more_than_all),
		cmocka_unit_test(nothing_to_do_is_all_done),
		cmocka_unit_test(hours_have_their_place),
		cmocka_unit_test(a_long_path_shows_its_end),
		cmocka_unit_test(no_line_is_wider_than_the_terminal),
		cmocka_unit_test(cutting_keeps_characters_whole),
		cmocka_unit_test(a_transfer_says_how_far_and_how_fast_it_is),
		cmocka_unit_test(a_transfer_without_a_total_has_no_percentage),
		cmocka_unit_test(a_transfer_that_stands_still_never_ends),
		cmocka_unit_test(a_transfer_is_never_more_than_all),
		cmocka_unit_test(a_long_name_shows_its_end),
		cmocka_unit_test(no_transfer_is_wider_than_the_terminal),
		cmocka_unit_test(numbers_are_written_for_people),
	};

	return cmocka_run_group_tests_name("progress", tests, NULL, NULL);
}
