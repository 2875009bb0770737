/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * journal: verdicts that outlive the guard's process, in a file that tags are appended to.
 *
 * The loop puts the tags that it adds into a ring and goes on; a thread writes them to the file
 * whenever it likes. What was written is found again after the guard was killed, not after a power
 * cut: the file counts in the boot it was begun in only, as filesystems may be changed by others in
 * between.
 *
 * The file is "verdicts" in a directory that only root may change: whoever could write it could
 * call any file clean. It begins with a header (format, boot, the key of the tags); the rest are
 * tags. One that is damaged, or of another boot or format, is begun anew; one that is not ours is
 * refused.
 *
 * Only tags of files that nobody but root may write to are kept: those of others do not outlive the
 * process, see verdicts.h.
 *
 * There is none without unique mount ids: which mounts have gone between two guards nobody knows.
 */
#include "verdicts.h"

/* Tags on their way to the file. One that finds no room is not written. */
#define JOURNAL_RING 4096

struct journal;

/*
 * journal_open() reads the file in directory into verdicts, which takes over its key and must
 * outlive the journal; and makes the file where there is none that counts. With is_known verdicts
 * has all that counts already, and nothing is opened: the next journal_write() begins the file
 * anew. Both must belong to us
 * (root); nobody else may write to the directory, or read or write the file. Call it before
 * anything uses verdicts. Duplicates directory, opens files and waits for disks. Returns NULL with
 * what is wrong in problem: then nothing is remembered, and everything else works.
 */
struct journal *journal_open(int directory, struct verdicts *verdicts, bool is_known, char *problem,
			     size_t problem_size);

/* journal_free() closes it without writing what is in the ring. Takes NULL. Returns NULL. */
struct journal *journal_free(struct journal *journal);

/* journal_add() puts a tag that is kept into the ring. For the loop: never waits. Takes NULL. */
void journal_add(struct journal *journal, const struct verdict_tag *tag);

/* journal_forget() has the file written anew, from the table: a tag was taken out. For the loop:
 * never waits. Takes NULL. */
void journal_forget(struct journal *journal);

/*
 * journal_write() appends what is in the ring to the file; when the file has grown to twice what
 * the table has room for, it is written anew from the table. For one thread beside the loop, with
 * which the loop may go on. Returns 0, or a negative errno: -ENOSPC, say; then nothing more is
 * written to it, and each call says so, until it would have grown so far and is written anew.
 */
int journal_write(struct journal *journal);
