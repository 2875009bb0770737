/* SPDX-License-Identifier: GPL-2.0-only */
#include "../common/log.h"
#include "service.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

/*
 * Each child is asked so often within the time that it may be silent, and killed when the fourth
 * question has found no answer: counted, not timed, so that a machine that was suspended does not
 * look like a child that hangs. With 3 s that is between 2 and 2.5 s after it fell silent, which
 * leaves the rest for its successor.
 */
#define QUESTIONS      6
#define UNANSWERED_MAX 4

/* One that was killed and has not ended by then waits for something that cannot be interrupted. */
#define ENDS_US (1 * CLOCK_US_PER_SEC)

uint64_t heartbeat_interval_us(const struct service *service)
{
	return service->conf->heartbeat_ms * CLOCK_US_PER_MS / QUESTIONS;
}

static void heartbeat_kill(struct child *child)
{
	log_error("%s (pid %d) %s: it is killed", child_name(child->role), child->pid,
		  child->reason);
	child->killed_us = clock_monotonic_us();
	service_kill_child(child);
}

void heartbeat_stopped(struct child *child, int signal)
{
	if (child->killed_us)
		return;
	(void)snprintf(child->reason, sizeof(child->reason), "was stopped (%s)", strsignal(signal));
	heartbeat_kill(child);
}

static void heartbeat_silent(struct child *child)
{
	(void)snprintf(child->reason, sizeof(child->reason), "did not answer for %u questions",
		       child->unanswered);
	child->was_silent = true;
	heartbeat_kill(child);
}

/* Whether it has a loop that answers. An engine that loads hears nothing, and service_tick() sees
 * to it; a fetcher says when it is done, and fetch_tick() does. */
static bool heartbeat_is_asked(const struct child *child)
{
	switch (child->role) {
	case CHILD_GUARD:
	case CHILD_STANDBY:
		return true;
	case CHILD_ENGINE:
	case CHILD_REPORTER:
	case CHILD_PORTER:
		return child->ready;
	case CHILD_FETCHER:
	case CHILD_ROLES:
	default:
		return false;
	}
}

/* Returns whether the child is still there to be asked. */
static void heartbeat_ask(struct child *child)
{
	const struct wire_plain ping = {.header = WIRE_INIT(WIRE_PING, struct wire_plain)};

	if (child->unanswered < UNANSWERED_MAX) {
		child->unanswered++;
		service_send(child, &ping.header);
	} else if (child->pid) {
		heartbeat_silent(child);
	} else {
		log_error("a standby that was to be made is not there: another one is made");
		service_forget(child);
	}
}

void heartbeat_tick(struct service *service)
{
	struct child *guard = service->current[CHILD_GUARD], *child, *next;

	DL_FOREACH_SAFE (service->children, child, next)
		if (heartbeat_is_asked(child) && !child->killed_us)
			heartbeat_ask(child);
	if (guard && guard->killed_us && clock_monotonic_us() - guard->killed_us > ENDS_US)
		service_lost_touch(service, guard);
	standby_fill(service);
}
