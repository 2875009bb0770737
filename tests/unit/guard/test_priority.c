/* SPDX-License-Identifier: GPL-2.0-only */
/* On a process of the test's own, with the kernel that is there. */
#include "../../../src/guard/opener.h"
#include "../../../src/guard/priority.h"
#include "../support/unit.h"

#include <errno.h>
#include <linux/ioprio.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int setup(void **state)
{
	static pid_t child;

	if (opener_init() < 0)
		return -1;
	child = fork();
	if (child == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			(void)pause();
	}
	*state = &child;
	return child < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	const pid_t *child = *state;

	(void)kill(*child, SIGKILL);
	return waitpid(*child, NULL, 0) == *child ? 0 : -1;
}

static bool is_idle(pid_t pid)
{
	long io = syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, pid);
	bool has_idle_io = IOPRIO_PRIO_CLASS(io) == IOPRIO_CLASS_IDLE,
	     has_idle_cpu = sched_getscheduler(pid) == SCHED_IDLE;

	assert_int_equal(has_idle_io, has_idle_cpu);
	return has_idle_cpu;
}

static void a_process_gets_low_priority_and_ours_again(void **state)
{
	const pid_t *child = *state;
	int r;

	assert_false(is_idle(*child));
	assert_int_equal(priority_set(*child, geteuid(), true), 0);
	assert_true(is_idle(*child));
	r = priority_set(*child, geteuid(), false);
	if (r == -EPERM) {
		print_message("skipped: no CAP_SYS_NICE here\n");
		skip();
	}
	assert_int_equal(r, 0);
	assert_false(is_idle(*child));
	assert_int_equal(sched_getscheduler(*child), sched_getscheduler(0));
	assert_int_equal(syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, *child),
			 syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0));
}

static void processes_of_others_are_left_alone(void **state)
{
	const pid_t *child = *state;

	assert_int_equal(priority_set(*child, geteuid() + 1, true), -ESRCH);
	assert_false(is_idle(*child));
	/* 0 and less would mean ourselves, or many. */
	assert_int_equal(priority_set(0, geteuid(), true), -ESRCH);
	assert_int_equal(priority_set(-*child, geteuid(), true), -ESRCH);
	assert_false(is_idle(0));
}

static void one_that_has_gone_is_not_missed(void **state)
{
	pid_t gone = fork();

	if (gone == 0)
		_exit(0);
	assert_int_equal(waitpid(gone, NULL, 0), gone);
	assert_int_equal(priority_set(gone, geteuid(), true), -ESRCH);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_process_gets_low_priority_and_ours_again),
		TEST(processes_of_others_are_left_alone),
		TEST(one_that_has_gone_is_not_missed),
	};

	return cmocka_run_group_tests_name("priority", tests, NULL, NULL);
}
