/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* listener: the directories of the service and its control socket, made once at start. */
#include "../common/conf.h"

/*
 * listener_open() makes run-dir, state-dir and the engine's scratch directory (written to scratch)
 * where they are missing, and the control socket. Returns the listening socket, or a negative errno
 * with the reason in problem;
 * -EADDRINUSE: another holdfastd runs with this run-dir.
 */
int listener_open(const struct conf *conf, char *scratch, size_t scratch_size, char *problem,
		  size_t problem_size);
