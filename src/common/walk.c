/* SPDX-License-Identifier: GPL-2.0-only */
#include "walk.h"

#include "filesystem.h"
#include "match.h"
#include "mounts.h"
#include "path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOK_FLAGS (AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC)
#define LOOK_MASK  (STATX_BASIC_STATS | STATX_MNT_ID)

/* To find something without opening it. O_DIRECTORY would wake automounters even so. */
#define PLACE_FLAGS (O_PATH | O_CLOEXEC)

/* Which directory it is. */
struct place {
	uint64_t inode, mount;
	uint32_t device_major, device_minor;
};

/* A directory that the walk is in. */
struct level {
	DIR *stream;   /* NULL: closed, as too many are open */
	long position; /* where to go on in it once it is open again */
	struct place place;
	size_t length; /* of its path; 0: the root */
};

/* Files with several links, in chains by hash. The numbers in first and next count from 1. */
struct links {
	struct link {
		uint64_t inode;
		uint32_t device; /* as the kernel has it: 12 bits of major number, 20 of minor */
		uint32_t next;
	} links[WALK_LINKS_MAX];
	uint32_t first[WALK_LINKS_MAX];
	size_t n; /* that were ever remembered; each takes the place of the oldest */
};

struct walk {
	const struct walk_rules *rules;
	const char **paths; /* those given */
	size_t n_paths, next_path;
	uint64_t device; /* the superblock of the path that is walked */
	char *path;	 /* of what was found last */
	size_t path_size;
	struct level *levels;
	size_t n_levels, n_allocated;
	size_t n_open; /* streams, those of the lowest levels */
	char *after;
	int64_t after_time;
	const char *resume; /* what of after is below the lowest level; NULL: we are past it */
	struct mounts mounts;
	FILE *mountinfo;
	struct links *links;
};

static void walk_close(struct walk *walk, struct level *level)
{
	if (!level->stream)
		return;
	(void)closedir(level->stream);
	level->stream = NULL;
	walk->n_open--;
}

/* --- what is found --- */

static const char *const reason_names[] = {
	[WALK_EXCLUDED] = "excluded",	[WALK_FILESYSTEM] = "filesystem",
	[WALK_KERNEL] = "kernel",	[WALK_REMOTE] = "remote",
	[WALK_AUTOMOUNT] = "automount", [WALK_SPECIAL] = "special",
	[WALK_SYMLINK] = "symlink",	[WALK_LINK] = "link",
	[WALK_GONE] = "gone",		[WALK_UNREADABLE] = "unreadable",
};
_Static_assert(sizeof(reason_names) / sizeof(reason_names[0]) == WALK_REASON_COUNT,
	       "each reason has a name");

const char *walk_reason_name(enum walk_reason reason)
{
	return (unsigned)reason < WALK_REASON_COUNT ? reason_names[reason] : "unknown";
}

static void item_skip(struct walk_item *item, enum walk_reason reason)
{
	item->kind = WALK_SKIPPED;
	item->reason = reason;
}

static void item_unreadable(struct walk_item *item, int error)
{
	item_skip(item, WALK_UNREADABLE);
	item->error = error;
}

static void item_fail(struct walk_item *item, int error)
{
	if (error == -ENOENT || error == -ENOTDIR || error == -ESTALE)
		item_skip(item, WALK_GONE);
	else
		item_unreadable(item, error);
}

/* --- files with several links --- */

static uint32_t *links_chain(struct links *links, uint64_t inode, uint32_t device)
{
	uint64_t hash = (inode ^ (uint64_t)device << 32) * UINT64_C(0x9e3779b97f4a7c15);

	return &links->first[(hash >> 32) % WALK_LINKS_MAX];
}

static void links_forget(struct links *links, uint32_t number)
{
	const struct link *link = &links->links[number - 1];
	uint32_t *at = links_chain(links, link->inode, link->device);

	while (*at != number)
		at = &links->links[*at - 1].next;
	*at = link->next;
}

