/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* progress: one line that says how far something is, a scan or a transfer. Pure. */
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

struct progress_transfer {
	const char *name;     /* of the file */
	uint64_t done, total; /* bytes; total 0: not known */
	uint64_t received;    /* of done, since elapsed_us began: the others were there before */
	uint64_t elapsed_us;
};

/* progress_format_transfer() does so for a file that is transferred. */
char *progress_format_transfer(char *buffer, size_t size, unsigned width,
			       const struct progress_transfer *transfer);
