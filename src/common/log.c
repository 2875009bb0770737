/* SPDX-License-Identifier: GPL-2.0-only */
#include "log.h"

#include <holdfast/wire.h>
#include <stdarg.h>
#include <stdio.h>

static const char *log_name = "holdfast";
static log_sink log_to;
static void *log_context;

void log_set_name(const char *name)
{
	log_name = name;
}

void log_set_sink(log_sink sink, void *context)
{
	log_to = sink;
	log_context = context;
}

void log_line(int priority, const char *format, ...)
{
	char text[WIRE_TEXT_MAX];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);

	if (log_to)
		log_to(log_context, priority, text);
	else
		(void)fprintf(stderr, "%s: %s\n", log_name, text);
}