static void links_set(struct links *links, uint32_t number, uint64_t inode, uint32_t device)
{
	uint32_t *chain = links_chain(links, inode, device);

	links->links[number - 1] = (struct link){inode, device, *chain};
	*chain = number;
}

static uint32_t link_device(const struct statx *status)
{
	return status->stx_dev_major << 20 | status->stx_dev_minor;
}

/* Returns the number of a file, or 0. */
static uint32_t links_find(struct links *links, const struct statx *status)
{
	uint32_t device = link_device(status);
	uint32_t number = *links_chain(links, status->stx_ino, device);

	while (number && (links->links[number - 1].inode != status->stx_ino ||
			  links->links[number - 1].device != device))
		number = links->links[number - 1].next;
	return number;
}

/* Remembers a file. Returns whether it was remembered already. */
static bool links_met(struct links *links, const struct statx *status)
{
	uint32_t number;

	if (links_find(links, status))
		return true;
	number = (uint32_t)(links->n % WALK_LINKS_MAX) + 1;
	if (links->n++ >= WALK_LINKS_MAX)
		links_forget(links, number);
	links_set(links, number, status->stx_ino, link_device(status));
	return false;
}

static bool walk_met(struct walk *walk, const struct statx *status)
{
	if (status->stx_nlink < 2)
		return false;
	if (!walk->links)
		walk->links = calloc(1, sizeof(*walk->links));
	/* Without memory for it, it is rather found twice than not at all. */
	return walk->links && links_met(walk->links, status);
}

/* --- mounts --- */

/* Brings the table up to date. It is not enough to do so for ids that are not in it, as the kernel
 * gives an id again. */
static int walk_read_mounts(struct walk *walk)
{
	struct pollfd poll_fd = {.events = POLLPRI};
	bool is_first = !walk->mountinfo;
	int r;

	if (is_first)
		walk->mountinfo = fopen("/proc/self/mountinfo", "re");
	if (!walk->mountinfo)
		return -errno;
	poll_fd.fd = fileno(walk->mountinfo);
	if (poll(&poll_fd, 1, 0) <= 0 && !is_first)
		return 0;
	mounts_free(&walk->mounts);
	rewind(walk->mountinfo);
	r = mounts_read(&walk->mounts, walk->mountinfo);
	if (r < 0) {
		(void)fclose(walk->mountinfo);
		walk->mountinfo = NULL;
	}
	return r;
}

/* Whether what is on a mount is walked; if not, the item is told. */
static bool walk_mount(const struct walk *walk, const struct mount *mount, struct walk_item *item)
{
	enum filesystem_kind kind = filesystem_kind(mount->type);

	if (kind == FILESYSTEM_KERNEL)
		item_skip(item, WALK_KERNEL);
	else if (kind == FILESYSTEM_AUTOMOUNT)
		item_skip(item, WALK_AUTOMOUNT);
	else if (kind == FILESYSTEM_REMOTE && !walk->rules->remote)
		item_skip(item, WALK_REMOTE);
	else if (!walk->rules->cross_filesystems && mount->device != walk->device)
		item_skip(item, WALK_FILESYSTEM);
	else
		return true;
	item->filesystem = mount->type;
	return false;
}

/* The same for the mount that an item is on. level: the directory it is in; NULL: it was given. */
static bool walk_mount_of(struct walk *walk, const struct level *level, struct walk_item *item)
{
	int r = walk_read_mounts(walk);
	const struct mount *mount = mounts_find(&walk->mounts, item->status.stx_mnt_id);

	if (mount) {
		if (!level)
			walk->device = mount->device;
		return walk_mount(walk, mount, item);
	}
	/* The files of namespaces, which can be mounted on files, are not in the table. */
	if (r == 0 && !S_ISDIR(item->status.stx_mode))
		item_skip(item, WALK_KERNEL);
	else
		item_unreadable(item, r < 0 ? r : -ENODEV);
	return false;
}

