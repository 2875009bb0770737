/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/signatures/sources.h"
#include "../support/conf_fixture.h"
#include "../support/scratch.h"

#include <clamav.h>
#include <errno.h>

static int setup(void **state)
{
	*state = conf_new();
	return *state && mkdir("d", 0755) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
	conf_free(*state);
	return nftw("d", scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* What stands in there before must not show. */
static struct wire_engine_info read_sources(const struct conf *conf, int n_files)
{
	struct wire_engine_info info;

	memset(&info, 'x', sizeof(info));
	assert_int_equal(sources_read("d", conf, &info), n_files);
	assert_true(wire_string_ok(info.engine, sizeof(info.engine)));
	assert_true(wire_string_ok(info.versions, sizeof(info.versions)));
	assert_string_equal(info.engine, cl_retver());
	return info;
}

static uint64_t set_of(const struct conf *conf, int n_files)
{
	return read_sources(conf, n_files).set;
}

static void write_two(void)
{
	scratch_write("d/a.ndb", "first", 5);
	scratch_write("d/b.hdb", "second", 6);
}

static void equal_files_are_one_set(void **state)
{
	uint64_t set, none = set_of(*state, 0);
	const struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 1}};

	write_two();
	set = set_of(*state, 2);
	assert_int_not_equal(set, none);
	assert_int_equal(set_of(*state, 2), set);
	/* whenever they were written, and in whatever order, and whoever may read them */
	assert_int_equal(unlink("d/a.ndb"), 0);
	scratch_write("d/a.ndb", "first", 5);
	assert_int_equal(utimensat(AT_FDCWD, "d/b.hdb", times, 0), 0);
	assert_int_equal(chmod("d/b.hdb", 0600), 0);
	assert_int_equal(set_of(*state, 2), set);
	/* wherever they are */
	assert_int_equal(rename("d/a.ndb", "elsewhere"), 0);
	assert_int_equal(symlink("../elsewhere", "d/a.ndb"), 0);
	assert_int_equal(set_of(*state, 2), set);
	assert_int_equal(unlink("elsewhere"), 0);
}

static void any_byte_makes_another_set(void **state)
{
	char content[] = "second";
	uint64_t set;

	write_two();
	set = set_of(*state, 2);
	for (size_t i = 0; i < sizeof(content) - 1; i++) {
		content[i] ^= 1;
		scratch_write("d/b.hdb", content, sizeof(content) - 1);
		assert_int_not_equal(set_of(*state, 2), set);
		content[i] ^= 1;
	}
	scratch_write("d/b.hdb", "second", 5);
	assert_int_not_equal(set_of(*state, 2), set);
	scratch_write("d/b.hdb", content, sizeof(content) - 1);
	assert_int_equal(set_of(*state, 2), set);
}

static void other_files_are_another_set(void **state)
{
	uint64_t set, swapped;

	write_two();
	set = set_of(*state, 2);
	scratch_write("d/c.ndb", "", 0);
	assert_int_not_equal(set_of(*state, 3), set);
	assert_int_equal(unlink("d/c.ndb"), 0);
	assert_int_equal(set_of(*state, 2), set);
	assert_int_equal(rename("d/a.ndb", "d/a.db"), 0);
	assert_int_not_equal(set_of(*state, 2), set);
	/* their names are exchanged */
	scratch_write("d/a.ndb", "second", 6);
	scratch_write("d/b.hdb", "first", 5);
	assert_int_equal(unlink("d/a.db"), 0);
	swapped = set_of(*state, 2);
	assert_int_not_equal(swapped, set);
}

/* libclamav loads the hidden, and not what is below. */
static void hidden_files_count_and_directories_do_not(void **state)
{
	uint64_t set;

	write_two();
	set = set_of(*state, 2);
	assert_int_equal(mkdir("d/below", 0755), 0);
	scratch_write("d/below/c.ndb", "1", 1);
	assert_int_equal(set_of(*state, 2), set);
	scratch_write("d/.hidden.ndb", "1", 1);
	assert_int_not_equal(set_of(*state, 3), set);
}

static void what_is_called_like_a_file_and_is_none_is_refused(void **state)
{
	struct wire_engine_info info;

	write_two();
	assert_int_equal(mkdir("d/more.ndb", 0755), 0);
	assert_int_equal(sources_read("d", *state, &info), -EISDIR);
	assert_int_equal(rmdir("d/more.ndb"), 0);
	assert_int_equal(mkfifo("d/more.ndb", 0644), 0);
	assert_int_equal(sources_read("d", *state, &info), -EISDIR);
	assert_int_equal(unlink("d/more.ndb"), 0);
	assert_int_equal(sources_read("d", *state, &info), 2);
}

static void a_directory_without_files_is_empty(void **state)
{
	struct wire_engine_info info = read_sources(*state, 0);

	assert_string_equal(info.versions, "");
	assert_int_equal(mkdir("d/below", 0755), 0);
	assert_int_equal(set_of(*state, 0), info.set);
	assert_int_equal(sources_read("nowhere", *state, &info), 0);
	assert_string_equal(info.versions, "");
}

