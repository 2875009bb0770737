/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/common/line.h"
#include "../support/unit.h"

#include <stdlib.h>
#include <string.h>

static void what_could_forge_a_line_is_escaped(void **state)
{
	static const struct {
		const char *name, *text, *escaped;
	} cases[] = {
		{"nothing", "", ""},
		{"plain", "/srv/a b.txt", "/srv/a b.txt"},
		{"quotes stay", "a\"b'c`d", "a\"b'c`d"},
		{"percent stays", "%s%n", "%s%n"},
		{"space and tilde are the ends of plain ASCII", " ~", " ~"},
		{"newline", "a\nb", "a\\x0ab"},
		{"carriage return", "a\rb", "a\\x0db"},
		{"tab", "\t", "\\x09"},
		{"escape", "\033[2J", "\\x1b[2J"},
		{"first and last of C0", "\x01\x1f", "\\x01\\x1f"},
		{"delete", "\x7f", "\\x7f"},
		{"backslash", "a\\x0ab", "a\\x5cx0ab"},
		/* C1: one byte by itself is no UTF-8, two are U+0085 */
		{"C1 as a byte", "\x85", "\\x85"},
		{"C1, first", "\xc2\x80", "\\xc2\\x80"},
		{"C1, next line", "a\xc2\x85z", "a\\xc2\\x85z"},
		{"C1, last", "\xc2\x9f", "\\xc2\\x9f"},
		{"no longer C1", "\xc2\xa0", "\xc2\xa0"},
		/* good UTF-8 stays, at the ends of each length */
		{"two bytes", "\xc3\xa4 \xdf\xbf", "\xc3\xa4 \xdf\xbf"},
		{"three bytes", "\xe0\xa0\x80 \xe2\x82\xac \xef\xbf\xbd",
		 "\xe0\xa0\x80 \xe2\x82\xac \xef\xbf\xbd"},
		{"four bytes", "\xf0\x90\x80\x80 \xf0\x9f\x98\x80 \xf4\x8f\xbf\xbf",
		 "\xf0\x90\x80\x80 \xf0\x9f\x98\x80 \xf4\x8f\xbf\xbf"},
		{"beside the surrogates", "\xed\x9f\xbf\xee\x80\x80", "\xed\x9f\xbf\xee\x80\x80"},
		/* bad UTF-8 */
		{"lone continuation", "\x80z", "\\x80z"},
		{"two begun, none follows", "\xc3", "\\xc3"},
		{"three begun, cut", "\xe2\x82", "\\xe2\\x82"},
		{"four begun, other follows", "\xf0\x9f\x98z", "\\xf0\\x9f\\x98z"},
		{"newline within", "\xe2\n\x82", "\\xe2\\x0a\\x82"},
		{"begun twice", "\xc3\xc3\xa4", "\\xc3\xc3\xa4"},
		{"overlong slash", "\xc0\xaf", "\\xc0\\xaf"},
		{"overlong newline", "\xc0\x8a", "\\xc0\\x8a"},
		{"overlong, two for 7f", "\xc1\xbf", "\\xc1\\xbf"},
		{"overlong, three", "\xe0\x9f\xbf", "\\xe0\\x9f\\xbf"},
		{"overlong, four", "\xf0\x8f\xbf\xbf", "\\xf0\\x8f\\xbf\\xbf"},
		{"first surrogate", "\xed\xa0\x80", "\\xed\\xa0\\x80"},
		{"last surrogate", "\xed\xbf\xbf", "\\xed\\xbf\\xbf"},
		{"beyond Unicode", "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},
		{"no such first bytes", "\xf8\xff\xfe", "\\xf8\\xff\\xfe"},
		{"five bytes", "\xf8\x88\x80\x80\x80", "\\xf8\\x88\\x80\\x80\\x80"},
		/* what moves the text that follows */
		{"Arabic letter mark", "\xd8\x9c", "\\xd8\\x9c"},
		{"left-to-right mark", "\xe2\x80\x8e", "\\xe2\\x80\\x8e"},
		{"right-to-left mark", "\xe2\x80\x8f", "\\xe2\\x80\\x8f"},
		{"line separator", "\xe2\x80\xa8", "\\xe2\\x80\\xa8"},
		{"paragraph separator", "\xe2\x80\xa9", "\\xe2\\x80\\xa9"},
		{"left-to-right embedding", "\xe2\x80\xaa", "\\xe2\\x80\\xaa"},
		{"right-to-left override", "exe.\xe2\x80\xaegpj", "exe.\\xe2\\x80\\xaegpj"},
		{"first isolate", "\xe2\x81\xa6", "\\xe2\\x81\\xa6"},
		{"last isolate", "\xe2\x81\xa9", "\\xe2\\x81\\xa9"},
		{"their neighbours stay",
		 "\xe2\x80\x8d\xe2\x80\x90\xe2\x80\xa7\xe2\x80\xaf\xe2\x81\xa5",
		 "\xe2\x80\x8d\xe2\x80\x90\xe2\x80\xa7\xe2\x80\xaf\xe2\x81\xa5"},
	};
	char buffer[128];

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		assert_ptr_equal(line_escape(buffer, sizeof(buffer), cases[i].text), buffer);
		if (strcmp(buffer, cases[i].escaped))
			fail_msg("%s: '%s'", cases[i].name, buffer);
	}
}

