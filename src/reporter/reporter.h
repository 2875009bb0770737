/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * reporter: the process that tells people. It takes findings and notes from the guard and the
 * supervisor and writes them to the sinks. It may wait for a slow log daemon, even for one whose
 * own open is being held: nobody waits for it.
 */

/*
 * reporter_run() serves until the supervisor's end of channel is closed and everything sent before
 * is written. Returns the exit status.
 */
int reporter_run(int channel);
