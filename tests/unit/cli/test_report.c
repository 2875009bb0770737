/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/cli/cli.h"
#include "../support/scratch.h"

#define WORDS_MAX 8

static struct cli cli;
static char config[PATH_MAX];
static char said[65536]; /* on both standard streams */

/* Runs the verb with words behind it. */
static int report(const char *const *words)
{
	char *argv[WORDS_MAX] = {(char *)"holdfast"};
	int argc = 1, error = dup(STDERR_FILENO), output = dup(STDOUT_FILENO), code;
	int file = open("said", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t n;

	while (*words)
		argv[argc++] = (char *)*words++;
	(void)fflush(stdout);
	(void)dup2(file, STDERR_FILENO);
	(void)dup2(file, STDOUT_FILENO);
	code = verb_report(&cli, argc, argv);
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

#define REPORT(...)    report((const char *const[]){__VA_ARGS__, NULL})
#define REPORT_PLAIN() report((const char *const[]){NULL})

static void expect(const char *text)
{
	if (!strstr(said, text))
		fail_msg("'%s' is not in:\n%s", text, said);
}

static void expect_no(const char *text)
{
	if (strstr(said, text))
		fail_msg("'%s' is in:\n%s", text, said);
}

static void write_report(const char *name, const char *events, int infected)
{
	char text[4096], path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "state/scans/reports/%s", name);
	(void)snprintf(text, sizeof(text),
		       "{\"format\":1,\"events\":[%s],\"summary\":{\"state\":\"complete\","
		       "\"began\":1795312800,\"ended\":1795316523,\"sessions\":2,"
		       "\"signatures\":\"daily.cvd 27450\",\"engine\":\"1.4.6\","
		       "\"known_signatures\":8700000,\"paths\":[\"/\",\"/srv\"],"
		       "\"directories\":12,\"files\":345,\"bytes\":1048576,\"known\":300,"
		       "\"scanned\":45,\"bytes_scanned\":2048,\"infected\":%d,\"incomplete\":1,"
		       "\"failed\":2,\"skipped\":{\"excluded\":3,\"kernel\":4},\"unlisted\":7}}",
		       events, infected);
	scratch_write(path, text, strlen(text));
}

static int setup(void **state)
{
	char text[PATH_MAX + 64];

	if (scratch_setup(state) < 0)
		return -1;
	(void)snprintf(text, sizeof(text),
		       "[service]\nstate-dir = %s/state\n[on-access]\ninclude = /x\n", scratch);
	scratch_write("h.conf", text, strlen(text));
	(void)snprintf(config, sizeof(config), "%s/h.conf", scratch);
	cli.config = config;
	(void)setenv("TZ", "UTC", 1);
	return 0;
}

static int setup_reports(void **state)
{
	if (setup(state) < 0)
		return -1;
	(void)mkdir("state", 0755);
	(void)mkdir("state/scans", 0755);
	(void)mkdir("state/scans/reports", 0755);
	write_report("2026-11-22T02-00-00.json",
		     "{\"type\":\"found\",\"path\":\"/srv/a\\\\x0ab\",\"signature\":\"Sig.A\"},"
		     "{\"type\":\"incomplete\",\"path\":\"/srv/b\",\"reason\":\"max-scan-time\"},"
		     "{\"type\":\"failed\",\"path\":\"/srv/c\",\"reason\":\"worker died\"},"
		     "{\"type\":\"skipped\",\"path\":\"/srv/d\",\"reason\":\"unreadable\","
		     "\"error\":-13},"
		     "{\"type\":\"skipped\",\"path\":\"/proc\",\"reason\":\"kernel\"},"
		     "{\"type\":\"found\",\"path\":\"/srv/\\u001b[2J\",\"signature\":\"Sig.B\"}",
		     2);
	write_report("2026-11-21T02-00-00.json", "", 0);
	write_report(".2026-11-23T02-00-00.json", "", 99); /* being written */
	write_report("notes.txt", "", 99);
	return 0;
}

static void the_last_report_is_told(void **state)
{
	assert_int_equal(REPORT_PLAIN(), CLI_OK);
	expect("2026-11-22 02:00:00 to 2026-11-22 03:02:03 (1 h 2 min), in 2 parts\n");
	expect("8700000: daily.cvd 27450; engine 1.4.6\n");
	expect("/, /srv\n");
	expect("345 in 12 directories, 1.0 MB\n");
	expect("300 before, 45 scanned (2.0 KB)\n");
	expect("1 incomplete, 2 failed\n");
	expect("3 excluded, 4 kernel\n");
	expect("/srv/b: not verified (max-scan-time)\n");
	expect("/srv/c: not verified (worker died)\n");
	expect("/srv/d: cannot be read: Permission denied\n");
	expect("7 more");
	expect_no("/proc");
	assert_int_equal(REPORT("--last"), CLI_OK);
	expect("Sig.A FOUND");
}

/* What was escaped when it was written is not escaped again, and what was not is. */
static void names_are_one_line_each(void **state)
{
	assert_int_equal(REPORT_PLAIN(), CLI_OK);
	expect("\n/srv/a\\x0ab: Sig.A FOUND\n");
	expect("\n/srv/\\x1b[2J: Sig.B FOUND\n");
}

static void a_report_can_be_named(void **state)
{
	assert_int_equal(REPORT("2026-11-21T02-00-00"), CLI_OK);
	expect_no("FOUND");
	assert_int_equal(REPORT("2026-11-22T02-00-00.json"), CLI_OK);
	expect("FOUND");
	assert_int_equal(REPORT("2026-11-20T02-00-00"), CLI_ERROR);
	expect("--list");
	assert_int_equal(REPORT("../../../h.conf"), CLI_ERROR);
}

static void an_abandoned_scan_is_not_complete(void **state)
{
	static const char text[] = "{\"events\":[],\"summary\":{\"state\":\"abandoned\"}}";

	scratch_write("state/scans/reports/2026-11-23T02-00-00Z.json", text, strlen(text));
	assert_int_equal(REPORT("--last"), CLI_OK);
	expect("NOT COMPLETE");
	expect_no("signatures");
	assert_int_equal(REPORT("--list"), CLI_OK);
	expect("abandoned");
}

static void the_list_has_a_line_for_each(void **state)
{
	const char *first, *second;

	assert_int_equal(REPORT("--list"), CLI_OK);
	first = strstr(said, "2026-11-21T02-00-00 ");
	second = strstr(said, "2026-11-22T02-00-00 ");
	assert_non_null(first);
	assert_true(second > first);
	expect("2 infected");
	expect_no("99 infected");
}

static void programs_get_the_report_as_it_is(void **state)
{
	json_t *answer;

	assert_int_equal(REPORT("--json"), CLI_OK);
	answer = json_loads(said, 0, NULL);
	assert_int_equal(json_array_size(json_object_get(answer, "events")), 6);
	json_decref(answer);
	assert_int_equal(REPORT("--list", "--json"), CLI_OK);
	answer = json_loads(said, 0, NULL);
	assert_int_equal(json_array_size(answer), 2);
	assert_string_equal(json_string_value(json_object_get(json_array_get(answer, 1), "name")),
			    "2026-11-22T02-00-00");
	assert_int_equal(json_integer_value(json_object_get(json_array_get(answer, 1), "infected")),
			 2);
	json_decref(answer);
}

static void a_damaged_report_does_not_hide_the_others(void **state)
{
	scratch_write("state/scans/reports/2026-11-23T02-00-00.json", "{\"events\":[", 11);
	assert_int_equal(REPORT_PLAIN(), CLI_ERROR);
	expect("2026-11-23T02-00-00.json");
	assert_int_equal(REPORT("--list"), CLI_ERROR);
	expect("2026-11-22T02-00-00 ");
	expect("2 infected");
}

static void without_reports_it_says_so(void **state)
{
	assert_int_equal(REPORT_PLAIN(), CLI_ERROR);
	expect("no report yet");
	assert_int_equal(REPORT("--list"), CLI_OK);
	assert_int_equal(REPORT("--list", "--json"), CLI_OK);
	assert_string_equal(said, "[]\n");
}

static void what_makes_no_sense_is_refused(void **state)
{
	assert_int_equal(REPORT("--list", "--last"), CLI_ERROR);
	expect("usage");
	assert_int_equal(REPORT("--list", "x"), CLI_ERROR);
	assert_int_equal(REPORT("--frob"), CLI_ERROR);
	assert_int_equal(REPORT("--help"), CLI_OK);
	expect("--list");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup_reports, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_last_report_is_told),
		TEST(names_are_one_line_each),
		TEST(a_report_can_be_named),
		TEST(an_abandoned_scan_is_not_complete),
		TEST(the_list_has_a_line_for_each),
		TEST(programs_get_the_report_as_it_is),
		TEST(a_damaged_report_does_not_hide_the_others),
		cmocka_unit_test_setup_teardown(without_reports_it_says_so, setup,
						scratch_teardown),
		TEST(what_makes_no_sense_is_refused),
	};

	return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}
