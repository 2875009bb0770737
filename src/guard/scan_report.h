/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * scan_report: the report that a full scan leaves, a JSON object in a file of its own:
 *
 *	{"format": 1, "events": [
 *	{"type": "found", "time": SECONDS, "path": "...", "signature": "..."},
 *	{"type": "incomplete", "time": SECONDS, "path": "...", "reason": "..."},
 *	{"type": "skipped", "time": SECONDS, "path": "...", "reason": "...", ...},
 *	{"type": "signatures", "time": SECONDS, "versions": "...", "known": N, "engine": "..."},
 *	{}], "summary": {...}}
 *
 * "failed" and "warning" are as "incomplete"; "skipped" may have "rule", "filesystem" and "error".
 *
 * Events are appended as they happen, to the file "report" beside the finished ones: nothing is
 * kept in memory, and a scan that goes on after a restart goes on with its report. The summary
 * closes it, and the file gets its name: when the scan began, in UTC. Paths are written as
 * line_escape() does.
 *
 * Opens files and waits for disks: not for the loop.
 */
#include "checkpoint.h"

#include <jansson.h>

/* What is passed over, or could not be verified, is listed up to this size of the report, then only
 * counted. Findings always are. */
#define SCAN_REPORT_LIST_MAX (UINT64_C(64) << 20)

struct scan_report;

/*
 * scan_report_open() begins a report in directory, where "reports" is, or goes on with the one that
 * is there, as it was when it had this length. end: 0: a new one. Returns NULL with errno set.
 */
struct scan_report *scan_report_open(int directory, uint64_t end);

/* scan_report_free() closes the file and leaves it. Takes NULL. Returns NULL. */
struct scan_report *scan_report_free(struct scan_report *report);

/* scan_report_add() appends an event, which it releases. */
void scan_report_add(struct scan_report *report, json_t *event);

/* scan_report_has_room() says whether what is not a finding should be listed. */
bool scan_report_has_room(const struct scan_report *report);

/* scan_report_sync() makes sure that all is on the disk. Returns the report's length, or a negative
 * errno of this or of an earlier write. */
int64_t scan_report_sync(struct scan_report *report);

/*
 * scan_report_finish() appends the summary, which it releases, and gives the report the name of
 * when it began, which it writes to ret_name. The oldest reports beyond CONTROL_REPORTS_MAX, and
 * CONTROL_REPORTS_BYTES_MAX, are removed. Returns 0 or a negative errno. The report is closed in
 * any case.
 */
int scan_report_finish(struct scan_report *report, json_t *summary, int64_t began, char *ret_name,
		       size_t size);
