/* SPDX-License-Identifier: GPL-2.0-only */
#include "engine.h"

#include "../common/chan.h"
#include "../common/clock.h"
#include "../common/drop.h"
#include "../common/log.h"
#include "../signatures/sources.h"
#include "../signatures/trial.h"
#include "clam.h"
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Files that kill workers must not turn the engine into a fork bomb: so many replacements a
 * second. */
#define RESPAWNS_PER_SECOND 50

/* One that is replaced has the one that takes its place beside it. */
#define SLOTS_MAX (WIRE_WORKERS_MAX + 1)

struct slot {
	pid_t pid;    /* of its worker; 0: none */
	bool ending;  /* we have killed it, and said why where there is something to say */
	bool leaving; /* the guard will let it go */
};

struct engine {
	int channel; /* to the supervisor */
	int guard;   /* -1: none */
	int signals; /* signalfd of SIGCHLD */
	int null;    /* /dev/null */
	bool retired;
	bool cannot_confine; /* a worker said so; the next would too */
	bool tries;	     /* the signatures are only to be tried */
	struct conf *conf;
	struct clam *clam;
	struct digest *digest;
	const struct contents *contents; /* NULL: none */
	bool has_heard_of_contents;	 /* the guard has sent them, or said that there are none */
	struct clam_set set;
	uint64_t memory; /* resident bytes once loaded */
	struct slot slots[SLOTS_MAX];
	unsigned n_workers;	  /* that there should be */
	uint64_t second_began_us; /* see RESPAWNS_PER_SECOND */
	unsigned respawns;
};

static void engine_log(void *context, int priority, const char *text)
{
	const struct wire_note note = wire_note_make(priority, text);
	const struct engine *engine = context;

	(void)chan_send(engine->channel, &note.header, -1);
}

static int scratch_remove(const char *path, const struct stat *status, int type, struct FTW *walk)
{
	/* What cannot be removed is found by the next worker of this slot, and is in nobody's
	 * way. */
	(void)remove(path);
	return 0;
}

/* Makes a worker's directory anew, without what a killed one left there. */
static bool engine_scratch(const struct engine *engine, unsigned slot, char *path, size_t size)
{
	(void)snprintf(path, size, "%s/scratch/%d-%u", engine->conf->run_dir, getpid(), slot);
	(void)nftw(path, scratch_remove, 16, FTW_DEPTH | FTW_PHYS);
	if (mkdir(path, 0700) == 0)
		return true;
	log_error("no worker without a directory: cannot make %s: %m", path);
	return false;
}

/* In the child: nothing but a socket is left to it, and three descriptors that lead nowhere. */
static _Noreturn void engine_be_worker(struct engine *engine, int socket, const char *scratch)
{
	const struct worker_tools tools = {
		.clam = engine->clam,
		.digest = engine->digest,
		.contents = engine->contents,
		.set = engine->set.info.set,
		.max_file_size = engine->conf->max_file_size,
		.max_scan_time_ms = engine->conf->max_scan_time_ms,
	};

	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (dup2(engine->null, fd) < 0)
			_exit(WORKER_NOT_CONFINED);
	if (dup2(socket, WORKER_FD) < 0 || close_range(WORKER_FD + 1, ~0u, 0) < 0)
		_exit(WORKER_NOT_CONFINED);
	worker_run(&tools, WORKER_FD, scratch);
}

/* Returns whether there is a worker now. */
static bool engine_fork_worker(struct engine *engine, unsigned slot)
{
	struct wire_worker message = {.header = WIRE_INIT(WIRE_WORKER, struct wire_worker)};
	char scratch[PATH_MAX];
	int ends[2], r;

	if (!engine_scratch(engine, slot, scratch, sizeof(scratch)))
		return false;
	r = chan_pair(ends);
	if (r < 0) {
		log_error("cannot make a worker's socket: %s", strerror(-r));
		return false;
	}
	message.pid = fork();
	if (message.pid == 0)
		engine_be_worker(engine, ends[1], scratch);
	close(ends[1]);
	if (message.pid < 0) {
		log_error("cannot fork a worker: %m");
	} else {
		engine->slots[slot].pid = message.pid;
		/* A guard that cannot be told is gone, and the worker ends with the socket. */
		(void)chan_send(engine->guard, &message.header, ends[0]);
	}
	close(ends[0]);
	return message.pid > 0;
}

/* Returns a free slot where a worker is missing; SLOTS_MAX: none is. One that is leaving does not
 * count. */
