/* SPDX-License-Identifier: GPL-2.0-only */
#include "report.h"

#include "../common/line.h"

#include <stdio.h>
#include <syslog.h>

void report_found(struct report *report, const struct wire_found *found)
{
	char path[REPORT_TEXT_MAX - WIRE_SIGNATURE_MAX * 4 - 16];
	char signature[LINE_ESCAPED_MAX(WIRE_SIGNATURE_MAX)];

	report->priority = LOG_CRIT;
	report->time_us = (uint64_t)found->time_us;
	report->found = found;
	(void)snprintf(report->text, sizeof(report->text), "%s: %s FOUND",
		       line_escape(path, sizeof(path), found->path),
		       line_escape(signature, sizeof(signature), found->signature));
}

void report_note(struct report *report, uint64_t time_us, int priority, const char *text)
{
	report->priority = priority;
	report->time_us = time_us;
	report->found = NULL;
	/* Paths in it were escaped where it was written; this keeps every other byte on the line
	 * too. */
	(void)snprintf(report->text, sizeof(report->text), "%s", text);
	for (char *c = report->text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = ' ';
}

const char *report_answer_name(uint32_t answer)
{
	static const char *const names[WIRE_ANSWER_COUNT] = {
		[WIRE_ANSWER_BLOCKED] = "blocked",
		[WIRE_ANSWER_NOTIFIED] = "notified",
		[WIRE_ANSWER_LATE] = "opened-before-verdict",
		[WIRE_ANSWER_MOVED] = "moved-in",
		[WIRE_ANSWER_DEMANDED] = "on-demand",
		[WIRE_ANSWER_SCHEDULED] = "full-scan",
		[WIRE_ANSWER_WARM] = "warm-start",
		[WIRE_ANSWER_AHEAD] = "written",
	};

	return answer < WIRE_ANSWER_COUNT ? names[answer] : "unknown";
}
