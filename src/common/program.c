/* SPDX-License-Identifier: GPL-2.0-only */
#include "program.h"

#include "config.h"
#include "role.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void program_find_directory(char *directory, size_t size, const char *name)
{
	char probe[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", directory, size - 1);
	char *slash;

	directory[n > 0 ? n : 0] = '\0';
	slash = strrchr(directory, '/');
	if (slash) {
		*slash = '\0';
		(void)snprintf(probe, sizeof(probe), "%s/%s", directory, name);
		if (access(probe, X_OK) == 0)
			return;
	}
	(void)snprintf(directory, size, "%s", HOLDFAST_LIBEXECDIR);
}

void program_prepare(int channel)
{
	sigset_t none;

	/* Out of the terminal's reach: Ctrl-C is for who started us to act on. */
	(void)setpgid(0, 0);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(channel, ROLE_CHANNEL_FD) < 0 || close_range(ROLE_CHANNEL_FD + 1, ~0u, 0) < 0)
		_exit(126);
	/* dup2() of a descriptor to itself keeps its close-on-exec flag. */
	(void)fcntl(ROLE_CHANNEL_FD, F_SETFD, 0);
}
