/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/guard/scan_report.h"
#include "../support/scratch.h"

#include <errno.h>
#include <signal.h>

/* Noon of 2024-03-05, UTC. */
#define BEGAN 1709640000
#define NAME  "2024-03-05T12-00-00Z"

static int here; /* the directory of each test */

static int setup(void **state)
{
	if (mkdir("d", 0700) < 0 || mkdir("d/reports", 0700) < 0)
		return -1;
	here = open("d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return here < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	close(here);
	return nftw("d", scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct scan_report *open_report(uint64_t end)
{
	struct scan_report *report = scan_report_open(here, end);

	assert_non_null(report);
	return report;
}

static void add(struct scan_report *report, const char *path)
{
	scan_report_add(report, json_pack("{s:s, s:s}", "type", "found", "path", path));
}

/* Returns the name that it got. */
static const char *finish(struct scan_report *report, int64_t began)
{
	static char name[64];

	assert_int_equal(scan_report_finish(report, json_pack("{s:i}", "files", 7), began, name,
					    sizeof(name)),
			 0);
	assert_int_equal(access("d/report", F_OK), -1);
	return name;
}

static json_t *load(const char *name)
{
	char path[128];
	json_error_t error;
	json_t *json;

	(void)snprintf(path, sizeof(path), "d/reports/%s", name);
	json = json_load_file(path, 0, &error);
	if (!json)
		fail_msg("%s:%d: %s", path, error.line, error.text);
	return json;
}

/* A finished report lists these paths, and has the summary. */
static void assert_report(const char *name, const char *const *paths, size_t n)
{
	json_t *json = load(name), *events = json_object_get(json, "events");

	assert_int_equal(json_integer_value(json_object_get(json, "format")), 1);
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(json, "summary"), "files")), 7);
	/* and an empty one, as each ends with a comma */
	assert_int_equal(json_array_size(events), n + 1);
	for (size_t i = 0; i < n; i++) {
		const json_t *event = json_array_get(events, i);

		assert_string_equal(json_string_value(json_object_get(event, "type")), "found");
		assert_string_equal(json_string_value(json_object_get(event, "path")), paths[i]);
	}
	assert_int_equal(json_object_size(json_array_get(events, n)), 0);
	json_decref(json);
}

static unsigned count_reports(void)
{
	DIR *directory = opendir("d/reports");
	const struct dirent *entry;
	unsigned n = 0;

	assert_non_null(directory);
	while ((entry = readdir(directory)))
		n += *entry->d_name != '.';
	closedir(directory);
	return n;
}

static void a_report_is_json(void **state)
{
	const char *const paths[] = {"/a", "/\"quoted\"", "/b"};
	unsigned fds = unit_count_fds();
	struct scan_report *report = open_report(0);

	for (size_t i = 0; i < N_ELEMENTS(paths); i++)
		add(report, paths[i]);
	assert_string_equal(finish(report, BEGAN), NAME ".json");
	assert_report(NAME ".json", paths, N_ELEMENTS(paths));
	assert_int_equal(unit_count_fds(), fds);
}

static void one_without_events_is_json(void **state)
{
	assert_report(finish(open_report(0), BEGAN), NULL, 0);
}

static void a_new_one_leaves_nothing_of_the_one_before(void **state)
{
	struct scan_report *report = open_report(0);

	add(report, "/a/very/long/path/that/is/gone");
	assert_true(scan_report_sync(report) > 0);
	assert_null(scan_report_free(report));
	assert_int_equal(access("d/report", F_OK), 0);
	assert_report(finish(open_report(0), BEGAN), NULL, 0);
}

static void sync_says_how_long_it_is(void **state)
{
	struct scan_report *report = open_report(0);
	struct stat status;
	int64_t before = 0;

	for (unsigned i = 0; i < 3; i++) {
		int64_t end = scan_report_sync(report);

		assert_true(end > before);
		assert_int_equal(stat("d/report", &status), 0);
		assert_int_equal(status.st_size, end);
		before = end;
		add(report, "/a");
	}
	scan_report_free(report);
}

