/* SPDX-License-Identifier: GPL-2.0-only */
/* How old the signatures are: once a day a line says so where they are too old. */
#include "../common/clock.h"
#include "../common/log.h"
#include "due.h"
#include "service.h"

#include <stdio.h>

#define DAY_S 86400

/* Signatures that are about to be fetched are given so long; then it is looked so often. */
#define FIRST_LOOK_S 600
#define LOOK_S	     3600

static void age_look_in(struct service *service, uint64_t seconds)
{
	service->age_look_us = clock_read_us(CLOCK_BOOTTIME) + seconds * CLOCK_US_PER_SEC;
}

/* "9 days", "12 h" */
static void age_text(char *text, size_t size, uint64_t seconds)
{
	if (seconds >= 2 * DAY_S)
		(void)snprintf(text, size, "%llu days", (unsigned long long)(seconds / DAY_S));
	else
		(void)snprintf(text, size, "%llu h", (unsigned long long)(seconds / 3600));
}

/* Returns whether they are too old. */
static bool age_warn(const struct service *service)
{
	int64_t now = (int64_t)(clock_wall_us() / CLOCK_US_PER_SEC), newest = service->newest;
	uint64_t most = service->conf->max_age_warning_ms / 1000;
	char is[32], may_be[32];

	/* Nothing but the test signature is said to be there already. */
	if (!most || service->test_only || newest <= 0 || newest > now ||
	    (uint64_t)(now - newest) <= most)
		return false;
	age_text(is, sizeof(is), (uint64_t)(now - newest));
	age_text(may_be, sizeof(may_be), most);
	log_warning("signatures: the newest are %s old (max-age-warning is %s): %s", is, may_be,
		    due_is_configured(service->conf)
			    ? "\"holdfast status\" says what keeps them from being fetched"
			    : "see to it that freshclam runs, or name a mirror in [signatures]");
	return true;
}

void age_begin(struct service *service)
{
	age_look_in(service, due_by_itself(service->conf) ? FIRST_LOOK_S : 0);
}

void age_tick(struct service *service)
{
	if (!service->age_look_us || clock_read_us(CLOCK_BOOTTIME) < service->age_look_us)
		return;
	age_look_in(service, age_warn(service) ? DAY_S : LOOK_S);
}