static void what_does_not_fit_is_cut_at_a_whole_character(void **state)
{
	static const struct {
		const char *text;
		size_t size;
		const char *escaped;
	} cases[] = {
		{"abc", 1, ""},
		{"abc", 3, "ab"},
		{"abc", 4, "abc"},
		{"a\xe2\x82\xac", 4, "a"},
		{"a\xe2\x82\xac", 5, "a\xe2\x82\xac"},
		{"a\n", 5, "a"},
		{"a\n", 6, "a\\x0a"},
		/* the bytes of one character belong together even when escaped */
		{"\xc2\x85", 8, ""},
		{"\xc2\x85", 9, "\\xc2\\x85"},
		/* nothing behind the cut, even if it would fit */
		{"ab\ncd", 5, "ab"},
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		/* behind it there is something to run into */
		char *buffer = malloc(cases[i].size);

		assert_non_null(buffer);
		line_escape(buffer, cases[i].size, cases[i].text);
		if (strcmp(buffer, cases[i].escaped))
			fail_msg("case %zu: '%s'", i, buffer);
		free(buffer);
	}
}

static void the_bound_of_the_header_suffices(void **state)
{
	static const char text[] = "\n\xff\\\x7f";
	char buffer[LINE_ESCAPED_MAX(sizeof(text) - 1)];

	assert_string_equal(line_escape(buffer, sizeof(buffer), text), "\\x0a\\xff\\x5c\\x7f");
}

/* --- over random bytes: the output is one harmless line, and no input is lost in it --- */

/* Well-formed UTF-8 as Unicode's table 3-7 has it; another way than the code's own. */
static size_t well_formed(const unsigned char *s)
{
	static const struct {
		unsigned char first_min, first_max, second_min, second_max, length;
	} rows[] = {
		{0x00, 0x7f, 0, 0, 1},	     {0xc2, 0xdf, 0x80, 0xbf, 2},
		{0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
		{0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
		{0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4},
		{0xf4, 0xf4, 0x80, 0x8f, 4},
	};

	for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
		if (s[0] < rows[i].first_min || s[0] > rows[i].first_max)
			continue;
		if (rows[i].length > 1 && (s[1] < rows[i].second_min || s[1] > rows[i].second_max))
			return 0;
		for (size_t k = 2; k < rows[i].length; k++)
			if (s[k] < 0x80 || s[k] > 0xbf)
				return 0;
		return rows[i].length;
	}
	return 0;
}

static bool is_control(const unsigned char *s)
{
	return s[0] < 0x20 || s[0] == 0x7f || (s[0] == 0xc2 && s[1] < 0xa0) ||
	       (s[0] == 0xd8 && s[1] == 0x9c) ||
	       (s[0] == 0xe2 && s[1] == 0x80 &&
		(s[2] == 0x8e || s[2] == 0x8f || (s[2] >= 0xa8 && s[2] <= 0xae))) ||
	       (s[0] == 0xe2 && s[1] == 0x81 && s[2] >= 0xa6 && s[2] <= 0xa9);
}

static void assert_harmless(const char *line)
{
	const unsigned char *s = (const unsigned char *)line;

	while (*s) {
		size_t length = well_formed(s);

		if (!length || is_control(s))
			fail_msg("byte %zu of '%s'", (size_t)(s - (const unsigned char *)line),
				 line);
		s += length;
	}
}

static void unescape(char *text)
{
	char *out = text;

	for (const char *in = text; *in;) {
		if (*in == '\\') {
			char digits[3] = {in[2], in[3], 0};

			assert_int_equal(in[1], 'x');
			*out++ = (char)strtoul(digits, NULL, 16);
			in += 4;
		} else {
			*out++ = *in++;
		}
	}
	*out = '\0';
}

/* Bytes drawn evenly would hardly ever make a long character, so most are drawn as heads and tails.
 */
static void draw(uint32_t *seed, unsigned char *text, size_t length)
{
	static const unsigned char likely[] = {0xc0, 0xc2, 0xd8, 0xe0, 0xe2, 0xed, 0xef, 0xf0,
					       0xf4, 0x80, 0x81, 0x85, 0x8e, 0x9c, 0x9f, 0xa0,
					       0xa8, 0xae, 0xbf, '\\', '\n', 'x',  0x7f};

	for (size_t i = 0; i < length; i++)
		text[i] = unit_random(seed) % 4 ? likely[unit_random(seed) % sizeof(likely)]
						: (unsigned char)(1 + unit_random(seed) % 255);
	text[length] = '\0';
}

static void every_text_becomes_one_harmless_line_without_loss(void **state)
{
	char text[25], whole[LINE_ESCAPED_MAX(24)], cut[LINE_ESCAPED_MAX(24)];
	uint32_t seed = 1;

	for (unsigned i = 0; i < 200000; i++) {
		size_t size = 1 + unit_random(&seed) % sizeof(cut);

		draw(&seed, (unsigned char *)text, unit_random(&seed) % sizeof(text));
		assert_harmless(line_escape(whole, sizeof(whole), text));
		assert_harmless(line_escape(cut, size, text));
		assert_true(strlen(cut) < size);
		assert_int_equal(strncmp(cut, whole, strlen(cut)), 0);
		unescape(whole);
		assert_string_equal(whole, text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_could_forge_a_line_is_escaped),
		cmocka_unit_test(what_does_not_fit_is_cut_at_a_whole_character),
		cmocka_unit_test(the_bound_of_the_header_suffices),
		cmocka_unit_test(every_text_becomes_one_harmless_line_without_loss),
	};

	return cmocka_run_group_tests_name("line", tests, NULL, NULL);
}
