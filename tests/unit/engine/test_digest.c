/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/engine/digest.h"
#include "../support/scratch.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>

static int setup(void **state)
{
	*state = digest_new();
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	assert_null(digest_free(*state));
	return 0;
}

/* Of the file called "file", taken to be of this size. */
static bool hash(struct digest *digest, uint64_t size, unsigned char *ret)
{
	int fd = open("file", O_RDONLY | O_CLOEXEC);
	bool is_hashed;

	assert_true(fd >= 0);
	/* it does not matter where it was read to */
	assert_int_equal(lseek(fd, 1, SEEK_SET), 1);
	is_hashed = digest_file(digest, fd, size, ret);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 1);
	close(fd);
	return is_hashed;
}

static void it_is_sha_256(void **state)
{
	static const unsigned char of_abc[CONTENTS_DIGEST_SIZE] = {
		0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
		0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
		0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
	unsigned char digest[CONTENTS_DIGEST_SIZE];

	scratch_write("file", "abc", 3);
	for (unsigned i = 0; i < 3; i++) {
		memset(digest, 0, sizeof(digest));
		assert_true(hash(*state, 3, digest));
		assert_memory_equal(digest, of_abc, sizeof(digest));
	}
}

static void it_is_of_all_bytes_of_files_of_any_size(void **state)
{
	static const size_t sizes[] = {1,      4095,   65536,  131071,	131072,
				       131073, 262143, 262144, 1000003, 3 << 20};
	unsigned char digest[CONTENTS_DIGEST_SIZE], expected[CONTENTS_DIGEST_SIZE];
	size_t largest = sizes[N_ELEMENTS(sizes) - 1];
	unsigned char *bytes = malloc(largest);

	assert_non_null(bytes);
	for (size_t i = 0; i < largest; i++)
		bytes[i] = (unsigned char)(i * 31 + i / 4096);
	for (size_t i = 0; i < N_ELEMENTS(sizes); i++) {
		scratch_write("file", bytes, sizes[i]);
		assert_true(hash(*state, sizes[i], digest));
		assert_int_equal(EVP_Digest(bytes, sizes[i], expected, NULL, EVP_sha256(), NULL),
				 1);
		assert_memory_equal(digest, expected, sizeof(digest));
	}
	free(bytes);
}

static void a_file_of_another_size_has_none(void **state)
{
	unsigned char digest[CONTENTS_DIGEST_SIZE];
	char *bytes = calloc(1, 400000);

	assert_non_null(bytes);
	for (size_t size = 131072; size <= 393216; size += 131072) {
		scratch_write("file", bytes, size);
		assert_false(hash(*state, size - 1, digest));
		assert_false(hash(*state, size + 1, digest));
		assert_false(hash(*state, 1, digest));
		assert_false(hash(*state, size - 131072, digest));
		assert_true(hash(*state, size, digest));
	}
	free(bytes);
}

static void what_cannot_be_read_has_none(void **state)
{
	unsigned char digest[CONTENTS_DIGEST_SIZE];
	int fd = open(".", O_RDONLY | O_CLOEXEC);

	assert_false(digest_file(*state, fd, 1, digest));
	close(fd);
	assert_false(digest_file(*state, fd, 1, digest));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_is_sha_256),
		TEST(it_is_of_all_bytes_of_files_of_any_size),
		TEST(a_file_of_another_size_has_none),
		TEST(what_cannot_be_read_has_none),
	};

	return cmocka_run_group_tests_name("digest", tests, scratch_setup, scratch_teardown);
}
