/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/guard/ahead.h"
#include "../support/unit.h"

#include <fcntl.h>
#include <unistd.h>

/* In microseconds: how long files need to settle here, on filesystems with fine times and others.
 */
#define FINE   20000
#define COARSE 2000000

struct fixture {
	struct ahead ahead;
	unsigned fds_before;
};

static int setup(void **state)
{
	static struct fixture fixture;

	fixture.fds_before = unit_count_fds();
	*state = &fixture;
	return ahead_init(&fixture.ahead, 3);
}

/* No descriptor is left. */
static int teardown(void **state)
{
	struct fixture *fixture = *state;

	ahead_deinit(&fixture->ahead);
	assert_int_equal(unit_count_fds(), fixture->fds_before);
	return 0;
}

/* Files differ in their inode only; so many share a chain that some do here. */
static struct file_id id(uint64_t inode)
{
	return (struct file_id){.device = 1, .inode = inode};
}

static bool add_to(struct ahead *ahead, uint64_t inode, uint64_t settles_us, uint64_t now_us)
{
	const struct ahead_file file = {
		.id = id(inode),
		.pid = (int32_t)inode,
		.device = inode + 1000,
		.handle = {.type = (int)inode},
	};

	return ahead_add(ahead, &file, settles_us, now_us);
}

static void add(struct fixture *fixture, uint64_t inode, uint64_t settles_us, uint64_t now_us)
{
	assert_true(add_to(&fixture->ahead, inode, settles_us, now_us));
}

static bool again(struct fixture *fixture, uint64_t inode, uint64_t settles_us, uint64_t now_us)
{
	bool given_up;
	bool found = ahead_again(&fixture->ahead, id(inode), 77, settles_us, now_us, &given_up);

	assert_false(given_up);
	return found;
}

/* Which file is due; 0: none. */
static uint64_t take(struct fixture *fixture, uint64_t now_us)
{
	struct ahead_file file;

	if (!ahead_take(&fixture->ahead, now_us, &file))
		return 0;
	assert_int_equal(file.device, file.id.inode + 1000);
	assert_int_equal(file.handle.type, file.id.inode);
	return file.id.inode;
}

static void a_file_waits_until_it_has_settled(void **state)
{
	struct fixture *fixture = *state;

	assert_true(ahead_due_us(&fixture->ahead) == UINT64_MAX);
	add(fixture, 1, FINE, 100);
	add(fixture, 2, FINE, 200);
	assert_int_equal(fixture->ahead.n, 2);
	assert_int_equal(ahead_due_us(&fixture->ahead), 100 + FINE);
	assert_int_equal(take(fixture, 100 + FINE - 1), 0);
	assert_int_equal(take(fixture, 100 + FINE), 1);
	assert_int_equal(take(fixture, 100 + FINE), 0);
	assert_int_equal(take(fixture, 200 + FINE), 2);
	assert_int_equal(fixture->ahead.n, 0);
	assert_true(ahead_due_us(&fixture->ahead) == UINT64_MAX);
}

static void what_takes_long_to_settle_is_in_nobodys_way(void **state)
{
	struct fixture *fixture = *state;

	add(fixture, 1, COARSE, 0);
	add(fixture, 2, FINE, 100);
	assert_int_equal(ahead_due_us(&fixture->ahead), 100 + FINE);
	assert_int_equal(take(fixture, 100 + FINE), 2);
	assert_int_equal(take(fixture, COARSE - 1), 0);
	/* Nor are others in its. */
	add(fixture, 3, FINE, COARSE - 1);
	assert_int_equal(take(fixture, 2 * COARSE), 1);
	assert_int_equal(take(fixture, 2 * COARSE), 3);
}

static void many_closes_are_one_scan(void **state)
{
	struct fixture *fixture = *state;
	struct ahead_file file;

	add(fixture, 1, FINE, 0);
	add(fixture, 2, FINE, 10);
	for (uint64_t now = 100; now < 10 * FINE; now += FINE / 2) {
		assert_true(again(fixture, 1, FINE, now));
		assert_int_not_equal(take(fixture, now), 1);
	}
	assert_false(again(fixture, 3, FINE, 0));
	assert_true(ahead_take(&fixture->ahead, 20 * FINE, &file));
	assert_int_equal(file.id.inode, 1);
	assert_int_equal(file.pid, 77); /* who closed it last */
	assert_int_equal(fixture->ahead.n, 0);
}

static void a_file_may_become_slow_to_settle_and_fast_again(void **state)
{
	struct fixture *fixture = *state;

	add(fixture, 1, FINE, 0);
	assert_true(again(fixture, 1, COARSE, 0));
	assert_int_equal(take(fixture, COARSE - 1), 0);
	assert_true(again(fixture, 1, FINE, 10));
	assert_int_equal(take(fixture, 10 + FINE), 1);
}

static void there_is_no_more_room_than_that(void **state)
{
	struct fixture *fixture = *state;

	for (uint64_t inode = 1; inode <= 3; inode++)
		add(fixture, inode, FINE, 0);
	assert_false(add_to(&fixture->ahead, 4, FINE, 0));
	assert_int_equal(take(fixture, FINE), 1);
	assert_true(add_to(&fixture->ahead, 4, FINE, 0));
}

