/* SPDX-License-Identifier: GPL-2.0-only */
#include "priority.h"

#include "opener.h"

#include <errno.h>
#include <linux/ioprio.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Few schedulers of disks know of it, so it is not missed where it cannot be had. */
static void priority_set_io(int32_t pid, long priority)
{
	(void)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, pid, priority);
}

/* As ours: whoever starts the service may have given all of it another one than usual. */
static int priority_set_normal(int32_t pid)
{
	struct sched_param param = {0};
	int policy = sched_getscheduler(0);

	if (policy < 0 || sched_getparam(0, &param) < 0 ||
	    sched_setscheduler(pid, policy, &param) < 0)
		return -errno;
	priority_set_io(pid, syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0));
	return 0;
}

int priority_set(int32_t pid, uid_t uid, bool is_low)
{
	const struct sched_param none = {0};

	if (pid <= 0 || opener_uid(pid) != uid)
		return -ESRCH;
	if (!is_low)
		return priority_set_normal(pid);
	if (sched_setscheduler(pid, SCHED_IDLE, &none) < 0)
		return -errno;
	priority_set_io(pid, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0));
	return 0;
}
