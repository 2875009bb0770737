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
	int fd;		     /* reads of this descriptor */
	off_t good_to;	     /* fail from here on */
	int error;	     /* with this; 0: they end there, as the file does */
	const char *changes; /* a file that is written while signatures are loaded; NULL: none */
	const char *removes; /* one that goes before its directory is loaded; NULL: none */
	bool is_counted, is_loaded; /* whether test.hdb can be opened for that meanwhile */
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

static bool can_open(const char *path, const char *mode)
{
	FILE *file = fopen(path, mode);

	return file && fclose(file) == 0;
}

cl_error_t __real_cl_load(const char *path, struct cl_engine *engine, unsigned *n,
			  unsigned options);
cl_error_t __wrap_cl_load(const char *path, struct cl_engine *engine, unsigned *n,
			  unsigned options);

cl_error_t __wrap_cl_load(const char *path, struct cl_engine *engine, unsigned *n, unsigned options)
{
	cl_error_t r;

	if (fake.removes && strstr(path, "/signatures"))
		(void)unlink(fake.removes);
	r = __real_cl_load(path, engine, n, options);
	if (!strstr(path, "/signatures"))
		return r;
	fake.is_counted = can_open("signatures/test.hdb", "r");
	fake.is_loaded = can_open("signatures/test.hdb", "rb");
	if (fake.changes)
		scratch_write(fake.changes, testfile_signature, sizeof(testfile_signature) - 1);
	return r;
}

/* --- setup --- */

