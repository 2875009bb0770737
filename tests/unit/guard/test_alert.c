/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/common/chan.h"
#include "../../../src/common/log.h"
#include "../../../src/guard/alert.h"
#include "../support/unit.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GAP "[...]"

struct fixture {
	struct outbox *outbox;
	struct alert alert;
	int reporter; /* where findings arrive */
};

static int setup(void **state)
{
	static struct fixture fixture;
	int ends[2];

	fixture.outbox = outbox_new(16);
	if (!fixture.outbox || chan_pair(ends) < 0)
		return -1;
	outbox_connect(fixture.outbox, ends[0]);
	fixture.reporter = ends[1];
	alert_init(&fixture.alert, fixture.outbox);
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	close(fixture->reporter);
	outbox_free(fixture->outbox);
	return 0;
}

static int take_found(void *context, struct chan_message *message)
{
	memcpy(context, message, sizeof(struct wire_found));
	return 0;
}

static struct wire_found next_found(struct fixture *fixture)
{
	static const struct chan_rule rules[] = {
		{WIRE_FOUND, sizeof(struct wire_found), false, take_found}, {0}};
	struct wire_found found;

	assert_true(chan_readable(fixture->reporter));
	assert_int_equal(chan_serve(fixture->reporter, rules, &found), 0);
	return found;
}

static void a_finding_says_what_where_and_who(void **state)
{
	const struct request_origin origin = {.pid = 4242, .uid = 1000, .exe = "/usr/bin/cat"};
	struct fixture *fixture = *state;
	uint64_t before = clock_wall_us(), after;
	struct wire_found found;

	alert_found(&fixture->alert, &origin, 3, "/srv/eicar", WIRE_ANSWER_LATE, "Eicar");
	after = clock_wall_us();
	found = next_found(fixture);
	assert_int_equal(found.pid, 4242);
	assert_int_equal(found.uid, 1000);
	assert_string_equal(found.exe, "/usr/bin/cat");
	assert_int_equal(found.openers, 3);
	assert_string_equal(found.path, "/srv/eicar");
	assert_int_equal(found.answer, WIRE_ANSWER_LATE);
	assert_string_equal(found.signature, "Eicar");
	assert_in_range(found.time_us, before, after);
	assert_false(chan_readable(fixture->reporter));
}

/* A path in which each place can be told from each other one. */
static char *make_path(size_t length)
{
	char *path = malloc(length + 1), digits[16];

	assert_non_null(path);
	for (size_t i = 0; i < length; i++) {
		if (i % 8 == 0)
			(void)snprintf(digits, sizeof(digits), "/%07zu", i / 8);
		path[i] = digits[i % 8];
	}
	path[length] = '\0';
	return path;
}

static void a_path_that_fits_is_told_in_full(void **state)
{
	static const size_t lengths[] = {1, 2, 100, WIRE_PATH_MAX - 2, WIRE_PATH_MAX - 1};
	struct fixture *fixture = *state;
	const struct request_origin origin = {0};

	for (size_t i = 0; i < N_ELEMENTS(lengths); i++) {
		char *path = make_path(lengths[i]);
		struct wire_found found;

		alert_found(&fixture->alert, &origin, 1, path, WIRE_ANSWER_BLOCKED, "");
		found = next_found(fixture);
		assert_string_equal(found.path, path);
		free(path);
	}
}

static void a_longer_path_loses_its_middle(void **state)
{
	static const size_t lengths[] = {WIRE_PATH_MAX, WIRE_PATH_MAX + 1, WIRE_PATH_MAX + 100,
					 2 * WIRE_PATH_MAX, 65535};
	struct fixture *fixture = *state;
	const struct request_origin origin = {0};

	for (size_t i = 0; i < N_ELEMENTS(lengths); i++) {
		char *path = make_path(lengths[i]), *gap;
		struct wire_found found;
		size_t head, tail;

		alert_found(&fixture->alert, &origin, 1, path, WIRE_ANSWER_BLOCKED, "");
		found = next_found(fixture);
		/* as much as there is room for */
		assert_int_equal(strnlen(found.path, sizeof(found.path)), WIRE_PATH_MAX - 1);
		gap = strstr(found.path, GAP);
		assert_non_null(gap);
		head = (size_t)(gap - found.path);
		tail = strlen(gap + strlen(GAP));
		assert_memory_equal(found.path, path, head);
		assert_string_equal(gap + strlen(GAP), path + lengths[i] - tail);
		/* of both the same */
		assert_true(head <= tail + 1 && tail <= head + 1);
		free(path);
	}
}

