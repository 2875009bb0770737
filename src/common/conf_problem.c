/* SPDX-License-Identifier: GPL-2.0-only */
#include "conf_problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <syslog.h>

static void __attribute__((format(printf, 4, 0)))
conf_say(const struct conf_problems *problems, int priority, unsigned line, const char *format,
	 va_list args)
{
	char text[1024];

	(void)vsnprintf(text, sizeof(text), format, args);
	problems->report(problems->context, priority, line, text);
}

void conf_problem(struct conf_problems *problems, unsigned line, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	conf_say(problems, LOG_ERR, line, format, args);
	va_end(args);
	problems->n++;
}

void conf_warning(const struct conf_problems *problems, unsigned line, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	conf_say(problems, LOG_WARNING, line, format, args);
	va_end(args);
}