static void it_goes_on_where_it_was_noted(void **state)
{
	const char *const paths[] = {"/a", "/b", "/d"};
	struct scan_report *report = open_report(0);
	int64_t end;

	add(report, "/a");
	end = scan_report_sync(report);
	assert_true(end > 0);
	scan_report_free(report);

	report = open_report((uint64_t)end);
	assert_int_equal(scan_report_sync(report), end);
	add(report, "/b");
	end = scan_report_sync(report);
	/* what came after that is found again */
	add(report, "/c/which/is/longer");
	assert_true(scan_report_sync(report) > end);
	scan_report_free(report);

	report = open_report((uint64_t)end);
	add(report, "/d");
	assert_report(finish(report, BEGAN), paths, N_ELEMENTS(paths));
}

static void one_that_is_shorter_than_it_was_is_lost(void **state)
{
	unsigned fds = unit_count_fds();
	struct scan_report *report = open_report(0);
	int64_t end;

	add(report, "/a");
	end = scan_report_sync(report);
	scan_report_free(report);
	errno = 0;
	assert_null(scan_report_open(here, (uint64_t)end + 1));
	assert_int_equal(errno, EBADMSG);
	/* one that is as long is not */
	scan_report_free(open_report((uint64_t)end));

	assert_int_equal(unlink("d/report"), 0);
	assert_null(scan_report_open(here, (uint64_t)end));
	assert_int_equal(errno, ENOENT);
	assert_int_equal(access("d/report", F_OK), -1);
	assert_int_equal(unit_count_fds(), fds);
}

static void a_link_is_not_followed(void **state)
{
	scratch_write("d/precious", "precious", 8);
	assert_int_equal(symlink("precious", "d/report"), 0);
	assert_null(scan_report_open(here, 0));
	assert_int_equal(errno, ELOOP);
}

static void its_name_is_when_it_began(void **state)
{
	assert_string_equal(finish(open_report(0), BEGAN + 3661), "2024-03-05T13-01-01Z.json");
	assert_string_equal(finish(open_report(0), 0), "1970-01-01T00-00-00Z.json");
}

static void nothing_is_written_over(void **state)
{
	const char *path = "/first";
	struct scan_report *report = open_report(0);

	add(report, path);
	(void)finish(report, BEGAN);
	assert_string_equal(finish(open_report(0), BEGAN), NAME "_01.json");
	assert_string_equal(finish(open_report(0), BEGAN), NAME "_02.json");
	assert_report(NAME ".json", &path, 1);
	assert_report(NAME "_01.json", NULL, 0);
	assert_report(NAME "_02.json", NULL, 0);
}

static void only_the_last_reports_are_kept(void **state)
{
	char name[64];

	scratch_write("d/reports/notes.txt", "", 0);
	for (int i = 0; i < CONTROL_REPORTS_MAX; i++)
		(void)finish(open_report(0), BEGAN + i);
	assert_int_equal(count_reports(), CONTROL_REPORTS_MAX + 1);
	(void)finish(open_report(0), BEGAN + CONTROL_REPORTS_MAX);
	(void)finish(open_report(0), BEGAN + CONTROL_REPORTS_MAX + 1);
	assert_int_equal(count_reports(), CONTROL_REPORTS_MAX + 1);
	assert_int_equal(access("d/reports/" NAME ".json", F_OK), -1);
	assert_int_equal(access("d/reports/2024-03-05T12-00-01Z.json", F_OK), -1);
	assert_int_equal(access("d/reports/2024-03-05T12-00-02Z.json", F_OK), 0);
	(void)snprintf(name, sizeof(name), "2024-03-05T12-01-%02dZ.json",
		       CONTROL_REPORTS_MAX + 1 - 60);
	assert_report(name, NULL, 0);
	/* what is no report is not ours */
	assert_int_equal(access("d/reports/notes.txt", F_OK), 0);
}

