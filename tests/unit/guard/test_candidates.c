/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/guard/candidates.h"
#include "../support/unit.h"

#include <string.h>
#include <unistd.h>

struct fixture {
	struct candidates candidates;
	struct contents *contents;
};

static int setup(void **state)
{
	static struct fixture fixture;
	int memory = -1;

	memset(&fixture, 0, sizeof(fixture));
	fixture.contents = contents_new(1 << 16, &memory);
	close(memory);
	*state = &fixture;
	return fixture.contents ? 0 : -1;
}

static int teardown(void **state)
{
	contents_free(((struct fixture *)*state)->contents);
	return 0;
}

static struct content content(unsigned i)
{
	struct content content = {.size = 1, .set = 1};

	memcpy(content.digest, &i, sizeof(i));
	return content;
}

/* What the file i holds, as the voucher i % 2 + 1 says. */
static void add(struct fixture *fixture, unsigned i)
{
	const struct content it = content(i);

	candidates_add(&fixture->candidates, (struct file_id){1, i}, &it, i % 2 + 1);
}

static bool has(const struct fixture *fixture, unsigned i)
{
	const struct content it = content(i);

	return contents_has(fixture->contents, &it);
}

static void settle(struct fixture *fixture)
{
	candidates_settle(&fixture->candidates, fixture->contents);
	assert_int_equal(fixture->candidates.n, 0);
}

static void they_are_known_once_they_are_settled(void **state)
{
	struct fixture *fixture = *state;
	const struct content second = content(1);

	add(fixture, 0);
	add(fixture, 1);
	assert_false(has(fixture, 0));
	settle(fixture);
	assert_true(has(fixture, 0));
	assert_int_equal(contents_voucher(fixture->contents, &second), 2);
}

static void a_file_that_was_closed_by_a_writer_takes_all_that_was_found_in_it(void **state)
{
	struct fixture *fixture = *state;
	const struct content other = content(100);

	for (unsigned i = 0; i < 5; i++)
		add(fixture, i);
	candidates_add(&fixture->candidates, (struct file_id){1, 4}, &other, 1);
	candidates_closed(&fixture->candidates, (struct file_id){1, 4});
	candidates_closed(&fixture->candidates, (struct file_id){2, 3});
	candidates_closed(&fixture->candidates, (struct file_id){1, 0});
	settle(fixture);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(has(fixture, i), i != 0 && i != 4);
	assert_false(has(fixture, 100));
}

static void a_voucher_that_is_not_believed_takes_his(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned i = 0; i < 6; i++)
		add(fixture, i);
	candidates_forget(&fixture->candidates, 2);
	settle(fixture);
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(has(fixture, i), i % 2 == 0);
		add(fixture, 10 + i);
	}
	candidates_forget(&fixture->candidates, 1);
	settle(fixture);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(has(fixture, 10 + i), i % 2 == 1);
}

static void all_can_be_dropped(void **state)
{
	struct fixture *fixture = *state;

	add(fixture, 1);
	candidates_clear(&fixture->candidates);
	settle(fixture);
	assert_false(has(fixture, 1));
}

static void what_finds_no_room_is_not_known(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned i = 0; i < CANDIDATES_MAX + 10; i++)
		add(fixture, i);
	settle(fixture);
	for (unsigned i = 0; i < CANDIDATES_MAX + 10; i++)
		assert_int_equal(has(fixture, i), i < CANDIDATES_MAX);
	add(fixture, CANDIDATES_MAX);
	settle(fixture);
	assert_true(has(fixture, CANDIDATES_MAX));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(they_are_known_once_they_are_settled),
		TEST(a_file_that_was_closed_by_a_writer_takes_all_that_was_found_in_it),
		TEST(a_voucher_that_is_not_believed_takes_his),
		TEST(all_can_be_dropped),
		TEST(what_finds_no_room_is_not_known),
	};

	return cmocka_run_group_tests_name("candidates", tests, NULL, NULL);
}
