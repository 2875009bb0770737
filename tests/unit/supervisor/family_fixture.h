/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * family_fixture: the whole supervisor with sockets in the place of its children. A test is a
 * function that runs where the supervisor's loop would; when it returns the service stops. What
 * children hear is written down, they end when they are killed, and what the supervisor waits for
 * comes from here. Needs --wrap of child_start, clock_gettime, kill, log_set_sink, sd_event_loop,
 * service_spawn_current, sigtimedwait and waitpid.
 */
#include "../../../src/common/chan.h"
#include "../../../src/common/log.h"
#include "../../../src/supervisor/service.h"
#include "../../../src/supervisor/supervisor.h"
#include "../support/conf_fixture.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <utlist.h>

#define SECOND UINT64_C(1000000)

#define PROCESSES_MAX 128
#define CLONES_MAX    4
#define FIRST_PID     1000

/* What waitpid() says. */
#define ENDED_BY(number)   (number)
#define ENDED_WITH(code)   ((code) << 8)
#define STOPPED_BY(number) ((number) << 8 | 0x7f)

struct process {
	enum child_role role; /* that it was started as */
	pid_t pid;
	int channel;	 /* its end; -1: closed */
	char heard[256]; /* what it was told, in this order */
	struct wire_take_over order;
	int clones[CLONES_MAX]; /* the channels of those that it is to make */
	unsigned n_clones;
	unsigned kills;
	int status;	/* of its end, or that it was stopped; 0: nothing */
	bool is_silent; /* answers no questions */
	bool is_stuck;	/* does not end when it is killed */
	bool has_ended; /* and the supervisor was told */
};

static struct service *service;
static struct process processes[PROCESSES_MAX];
static unsigned n_processes;
static uint64_t now_us;
static char lines[65536]; /* the log */
static void (*scenario)(void);

pid_t __wrap_child_start(const struct child_setup *setup, enum child_role role,
			 const struct conf *conf, int *ret_channel);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time);
int __wrap_kill(pid_t pid, int number);
void __wrap_log_set_sink(log_sink sink, void *context);
void __real_log_set_sink(log_sink sink, void *context);
int __wrap_sd_event_loop(sd_event *event);
void __wrap_service_spawn_current(struct service *owner, enum child_role role);
void __real_service_spawn_current(struct service *owner, enum child_role role);
int __wrap_sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *timeout);
pid_t __wrap_waitpid(pid_t pid, int *status, int options);

/* --- children --- */

static inline struct process *process_new(enum child_role role, int channel)
{
	struct process *process = &processes[n_processes];

	assert_true(n_processes < PROCESSES_MAX);
	*process = (struct process){
		.role = role, .pid = FIRST_PID + (pid_t)n_processes++, .channel = channel};
	return process;
}

static inline struct process *process_of(pid_t pid)
{
	assert_true(pid >= FIRST_PID && pid < FIRST_PID + (pid_t)n_processes);
	return &processes[pid - FIRST_PID];
}

static inline void process_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static inline void process_end(struct process *process)
{
	process->has_ended = true;
	process_close(&process->channel);
	for (unsigned i = 0; i < process->n_clones; i++)
		process_close(&process->clones[i]);
}

static inline const char *process_name_of(uint16_t type)
{
	static const char *const names[WIRE_TYPE_COUNT] = {
		[WIRE_CONFIG] = "config", [WIRE_PEER] = "peer",
		[WIRE_PING] = "ping",	  [WIRE_HISTORY] = "history",
		[WIRE_CLONE] = "clone",	  [WIRE_TAKE_OVER] = "take-over",
		[WIRE_FETCH] = "fetch",	  [WIRE_RELEASE] = "release",
	};

	return names[type] ? names[type] : "?";
}

static inline void process_say(struct process *process, const struct wire_header *message)
{
	/* It may not know yet that nobody listens. */
	(void)chan_send(process->channel, message, -1);
}

/* Says nothing of questions: those are counted by who does not answer. */
static inline void process_hear(struct process *process, const struct wire_header *header, int fd)
{
	const struct wire_plain pong = {.header = WIRE_INIT(WIRE_PONG, struct wire_plain)};
	size_t used = strlen(process->heard);

	if (header->type == WIRE_CLONE) {
		assert_true(process->n_clones < CLONES_MAX);
		assert_false(service->stopping);
		process->clones[process->n_clones++] = fd;
	} else if (fd >= 0) {
		close(fd);
	}
	if (header->type == WIRE_TAKE_OVER)
		process->order = *(const struct wire_take_over *)(const void *)header;
	if (header->type == WIRE_PING && !process->is_silent)
		process_say(process, &pong.header);
	else
		(void)snprintf(process->heard + used, sizeof(process->heard) - used, "%s%s",
			       used ? " " : "", process_name_of(header->type));
}