static void there_may_be_no_room_at_all(void **state)
{
	struct ahead none;

	assert_int_equal(ahead_init(&none, 0), 0);
	assert_false(add_to(&none, 1, FINE, 0));
	ahead_deinit(&none);
}

static void what_has_waited_for_too_long_is_given_up(void **state)
{
	struct fixture *fixture = *state;

	add(fixture, 1, FINE, 0);
	add(fixture, 2, COARSE, 0);
	add(fixture, 3, FINE, 1);
	assert_int_equal(ahead_give_up(&fixture->ahead, AHEAD_WAIT_MAX_US - 1), 0);
	assert_int_equal(ahead_give_up(&fixture->ahead, AHEAD_WAIT_MAX_US), 2);
	assert_int_equal(fixture->ahead.n, 1);
	assert_false(again(fixture, 1, FINE, AHEAD_WAIT_MAX_US));
	assert_int_equal(ahead_give_up(&fixture->ahead, UINT64_MAX), 1);
}

static void nor_does_a_file_wait_anew_for_ever(void **state)
{
	struct fixture *fixture = *state;
	uint64_t now = 0;
	bool given_up = false;

	add(fixture, 1, FINE, 0);
	while (!given_up) {
		now += FINE / 2;
		assert_true(now <= AHEAD_WAIT_MAX_US);
		assert_true(ahead_again(&fixture->ahead, id(1), 1, FINE, now, &given_up));
	}
	assert_int_equal(now, AHEAD_WAIT_MAX_US);
	assert_int_equal(fixture->ahead.n, 0);
}

static void what_was_looked_at_meanwhile_waits_no_more(void **state)
{
	struct fixture *fixture = *state;

	add(fixture, 1, FINE, 0);
	add(fixture, 2, FINE, 0);
	ahead_drop(&fixture->ahead, id(1));
	ahead_drop(&fixture->ahead, id(3));
	assert_int_equal(take(fixture, FINE), 2);
	assert_int_equal(take(fixture, FINE), 0);
}

static void who_is_put_back_has_waited_before(void **state)
{
	struct fixture *fixture = *state;
	struct ahead_file file;

	add(fixture, 1, FINE, 0);
	assert_true(ahead_take(&fixture->ahead, FINE, &file));
	assert_true(ahead_put_back(&fixture->ahead, &file, FINE, FINE));
	assert_int_equal(take(fixture, 2 * FINE - 1), 0);
	assert_true(again(fixture, 1, FINE, FINE));
	assert_int_equal(ahead_give_up(&fixture->ahead, AHEAD_WAIT_MAX_US), 1);
}

/* It may have been closed once more while somebody looked at it, or its place been taken. */
static void who_is_put_back_is_there_once(void **state)
{
	struct fixture *fixture = *state;
	struct ahead_file file;

	add(fixture, 1, FINE, 0);
	assert_true(ahead_take(&fixture->ahead, FINE, &file));
	add(fixture, 1, FINE, FINE);
	assert_true(ahead_put_back(&fixture->ahead, &file, FINE, FINE));
	assert_int_equal(fixture->ahead.n, 1);
	assert_true(ahead_take(&fixture->ahead, 2 * FINE, &file));
	for (uint64_t inode = 2; inode <= 4; inode++)
		add(fixture, inode, FINE, 0);
	assert_false(ahead_put_back(&fixture->ahead, &file, FINE, FINE));
	assert_int_equal(fixture->ahead.n, 3);
}

/* More than there are chains would have them share some. */
static void files_that_share_a_chain_are_told_apart(void **state)
{
	enum { N = 4096 };
	struct ahead many;

	assert_int_equal(ahead_init(&many, N), 0);
	for (uint64_t inode = 1; inode <= N; inode++)
		assert_true(add_to(&many, inode, FINE, inode));
	for (uint64_t inode = 1; inode <= N; inode++) {
		struct ahead_file file;

		assert_true(ahead_take(&many, N + FINE, &file));
		assert_int_equal(file.id.inode, inode);
		for (uint64_t other = inode; other <= N; other += 97) {
			bool given_up;

			assert_int_equal(ahead_again(&many, id(other), 0, FINE, other, &given_up),
					 other > inode);
			if (other > inode)
				assert_int_equal(many.n, N - inode);
		}
		if (inode == 3)
			break;
	}
	ahead_deinit(&many);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_file_waits_until_it_has_settled),
		TEST(what_takes_long_to_settle_is_in_nobodys_way),
		TEST(many_closes_are_one_scan),
		TEST(a_file_may_become_slow_to_settle_and_fast_again),
		TEST(there_is_no_more_room_than_that),
		TEST(there_may_be_no_room_at_all),
		TEST(what_has_waited_for_too_long_is_given_up),
		TEST(nor_does_a_file_wait_anew_for_ever),
		TEST(what_was_looked_at_meanwhile_waits_no_more),
		TEST(who_is_put_back_has_waited_before),
		TEST(who_is_put_back_is_there_once),
		TEST(files_that_share_a_chain_are_told_apart),
	};

	return cmocka_run_group_tests_name("ahead", tests, NULL, NULL);
}
