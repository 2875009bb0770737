/* SPDX-License-Identifier: GPL-2.0-only */
#include "contents.h"

#include <errno.h>
#include <fcntl.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_SIZE      64 /* of a cache */
#define BUCKET_ENTRIES 8
#define DIGEST_WORDS   (CONTENTS_DIGEST_SIZE / sizeof(uint64_t))

/*
 * The stamp says when the entry was of use last; 0: it is free, or being written. Each is given
 * once: who finds the same one before and after he has read the rest has read an entry that was
 * not written to meanwhile.
 */
struct entry {
	alignas(LINE_SIZE) _Atomic uint64_t stamp;
	_Atomic uint64_t digest[DIGEST_WORDS];
	_Atomic uint64_t size, set, voucher;
};
_Static_assert(sizeof(struct entry) == LINE_SIZE, "an entry is a cache line");

struct bucket {
	struct entry entries[BUCKET_ENTRIES];
};

struct contents {
	size_t n_buckets; /* a power of two */
	uint64_t clock;	  /* the last stamp */
	size_t n;	  /* of entries */
	struct bucket buckets[];
};

/* --- entries --- */

static uint64_t read_word(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static void write_word(_Atomic uint64_t *word, uint64_t value)
{
	atomic_store_explicit(word, value, memory_order_relaxed);
}

static bool entry_is_of(const struct entry *entry, const struct content *content)
{
	uint64_t stamp = atomic_load_explicit(&entry->stamp, memory_order_acquire);
	uint64_t digest[DIGEST_WORDS];
	bool is_same;

	for (size_t i = 0; i < DIGEST_WORDS; i++)
		digest[i] = read_word(&entry->digest[i]);
	is_same = stamp && !memcmp(digest, content->digest, sizeof(digest)) &&
		  read_word(&entry->size) == content->size &&
		  read_word(&entry->set) == content->set;
	atomic_thread_fence(memory_order_acquire);
	return is_same && read_word(&entry->stamp) == stamp;
}

static void entry_write(struct entry *entry, const struct content *content, uint64_t voucher,
			uint64_t stamp)
{
	uint64_t digest[DIGEST_WORDS];

	memcpy(digest, content->digest, sizeof(digest));
	write_word(&entry->stamp, 0);
	atomic_thread_fence(memory_order_release);
	for (size_t i = 0; i < DIGEST_WORDS; i++)
		write_word(&entry->digest[i], digest[i]);
	write_word(&entry->size, content->size);
	write_word(&entry->set, content->set);
	write_word(&entry->voucher, voucher);
	atomic_store_explicit(&entry->stamp, stamp, memory_order_release);
}

/* --- the table --- */

static size_t count_buckets(size_t bytes)
{
	size_t n = 1;

	while (n <= bytes / sizeof(struct bucket) / 2)
		n *= 2;
	return n;
}

static size_t table_size(size_t n_buckets)
{
	return sizeof(struct contents) + n_buckets * sizeof(struct bucket);
}

static void *table_map(int memory, size_t size, int protection)
{
	void *mapped = mmap(NULL, size, protection, MAP_SHARED, memory, 0);

	return mapped == MAP_FAILED ? NULL : mapped;
}

/* The file must have the size that this many buckets take: beyond its end is SIGBUS. */
static void *table_map_whole(int memory, size_t n_buckets, int protection)
{
	struct stat status;
	struct contents *contents;

	if (memory < 0 || fstat(memory, &status) < 0 ||
	    (size_t)status.st_size != table_size(n_buckets))
		return NULL;
	contents = table_map(memory, table_size(n_buckets), protection);
	/* It was finished: the number of buckets is written last. */
	if (contents && contents->n_buckets != n_buckets) {
		(void)munmap(contents, table_size(n_buckets));
		return NULL;
	}
	return contents;
}

/* For all entries there are. */
#define CONTENTS_FOREACH(contents, entry)                                                          \
	for ((entry) = (contents)->buckets[0].entries;                                             \
	     (entry) < (contents)->buckets[(contents)->n_buckets].entries; (entry)++)

/* Whoever had it before may have ended between an entry and its count. */
static struct contents *table_take_over(int memory, size_t n_buckets)
{
	struct contents *contents = table_map_whole(memory, n_buckets, PROT_READ | PROT_WRITE);
	const struct entry *entry;
	size_t n = 0;

	if (!contents)
		return NULL;
	CONTENTS_FOREACH(contents, entry)
	n += read_word(&entry->stamp) != 0;
	contents->n = n;
	return contents;
}

/* The mode is what keeps engines and workers, to whom it is lent, from opening it for writing. */
static struct contents *table_make(int memory, size_t n_buckets)
{
	struct contents *contents;

	if (fchmod(memory, 0600) < 0 || ftruncate(memory, (off_t)table_size(n_buckets)) < 0)
		return NULL;
	contents = table_map(memory, table_size(n_buckets), PROT_READ | PROT_WRITE);
	if (contents)
		*(volatile size_t *)&contents->n_buckets = n_buckets;
	return contents;
}

struct contents *contents_new(size_t bytes, int *memory)
{
	size_t n = count_buckets(bytes);
	struct contents *contents = table_take_over(*memory, n);

	if (contents)
		return contents;
	*memory = memfd_create("holdfast-contents", MFD_CLOEXEC);
	return *memory < 0 ? NULL : table_make(*memory, n);
}

struct contents *contents_free(const struct contents *contents)
{
	if (contents)
		(void)munmap((void *)(uintptr_t)contents, table_size(contents->n_buckets));
	return NULL;
}

int contents_lend(int memory)
{
	char path[32];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", memory);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

const struct contents *contents_map(int fd)
{
	size_t n;

	if (pread(fd, &n, sizeof(n), offsetof(struct contents, n_buckets)) != sizeof(n) || n == 0 ||
	    n > SIZE_MAX / sizeof(struct bucket) / 2)
		return NULL;
	return table_map_whole(fd, n, PROT_READ);
}

size_t contents_capacity(const struct contents *contents)
{
	return contents->n_buckets * BUCKET_ENTRIES;
}

size_t contents_count(const struct contents *contents)
{
	return contents->n;
}

/* --- finding --- */

static struct bucket *contents_bucket(const struct contents *contents,
				      const struct content *content)
{
	uint64_t word;

	memcpy(&word, content->digest, sizeof(word));
	return (struct bucket *)(uintptr_t)&contents->buckets[word & (contents->n_buckets - 1)];
}

static struct entry *contents_find(const struct contents *contents, const struct content *content)
{
	struct bucket *bucket = contents_bucket(contents, content);

	for (unsigned i = 0; i < BUCKET_ENTRIES; i++)
		if (entry_is_of(&bucket->entries[i], content))
			return &bucket->entries[i];
	return NULL;
}

bool contents_has(const struct contents *contents, const struct content *content)
{
	return contents_find(contents, content) != NULL;
}

uint64_t contents_voucher(const struct contents *contents, const struct content *content)
{
	const struct entry *entry = contents_find(contents, content);

	return entry ? read_word(&entry->voucher) : 0;
}

/* --- changing --- */

static uint64_t contents_tick(struct contents *contents)
{
	return ++*(volatile uint64_t *)&contents->clock;
}

/* Whether the first is less of a loss than the second where one of this set is to come. */
static bool entry_goes_first(const struct entry *a, const struct entry *b, uint64_t set)
{
	bool is_a_of_use = read_word(&a->stamp) && read_word(&a->set) == set,
	     is_b_of_use = read_word(&b->stamp) && read_word(&b->set) == set;

	if (is_a_of_use != is_b_of_use)
		return is_b_of_use;
	return read_word(&a->stamp) < read_word(&b->stamp);
}

static struct entry *bucket_make_room(struct bucket *bucket, uint64_t set)
{
	struct entry *first = &bucket->entries[0];

	for (unsigned i = 1; i < BUCKET_ENTRIES; i++)
		if (entry_goes_first(&bucket->entries[i], first, set))
			first = &bucket->entries[i];
	return first;
}

void contents_use(struct contents *contents, const struct content *content)
{
	struct entry *entry = contents_find(contents, content);

	if (entry)
		write_word(&entry->stamp, contents_tick(contents));
}

void contents_add(struct contents *contents, const struct content *content, uint64_t voucher)
{
	struct entry *entry;

	if (contents_has(contents, content)) {
		contents_use(contents, content);
		return;
	}
	entry = bucket_make_room(contents_bucket(contents, content), content->set);
	contents->n += !read_word(&entry->stamp);
	entry_write(entry, content, voucher, contents_tick(contents));
}

void contents_forget(struct contents *contents, uint64_t voucher)
{
	struct entry *entry;

	CONTENTS_FOREACH(contents, entry)
	if (read_word(&entry->voucher) == voucher && read_word(&entry->stamp)) {
		write_word(&entry->stamp, 0);
		contents->n -= contents->n > 0;
	}
}

void contents_clear(struct contents *contents)
{
	struct entry *entry;

	CONTENTS_FOREACH(contents, entry)
	write_word(&entry->stamp, 0);
	contents->n = 0;
}
