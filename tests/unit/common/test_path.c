/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/common/path.h"
#include "../support/unit.h"

#include <errno.h>
#include <string.h>

/* Where path is at or below directory, with what is left of it; rest NULL: it is not. */
static const struct {
	const char *directory, *path, *rest;
} below[] = {
	/* the root is above everything */
	{"/", "/", ""},
	{"/", "/a", "/a"},
	{"/", "/a/b", "/a/b"},
	/* the same, and below */
	{"/srv", "/srv", ""},
	{"/srv", "/srv/a", "/a"},
	{"/srv/www", "/srv/www/a/b", "/a/b"},
	{"/a", "/a", ""},
	/* a sibling that begins with the same characters */
	{"/srv", "/srv2", NULL},
	{"/srv", "/srv2/a", NULL},
	{"/srv", "/srv ", NULL},
	{"/a", "/b", NULL},
	/* above, beside */
	{"/srv", "/", NULL},
	{"/srv", "/sr", NULL},
	{"/srv/www", "/srv", NULL},
	{"/srv", "/usr/srv", NULL},
	/* taken literally */
	{"/*", "/a", NULL},
	{"/*", "/*/a", "/a"},
	{"/A", "/a", NULL},
};

static void a_path_is_below_a_directory_by_whole_components(void **state)
{
	for (size_t i = 0; i < N_ELEMENTS(below); i++) {
		const char *rest = path_rest(below[i].directory, below[i].path);

		if (!rest != !below[i].rest)
			fail_msg("%s %s %s", below[i].path, rest ? "is below" : "is not below",
				 below[i].directory);
		if (rest)
			assert_string_equal(rest, below[i].rest);
	}
}

static void the_rest_is_a_part_of_the_path(void **state)
{
	static const char path[] = "/srv/a";

	assert_ptr_equal(path_rest("/srv", path), path + 4);
	assert_ptr_equal(path_rest("/", path), path);
}

static void what_was_taken_apart_can_be_joined(void **state)
{
	char joined[64];

	for (size_t i = 0; i < N_ELEMENTS(below); i++) {
		if (!below[i].rest)
			continue;
		assert_int_equal(
			path_join(joined, sizeof(joined), below[i].directory, below[i].rest), 0);
		assert_string_equal(joined, below[i].path);
	}
}

static void joining_needs_room_for_all_of_it(void **state)
{
	static const struct {
		const char *directory, *rest, *joined;
	} cases[] = {
		{"/", "", "/"},		  {"/", "/a", "/a"},	    {"/srv", "", "/srv"},
		{"/srv", "/a", "/srv/a"}, {"/s", "/a/b", "/s/a/b"},
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		size_t length = strlen(cases[i].joined);
		char buffer[16];

		memset(buffer, '#', sizeof(buffer));
		assert_int_equal(path_join(buffer, length + 1, cases[i].directory, cases[i].rest),
				 0);
		assert_string_equal(buffer, cases[i].joined);
		assert_int_equal(buffer[length + 1], '#');

		for (size_t size = 0; size <= length; size++) {
			memset(buffer, '#', sizeof(buffer));
			assert_int_equal(path_join(buffer, size, cases[i].directory, cases[i].rest),
					 -ENAMETOOLONG);
			assert_int_equal(buffer[size], '#');
		}
	}
}

static void the_parent_is_what_is_before_the_last_slash(void **state)
{
	static const struct {
		const char *path;
		size_t length;
	} cases[] = {
		{"/", 1},    {"/a", 1}, {"/srv", 1}, {"/srv/a", 4}, {"/srv/www/index.html", 8},
		{"/a/b", 2},
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		size_t length = path_parent_length(cases[i].path);

		if (length != cases[i].length)
			fail_msg("%s: %zu, not %zu", cases[i].path, length, cases[i].length);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_path_is_below_a_directory_by_whole_components),
		cmocka_unit_test(the_rest_is_a_part_of_the_path),
		cmocka_unit_test(what_was_taken_apart_can_be_joined),
		cmocka_unit_test(joining_needs_room_for_all_of_it),
		cmocka_unit_test(the_parent_is_what_is_before_the_last_slash),
	};

	return cmocka_run_group_tests_name("path", tests, NULL, NULL);
}
