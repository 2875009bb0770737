/* SPDX-License-Identifier: GPL-2.0-only */
#include "standby.h"

#include "../common/chan.h"
#include "guard.h"

#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

struct standby {
	int channel;
	pid_t supervisor;
	struct estate *estate;
	bool takes_over;
	struct wire_take_over order;
};

static void standby_say(const struct standby *standby, const struct wire_header *message)
{
	(void)chan_send(standby->channel, message, -1);
}

static int standby_take_ping(void *context, struct chan_message *message)
{
	chan_pong(((const struct standby *)context)->channel);
	return 0;
}

/*
 * As fork() does it, but for CLONE_FILES and CLONE_PARENT. There is one thread here, so no lock of
 * the C library can be held; what else fork() sees to is that the library knows the child's thread
 * id, which the kernel writes to where it was told at start.
 */
static pid_t standby_fork(void)
{
	pid_t *id = NULL;
	unsigned long flags = CLONE_FILES | CLONE_PARENT | SIGCHLD;

	if (prctl(PR_GET_TID_ADDRESS, &id) == 0 && id)
		flags |= CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
	return (pid_t)syscall(SYS_clone, flags, NULL, NULL, id, 0);
}

/* What a process gets no share of by being cloned. */
static void standby_be_born(struct standby *standby, struct estate_member *member)
{
	const struct wire_standby hello = {
		.header = WIRE_INIT(WIRE_STANDBY, struct wire_standby),
		.pid = getpid(),
	};

	standby->channel = member->channel;
	(void)setpgid(0, 0);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != standby->supervisor)
		_exit(1);
	(void)mlockall(MCL_CURRENT | MCL_FUTURE);
	standby_say(standby, &hello.header);
}

/* Does it in the clone as well, which goes on from here with its own channel. */
static int standby_take_clone(void *context, struct chan_message *message)
{
	struct standby *standby = context;
	struct estate_member *member;
	pid_t pid;

	member = estate_enter(standby->estate, message->fd);
	if (!member) {
		close(message->fd);
		return 0;
	}
	pid = standby_fork();
	if (pid == 0) {
		standby_be_born(standby, member);
	} else if (pid < 0) {
		/* The supervisor sees the end of that channel. */
		member->channel = 0;
		close(message->fd);
	}
	return 0;
}

static int standby_take_over(void *context, struct chan_message *message)
{
	struct standby *standby = context;

	standby->takes_over = true;
	standby->order = *(const struct wire_take_over *)(const void *)message;
	return 0;
}

static const struct chan_rule standby_rules[] = {
	{WIRE_PING, sizeof(struct wire_plain), false, standby_take_ping},
	{WIRE_CLONE, sizeof(struct wire_plain), true, standby_take_clone},
	{WIRE_TAKE_OVER, sizeof(struct wire_take_over), false, standby_take_over},
	{0},
};

static struct estate *standby_make_estate(const struct standby *standby)
{
	const char *what;
	struct estate *estate = estate_new(&what);
	char problem[WIRE_TEXT_MAX];
	struct wire_result failed;

	if (estate) {
		(void)estate_enter(estate, standby->channel);
		return estate;
	}
	(void)snprintf(problem, sizeof(problem), "the guard cannot start: %s: %s", what,
		       strerror(errno));
	failed = wire_result_make(WIRE_FAILED, problem);
	standby_say(standby, &failed.header);
	return NULL;
}

int standby_run(int channel)
{
	struct standby standby = {.channel = channel, .supervisor = getppid()};

	(void)prctl(PR_SET_NAME, "holdfast-stdby");
	standby.estate = standby_make_estate(&standby);
	if (!standby.estate)
		return 1;
	while (!standby.takes_over)
		if (chan_serve(standby.channel, standby_rules, &standby) < 0)
			return 0;
	(void)prctl(PR_SET_NAME, "holdfast-guard");
	return guard_run(standby.channel, standby.estate, &standby.order);
}
