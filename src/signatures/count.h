/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * count: keeps libclamav from counting the lines of files of signatures.
 *
 * It does so before it loads them, byte by byte, for those who show how far loading has come, and
 * asks nobody whether they want it. With 8.4 million signatures as text that is 2.0 s of 8.8 s of
 * processor time. The count and the loading open a file by different modes, so fopen64() is ours
 * in this program, and refuses the first. Whether they still do is seen where a file is loaded.
 *
 * Only of the kinds that become large: hashes, bodies and logical signatures. Each was seen to be
 * opened twice, for the one and for the other. YARA rules must not be among them: they are not
 * counted, and the files that they include are opened for loading as others are for the count.
 */

/* count_watch() begins to note how files of signatures are opened. One is to be loaded then. */
void count_watch(void);

/* count_prevent() ends that, and begins to refuse the count where what was noted shows that it can
 * be told from the loading. Where it does not, nothing is refused. */
void count_prevent(void);

/* count_allow() lets everything be opened again, and notes nothing. */
void count_allow(void);
