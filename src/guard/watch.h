/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * watch: which filesystems are marked, so that the kernel asks about opens on them.
 *
 * A place is a mount that files in scope may be on: the one that an include path leads to, and each
 * one below it. What a place is on gets marked: its superblock, or where the kernel knows no
 * superblock marks each mount of it. An overlay is watched by its layers instead, as the kernel
 * raises an event for the layer's file within each open through the overlay; an overlay must never
 * be marked together with its layers, for then the open that the kernel does for us to hand us the
 * event of the one raises an event of the other, and we would wait for ourselves.
 *
 * policy decides which of the opens count, by the path that locate() finds.
 */
#include "../common/conf.h"
#include "../common/mounts.h"
#include "group.h"
#include "remote.h"
#include "renames.h"

#include <holdfast/wire.h>

enum watch_kind { WATCH_NOTHING, WATCH_SUPERBLOCK, WATCH_MOUNT, WATCH_LAYERS, WATCH_KIND_COUNT };

/* watch_kind_name() returns a word for status; empty for WATCH_NOTHING. */
const char *watch_kind_name(enum watch_kind kind);

struct watch_place {
	uint64_t mount_id;
	uint64_t device;
	char *point;
	char filesystem[32]; /* its type: "ext4" */
	enum watch_kind kind;
	char note[128];	 /* for people: why it is not marked; empty: it is */
	bool left_alone; /* not marked as configured, not for a failure */
	bool pending;	 /* not marked yet, see remote.h */
};

struct watch_mark {
	uint64_t device;
	uint64_t mount_id;    /* WATCH_MOUNT only, else 0 */
	bool renames_watched; /* and moves on it are reported */
};

struct watch {
	struct group *group;
	struct renames *renames;
	struct remote *remote;
	struct mounts mounts; /* of our namespace, and the layers of overlays among the places */
	struct watch_place *places;
	size_t n_places;
	size_t *includes; /* for each include rule, in their order: its place */
	size_t n_includes;
	struct watch_mark *marks;
	size_t n_marks;
};

void watch_init(struct watch *watch, struct group *group, struct renames *renames,
		struct remote *remote);
void watch_deinit(struct watch *watch);

/*
 * watch_apply() marks what the include paths of conf are on and what is mounted below them, and
 * unmarks what is no longer needed; in mode off it unmarks all. An include path need not exist: the
 * filesystem it would appear on is marked. Returns 0, or a negative errno with what failed in
 * problem. strict: all or nothing for the filesystems that include paths are on; when one cannot be
 * marked the old marks stay. Otherwise what can be marked is, each place says what happened to it,
 * and only -ENOMEM, or an error in reading the mounts, is an error.
 */
int watch_apply(struct watch *watch, const struct conf *conf, bool strict, char *problem,
		size_t problem_size);

/*
 * watch_forget_all() removes all marks from files and directories: what they rest on is no longer
 * so. For a while no other can be set, see group.h; watch_tick() ends that, and is called now and
 * then unless the group's phase is GROUP_HOME.
 */
void watch_forget_all(const struct watch *watch);
void watch_tick(const struct watch *watch);

/* watch_include() returns the place of an include rule; NULL: nothing is watched, as in mode
 * off. */
const struct watch_place *watch_include(const struct watch *watch, size_t index);

/* watch_place_failed() says whether a place that should be watched is not. */
bool watch_place_failed(const struct watch_place *place);

size_t watch_count_failed(const struct watch *watch);

/* watch_has() says whether a superblock is marked, or a mount of it. */
bool watch_has(const struct watch *watch, uint64_t device);

/* watch_reports_renames() says whether each move on a superblock is reported. */
bool watch_reports_renames(const struct watch *watch, uint64_t device);
