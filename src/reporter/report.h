/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* report: one thing to be told, in the form every sink starts from. */
#include <holdfast/wire.h>

/*
 * Longest text of a line. rsyslog cuts messages at 8 KiB and would lose the end, where the
 * signature stands; a path whose escaped form is longer is cut instead. The journal's field has it
 * whole.
 */
#define REPORT_TEXT_MAX 6144

struct report {
	int priority;			/* of syslog */
	uint64_t time_us;		/* since the epoch */
	char text[REPORT_TEXT_MAX];	/* one line, escaped, without a newline */
	const struct wire_found *found; /* NULL: a note */
};

/* report_found() makes the line of a finding: "PATH: SIGNATURE FOUND". found must live as long. */
void report_found(struct report *report, const struct wire_found *found);

/* report_note() makes a line of a note; time_us is since the epoch. */
void report_note(struct report *report, uint64_t time_us, int priority, const char *text);

/* report_answer_name() names what the opener was told, for a journal field. Never NULL. */
const char *report_answer_name(uint32_t answer);
