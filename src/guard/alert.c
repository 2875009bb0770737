/* SPDX-License-Identifier: GPL-2.0-only */
#include "alert.h"

#include "../common/line.h"
#include "../common/log.h"

#include <stdio.h>
#include <string.h>

/* What does not fit loses its middle: where a file is and what it is called stand at the ends. */
static void alert_fit(char *buffer, size_t size, const char *path)
{
	static const char gap[] = "[...]";
	size_t length = strlen(path), head = (size - sizeof(gap)) / 2,
	       tail = size - sizeof(gap) - head;

	if (length < size)
		(void)snprintf(buffer, size, "%s", path);
	else
		(void)snprintf(buffer, size, "%.*s%s%s", (int)head, path, gap,
			       path + length - tail);
}

void alert_init(struct alert *alert, struct outbox *reporter)
{
	*alert = (struct alert){.reporter = reporter};
}

void alert_found(struct alert *alert, const struct request *request, const char *path,
		 enum wire_answer answer, const char *signature)
{
	struct wire_found found = {
		.header = WIRE_INIT(WIRE_FOUND, struct wire_found),
		.time_us = (int64_t)clock_wall_us(),
		.pid = request->origin.pid,
		.uid = request->origin.uid,
		.answer = answer,
		.openers = request->n_openers,
	};

	(void)snprintf(found.signature, sizeof(found.signature), "%s", signature);
	(void)snprintf(found.exe, sizeof(found.exe), "%s", request->origin.exe);
	alert_fit(found.path, sizeof(found.path), path);
	outbox_push(alert->reporter, &found.header);
}

bool alert_is_due(const struct alert *alert)
{
	return clock_monotonic_us() >= alert->quiet_until_us;
}

void alert_unverified(struct alert *alert, const char *path, const char *reason, bool allow)
{
	char escaped[512], why[LINE_ESCAPED_MAX(WIRE_SIGNATURE_MAX)];
	uint64_t now = clock_monotonic_us();

	if (now < alert->quiet_until_us) {
		alert->n_quiet++;
		return;
	}

	line_escape(escaped, sizeof(escaped), path);
	line_escape(why, sizeof(why), reason);
	if (alert->n_quiet)
		log_warning(
			"%s: not verified (%s), %s; %llu more such opens since the last such line",
			escaped, why, allow ? "allowed" : "denied",
			(unsigned long long)alert->n_quiet);
	else
		log_warning("%s: not verified (%s), %s", escaped, why,
			    allow ? "allowed" : "denied");
	alert->n_quiet = 0;
	alert->quiet_until_us = now + ALERT_INTERVAL_US;
}
