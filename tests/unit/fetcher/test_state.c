/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/fetcher/state.h"
#include "../support/conf_fixture.h"
#include "../support/scratch.h"

#include <errno.h>
#include <inttypes.h>

#define UUID "01234567-89ab-4def-8123-456789abcdef"

static char problem[512];

/* What was done to the disk, in its order. */
static char steps[64];

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
	struct stat status;

	assert_int_equal(fstat(fd, &status), 0);
	(void)strncat(steps, S_ISDIR(status.st_mode) ? "directory " : "file ",
		      sizeof(steps) - 1 - strlen(steps));
	return __real_fsync(fd);
}

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to)
{
	(void)strncat(steps, "rename ", sizeof(steps) - 1 - strlen(steps));
	return __real_rename(from, to);
}

static struct state *load(void)
{
	struct state *state = state_new("state.json", problem, sizeof(problem));

	assert_non_null(state);
	return state;
}

static void assert_uuid(const struct state *state)
{
	assert_int_equal(strlen(state->uuid), 36);
	assert_int_equal(strspn(state->uuid, "0123456789abcdef-"), 36);
	assert_int_equal(state->uuid[14], '4');
	assert_non_null(strchr("89ab", state->uuid[19]));
}

static void test_no_file(void **unused)
{
	struct state *state = load(), *other = load();

	assert_string_equal(problem, "");
	assert_int_equal(state->n_sources, 0);
	assert_int_equal(state->n_items, 0);
	assert_uuid(state);
	assert_string_not_equal(state->uuid, other->uuid);
	state_free(state);
	state_free(other);
	state_free(NULL);
}

static void test_saved_and_read(void **unused)
{
	struct state *state = load(), *again;
	struct source *source = state_source(state, "http://joe:secret@mirror.example/clamav");
	struct state_item *item = state_item(state, "daily", false);
	char text[8192] = "";
	struct stat status;
	FILE *file;
	mode_t mask;

	assert_ptr_equal(state_source(state, "http://joe@mirror.example/clamav"), source);
	state->next_run = 1790000001;
	source->last_ok = 2;
	source->failures = UINT32_MAX;
	source->retry_at = 4;
	source->cool_until = 5;
	source->cool_since = 6;
	(void)snprintf(source->problem, sizeof(source->problem), "429 \"Too\\Many\"");
	(void)snprintf(item->source, sizeof(item->source), "http://mirror.example");
	item->checked = 7;
	item->changed = 8;
	item->version = UINT32_MAX;
	item->signatures = 9;
	(void)snprintf(item->etag, sizeof(item->etag), "\"abc\"");
	(void)snprintf(item->last_modified, sizeof(item->last_modified), "Mon, 02 Jan 2006");
	(void)snprintf(item->problem, sizeof(item->problem), "bell\a, tear\xc3\xa4, new\nline");
	assert_true(state_item(state, "daily", true)->custom);
	scratch_write("state.json.new", "of a run that was killed", 24);
	mask = umask(0077);
	assert_int_equal(state_save(state, "state.json"), 0);
	(void)umask(mask);
	assert_string_equal(steps, "file rename directory ");

	assert_int_equal(stat("state.json", &status), 0);
	assert_int_equal(status.st_mode & 07777, 0640);
	assert_int_equal(access("state.json.new", F_OK), -1);
	file = fopen("state.json", "re");
	assert_non_null(file);
	assert_true(fread(text, 1, sizeof(text) - 1, file) > 0);
	assert_int_equal(fclose(file), 0);
	assert_null(strstr(text, "secret"));

	again = load();
	assert_string_equal(problem, "");
	(void)snprintf(item->problem, sizeof(item->problem), "bell?, tear??, new?line");
	assert_memory_equal(again, state, sizeof(*state));
	state_free(again);
	state_free(state);
}

