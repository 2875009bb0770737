/* SPDX-License-Identifier: GPL-2.0-only */
/* What needs the system: users, symbolic links, whether paths exist. */
#include "../support/conf_fixture.h"
#include "../support/scratch.h"
#include "../support/transcript.h"

#include <errno.h>
#include <pwd.h>
#include <sys/types.h>
#include <sys/vfs.h>

#define NO_NAME "holdfast-no-such-name"

/* A user that every system has. */
static uid_t nobody_uid;
static gid_t nobody_gid;

static void set(struct conf *conf, const char *section, const char *key, unsigned line,
		const char *format, ...) __attribute__((format(printf, 5, 6)));

/* As if the value stood on this line of a file. %s in format: paths in the scratch directory. */
static void set(struct conf *conf, const char *section, const char *key, unsigned line,
		const char *format, ...)
{
	char value[PATH_MAX + 64], problem[768] = "";
	va_list args;

	va_start(args, format);
	(void)vsnprintf(value, sizeof(value), format, args);
	va_end(args);
	if (conf_set(conf, section, key, value, line, problem, sizeof(problem)) != 0)
		fail_msg("%s", problem);
}

static int group_setup(void **state)
{
	if (scratch_setup(state) < 0)
		return -1;
	return mkdir("real", 0755) < 0 || mkdir("real/below", 0755) < 0 ||
			       symlink("real", "link") < 0 || symlink("link", "link2") < 0 ||
			       symlink("missing", "broken") < 0 || symlink("loop", "loop") < 0 ||
			       mkdir("odd\n[x] ;y", 0755) < 0 ||
			       symlink("odd\n[x] ;y", "odd") < 0 || mkdir("star*", 0755) < 0 ||
			       symlink("star*", "star") < 0 || mkdir("two**", 0755) < 0 ||
			       symlink("two**", "two") < 0 || symlink("real", "foreign") < 0 ||
			       (geteuid() == 0 && lchown("foreign", 65534, 65534) < 0)
		       ? -1
		       : 0;
}

/* A configuration with which nothing is wrong but that it includes nothing. */
static int setup(void **state)
{
	if (conf_fixture_setup(state) < 0)
		return -1;
	set(*state, "service", "user", 2, "nobody");
	set(*state, "service", "control-group", 3, "%u", (unsigned)nobody_gid);
	set(*state, "service", "state-dir", 4, "%s/state", scratch);
	set(*state, "service", "run-dir", 5, "%s/run", scratch);
	return 0;
}

static void assert_resolved(struct conf *conf)
{
	struct transcript transcript = {0};
	int r = conf_resolve(conf, transcript_add, &transcript);

	assert_string_equal(transcript.text, "");
	assert_int_equal(r, 0);
}

/* Paths in what is expected are written without the scratch directory, as @. */
static void assert_said(struct conf *conf, int result, const char *expected)
{
	struct transcript transcript = {0};
	char text[8192] = "";
	int r = conf_resolve(conf, transcript_add, &transcript);
	char *rest = transcript.text, *found;

	while ((found = strstr(rest, scratch))) {
		*found = '\0';
		strcat(strcat(text, rest), "@");
		rest = found + strlen(scratch);
	}
	strcat(text, rest);
	assert_string_equal(text, expected);
	assert_int_equal(r, result);
}

static void assert_refused(struct conf *conf, const char *expected)
{
	assert_said(conf, -EINVAL, expected);
}

static void users_and_groups_become_numbers(void **state)
{
	struct conf *conf = *state;

	assert_resolved(conf);
	assert_int_equal(conf->uid, nobody_uid);
	assert_int_equal(conf->gid, nobody_gid);
	assert_int_equal(conf->control_gid, nobody_gid);
}

