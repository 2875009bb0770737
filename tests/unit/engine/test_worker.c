/* SPDX-License-Identifier: GPL-2.0-only */
/* What a worker says of the content of files. It runs in a process of its own, confined as ever. */
#include "../../../src/common/chan.h"
#include "../../../src/engine/worker.h"
#include "../support/conf_fixture.h"
#include "../support/scratch.h"

#include <openssl/evp.h>
#include <signal.h>
#include <sys/wait.h>

#define SET	    5
#define MAX_SIZE    10000
#define SCAN_ID	    77
#define MAX_TIME_MS 60000

static const char clean[] = "nothing to see here";
static const char bad[] = "what is bad about it\n";
static const char signature[] = "Bad:0:*:77686174206973206261642061626f7574206974\n";

struct fixture {
	struct clam *clam;
	struct digest *digest;
	int memory;
	struct contents *contents;
	int fd; /* to the worker */
	pid_t pid;
	struct wire_verdict verdict;
};

static struct fixture the;

static int setup_group(void **state)
{
	static struct clam_set set;
	struct conf *conf = conf_new();
	char path[PATH_MAX + 16], problem[WIRE_TEXT_MAX];

	if (!conf || scratch_setup(state) < 0 || mkdir("signatures", 0755) < 0 ||
	    mkdir("worker", 0755) < 0)
		return -1;
	scratch_write("signatures/bad.ndb", signature, sizeof(signature) - 1);
	(void)snprintf(path, sizeof(path), "%s/signatures", scratch);
	conf_fixture_set(conf, "engine", "signatures", path);
	the.clam = clam_new(conf, scratch, &set, problem, sizeof(problem));
	the.digest = digest_new();
	conf_free(conf);
	return the.clam && the.digest ? 0 : -1;
}

static int teardown_group(void **state)
{
	(void)clam_free(the.clam);
	(void)digest_free(the.digest);
	return scratch_teardown(state);
}

static void start(const struct contents *contents)
{
	const struct worker_tools tools = {
		.clam = the.clam,
		.digest = the.digest,
		.contents = contents,
		.set = SET,
		.max_file_size = MAX_SIZE,
		.max_scan_time_ms = MAX_TIME_MS,
	};
	char path[PATH_MAX + 16];
	int ends[2];

	(void)snprintf(path, sizeof(path), "%s/worker", scratch);
	assert_int_equal(chan_pair(ends), 0);
	the.fd = ends[0];
	the.pid = fork();
	assert_true(the.pid >= 0);
	if (the.pid == 0) {
		close(ends[0]);
		worker_run(&tools, ends[1], path);
	}
	close(ends[1]);
}

static int setup(void **state)
{
	int lent;
	const struct contents *contents;

	the.memory = -1;
	the.contents = contents_new(1 << 16, &the.memory);
	if (!the.contents)
		return -1;
	lent = contents_lend(the.memory);
	contents = contents_map(lent);
	close(lent);
	start(contents);
	contents_free(contents);
	return contents ? 0 : -1;
}

static int setup_without(void **state)
{
	the.memory = -1;
	the.contents = NULL;
	start(NULL);
	return 0;
}

static int teardown(void **state)
{
	int status;

	close(the.fd);
	if (waitpid(the.pid, &status, 0) != the.pid || status != 0)
		return -1;
	contents_free(the.contents);
	if (the.memory >= 0)
		close(the.memory);
	return 0;
}

static int take_verdict(void *context, struct chan_message *message)
{
	memcpy(&the.verdict, message, sizeof(the.verdict));
	return 0;
}

/* A file with these bytes, which is said to be of this size. */
static const struct wire_verdict *scan_as(const void *bytes, size_t n, uint64_t size,
					  uint32_t flags)
{
	static const struct chan_rule rules[] = {
		{WIRE_VERDICT, sizeof(struct wire_verdict), false, take_verdict}, {0}};
	const struct wire_scan scan = {
		.header = WIRE_INIT(WIRE_SCAN, struct wire_scan),
		.id = SCAN_ID,
		.size = size,
		.flags = flags,
	};
	int file;

	scratch_write("file", bytes, n);
	file = open("file", O_RDONLY | O_CLOEXEC);
	assert_true(file >= 0);
	assert_int_equal(chan_send(the.fd, &scan.header, file), 0);
	close(file);
	assert_int_equal(chan_serve(the.fd, rules, NULL), 0);
	assert_int_equal(the.verdict.id, SCAN_ID);
	return &the.verdict;
}

static const struct wire_verdict *scan(const char *text, uint32_t flags)
{
	return scan_as(text, strlen(text), strlen(text), flags);
}

