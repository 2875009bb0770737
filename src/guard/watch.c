/* SPDX-License-Identifier: GPL-2.0-only */
#include "watch.h"

#include "../common/filesystem.h"
#include "../common/line.h"
#include "../common/log.h"
#include "../common/match.h"
#include "../common/path.h"
#include "../common/policy.h"
#include "file.h"
#include "overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *watch_kind_name(enum watch_kind kind)
{
	static const char *const names[WATCH_KIND_COUNT] = {
		[WATCH_NOTHING] = "",
		[WATCH_SUPERBLOCK] = "filesystem",
		[WATCH_MOUNT] = "mount",
		[WATCH_LAYERS] = "layers",
	};

	return (unsigned)kind < WATCH_KIND_COUNT ? names[kind] : "";
}

void watch_init(struct watch *watch, struct group *group, struct renames *renames,
		struct remote *remote)
{
	*watch = (struct watch){.group = group, .renames = renames, .remote = remote};
}

void watch_deinit(struct watch *watch)
{
	for (size_t i = 0; i < watch->n_places; i++)
		free(watch->places[i].point);
	free(watch->places);
	free(watch->includes);
	free(watch->marks);
	mounts_free(&watch->mounts);
	watch_init(watch, watch->group, watch->renames, watch->remote);
}

/* --- marks --- */

static const struct watch_mark *watch_find_mark(const struct watch *watch, uint64_t device,
						uint64_t mount_id)
{
	for (size_t i = 0; i < watch->n_marks; i++)
		if (watch->marks[i].device == device && watch->marks[i].mount_id == mount_id)
			return &watch->marks[i];
	return NULL;
}

/* Of a superblock whose moves can only be watched by the mount of its top level, that one. */
static bool watch_renames_on(struct watch *watch, uint64_t device)
{
	bool watched = false;

	for (size_t i = 0; i < watch->mounts.n && watch->renames->fd >= 0 && !watched; i++) {
		const struct mount *mount = &watch->mounts.mounts[i];

		if (mount->device == device && mount->is_reachable)
			watched = renames_watch(watch->renames, mount->point) == 0;
	}
	return watched;
}

/* mount_id: 0 for the mark on a superblock. */
static int watch_add_mark(struct watch *watch, const struct mount *mount, uint64_t mount_id)
{
	struct watch_mark *larger, mark = {.device = mount->device, .mount_id = mount_id};
	int r;

	if (watch_find_mark(watch, mark.device, mark.mount_id))
		return 0;
	larger = reallocarray(watch->marks, watch->n_marks + 1, sizeof(*larger));
	if (!larger)
		return -ENOMEM;
	watch->marks = larger;
	r = group_watch(watch->group, AT_FDCWD, mount->point);
	if (r < 0)
		return r;
	mark.renames_watched = !mount_id && watch_renames_on(watch, mark.device);
	watch->marks[watch->n_marks++] = mark;
	return 0;
}

/* Marks what a mount is on. Where each mount must be marked by itself, all that lead there. */
static int watch_mark(struct watch *watch, const struct mount *mount, enum watch_kind *ret_kind)
{
	int r;

	if (watch->group->features.has[FEATURE_FILESYSTEM_MARKS]) {
		*ret_kind = WATCH_SUPERBLOCK;
		return watch_add_mark(watch, mount, 0);
	}
	*ret_kind = WATCH_MOUNT;
	r = watch_add_mark(watch, mount, mount->id);
	for (size_t i = 0; i < watch->mounts.n && r == 0; i++) {
		const struct mount *other = &watch->mounts.mounts[i];

		if (other->device == mount->device && other->is_reachable &&
		    watch_add_mark(watch, other, other->id) == -ENOMEM)
			r = -ENOMEM;
	}
	return r;
}

static void watch_renames_off(const struct watch *watch, const struct mounts *now, uint64_t device)
{
	for (size_t i = 0; i < now->n; i++)
		if (now->mounts[i].id && now->mounts[i].device == device &&
		    now->mounts[i].is_reachable)
			renames_unwatch(watch->renames, now->mounts[i].point);
}

static const struct mount *watch_mark_mount(const struct watch_mark *mark,
					    const struct mounts *mounts)
{
	const struct mount *there = mark->mount_id ? mounts_find(mounts, mark->mount_id)
						   : mounts_showing(mounts, mark->device);

	return there && there->is_reachable ? there : NULL;
}

