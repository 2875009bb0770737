/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/cli/update_show.h"
#include "../support/unit.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NOW 1795312800 /* 2026-11-22 02:00:00 UTC */

/* --- lines --- */

static char line[UPDATE_LINE_MAX];

static const char *format(const struct wire_update_item *item)
{
	return update_format_item(line, sizeof(line), item, NOW);
}

static void an_update_says_what_is_new(void **state)
{
	const struct wire_update_item item = {
		.result = WIRE_UPDATE_UPDATED,
		.patches = 3,
		.version_before = 27450,
		.version_after = 27451,
		.signatures_before = 2040922,
		.signatures_after = 2041234,
		.bytes = 8300,
		.name = "daily",
		.source = "http://mirror/clamav",
	};

	assert_string_equal(format(&item),
			    "daily      27450 -> 27451, 2,041,234 signatures (+312), 3 cdiffs, "
			    "8.1 KB from http://mirror/clamav");
}

static void signatures_may_become_fewer(void **state)
{
	const struct wire_update_item item = {
		.result = WIRE_UPDATE_UPDATED,
		.patches = 1,
		.version_before = 1,
		.version_after = 2,
		.signatures_before = 1001,
		.signatures_after = 1,
		.bytes = 10,
		.name = "daily",
		.text = "one more is to come",
	};

	assert_string_equal(format(&item), "daily      1 -> 2, 1 signature (-1,000), 1 cdiff, 10 B;"
					   " one more is to come");
}

static void the_first_one_has_nothing_to_compare_with(void **state)
{
	const struct wire_update_item item = {
		.result = WIRE_UPDATE_UPDATED,
		.version_after = 62,
		.signatures_after = 6647427,
		.bytes = 170 << 20,
		.name = "main",
		.source = "http://m",
	};

	assert_string_equal(format(&item),
			    "main       62, 6,647,427 signatures, 170.0 MB from http://m");
}

static void custom_files_have_no_version(void **state)
{
	struct wire_update_item item = {
		.result = WIRE_UPDATE_UPDATED,
		.signatures_before = 12,
		.signatures_after = 12,
		.bytes = 3482,
		.name = "local.ndb",
		.source = "https://x/local.ndb",
	};

	assert_string_equal(format(&item),
			    "local.ndb  12 signatures, 3.4 KB from https://x/local.ndb");
	item.signatures_after = 0;
	assert_string_equal(format(&item), "local.ndb  updated, 3.4 KB from https://x/local.ndb");
	item.result = WIRE_UPDATE_UP_TO_DATE;
	assert_string_equal(format(&item), "local.ndb  up to date");
}

static void nothing_new_is_said_briefly(void **state)
{
	const struct wire_update_item item = {
		.result = WIRE_UPDATE_UP_TO_DATE,
		.version_before = 62,
		.version_after = 62,
		.name = "main",
		.source = "http://mirror",
	};

	assert_string_equal(format(&item), "main       62, up to date");
}

static void a_cool_down_says_until_when_and_why(void **state)
{
	struct wire_update_item item = {
		.result = WIRE_UPDATE_COOL_DOWN,
		.until = NOW + 12 * 3600 + 300,
		.name = "bytecode",
		.source = "http://mirror",
		.text = "429 Too Many Requests",
	};

	assert_string_equal(format(&item),
			    "bytecode   cool-down until 14:05 (http://mirror: 429 Too Many "
			    "Requests)");
	/* the day where it is another one */
	item.until = NOW + 24 * 3600;
	assert_non_null(strstr(format(&item), "cool-down until 2026-11-23 02:00 ("));
	item.until = 0;
	item.text[0] = '\0';
	assert_string_equal(format(&item), "bytecode   cool-down (http://mirror)");
}

