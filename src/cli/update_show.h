/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * update_show: what `holdfast update` prints. For people a line for each database or custom file
 * and one at the end; on a terminal the transfer under way below them. For programs (json) one
 * object at the end:
 *
 *   {"result": "updated", "exit_code": 0, "requests": N, "bytes": N, "published": true,
 *    "items": [{"name": "daily", "result": "updated", "version_before": N, "version_after": N,
 *               "signatures_before": N, "signatures_after": N, "patches": N, "bytes": N,
 *               "until": SECONDS, "source": URL, "text": T}, ...]}
 *
 * and "error": why nothing came of it as a whole. Results: up-to-date, updated, cool-down, failed.
 * Names and texts come from servers: they are escaped (line.h).
 */
#include <holdfast/wire.h>
#include <stdio.h>

/* The exit codes of `holdfast update`. */
enum update_code { UPDATE_UPDATED, UPDATE_UP_TO_DATE, UPDATE_FAILED, UPDATE_COOL_DOWN };

/* update_code() returns that of a result; of one that there is not, UPDATE_FAILED. */
enum update_code update_code(enum wire_update_result result);

/* update_format_item() writes a line without its end, for people; now: seconds since the epoch.
 * Returns buffer. */
#define UPDATE_LINE_MAX 8192
char *update_format_item(char *buffer, size_t size, const struct wire_update_item *item,
			 int64_t now);

struct update_show_options {
	bool json;
	bool quiet;    /* only what failed or may not be asked */
	bool progress; /* err is a terminal */
	bool service;  /* it is the service that fetches */
	FILE *out, *err;
};

struct update_show;

/* update_show_new() begins; NULL: out of memory. update_show_free() takes NULL, returns NULL. */
struct update_show *update_show_new(const struct update_show_options *options);
struct update_show *update_show_free(struct update_show *show);

/* These take the fetcher's messages, as they come; update_show_note() what it has for the log,
 * which is printed at the end as far as no item has said it. */
void update_show_progress(struct update_show *show, const struct wire_update_progress *progress);
void update_show_item(struct update_show *show, const struct wire_update_item *item);
void update_show_note(struct update_show *show, const char *text);

/* update_show_tick() draws the transfer under way; call it once a second at least. */
void update_show_tick(struct update_show *show);

/*
 * update_show_end() prints the end of it. done: the fetcher's last message; problem: why there is
 * no such message, and code the exit code then. Returns the exit code.
 */
int update_show_end(struct update_show *show, const struct wire_update_done *done);
int update_show_fail(struct update_show *show, int code, const char *problem);
