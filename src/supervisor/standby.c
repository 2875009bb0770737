/* SPDX-License-Identifier: GPL-2.0-only */
#include "../common/chan.h"
#include "../common/log.h"
#include "notify.h"
#include "service.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utlist.h>

/* So many stand by, so that a second death in a row finds one, and one that was lost is replaced by
 * another: a guard that has begun to work cannot be cloned. */
#define STANDBYS 2

/* After so many guards in a row that did not get to work no further one takes over. */
#define FAILURES_MAX 5

/* A guard that has worked for so long was not one of those: to end the family would leave more
 * files unprotected, and for longer, than to have guards take over once a second. */
#define WORKS_US CLOCK_US_PER_SEC

/* --- making --- */

static struct child *standby_find_pending(const struct service *service)
{
	struct child *child;

	DL_FOREACH (service->children, child)
		if (child->role == CHILD_STANDBY && !child->pid)
			return child;
	return NULL;
}

/* The one that has answered the last question, if any has; it also makes another. */
static struct child *standby_find_ready(const struct service *service)
{
	struct child *child, *best = NULL;

	DL_FOREACH (service->children, child)
		if (child->role == CHILD_STANDBY && child->ready && !child->killed_us &&
		    (!best || child->unanswered < best->unanswered))
			best = child;
	return best;
}

static unsigned standby_count(const struct service *service)
{
	const struct child *child;
	unsigned n = 0;

	DL_FOREACH (service->children, child)
		n += child->role == CHILD_STANDBY && !child->killed_us;
	return n;
}

/* Returns whether it was asked. */
static bool standby_clone(struct service *service, struct child *maker)
{
	const struct wire_plain clone = {.header = WIRE_INIT(WIRE_CLONE, struct wire_plain)};
	int ends[2], r = chan_pair(ends);
	struct child *child;

	if (r < 0)
		return false;
	child = service_adopt(service, CHILD_STANDBY, ends[0]);
	if (child) {
		child->maker = maker;
		r = service_send_fd(maker, &clone.header, ends[1]);
		if (r < 0)
			service_forget(child);
	}
	close(ends[1]);
	return child && r == 0;
}

void standby_fill(struct service *service)
{
	struct child *guard = service->current[CHILD_GUARD], *maker;

	/* Whoever takes over closes what it does not know: no descriptor may be on its way then. */
	if (!guard || !guard->ready || service->stopping)
		return;
	maker = standby_find_ready(service);
	if (!maker && !standby_find_pending(service) && !service->stands_alone) {
		service->stands_alone = true;
		log_error("no standby is left: should the guard be lost now, there is no "
			  "protection until another one has started");
	}
	if (maker && standby_count(service) < STANDBYS)
		(void)standby_clone(service, maker);
}

int standby_born(struct service *service, struct child *child, pid_t pid)
{
	if (child->role != CHILD_STANDBY || child->pid || pid <= 1)
		return -EPROTO;
	child->pid = pid;
	child->ready = true;
	child->maker = NULL;
	child->unanswered = 0;
	service->stands_alone = false;
	standby_fill(service);
	return 0;
}

/* --- the first of a family --- */

void standby_begin(struct service *service, struct child *first)
{
	const struct wire_take_over order = {
		.header = WIRE_INIT(WIRE_TAKE_OVER, struct wire_take_over)};

	service->stands_alone = false;
	for (unsigned i = 0; i < STANDBYS; i++)
		(void)standby_clone(service, first);
	service_send(first, &order.header);
}

/* --- taking over --- */

/* Forgets those that were to be made by one that has ended, or no longer makes any. */
static void standby_forget_made_by(struct service *service, const struct child *maker)
{
	struct child *child, *next;

	DL_FOREACH_SAFE (service->children, child, next)
		if (child->role == CHILD_STANDBY && child->maker == maker && !child->pid)
			service_forget(child);
}

/* One that makes another at this moment takes over after that: no descriptor is on its way then. */
static struct child *standby_choose(const struct service *service)
{
	const struct child *pending = standby_find_pending(service);
	struct child *maker = pending ? pending->maker : NULL;

	return maker && maker->role == CHILD_STANDBY && !maker->killed_us
		       ? maker
		       : standby_find_ready(service);
}

static bool standby_has_crashed(const struct child *guard, int status)
{
	if (guard->killed_us)
		return guard->was_silent;
	return !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL;
}

/* Whether guards keep ending before they get to work, as far as that is their own doing. */
static bool standby_keeps_failing(struct service *service, const struct child *guard, int status)
{
	uint64_t silence_us = guard->was_silent ? service->conf->heartbeat_ms * CLOCK_US_PER_MS : 0;
	struct restart *restart = &service->restarts[CHILD_GUARD];

	if (clock_monotonic_us() - guard->started_us > WORKS_US + silence_us)
		restart->failures = 0;
	if (!guard->ready || standby_has_crashed(guard, status))
		restart->failures++;
	return restart->failures >= FAILURES_MAX;
}

bool standby_take_over(struct service *service, const struct child *guard, int status)
{
	struct child *successor = standby_choose(service), *engine = service->current[CHILD_ENGINE];
	const struct wire_take_over order = {
		.header = WIRE_INIT(WIRE_TAKE_OVER, struct wire_take_over),
		.predecessor = guard->pid,
		.has_crashed = standby_has_crashed(guard, status),
	};

	if (!service->protecting || !successor || standby_keeps_failing(service, guard, status))
		return false;
	successor->role = CHILD_GUARD;
	successor->ready = false;
	successor->unanswered = 0;
	successor->started_us = clock_monotonic_us();
	service->current[CHILD_GUARD] = successor;
	/* It has a minute again to use it. */
	if (engine)
		engine->introduced_us = clock_monotonic_us();
	service_send(successor, &order.header);
	service_send_conf(successor, service->snapshot);
	service_equip_guard(service);
	return true;
}

void standby_lost(struct service *service, const struct child *child)
{
	standby_forget_made_by(service, child);
	if (child->role == CHILD_STANDBY)
		service_send_history(service);
}

/* --- giving up --- */

void standby_end_family(struct service *service)
{
	struct child *child, *next;

	DL_FOREACH_SAFE (service->children, child, next) {
		if (child->role != CHILD_STANDBY)
			continue;
		child->ending = true;
		child->killed_us = clock_monotonic_us();
		service_kill_child(child);
		if (!child->pid)
			service_forget(child);
	}
}
