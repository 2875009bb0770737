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

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

/* One that says nothing for so long hangs: while it fetches it says so every few seconds, and what
 * it tries takes less. */
#define SILENT_US (1800 * CLOCK_US_PER_SEC)

/* And so long it may take whatever it says, and to end after its last word. */
#define RUN_US (12 * 3600 * CLOCK_US_PER_SEC)
#define END_US (60 * CLOCK_US_PER_SEC)

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
	fetch->until_us = clock_monotonic_us() + RUN_US;
	fetch->fetcher = service_spawn(service, CHILD_FETCHER, service->conf, service->snapshot);
	if (fetch->fetcher)
		fetch->is_anew = false;
	else
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

static bool fetch_same_list(const struct conf_list *a, const struct conf_list *b)
{
	if (a->n_entries != b->n_entries)
		return false;
	for (size_t i = 0; i < a->n_entries; i++)
		if (strcmp(a->entries[i].text, b->entries[i].text) != 0)
			return false;
	return true;
}

void fetch_conf_changed(struct service *service, const struct conf *old)
{
	const struct conf *conf = service->conf;
	bool same = fetch_same_list(&conf->mirror, &old->mirror) &&
		    fetch_same_list(&conf->database, &old->database) &&
		    fetch_same_list(&conf->custom, &old->custom);

	service->fetch.is_anew = service->fetch.is_anew || !same;
	if (same && due_by_itself(conf) == due_by_itself(old) &&
	    conf->check_every_ms == old->check_every_ms &&
	    conf->check_random_delay_ms == old->check_random_delay_ms)
		return;
	/* The next follows when one that runs has ended. */
	if (!service->fetch.fetcher)
		fetch_plan_first(service);
}

/* Whatever it does, and whoever makes it do that: it ends. */
static void fetch_watch(struct fetch *fetch)
{
	uint64_t now = clock_monotonic_us();
	const char *what;

	if (now >= fetch->until_us)
		what = fetch->fetcher->ending ? "does not end" : "has run for 12 h";
	else if (now - fetch->fetcher->heard_us >= SILENT_US)
		what = "has said nothing for 30 min";
	else
		return;
	log_error("signatures: the fetcher %s: it is killed", what);
	fetch->fetcher->heard_us = now;
	fetch->until_us = now + END_US;
	(void)kill(-fetch->fetcher->pid, SIGKILL);
}

void fetch_tick(struct service *service)
{
	struct fetch *fetch = &service->fetch;
	/* Others may have something new however lately the ones before were asked. */
	uint32_t flags = fetch->is_anew ? 0 : WIRE_FETCH_IF_DUE;

	if (fetch->fetcher)
		fetch_watch(fetch);
	else if (fetch->due_us && fetch_now_us() >= fetch->due_us && fetch_start(service))
		fetch_order(service, flags);
}

int fetch_done(struct service *service, struct child *fetcher, const struct wire_fetched *fetched)
{
	int64_t now = (int64_t)(clock_wall_us() / CLOCK_US_PER_SEC);

	if (service->stopping)
		return 0;
	if (fetcher->ending)
		return -EPROTO;
	fetcher->ending = true;
	service->fetch.failures = 0;
	service->fetch.until_us = clock_monotonic_us() + END_US;
	if (service->fetch.is_anew)
		fetch_plan_first(service);
	else
		fetch_plan(service, due_next(service->conf, fetched->next, now));
	if (fetched->published && service->fetch.is_due_only)
		reload_begin_unasked(service);
	else if (fetched->published)
		reload_begin(service);
	return 0;
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