static unsigned engine_find_missing(const struct engine *engine)
{
	unsigned n = 0, free_slot = SLOTS_MAX;

	for (unsigned i = SLOTS_MAX; i-- > 0;) {
		n += engine->slots[i].pid && !engine->slots[i].leaving;
		if (!engine->slots[i].pid)
			free_slot = i;
	}
	return n < engine->n_workers ? free_slot : SLOTS_MAX;
}

/*
 * Forks one of the workers that are missing: to copy the tables of gigabytes takes a while, and who
 * asks us something meanwhile must not wait for all of them. Returns the time in ms after which to
 * call it again; -1: none is missing.
 */
static int engine_fill_slot(struct engine *engine)
{
	uint64_t now = clock_monotonic_us();
	unsigned slot = engine_find_missing(engine);

	if (slot == SLOTS_MAX || engine->guard < 0 || engine->retired ||
	    !engine->has_heard_of_contents)
		return -1;
	if (now - engine->second_began_us >= CLOCK_US_PER_SEC) {
		engine->second_began_us = now;
		engine->respawns = 0;
	}
	if (engine->respawns >= RESPAWNS_PER_SECOND + engine->n_workers)
		return 1000;
	engine->respawns++;
	return engine_fork_worker(engine, slot) ? 0 : 1000;
}

static struct slot *engine_find_slot(struct engine *engine, pid_t pid)
{
	for (unsigned i = 0; i < SLOTS_MAX; i++)
		if (engine->slots[i].pid == pid)
			return &engine->slots[i];
	return NULL;
}

static void engine_log_end(pid_t pid, int status)
{
	if (WIFSIGNALED(status))
		log_warning("worker %d was ended by %s%s", pid, strsignal(WTERMSIG(status)),
			    WTERMSIG(status) == SIGALRM ? ": it passed max-scan-time" : "");
}

/* Nobody is waited for who does not go on by himself. */
static void engine_end_stopped(struct engine *engine, pid_t pid)
{
	struct slot *slot = engine_find_slot(engine, pid);

	if (slot && !slot->ending) {
		log_warning("worker %d was stopped: it is killed", pid);
		slot->ending = true;
	}
	(void)kill(pid, SIGKILL);
}

/* The guard judges by it what it does with the file that the worker had. */
static void engine_tell_end(const struct engine *engine, pid_t pid, int status)
{
	const struct wire_worker_ended message = {
		.header = WIRE_INIT(WIRE_WORKER_ENDED, struct wire_worker_ended),
		.pid = pid,
		.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
	};

	if (engine->guard >= 0)
		(void)chan_send(engine->guard, &message.header, -1);
}

static void engine_reap(struct engine *engine)
{
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	(void)!read(engine->signals, &info, sizeof(info));
	while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
		struct slot *slot = engine_find_slot(engine, pid);

		if (WIFSTOPPED(status)) {
			engine_end_stopped(engine, pid);
			continue;
		}
		if (WIFEXITED(status) && WEXITSTATUS(status) == WORKER_NOT_CONFINED)
			engine->cannot_confine = true;
		if (slot && !slot->ending)
			engine_log_end(pid, status);
		if (!slot)
			continue;
		if (!engine->cannot_confine)
			engine_tell_end(engine, pid, status);
		*slot = (struct slot){0};
	}
}

static int engine_take_kill(void *context, struct chan_message *message)
{
	pid_t pid = ((const struct wire_worker *)(const void *)message)->pid;
	struct engine *engine = context;
	struct slot *slot = pid > 0 ? engine_find_slot(engine, pid) : NULL;

	if (slot) {
		/* One that makes room for the next engine has done nothing wrong. */
		slot->ending |= engine->retired;
		(void)kill(pid, SIGKILL);
	}
	return 0;
}

static int engine_take_retire(void *context, struct chan_message *message)
{
	struct engine *engine = context;

	engine->retired = true;
	return 0;
}

static int engine_take_replace(void *context, struct chan_message *message)
{
	pid_t pid = ((const struct wire_worker *)(const void *)message)->pid;
	struct slot *slot = pid > 0 ? engine_find_slot(context, pid) : NULL;

	if (slot)
		slot->leaving = true;
	return 0;
}

/* Workers that were forked before keep what they have: the guard has emptied it. */
static void engine_use_contents(struct engine *engine, const struct contents *contents)
{
	(void)contents_free(engine->contents);
	engine->contents = contents;
	engine->has_heard_of_contents = true;
}

static int engine_take_contents(void *context, struct chan_message *message)
{
	struct engine *engine = context;
	const struct contents *contents = engine->digest ? contents_map(message->fd) : NULL;

	close(message->fd);
	if (!contents)
		log_warning("the content cache cannot be used: files are scanned whatever is known "
			    "of their content");
	engine_use_contents(engine, contents);
	return 0;
}

