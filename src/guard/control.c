/* SPDX-License-Identifier: GPL-2.0-only */
#include "control.h"

#include "../common/chan.h"

#include <errno.h>
#include <holdfast/control.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

/* Connections at once. Further ones wait in the backlog. */
#define CLIENTS_MAX 16

struct client {
	struct client *prev, *next;
	struct control *control;
	sd_event_source *source;
	int fd;
};

struct control {
	sd_event *event;
	sd_event_source *source;
	int fd;
	struct control_sources sources;
	struct client *clients;
	unsigned n_clients;
};

static void client_free(struct client *client)
{
	struct control *control = client->control;

	DL_DELETE(control->clients, client);
	control->n_clients--;
	(void)sd_event_source_set_enabled(control->source, SD_EVENT_ON);
	sd_event_source_disable_unref(client->source);
	close(client->fd);
	free(client);
}

static int client_send_status(void *context, struct chan_message *message)
{
	struct client *client = context;
	const struct control_sources *from = &client->control->sources;
	struct control_status_reply reply = {
		.header = WIRE_INIT(WIRE_CONTROL_STATUS_REPLY, struct control_status_reply),
		.guard_started_at = from->started_at,
		.history = *from->history,
		.engine = *pool_info(from->gate->pool),
		.counters = *from->gate->counters,
		.mode = from->gate->conf->mode,
		.includes = (uint32_t)from->gate->conf->include.n_entries,
		.workers_busy = pool_busy(from->gate->pool),
		.workers_alive = pool_alive(from->gate->pool),
		.requests = from->gate->requests.n_requests,
		.held = from->gate->events.n_held,
		.full = request_table_full(&from->gate->requests),
		.engine_down = from->gate->engine_down && !pool_alive(from->gate->pool),
		.places = (uint32_t)from->gate->watch.n_places,
		.bypassed = from->gate->bypass.n,
		.ahead = gate_count_ahead(from->gate),
	};

	reply.infected = findings_count(from->gate->findings, FINDING_INFECTED, reply.engine.set);
	reply.poison = findings_count(from->gate->findings, FINDING_POISON, reply.engine.set);
	if (from->gate->contents) {
		reply.contents = contents_count(from->gate->contents);
		reply.contents_max = contents_capacity(from->gate->contents);
	}
	reply.counters.alerts_dropped = outbox_dropped(from->gate->alert.reporter);
	return chan_send(client->fd, &reply.header, -1);
}

static int client_send_watch(const struct client *client, enum wire_type type, uint32_t index,
			     const char *path, const struct watch_place *place)
{
	struct control_watch_reply reply = {
		.header = WIRE_INIT(type, struct control_watch_reply),
		.index = index,
		.state = CONTROL_NOT_WATCHED,
	};

	(void)snprintf(reply.path, sizeof(reply.path), "%s", path);
	if (place) {
		reply.state = place->kind != WATCH_NOTHING ? CONTROL_WATCHED
			      : place->left_alone	   ? CONTROL_LEFT_ALONE
							   : CONTROL_NOT_WATCHED;
		(void)snprintf(reply.mark, sizeof(reply.mark), "%s", watch_kind_name(place->kind));
		memcpy(reply.filesystem, place->filesystem, sizeof(reply.filesystem));
		(void)snprintf(reply.error, sizeof(reply.error), "%s", place->note);
	}
	return chan_send(client->fd, &reply.header, -1);
}

static int client_send_include(void *context, struct chan_message *message)
{
	const struct control_index_request *request = (const void *)message;
	const struct client *client = context;
	const struct gate *gate = client->control->sources.gate;

	if (request->index >= gate->conf->include.n_entries)
		return -EPROTO;
	return client_send_watch(client, WIRE_CONTROL_INCLUDE_REPLY, request->index,
				 gate->conf->include.entries[request->index].text,
				 watch_include(&gate->watch, request->index));
}

/* Mounts come and go between two requests. */
static int client_send_place(void *context, struct chan_message *message)
{
	const struct control_index_request *request = (const void *)message;
	const struct client *client = context;
	const struct watch *watch = &client->control->sources.gate->watch;
	const struct watch_place *place =
		request->index < watch->n_places ? &watch->places[request->index] : NULL;

	return client_send_watch(client, WIRE_CONTROL_PLACE_REPLY, request->index,
				 place ? place->point : "", place);
}

/* Other signatures may have taken over between two requests. */
static int client_send_database(void *context, struct chan_message *message)
{
	const struct control_index_request *request = (const void *)message;
	const struct client *client = context;
	struct control_database_reply reply = {
		.header = WIRE_INIT(WIRE_CONTROL_DATABASE_REPLY, struct control_database_reply),
		.index = request->index,
	};
	const struct wire_database *databases =
		pool_databases(client->control->sources.gate->pool, &reply.n);

	if (request->index < reply.n)
		reply.database = databases[request->index];
	return chan_send(client->fd, &reply.header, -1);
}

/* Files may be forgotten, or met, between two requests. */
static int client_send_poison(void *context, struct chan_message *message)
{
	const struct control_index_request *request = (const void *)message;
	const struct client *client = context;
	const struct gate *gate = client->control->sources.gate;
	const uint64_t signatures = gate_signatures(gate);
	const struct finding *finding = NULL;
	struct control_poison_reply reply = {
		.header = WIRE_INIT(WIRE_CONTROL_POISON_REPLY, struct control_poison_reply),
		.index = request->index,
		.n = findings_count(gate->findings, FINDING_POISON, signatures),
	};

	if (request->index < CONTROL_POISON_MAX)
		finding = findings_at(gate->findings, FINDING_POISON, signatures, request->index);
	if (finding) {
		reply.since = finding->since;
		reply.met = finding->met;
		(void)snprintf(reply.path, sizeof(reply.path), "%s", finding->path);
		(void)snprintf(reply.reason, sizeof(reply.reason), "%s", finding->reason);
	}
	return chan_send(client->fd, &reply.header, -1);
}

