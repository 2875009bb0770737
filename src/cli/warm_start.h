/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* warm_start: the files that are verified again after a change of signatures, as `holdfast status`
 * tells of them. */
#include "cli.h"

#include <holdfast/control.h>

/* warm_start_ask() asks the guard over its control socket. Returns 0 or a negative errno. */
int warm_start_ask(int fd, struct control_warm_start_reply *ret_reply);

/* warm_start_print() prints the line of `holdfast status`. */
void warm_start_print(const struct control_warm_start_reply *reply);

/* warm_start_json() returns the same for programs. */
json_t *warm_start_json(const struct control_warm_start_reply *reply);
