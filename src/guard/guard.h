/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * guard: the process. Ties the gate, the marks and the control socket to the supervisor, who sends
 * the configuration and introduces the peers. In here there are no decisions over opens.
 */

/*
 * guard_run() serves until the supervisor's end of channel is closed, then lets every held open go.
 * Returns the exit status.
 */
int guard_run(int channel);
