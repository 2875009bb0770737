/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * reporter: the process that tells people. It takes findings and notes from the guard and the
 * supervisor and has a thread write them to the sinks (writer.h), which may wait for a slow log
 * daemon, even for one whose own open is being held. Lines wait meanwhile, up to a bound.
 */

/*
 * reporter_run() serves until the supervisor's end of channel is closed and everything sent before
 * is written; what no sink has taken some seconds later is lost, with the process. Returns the exit
 * status.
 */
int reporter_run(int channel);
