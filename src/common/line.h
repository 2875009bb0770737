/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* line: text from file names made fit for one line of a log or a terminal. */
#include <stddef.h>

/* One input byte becomes at most four characters. */
#define LINE_ESCAPED_MAX(length) ((length)*4 + 1)

/*
 * line_escape() writes text to buffer so that it forges nothing: bytes that are not valid UTF-8,
 * control characters (C0, DEL, C1), line and paragraph separators, characters that change the
 * direction of what follows, and the backslash become \xHH, byte by byte; everything else stays.
 * What does not fit into size bytes is cut at a whole character. Always terminates buffer; returns
 * it. size must not be 0.
 */
char *line_escape(char *buffer, size_t size, const char *text);