static void a_group_may_be_given_by_name(void **state)
{
	struct conf *conf = conf_new();

	assert_non_null(conf);
	set(conf, "service", "user", 1, "%u", (unsigned)nobody_uid);
	set(conf, "service", "control-group", 1, "root");
	set(conf, "service", "state-dir", 1, "%s/state", scratch);
	set(conf, "service", "run-dir", 1, "/run-dir-in-the-root");
	conf->control_gid = 99;
	assert_resolved(conf);
	/* the group of a user that is given as a number is its own, too */
	assert_int_equal(conf->uid, nobody_uid);
	assert_int_equal(conf->gid, nobody_gid);
	assert_int_equal(conf->control_gid, 0);
	conf_free(conf);
}

static void a_missing_user_is_refused(void **state)
{
	static const char *const names[] = {NO_NAME, "4294967294", "4294967295", "1x"};

	for (size_t i = 0; i < N_ELEMENTS(names); i++) {
		struct conf *conf = conf_new();
		char expected[256];

		assert_non_null(conf);
		set(conf, "service", "user", 12, "%s", names[i]);
		set(conf, "service", "control-group", 13, "0");
		set(conf, "service", "state-dir", 1, "%s/state", scratch);
		(void)snprintf(expected, sizeof(expected),
			       "error 12: user: there is no user '%s'; create it as a system user "
			       "of its own\n",
			       names[i]);
		assert_refused(conf, expected);
		conf_free(conf);
	}
}

static void root_is_refused_as_the_user(void **state)
{
	static const char *const names[] = {"root", "0", "00"};

	for (size_t i = 0; i < N_ELEMENTS(names); i++) {
		struct conf *conf = conf_new();

		assert_non_null(conf);
		set(conf, "service", "user", 12, "%s", names[i]);
		set(conf, "service", "control-group", 13, "0");
		set(conf, "service", "state-dir", 1, "%s/state", scratch);
		assert_refused(conf,
			       "error 12: user: must not be root: its opens are never held, and "
			       "files from anywhere are unpacked as this user\n");
		conf_free(conf);
	}
}

static void a_missing_group_is_refused(void **state)
{
	struct conf *conf = conf_new();

	assert_non_null(conf);
	set(conf, "service", "user", 12, "nobody");
	set(conf, "service", "control-group", 13, NO_NAME);
	set(conf, "service", "state-dir", 1, "%s/state", scratch);
	assert_refused(conf, "error 13: control-group: there is no group '" NO_NAME "'\n");
	conf_free(conf);
}

static void excluded_users_become_numbers(void **state)
{
	struct conf *conf = *state;

	set(conf, "on-access", "exclude-user", 21, "nobody");
	set(conf, "on-access", "exclude-user", 22, "root");
	/* a number needs no name behind it */
	set(conf, "on-access", "exclude-user", 23, "4294967294");
	conf->exclude_user.entries[1].uid = 99;
	assert_resolved(conf);
	assert_int_equal(conf->exclude_user.entries[0].uid, nobody_uid);
	assert_int_equal(conf->exclude_user.entries[1].uid, 0);
	assert_int_equal(conf->exclude_user.entries[2].uid, 4294967294u);
}

static void a_missing_excluded_user_is_refused(void **state)
{
	set(*state, "on-access", "exclude-user", 21, "nobody");
	set(*state, "on-access", "exclude-user", 22, NO_NAME);
	/* (uid_t)-1 is nobody at all, and what an unknown opener has */
	set(*state, "on-access", "exclude-user", 23, "4294967295");
	assert_refused(*state, "error 22: exclude-user: there is no user '" NO_NAME "'\n"
			       "error 23: exclude-user: there is no user '4294967295'\n");
}

