/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* due: when the fetcher is to run by itself. Nothing but arithmetic: in seconds from now. */
#include "../common/conf.h"

/* due_is_configured() says whether there is anything to fetch from; due_by_itself(): and that it is
 * to be fetched without anybody asking. */
bool due_is_configured(const struct conf *conf);
bool due_by_itself(const struct conf *conf);

/* due_first() is for when the service has begun to protect, or the configuration has changed. A
 * fleet that is started at once does not come at once: random is any number. Where only the test
 * signature is loaded there is no time to lose. */
uint64_t due_first(const struct conf *conf, bool test_only, uint32_t random);

/*
 * due_next() follows a run that said when the next is to be (wire_fetched.next, seconds since the
 * epoch, as now; 0: it did not). Whatever it said, there is a pause, and an end to it.
 */
uint64_t due_next(const struct conf *conf, int64_t next, int64_t now);

/* due_retry() follows a run that ended without a word, the last of so many in a row. */
uint64_t due_retry(const struct conf *conf, unsigned failures);