static struct content content_of(const char *text)
{
	struct content content = {.size = strlen(text), .set = SET};

	assert_int_equal(EVP_Digest(text, strlen(text), content.digest, NULL, EVP_sha256(), NULL),
			 1);
	return content;
}

static void it_tells_what_it_scanned(void **state)
{
	const struct content content = content_of(clean);
	const struct wire_verdict *verdict = scan(clean, 0);

	assert_int_equal(verdict->verdict, VERDICT_CLEAN);
	assert_int_equal(verdict->flags, WIRE_VERDICT_HASHED);
	assert_memory_equal(verdict->digest, content.digest, sizeof(content.digest));

	verdict = scan(bad, 0);
	assert_int_equal(verdict->verdict, VERDICT_INFECTED);
	assert_string_equal(verdict->reason, "Bad.UNOFFICIAL");
	assert_int_equal(verdict->flags, WIRE_VERDICT_HASHED);
}

/* It is told of bytes in which something would be found. */
static void what_is_known_is_not_scanned(void **state)
{
	const struct content content = content_of(bad);
	const struct wire_verdict *verdict;

	contents_add(the.contents, &content, 1);
	verdict = scan(bad, 0);
	assert_int_equal(verdict->verdict, VERDICT_CLEAN);
	assert_string_equal(verdict->reason, "");
	assert_int_equal(verdict->scanned, strlen(bad));
	assert_int_equal(verdict->flags, WIRE_VERDICT_HASHED | WIRE_VERDICT_SAME_CONTENT);
	assert_memory_equal(verdict->digest, content.digest, sizeof(content.digest));

	contents_forget(the.contents, 1);
	assert_int_equal(scan(bad, 0)->verdict, VERDICT_INFECTED);
}

static void who_wants_it_scanned_has_it_scanned(void **state)
{
	const struct content content = content_of(bad);

	contents_add(the.contents, &content, 1);
	assert_int_equal(scan(bad, WIRE_SCAN_AFRESH)->verdict, VERDICT_INFECTED);
	assert_int_equal(the.verdict.flags, WIRE_VERDICT_HASHED);
}

static void what_is_known_under_other_signatures_is_scanned(void **state)
{
	struct content content = content_of(bad);

	content.set++;
	contents_add(the.contents, &content, 1);
	assert_int_equal(scan(bad, 0)->verdict, VERDICT_INFECTED);
}

static void a_file_that_is_not_as_it_was_seen_is_scanned_and_vouched_for_by_nobody(void **state)
{
	struct content content = content_of(bad);

	contents_add(the.contents, &content, 1);
	content.size--;
	contents_add(the.contents, &content, 1);
	content.size += 2;
	contents_add(the.contents, &content, 1);
	for (int difference = -1; difference <= 1; difference += 2) {
		(void)scan_as(bad, strlen(bad), strlen(bad) + (uint64_t)difference, 0);
		assert_int_equal(the.verdict.verdict, VERDICT_INFECTED);
		assert_int_equal(the.verdict.flags, 0);
	}
	/* the guard has not said */
	(void)scan_as(clean, strlen(clean), 0, 0);
	assert_int_equal(the.verdict.verdict, VERDICT_CLEAN);
	assert_int_equal(the.verdict.flags, 0);
}

static void a_file_that_is_too_large_is_not_hashed(void **state)
{
	char *large = calloc(1, MAX_SIZE + 1);

	assert_non_null(large);
	(void)scan_as(large, MAX_SIZE, MAX_SIZE, 0);
	assert_int_equal(the.verdict.flags, WIRE_VERDICT_HASHED);
	(void)scan_as(large, MAX_SIZE + 1, MAX_SIZE + 1, 0);
	assert_int_equal(the.verdict.flags, 0);
	free(large);
}

static void without_a_table_nothing_is_hashed(void **state)
{
	assert_int_equal(scan(clean, 0)->flags, 0);
	assert_int_equal(the.verdict.verdict, VERDICT_CLEAN);
	assert_int_equal(scan(bad, 0)->verdict, VERDICT_INFECTED);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_tells_what_it_scanned),
		TEST(what_is_known_is_not_scanned),
		TEST(who_wants_it_scanned_has_it_scanned),
		TEST(what_is_known_under_other_signatures_is_scanned),
		TEST(a_file_that_is_not_as_it_was_seen_is_scanned_and_vouched_for_by_nobody),
		TEST(a_file_that_is_too_large_is_not_hashed),
		cmocka_unit_test_setup_teardown(without_a_table_nothing_is_hashed, setup_without,
						teardown),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("worker", tests, setup_group, teardown_group);
}
