/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* progress: one line that says how far something is. Pure. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress {
	uint64_t files, bytes; /* done */
	bool has_totals;       /* else they are still being counted */
	uint64_t total_files, total_bytes;
	uint64_t elapsed_us;
	const char *path; /* what is looked at now; "": nothing */
};

/*
 * progress_format() writes a line of at most width columns, without anything that could break it:
 * the path is escaped, and cut at its beginning where it is too long. Returns buffer.
 */
char *progress_format(char *buffer, size_t size, unsigned width, const struct progress *progress);
