/* SPDX-License-Identifier: GPL-2.0-only */
#include "line.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * Decodes one character of well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms, nothing
 * above U+10FFFF). Returns its length, or 0 when the bytes are not such a character.
 */
static size_t utf8_decode(const unsigned char *s, uint32_t *ret_code)
{
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t length = s[0] < 0x80	  ? 1
			: s[0] >> 5 == 6  ? 2
			: s[0] >> 4 == 14 ? 3
			: s[0] >> 3 == 30 ? 4
					  : 0;
	uint32_t code;

	if (length <= 1) {
		*ret_code = s[0];
		return length;
	}

	code = s[0] & (0x7fu >> length);
	for (size_t i = 1; i < length; i++) {
		if ((s[i] & 0xc0) != 0x80) /* the terminating NUL too */
			return 0;
		code = code << 6 | (s[i] & 0x3fu);
	}
	if (code < smallest[length] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return 0;

	*ret_code = code;
	return length;
}

static bool code_is_harmless(uint32_t code)
{
	return code >= 0x20 && code != '\\' && !(code >= 0x7f && code <= 0x9f) && code != 0x061c &&
	       !(code >= 0x200e && code <= 0x200f) && !(code >= 0x2028 && code <= 0x202e) &&
	       !(code >= 0x2066 && code <= 0x2069);
}

char *line_escape(char *buffer, size_t size, const char *text)
{
	static const char hex[] = "0123456789abcdef";
	const unsigned char *s = (const unsigned char *)text;
	char *out = buffer, *end = buffer + size - 1;

	while (*s) {
		uint32_t code = 0;
		size_t length = utf8_decode(s, &code);
		bool plain = length && code_is_harmless(code);

		if (!length)
			length = 1;
		if ((size_t)(end - out) < (plain ? length : 4 * length))
			break;
		for (size_t i = 0; i < length; i++, s++) {
			if (plain) {
				*out++ = (char)*s;
			} else {
				*out++ = '\\';
				*out++ = 'x';
				*out++ = hex[*s >> 4];
				*out++ = hex[*s & 15];
			}
		}
	}
	*out = '\0';
	return buffer;
}
