/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/fetcher/patch.h"
#include "../../../src/signatures/container.h"
#include "../support/cvds.h"
#include "../support/mount_fixture.h"

#include <arpa/inet.h>
#include <clamav.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>

static char problem[512];
static struct cvds_file base, file;

static int setup(void **state)
{
	return mkdir("cdiffs", 0755) == 0 && mkdir("work", 0755) == 0 && mkdir("base", 0755) == 0
		       ? 0
		       : -1;
}

static int teardown(void **state)
{
	static const char *const all[] = {"cdiffs", "work", "base"};

	for (size_t i = 0; i < N_ELEMENTS(all); i++)
		if (nftw(all[i], scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS) < 0)
			return -1;
	return 0;
}

static void give_cdiffs(unsigned from, unsigned to)
{
	char name[32], path[64];

	for (unsigned i = from + 1; i <= to; i++) {
		(void)snprintf(name, sizeof(name), "test-%u.cdiff", i);
		(void)snprintf(path, sizeof(path), "cdiffs/%s", name);
		cvds_copy(name, path);
	}
}

static unsigned count(const char *path)
{
	DIR *directory = opendir(path);
	unsigned n = 0;

	assert_non_null(directory);
	while (readdir(directory))
		n++;
	closedir(directory);
	return n - 2;
}

/* Whatever comes of it, base is as it was, and there is nothing in work but the result. */
static int apply(const char *path, unsigned from, unsigned to)
{
	const struct patch patch = {
		.database = "test",
		.base = path,
		.from = from,
		.to = to,
		.cdiffs = "cdiffs",
		.work = "work",
	};
	struct stat before, after;
	int r;

	cvds_read(&base, path);
	assert_int_equal(stat(path, &before), 0);
	*problem = '\0';
	r = patch_apply(&patch, problem, sizeof(problem));
	cvds_read(&file, path);
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(base.size, file.size);
	assert_memory_equal(base.content, file.content, base.size);
	assert_int_equal(count("work"), r == 0 ? 1 : 0);
	return r;
}

static void assert_version(unsigned version)
{
	struct container_head head;

	if (*problem)
		print_error("%s\n", problem);
	assert_int_equal(container_read("work/test.cld", &head), 0);
	assert_int_equal(head.version, version);
}

static void one_version_further(void **state)
{
	cvds_copy("test-1.cvd", "base/test.cvd");
	give_cdiffs(1, 2);
	assert_int_equal(apply("base/test.cvd", 1, 2), 0);
	assert_version(2);
}

static void several_versions_further(void **state)
{
	cvds_copy("test-1.cvd", "base/test.cvd");
	give_cdiffs(1, 6);
	assert_int_equal(apply("base/test.cvd", 1, 6), 0);
	assert_version(6);
	/* and no further than was wanted */
	assert_int_equal(unlink("work/test.cld"), 0);
	assert_int_equal(apply("base/test.cvd", 1, 3), 0);
	assert_version(3);
	/* from what came of it */
	assert_int_equal(rename("work/test.cld", "base/test.cld"), 0);
	assert_int_equal(apply("base/test.cld", 3, 5), 0);
	assert_version(5);
}

/* What came of cdiffs loads, and has what the whole database has. */
static void what_comes_of_it_is_the_database(void **state)
{
	struct cl_engine *engine = cl_engine_new();
	unsigned whole = 0, patched = 0;

	cvds_copy("test-1.cvd", "base/test.cvd");
	cvds_copy("test-6.cvd", "base/whole.cvd");
	give_cdiffs(1, 6);
	assert_int_equal(apply("base/test.cvd", 1, 6), 0);
	assert_int_equal(cl_load("base/whole.cvd", engine, &whole, CL_DB_STDOPT), CL_SUCCESS);
	assert_int_equal(cl_load("work/test.cld", engine, &patched, CL_DB_STDOPT), CL_SUCCESS);
	assert_true(whole > 0);
	assert_int_equal(whole, patched);
	cl_engine_free(engine);
}