struct fixture {
	struct conf *conf;
	struct clam *clam;
	struct clam_set set;
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
	fixture->clam = clam_new(fixture->conf, scratch, &fixture->set, fixture->problem,
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

/* What was loaded is in use, as there may be nothing else, but is like no other set. */
static void assert_change_told(struct fixture *fixture, const char *path)
{
	char expected[PATH_MAX + 256];
	uint64_t set;

	fake.changes = path;
	assert_true(load(fixture));
	set = fixture->set.info.set;
	(void)clam_free(fixture->clam);
	assert_int_equal(unlink(path), 0);
	assert_true(load(fixture));
	fake.changes = NULL;
	(void)snprintf(
		expected, sizeof(expected),
		"signatures: those in %s/signatures changed while they were loaded; what was "
		"loaded is in use, but no verdict is kept beyond the next reload",
		scratch);
	assert_string_equal(fixture->set.warning, expected);
	assert_int_not_equal(fixture->set.info.set, set);
	assert_int_not_equal(fixture->set.info.set, 0);
	assert_int_equal(unlink(path), 0);
}

/* Once they have settled. */
static void assert_same_again(struct fixture *fixture)
{
	uint64_t set;

	(void)clam_free(fixture->clam);
	assert_true(load(fixture));
	assert_string_equal(fixture->set.warning, "");
	set = fixture->set.info.set;
	(void)clam_free(fixture->clam);
	assert_true(load(fixture));
	assert_int_equal(fixture->set.info.set, set);
}

/* What the fetcher has put there, with a signature for a file of this text. */
static void publish(const char *name, const char *text)
{
	char path[64], signature[256];
	int n = snprintf(signature, sizeof(signature), "Published:0:*:");

	for (size_t i = 0; text[i]; i++)
		n += snprintf(signature + n, sizeof(signature) - (size_t)n, "%02x", text[i]);
	(void)snprintf(path, sizeof(path), "signatures/sets/1/%s", name);
	assert_int_equal(mkdir("signatures/sets", 0755), 0);
	assert_int_equal(mkdir("signatures/sets/1", 0755), 0);
	assert_int_equal(symlink("sets/1", "signatures/current"), 0);
	scratch_write(path, signature, (size_t)n);
}

static const char published[] = "what the published signature is for";

static struct wire_verdict scan_published(struct fixture *fixture)
{
	scratch_write("file", published, sizeof(published) - 1);
	return scan(fixture, "file", 0);
}

static void signatures_that_change_while_they_are_loaded_are_in_use(void **state)
{
	struct fixture *fixture = *state;

	assert_change_told(fixture, "signatures/more.hdb");
	assert_int_equal(fixture->set.info.signatures, 2);
	assert_int_equal(fixture->set.info.test_only, 0);
	assert_same_again(fixture);
}

static void so_are_published_ones(void **state)
{
	publish("published.ndb", published);
	assert_change_told(*state, "signatures/sets/1/more.hdb");
	assert_verdict(scan_published(*state), VERDICT_INFECTED, "Published.UNOFFICIAL");
	assert_same_again(*state);
}

/* What it was for is not found. */
static void a_file_that_is_gone_when_it_is_to_be_loaded_is_not(void **state)
{
	struct fixture *fixture = *state;

	publish("published.ndb", published);
	fake.removes = "signatures/sets/1/published.ndb";
	assert_false(load(fixture));
	assert_non_null(strstr(fixture->problem, "signatures: cannot load "));
}

static void what_is_no_signature_may_change(void **state)
{
	struct fixture *fixture = *state;

	fake.changes = "signatures/freshclam.dat";
	assert_true(load(fixture));
	assert_string_equal(fixture->set.warning, "");
}

static void published_signatures_are_loaded_too(void **state)
{
	struct fixture *fixture = *state;

	publish("published.ndb", published);
	assert_true(load(fixture));
	assert_verdict(scan_published(fixture), VERDICT_INFECTED, "Published.UNOFFICIAL");
	assert_int_equal(fixture->set.info.signatures, 3);
	assert_int_equal(fixture->set.info.test_only, 0);
	assert_int_equal(fixture->set.n_databases, 2);
	assert_string_equal(fixture->set.databases[0].name, "test.hdb");
	assert_string_equal(fixture->set.databases[1].name, "published.ndb");
	assert_string_equal(fixture->set.warning, "");
}

/* libclamav refuses a directory without any. */
static void published_signatures_are_enough(void **state)
{
	struct fixture *fixture = *state;

	publish("published.ndb", published);
	assert_int_equal(unlink("signatures/test.hdb"), 0);
	scratch_write("signatures/README", "", 0);
	assert_true(load(fixture));
	assert_int_equal(fixture->set.info.signatures, 2);
	assert_verdict(scan_published(fixture), VERDICT_INFECTED, "Published.UNOFFICIAL");
}

static void without_signatures_there_is_the_embedded_one(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(unlink("signatures/test.hdb"), 0);
	scratch_write("signatures/README", "", 0);
	assert_true(load(fixture));
	assert_int_equal(fixture->set.info.signatures, 1);
	assert_int_equal(fixture->set.info.test_only, 1);
	assert_int_equal(fixture->set.n_databases, 0);
}

/* An administrator has the last word. */
static void published_signatures_can_be_ignored(void **state)
{
	publish("published.ndb", published);
	scratch_write("signatures/local.ign2", "Published\n", 10);
	assert_true(load(*state));
	assert_verdict(scan_published(*state), VERDICT_CLEAN, "");
}

static void a_database_that_is_loaded_twice_is_warned_of(void **state)
{
	struct fixture *fixture = *state;

	publish("test.hdb", published);
	scratch_write("signatures/sets/1/test.hdb", testfile_signature,
		      sizeof(testfile_signature) - 1);
	assert_true(load(fixture));
	assert_non_null(strstr(fixture->set.warning, "/signatures/test.hdb and "));
	assert_non_null(strstr(fixture->set.warning, "/signatures/sets/1/test.hdb "));
}

static void what_cannot_be_loaded_is_named(void **state)
{
	struct fixture *fixture = *state;

	publish("published.ndb", published);
	scratch_write("signatures/sets/1/published.ndb", "nonsense\n", 9);
	assert_false(load(fixture));
	assert_non_null(strstr(fixture->problem, "signatures: cannot load "));
	assert_non_null(strstr(fixture->problem, "/signatures/sets/1: "));
}

static void lines_are_not_counted_before_they_are_loaded(void **state)
{
	assert_true(load(*state));
	assert_true(can_open("signatures/test.hdb", "r"));
	if (strncmp(cl_retver(), "1.4.", 4) != 0 && fake.is_counted) {
		print_message("skipped: whether this libclamav counts is not known\n");
		skip();
	}
	assert_false(fake.is_counted);
	assert_true(fake.is_loaded);
}

static void rules_that_are_included_are_loaded(void **state)
{
	static const char *const names[] = {"b.yar", "b.YARA", "b.inc", "b.db"};
	static const char rule[] = "rule b { strings: $a = \"what is included\" condition: $a }\n";
	char path[64], include[64];

	scratch_write("file", "this is what is included here", 29);
	assert_int_equal(mkdir("signatures/inc", 0755), 0);
	for (size_t i = 0; i < N_ELEMENTS(names); i++) {
		int n = snprintf(include, sizeof(include), "include \"inc/%s\"\n", names[i]);

		(void)snprintf(path, sizeof(path), "signatures/inc/%s", names[i]);
		scratch_write(path, rule, sizeof(rule) - 1);
		scratch_write("signatures/a.yar", include, (size_t)n);
		assert_true(load(*state));
		assert_verdict(scan(*state, "file", 0), VERDICT_INFECTED, "YARA.b.UNOFFICIAL");
		(void)clam_free(((struct fixture *)*state)->clam);
		((struct fixture *)*state)->clam = NULL;
	}
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
		TEST(signatures_that_change_while_they_are_loaded_are_in_use),
		TEST(so_are_published_ones),
		TEST(a_file_that_is_gone_when_it_is_to_be_loaded_is_not),
		TEST(what_is_no_signature_may_change),
		TEST(published_signatures_are_loaded_too),
		TEST(published_signatures_are_enough),
		TEST(without_signatures_there_is_the_embedded_one),
		TEST(published_signatures_can_be_ignored),
		TEST(a_database_that_is_loaded_twice_is_warned_of),
		TEST(what_cannot_be_loaded_is_named),
		TEST(lines_are_not_counted_before_they_are_loaded),
		TEST(rules_that_are_included_are_loaded),
	};

	return cmocka_run_group_tests_name("clam", tests, scratch_setup, scratch_teardown);
}
