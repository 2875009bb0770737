/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/common/match.h"
#include "../support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void rules_are_normalized(void **state)
{
	static const struct {
		const char *rule, *normal;
	} cases[] = {
		{"/", "/"},
		{"//", "/"},
		{"/srv", "/srv"},
		{"/srv/", "/srv"},
		{"/bin", "/bin"},
		{"/bin/", "/bin"},
		{"//srv///www//", "/srv/www"},
		{"/srv/*", "/srv/*"},
		{"/**", "/**"},
		{"/srv/**/cache", "/srv/**/cache"},
		{"/a*b*c", "/a*b*c"},
		{"/.hidden/...", "/.hidden/..."},
		{"/..data", "/..data"},
		{"/with space/and\ttab", "/with space/and\ttab"},
		{"/\xff\xfe", "/\xff\xfe"},
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		const char *problem = "not touched";
		char *normal = match_normalize(cases[i].rule, &problem);

		if (!normal)
			fail_msg("%s: refused: %s", cases[i].rule, problem);
		assert_string_equal(normal, cases[i].normal);
		free(normal);
	}
}

static void bad_rules_are_refused_with_a_reason(void **state)
{
	static const char relative[] = "a path must be absolute: begin with /; /**/NAME stands "
				       "for that name anywhere",
			  dots[] = "a path must not contain . or .. as a component",
			  stars[] = "** must stand alone between two slashes";
	static const struct {
		const char *rule, *problem;
	} cases[] = {
		{"", relative},	     {"srv", relative},	     {"*", relative},
		{"bin/", relative},  {"test.txt", relative}, {"./srv", relative},
		{" /srv", relative}, {"/srv/.", dots},	     {"/./srv", dots},
		{"/..", dots},	     {"/srv/../etc", dots},  {"/***", stars},
		{"/srv/a**", stars}, {"/**a", stars},	     {"/a**b/c", stars},
		{"/srv/**x", stars},
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		const char *problem = NULL;

		if (match_normalize(cases[i].rule, &problem))
			fail_msg("%s: accepted", cases[i].rule);
		assert_string_equal(problem, cases[i].problem);
	}
}

static void rules_match_by_whole_components(void **state)
{
	static const struct {
		const char *rule, *path;
		bool matches;
	} cases[] = {
		/* a rule means the path and all below it */
		{"/bin", "/bin", true},
		{"/bin", "/bin/ls", true},
		{"/bin", "/bin/a/b/c", true},
		{"/bin", "/bin2", false},
		{"/bin", "/bi", false},
		{"/bin", "/", false},
		{"/bin", "/usr/bin", false},
		{"/", "/", true},
		{"/", "/etc/passwd", true},
		{"/srv/www", "/srv", false},
		{"/srv/www", "/srv/www-data", false},
		{"/srv/www", "/srv/www/index", true},
		{"/Bin", "/bin", false},
		{"/usr/bin", "/bin/ls", false},
		{"/bin/ls", "/bin/lsof", false},
		{"/bin/ls", "/bin/ls.old", false},
		{"/test.txt", "/srv/test.txt", false},
		/* a name anywhere is a whole name as well */
		{"/**/bin", "/bin", true},
		{"/**/bin", "/usr/bin/ls", true},
		{"/**/bin", "/usr/sbin/fsck", false},
		{"/**/bin", "/bin2", false},
		{"/**/test.txt", "/test.txt", true},
		{"/**/test.txt", "/srv/a/test.txt", true},
		{"/**/test.txt", "/srv/mytest.txt", false},
		{"/**/test.txt", "/srv/test.txt.gz", false},
		/* * stays within its component */
		{"/srv/*", "/srv", false},
		{"/srv/*", "/srv/a", true},
		{"/srv/*", "/srv/a/b", true},
		{"/srv/*/c", "/srv/a/c", true},
		{"/srv/*/c", "/srv/a/b/c", false},
		{"/srv/*/c", "/srv/c", false},
		{"/*.log", "/x.log", true},
		{"/*.log", "/.log", true},
		{"/*.log", "/x.log.gz", false},
		{"/*.log", "/x/y.log", false},
		{"/a*", "/a", true},
		{"/a*", "/abc/d", true},
		{"/a*", "/ba", false},
		{"/*a*b*", "/xxaxxbxx", true},
		{"/*a*b*", "/ba", false},
		{"/a*a", "/a", false},
		{"/a*a", "/aa", true},
		{"/*ab", "/aab", true},
		{"/a*bc", "/abcbc", true},
		{"/a*bc", "/abcbd", false},
		/* ** is any number of components, none included */
		{"/srv/**/tmp", "/srv/tmp", true},
		{"/srv/**/tmp", "/srv/a/tmp", true},
		{"/srv/**/tmp", "/srv/a/b/tmp/c", true},
		{"/srv/**/tmp", "/srv/a/tmp2", false},
		{"/srv/**/tmp", "/tmp", false},
		{"/**/a/b", "/a/a/b", true},
		{"/**/a/b", "/a/x/a/b", true},
		{"/**/a/b", "/a/x/b", false},
		{"/**/a/**/b", "/a/b", true},
		{"/**/a/**/b", "/x/a/y/z/b", true},
		{"/**/a/**/b", "/x/b/y/a", false},
		{"/**/**/b", "/b", true},
		{"/**/*", "/", false},
		{"/**/*", "/a", true},
		{"/**/*/b", "/b", false},
		{"/**/*/b", "/a/b", true},
		{"/**/*.o", "/usr/src/main.o", true},
		/* as the last component it is one or more */
		{"/srv/**", "/srv", false},
		{"/srv/**", "/srv/a", true},
		{"/srv/**", "/srv/a/b", true},
		{"/srv/**", "/srv2/a", false},
		{"/**", "/", false},
		{"/**", "/a", true},
		{"/**/**", "/a", true},
		{"/a/**/**", "/a", false},
		/* nothing else is special */
		{"/[ab]", "/a", false},
		{"/[ab]", "/[ab]", true},
		{"/?", "/a", false},
		{"/\\*", "/*", false},
		{"/.", "/a", false},
		{"/a", "/*", false},
		{"/x*", "/x*y", true},
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++)
		if (match_path(cases[i].rule, cases[i].path) != cases[i].matches)
			fail_msg("rule %s %s path %s", cases[i].rule,
				 cases[i].matches ? "does not match" : "matches", cases[i].path);
}