static void a_cdiff_that_was_changed_is_refused(void **state)
{
	static const size_t places[] = {3, 13, 20, 40, 300, 700};

	cvds_copy("test-1.cvd", "base/test.cvd");
	for (size_t i = 0; i < N_ELEMENTS(places); i++) {
		struct cvds_file cdiff;

		give_cdiffs(1, 4);
		cvds_get(&cdiff, "test-3.cdiff");
		cdiff.content[places[i]] ^= 1;
		scratch_write("cdiffs/test-3.cdiff", cdiff.content, cdiff.size);
		assert_int_equal(apply("base/test.cvd", 1, 4), -EBADMSG);
		assert_non_null(strstr(problem, "test-3.cdiff: "));
		assert_true(strlen(problem) > strlen("test-3.cdiff: "));
	}
	assert_non_null(strstr(problem, "Incorrect digital signature"));
}

static void a_part_of_a_cdiff_is_refused(void **state)
{
	static const size_t sizes[] = {1, 15, 100, 600, 1300, 1636};
	struct cvds_file cdiff;

	cvds_copy("test-1.cvd", "base/test.cvd");
	give_cdiffs(1, 4);
	cvds_get(&cdiff, "test-3.cdiff");
	for (size_t i = 0; i < N_ELEMENTS(sizes); i++) {
		assert_true(sizes[i] < cdiff.size);
		scratch_write("cdiffs/test-3.cdiff", cdiff.content, sizes[i]);
		assert_int_equal(apply("base/test.cvd", 1, 4), -EBADMSG);
		assert_non_null(strstr(problem, "test-3.cdiff: "));
	}
}

static void a_cdiff_of_another_version_is_refused(void **state)
{
	cvds_copy("test-1.cvd", "base/test.cvd");
	for (unsigned other = 2; other <= 6; other++) {
		char name[32];

		if (other == 3)
			continue;
		give_cdiffs(1, 3);
		(void)snprintf(name, sizeof(name), "test-%u.cdiff", other);
		cvds_copy(name, "cdiffs/test-3.cdiff");
		assert_int_equal(apply("base/test.cvd", 1, 3), -EBADMSG);
		assert_non_null(strstr(problem, "test-3.cdiff: "));
	}
}

static void a_cdiff_without_anything_is_told_apart(void **state)
{
	cvds_copy("test-1.cvd", "base/test.cvd");
	give_cdiffs(1, 4);
	scratch_write("cdiffs/test-3.cdiff", "", 0);
	assert_int_equal(apply("base/test.cvd", 1, 4), -EBADMSG);
	assert_string_equal(problem, "cdiffs/test-3.cdiff: it is empty");
	assert_int_equal(unlink("cdiffs/test-3.cdiff"), 0);
	assert_int_equal(apply("base/test.cvd", 1, 4), -ENOENT);
	assert_non_null(strstr(problem, "cdiffs/test-3.cdiff: "));
	assert_int_equal(apply("base/test.cvd", 1, 1), -EINVAL);
	assert_int_equal(apply("base/test.cvd", 2, 1), -EINVAL);
}

/* Who applies them reads what is in their directory, and nothing else. What was applied before one
 * that cannot be had is no result. */
static void a_cdiff_from_elsewhere_is_not_read(void **state)
{
	cvds_copy("test-1.cvd", "base/test.cvd");
	give_cdiffs(1, 4);
	assert_int_equal(rename("cdiffs/test-3.cdiff", "elsewhere"), 0);
	assert_int_equal(symlink("../elsewhere", "cdiffs/test-3.cdiff"), 0);
	assert_int_equal(apply("base/test.cvd", 1, 4), -EBADMSG);
	assert_non_null(strstr(problem, "test-3.cdiff: "));
	assert_int_equal(unlink("elsewhere"), 0);
}

static void a_base_that_is_none_is_no_fault_of_cdiffs(void **state)
{
	cvds_get(&file, "test-1.cvd");
	file.content[3000] ^= 1;
	scratch_write("base/test.cvd", file.content, file.size);
	give_cdiffs(1, 2);
	assert_int_equal(apply("base/test.cvd", 1, 2), -EIO);
	assert_non_null(strstr(problem, "base/test.cvd: cannot be patched: "));
	scratch_write("base/test.cvd", "x", 1);
	assert_int_equal(apply("base/test.cvd", 1, 2), -EINVAL);
}

