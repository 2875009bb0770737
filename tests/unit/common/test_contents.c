/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/common/contents.h"
#include "../support/unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* One bucket, and many. */
#define SMALLEST 1
#define ENTRIES	 8
#define BIG	 (1 << 16)

#define SET	   7
#define VOUCHER	   11
#define ENTRY_SIZE 64

struct fixture {
	int memory;
	struct contents *contents;
};

static int setup_of(void **state, size_t bytes)
{
	static struct fixture fixture;

	fixture.memory = -1;
	fixture.contents = contents_new(bytes, &fixture.memory);
	*state = &fixture;
	return fixture.contents ? 0 : -1;
}

static int setup(void **state)
{
	return setup_of(state, BIG);
}

static int setup_bucket(void **state)
{
	return setup_of(state, SMALLEST);
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	assert_null(contents_free(fixture->contents));
	close(fixture->memory);
	return 0;
}

/* All of a bucket where there is one only. */
static struct content content(unsigned i)
{
	struct content content = {.size = 100 + i, .set = SET};

	memset(content.digest, 'x', sizeof(content.digest));
	memcpy(content.digest + 8, &i, sizeof(i));
	return content;
}

static void add(const struct fixture *fixture, unsigned i)
{
	const struct content it = content(i);

	contents_add(fixture->contents, &it, VOUCHER);
}

static bool has(const struct fixture *fixture, unsigned i)
{
	const struct content it = content(i);

	return contents_has(fixture->contents, &it);
}

/* --- what is known --- */

static void what_was_added_is_known_and_nothing_else(void **state)
{
	const struct fixture *fixture = *state;
	struct content other;

	assert_false(has(fixture, 1));
	assert_int_equal(contents_count(fixture->contents), 0);
	add(fixture, 1);
	assert_true(has(fixture, 1));
	assert_false(has(fixture, 2));
	assert_int_equal(contents_count(fixture->contents), 1);
	for (unsigned byte = 0; byte < CONTENTS_DIGEST_SIZE; byte++) {
		other = content(1);
		other.digest[byte] ^= 1;
		assert_false(contents_has(fixture->contents, &other));
	}
	other = content(1);
	other.size++;
	assert_false(contents_has(fixture->contents, &other));
	other = content(1);
	other.set++;
	assert_false(contents_has(fixture->contents, &other));
}

static void a_digest_of_zeros_is_one_like_others(void **state)
{
	const struct fixture *fixture = *state;
	const struct content zeros = {0};

	assert_false(contents_has(fixture->contents, &zeros));
	contents_add(fixture->contents, &zeros, VOUCHER);
	assert_true(contents_has(fixture->contents, &zeros));
}

static void who_vouched_first_stays_the_one_who_did(void **state)
{
	const struct fixture *fixture = *state;
	const struct content it = content(1), other = content(2);

	add(fixture, 1);
	contents_add(fixture->contents, &it, VOUCHER + 1);
	assert_int_equal(contents_voucher(fixture->contents, &it), VOUCHER);
	assert_int_equal(contents_voucher(fixture->contents, &other), 0);
	assert_int_equal(contents_count(fixture->contents), 1);
}

static void what_one_vouched_for_is_forgotten_and_nothing_else(void **state)
{
	const struct fixture *fixture = *state;

	for (unsigned i = 0; i < 100; i++) {
		struct content it = content(i);

		it.digest[0] = (unsigned char)i;
		contents_add(fixture->contents, &it, VOUCHER + i % 2);
	}
	assert_int_equal(contents_count(fixture->contents), 100);
	contents_forget(fixture->contents, VOUCHER);
	assert_int_equal(contents_count(fixture->contents), 50);
	for (unsigned i = 0; i < 100; i++) {
		struct content it = content(i);

		it.digest[0] = (unsigned char)i;
		assert_int_equal(contents_has(fixture->contents, &it), i % 2);
	}
	contents_clear(fixture->contents);
	assert_int_equal(contents_count(fixture->contents), 0);
	contents_forget(fixture->contents, VOUCHER + 1);
	assert_int_equal(contents_count(fixture->contents), 0);
}

/* --- its bounds --- */

static void it_takes_no_more_than_it_may(void **state)
{
	static const struct {
		size_t bytes, capacity;
	} cases[] = {
		{1, 8},	    {511, 8},	      {512, 8},	    {1023, 8},
		{1024, 16}, {64 << 10, 1024}, {65535, 512}, {16 << 20, 262144},
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		int memory = -1;
		struct contents *contents = contents_new(cases[i].bytes, &memory);

		assert_non_null(contents);
		assert_int_equal(contents_capacity(contents), cases[i].capacity);
		contents_free(contents);
		close(memory);
	}
}