static void what_cannot_be_read_is_an_error(void **state)
{
	struct wire_engine_info info;
	unsigned fds = unit_count_fds();

	scratch_write("file", "", 0);
	assert_int_equal(sources_read("file", *state, &info), -ENOTDIR);
	assert_int_equal(unit_count_fds(), fds);
}

static void settings_make_another_set(void **state)
{
	struct conf *conf = *state;
	uint64_t set;

	write_two();
	set = set_of(conf, 2);
	conf->max_file_size++;
	assert_int_not_equal(set_of(conf, 2), set);
	conf->max_file_size--;
	conf->max_scan_size++;
	assert_int_not_equal(set_of(conf, 2), set);
	conf->max_scan_size--;
	conf->max_scan_time_ms++;
	assert_int_not_equal(set_of(conf, 2), set);
	conf->max_scan_time_ms--;
	conf->detect_pua = !conf->detect_pua;
	assert_int_not_equal(set_of(conf, 2), set);
	conf->heuristics = !conf->heuristics;
	assert_int_not_equal(set_of(conf, 2), set);
	conf->detect_pua = !conf->detect_pua;
	assert_int_not_equal(set_of(conf, 2), set);
	conf->heuristics = !conf->heuristics;
	/* what has nothing to do with scanning does not */
	conf->workers++;
	conf->verdict_cache++;
	assert_int_equal(set_of(conf, 2), set);
}

static void files_are_shown_by_their_digest(void **state)
{
	scratch_write("d/b.hdb", "", 0);
	scratch_write("d/a.ndb", "abc", 3);
	/* one that only says so */
	scratch_write("d/c.cvd", "abc", 3);
	assert_string_equal(read_sources(*state, 3).versions,
			    "a.ndb ba7816bf8f01, b.hdb e3b0c44298fc, c.cvd ba7816bf8f01");
}

/* Wherever the room ends, the list ends with a whole file. */
static void too_many_versions_are_cut(void **state)
{
	static const char more[] = "ba7816bf8f01, ...";
	char name[64], before[64] = "d/0";

	for (int i = 0; i < 40; i++) {
		(void)snprintf(name, sizeof(name), "d/%02d", i);
		scratch_write(name, "abc", 3);
	}
	scratch_write(before, "abc", 3);
	for (int i = 0; i < 30; i++) {
		struct wire_engine_info info;
		size_t length;

		(void)snprintf(name, sizeof(name), "d/0%.*s", i, "------------------------------");
		assert_int_equal(rename(before, name), 0);
		(void)snprintf(before, sizeof(before), "%s", name);
		info = read_sources(*state, 41);
		length = strlen(info.versions);
		assert_string_equal(info.versions + length - sizeof(more) + 1, more);
		/* No more is left out than must be. */
		assert_true(length + sizeof(", 00 ba7816bf8f01") > sizeof(info.versions));
	}
}

static void copy(const char *directory, const char *name)
{
	char from[PATH_MAX], to[64], buffer[65536];
	size_t n;
	FILE *file;

	(void)snprintf(from, sizeof(from), "%s/%s", directory, name);
	(void)snprintf(to, sizeof(to), "d/%s", name);
	file = fopen(from, "re");
	if (!file) {
		print_message("skipped: there is no %s\n", from);
		skip();
	}
	n = fread(buffer, 1, sizeof(buffer), file);
	(void)fclose(file);
	scratch_write(to, buffer, n);
}

static void a_signed_file_says_its_version(void **state)
{
	const char *directory = getenv("HOLDFAST_TEST_CVDS");

	if (!directory) {
		print_message("skipped: HOLDFAST_TEST_CVDS does not name a directory\n");
		skip();
	}
	copy(directory, "test-5.cvd");
	copy(directory, "test-6.cvd");
	scratch_write("d/z.ndb", "abc", 3);
	assert_string_equal(read_sources(*state, 3).versions,
			    "test-5.cvd 5, test-6.cvd 6, z.ndb ba7816bf8f01");
}

static void silent(enum cl_msg severity, const char *full, const char *text, void *context)
{
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(equal_files_are_one_set),
		TEST(any_byte_makes_another_set),
		TEST(other_files_are_another_set),
		TEST(hidden_files_count_and_directories_do_not),
		TEST(what_is_called_like_a_file_and_is_none_is_refused),
		TEST(a_directory_without_files_is_empty),
		TEST(what_cannot_be_read_is_an_error),
		TEST(settings_make_another_set),
		TEST(files_are_shown_by_their_digest),
		TEST(too_many_versions_are_cut),
		TEST(a_signed_file_says_its_version),
	};

	cl_set_clcb_msg(silent);
	if (cl_init(CL_INIT_DEFAULT) != CL_SUCCESS)
		return UNIT_SKIPPED;
	return cmocka_run_group_tests_name("sources", tests, scratch_setup, scratch_teardown);
}