static void test_saved_where_it_cannot_be(void **unused)
{
	struct state *state = load();
	char path[PATH_MAX];
	struct rlimit before;

	assert_int_equal(state_save(state, "nowhere/state.json"), -ENOENT);
	/* a path that leaves no room for the one beside it */
	for (size_t i = 0; i < PATH_MAX - 1; i++)
		path[i] = i % 2 ? '/' : '.';
	memcpy(path + PATH_MAX - 1 - 5, "state", 6);
	assert_int_equal(state_save(state, path), -ENAMETOOLONG);
	before = unit_forbid_fds();
	assert_int_equal(state_save(state, "state.json"), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	/* What is in the way stays, and nothing is left beside it. */
	assert_int_equal(mkdir("dir", 0755), 0);
	assert_int_equal(state_save(state, "dir"), -EISDIR);
	assert_int_equal(access("dir.new", F_OK), -1);
	assert_int_equal(rmdir("dir"), 0);
	state_free(state);
}

#define HEAD "{\"version\": 1, \"next_run\": 1, \"uuid\": \"" UUID "\", "
#define SOURCES                                                                                    \
	"\"sources\": [{\"url\": \"u\", \"last_ok\": 0, \"failures\": 0, "                         \
	"\"retry_at\": 0, \"cool_until\": 0, \"cool_since\": 0, \"problem\": \"p\"}], "
#define ITEMS                                                                                      \
	"\"items\": [{\"name\": \"n\", \"custom\": false, \"source\": \"s\", "                     \
	"\"checked\": 0, \"changed\": 0, \"version\": 7, \"signatures\": 0, \"etag\": "            \
	"\"\", \"last_modified\": \"\", \"problem\": \"\"}]}"

static void assert_begun_anew(const char *text, const char *expected)
{
	struct state *state;

	scratch_write("state.json", text, strlen(text));
	state = load();
	if (!strstr(problem, expected) || !strstr(problem, "state.json: "))
		fail_msg("\"%s\" for %.200s", problem, text);
	assert_int_equal(state->n_sources, 0);
	assert_int_equal(state->n_items, 0);
	assert_int_equal(state->next_run, 0);
	assert_string_equal(state->items[0].name, "");
	assert_uuid(state);
	assert_string_not_equal(state->uuid, UUID);
	state_free(state);
}

/* The file that is right, with one thing replaced. */
static void assert_wrong(const char *what, const char *with, const char *expected)
{
	static const char right[] = HEAD SOURCES ITEMS;
	const char *at = strstr(right, what);
	char text[4096];

	assert_non_null(at);
	(void)snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - right), right, with,
		       at + strlen(what));
	assert_begun_anew(text, expected);
}