/* The kernel reports paths without symbolic links, so rules must not hold any. */
static void symbolic_links_in_rules_are_resolved(void **state)
{
	static const struct {
		const char *rule, *resolved;
	} cases[] = {
		{"real", "real"},
		{"link", "real"},
		{"link2", "real"},
		{"link2/below", "real/below"},
		/* what does not exist (yet) stays behind what does */
		{"link/missing", "real/missing"},
		{"link/missing/x/y", "real/missing/x/y"},
		{"link/below/missing", "real/below/missing"},
		{"broken", "broken"},
		{"loop/x", "loop/x"},
		/* a pattern is no path: only what stands before it is resolved */
		{"link/*", "real/*"},
		{"link/**", "real/**"},
		{"link/*/below", "real/*/below"},
		{"lin*", "lin*"},
		{"link/bel*/x", "real/bel*/x"},
		{"odd/x", "odd\n[x] ;y/x"},
	};
	struct conf *conf = *state;

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		set(conf, "on-access", "exclude", 31, "%s/%s", scratch, cases[i].rule);
		set(conf, "on-access", "exclude-process", 32, "%s/%s", scratch, cases[i].rule);
	}
	assert_resolved(conf);
	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		char expected[PATH_MAX + 64];

		(void)snprintf(expected, sizeof(expected), "%s/%s", scratch, cases[i].resolved);
		assert_string_equal(conf->exclude.entries[i].text, expected);
		assert_string_equal(conf->exclude_process.entries[i].text, expected);
	}
}

static void rules_at_the_root_stay(void **state)
{
	static const char *const rules[] = {"/",     "/*",	  "/**",
					    "/**/x", "/" NO_NAME, "/" NO_NAME "*"};
	struct conf *conf = *state;

	for (size_t i = 0; i < N_ELEMENTS(rules); i++)
		set(conf, "on-access", "exclude", 1, "%s", rules[i]);
	assert_resolved(conf);
	for (size_t i = 0; i < N_ELEMENTS(rules); i++)
		assert_string_equal(conf->exclude.entries[i].text, rules[i]);
}

static void the_root_resolves_to_itself(void **state)
{
	char *path = conf_resolve_path("/");

	assert_string_equal(path, "/");
	free(path);
}

static void an_include_path_is_resolved(void **state)
{
	struct conf *conf = *state;
	char expected[PATH_MAX + 64];

	set(conf, "on-access", "include", 41, "%s/link", scratch);
	set(conf, "on-access", "include", 42, "%s/link/below/*.x", scratch);
	assert_resolved(conf);
	(void)snprintf(expected, sizeof(expected), "%s/real", scratch);
	assert_string_equal(conf->include.entries[0].text, expected);
	strcat(expected, "/below/*.x");
	assert_string_equal(conf->include.entries[1].text, expected);
}

/* It may appear later. */
static void a_missing_include_path_is_pointed_out(void **state)
{
	set(*state, "on-access", "include", 41, "%s/real", scratch);
	set(*state, "on-access", "include", 42, "%s/link/missing", scratch);
	set(*state, "on-access", "include", 43, "%s/missing/*", scratch);
	set(*state, "on-access", "include", 44, "%s/broken", scratch);
	assert_said(*state, 0,
		    "warning 42: include: @/real/missing: No such file or directory; it is "
		    "protected from the moment it appears\n"
		    "warning 43: include: @/missing: No such file or directory; it is protected "
		    "from the moment it appears\n"
		    "warning 44: include: @/broken is a symbolic link that leads nowhere: reload "
		    "when it does\n");
}

/* --- full scans --- */

static void without_a_path_everything_is_looked_at(void **state)
{
	struct conf *conf = *state, *copy;
	int fd;

	assert_resolved(conf);
	assert_int_equal(conf->scan_path.n_entries, 1);
	assert_string_equal(conf->scan_path.entries[0].text, "/");

	fd = conf_snapshot(conf);
	assert_true(fd >= 0);
	copy = conf_from_snapshot(fd);
	close(fd);
	assert_non_null(copy);
	assert_int_equal(copy->scan_path.n_entries, 1);
	assert_string_equal(copy->scan_path.entries[0].text, "/");
	conf_free(copy);
}

