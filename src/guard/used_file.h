/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * used_file: the files that were used, in the file "used" of a directory that only root may change.
 *
 * They count after a reboot too: what they lead to is verified anew. Written to a new file and
 * renamed over the old one. Whoever may read it learns which files people open, so nobody but root
 * may. Opens files and waits for disks: for the thread.
 */
#include "used.h"

/*
 * used_file_read() puts what is on disk into used, before used_begin(). Returns 0, -ENOENT where
 * there is none, -EBADMSG where it is damaged or of another format: then nothing of it is taken,
 * and the next used_file_write() begins it anew; -EPERM where it is not a file of ours alone, or
 * another negative errno.
 */
int used_file_read(int directory, struct used *used);

/* used_file_write() returns 0 or a negative errno: then the one before is still there. -EPERM: see
 * used_file_read(). */
int used_file_write(int directory, const struct used *used);

/* used_file_remove() removes it, if it is there. */
void used_file_remove(int directory);
