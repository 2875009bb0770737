/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * standalone: an engine of our own, where no service runs or none is to be asked. Its workers are
 * confined as those of the service: as root they become another user, in namespaces of their own
 * where the kernel allows it.
 */
#include "../common/conf.h"

#include <holdfast/wire.h>

struct standalone;

/* Told of what the engine has to say, as it happens; from another thread. */
typedef void (*standalone_note)(void *context, const char *text);

/*
 * standalone_start() starts an engine with a configuration, whose run-dir it changes, and waits
 * until it has loaded its signatures, or until signals is readable. Files that it needs meanwhile
 * are in a directory of its own below TMPDIR or /tmp. Call it from the main thread: the engine ends
 * with the thread that started it. Returns NULL with what is wrong in problem.
 */
struct standalone *standalone_start(struct conf *conf, int signals, standalone_note note,
				    void *context, char *problem, size_t problem_size);

/* standalone_stop() ends the engine and removes what it left; other threads may still use it, and
 * find that no workers come any more. standalone_free() does too, takes NULL and returns NULL. */
void standalone_stop(struct standalone *standalone);
struct standalone *standalone_free(struct standalone *standalone);

const struct wire_engine_info *standalone_info(const struct standalone *standalone);

/* standalone_connect() waits for a worker: see struct crew_options. */
int standalone_connect(void *context, int lost, char *problem, size_t problem_size);
