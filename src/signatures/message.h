/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * message: what libclamav complains of. Its own messages name the file and line of a bad signature,
 * or say what is odd about a file; the error codes of its functions do not. They come by a callback
 * that is process-wide, and so is what is kept here.
 */
#include <clamav.h>

/* message_listen() makes libclamav's messages come here and nowhere else. */
void message_listen(void);

/* message_hush() makes libclamav say nothing at all, message_unhush() again what it said before: to
 * us after message_listen(), otherwise on standard error. */
void message_hush(void);
void message_unhush(void);

/* message_note() keeps one, for those who have a callback of their own. */
void message_note(enum cl_msg severity, const char *message);

void message_forget(void);

/* message_last() returns the last warning or error since message_forget(), without a line's end;
 * message_errors() the first errors, with "; " between them. Empty: none. */
const char *message_last(void);
const char *message_errors(void);
