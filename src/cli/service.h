/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* service: scanning by the service that runs, over its scan socket. */
#include <holdfast/wire.h>
#include <stdatomic.h>

struct service {
	const char *run_dir;
	struct wire_engine_info info;
	atomic_int first; /* a connection that nobody has taken yet, or -1 */
};

/* service_open() connects and asks for the engine. Returns 0, or a negative errno with what is
 * wrong in problem. */
int service_open(struct service *service, const char *run_dir, char *problem, size_t problem_size);

/* service_connect() gives a thread its connection: see struct crew_options. One that was lost is
 * tried again for SERVICE_PATIENCE_S seconds: a guard that died is followed by another. */
int service_connect(void *context, int lost, char *problem, size_t problem_size);

#define SERVICE_PATIENCE_S 10
