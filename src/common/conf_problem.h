/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* conf_problem: how the files that read and check a configuration say what is wrong with it. */
#include "conf.h"

struct conf_problems {
	conf_report report;
	void *context;
	unsigned n; /* reported so far */
};

/* conf_problem() reports an error; line as for conf_report. */
void conf_problem(struct conf_problems *problems, unsigned line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* conf_warning() reports what does not keep the configuration from being used. */
void conf_warning(const struct conf_problems *problems, unsigned line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
