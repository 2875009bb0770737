/* SPDX-License-Identifier: GPL-2.0-only */
#include "alert.h"

#include "../common/line.h"
#include "../common/log.h"
#include "../common/path.h"

#include <stdio.h>

void alert_init(struct alert *alert, struct outbox *reporter)
{
	*alert = (struct alert){.reporter = reporter};
}

void alert_found(struct alert *alert, const struct request_origin *origin, unsigned n_openers,
		 const char *path, enum wire_answer answer, const char *signature)
{
	struct wire_found found = {
		.header = WIRE_INIT(WIRE_FOUND, struct wire_found),
		.time_us = (int64_t)clock_wall_us(),
		.pid = origin->pid,
		.uid = origin->uid,
		.answer = answer,
		.openers = n_openers,
	};

	(void)snprintf(found.signature, sizeof(found.signature), "%s", signature);
	(void)snprintf(found.exe, sizeof(found.exe), "%s", origin->exe);
	path_fit(found.path, sizeof(found.path), path);
	outbox_push(alert->reporter, &found.header);
}

bool alert_is_due(const struct alert *alert, enum alert_kind kind)
{
	return clock_monotonic_us() >= alert->folds[kind].quiet_until_us;
}

/* Writes a line about a file, or counts it. */
static void alert_fold(struct alert *alert, enum alert_kind kind, const char *path,
		       const char *text)
{
	struct alert_fold *fold = &alert->folds[kind];
	char escaped[512];

	if (!alert_is_due(alert, kind)) {
		fold->n_quiet++;
		return;
	}
	line_escape(escaped, sizeof(escaped), path);
	if (fold->n_quiet)
		log_warning("%s: %s; %llu more such %s since the last such line", escaped, text,
			    (unsigned long long)fold->n_quiet,
			    kind == ALERT_POISON ? "files" : "opens");
	else
		log_warning("%s: %s", escaped, text);
	fold->n_quiet = 0;
	fold->quiet_until_us = clock_monotonic_us() + ALERT_INTERVAL_US;
}

void alert_unverified(struct alert *alert, enum alert_kind kind, const char *path,
		      const char *reason, bool allow)
{
	char text[LINE_ESCAPED_MAX(WIRE_SIGNATURE_MAX) + 64],
		why[LINE_ESCAPED_MAX(WIRE_SIGNATURE_MAX)];

	(void)snprintf(text, sizeof(text), "not verified (%s), %s",
		       line_escape(why, sizeof(why), reason), allow ? "allowed" : "denied");
	alert_fold(alert, kind, path, text);
}

void alert_poison(struct alert *alert, const char *path, const char *reason, bool allow)
{
	char text[LINE_ESCAPED_MAX(WIRE_SIGNATURE_MAX) + 256],
		why[LINE_ESCAPED_MAX(WIRE_SIGNATURE_MAX)];

	(void)snprintf(text, sizeof(text),
		       "cannot be scanned, workers do not survive it (%s): on-failure %s its "
		       "opens until it or the signatures change; remove it, or exclude it if you "
		       "trust it",
		       line_escape(why, sizeof(why), reason), allow ? "allows" : "denies");
	alert_fold(alert, ALERT_POISON, path, text);
}
