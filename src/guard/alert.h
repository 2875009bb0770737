/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * alert: what the gate tells people of a file, after its openers have been answered. Hands over to
 * the reporter and waits for nothing.
 */
#include "../common/clock.h"
#include "../common/outbox.h"
#include "request.h"

/* Lines of one kind about files that could not be verified: at most one in this time, the others
 * are counted. */
#define ALERT_INTERVAL_US CLOCK_US_PER_SEC

/* Why openers were answered without a verdict. Each is folded by itself: many of one kind hide none
 * of another. */
enum alert_kind { ALERT_TIMEOUT, ALERT_INCOMPLETE, ALERT_FAILED, ALERT_POISON, ALERT_KIND_COUNT };

struct alert_fold {
	uint64_t quiet_until_us;
	uint64_t n_quiet; /* lines that were not written since */
};

struct alert {
	struct outbox *reporter; /* the guard's; not owned */
	struct alert_fold folds[ALERT_KIND_COUNT];
};

void alert_init(struct alert *alert, struct outbox *reporter);

/* alert_found() reports malware in a file, whose path may have any length, to so many openers. */
void alert_found(struct alert *alert, const struct request_origin *origin, unsigned n_openers,
		 const char *path, enum wire_answer answer, const char *signature);

/* alert_is_due() says whether a line of this kind would be written now, and not only counted. */
bool alert_is_due(const struct alert *alert, enum alert_kind kind);

/* alert_unverified() says that openers of the file were answered without a verdict on it, and why.
 */
void alert_unverified(struct alert *alert, enum alert_kind kind, const char *path,
		      const char *reason, bool allow);

/* alert_poison() says that the file is not given to a worker again, what becomes of its openers,
 * and what can be done about it. */
void alert_poison(struct alert *alert, const char *path, const char *reason, bool allow);
