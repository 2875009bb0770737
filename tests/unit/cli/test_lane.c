/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/cli/lane.h"
#include "../../../src/common/chan.h"
#include "../support/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SEEN_MAX 64

/* What the lane told of. */
struct seen {
	unsigned n;
	struct {
		char path[32];
		struct wire_verdict verdict;
	} files[SEEN_MAX];
};

struct fixture {
	struct lane lane;
	int theirs;
	unsigned fds_before;
	struct seen seen;
};

static void on_done(void *context, const struct lane_file *file, const struct wire_verdict *verdict)
{
	struct seen *seen = context;

	assert_true(seen->n < SEEN_MAX);
	(void)snprintf(seen->files[seen->n].path, sizeof(seen->files[seen->n].path), "%s",
		       file->path);
	seen->files[seen->n++].verdict = *verdict;
}

static int connect_lane(struct fixture *fixture)
{
	int ends[2];

	if (chan_pair(ends) < 0)
		return -1;
	lane_attach(&fixture->lane, ends[0]);
	if (fixture->theirs >= 0)
		close(fixture->theirs);
	fixture->theirs = ends[1];
	return 0;
}

static int setup(void **state)
{
	static struct fixture fixture;

	fixture = (struct fixture){
		.fds_before = unit_count_fds(),
		.theirs = -1,
		.lane = {.fd = -1,
			 .window = 4,
			 .flags = WIRE_SCAN_AFRESH,
			 .done = on_done,
			 .context = &fixture.seen},
	};
	*state = &fixture;
	return connect_lane(&fixture);
}

/* Whatever a test did, no descriptor is left. */
static int teardown(void **state)
{
	struct fixture *fixture = *state;

	lane_give_up(&fixture->lane, 0, "");
	lane_attach(&fixture->lane, -1);
	close(fixture->theirs);
	assert_int_equal(unit_count_fds(), fixture->fds_before);
	return 0;
}

static void put(struct fixture *fixture, const char *path)
{
	const struct lane_file file = {
		.fd = fcntl(0, F_DUPFD_CLOEXEC, 0), .path = strdup(path), .size = 7};

	assert_true(file.fd >= 0);
	lane_put(&fixture->lane, &file);
}

static int take_scan(void *context, struct chan_message *message)
{
	memcpy(context, message, sizeof(struct wire_scan));
	close(message->fd);
	return 0;
}

static const struct chan_rule their_rules[] = {
	{WIRE_SCAN, sizeof(struct wire_scan), true, take_scan}, {0}};

/* The peer takes one file. Returns its id; 0: there is none. */
static uint64_t take(struct fixture *fixture)
{
	struct wire_scan scan;

	if (!chan_readable(fixture->theirs))
		return 0;
	assert_int_equal(chan_serve(fixture->theirs, their_rules, &scan), 0);
	assert_int_equal(scan.flags, WIRE_SCAN_AFRESH);
	assert_true(scan.id > 0);
	return scan.id;
}

static struct wire_verdict verdict_of(uint64_t id, enum verdict verdict, const char *reason)
{
	struct wire_verdict message = {
		.header = WIRE_INIT(WIRE_VERDICT, struct wire_verdict),
		.id = id,
		.verdict = verdict,
	};

	(void)snprintf(message.reason, sizeof(message.reason), "%s", reason);
	return message;
}

static void answer(struct fixture *fixture, uint64_t id, enum verdict verdict, const char *reason)
{
	const struct wire_verdict message = verdict_of(id, verdict, reason);

	assert_int_equal(chan_send(fixture->theirs, &message.header, -1), 0);
}

static void verdicts_in_any_order_belong_to_their_files(void **state)
{
	struct fixture *fixture = *state;
	uint64_t a, b, c;

	put(fixture, "a");
	put(fixture, "b");
	put(fixture, "c");
	assert_int_equal(lane_send(&fixture->lane), 0);
	a = take(fixture);
	b = take(fixture);
	c = take(fixture);
	assert_true(a && b && c && a != b && b != c && a != c);
	answer(fixture, b, VERDICT_INFECTED, "Sig");
	answer(fixture, c, VERDICT_CLEAN, "");
	answer(fixture, a, VERDICT_INCOMPLETE, "limit");
	assert_int_equal(lane_receive(&fixture->lane), 3);
	assert_int_equal(fixture->seen.n, 3);
	assert_string_equal(fixture->seen.files[0].path, "b");
	assert_int_equal(fixture->seen.files[0].verdict.verdict, VERDICT_INFECTED);
	assert_string_equal(fixture->seen.files[0].verdict.reason, "Sig");
	assert_string_equal(fixture->seen.files[1].path, "c");
	assert_string_equal(fixture->seen.files[2].path, "a");
	assert_int_equal(fixture->lane.n_files, 0);
}

