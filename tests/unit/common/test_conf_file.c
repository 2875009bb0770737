/* SPDX-License-Identifier: GPL-2.0-only */
/* The INI file: what is taken, and everything that is refused, by text and line number. */
#include "../../../src/common/conf.h"
#include "../support/scratch.h"
#include "../support/transcript.h"

#include <sys/types.h>

#define NAME "holdfast.conf"

/* Three lines that make a configuration. What a test adds begins on line 4. */
#define VALID                                                                                      \
	"# comment\n"                                                                              \
	"[on-access]\n"                                                                            \
	"include = /srv\n"

static struct conf *read_bytes(const char *bytes, size_t size, struct transcript *transcript)
{
	*transcript = (struct transcript){0};
	scratch_write(NAME, bytes, size);
	return conf_read_file(NAME, transcript_add, transcript);
}

static struct conf *read_text(const char *text, struct transcript *transcript)
{
	return read_bytes(text, strlen(text), transcript);
}

/* Reads what must be taken without a word. */
static struct conf *read_valid(const char *text)
{
	struct transcript transcript;
	struct conf *conf = read_text(text, &transcript);

	assert_string_equal(transcript.text, "");
	assert_non_null(conf);
	return conf;
}

static void assert_include(const struct conf *conf, size_t i, const char *text, unsigned line)
{
	assert_true(i < conf->include.n_entries);
	assert_string_equal(conf->include.entries[i].text, text);
	assert_int_equal(conf->include.entries[i].line, line);
}

static void keys_are_taken_with_their_lines(void **state)
{
	struct conf *conf = read_valid("# comment\n"
				       "; another\n"
				       "\n"
				       "[service]\n"
				       "user = scanner\n"
				       "\n"
				       "[on-access]\n"
				       "   # an indented comment\n"
				       "\t; another ; with another\n"
				       "include = /srv\n"
				       "include=/home/*/inbox/\n"
				       "exclude = /srv/a b\n"
				       "mode = notify\n"
				       "[engine]\n"
				       "workers = 2\n"
				       "[service]\n"
				       "run-dir = /run/x\n");

	assert_string_equal(conf->user, "scanner");
	assert_int_equal(conf_line(conf, "service", "user"), 5);
	assert_include(conf, 0, "/srv", 10);
	assert_include(conf, 1, "/home/*/inbox", 11);
	assert_int_equal(conf->include.n_entries, 2);
	assert_string_equal(conf->exclude.entries[0].text, "/srv/a b");
	assert_int_equal(conf->mode, CONTROL_MODE_NOTIFY);
	assert_int_equal(conf->workers, 2);
	assert_int_equal(conf_line(conf, "engine", "workers"), 15);
	/* a section may be continued */
	assert_string_equal(conf->run_dir, "/run/x");
	/* what is not given keeps its default */
	assert_int_equal(conf->hold_timeout_ms, 15000);
	assert_int_equal(conf_line(conf, "on-access", "hold-timeout"), 0);
	conf_free(conf);
}

/* Whatever a path may hold and a line can spell arrives as it was written. */
static void values_arrive_whole(void **state)
{
	static const char *const values[] = {
		"/a=b",		 "/a:b",  "/a#b", "/a #b", "/a;b",  "/a[b]", "/\"a\"", "/a  b",
		"/\xc3\xa4\xff", "/a\tb", "/[x]", "/'",	   "/a\\b", "/%s",   "/=;x",
	};

	for (size_t i = 0; i < N_ELEMENTS(values); i++) {
		char text[256];
		struct conf *conf;

		(void)snprintf(text, sizeof(text), VALID "include = %s\nexclude = /z\n", values[i]);
		conf = read_valid(text);
		assert_include(conf, 1, values[i], 4);
		assert_string_equal(conf->exclude.entries[0].text, "/z");
		conf_free(conf);
	}
}