static void the_literal_part_ends_before_the_first_star(void **state)
{
	static const struct {
		const char *rule;
		unsigned length;
	} cases[] = {
		{"/", 1},	{"/*", 1},	     {"/**", 1},      {"/a*", 1},
		{"/a", 2},	{"/srv/www", 8},     {"/srv/*", 4},   {"/srv/www*", 4},
		{"/srv/**", 4}, {"/srv/a/b*c/d", 6}, {"/a/*/b/*", 2},
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		unsigned length = match_literal_length(cases[i].rule);

		if (length != cases[i].length)
			fail_msg("%s: %u, not %u", cases[i].rule, length, cases[i].length);
	}
}

static void a_rule_may_mean_some_file_in_a_directory(void **state)
{
	static const struct {
		const char *rule, *directory;
		bool means;
	} cases[] = {
		/* all that is below */
		{"/", "/", true},
		{"/", "/a/b", true},
		{"/srv", "/srv", true},
		{"/srv", "/srv/a/b", true},
		/* one file */
		{"/srv", "/", true},
		{"/srv/file", "/srv", true},
		{"/srv/file", "/", false},
		{"/srv/file", "/srv/a", false},
		{"/srv/file", "/srv2", false},
		{"/srv/file", "/sr", false},
		/* any of some names */
		{"/srv/*", "/srv", true},
		{"/srv/*", "/", false},
		{"/srv/*.log", "/srv", true},
		{"/srv/a*b*c", "/srv", true},
		{"/srv/*/file", "/srv/a", true},
		{"/srv/*/file", "/srv", false},
		{"/srv/*/file", "/srv/a/b", false},
		{"/*", "/", true},
		/* at any depth */
		{"/srv/**", "/srv", true},
		{"/srv/**", "/srv/a", true},
		{"/srv/**", "/", false},
		{"/**", "/", true},
		{"/srv/**/file", "/srv", true},
		{"/srv/**/file", "/srv/a/b", true},
		{"/srv/**/file", "/", false},
		{"/**/a/b", "/a", true},
		{"/**/a/b", "/x/a", true},
		{"/**/a/b", "/x", false},
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++)
		if (match_child(cases[i].rule, cases[i].directory) != cases[i].means)
			fail_msg("rule %s %s files in %s", cases[i].rule,
				 cases[i].means ? "means no" : "means some", cases[i].directory);
}

