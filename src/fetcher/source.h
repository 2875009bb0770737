/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * source: a server, or a custom URL's, with its own health and cool-down. Pure: who asks says what
 * time it is.
 */
#include "transfer.h"

#include <holdfast/wire.h>

/* Mirrors and custom URLs. */
#define SOURCES_MAX (2 * CONF_LIST_MAX)

/* How long a source that wants to be left alone is, where it does not say, or says a time that is
 * over: as freshclam does; after a 503 SOURCE_RETRY_S. Longer than SOURCE_COOL_DOWN_MAX_S none is,
 * whatever it says. */
#define SOURCE_FORBIDDEN_S     (24 * 3600)
#define SOURCE_TOO_MANY_S      (4 * 3600)
#define SOURCE_COOL_DOWN_MAX_S (7 * 24 * 3600)

/* After n failures in a row the others go before it for so long, doubled with each, and no longer
 * than the second. */
#define SOURCE_RETRY_S	   (15 * 60)
#define SOURCE_RETRY_MAX_S (24 * 3600)

struct source {
	char url[WIRE_SIGNATURE_MAX]; /* as url_display() */
	int64_t last_ok;    /* it gave a proper answer; seconds since the epoch, 0: never */
	uint32_t failures;  /* in a row */
	int64_t retry_at;   /* until then others go first */
	int64_t cool_until; /* until then it is not asked; 0: no cool-down */
	int64_t cool_since; /* when that was said */
	char problem[WIRE_SIGNATURE_MAX]; /* the last one; empty: the last answer was a proper one
					   */
};

/* source_may_ask() says whether it may be asked. A cool-down that was written under another clock
 * (it began in the future, or is longer than any may be) is over. */
bool source_may_ask(const struct source *source, int64_t now);

/* source_is_healthy() says whether it goes in its place: it has not just failed. */
bool source_is_healthy(const struct source *source, int64_t now);

/*
 * source_answered() notes what came of a request. DONE and NOT_MODIFIED end what was noted of
 * failures, so note DONE only once what came was found to be right, or a source of bad files would
 * go first again each time. NOT_FOUND and LOCAL change nothing.
 */
void source_answered(struct source *source, const struct transfer_reply *reply, int64_t now);

/* source_failed() notes that what it gave was not right: a wrong signature, ... */
void source_failed(struct source *source, const char *problem, int64_t now);
