/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * porter: lets clients of the scan socket in, and has each served by a process of its own
 * (relay.h).
 *
 * A descriptor that somebody else has made can keep whoever closes it waiting for good, beyond the
 * reach of a signal: a FUSE server need only not answer. So the guard, for whom openers wait, is
 * not to be given one. The porter itself receives none either: all that a client can stop is its
 * own relay.
 */

/* porter_run() serves until the supervisor's end of channel is closed. Returns the exit status. */
int porter_run(int channel);