static void of_a_directory_too_deep_to_tell_a_rule_means_some_file(void **state)
{
	enum { DEEP = 20000 };
	static char directory[DEEP + 1];

	for (size_t i = 0; i < DEEP; i += 2)
		memcpy(directory + i, "/d", 2);
	assert_true(match_child("/srv/*", directory));
	directory[100] = '\0';
	assert_false(match_child("/srv/*", directory));
}

/* --- the same question asked of the definition, by trying everything --- */

#define COMPONENTS_MAX 6

struct components {
	const char *at[COMPONENTS_MAX];
	size_t n;
};

static bool defined_component(const char *pattern, const char *name)
{
	if (*pattern != '*')
		return *pattern == *name && (!*name || defined_component(pattern + 1, name + 1));
	return defined_component(pattern + 1, name) ||
	       (*name && defined_component(pattern, name + 1));
}

static bool defined_match(const struct components *rule, size_t r, const struct components *path,
			  size_t p)
{
	if (r == rule->n)
		return true;
	if (!strcmp(rule->at[r], "**")) {
		if (r == rule->n - 1)
			return p < path->n;
		for (; p <= path->n; p++)
			if (defined_match(rule, r + 1, path, p))
				return true;
		return false;
	}
	return p < path->n && defined_component(rule->at[r], path->at[p]) &&
	       defined_match(rule, r + 1, path, p + 1);
}

static struct components draw(uint32_t *seed, const char *const *words, size_t n_words, char *text)
{
	struct components drawn = {.n = unit_random(seed) % (COMPONENTS_MAX + 1)};

	*text = '\0';
	for (size_t i = 0; i < drawn.n; i++) {
		drawn.at[i] = words[unit_random(seed) % n_words];
		strcat(strcat(text, "/"), drawn.at[i]);
	}
	if (!drawn.n)
		strcpy(text, "/");
	return drawn;
}

static void matching_agrees_with_its_definition(void **state)
{
	static const char *const patterns[] = {"a", "b", "ab", "*", "**", "**", "a*", "*b", "*a*b"};
	static const char *const names[] = {"a", "b", "ab", "aab", "ba"};
	char rule[64], path[64];
	uint32_t seed = 1;

	for (unsigned i = 0; i < 200000; i++) {
		struct components r = draw(&seed, patterns, N_ELEMENTS(patterns), rule);
		struct components p = draw(&seed, names, N_ELEMENTS(names), path);
		bool expected = defined_match(&r, 0, &p, 0);

		if (match_path(rule, path) != expected)
			fail_msg("rule %s %s path %s", rule, expected ? "misses" : "matches", path);
	}
}

static void some_file_is_meant_if_any_name_is(void **state)
{
	static const char *const patterns[] = {"a", "b", "ab", "*", "**", "**", "a*", "*b", "*a*b"};
	/* each pattern there is means one of these */
	static const char *const names[] = {"a", "b", "ab", "aab", "ba"};
	char rule[64], directory[64], path[80];
	uint32_t seed = 2;

	for (unsigned i = 0; i < 100000; i++) {
		bool expected = false;

		(void)draw(&seed, patterns, N_ELEMENTS(patterns), rule);
		(void)draw(&seed, names, N_ELEMENTS(names), directory);
		for (size_t j = 0; j < N_ELEMENTS(names) && !expected; j++) {
			(void)snprintf(path, sizeof(path), "%s/%s", directory[1] ? directory : "",
				       names[j]);
			expected = match_path(rule, path);
		}
		if (match_child(rule, directory) != expected)
			fail_msg("rule %s %s files in %s", rule,
				 expected ? "means no" : "means some", directory);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules_are_normalized),
		cmocka_unit_test(bad_rules_are_refused_with_a_reason),
		cmocka_unit_test(rules_match_by_whole_components),
		cmocka_unit_test(the_literal_part_ends_before_the_first_star),
		cmocka_unit_test(a_rule_may_mean_some_file_in_a_directory),
		cmocka_unit_test(of_a_directory_too_deep_to_tell_a_rule_means_some_file),
		cmocka_unit_test(matching_agrees_with_its_definition),
		cmocka_unit_test(some_file_is_meant_if_any_name_is),
	};

	return cmocka_run_group_tests_name("match", tests, NULL, NULL);
}
