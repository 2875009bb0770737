/* SPDX-License-Identifier: GPL-2.0-only */
#include "launch.h"

#include "../common/chan.h"
#include "../common/program.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The program is opened before it is confined: its user need not be able to reach it. */
static _Noreturn void launch_exec(const char *directory, const char *name,
				  int (*confine)(const void *context), const void *context,
				  int channel)
{
	char *const argv[] = {(char *)name, NULL};
	char path[PATH_MAX + 32];
	int program, r;

	program_prepare(channel);
	(void)snprintf(path, sizeof(path), "%s/%s", directory, name);
	program = open(path, O_PATH | O_CLOEXEC);
	r = program < 0 ? 0 : confine(context);
	if (r < 0)
		(void)dprintf(STDERR_FILENO, "holdfast: cannot confine %s: %s\n", name,
			      strerror(-r));
	else if (program >= 0)
		(void)fexecve(program, argv, environ);
	if (r == 0)
		(void)dprintf(STDERR_FILENO, "holdfast: cannot execute %s: %s\n", path,
			      strerror(errno));
	_exit(127);
}

pid_t launch_start(const char *directory, const char *name, int (*confine)(const void *context),
		   const void *context, int *ret_channel)
{
	int ends[2], r = chan_pair(ends);
	pid_t pid;

	if (r < 0)
		return r;
	pid = fork();
	if (pid == 0)
		launch_exec(directory, name, confine, context, ends[1]);
	r = -errno;
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		return r;
	}
	*ret_channel = ends[0];
	return pid;
}

void launch_end(pid_t pid)
{
	/* It may not have come to make its process group yet. */
	(void)kill(-pid, SIGKILL);
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
}
