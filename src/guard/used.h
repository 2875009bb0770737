/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * used: the files in scope that were opened and found clean, and when each was opened last as far
 * as the guard has seen. An open that a mark in the kernel answers is not seen.
 *
 * Known by path: a file that was replaced under its name is still the one that will be opened next,
 * and a path can be judged by the rules, and found again after a restart. (A handle leads to a file
 * whose name the kernel need not know.)
 *
 * Part of the estate: memory is fixed, 12 MB for 65,536 files, and an entry counts while its time
 * says so, which is written last when it is made and first when it ends. A file has eight places
 * that it may be at; where all are taken the least recently used of them makes room.
 *
 * The loop notes files. One thread beside it reads them, and may take them out; neither waits for
 * the other.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Files at once, and how many of them share their places. */
#define USED_MAX     65536
#define USED_PLACES  8
#define USED_BUCKETS (USED_MAX / USED_PLACES)

/* Bytes of a path, with its end; files of longer ones are not noted. */
#define USED_PATH_MAX 180

struct used_bucket {
	/* Microseconds since the epoch, even; odd: opened, and not verified yet; 0: free. */
	_Atomic uint64_t when[USED_PLACES];
	uint32_t hash[USED_PLACES]; /* of the path */
	char path[USED_PLACES][USED_PATH_MAX];
};

struct used {
	_Atomic bool is_ready;	  /* what was noted before a restart is in here */
	_Atomic size_t n;	  /* files */
	_Atomic uint64_t n_noted; /* notes ever made: more than before, and there is news */
	struct used_bucket buckets[USED_BUCKETS];
};

/* The place of a file that is being opened. All zero: it has none. */
struct used_ticket {
	uint32_t place; /* less one */
	uint32_t hash;
};

/*
 * used_expect() finds a place for a file that is being opened, by its absolute path; it counts once
 * used_note() is called, when it is clean. used_forget() is for one that is not. For the loop; a
 * ticket that has been overtaken by another does nothing. Nothing is noted where used is NULL or
 * not ready.
 */
struct used_ticket used_expect(struct used *used, const char *path);
void used_note(struct used *used, struct used_ticket ticket);
void used_forget(struct used *used, struct used_ticket ticket);

/* used_recount() is called by a guard that follows another, which may have died between an entry
 * and its count. */
void used_recount(struct used *used);

/* used_count() returns how many files are noted. */
size_t used_count(const struct used *used);

/* --- for the thread --- */

/* A file as it was seen. */
struct used_file {
	uint64_t when;
	uint32_t place;
};

/* used_add() puts a file in, before anything is noted: until used_begin(). */
void used_add(struct used *used, const char *path, uint64_t when);
void used_begin(struct used *used);

/* used_list() returns all files, the most recently used first, to be freed. NULL: out of memory.
 */
struct used_file *used_list(const struct used *used, size_t *ret_n);

/* used_path() writes the path of a file to buffer, of USED_PATH_MAX bytes. Returns false where it
 * is not as it was seen: it has been opened since, or made room for another. */
bool used_path(const struct used *used, const struct used_file *file, char *buffer);

/* used_drop() takes a file out that is as it was seen. */
void used_drop(struct used *used, const struct used_file *file);

/* used_clear() takes all files out. */
void used_clear(struct used *used);
