/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* file: what a descriptor stands for. None of these functions opens anything outside /proc. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

/* Which file it is. Unique only while a descriptor of the file is held: inode numbers are used
 * again. */
struct file_id {
	uint64_t device;
	uint64_t inode;
};

/* What a change of its bytes changes. */
struct file_state {
	uint64_t size;
	int64_t mtime_ns, ctime_ns;
};

/* file_init() opens what file_path() needs, before the first mark. Returns 0 or a negative
 * errno. */
int file_init(void);

/* file_stat() fills both. Returns 0 or a negative errno. */
int file_stat(int fd, struct file_id *ret_id, struct file_state *ret_state);

/* file_of_statx() fills both from what statx() said: of STATX_BASIC_STATS inode, size and times. */
void file_of_statx(const struct statx *status, struct file_id *ret_id,
		   struct file_state *ret_state);

/* file_only_root_writes() says whether nobody but root may write to a file, from its mode and
 * owner. What an access control list allows shows in the bits of the group. */
bool file_only_root_writes(const struct statx *status);

/* file_same() says whether two are of the same file. */
bool file_same(const struct statx *a, const struct statx *b);

/*
 * file_state_settled() says whether a further change would be seen as another state: where ctime
 * comes from a clock that ticks (kernels before 6.13), two changes within one tick look like one.
 */
bool file_state_settled(const struct file_state *state);

/* file_state_settles_us() returns in how long that will be so, 0: it is; for a time that is yet to
 * come, more than it takes as a rule. */
uint64_t file_state_settles_us(const struct file_state *state);

bool file_state_equal(const struct file_state *a, const struct file_state *b);

/*
 * file_open_directory() opens a directory that must be on the mount of this id, by a path without
 * symbolic links: whatever a user puts in the way, neither a link nor a filesystem mounted there is
 * followed to somebody who does not answer. cached: nor is a disk waited for. Returns a descriptor
 * or a negative errno, -ELOOP, -EAGAIN and -EXDEV for these reasons, or -ENOSYS where the kernel
 * (before 5.6; cached: -EINVAL, before 5.12) cannot promise it.
 */
int file_open_directory(const char *path, uint64_t mount_id, bool cached);

/*
 * file_open_below() opens with O_PATH what a directory has by this name, which may lead through
 * further ones, on the same mount and without symbolic links: it raises no event, and opens no
 * device. Returns a descriptor or a negative errno: -EXDEV where something is mounted on the way,
 * -ELOOP where a link is, or -ENOSYS (before 5.6).
 */
int file_open_below(int directory, const char *name);

/* file_reopen() opens the file of a descriptor, which may be one of O_PATH, with the flags of
 * open(2). Returns a descriptor or a negative errno. Not for the loop: it raises an event. */
int file_reopen(int fd, int flags);

/* file_look() looks up what is called path, if the kernel has it at hand, and says whether it is
 * there. */
bool file_look(const char *path, struct statx *ret);

/*
 * file_path() writes the path of an open file, as the mount it was opened through names it. The
 * name a file had before it was unlinked comes without the kernel's " (deleted)". Paths longer than
 * PATH_MAX can be told of a descriptor that can be mapped, not of one opened with O_PATH. Returns
 * 0, or a negative errno, -ENAMETOOLONG among them: then buffer holds a description for people
 * instead.
 */
int file_path(int fd, char *buffer, size_t size);