static void line_ends_and_a_byte_order_mark_do_no_harm(void **state)
{
	struct conf *conf;

	conf = read_valid("[on-access]\r\ninclude = /srv\r\nmode = off\r\n");
	assert_include(conf, 0, "/srv", 2);
	assert_int_equal(conf->mode, CONTROL_MODE_OFF);
	conf_free(conf);

	conf = read_valid("[on-access]\ninclude = /srv"); /* no newline at the end */
	assert_include(conf, 0, "/srv", 2);
	conf_free(conf);

	conf = read_valid("\xef\xbb\xbf[on-access]\ninclude = /srv \t\n");
	assert_include(conf, 0, "/srv", 2);
	conf_free(conf);
}

/* Writes PREFIX and as many x as make the line as long as asked for. */
static void long_line(char *out, size_t size, const char *prefix, size_t length)
{
	size_t n = strlen(prefix);

	assert_true(length < size);
	memcpy(out, prefix, n);
	memset(out + n, 'x', length - n);
	out[length] = '\0';
}

static void a_line_of_198_bytes_is_taken_whole(void **state)
{
	char line[256], text[512];
	struct conf *conf;

	long_line(line, sizeof(line), "include = /", 198);
	(void)snprintf(text, sizeof(text), VALID "%s\r\nexclude = /z\n", line);
	conf = read_valid(text);
	assert_include(conf, 1, line + strlen("include = "), 4);
	assert_string_equal(conf->exclude.entries[0].text, "/z");
	assert_int_equal(conf->exclude.entries[0].line, 5);
	conf_free(conf);
}

static void a_longer_line_is_refused(void **state)
{
	static const size_t lengths[] = {199, 200, 201, 4095, 4096, 70000};
	static char line[70001], text[70100];

	for (size_t i = 0; i < N_ELEMENTS(lengths); i++) {
		struct transcript transcript;

		long_line(line, sizeof(line), "include = /", lengths[i]);
		(void)snprintf(text, sizeof(text), VALID "%s\nmode = on\n", line);
		assert_null(read_text(text, &transcript));
		/* and the lines behind it are still counted rightly */
		assert_string_equal(transcript.text,
				    "error 4: the line is too long: at most 198 bytes\n"
				    "error 5: mode: 'on' is none of: block notify off\n");
	}
}

static void a_long_comment_is_a_comment(void **state)
{
	static char line[70001], text[70100];
	struct conf *conf;

	/* a key at the place where a buffer of 200 bytes would begin anew */
	long_line(line, sizeof(line), "  # ", 70000);
	memcpy(line + 199, "mode = off", 10);
	(void)snprintf(text, sizeof(text), VALID "%s\nmode = notify\n", line);
	conf = read_valid(text);
	assert_int_equal(conf->mode, CONTROL_MODE_NOTIFY);
	assert_int_equal(conf_line(conf, "on-access", "mode"), 5);
	conf_free(conf);
}

#define INDENTED "the line is indented: every key stands on a line of its own, at its beginning\n"
#define COMMENT	 "a comment must stand on a line of its own (what follows ' ;' would be lost)\n"
#define RELATIVE "a path must be absolute: begin with /"
#define ANYWHERE "; /**/NAME stands for that name anywhere\n"
#define NOTHING	 "error 0: no include in section [on-access]: nothing would be protected\n"

