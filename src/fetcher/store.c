/* SPDX-License-Identifier: GPL-2.0-only */
#include "store.h"

#include "../common/signature.h"
#include "../common/tree.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* What is in the directory of signatures, beside the files. */
#define STORE_LOCK    SIGNATURE_FETCH "/lock"
#define STORE_PARTIAL SIGNATURE_FETCH "/partial"
#define STORE_WORK    SIGNATURE_FETCH "/work"
/* One link for each file that store_replace() was told of, to the number of the set. It outlives a
 * run that is killed between publishing and the removal of what the set replaces. */
#define STORE_REPLACED SIGNATURE_FETCH "/replaced"
/* The link before it is put in the place of current. */
#define STORE_LINK SIGNATURE_FETCH "/current"
/* Behind the number of a set that is being made, or removed. Only a number is a whole set. */
#define STORE_NEW  ".new"
#define STORE_GONE ".gone"

struct store {
	char directory[PATH_MAX];
	int fd; /* of directory; names below are relative to it */
	int lock;
	uint64_t current, before; /* numbers of sets; 0: none */
	uint64_t next;		  /* the number of the set to come */
	bool has_next;		  /* it was begun: sets/NEXT.new */
};

typedef char store_name[320];

static int store_fail(const struct store *store, int error, const char *what, const char *name,
		      char *problem, size_t problem_size)
{
	const char *help = "";

	if (error == -ENOSPC || error == -EDQUOT)
		help = "; make room on its filesystem";
	else if (error == -EROFS)
		help = "; its filesystem is mounted read-only: mount it for writing, or choose "
		       "another directory of signatures";
	else if (error == -EACCES || error == -EPERM)
		help = "; the directory of signatures and all below fetch/ and sets/ must belong "
		       "to the user that holdfast runs as";
	(void)snprintf(problem, problem_size, "cannot %s %s%s%s: %s%s", what, store->directory,
		       *name ? "/" : "", name, strerror(-error), help);
	return error;
}

static void store_full_path(const struct store *store, const char *name, char *buffer, size_t size)
{
	(void)snprintf(buffer, size, "%s/%s", store->directory, name);
}

static int store_remove_tree(const struct store *store, const char *name)
{
	char path[PATH_MAX];

	store_full_path(store, name, path, sizeof(path));
	return tree_remove(path);
}

