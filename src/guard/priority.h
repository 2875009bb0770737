/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * priority: how much a worker is in the way of everybody else, for the processor and for disks.
 *
 * A worker cannot raise itself, and may be busy for minutes with what somebody has just begun to
 * wait for; so the guard does it, with CAP_SYS_NICE, for the pid that the worker's engine told of.
 * Two things bound what that may hit. Only processes of the service's own user are touched,
 * which an engine that was taken over may do what it likes with anyway. And a pid that has been
 * used again must have been so since the worker's socket was closed, which the loop handles before
 * all opens, and by that user: whom nothing else runs as.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * priority_set() has a process of this user run when nobody else wants to (is_low), or as the
 * caller does. Neither opens a file outside /proc nor waits. Returns 0 or a negative errno: -EPERM
 * where CAP_SYS_NICE is withheld, -ESRCH where there is no such process of that user.
 */
int priority_set(int32_t pid, uid_t uid, bool is_low);