static void a_failure_says_where_and_why_once(void **state)
{
	struct wire_update_item item = {
		.result = WIRE_UPDATE_FAILED,
		.name = "daily",
		.source = "http://mirror",
		.text = "the signature is wrong",
	};

	assert_string_equal(format(&item), "daily      FAILED: http://mirror: the signature is "
					   "wrong");
	(void)snprintf(item.text, sizeof(item.text), "http://mirror/daily.cvd: no connection");
	assert_string_equal(format(&item),
			    "daily      FAILED: http://mirror/daily.cvd: no connection");
}

/* Names and texts come from servers. */
static void nothing_forges_a_line(void **state)
{
	static const char evil[] = "\n\x1b[2J\xff\xe2\x80\xae";
	struct wire_update_item item = {0};

	(void)snprintf(item.name, sizeof(item.name), "%s", evil);
	(void)snprintf(item.source, sizeof(item.source), "%s", evil);
	(void)snprintf(item.text, sizeof(item.text), "a%s", evil);
	for (uint32_t result = 0; result < WIRE_UPDATE_RESULT_COUNT; result++) {
		item.result = result;
		for (const char *c = format(&item); *c; c++)
			assert_in_range((unsigned char)*c, ' ', '~');
	}
}

static void the_longest_texts_fit_and_are_cut_where_there_is_no_room(void **state)
{
	struct wire_update_item item = {.result = WIRE_UPDATE_FAILED};
	char small[32];

	memset(item.name, 1, sizeof(item.name) - 1);
	memset(item.source, 2, sizeof(item.source) - 1);
	memset(item.text, 3, sizeof(item.text) - 1);
	format(&item);
	assert_string_equal(line + strlen(line) - 8, "\\x03\\x03");
	for (size_t size = 1; size < sizeof(small); size++) {
		memset(small, 'x', sizeof(small));
		update_format_item(small, size, &item, NOW);
		assert_int_equal(strlen(small), size - 1);
	}
}

static void exit_codes_are_those_documented(void **state)
{
	assert_int_equal(update_code(WIRE_UPDATE_UPDATED), 0);
	assert_int_equal(update_code(WIRE_UPDATE_UP_TO_DATE), 1);
	assert_int_equal(update_code(WIRE_UPDATE_FAILED), 2);
	assert_int_equal(update_code(WIRE_UPDATE_COOL_DOWN), 3);
	assert_int_equal(update_code(WIRE_UPDATE_RESULT_COUNT), 2);
}

/* --- what is printed --- */

struct fixture {
	struct update_show *show;
	FILE *out, *err;
	char *out_text, *err_text;
	size_t out_size, err_size;
};

static struct fixture fixture;

static void begin(struct update_show_options options)
{
	fixture.out = options.out = open_memstream(&fixture.out_text, &fixture.out_size);
	fixture.err = options.err = open_memstream(&fixture.err_text, &fixture.err_size);
	fixture.show = update_show_new(&options);
	assert_non_null(fixture.show);
}

static int teardown(void **state)
{
	fixture.show = update_show_free(fixture.show);
	(void)fclose(fixture.out);
	(void)fclose(fixture.err);
	free(fixture.out_text);
	free(fixture.err_text);
	return 0;
}

static const char *out(void)
{
	(void)fflush(fixture.out);
	return fixture.out_text;
}

static const char *err(void)
{
	(void)fflush(fixture.err);
	return fixture.err_text;
}

static void tell(enum wire_update_result result, const char *name, const char *text)
{
	struct wire_update_item item = {.result = result, .version_after = 7};

	(void)snprintf(item.name, sizeof(item.name), "%s", name);
	(void)snprintf(item.text, sizeof(item.text), "%s", text);
	update_show_item(fixture.show, &item);
}

static int end(enum wire_update_result result, bool published, const char *text)
{
	struct wire_update_done done = {
		.result = result,
		.published = published,
		.requests = *text ? 0 : 2,
		.bytes = 1536,
	};

	(void)snprintf(done.text, sizeof(done.text), "%s", text);
	return update_show_end(fixture.show, &done);
}