static void what_was_sent_is_not_sent_twice(void **state)
{
	struct fixture *fixture = *state;

	put(fixture, "a");
	assert_int_equal(lane_send(&fixture->lane), 0);
	put(fixture, "b");
	assert_int_equal(lane_send(&fixture->lane), 0);
	assert_int_equal(lane_send(&fixture->lane), 0);
	assert_int_not_equal(take(fixture), 0);
	assert_int_not_equal(take(fixture), 0);
	assert_int_equal(take(fixture), 0);
}

static void a_verdict_makes_room_for_a_file(void **state)
{
	struct fixture *fixture = *state;
	uint64_t id;

	for (unsigned i = 0; i < 4; i++) {
		assert_false(lane_is_full(&fixture->lane));
		put(fixture, "x");
	}
	assert_true(lane_is_full(&fixture->lane));
	assert_int_equal(lane_send(&fixture->lane), 0);
	assert_int_equal(lane_receive(&fixture->lane), -EAGAIN);
	id = take(fixture);
	answer(fixture, id, VERDICT_CLEAN, "");
	assert_int_equal(lane_receive(&fixture->lane), 1);
	assert_false(lane_is_full(&fixture->lane));
	put(fixture, "y");
	assert_true(lane_is_full(&fixture->lane));
}

/* A file keeps its id, so that a late verdict cannot be taken for another's. */
static void a_new_connection_gets_what_was_under_way(void **state)
{
	struct fixture *fixture = *state;
	uint64_t a, b;

	put(fixture, "a");
	put(fixture, "b");
	assert_int_equal(lane_send(&fixture->lane), 0);
	a = take(fixture);
	answer(fixture, a, VERDICT_CLEAN, "");
	assert_int_equal(lane_receive(&fixture->lane), 1);
	assert_int_equal(connect_lane(fixture), 0);
	put(fixture, "c");
	assert_int_equal(lane_send(&fixture->lane), 0);
	b = take(fixture);
	answer(fixture, b, VERDICT_CLEAN, "");
	answer(fixture, take(fixture), VERDICT_CLEAN, "");
	assert_int_equal(take(fixture), 0);
	assert_int_equal(lane_receive(&fixture->lane), 2);
	assert_string_equal(fixture->seen.files[1].path, "b");
	assert_string_equal(fixture->seen.files[2].path, "c");
}

static void a_file_over_which_connections_are_lost_is_given_up(void **state)
{
	struct fixture *fixture = *state;

	put(fixture, "bad");
	assert_int_equal(lane_send(&fixture->lane), 0);
	assert_int_equal(connect_lane(fixture), 0);
	put(fixture, "good");
	assert_int_equal(lane_send(&fixture->lane), 0);
	lane_give_up(&fixture->lane, 2, "why");
	assert_int_equal(fixture->seen.n, 1);
	assert_string_equal(fixture->seen.files[0].path, "bad");
	assert_int_equal(fixture->seen.files[0].verdict.verdict, VERDICT_FAILED);
	assert_string_equal(fixture->seen.files[0].verdict.reason, "why");
	/* and the other one is still waited for */
	assert_int_not_equal(take(fixture), 0);
	answer(fixture, take(fixture), VERDICT_CLEAN, "");
	assert_int_equal(lane_receive(&fixture->lane), 1);
	assert_string_equal(fixture->seen.files[1].path, "good");
}

