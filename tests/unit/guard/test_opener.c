/* SPDX-License-Identifier: GPL-2.0-only */
/* Openers are children, and the kernel may be one that says nothing of a process by its pidfd. */
#include "../../../src/guard/opener.h"
#include "../support/unit.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOMEBODY 4711
#define ANOTHER	 4712

static bool is_old_kernel;
static unsigned n_asked;

int __wrap_ioctl(int fd, unsigned long request, ...);
int __real_ioctl(int fd, unsigned long request, ...);

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list more;
	void *argument;

	va_start(more, request);
	argument = va_arg(more, void *);
	va_end(more);
	n_asked++;
	if (!is_old_kernel)
		return __real_ioctl(fd, request, argument);
	errno = ENOTTY;
	return -1;
}

static int setup(void **state)
{
	is_old_kernel = false;
	n_asked = 0;
	return opener_init();
}

static int setup_old_kernel(void **state)
{
	int r = setup(state);

	is_old_kernel = true;
	return r;
}

/* A process that acts for somebody, and has been somebody else; *ret_end: it ends with that. */
static pid_t start_process(int *ret_end)
{
	int ends[2], ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(ends[1]);
		if (setresuid(ANOTHER, SOMEBODY, ANOTHER) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0 ||
		    write(ready[1], "", 1) != 1)
			_exit(1);
		(void)!read(ends[0], &byte, 1);
		_exit(0);
	}
	close(ends[0]);
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	*ret_end = ends[1];
	return pid;
}

static void end_process(pid_t pid, int end)
{
	close(end);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void it_is_on_whose_behalf_it_acts(void **state)
{
	struct opener opener;
	int end;
	pid_t pid = start_process(&end);

	opener_read(pid, &opener);
	assert_int_equal(opener.pid, pid);
	assert_int_equal(opener.uid, SOMEBODY);
	end_process(pid, end);
}

static void so_it_is_where_a_pidfd_says_nothing(void **state)
{
	it_is_on_whose_behalf_it_acts(state);
	assert_int_equal(n_asked, 1);
}

static void descriptors_are_given_back(void **state)
{
	int before = dup(STDIN_FILENO), after;
	struct opener opener;

	close(before);
	opener_read(getpid(), &opener);
	assert_true(*opener_exe(&opener));
	after = dup(STDIN_FILENO);
	close(after);
	assert_int_equal(after, before);
}

static void nobody_is_known_who_is_gone(void **state)
{
	struct opener opener;
	int end;
	pid_t pid = start_process(&end);

	end_process(pid, end);
	opener_read(pid, &opener);
	assert_int_equal(opener.uid, OPENER_UID_UNKNOWN);
	assert_string_equal(opener_exe(&opener), "");
}

/* The kernel gives 0 for a process of a namespace that is not ours to see. */
static void nobody_is_known_who_is_not_seen(void **state)
{
	struct opener opener;

	opener_read(0, &opener);
	assert_int_equal(opener.uid, OPENER_UID_UNKNOWN);
	assert_string_equal(opener_exe(&opener), "");
}

static void its_executable_is_known(void **state)
{
	char path[PATH_MAX] = "";
	struct opener opener;

	assert_true(readlink("/proc/self/exe", path, sizeof(path) - 1) > 0);
	opener_read(getpid(), &opener);
	assert_string_equal(opener_exe(&opener), path);
	assert_true(opener_exe_is_ours(&opener));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(it_is_on_whose_behalf_it_acts, setup),
		cmocka_unit_test_setup(so_it_is_where_a_pidfd_says_nothing, setup_old_kernel),
		cmocka_unit_test_setup(descriptors_are_given_back, setup),
		cmocka_unit_test_setup(nobody_is_known_who_is_gone, setup),
		cmocka_unit_test_setup(nobody_is_known_who_is_gone, setup_old_kernel),
		cmocka_unit_test_setup(nobody_is_known_who_is_not_seen, setup),
		cmocka_unit_test_setup(its_executable_is_known, setup),
	};

	/* Only root can be somebody else. */
	if (geteuid() != 0)
		return UNIT_SKIPPED;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