static bool walk_has_mount(const struct walk *walk, const struct level *level)
{
	for (size_t i = 0; i < walk->mounts.n; i++)
		if (walk->mounts.mounts[i].parent == level->place.mount &&
		    !strcmp(walk->mounts.mounts[i].point, walk->path))
			return true;
	return false;
}

/*
 * Whether the path may be looked at: a server that is down would keep us waiting, and nobody asked
 * us to go there. So where the table has such a mount at this path, it decides.
 */
static bool walk_may_look(struct walk *walk, const struct level *level, struct walk_item *item)
{
	const struct mount *mount;
	enum filesystem_kind kind;

	if ((level && !walk_has_mount(walk, level)) || walk_read_mounts(walk) < 0)
		return true;
	mount = mounts_of_path(&walk->mounts, walk->path);
	if (!mount)
		return true;
	if (!level)
		walk->device = mount->device;
	kind = filesystem_kind(mount->type);
	return (kind != FILESYSTEM_REMOTE && kind != FILESYSTEM_AUTOMOUNT) ||
	       walk_mount(walk, mount, item);
}

/* --- directories --- */

static struct place place_of(const struct statx *status)
{
	return (struct place){
		.inode = status->stx_ino,
		.mount = status->stx_mnt_id,
		.device_major = status->stx_dev_major,
		.device_minor = status->stx_dev_minor,
	};
}

static bool place_equal(const struct place *a, const struct place *b)
{
	return a->inode == b->inode && a->mount == b->mount && a->device_major == b->device_major &&
	       a->device_minor == b->device_minor;
}

/* Leaves the time of last access alone where we may. */
static int open_directory(int at)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC;
	int fd = openat(at, ".", flags | O_NOATIME);

	if (fd < 0 && errno == EPERM)
		fd = openat(at, ".", flags);
	return fd < 0 ? -errno : fd;
}

/* Opens for reading what at, which it closes, stands for, if it is this directory. */
static int place_open(const struct place *place, int at, DIR **ret)
{
	struct statx status;
	struct place found;
	int fd;

	if (at < 0)
		return -errno;
	if (statx(at, "", AT_EMPTY_PATH | LOOK_FLAGS, LOOK_MASK, &status) < 0) {
		fd = -errno;
	} else {
		found = place_of(&status);
		fd = place_equal(&found, place) ? open_directory(at) : -ESTALE;
	}
	(void)close(at);
	if (fd < 0)
		return fd;
	*ret = fdopendir(fd);
	if (*ret)
		return 0;
	(void)close(fd);
	return -ENOMEM;
}

/* Makes room for one more level, in the table and among the open ones. */
static int walk_make_room(struct walk *walk)
{
	struct level *larger;

	if (walk->n_levels == walk->n_allocated) {
		size_t n = walk->n_allocated ? 2 * walk->n_allocated : 64;

		larger = reallocarray(walk->levels, n, sizeof(*larger));
		if (!larger)
			return -ENOMEM;
		walk->levels = larger;
		walk->n_allocated = n;
	}
	if (walk->n_open == WALK_OPEN_MAX) {
		struct level *highest = &walk->levels[walk->n_levels - walk->n_open];

		highest->position = telldir(highest->stream);
		walk_close(walk, highest);
	}
	return 0;
}

static void walk_enter(struct walk *walk, struct walk_item *item)
{
	/* The links in a path that was given are the caller's own. */
	int flags = item->directory == AT_FDCWD ? PLACE_FLAGS : PLACE_FLAGS | O_NOFOLLOW, r;
	struct level level = {
		.place = place_of(&item->status),
		.length = walk->path[1] ? strlen(walk->path) : 0,
	};

	r = walk_make_room(walk);
	if (r == 0)
		r = place_open(&level.place, openat(item->directory, item->name, flags),
			       &level.stream);
	if (r < 0) {
		item_fail(item, r);
		return;
	}
	walk->levels[walk->n_levels++] = level;
	walk->n_open++;
	item->kind = WALK_DIRECTORY;
}

