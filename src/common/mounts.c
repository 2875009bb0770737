/* SPDX-License-Identifier: GPL-2.0-only */
#include "mounts.h"

#include "path.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

static void mount_clear(struct mount *mount)
{
	free(mount->root);
	free(mount->point);
	free(mount->type);
	free(mount->options);
}

void mounts_free(struct mounts *mounts)
{
	for (size_t i = 0; i < mounts->n; i++)
		mount_clear(&mounts->mounts[i]);
	free(mounts->mounts);
	*mounts = (struct mounts){0};
}

/* Takes the mount. */
static int mounts_append(struct mounts *mounts, struct mount mount)
{
	struct mount *larger;

	if (!mount.root || !mount.point || !mount.type || !mount.options) {
		mount_clear(&mount);
		return -ENOMEM;
	}
	if (mounts->n == mounts->n_allocated) {
		size_t n = mounts->n_allocated ? 2 * mounts->n_allocated : 64;

		larger = reallocarray(mounts->mounts, n, sizeof(*larger));
		if (!larger) {
			mount_clear(&mount);
			return -ENOMEM;
		}
		mounts->mounts = larger;
		mounts->n_allocated = n;
	}
	mounts->mounts[mounts->n++] = mount;
	return 0;
}

char *mounts_unescape(const char *text)
{
	char *copy = malloc(strlen(text) + 1), *to = copy;

	if (!copy)
		return NULL;
	while (*text) {
		if (text[0] == '\\' && strspn(text + 1, "01234567") >= 3) {
			*to++ = (char)((text[1] - '0') << 6 | (text[2] - '0') << 3 |
				       (text[3] - '0'));
			text += 4;
		} else {
			*to++ = *text++;
		}
	}
	*to = '\0';
	return copy;
}

/*
 * "ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG...] - TYPE SOURCE SUPEROPTIONS", with a single
 * blank between; the source may be empty. What is no directory tree, a namespace's file for one,
 * has a root that is no path.
 */
static int mounts_read_line(struct mounts *mounts, char *line)
{
	char *root = NULL, *point = NULL, *flags = NULL, *rest = strstr(line, " - ");
	unsigned long long id, parent;
	unsigned device_major, device_minor;
	int r = 0;

	if (rest &&
	    sscanf(line, "%llu %llu %u:%u %ms %ms %ms", &id, &parent, &device_major, &device_minor,
		   &root, &point, &flags) == 7 &&
	    *root == '/' && *point == '/') {
		const char *type, *options;

		rest[strcspn(rest, "\n")] = '\0';
		rest += strlen(" - ");
		type = strsep(&rest, " ");
		(void)strsep(&rest, " ");
		options = rest ? rest : "";
		if (*type)
			r = mounts_append(mounts,
					  (struct mount){
						  .id = id,
						  .parent = parent,
						  .device = makedev(device_major, device_minor),
						  .root = mounts_unescape(root),
						  .point = mounts_unescape(point),
						  .type = strdup(type),
						  .options = strdup(options),
						  .is_idmapped = strstr(flags, "idmapped"),
					  });
	}
	free(root);
	free(point);
	free(flags);
	return r;
}

int mounts_read(struct mounts *mounts, FILE *stream)
{
	char *line = NULL;
	size_t size = 0;
	int r = 0;

	errno = 0;
	while (r == 0 && getline(&line, &size, stream) > 0)
		r = mounts_read_line(mounts, line);
	if (r == 0 && ferror(stream))
		r = errno ? -errno : -EIO;
	free(line);
	for (size_t i = 0; i < mounts->n; i++)
		mounts->mounts[i].is_reachable =
			mounts_of_path(mounts, mounts->mounts[i].point) == &mounts->mounts[i];
	return r;
}

const struct mount *mounts_find(const struct mounts *mounts, uint64_t id)
{
	for (size_t i = 0; id && i < mounts->n; i++)
		if (mounts->mounts[i].id == id)
			return &mounts->mounts[i];
	return NULL;
}

/* The mount on top of this one that the way to path leads into first: one at a longer path may be
 * hidden below it. */
static const struct mount *mounts_step(const struct mounts *mounts, const struct mount *from,
				       const char *path)
{
	const struct mount *first = NULL;

	for (size_t i = 0; i < mounts->n; i++) {
		const struct mount *mount = &mounts->mounts[i];

		if (mount->id && mount->id != from->id && mount->parent == from->id &&
		    path_rest(mount->point, path) &&
		    (!first || strlen(mount->point) < strlen(first->point)))
			first = mount;
	}
	return first;
}

const struct mount *mounts_of_path(const struct mounts *mounts, const char *path)
{
	const struct mount *mount = NULL, *next = NULL;

	/* The root's parent is not ours to see. */
	for (size_t i = 0; i < mounts->n && !next; i++)
		if (!strcmp(mounts->mounts[i].point, "/") &&
		    (mounts->mounts[i].parent == mounts->mounts[i].id ||
		     !mounts_find(mounts, mounts->mounts[i].parent)))
			next = &mounts->mounts[i];
	while (next) {
		mount = next;
		next = mounts_step(mounts, mount, path);
	}
	return mount;
}

const struct mount *mounts_showing(const struct mounts *mounts, uint64_t device)
{
	for (size_t i = 0; i < mounts->n; i++)
		if (mounts->mounts[i].id && mounts->mounts[i].device == device &&
		    mounts->mounts[i].is_reachable)
			return &mounts->mounts[i];
	return NULL;
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
	/* FNV-1a, the final zero included. */
	do
		hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	while (*text++);
	return hash;
}

uint64_t mounts_names_hash(const struct mounts *mounts, uint64_t device)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < mounts->n; i++)
		if (mounts->mounts[i].device == device)
			hash = hash_text(hash_text(hash, mounts->mounts[i].root),
					 mounts->mounts[i].point);
	return hash;
}

int mounts_add_layer(struct mounts *mounts, size_t overlay, const struct mount *on,
		     const char *inside, bool is_lower)
{
	const struct mount *over = &mounts->mounts[overlay];
	char *root = malloc(strlen(inside) + strlen(over->root) + 1);

	/* The overlay's mount may show a part of the overlay only. */
	if (root)
		(void)path_join(root, strlen(inside) + strlen(over->root) + 1, inside,
				over->root[1] ? over->root : "");
	return mounts_append(mounts, (struct mount){
					     .device = on->device,
					     .root = root,
					     .point = strdup(over->point),
					     .type = strdup(on->type),
					     .options = strdup(on->options),
					     .is_reachable = over->is_reachable,
					     .is_lower = is_lower || over->is_lower,
				     });
}

bool mount_inside(const struct mount *mount, const char *path, char *buffer, size_t size)
{
	const char *rest = path_rest(mount->point, path);

	return rest && path_join(buffer, size, mount->root, rest) == 0;
}

bool mount_name(const struct mount *mount, const char *inside, char *buffer, size_t size)
{
	const char *rest = path_rest(mount->root, inside);

	return rest && path_join(buffer, size, mount->point, rest) == 0;
}
