/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * mounts: what is mounted where in our mount namespace, and what a file of one mount is called by
 * another.
 *
 * Each mount shows one directory of a superblock at one place. The path of a file inside its
 * superblock is what all its names have in common: mount_inside() gives it, mount_name() leads back
 * by any mount.
 *
 * The layers of an overlay count as mounts of their own: a file of a layer is called what the
 * overlay calls it. So whoever opens it through the overlay, which the kernel reports as an open of
 * the layer's file, is found to have opened it by that name.
 *
 * Read from /proc/self/mountinfo by our own code: libmount, once it finds /dev/root, opens device
 * files, and this runs in the guard's loop.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct mount {
	uint64_t id; /* as statx() gives it; 0 for a layer */
	uint64_t parent;
	uint64_t device;   /* of the superblock; on btrfs not what stat() says of its files */
	char *root;	   /* the directory shown, as a path inside the superblock */
	char *point;	   /* where */
	char *type;	   /* "ext4" */
	char *options;	   /* of the superblock, still escaped */
	bool is_reachable; /* its path leads to it: it is not hidden under another mount */
	bool is_idmapped;  /* the owners of its files seem to be others (mount_setattr(2)) */
	bool is_lower; /* a layer that is only read: the overlay may call its files otherwise, once
			  directories have been renamed in it (redirect_dir, metacopy) */
};

struct mounts {
	struct mount *mounts;
	size_t n;	    /* of mounts */
	size_t n_allocated; /* room for so many */
};

/* mounts_read() appends what stream, in the format of /proc/PID/mountinfo (proc(5)), lists. Returns
 * 0 or a negative errno. */
int mounts_read(struct mounts *mounts, FILE *stream);

/* mounts_unescape() returns a copy, to be freed, of a text in which the kernel has written some
 * characters as a backslash and three octal digits; NULL when out of memory. */
char *mounts_unescape(const char *text);

/* mounts_free() forgets all. */
void mounts_free(struct mounts *mounts);

/* mounts_find() returns the mount of this id, NULL: it is not one of ours. */
const struct mount *mounts_find(const struct mounts *mounts, uint64_t id);

/* mounts_of_path() returns the mount that a path without symbolic links leads to, whether it exists
 * or not; NULL only where nothing is mounted at the root. */
const struct mount *mounts_of_path(const struct mounts *mounts, const char *path);

/* mounts_showing() returns a mount that can be reached and shows something of this superblock. */
const struct mount *mounts_showing(const struct mounts *mounts, uint64_t device);

/* mounts_names_hash() returns a number that changes when mounts change what the files of a
 * superblock are called. */
uint64_t mounts_names_hash(const struct mounts *mounts, uint64_t device);

/*
 * mounts_add_layer() adds a layer of an overlay: what the superblock of mount on holds below inside
 * is called by the names of the overlay's mount. Returns 0 or -ENOMEM. Pointers to mounts do not
 * survive it.
 */
int mounts_add_layer(struct mounts *mounts, size_t overlay, const struct mount *on,
		     const char *inside, bool is_lower);

/* mount_inside() writes the path inside the superblock of what this mount calls path. Returns
 * whether it does. */
bool mount_inside(const struct mount *mount, const char *path, char *buffer, size_t size);

/* mount_name() writes what this mount calls a file of its superblock. Returns whether it shows it.
 */
bool mount_name(const struct mount *mount, const char *inside, char *buffer, size_t size);