static void a_pipe_gets_plain_lines(void **state)
{
	const struct wire_update_progress progress = {.done = 1, .total = 2, .file = "daily.cvd"};

	begin((struct update_show_options){.service = true});
	update_show_progress(fixture.show, &progress);
	tell(WIRE_UPDATE_UP_TO_DATE, "main", "");
	assert_int_equal(end(WIRE_UPDATE_UP_TO_DATE, false, ""), 1);
	assert_string_equal(out(), "main       7, up to date\n"
				   "up to date: 2 requests, 1.5 KB received\n");
	assert_string_equal(err(), "");
}

static void the_service_loads_what_was_published(void **state)
{
	begin((struct update_show_options){.service = true});
	assert_int_equal(end(WIRE_UPDATE_UPDATED, true, ""), 0);
	assert_string_equal(out(), "updated: 2 requests, 1.5 KB received\n"
				   "the service loads the new signatures now\n");
}

static void without_the_service_nobody_loads_it(void **state)
{
	begin((struct update_show_options){.service = false});
	assert_int_equal(end(WIRE_UPDATE_UPDATED, true, ""), 0);
	assert_string_equal(out(), "updated: 2 requests, 1.5 KB received\n");
}

static void a_terminal_sees_the_transfer_until_the_line_of_its_file(void **state)
{
	struct wire_update_progress progress = {.done = 10, .total = 20, .file = "daily.cvd"};
	size_t length;

	begin((struct update_show_options){.progress = true});
	update_show_tick(fixture.show);
	assert_string_equal(err(), "");
	update_show_progress(fixture.show, &progress);
	assert_int_equal(strncmp(err(), "\rdaily.cvd ", 11), 0);
	assert_non_null(strstr(err(), " 50%  10 B/20 B  0 B/s"));
	assert_string_equal(out(), "");
	tell(WIRE_UPDATE_UP_TO_DATE, "daily", "");
	length = strlen(err());
	assert_string_equal(err() + length - 4, "\r\033[K");
	/* and it does not come back */
	update_show_tick(fixture.show);
	assert_int_equal(strlen(err()), length);
}

static void quiet_is_only_what_is_wrong(void **state)
{
	begin((struct update_show_options){.quiet = true});
	tell(WIRE_UPDATE_UPDATED, "daily", "");
	tell(WIRE_UPDATE_UP_TO_DATE, "main", "");
	tell(WIRE_UPDATE_FAILED, "a.ndb", "broken");
	tell(WIRE_UPDATE_COOL_DOWN, "b.ndb", "429");
	assert_int_equal(end(WIRE_UPDATE_FAILED, false, ""), 2);
	assert_string_equal(out(), "a.ndb      FAILED: broken\nb.ndb      cool-down (429)\n");
}

/* What the fetcher logs it mostly says of an item too, before or after. */
static void nothing_is_said_twice(void **state)
{
	begin((struct update_show_options){0});
	update_show_note(fixture.show, "a.ndb: it is broken\n");
	update_show_note(fixture.show, "the disk is slow");
	tell(WIRE_UPDATE_FAILED, "a.ndb", "it is broken");
	tell(WIRE_UPDATE_FAILED, "b.ndb", "no connection");
	update_show_note(fixture.show, "b.ndb: no connection");
	assert_int_equal(end(WIRE_UPDATE_FAILED, false, ""), 2);
	assert_string_equal(err(), "holdfast: the disk is slow\n");
}

static void a_refusal_is_an_error_and_no_run(void **state)
{
	begin((struct update_show_options){.service = true});
	assert_int_equal(end(WIRE_UPDATE_FAILED, false, "there is no mirror\x1b"), 2);
	assert_string_equal(out(), "");
	assert_string_equal(err(), "holdfast: update: there is no mirror\\x1b\n");
}

static void a_fetcher_that_is_lost_leaves_its_notes(void **state)
{
	begin((struct update_show_options){0});
	update_show_note(fixture.show, "out of memory");
	assert_int_equal(update_show_fail(fixture.show, 130, "interrupted"), 130);
	assert_string_equal(err(), "holdfast: out of memory\nholdfast: update: interrupted\n");
	assert_string_equal(out(), "");
}

