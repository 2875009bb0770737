/* SPDX-License-Identifier: GPL-2.0-only */
#include "verdicts.h"

#include "handle.h"

#include <errno.h>
#include <sodium/crypto_shorthash_siphash24.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUCKET_SIZE 64 /* a cache line */
#define BUCKET_TAGS (BUCKET_SIZE / VERDICTS_TAG_SIZE)

/* Ids are given out lowest first: there are greater ones only where there are more mounts. */
#define MOUNTS_MAX 4096

/* What a tag is made of, without the mount's id. */
#define IDENTITY_MASK                                                                              \
	(STATX_TYPE | STATX_MODE | STATX_UID | STATX_INO | STATX_SIZE | STATX_MTIME | STATX_CTIME)

struct slot {
	_Atomic uint64_t half[2];
};

/* The most recently used first; those that are free, which hold zeros, last. */
struct bucket {
	alignas(BUCKET_SIZE) struct slot slots[BUCKET_TAGS];
};

struct verdicts {
	size_t n_buckets; /* a power of two */
	unsigned char key[VERDICTS_KEY_SIZE];
	bool has_unique_mount_ids;
	size_t n; /* of tags */

	/* Of files that others than root may write to. */
	_Atomic uint64_t missed; /* closes by writers; begins with a random number */

	/* Without unique ids: how often a mount of this id has come or gone; odd while it is there.
	 */
	_Atomic uint32_t turns[MOUNTS_MAX];
	_Atomic uint64_t n_changes; /* of mounts */

	/* And then n_buckets counters of closes by writers, which files share. */
	struct bucket buckets[];
};

/* What is hashed, up to the last byte of the handle. */
struct identity {
	uint64_t mount, turn;
	uint64_t closes, missed; /* 0 where nobody but root may write */
	struct file_id id;
	struct file_state state;
	uint64_t signatures;
	struct handle handle;
};
_Static_assert(offsetof(struct identity, handle.bytes) == 10 * sizeof(uint64_t) + 2 * sizeof(int),
	       "there is no padding");

_Static_assert(sizeof(struct bucket) == BUCKET_SIZE, "a bucket is a cache line");
_Static_assert(VERDICTS_TAG_SIZE == crypto_shorthash_siphashx24_BYTES, "a tag is a hash");
_Static_assert(VERDICTS_KEY_SIZE == crypto_shorthash_siphashx24_KEYBYTES, "the key of a hash");

static const struct verdict_tag no_tag;

/* --- slots and buckets --- */

static struct verdict_tag slot_read(const struct slot *slot)
{
	return (struct verdict_tag){{atomic_load_explicit(&slot->half[0], memory_order_relaxed),
				     atomic_load_explicit(&slot->half[1], memory_order_relaxed)}};
}

static void slot_write(struct slot *slot, struct verdict_tag tag)
{
	atomic_store_explicit(&slot->half[0], tag.half[0], memory_order_relaxed);
	atomic_store_explicit(&slot->half[1], tag.half[1], memory_order_relaxed);
}

static bool tag_equal(const struct verdict_tag *a, const struct verdict_tag *b)
{
	return a->half[0] == b->half[0] && a->half[1] == b->half[1];
}

/* BUCKET_TAGS: it is not there. */
static unsigned bucket_find(const struct bucket *bucket, const struct verdict_tag *tag)
{
	unsigned i = 0;

	for (; i < BUCKET_TAGS; i++) {
		struct verdict_tag there = slot_read(&bucket->slots[i]);

		if (tag_equal(&there, tag))
			break;
	}
	return i;
}

/* Overwrites slot i. */
static void bucket_put_first(struct bucket *bucket, unsigned i, const struct verdict_tag *tag)
{
	for (; i > 0; i--)
		slot_write(&bucket->slots[i], slot_read(&bucket->slots[i - 1]));
	slot_write(&bucket->slots[0], *tag);
}

static void bucket_take_out(struct bucket *bucket, unsigned i)
{
	for (; i + 1 < BUCKET_TAGS; i++)
		slot_write(&bucket->slots[i], slot_read(&bucket->slots[i + 1]));
	slot_write(&bucket->slots[i], no_tag);
}

/* --- the table --- */

static size_t count_buckets(size_t bytes)
{
	size_t n = 1;

	while (n <= bytes / BUCKET_SIZE / 2)
		n *= 2;
	return n;
}