static void of_a_file_that_was_refused_it_is_asked_why(void **state)
{
	struct fixture *fixture = *state;
	struct wire_scan scan;

	put(fixture, "a");
	fixture->lane.files[0].is_refused = true;
	put(fixture, "b");
	assert_int_equal(lane_send(&fixture->lane), 0);
	assert_int_equal(recv(fixture->theirs, &scan, sizeof(scan), 0), sizeof(scan));
	assert_int_equal(scan.header.type, WIRE_SCAN_WHY);
	answer(fixture, scan.id, VERDICT_INFECTED, "Sig");
	assert_int_equal(recv(fixture->theirs, &scan, sizeof(scan), 0), sizeof(scan));
	assert_int_equal(scan.header.type, WIRE_SCAN);
	assert_int_equal(lane_receive(&fixture->lane), 1);
	assert_string_equal(fixture->seen.files[0].path, "a");
	assert_string_equal(fixture->seen.files[0].verdict.reason, "Sig");
	assert_int_equal(fixture->lane.n_files, 1);
}

static void the_end_comes_after_the_last_verdict(void **state)
{
	struct fixture *fixture = *state;

	put(fixture, "a");
	put(fixture, "b");
	assert_int_equal(lane_send(&fixture->lane), 0);
	answer(fixture, take(fixture), VERDICT_CLEAN, "");
	close(fixture->theirs);
	fixture->theirs = dup(0);
	assert_int_equal(lane_receive(&fixture->lane), 1);
	assert_int_equal(lane_receive(&fixture->lane), -EPIPE);
	assert_int_equal(fixture->lane.n_files, 1);
}

static void a_verdict_that_is_none_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct wire_verdict bad[6];
	uint64_t id;

	put(fixture, "a");
	assert_int_equal(lane_send(&fixture->lane), 0);
	id = take(fixture);
	for (size_t i = 0; i < N_ELEMENTS(bad); i++)
		bad[i] = verdict_of(id, VERDICT_CLEAN, "");
	bad[0].id = id + 1;
	bad[1].verdict = VERDICT_COUNT;
	memset(bad[2].reason, 'x', sizeof(bad[2].reason));
	memset(bad[3].warning, 'x', sizeof(bad[3].warning));
	bad[4].header.version++;
	bad[5].header.type = WIRE_SCAN;
	for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
		assert_int_equal(send(fixture->theirs, &bad[i], sizeof(bad[i]), 0), sizeof(bad[i]));
		if (lane_receive(&fixture->lane) != -EPROTO)
			fail_msg("bad verdict %zu was taken", i);
	}
	assert_int_equal(send(fixture->theirs, &bad[0], sizeof(bad[0]) - 1, 0), sizeof(bad[0]) - 1);
	assert_int_equal(lane_receive(&fixture->lane), -EPROTO);
	assert_int_equal(fixture->seen.n, 0);
}

/* A file that was never sent has no verdict yet, whoever guesses its id. */
static void a_verdict_on_what_was_not_sent_is_refused(void **state)
{
	struct fixture *fixture = *state;

	put(fixture, "a");
	answer(fixture, fixture->lane.files[0].id, VERDICT_CLEAN, "");
	assert_int_equal(lane_receive(&fixture->lane), -EPROTO);
	assert_int_equal(fixture->seen.n, 0);
}

static void sending_to_nobody_is_an_error_and_loses_nothing(void **state)
{
	struct fixture *fixture = *state;

	close(fixture->theirs);
	fixture->theirs = dup(0);
	put(fixture, "a");
	assert_int_equal(lane_send(&fixture->lane), -EPIPE);
	assert_int_equal(fixture->lane.n_files, 1);
	assert_int_equal(fixture->lane.files[0].tries, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(verdicts_in_any_order_belong_to_their_files),
		TEST(what_was_sent_is_not_sent_twice),
		TEST(a_verdict_makes_room_for_a_file),
		TEST(a_new_connection_gets_what_was_under_way),
		TEST(a_file_over_which_connections_are_lost_is_given_up),
		TEST(of_a_file_that_was_refused_it_is_asked_why),
		TEST(the_end_comes_after_the_last_verdict),
		TEST(a_verdict_that_is_none_is_refused),
		TEST(a_verdict_on_what_was_not_sent_is_refused),
		TEST(sending_to_nobody_is_an_error_and_loses_nothing),
	};

	return cmocka_run_group_tests_name("lane", tests, NULL, NULL);
}
