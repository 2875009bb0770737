/* SPDX-License-Identifier: GPL-2.0-only */
/* When the fetcher is started, what it is told, and what becomes of those who ask for it. */
#include "../../../src/common/chan.h"
#include "../../../src/common/log.h"
#include "../../../src/supervisor/service.h"
#include "../support/conf_fixture.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)

static uint64_t now_us;
static unsigned n_reloads, n_reloads_asked, n_starts, n_kills;
static struct child fetcher;
static int ours; /* the fetcher's end of its channel; -1: none runs */
static bool cannot_start;

void __wrap_reload_begin(struct service *service);
void __wrap_reload_begin_unasked(struct service *service);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time);
struct child *__wrap_service_spawn(struct service *service, enum child_role role,
				   const struct conf *conf, int snapshot);
int __wrap_kill(pid_t pid, int number);

void __wrap_reload_begin(struct service *service)
{
	n_reloads_asked++;
}

void __wrap_reload_begin_unasked(struct service *service)
{
	n_reloads++;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
	time->tv_sec = (time_t)(now_us / SECOND);
	time->tv_nsec = (long)(now_us % SECOND) * 1000;
	return 0;
}

struct child *__wrap_service_spawn(struct service *service, enum child_role role,
				   const struct conf *conf, int snapshot)
{
	int ends[2];

	if (cannot_start)
		return NULL;
	assert_int_equal(role, CHILD_FETCHER);
	assert_int_equal(ours, -1); /* one at a time */
	assert_int_equal(chan_pair(ends), 0);
	ours = ends[1];
	fetcher = (struct child){
		.service = service,
		.role = role,
		.pid = 4242,
		.channel = ends[0],
		.heard_us = now_us,
	};
	n_starts++;
	return &fetcher;
}

int __wrap_kill(pid_t pid, int number)
{
	assert_int_equal(pid, -4242);
	n_kills++;
	return 0;
}

static void silent(void *context, int priority, const char *text)
{
}

static int setup(void **state)
{
	static struct service service;

	now_us = 1790000000 * SECOND;
	n_reloads = n_reloads_asked = n_starts = n_kills = 0;
	ours = -1;
	cannot_start = false;
	service = (struct service){.conf = conf_new()};
	*state = &service;
	if (!service.conf)
		return -1;
	conf_fixture_set(service.conf, "signatures", "mirror", "http://mirror.example/clamav");
	conf_fixture_set(service.conf, "signatures", "check-every", "2h");
	conf_fixture_set(service.conf, "signatures", "random-delay", "10m");
	return 0;
}

/* As service_bury() does. */
static void end(struct service *service)
{
	close(ours);
	close(fetcher.channel);
	ours = -1;
	fetch_child_lost(service, &fetcher);
}

static int teardown(void **state)
{
	struct service *service = *state;

	fetch_stop(service);
	if (ours >= 0) {
		service->stopping = true;
		end(service);
	}
	conf_free(service->conf);
	return 0;
}

static void pass_time(struct service *service, uint64_t us)
{
	now_us += us;
	fetch_tick(service);
}

static void done(struct service *service, uint64_t in_us, bool published)
{
	const struct wire_fetched fetched = {
		.next = (int64_t)((now_us + in_us) / SECOND),
		.published = published,
	};

	fetch_done(service, &fetcher, &fetched);
}

/* The fetcher's next message is an order. Returns its flags. */
static uint32_t next_order(void)
{
	struct wire_fetch order;

	assert_int_equal(recv(ours, &order, sizeof(order), MSG_DONTWAIT), sizeof(order));
	assert_int_equal(order.header.type, WIRE_FETCH);
	assert_string_equal(order.mirror_to, "");
	return order.flags;
}

static int taken;

static int take_peer(void *context, struct chan_message *message)
{
	assert_int_equal(((const struct wire_peer *)(const void *)message)->role, WIRE_PEER_UPDATE);
	taken = message->fd;
	return 0;
}