static int engine_take_no_contents(void *context, struct chan_message *message)
{
	engine_use_contents(context, NULL);
	return 0;
}

static const struct chan_rule guard_rules[] = {
	{WIRE_KILL_WORKER, sizeof(struct wire_worker), false, engine_take_kill},
	{WIRE_RETIRE, sizeof(struct wire_plain), false, engine_take_retire},
	{WIRE_REPLACE_WORKER, sizeof(struct wire_worker), false, engine_take_replace},
	{WIRE_CONTENTS, sizeof(struct wire_plain), true, engine_take_contents},
	{WIRE_NO_CONTENTS, sizeof(struct wire_plain), false, engine_take_no_contents},
	{0},
};

static bool engine_introduce(const struct engine *engine)
{
	int r = chan_send(engine->guard, &engine->set.info.header, -1);

	for (unsigned i = 0; i < engine->set.n_databases && r == 0; i++)
		r = chan_send(engine->guard, &engine->set.databases[i].header, -1);
	return r == 0;
}

/*
 * Serves a new guard. The workers of the one before end with their sockets, or are ended here: what
 * they are scanning interests nobody any more. As each is reaped, one for the new guard takes its
 * slot.
 */
static int engine_take_guard(void *context, struct chan_message *message)
{
	struct engine *engine = context;

	if (((const struct wire_peer *)(const void *)message)->role != WIRE_PEER_GUARD) {
		close(message->fd);
		return -EPROTO;
	}
	if (engine->guard >= 0)
		close(engine->guard);
	engine->guard = message->fd;
	/* It has a table of its own. */
	engine_use_contents(engine, NULL);
	engine->has_heard_of_contents = false;
	for (unsigned i = 0; i < SLOTS_MAX; i++)
		if (engine->slots[i].pid) {
			engine->slots[i].ending = true;
			(void)kill(engine->slots[i].pid, SIGKILL);
		}
	engine->respawns = 0;
	if (!engine_introduce(engine)) {
		/* It died while we were being introduced; another one will come. */
		close(engine->guard);
		engine->guard = -1;
	}
	return 0;
}

static int engine_take_ping(void *context, struct chan_message *message)
{
	chan_pong(((const struct engine *)context)->channel);
	return 0;
}

static const struct chan_rule channel_rules[] = {
	{WIRE_PING, sizeof(struct wire_plain), false, engine_take_ping},
	{WIRE_PEER, sizeof(struct wire_peer), true, engine_take_guard},
	{0},
};

static void engine_report(const struct engine *engine, enum wire_type type, const char *text)
{
	struct wire_result result = wire_result_make(type, text);

	result.signatures = engine->set.info.signatures;
	result.test_only = engine->set.info.test_only;
	result.newest = engine->set.info.newest;
	result.memory = engine->memory;
	(void)chan_send(engine->channel, &result.header, -1);
}

static int engine_loop(struct engine *engine)
{
	while (!engine->cannot_confine && !(engine->retired && engine->guard < 0)) {
		int timeout = engine_fill_slot(engine);
		struct pollfd fds[] = {
			{.fd = engine->channel, .events = POLLIN},
			{.fd = engine->signals, .events = POLLIN},
			{.fd = engine->guard, .events = POLLIN},
		};

		if (poll(fds, 3, timeout) < 0 && errno != EINTR)
			return 1;
		if (fds[1].revents)
			engine_reap(engine);
		if (fds[2].revents && chan_serve(engine->guard, guard_rules, engine) < 0) {
			/* The guard died, and the supervisor will introduce the next; or we are
			 * retired and it needs us no longer. */
			close(engine->guard);
			engine->guard = -1;
		}
		if (fds[0].revents && chan_serve(engine->channel, channel_rules, engine) < 0)
			return 0;
	}
	if (engine->cannot_confine)
		engine_report(engine, WIRE_FAILED,
			      "the workers cannot be confined (seccomp or Landlock refused): "
			      "nothing is scanned without that");
	return engine->cannot_confine;
}

static int engine_take_conf(void *context, struct chan_message *message)
{
	struct engine *engine = context;

	engine->conf = conf_from_snapshot(message->fd);
	close(message->fd);
	return engine->conf ? 0 : -EPROTO;
}

static int engine_take_trial(void *context, struct chan_message *message)
{
	struct engine *engine = context;

	engine->tries = true;
	return 0;
}

static const struct chan_rule conf_rules[] = {
	{WIRE_TRIAL, sizeof(struct wire_plain), false, engine_take_trial},
	{WIRE_CONFIG, sizeof(struct wire_plain), true, engine_take_conf},
	{0},
};

static void engine_scratch_root(const struct engine *engine, char *path, size_t size)
{
	(void)snprintf(path, size, "%s/scratch", engine->conf->run_dir);
}

