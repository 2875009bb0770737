/* SPDX-License-Identifier: GPL-2.0-only */
/* A directory that a web server can serve: what appears in it, in which order, and what goes. */
#include "../../../src/fetcher/mirror.h"
#include "fetch_fixture.h"

#include <jansson.h>

#define PARTIAL "d/" MIRROR_STORE "/fetch/partial"

static struct conf *conf;
static struct audience audience;
static struct run_result result;
static char renamed[4096]; /* a line for each file that has appeared in the mirror */

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);

int __wrap_rename(const char *from, const char *to)
{
	int r = __real_rename(from, to);

	if (r == 0 && !strncmp(to, "d/", 2) && !strchr(to + 2, '/'))
		add_line(renamed, sizeof(renamed), "%s", to + 2);
	return r;
}

static void configure(const char *key, const char *value)
{
	conf_fixture_set(conf, "signatures", key, value);
}

static int setup(void **state)
{
	if (world_setup(state) < 0)
		return -1;
	conf = conf_new();
	audience = (struct audience){.channel = -1, .hear = hear_nothing};
	configure("mirror", "http://a");
	configure("database", "test");
	configure("check-every", "2h");
	return 0;
}

static int teardown(void **state)
{
	conf_free(conf);
	return world_teardown(state);
}

static void run(enum wire_update_result expected)
{
	*renamed = *world.asked = '\0';
	run_all(conf, &audience, "d", false, &result);
	if (result.done.result != expected)
		fail_msg("%u, not %u: %s\n%s", result.done.result, expected, result.done.text,
			 world.logged);
	/* The signatures of this machine are the same as before. */
	assert_int_equal(result.fetched.published, 0);
}

/* What the index says: "test.cvd 2000 =5 ". */
static const char *read_index(void)
{
	static char text[16384];
	json_error_t error;
	json_t *index = json_load_file("d/index.json", JSON_REJECT_DUPLICATES, &error), *file;
	size_t i;

	assert_non_null(index);
	assert_int_equal(json_integer_value(json_object_get(index, "updated")), world.now);
	assert_int_equal(json_object_size(index), 2);
	*text = '\0';
	json_array_foreach(json_object_get(index, "files"), i, file)
	{
		size_t used = strlen(text);
		json_t *version = json_object_get(file, "version");

		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s %lld ",
					 json_string_value(json_object_get(file, "name")),
					 json_integer_value(json_object_get(file, "size")));
		if (version)
			(void)snprintf(text + used, sizeof(text) - used, "=%lld ",
				       json_integer_value(version));
		assert_int_equal(json_object_size(file), version ? 3 : 2);
	}
	json_decref(index);
	return text;
}

static void test_it_begins_with_the_whole_file(void **state)
{
	struct stat status;

	(void)umask(077);
	serve_all("a", 4);
	run(WIRE_UPDATE_UPDATED);
	(void)umask(022);
	assert_asked("a/test.cvd head\na/test.cvd\n");
	assert_string_equal(renamed, "test.cvd\nindex.json\n");
	assert_string_equal(list_files("d"), "index.json test.cvd=4 ");
	assert_string_equal(read_index(), "test.cvd 2000 =4 ");
	assert_int_equal(stat("d/test.cvd", &status), 0);
	assert_int_equal(status.st_mode & 0777, 0644);
	assert_int_equal(stat("d/index.json", &status), 0);
	assert_int_equal(status.st_mode & 0777, 0644);
}

static void test_cdiffs_appear_before_what_they_lead_to(void **state)
{
	write_cvd("d/test.cvd", 4);
	serve_all("a", 6);
	run(WIRE_UPDATE_UPDATED);
	assert_asked("a/test.cvd head\na/test.cvd\na/test-5.cdiff\na/test-6.cdiff\n");
	/* They were tried. */
	assert_string_equal(world.patched, "test.cvd 4-6\n");
	assert_string_equal(world.tried, "test.cvd as test signed\n");
	assert_string_equal(renamed, "test-5.cdiff\ntest-6.cdiff\ntest.cvd\nindex.json\n");
	assert_string_equal(read_index(), "test-5.cdiff 7 =5 test-6.cdiff 7 =6 test.cvd 2000 =6 ");
	assert_file_is("d/test-6.cdiff", "cdiff 6", 7);
}

static void test_nothing_new(void **state)
{
	write_cvd("d/test.cvd", 6);
	serve_all("a", 6);
	run(WIRE_UPDATE_UP_TO_DATE);
	assert_asked("a/test.cvd head\n");
	assert_string_equal(renamed, "index.json\n");
	assert_string_equal(read_index(), "test.cvd 2000 =6 ");
	assert_int_equal(result.fetched.next, NOW + 2 * HOUR);
}

static void test_cdiffs_that_are_no_good_do_not_appear(void **state)
{
	write_cvd("d/test.cvd", 4);
	serve_all("a", 6);
	world.patch_result = -EBADMSG;
	run(WIRE_UPDATE_UPDATED);
	assert_string_equal(list_files("d"), "index.json test.cvd=6 ");
	/* Nor empty ones, and those behind them. */
	forget();
	world.patch_result = 0;
	serve_head("a", 9);
	serve_whole("a", 9);
	serve_cdiffs("a", 7, 7);
	(void)serve_text("a/test-8.cdiff", "");
	serve_cdiffs("a", 9, 9);
	run(WIRE_UPDATE_UPDATED);
	assert_string_equal(list_files("d"), "index.json test.cvd=9 ");
}

