/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * alert: what the gate tells people of a file, after its openers have been answered. Hands over to
 * the reporter and waits for nothing.
 */
#include "../common/clock.h"
#include "../common/outbox.h"
#include "request.h"

/* Lines about files that could not be verified: at most one in this time, the others are counted.
 */
#define ALERT_INTERVAL_US CLOCK_US_PER_SEC

struct alert {
	struct outbox *reporter; /* the guard's; not owned */
	uint64_t quiet_until_us;
	uint64_t n_quiet; /* lines that were not written since */
};

void alert_init(struct alert *alert, struct outbox *reporter);

/* alert_found() reports malware in the request's file, whose path may have any length. */
void alert_found(struct alert *alert, const struct request *request, const char *path,
		 enum wire_answer answer, const char *signature);

/* alert_is_due() says whether alert_unverified() would write a line now, and not only count it. */
bool alert_is_due(const struct alert *alert);

/* alert_unverified() says that openers of the file were answered without a verdict on it, and why.
 */
void alert_unverified(struct alert *alert, const char *path, const char *reason, bool allow);
