/* SPDX-License-Identifier: GPL-2.0-only */
#include "demand.h"

#include "../common/chan.h"
#include "opener.h"

#include <errno.h>
#include <fcntl.h>
#include <holdfast/control.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

/* The porter has fewer; some may be on their way out. */
#define CLIENTS_MAX 128

/* After everything that an opener waits for. */
#define DEMAND_PRIORITY (SD_EVENT_PRIORITY_NORMAL + 5)

/* So many opens that were refused to a client are known. It asks about each at once, but may have
 * several threads. */
#define DENIALS_MAX 32

struct denial {
	struct file_id id;
	struct wire_verdict verdict;
};

struct client {
	struct client *prev, *next;
	struct demand *demand;
	sd_event_source *source;
	int fd;
	struct request_origin origin;
	struct task *tasks; /* under way */
	unsigned n_tasks;
	struct denial denials[DENIALS_MAX]; /* of its last opens that were refused */
	unsigned n_denials;		    /* that ever were */
	bool is_broken;			    /* to be freed when nobody looks at it any more */
};

/* One file that a client waits for. */
struct task {
	struct task *prev, *next;
	struct asker asker;
	struct client *client;
	uint64_t id;
};

struct demand {
	sd_event *event;
	sd_event_source *source;
	int fd;
	struct gate *gate;
	struct client *clients;
	unsigned n_clients;
};

static void task_free(struct task *task)
{
	struct client *client = task->client;

	DL_DELETE(client->tasks, task);
	client->n_tasks--;
	free(task);
}

static void client_free(struct client *client)
{
	struct demand *demand = client->demand;

	while (client->tasks) {
		gate_take_back(demand->gate, &client->tasks->asker);
		task_free(client->tasks);
	}
	DL_DELETE(demand->clients, client);
	demand->n_clients--;
	sd_event_source_disable_unref(client->source);
	close(client->fd);
	free(client);
}

/* Sends what a client waits for. It is given up when it does not take it, but not here: whoever
 * called us may still be at work for it. */
static void client_send(struct client *client, const struct wire_header *message)
{
	if (!client->is_broken && chan_send(client->fd, message, -1) < 0) {
		client->is_broken = true;
		/* Its end can be read. */
		(void)shutdown(client->fd, SHUT_RDWR);
	}
	(void)sd_event_source_set_enabled(client->source, SD_EVENT_ON);
}

static void task_told(struct asker *asker, const struct wire_verdict *verdict)
{
	struct task *task = (void *)((char *)asker - offsetof(struct task, asker));
	struct client *client = task->client;
	struct wire_verdict reply = *verdict;

	reply.id = task->id;
	task_free(task);
	client_send(client, &reply.header);
}

static int client_take_scan(void *context, struct chan_message *message)
{
	const struct wire_scan *scan = (const void *)message;
	struct client *client = context;
	struct demand *demand = client->demand;
	struct task *task = calloc(1, sizeof(*task));

	if (!task) {
		close(message->fd);
		return -ENOMEM;
	}
	*task = (struct task){.asker.told = task_told, .client = client, .id = scan->id};
	DL_APPEND(client->tasks, task);
	client->n_tasks++;
	gate_scan(demand->gate, message->fd,
		  &(const struct gate_order){
			  .lane = LANE_DEMAND,
			  .afresh = scan->flags & WIRE_SCAN_AFRESH,
			  .origin = client->origin,
			  .asker = &task->asker,
		  });
	close(message->fd);
	return 0;
}

static int client_send_info(void *context, struct chan_message *message)
{
	struct client *client = context;
	struct wire_engine_info info = *pool_info(client->demand->gate->pool);

	info.header = (struct wire_header)WIRE_INIT(WIRE_ENGINE_INFO, struct wire_engine_info);
	client_send(client, &info.header);
	return 0;
}

/* The last refusal to this client's process of a file; NULL: not known. */
static const struct denial *client_find_denial(const struct client *client, struct file_id id)
{
	unsigned n = client->n_denials < DENIALS_MAX ? client->n_denials : DENIALS_MAX;

	for (unsigned i = 1; i <= n; i++) {
		const struct denial *denial =
			&client->denials[(client->n_denials - i) % DENIALS_MAX];

		if (denial->id.device == id.device && denial->id.inode == id.inode)
			return denial;
	}
	return NULL;
}

/* The kernel asks us only about opens that the file's permissions allow: so whoever was refused by
 * us may read the file. */