static void test_wrong_files(void **unused)
{
	static const struct {
		const char *what, *with, *expected;
	} cases[] = {
		{"\"version\": 1", "\"version\": 2", "\"version\""},
		{"\"version\": 1", "\"version\": 0", "\"version\""},
		{"\"version\": 1", "\"version\": \"1\"", "\"version\""},
		{"\"version\": 1", "\"x\": 1", "\"version\""},
		{"\"version\": 1", "\"version\": 1, \"version\": 1", "JSON"},
		{"\"next_run\": 1", "\"next_run\": -1", "\"next_run\""},
		{"\"next_run\": 1", "\"next_run\": 253402300800", "\"next_run\""},
		{"\"next_run\": 1", "\"next_run\": 1e300", "\"next_run\""},
		{"\"next_run\": 1", "\"next_run\": 99999999999999999999", "JSON"},
		{"\"" UUID "\"", "\"" UUID "0\"", "\"uuid\""},
		{"\"" UUID "\"", "\"" UUID " \"", "\"uuid\""},
		{"\"" UUID "\"", "\"\"", "\"uuid\""},
		{"\"" UUID "\"", "\"01234567-89ab-4def-8123-456789abcde \"", "\"uuid\""},
		{"\"sources\": [", "\"sources\": {}, \"x\": [", "\"sources\""},
		{"\"sources\": [", "\"sources\": [7, ", "\"url\""},
		{"\"u\"", "\"a\\nb\"", "\"url\""},
		{"\"u\"", "\"a\\u001b[31m\"", "\"url\""},
		{"\"u\"", "\"a\\u0000b\"", "JSON"},
		{"\"u\"", "\"\xc2\x9b\"", "\"url\""},
		{"\"u\"", "\"\xff\"", "JSON"},
		{"\"u\"", "[[[[]]]]", "\"url\""},
		{"\"failures\": 0", "\"failures\": 4294967296", "\"failures\""},
		{"\"retry_at\": 0", "\"retry_at\": true", "\"retry_at\""},
		{"\"cool_until\": 0", "\"cool_until\": 9223372036854775807", "\"cool_until\""},
		{"\"cool_since\": 0, ", "", "\"cool_since\""},
		{"\"last_ok\": 0", "\"last_ok\": null", "\"last_ok\""},
		{"\"p\"", "7", "\"problem\""},
		{"\"items\": [", "\"items\": 7, \"x\": [", "\"items\""},
		{"\"n\"", "\"\"", "\"name\""},
		{"\"n\"", "\"../n\"", "\"name\""},
		{"\"n\"", "\"n123456789012345678901234567890123456789012345678901234567890\"",
		 "\"name\""},
		{"\"custom\": false", "\"custom\": 0", "\"custom\""},
		{"\"checked\": 0", "\"checked\": 0.5", "\"checked\""},
		{"\"changed\": 0", "\"changed\": -5", "\"changed\""},
		{"\"version\": 7", "\"version\": 4294967296", "\"version\""},
		{"\"signatures\": 0", "\"signatures\": -1", "\"signatures\""},
		{"\"etag\": \"\"", "\"etag\": \"a\\r\\nb\"", "\"etag\""},
		{"\"last_modified\": \"\"", "\"last_modified\": 7", "\"last_modified\""},
		{"]}", "", "JSON"},
		{"]}", "]}}", "JSON"},
	};
	struct state *state;

	scratch_write("state.json", HEAD SOURCES ITEMS, strlen(HEAD SOURCES ITEMS));
	state = load();
	assert_string_equal(problem, "");
	assert_string_equal(state->uuid, UUID);
	assert_string_equal(state->sources[0].problem, "p");
	assert_int_equal(state->items[0].version, 7);
	state_free(state);
	for (size_t i = 0; i < N_ELEMENTS(cases); i++)
		assert_wrong(cases[i].what, cases[i].with, cases[i].expected);
	assert_begun_anew("", "JSON");
	assert_begun_anew("[]", "\"version\"");
	assert_begun_anew("7", "JSON");
}

/* A text of so many 'x', and a file that is right but for this URL. */
static void test_long_text(void **unused)
{
	char with[300] = "\"";

	memset(with + 1, 'x', 256);
	(void)snprintf(with + 257, sizeof(with) - 257, "\"");
	assert_wrong("\"u\"", with, "\"url\"");
}

static void test_too_many_entries(void **unused)
{
	static char text[512 * 1024];
	static const char *const lists[] = {"sources", "items"};

	for (size_t list = 0; list < N_ELEMENTS(lists); list++) {
		size_t length = (size_t)snprintf(text, sizeof(text), HEAD "\"%s\": [], \"%s\": [0",
						 lists[!list], lists[list]);

		for (unsigned i = 0; i < STATE_ITEMS_MAX; i++)
			length += (size_t)snprintf(text + length, sizeof(text) - length, ",0");
		(void)snprintf(text + length, sizeof(text) - length, "]}");
		assert_begun_anew(text, lists[list]);
	}
	/* and one that is nested without end */
	memset(text, '[', sizeof(text) - 1);
	assert_begun_anew(text, "JSON");
}

static void test_full_tables_can_be_read_again(void **unused)
{
	struct state *state = load(), *again;
	char name[64];

	for (unsigned i = 0; i < SOURCES_MAX; i++) {
		struct source *source;

		(void)snprintf(name, sizeof(name), "http://host%u", i);
		source = state_source(state, name);
		assert_non_null(source);
		memset(source->problem, '"', sizeof(source->problem) - 1);
		memset(source->url + strlen(name), '\\', sizeof(source->url) - 1 - strlen(name));
	}
	for (unsigned i = 0; i < STATE_ITEMS_MAX; i++) {
		struct state_item *item;

		(void)snprintf(name, sizeof(name), "file%u.ndb", i);
		item = state_item(state, name, i % 2);
		assert_non_null(item);
		memset(item->name + strlen(name), '"', sizeof(item->name) - 1 - strlen(name));
		memset(item->problem, '"', sizeof(item->problem) - 1);
		memset(item->source, '\\', sizeof(item->source) - 1);
		memset(item->etag, '"', sizeof(item->etag) - 1);
		memset(item->last_modified, '"', sizeof(item->last_modified) - 1);
	}
	assert_null(state_source(state, "http://another"));
	assert_null(state_item(state, "another", false));
	assert_int_equal(state_save(state, "state.json"), 0);
	again = load();
	assert_string_equal(problem, "");
	assert_memory_equal(again, state, sizeof(*state));
	state_free(again);
	state_free(state);
}

