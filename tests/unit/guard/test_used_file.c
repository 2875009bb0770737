/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/guard/used_file.h"
#include "../support/scratch.h"

#include <errno.h>

#define WHEN UINT64_C(2000000000000000)

static int directory;
static struct used *used, *again;

static int setup(void **state)
{
	used = calloc(1, sizeof(*used));
	again = calloc(1, sizeof(*again));
	if (!used || !again || mkdir("scans", 0700) < 0)
		return -1;
	directory = open("scans", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	used_add(used, "/a", WHEN);
	used_add(used, "/b/\n\xff", WHEN + 4);
	used_add(used, "/c", WHEN + 2);
	return directory < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	close(directory);
	free(used);
	free(again);
	return nftw("scans", scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void write_it(void)
{
	assert_int_equal(used_file_write(directory, used), 0);
	assert_int_equal(access("scans/used.new", F_OK), -1);
}

static void assert_same(void)
{
	size_t n, n_again;
	struct used_file *files = used_list(used, &n), *files_again = used_list(again, &n_again);
	char path[USED_PATH_MAX], path_again[USED_PATH_MAX];

	assert_true(files && files_again);
	assert_int_equal(n, n_again);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(files[i].when, files_again[i].when);
		assert_true(used_path(used, &files[i], path));
		assert_true(used_path(again, &files_again[i], path_again));
		assert_string_equal(path, path_again);
	}
	free(files);
	free(files_again);
}

static void assert_refused(int error)
{
	assert_int_equal(used_file_read(directory, again), error);
	assert_int_equal(used_count(again), 0);
}

static size_t read_it(char *buffer, size_t size)
{
	FILE *file = fopen("scans/used", "re");
	size_t n;

	assert_non_null(file);
	n = fread(buffer, 1, size, file);
	assert_in_range(n, 1, size - 1);
	(void)fclose(file);
	return n;
}

static void what_was_written_is_read(void **state)
{
	struct stat status;

	write_it();
	assert_int_equal(used_file_read(directory, again), 0);
	assert_same();
	assert_int_equal(stat("scans/used", &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
}

static void a_full_table_is_written_and_read(void **state)
{
	char path[USED_PATH_MAX];

	for (unsigned i = 0; i < 2 * USED_MAX; i++) {
		(void)snprintf(path, sizeof(path), "/%0170u", i);
		used_add(used, path, WHEN + 2 * UINT64_C(1000) * i);
	}
	write_it();
	assert_int_equal(used_file_read(directory, again), 0);
	assert_same();
}

static void none_is_none(void **state)
{
	assert_refused(-ENOENT);
	used_clear(used);
	write_it();
	assert_int_equal(used_file_read(directory, again), 0);
	assert_same();
}

static void the_last_that_was_written_counts(void **state)
{
	write_it();
	used_add(used, "/d", WHEN + 8);
	/* whatever a process that was killed has left */
	scratch_write("scans/used.new", "x", 1);
	write_it();
	assert_int_equal(used_file_read(directory, again), 0);
	assert_same();
}

static void of_a_damaged_one_nothing_is_taken(void **state)
{
	char content[512], damaged[512];
	size_t size;

	write_it();
	size = read_it(content, sizeof(content));
	for (size_t i = 0; i < size; i++) {
		memcpy(damaged, content, size);
		damaged[i] ^= 0x55;
		scratch_write("scans/used", damaged, size);
		assert_refused(-EBADMSG);
	}
	for (size_t i = 0; i < size; i++) {
		scratch_write("scans/used", content, i);
		assert_refused(-EBADMSG);
	}
	/* and it is begun anew */
	write_it();
	assert_int_equal(used_file_read(directory, again), 0);
	assert_same();
}

static void one_that_is_not_ours_alone_is_left_alone(void **state)
{
	static const mode_t modes[] = {0640, 0604, 0660, 0602};
	struct stat before, after;

	write_it();
	assert_int_equal(stat("scans/used", &before), 0);
	for (size_t i = 0; i < N_ELEMENTS(modes); i++) {
		assert_int_equal(chmod("scans/used", modes[i]), 0);
		assert_refused(-EPERM);
		assert_int_equal(used_file_write(directory, used), -EPERM);
	}
	assert_int_equal(chmod("scans/used", 0600), 0);
	if (geteuid() == 0) {
		assert_int_equal(chown("scans/used", 12345, 0), 0);
		assert_refused(-EPERM);
		assert_int_equal(used_file_write(directory, used), -EPERM);
		assert_int_equal(chown("scans/used", 0, 0), 0);
	}
	assert_int_equal(stat("scans/used", &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);

	assert_int_equal(rename("scans/used", "scans/kept"), 0);
	assert_int_equal(symlink("kept", "scans/used"), 0);
	assert_refused(-EPERM);
	assert_int_equal(used_file_write(directory, used), -EPERM);
	assert_int_equal(unlink("scans/used"), 0);
	assert_int_equal(mkfifo("scans/used", 0600), 0);
	assert_refused(-EPERM);
	assert_int_equal(used_file_write(directory, used), -EPERM);
}

static void what_cannot_be_written_leaves_the_one_before(void **state)
{
	write_it();
	assert_int_equal(mkdir("scans/used.new", 0700), 0);
	used_add(again, "/other", WHEN);
	assert_true(used_file_write(directory, again) < 0);
	used_clear(again);
	assert_int_equal(used_file_read(directory, again), 0);
	assert_same();
}

static void it_can_be_removed(void **state)
{
	used_file_remove(directory);
	write_it();
	used_file_remove(directory);
	assert_refused(-ENOENT);
}

static void nothing_stays_open(void **state)
{
	unsigned fds = unit_count_fds();

	write_it();
	assert_int_equal(used_file_read(directory, again), 0);
	scratch_write("scans/used", "x", 1);
	(void)used_file_read(directory, again);
	assert_int_equal(chmod("scans/used", 0666), 0);
	(void)used_file_read(directory, again);
	(void)used_file_write(directory, used);
	assert_int_equal(unit_count_fds(), fds);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_was_written_is_read),
		TEST(a_full_table_is_written_and_read),
		TEST(none_is_none),
		TEST(the_last_that_was_written_counts),
		TEST(of_a_damaged_one_nothing_is_taken),
		TEST(one_that_is_not_ours_alone_is_left_alone),
		TEST(what_cannot_be_written_leaves_the_one_before),
		TEST(it_can_be_removed),
		TEST(nothing_stays_open),
	};

	return cmocka_run_group_tests_name("used_file", tests, scratch_setup, scratch_teardown);
}
