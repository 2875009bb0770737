/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * engine: the process that loads the signatures, once, and forks the workers. One engine is one
 * generation of signatures: a reload starts another engine beside it. It serves one guard at a time
 * and scans nothing itself.
 */

/*
 * engine_run() waits for the configuration, loads, tells the supervisor, and serves until the guard
 * retires it or the supervisor's end of channel is closed. Returns the exit status.
 *
 * Where WIRE_TRIAL comes before the configuration, the signatures are tried as trial.h says, in
 * little memory: WIRE_READY says that they load and how many there are, WIRE_FAILED why they do
 * not, and it ends.
 */
int engine_run(int channel);