/* While somebody else mounts things, too, one look in fifty fails. */
#define LOOKS_MAX 10

/* Something else may have been mounted there since the mounts were read: that must not be marked,
 * nor asked. */
static int watch_mount_again(const struct group *group, const struct mount *mount)
{
	int fd = -EAGAIN, r;

	/* Never without the cache: the way there may lead over somebody who does not answer. */
	for (unsigned i = 0; i < LOOKS_MAX && fd == -EAGAIN; i++)
		fd = file_open_directory(mount->point, mount->id, true);
	/* It is a file, or this kernel cannot promise any of that. */
	if (fd == -ENOTDIR || fd == -ENOSYS || fd == -EINVAL)
		return group_watch(group, AT_FDCWD, mount->point);
	if (fd < 0)
		return fd;
	r = group_watch(group, fd, NULL);
	close(fd);
	return r;
}

/* Has everything that is watched be so by the group that asks now. */
static void watch_all_again(const struct watch *watch, const struct mounts *mounts)
{
	char escaped[512];

	for (size_t i = 0; i < watch->n_marks; i++) {
		const struct mount *mount = watch_mark_mount(&watch->marks[i], mounts);
		int r = mount ? watch_mount_again(watch->group, mount) : 0;

		/* Where the lower group goes on asking nothing is amiss. */
		if (r < 0 && watch->group->phase == GROUP_DOWN)
			log_warning(
				"%s cannot be marked anew: as long as somebody waits over a file "
				"there others may open it unasked: %s",
				line_escape(escaped, sizeof(escaped), mount->point), strerror(-r));
	}
	group_flush(watch->group);
}

void watch_forget_all(const struct watch *watch)
{
	if (group_forget_all(watch->group))
		watch_all_again(watch, &watch->mounts);
}

void watch_tick(const struct watch *watch)
{
	if (group_tick(watch->group))
		watch_all_again(watch, &watch->mounts);
}

/* Whether anything is in watch that is not in other. */
static bool watch_misses(const struct watch *watch, const struct watch *other)
{
	for (size_t i = 0; i < watch->n_marks; i++)
		if (!watch_find_mark(other, watch->marks[i].device, watch->marks[i].mount_id))
			return true;
	return false;
}

/*
 * Unmarks what is in watch and not in other, which is what will be watched. A mark is removed by
 * path: what cannot be reached any more keeps it, which costs a little. What is not watched can
 * change without our knowing: nothing is to be remembered of it when it is watched again.
 */
static void watch_remove_missing(const struct watch *watch, const struct watch *other,
				 const struct mounts *now)
{
	if (!watch_misses(watch, other))
		return;
	if (group_forget_all(watch->group))
		watch_all_again(other, now);
	for (size_t i = 0; i < watch->n_marks; i++) {
		const struct watch_mark *mark = &watch->marks[i];
		const struct mount *there = watch_mark_mount(mark, now);

		if (!there || watch_find_mark(other, mark->device, mark->mount_id))
			continue;
		(void)group_unwatch(watch->group, there->point);
		if (mark->renames_watched)
			watch_renames_off(watch, now, mark->device);
	}
}

/* --- places --- */

/* Marks the superblocks of an overlay's layers. Indexes into mounts stay what they are, pointers do
 * not. */
static int watch_layers(struct watch *watch, size_t overlay, struct watch_place *place)
{
	int r = overlay_add_layers(&watch->mounts, overlay);
	enum watch_kind unused;

	if (r < 0) {
		(void)snprintf(place->note, sizeof(place->note),
			       "the layers of this overlay cannot be found: %s", strerror(-r));
		return r;
	}
	place->kind = WATCH_LAYERS;
	for (size_t i = 0; i < watch->mounts.n && r == 0; i++) {
		const struct mount *layer = &watch->mounts.mounts[i], *mount;

		if (layer->id || strcmp(layer->point, place->point) ||
		    filesystem_kind(layer->type) == FILESYSTEM_OVERLAY)
			continue;
		mount = mounts_showing(&watch->mounts, layer->device);
		if (filesystem_kind(layer->type) != FILESYSTEM_LOCAL) {
			(void)snprintf(place->note, sizeof(place->note),
				       "a layer of this overlay is on %s, which cannot be watched",
				       layer->type);
			r = -EOPNOTSUPP;
		} else {
			r = mount ? watch_mark(watch, mount, &unused) : -ENOENT;
		}
	}
	return r;
}

