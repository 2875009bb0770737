/* SPDX-License-Identifier: GPL-2.0-only */
#include "used.h"

#include "../common/clock.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(struct used_bucket) * USED_BUCKETS == 12 << 20, "as used.h has it");

/* Of the time of an entry. */
#define IS_EXPECTED UINT64_C(1)

static bool when_counts(uint64_t when)
{
	return when && !(when & IS_EXPECTED);
}

/* Every change of a time that may be another's too, so that the number of files stays right. */
static void used_set(struct used *used, _Atomic uint64_t *when, uint64_t to)
{
	bool did = when_counts(atomic_exchange(when, to)), does = when_counts(to);

	if (does && !did)
		used->n++;
	else if (did && !does)
		used->n--;
}

static uint64_t used_now(void)
{
	return clock_wall_us() & ~IS_EXPECTED;
}

static uint64_t used_hash(const char *path)
{
	/* FNV-1a, 64 bits. Who makes files that share their places loses his own. */
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (; *path; path++)
		hash = (hash ^ (unsigned char)*path) * UINT64_C(0x100000001b3);
	return hash;
}

static struct used_bucket *used_bucket(struct used *used, uint32_t place)
{
	return &used->buckets[place / USED_PLACES];
}

static _Atomic uint64_t *used_when(struct used *used, uint32_t place)
{
	return &used_bucket(used, place)->when[place % USED_PLACES];
}

/* USED_PLACES: it is not there. */
static unsigned bucket_find(const struct used_bucket *bucket, uint32_t hash, const char *path)
{
	unsigned i = 0;

	while (i < USED_PLACES &&
	       !(bucket->when[i] && bucket->hash[i] == hash && !strcmp(bucket->path[i], path)))
		i++;
	return i;
}

/* The least recently used; one that is free is older than any. */
static unsigned bucket_oldest(const struct used_bucket *bucket)
{
	unsigned oldest = 0;

	for (unsigned i = 1; i < USED_PLACES; i++)
		if (bucket->when[i] < bucket->when[oldest])
			oldest = i;
	return oldest;
}

/* Who reads it meanwhile sees that it is no longer what it was. */
static void used_put(struct used *used, struct used_bucket *bucket, unsigned i, uint32_t hash,
		     const char *path, uint64_t when)
{
	used_set(used, &bucket->when[i], 0);
	atomic_thread_fence(memory_order_seq_cst);
	bucket->hash[i] = hash;
	(void)strcpy(bucket->path[i], path);
	atomic_thread_fence(memory_order_seq_cst);
	used_set(used, &bucket->when[i], when);
}

/* Returns the place of a path, which is made with this time where it has none; -1: it is too long.
 */
static int64_t used_place(struct used *used, const char *path, uint64_t when, uint32_t *ret_hash)
{
	uint64_t hash = used_hash(path);
	uint32_t bucket = hash % USED_BUCKETS;
	unsigned i;

	if (strlen(path) >= USED_PATH_MAX)
		return -1;
	*ret_hash = (uint32_t)(hash >> 32);
	i = bucket_find(&used->buckets[bucket], *ret_hash, path);
	if (i == USED_PLACES) {
		i = bucket_oldest(&used->buckets[bucket]);
		used_put(used, &used->buckets[bucket], i, *ret_hash, path, when);
	}
	return (int64_t)bucket * USED_PLACES + i;
}

/* --- in the loop --- */

struct used_ticket used_expect(struct used *used, const char *path)
{
	struct used_ticket ticket = {0};
	int64_t place;

	if (!used || !used->is_ready)
		return ticket;
	place = used_place(used, path, used_now() | IS_EXPECTED, &ticket.hash);
	return place < 0 ? (struct used_ticket){0}
			 : (struct used_ticket){(uint32_t)place + 1, ticket.hash};
}

static _Atomic uint64_t *used_of_ticket(struct used *used, struct used_ticket ticket)
{
	uint32_t place = ticket.place - 1;

	return used && ticket.place &&
			       used_bucket(used, place)->hash[place % USED_PLACES] == ticket.hash
		       ? used_when(used, place)
		       : NULL;
}

void used_note(struct used *used, struct used_ticket ticket)
{
	_Atomic uint64_t *when = used_of_ticket(used, ticket);

	if (!when)
		return;
	used_set(used, when, used_now());
	used->n_noted++;
}

void used_forget(struct used *used, struct used_ticket ticket)
{
	_Atomic uint64_t *when = used_of_ticket(used, ticket);

	if (when)
		used_set(used, when, 0);
}

void used_recount(struct used *used)
{
	size_t n = 0;

	for (uint32_t place = 0; place < USED_MAX; place++)
		n += when_counts(*used_when(used, place));
	used->n = n;
}

size_t used_count(const struct used *used)
{
	return used->n;
}

/* --- in the thread --- */

void used_add(struct used *used, const char *path, uint64_t when)
{
	uint32_t hash;

	if (when_counts(when))
		(void)used_place(used, path, when, &hash);
}

void used_begin(struct used *used)
{
	used->is_ready = true;
}

static int used_compare(const void *a, const void *b)
{
	const struct used_file *one = a, *other = b;

	return one->when < other->when ? 1 : one->when > other->when ? -1 : 0;
}

struct used_file *used_list(const struct used *used, size_t *ret_n)
{
	struct used_file *files = calloc(USED_MAX, sizeof(*files));
	size_t n = 0;

	for (uint32_t place = 0; files && place < USED_MAX; place++) {
		uint64_t when = used->buckets[place / USED_PLACES].when[place % USED_PLACES];

		if (when_counts(when))
			files[n++] = (struct used_file){when, place};
	}
	if (files)
		qsort(files, n, sizeof(*files), used_compare);
	*ret_n = n;
	return files;
}

bool used_path(const struct used *used, const struct used_file *file, char *buffer)
{
	const struct used_bucket *bucket = &used->buckets[file->place / USED_PLACES];
	unsigned i = file->place % USED_PLACES;

	if (bucket->when[i] != file->when)
		return false;
	memcpy(buffer, bucket->path[i], USED_PATH_MAX);
	atomic_thread_fence(memory_order_seq_cst);
	return bucket->when[i] == file->when && memchr(buffer, '\0', USED_PATH_MAX);
}

void used_drop(struct used *used, const struct used_file *file)
{
	uint64_t when = file->when;

	if (atomic_compare_exchange_strong(used_when(used, file->place), &when, 0))
		used->n--;
}

void used_clear(struct used *used)
{
	for (uint32_t place = 0; place < USED_MAX; place++)
		used_set(used, used_when(used, place), 0);
}