static size_t table_size(size_t n_buckets)
{
	return sizeof(struct verdicts) +
	       n_buckets * (sizeof(struct bucket) + sizeof(_Atomic uint64_t));
}

static struct verdicts *table_map(int memory, size_t size)
{
	void *mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);

	return mapped == MAP_FAILED ? NULL : mapped;
}

/* One that was finished: the number of buckets is written last. */
static struct verdicts *table_take_over(int memory, size_t n_buckets)
{
	struct stat status;
	struct verdicts *verdicts;

	if (memory < 0 || fstat(memory, &status) < 0 ||
	    (size_t)status.st_size != table_size(n_buckets))
		return NULL;
	verdicts = table_map(memory, table_size(n_buckets));
	if (verdicts && verdicts->n_buckets != n_buckets) {
		(void)munmap(verdicts, table_size(n_buckets));
		verdicts = NULL;
	}
	return verdicts;
}

static struct verdicts *table_make(int memory, size_t n_buckets, bool has_unique_mount_ids)
{
	struct verdicts *verdicts;
	uint64_t missed;

	if (ftruncate(memory, (off_t)table_size(n_buckets)) < 0)
		return NULL;
	verdicts = table_map(memory, table_size(n_buckets));
	if (!verdicts)
		return NULL;
	if (getrandom(verdicts->key, sizeof(verdicts->key), 0) != sizeof(verdicts->key) ||
	    getrandom(&missed, sizeof(missed), 0) != sizeof(missed)) {
		(void)munmap(verdicts, table_size(n_buckets));
		return NULL;
	}
	verdicts->has_unique_mount_ids = has_unique_mount_ids;
	verdicts->missed = missed;
	*(volatile size_t *)&verdicts->n_buckets = n_buckets;
	return verdicts;
}

struct verdicts *verdicts_new(size_t bytes, bool has_unique_mount_ids, int *memory)
{
	size_t n = count_buckets(bytes);
	struct verdicts *verdicts = table_take_over(*memory, n);

	if (verdicts)
		return verdicts;
	*memory = memfd_create("holdfast-verdicts", MFD_CLOEXEC);
	return *memory < 0 ? NULL : table_make(*memory, n, has_unique_mount_ids);
}

struct verdicts *verdicts_free(struct verdicts *verdicts)
{
	if (verdicts)
		(void)munmap(verdicts, table_size(verdicts->n_buckets));
	return NULL;
}

size_t verdicts_capacity(const struct verdicts *verdicts)
{
	return verdicts->n_buckets * BUCKET_TAGS;
}

size_t verdicts_count(const struct verdicts *verdicts)
{
	return verdicts->n;
}

static struct bucket *verdicts_bucket(const struct verdicts *verdicts,
				      const struct verdict_tag *tag)
{
	return (struct bucket *)&verdicts->buckets[tag->half[0] & (verdicts->n_buckets - 1)];
}

bool verdicts_has(const struct verdicts *verdicts, const struct verdict_tag *tag)
{
	return !tag_equal(tag, &no_tag) &&
	       bucket_find(verdicts_bucket(verdicts, tag), tag) < BUCKET_TAGS;
}

bool verdicts_use(struct verdicts *verdicts, const struct verdict_tag *tag)
{
	if (!verdicts_has(verdicts, tag))
		return false;
	verdicts_add(verdicts, tag);
	return true;
}

void verdicts_add(struct verdicts *verdicts, const struct verdict_tag *tag)
{
	struct bucket *bucket = verdicts_bucket(verdicts, tag);
	unsigned i = bucket_find(bucket, tag);

	if (tag_equal(tag, &no_tag))
		return;
	if (i == BUCKET_TAGS) {
		i = bucket_find(bucket, &no_tag);
		if (i == BUCKET_TAGS)
			i--;
		else
			verdicts->n++;
	}
	bucket_put_first(bucket, i, tag);
}

void verdicts_remove(struct verdicts *verdicts, const struct verdict_tag *tag)
{
	struct bucket *bucket = verdicts_bucket(verdicts, tag);

	/* More than once if a process that wrote to it died while it moved tags. */
	while (verdicts_has(verdicts, tag)) {
		bucket_take_out(bucket, bucket_find(bucket, tag));
		verdicts->n -= verdicts->n > 0;
	}
}

/* --- for the journal --- */

void verdicts_key(const struct verdicts *verdicts, unsigned char *ret_key)
{
	memcpy(ret_key, verdicts->key, sizeof(verdicts->key));
}

