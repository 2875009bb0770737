/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/guard/checkpoint.h"
#include "../support/scratch.h"

#include <errno.h>
#include <signal.h>

/* The longest that can be read. */
#define POSITION_MAX (1 << 20)

static int here; /* the directory of each test */

static int setup(void **state)
{
	if (mkdir("d", 0700) < 0)
		return -1;
	here = open("d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return here < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	close(here);
	return nftw("d", scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Nothing in it is zero. */
static struct checkpoint example(const char *position)
{
	struct checkpoint checkpoint = {
		.last_slot = 1234567890123,
		.is_unfinished = true,
		.is_stopped = true,
		.afresh = true,
		.sessions = 3,
		.rules = UINT64_MAX - 1,
		.report_end = UINT64_C(1) << 40,
		.skips.unlisted = 17,
		.position = (char *)position,
	};

	memset(&checkpoint.now, 0x11, sizeof(checkpoint.now));
	memset(&checkpoint.last, 0x22, sizeof(checkpoint.last));
	for (unsigned i = 0; i < WALK_REASON_COUNT; i++)
		checkpoint.skips.by_reason[i] = 100 + i;
	return checkpoint;
}

static void assert_equal(const struct checkpoint *read, const struct checkpoint *written)
{
	assert_int_equal(read->last_slot, written->last_slot);
	assert_int_equal(read->is_unfinished, written->is_unfinished);
	assert_int_equal(read->is_stopped, written->is_stopped);
	assert_int_equal(read->afresh, written->afresh);
	assert_int_equal(read->sessions, written->sessions);
	assert_int_equal(read->rules, written->rules);
	assert_int_equal(read->report_end, written->report_end);
	assert_memory_equal(&read->now, &written->now, sizeof(read->now));
	assert_memory_equal(&read->last, &written->last, sizeof(read->last));
	assert_memory_equal(&read->skips, &written->skips, sizeof(read->skips));
	assert_string_equal(read->position, written->position ? written->position : "");
}

static void write_one(const struct checkpoint *checkpoint)
{
	assert_int_equal(checkpoint_write(here, checkpoint), 0);
}

static void assert_read(const struct checkpoint *written)
{
	struct checkpoint read;

	assert_int_equal(checkpoint_read(here, &read), 0);
	assert_equal(&read, written);
	free(read.position);
}

static void assert_unreadable(int error)
{
	struct checkpoint read, untouched;

	memset(&read, 0x5a, sizeof(read));
	memset(&untouched, 0x5a, sizeof(untouched));
	assert_int_equal(checkpoint_read(here, &read), error);
	assert_memory_equal(&read, &untouched, sizeof(read));
}

static void what_was_written_is_read(void **state)
{
	char long_position[100001];
	const char *positions[] = {NULL, "", "/a", "/with\nany\x01\xff bytes", long_position};
	unsigned fds = unit_count_fds();

	memset(long_position, 'x', sizeof(long_position) - 1);
	long_position[sizeof(long_position) - 1] = '\0';
	for (size_t i = 0; i < N_ELEMENTS(positions); i++) {
		struct checkpoint written = example(positions[i]);

		write_one(&written);
		/* It stays the caller's. */
		assert_ptr_equal(written.position, positions[i]);
		assert_read(&written);
		assert_read(&written);
	}
	assert_int_equal(unit_count_fds(), fds);
}

static void the_newest_counts(void **state)
{
	struct checkpoint first = example("/a/long/position"), second = example("/b");

	second.last_slot++;
	second.is_stopped = false;
	write_one(&first);
	write_one(&second);
	assert_read(&second);
}

static void nobody_else_may_read_it(void **state)
{
	struct checkpoint written = example("/a");
	struct stat status;

	write_one(&written);
	assert_int_equal(stat("d/checkpoint", &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
}

static void at_first_there_is_none(void **state)
{
	unsigned fds = unit_count_fds();

	assert_unreadable(-ENOENT);
	assert_int_equal(unit_count_fds(), fds);
}

static void one_that_was_cut_is_damaged(void **state)
{
	struct checkpoint written = example("/some/where");
	unsigned fds = unit_count_fds();
	struct stat status;

	write_one(&written);
	assert_int_equal(stat("d/checkpoint", &status), 0);
	for (off_t size = status.st_size - 1; size >= 0; size--) {
		assert_int_equal(truncate("d/checkpoint", size), 0);
		assert_unreadable(-EBADMSG);
	}
	assert_int_equal(unit_count_fds(), fds);
}

static void overwrite(off_t offset, const void *bytes, size_t size)
{
	int fd = open("d/checkpoint", O_WRONLY | O_CLOEXEC);

	assert_int_equal(pwrite(fd, bytes, size, offset), size);
	close(fd);
}

/* The magic, then the size of the position. */
static void another_format_is_damaged(void **state)
{
	const uint64_t sizes[] = {12, 1 << 21, UINT64_MAX};
	struct checkpoint written = example("/some/where");

	for (off_t i = 0; i < 8; i++) {
		write_one(&written);
		overwrite(i, "?", 1);
		assert_unreadable(-EBADMSG);
	}
	for (size_t i = 0; i < N_ELEMENTS(sizes); i++) {
		write_one(&written);
		overwrite(8, &sizes[i], sizeof(sizes[i]));
		assert_unreadable(-EBADMSG);
	}
}

static void a_position_that_is_too_long_is_refused(void **state)
{
	const uint64_t size = POSITION_MAX + 1;
	char *position = calloc(1, size + 1);
	struct checkpoint longest;
	int fd;

	assert_non_null(position);
	memset(position, 'x', POSITION_MAX);
	longest = example(position);
	write_one(&longest);
	position[POSITION_MAX] = 'x';
	assert_int_equal(checkpoint_write(here, &longest), -ENAMETOOLONG);
	position[POSITION_MAX] = '\0';
	assert_read(&longest);

	/* one from elsewhere */
	overwrite(8, &size, sizeof(size));
	fd = open("d/checkpoint", O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_int_equal(write(fd, "x", 1), 1);
	close(fd);
	assert_unreadable(-EBADMSG);
	free(position);
}

static void a_position_with_a_hole_is_damaged(void **state)
{
	struct checkpoint written = example("/some/where");
	struct stat status;

	write_one(&written);
	assert_int_equal(stat("d/checkpoint", &status), 0);
	overwrite(status.st_size - 3, "", 1);
	assert_unreadable(-EBADMSG);
}

static void a_link_is_not_followed(void **state)
{
	struct checkpoint written = example("/a");

	write_one(&written);
	assert_int_equal(rename("d/checkpoint", "d/elsewhere"), 0);
	assert_int_equal(symlink("elsewhere", "d/checkpoint"), 0);
	assert_unreadable(-ELOOP);
	assert_int_equal(symlink("elsewhere", "d/checkpoint.new"), 0);
	assert_int_equal(checkpoint_write(here, &written), -ELOOP);
}

static void a_write_that_fails_leaves_the_one_before(void **state)
{
	struct checkpoint first = example("/first"), second = example("/second");
	struct rlimit limit, small;
	void (*before)(int) = signal(SIGXFSZ, SIG_IGN);

	write_one(&first);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	/* as on a full disk: after nothing, in the head, in the position */
	for (rlim_t size = 0; size < 3; size++) {
		struct stat status;

		assert_int_equal(stat("d/checkpoint", &status), 0);
		small = (struct rlimit){size == 2 ? (rlim_t)status.st_size - 2 : size * 20,
					limit.rlim_max};
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
		assert_true(checkpoint_write(here, &second) < 0);
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
		assert_read(&first);
	}
	(void)signal(SIGXFSZ, before);

	/* no room for the new one */
	assert_true(unlink("d/checkpoint.new") == 0);
	assert_int_equal(mkdir("d/checkpoint.new", 0700), 0);
	assert_int_equal(checkpoint_write(here, &second), -EISDIR);
	assert_read(&first);
	assert_int_equal(rmdir("d/checkpoint.new"), 0);
	write_one(&second);
	assert_read(&second);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_was_written_is_read),
		TEST(the_newest_counts),
		TEST(nobody_else_may_read_it),
		TEST(at_first_there_is_none),
		TEST(one_that_was_cut_is_damaged),
		TEST(another_format_is_damaged),
		TEST(a_position_that_is_too_long_is_refused),
		TEST(a_position_with_a_hole_is_damaged),
		TEST(a_link_is_not_followed),
		TEST(a_write_that_fails_leaves_the_one_before),
	};

	return cmocka_run_group_tests_name("checkpoint", tests, scratch_setup, scratch_teardown);
}
