/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * roster: the engine whose signatures count, its workers, and what each of them is scanning. Part
 * of the estate: workers go on while one guard follows another, and their sockets are in the table
 * of descriptors that guards share. So a successor has workers at once, and no scan is begun again.
 *
 * Kept by pool.c. An entry counts while its first member says so, which is written last when it is
 * made and first when it ends.
 */
#include "file.h"

#include <holdfast/wire.h>
#include <stdatomic.h>

/* Workers that have ended may still be known while their successors are announced. */
#define ROSTER_WORKERS_MAX (2 * WIRE_WORKERS_MAX)

/* What a worker was given; see struct request. */
struct roster_scan {
	uint64_t id;
	int fd; /* the request's */
	struct file_state state;
	uint32_t lane;
	int32_t pid; /* the first opener's, and his uid */
	uint32_t uid;
	bool is_settled;
	bool stale, timed_out;
};

struct roster_worker {
	_Atomic int fd; /* 0: there is no such worker */
	int32_t pid;
	uint64_t serial;     /* by which it vouches for contents */
	uint64_t arrived_us; /* monotonic */
	uint32_t scans;	     /* that it was given */
	uint64_t deadline_us;
	_Atomic bool is_busy; /* with the scan */
	bool is_low;	      /* its priority may be */
	struct roster_scan scan;
};

struct roster {
	_Atomic int32_t engine; /* its pid; 0: there is none */
	_Atomic int engine_fd;	/* -1: it died, its workers go on */
	uint64_t next_id;	/* of scans, questions and workers */
	struct wire_engine_info info;
	struct wire_database databases[WIRE_DATABASES_MAX];
	uint32_t n_databases;
	struct roster_worker workers[ROSTER_WORKERS_MAX];
};