/* Resident bytes; 0: it cannot be told. */
static uint64_t engine_memory(void)
{
	FILE *stream = fopen("/proc/self/statm", "re");
	unsigned long long pages = 0;

	if (!stream)
		return 0;
	if (fscanf(stream, "%*u %llu", &pages) != 1)
		pages = 0;
	(void)fclose(stream);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static bool engine_load(struct engine *engine)
{
	char scratch[PATH_MAX], problem[WIRE_TEXT_MAX];

	engine_scratch_root(engine, scratch, sizeof(scratch));
	engine->clam = clam_new(engine->conf, scratch, &engine->set, problem, sizeof(problem));
	if (!engine->clam) {
		engine_report(engine, WIRE_FAILED, problem);
		return false;
	}
	/* What loading needed and no longer needs would be copied by every worker that touches
	 * it. */
	(void)malloc_trim(0);
	engine->memory = engine_memory();

	if (*engine->set.warning)
		log_warning("%s", engine->set.warning);
	if (!drop_has_landlock())
		log_warning(
			"no Landlock here: workers are confined by their user and seccomp only");
	engine->set.info.loaded_at = (int64_t)(clock_wall_us() / CLOCK_US_PER_SEC);
	/* The guard keeps half of them for opens while it has others scan what nobody is held for:
	 * so either kind can use all processors. */
	engine->n_workers =
		(unsigned)(engine->conf->workers ? engine->conf->workers
						 : 2 * (uint64_t)sysconf(_SC_NPROCESSORS_ONLN));
	if (engine->n_workers > WIRE_WORKERS_MAX)
		engine->n_workers = WIRE_WORKERS_MAX;
	engine->set.info.workers = engine->n_workers;
	/* Before the workers, who inherit it. */
	engine->digest = digest_new();
	engine->set.info.scan_deadline_ms =
		(uint32_t)(engine->conf->max_scan_time_ms + WORKER_GUARD_GRACE_MS);
	engine_report(engine, WIRE_READY, "");
	return true;
}

/* Tries one directory after the other, and sums up what is in them. */
static bool engine_try_sources(struct engine *engine, const struct sources *sources, char *problem,
			       size_t problem_size)
{
	struct clam_set *set = &engine->set;
	char scratch[PATH_MAX], why[WIRE_TEXT_MAX];

	engine_scratch_root(engine, scratch, sizeof(scratch));
	(void)sources_describe(sources, &set->info, set->databases);
	set->info.test_only = sources->n_files == 0;
	set->info.signatures = 1; /* the one that is part of the engine */
	for (unsigned i = 0; i < sources->n_directories; i++) {
		const struct trial trial = {
			.path = sources->directories[i].path,
			.scratch = scratch,
			.detect_pua = engine->conf->detect_pua,
			.as_signed = true, /* if it were not, it would not be loaded either */
		};
		uint32_t signatures = 0;

		if (sources->directories[i].n_files &&
		    trial_run(&trial, &signatures, why, sizeof(why)) < 0) {
			(void)snprintf(problem, problem_size, "signatures: %s", why);
			return false;
		}
		set->info.signatures += signatures;
	}
	return true;
}

/* Returns the exit status. */
static int engine_try(struct engine *engine)
{
	char problem[WIRE_TEXT_MAX];
	struct sources *sources = sources_new(engine->conf, problem, sizeof(problem));
	bool is_good = sources && engine_try_sources(engine, sources, problem, sizeof(problem));

	(void)sources_free(sources);
	engine_report(engine, is_good ? WIRE_READY : WIRE_FAILED, is_good ? "" : problem);
	return !is_good;
}

int engine_run(int channel)
{
	struct engine engine = {
		.channel = channel,
		.guard = -1,
		.set.info.header = WIRE_INIT(WIRE_ENGINE_INFO, struct wire_engine_info),
	};
	sigset_t chld;
	int r = 1;

	while (!engine.conf)
		if (chan_serve(channel, conf_rules, &engine) < 0)
			return 1;
	(void)sigemptyset(&chld);
	(void)sigaddset(&chld, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &chld, NULL);
	engine.signals = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
	log_set_sink(engine_log, &engine);

	engine.null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (engine.signals < 0 || engine.null < 0)
		engine_report(&engine, WIRE_FAILED, "the engine cannot open what it needs");
	else if (engine.tries)
		r = engine_try(&engine);
	else if (engine_load(&engine))
		r = engine_loop(&engine);

	log_set_sink(NULL, NULL);
	conf_free(engine.conf);
	/* The signatures go with the process: giving gigabytes back piece by piece takes
	 * seconds. */
	return r;
}