/* Whether root is at the other end. */
static bool client_is_root(const struct client *client)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	return getsockopt(client->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == 0;
}

static int client_take_full_scan(void *context, struct chan_message *message)
{
	const struct control_full_scan_request *request = (const void *)message;
	const struct client *client = context;
	struct scheduler *scheduler = client->control->sources.scheduler;
	struct control_full_scan_reply reply = {
		.header = WIRE_INIT(WIRE_CONTROL_FULL_SCAN_REPLY, struct control_full_scan_reply),
	};
	int r = 0;

	if (request->verb >= CONTROL_FULL_SCAN_VERB_COUNT)
		return -EPROTO;
	if (request->verb != CONTROL_FULL_SCAN_ASK)
		r = client_is_root(client) ? scheduler_order(scheduler, request->verb) : -EPERM;
	scheduler_status(scheduler, &reply);
	reply.error = (uint32_t)-r;
	return chan_send(client->fd, &reply.header, -1);
}

static int client_send_warm_start(void *context, struct chan_message *message)
{
	const struct client *client = context;
	struct control_warm_start_reply reply = {
		.header = WIRE_INIT(WIRE_CONTROL_WARM_START_REPLY, struct control_warm_start_reply),
	};

	scheduler_warm_status(client->control->sources.scheduler, &reply);
	return chan_send(client->fd, &reply.header, -1);
}

/*
 * Root wants fresh signatures: the supervisor hands the connection to the fetcher, who answers on
 * it. It is the fetcher's alone from then on.
 */
static int client_take_update(void *context, struct chan_message *message)
{
	const struct wire_plain update = {.header = WIRE_INIT(WIRE_UPDATE, struct wire_plain)};
	const struct client *client = context;
	struct wire_update_done no = {
		.header = WIRE_INIT(WIRE_UPDATE_DONE, struct wire_update_done),
		.result = WIRE_UPDATE_FAILED,
	};
	int r = client_is_root(client)
			? chan_send(client->control->sources.supervisor, &update.header, client->fd)
			: -EPERM;

	if (r == 0)
		return -ECONNRESET;
	(void)snprintf(no.text, sizeof(no.text), "%s",
		       r == -EPERM ? "only root may have signatures fetched"
				   : "the service is too busy: try again");
	return chan_send(client->fd, &no.header, -1);
}

static const struct chan_rule client_rules[] = {
	{WIRE_CONTROL_STATUS, sizeof(struct wire_plain), false, client_send_status},
	{WIRE_CONTROL_INCLUDE, sizeof(struct control_index_request), false, client_send_include},
	{WIRE_CONTROL_PLACE, sizeof(struct control_index_request), false, client_send_place},
	{WIRE_CONTROL_DATABASE, sizeof(struct control_index_request), false, client_send_database},
	{WIRE_CONTROL_POISON, sizeof(struct control_index_request), false, client_send_poison},
	{WIRE_CONTROL_FULL_SCAN, sizeof(struct control_full_scan_request), false,
	 client_take_full_scan},
	{WIRE_CONTROL_WARM_START, sizeof(struct wire_plain), false, client_send_warm_start},
	{WIRE_CONTROL_UPDATE, sizeof(struct wire_plain), false, client_take_update},
	{0},
};

static int client_on_readable(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct client *client = userdata;
	int r = chan_serve(fd, client_rules, client);

	if (r < 0 && r != -EAGAIN)
		client_free(client);
	return 0;
}

static void control_add_client(struct control *control, int fd)
{
	struct client *client = calloc(1, sizeof(*client));

	if (!client) {
		close(fd);
		return;
	}
	*client = (struct client){.control = control, .fd = fd};
	DL_APPEND(control->clients, client);
	control->n_clients++;
	if (sd_event_add_io(control->event, &client->source, fd, EPOLLIN, client_on_readable,
			    client) < 0) {
		client_free(client);
		return;
	}
	/* After everything that an opener waits for. */
	(void)sd_event_source_set_priority(client->source, SD_EVENT_PRIORITY_IDLE);
	if (control->n_clients >= CLIENTS_MAX)
		(void)sd_event_source_set_enabled(control->source, SD_EVENT_OFF);
}

static int control_on_connection(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (client >= 0)
		control_add_client(userdata, client);
	return 0;
}

struct control *control_new(sd_event *event, int fd, struct control_sources sources)
{
	struct control *control = calloc(1, sizeof(*control));

	if (!control)
		return NULL;
	*control = (struct control){.event = event, .fd = fd, .sources = sources};
	if (sd_event_add_io(event, &control->source, fd, EPOLLIN, control_on_connection, control) <
	    0) {
		free(control);
		return NULL;
	}
	(void)sd_event_source_set_priority(control->source, SD_EVENT_PRIORITY_IDLE);
	return control;
}

struct control *control_free(struct control *control)
{
	if (!control)
		return NULL;
	while (control->clients)
		client_free(control->clients);
	sd_event_source_disable_unref(control->source);
	close(control->fd);
	free(control);
	return NULL;
}
