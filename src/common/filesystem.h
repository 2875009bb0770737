/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* filesystem: which types of filesystem can be protected, by the name that proc(5) gives them. */
#include <stdbool.h>

enum filesystem_kind {
	FILESYSTEM_LOCAL,   /* every change goes through this kernel, and raises an event */
	FILESYSTEM_OVERLAY, /* shows files of others, its layers */
	FILESYSTEM_REMOTE, /* answered by a server, a program or other machines: it can keep whoever
			      opens a file waiting, and files change without an event */
	FILESYSTEM_STACKED,   /* opens a file of another filesystem within each open of its own, and
				 the kernel would hold that one too, for us who wait for the first */
	FILESYSTEM_AUTOMOUNT, /* an automounter's directories: what is mounted there counts */
	FILESYSTEM_KERNEL     /* the kernel's own: nothing in it is a file to scan */
};

enum filesystem_kind filesystem_kind(const char *type);

/*
 * filesystem_problem() says for people why a filesystem of this type is not protected; NULL: it is.
 * remote: those are to be.
 */
const char *filesystem_problem(const char *type, bool remote);

/*
 * filesystem_keeps_times() says whether on a filesystem of this type no change of a file leaves its
 * times as they were. Not so where there is no ctime (FAT), where what is stored through a mapping
 * changes no time (tmpfs), and where others may write (network filesystems); and whatever is not
 * known is not trusted.
 */
bool filesystem_keeps_times(const char *type);
