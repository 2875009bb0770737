/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* launch: one of the service's programs, started by the command line in the supervisor's place. */
#include <sys/types.h>

/*
 * launch_start() executes a program of a directory (see program_find_directory()), with one end of
 * a channel; the other is in *ret_channel, for the caller to close. confine() runs in the child and
 * gives up what the program must not have; it returns 0 or a negative errno. What goes wrong in the
 * child is said on standard error. Returns the process, which leads a group of its own, or a
 * negative errno. Call it from the main thread: the programs end with the thread that started them.
 */
pid_t launch_start(const char *directory, const char *name, int (*confine)(const void *context),
		   const void *context, int *ret_channel);

/* launch_end() kills it and what it started, and waits for it. */
void launch_end(pid_t pid);
