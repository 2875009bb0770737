/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * opener: the process behind an open. Read while its open is held: it cannot go away meanwhile but
 * by being killed, and then nobody is left to profit from a wrong answer. That is why no pidfd is
 * asked for, which would cost a descriptor and two system calls for every open.
 */
#include <holdfast/wire.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#define OPENER_UID_UNKNOWN UINT32_MAX

struct opener {
	int32_t pid;
	uint32_t uid;	    /* effective: on whose behalf it acts. OPENER_UID_UNKNOWN: not found */
	bool has_exe;	    /* it has been looked for: */
	char exe[PATH_MAX]; /* see opener_exe() */
};

/* opener_init() opens what the others need, before the first mark. Returns 0 or a negative
 * errno. */
int opener_init(void);

/*
 * opener_uid() returns the effective uid of a process; OPENER_UID_UNKNOWN: it is not there. From a
 * pidfd (Linux 6.13), in 1.5 us, or from /proc/PID/status, which takes the kernel five times as
 * long to write. The owner of /proc/PID would do for most, but is root for every process that made
 * itself non-dumpable.
 */
uint32_t opener_uid(int32_t pid);

/* opener_read() finds out the uid. */
void opener_read(int32_t pid, struct opener *opener);

/* opener_exe() returns the path of the executable, which is looked up when it is asked for first;
 * empty: not known. Belongs to opener. */
const char *opener_exe(struct opener *opener);

/*
 * opener_exe_is_ours() says whether the path of its executable means the same file for us. In a
 * mount namespace of his own any user can put any program under any name.
 */
bool opener_exe_is_ours(struct opener *opener);
