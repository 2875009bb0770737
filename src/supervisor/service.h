/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * service: the supervisor's state, shared by the files of this folder and nobody else.
 *
 *   supervisor.c  the loop: signals, heartbeat, what the children say
 *   service.c     children: starting, introducing, burying, restarting
 *   standby.c     who is the guard, and who comes after it
 *   heartbeat.c   who is silent, or stopped, is killed
 *   reload.c      a new configuration and new signatures, all or nothing
 *   fetch.c       when the fetcher runs
 *   changes.c     what others change in the directory of signatures
 *   age.c         how old the signatures are
 */
#include "../common/clock.h"
#include "../common/conf.h"
#include "../common/outbox.h"
#include "child.h"
#include "listener.h"
#include "memory.h"

#include <systemd/sd-event.h>

/* So long may an engine take to load: the largest sets take a minute or two where disks are slow.
 */
#define SERVICE_LOAD_US (900 * CLOCK_US_PER_SEC)

struct service;

struct child {
	struct child *prev, *next;
	struct service *service;
	enum child_role role;
	pid_t pid;   /* 0: a standby that is being made */
	int channel; /* -1: closed */
	sd_event_source *source;
	uint64_t started_us;
	uint64_t heard_us; /* it said something last, or was started; monotonic, as the other */
	bool ready;
	bool ending;			/* its end is expected */
	unsigned unanswered;		/* heartbeats */
	uint64_t killed_us;		/* when we killed it, as it does not do what it should; 0 */
	bool was_silent;		/* for that reason */
	char reason[WIRE_REASON_MAX];	/* why it was killed; empty: it was not, by us */
	struct child *maker;		/* standby: who clones it; NULL: it is there */
	unsigned n_asked;		/* configurations that it has not answered yet */
	uint64_t introduced_us;		/* engine: to the guard there is; 0: not yet */
	bool is_late, is_overdue;	/* engine: it loads, and was said to take long, too long */
	char failure[WIRE_TEXT_MAX];	/* what it said when it failed; empty: nothing */
	uint32_t signatures, test_only; /* engine, as in wire_result; so are the others */
	int64_t newest;
	uint64_t memory;
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
	RELOAD_ENGINE,	 /* an engine loads the signatures; lean: tries them */
	RELOAD_REPORTER, /* the reporter tries the configuration */
	RELOAD_GUARD,	 /* the guard does */
	RELOAD_RELEASE,	 /* lean: all have agreed, and the old engine makes room */
	RELOAD_SWITCH	 /* all have agreed: the guard is about to use the new engine */
};

struct reload {
	enum reload_step step;
	uint64_t until_us;   /* the step has taken too long then; all times are monotonic */
	uint64_t due_us;     /* another one is to begin then; 0: none is */
	uint64_t unasked_us; /* the last one that nobody asked for began then, or will; 0: none */
	uint64_t rest_us;    /* so long may the engines of the last one take to end */
	unsigned failures;   /* in a row, each to be repeated */
	pid_t loader;	     /* the child that reads the configuration */
	int loader_channel;  /* its; -1: there is none */
	sd_event_source *loader_source;
	bool complained; /* it said what is wrong */
	struct conf *conf;
	int snapshot;
	int changes; /* watches conf's directory of signatures; -1: nothing does */
	char not_watched[WIRE_TEXT_MAX]; /* why */
	bool lean;
	struct child *engine;	/* the new one; lean: the one that tries, then the new one */
	struct child *released; /* RELEASE: the old one; NULL: there is none */
	bool killed;		/* RELEASE: it was */
};

/* So many at once may wait for a fetcher that can still be told of them. */
#define FETCH_WAITING_MAX 16

struct fetch {
	struct child *fetcher; /* NULL: none runs */
	bool is_due_only;      /* it runs for WIRE_FETCH_IF_DUE */
	uint64_t until_us;     /* monotonic: it has run for too long then */
	uint64_t due_us;       /* CLOCK_BOOTTIME; 0: when somebody asks */
	bool is_anew;	       /* the next run has others to ask than the last one */
	unsigned failures;     /* in a row: it ended without a word */
	int waiting[FETCH_WAITING_MAX];
	unsigned n_waiting;
};

