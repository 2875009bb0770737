/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * count: keeps libclamav from counting the lines of files of signatures.
 *
 * It does so before it loads them, byte by byte, for those who show how far loading has come, and
 * asks nobody whether they want it. With 8.4 million signatures as text that is 2.0 s of 8.8 s of
 * processor time; containers, which say how many they have, are not counted. The count and the
 * loading open a file by different modes, so fopen64() is ours in this program, and refuses the
 * first. Whether they still do is seen when the embedded signature is loaded.
 */
#include <stdbool.h>

/* count_watch() begins to note how files of signatures are opened. Nothing is refused. */
void count_watch(void);

/* count_prevent() begins to refuse the count where what was noted, of one file that was loaded,
 * shows that it can be told from the loading. */
void count_prevent(void);

/* count_allow() lets everything be opened again, and notes nothing. */
void count_allow(void);
