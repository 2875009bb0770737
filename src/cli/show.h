/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * show: what `holdfast scan` prints and counts. All threads of a scan tell it what they find; lines
 * are never mixed with each other, nor with the line that shows the progress.
 *
 * For programs (json) standard output is JSON Lines, one object for each of these:
 *
 *   {"type": "found", "path": P, "signature": S}
 *   {"type": "incomplete", "path": P, "reason": R}       not verified: a limit was hit
 *   {"type": "failed", "path": P, "reason": R}           not verified: it could not be scanned
 *   {"type": "error", "path": P, "error": E}             it could not be opened or read
 *   {"type": "warning", "path": P, "warning": W}         what libclamav had to say of it
 *   {"type": "skipped", "path": P, "reason": R}          see walk_reason_name(); also
 *                                                        "filesystem" or "rule"
 *   {"type": "clean", "path": P, "known": true}          only with verbose; known: verified before
 *
 * and, the last one, the summary:
 *
 *   {"type": "summary", "signatures": N, "test_only": false, "engine": "1.4.6", "versions": V,
 *    "directories": N, "files": N, "known": N, "infected": N, "incomplete": N, "failed": N,
 *    "errors": N, "skipped": {"special": N, ...}, "bytes_scanned": N, "bytes_read": N,
 *    "began": SECONDS, "ended": SECONDS, "duration_us": N, "interrupted": false, "exit_code": N}
 *
 * Skipped files are listed with verbose only, but for those that the caller named. Paths are
 * escaped as everywhere (line.h): what is not UTF-8, and control characters, are \xHH.
 */
#include "../common/walk.h"

#include <holdfast/wire.h>
#include <stdio.h>

struct show_options {
	bool json;
	bool verbose; /* clean and skipped files too */
	bool summary;
	bool progress;
	FILE *out, *err; /* standard output and error */
	/* What the caller named: absolute, without symbolic links. */
	const char *const *named;
	size_t n_named;
};

struct show_counts {
	uint64_t directories;
	uint64_t files; /* with a verdict; not those that could not be opened */
	uint64_t known; /* of these: verified before */
	uint64_t infected, incomplete, failed;
	uint64_t errors;
	uint64_t skipped[WALK_REASON_COUNT];
	uint64_t bytes_scanned; /* those unpacked included */
	uint64_t bytes_read;	/* of files that were scanned now */
	uint64_t bytes_done;	/* of all files; for the progress */
};

struct show;

/* show_new() begins; NULL: out of memory. show_free() takes NULL and returns NULL. */
struct show *show_new(const struct show_options *options);
struct show *show_free(struct show *show);

/* show_item() takes what the walk found, other than files. */
void show_item(struct show *show, const struct walk_item *item);

/* show_verdict() takes what became of a file of this size. */
void show_verdict(struct show *show, const char *path, uint64_t size,
		  const struct wire_verdict *verdict);

/* show_unopened() takes a file that walk_open() did not open, for this negative errno. */
void show_unopened(struct show *show, const char *path, int error);

/* show_unreadable() takes a path that cannot be looked at, for this negative errno. */
void show_unreadable(struct show *show, const char *path, int error);

/* show_problem() prints what is wrong with the scan itself, and counts it as an error. */
void show_problem(struct show *show, const char *text);

/* show_note() prints what is worth knowing about it, on standard error. */
void show_note(struct show *show, const char *text);

/* show_set_totals() says how much there is to be scanned, once that is known. */
void show_set_totals(struct show *show, uint64_t files, uint64_t bytes);

/* show_tick() prints what lines wait, and draws the progress. Call it ten times a second. */
void show_tick(struct show *show);

/*
 * show_end() prints the summary; whatever is found later is not shown. info: of the engine, NULL:
 * not known.
 */
void show_end(struct show *show, const struct wire_engine_info *info, bool interrupted);

/* show_exit_code() returns 1 where something was found, else 2 where anything could not be
 * verified, else 0. */
int show_exit_code(struct show *show);

/* show_counts() returns what was counted so far. */
struct show_counts show_counts(struct show *show);
