/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * sink: where lines go. Sinks may wait for whoever takes the lines: only the writer uses them.
 */
#include "../common/conf.h"
#include "report.h"

/* The system log: the journal and syslog, each line once in each. Where journald owns /dev/log it
 * passes on to syslog what the journal gets, and a second copy would be one too many. */
void sink_system_open(const struct conf *conf);
void sink_system_write(const struct report *report);

/*
 * The log file, in the shape clamd's users know: "Thu Dec 15 15:42:03 2022 -> TEXT". When it would
 * grow over log-file-max-size it is renamed to FILE.1, and a new one begins.
 */
struct sink_file;

/* sink_file_open() returns NULL with the reason in problem. */
struct sink_file *sink_file_open(const struct conf *conf, char *problem, size_t problem_size);
struct sink_file *sink_file_close(struct sink_file *file);

/* sink_file_write() returns 0 or a negative errno; the line is lost then. */
int sink_file_write(struct sink_file *file, const struct report *report);

/* Standard error, unless it is the journal's: that has the line already. Drops lines nobody
 * takes. */
void sink_stderr_write(const struct report *report);