static int watch_overlay(struct watch *watch, size_t mount, struct watch_place *place)
{
	int r = group_sees_layers(watch->group);

	/* Without knowing, neither is safe to do. */
	if (r < 0)
		(void)snprintf(place->note, sizeof(place->note),
			       "what the kernel tells of overlays cannot be found out: %s",
			       strerror(-r));
	if (r > 0)
		return watch_layers(watch, mount, place);
	return r < 0 ? r : watch_mark(watch, &watch->mounts.mounts[mount], &place->kind);
}

/* Returns 0 while the answer of whoever serves it is awaited, too. */
static int watch_remote(struct watch *watch, struct watch_place *place)
{
	int r = remote_mark(watch->remote, place->device, place->mount_id, place->point);

	place->pending = r == -EINPROGRESS;
	if (place->pending) {
		(void)snprintf(place->note, sizeof(place->note),
			       "its server or program is asked, and has not answered");
		return 0;
	}
	place->kind = watch->group->features.has[FEATURE_FILESYSTEM_MARKS] ? WATCH_SUPERBLOCK
									   : WATCH_MOUNT;
	return r;
}

static int watch_mark_place(struct watch *watch, const struct conf *conf, size_t mount,
			    struct watch_place *place)
{
	const char *problem = filesystem_problem(place->filesystem, conf->remote_filesystems);
	int r;

	if (problem) {
		place->left_alone = true;
		(void)snprintf(place->note, sizeof(place->note), "%s", problem);
		return 0;
	}
	if (filesystem_kind(place->filesystem) == FILESYSTEM_REMOTE)
		r = watch_remote(watch, place);
	else if (filesystem_kind(place->filesystem) == FILESYSTEM_OVERLAY)
		r = watch_overlay(watch, mount, place);
	else
		r = watch_mark(watch, &watch->mounts.mounts[mount], &place->kind);
	if (r < 0) {
		place->kind = WATCH_NOTHING;
		if (!*place->note)
			(void)snprintf(place->note, sizeof(place->note), "%s", strerror(-r));
	}
	return r;
}

/* Returns the index of the mount's place, or a negative errno. *ret_r: whether it could be
 * marked. */
static ssize_t watch_add_place(struct watch *watch, const struct conf *conf, size_t mount,
			       int *ret_r)
{
	const struct mount *of = &watch->mounts.mounts[mount];
	struct watch_place *larger, *place;

	*ret_r = 0;
	for (size_t i = 0; i < watch->n_places; i++)
		if (watch->places[i].mount_id == of->id)
			return (ssize_t)i;
	larger = reallocarray(watch->places, watch->n_places + 1, sizeof(*larger));
	if (!larger)
		return -ENOMEM;
	watch->places = larger;
	place = &larger[watch->n_places];
	*place = (struct watch_place){
		.mount_id = of->id,
		.device = of->device,
		.point = strdup(of->point),
	};
	if (!place->point)
		return -ENOMEM;
	(void)snprintf(place->filesystem, sizeof(place->filesystem), "%s", of->type);
	*ret_r = watch_mark_place(watch, conf, mount, place);
	return (ssize_t)watch->n_places++;
}

/* What of a rule is a path: all that it means is there or below. */
static void watch_base(const struct conf_entry *include, char *buffer, size_t size)
{
	(void)snprintf(buffer, size, "%.*s", (int)match_literal_length(include->text),
		       include->text);
}

/* The place that an include path is at. Whether it could be marked is what is returned. */
static int watch_add_include(struct watch *watch, const struct conf *conf, const char *base)
{
	const struct mount *mount = mounts_of_path(&watch->mounts, base);
	ssize_t place;
	int r;

	watch->includes[watch->n_includes++] = SIZE_MAX;
	if (!mount)
		return -ENOENT;
	place = watch_add_place(watch, conf, (size_t)(mount - watch->mounts.mounts), &r);
	if (place < 0)
		return (int)place;
	watch->includes[watch->n_includes - 1] = (size_t)place;
	return r;
}

