/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/common/drop.h"
#include "../support/scratch.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/wait.h>

static int setup(void **state)
{
	if (!drop_has_landlock())
		return 0;
	if (mkdir("in", 0755) < 0 || mkdir("in/deep", 0755) < 0 || mkdir("out", 0755) < 0)
		return -1;
	scratch_write("in/file", "1", 1);
	scratch_write("out/file", "1", 1);
	scratch_write("out/other", "1", 1);
	return 0;
}

static int teardown(void **state)
{
	return drop_has_landlock() && (nftw("in", scratch_remove_one, 16, FTW_DEPTH) < 0 ||
				       nftw("out", scratch_remove_one, 16, FTW_DEPTH) < 0)
		       ? -1
		       : 0;
}

/* Calls back in a child: what cannot be undone must not stay. Returns the line that failed, 0: all
 * is as it should be. */
static int in_a_child(int (*check)(void))
{
	int status;
	pid_t pid;

	if (!drop_has_landlock()) {
		print_message("skipped: this kernel has no Landlock\n");
		skip();
	}
	pid = fork();
	if (pid == 0)
		_exit(check());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* Lines are told apart by what fits into an exit status. */
#define MUST(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			print_error("line %d: %s\n", __LINE__, strerror(errno));                   \
			return 1;                                                                  \
		}                                                                                  \
	} while (0)
#define MUST_NOT(call) MUST((call) < 0 && (errno == EACCES || errno == EXDEV))

static int can_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	if (fd >= 0)
		close(fd);
	return fd;
}

static int writes_inside_only(void)
{
	const char *const writable[] = {"in", "absent"};
	int held = open("out/other", O_WRONLY | O_CLOEXEC);

	MUST(drop_new_privs() == 0);
	MUST(drop_writes(writable, N_ELEMENTS(writable)) == 0);
	/* all that a store does, and between its directories too */
	MUST(can_open("in/new", O_WRONLY | O_CREAT) >= 0);
	MUST(can_open("in/new", O_WRONLY | O_TRUNC) >= 0);
	MUST(truncate("in/new", 0) == 0);
	MUST(mkdir("in/dir", 0755) == 0);
	MUST(symlink("x", "in/link") == 0);
	MUST(link("in/file", "in/deep/file") == 0);
	MUST(rename("in/link", "in/deep/link") == 0);
	MUST(rename("in/dir", "in/deep/dir") == 0);
	MUST(unlink("in/deep/link") == 0);
	MUST(rmdir("in/deep/dir") == 0);
	/* nothing of it elsewhere */
	MUST_NOT(can_open("out/new", O_WRONLY | O_CREAT));
	MUST_NOT(can_open("out/file", O_WRONLY));
	MUST_NOT(can_open("out/file", O_RDONLY | O_TRUNC));
	MUST_NOT(truncate("out/file", 0));
	MUST_NOT(mkdir("out/dir", 0755));
	MUST_NOT(symlink("x", "out/link"));
	MUST_NOT(mkfifo("out/fifo", 0600));
	MUST_NOT(link("in/file", "out/link"));
	MUST_NOT(link("out/file", "in/outer"));
	MUST_NOT(rename("in/file", "out/file"));
	MUST_NOT(rename("out/file", "in/outer"));
	MUST_NOT(unlink("out/file"));
	MUST_NOT(rmdir("out"));
	/* reading, executing, and what is open already */
	MUST(can_open("out/file", O_RDONLY) >= 0);
	MUST(can_open("/etc", O_RDONLY | O_DIRECTORY) >= 0);
	MUST(access("/bin/sh", X_OK) == 0);
	MUST(system("exit 7") == 7 << 8);
	MUST(write(held, "2", 1) == 1);
	return 0;
}

static void it_writes_inside_only(void **state)
{
	assert_int_equal(in_a_child(writes_inside_only), 0);
}

static int is_confined(void)
{
	const char *const readable[] = {"out/file", "in/deep"};

	MUST(drop_new_privs() == 0);
	MUST(mkdir("in/scratch", 0755) == 0);
	scratch_write("in/deep/file", "1", 1);
	MUST(drop_filesystem("in/scratch", readable, N_ELEMENTS(readable)) == 0);
	MUST(can_open("in/scratch/new", O_RDWR | O_CREAT) >= 0);
	MUST(can_open("in/scratch/new", O_RDWR | O_TRUNC) >= 0);
	/* a file and all of a directory, but for writing */
	MUST(can_open("out/file", O_RDONLY) >= 0);
	MUST(can_open("in/deep/file", O_RDONLY) >= 0);
	MUST_NOT(can_open("out/file", O_WRONLY));
	MUST_NOT(can_open("out/file", O_RDONLY | O_TRUNC));
	MUST_NOT(can_open("in/deep/file", O_RDONLY | O_TRUNC));
	MUST_NOT(truncate("out/file", 0));
	/* and nothing beside them */
	MUST_NOT(can_open("out/other", O_RDONLY));
	MUST_NOT(can_open("out", O_RDONLY));
	MUST_NOT(can_open("in/file", O_RDONLY));
	MUST_NOT(truncate("out/other", 0));
	MUST_NOT(execl("/bin/true", "true", NULL));
	return 0;
}

static void it_reads_what_it_was_given(void **state)
{
	assert_int_equal(in_a_child(is_confined), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_writes_inside_only),
		TEST(it_reads_what_it_was_given),
	};

	return cmocka_run_group_tests_name("drop", tests, scratch_setup, scratch_teardown);
}
