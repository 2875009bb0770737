/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * digest: the SHA-256 of a file's bytes, by libcrypto. Made before workers are forked and confined,
 * as it sets the library up; each worker has a copy of its own.
 */
#include "../common/contents.h"

struct digest;

/* digest_new() returns NULL where libcrypto cannot. digest_free() takes NULL and returns NULL. */
struct digest *digest_new(void);
struct digest *digest_free(struct digest *digest);

/*
 * digest_file() hashes an open file from its beginning, whatever its offset, by pread(): a file
 * that is cut short meanwhile is no SIGBUS. Returns false where it cannot be read, or is not of
 * this size.
 */
bool digest_file(struct digest *digest, int fd, uint64_t size,
		 unsigned char ret_digest[CONTENTS_DIGEST_SIZE]);
