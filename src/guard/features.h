/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * features: what this kernel can do for us, found by trying each with the real call: versions
 * say nothing of what a distribution has brought back or left out.
 *
 * The environment variable HOLDFAST_WITHOUT, a list of their names with commas between, makes the
 * guard do without some, as on a kernel that lacks them. For tests.
 */
#include <stdbool.h>
#include <sys/fanotify.h>
#include <sys/stat.h>

/* Not in the headers of Debian 11 and 12; the values are the kernel's,
 * include/uapi/linux/fanotify.h. */
#ifndef FAN_MARK_EVICTABLE
#define FAN_MARK_EVICTABLE 0x00000200
#endif
#ifndef FAN_MARK_IGNORE
#define FAN_MARK_IGNORE 0x00000400
#endif
/* Likewise, include/uapi/linux/stat.h. */
#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x00004000
#endif

enum feature {
	FEATURE_FILESYSTEM_MARKS, /* 4.20: one mark for all mounts of a superblock, in any namespace
				   */
	FEATURE_EVICTABLE_MARKS,  /* 5.19: ignore marks that give way when memory is short */
	FEATURE_IGNORE_MARKS,	  /* 6.0: FAN_MARK_IGNORE, which directories can have */
	FEATURE_RENAME_WATCH,	  /* 5.1: a group that reports moves by file handle */
	FEATURE_OVERLAY_EVENTS, /* 6.5: an open through an overlay is one of the layer's file too */
	FEATURE_UNIQUE_MOUNT_IDS, /* 6.8: statx() gives a mount an id that no other ever has */
	FEATURE_COUNT
};

struct features {
	bool has[FEATURE_COUNT];
};

/* feature_name() returns the name in HOLDFAST_WITHOUT; never NULL. */
const char *feature_name(enum feature feature);

/*
 * features_probe() tries all but FEATURE_OVERLAY_EVENTS with a fanotify group, which is left as it
 * was. Needs CAP_SYS_ADMIN. without: the value of HOLDFAST_WITHOUT, NULL where there is none; an
 * unknown name in it is logged.
 */
void features_probe(struct features *features, int group_fd, const char *without);

/*
 * features_probe_overlay() tries FEATURE_OVERLAY_EVENTS with an overlay of its own, in a mount
 * namespace that nobody else sees; it takes some milliseconds. Returns 1 or 0, or a negative errno
 * where it cannot be tried.
 */
int features_probe_overlay(const char *without);
