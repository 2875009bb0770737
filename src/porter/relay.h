/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * relay: between one client of the scan socket and the guard. Takes files from the client, hands
 * those on that are regular files of a local filesystem that is mounted here, answers for the
 * others, and hands the verdicts back. May wait for its client, and for whatever the client hands
 * in.
 */

/* relay_run() serves client until it, or the guard, closes its end. Takes both sockets. */
void relay_run(int client, int guard);
