/* SPDX-License-Identifier: GPL-2.0-only */
#include "digest.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <unistd.h>

/* Files are read in pieces of this size. */
#define PIECE (128 * 1024)

struct digest {
	EVP_MD_CTX *context;
	unsigned char piece[PIECE]; /* pages that were never read into take no memory */
};

struct digest *digest_new(void)
{
	struct digest *digest = calloc(1, sizeof(*digest));

	if (!digest)
		return NULL;
	/* The algorithm is looked up here, once. */
	digest->context = EVP_MD_CTX_new();
	if (!digest->context || EVP_DigestInit_ex(digest->context, EVP_sha256(), NULL) != 1)
		return digest_free(digest);
	return digest;
}

struct digest *digest_free(struct digest *digest)
{
	if (digest)
		EVP_MD_CTX_free(digest->context);
	free(digest);
	return NULL;
}

/* Returns how much was read, or a negative errno. */
static ssize_t digest_read(struct digest *digest, int fd, uint64_t offset)
{
	ssize_t n;

	do
		n = pread(fd, digest->piece, PIECE, (off_t)offset);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

bool digest_file(struct digest *digest, int fd, uint64_t size,
		 unsigned char ret_digest[CONTENTS_DIGEST_SIZE])
{
	uint64_t done = 0;
	ssize_t n = PIECE;

	if (EVP_DigestInit_ex(digest->context, NULL, NULL) != 1)
		return false;
	/* What is longer than it should be is not read to its end. */
	while (n == PIECE && done <= size) {
		n = digest_read(digest, fd, done);
		if (n < 0 || EVP_DigestUpdate(digest->context, digest->piece, (size_t)n) != 1)
			return false;
		done += (uint64_t)n;
	}
	return done == size && EVP_DigestFinal_ex(digest->context, ret_digest, NULL) == 1;
}