/* The fetcher's next message brings somebody's socket: the other end of this. */
static void assert_brought(int client)
{
	static const struct chan_rule rules[] = {
		{WIRE_PEER, sizeof(struct wire_peer), true, take_peer}, {0}};
	char byte;

	assert_true(chan_readable(ours));
	assert_int_equal(chan_serve(ours, rules, NULL), 0);
	assert_int_equal(write(taken, "x", 1), 1);
	close(taken);
	assert_int_equal(recv(client, &byte, 1, MSG_DONTWAIT), 1);
	/* It was the only one: the client hears of the fetcher's end. */
	assert_int_equal(recv(client, &byte, 1, MSG_DONTWAIT), 0);
	close(client);
}

/* Somebody asks. Returns his end. */
static int ask(struct service *service)
{
	int ends[2];

	assert_int_equal(chan_pair(ends), 0);
	fetch_ask(service, ends[1]);
	return ends[0];
}

static void assert_refused(int client, const char *why)
{
	struct wire_update_done no;

	assert_int_equal(recv(client, &no, sizeof(no), MSG_DONTWAIT), sizeof(no));
	assert_int_equal(no.header.type, WIRE_UPDATE_DONE);
	assert_int_equal(no.result, WIRE_UPDATE_FAILED);
	assert_non_null(strstr(no.text, why));
	assert_int_equal(recv(client, &no, sizeof(no), MSG_DONTWAIT), 0);
	close(client);
}

static void it_runs_when_it_is_due(void **state)
{
	struct service *service = *state;

	pass_time(service, 100 * HOUR); /* not before files are protected */
	fetch_begin(service);
	pass_time(service, 10 * MINUTE);
	assert_int_equal(n_starts, 1);
	assert_int_equal(next_order(), WIRE_FETCH_IF_DUE);
	assert_false(chan_readable(ours));
	pass_time(service, MINUTE);

	done(service, 3 * HOUR, false);
	end(service);
	pass_time(service, 3 * HOUR - 2 * SECOND);
	assert_int_equal(n_starts, 1);
	pass_time(service, 3 * SECOND);
	assert_int_equal(n_starts, 2);
	assert_int_equal(n_reloads, 0);
}

static void without_signatures_it_runs_at_once(void **state)
{
	struct service *service = *state;

	service->test_only = true;
	fetch_begin(service);
	pass_time(service, 0);
	assert_int_equal(n_starts, 1);
}

static void what_it_published_is_loaded_at_once(void **state)
{
	struct service *service = *state;

	fetch_begin(service);
	pass_time(service, HOUR);
	done(service, HOUR, true);
	assert_int_equal(n_reloads, 1);
	assert_int_equal(n_reloads_asked, 0);
	end(service);
	/* Who has asked for it is not kept waiting. */
	assert_brought(ask(service));
	done(service, HOUR, true);
	assert_int_equal(n_reloads, 1);
	assert_int_equal(n_reloads_asked, 1);
}

static void one_that_dies_is_tried_again_later(void **state)
{
	struct service *service = *state;

	fetch_begin(service);
	pass_time(service, HOUR);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t wait = (10 * MINUTE) << i;

		end(service);
		pass_time(service, wait - SECOND);
		assert_int_equal(n_starts, i + 1);
		pass_time(service, SECOND);
		assert_int_equal(n_starts, i + 2);
	}
	/* One that says what came of it begins the count anew. */
	done(service, HOUR, false);
	end(service);
	pass_time(service, HOUR + SECOND);
	end(service);
	pass_time(service, 10 * MINUTE);
	assert_int_equal(n_starts, 6);
	/* The same where it cannot be started at all. */
	cannot_start = true;
	end(service);
	pass_time(service, 20 * MINUTE);
	cannot_start = false;
	pass_time(service, 39 * MINUTE);
	assert_int_equal(n_starts, 6);
	pass_time(service, MINUTE);
	assert_int_equal(n_starts, 7);
}

static void one_that_is_silent_is_killed(void **state)
{
	struct service *service = *state;

	fetch_begin(service);
	pass_time(service, HOUR);
	pass_time(service, 29 * MINUTE);
	assert_int_equal(n_kills, 0);
	pass_time(service, MINUTE);
	assert_int_equal(n_kills, 1);
}