static void what_is_wrong_is_refused_by_line(void **state)
{
	static const struct {
		const char *text, *transcript;
	} cases[] = {
		/* sections and keys */
		{VALID "inclde = /x\n", "error 4: unknown key 'inclde' in section [on-access]\n"},
		{VALID "Mode = off\n", "error 4: unknown key 'Mode' in section [on-access]\n"},
		{VALID "[alerts]\nmode = off\n",
		 "error 5: unknown key 'mode' in section [alerts]\n"},
		{VALID "= /x\n", "error 4: unknown key '' in section [on-access]\n"},
		{"mode = off\n" VALID, "error 1: key 'mode' stands before any [section]\n"},
		{VALID "mode = off\n[engine]\n[on-access]\nmode = off\n",
		 "error 7: mode: given before, on line 4\n"},
		{VALID "mode = on\nmode = off\n",
		 "error 4: mode: 'on' is none of: block notify off\n"
		 "error 5: mode: given before, on line 4\n"},
		/* no key, no section */
		{VALID "include\n", "error 4: neither [section] nor key = value\n"},
		{VALID "/srv\n", "error 4: neither [section] nor key = value\n"},
		{VALID "[alerts\n", "error 4: neither [section] nor key = value\n"},
		/* values, one of each type; test_conf.c has them all */
		{VALID "include =\n", "error 4: include: no value\n"},
		{VALID "exclude-user = \t \n", "error 4: exclude-user: no value\n"},
		{VALID "include = srv\n", "error 4: include: 'srv': " RELATIVE ANYWHERE},
		{VALID "exclude = ./x\n", "error 4: exclude: './x': " RELATIVE ANYWHERE},
		{VALID "exclude-process = *\n",
		 "error 4: exclude-process: '*': " RELATIVE ANYWHERE},
		{VALID "[service]\nrun-dir = run\n", "error 5: run-dir: 'run': " RELATIVE "\n"},
		{VALID "[alerts]\nsyslog = on\n", "error 5: syslog: 'on' is none of: yes no\n"},
		{VALID "hold-timeout = 15x\n",
		 "error 4: hold-timeout: '15x' is not a duration such as 500ms, 15s, 2m or 1h\n"},
		{VALID "[engine]\nmax-file-size = 1T\n",
		 "error 5: max-file-size: '1T' is not a size such as 4096, 512K, 100M or 2G\n"},
		{VALID "[engine]\nworkers = 999\n",
		 "error 5: workers: 999 is out of range: 1 to 128\n"},
		{VALID "[full-scan]\nschedule = daily 2:00\n",
		 "error 5: schedule: '2:00' is not a time of day from 00:00 to 23:59\n"},
		{VALID "[full-scan]\nfinish-by = none\n",
		 "error 5: finish-by: 'none' is not a time of day from 00:00 to 23:59\n"},
		{VALID "[full-scan]\ncpu = half\n",
		 "error 5: cpu: 'half' is not a percentage such as 25%\n"},
		{VALID "[full-scan]\npath = srv\nexclude = bin\n",
		 "error 5: path: 'srv': " RELATIVE "\n"
		 "error 6: exclude: 'bin': " RELATIVE ANYWHERE},
		/* what inih would misunderstand */
		{VALID " mode = off\n", "error 4: " INDENTED},
		{VALID "\t/usr\n", "error 4: " INDENTED},
		{VALID " [engine]\n", "error 4: " INDENTED},
		{VALID "exclude = /a ;b\n", "error 4: " COMMENT},
		{VALID "exclude = /a\t;b\n", "error 4: " COMMENT},
		{VALID "exclude = ; none\n", "error 4: " COMMENT},
		{VALID "[engine] ; the engine\n", "error 4: " COMMENT},
		/* everything is reported */
		{VALID "mode = on\n\n include = /x\nx = y\n[engine]\nworkers = -1\n",
		 "error 4: mode: 'on' is none of: block notify off\n"
		 "error 6: " INDENTED "error 7: unknown key 'x' in section [on-access]\n"
		 "error 9: workers: '-1' is not a number, or auto\n"},
		/* nothing to protect */
		{"", NOTHING},
		{"\n\n# x\n", NOTHING},
		{"[on-access]\nmode = block\n", NOTHING},
		{"[on-access]\nexclude = /srv\n", NOTHING},
		/* ... is not said when the include is what is wrong */
		{"[on-access]\ninclude = srv\n", "error 2: include: 'srv': " RELATIVE ANYWHERE},
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		struct transcript transcript;

		if (read_text(cases[i].text, &transcript))
			fail_msg("taken:\n%s", cases[i].text);
		if (strcmp(transcript.text, cases[i].transcript))
			fail_msg("%sreported:\n%sexpected:\n%s", cases[i].text, transcript.text,
				 cases[i].transcript);
	}
}

