/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/signatures/trial.h"
#include "../../../src/signatures/verify.h"
#include "../support/cvds.h"

#include <clamav.h>
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

static char problem[512];
static uint32_t signatures;

/* Seen by the child, and by us what it does. */
static unsigned forbidden_options;
static unsigned *n_slices;
static int (*load_instead)(void); /* NULL: none */
static const char *not_counted;	  /* a file whose lines were not to be counted; NULL: none */
static unsigned *n_uncounted;	  /* times that it could not be opened for that */

cl_error_t __real_cl_load(const char *path, struct cl_engine *engine, unsigned *ret_signatures,
			  unsigned options);
cl_error_t __wrap_cl_load(const char *path, struct cl_engine *engine, unsigned *ret_signatures,
			  unsigned options);
cl_error_t __wrap_cl_load(const char *path, struct cl_engine *engine, unsigned *ret_signatures,
			  unsigned options)
{
	if (load_instead)
		return (cl_error_t)load_instead();
	return options & forbidden_options ? CL_EVERIFY
					   : __real_cl_load(path, engine, ret_signatures, options);
}

cl_error_t __real_cl_engine_compile(struct cl_engine *engine);
cl_error_t __wrap_cl_engine_compile(struct cl_engine *engine);
cl_error_t __wrap_cl_engine_compile(struct cl_engine *engine)
{
	FILE *file = not_counted ? fopen(not_counted, "r") : NULL;

	*n_uncounted += not_counted && !file && errno == EPERM;
	if (file)
		(void)fclose(file);
	(*n_slices)++;
	return __real_cl_engine_compile(engine);
}

