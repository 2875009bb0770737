/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * guard: the process that decides. Ties the gate, the marks and the control socket to the
 * supervisor, who sends the configuration and introduces the peers. In here there are no decisions
 * over opens.
 */
#include "estate.h"

/*
 * guard_run() serves until the supervisor's end of channel is closed, then lets every held open go.
 * With an order that names a predecessor it goes on where that ended. Returns the exit status.
 */
int guard_run(int channel, struct estate *estate, const struct wire_take_over *order);