/* libfreshclam crashes in some of these cases, and never says that it is the disk. */
static void a_full_disk_is_told_apart(void **state)
{
	static const char *const sizes[] = {"size=4k", "size=16k", "size=28k", "size=40k",
					    "size=60k"};

	cvds_copy("test-1.cvd", "base/test.cvd");
	give_cdiffs(1, 6);
	if (!mount_fixture_unshare()) {
		print_message("skipped: nothing can be mounted\n");
		skip();
	}
	for (size_t i = 0; i < N_ELEMENTS(sizes); i++) {
		assert_int_equal(mount("none", "work", "tmpfs", 0, sizes[i]), 0);
		assert_int_equal(apply("base/test.cvd", 1, 6), -ENOSPC);
		assert_non_null(strstr(problem, "the filesystem of work is full: make room"));
		assert_int_equal(umount("work"), 0);
	}
}

/* A proxy in the environment is not asked: whoever listens there hears nothing. */
static void no_request_goes_elsewhere(void **state)
{
	static const char *const names[] = {"http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy",
					    "ALL_PROXY"};
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t size = sizeof(address);
	struct pollfd listener = {
		.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
		.events = POLLIN,
	};
	char url[64];

	assert_int_equal(bind(listener.fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(listener.fd, 8), 0);
	assert_int_equal(getsockname(listener.fd, (struct sockaddr *)&address, &size), 0);
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%u", ntohs(address.sin_port));
	for (size_t i = 0; i < N_ELEMENTS(names); i++)
		assert_int_equal(setenv(names[i], url, 1), 0);
	cvds_copy("test-1.cvd", "base/test.cvd");
	give_cdiffs(1, 2);
	assert_int_equal(apply("base/test.cvd", 1, 2), 0);
	assert_version(2);
	assert_int_equal(poll(&listener, 1, 0), 0);
	for (size_t i = 0; i < N_ELEMENTS(names); i++)
		assert_int_equal(unsetenv(names[i]), 0);
	close(listener.fd);
}

/* The working directory, the environment, the standard descriptors are as they were. */
static void nothing_is_left_of_it(void **state)
{
	unsigned fds = unit_count_fds();
	char directory[PATH_MAX];
	struct stat before, after;

	assert_int_equal(fstat(STDOUT_FILENO, &before), 0);
	cvds_copy("test-1.cvd", "base/test.cvd");
	give_cdiffs(1, 2);
	assert_int_equal(apply("base/test.cvd", 1, 2), 0);
	assert_int_equal(unlink("work/test.cld"), 0);
	scratch_write("cdiffs/test-2.cdiff", "x", 1);
	assert_int_equal(apply("base/test.cvd", 1, 2), -EBADMSG);
	assert_int_equal(unit_count_fds(), fds);
	assert_int_equal(fstat(STDOUT_FILENO, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_string_equal(getcwd(directory, sizeof(directory)), scratch);
	assert_non_null(getenv("HOLDFAST_TEST_CVDS"));
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_version_further),
		TEST(several_versions_further),
		TEST(what_comes_of_it_is_the_database),
		TEST(a_cdiff_that_was_changed_is_refused),
		TEST(a_part_of_a_cdiff_is_refused),
		TEST(a_cdiff_of_another_version_is_refused),
		TEST(a_cdiff_without_anything_is_told_apart),
		TEST(a_cdiff_from_elsewhere_is_not_read),
		TEST(a_base_that_is_none_is_no_fault_of_cdiffs),
		TEST(a_full_disk_is_told_apart),
		TEST(no_request_goes_elsewhere),
		TEST(nothing_is_left_of_it),
	};

	if (cl_init(CL_INIT_DEFAULT) != CL_SUCCESS)
		return UNIT_SKIPPED;
	return cmocka_run_group_tests_name("patch", tests, scratch_setup, scratch_teardown);
}