static int setup(void **state)
{
	return mkdir("d", 0755) == 0 && mkdir("scratch", 0700) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
	return nftw("d", scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0 &&
			       nftw("scratch", scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0
		       ? 0
		       : -1;
}

static int try(const char *path, const char *database, bool as_signed)
{
	char absolute[PATH_MAX], empty[PATH_MAX];
	struct trial trial = {
		.path = absolute,
		.scratch = empty,
		.verify = database ? verify_container : NULL,
		.database = database,
		.as_signed = as_signed,
	};
	DIR *directory;
	unsigned n = 0;
	int r;

	(void)snprintf(absolute, sizeof(absolute), "%s/%s", scratch, path);
	(void)snprintf(empty, sizeof(empty), "%s/scratch", scratch);
	*problem = '\0';
	*n_slices = *n_uncounted = 0;
	signatures = 12345;
	r = trial_run(&trial, &signatures, problem, sizeof(problem));
	/* It leaves nothing behind. */
	directory = opendir("scratch");
	assert_non_null(directory);
	while (readdir(directory))
		n++;
	closedir(directory);
	assert_int_equal(n, 2);
	return r;
}

static void write_text(const char *name, const char *text)
{
	scratch_write(name, text, strlen(text));
}

static void good_signatures_load(void **state)
{
	write_text("d/a.ndb", "One:0:*:41424344454647\nTwo:0:*:51424344454647\n");
	write_text("d/b.hdb", "aa15bcf478d165efd2065190eb473bcb:544:Three\n");
	assert_int_equal(try("d/a.ndb", NULL, false), 0);
	assert_int_equal(signatures, 2);
	assert_int_equal(try("d", NULL, false), 0);
	assert_int_equal(signatures, 3);
	/* what is none is not looked at, and where a link leads does not matter */
	write_text("d/README", "Hello\n");
	assert_int_equal(rename("d/a.ndb", "elsewhere"), 0);
	assert_int_equal(symlink("../elsewhere", "d/a.ndb"), 0);
	assert_int_equal(try("d", NULL, false), 0);
	assert_int_equal(signatures, 3);
	assert_int_equal(unlink("elsewhere"), 0);
}

static void a_malformed_signature_is_named(void **state)
{
	static const struct {
		const char *name, *text, *problem;
	} bad[] = {
		{"d/a.ndb", "Good:0:*:41424344454647\nBad:0:*:41zz44\n", "at line 2"},
		{"d/b.hdb", "aa15bcf478d165efd2065190eb473bcb:544:X\nzzz:12:Y\n", "at line 2"},
		{"d/c.ldb", "X;Engine:81-255,Target:0;0&1;4142434445\n", "at line 1"},
		{"d/e.ndb", "", "Empty database file"},
		{"d/f.hsb", "aa15bcf478d165efd2065190eb473bcb\n", "at line 1"},
	};

	for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
		write_text(bad[i].name, bad[i].text);
		assert_int_equal(try(bad[i].name, NULL, false), -EBADMSG);
		assert_memory_equal(problem, bad[i].name + 2, 5);
		if (!strstr(problem, bad[i].problem))
			fail_msg("%s: %s", bad[i].name, problem);
		assert_int_equal(signatures, 12345);
		/* among good ones */
		write_text("d/0.ndb", "One:0:*:41424344454647\n");
		assert_int_equal(try("d", NULL, false), -EBADMSG);
		assert_non_null(strstr(problem, bad[i].problem));
		assert_int_equal(unlink(bad[i].name), 0);
	}
}

static void what_is_not_there_is_no_fault_of_signatures(void **state)
{
	assert_int_equal(try("d/absent.ndb", NULL, false), -ENOENT);
	assert_non_null(strstr(problem, "/d/absent.ndb: "));
	assert_int_equal(try("d", NULL, false), 0);
	assert_int_equal(signatures, 0);
}

/* Each with some bytes that are its own. */
static void write_many(const char *name, unsigned n, const char *end)
{
	FILE *file = fopen(name, "we");
	uint32_t seed = 7;

	assert_non_null(file);
	for (unsigned i = 0; i < n; i++) {
		unsigned parts[12];

		for (size_t j = 0; j < N_ELEMENTS(parts); j++)
			parts[j] = unit_random(&seed);
		(void)fprintf(file, "Many.%u:0:*:%06x%06x%06x{-9}%06x%06x%06x\n", i, parts[0],
			      parts[1], parts[2], parts[3], parts[4], parts[5]);
	}
	(void)fputs(end, file);
	(void)fclose(file);
}

/* The most that any child of ours had in memory, in bytes. */
static uint64_t peak_of_children(void)
{
	struct rusage usage;

	assert_int_equal(getrusage(RUSAGE_CHILDREN, &usage), 0);
	return (uint64_t)usage.ru_maxrss << 10;
}

/* The sanitizers keep what is freed. */
#if defined(__has_feature)
#define HAS_FEATURE(name) __has_feature(name)
#else
#define HAS_FEATURE(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || HAS_FEATURE(address_sanitizer)
static const bool is_sanitized = true;
#else
static const bool is_sanitized = false;
#endif

/* In several slices, which need not begin where a file does. */
static void many_signatures_take_little_memory(void **state)
{
	write_many("d/a.ndb", 100000, "");
	write_many("d/b.ndb", 20000, "");
	assert_int_equal(try("d", NULL, false), 0);
	assert_int_equal(signatures, 120000);
	assert_true(*n_slices > 1);
	assert_true(is_sanitized || peak_of_children() < TRIAL_MEMORY / 8 * 9);
}

/* For each slice anew, where it is known how this libclamav opens them. */
static void lines_are_not_counted(void **state)
{
	char path[PATH_MAX + 16];

	if (strncmp(cl_retver(), "1.4.", 4) != 0) {
		print_message("skipped: whether this libclamav counts is not known\n");
		skip();
	}
	(void)snprintf(path, sizeof(path), "%s/d/a.ndb", scratch);
	not_counted = path;
	write_many("d/a.ndb", 100000, "");
	assert_int_equal(try("d", NULL, false), 0);
	assert_true(*n_slices > 1);
	assert_int_equal(*n_uncounted, *n_slices);
	/* and of what is opened otherwise nothing is refused */
	scratch_write("d/b.yar", "", 0);
	assert_int_equal(try("d", NULL, false), 0);
	assert_int_equal(*n_uncounted, *n_slices - 1);
	not_counted = NULL;
}

static int run_out_of_memory(void)
{
	return CL_EMEM;
}

static int run_out_of_time(void)
{
	return raise(SIGXCPU);
}

static int be_killed(void)
{
	return raise(SIGKILL);
}

/* Or a file that does so would look as if the machine had a problem. */
static void what_takes_too_much_is_at_fault(void **state)
{
	write_text("d/a.ndb", "One:0:*:41424344454647\n");
	load_instead = run_out_of_memory;
	assert_int_equal(try("d/a.ndb", NULL, false), -EBADMSG);
	assert_non_null(strstr(problem, "/d/a.ndb: it takes more than 2048 MB to load"));
	load_instead = run_out_of_time;
	assert_int_equal(try("d/a.ndb", NULL, false), -EBADMSG);
	assert_string_equal(problem, "loading the signatures took longer than 900 seconds");
	/* by the kernel, as far as anybody knows */
	load_instead = be_killed;
	assert_int_equal(try("d/a.ndb", NULL, false), -ENOMEM);
	load_instead = NULL;
}

static void a_bad_one_among_many_is_found(void **state)
{
	write_many("d/a.ndb", 100000, "Bad:0:*:41zz\n");
	write_many("d/b.ndb", 20, "");
	assert_int_equal(try("d", NULL, false), -EBADMSG);
	assert_non_null(strstr(problem, "a.ndb: "));
	assert_non_null(strstr(problem, "at line 100001"));
	assert_true(*n_slices > 0);
}

static void a_signed_database_loads(void **state)
{
	cvds_copy("test-6.cvd", "d/test.cvd");
	assert_int_equal(try("d/test.cvd", "test", true), 0);
	assert_int_equal(signatures, 10);
	assert_int_equal(try("d/test.cvd", NULL, false), 0);
	assert_int_equal(try("d/test.cvd", "daily", true), -EBADMSG);
	assert_non_null(strstr(problem, "not what was asked for"));
}

static void a_database_that_was_changed_does_not(void **state)
{
	struct cvds_file file;

	cvds_get(&file, "test-6.cvd");
	file.content[3000] ^= 1;
	scratch_write("d/test.cvd", file.content, file.size);
	assert_int_equal(try("d/test.cvd", "test", true), -EBADMSG);
	assert_int_equal(try("d/test.cvd", NULL, true), -EBADMSG);
	assert_non_null(strstr(problem, "test.cvd: "));
}

/* Neither alone, nor from within something else. */
static void bytecode_is_taken_from_signed_sources_only(void **state)
{
	write_text("d/a.cbc", "this is no bytecode\n");
	write_text("d/b.ndb", "One:0:*:41424344454647\n");
	forbidden_options = CL_DB_BYTECODE | CL_DB_BYTECODE_UNSIGNED;
	assert_int_equal(try("d", NULL, false), 0);
	assert_int_equal(signatures, 1);
	assert_int_equal(try("d", NULL, true), -EBADMSG);
	forbidden_options = CL_DB_BYTECODE_UNSIGNED;
	assert_int_equal(try("d", NULL, true), 0);
	assert_int_equal(signatures, 1);
	forbidden_options = 0;
}

/* The configuration says whether those are wanted. */
static void unwanted_kinds_are_left_out(void **state)
{
	char absolute[PATH_MAX], empty[PATH_MAX];
	struct trial trial = {.path = absolute, .scratch = empty};

	write_text("d/a.ndu", "PUA.One:0:*:41424344454647\n");
	(void)snprintf(absolute, sizeof(absolute), "%s/d/a.ndu", scratch);
	(void)snprintf(empty, sizeof(empty), "%s/scratch", scratch);
	assert_int_equal(trial_run(&trial, &signatures, problem, sizeof(problem)), 0);
	assert_int_equal(signatures, 0);
	trial.detect_pua = true;
	assert_int_equal(trial_run(&trial, &signatures, problem, sizeof(problem)), 0);
	assert_int_equal(signatures, 1);
}

static void nothing_is_left_of_it(void **state)
{
	unsigned fds = unit_count_fds();

	write_text("d/a.ndb", "One:0:*:41424344454647\n");
	assert_int_equal(try("d", NULL, false), 0);
	write_text("d/a.ndb", "One:0:*:4\n");
	assert_int_equal(try("d", NULL, false), -EBADMSG);
	assert_int_equal(unit_count_fds(), fds);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(good_signatures_load),
		TEST(a_malformed_signature_is_named),
		TEST(what_is_not_there_is_no_fault_of_signatures),
		TEST(many_signatures_take_little_memory),
		TEST(lines_are_not_counted),
		TEST(what_takes_too_much_is_at_fault),
		TEST(a_bad_one_among_many_is_found),
		TEST(a_signed_database_loads),
		TEST(a_database_that_was_changed_does_not),
		TEST(bytecode_is_taken_from_signed_sources_only),
		TEST(unwanted_kinds_are_left_out),
		TEST(nothing_is_left_of_it),
	};

	n_slices = mmap(NULL, 2 * sizeof(*n_slices), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (n_slices == MAP_FAILED)
		return UNIT_SKIPPED;
	n_uncounted = n_slices + 1;
	return cmocka_run_group_tests_name("trial", tests, scratch_setup, scratch_teardown);
}
