/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* fetcher: the process that keeps signatures fresh. It does what it is told, once, and ends. */

/* fetcher_run() waits for the configuration and for what to do, does it, and returns the exit
 * status. */
int fetcher_run(int channel);
