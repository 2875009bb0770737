/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/supervisor/due.h"
#include "../support/conf_fixture.h"

#define MINUTE UINT64_C(60)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define NOW    INT64_C(1790000000)

static void set(struct conf *conf, const char *key, const char *value)
{
	conf_fixture_set(conf, "signatures", key, value);
}

static void it_runs_only_where_there_is_something_to_fetch_from(void **state)
{
	struct conf *conf = *state, *other = conf_new();

	assert_false(due_is_configured(conf));
	assert_false(due_by_itself(conf));
	set(conf, "mirror", "http://mirror.example/clamav");
	assert_true(due_by_itself(conf));
	assert_non_null(other);
	set(other, "custom", "file:///srv/local.ndb");
	assert_true(due_by_itself(other));
	(void)conf_free(other);
}

static void with_check_every_0_it_runs_when_asked(void **state)
{
	struct conf *conf = *state;

	set(conf, "mirror", "http://mirror.example/clamav");
	set(conf, "check-every", "0s");
	assert_true(due_is_configured(conf));
	assert_false(due_by_itself(conf));
}

static void a_fleet_does_not_come_at_once(void **state)
{
	struct conf *conf = *state;
	uint64_t least = UINT64_MAX, most = 0;

	set(conf, "random-delay", "10m");
	for (uint32_t random = 0; random < 5000; random++) {
		uint64_t wait = due_first(conf, false, random * 7919);

		least = wait < least ? wait : least;
		most = wait > most ? wait : most;
	}
	assert_int_equal(least, 0);
	assert_int_equal(most, 10 * MINUTE);
	assert_true(due_first(conf, false, UINT32_MAX) <= 10 * MINUTE);
	set(conf, "random-delay", "0s");
	assert_int_equal(due_first(conf, false, 12345), 0);
}

static void without_signatures_it_comes_at_once(void **state)
{
	set(*state, "random-delay", "10m");
	assert_int_equal(due_first(*state, true, 599), 0);
}

static void it_comes_again_when_the_last_run_said(void **state)
{
	struct conf *conf = *state;

	set(conf, "check-every", "2h");
	assert_int_equal(due_next(conf, NOW + 3 * 3600, NOW), 3 * HOUR);
	/* it did not say */
	assert_int_equal(due_next(conf, 0, NOW), 2 * HOUR);
}

static void no_word_of_it_makes_it_come_without_pause_or_never(void **state)
{
	struct conf *conf = *state;

	set(conf, "check-every", "2h");
	set(conf, "random-delay", "10m");
	assert_int_equal(due_next(conf, NOW, NOW), MINUTE);
	assert_int_equal(due_next(conf, NOW + 59, NOW), MINUTE);
	assert_int_equal(due_next(conf, INT64_MIN, NOW), MINUTE);
	assert_int_equal(due_next(conf, INT64_MAX, NOW), 7 * DAY + 2 * HOUR + 10 * MINUTE);
	assert_int_equal(due_next(conf, INT64_MAX, INT64_MIN), 7 * DAY + 2 * HOUR + 10 * MINUTE);
	/* nor does the configuration */
	set(conf, "check-every", "1ms");
	assert_int_equal(due_next(conf, 0, NOW), MINUTE);
}

static void one_that_dies_is_tried_again_less_and_less_often(void **state)
{
	struct conf *conf = *state;

	set(conf, "check-every", "1h");
	assert_int_equal(due_retry(conf, 1), 10 * MINUTE);
	assert_int_equal(due_retry(conf, 2), 20 * MINUTE);
	assert_int_equal(due_retry(conf, 3), 40 * MINUTE);
	assert_int_equal(due_retry(conf, 4), HOUR);
	assert_int_equal(due_retry(conf, UINT32_MAX), HOUR);
	set(conf, "check-every", "5m");
	assert_int_equal(due_retry(conf, 1), 5 * MINUTE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CONF_TEST(it_runs_only_where_there_is_something_to_fetch_from),
		CONF_TEST(with_check_every_0_it_runs_when_asked),
		CONF_TEST(a_fleet_does_not_come_at_once),
		CONF_TEST(without_signatures_it_comes_at_once),
		CONF_TEST(it_comes_again_when_the_last_run_said),
		CONF_TEST(no_word_of_it_makes_it_come_without_pause_or_never),
		CONF_TEST(one_that_dies_is_tried_again_less_and_less_often),
	};

	return cmocka_run_group_tests_name("due", tests, NULL, NULL);
}