/* Goes down to what path says now, one name after the other: it may be longer than PATH_MAX. */
static int walk_descend(const struct walk *walk)
{
	int at = open(walk->paths[walk->next_path - 1], PLACE_FLAGS);

	for (char *name = walk->path + walk->levels[0].length; at >= 0 && *name;) {
		size_t length = 1 + strcspn(name + 1, "/");
		char end = name[length];
		int below;

		name[length] = '\0';
		below = openat(at, name + 1, PLACE_FLAGS | O_NOFOLLOW);
		name[length] = end;
		(void)close(at);
		at = below;
		name += length;
	}
	return at;
}

/* Opens a level again. child: the directory that we come back from, if it is open. */
static int walk_return(struct walk *walk, struct level *level, DIR *child)
{
	int r = -ESTALE;

	walk->path[level->length] = '\0';
	if (child)
		r = place_open(&level->place, openat(dirfd(child), "..", PLACE_FLAGS),
			       &level->stream);
	/* The child may have been moved elsewhere. */
	if (r < 0)
		r = place_open(&level->place, walk_descend(walk), &level->stream);
	if (r < 0)
		return r;
	walk->n_open++;
	seekdir(level->stream, level->position);
	return 0;
}

/* Reports the lowest level, which cannot be read any further. */
static bool walk_give_up(struct walk *walk, struct walk_item *item, int error)
{
	struct level *level = &walk->levels[walk->n_levels - 1];

	walk->resume = NULL;
	walk_close(walk, level);
	if (level->length)
		walk->path[level->length] = '\0';
	else
		(void)strcpy(walk->path, "/");
	item->name = walk->path;
	item_fail(item, error);
	return true;
}

/* Goes back to the level above. Returns whether there is something to report. */
static bool walk_leave(struct walk *walk, struct walk_item *item)
{
	struct level *child = &walk->levels[--walk->n_levels];
	int r = 0;

	if (walk->n_levels && !child[-1].stream)
		r = walk_return(walk, &child[-1], child->stream);
	walk_close(walk, child);
	return r < 0 && walk_give_up(walk, item, r);
}

/* --- one item --- */

static const struct conf_entry *walk_rule(const struct walk *walk)
{
	const struct conf_list *exclude = walk->rules->exclude;

	for (size_t i = 0; exclude && i < exclude->n_entries; i++)
		if (match_path(exclude->entries[i].text, walk->path))
			return &exclude->entries[i];
	return NULL;
}

/* Fills in what can be seen from outside. Returns whether it is to be looked at more closely.
 * level: the directory it is in; NULL: it was given. */
static bool walk_look(struct walk *walk, const struct level *level, struct walk_item *item,
		      bool may_be_directory)
{
	bool may_look = (level && !may_be_directory) || walk_may_look(walk, level, item);
	int flags = level ? LOOK_FLAGS | AT_SYMLINK_NOFOLLOW : LOOK_FLAGS, r = 0;

	if (may_look && statx(item->directory, item->name, flags, LOOK_MASK, &item->status) < 0)
		r = -errno;
	item->rule = walk_rule(walk);
	if (item->rule) {
		item->filesystem = NULL;
		item_skip(item, WALK_EXCLUDED);
		return false;
	}
	if (r < 0 && level)
		item_fail(item, r);
	else if (r < 0)
		item_unreadable(item, r);
	return may_look && r == 0 &&
	       ((level && level->place.mount == item->status.stx_mnt_id) ||
		walk_mount_of(walk, level, item));
}

static void walk_visit(struct walk *walk, const struct level *level, struct walk_item *item,
		       bool may_be_directory)
{
	if (!walk_look(walk, level, item, may_be_directory))
		return;
	switch (item->status.stx_mode & S_IFMT) {
	case S_IFDIR:
		/* Something would be mounted on it: NFS has such directories. */
		if (item->status.stx_attributes & STATX_ATTR_AUTOMOUNT)
			item_skip(item, WALK_AUTOMOUNT);
		else
			walk_enter(walk, item);
		break;
	case S_IFREG:
		item->kind = WALK_FILE;
		if (walk_met(walk, &item->status))
			item_skip(item, WALK_LINK);
		break;
	case S_IFLNK:
		item_skip(item, WALK_SYMLINK);
		break;
	default:
		item_skip(item, WALK_SPECIAL);
	}
}