struct changes {
	int fd; /* inotify; -1: nothing is watched */
	sd_event_source *source;
	uint64_t first_us, last_us; /* changes that no reload has seen; 0: none */
	uint64_t created_us;	    /* a name appeared, and nobody has written to it yet; 0: none */
	char problem[WIRE_TEXT_MAX]; /* why nothing is watched, as it was logged */
};

struct service {
	sd_event *event;
	const struct child_setup *setup;
	const struct supervisor_files *files;
	struct conf *conf;     /* in force */
	int snapshot;	       /* of conf, for the children */
	struct outbox *outbox; /* lines for the reporter */
	struct child *children;
	struct child *current[CHILD_ROLES]; /* NULL: none */
	struct restart restarts[CHILD_ROLES];
	struct reload reload;
	struct fetch fetch;
	struct changes changes;
	struct wire_history history;
	pid_t serving;		/* the engine whose workers the guard uses; 0: none */
	uint64_t guard_lost_us; /* monotonic; 0: it is there, or has not been yet */
	bool has_gap;		/* nobody has taken over from it */
	bool engine_down;	/* the guard was told that there is none to be waited for */
	bool stands_alone;	/* there is no standby, and that was said */
	bool test_only;		/* the engine in force, or the last one, has no other signatures */
	int64_t newest;		/* its newest were made then, see wire_result; 0: not known */
	uint64_t memory;	/* what it takes, bytes; 0: not known */
	uint64_t age_look_us;	/* CLOCK_BOOTTIME: age.c looks again; 0: not yet */
	bool protecting;	/* has been since start */
	bool stopping;
};

/* service_spawn() starts a program and sends it the configuration conf, as snapshot. NULL on
 * failure, logged. */
struct child *service_spawn(struct service *service, enum child_role role, const struct conf *conf,
			    int snapshot);

/* service_spawn_trial() does so with an engine that only tries the signatures. */
struct child *service_spawn_trial(struct service *service, const struct conf *conf, int snapshot);

/* service_spawn_current() starts the program of a role that has none; it will be tried again later
 * when that fails. */
void service_spawn_current(struct service *service, enum child_role role);

/* service_send() sends a message without a descriptor to a child; NULL: nobody. */
void service_send(struct child *child, const struct wire_header *message);

/* service_send_fd() sends one with a descriptor, which stays the caller's. Returns 0 or a negative
 * errno. */
int service_send_fd(struct child *child, const struct wire_header *message, int fd);

/* service_send_conf() sends a snapshot of the configuration. */
void service_send_conf(struct child *child, int snapshot);

/* service_introduce() makes the guard known to a child of another role that is ready, and the other
 * way round. */
void service_introduce(struct service *service, enum child_role role);

/* service_release() has the guard let go of all engines, so that there is room for another. */
void service_release(struct service *service);

/* service_tick() is called with each heartbeat: an engine that does not load, or is not used, is
 * not waited for. */
void service_tick(struct service *service);

/* service_use_engine() notes what there is to know of the engine that is in force now. */
void service_use_engine(struct service *service, const struct child *engine);

/* service_adopt() makes a child of a channel, for a process that is there or will be. NULL: out of
 * memory, and the channel is closed. service_forget() takes it back. */
struct child *service_adopt(struct service *service, enum child_role role, int channel);
void service_forget(struct child *child);

/* service_equip_guard() makes the current guard known to all but the engine, and the other way
 * round. */
void service_equip_guard(struct service *service);

/* service_kill_child() ends a child and what it has forked, at once. */
void service_kill_child(const struct child *child);

/*
 * standby_begin() has the first process of a family make its standbys and be the guard.
 * standby_born() takes the first word of a standby; -EPROTO: it is none. standby_fill() sees to it
 * that there are enough of them, once the guard is at work.
 */
