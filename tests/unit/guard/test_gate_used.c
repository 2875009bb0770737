/* SPDX-License-Identifier: GPL-2.0-only */
/* Which opens are noted as such of files that are used: see gate_fixture.h. */
#include "gate_fixture.h"

static int setup(void **state)
{
	static struct fixture fixture;

	*state = &fixture;
	if (fixture_init(&fixture) < 0)
		return -1;
	used_begin(&fixture.estate->used);
	return 0;
}

static int teardown(void **state)
{
	fixture_deinit(*state);
	return 0;
}

/* Exactly these are known as used, the one that was used last first; NULL ends. */
static void assert_used(struct fixture *fixture, const char *const *names)
{
	size_t n, i = 0;
	struct used_file *files = used_list(&fixture->estate->used, &n);
	char path[USED_PATH_MAX], expected[PATH_MAX + 64];

	assert_non_null(files);
	for (; names[i]; i++) {
		(void)snprintf(expected, sizeof(expected), "%s/%s", scratch, names[i]);
		assert_true(i < n);
		assert_true(used_path(&fixture->estate->used, &files[i], path));
		assert_string_equal(path, expected);
	}
	assert_int_equal(n, i);
	free(files);
}

#define ASSERT_USED(...)   assert_used(fixture, (const char *const[]){__VA_ARGS__, NULL})
#define ASSERT_NONE_USED() assert_used(fixture, (const char *const[]){NULL})

static void open_to(struct fixture *fixture, const char *name, enum verdict verdict)
{
	int fd = open_file(fixture, name);

	send_verdict(fixture, verdict, "");
	assert_answered(fd, verdict != VERDICT_INFECTED);
	fake.now_us += SECOND;
}

static void who_opens_a_clean_file_uses_it(void **state)
{
	struct fixture *fixture = *state;

	memory_or_skip(fixture);
	start_engine(fixture);
	open_to(fixture, "file", VERDICT_CLEAN);
	open_to(fixture, "other", VERDICT_CLEAN);
	ASSERT_USED("other", "file");
	/* it is known, and the kernel has forgotten */
	assert_answered(open_file(fixture, "file"), true);
	ASSERT_USED("file", "other");
}

static void what_is_not_clean_is_not_used_before_it_is(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	memory_or_skip(fixture);
	start_engine(fixture);
	open_to(fixture, "file", VERDICT_INCOMPLETE);
	open_to(fixture, "other", VERDICT_INFECTED);
	fd = open_file(fixture, "third");
	ASSERT_NONE_USED();
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_answered(fd, true);
	ASSERT_USED("third");
}

static void what_is_infected_by_now_is_not_used_any_more(void **state)
{
	struct fixture *fixture = *state;

	memory_or_skip(fixture);
	start_engine(fixture);
	open_to(fixture, "file", VERDICT_CLEAN);
	open_to(fixture, "other", VERDICT_CLEAN);
	scratch_write("other", "0123456789", 10);
	open_to(fixture, "other", VERDICT_INFECTED);
	ASSERT_USED("file");
}

static void told(struct asker *asker, const struct wire_verdict *verdict)
{
}

static void ask(struct fixture *fixture, const char *name, enum lane lane)
{
	static struct asker asker = {.told = told};
	int fd = open(name, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	gate_scan(&fixture->gate, fd, &(const struct gate_order){.lane = lane, .asker = &asker});
	close(fd);
	run(fixture);
}

static void who_has_a_file_scanned_does_not_use_it(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	memory_or_skip(fixture);
	start_engine(fixture);
	ask(fixture, "file", LANE_WARM);
	send_verdict(fixture, VERDICT_CLEAN, "");
	ASSERT_NONE_USED();
	/* but whoever opens it meanwhile does */
	ask(fixture, "other", LANE_WARM);
	fd = open_file(fixture, "other");
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_answered(fd, true);
	ASSERT_USED("other");
}

static void what_needs_no_scan_is_not_used(void **state)
{
	struct fixture *fixture = *state;

	start_engine(fixture);
	assert_answered(open_file(fixture, "empty"), true);
	assert_answered(open_file(fixture, "/proc/self/status"), true);
	assert_answered(open_by(fixture, "file", getpid()), true);
	ASSERT_NONE_USED();
}

static void who_does_not_want_it_gets_no_list(void **state)
{
	struct fixture *fixture = *state;

	memory_or_skip(fixture);
	set(fixture, "warm-start", "no");
	assert_int_equal(gate_set_conf(&fixture->gate, fixture->conf), 0);
	start_engine(fixture);
	open_to(fixture, "file", VERDICT_CLEAN);
	ASSERT_NONE_USED();
	set(fixture, "warm-start", "yes");
	assert_int_equal(gate_set_conf(&fixture->gate, fixture->conf), 0);
	assert_answered(open_file(fixture, "file"), true);
	ASSERT_USED("file");
}

static void malware_that_a_warm_start_finds_is_told_as_such(void **state)
{
	struct fixture *fixture = *state;
	struct wire_found found = {0};

	start_engine(fixture);
	ask(fixture, "file", LANE_WARM);
	send_verdict(fixture, VERDICT_INFECTED, "Eicar-Test");
	(void)outbox_flush(fixture->outbox);
	assert_int_equal(recv(fixture->reporter, &found, sizeof(found), MSG_DONTWAIT),
			 sizeof(found));
	assert_int_equal(found.answer, WIRE_ANSWER_WARM);
}

static void where_much_waits_the_gate_is_busy(void **state)
{
	struct fixture *fixture = *state;
	char name[32];
	unsigned n = 0;

	while (!gate_is_busy(&fixture->gate)) {
		(void)snprintf(name, sizeof(name), "file%u", n++);
		scratch_write(name, "content", 7);
		(void)open_file(fixture, name);
		assert_true(n < 1000);
	}
	assert_true(n > 16);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(who_opens_a_clean_file_uses_it),
		TEST(what_is_not_clean_is_not_used_before_it_is),
		TEST(what_is_infected_by_now_is_not_used_any_more),
		TEST(who_has_a_file_scanned_does_not_use_it),
		TEST(what_needs_no_scan_is_not_used),
		TEST(who_does_not_want_it_gets_no_list),
		TEST(malware_that_a_warm_start_finds_is_told_as_such),
		TEST(where_much_waits_the_gate_is_busy),
	};

	if (!can_run())
		return UNIT_SKIPPED;
	log_set_sink(silent, NULL);
	return cmocka_run_group_tests_name("gate_used", tests, fixture_group_setup,
					   scratch_teardown);
}