/*
 * Whether an item is to be reported. rest: what of after is below it; NULL: it is not on the way
 * there. What has become something else than a directory meanwhile is new. In a directory that has
 * changed nobody knows what came before: what is called as it was may have been made since.
 */
static bool walk_is_new(struct walk *walk, const struct walk_item *item, const char *rest)
{
	bool is_entered = item->kind == WALK_DIRECTORY;

	walk->resume =
		rest && *rest && is_entered && item->status.stx_ctime.tv_sec < walk->after_time
			? rest
			: NULL;
	return !rest || (*rest && !is_entered);
}

/* Whether what is at the path now is one of those given: it has its own turn. */
static bool walk_is_given(const struct walk *walk)
{
	for (size_t i = 0; i < walk->n_paths; i++)
		if (!strcmp(walk->paths[i], walk->path))
			return true;
	return false;
}

static int walk_append(struct walk *walk, size_t length, const char *name)
{
	size_t size = length + strlen(name) + 2;
	char *larger;

	if (size > walk->path_size) {
		larger = realloc(walk->path, 2 * size);
		if (!larger)
			return -ENOMEM;
		walk->path = larger;
		walk->path_size = 2 * size;
	}
	walk->path[length] = '/';
	(void)strcpy(walk->path + length + 1, name);
	return 0;
}

/* What of after is below this name; NULL: it is not the next one on the way there. */
static const char *walk_rest(const struct walk *walk, const char *name)
{
	size_t length = strlen(name);
	const char *rest = walk->resume + 1 + length;

	return strncmp(walk->resume + 1, name, length) || (*rest && *rest != '/') ? NULL : rest;
}

static bool walk_on_entry(struct walk *walk, const struct dirent *entry, struct walk_item *item)
{
	const struct level *level = &walk->levels[walk->n_levels - 1];
	const char *rest = walk->resume ? walk_rest(walk, entry->d_name) : NULL;
	int r;

	if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") || (walk->resume && !rest))
		return false;
	r = walk_append(walk, level->length, entry->d_name);
	if (r < 0)
		return walk_give_up(walk, item, r);
	if (walk_is_given(walk))
		return false;
	item->directory = dirfd(level->stream);
	item->name = walk->path + level->length + 1;
	walk_visit(walk, level, item, entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN);
	return walk_is_new(walk, item, rest);
}

/* Each of these goes one step on and returns whether there is something to report. */
static bool walk_read(struct walk *walk, struct walk_item *item)
{
	struct level *level = &walk->levels[walk->n_levels - 1];
	const struct dirent *entry;

	if (!level->stream)
		return walk_leave(walk, item);
	errno = 0;
	entry = readdir(level->stream);
	if (entry)
		return walk_on_entry(walk, entry, item);
	if (errno)
		return walk_give_up(walk, item, -errno);
	if (!walk->resume)
		return walk_leave(walk, item);
	/* Where we were is not there any more: nobody knows what came before it. */
	walk->resume = NULL;
	rewinddir(level->stream);
	return false;
}

static bool walk_begin(struct walk *walk, struct walk_item *item)
{
	(void)strcpy(walk->path, walk->paths[walk->next_path++]);
	item->name = walk->path;
	walk_visit(walk, NULL, item, true);
	return walk_is_new(walk, item, walk->resume);
}

void walk_next(struct walk *walk, struct walk_item *item)
{
	bool found = false;

	while (!found) {
		*item = (struct walk_item){.kind = WALK_END, .directory = AT_FDCWD};
		if (walk->n_levels) {
			found = walk_read(walk, item);
		} else if (walk->next_path < walk->n_paths) {
			found = walk_begin(walk, item);
		} else {
			*walk->path = '\0';
			item->name = walk->path;
			found = true;
		}
	}
	item->path = walk->path;
}

