/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/engine/clam.h"
#include "../support/conf_fixture.h"
#include "../support/scratch.h"

#include <clamav.h>
#include <errno.h>
#include <sys/syscall.h>

#define TESTFILES "/usr/share/clamav-testfiles"

/* What the files of the package clamav-testfiles have in them. */
static const char testfile_signature[] = "aa15bcf478d165efd2065190eb473bcb:544:ClamAV-Test-File\n";

/* --- what libclamav finds in the place of the real ones --- */

static struct {
	int fd;	       /* reads of this descriptor */
	off_t good_to; /* fail from here on */
	int error;     /* with this; 0: they end there, as the file does */
	bool changes;  /* the signatures, while they are loaded */
} fake;

ssize_t clam_pread(int fd, void *buffer, size_t size, off_t offset) __asm__("pread64");

ssize_t clam_pread(int fd, void *buffer, size_t size, off_t offset)
{
	if (fd == fake.fd && offset + (off_t)size > fake.good_to) {
		errno = fake.error;
		return fake.error ? -1 : 0;
	}
	return syscall(SYS_pread64, fd, buffer, size, offset);
}

cl_error_t __real_cl_load(const char *path, struct cl_engine *engine, unsigned *n,
			  unsigned options);
cl_error_t __wrap_cl_load(const char *path, struct cl_engine *engine, unsigned *n,
			  unsigned options);

cl_error_t __wrap_cl_load(const char *path, struct cl_engine *engine, unsigned *n, unsigned options)
{
	cl_error_t r = __real_cl_load(path, engine, n, options);

	if (fake.changes && strstr(path, "/signatures"))
		scratch_write("signatures/more.hdb", testfile_signature,
			      sizeof(testfile_signature) - 1);
	return r;
}

/* --- setup --- */

struct fixture {
	struct conf *conf;
	struct clam *clam;
	struct wire_engine_info info;
	char problem[WIRE_TEXT_MAX];
};

static int setup(void **state)
{
	static struct fixture fixture;
	char path[PATH_MAX + 16];

	memset(&fixture, 0, sizeof(fixture));
	memset(&fake, 0, sizeof(fake));
	fake.fd = -1;
	fixture.conf = conf_new();
	if (!fixture.conf || mkdir("signatures", 0755) < 0)
		return -1;
	scratch_write("signatures/test.hdb", testfile_signature, sizeof(testfile_signature) - 1);
	(void)snprintf(path, sizeof(path), "%s/signatures", scratch);
	conf_fixture_set(fixture.conf, "engine", "signatures", path);
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	(void)clam_free(fixture->clam);
	conf_free(fixture->conf);
	return nftw("signatures", scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static bool load(struct fixture *fixture)
{
	fixture->clam = clam_new(fixture->conf, scratch, &fixture->info, fixture->problem,
				 sizeof(fixture->problem));
	return fixture->clam != NULL;
}

static struct wire_verdict scan_fd(struct fixture *fixture, int fd)
{
	struct wire_verdict verdict;

	memset(&verdict, 'x', sizeof(verdict));
	clam_scan(fixture->clam, fd, &verdict);
	close(fd);
	assert_true(wire_string_ok(verdict.reason, sizeof(verdict.reason)));
	assert_true(wire_string_ok(verdict.warning, sizeof(verdict.warning)));
	return verdict;
}

static struct wire_verdict scan(struct fixture *fixture, const char *path, int flags)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | flags);

	assert_true(fd >= 0);
	return scan_fd(fixture, fd);
}

static struct wire_verdict scan_as_if(struct fixture *fixture, const char *path, off_t good_to,
				      int error)
{
	fake.fd = open(path, O_RDONLY | O_CLOEXEC);
	fake.good_to = good_to;
	fake.error = error;
	assert_true(fake.fd >= 0);
	return scan_fd(fixture, fake.fd);
}

/* A file of so many bytes that are nothing in particular. */
static void write_bytes(const char *name, size_t size)
{
	char *bytes = malloc(size);

	assert_non_null(bytes);
	memset(bytes, 'a', size);
	scratch_write(name, bytes, size);
	free(bytes);
}

static void assert_verdict(struct wire_verdict verdict, enum verdict expected, const char *reason)
{
	assert_string_equal(verdict.reason, reason);
	assert_int_equal(verdict.verdict, expected);
}

