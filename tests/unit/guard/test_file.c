/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/guard/file.h"
#include "../support/scratch.h"

#include <errno.h>
#include <sys/sysmacros.h>
#include <time.h>

static int open_file(const char *name, const char *content)
{
	int fd;

	scratch_write(name, content, strlen(content));
	fd = open(name, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void assert_path(int fd, const char *name)
{
	char path[PATH_MAX], expected[PATH_MAX + 64];

	(void)snprintf(expected, sizeof(expected), "%s/%s", scratch, name);
	assert_int_equal(file_path(fd, path, sizeof(path)), 0);
	assert_string_equal(path, expected);
}

static void the_path_is_the_one_it_has_now(void **state)
{
	int fd = open_file("a\nb \xff", "");

	assert_path(fd, "a\nb \xff");
	assert_int_equal(rename("a\nb \xff", "renamed"), 0);
	assert_path(fd, "renamed");
	close(fd);
}

static void an_unlinked_file_keeps_its_last_name(void **state)
{
	int fd = open_file("gone", "");

	assert_int_equal(unlink("gone"), 0);
	assert_path(fd, "gone");
	close(fd);
}

/* A name cannot be used to pass for another file. */
static void a_file_may_really_be_called_deleted(void **state)
{
	int fd = open_file("x (deleted)", "");

	assert_path(fd, "x (deleted)");
	assert_int_equal(unlink("x (deleted)"), 0);
	assert_path(fd, "x (deleted)");
	close(fd);
}

static void a_path_that_does_not_fit_becomes_a_description(void **state)
{
	int fd = open_file("file", "");
	char path[64], expected[64];
	struct stat status;

	assert_int_equal(fstat(fd, &status), 0);
	(void)snprintf(expected, sizeof(expected), "(inode %llu on device %u:%u)",
		       (unsigned long long)status.st_ino, major(status.st_dev),
		       minor(status.st_dev));
	/* exactly too short by the NUL, and by much */
	assert_int_equal(file_path(fd, path, strlen(scratch) + strlen("/file")), -ENAMETOOLONG);
	assert_int_equal(strncmp(path, expected, strlen(scratch) + strlen("/file") - 1), 0);
	assert_int_equal(file_path(fd, path, strlen(scratch) + strlen("/file") + 1), 0);
	assert_int_equal(file_path(fd, path, 8), -ENAMETOOLONG);
	assert_int_equal(strncmp(path, expected, 7), 0);
	close(fd);
}

static void what_is_not_open_has_no_path(void **state)
{
	char path[PATH_MAX];

	assert_int_equal(file_path(-1, path, sizeof(path)), -ENOENT);
	assert_int_equal(*path, '(');
}

static void one_file_is_one_id_and_two_are_two(void **state)
{
	int fd = open_file("one", "x"), other = open_file("two", "x");
	int again = open("one", O_RDONLY | O_CLOEXEC);
	struct file_id id, other_id, again_id;
	struct file_state ignored;

	assert_int_equal(file_stat(fd, &id, &ignored), 0);
	assert_int_equal(file_stat(other, &other_id, &ignored), 0);
	assert_int_equal(file_stat(again, &again_id, &ignored), 0);
	assert_memory_equal(&id, &again_id, sizeof(id));
	assert_memory_not_equal(&id, &other_id, sizeof(id));
	close(fd);
	close(other);
	close(again);
}

static void a_change_is_a_change_of_state(void **state)
{
	static const struct timespec past[2] = {{1000, 500}, {1000, 500}},
				     later[2] = {{1000, 500}, {1000, 501}};
	int fd = open_file("changes", "12");
	struct file_state before, after;
	struct file_id id;

	assert_int_equal(futimens(fd, past), 0);
	assert_int_equal(file_stat(fd, &id, &before), 0);
	assert_int_equal(before.size, 2);
	assert_int_equal(before.mtime_ns, 1000 * INT64_C(1000000000) + 500);
	assert_int_equal(file_stat(fd, &id, &after), 0);
	assert_true(file_state_equal(&before, &after));

	assert_int_equal(futimens(fd, later), 0);
	assert_int_equal(file_stat(fd, &id, &after), 0);
	assert_false(file_state_equal(&before, &after));

	/* each counts by itself */
	after = before;
	after.size++;
	assert_false(file_state_equal(&before, &after));
	after = before;
	after.mtime_ns++;
	assert_false(file_state_equal(&before, &after));
	after = before;
	after.ctime_ns++;
	assert_false(file_state_equal(&before, &after));
	close(fd);
}

static void what_is_not_open_cannot_be_asked(void **state)
{
	struct file_state file_state;
	struct file_id id;

	assert_int_equal(file_stat(-1, &id, &file_state), -EBADF);
}

/* --- looking without following --- */

/* Returns the descriptor, or why there is none; skips where the kernel cannot tell. */
static int open_directory(const char *name, uint64_t mount_id, bool cached)
{
	char path[PATH_MAX + 64];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", scratch, name);
	fd = file_open_directory(path, mount_id, cached);
	if (fd == -ENOSYS || (cached && fd == -EINVAL)) {
		print_message("skipped: not of this kernel\n");
		skip();
	}
	return fd;
}

static void a_directory_is_opened_where_it_should_be_and_nowhere_else(void **state)
{
	struct statx status, opened;
	unsigned fds;

	assert_int_equal(mkdir("directory", 0755), 0);
	assert_int_equal(symlink("directory", "link"), 0);
	scratch_write("directory/file", "", 0);
	assert_int_equal(statx(AT_FDCWD, "directory", 0, STATX_INO | STATX_MNT_ID, &status), 0);
	fds = unit_count_fds();
	for (int cached = 0; cached < 2; cached++) {
		int fd = open_directory("directory", status.stx_mnt_id, cached);

		assert_true(fd >= 0);
		assert_int_equal(statx(fd, "", AT_EMPTY_PATH, STATX_INO, &opened), 0);
		assert_true(file_same(&status, &opened));
		/* not only to look at */
		assert_int_equal(faccessat(fd, "file", F_OK, 0), 0);
		assert_false(fcntl(fd, F_GETFL) & O_PATH);
		assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
		close(fd);

		assert_int_equal(open_directory("directory", status.stx_mnt_id + 1, cached),
				 -EXDEV);
		assert_int_equal(open_directory("link", status.stx_mnt_id, cached), -ELOOP);
		assert_int_equal(open_directory("link/.", status.stx_mnt_id, cached), -ELOOP);
		assert_int_equal(open_directory("directory/file", status.stx_mnt_id, cached),
				 -ENOTDIR);
		assert_true(open_directory("missing", status.stx_mnt_id, cached) < 0);
	}
	assert_int_equal(unit_count_fds(), fds);
}

static void a_file_is_looked_at_without_following(void **state)
{
	char path[PATH_MAX + 64];
	struct statx status, looked;
	unsigned fds = unit_count_fds();

	(void)snprintf(path, sizeof(path), "%s/looked", scratch);
	scratch_write("looked", "", 0);
	if (!file_look(path, &looked)) {
		print_message("skipped: not of this kernel\n");
		skip();
	}
	assert_int_equal(statx(AT_FDCWD, "looked", 0, STATX_INO, &status), 0);
	assert_true(file_same(&status, &looked));
	/* a link is there itself, and is no way to anything */
	assert_int_equal(symlink("looked", "looked-link"), 0);
	assert_int_equal(symlink(".", "looked-here"), 0);
	(void)snprintf(path, sizeof(path), "%s/looked-link", scratch);
	assert_true(file_look(path, &looked));
	assert_false(file_same(&status, &looked));
	(void)snprintf(path, sizeof(path), "%s/looked-here/looked", scratch);
	assert_false(file_look(path, &looked));
	(void)snprintf(path, sizeof(path), "%s/looked-missing", scratch);
	assert_false(file_look(path, &looked));
	assert_int_equal(unit_count_fds(), fds);
}

static void a_file_below_a_directory_is_opened_on_its_mount_only(void **state)
{
	unsigned fds = unit_count_fds();
	int directory = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd, again;
	int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char text[8] = "";

	assert_true(directory >= 0 && root >= 0);
	assert_int_equal(mkdir("below", 0755), 0);
	scratch_write("below/file", "content", 7);
	fd = file_open_below(directory, "below/file");
	if (fd == -ENOSYS) {
		print_message("skipped: not of this kernel\n");
		skip();
	}
	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFL) & O_PATH);
	assert_int_equal(rename("below/file", "below/renamed"), 0);
	again = file_reopen(fd, O_RDONLY);
	assert_int_equal(read(again, text, sizeof(text)), 7);
	assert_string_equal(text, "content");
	close(again);
	close(fd);

	assert_int_equal(file_open_below(directory, "below/missing"), -ENOENT);
	assert_int_equal(file_open_below(directory, "below/renamed/file"), -ENOTDIR);
	assert_int_equal(symlink("below", "below-link"), 0);
	assert_int_equal(file_open_below(directory, "below-link/renamed"), -ELOOP);
	assert_true(file_open_below(directory, "../x") < 0);
	assert_int_equal(file_open_below(root, "proc/version"), -EXDEV);
	close(directory);
	close(root);
	assert_int_equal(file_reopen(-1, O_RDONLY), -ENOENT);
	assert_int_equal(unit_count_fds(), fds);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_path_is_the_one_it_has_now),
		cmocka_unit_test(an_unlinked_file_keeps_its_last_name),
		cmocka_unit_test(a_file_may_really_be_called_deleted),
		cmocka_unit_test(a_path_that_does_not_fit_becomes_a_description),
		cmocka_unit_test(what_is_not_open_has_no_path),
		cmocka_unit_test(one_file_is_one_id_and_two_are_two),
		cmocka_unit_test(a_change_is_a_change_of_state),
		cmocka_unit_test(what_is_not_open_cannot_be_asked),
		cmocka_unit_test(a_directory_is_opened_where_it_should_be_and_nowhere_else),
		cmocka_unit_test(a_file_is_looked_at_without_following),
		cmocka_unit_test(a_file_below_a_directory_is_opened_on_its_mount_only),
	};

	if (file_init() < 0) {
		print_message("skipped: /proc is not mounted\n");
		return UNIT_SKIPPED;
	}
	return cmocka_run_group_tests_name("file", tests, scratch_setup, scratch_teardown);
}
