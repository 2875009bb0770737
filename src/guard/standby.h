/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * standby: a process that waits to be the guard.
 *
 * Guards come in families. The first process of one is executed; the others are clones of a
 * standby, which have their own memory and share one table of descriptors (CLONE_FILES). So the
 * descriptors of the events that a guard has read do not go with it, and its successor answers them
 * under the numbers that the kernel knows them by. A clone opens nothing and executes nothing:
 * whoever would have to answer the open may just have died.
 *
 * A standby does nothing but obey the supervisor, whose child it is however it came to be: so
 * nothing that can go wrong in a guard has gone wrong in it, and there is nothing in its memory
 * that a clone should not have.
 */
#include "estate.h"

/* standby_run() is the process, from its first word to its last. channel leads to the supervisor.
 * Returns the exit status. */
int standby_run(int channel);
