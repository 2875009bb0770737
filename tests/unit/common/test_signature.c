/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/common/signature.h"
#include "../support/unit.h"

#include <string.h>

#define SIXTY "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffff.ndb"

static void files_of_signatures_are_known_by_their_names(void **state)
{
	static const char *const are[] = {"daily.cvd", "main.cld",  "local.ndb", "LOCAL.NDB",
					  "a.b.hdb",   "x.yara",    "x.ign2",	 "x.fp",
					  "x.pwdb",    "daily.cud", "x.cbc",	 "x.cfg"};
	static const char *const are_not[] = {
		"",	      "daily",	       "daily.cvd.tmp", "ndb",	      "x.",
		"x.ndbx",     "x.nd",	       "current",	"README",     "x.txt",
		"daily.cvd~", "freshclam.dat", "x.info",	"mirrors.dat"};

	for (size_t i = 0; i < N_ELEMENTS(are); i++)
		if (!signature_is_file(are[i]))
			fail_msg("%s is not taken for one", are[i]);
	for (size_t i = 0; i < N_ELEMENTS(are_not); i++)
		if (signature_is_file(are_not[i]))
			fail_msg("%s is taken for one", are_not[i]);
}

static void containers_say_their_version(void **state)
{
	assert_true(signature_is_container("daily.cvd"));
	assert_true(signature_is_container("daily.cld"));
	assert_true(signature_is_container("DAILY.CVD"));
	assert_false(signature_is_container("daily.cud"));
	assert_false(signature_is_container("daily.cdiff"));
	assert_false(signature_is_container("local.ndb"));
	assert_false(signature_is_container("cvd"));
}

/* Programs, and what switches parts of the library off, come from signed sources only. */
static void what_nobody_signed_is_not_fetched_from_anywhere(void **state)
{
	static const char *const refused[] = {"x.cbc", "x.CBC", "x.cud", "x.cfg", "x.cld"};
	static const char *const taken[] = {"x.ndb", "x.cvd", "x.yar", "x.ign2", "X.LDB", SIXTY};

	for (size_t i = 0; i < N_ELEMENTS(refused); i++)
		assert_string_equal(signature_custom_problem(refused[i]),
				    "files of this kind are taken from signed sources only: a "
				    ".cvd");
	for (size_t i = 0; i < N_ELEMENTS(taken); i++)
		if (signature_custom_problem(taken[i]))
			fail_msg("%s: %s", taken[i], signature_custom_problem(taken[i]));
}

static void a_custom_file_needs_a_proper_name(void **state)
{
	static const char *const no_signatures[] = {"", "x", "x.txt", "index.html"};
	static const char *const no_name[] = {".ndb", "..ndb", ".x.ndb", SIXTY "g.ndb"};

	assert_int_equal(strlen(SIXTY), SIGNATURE_FILE_MAX);
	for (size_t i = 0; i < N_ELEMENTS(no_signatures); i++)
		assert_string_equal(signature_custom_problem(no_signatures[i]),
				    "the URL must end in the name of a file of signatures, such as "
				    "local.ndb");
	for (size_t i = 0; i < N_ELEMENTS(no_name); i++)
		assert_string_equal(signature_custom_problem(no_name[i]),
				    "the name of a file of signatures begins with its name and is "
				    "no longer than 60 bytes");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_of_signatures_are_known_by_their_names),
		cmocka_unit_test(containers_say_their_version),
		cmocka_unit_test(what_nobody_signed_is_not_fetched_from_anywhere),
		cmocka_unit_test(a_custom_file_needs_a_proper_name),
	};

	return cmocka_run_group_tests_name("signature", tests, NULL, NULL);
}