/* The kernel's own filesystems below an include path are not worth a line. */
static bool watch_wants(const struct conf *conf, const struct mount *mount, const char *base)
{
	return mount->id && mount->is_reachable && path_rest(base, mount->point) &&
	       filesystem_kind(mount->type) != FILESYSTEM_KERNEL &&
	       filesystem_kind(mount->type) != FILESYSTEM_AUTOMOUNT &&
	       policy_path(conf, mount->point).scope != POLICY_EXCLUDED;
}

/* What is mounted below an include path. Only -ENOMEM is an error. */
static int watch_add_below(struct watch *watch, const struct conf *conf, const char *base)
{
	size_t n = watch->mounts.n; /* layers may be added on the way */
	ssize_t place = 0;
	int unused;

	for (size_t i = 0; i < n && place >= 0; i++)
		if (watch_wants(conf, &watch->mounts.mounts[i], base))
			place = watch_add_place(watch, conf, i, &unused);
	return place < 0 ? (int)place : 0;
}

static int watch_read_mounts(struct watch *watch)
{
	FILE *stream = fopen("/proc/self/mountinfo", "re");
	int r;

	if (!stream)
		return -errno;
	r = mounts_read(&watch->mounts, stream);
	(void)fclose(stream);
	return r;
}

/* Fills an empty watch. On error base is what could not be watched, or empty. */
static int watch_fill(struct watch *watch, const struct conf *conf, bool strict, char *base,
		      size_t size)
{
	size_t n = conf->mode == CONTROL_MODE_OFF ? 0 : conf->include.n_entries;
	int r = watch_read_mounts(watch);

	*base = '\0';
	if (r < 0)
		return r;
	watch->includes = calloc(n + 1, sizeof(*watch->includes));
	if (!watch->includes)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		watch_base(&conf->include.entries[i], base, size);
		r = watch_add_include(watch, conf, base);
		if (r == -ENOMEM || (r < 0 && strict))
			return r;
	}
	for (size_t i = 0; i < n; i++) {
		watch_base(&conf->include.entries[i], base, size);
		r = watch_add_below(watch, conf, base);
		if (r < 0)
			return r;
	}
	return 0;
}

static bool watch_has_mount(const void *context, const struct remote_mark *mark)
{
	const struct mount *mount = mounts_find(context, mark->mount_id);

	return mount && mount->device == mark->device;
}

int watch_apply(struct watch *watch, const struct conf *conf, bool strict, char *problem,
		size_t problem_size)
{
	char base[WIRE_PATH_MAX], escaped[512];
	struct watch next;
	int r;

	watch_init(&next, watch->group, watch->renames, watch->remote);
	r = watch_fill(&next, conf, strict, base, sizeof(base));
	if (r < 0) {
		const struct watch_place *last =
			next.n_places ? &next.places[next.n_places - 1] : NULL;

		(void)snprintf(problem, problem_size, "cannot watch %s: %s",
			       *base ? line_escape(escaped, sizeof(escaped), base) : "any path",
			       last && *last->note ? last->note : strerror(-r));
		watch_remove_missing(&next, watch, &next.mounts);
		watch_deinit(&next);
		return r;
	}

	watch_remove_missing(watch, &next, &next.mounts);
	watch_deinit(watch);
	*watch = next;
	remote_keep(watch->remote, watch_has_mount, &watch->mounts);
	return 0;
}

const struct watch_place *watch_include(const struct watch *watch, size_t index)
{
	return index < watch->n_includes && watch->includes[index] != SIZE_MAX
		       ? &watch->places[watch->includes[index]]
		       : NULL;
}

bool watch_place_failed(const struct watch_place *place)
{
	return place->kind == WATCH_NOTHING && !place->left_alone && !place->pending;
}

size_t watch_count_failed(const struct watch *watch)
{
	size_t n = 0;

	for (size_t i = 0; i < watch->n_places; i++)
		n += watch_place_failed(&watch->places[i]);
	return n;
}

bool watch_has(const struct watch *watch, uint64_t device)
{
	for (size_t i = 0; i < watch->n_marks; i++)
		if (watch->marks[i].device == device)
			return true;
	return false;
}

bool watch_reports_renames(const struct watch *watch, uint64_t device)
{
	const struct watch_mark *mark = watch_find_mark(watch, device, 0);

	return mark && mark->renames_watched;
}