static void symbolic_links_in_what_full_scans_look_at_are_resolved(void **state)
{
	struct conf *conf = *state;
	char expected[PATH_MAX + 64];

	set(conf, "full-scan", "path", 81, "%s/link2/below", scratch);
	set(conf, "full-scan", "exclude", 82, "%s/link/x*", scratch);
	assert_resolved(conf);
	assert_int_equal(conf->scan_path.n_entries, 1);
	(void)snprintf(expected, sizeof(expected), "%s/real/below", scratch);
	assert_string_equal(conf->scan_path.entries[0].text, expected);
	(void)snprintf(expected, sizeof(expected), "%s/real/x*", scratch);
	assert_string_equal(conf->scan_exclude.entries[0].text, expected);
}

static void a_missing_path_for_full_scans_is_pointed_out(void **state)
{
	scratch_write("file", "", 0);
	set(*state, "full-scan", "path", 81, "%s/real", scratch);
	set(*state, "full-scan", "path", 82, "%s/link/missing", scratch);
	set(*state, "full-scan", "path", 83, "%s/file", scratch);
	set(*state, "full-scan", "path", 84, "%s/file/x", scratch);
	assert_said(*state, 0,
		    "warning 82: path: @/real/missing: No such file or directory; full scans look "
		    "at it once it is there\n"
		    "warning 84: path: @/file/x: Not a directory; full scans look at it once it is "
		    "there\n");
}

/* Its owner could exclude whatever he likes. */
static void an_exclusion_through_somebodys_link_is_refused(void **state)
{
	static const char *const cases[][2] = {{"full-scan", "exclude"},
					       {"on-access", "exclude"},
					       {"on-access", "exclude-process"}};

	if (geteuid() != 0) {
		print_message("skipped: not root, who can give links away\n");
		skip();
	}
	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		void *fresh;

		assert_int_equal(setup(&fresh), 0);
		set(fresh, cases[i][0], cases[i][1], 85, "%s/foreign/x*", scratch);
		assert_refused(fresh, "error 85: @/foreign/x*: @/foreign is a symbolic link that "
				      "does not belong to root: its owner could lead this "
				      "exclusion anywhere; name the path it stands for\n");
		conf_free(fresh);
	}
}

/* Nothing, or a whole day? */
static void a_scan_must_not_finish_when_it_begins(void **state)
{
	set(*state, "full-scan", "finish-by", 92, "03:30");
	set(*state, "full-scan", "schedule", 91, "Sun 03:30");
	set(*state, "full-scan", "random-delay", 93, "1h");
	assert_refused(*state, "error 92: finish-by: this is when scans begin; without finish-by "
			       "they take as long as they need\n");
}

static void a_delay_must_leave_time_before_a_scan_finishes(void **state)
{
	static const struct {
		const char *schedule, *finish_by, *delay;
		const char *minutes; /* that are too few; NULL: it is valid */
	} cases[] = {
		{"daily 02:00", "06:00", "239m", NULL}, {"daily 02:00", "06:00", "240m", "240"},
		{"daily 02:00", "06:00", "1d", "240"},	{"daily 22:00", "05:00", "6h", NULL},
		{"daily 22:00", "05:00", "7h", "420"},	{"daily 02:00", "01:59", "1439m", "1439"},
		{"daily 02:00", NULL, "1d", NULL},	{"off", "00:00", "1d", NULL},
		{"off", "06:00", "1d", NULL},
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		char expected[256];
		void *fresh;

		assert_int_equal(setup(&fresh), 0);
		set(fresh, "full-scan", "schedule", 91, "%s", cases[i].schedule);
		if (cases[i].finish_by)
			set(fresh, "full-scan", "finish-by", 92, "%s", cases[i].finish_by);
		set(fresh, "full-scan", "random-delay", 93, "%s", cases[i].delay);
		(void)snprintf(expected, sizeof(expected),
			       "error 93: random-delay: must be shorter than the %s minutes from "
			       "schedule to finish-by, or no scan may begin\n",
			       cases[i].minutes);
		if (cases[i].minutes)
			assert_refused(fresh, expected);
		else
			assert_resolved(fresh);
		conf_free(fresh);
	}
}

