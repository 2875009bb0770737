/* SPDX-License-Identifier: GPL-2.0-only */
#include "errand.h"

#include "clock.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the child leaves behind, in memory that both have. It may be anything by then. */
struct errand_answer {
	bool done;
	int result;
	char problem[1024];
};

static int errand_set_limit(int resource, uint64_t value)
{
	/* At the hard limit of CPU time the kernel sends SIGKILL, as when memory runs out; at the
	 * soft one SIGXCPU. */
	const rlim_t slack = resource == RLIMIT_CPU;
	struct rlimit limit = {.rlim_cur = (rlim_t)value, .rlim_max = (rlim_t)value + slack},
		      before;

	/* Only root may exceed what was set before. */
	if (getrlimit((__rlimit_resource_t)resource, &before) == 0 &&
	    limit.rlim_max > before.rlim_max)
		limit.rlim_max = before.rlim_max;
	if (limit.rlim_cur > limit.rlim_max)
		limit.rlim_cur = limit.rlim_max;
	return setrlimit((__rlimit_resource_t)resource, &limit) < 0 ? -errno : 0;
}

/* The sanitizers reserve terabytes of addresses, so the limit counts from what there is. */
static int errand_limit_memory(uint64_t max_memory)
{
	unsigned long long pages = 0;
	FILE *statm = fopen("/proc/self/statm", "re");
	int n;

	if (!statm)
		return -errno;
	n = fscanf(statm, "%llu", &pages);
	(void)fclose(statm);
	if (n != 1)
		return -EIO;
	return errand_set_limit(RLIMIT_AS, pages * (uint64_t)sysconf(_SC_PAGESIZE) + max_memory);
}

static int errand_set_limits(const struct errand *errand)
{
	int r = errand_set_limit(RLIMIT_CORE, 0);

	/* A file that is too long is an error where it is written, not the end. */
	(void)signal(SIGXFSZ, SIG_IGN);
	if (r == 0)
		r = errand_set_limit(RLIMIT_FSIZE, errand->max_file);
	if (r == 0)
		r = errand_set_limit(RLIMIT_CPU, errand->timeout_s);
	return r < 0 ? r : errand_limit_memory(errand->max_memory);
}

static _Noreturn void errand_child(const struct errand *errand, struct errand_answer *answer,
				   pid_t parent)
{
	sigset_t none;
	int r;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	/* Locks and channels are not its business. */
	if (close_range(STDERR_FILENO + 1, ~0u, 0) < 0)
		_exit(1);
	r = errand_set_limits(errand);
	if (r < 0)
		(void)snprintf(answer->problem, sizeof(answer->problem), "%s: its limits: %s",
			       errand->what, strerror(-r));
	else
		r = errand->run(errand->context, answer->problem, sizeof(answer->problem));
	answer->result = r;
	answer->done = true;
	_exit(0);
}

/* Returns 0 when the child has ended in time, else a negative errno, and it has been killed. */
static int errand_wait(pid_t pid, unsigned timeout_s, int *ret_status)
{
	const uint64_t deadline = clock_monotonic_us() + timeout_s * CLOCK_US_PER_SEC;
	struct pollfd end = {.fd = pidfd_open(pid, 0), .events = POLLIN};
	int n = -1, r = 0;

	while (end.fd >= 0) {
		const uint64_t now = clock_monotonic_us();

		n = poll(&end, 1,
			 now < deadline ? (int)((deadline - now) / CLOCK_US_PER_MS) + 1 : 0);
		if (n >= 0 || errno != EINTR)
			break;
	}
	if (n <= 0) {
		r = n == 0 ? -ETIMEDOUT : -errno;
		(void)kill(pid, SIGKILL);
	}
	if (end.fd >= 0)
		close(end.fd);
	while (waitpid(pid, ret_status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return r;
}

/* The child was not trusted before and is not now. */
static int errand_take_answer(const struct errand_answer *answer, char *problem,
			      size_t problem_size)
{
	(void)snprintf(problem, problem_size, "%.*s", (int)sizeof(answer->problem) - 1,
		       answer->problem);
	for (char *c = problem; *c; c++)
		if ((unsigned char)*c < ' ' || *c == '\177')
			*c = '?';
	return answer->result;
}

/* Why there is no answer. */
static int errand_explain(const struct errand *errand, int r, int status, char *problem,
			  size_t problem_size)
{
	const int signal = r == 0 && WIFSIGNALED(status) ? WTERMSIG(status) : 0;

	if (r == -ETIMEDOUT || signal == SIGXCPU) {
		(void)snprintf(problem, problem_size, "%s took longer than %u seconds",
			       errand->what, errand->timeout_s);
		return -ETIMEDOUT;
	}
	if (r < 0) {
		(void)snprintf(problem, problem_size, "%s: %s", errand->what, strerror(-r));
		return r;
	}
	if (signal == SIGKILL) {
		(void)snprintf(problem, problem_size,
			       "%s was killed; most likely there was not enough memory",
			       errand->what);
		return -ENOMEM;
	}
	(void)snprintf(problem, problem_size, "%s crashed%s%s", errand->what, signal ? ": " : "",
		       signal ? strsignal(signal) : "");
	return -EBADMSG;
}

int errand_run(const struct errand *errand, char *problem, size_t problem_size)
{
	struct errand_answer *answer = mmap(NULL, sizeof(*answer), PROT_READ | PROT_WRITE,
					    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	const pid_t parent = getpid();
	int r = 0, status = 0;
	pid_t pid;

	if (answer == MAP_FAILED) {
		r = -errno;
		return errand_explain(errand, r, 0, problem, problem_size);
	}
	pid = fork();
	if (pid == 0)
		errand_child(errand, answer, parent);
	r = pid < 0 ? -errno : errand_wait(pid, errand->timeout_s, &status);
	if (r == 0 && WIFEXITED(status) && answer->done)
		r = errand_take_answer(answer, problem, problem_size);
	else
		r = errand_explain(errand, r, status, problem, problem_size);
	(void)munmap(answer, sizeof(*answer));
	return r;
}
