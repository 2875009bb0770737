/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* standalone_fetch: a fetcher of our own, where no service runs or it is to keep a mirror. */
#include "../common/conf.h"

#include <sys/types.h>

struct standalone_fetch {
	pid_t pid;   /* 0: there is none */
	int channel; /* to the fetcher, as the supervisor has it: WIRE_NOTE, WIRE_FETCHED */
	int told;    /* what it tells of the run: WIRE_UPDATE_* */
};

/*
 * standalone_fetch_start() starts a run with a resolved configuration, as the service's user; the
 * caller must be that or root. mirror_to: the directory to keep a mirror in, NULL: none.
 * Directories that are missing are made, one level deep. Returns false with what is wrong, and what
 * to do about it, in problem. Call it from the main thread: the fetcher ends with the thread that
 * started it.
 */
bool standalone_fetch_start(struct standalone_fetch *fetch, const struct conf *conf,
			    const char *mirror_to, char *problem, size_t problem_size);

/* standalone_fetch_end() ends the run, if it has not ended by itself. */
void standalone_fetch_end(struct standalone_fetch *fetch);