/* --- tests --- */

static void what_can_be_read_is_clean(void **state)
{
	static const size_t sizes[] = {0, 1, 5, 6, 5000, 20 << 20};

	assert_true(load(*state));
	for (size_t i = 0; i < N_ELEMENTS(sizes); i++) {
		write_bytes("file", sizes[i]);
		assert_verdict(scan(*state, "file", 0), VERDICT_CLEAN, "");
	}
}

static void what_is_packed_is_found(void **state)
{
	DIR *directory = opendir(TESTFILES);
	const struct dirent *entry;
	char path[PATH_MAX];

	if (!directory) {
		print_message("skipped: there is no " TESTFILES "\n");
		skip();
	}
	assert_true(load(*state));
	while ((entry = readdir(directory))) {
		if (entry->d_type != DT_REG)
			continue;
		(void)snprintf(path, sizeof(path), TESTFILES "/%s", entry->d_name);
		assert_verdict(scan(*state, path, 0), VERDICT_INFECTED,
			       "ClamAV-Test-File.UNOFFICIAL");
	}
	closedir(directory);
}

static void what_is_too_large_is_incomplete(void **state)
{
	struct fixture *fixture = *state;

	conf_fixture_set(fixture->conf, "engine", "max-file-size", "1M");
	assert_true(load(fixture));
	write_bytes("file", 1 << 20);
	assert_verdict(scan(fixture, "file", 0), VERDICT_CLEAN, "");
	write_bytes("file", (1 << 20) + 1);
	assert_int_equal(scan(fixture, "file", 0).verdict, VERDICT_INCOMPLETE);
}

/* Wherever it is, and once it is over the next file is judged by itself. */
static void what_cannot_be_read_is_not_clean(void **state)
{
	static const off_t good_to[] = {0, 4096, 1 << 20, (3 << 20) - 1};

	assert_true(load(*state));
	write_bytes("file", 3 << 20);
	for (size_t i = 0; i < N_ELEMENTS(good_to); i++) {
		assert_verdict(scan_as_if(*state, "file", good_to[i], EIO), VERDICT_FAILED,
			       "Input/output error");
		fake.fd = -1;
		assert_verdict(scan(*state, "file", 0), VERDICT_CLEAN, "");
	}
}

/* Its openers wait for a scan of what it is now: see gate.c. */
static void a_file_that_shrinks_is_no_error(void **state)
{
	assert_true(load(*state));
	write_bytes("file", 3 << 20);
	assert_verdict(scan_as_if(*state, "file", 1 << 20, 0), VERDICT_CLEAN, "");
}

static void a_descriptor_that_cannot_be_read_anyhow_is_not_clean(void **state)
{
	char byte;
	int fd;

	assert_true(load(*state));
	write_bytes("file", 5001);
	fd = open("file", O_RDONLY | O_CLOEXEC | O_DIRECT);
	if (fd < 0 || syscall(SYS_pread64, fd, &byte, 1, 1) >= 0 || errno != EINVAL) {
		print_message("skipped: direct reads need not be aligned here\n");
		skip();
	}
	close(fd);
	assert_verdict(scan(*state, "file", O_DIRECT), VERDICT_FAILED, "Invalid argument");
}

static void signatures_that_change_while_they_are_loaded_are_refused(void **state)
{
	struct fixture *fixture = *state;
	char expected[PATH_MAX + 64];

	fake.changes = true;
	assert_false(load(fixture));
	(void)snprintf(expected, sizeof(expected),
		       "signatures: those in %s/signatures changed while they were loaded",
		       scratch);
	assert_string_equal(fixture->problem, expected);
	/* Once they have settled they are loaded. */
	fake.changes = false;
	assert_true(load(fixture));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_can_be_read_is_clean),
		TEST(what_is_packed_is_found),
		TEST(what_is_too_large_is_incomplete),
		TEST(what_cannot_be_read_is_not_clean),
		TEST(a_file_that_shrinks_is_no_error),
		TEST(a_descriptor_that_cannot_be_read_anyhow_is_not_clean),
		TEST(signatures_that_change_while_they_are_loaded_are_refused),
	};

	return cmocka_run_group_tests_name("clam", tests, scratch_setup, scratch_teardown);
}