static int client_send_why(void *context, struct chan_message *message)
{
	const struct wire_scan *scan = (const void *)message;
	struct wire_verdict reply = wire_verdict_make(
		VERDICT_FAILED, "the open was refused, and not by the on-access protection");
	struct client *client = context;
	const struct denial *denial = NULL;
	struct file_state state;
	struct file_id id;

	if (file_stat(message->fd, &id, &state) == 0)
		denial = client_find_denial(client, id);
	close(message->fd);
	if (denial)
		reply = denial->verdict;
	reply.id = scan->id;
	client_send(client, &reply.header);
	return 0;
}

static const struct chan_rule client_rules[] = {
	{WIRE_SCAN, sizeof(struct wire_scan), true, client_take_scan},
	{WIRE_SCAN_INFO, sizeof(struct wire_plain), false, client_send_info},
	{WIRE_SCAN_WHY, sizeof(struct wire_scan), true, client_send_why},
	{0},
};

/* Takes what a client has sent, up to what it may have under way. */
static int client_on_readable(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct client *client = userdata;
	int r = 0;

	for (unsigned i = 0; i < SCAN_WINDOW && r == 0 && client->n_tasks < SCAN_WINDOW; i++)
		r = chan_serve(fd, client_rules, client);
	if ((r < 0 && r != -EAGAIN) || client->is_broken)
		client_free(client);
	else if (client->n_tasks >= SCAN_WINDOW)
		(void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
	return 0;
}

static void demand_add_client(struct demand *demand, int fd, int32_t pid, uint32_t uid)
{
	struct client *client = calloc(1, sizeof(*client));
	struct opener opener;

	if (!client) {
		close(fd);
		return;
	}
	(void)fcntl(fd, F_SETFL, O_NONBLOCK);
	opener_read(pid, &opener);
	*client = (struct client){.demand = demand, .fd = fd, .origin = {.pid = pid, .uid = uid}};
	(void)snprintf(client->origin.exe, sizeof(client->origin.exe), "%s", opener_exe(&opener));
	DL_APPEND(demand->clients, client);
	demand->n_clients++;
	if (sd_event_add_io(demand->event, &client->source, fd, EPOLLIN, client_on_readable,
			    client) < 0 ||
	    sd_event_source_set_priority(client->source, DEMAND_PRIORITY) < 0)
		client_free(client);
}

static int demand_take_client(void *context, struct chan_message *message)
{
	const struct wire_scan_client *client = (const void *)message;
	struct demand *demand = context;

	if (demand->n_clients < CLIENTS_MAX)
		demand_add_client(demand, message->fd, client->pid, client->uid);
	else
		close(message->fd);
	return 0;
}

static const struct chan_rule porter_rules[] = {
	{WIRE_SCAN_CLIENT, sizeof(struct wire_scan_client), true, demand_take_client},
	{0},
};

static int demand_on_porter(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct demand *demand = userdata;
	int r = chan_serve(fd, porter_rules, demand);

	/* There will be another one; the clients go with their relays. */
	if (r < 0 && r != -EAGAIN)
		demand->source = sd_event_source_disable_unref(demand->source);
	return 0;
}

struct demand *demand_new(sd_event *event, int fd, struct gate *gate)
{
	struct demand *demand = calloc(1, sizeof(*demand));

	if (!demand)
		return NULL;
	*demand = (struct demand){.event = event, .fd = fd, .gate = gate};
	if (sd_event_add_io(event, &demand->source, fd, EPOLLIN, demand_on_porter, demand) < 0 ||
	    sd_event_source_set_priority(demand->source, DEMAND_PRIORITY) < 0) {
		sd_event_source_disable_unref(demand->source);
		free(demand);
		return NULL;
	}
	return demand;
}

struct demand *demand_free(struct demand *demand)
{
	if (!demand)
		return NULL;
	while (demand->clients)
		client_free(demand->clients);
	sd_event_source_disable_unref(demand->source);
	close(demand->fd);
	free(demand);
	return NULL;
}

void demand_denied(struct demand *demand, int32_t pid, struct file_id id,
		   const struct wire_verdict *verdict)
{
	struct client *client;

	if (demand)
		DL_FOREACH (demand->clients, client)
			if (client->origin.pid == pid)
				client->denials[client->n_denials++ % DENIALS_MAX] =
					(struct denial){id, *verdict};
}
