/* SPDX-License-Identifier: GPL-2.0-only */
#include "standalone.h"

#include "../common/chan.h"
#include "../common/drop.h"
#include "../common/isolate.h"
#include "../common/program.h"
#include "launch.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#define ENGINE "holdfast-engine"

struct standalone_worker {
	int fd; /* -1: there is none */
	int32_t pid;
	bool is_taken;
};

struct standalone {
	const struct conf *conf;
	standalone_note note;
	void *context;
	char directory[PATH_MAX], scratch[PATH_MAX + 16], program_dir[PATH_MAX];
	pid_t pid;
	int channel; /* to the engine, as the supervisor has it */
	int guard;   /* to the engine, as the guard has it */
	int end;     /* eventfd: the thread is to end */
	struct wire_result result;
	struct wire_engine_info info;
	bool has_thread;
	pthread_t thread;
	pthread_mutex_t mutex; /* of all that follows */
	pthread_cond_t changed;
	bool is_gone; /* no more workers will come */
	struct standalone_worker workers[WIRE_WORKERS_MAX];
};

/* --- the directory --- */

static int standalone_remove_one(const char *path, const struct stat *status, int type,
				 struct FTW *walk)
{
	(void)remove(path);
	return 0;
}

static void standalone_empty_scratch(const struct standalone *standalone)
{
	(void)nftw(standalone->scratch, standalone_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* What the engine left is removed as its user, who could put other things in its place: root would
 * be led elsewhere by them. The directory around it is root's. */
static void standalone_remove_directory(const struct standalone *standalone)
{
	const struct conf *conf = standalone->conf;
	pid_t pid;

	if (geteuid() != 0) {
		standalone_empty_scratch(standalone);
	} else {
		pid = fork();
		if (pid == 0) {
			if (drop_to_user(conf->uid, conf->gid) == 0)
				standalone_empty_scratch(standalone);
			_exit(0);
		}
		if (pid > 0)
			(void)waitpid(pid, NULL, 0);
	}
	(void)rmdir(standalone->scratch);
	(void)rmdir(standalone->directory);
}

static bool standalone_make_directory(struct standalone *standalone, char *problem, size_t size)
{
	const struct conf *conf = standalone->conf;
	const char *parent = getenv("TMPDIR");

	(void)snprintf(standalone->directory, sizeof(standalone->directory), "%s/holdfast-XXXXXX",
		       parent && *parent == '/' ? parent : "/tmp");
	if (!mkdtemp(standalone->directory)) {
		(void)snprintf(problem, size, "cannot make a directory %s: %s",
			       standalone->directory, strerror(errno));
		standalone->directory[0] = '\0';
		return false;
	}
	(void)snprintf(standalone->scratch, sizeof(standalone->scratch), "%s/scratch",
		       standalone->directory);
	/* The engine passes through as another user. */
	if (mkdir(standalone->scratch, 0700) == 0 &&
	    (geteuid() != 0 || (chown(standalone->scratch, conf->uid, conf->gid) == 0 &&
				chmod(standalone->directory, 0711) == 0)))
		return true;
	(void)snprintf(problem, size, "cannot make the directory %s: %s", standalone->scratch,
		       strerror(errno));
	return false;
}

/* --- starting the engine --- */

/* As root the engine becomes another user, in namespaces of its own. Containers may have a root
 * who must not make any; then it does without, as that of an ordinary user. */
static int standalone_confine(const void *context)
{
	const struct standalone *standalone = context;
	const struct conf *conf = standalone->conf;
	const struct isolate_needs needs = {
		.scratch_dir = standalone->scratch,
		.program_dir = standalone->program_dir,
		.uid = conf->uid,
		.gid = conf->gid,
	};
	int r;

	if (geteuid() != 0)
		return drop_new_privs();
	r = isolate_engine(&needs, conf);
	return r < 0 && r != -EPERM ? r : drop_to_user(conf->uid, conf->gid);
}

/* --- what it says --- */

static int standalone_take_note(void *context, struct chan_message *message)
{
	const struct wire_note *note = (const void *)message;
	const struct standalone *standalone = context;

	if (!wire_string_ok(note->text, sizeof(note->text)))
		return -EPROTO;
	if (note->priority <= LOG_WARNING)
		standalone->note(standalone->context, note->text);
	return 0;
}

static int standalone_take_result(void *context, struct chan_message *message)
{
	struct standalone *standalone = context;

	memcpy(&standalone->result, message, sizeof(standalone->result));
	standalone->result.text[sizeof(standalone->result.text) - 1] = '\0';
	return 0;
}

static int standalone_take_info(void *context, struct chan_message *message)
{
	struct standalone *standalone = context;
	struct wire_engine_info *info = &standalone->info;

	memcpy(info, message, sizeof(*info));
	return wire_string_ok(info->engine, sizeof(info->engine)) &&
			       wire_string_ok(info->versions, sizeof(info->versions))
		       ? 0
		       : -EPROTO;
}

/* They stand in the versions as well, and that is all that is shown of them here. */
static int standalone_take_database(void *context, struct chan_message *message)
{
	return 0;
}

static int standalone_take_worker(void *context, struct chan_message *message)
{
	struct standalone *standalone = context;

	for (unsigned i = 0; i < WIRE_WORKERS_MAX; i++) {
		if (standalone->workers[i].fd >= 0)
			continue;
		standalone->workers[i] = (struct standalone_worker){
			.fd = message->fd,
			.pid = ((const struct wire_worker *)(const void *)message)->pid,
		};
		return 0;
	}
	close(message->fd);
	return -EPROTO;
}

static const struct chan_rule channel_rules[] = {
	{WIRE_NOTE, sizeof(struct wire_note), false, standalone_take_note},
	{WIRE_READY, sizeof(struct wire_result), false, standalone_take_result},
	{WIRE_FAILED, sizeof(struct wire_result), false, standalone_take_result},
	{0},
};

static const struct chan_rule info_rules[] = {
	{WIRE_ENGINE_INFO, sizeof(struct wire_engine_info), false, standalone_take_info},
	{0},
};

static const struct chan_rule worker_rules[] = {
	{WIRE_DATABASE, sizeof(struct wire_database), false, standalone_take_database},
	{WIRE_WORKER, sizeof(struct wire_worker), true, standalone_take_worker},
	{0},
};

static bool standalone_load(struct standalone *standalone, int signals, char *problem, size_t size)
{
	const struct wire_plain config = {.header = WIRE_INIT(WIRE_CONFIG, struct wire_plain)};
	struct pollfd ready[] = {{.fd = standalone->channel, .events = POLLIN},
				 {.fd = signals, .events = POLLIN}};
	int snapshot = conf_snapshot(standalone->conf), r = snapshot;

	if (snapshot >= 0) {
		r = chan_send(standalone->channel, &config.header, snapshot);
		close(snapshot);
	}
	while (r == 0 && !standalone->result.header.type) {
		if (poll(ready, 2, -1) < 0 && errno != EINTR)
			r = -errno;
		else if (ready[1].revents)
			r = -EINTR;
		else if (ready[0].revents)
			r = chan_serve(standalone->channel, channel_rules, standalone);
	}
	if (r == 0 && standalone->result.header.type == WIRE_READY)
		return true;
	(void)snprintf(problem, size, "%s",
		       r == 0	     ? standalone->result.text
		       : r == -EINTR ? "interrupted"
		       : r == -EPIPE ? "the engine ended while it was starting"
				     : strerror(-r));
	return false;
}

/* Introduces ourselves as the guard, for whom the workers are. */
static int standalone_introduce(struct standalone *standalone)
{
	const struct wire_peer peer = {
		.header = WIRE_INIT(WIRE_PEER, struct wire_peer),
		.role = WIRE_PEER_GUARD,
	};
	const struct wire_plain no_contents = {
		.header = WIRE_INIT(WIRE_NO_CONTENTS, struct wire_plain),
	};
	int ends[2], r = chan_pair(ends);

	if (r < 0)
		return r;
	standalone->guard = ends[0];
	r = chan_send(standalone->channel, &peer.header, ends[1]);
	close(ends[1]);
	if (r == 0)
		r = chan_send(standalone->guard, &no_contents.header, -1);
	return r < 0 ? r : chan_serve(standalone->guard, info_rules, standalone);
}

/* --- the thread that hears of workers --- */

/* Serves what is ready; a socket that ended is not looked at any more. */
static void standalone_serve(struct standalone *standalone, struct pollfd *ready,
			     const struct chan_rule *rules)
{
	if (ready->revents && chan_serve(ready->fd, rules, standalone) < 0)
		ready->fd = -1;
}

static void *standalone_run(void *context)
{
	struct standalone *standalone = context;
	struct pollfd ready[] = {{.fd = standalone->guard, .events = POLLIN},
				 {.fd = standalone->channel, .events = POLLIN},
				 {.fd = standalone->end, .events = POLLIN}};

	while (!ready[2].revents) {
		if (poll(ready, 3, -1) < 0)
			continue;
		standalone_serve(standalone, &ready[1], channel_rules);
		(void)pthread_mutex_lock(&standalone->mutex);
		standalone_serve(standalone, &ready[0], worker_rules);
		standalone->is_gone = ready[0].fd < 0;
		(void)pthread_cond_broadcast(&standalone->changed);
		(void)pthread_mutex_unlock(&standalone->mutex);
	}
	return NULL;
}

static bool standalone_start_all(struct standalone *standalone, int signals, char *problem,
				 size_t size)
{
	int r;

	program_find_directory(standalone->program_dir, sizeof(standalone->program_dir), ENGINE);
	standalone->pid = launch_start(standalone->program_dir, ENGINE, standalone_confine,
				       standalone, &standalone->channel);
	r = standalone->pid < 0 ? standalone->pid : 0;
	if (r == 0) {
		if (!standalone_load(standalone, signals, problem, size))
			return false;
		r = standalone_introduce(standalone);
	}
	if (r == 0) {
		standalone->end = eventfd(0, EFD_CLOEXEC);
		r = standalone->end < 0 ? -errno
					: -pthread_create(&standalone->thread, NULL, standalone_run,
							  standalone);
		standalone->has_thread = r == 0;
	}
	if (r < 0)
		(void)snprintf(problem, size, "cannot start an engine: %s", strerror(-r));
	return r == 0;
}

struct standalone *standalone_start(struct conf *conf, int signals, standalone_note note,
				    void *context, char *problem, size_t problem_size)
{
	struct standalone *standalone = calloc(1, sizeof(*standalone));
	char *run_dir;

	(void)snprintf(problem, problem_size, "out of memory");
	if (!standalone)
		return NULL;
	*standalone = (struct standalone){
		.conf = conf,
		.note = note,
		.context = context,
		.channel = -1,
		.guard = -1,
		.end = -1,
	};
	for (unsigned i = 0; i < WIRE_WORKERS_MAX; i++)
		standalone->workers[i].fd = -1;
	(void)pthread_mutex_init(&standalone->mutex, NULL);
	(void)pthread_cond_init(&standalone->changed, NULL);

	if (!standalone_make_directory(standalone, problem, problem_size))
		return standalone_free(standalone);
	run_dir = strdup(standalone->directory);
	if (!run_dir)
		return standalone_free(standalone);
	free(conf->run_dir);
	conf->run_dir = run_dir;
	return standalone_start_all(standalone, signals, problem, problem_size)
		       ? standalone
		       : standalone_free(standalone);
}

void standalone_stop(struct standalone *standalone)
{
	if (standalone->pid > 0)
		launch_end(standalone->pid);
	standalone->pid = 0;
	if (*standalone->directory)
		standalone_remove_directory(standalone);
	standalone->directory[0] = '\0';
}

struct standalone *standalone_free(struct standalone *standalone)
{
	if (!standalone)
		return NULL;
	if (standalone->has_thread) {
		(void)eventfd_write(standalone->end, 1);
		(void)pthread_join(standalone->thread, NULL);
	}
	standalone_stop(standalone);
	for (unsigned i = 0; i < WIRE_WORKERS_MAX; i++)
		if (standalone->workers[i].fd >= 0 && !standalone->workers[i].is_taken)
			close(standalone->workers[i].fd);
	if (standalone->channel >= 0)
		close(standalone->channel);
	if (standalone->guard >= 0)
		close(standalone->guard);
	if (standalone->end >= 0)
		close(standalone->end);
	(void)pthread_mutex_destroy(&standalone->mutex);
	(void)pthread_cond_destroy(&standalone->changed);
	free(standalone);
	return NULL;
}

const struct wire_engine_info *standalone_info(const struct standalone *standalone)
{
	return &standalone->info;
}

/* Ends a worker that was lost, where it has not ended by itself. */
static void standalone_end_worker(struct standalone *standalone, int fd)
{
	struct wire_worker kill_it = {.header = WIRE_INIT(WIRE_KILL_WORKER, struct wire_worker)};

	for (unsigned i = 0; fd >= 0 && i < WIRE_WORKERS_MAX; i++) {
		struct standalone_worker *worker = &standalone->workers[i];

		if (worker->fd != fd)
			continue;
		kill_it.pid = worker->pid;
		(void)chan_send(standalone->guard, &kill_it.header, -1);
		worker->fd = -1;
	}
}

static struct standalone_worker *standalone_find_idle(struct standalone *standalone)
{
	for (unsigned i = 0; i < WIRE_WORKERS_MAX; i++)
		if (standalone->workers[i].fd >= 0 && !standalone->workers[i].is_taken)
			return &standalone->workers[i];
	return NULL;
}

int standalone_connect(void *context, int lost, char *problem, size_t problem_size)
{
	struct standalone *standalone = context;
	struct standalone_worker *worker;
	int fd = -EPIPE;

	(void)pthread_mutex_lock(&standalone->mutex);
	standalone_end_worker(standalone, lost);
	while (!(worker = standalone_find_idle(standalone)) && !standalone->is_gone)
		(void)pthread_cond_wait(&standalone->changed, &standalone->mutex);
	if (worker) {
		worker->is_taken = true;
		fd = worker->fd;
	}
	(void)pthread_mutex_unlock(&standalone->mutex);
	if (fd < 0)
		(void)snprintf(problem, problem_size, "the engine has ended");
	return fd;
}