static void make_large(const char *name, uint64_t size)
{
	char path[128];
	int fd;

	(void)snprintf(path, sizeof(path), "d/reports/%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	close(fd);
}

/* As many of the newest as fit are kept; sparse files are large enough. */
static void only_so_many_bytes_are_kept(void **state)
{
	for (int i = 0; i < 4; i++)
		make_large(finish(open_report(0), BEGAN + i), CONTROL_REPORTS_BYTES_MAX / 4);
	assert_int_equal(count_reports(), 4);
	(void)finish(open_report(0), BEGAN + 4);
	assert_int_equal(count_reports(), 4);
	assert_int_equal(access("d/reports/" NAME ".json", F_OK), -1);
	assert_int_equal(access("d/reports/2024-03-05T12-00-01Z.json", F_OK), 0);
}

static void the_newest_report_stays_however_large(void **state)
{
	struct scan_report *report;

	(void)finish(open_report(0), BEGAN);
	scan_report_free(open_report(0));
	assert_int_equal(truncate("d/report", (off_t)CONTROL_REPORTS_BYTES_MAX + 1), 0);
	report = open_report(CONTROL_REPORTS_BYTES_MAX + 1);
	(void)finish(report, BEGAN + 1);
	assert_int_equal(count_reports(), 1);
	assert_int_equal(access("d/reports/2024-03-05T12-00-01Z.json", F_OK), 0);
}

static void there_is_room_up_to_a_size(void **state)
{
	struct scan_report *report = open_report(0);
	int fd;

	assert_true(scan_report_has_room(report));
	scan_report_free(report);
	fd = open("d/report", O_WRONLY | O_CLOEXEC);
	assert_int_equal(ftruncate(fd, (off_t)SCAN_REPORT_LIST_MAX), 0);
	close(fd);
	report = open_report(SCAN_REPORT_LIST_MAX - 10);
	assert_true(scan_report_has_room(report));
	add(report, "/a");
	assert_false(scan_report_has_room(report));
	/* what must be in it still gets in */
	add(report, "/b");
	assert_true(scan_report_sync(report) > (int64_t)SCAN_REPORT_LIST_MAX + 10);
	scan_report_free(report);
}

static void a_failed_write_is_told_at_the_end(void **state)
{
	const struct rlimit small = {100, RLIM_INFINITY};
	void (*before)(int) = signal(SIGXFSZ, SIG_IGN);
	struct scan_report *report = open_report(0);
	struct rlimit limit;
	char name[64] = "none";

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	for (unsigned i = 0; i < 100; i++)
		add(report, "/a/rather/long/path");
	assert_int_equal(scan_report_sync(report), -EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	(void)signal(SIGXFSZ, before);
	/* what is missing in it would not be noticed */
	assert_int_equal(scan_report_sync(report), -EFBIG);
	assert_int_equal(scan_report_finish(report, json_object(), BEGAN, name, sizeof(name)),
			 -EFBIG);
	assert_string_equal(name, "none");
	assert_int_equal(count_reports(), 0);
}

static void without_a_place_for_it_it_stays(void **state)
{
	unsigned fds = unit_count_fds();
	char name[64];

	assert_int_equal(rmdir("d/reports"), 0);
	assert_int_equal(
		scan_report_finish(open_report(0), json_object(), BEGAN, name, sizeof(name)),
		-ENOENT);
	assert_int_equal(access("d/report", F_OK), 0);
	assert_int_equal(mkdir("d/reports", 0700), 0);
	assert_int_equal(unit_count_fds(), fds);
	assert_null(scan_report_free(NULL));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_report_is_json),
		TEST(one_without_events_is_json),
		TEST(a_new_one_leaves_nothing_of_the_one_before),
		TEST(sync_says_how_long_it_is),
		TEST(it_goes_on_where_it_was_noted),
		TEST(one_that_is_shorter_than_it_was_is_lost),
		TEST(a_link_is_not_followed),
		TEST(its_name_is_when_it_began),
		TEST(nothing_is_written_over),
		TEST(only_the_last_reports_are_kept),
		TEST(only_so_many_bytes_are_kept),
		TEST(the_newest_report_stays_however_large),
		TEST(there_is_room_up_to_a_size),
		TEST(a_failed_write_is_told_at_the_end),
		TEST(without_a_place_for_it_it_stays),
	};

	if (setenv("TZ", "CET-1CEST", 1) < 0)
		return UNIT_SKIPPED;
	return cmocka_run_group_tests_name("scan_report", tests, scratch_setup, scratch_teardown);
}