void walk_forget_link(struct walk *walk, const struct walk_item *item)
{
	uint32_t number = walk->links ? links_find(walk->links, &item->status) : 0;

	if (!number)
		return;
	/* Its turn to be overwritten comes: until then it is that of no file. */
	links_forget(walk->links, number);
	links_set(walk->links, number, 0, 0);
}

const char *walk_position(const struct walk *walk)
{
	return walk->path;
}

/* Whether a descriptor is of the file that was found. */
static int walk_check(const struct walk_item *item, int fd)
{
	struct statx status;

	if (statx(fd, "", AT_EMPTY_PATH | LOOK_FLAGS, STATX_TYPE | STATX_INO, &status) < 0)
		return -errno;
	return S_ISREG(status.stx_mode) && status.stx_ino == item->status.stx_ino &&
			       status.stx_dev_major == item->status.stx_dev_major &&
			       status.stx_dev_minor == item->status.stx_dev_minor
		       ? 0
		       : -ESTALE;
}

int walk_open(const struct walk_item *item)
{
	int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, fd, r;

	if (item->directory != AT_FDCWD)
		flags |= O_NOFOLLOW;
	/* It tells others that a file is in use. Not tried where the kernel may refuse it:
	 * on-access protection refuses with the same error, after a scan. */
	if (item->status.stx_uid == geteuid())
		flags |= O_NOATIME;
	fd = openat(item->directory, item->name, flags);
	if (fd < 0)
		return errno == ELOOP || errno == ENXIO ? -ESTALE : -errno;
	r = walk_check(item, fd);
	if (r == 0)
		return fd;
	(void)close(fd);
	return r;
}

/* --- beginning and end --- */

/* Takes each path once. */
static void walk_take_paths(struct walk *walk, const char *const *paths, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		(void)strcpy(walk->path, paths[i]);
		if (!walk_is_given(walk))
			walk->paths[walk->n_paths++] = paths[i];
	}
	*walk->path = '\0';
}

/* Finds where it was: below the longest of the paths. */
static void walk_go_on(struct walk *walk)
{
	for (size_t i = 0; i < walk->n_paths && *walk->after; i++) {
		const char *rest = path_rest(walk->paths[i], walk->after);

		if (rest && (!walk->resume || strlen(rest) < strlen(walk->resume))) {
			walk->resume = rest;
			walk->next_path = i;
		}
	}
	if (walk->resume)
		(void)strcpy(walk->path, walk->after);
}

static size_t longest(const char *const *paths, size_t n, const char *after)
{
	size_t length = strlen(after);

	for (size_t i = 0; i < n; i++)
		if (strlen(paths[i]) > length)
			length = strlen(paths[i]);
	return length;
}

struct walk *walk_new(const char *const *paths, size_t n, const struct walk_rules *rules,
		      const char *after, int64_t after_time)
{
	struct walk *walk = calloc(1, sizeof(*walk));

	if (!walk)
		return NULL;
	walk->rules = rules;
	walk->after = strdup(after ? after : "");
	walk->after_time = after_time;
	walk->paths = calloc(n + 1, sizeof(*walk->paths));
	walk->path_size = longest(paths, n, after ? after : "") + 1;
	walk->path = calloc(1, walk->path_size);
	if (!walk->after || !walk->paths || !walk->path)
		return walk_free(walk);
	walk_take_paths(walk, paths, n);
	walk_go_on(walk);
	return walk;
}

struct walk *walk_free(struct walk *walk)
{
	if (!walk)
		return NULL;
	for (size_t i = 0; i < walk->n_levels; i++)
		walk_close(walk, &walk->levels[i]);
	if (walk->mountinfo)
		(void)fclose(walk->mountinfo);
	mounts_free(&walk->mounts);
	free(walk->paths);
	free(walk->path);
	free(walk->levels);
	free(walk->after);
	free(walk->links);
	free(walk);
	return NULL;
}
