/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * sandbox: the walls around a worker. It parses files from anywhere with a large library in C, so
 * it is taken for granted that one day it runs somebody else's code. That code finds: no capability
 * and no way to get any (drop.h), no file to open but its scratch directory and the C library's
 * modules (Landlock), and only the system calls listed in sandbox.c: no network, no other process,
 * no program to start.
 */

#include <stddef.h>

/*
 * sandbox_enter() confines the calling process for good. scratch is the directory it may write to,
 * readable are n files or directories that it may read beside that. Needs no new privileges, or
 * CAP_SYS_ADMIN. Returns 0 or a negative errno.
 */
int sandbox_enter(const char *scratch, const char *const *readable, size_t n);