/* What a mark makes no sense on; only those that are surely mounted can be tried. */
static void the_kernels_filesystems_are_refused(void **state)
{
	static const char *const paths[] = {"/proc", "/sys", "/dev/pts"};
	struct conf *conf = *state;
	char expected[512] = "";
	struct statfs status;

	for (unsigned i = 0; i < N_ELEMENTS(paths); i++) {
		if (statfs(paths[i], &status) < 0 || status.f_bsize != sysconf(_SC_PAGESIZE)) {
			print_message("skipped: nothing is mounted on %s\n", paths[i]);
			continue;
		}
		set(conf, "on-access", "include", 50 + i, "%s", paths[i]);
		(void)snprintf(expected + strlen(expected), sizeof(expected) - strlen(expected),
			       "error %u: include: %s is on the kernel's own filesystem, which "
			       "holds no files to scan\n",
			       50 + i, paths[i]);
	}
	if (!*expected)
		skip();
	assert_refused(conf, expected);
}

static void a_link_into_a_refused_filesystem_is_refused(void **state)
{
	if (access("/proc/sys", F_OK) < 0) {
		print_message("skipped: /proc is not mounted\n");
		skip();
	}
	assert_true(symlink("/proc/sys", "innocent") == 0 || errno == EEXIST);
	set(*state, "on-access", "include", 51, "%s/innocent/*", scratch);
	assert_refused(*state, "error 51: include: /proc/sys is on the kernel's own filesystem, "
			       "which holds no files to scan\n");
}

/* Excluding what cannot be scanned anyway harms nobody. */
static void excluded_paths_may_be_anywhere(void **state)
{
	set(*state, "on-access", "exclude", 51, "/proc");
	set(*state, "on-access", "exclude", 52, "%s/missing", scratch);
	assert_resolved(*state);
}

static void a_directory_to_be_made_needs_one_above_it(void **state)
{
	struct conf *conf = conf_new();

	assert_non_null(conf);
	scratch_write("file", "", 0);
	set(conf, "service", "user", 1, "nobody");
	set(conf, "service", "control-group", 1, "0");
	set(conf, "service", "run-dir", 61, "%s/missing/run", scratch);
	set(conf, "service", "state-dir", 62, "%s/file/state", scratch);
	set(conf, "alerts", "log-file", 63, "%s/missing/log", scratch);
	set(conf, "engine", "signatures", 64, "%s/missing", scratch);
	assert_refused(conf, "error 61: run-dir: there is no directory @/missing\n"
			     "error 62: state-dir: there is no directory @/file\n"
			     "error 63: log-file: there is no directory @/missing\n"
			     "error 64: signatures: @/missing: No such file or directory\n");
	conf_free(conf);
}

static void signatures_must_be_in_a_directory(void **state)
{
	scratch_write("file", "", 0);
	set(*state, "engine", "signatures", 64, "%s/file", scratch);
	assert_refused(*state, "error 64: signatures: @/file is not a directory\n");
}

static void what_exists_is_taken(void **state)
{
	set(*state, "engine", "signatures", 64, "%s/link", scratch);
	set(*state, "alerts", "log-file", 63, "%s/link/log", scratch);
	assert_resolved(*state);
}

/* --- where signatures come from --- */

