/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* listener: the directories of the service and its sockets, made once at start. */
#include "../common/conf.h"

/* Both listen. */
struct listeners {
	int control; /* for control-group */
	int scan;    /* for everybody */
};

/*
 * listener_open() makes run-dir, state-dir with what the guard keeps there, the default directory
 * of signatures, and the engine's scratch directory (written to scratch) where they are missing,
 * and the sockets. Returns 0, or a negative errno with the reason in problem; -EADDRINUSE: another
 * holdfastd runs with this run-dir.
 */
int listener_open(const struct conf *conf, char *scratch, size_t scratch_size,
		  struct listeners *ret, char *problem, size_t problem_size);
