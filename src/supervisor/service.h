/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * service: the supervisor's state, shared by the files of this folder and nobody else.
 *
 *   supervisor.c  the loop: signals, heartbeat, what the children say
 *   service.c     children: starting, introducing, burying, restarting
 *   reload.c      a new configuration and new signatures, all or nothing
 */
#include "../common/conf.h"
#include "../common/outbox.h"
#include "child.h"
#include "listener.h"

#include <systemd/sd-event.h>

struct service;

struct child {
	struct child *prev, *next;
	struct service *service;
	enum child_role role;
	pid_t pid;
	int channel; /* -1: closed */
	sd_event_source *source;
	uint64_t started_us;
	bool ready;
	bool ending;			/* its end is expected */
	char failure[WIRE_TEXT_MAX];	/* what it said when it failed; empty: nothing */
	uint32_t signatures, test_only; /* engine */
};

/* When a role's program may be started again. */
struct restart {
	struct service *service;
	enum child_role role;
	sd_event_source *timer;
	unsigned failures; /* in a row */
};

enum reload_step {
	RELOAD_NONE,
	RELOAD_CONF,	 /* a child reads the configuration */
	RELOAD_ENGINE,	 /* an engine loads the signatures */
	RELOAD_REPORTER, /* the reporter tries the configuration */
	RELOAD_GUARD,	 /* the guard does */
	RELOAD_SWITCH	 /* all have agreed: the guard is about to use the new engine */
};

struct reload {
	enum reload_step step;
	bool again;	    /* asked for once more meanwhile */
	int loader_channel; /* of the child that reads the configuration; -1: none */
	sd_event_source *loader_source;
	struct conf *conf;
	int snapshot;
	struct child *engine;
};

struct service {
	sd_event *event;
	const struct child_setup *setup;
	struct listeners listeners;
	struct conf *conf;     /* in force */
	int snapshot;	       /* of conf, for the children */
	struct outbox *outbox; /* lines for the reporter */
	struct child *children;
	struct child *current[CHILD_ROLES]; /* NULL: none */
	struct restart restarts[CHILD_ROLES];
	struct reload reload;
	struct wire_history history;
	unsigned unanswered;	/* heartbeats */
	uint64_t guard_lost_us; /* monotonic; 0: it is there, or has not been yet */
	bool test_only;		/* the engine in force has no other signatures */
	bool protecting;	/* has been since start */
	bool stopping;
};

/* service_spawn() starts a program and sends it the configuration conf, as snapshot. NULL on
 * failure, logged. */
struct child *service_spawn(struct service *service, enum child_role role, const struct conf *conf,
			    int snapshot);

/* service_spawn_current() starts the program of a role that has none; it will be tried again later
 * when that fails. */
void service_spawn_current(struct service *service, enum child_role role);

/* service_send() sends a message without a descriptor to a child; NULL: nobody. */
void service_send(struct child *child, const struct wire_header *message);

/* service_send_conf() sends a snapshot of the configuration. */
void service_send_conf(struct child *child, int snapshot);

/* service_introduce() makes the guard known to a child of another role that is ready, and the other
 * way round. */
void service_introduce(struct service *service, enum child_role role);

/* service_bury() forgets a child that has ended and sees to what follows. status is waitpid()'s. */
void service_bury(struct child *child, int status);

/* service_send_history() tells the guard of restarts and gaps, for status. */
void service_send_history(struct service *service);

/* service_child_on_message() is the supervisor's; see supervisor.c. */
int service_child_on_message(sd_event_source *source, int fd, uint32_t revents, void *userdata);

/* service_end() closes the channels of a role's children, whereupon they end. Returns how many
 * there are. */
unsigned service_end(struct service *service, enum child_role role);

/* service_kill() ends them at once. */
void service_kill(struct service *service, enum child_role role);

/*
 * service_kill_strays() ends the processes that are our children but no program we started: workers
 * whose engine has ended. It reads /proc, so only once there is no guard any more. Returns how
 * many.
 */
unsigned service_kill_strays(struct service *service);

/* reload_begin() begins a reload, or makes one follow the one that is under way. */
void reload_begin(struct service *service);

/* reload_child_ready(), reload_child_failed() and reload_loader_ended() carry it on. The first two
 * return false when the child's word does not concern the reload. */
bool reload_child_ready(struct service *service, struct child *child, bool was_ready);
bool reload_child_failed(struct service *service, struct child *child, const char *why);
void reload_loader_ended(struct service *service);

/* reload_switched() ends it: the guard uses the engine introduced last. */
void reload_switched(struct service *service);

/* reload_child_lost() gives up when a child that the reload needs has ended. */
void reload_child_lost(struct service *service, struct child *child);