/* It has been taken over, and says that all is well for ever. */
static void one_that_goes_on_and_on_is_killed(void **state)
{
	struct service *service = *state;

	fetch_begin(service);
	pass_time(service, HOUR);
	for (unsigned i = 0; i < 12 * 60 - 1; i++) {
		pass_time(service, MINUTE);
		fetcher.heard_us = now_us;
	}
	assert_int_equal(n_kills, 0);
	pass_time(service, MINUTE);
	assert_int_equal(n_kills, 1);
	pass_time(service, SECOND); /* it is about to end */
	assert_int_equal(n_kills, 1);
}

static void one_that_does_not_end_after_its_last_word_is_killed(void **state)
{
	struct service *service = *state;

	fetch_begin(service);
	pass_time(service, HOUR);
	done(service, 2 * HOUR, true);
	pass_time(service, 59 * SECOND);
	fetcher.heard_us = now_us;
	assert_int_equal(n_kills, 0);
	pass_time(service, SECOND);
	assert_int_equal(n_kills, 1);
	/* What it said holds. */
	end(service);
	pass_time(service, HOUR);
	assert_int_equal(n_starts, 1);
}

static void there_is_one_last_word(void **state)
{
	const struct wire_fetched fetched = {.published = 1};
	struct service *service = *state;

	fetch_begin(service);
	pass_time(service, HOUR);
	assert_int_equal(fetch_done(service, &fetcher, &fetched), 0);
	assert_int_equal(fetch_done(service, &fetcher, &fetched), -EPROTO);
	assert_int_equal(n_reloads, 1);
}

static void whoever_asks_has_it_run(void **state)
{
	struct service *service = *state;
	int client = ask(service);

	assert_brought(client);
	assert_int_equal(next_order(), 0);
	/* Another joins that run. */
	assert_brought(ask(service));
	assert_false(chan_readable(ours));
	assert_int_equal(n_starts, 1);
}

static void whoever_joins_a_run_that_may_do_nothing_has_it_do_all(void **state)
{
	struct service *service = *state;

	fetch_begin(service);
	pass_time(service, HOUR);
	assert_int_equal(next_order(), WIRE_FETCH_IF_DUE);
	assert_brought(ask(service));
	assert_int_equal(next_order(), 0);
	assert_brought(ask(service));
	assert_false(chan_readable(ours));
}

/* Between its last look at what it is told and its end. */
static void whoever_comes_too_late_gets_the_next_run(void **state)
{
	struct service *service = *state;

	for (unsigned said = 0; said <= 1; said++) {
		int clients[2];

		close(ask(service));
		(void)shutdown(ours, SHUT_RD);
		if (said)
			done(service, HOUR, false);
		clients[0] = ask(service);
		clients[1] = ask(service);
		if (!said)
			done(service, HOUR, false);
		assert_int_equal(n_starts, 2 * said + 1);
		end(service);
		assert_int_equal(n_starts, 2 * said + 2);
		assert_brought(clients[0]);
		assert_int_equal(next_order(), 0);
		assert_brought(clients[1]);
		assert_false(chan_readable(ours));
		done(service, HOUR, false);
		end(service);
	}
}

static void who_cannot_be_served_is_told_why(void **state)
{
	struct service *service = *state;
	struct conf *configured = service->conf, *nothing = conf_new();
	int clients[FETCH_WAITING_MAX];

	assert_non_null(nothing);
	service->conf = nothing;
	assert_refused(ask(service), "names neither mirror nor custom");
	service->conf = configured;
	(void)conf_free(nothing);

	cannot_start = true;
	assert_refused(ask(service), "cannot be started");
	cannot_start = false;

	close(ask(service));
	done(service, HOUR, false);
	for (unsigned i = 0; i < FETCH_WAITING_MAX; i++)
		clients[i] = ask(service);
	assert_refused(ask(service), "too many");
	fetch_stop(service);
	for (unsigned i = 0; i < FETCH_WAITING_MAX; i++)
		assert_refused(clients[i], "is being stopped");
	assert_int_equal(n_starts, 1);
}

