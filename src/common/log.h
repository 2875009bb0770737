/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * log: what a process has to say to the administrator, one line at a time.
 *
 * Only main files and the parts that own a decision log; library code returns errors. Where the
 * lines go is the program's choice: standard error until log_set_sink() is called, then the sink,
 * which must not wait where waiting is forbidden (the guard, the supervisor).
 */
#include <syslog.h>

typedef void (*log_sink)(void *context, int priority, const char *text);

/* log_set_name() sets the prefix of lines on standard error. name must live on. */
void log_set_name(const char *name);

/* log_set_sink() sends all further lines to sink. NULL: back to standard error. */
void log_set_sink(log_sink sink, void *context);

/* log_line() writes one line; priority is syslog's. No newline at the end, none within. */
void log_line(int priority, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)	 log_line(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_WARNING, __VA_ARGS__)
#define log_notice(...)	 log_line(LOG_NOTICE, __VA_ARGS__)
#define log_info(...)	 log_line(LOG_INFO, __VA_ARGS__)
