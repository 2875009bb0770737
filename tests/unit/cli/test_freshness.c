/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/cli/freshness.h"
#include "../support/conf_fixture.h"
#include "../support/scratch.h"

#include <errno.h>
#include <time.h>

#define NOW	  1795312800 /* 2026-11-22 02:00:00 UTC */
#define DAY	  86400
#define FILE_NAME "state/signatures/fetch/state.json"

static struct conf *conf;
static struct freshness *freshness;
static char warnings[FRESHNESS_WARNINGS_MAX][FRESHNESS_WARNING_SIZE];
static unsigned n_warnings;
static char text[65536];

static int setup(void **state)
{
	char path[PATH_MAX + 8];

	conf = conf_new();
	if (!conf)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/state", scratch);
	conf_fixture_set(conf, "service", "state-dir", path);
	return mkdir("state", 0755) < 0 || mkdir("state/signatures", 0755) < 0 ||
			       mkdir("state/signatures/fetch", 0755) < 0
		       ? -1
		       : 0;
}

static int teardown(void **state)
{
	free(freshness);
	freshness = NULL;
	conf = conf_free(conf);
	return nftw("state", scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void with_mirror(const char *url)
{
	conf_fixture_set(conf, "signatures", "mirror", url);
}

static void read_state(void)
{
	freshness = freshness_new(conf, NOW);
	assert_non_null(freshness);
}

/* What the fetcher has written, with ' for ". */
static void with_state(const char *json)
{
	char quoted[8192];
	size_t length = strlen(json);

	assert_true(length < sizeof(quoted));
	for (size_t i = 0; i <= length; i++)
		quoted[i] = json[i] == '\'' ? '"' : json[i];
	scratch_write(FILE_NAME, quoted, length);
	read_state();
}

static void with_database(const char *name, uint32_t version, uint32_t signatures, int64_t built)
{
	struct wire_database *database = &freshness->databases[freshness->n_databases++];

	database->version = version;
	database->signatures = signatures;
	database->built_at = built;
	(void)snprintf(database->name, sizeof(database->name), "%s", name);
}

static void judge(int64_t newest, bool test_only)
{
	const struct wire_engine_info engine = {.newest = newest, .test_only = test_only};

	n_warnings = freshness_judge(freshness, &engine, warnings);
}

static const char *print(void)
{
	FILE *out = fmemopen(text, sizeof(text), "w");

	assert_non_null(out);
	text[0] = '\0'; /* where nothing is printed */
	freshness_print(freshness, out);
	assert_int_equal(fclose(out), 0);
	return text;
}

static void expect(const char *expected)
{
	if (!strstr(print(), expected))
		fail_msg("'%s' is not in:\n%s", expected, text);
}

/* --- what is shown --- */

static void without_a_state_nothing_is_known_and_nothing_is_wrong(void **state)
{
	read_state();
	judge(NOW - DAY, false);
	assert_int_equal(n_warnings, 0);
	assert_string_equal(print(), "");
}

static void a_database_has_its_version_age_and_source(void **state)
{
	with_mirror("http://mirror/clamav");
	with_state("{'next_run': 1795316400, 'items': ["
		   "{'name': 'daily', 'custom': false, 'source': 'http://mirror/clamav',"
		   " 'checked': 1795312740, 'version': 27451},"
		   "{'name': 'local.ndb', 'custom': true, 'source': 'https://x/local.ndb',"
		   " 'checked': 1795309200}]}");
	with_database("daily.cld", 27451, 2041234, NOW - 3 * 3600);
	with_database("local.ndb", 0, 0, NOW - 2 * DAY);
	with_database("daily.ndb", 0, 0, NOW - 60);
	assert_string_equal(
		print(),
		"  databases   daily.cld      27451, 2,041,234 signatures, 3 h 0 min old; from "
		"http://mirror/clamav, confirmed 1 min 0 s ago\n"
		"              local.ndb      2 d 0 h old; from https://x/local.ndb, confirmed 1 h "
		"0 min ago\n"
		"              daily.ndb      1 min 0 s old\n"
		"  next check  2026-11-22 03:00:00\n");
}

static void what_was_never_fetched_is_shown(void **state)
{
	with_mirror("http://mirror");
	with_state("{'items': [{'name': 'daily', 'problem': 'no connection'},"
		   "{'name': 'gone.ndb', 'custom': true, 'problem': '404'}]}");
	with_database("main.cvd", 62, 0, NOW);
	assert_string_equal(print(), "  databases   daily          not loaded; the last check "
				     "failed: no connection\n"
				     "              main.cvd       62, 0 s old\n");
}

static void no_more_lines_than_people_read(void **state)
{
	char name[32];

	read_state();
	for (unsigned i = 0; i < 15; i++) {
		(void)snprintf(name, sizeof(name), "%u.ndb", i);
		with_database(name, 0, 0, NOW);
	}
	expect("11.ndb         0 s old\n              ... and 3 more\n");
	assert_null(strstr(text, "12.ndb"));
}

static void a_cool_down_says_who_until_when_and_why(void **state)
{
	with_mirror("http://a");
	with_mirror("http://b");
	with_state("{'sources': [{'url': 'http://a', 'cool_since': 1795312000,"
		   " 'cool_until': 1795316400, 'problem': '429 Too Many Requests'},"
		   "{'url': 'http://b', 'cool_since': 1795312000, 'cool_until': 1795312800}]}");
	assert_string_equal(print(), "  cool-down   http://a until 2026-11-22 03:00:00: 429 Too "
				     "Many Requests\n");
	judge(NOW, false);
	assert_int_equal(n_warnings, 0);
}

/* The user that fetches may write anything there. */
static void nothing_in_the_state_forges_a_line(void **state)
{
	with_mirror("http://mirror");
	with_state("{'items': [{'name': 'daily', 'source': '\\n\\u001b[2J', 'checked': 1,"
		   " 'problem': '\\n\\u202e'}], 'sources': [{'url': '\\n\\u001b', 'problem': "
		   "'\\n', 'cool_until': 9000000000000000000}]}");
	with_database("daily.cvd", 1, 1, 0);
	judge(NOW, false);
	for (const char *c = print(); *c; c++)
		assert_true(*c == '\n' || (*c >= ' ' && *c <= '~'));
	assert_int_equal(n_warnings, 1);
	for (const char *c = warnings[0]; *c; c++)
		assert_in_range((unsigned char)*c, ' ', '~');
	/* a file that was loaded, its source and its warnings, no more lines than these */
	expect("\\x0a\\x1b[2J");
}

static void what_makes_no_sense_is_left_out(void **state)
{
	with_mirror("http://mirror");
	with_state("{'items': [7, {}, {'name': 7}, {'name': 'daily', 'checked': -5, 'version': "
		   "4294967296, 'source': []}, 'x'], 'sources': {'url': 'x'}, 'next_run': 'x'}");
	assert_int_equal(freshness->n_items, 1);
	assert_int_equal(freshness->items[0].checked, 0);
	assert_int_equal(freshness->items[0].version, 0);
	assert_int_equal(freshness->n_sources, 0);
	assert_int_equal(freshness->next_run, 0);
	assert_string_equal(freshness->problem, "");
}

static void no_more_is_taken_than_there_is_room_for(void **state)
{
	static char json[65536];
	size_t length = 0;

	length += (size_t)snprintf(json, sizeof(json), "{\"items\": [{}");
	for (unsigned i = 0; i < FRESHNESS_ITEMS_MAX + 9; i++)
		length += (size_t)snprintf(json + length, sizeof(json) - length,
					   ",{\"name\": \"%u\"}", i);
	length += (size_t)snprintf(json + length, sizeof(json) - length, "],\"sources\": [{}");
	for (unsigned i = 0; i < FRESHNESS_SOURCES_MAX + 9; i++)
		length += (size_t)snprintf(json + length, sizeof(json) - length,
					   ",{\"url\": \"%u\"}", i);
	length += (size_t)snprintf(json + length, sizeof(json) - length, "]}");
	scratch_write(FILE_NAME, json, length);
	read_state();
	assert_int_equal(freshness->n_items, FRESHNESS_ITEMS_MAX);
	assert_int_equal(freshness->n_sources, FRESHNESS_SOURCES_MAX);
}

static void a_state_that_cannot_be_read_is_said(void **state)
{
	static const char *const broken[] = {"", "x", "{", "[]", "7", "{\"items\": \"\xff\"}"};

	for (size_t i = 0; i < N_ELEMENTS(broken); i++) {
		scratch_write(FILE_NAME, broken[i], strlen(broken[i]));
		read_state();
		expect("/state.json cannot be understood: the next update writes it anew\n");
		judge(NOW, false);
		assert_int_equal(n_warnings, 0);
		free(freshness);
	}
	/* no waiting for who never writes, and no following */
	assert_int_equal(unlink(FILE_NAME), 0);
	assert_int_equal(mkfifo(FILE_NAME, 0644), 0);
	read_state();
	expect("/state.json: Invalid argument\n");
	free(freshness);
	assert_int_equal(unlink(FILE_NAME), 0);
	scratch_write("elsewhere", "{}", 2);
	assert_int_equal(symlink("../../../elsewhere", FILE_NAME), 0);
	read_state();
	expect("/state.json: Too many levels of symbolic links\n");
}

static void a_state_that_is_too_large_is_not_read(void **state)
{
	int fd = open(FILE_NAME, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	assert_int_equal(ftruncate(fd, (4 << 20) + 1), 0);
	close(fd);
	read_state();
	expect("/state.json: Invalid argument\n");
}

/* --- what is wrong --- */

static void old_signatures_are_a_warning(void **state)
{
	read_state();
	judge(NOW - 3 * DAY, false);
	assert_int_equal(n_warnings, 0);
	judge(NOW - 3 * DAY - 1, false);
	assert_int_equal(n_warnings, 1);
	assert_string_equal(warnings[0],
			    "the newest signatures are of 2026-11-19 01:59:59, 3 d 0 h "
			    "old: more than max-age-warning (3 d 0 h)");
	judge(NOW + 9 * DAY, false);
	assert_int_equal(n_warnings, 0);
	/* another warning says that there are none */
	judge(NOW - 30 * DAY, true);
	assert_int_equal(n_warnings, 0);
	judge(0, false);
	assert_int_equal(n_warnings, 0);
}

static void what_no_source_confirms_is_a_warning(void **state)
{
	with_mirror("http://mirror");
	with_state("{'items': [{'name': 'daily', 'checked': 1795052500, 'problem': 'no route'},"
		   "{'name': 'main', 'checked': 1795312000}, {'name': 'bytecode'}]}");
	judge(NOW, false);
	assert_int_equal(n_warnings, 1);
	assert_string_equal(warnings[0], "no source has confirmed for longer than max-age-warning: "
					 "daily (3 d 0 h), bytecode (never): no route");
}

static void many_of_them_are_still_one_warning(void **state)
{
	with_mirror("http://mirror");
	with_state("{'items': [{'name': 'a'}, {'name': 'b'}, {'name': 'c'}, {'name': 'd'},"
		   "{'name': 'e'}, {'name': 'f'}, {'name': 'g'}]}");
	judge(NOW, false);
	assert_int_equal(n_warnings, 1);
	assert_string_equal(warnings[0],
			    "no source has confirmed for longer than max-age-warning: "
			    "a (never), b (never), c (never), d (never), e (never) and "
			    "2 more");
}

/* What the configuration does not name any more is forgotten with the next run. */
static void only_what_is_wanted_is_judged(void **state)
{
	with_mirror("http://mirror");
	conf_fixture_set(conf, "signatures", "database", "daily");
	conf_fixture_set(conf, "signatures", "custom", "http://x/a.ndb?key=1");
	with_state("{'items': [{'name': 'main'}, {'name': 'b.ndb', 'custom': true},"
		   "{'name': 'a.ndb', 'custom': true}, {'name': 'a.ndb'}]}");
	judge(NOW, false);
	assert_int_equal(n_warnings, 1);
	assert_non_null(strstr(warnings[0], ": a.ndb (never)"));
	assert_null(strstr(warnings[0], ","));
}

static void without_a_mirror_no_database_is_missed(void **state)
{
	with_state("{'items': [{'name': 'daily'}]}");
	judge(NOW, false);
	assert_int_equal(n_warnings, 0);
}

static void whoever_wants_no_warning_gets_none(void **state)
{
	with_mirror("http://mirror");
	conf_fixture_set(conf, "signatures", "max-age-warning", "0");
	with_state("{'items': [{'name': 'daily'}]}");
	judge(NOW - 900 * DAY, false);
	assert_int_equal(n_warnings, 0);
}

static void when_nobody_may_be_asked_it_is_a_warning(void **state)
{
	with_mirror("http://u:secret@a");
	with_mirror("http://b");
	with_state("{'sources': [{'url': 'http://u@a', 'cool_since': 1795312000,"
		   " 'cool_until': 1795399200, 'problem': '403'},"
		   "{'url': 'http://b', 'cool_since': 1795312000, 'cool_until': 1795316400,"
		   " 'problem': '429 Too Many Requests'}]}");
	judge(NOW, false);
	assert_int_equal(n_warnings, 1);
	/* the one that may be asked first */
	assert_string_equal(warnings[0], "nobody may be asked for signatures until 2026-11-22 "
					 "03:00:00: http://b: 429 Too Many Requests");
}

/* It was written under another clock. */
static void a_cool_down_from_the_future_is_none(void **state)
{
	with_mirror("http://a");
	with_state("{'sources': [{'url': 'http://a', 'cool_since': 1795312801,"
		   " 'cool_until': 1795399200}]}");
	judge(NOW, false);
	assert_int_equal(n_warnings, 0);
	assert_string_equal(print(), "");
}

static void nor_is_one_that_is_longer_than_any_may_be(void **state)
{
	with_mirror("http://a");
	with_mirror("http://b");
	with_state("{'sources': [{'url': 'http://a', 'cool_since': 1795312800,"
		   " 'cool_until': 1795917600, 'problem': '429'},"
		   "{'url': 'http://b', 'cool_since': 1795312799, 'cool_until': 1795917600}]}");
	judge(NOW, false);
	assert_int_equal(n_warnings, 0);
	/* A week may be. */
	assert_string_equal(print(), "  cool-down   http://a until 2026-11-29 02:00:00: 429\n");
}

static void programs_get_everything(void **state)
{
	json_t *answer;

	with_mirror("http://mirror");
	with_state("{'next_run': 1795316400, 'items': [{'name': 'daily', 'source': 'http://mirror',"
		   " 'checked': 1795312740, 'version': 27451}],"
		   " 'sources': [{'url': 'http://mirror', 'last_ok': 1795312740}]}");
	for (unsigned i = 0; i < 20; i++)
		with_database("daily.cvd", 27451, 2041234, NOW);
	answer = freshness_json(freshness);
	assert_int_equal(json_array_size(json_object_get(answer, "databases")), 20);
	assert_int_equal(json_array_size(json_object_get(answer, "fetched")), 1);
	assert_int_equal(json_array_size(json_object_get(answer, "sources")), 1);
	assert_int_equal(json_integer_value(json_object_get(answer, "next_check")), 1795316400);
	json_decref(answer);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(without_a_state_nothing_is_known_and_nothing_is_wrong),
		TEST(a_database_has_its_version_age_and_source),
		TEST(what_was_never_fetched_is_shown),
		TEST(no_more_lines_than_people_read),
		TEST(a_cool_down_says_who_until_when_and_why),
		TEST(nothing_in_the_state_forges_a_line),
		TEST(what_makes_no_sense_is_left_out),
		TEST(no_more_is_taken_than_there_is_room_for),
		TEST(a_state_that_cannot_be_read_is_said),
		TEST(a_state_that_is_too_large_is_not_read),
		TEST(old_signatures_are_a_warning),
		TEST(what_no_source_confirms_is_a_warning),
		TEST(many_of_them_are_still_one_warning),
		TEST(only_what_is_wanted_is_judged),
		TEST(without_a_mirror_no_database_is_missed),
		TEST(whoever_wants_no_warning_gets_none),
		TEST(when_nobody_may_be_asked_it_is_a_warning),
		TEST(a_cool_down_from_the_future_is_none),
		TEST(nor_is_one_that_is_longer_than_any_may_be),
		TEST(programs_get_everything),
	};

	(void)setenv("TZ", "UTC", 1);
	tzset();
	return cmocka_run_group_tests_name("freshness", tests, scratch_setup, scratch_teardown);
}
