/* SPDX-License-Identifier: GPL-2.0-only */
#include "conf_problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <syslog.h>

void conf_problem(struct conf_problems *problems, unsigned line, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	problems->report(problems->context, LOG_ERR, line, text);
	problems->n++;
}
