/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * supervisor: starts the other processes, introduces them to each other, restarts what dies, and
 * kills a guard that does not answer. It is the one that can end a machine-wide hang, so after
 * start-up it opens no file, resolves no name, waits for nobody and writes to no log: whatever does
 * goes on in a child.
 */
#include "../common/conf.h"
#include "child.h"
#include "listener.h"

/*
 * supervisor_run() serves until SIGTERM or SIGINT. conf is resolved; it becomes the supervisor's.
 * Returns the exit status: 0 after a stop that was asked for, 1
 * when the service could not be started.
 */
int supervisor_run(struct conf *conf, const struct child_setup *setup,
		   const struct listeners *listeners);