/* Reports are compared by their beginnings: which words follow is left open. */
static void assert_refused_at(const char *bytes, size_t size, const char *beginning)
{
	struct transcript transcript;
	struct conf *conf = read_bytes(bytes, size, &transcript);
	bool taken = conf != NULL;

	conf_free(conf);
	if (taken || strncmp(transcript.text, beginning, strlen(beginning)))
		fail_msg("%s, reported:\n%sexpected:\n%s...", taken ? "taken" : "refused",
			 transcript.text, beginning);
}

static void an_unknown_section_is_reported_once(void **state)
{
	static const char *const sections[] = {"[nowhere]", "[Engine]", "[ engine ]", "[resolved]",
					       "[engine-with-a-name-that-goes-on-and-on]"};

	for (size_t i = 0; i < N_ELEMENTS(sections); i++) {
		struct transcript transcript;
		char text[256], report[128];
		const char *first;

		(void)snprintf(text, sizeof(text), VALID "%s\na = 1\nworkers = 2\n", sections[i]);
		(void)snprintf(report, sizeof(report), ": unknown section %s\n", sections[i]);
		assert_null(read_text(text, &transcript));
		first = strstr(transcript.text, report);
		if (!first || first[strlen(report)])
			fail_msg("%sreported:\n%s", text, transcript.text);
	}
}

static void an_unknown_section_is_reported_on_its_own_line(void **state)
{
	static const char text[] = VALID "[nowhere]\n\n# comment\na = 1\n";

	assert_refused_at(text, sizeof(text) - 1, "error 4: unknown section [nowhere]\n");
}

static void an_unknown_section_without_keys_is_refused(void **state)
{
	static const char text[] = VALID "[nowhere]\n[engine]\nworkers = 1\n";

	assert_refused_at(text, sizeof(text) - 1, "error 4: unknown section [nowhere]\n");
}

/* inih goes on at the next line. */
static void a_key_behind_a_section_is_refused(void **state)
{
	static const char text[] = VALID "[engine] workers = 1\n";

	assert_refused_at(text, sizeof(text) - 1, "error 4: ");
}

static void every_line_that_is_no_key_is_reported(void **state)
{
	struct transcript transcript;

	assert_null(read_text(VALID "first\nsecond\n", &transcript));
	assert_non_null(strstr(transcript.text, "error 4: neither [section] nor key = value\n"));
	assert_non_null(strstr(transcript.text, "error 5: neither [section] nor key = value\n"));
}

static void a_nul_byte_is_refused(void **state)
{
	static const char within[] = VALID "exclude = /a\0b\n", comment[] = VALID "# a\0b\n",
			  first[] = VALID "\0exclude = /a\n";
	static const char problem[] = "error 4: the line holds a NUL byte\n";

	assert_refused_at(within, sizeof(within) - 1, problem);
	assert_refused_at(comment, sizeof(comment) - 1, problem);
	assert_refused_at(first, sizeof(first) - 1, problem);
}

static void a_nul_byte_at_the_end_of_a_line_is_refused(void **state)
{
	static const char text[] = VALID "exclude = /a\0\n", last[] = VALID "exclude = /a\0";

	assert_refused_at(text, sizeof(text) - 1, "error 4: the line holds a NUL byte\n");
	assert_refused_at(last, sizeof(last) - 1, "error 4: the line holds a NUL byte\n");
}

/* inih takes all of isspace() for space: a line that begins so continues the key above it ... */
static void a_line_indented_by_other_space_is_refused(void **state)
{
	static const char *const texts[] = {VALID "\v/etc\n", VALID "\f/etc\n", VALID "\r/etc\n"};

	for (size_t i = 0; i < N_ELEMENTS(texts); i++)
		assert_refused_at(texts[i], strlen(texts[i]), "error 4: ");
}

/* ... and what follows such a space and a semicolon is lost. */
static void a_comment_behind_other_space_is_refused(void **state)
{
	static const char *const texts[] = {VALID "exclude = /a\v;b\n", VALID "exclude = /a\f;b\n",
					    VALID "exclude = /a\r;b\n"};

	for (size_t i = 0; i < N_ELEMENTS(texts); i++)
		assert_refused_at(texts[i], strlen(texts[i]), "error 4: ");
}