static void test_nothing_appears_without_the_whole_file(void **state)
{
	configure("mirror", "http://b");
	write_cvd("d/test.cvd", 4);
	serve_head("a", 6);
	serve_cdiffs("a", 5, 6);
	serve_all("b", 5);
	(void)answer("a/test.cvd", TRANSFER_BROKEN);
	run(WIRE_UPDATE_UPDATED);
	assert_string_equal(renamed, "test-5.cdiff\ntest.cvd\nindex.json\n");
	assert_string_equal(list_files("d"), "index.json test-5.cdiff test.cvd=5 ");
}

static void test_429_among_the_cdiffs(void **state)
{
	write_cvd("d/test.cvd", 4);
	serve_head("a", 6);
	serve_whole("a", 6);
	serve_cdiffs("a", 5, 5);
	(void)serve_cool_down("a/test-6.cdiff", 7200);
	run(WIRE_UPDATE_COOL_DOWN);
	assert_asked("a/test.cvd head\na/test.cvd\na/test-5.cdiff\na/test-6.cdiff\n");
	assert_string_equal(list_files("d"), "index.json test.cvd=4 ");
	assert_string_equal(list_files(PARTIAL), "test.cvd=6 ");
}

/* Whoever has what was in the mirror before needs every one of them. */
static void test_cdiffs_that_do_not_all_come(void **state)
{
	static const enum transfer_result results[] = {TRANSFER_BROKEN, TRANSFER_REFUSED};

	write_cvd("d/test.cvd", 4);
	for (unsigned i = 0; i < 4; i++) {
		forget();
		serve_head("a", 6);
		serve_whole("a", 6);
		if (i < 2)
			serve_cdiffs("a", 5, 5);
		(void)answer(i < 2 ? "a/test-6.cdiff" : "a/test-5.cdiff", results[i % 2]);
		run(WIRE_UPDATE_FAILED);
		assert_string_equal(renamed, "index.json\n");
		assert_string_equal(list_files(PARTIAL), "test.cvd=6 ");
	}
	/* The whole file need not come again. */
	forget();
	serve_all("a", 6);
	run(WIRE_UPDATE_UPDATED);
	assert_asked("a/test.cvd head\na/test.cvd 2000-\na/test-5.cdiff\na/test-6.cdiff\n");
	assert_string_equal(renamed, "test-5.cdiff\ntest-6.cdiff\ntest.cvd\nindex.json\n");
	assert_string_equal(list_files(PARTIAL), "");
}

static void test_they_may_come_from_another_mirror(void **state)
{
	configure("mirror", "http://b");
	write_cvd("d/test.cvd", 4);
	serve_head("a", 6);
	serve_whole("a", 6);
	(void)answer("a/test-5.cdiff", TRANSFER_BROKEN);
	serve_all("b", 6);
	run(WIRE_UPDATE_UPDATED);
	assert_asked("a/test.cvd head\na/test.cvd\na/test-5.cdiff\n"
		     "b/test.cvd head\nb/test.cvd 2000-\nb/test-5.cdiff\nb/test-6.cdiff\n");
	assert_string_equal(renamed, "test-5.cdiff\ntest-6.cdiff\ntest.cvd\nindex.json\n");
}

static void test_cdiffs_that_nobody_has(void **state)
{
	write_cvd("d/test.cvd", 4);
	serve_head("a", 6);
	serve_whole("a", 6);
	serve_cdiffs("a", 5, 5);
	run(WIRE_UPDATE_UPDATED);
	assert_string_equal(renamed, "test-5.cdiff\ntest.cvd\nindex.json\n");
	forget();
	serve_head("a", 8);
	serve_whole("a", 8);
	run(WIRE_UPDATE_UPDATED);
	assert_string_equal(renamed, "test.cvd\nindex.json\n");
}

static void test_a_fault_of_ours(void **state)
{
	configure("mirror", "http://b");
	write_cvd("d/test.cvd", 4);
	serve_all("a", 5);
	serve_all("b", 5);
	world.patch_result = -ENOSPC;
	run(WIRE_UPDATE_FAILED);
	assert_asked("a/test.cvd head\na/test.cvd\na/test-5.cdiff\n");
	assert_string_equal(list_files("d"), "index.json test.cvd=4 ");
}

static void test_what_cannot_be_put_there(void **state)
{
	write_cvd("d/test.cvd", 4);
	assert_int_equal(mkdir("d/test-5.cdiff", 0700), 0);
	scratch_write("d/test-5.cdiff/x", "", 0);
	serve_all("a", 5);
	run(WIRE_UPDATE_FAILED);
	assert_string_equal(renamed, "index.json\n");
	assert_non_null(strstr(world.logged, "cannot write d/test-5.cdiff: "));
	assert_string_equal(list_files("d"), "index.json test-5.cdiff test.cvd=4 ");
	assert_string_equal(read_index(), "test.cvd 2000 =4 ");
}

