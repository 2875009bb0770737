/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * roster: the engine whose signatures count, its workers, and what each of them is scanning. Part
 * of the estate: the workers go on while one guard follows another, and their sockets are in the
 * table of descriptors that guards share. So a successor has workers at once, and no scan is begun
 * again for it.
 *
 * Kept by pool.c. An entry is there when its descriptor is, which is written last and taken away
 * first; 0: there is none.
 */
#include "file.h"

#include <holdfast/wire.h>
#include <stdatomic.h>

/* Workers that have ended may still be known while their successors are announced. */
#define ROSTER_WORKERS_MAX (2 * WIRE_WORKERS_MAX)

/* What a worker was given. */
struct roster_scan {
	uint64_t id; /* of the scan */
	int fd;	     /* the request's */
	struct file_id file;
	struct file_state state; /* when the scan began */
	bool is_settled, had_writer, timed_out;
	_Atomic bool stale; /* see struct request, as are the others */
};

struct roster_worker {
	_Atomic int fd;
	int32_t pid;
	uint64_t deadline_us;
	_Atomic bool is_busy; /* scan counts; or did a moment ago */
	struct roster_scan scan;
};

struct roster {
	_Atomic int engine_fd; /* -1: the engine died, its workers go on */
	int32_t engine;	       /* its pid; 0: there is no entry */
	uint64_t next_id;      /* of scans */
	struct wire_engine_info info;
	struct wire_database databases[WIRE_DATABASES_MAX];
	uint32_t n_databases;
	struct roster_worker workers[ROSTER_WORKERS_MAX];
};