static void planned_keys_are_warned_of_and_taken(void **state)
{
	struct transcript transcript;
	struct conf *conf = read_text(VALID "[quarantine]\n"
					    "action = move\n"
					    "[alerts]\n"
					    "webhook = https://a\n"
					    "webhook = https://b\n",
				      &transcript);

	assert_non_null(conf);
	assert_string_equal(transcript.text, "warning 5: action: has no effect in this version\n"
					     "warning 7: webhook: has no effect in this version\n"
					     "warning 8: webhook: has no effect in this version\n");
	conf_free(conf);
}

static void one_entry_too_many_is_refused(void **state)
{
	static char text[16384] = VALID;
	struct transcript transcript;

	for (unsigned i = 0; i < CONF_LIST_MAX; i++)
		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "exclude = /%u\n",
			       i);
	conf_free(read_valid(text));
	strcat(text, "exclude = /more\n");
	assert_null(read_text(text, &transcript));
	assert_string_equal(transcript.text,
			    "error 260: exclude: '/more': more than 256 entries\n");
}

static void assert_unreadable(const char *name, const char *expected)
{
	struct transcript transcript = {0};

	assert_null(conf_read_file(name, transcript_add, &transcript));
	assert_string_equal(transcript.text, expected);
}

static void a_missing_file_is_an_error(void **state)
{
	assert_unreadable("missing", "error 0: cannot open it: No such file or directory\n");
}

static void a_directory_is_an_error(void **state)
{
	assert_unreadable(".", "error 0: cannot read it: Is a directory\n");
}

/* As root no file is unreadable, so this is asked as another user. */
static void an_unreadable_file_is_an_error(void **state)
{
	const uid_t uid = geteuid();

	scratch_write(NAME, VALID, sizeof(VALID) - 1);
	assert_int_equal(chmod(NAME, 0), 0);
	if (uid == 0)
		assert_int_equal(seteuid(65534), 0);
	assert_unreadable(NAME, "error 0: cannot open it: Permission denied\n");
	assert_int_equal(seteuid(uid), 0);
	assert_int_equal(unlink(NAME), 0);
}

static void reading_leaks_no_descriptor(void **state)
{
	unsigned before = unit_count_fds();
	struct transcript transcript;

	conf_free(read_valid(VALID));
	assert_null(read_text("x", &transcript));
	assert_null(conf_read_file("missing", transcript_add, &transcript));
	assert_null(conf_read_file(".", transcript_add, &transcript));
	assert_int_equal(unit_count_fds(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_are_taken_with_their_lines),
		cmocka_unit_test(values_arrive_whole),
		cmocka_unit_test(line_ends_and_a_byte_order_mark_do_no_harm),
		cmocka_unit_test(a_line_of_198_bytes_is_taken_whole),
		cmocka_unit_test(a_longer_line_is_refused),
		cmocka_unit_test(a_long_comment_is_a_comment),
		cmocka_unit_test(what_is_wrong_is_refused_by_line),
		cmocka_unit_test(an_unknown_section_is_reported_once),
		cmocka_unit_test(an_unknown_section_is_reported_on_its_own_line),
		cmocka_unit_test(an_unknown_section_without_keys_is_refused),
		cmocka_unit_test(a_key_behind_a_section_is_refused),
		cmocka_unit_test(every_line_that_is_no_key_is_reported),
		cmocka_unit_test(a_nul_byte_is_refused),
		cmocka_unit_test(a_nul_byte_at_the_end_of_a_line_is_refused),
		cmocka_unit_test(a_line_indented_by_other_space_is_refused),
		cmocka_unit_test(a_comment_behind_other_space_is_refused),
		cmocka_unit_test(planned_keys_are_warned_of_and_taken),
		cmocka_unit_test(one_entry_too_many_is_refused),
		cmocka_unit_test(a_missing_file_is_an_error),
		cmocka_unit_test(a_directory_is_an_error),
		cmocka_unit_test(an_unreadable_file_is_an_error),
		cmocka_unit_test(reading_leaks_no_descriptor),
	};

	return cmocka_run_group_tests_name("conf_file", tests, scratch_setup, scratch_teardown);
}