static void test_an_index_that_cannot_be_written(void **state)
{
	assert_int_equal(mkdir("d/index.json", 0700), 0);
	scratch_write("d/index.json/x", "", 0);
	serve_all("a", 5);
	run(WIRE_UPDATE_FAILED);
	assert_non_null(strstr(result.done.text, "cannot write d/index.json: "));
}

static void test_a_directory_that_is_not_there(void **state)
{
	run_all(conf, &audience, "d/absent", false, &result);
	assert_int_equal(result.done.result, WIRE_UPDATE_FAILED);
	assert_non_null(strstr(result.done.text, "d/absent/" MIRROR_STORE ": No such file"));
	assert_asked("");
}

static void test_custom_files(void **state)
{
	configure("custom", "http://b/rules-5.ndb");
	serve_all("a", 5);
	(void)snprintf(serve_text("b/rules-5.ndb", "one")->reply.etag, 8, "\"1\"");
	run(WIRE_UPDATE_UPDATED);
	assert_string_equal(list_files("d"), "index.json rules-5.ndb test.cvd=5 ");
	assert_string_equal(read_index(), "rules-5.ndb 3 test.cvd 2000 =5 ");
	forget();
	serve_all("a", 5);
	(void)answer("b/rules-5.ndb", TRANSFER_NOT_MODIFIED);
	run(WIRE_UPDATE_UP_TO_DATE);
	assert_asked("a/test.cvd head\nb/rules-5.ndb if-none-match=\"1\"\n");
	assert_int_equal(unlink("d/rules-5.ndb"), 0);
	forget();
	serve_all("a", 5);
	(void)serve_text("b/rules-5.ndb", "one");
	run(WIRE_UPDATE_UPDATED);
	assert_asked("a/test.cvd head\nb/rules-5.ndb\n");
}

static void test_old_cdiffs_go(void **state)
{
	static const char *const left[] = {
		"test-100.cdiff", "test-101.cdiff", "test-9.cdiff",
		"test-199.cdiff", "other-5.cdiff",
	};

	write_cvd("d/test.cvd", 199);
	for (size_t i = 0; i < N_ELEMENTS(left); i++) {
		char path[PATH_MAX];

		(void)snprintf(path, sizeof(path), "d/%s", left[i]);
		scratch_write(path, "x", 1);
	}
	serve_all("a", 200);
	run(WIRE_UPDATE_UPDATED);
	assert_string_equal(read_index(), "other-5.cdiff 1 =5 test-101.cdiff 1 =101 "
					  "test-199.cdiff 1 =199 test-200.cdiff 9 =200 "
					  "test.cvd 2000 =200 ");
	assert_false(exists("d/test-100.cdiff") || exists("d/test-9.cdiff"));
	assert_true(exists("d/test-101.cdiff"));
}

static void test_what_is_no_file_of_ours_stays_and_is_not_told(void **state)
{
	static const char *const others[] = {
		"test-050.cdiff",
		"test-+5.cdiff",
		"test--5.cdiff",
		"test- 5.cdiff",
		"test-5.cdiff.x",
		"-5.cdiff",
		"test-4294967290.cdiff",
		"test-4294967301.cdiff",
		"test.5.cdiff",
		"README",
		"test-5",
		"test-5.cdif",
	};
	char path[PATH_MAX];

	write_cvd("d/test.cvd", 200);
	scratch_write("d/broken.cvd", "x", 1);
	assert_int_equal(mkdir("d/directory.ndb", 0700), 0);
	for (size_t i = 0; i < N_ELEMENTS(others); i++) {
		(void)snprintf(path, sizeof(path), "d/%s", others[i]);
		scratch_write(path, "x", 1);
	}
	serve_all("a", 200);
	run(WIRE_UPDATE_UP_TO_DATE);
	for (size_t i = 0; i < N_ELEMENTS(others); i++) {
		(void)snprintf(path, sizeof(path), "d/%s", others[i]);
		if (!exists(path))
			fail_msg("%s", path);
	}
	assert_string_equal(read_index(), "broken.cvd 1 test-4294967290.cdiff 1 =4294967290 "
					  "test.cvd 2000 =200 ");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_it_begins_with_the_whole_file),
		TEST(test_cdiffs_appear_before_what_they_lead_to),
		TEST(test_nothing_new),
		TEST(test_cdiffs_that_are_no_good_do_not_appear),
		TEST(test_nothing_appears_without_the_whole_file),
		TEST(test_429_among_the_cdiffs),
		TEST(test_cdiffs_that_do_not_all_come),
		TEST(test_they_may_come_from_another_mirror),
		TEST(test_cdiffs_that_nobody_has),
		TEST(test_a_fault_of_ours),
		TEST(test_what_cannot_be_put_there),
		TEST(test_an_index_that_cannot_be_written),
		TEST(test_a_directory_that_is_not_there),
		TEST(test_custom_files),
		TEST(test_old_cdiffs_go),
		TEST(test_what_is_no_file_of_ours_stays_and_is_not_told),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
