/* SPDX-License-Identifier: GPL-2.0-only */
#include "message.h"

#include <stdio.h>
#include <string.h>

static char message_kept_last[512], message_kept_errors[512];

/* As libclamav does while it has no callback. It takes no NULL for that. */
static void message_say(enum cl_msg severity, const char *full, const char *message, void *context)
{
	(void)fputs(full, stderr);
}

static clcb_msg message_listener = message_say;

void message_note(enum cl_msg severity, const char *message)
{
	const int length = (int)strcspn(message, "\n");
	const size_t used = strlen(message_kept_errors);

	if (severity != CL_MSG_ERROR && severity != CL_MSG_WARN)
		return;
	(void)snprintf(message_kept_last, sizeof(message_kept_last), "%.*s", length, message);
	if (severity == CL_MSG_ERROR)
		(void)snprintf(message_kept_errors + used, sizeof(message_kept_errors) - used,
			       "%s%.*s", used ? "; " : "", length, message);
}

static void message_on(enum cl_msg severity, const char *full, const char *message, void *context)
{
	message_note(severity, message);
}

void message_listen(void)
{
	message_forget();
	message_listener = message_on;
	cl_set_clcb_msg(message_listener);
}

static void message_ignore(enum cl_msg severity, const char *full, const char *message,
			   void *context)
{
}

void message_hush(void)
{
	cl_set_clcb_msg(message_ignore);
}

void message_unhush(void)
{
	cl_set_clcb_msg(message_listener);
}

void message_forget(void)
{
	*message_kept_last = *message_kept_errors = '\0';
}

const char *message_last(void)
{
	return message_kept_last;
}

const char *message_errors(void)
{
	return message_kept_errors;
}
