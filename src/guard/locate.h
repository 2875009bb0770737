/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * locate: where an open file is, in the terms of the rules.
 *
 * The kernel names a file as the mount does that its opener came through: a bind mount elsewhere,
 * the root of a container, a mount of another namespace, the layer of an overlay. The rules mean
 * our own mounts. So the file is found inside its superblock, by its path where we know the mount,
 * else by its handle; and each of our mounts that shows it there gives it a name. A file is in
 * scope when one of its names is.
 *
 * For that it may open a directory, which raises no event, and waits for nothing but a local disk.
 */
#include "../common/filesystem.h"
#include "../common/mounts.h"
#include "../common/policy.h"
#include "file.h"

#include <limits.h>

/* Names may be longer than PATH_MAX, which only limits what one system call can be told. */
#define LOCATION_PATH_MAX 65536

struct location {
	int error; /* negative errno: it cannot be told; scope, device and kind mean nothing then */
	enum policy_scope scope;
	uint64_t device;	    /* of its superblock, as in struct mount */
	bool events_tell_of_change; /* no other machine or program changes its files unseen */
	enum filesystem_kind kind;  /* of its filesystem */
	bool times_tell_of_change;  /* each change is seen in its times, which nobody can set */
	struct file_state state;    /* as it was just now; all zero where that is not known */
	/* A name that is in scope; where none is, the one it was opened by; where that is not one
	 * of ours, any, or one for people. */
	char path[LOCATION_PATH_MAX];
};

/* What decides by a name: policy_path() or policy_directory(). */
typedef struct policy_decision (*locate_rule)(const struct conf *conf, const char *path);

void locate(const struct mounts *mounts, const struct conf *conf, locate_rule rule, int fd,
	    struct location *location);
