/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * verdicts: the files that were verified, each in the very state it was verified in.
 *
 * A file in a state is a tag, a keyed hash (SipHash-2-4 with 128 bits, libsodium's siphashx24) of
 * the mount it was looked at through, its device, inode and handle (which holds the inode's
 * generation), its size, mtime and ctime, and of the signatures and settings it was scanned under.
 * Whether a file has been verified is whether its tag is here: any change makes another tag, and
 * nobody without the key can make two files have one. Only complete, clean verdicts are put in.
 *
 * Two system calls change the bytes of a file and not its ctime (XFS_IOC_SWAPEXT,
 * EXT4_IOC_MOVE_EXT), for whoever has it open for writing. So the tag of a file that others than
 * root may write to also holds how often such files were closed by writers, and changes with the
 * process: whoever puts it in must be told of each close. Whether it is such a file is told by the
 * tag itself; to become one changes the ctime.
 *
 * The mount is told by its unique id (Linux 6.8), or by its id and how often that has been used
 * again: a filesystem that was unmounted may have been changed elsewhere, times and all.
 *
 * Bounded: a table of buckets of four tags, the most recently used first; a new one takes the place
 * of the last. Memory is allocated once, and makes sense after each single store: it may outlive
 * the process that writes to it. Only the loop changes it; other threads may ask
 * verdicts_has() meanwhile: a tag that they see torn is one they do not find.
 */
#include "features.h"
#include "file.h"

/* In bytes. */
#define VERDICTS_TAG_SIZE 16
#define VERDICTS_KEY_SIZE 16

struct verdict_tag {
	uint64_t half[2];
};
_Static_assert(sizeof(struct verdict_tag) == VERDICTS_TAG_SIZE, "the file format");

/* verdict_tag_is_of_root() says whether nobody but root may write to the file of this tag. */
static inline bool verdict_tag_is_of_root(const struct verdict_tag *tag)
{
	return tag->half[1] & 1;
}

struct verdicts;

/*
 * verdicts_new() takes over the table in *memory, a memfd, or makes an empty one, with a new random
 * key, and another memfd, where there is none (-1) or one of another size: of at most this many
 * bytes, of one bucket at least. The caller owns both memfds. NULL: out of memory. verdicts_free()
 * takes NULL and returns NULL.
 */
struct verdicts *verdicts_new(size_t bytes, bool has_unique_mount_ids, int *memory);
struct verdicts *verdicts_free(struct verdicts *verdicts);

/* verdicts_capacity() returns how many tags there is room for, verdicts_count() how many there are.
 */
size_t verdicts_capacity(const struct verdicts *verdicts);
size_t verdicts_count(const struct verdicts *verdicts);

/*
 * verdicts_tag() looks at the file called name in directory, "": at directory itself, whatever
 * descriptor that is, and makes its tag under these signatures. Follows no symbolic link, opens
 * nothing. ret_id and ret_state may be NULL. Returns 0 or a negative errno: -EINVAL for what is not
 * a regular file, -EOPNOTSUPP where the kernel does not say which mount it is on. For all threads.
 */
int verdicts_tag(const struct verdicts *verdicts, int directory, const char *name,
		 uint64_t signatures, struct verdict_tag *ret_tag, struct file_id *ret_id,
		 struct file_state *ret_state);

/* verdicts_has() says whether a tag is there, for all threads; verdicts_use() says it too, and
 * notes that it was of use. */
bool verdicts_has(const struct verdicts *verdicts, const struct verdict_tag *tag);
bool verdicts_use(struct verdicts *verdicts, const struct verdict_tag *tag);

/* verdicts_add() puts a tag in; verdicts_remove() takes it out. */
void verdicts_add(struct verdicts *verdicts, const struct verdict_tag *tag);
void verdicts_remove(struct verdicts *verdicts, const struct verdict_tag *tag);

/* verdicts_closed() is told that somebody who could write to a file has closed it, on whatever
 * mount; verdicts_closes_missed() that such closes may have gone unseen. For the loop. */
void verdicts_closed(struct verdicts *verdicts, struct file_id id);
void verdicts_closes_missed(struct verdicts *verdicts);

/*
 * verdicts_mounts_changed() is told the ids of all mounts there are (the ids of mountinfo), after
 * any change: an id that has gone will stand for another mount when it comes again. Mounts that it
 * is not told of, those of other mount namespaces, count as others after each change. Nothing to do
 * with unique ids. For the loop.
 */
void verdicts_mounts_changed(struct verdicts *verdicts, const uint64_t *ids, size_t n);

/* For the journal. verdicts_key() and verdicts_set_key() copy VERDICTS_KEY_SIZE bytes; the key is
 * set before there are tags. */
void verdicts_key(const struct verdicts *verdicts, unsigned char *ret_key);
void verdicts_set_key(struct verdicts *verdicts, const unsigned char *key);

/* verdicts_at() copies what is at a place below verdicts_capacity(), which of a bucket oldest
 * first, and says whether it is a tag. For all threads. */
bool verdicts_at(const struct verdicts *verdicts, size_t place, struct verdict_tag *ret_tag);

/* verdicts_can_outlive_us() says whether tags mean the same to another process: without unique ids
 * nobody has seen which mounts have gone in between. */
bool verdicts_can_outlive_us(const struct verdicts *verdicts);