/* --- what could not be verified --- */

struct lines {
	unsigned n;
	char last[WIRE_TEXT_MAX];
};

static void count_line(void *context, int priority, const char *text)
{
	struct lines *lines = context;

	assert_int_equal(priority, LOG_WARNING);
	lines->n++;
	(void)snprintf(lines->last, sizeof(lines->last), "%s", text);
}

static void of_many_files_not_verified_one_line_tells(void **state)
{
	struct fixture *fixture = *state;
	struct lines lines = {0};

	log_set_sink(count_line, &lines);
	alert_unverified(&fixture->alert, ALERT_FAILED, "/srv/a\nb", "too\tlarge", true);
	assert_string_equal(lines.last, "/srv/a\\x0ab: not verified (too\\x09large), allowed");
	for (unsigned i = 0; i < 5; i++)
		alert_unverified(&fixture->alert, ALERT_FAILED, "/srv/b", "x", true);
	assert_int_equal(lines.n, 1);
	/* later, the others are counted; then all is as before */
	fixture->alert.folds[ALERT_FAILED].quiet_until_us = 0;
	alert_unverified(&fixture->alert, ALERT_FAILED, "/srv/c", "x", false);
	assert_string_equal(lines.last, "/srv/c: not verified (x), denied; 5 more such opens since "
					"the last such line");
	fixture->alert.folds[ALERT_FAILED].quiet_until_us = 0;
	alert_unverified(&fixture->alert, ALERT_FAILED, "/srv/c", "x", false);
	assert_string_equal(lines.last, "/srv/c: not verified (x), denied");
	assert_int_equal(lines.n, 3);
	log_set_sink(NULL, NULL);
	assert_false(chan_readable(fixture->reporter));
}

/* A storm of one kind hides nothing of another. */
static void each_kind_is_folded_by_itself(void **state)
{
	struct fixture *fixture = *state;
	struct lines lines = {0};

	log_set_sink(count_line, &lines);
	for (unsigned i = 0; i < 5; i++)
		alert_unverified(&fixture->alert, ALERT_TIMEOUT, "/srv/a", "late", true);
	assert_int_equal(lines.n, 1);
	assert_false(alert_is_due(&fixture->alert, ALERT_TIMEOUT));
	assert_true(alert_is_due(&fixture->alert, ALERT_FAILED));
	alert_unverified(&fixture->alert, ALERT_FAILED, "/srv/b", "x", true);
	assert_string_equal(lines.last, "/srv/b: not verified (x), allowed");
	alert_unverified(&fixture->alert, ALERT_INCOMPLETE, "/srv/c", "x", true);
	assert_string_equal(lines.last, "/srv/c: not verified (x), allowed");
	alert_poison(&fixture->alert, "/srv/d", "its worker died", false);
	assert_int_equal(lines.n, 4);
	log_set_sink(NULL, NULL);
}

/* What, why, what becomes of it, what can be done. */
static void a_line_about_poison_says_what_to_do(void **state)
{
	struct fixture *fixture = *state;
	struct lines lines = {0};

	log_set_sink(count_line, &lines);
	alert_poison(&fixture->alert, "/srv/a\nb", "its worker died: x\ty", false);
	assert_string_equal(
		lines.last,
		"/srv/a\\x0ab: cannot be scanned, workers do not survive it (its worker "
		"died: x\\x09y): on-failure denies its opens until it or the signatures "
		"change; remove it, or exclude it if you trust it");
	alert_poison(&fixture->alert, "/srv/c", "x", true);
	alert_poison(&fixture->alert, "/srv/d", "x", true);
	assert_int_equal(lines.n, 1);
	fixture->alert.folds[ALERT_POISON].quiet_until_us = 0;
	alert_poison(&fixture->alert, "/srv/e", "x", true);
	assert_non_null(strstr(lines.last, "/srv/e: "));
	assert_non_null(strstr(lines.last, "on-failure allows"));
	assert_non_null(strstr(lines.last, "; 2 more such files since the last such line"));
	log_set_sink(NULL, NULL);
}

#define ALERT_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALERT_TEST(a_finding_says_what_where_and_who),
		ALERT_TEST(a_path_that_fits_is_told_in_full),
		ALERT_TEST(a_longer_path_loses_its_middle),
		ALERT_TEST(of_many_files_not_verified_one_line_tells),
		ALERT_TEST(each_kind_is_folded_by_itself),
		ALERT_TEST(a_line_about_poison_says_what_to_do),
	};

	return cmocka_run_group_tests_name("alert", tests, NULL, NULL);
}
