/* SPDX-License-Identifier: GPL-2.0-only */
/* Where in our source a line was written is of no use to its readers. */
#define SD_JOURNAL_SUPPRESS_LOCATION

#include "sink.h"

#include <holdfast/wire.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <syslog.h>
#include <systemd/sd-journal.h>

#define JOURNAL_DEV_LOG "/run/systemd/journal/dev-log"

/* A constant so that a finding can be looked up by it (journalctl MESSAGE_ID=...) */
#define MESSAGE_ID_FOUND "0232e80a854942749411f549444e25fe"

static int sink_facility = LOG_DAEMON;

void sink_system_open(const struct conf *conf)
{
	closelog();
	sink_facility = (int)conf->facility;
	openlog("holdfast", LOG_PID, sink_facility);
}

/* Looked at for each line: daemons come and go. */
static bool journal_owns_dev_log(void)
{
	struct stat ours, theirs;

	return stat("/dev/log", &ours) == 0 && stat(JOURNAL_DEV_LOG, &theirs) == 0 &&
	       ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
}

struct fields {
	struct iovec fields[16];
	char texts[16][WIRE_PATH_MAX + 64];
	int n;
};

static void __attribute__((format(printf, 2, 3)))
fields_add(struct fields *fields, const char *format, ...)
{
	va_list args;
	char *text = fields->texts[fields->n];

	va_start(args, format);
	(void)vsnprintf(text, sizeof(fields->texts[0]), format, args);
	va_end(args);
	fields->fields[fields->n++] = (struct iovec){.iov_base = text, .iov_len = strlen(text)};
}

static void journal_write(const struct report *report)
{
	static struct fields fields; /* too large for the stack */
	static char message[REPORT_TEXT_MAX + 16];
	const struct wire_found *found = report->found;

	fields.n = 0;
	(void)snprintf(message, sizeof(message), "MESSAGE=%s", report->text);
	fields.fields[fields.n++] = (struct iovec){.iov_base = message, .iov_len = strlen(message)};
	fields_add(&fields, "PRIORITY=%d", report->priority);
	fields_add(&fields, "SYSLOG_IDENTIFIER=holdfast");
	fields_add(&fields, "SYSLOG_FACILITY=%d", sink_facility >> 3);
	if (found) {
		fields_add(&fields, "MESSAGE_ID=%s", MESSAGE_ID_FOUND);
		fields_add(&fields, "HOLDFAST_PATH=%s", found->path);
		fields_add(&fields, "HOLDFAST_SIGNATURE=%s", found->signature);
		fields_add(&fields, "HOLDFAST_ANSWER=%s", report_answer_name(found->answer));
		fields_add(&fields, "HOLDFAST_OPENER_PID=%d", found->pid);
		if (found->uid != UINT32_MAX)
			fields_add(&fields, "HOLDFAST_OPENER_UID=%u", found->uid);
		fields_add(&fields, "HOLDFAST_OPENER_EXE=%s", found->exe);
		fields_add(&fields, "HOLDFAST_OPENS=%u", found->openers);
	}
	(void)sd_journal_sendv(fields.fields, fields.n);
}

void sink_system_write(const struct report *report)
{
	journal_write(report);
	if (!journal_owns_dev_log())
		syslog(report->priority, "%s", report->text);
}
