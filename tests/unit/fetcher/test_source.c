/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/fetcher/source.h"
#include "../support/unit.h"

#include <stdio.h>
#include <string.h>

#define NOW INT64_C(1790000000)
#define DAY INT64_C(86400)

static struct transfer_reply cool_down(long status, int64_t retry_after)
{
	struct transfer_reply reply = {
		.result = TRANSFER_COOL_DOWN, .status = status, .retry_after = retry_after};

	(void)snprintf(reply.problem, sizeof(reply.problem), "%ld Too Many Requests (URL)", status);
	return reply;
}

static void test_new_source(void **state)
{
	struct source source = {.url = "http://mirror.example"};

	assert_true(source_may_ask(&source, NOW));
	assert_true(source_is_healthy(&source, NOW));
}

/* It is left alone for so long and no longer. */
static void assert_cool_down(long status, int64_t retry_after, int64_t expected)
{
	struct source source = {.last_ok = 5};
	struct transfer_reply reply = cool_down(status, retry_after);

	source_answered(&source, &reply, NOW);
	assert_int_equal(source.cool_since, NOW);
	assert_int_equal(source.cool_until, NOW + expected);
	assert_false(source_may_ask(&source, NOW));
	assert_false(source_may_ask(&source, NOW + expected - 1));
	assert_true(source_may_ask(&source, NOW + expected));
	assert_string_equal(source.problem, reply.problem);
	assert_int_equal(source.last_ok, 5);
}

static void test_cool_downs(void **state)
{
	assert_cool_down(429, -1, SOURCE_TOO_MANY_S);
	assert_cool_down(429, 0, SOURCE_TOO_MANY_S);
	assert_cool_down(429, 60, 60);
	assert_cool_down(403, -1, SOURCE_FORBIDDEN_S);
	assert_cool_down(403, 60, 60);
	assert_cool_down(503, 0, SOURCE_RETRY_S);
	assert_cool_down(503, 1, 1);
	assert_cool_down(429, SOURCE_COOL_DOWN_MAX_S, SOURCE_COOL_DOWN_MAX_S);
	assert_cool_down(429, SOURCE_COOL_DOWN_MAX_S + 1, SOURCE_COOL_DOWN_MAX_S);
	assert_cool_down(503, 3650 * DAY, SOURCE_COOL_DOWN_MAX_S);
	assert_cool_down(429, INT64_MAX, SOURCE_COOL_DOWN_MAX_S);
	assert_cool_down(429, INT64_MIN, SOURCE_TOO_MANY_S);
}

static void test_cool_down_of_another_clock(void **state)
{
	struct source source = {.cool_since = NOW, .cool_until = NOW + DAY};

	assert_false(source_may_ask(&source, NOW + 1));
	assert_true(source_may_ask(&source, NOW - 1)); /* the clock was set back */
	assert_true(source_may_ask(&source, NOW - 3650 * DAY));
	source.cool_until = NOW + SOURCE_COOL_DOWN_MAX_S + 1; /* no file of ours says that */
	assert_true(source_may_ask(&source, NOW + 1));
	source.cool_until = INT64_MAX;
	assert_true(source_may_ask(&source, NOW + 1));
}

static void test_cool_down_is_over_with_a_proper_answer(void **state)
{
	struct source source = {0};
	struct transfer_reply reply = cool_down(403, -1), done = {.result = TRANSFER_DONE};

	source_answered(&source, &reply, NOW);
	source_answered(&source, &done, NOW + 1);
	assert_true(source_may_ask(&source, NOW + 2));
	assert_int_equal(source.cool_until, 0);
	assert_string_equal(source.problem, "");
	assert_int_equal(source.last_ok, NOW + 1);
}

static void test_failures(void **state)
{
	static const int64_t waits[] = {900,   1800,  3600,  7200,  14400,
					28800, 57600, 86400, 86400, 86400};
	struct source source = {.last_ok = 5};
	struct transfer_reply reply = {.result = TRANSFER_BROKEN, .problem = "connection refused"};

	for (size_t i = 0; i < N_ELEMENTS(waits); i++) {
		reply.result = i % 2 ? TRANSFER_REFUSED : TRANSFER_BROKEN;
		source_answered(&source, &reply, NOW);
		assert_int_equal(source.failures, i + 1);
		assert_int_equal(source.retry_at, NOW + waits[i]);
		assert_false(source_is_healthy(&source, NOW + waits[i] - 1));
		assert_true(source_is_healthy(&source, NOW + waits[i]));
		assert_true(source_may_ask(&source, NOW)); /* as the last one */
	}
	assert_string_equal(source.problem, "connection refused");
	assert_int_equal(source.last_ok, 5);
	source.failures = UINT32_MAX;
	source_failed(&source, "the signature is wrong", NOW);
	assert_int_equal(source.failures, UINT32_MAX);
	assert_int_equal(source.retry_at, NOW + SOURCE_RETRY_MAX_S);
	assert_string_equal(source.problem, "the signature is wrong");
	reply.result = TRANSFER_NOT_MODIFIED;
	source_answered(&source, &reply, NOW + 7);
	assert_true(source_is_healthy(&source, NOW + 7));
	assert_int_equal(source.failures, 0);
	assert_int_equal(source.last_ok, NOW + 7);
	assert_string_equal(source.problem, "");
}

static void test_failure_of_another_clock(void **state)
{
	struct source source = {.failures = 1, .retry_at = NOW};

	assert_false(source_is_healthy(&source, NOW - SOURCE_RETRY_MAX_S));
	assert_true(source_is_healthy(&source, NOW - SOURCE_RETRY_MAX_S - 1));
	source.retry_at = INT64_MAX;
	assert_true(source_is_healthy(&source, NOW));
}

static void test_what_says_nothing_of_a_source(void **state)
{
	static const enum transfer_result results[] = {TRANSFER_NOT_FOUND, TRANSFER_LOCAL};
	struct source source = {.failures = 2, .retry_at = NOW + 5, .problem = "p"}, before;

	for (size_t i = 0; i < N_ELEMENTS(results); i++) {
		struct transfer_reply reply = {.result = results[i], .problem = "the disk is full"};

		before = source;
		source_answered(&source, &reply, NOW);
		assert_memory_equal(&source, &before, sizeof(source));
	}
}

static void test_long_problem(void **state)
{
	struct source source = {0};
	struct transfer_reply reply = {.result = TRANSFER_REFUSED};

	memset(reply.problem, 'x', sizeof(reply.problem) - 1);
	source_answered(&source, &reply, NOW);
	assert_int_equal(strlen(source.problem), sizeof(source.problem) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_new_source),
		cmocka_unit_test(test_cool_downs),
		cmocka_unit_test(test_cool_down_of_another_clock),
		cmocka_unit_test(test_cool_down_is_over_with_a_proper_answer),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_failure_of_another_clock),
		cmocka_unit_test(test_what_says_nothing_of_a_source),
		cmocka_unit_test(test_long_problem),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
