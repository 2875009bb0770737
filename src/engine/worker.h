/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * worker: a process that takes one file at a time from the guard and returns a verdict on it.
 * Forked by the engine; it owns its end of the socket and its scratch directory, and holds nothing
 * else.
 */
#include "clam.h"

#include <stdint.h>

/* A worker gets so much time beyond max-scan-time before its alarm ends it, and the guard gives it
 * up so much later that the alarm comes first. */
#define WORKER_ALARM_GRACE_MS 2000
#define WORKER_GUARD_GRACE_MS 4000

/* The descriptor of a worker's socket. */
#define WORKER_FD 3

/* The exit status of a worker that cannot be confined. */
#define WORKER_NOT_CONFINED 3

/* worker_run() serves fd until the guard closes its end. Does not return. */
_Noreturn void worker_run(struct clam *clam, int fd, const char *scratch,
			  uint64_t max_scan_time_ms);