void verdicts_set_key(struct verdicts *verdicts, const unsigned char *key)
{
	memcpy(verdicts->key, key, sizeof(verdicts->key));
}

bool verdicts_at(const struct verdicts *verdicts, size_t place, struct verdict_tag *ret_tag)
{
	const struct bucket *bucket = &verdicts->buckets[place / BUCKET_TAGS];

	*ret_tag = slot_read(&bucket->slots[BUCKET_TAGS - 1 - place % BUCKET_TAGS]);
	return !tag_equal(ret_tag, &no_tag);
}

bool verdicts_can_outlive_us(const struct verdicts *verdicts)
{
	return verdicts->has_unique_mount_ids;
}

/* --- tags --- */

void verdicts_mounts_changed(struct verdicts *verdicts, const uint64_t *ids, size_t n)
{
	bool there[MOUNTS_MAX] = {0};

	for (size_t i = 0; i < n; i++)
		if (ids[i] < MOUNTS_MAX)
			there[ids[i]] = true;
	for (size_t id = 0; id < MOUNTS_MAX; id++)
		if (there[id] != verdicts->turns[id] % 2)
			verdicts->turns[id]++;
	verdicts->n_changes++;
}

/*
 * Odd for a mount that we were told of. Nobody sees a mount of another mount namespace go, and ids
 * beyond the table are not followed: those are taken to have gone with each change.
 */
static uint64_t verdicts_turn(const struct verdicts *verdicts, uint64_t mount)
{
	uint32_t turn = mount < MOUNTS_MAX ? verdicts->turns[mount] : 0;

	return turn % 2 ? turn : 2 * verdicts->n_changes;
}

static _Atomic uint64_t *verdicts_closes(const struct verdicts *verdicts, struct file_id id)
{
	/* The golden ratio spreads neighbours; who makes files share a counter has them scanned
	 * again, no more. */
	uint64_t hash = (id.inode ^ id.device << 40) * UINT64_C(0x9e3779b97f4a7c15);

	_Atomic uint64_t *closes =
		(_Atomic uint64_t *)(uintptr_t)&verdicts->buckets[verdicts->n_buckets];

	return &closes[(hash >> 32) & (verdicts->n_buckets - 1)];
}

void verdicts_closed(struct verdicts *verdicts, struct file_id id)
{
	(*verdicts_closes(verdicts, id))++;
}

void verdicts_closes_missed(struct verdicts *verdicts)
{
	verdicts->missed++;
}

static int verdicts_identify(const struct verdicts *verdicts, int directory, const char *name,
			     struct identity *identity, bool *ret_of_root)
{
	const unsigned mask = IDENTITY_MASK |
			      (verdicts->has_unique_mount_ids ? STATX_MNT_ID_UNIQUE : STATX_MNT_ID);
	struct statx status;
	int r;

	if (statx(directory, name,
		  AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, mask,
		  &status) < 0)
		return -errno;
	if (!S_ISREG(status.stx_mode))
		return -EINVAL;
	if ((status.stx_mask & mask) != mask)
		return -EOPNOTSUPP;
	file_of_statx(&status, &identity->id, &identity->state);
	identity->mount = status.stx_mnt_id;
	if (!verdicts->has_unique_mount_ids)
		identity->turn = verdicts_turn(verdicts, identity->mount);
	*ret_of_root = file_only_root_writes(&status);
	if (!*ret_of_root) {
		identity->closes = *verdicts_closes(verdicts, identity->id);
		identity->missed = verdicts->missed;
	}
	r = handle_at(directory, name, &identity->handle);
	/* An overlay, say. */
	return r == -EOPNOTSUPP ? 0 : r;
}

int verdicts_tag(const struct verdicts *verdicts, int directory, const char *name,
		 uint64_t signatures, struct verdict_tag *ret_tag, struct file_id *ret_id,
		 struct file_state *ret_state)
{
	struct identity identity = {.signatures = signatures};
	bool of_root = false;
	int r = verdicts_identify(verdicts, directory, name, &identity, &of_root);

	if (r < 0)
		return r;
	(void)crypto_shorthash_siphashx24(
		(unsigned char *)ret_tag, (const unsigned char *)&identity,
		offsetof(struct identity, handle.bytes) + identity.handle.size, verdicts->key);
	ret_tag->half[1] = (ret_tag->half[1] & ~UINT64_C(1)) | of_root;
	if (ret_id)
		*ret_id = identity.id;
	if (ret_state)
		*ret_state = identity.state;
	return 0;
}
