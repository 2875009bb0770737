/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* transcript: everything the configuration reports, as one text that a test can compare. */
#include "unit.h"

#include <stdio.h>
#include <string.h>
#include <syslog.h>

struct transcript {
	char text[8192];
};

/* A conf_report: adds "error LINE: TEXT" or "warning LINE: TEXT". */
static inline void transcript_add(void *context, int priority, unsigned line, const char *text)
{
	struct transcript *transcript = context;
	size_t length = strlen(transcript->text);

	(void)snprintf(transcript->text + length, sizeof(transcript->text) - length, "%s %u: %s\n",
		       priority == LOG_ERR	 ? "error"
		       : priority == LOG_WARNING ? "warning"
						 : "other",
		       line, text);
}
