/* SPDX-License-Identifier: GPL-2.0-only */
#include "message.h"

#include <stdio.h>
#include <string.h>

static char message_kept_last[512], message_kept_errors[512];

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
	cl_set_clcb_msg(message_on);
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