static void another_schedule_counts_from_the_reload_on(void **state)
{
	struct service *service = *state;
	struct conf *old = conf_new();

	assert_non_null(old);
	fetch_conf_changed(service, old); /* nothing was configured before */
	pass_time(service, 10 * MINUTE);
	assert_int_equal(n_starts, 1);
	done(service, 2 * HOUR, false);
	end(service);

	/* What does not matter changes nothing. */
	conf_fixture_set(old, "signatures", "mirror", "http://mirror.example/clamav");
	conf_fixture_set(old, "signatures", "rate-limit", "1M");
	conf_fixture_set(old, "signatures", "check-every", "2h");
	conf_fixture_set(old, "signatures", "random-delay", "10m");
	fetch_conf_changed(service, old);
	pass_time(service, HOUR);
	assert_int_equal(n_starts, 1);
	conf_fixture_set(service->conf, "signatures", "check-every", "10m");
	fetch_conf_changed(service, old);
	pass_time(service, 10 * MINUTE);
	assert_int_equal(n_starts, 2);
	done(service, HOUR, false);
	end(service);

	conf_fixture_set(old, "signatures", "check-every", "10m");
	conf_fixture_set(service->conf, "signatures", "check-every", "0s");
	fetch_conf_changed(service, old);
	pass_time(service, 1000 * HOUR);
	assert_int_equal(n_starts, 2);
	(void)conf_free(old);
}

/* At once, and whatever the fetcher has asked others lately. */
static void other_sources_are_asked_soon(void **state)
{
	static const struct {
		const char *key, *value;
	} others[] = {
		{"mirror", "http://other.example"},
		{"custom", "http://other.example/a.ndb"},
		{"database", "daily"},
	};
	struct service *service = *state;

	fetch_begin(service);
	pass_time(service, HOUR);
	assert_int_equal(next_order(), WIRE_FETCH_IF_DUE);
	for (unsigned i = 0; i < N_ELEMENTS(others); i++) {
		struct conf *conf = service->conf, *old = conf_new();

		assert_non_null(old);
		conf_fixture_set(old, "signatures", "check-every", "2h");
		conf_fixture_set(old, "signatures", "random-delay", "10m");
		if (i) {
			done(service, 2 * HOUR, false);
			end(service);
		}
		for (unsigned j = 0; j < conf->mirror.n_entries; j++)
			conf_fixture_set(old, "signatures", "mirror", conf->mirror.entries[j].text);
		for (unsigned j = 0; j < conf->custom.n_entries; j++)
			conf_fixture_set(old, "signatures", "custom", conf->custom.entries[j].text);
		for (unsigned j = 0; j < conf->database.n_entries; j++)
			conf_fixture_set(old, "signatures", "database",
					 conf->database.entries[j].text);
		conf_fixture_set(conf, "signatures", others[i].key, others[i].value);
		fetch_conf_changed(service, old);
		if (!i) { /* one runs that does not know of it */
			done(service, 2 * HOUR, false);
			end(service);
		}
		pass_time(service, 10 * MINUTE);
		assert_int_equal(n_starts, i + 2);
		assert_int_equal(next_order(), 0);
		(void)conf_free(old);
	}
	/* And then it is as before. */
	done(service, 2 * HOUR, false);
	end(service);
	pass_time(service, 2 * HOUR);
	assert_int_equal(next_order(), WIRE_FETCH_IF_DUE);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_runs_when_it_is_due),
		TEST(without_signatures_it_runs_at_once),
		TEST(what_it_published_is_loaded_at_once),
		TEST(one_that_dies_is_tried_again_later),
		TEST(one_that_is_silent_is_killed),
		TEST(one_that_goes_on_and_on_is_killed),
		TEST(one_that_does_not_end_after_its_last_word_is_killed),
		TEST(there_is_one_last_word),
		TEST(whoever_asks_has_it_run),
		TEST(whoever_joins_a_run_that_may_do_nothing_has_it_do_all),
		TEST(whoever_comes_too_late_gets_the_next_run),
		TEST(who_cannot_be_served_is_told_why),
		TEST(another_schedule_counts_from_the_reload_on),
		TEST(other_sources_are_asked_soon),
	};

	log_set_sink(silent, NULL);
	return cmocka_run_group_tests_name("fetch", tests, NULL, NULL);
}
