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
#include "memory.h"

/* What was opened at start, as nothing is later. */
struct supervisor_files {
	struct listeners listeners;
	struct memory memory;
	int changes;			 /* changes_open()'s; -1: none */
	char not_watched[WIRE_TEXT_MAX]; /* why there is none */
};

/*
 * supervisor_run() serves until SIGTERM or SIGINT. conf is resolved; it becomes the supervisor's,
 * and so do the files. Returns the exit status: 0 after a stop that was asked for, 1
 * when the service could not be started.
 */
int supervisor_run(struct conf *conf, const struct child_setup *setup,
		   const struct supervisor_files *files);
