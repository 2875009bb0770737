/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * walk: finds the files below some directories, for full scans and for scans on demand.
 *
 * Goes down from directory to directory by descriptor, so nobody who renames things meanwhile leads
 * it elsewhere. Follows no symbolic link, opens nothing but directories, wakes no automounter, and
 * passes over what the kernel makes up (proc, sysfs). A file with several links is found once, as
 * long as fewer than WALK_LINKS_MAX such files lie between. Names may hold any bytes and paths
 * have any length.
 *
 * Its memory does not depend on the number of files; of each directory above, it keeps the name and
 * 48 bytes. Not for the guard's loop: it opens directories and waits for disks.
 */
#include "conf.h"

#include <sys/stat.h>

/* Files with several links that are remembered: in 1.3 MB. */
#define WALK_LINKS_MAX 65536

/* Directories that are open at once; those above are opened again when it comes back to them. */
#define WALK_OPEN_MAX 64

struct walk;

struct walk_rules {
	const struct conf_list *exclude; /* rules, see match.h; NULL: none */
	bool cross_filesystems; /* else only what is on the superblock of each path, which bind
				   mounts of it and the subvolumes of btrfs are */
	bool remote;		/* network and FUSE filesystems too */
};

enum walk_kind {
	WALK_FILE,	/* a regular file to be looked at */
	WALK_DIRECTORY, /* it is entered: what comes next is in there */
	WALK_SKIPPED,	/* it is not looked at, nor is what is below it; reason says why */
	WALK_END
};

enum walk_reason {
	WALK_EXCLUDED,	 /* by rule */
	WALK_FILESYSTEM, /* another one, where cross_filesystems is off */
	WALK_KERNEL,	 /* a filesystem that the kernel makes up */
	WALK_REMOTE,	 /* a network or FUSE filesystem */
	WALK_AUTOMOUNT,	 /* an automounter's directory */
	WALK_SPECIAL,	 /* a FIFO, socket or device */
	WALK_SYMLINK,	 /* a symbolic link */
	WALK_LINK,	 /* another link to a file that was found before */
	WALK_GONE,	 /* removed, or replaced by something else, while we looked */
	WALK_UNREADABLE, /* a directory that cannot be opened or read; error says why */
	WALK_REASON_COUNT
};

/* What the walk found. Strings and directory are valid until the next call. */
struct walk_item {
	enum walk_kind kind;
	const char *path; /* absolute, as it was walked */
	/* Where it is, for openat() and the like: name in directory. Of given paths, and
	 * directories that turn out to be unreadable or gone once they were entered: AT_FDCWD and
	 * path. */
	int directory;
	const char *name;
	struct statx status; /* STATX_BASIC_STATS; nothing in it where it could not be looked at, or
				was not: for what WALK_REMOTE and WALK_AUTOMOUNT skip */
	const char *filesystem; /* its type, of a mount that is skipped; else NULL */
	enum walk_reason reason;
	int error;		       /* negative errno of WALK_UNREADABLE; else 0 */
	const struct conf_entry *rule; /* of WALK_EXCLUDED */
};

/* walk_reason_name() returns a lower-case word for reports; never NULL. */
const char *walk_reason_name(enum walk_reason reason);

/*
 * walk_new() begins a walk over n absolute, normalized paths, directories or files, in their order;
 * the strings and rules must live on. One that is below another one has its own turn, and is left
 * out of the other's. A symbolic link in a given path is followed, as the caller's own. NULL: out
 * of memory.
 *
 * after: NULL, or what walk_position() returned in an earlier walk over the same paths, at
 * after_time or later (seconds since the epoch): what came before it then is passed over. Where
 * that cannot be told any more, as a directory on the way there has changed since (by its ctime),
 * what is in that directory comes again: nothing is left out but what was found before.
 */
struct walk *walk_new(const char *const *paths, size_t n, const struct walk_rules *rules,
		      const char *after, int64_t after_time);

/* walk_free() takes NULL and returns NULL. */
struct walk *walk_free(struct walk *walk);

/* walk_next() fills item with the next find; for ever WALK_END at the end. */
void walk_next(struct walk *walk, struct walk_item *item);

/*
 * walk_open() opens the file of a WALK_FILE for reading, if it still is the very file that was
 * found. What was put in its place since is closed again unread, and not waited for. Returns a
 * descriptor or a negative errno: -ESTALE where it is another one now, -EAGAIN where somebody holds
 * a lease on it.
 */
int walk_open(const struct walk_item *item);

/* walk_forget_link() is told of a WALK_FILE that could not be opened: if it has other links, the
 * next one is a WALK_FILE again. */
void walk_forget_link(struct walk *walk, const struct walk_item *item);

/* walk_position() returns where the walk is: the path of what walk_next() found last; before the
 * first: where it goes on, or empty; empty after the end. Valid until the next call. */
const char *walk_position(const struct walk *walk);