static void programs_get_one_object(void **state)
{
	json_t *answer, *item;

	begin((struct update_show_options){.json = true, .service = true});
	tell(WIRE_UPDATE_FAILED, "a\xff.ndb", "it is \x1b broken");
	tell(WIRE_UPDATE_UP_TO_DATE, "main", "");
	assert_string_equal(out(), "");
	assert_int_equal(end(WIRE_UPDATE_FAILED, true, ""), 2);
	answer = json_loads(out(), 0, NULL);
	assert_non_null(answer);
	assert_string_equal(json_string_value(json_object_get(answer, "result")), "failed");
	assert_int_equal(json_integer_value(json_object_get(answer, "exit_code")), 2);
	assert_int_equal(json_integer_value(json_object_get(answer, "requests")), 2);
	assert_int_equal(json_integer_value(json_object_get(answer, "bytes")), 1536);
	assert_true(json_is_true(json_object_get(answer, "published")));
	assert_null(json_object_get(answer, "error"));
	assert_int_equal(json_array_size(json_object_get(answer, "items")), 2);
	item = json_array_get(json_object_get(answer, "items"), 0);
	assert_string_equal(json_string_value(json_object_get(item, "name")), "a\\xff.ndb");
	assert_string_equal(json_string_value(json_object_get(item, "result")), "failed");
	assert_string_equal(json_string_value(json_object_get(item, "text")), "it is \\x1b broken");
	item = json_array_get(json_object_get(answer, "items"), 1);
	assert_string_equal(json_string_value(json_object_get(item, "result")), "up-to-date");
	assert_int_equal(json_integer_value(json_object_get(item, "version_after")), 7);
	json_decref(answer);
}

static void programs_get_errors_too(void **state)
{
	json_t *answer;

	begin((struct update_show_options){.json = true});
	assert_int_equal(update_show_fail(fixture.show, 2, "no engine"), 2);
	answer = json_loads(out(), 0, NULL);
	assert_non_null(answer);
	assert_string_equal(json_string_value(json_object_get(answer, "error")), "no engine");
	assert_int_equal(json_integer_value(json_object_get(answer, "exit_code")), 2);
	json_decref(answer);
}

#define SHOW_TEST(function) cmocka_unit_test_teardown(function, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_update_says_what_is_new),
		cmocka_unit_test(signatures_may_become_fewer),
		cmocka_unit_test(the_first_one_has_nothing_to_compare_with),
		cmocka_unit_test(custom_files_have_no_version),
		cmocka_unit_test(nothing_new_is_said_briefly),
		cmocka_unit_test(a_cool_down_says_until_when_and_why),
		cmocka_unit_test(a_failure_says_where_and_why_once),
		cmocka_unit_test(nothing_forges_a_line),
		cmocka_unit_test(the_longest_texts_fit_and_are_cut_where_there_is_no_room),
		cmocka_unit_test(exit_codes_are_those_documented),
		SHOW_TEST(a_pipe_gets_plain_lines),
		SHOW_TEST(the_service_loads_what_was_published),
		SHOW_TEST(without_the_service_nobody_loads_it),
		SHOW_TEST(a_terminal_sees_the_transfer_until_the_line_of_its_file),
		SHOW_TEST(quiet_is_only_what_is_wrong),
		SHOW_TEST(nothing_is_said_twice),
		SHOW_TEST(a_refusal_is_an_error_and_no_run),
		SHOW_TEST(a_fetcher_that_is_lost_leaves_its_notes),
		SHOW_TEST(programs_get_one_object),
		SHOW_TEST(programs_get_errors_too),
	};

	(void)setenv("TZ", "UTC", 1);
	(void)setenv("NO_COLOR", "1", 1);
	tzset();
	return cmocka_run_group_tests_name("update_show", tests, NULL, NULL);
}
