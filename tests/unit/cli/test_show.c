/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/cli/show.h"
#include "../support/unit.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct fixture {
	struct show *show;
	FILE *out, *err;
	char *out_text, *err_text;
	size_t out_size, err_size;
};

static struct fixture fixture;

static const char *const named[] = {"/srv/fifo", "/srv/link"};

static void begin(bool json, bool verbose)
{
	struct show_options options = {
		.json = json,
		.verbose = verbose,
		.summary = true,
		.named = named,
		.n_named = N_ELEMENTS(named),
	};

	fixture.out = options.out = open_memstream(&fixture.out_text, &fixture.out_size);
	fixture.err = options.err = open_memstream(&fixture.err_text, &fixture.err_size);
	fixture.show = show_new(&options);
	assert_non_null(fixture.show);
}

static int teardown(void **state)
{
	show_free(fixture.show);
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

static void tell(const char *path, enum verdict verdict, const char *reason, const char *warning,
		 uint32_t flags)
{
	struct wire_verdict message = {.verdict = verdict, .flags = flags, .scanned = 3 << 20};

	(void)snprintf(message.reason, sizeof(message.reason), "%s", reason);
	(void)snprintf(message.warning, sizeof(message.warning), "%s", warning);
	show_verdict(fixture.show, path, 1 << 20, &message);
}

static void skip_item(const char *path, enum walk_reason reason)
{
	const struct walk_item item = {.kind = WALK_SKIPPED, .path = path, .reason = reason};

	show_item(fixture.show, &item);
}

static void findings_are_lines_and_clean_files_are_not(void **state)
{
	begin(false, false);
	tell("/srv/a", VERDICT_CLEAN, "", "", 0);
	tell("/srv/b", VERDICT_INFECTED, "Win.Test", "", 0);
	tell("/srv/c", VERDICT_INCOMPLETE, "max-scan-time", "", 0);
	tell("/srv/d", VERDICT_FAILED, "its worker died", "", 0);
	assert_string_equal(out(), "/srv/b: Win.Test FOUND\n"
				   "/srv/c: not verified (max-scan-time)\n"
				   "/srv/d: not verified (its worker died)\n");
	assert_string_equal(err(), "");
}

static void verbose_lists_every_file(void **state)
{
	begin(false, true);
	tell("/srv/a", VERDICT_CLEAN, "", "", 0);
	tell("/srv/b", VERDICT_CLEAN, "", "", WIRE_VERDICT_KNOWN);
	skip_item("/srv/c", WALK_SPECIAL);
	assert_string_equal(out(), "/srv/a: OK\n/srv/b: OK (verified before)\n"
				   "/srv/c: skipped (special)\n");
	show_end(fixture.show, NULL, false);
	assert_int_equal(show_exit_code(fixture.show), 0);
}

static void warnings_and_errors_go_to_standard_error(void **state)
{
	begin(false, false);
	tell("/srv/a", VERDICT_CLEAN, "", "odd\nheader", 0);
	show_unopened(fixture.show, "/srv/b", -EACCES);
	show_unreadable(fixture.show, "/srv/c", -EIO);
	assert_string_equal(out(), "");
	assert_string_equal(err(), "/srv/a: warning: odd\\x0aheader\n"
				   "/srv/b: cannot open: Permission denied\n"
				   "/srv/c: cannot open: Input/output error\n");
	assert_int_equal(show_counts(fixture.show).errors, 2);
}

static void no_name_forges_a_line(void **state)
{
	begin(false, false);
	tell("/srv/a\n/etc: OK\xff", VERDICT_INFECTED, "S\x1b[2J", "", 0);
	assert_string_equal(out(), "/srv/a\\x0a/etc: OK\\xff: S\\x1b[2J FOUND\n");
}

/* Users choose the types of their FUSE filesystems. */
static void no_filesystem_forges_a_line(void **state)
{
	const struct walk_item item = {.kind = WALK_SKIPPED,
				       .reason = WALK_REMOTE,
				       .path = "/srv/mount",
				       .filesystem = "fuse.\x1b[2J"};

	begin(false, true);
	show_item(fixture.show, &item);
	assert_string_equal(out(), "/srv/mount: skipped (remote: fuse.\\x1b[2J)\n");
}

/* What was named is asked for; what lies below is not. */
static void what_was_named_and_is_skipped_is_an_error(void **state)
{
	begin(false, false);
	skip_item("/srv/other", WALK_SPECIAL);
	assert_string_equal(out(), "");
	skip_item("/srv/fifo", WALK_SPECIAL);
	assert_string_equal(out(), "/srv/fifo: skipped (special)\n");
	assert_int_equal(show_counts(fixture.show).errors, 1);
	skip_item("/srv/link", WALK_LINK);
	assert_int_equal(show_counts(fixture.show).errors, 1);
}

static void
a_file_that_went_away_is_no_error_and_one_that_was_replaced_is_not_verified(void **state)
{
	begin(false, false);
	show_unopened(fixture.show, "/srv/a", -ENOENT);
	assert_int_equal(show_counts(fixture.show).skipped[WALK_GONE], 1);
	assert_int_equal(show_exit_code(fixture.show), 0);
	show_unopened(fixture.show, "/srv/b", -ESTALE);
	assert_int_equal(show_counts(fixture.show).failed, 1);
	assert_int_equal(show_exit_code(fixture.show), 2);
}

static void the_exit_code_says_the_worst(void **state)
{
	begin(false, false);
	tell("/a", VERDICT_CLEAN, "", "", 0);
	assert_int_equal(show_exit_code(fixture.show), 0);
	tell("/a", VERDICT_INCOMPLETE, "x", "", 0);
	assert_int_equal(show_exit_code(fixture.show), 2);
	show_problem(fixture.show, "the service has gone");
	assert_int_equal(show_exit_code(fixture.show), 2);
	tell("/a", VERDICT_INFECTED, "x", "", 0);
	assert_int_equal(show_exit_code(fixture.show), 1);
}

static void an_interrupted_scan_is_not_clean(void **state)
{
	begin(false, false);
	show_end(fixture.show, NULL, true);
	assert_int_equal(show_exit_code(fixture.show), 2);
	assert_non_null(strstr(out(), "\nInterrupted\n"));
}

static void after_the_end_nothing_is_shown(void **state)
{
	size_t length;

	begin(false, true);
	show_end(fixture.show, NULL, false);
	length = strlen(out());
	tell("/a", VERDICT_INFECTED, "x", "y", 0);
	show_unreadable(fixture.show, "/b", -EIO);
	show_note(fixture.show, "note");
	skip_item("/srv/fifo", WALK_SPECIAL);
	assert_int_equal(strlen(out()), length);
	assert_string_equal(err(), "");
}

static const struct wire_engine_info info = {
	.signatures = 8700000, .engine = "1.4.6", .versions = "daily.cvd 27450"};

static void the_summary_has_the_lines_that_clamscan_has(void **state)
{
	const struct walk_item directory = {.kind = WALK_DIRECTORY, .path = "/srv"};
	static const char *const lines[] = {
		"\n----------- SCAN SUMMARY -----------\n",
		"\nKnown viruses: 8700000\n",
		"\nEngine version: 1.4.6\n",
		"\nScanned directories: 1\n",
		"\nScanned files: 3\n",
		"\nInfected files: 1\n",
		"\nTotal errors: 1\n",
		"\nVerified before: 1\n",
		"\nNot verified: 1\n",
		"\nSkipped: 3 (1 filesystem, 2 special)\n",
		"\nData scanned: 9.00 MB\n",
		/* what was verified before is not read again */
		"\nData read: 2.00 MB (ratio 4.50:1)\n",
		"\nTime: 0.0",
		"\nStart Date: 2",
		"\nEnd Date:   2",
	};

	begin(false, false);
	show_item(fixture.show, &directory);
	tell("/srv/a", VERDICT_CLEAN, "", "", WIRE_VERDICT_KNOWN);
	tell("/srv/b", VERDICT_INFECTED, "Sig", "", 0);
	tell("/srv/c", VERDICT_FAILED, "why", "", 0);
	show_unreadable(fixture.show, "/srv/d", -EIO);
	skip_item("/srv/x", WALK_SPECIAL);
	skip_item("/srv/y", WALK_SPECIAL);
	skip_item("/srv/z", WALK_FILESYSTEM);
	show_end(fixture.show, &info, false);
	for (size_t i = 0; i < N_ELEMENTS(lines); i++)
		if (!strstr(out(), lines[i]))
			fail_msg("not there: %s\n%s", lines[i], out());
}

static json_t *next_line(const char **at)
{
	const char *end = strchr(*at, '\n');
	json_t *object;

	assert_non_null(end);
	object = json_loadb(*at, (size_t)(end - *at), 0, NULL);
	if (!object)
		fail_msg("no JSON: %s", *at);
	*at = end + 1;
	return object;
}

static void expect(json_t *object, const char *key, const char *value)
{
	assert_string_equal(json_string_value(json_object_get(object, key)), value);
}

static void each_thing_is_one_line_of_json(void **state)
{
	static const struct conf_entry rule = {.text = (char *)"/srv/tmp"};
	const struct walk_item excluded = {
		.kind = WALK_SKIPPED, .path = "/srv/tmp", .reason = WALK_EXCLUDED, .rule = &rule};
	const char *at;
	json_t *object;

	begin(true, true);
	tell("/srv/\xff", VERDICT_INFECTED, "Sig", "odd", 0);
	show_unopened(fixture.show, "/srv/b", -EACCES);
	tell("/srv/c", VERDICT_CLEAN, "", "", WIRE_VERDICT_KNOWN);
	show_item(fixture.show, &excluded);
	show_end(fixture.show, &info, false);
	at = out();

	object = next_line(&at);
	expect(object, "type", "warning");
	expect(object, "warning", "odd");
	json_decref(object);
	object = next_line(&at);
	expect(object, "type", "found");
	expect(object, "path", "/srv/\\xff");
	expect(object, "signature", "Sig");
	json_decref(object);
	object = next_line(&at);
	expect(object, "type", "error");
	expect(object, "error", "Permission denied");
	json_decref(object);
	object = next_line(&at);
	expect(object, "type", "clean");
	assert_true(json_is_true(json_object_get(object, "known")));
	json_decref(object);
	object = next_line(&at);
	expect(object, "type", "skipped");
	expect(object, "reason", "excluded");
	expect(object, "rule", "/srv/tmp");
	json_decref(object);
	object = next_line(&at);
	expect(object, "type", "summary");
	expect(object, "engine", "1.4.6");
	assert_int_equal(json_integer_value(json_object_get(object, "infected")), 1);
	assert_int_equal(json_integer_value(json_object_get(object, "files")), 2);
	assert_int_equal(json_integer_value(json_object_get(object, "errors")), 1);
	assert_int_equal(json_integer_value(json_object_get(object, "exit_code")), 1);
	json_decref(object);
	assert_string_equal(at, "");
	assert_string_equal(err(), "");
}

#define TEST(function) cmocka_unit_test_teardown(function, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(findings_are_lines_and_clean_files_are_not),
		TEST(verbose_lists_every_file),
		TEST(warnings_and_errors_go_to_standard_error),
		TEST(no_name_forges_a_line),
		TEST(no_filesystem_forges_a_line),
		TEST(what_was_named_and_is_skipped_is_an_error),
		TEST(a_file_that_went_away_is_no_error_and_one_that_was_replaced_is_not_verified),
		TEST(the_exit_code_says_the_worst),
		TEST(an_interrupted_scan_is_not_clean),
		TEST(after_the_end_nothing_is_shown),
		TEST(the_summary_has_the_lines_that_clamscan_has),
		TEST(each_thing_is_one_line_of_json),
	};

	return cmocka_run_group_tests_name("show", tests, NULL, NULL);
}