/* name: a directory, or "." */
static int store_sync(const struct store *store, const char *name)
{
	int fd = openat(store->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int r = fd < 0 || fsync(fd) < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return r;
}

static int store_make_directory(const struct store *store, const char *name, mode_t mode)
{
	struct stat status;

	if (mkdirat(store->fd, name, mode) < 0 && errno != EEXIST)
		return -errno;
	if (fstatat(store->fd, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISDIR(status.st_mode))
		return -ENOTDIR;
	/* whatever the umask is; that its files belong to another group stays as it is */
	if ((status.st_mode & 0777) != mode &&
	    fchmodat(store->fd, name, mode | (status.st_mode & S_ISGID), 0) < 0)
		return -errno;
	return 0;
}

/* Is called for every entry of a directory, but . and .., until it does not return 0. */
typedef int (*store_visit)(const struct store *store, const char *name, void *context);

static int store_each(const struct store *store, const char *directory, store_visit visit,
		      void *context)
{
	struct dirent **entries;
	int n = scandirat(store->fd, directory, &entries, NULL, alphasort), r = 0;

	if (n < 0)
		return errno == ENOENT ? 0 : -errno;
	for (int i = 0; i < n; i++) {
		const char *name = entries[i]->d_name;

		if (r == 0 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
			r = visit(store, name, context);
		free(entries[i]);
	}
	free(entries);
	return r;
}

/* Sets and their numbers. */

/* 0: that is none. */
static uint64_t store_number(const char *name)
{
	char *end;
	uint64_t number;

	if (!isdigit((unsigned char)*name) || *name == '0' || strlen(name) > 18)
		return 0;
	number = strtoull(name, &end, 10);
	return *end ? 0 : number;
}

static const char *store_set(uint64_t number, const char *suffix, const char *file,
			     store_name buffer)
{
	(void)snprintf(buffer, sizeof(store_name), SIGNATURE_SETS "/%llu%s%s%s",
		       (unsigned long long)number, suffix, *file ? "/" : "", file);
	return buffer;
}

/* The set that store_find() looks into. Returns NULL where there is none. */
static const char *store_next_set(const struct store *store, const char *file, store_name buffer)
{
	if (store->has_next)
		return store_set(store->next, STORE_NEW, file, buffer);
	return store->current ? store_set(store->current, "", file, buffer) : NULL;
}

static bool store_has_set(const struct store *store, uint64_t number)
{
	store_name name;
	struct stat status;

	return fstatat(store->fd, store_set(number, "", "", name), &status, AT_SYMLINK_NOFOLLOW) ==
		       0 &&
	       S_ISDIR(status.st_mode);
}

/* The set that current leads to. */
static uint64_t store_read_current(const struct store *store)
{
	static const char sets[] = SIGNATURE_SETS "/";
	char target[64];
	ssize_t n = readlinkat(store->fd, SIGNATURE_CURRENT, target, sizeof(target) - 1);
	uint64_t number;

	if (n < 0)
		return 0;
	target[n] = '\0';
	if (strncmp(target, sets, sizeof(sets) - 1) != 0)
		return 0;
	number = store_number(target + sizeof(sets) - 1);
	return number && store_has_set(store, number) ? number : 0;
}

/* Makes current lead to a set, for good. */
static int store_point(const struct store *store, uint64_t number)
{
	store_name target;

	if (unlinkat(store->fd, STORE_LINK, 0) < 0 && errno != ENOENT)
		return -errno;
	if (symlinkat(store_set(number, "", "", target), store->fd, STORE_LINK) < 0)
		return -errno;
	if (renameat(store->fd, STORE_LINK, store->fd, SIGNATURE_CURRENT) < 0) {
		int r = -errno;

		(void)unlinkat(store->fd, STORE_LINK, 0);
		return r;
	}
	return store_sync(store, ".");
}

/* A whole set never loses a file while it is called like one. */
static int store_remove_set(const struct store *store, const char *name)
{
	store_name from, gone;

	(void)snprintf(from, sizeof(from), SIGNATURE_SETS "/%s", name);
	if (!store_number(name))
		return store_remove_tree(store, from);
	(void)store_set(store_number(name), STORE_GONE, "", gone);
	if (renameat(store->fd, from, store->fd, gone) < 0)
		return -errno;
	return store_remove_tree(store, gone);
}

static int store_visit_highest(const struct store *store, const char *name, void *context)
{
	uint64_t *ret_highest = context;
	const uint64_t number = store_number(name);

	if (number > *ret_highest && store_has_set(store, number))
		*ret_highest = number;
	return 0;
}

static int store_visit_before(const struct store *store, const char *name, void *context)
{
	uint64_t *ret_before = context;
	const uint64_t number = store_number(name);

	if (number < store->current && number > *ret_before && store_has_set(store, number))
		*ret_before = number;
	return 0;
}

static int store_visit_prune(const struct store *store, const char *name, void *context)
{
	const uint64_t number = store_number(name);

	if (number && (number == store->current || number == store->before))
		return 0;
	return store_remove_set(store, name);
}

/* Finds the set in force. Where current leads nowhere, the newest whole set takes its place: it is
 * one that was published, or about to be for the first time. */
static int store_find_sets(struct store *store, char *problem, size_t problem_size)
{
	uint64_t highest = 0;
	int r = store_each(store, SIGNATURE_SETS, store_visit_highest, &highest);

	if (r < 0)
		return store_fail(store, r, "read", SIGNATURE_SETS, problem, problem_size);
	store->current = store_read_current(store);
	if (!store->current && highest) {
		r = store_point(store, highest);
		if (r < 0)
			return store_fail(store, r, "replace", SIGNATURE_CURRENT, problem,
					  problem_size);
		store->current = highest;
	}
	store->next = highest + 1;
	return store_each(store, SIGNATURE_SETS, store_visit_before, &store->before);
}

/* Files that a set replaces: each is a symbolic link that names the set. */

static bool store_is_replaced(const struct store *store, const char *mark)
{
	char target[64];
	ssize_t n = readlinkat(store->fd, mark, target, sizeof(target) - 1);

	if (n < 0)
		return false;
	target[n] = '\0';
	return store->current && store_number(target) == store->current;
}

/* Removes what the set in force replaces, and forgets what another was to. */
static int store_visit_replaced(const struct store *store, const char *name, void *context)
{
	store_name mark;

	(void)snprintf(mark, sizeof(mark), STORE_REPLACED "/%s", name);
	if (store_is_replaced(store, mark)) {
		if (unlinkat(store->fd, name, 0) < 0 && errno != ENOENT)
			return -errno;
		(void)store_sync(store, ".");
	}
	return unlinkat(store->fd, mark, 0) < 0 ? -errno : 0;
}

/* Beginning and end. */

static int store_take_lock(struct store *store, bool *ret_busy, char *problem, size_t problem_size)
{
	int r;

	store->lock =
		openat(store->fd, STORE_LOCK, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (store->lock < 0)
		return store_fail(store, -errno, "open", STORE_LOCK, problem, problem_size);
	if (flock(store->lock, LOCK_EX | LOCK_NB) == 0)
		return 0;
	r = -errno;
	close(store->lock);
	store->lock = -1; /* what is there is another run's */
	if (r != -EWOULDBLOCK)
		return store_fail(store, r, "lock", STORE_LOCK, problem, problem_size);
	*ret_busy = true;
	(void)snprintf(problem, problem_size,
		       "another update of %s is under way; wait until it has ended",
		       store->directory);
	return -EBUSY;
}

static int store_make_all(struct store *store, char *problem, size_t problem_size)
{
	static const struct {
		const char *name;
		mode_t mode;
	} directories[] = {
		{SIGNATURE_SETS, 0755},
		{STORE_PARTIAL, 0700},
		{STORE_REPLACED, 0700},
		{STORE_WORK, 0700},
	};
	int r = store_remove_tree(store, STORE_WORK);

	if (r < 0)
		return store_fail(store, r, "remove", STORE_WORK, problem, problem_size);
	for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++) {
		r = store_make_directory(store, directories[i].name, directories[i].mode);
		if (r < 0)
			return store_fail(store, r, "make", directories[i].name, problem,
					  problem_size);
	}
	return 0;
}

/* What a run that was killed has left. */
static int store_clean(struct store *store, char *problem, size_t problem_size)
{
	int r;

	if (unlinkat(store->fd, STORE_LINK, 0) < 0 && errno != ENOENT)
		return store_fail(store, -errno, "remove", STORE_LINK, problem, problem_size);
	r = store_find_sets(store, problem, problem_size);
	if (r < 0)
		return r;
	r = store_each(store, SIGNATURE_SETS, store_visit_prune, NULL);
	if (r < 0)
		return store_fail(store, r, "remove old sets in", SIGNATURE_SETS, problem,
				  problem_size);
	r = store_each(store, STORE_REPLACED, store_visit_replaced, NULL);
	return r < 0 ? store_fail(store, r, "remove what was replaced in", ".", problem,
				  problem_size)
		     : 0;
}

static int store_begin(struct store *store, bool *ret_busy, char *problem, size_t problem_size)
{
	int r;

	if (mkdir(store->directory, 0755) < 0 && errno != EEXIST)
		return store_fail(store, -errno, "make", "", problem, problem_size);
	store->fd = open(store->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (store->fd < 0)
		return store_fail(store, -errno, "open", "", problem, problem_size);
	r = store_make_directory(store, SIGNATURE_FETCH, 0755);
	if (r < 0)
		return store_fail(store, r, "make", SIGNATURE_FETCH, problem, problem_size);
	r = store_take_lock(store, ret_busy, problem, problem_size);
	if (r == 0)
		r = store_make_all(store, problem, problem_size);
	return r == 0 ? store_clean(store, problem, problem_size) : r;
}

struct store *store_open(const char *directory, bool *ret_busy, char *problem, size_t problem_size)
{
	struct store *store = calloc(1, sizeof(*store));

	*ret_busy = false;
	(void)snprintf(problem, problem_size, "out of memory");
	if (!store)
		return NULL;
	store->fd = store->lock = -1;
	if (strlen(directory) + sizeof(store_name) > sizeof(store->directory)) {
		(void)snprintf(problem, problem_size, "%s: this path is too long", directory);
		return store_close(store);
	}
	(void)snprintf(store->directory, sizeof(store->directory), "%s", directory);
	return store_begin(store, ret_busy, problem, problem_size) == 0 ? store
									: store_close(store);
}

struct store *store_close(struct store *store)
{
	store_name name;

	if (!store)
		return NULL;
	if (store->has_next)
		(void)store_remove_tree(store, store_set(store->next, STORE_NEW, "", name));
	if (store->lock >= 0) {
		(void)store_remove_tree(store, STORE_WORK);
		close(store->lock);
	}
	if (store->fd >= 0)
		close(store->fd);
	free(store);
	return NULL;
}

char *store_path(const struct store *store, const char *name, char *buffer, size_t size)
{
	(void)snprintf(buffer, size, "%s/" SIGNATURE_FETCH "/%s", store->directory, name);
	return buffer;
}

static bool store_is_file(const struct store *store, const char *name, char *buffer, size_t size)
{
	struct stat status;

	store_full_path(store, name, buffer, size);
	return fstatat(store->fd, name, &status, 0) == 0 && S_ISREG(status.st_mode);
}

static bool store_is_name(const char *name)
{
	return *name && *name != '.' && !strchr(name, '/') && strlen(name) <= NAME_MAX;
}

bool store_find(const struct store *store, const char *name, char *buffer, size_t size)
{
	store_name path;

	return store_is_name(name) && store_next_set(store, name, path) &&
	       store_is_file(store, path, buffer, size);
}

bool store_own(const struct store *store, const char *name, char *buffer, size_t size)
{
	return store_is_name(name) && store_is_file(store, name, buffer, size);
}

/* The set to come. */

static int store_visit_link(const struct store *store, const char *name, void *context)
{
	store_name from, to;

	(void)store_set(store->current, "", name, from);
	(void)store_set(store->next, STORE_NEW, name, to);
	return linkat(store->fd, from, store->fd, to, 0) < 0 ? -errno : 0;
}

/* Begins the next set, with all that is in force. */
static int store_stage(struct store *store, char *problem, size_t problem_size)
{
	store_name name, set;
	int r;

	if (store->has_next)
		return 0;
	(void)store_set(store->next, STORE_NEW, "", name);
	r = store_make_directory(store, name, 0755);
	if (r == 0 && store->current)
		r = store_each(store, store_set(store->current, "", "", set), store_visit_link,
			       NULL);
	if (r < 0) {
		(void)store_remove_tree(store, name);
		return store_fail(store, r, "make", name, problem, problem_size);
	}
	store->has_next = true;
	return 0;
}

/* Readable for all, and on the disk. */
static int store_finish_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat status;
	int r = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &status) < 0)
		r = -errno;
	else if (!S_ISREG(status.st_mode))
		r = -EINVAL;
	else if (fchmod(fd, 0644) < 0 || fsync(fd) < 0)
		r = -errno;
	close(fd);
	return r;
}

int store_put(struct store *store, const char *path, const char *name, char *problem,
	      size_t problem_size)
{
	store_name to;
	int r;

	if (!store_is_name(name))
		return store_fail(store, -EINVAL, "make a file called", name, problem,
				  problem_size);
	r = store_finish_file(path);
	if (r < 0)
		return store_fail(store, r, "keep as", name, problem, problem_size);
	r = store_stage(store, problem, problem_size);
	if (r < 0)
		return r;
	(void)store_set(store->next, STORE_NEW, name, to);
	if (renameat(AT_FDCWD, path, store->fd, to) < 0)
		return store_fail(store, -errno, "make", to, problem, problem_size);
	return 0;
}

int store_drop(struct store *store, const char *name, char *problem, size_t problem_size)
{
	char path[PATH_MAX];
	store_name staged;
	int r;

	if (!store_find(store, name, path, sizeof(path)))
		return 0;
	r = store_stage(store, problem, problem_size);
	if (r < 0)
		return r;
	(void)store_set(store->next, STORE_NEW, name, staged);
	if (unlinkat(store->fd, staged, 0) < 0)
		return store_fail(store, -errno, "remove", staged, problem, problem_size);
	return 0;
}

int store_replace(struct store *store, const char *name, char *problem, size_t problem_size)
{
	store_name mark;
	char number[32];
	int r = store_stage(store, problem, problem_size);

	if (r < 0)
		return r;
	(void)snprintf(mark, sizeof(mark), STORE_REPLACED "/%s", name);
	(void)snprintf(number, sizeof(number), "%llu", (unsigned long long)store->next);
	(void)unlinkat(store->fd, mark, 0);
	if (symlinkat(number, store->fd, mark) < 0)
		return store_fail(store, -errno, "make", mark, problem, problem_size);
	return 0;
}

/* What two sets have in common is the same file. */
static int store_visit_differs(const struct store *store, const char *name, void *context)
{
	store_name in_force, staged;
	struct stat old, new;

	return fstatat(store->fd, store_set(store->current, "", name, in_force), &old,
		       AT_SYMLINK_NOFOLLOW) < 0 ||
	       fstatat(store->fd, store_set(store->next, STORE_NEW, name, staged), &new,
		       AT_SYMLINK_NOFOLLOW) < 0 ||
	       old.st_ino != new.st_ino;
}

static int store_visit_any(const struct store *store, const char *name, void *context)
{
	return 1;
}

bool store_is_staged(const struct store *store)
{
	const store_visit visit = store->current ? store_visit_differs : store_visit_any;
	store_name staged, in_force;

	if (!store->has_next)
		return false;
	return store_each(store, store_set(store->next, STORE_NEW, "", staged), visit, NULL) != 0 ||
	       (store->current &&
		store_each(store, store_set(store->current, "", "", in_force), visit, NULL) != 0);
}

struct store_keep {
	struct store *store;
	bool (*keep)(void *context, const char *name);
	void *context;
	char *problem;
	size_t problem_size;
};

static int store_visit_keep(const struct store *store, const char *name, void *context)
{
	const struct store_keep *keep = context;

	return keep->keep(keep->context, name)
		       ? 0
		       : store_drop(keep->store, name, keep->problem, keep->problem_size);
}

int store_keep_only(struct store *store, bool (*keep)(void *context, const char *name),
		    void *context, char *problem, size_t problem_size)
{
	struct store_keep all = {store, keep, context, problem, problem_size};
	store_name name;
	const char *set = store_next_set(store, "", name);

	return set ? store_each(store, set, store_visit_keep, &all) : 0;
}

/* Back to what was in force, where putting the next set there went wrong. */
static void store_take_back(const struct store *store, const char *whole, const char *staged)
{
	if (store_read_current(store) == store->next) {
		if (store->current)
			(void)store_point(store, store->current);
		else
			(void)unlinkat(store->fd, SIGNATURE_CURRENT, 0);
	}
	(void)renameat(store->fd, whole, store->fd, staged);
}

static int store_put_in_force(const struct store *store)
{
	store_name staged, whole;
	int r;

	(void)store_set(store->next, STORE_NEW, "", staged);
	(void)store_set(store->next, "", "", whole);
	r = store_sync(store, staged);
	if (r == 0)
		r = store_sync(store, STORE_REPLACED);
	if (r == 0 && renameat(store->fd, staged, store->fd, whole) < 0)
		r = -errno;
	if (r < 0)
		return r;
	r = store_sync(store, SIGNATURE_SETS);
	if (r == 0)
		r = store_point(store, store->next);
	if (r < 0)
		store_take_back(store, whole, staged);
	return r;
}

int store_publish(struct store *store, char *problem, size_t problem_size)
{
	store_name name;
	int r;

	if (!store->has_next)
		return 0;
	r = store_put_in_force(store);
	if (r < 0)
		return store_fail(store, r, "put in force", store_set(store->next, "", "", name),
				  problem, problem_size);
	store->before = store->current;
	store->current = store->next++;
	store->has_next = false;
	/* What of this fails is done by the next run. */
	(void)store_each(store, STORE_REPLACED, store_visit_replaced, NULL);
	(void)store_each(store, SIGNATURE_SETS, store_visit_prune, NULL);
	return 0;
}
