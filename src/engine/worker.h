/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * worker: a process that takes one file at a time from the guard and returns a verdict on it.
 * Forked by the engine; it owns its end of the socket and its scratch directory, and holds nothing
 * else.
 */
#include "clam.h"
#include "digest.h"

#include <stdint.h>

/* A worker gets so much time beyond max-scan-time before its alarm ends it, and the guard gives it
 * up so much later that the alarm comes first. */
#define WORKER_ALARM_GRACE_MS 2000
#define WORKER_GUARD_GRACE_MS 4000

/* The descriptor of a worker's socket. */
#define WORKER_FD 3

/* The exit status of a worker that cannot be confined. */
#define WORKER_NOT_CONFINED 3

/* What a worker is made of; not owned. */
struct worker_tools {
	struct clam *clam;
	struct digest *digest;
	const struct contents *contents; /* files of a content that is known are not scanned; NULL:
					    there is no table */
	uint64_t set;			 /* of signatures and settings */
	uint64_t max_file_size, max_scan_time_ms;
};

/* worker_run() serves fd until the guard closes its end. Does not return. */
_Noreturn void worker_run(const struct worker_tools *tools, int fd, const char *scratch);