static void with_a_mirror_the_official_databases_are_asked_for(void **state)
{
	static const char *const official[] = {"main", "daily", "bytecode"};
	struct conf *conf = *state, *without = conf_new();

	set(conf, "signatures", "mirror", 101, "http://mirror");
	assert_resolved(conf);
	assert_int_equal(conf->database.n_entries, N_ELEMENTS(official));
	for (size_t i = 0; i < N_ELEMENTS(official); i++)
		assert_string_equal(conf->database.entries[i].text, official[i]);

	assert_non_null(without);
	set(without, "service", "user", 2, "nobody");
	set(without, "service", "control-group", 3, "0");
	set(without, "service", "state-dir", 4, "%s/state", scratch);
	assert_resolved(without);
	assert_int_equal(without->database.n_entries, 0);
	conf_free(without);
}

static void databases_that_are_named_are_the_only_ones(void **state)
{
	struct conf *conf = *state;

	set(conf, "signatures", "mirror", 101, "http://mirror");
	set(conf, "signatures", "database", 102, "test");
	assert_resolved(conf);
	assert_int_equal(conf->database.n_entries, 1);
	assert_string_equal(conf->database.entries[0].text, "test");
}

/* Each is a file of one directory. */
static void two_sources_of_one_file_are_refused(void **state)
{
	set(*state, "signatures", "mirror", 101, "http://mirror");
	set(*state, "signatures", "database", 102, "daily");
	set(*state, "signatures", "database", 103, "other");
	set(*state, "signatures", "database", 104, "daily");
	set(*state, "signatures", "custom", 105, "http://a/local.ndb");
	set(*state, "signatures", "custom", 106, "http://a/local.ldb");
	set(*state, "signatures", "custom", 107, "file:///b/local.ndb");
	set(*state, "signatures", "custom", 108, "http://a/other.cvd?x");
	assert_refused(*state, "error 104: database: daily is named on line 102 too\n"
			       "error 107: custom: another one is called local.ndb too\n"
			       "error 108: custom: other.cvd is what the mirrors are asked for\n");
}

static void a_key_needs_its_certificate(void **state)
{
	scratch_write("key", "", 0);
	scratch_write("certificate", "", 0);
	set(*state, "signatures", "client-key", 109, "%s/key", scratch);
	assert_refused(*state, "error 109: client-key: there is no client-certificate that it "
			       "belongs to\n");
	set(*state, "signatures", "client-certificate", 110, "%s/certificate", scratch);
	assert_resolved(*state);
}

/* The service protects with the signatures that it has. */
static void missing_files_of_the_fetcher_are_pointed_out(void **state)
{
	scratch_write("certificate", "", 0);
	set(*state, "signatures", "ca-file", 111, "%s/ca", scratch);
	set(*state, "signatures", "client-certificate", 112, "%s/certificate", scratch);
	set(*state, "signatures", "client-key", 113, "%s/missing", scratch);
	set(*state, "signatures", "netrc-file", 114, "%s/netrc", scratch);
	assert_said(*state, 0,
		    "warning 111: ca-file: @/ca: No such file or directory; no signatures are "
		    "fetched without it\n"
		    "warning 113: client-key: @/missing: No such file or directory; no signatures "
		    "are fetched without it\n"
		    "warning 114: netrc-file: @/netrc: No such file or directory; no signatures "
		    "are fetched without it\n");
}

/* The service must be able to read what it has resolved. */
static void assert_rule_survives_a_snapshot(struct conf *conf)
{
	struct conf *copy;
	int fd;

	assert_resolved(conf);
	fd = conf_snapshot(conf);
	assert_true(fd >= 0);
	copy = conf_from_snapshot(fd);
	close(fd);
	assert_non_null(copy);
	assert_string_equal(copy->exclude.entries[0].text, conf->exclude.entries[0].text);
	conf_free(copy);
}

static void a_link_to_a_strange_name_survives_a_snapshot(void **state)
{
	set(*state, "on-access", "exclude", 1, "%s/odd", scratch);
	assert_rule_survives_a_snapshot(*state);
}

