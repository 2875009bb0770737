/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * When the fetcher runs: by itself, as the last run said, and when somebody asks for it. One at a
 * time. It is never restarted: what it did not do is done by its next run.
 */
#include "../common/chan.h"
#include "../common/clock.h"
#include "../common/log.h"
#include "due.h"
#include "service.h"

#include <signal.h>
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

/* One that says nothing for so long hangs: while it fetches it says so every few seconds, and what
 * it tries takes less. */
#define SILENT_US (1800 * CLOCK_US_PER_SEC)

/* Suspended machines, and clocks that are set, must not keep it from running. */
static uint64_t fetch_now_us(void)
{
	return clock_read_us(CLOCK_BOOTTIME);
}

static void fetch_plan(struct service *service, uint64_t seconds)
{
	service->fetch.due_us =
		due_by_itself(service->conf) ? fetch_now_us() + seconds * CLOCK_US_PER_SEC : 0;
}

static void fetch_plan_first(struct service *service)
{
	uint32_t random;

	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
		random = (uint32_t)clock_wall_us();
	fetch_plan(service, due_first(service->conf, service->test_only, random));
}

/* It has ended, or did not start, and did not say what came of it. */
static void fetch_failed(struct service *service)
{
	uint64_t wait = due_retry(service->conf, ++service->fetch.failures);

	fetch_plan(service, wait);
	if (service->fetch.due_us)
		log_error("signatures: the fetcher failed; the next try is in %llu min",
			  (unsigned long long)(wait / 60));
}

static void fetch_order(struct service *service, uint32_t flags)
{
	const struct wire_fetch order = {
		.header = WIRE_INIT(WIRE_FETCH, struct wire_fetch),
		.flags = flags,
	};

	service_send(service->fetch.fetcher, &order.header);
	service->fetch.is_due_only = flags & WIRE_FETCH_IF_DUE;
}

static bool fetch_start(struct service *service)
{
	struct fetch *fetch = &service->fetch;

	fetch->due_us = 0;
	fetch->fetcher = service_spawn(service, CHILD_FETCHER, service->conf, service->snapshot);
	if (!fetch->fetcher)
		fetch_failed(service);
	return fetch->fetcher;
}

/* --- who asks --- */

static void fetch_refuse(int fd, const char *why)
{
	struct wire_update_done no = {
		.header = WIRE_INIT(WIRE_UPDATE_DONE, struct wire_update_done),
		.result = WIRE_UPDATE_FAILED,
	};

	(void)snprintf(no.text, sizeof(no.text), "%s", why);
	(void)chan_send(fd, &no.header, -1);
	close(fd);
}

static void fetch_refuse_all(struct fetch *fetch, const char *why)
{
	while (fetch->n_waiting)
		fetch_refuse(fetch->waiting[--fetch->n_waiting], why);
}

/* Gives the fetcher those who wait. One that does not listen any more is about to end: they are for
 * the next. */
static void fetch_hand_over(struct service *service)
{
	const struct wire_peer peer = {
		.header = WIRE_INIT(WIRE_PEER, struct wire_peer),
		.role = WIRE_PEER_UPDATE,
	};
	struct fetch *fetch = &service->fetch;
	bool is_new = !fetch->fetcher;

	if (is_new && !fetch_start(service)) {
		fetch_refuse_all(fetch, "the fetcher cannot be started: the log says why");
		return;
	}
	while (fetch->n_waiting && !fetch->fetcher->ending &&
	       service_send_fd(fetch->fetcher, &peer.header, fetch->waiting[0]) == 0) {
		close(fetch->waiting[0]);
		fetch->waiting[0] = fetch->waiting[--fetch->n_waiting];
		/* Whoever joins a run that may end at once wants another. */
		if (is_new || fetch->is_due_only)
			fetch_order(service, 0);
		is_new = false;
	}
}

void fetch_ask(struct service *service, int fd)
{
	struct fetch *fetch = &service->fetch;

	if (!due_is_configured(service->conf)) {
		fetch_refuse(fd, "[signatures] names neither mirror nor custom: there is nothing "
				 "to fetch from");
	} else if (fetch->n_waiting >= FETCH_WAITING_MAX) {
		fetch_refuse(fd, "too many ask for an update at once: try again");
	} else {
		fetch->waiting[fetch->n_waiting++] = fd;
		fetch_hand_over(service);
	}
}

/* --- from beginning to end --- */

void fetch_begin(struct service *service)
{
	fetch_plan_first(service);
}

void fetch_conf_changed(struct service *service, const struct conf *old)
{
	const struct conf *conf = service->conf;

	if (due_by_itself(conf) == due_by_itself(old) &&
	    conf->check_every_ms == old->check_every_ms &&
	    conf->check_random_delay_ms == old->check_random_delay_ms)
		return;
	/* One that runs says when the next is. */
	if (!service->fetch.fetcher)
		fetch_plan_first(service);
}

void fetch_tick(struct service *service)
{
	struct fetch *fetch = &service->fetch;

	if (fetch->fetcher) {
		if (clock_monotonic_us() - fetch->fetcher->heard_us < SILENT_US)
			return;
		log_error("signatures: the fetcher has said nothing for %u min: it is killed",
			  (unsigned)(SILENT_US / CLOCK_US_PER_SEC / 60));
		fetch->fetcher->heard_us = clock_monotonic_us();
		(void)kill(-fetch->fetcher->pid, SIGKILL);
	} else if (fetch->due_us && fetch_now_us() >= fetch->due_us && fetch_start(service)) {
		fetch_order(service, WIRE_FETCH_IF_DUE);
	}
}

void fetch_done(struct service *service, struct child *fetcher, const struct wire_fetched *fetched)
{
	int64_t now = (int64_t)(clock_wall_us() / CLOCK_US_PER_SEC);

	if (service->stopping)
		return;
	fetcher->ending = true;
	service->fetch.failures = 0;
	fetch_plan(service, due_next(service->conf, fetched->next, now));
	if (fetched->published)
		reload_begin(service);
}

void fetch_child_lost(struct service *service, const struct child *child)
{
	struct fetch *fetch = &service->fetch;

	if (child != fetch->fetcher)
		return;
	fetch->fetcher = NULL;
	if (service->stopping)
		return;
	if (!child->ending)
		fetch_failed(service);
	if (fetch->n_waiting)
		fetch_hand_over(service);
}

void fetch_stop(struct service *service)
{
	struct fetch *fetch = &service->fetch;

	fetch_refuse_all(fetch, "the service is being stopped");
	if (!fetch->fetcher)
		return;
	fetch->fetcher->ending = true;
	(void)kill(-fetch->fetcher->pid, SIGTERM);
}
