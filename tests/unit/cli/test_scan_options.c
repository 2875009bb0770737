/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/cli/scan_options.h"
#include "../support/scratch.h"

#define WORDS_MAX 16

static struct scan_options options;
static const struct cli cli = {.config = "/etc/some.conf"};
static char said[4096]; /* on standard error */

/* Reads words behind "scan". What is said goes to a file, and from there to said. */
static int parse(const char *const *words)
{
	char *argv[WORDS_MAX] = {(char *)"holdfast"};
	int argc = 1, error = dup(STDERR_FILENO), output = dup(STDOUT_FILENO), code;
	int file = open("said", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t n;

	while (*words)
		argv[argc++] = (char *)*words++;
	scan_options_free(&options);
	(void)fflush(stdout);
	(void)dup2(file, STDERR_FILENO);
	(void)dup2(file, STDOUT_FILENO);
	code = scan_options_parse(&options, &cli, argc, argv);
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

#define PARSE(...) parse((const char *const[]){__VA_ARGS__, NULL})

static void paths_alone_are_enough(void **state)
{
	assert_int_equal(PARSE("a", "/b"), -1);
	assert_int_equal(options.n_paths, 2);
	assert_string_equal(options.paths[0], "a");
	assert_string_equal(options.paths[1], "/b");
	assert_true(options.cross_filesystems);
	assert_false(options.afresh || options.remote || options.standalone || options.verbose ||
		     options.full || options.no_summary || options.no_progress);
	assert_string_equal(options.cli.config, "/etc/some.conf");
	assert_false(options.cli.json);
}

static void options_may_stand_on_both_sides_of_the_paths(void **state)
{
	assert_int_equal(PARSE("--all", "a", "-v", "--json", "b", "-x", "--remote", "--config",
			       "x.conf", "--threads", "3", "--no-summary", "--no-progress"),
			 -1);
	assert_int_equal(options.n_paths, 2);
	assert_true(options.afresh && options.verbose && options.cli.json && options.remote &&
		    options.no_summary && options.no_progress);
	assert_false(options.cross_filesystems);
	assert_string_equal(options.cli.config, "x.conf");
	assert_int_equal(options.threads, 3);
}

static void a_name_may_begin_with_a_dash(void **state)
{
	assert_int_equal(PARSE("--", "-v"), -1);
	assert_int_equal(options.n_paths, 1);
	assert_string_equal(options.paths[0], "-v");
	assert_false(options.verbose);
}

static void the_last_of_infected_and_verbose_counts(void **state)
{
	assert_int_equal(PARSE("-v", "-i", "a"), -1);
	assert_false(options.verbose);
	assert_int_equal(PARSE("-i", "--verbose", "a"), -1);
	assert_true(options.verbose);
}

static void rules_are_normalized_and_without_symbolic_links(void **state)
{
	char link[PATH_MAX], expected[PATH_MAX];

	assert_int_equal(mkdir("real", 0755), 0);
	assert_int_equal(symlink("real", "link"), 0);
	(void)snprintf(link, sizeof(link), "%s//link/*.iso/", scratch);
	(void)snprintf(expected, sizeof(expected), "%s/real/*.iso", scratch);
	assert_int_equal(
		PARSE("--exclude", link, "--exclude=/**/node_modules", "--exclude", "/", "a"), -1);
	assert_int_equal(options.exclude.n_entries, 3);
	assert_string_equal(options.exclude.entries[0].text, expected);
	assert_string_equal(options.exclude.entries[1].text, "/**/node_modules");
	assert_string_equal(options.exclude.entries[2].text, "/");
}

static void a_relative_rule_is_refused_with_what_to_write(void **state)
{
	assert_int_equal(PARSE("--exclude", "node_modules", "a"), CLI_ERROR);
	assert_non_null(strstr(said, "/**/node_modules"));
}

static void what_makes_no_sense_is_refused(void **state)
{
	static const struct {
		const char *words[6];
		const char *about;
	} cases[] = {
		{{NULL}, "usage"},
		{{"--json"}, "usage"},
		{{"--action", "move", "a"}, "quarantine"},
		{{"--action=copy", "a"}, "quarantine"},
		{{"--action", "burn", "a"}, "none copy move"},
		{{"--cross-filesystems=maybe", "a"}, "yes no"},
		{{"--threads", "0", "a"}, "--threads"},
		{{"--threads", "65", "a"}, "--threads"},
		{{"--threads", "2x", "a"}, "--threads"},
		{{"--exclude", "/a/../b", "a"}, "--exclude"},
		{{"--full", "a"}, "PATH"},
		{{"--full", "--standalone"}, "service"},
		{{"--full", "--exclude", "/a"}, "service"},
		{{"--wait", "a"}, "--full"},
		{{"--stop", "a"}, "--full"},
		{{"--full", "--stop", "--wait"}, "--stop"},
		{{"--full", "--stop", "--all"}, "--stop"},
		{{"--database", "/x", "a"}, "--standalone"},
		{{"--frob", "a"}, "--frob"},
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		int code = parse(cases[i].words);

		if (code != CLI_ERROR || !strstr(said, cases[i].about))
			fail_msg("case %zu: %d, %s", i, code, said);
	}
}

static void what_makes_sense_is_taken(void **state)
{
	assert_int_equal(PARSE("--action", "none", "a"), -1);
	assert_int_equal(PARSE("--cross-filesystems", "yes", "a"), -1);
	assert_true(options.cross_filesystems);
	assert_int_equal(PARSE("--cross-filesystems=no", "a"), -1);
	assert_false(options.cross_filesystems);
	assert_int_equal(PARSE("--full", "--all", "--wait"), -1);
	assert_true(options.full && options.afresh && options.wait);
	assert_int_equal(PARSE("--full", "--stop"), -1);
	assert_true(options.full && options.stop);
	assert_int_equal(PARSE("--standalone", "--database", "/x", "a"), -1);
	assert_true(options.standalone);
	assert_string_equal(options.database, "/x");
	assert_string_equal(said, "");
}

static void help_is_all_that_is_wanted(void **state)
{
	assert_int_equal(PARSE("--help"), CLI_OK);
	assert_non_null(strstr(said, "--cross-filesystems"));
	assert_non_null(strstr(said, "exclusions of the configuration"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_alone_are_enough),
		cmocka_unit_test(options_may_stand_on_both_sides_of_the_paths),
		cmocka_unit_test(a_name_may_begin_with_a_dash),
		cmocka_unit_test(the_last_of_infected_and_verbose_counts),
		cmocka_unit_test(rules_are_normalized_and_without_symbolic_links),
		cmocka_unit_test(a_relative_rule_is_refused_with_what_to_write),
		cmocka_unit_test(what_makes_no_sense_is_refused),
		cmocka_unit_test(what_makes_sense_is_taken),
		cmocka_unit_test(help_is_all_that_is_wanted),
	};
	int failed =
		cmocka_run_group_tests_name("scan_options", tests, scratch_setup, scratch_teardown);

	scan_options_free(&options);
	return failed;
}