/* Either it is refused with a reason, or it works: a service that cannot start says neither. */
static void a_link_to_a_name_with_two_stars_survives_a_snapshot(void **state)
{
	struct transcript transcript = {0};

	set(*state, "on-access", "exclude", 71, "%s/two", scratch);
	if (conf_resolve(*state, transcript_add, &transcript) < 0)
		assert_int_equal(strncmp(transcript.text, "error 71: ", 10), 0);
	else
		assert_rule_survives_a_snapshot(*state);
}

/* A * that came from a link is a letter of a name. As a pattern it would exclude other files. */
static void a_star_behind_a_link_is_not_a_pattern(void **state)
{
	struct transcript transcript = {0};
	struct conf *conf = *state;
	char pattern[PATH_MAX + 64];

	set(conf, "on-access", "exclude", 71, "%s/star", scratch);
	(void)snprintf(pattern, sizeof(pattern), "%s/star*", scratch);
	if (conf_resolve(conf, transcript_add, &transcript) < 0)
		assert_int_equal(strncmp(transcript.text, "error 71: ", 10), 0);
	else
		assert_string_not_equal(conf->exclude.entries[0].text, pattern);
}

static void resolving_leaks_no_descriptor(void **state)
{
	struct transcript transcript = {0};
	unsigned before;

	/* the first look-up of a user may leave something open */
	assert_resolved(*state);
	before = unit_count_fds();
	set(*state, "on-access", "include", 1, "%s/missing", scratch);
	set(*state, "on-access", "exclude-user", 1, NO_NAME);
	assert_int_equal(conf_resolve(*state, transcript_add, &transcript), -EINVAL);
	assert_int_equal(unit_count_fds(), before);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, conf_fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(users_and_groups_become_numbers),
		TEST(a_group_may_be_given_by_name),
		TEST(a_missing_user_is_refused),
		TEST(root_is_refused_as_the_user),
		TEST(a_missing_group_is_refused),
		TEST(excluded_users_become_numbers),
		TEST(a_missing_excluded_user_is_refused),
		TEST(symbolic_links_in_rules_are_resolved),
		TEST(rules_at_the_root_stay),
		TEST(the_root_resolves_to_itself),
		TEST(an_include_path_is_resolved),
		TEST(a_missing_include_path_is_pointed_out),
		TEST(without_a_path_everything_is_looked_at),
		TEST(symbolic_links_in_what_full_scans_look_at_are_resolved),
		TEST(a_missing_path_for_full_scans_is_pointed_out),
		TEST(an_exclusion_through_somebodys_link_is_refused),
		TEST(a_scan_must_not_finish_when_it_begins),
		TEST(a_delay_must_leave_time_before_a_scan_finishes),
		TEST(the_kernels_filesystems_are_refused),
		TEST(a_link_into_a_refused_filesystem_is_refused),
		TEST(excluded_paths_may_be_anywhere),
		TEST(a_directory_to_be_made_needs_one_above_it),
		TEST(signatures_must_be_in_a_directory),
		TEST(what_exists_is_taken),
		TEST(with_a_mirror_the_official_databases_are_asked_for),
		TEST(databases_that_are_named_are_the_only_ones),
		TEST(two_sources_of_one_file_are_refused),
		TEST(a_key_needs_its_certificate),
		TEST(missing_files_of_the_fetcher_are_pointed_out),
		TEST(a_link_to_a_strange_name_survives_a_snapshot),
		TEST(a_link_to_a_name_with_two_stars_survives_a_snapshot),
		TEST(a_star_behind_a_link_is_not_a_pattern),
		TEST(resolving_leaks_no_descriptor),
	};

	const struct passwd *user = getpwnam("nobody");

	if (!user) {
		print_message("skipped: there is no user nobody\n");
		return UNIT_SKIPPED;
	}
	nobody_uid = user->pw_uid;
	nobody_gid = user->pw_gid;
	return cmocka_run_group_tests_name("conf_resolve", tests, group_setup, scratch_teardown);
}
