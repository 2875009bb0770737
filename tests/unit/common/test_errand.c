/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/common/errand.h"
#include "../support/scratch.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

static char problem[256];

static int run(int (*work)(void *context, char *problem, size_t size), void *context)
{
	struct errand errand = {
		.what = "working",
		.run = work,
		.context = context,
		.timeout_s = 60,
		.max_memory = 256 << 20,
		.max_file = 4096,
	};

	*problem = '\0';
	return errand_run(&errand, problem, sizeof(problem));
}

static int answer(void *context, char *text, size_t size)
{
	(void)snprintf(text, size, "because\nof \033 %s", "that");
	return *(int *)context;
}

static void what_it_says_comes_back(void **state)
{
	int said[] = {0, 7, -ENOSPC};

	for (size_t i = 0; i < N_ELEMENTS(said); i++) {
		assert_int_equal(run(answer, &said[i]), said[i]);
		/* fit for a log */
		assert_string_equal(problem, "because?of ? that");
	}
}

static int fill_problem(void *context, char *text, size_t size)
{
	memset(text, 'x', size);
	return -EIO;
}

static void a_text_without_an_end_is_cut(void **state)
{
	assert_int_equal(run(fill_problem, NULL), -EIO);
	assert_int_equal(strlen(problem), sizeof(problem) - 1);
}

static int die(void *context, char *text, size_t size)
{
	(void)signal(*(int *)context, SIG_DFL);
	(void)raise(*(int *)context);
	return 0;
}

static int leave(void *context, char *text, size_t size)
{
	_exit(0);
}

static void its_death_is_an_answer(void **state)
{
	int signals[] = {SIGSEGV, SIGABRT, SIGBUS, SIGTERM}, killed = SIGKILL, cpu = SIGXCPU;

	for (size_t i = 0; i < N_ELEMENTS(signals); i++) {
		assert_int_equal(run(die, &signals[i]), -EBADMSG);
		assert_non_null(strstr(problem, "working crashed: "));
		assert_non_null(strstr(problem, strsignal(signals[i])));
	}
	assert_int_equal(run(leave, NULL), -EBADMSG);
	assert_string_equal(problem, "working crashed");
	assert_int_equal(run(die, &killed), -ENOMEM);
	assert_non_null(strstr(problem, "not enough memory"));
	assert_int_equal(run(die, &cpu), -ETIMEDOUT);
	assert_string_equal(problem, "working took longer than 60 seconds");
}

static int wait_for_ever(void *context, char *text, size_t size)
{
	return pause();
}

static void it_does_not_wait_for_ever(void **state)
{
	struct errand errand = {
		.what = "waiting",
		.run = wait_for_ever,
		.timeout_s = 1,
		.max_memory = 256 << 20,
	};

	assert_int_equal(errand_run(&errand, problem, sizeof(problem)), -ETIMEDOUT);
	assert_string_equal(problem, "waiting took longer than 1 seconds");
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static int take_much(void *context, char *text, size_t size)
{
	const size_t much = 512 << 20;

	return mmap(NULL, much, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
			       MAP_FAILED
		       ? errno
		       : 0;
}

static int write_much(void *context, char *text, size_t size)
{
	char byte = 'x';
	int fd = open("file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	return pwrite(fd, &byte, 1, 4095) == 1 && pwrite(fd, &byte, 1, 4096) < 0 ? errno : 0;
}

static int count_descriptors(void *context, char *text, size_t size)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += unit_fd_is_open(fd);
	return n;
}

static int limit_of_cpu(void *context, char *text, size_t size)
{
	struct rlimit limit;
	sigset_t blocked;

	(void)sigprocmask(SIG_SETMASK, NULL, &blocked);
	/* SIGKILL, at the hard limit, would look as if memory had run out. */
	return getrlimit(RLIMIT_CPU, &limit) == 0 && !sigismember(&blocked, SIGXCPU) &&
			       limit.rlim_max > limit.rlim_cur
		       ? (int)limit.rlim_cur
		       : -1;
}

static void it_has_little(void **state)
{
	int fd = open("/dev/null", O_RDONLY);
	sigset_t blocked, before;

	assert_true(fd > 2);
	assert_int_equal(run(take_much, NULL), ENOMEM);
	assert_int_equal(run(write_much, NULL), EFBIG);
	assert_int_equal(run(count_descriptors, NULL), 3);
	assert_true(unit_fd_is_open(fd));
	close(fd);
	(void)sigfillset(&blocked);
	(void)sigprocmask(SIG_SETMASK, &blocked, &before);
	assert_int_equal(run(limit_of_cpu, NULL), 60);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
}

/* As a service manager may set them. */
static void lower_limits_stay(void **state)
{
	const struct rlimit low = {.rlim_cur = 2048, .rlim_max = 2048};
	int status, zero = 0;
	pid_t pid = fork();

	if (pid == 0)
		_exit(setrlimit(RLIMIT_FSIZE, &low) < 0 || run(answer, &zero) != 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static int say_parent(void *context, char *text, size_t size)
{
	int *pipe_of_test = context;

	return write(pipe_of_test[1], "x", 1) == 1 ? pause() : -EIO;
}

/* The child keeps the pipe as its standard output, so that its end can be waited for. */
static void it_ends_with_its_parent(void **state)
{
	int fds[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		int out[2] = {-1, STDOUT_FILENO};

		(void)dup2(fds[1], STDOUT_FILENO);
		close(fds[0]);
		close(fds[1]);
		(void)run(say_parent, out);
		_exit(0);
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(read(fds[0], &byte, 1), 0);
	close(fds[0]);
}

static void nothing_leaks(void **state)
{
	unsigned fds = unit_count_fds();
	int zero = 0;
	struct rlimit before;

	assert_int_equal(run(answer, &zero), 0);
	assert_int_equal(unit_count_fds(), fds);
	/* and without a descriptor there is none left behind that nobody waits for */
	before = unit_forbid_fds();
	assert_int_equal(run(answer, &zero), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_it_says_comes_back),
		cmocka_unit_test(a_text_without_an_end_is_cut),
		cmocka_unit_test(its_death_is_an_answer),
		cmocka_unit_test(it_does_not_wait_for_ever),
		cmocka_unit_test(it_has_little),
		cmocka_unit_test(lower_limits_stay),
		cmocka_unit_test(it_ends_with_its_parent),
		cmocka_unit_test(nothing_leaks),
	};

	return cmocka_run_group_tests_name("errand", tests, scratch_setup, scratch_teardown);
}