void standby_begin(struct service *service, struct child *first);
int standby_born(struct service *service, struct child *child, pid_t pid);
void standby_fill(struct service *service);

/* standby_take_over() makes a standby the guard, as this one has ended, status is waitpid()'s.
 * False: there is none, or guards keep failing. */
bool standby_take_over(struct service *service, const struct child *guard, int status);

/* standby_lost() is called when a guard or a standby has ended; standby_end_family() ends all
 * standbys: with the guard gone, the kernel lets all openers go then. */
void standby_lost(struct service *service, const struct child *child);
void standby_end_family(struct service *service);

/*
 * heartbeat_interval_us() returns how often heartbeat_tick() is called: it asks all children
 * whether they are alive, and kills those that do not answer. heartbeat_stopped() kills one that
 * was stopped.
 */
uint64_t heartbeat_interval_us(const struct service *service);
void heartbeat_tick(struct service *service);
void heartbeat_stopped(struct child *child, int signal);

/* service_lost_touch() is called when the guard was killed and does not end: another takes over. */
void service_lost_touch(struct service *service, struct child *guard);

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

/* service_kill_loading() ends engines that load or try signatures: they hear nothing meanwhile. */
void service_kill_loading(struct service *service);

/*
 * service_kill_strays() ends the processes that are our children but no program we started: workers
 * whose engine has ended. It reads /proc, so only once there is no guard any more. Returns how
 * many.
 */
unsigned service_kill_strays(struct service *service);

/* reload_begin() begins a reload that somebody asked for, or makes one follow the one that is under
 * way. reload_begin_unasked() is for those that nobody did: they keep a distance. */
void reload_begin(struct service *service);
void reload_begin_unasked(struct service *service);

/* reload_is_lean() says whether, with this configuration, there is to be one engine at a time. */
bool reload_is_lean(const struct service *service, const struct conf *conf);

/* reload_child_ready(), reload_child_failed() and reload_loader_ended() carry it on. The first two
 * return false when the child's word does not concern the reload. */
bool reload_child_ready(struct service *service, struct child *child, bool was_ready);
bool reload_child_failed(struct service *service, struct child *child, const char *why);
void reload_loader_ended(struct service *service);

/* reload_switched() ends it when the engine that the guard uses from now on is the new one. */
void reload_switched(struct service *service);

/* reload_child_lost() gives up when a child that the reload needs has ended, and goes on when one
 * has that it waits for. */
void reload_child_lost(struct service *service, struct child *child);

/* reload_tick() is called with each heartbeat: it begins what is due, and nothing is waited for too
 * long. */
void reload_tick(struct service *service);

/* fetch_begin() is called once files are protected, fetch_conf_changed() when another configuration
 * than old is in force, fetch_tick() with each heartbeat. */
void fetch_begin(struct service *service);
void fetch_conf_changed(struct service *service, const struct conf *old);
void fetch_tick(struct service *service);

/* fetch_ask() is for somebody who wants an update, and to be told of it on fd, which it takes. */
void fetch_ask(struct service *service, int fd);

/* fetch_done() takes the last word of the fetcher; -EPROTO: it has had it. fetch_child_lost() takes
 * its end. */
int fetch_done(struct service *service, struct child *fetcher, const struct wire_fetched *fetched);
void fetch_child_lost(struct service *service, const struct child *child);

/* fetch_stop() asks the fetcher to end, and tells those who wait. */
void fetch_stop(struct service *service);

/* changes_watch() watches what fd, of changes_open(), does, in the place of the one before; -1:
 * nothing, for this reason, which is logged. */
void changes_watch(struct service *service, int fd, const char *problem);

/* changes_forget() is for a reload that begins: it sees all changes so far. changes_tick() is
 * called with each heartbeat. */
void changes_forget(struct service *service);
void changes_tick(struct service *service);

/* age_begin() is called once files are protected, age_tick() with each heartbeat. */
void age_begin(struct service *service);
void age_tick(struct service *service);
