/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * contents: the bytes that were verified, whichever file they are in.
 *
 * A table in a memfd. The guard owns it and alone writes to it; engines and their workers map it
 * read-only, by a descriptor that allows no more (contents_lend()). An entry says that bytes of
 * this digest and size are clean under these signatures and settings, and which worker said so.
 *
 * Bounded: buckets of eight entries, one cache line each. A new one takes a place that is free; if
 * none is, one of other signatures; else the one in its bucket that was of use longest ago.
 *
 * The table makes sense after each single store, as who writes to it may end between any two, and
 * others read it meanwhile: an entry that changes while it is read is one that is not found.
 */
#include <holdfast/wire.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONTENTS_DIGEST_SIZE WIRE_DIGEST_SIZE

/* Some bytes, as they are under these signatures and settings. */
struct content {
	unsigned char digest[CONTENTS_DIGEST_SIZE];
	uint64_t size;
	uint64_t set; /* see struct wire_engine_info */
};

struct contents;

/*
 * contents_new() takes over the table in *memory, a memfd, or makes an empty one, and another
 * memfd, where there is none (-1) or one of another size: of at most this many bytes, of one bucket
 * at least. The caller owns both memfds. NULL: out of memory. contents_free() takes NULL and
 * returns NULL; what contents_map() returned is given to it as well.
 */
struct contents *contents_new(size_t bytes, int *memory);
struct contents *contents_free(const struct contents *contents);

/* contents_lend() opens the memfd anew, for reading only, for others to map. Returns a descriptor
 * or a negative errno. */
int contents_lend(int memory);

/* contents_map() maps what was lent; fd stays the caller's. NULL: it is no table, or there is no
 * memory. */
const struct contents *contents_map(int fd);

/* contents_capacity() returns how many entries there is room for, contents_count() how many there
 * are. */
size_t contents_capacity(const struct contents *contents);
size_t contents_count(const struct contents *contents);

/* contents_has() says whether these bytes are known to be clean. For all who have a mapping. */
bool contents_has(const struct contents *contents, const struct content *content);

/* contents_voucher() returns who vouched for them; 0: they are not known. */
uint64_t contents_voucher(const struct contents *contents, const struct content *content);

/* contents_add() notes that they are clean, as voucher (not 0) says, or that it was of use to know;
 * who vouched for them first stays the one who did. */
void contents_add(struct contents *contents, const struct content *content, uint64_t voucher);

/* contents_use() notes that it was of use to know them, if they are known. */
void contents_use(struct contents *contents, const struct content *content);

/* contents_forget() forgets all that this voucher vouched for, contents_clear() everything. */
void contents_forget(struct contents *contents, uint64_t voucher);
void contents_clear(struct contents *contents);
