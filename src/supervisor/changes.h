/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* changes: notices what others change in the directory of signatures: freshclam, an administrator,
 * the fetcher. What follows from it is in service.h. */
#include "../common/conf.h"

/*
 * changes_open() begins to watch the directory of signatures of conf. Opens files, so never in the
 * supervisor's loop. Returns an inotify descriptor that does not block, or -1 with the reason, for
 * people, in problem.
 */
int changes_open(const struct conf *conf, char *problem, size_t problem_size);
