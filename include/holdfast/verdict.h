/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

/* What the engine says of the bytes of one file. */
enum verdict {
	VERDICT_CLEAN,	    /* every byte that counts was looked at, nothing was found */
	VERDICT_INFECTED,   /* a signature matched */
	VERDICT_INCOMPLETE, /* a limit was hit or time ran out: never treated as clean */
	VERDICT_FAILED,	    /* it could not be scanned at all */
	VERDICT_COUNT
};

/* verdict_name() returns a lower-case word for logs and JSON; never NULL. */
static inline const char *verdict_name(enum verdict verdict)
{
	static const char *const names[VERDICT_COUNT] = {"clean", "infected", "incomplete",
							 "failed"};

	return (unsigned)verdict < VERDICT_COUNT ? names[verdict] : "unknown";
}