static void the_one_that_was_of_use_longest_ago_makes_room(void **state)
{
	const struct fixture *fixture = *state;
	const struct content first = content(0), unknown = content(99);

	for (unsigned i = 0; i < ENTRIES; i++)
		add(fixture, i);
	contents_use(fixture->contents, &first);
	contents_use(fixture->contents, &unknown);
	add(fixture, ENTRIES);
	assert_int_equal(contents_count(fixture->contents), ENTRIES);
	for (unsigned i = 0; i <= ENTRIES; i++)
		assert_int_equal(has(fixture, i), i != 1);
	/* to be verified once more is to be of use */
	add(fixture, 2);
	add(fixture, ENTRIES + 1);
	assert_true(has(fixture, 2));
	assert_false(has(fixture, 3));
}

static void those_of_other_signatures_make_room_first(void **state)
{
	const struct fixture *fixture = *state;
	struct content old = content(50);

	for (unsigned i = 0; i < ENTRIES - 1; i++)
		add(fixture, i);
	old.set--;
	contents_add(fixture->contents, &old, VOUCHER);
	add(fixture, ENTRIES);
	assert_false(contents_has(fixture->contents, &old));
	for (unsigned i = 0; i < ENTRIES - 1; i++)
		assert_true(has(fixture, i));
}

static void what_is_free_is_used_before_anything_makes_room(void **state)
{
	const struct fixture *fixture = *state;

	for (unsigned i = 0; i < ENTRIES; i++) {
		const struct content it = content(i);

		contents_add(fixture->contents, &it, VOUCHER + i);
	}
	contents_forget(fixture->contents, VOUCHER + 3);
	add(fixture, ENTRIES);
	for (unsigned i = 0; i <= ENTRIES; i++)
		assert_int_equal(has(fixture, i), i != 3);
}

/* --- one owner after another --- */

static void another_owner_finds_what_there_was(void **state)
{
	struct fixture *fixture = *state;
	int memory = fixture->memory;

	add(fixture, 1);
	fixture->contents = contents_free(fixture->contents);
	fixture->contents = contents_new(BIG, &memory);
	assert_int_equal(memory, fixture->memory);
	assert_true(has(fixture, 1));
	assert_int_equal(contents_count(fixture->contents), 1);
}

static void one_of_another_size_is_made_anew(void **state)
{
	const struct fixture *fixture = *state;
	int memory = fixture->memory;
	struct contents *other = contents_new(2 * BIG, &memory);

	assert_int_not_equal(memory, fixture->memory);
	assert_int_equal(contents_count(other), 0);
	contents_free(other);
	close(memory);
}

/* Its owner ended while it wrote an entry. */
static void what_was_half_written_is_free(void **state)
{
	struct fixture *fixture = *state;
	uint64_t *words = mmap(NULL, ENTRY_SIZE + ENTRIES * ENTRY_SIZE, PROT_READ | PROT_WRITE,
			       MAP_SHARED, fixture->memory, 0);

	assert_ptr_not_equal(words, MAP_FAILED);
	for (unsigned i = 0; i < ENTRIES; i++)
		add(fixture, i);
	/* the stamp of the fourth, after the line that the numbers are in */
	assert_int_not_equal(words[4 * ENTRY_SIZE / sizeof(*words)], 0);
	words[4 * ENTRY_SIZE / sizeof(*words)] = 0;
	fixture->contents = contents_free(fixture->contents);
	fixture->contents = contents_new(SMALLEST, &fixture->memory);
	assert_false(has(fixture, 3));
	assert_int_equal(contents_count(fixture->contents), ENTRIES - 1);
	add(fixture, ENTRIES);
	assert_int_equal(contents_count(fixture->contents), ENTRIES);
	for (unsigned i = 0; i <= ENTRIES; i++)
		assert_int_equal(has(fixture, i), i != 3);
	(void)munmap(words, ENTRY_SIZE + ENTRIES * ENTRY_SIZE);
}

/* --- those who read --- */

