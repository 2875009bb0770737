/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * store: the directory of signatures, and how what was fetched gets into it. In it:
 *
 *   (files)      what an administrator, or freshclam, puts there. Loaded; never changed from here,
 *                but see store_replace()
 *   current      a symbolic link to sets/N: what the fetcher has published. Loaded
 *   sets/N       a set: files that are never changed, hard links where two sets share one. The two
 *                last ones are kept: an engine may be reading the older one
 *   fetch/       state.json, lock, partial/ (broken downloads), work/ (empty at the beginning of
 *                each run, gone at its end), replaced/ (what store_replace() was told of)
 *
 * A set is published by renaming a symbolic link, after everything it leads to has reached the
 * disk: whoever looks, after a kill or a power cut too, sees the old set or the new one.
 */
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

struct store;

/*
 * store_open() makes what is missing, takes the lock, and removes what a run that was killed has
 * left. NULL with the reason in problem: what, where, what to do; *ret_busy says whether it is that
 * another run is under way. store_close() lets go; what was staged and not published is removed.
 */
struct store *store_open(const char *directory, bool *ret_busy, char *problem, size_t problem_size);
struct store *store_close(struct store *store);

/* store_path() writes the path of something in fetch/ ("state.json", "work/x", "partial/x").
 * Returns buffer. */
char *store_path(const struct store *store, const char *name, char *buffer, size_t size);

/* store_find() writes the path of a file of the set as it will be published: staged, or in force.
 * Returns whether there is one. */
bool store_find(const struct store *store, const char *name, char *buffer, size_t size);

/* store_own() writes the path of a file that lies in the directory of signatures itself. Returns
 * whether there is one. */
bool store_own(const struct store *store, const char *name, char *buffer, size_t size);

/* store_replace() says that the staged set has something newer than such a file: when that set is
 * published, the file is removed, or both would be loaded. Returns 0 or a negative errno with the
 * reason in problem. */
int store_replace(struct store *store, const char *name, char *problem, size_t problem_size);

/* store_put() stages a file: it moves path, which must be in fetch/, into the next set under name,
 * readable for all. store_drop() leaves a file out of the next set. Return 0 or a negative errno
 * with the reason in problem. */
int store_put(struct store *store, const char *path, const char *name, char *problem,
	      size_t problem_size);
int store_drop(struct store *store, const char *name, char *problem, size_t problem_size);

/* store_is_staged() says whether the next set differs from the one in force. */
bool store_is_staged(const struct store *store);

/* store_keep_only() drops every file that keep() does not want. */
int store_keep_only(struct store *store, bool (*keep)(void *context, const char *name),
		    void *context, char *problem, size_t problem_size);

/* store_publish() puts the staged set in force. Returns 0 or a negative errno with the reason in
 * problem; then the old set is still in force. */
int store_publish(struct store *store, char *problem, size_t problem_size);
