/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* full_scan: the full scan that the service does, as `holdfast status` and `holdfast scan --full`
 * tell of it. */
#include "cli.h"

#include <holdfast/control.h>

/* full_scan_ask() tells the guard what to do, over its control socket, or only asks. Returns 0 or
 * a negative errno; whether it was done stands in the reply. */
int full_scan_ask(int fd, enum control_full_scan_verb verb,
		  struct control_full_scan_reply *ret_reply);

/* full_scan_print() prints the lines of `holdfast status`. */
void full_scan_print(const struct control_full_scan_reply *reply);

/* full_scan_json() returns the same for programs. */
json_t *full_scan_json(const struct control_full_scan_reply *reply);

struct full_scan_options {
	enum control_full_scan_verb verb;
	bool wait;     /* until it has ended */
	bool progress; /* where standard error is a terminal */
};

/* full_scan_run() does `holdfast scan --full` and returns the exit code. */
int full_scan_run(const struct cli *cli, const struct full_scan_options *options);