static void whoever_it_is_lent_to_can_read_it(void **state)
{
	const struct fixture *fixture = *state;
	const struct content it = content(1), later = content(2);
	int fd = contents_lend(fixture->memory);
	const struct contents *lent;

	assert_true(fd >= 0);
	add(fixture, 1);
	lent = contents_map(fd);
	close(fd);
	assert_non_null(lent);
	assert_true(contents_has(lent, &it));
	assert_false(contents_has(lent, &later));
	add(fixture, 2);
	assert_true(contents_has(lent, &later));
	contents_forget(fixture->contents, VOUCHER);
	assert_false(contents_has(lent, &it));
	contents_free(lent);
}

static void whoever_it_is_lent_to_cannot_write_to_it(void **state)
{
	const struct fixture *fixture = *state;
	int fd = contents_lend(fixture->memory), status;
	void *mapping;
	char path[64];
	pid_t pid;

	assert_int_equal(write(fd, "x", 1), -1);
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
	mapping = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(mapping, MAP_FAILED);
	assert_int_equal(mprotect(mapping, 4096, PROT_READ | PROT_WRITE), -1);
	(void)munmap(mapping, 4096);
	if (geteuid() == 0) {
		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		pid = fork();
		if (pid == 0)
			_exit(setresuid(65534, 65534, 65534) < 0 || open(path, O_RDWR) >= 0 ||
			      errno != EACCES || fchmod(fd, 0666) == 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
	close(fd);
}

static void what_is_no_table_is_not_mapped(void **state)
{
	static const uint64_t headers[][3] = {
		{0}, {1}, {1u << 30}, {UINT64_MAX}, {UINT64_MAX / 512}};

	for (size_t i = 0; i < N_ELEMENTS(headers); i++) {
		int fd = memfd_create("test", MFD_CLOEXEC);

		assert_true(fd >= 0);
		assert_null(contents_map(fd));
		assert_int_equal(write(fd, headers[i], sizeof(headers[i])), sizeof(headers[i]));
		assert_null(contents_map(fd));
		close(fd);
	}
}

/* An entry is overwritten again and again while somebody looks for what it never was: the bytes of
 * one, under the signatures of the other. */
struct overwriting {
	struct contents *contents;
	struct content one, other;
	atomic_bool ended;
};

static void *overwrite(void *context)
{
	struct overwriting *overwriting = context;

	for (unsigned i = 0; i < 200000; i++) {
		contents_clear(overwriting->contents);
		contents_add(overwriting->contents, i % 2 ? &overwriting->one : &overwriting->other,
			     VOUCHER);
	}
	overwriting->ended = true;
	return NULL;
}

static void an_entry_that_changes_is_not_found_as_what_it_never_was(void **state)
{
	const struct fixture *fixture = *state;
	struct overwriting overwriting = {
		.contents = fixture->contents, .one = content(1), .other = content(1)};
	struct content never = content(1);
	pthread_t thread;

	memset(overwriting.other.digest + 8, 'y', sizeof(overwriting.other.digest) - 8);
	overwriting.one.set = 1;
	overwriting.other.set = 2;
	overwriting.other.size = overwriting.one.size;
	assert_int_equal(pthread_create(&thread, NULL, overwrite, &overwriting), 0);
	while (!overwriting.ended) {
		never = overwriting.one;
		never.set = 2;
		assert_false(contents_has(fixture->contents, &never));
		never = overwriting.other;
		never.set = 1;
		assert_false(contents_has(fixture->contents, &never));
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
}

#define TEST(function)	      cmocka_unit_test_setup_teardown(function, setup, teardown)
#define TEST_BUCKET(function) cmocka_unit_test_setup_teardown(function, setup_bucket, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_was_added_is_known_and_nothing_else),
		TEST(a_digest_of_zeros_is_one_like_others),
		TEST(who_vouched_first_stays_the_one_who_did),
		TEST(what_one_vouched_for_is_forgotten_and_nothing_else),
		TEST(it_takes_no_more_than_it_may),
		TEST_BUCKET(the_one_that_was_of_use_longest_ago_makes_room),
		TEST_BUCKET(those_of_other_signatures_make_room_first),
		TEST_BUCKET(what_is_free_is_used_before_anything_makes_room),
		TEST(another_owner_finds_what_there_was),
		TEST(one_of_another_size_is_made_anew),
		TEST_BUCKET(what_was_half_written_is_free),
		TEST(whoever_it_is_lent_to_can_read_it),
		TEST(whoever_it_is_lent_to_cannot_write_to_it),
		TEST(what_is_no_table_is_not_mapped),
		TEST_BUCKET(an_entry_that_changes_is_not_found_as_what_it_never_was),
	};

	return cmocka_run_group_tests_name("contents", tests, NULL, NULL);
}