static void test_what_is_not_a_file(void **unused)
{
	struct state *state;

	assert_int_equal(unlink("state.json"), 0);
	assert_int_equal(mkfifo("state.json", 0600), 0);
	state = load();
	assert_non_null(strstr(problem, "state.json"));
	state_free(state);
	assert_int_equal(unlink("state.json"), 0);
	assert_int_equal(mkdir("state.json", 0700), 0);
	state = load();
	assert_non_null(strstr(problem, "state.json"));
	state_free(state);
	assert_int_equal(rmdir("state.json"), 0);
	/* a gigabyte */
	scratch_write("state.json", "{", 1);
	assert_int_equal(truncate("state.json", 1024 * 1024 * 1024), 0);
	state = load();
	assert_non_null(strstr(problem, strerror(EFBIG)));
	state_free(state);
	assert_int_equal(unlink("state.json"), 0);
}

static void test_names(void **unused)
{
	struct state *state = load();
	struct state_item *item = state_item(state, "local.ndb", true);
	char name[SIGNATURE_FILE_MAX + 2];

	assert_ptr_equal(state_item(state, "local.ndb", true), item);
	assert_ptr_not_equal(state_item(state, "local.ndb", false), item);
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_null(state_item(state, name, true));
	name[sizeof(name) - 2] = '\0';
	assert_non_null(state_item(state, name, true));
	assert_int_equal(state->n_items, 3);
	assert_ptr_not_equal(state_source(state, "http://a"), state_source(state, "http://b"));
	assert_int_equal(state->n_sources, 2);
	state_free(state);
}

static void test_forget(void **unused)
{
	struct conf *conf = conf_new();
	struct state *state = load();

	conf_fixture_set(conf, "signatures", "mirror", "http://joe:secret@kept");
	conf_fixture_set(conf, "signatures", "database", "daily");
	conf_fixture_set(conf, "signatures", "custom", "https://custom/kept.ndb");
	(void)state_source(state, "http://gone");
	(void)state_source(state, "http://joe:other@kept")->failures++;
	(void)state_source(state, "https://custom/gone.ndb");
	(void)state_source(state, "https://custom/kept.ndb");
	(void)state_item(state, "main", false);
	(void)state_item(state, "daily", false);
	(void)state_item(state, "daily", true);
	(void)state_item(state, "kept.ndb", false);
	(void)state_item(state, "kept.ndb", true)->version++;
	(void)state_item(state, "gone.ndb", true);
	state_forget(state, conf);
	assert_int_equal(state->n_sources, 2);
	assert_string_equal(state->sources[0].url, "http://joe@kept");
	assert_int_equal(state->sources[0].failures, 1);
	assert_string_equal(state->sources[1].url, "https://custom/kept.ndb");
	assert_int_equal(state->n_items, 2);
	assert_string_equal(state->items[0].name, "daily");
	assert_false(state->items[0].custom);
	assert_string_equal(state->items[1].name, "kept.ndb");
	assert_true(state->items[1].custom);
	assert_int_equal(state->items[1].version, 1);
	state_free(state);
	conf_free(conf);
}

static int remove_state(void **unused)
{
	*steps = '\0';
	(void)unlink("state.json");
	return 0;
}

#define TEST(name) cmocka_unit_test_setup(test_##name, remove_state)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(no_file),
		TEST(saved_and_read),
		TEST(saved_where_it_cannot_be),
		TEST(wrong_files),
		TEST(long_text),
		TEST(too_many_entries),
		TEST(full_tables_can_be_read_again),
		cmocka_unit_test(test_what_is_not_a_file),
		TEST(names),
		TEST(forget),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