/* Whether there was something to read. */
static inline bool process_read(struct process *process)
{
	union {
		struct wire_header header;
		char bytes[WIRE_MESSAGE_MAX];
	} message;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {.iov_base = &message, .iov_len = sizeof(message)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *cmsg;
	int fd = -1;
	ssize_t n = recvmsg(process->channel, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n < 0)
		return false;
	if (n == 0) {
		/* The supervisor wants it to end. */
		process_close(&process->channel);
		if (!process->is_stuck)
			process->status = ENDED_WITH(0) | 1 << 16;
		return true;
	}
	cmsg = CMSG_FIRSTHDR(&msg);
	if (cmsg && cmsg->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
	process_hear(process, &message.header, fd);
	return true;
}

/* --- what the linker puts in the place of the real ones --- */

pid_t __wrap_child_start(const struct child_setup *setup, enum child_role role,
			 const struct conf *conf, int *ret_channel)
{
	int ends[2];

	assert_int_equal(chan_pair(ends), 0);
	*ret_channel = ends[0];
	return process_new(role, ends[1])->pid;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
	time->tv_sec = (time_t)(now_us / SECOND);
	time->tv_nsec = (long)(now_us % SECOND) * 1000;
	return 0;
}

int __wrap_kill(pid_t pid, int number)
{
	struct process *process;

	assert_int_equal(number, SIGKILL);
	/* These would be the supervisor's own group, and everybody. */
	assert_int_not_equal(pid, 0);
	assert_int_not_equal(pid, -1);
	process = process_of(pid < 0 ? -pid : pid);
	if (process->has_ended)
		return 0;
	process->kills++;
	if (!process->is_stuck)
		process->status = ENDED_BY(SIGKILL);
	return 0;
}

void __wrap_log_set_sink(log_sink sink, void *context)
{
}

void __wrap_service_spawn_current(struct service *owner, enum child_role role)
{
	service = owner;
	__real_service_spawn_current(owner, role);
}

int __wrap_sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *timeout)
{
	now_us += SECOND / 10;
	for (unsigned i = 0; i < n_processes; i++)
		while (processes[i].channel >= 0 && process_read(&processes[i]))
			;
	return SIGCHLD;
}

/* In the order in which they were started, as the kernel does. */
pid_t __wrap_waitpid(pid_t pid, int *status, int options)
{
	for (unsigned i = 0; i < n_processes; i++) {
		struct process *process = &processes[i];

		if (!process->status || process->has_ended)
			continue;
		*status = process->status & 0xffff;
		process->status = 0;
		if (WIFSTOPPED(*status) && !(options & WUNTRACED))
			continue;
		if (!WIFSTOPPED(*status))
			process_end(process);
		return process->pid;
	}
	return 0;
}

static inline void collect(void *context, int priority, const char *text)
{
	size_t used = strlen(lines);

	(void)snprintf(lines + used, sizeof(lines) - used, "%s\n", text);
}

/* --- what a test does --- */

/* Everybody does what there is to do. */
static inline void run(void)
{
	bool is_busy = true;

	while (is_busy) {
		is_busy = false;
		while (sd_event_run(service->event, 0) > 0)
			;
		for (unsigned i = 0; i < n_processes; i++) {
			while (processes[i].channel >= 0 && process_read(&processes[i]))
				is_busy = true;
			if (processes[i].status && !processes[i].has_ended)
				is_busy = raise(SIGCHLD) == 0;
		}
	}
}

/* What a process was told since this was asked last. */
static inline const char *told(struct process *process)
{
	static char heard[sizeof(process->heard)];

	memcpy(heard, process->heard, sizeof(heard));
	process->heard[0] = '\0';
	return heard;
}

static inline bool logged(const char *text)
{
	bool found = strstr(lines, text);

	lines[0] = '\0';
	return found;
}

/* The process that is in the place of a role's program now; NULL: none. */
static inline struct process *current(enum child_role role)
{
	struct child *child = service->current[role];

	return child ? process_of(child->pid) : NULL;
}

/* The standbys that are there, the oldest first; NULL: there are not so many. */
static inline struct process *standby(unsigned index)
{
	struct child *child;

	DL_FOREACH (service->children, child)
		if (child->role == CHILD_STANDBY && child->pid && !child->ending && !index--)
			return process_of(child->pid);
	return NULL;
}

static inline unsigned count_standbys(void)
{
	unsigned n = 0;

	while (standby(n))
		n++;
	return n;
}

static inline unsigned count_started(enum child_role role)
{
	unsigned n = 0;

	for (unsigned i = 0; i < n_processes; i++)
		n += processes[i].role == role;
	return n;
}

static inline void say_result(struct process *process, enum wire_type type, const char *text)
{
	const struct wire_result result = wire_result_make(type, text);

	process_say(process, &result.header);
	run();
}

static inline void say_ready(struct process *process)
{
	say_result(process, WIRE_READY, "");
}

static inline void say_born(struct process *process, pid_t pid)
{
	const struct wire_standby hello = {.header = WIRE_INIT(WIRE_STANDBY, struct wire_standby),
					   .pid = pid};

	process_say(process, &hello.header);
}

/* A process makes what it was told to first. Returns the clone, which has said nothing yet. */
static inline struct process *make_silently(struct process *maker)
{
	struct process *clone;

	assert_true(maker->n_clones > 0);
	clone = process_new(CHILD_STANDBY, maker->clones[0]);
	for (unsigned i = 1; i < maker->n_clones; i++)
		maker->clones[i - 1] = maker->clones[i];
	maker->n_clones--;
	return clone;
}

static inline struct process *make(struct process *maker)
{
	struct process *clone = make_silently(maker);

	say_born(clone, clone->pid);
	run();
	return clone;
}

/* A process ends, and the supervisor hears of it with the next run(). */
static inline void die(struct process *process, int status)
{
	assert_non_null(process);
	process->status = status;
}

static inline void lose(struct process *process, int status)
{
	die(process, status);
	run();
}

/* So many heartbeats. */
static inline void tick(unsigned n)
{
	while (n-- > 0) {
		now_us += heartbeat_interval_us(service);
		heartbeat_tick(service);
		run();
	}
}

/* Whoever was told to make standbys does, and the guard begins to work. */
static inline void settle(void)
{
	for (unsigned i = 0; i < n_processes; i++)
		while (!processes[i].has_ended && processes[i].n_clones)
			(void)make(&processes[i]);
	if (current(CHILD_GUARD) && !service->current[CHILD_GUARD]->ready)
		say_ready(current(CHILD_GUARD));
	for (unsigned i = 0; i < n_processes; i++)
		while (!processes[i].has_ended && processes[i].n_clones)
			(void)make(&processes[i]);
}

static inline void forget_what_was_said(void)
{
	for (unsigned i = 0; i < n_processes; i++)
		processes[i].heard[0] = '\0';
	lines[0] = '\0';
}

/* The service protects, and two stand by. */
static inline void protect(void)
{
	settle();
	assert_true(service->protecting);
	assert_int_equal(count_standbys(), 2);
	forget_what_was_said();
}

/* --- from the start of the service to its stop --- */

/* The guard has been started, and has done nothing yet. */
int __wrap_sd_event_loop(sd_event *event)
{
	run();
	say_ready(current(CHILD_REPORTER));
	say_ready(current(CHILD_ENGINE));
	assert_non_null(current(CHILD_GUARD));
	lines[0] = '\0';
	scenario();
	return 0;
}

static inline void run_scenario(void **state)
{
	static const struct child_setup child_setup;
	static struct supervisor_files files;
	struct conf *conf = conf_new();

	assert_non_null(conf);
	scenario = *(void (**)(void)) * state;
	service = NULL;
	n_processes = 0;
	now_us = 1000000 * SECOND;
	lines[0] = '\0';
	files = (struct supervisor_files){.changes = -1, .memory.meminfo = -1};
	__real_log_set_sink(collect, NULL);
	(void)supervisor_run(conf, &child_setup, &files);
	__real_log_set_sink(NULL, NULL);
	for (unsigned i = 0; i < n_processes; i++)
		if (!processes[i].has_ended && !processes[i].is_stuck)
			fail_msg("process %u is left over", i);
}

#define SCENARIO(function)                                                                         \
	{                                                                                          \
		.name = #function, .test_func = run_scenario, .initial_state = &(struct scenario)  \
		{                                                                                  \
			function                                                                   \
		}                                                                                  \
	}

struct scenario {
	void (*run)(void);
};
