/* SPDX-License-Identifier: GPL-2.0-only */
#include "child.h"

#include "../common/chan.h"
#include "../common/drop.h"
#include "../common/isolate.h"
#include "../common/program.h"
#include "../common/role.h"
#include "changes.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

static const char *const child_names[CHILD_ROLES] = {
	[CHILD_REPORTER] = "holdfast-report", [CHILD_ENGINE] = "holdfast-engine",
	[CHILD_GUARD] = "holdfast-guard",     [CHILD_STANDBY] = "the standby of holdfast-guard",
	[CHILD_PORTER] = "holdfast-porter",   [CHILD_FETCHER] = "holdfast-fetch",
};

const char *child_name(enum child_role role)
{
	return child_names[role];
}

/* We are the last to be killed when memory runs out, and so is the guard; the others are not. */
static void child_be_ordinary(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)!write(fd, "0", 1);
	close(fd);
}

/* The program is found with our privileges and executed with its own: its user need not be able to
 * reach the directory it is in, as when the service is tried out of somebody's home. */
static _Noreturn void child_exec(const struct child_setup *setup, enum child_role role,
				 const struct conf *conf)
{
	char path[PATH_MAX];
	char *const argv[] = {(char *)child_name(role), (char *)"--config",
			      (char *)setup->config_path, NULL};
	const struct isolate_needs needs = {
		.scratch_dir = setup->scratch_dir,
		.program_dir = setup->program_dir,
		.uid = setup->uid,
		.gid = setup->gid,
	};
	int r = 0, program;

	(void)snprintf(path, sizeof(path), "%s/%s", setup->program_dir, child_name(role));
	program = open(path, O_PATH | O_CLOEXEC);
	if (role == CHILD_ENGINE)
		r = isolate_engine(&needs, conf);
	if (r == 0 && role != CHILD_GUARD) {
		child_be_ordinary();
		r = drop_to_user(setup->uid, setup->gid);
	}
	if (r < 0) {
		(void)dprintf(STDERR_FILENO, "holdfastd: cannot prepare %s: %s\n", child_name(role),
			      strerror(-r));
		_exit(126);
	}

	if (program >= 0)
		(void)fexecve(program, argv, environ);
	(void)dprintf(STDERR_FILENO, "holdfastd: cannot execute %s: %s\n", path, strerror(errno));
	_exit(127);
}

/* Forks. In the child the channel is ROLE_CHANNEL_FD. */
static pid_t child_fork(int *ret_channel)
{
	int ends[2], r = chan_pair(ends);
	pid_t pid;

	if (r < 0)
		return r;
	pid = fork();
	if (pid == 0) {
		program_prepare(ends[1]);
		return 0;
	}
	close(ends[1]);
	/* Here too: a signal to its group may be sent before it has run. */
	if (pid > 0)
		(void)setpgid(pid, pid);
	if (pid < 0) {
		r = -errno;
		close(ends[0]);
		return r;
	}
	*ret_channel = ends[0];
	return pid;
}

pid_t child_start(const struct child_setup *setup, enum child_role role, const struct conf *conf,
		  int *ret_channel)
{
	pid_t pid = child_fork(ret_channel);

	if (pid == 0)
		child_exec(setup, role, conf);
	return pid;
}

/* In the loader: problems go to the supervisor as notes. */
static void loader_report(void *context, int priority, unsigned line, const char *text)
{
	const struct child_setup *setup = context;
	char where[32] = "", full[WIRE_TEXT_MAX];
	struct wire_note note;

	if (line)
		(void)snprintf(where, sizeof(where), ":%u", line);
	(void)snprintf(full, sizeof(full), "%s%s: %s", setup->config_path, where, text);
	note = wire_note_make(priority, full);
	(void)chan_send(ROLE_CHANNEL_FD, &note.header, -1);
}

/* Returns 0 or a negative errno. */
static int loader_watch(const struct conf *conf)
{
	const struct wire_plain watch = {.header = WIRE_INIT(WIRE_WATCH, struct wire_plain)};
	char problem[WIRE_TEXT_MAX];
	int fd = changes_open(conf, problem, sizeof(problem));
	struct wire_result failed;

	if (fd >= 0)
		return chan_send(ROLE_CHANNEL_FD, &watch.header, fd);
	failed = wire_result_make(WIRE_FAILED, problem);
	return chan_send(ROLE_CHANNEL_FD, &failed.header, -1);
}

static _Noreturn void loader_run(struct child_setup *setup)
{
	const struct wire_plain config = {.header = WIRE_INIT(WIRE_CONFIG, struct wire_plain)};
	struct wire_plain go;
	struct conf *conf;
	int snapshot = -EINVAL;

	if (recv(ROLE_CHANNEL_FD, &go, sizeof(go), 0) < 0)
		_exit(1);
	conf = conf_read_file(setup->config_path, loader_report, setup);
	if (conf && conf_resolve(conf, loader_report, setup) == 0)
		snapshot = conf_snapshot(conf);
	_exit(snapshot >= 0 && loader_watch(conf) == 0 &&
			      chan_send(ROLE_CHANNEL_FD, &config.header, snapshot) == 0
		      ? 0
		      : 1);
}

pid_t child_load_conf(const struct child_setup *setup, int *ret_channel)
{
	struct child_setup copy = *setup;
	pid_t pid = child_fork(ret_channel);

	if (pid == 0)
		loader_run(&copy);
	return pid;
}
