/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * gate_fixture: a gate with a kernel, an engine and a clock of the test's own. The group's
 * descriptor is a socket on which the test writes events and reads answers; its marks are counted.
 * Needs
 * --wrap of group_init, group_ignore, group_forget, clock_gettime and priority_set.
 */
#include "../../../src/common/chan.h"
#include "../../../src/common/filesystem.h"
#include "../../../src/common/log.h"
#include "../../../src/guard/gate.h"
#include "../../../src/guard/opener.h"
#include "../../../src/guard/priority.h"
#include "../support/conf_fixture.h"
#include "../support/mount_fixture.h"
#include "../support/scratch.h"

#include <errno.h>
#include <signal.h>
#include <sys/fanotify.h>
#include <sys/socket.h>
#include <time.h>

#define SECOND UINT64_C(1000000)

/* Later than any file was changed, so that its times have settled. */
#define WALL_US (UINT64_C(5000000000) * SECOND)

/* Somebody's process that is always there, and not ours. */
#define OPENER_PID 1

#define WORKERS_MAX 4
#define DENIED_MAX  8

/* --- what the linker puts in the place of the real ones --- */

static struct {
	int kernels[GROUP_QUEUES]; /* the test's ends of the groups */
	int kernel;		   /* the one of the group that asks and is answered */
	uint64_t now_us;	   /* since the machine was started */
	uint64_t started_us;	   /* when that was */
	unsigned marks, unmarks;   /* on files */
	bool is_nice_withheld;	   /* CAP_SYS_NICE */
	unsigned n_priorities;	   /* that were set */
	int32_t low[16];	   /* processes at low priority; 0: none */
} fake;

int __wrap_group_init(struct group *group);
bool __wrap_group_ignore(struct group *group, int fd);
bool __wrap_group_forget(struct group *group, int fd);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time);
int __wrap_priority_set(int32_t pid, uid_t uid, bool is_low);

int __wrap_group_init(struct group *group)
{
	int ends[2];

	*group = (struct group){0};
	for (unsigned i = 0; i < GROUP_QUEUES; i++) {
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
			return -errno;
		group->queues[i].fd = ends[0];
		fake.kernels[i] = ends[1];
	}
	fake.kernel = fake.kernels[GROUP_UPPER];
	return 0;
}

bool __wrap_group_ignore(struct group *group, int fd)
{
	fake.marks++;
	return true;
}

bool __wrap_group_forget(struct group *group, int fd)
{
	fake.unmarks++;
	return true;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
	uint64_t now_us = clock == CLOCK_REALTIME ? fake.started_us + fake.now_us : fake.now_us;

	time->tv_sec = (time_t)(now_us / SECOND);
	time->tv_nsec = (long)(now_us % SECOND) * 1000;
	return 0;
}

/* The place of a process among those at low priority, or of none there. */
static inline unsigned fake_low(int32_t pid)
{
	unsigned i = 0;

	while (i < 15 && fake.low[i] != pid)
		i++;
	return i;
}

int __wrap_priority_set(int32_t pid, uid_t uid, bool is_low)
{
	fake.n_priorities++;
	if (fake.is_nice_withheld)
		return -EPERM;
	fake.low[fake_low(is_low ? 0 : pid)] = is_low ? pid : 0;
	return 0;
}

/* --- the fixture --- */

struct fake_worker {
	int fd; /* our end; -1: none */
	int32_t pid;
	uint64_t scan; /* what it was given to do; 0: nothing */
	uint64_t inode;
	struct wire_scan order; /* the last */
};

struct fixture {
	struct conf *conf;
	sd_event *event;
	struct outbox *outbox;
	int reporter; /* where findings arrive */
	struct estate *estate;
	struct gate gate;
	bool initialized; /* the gate */
	int engine;	  /* our end; -1: none */
	int contents;	  /* the table that it was sent; -1: none */
	struct fake_worker workers[WORKERS_MAX];
	struct {
		int32_t pid;
		struct file_id id;
		struct wire_verdict verdict;
	} denied[DENIED_MAX];
	unsigned n_denied;
};

/* What none of the tests can do without. */
static inline bool can_run(void)
{
	const rlim_t needed = 16384;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < needed) {
		limit.rlim_cur = needed;
		if (limit.rlim_max < needed)
			limit.rlim_max = needed;
		if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
			print_message("skipped: 16384 descriptors are not allowed\n");
			return false;
		}
	}
	if (file_init() < 0 || opener_init() < 0) {
		print_message("skipped: /proc is not mounted\n");
		return false;
	}
	return true;
}

static inline int fixture_group_setup(void **state)
{
	if (scratch_setup(state) < 0)
		return -1;
	scratch_write("file", "content", 7);
	scratch_write("other", "content", 7);
	scratch_write("third", "content", 7);
	scratch_write("fourth", "content", 7);
	scratch_write("empty", "", 0);
	return mkdir("out", 0755);
}

static inline void fixture_ignore(void *context)
{
}

static inline void fixture_denied(void *context, int32_t pid, struct file_id id,
				  const struct wire_verdict *verdict)
{
	struct fixture *fixture = context;

	assert_true(fixture->n_denied < DENIED_MAX);
	fixture->denied[fixture->n_denied].pid = pid;
	fixture->denied[fixture->n_denied].id = id;
	fixture->denied[fixture->n_denied++].verdict = *verdict;
}

static inline int fixture_init(struct fixture *fixture)
{
	static const struct gate_callbacks owner = {
		.progress = fixture_ignore, .switched = fixture_ignore, .denied = fixture_denied};
	const char *what;
	int ends[2];

	*fixture = (struct fixture){.conf = conf_new(), .engine = -1, .contents = -1};
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		fixture->workers[i].fd = -1;
	fake.now_us = 1000000 * SECOND;
	fake.started_us = WALL_US;
	fake.marks = fake.unmarks = fake.n_priorities = 0;
	fake.is_nice_withheld = false;
	memset(fake.low, 0, sizeof(fake.low));
	fixture->outbox = outbox_new(16);
	if (!fixture->conf || !fixture->outbox || chan_pair(ends) < 0 ||
	    sd_event_new(&fixture->event) < 0)
		return -1;
	outbox_connect(fixture->outbox, ends[0]);
	fixture->reporter = ends[1];
	fixture->conf->uid = 4294967294u; /* nobody's */
	conf_fixture_set(fixture->conf, "on-access", "include", scratch);
	fixture->estate = estate_new(&what);
	if (!fixture->estate || gate_init(&fixture->gate, fixture->estate, fixture->event,
					  fixture->outbox, &owner, fixture, &what) < 0)
		return -1;
	fixture->initialized = true;
	if (mount_fixture_read(&fixture->gate.watch.mounts) < 0 ||
	    gate_set_conf(&fixture->gate, fixture->conf) < 0)
		return -1;
	gate_start(&fixture->gate);
	return 0;
}

static inline void lose(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static inline void fixture_deinit(struct fixture *fixture)
{
	if (fixture->initialized)
		gate_deinit(&fixture->gate);
	(void)estate_free(fixture->estate);
	lose(&fixture->engine);
	lose(&fixture->contents);
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		lose(&fixture->workers[i].fd);
	for (unsigned i = 0; i < GROUP_QUEUES; i++)
		close(fake.kernels[i]);
	close(fixture->reporter);
	outbox_free(fixture->outbox);
	sd_event_unref(fixture->event);
	conf_free(fixture->conf);
}

/* Lets the gate do what there is to do. The timer may come round again and again: the clock it
 * goes by is not the test's. */
/* Until nothing more happens, and the visitor has nothing to open. */
static inline void run(struct fixture *fixture)
{
	for (unsigned i = 0; i < 50; i++)
		assert_true(sd_event_run(fixture->event, 0) >= 0);
	while (fixture->gate.is_opening) {
		assert_true(sd_event_run(fixture->event, 10 * SECOND) > 0);
		for (unsigned i = 0; i < 50; i++)
			assert_true(sd_event_run(fixture->event, 0) >= 0);
	}
}

/* The timer goes by the real clock, so it is made due by hand. */
static inline void pass_time(struct fixture *fixture, uint64_t us)
{
	fake.now_us += us;
	assert_true(sd_event_source_set_time(fixture->gate.sweeper, 0) >= 0);
	run(fixture);
}

/* The same for what was written. */
static inline void pass_ahead(struct fixture *fixture, uint64_t us)
{
	fake.now_us += us;
	assert_true(sd_event_source_set_time(fixture->gate.ahead_timer, 0) >= 0);
	run(fixture);
}

static inline void set(struct fixture *fixture, const char *key, const char *value)
{
	conf_fixture_set(fixture->conf, "on-access", key, value);
}

static inline struct mount *scratch_mount(struct fixture *fixture)
{
	struct mounts *mounts = &fixture->gate.watch.mounts;

	return &mounts->mounts[mount_fixture_index(mounts, scratch)];
}

/* What is verified is remembered where times tell of each change. */
static inline void memory_or_skip(struct fixture *fixture)
{
	if (geteuid() == 0 && filesystem_keeps_times(scratch_mount(fixture)->type))
		return;
	print_message("skipped: nothing is remembered of files on %s, or of files of others than "
		      "root\n",
		      scratch_mount(fixture)->type);
	skip();
}

/* As if what the files are on were marked. */
static inline void watch_scratch(struct fixture *fixture)
{
	struct watch *watch = &fixture->gate.watch;

	watch->marks = calloc(1, sizeof(*watch->marks));
	assert_non_null(watch->marks);
	watch->n_marks = 1;
	watch->marks[0].device = scratch_mount(fixture)->device;
}

static inline uint64_t inode_of(const char *name)
{
	struct stat status;

	assert_int_equal(stat(name, &status), 0);
	return status.st_ino;
}

/* --- the kernel --- */

/* The kernel tells of a file, by one of its ends; the guard has not read it yet. Returns the
 * descriptor that the kernel would know the event by. */
static inline int tell(int kernel, uint64_t mask, const char *name, int32_t pid)
{
	const struct fanotify_event_metadata metadata = {
		.event_len = FAN_EVENT_METADATA_LEN,
		.vers = FANOTIFY_METADATA_VERSION,
		.metadata_len = FAN_EVENT_METADATA_LEN,
		.mask = mask,
		.fd = open(name, O_RDONLY | O_CLOEXEC),
		.pid = pid,
	};

	assert_true(metadata.fd >= 0);
	assert_int_equal(write(kernel, &metadata, sizeof(metadata)), sizeof(metadata));
	return metadata.fd;
}

/* Somebody opens a file. */
static inline int open_by(struct fixture *fixture, const char *name, int32_t pid)
{
	int fd = tell(fake.kernel, FAN_OPEN_PERM, name, pid);

	run(fixture);
	return fd;
}

static inline int open_file(struct fixture *fixture, const char *name)
{
	return open_by(fixture, name, OPENER_PID);
}

/* Somebody closes a file that he could write to. */
static inline void close_written(struct fixture *fixture, const char *name)
{
	(void)tell(fake.kernel, FAN_CLOSE_WRITE, name, OPENER_PID);
	run(fixture);
}

/* The kernel has lost events. */
static inline void overflow(struct fixture *fixture)
{
	const struct fanotify_event_metadata metadata = {
		.event_len = FAN_EVENT_METADATA_LEN,
		.vers = FANOTIFY_METADATA_VERSION,
		.metadata_len = FAN_EVENT_METADATA_LEN,
		.mask = FAN_Q_OVERFLOW,
		.fd = FAN_NOFD,
	};

	assert_int_equal(write(fake.kernel, &metadata, sizeof(metadata)), sizeof(metadata));
	run(fixture);
}

static inline void assert_held(int fd)
{
	struct fanotify_response response;

	assert_int_equal(recv(fake.kernel, &response, sizeof(response), MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
	assert_true(unit_fd_is_open(fd));
}

/* This open is answered now, and no other. */
static inline void assert_answered(int fd, bool allow)
{
	struct fanotify_response response = {0};

	assert_int_equal(recv(fake.kernel, &response, sizeof(response), MSG_DONTWAIT),
			 sizeof(response));
	assert_int_equal(response.fd, fd);
	assert_int_equal(response.response, allow ? FAN_ALLOW : FAN_DENY);
	assert_false(unit_fd_is_open(fd));
}

static inline void assert_no_more_answers(void)
{
	assert_held(0);
}

/* --- an engine --- */

/* Returns its index. */
static inline unsigned start_worker(struct fixture *fixture)
{
	static int32_t pid = 4242;
	const struct wire_worker message = {.header = WIRE_INIT(WIRE_WORKER, struct wire_worker),
					    .pid = pid++};
	unsigned i = 0;
	int ends[2];

	while (fixture->workers[i].fd >= 0)
		assert_true(++i < WORKERS_MAX);
	assert_int_equal(chan_pair(ends), 0);
	assert_int_equal(chan_send(fixture->engine, &message.header, ends[0]), 0);
	close(ends[0]);
	fixture->workers[i] = (struct fake_worker){.fd = ends[1], .pid = message.pid};
	run(fixture);
	return i;
}

/* A worker has gone; its engine has said nothing yet. */
static inline void drop_worker(struct fixture *fixture, unsigned i)
{
	lose(&fixture->workers[i].fd);
	fixture->workers[i].scan = 0;
	run(fixture);
}

/* Its engine says how it ended. 0: of itself. */
static inline void tell_end(struct fixture *fixture, unsigned i, int32_t number)
{
	const struct wire_worker_ended message = {
		.header = WIRE_INIT(WIRE_WORKER_ENDED, struct wire_worker_ended),
		.pid = fixture->workers[i].pid,
		.signal = number,
	};

	assert_int_equal(chan_send(fixture->engine, &message.header, -1), 0);
	run(fixture);
}

/* A worker is ended by a signal, as its engine says if there is one. */
static inline void lose_worker_by(struct fixture *fixture, unsigned i, int32_t number)
{
	drop_worker(fixture, i);
	if (fixture->engine >= 0)
		tell_end(fixture, i, number);
}

/* A worker crashes. */
static inline void lose_worker(struct fixture *fixture, unsigned i)
{
	lose_worker_by(fixture, i, SIGSEGV);
}

static inline int take_contents(void *context, struct chan_message *message)
{
	struct fixture *fixture = context;

	lose(&fixture->contents);
	fixture->contents = message->fd;
	return 0;
}

/* The engine hears of the table of contents, if there is anything to hear. */
static inline void hear_of_contents(struct fixture *fixture)
{
	static const struct chan_rule rules[] = {
		{WIRE_CONTENTS, sizeof(struct wire_plain), true, take_contents},
		{WIRE_NO_CONTENTS, sizeof(struct wire_plain), false, take_contents},
		{0}};

	while (chan_readable(fixture->engine))
		assert_int_equal(chan_serve(fixture->engine, rules, fixture), 0);
}

/* An engine with these signatures and one worker, the first. It takes the place of the one before,
 * which must be idle. */
static inline void start_engine_with(struct fixture *fixture, const struct wire_engine_info *info)
{
	int ends[2], before = fixture->engine;

	for (unsigned i = 0; i < WORKERS_MAX; i++)
		lose(&fixture->workers[i].fd);
	assert_int_equal(chan_pair(ends), 0);
	assert_int_equal(pool_add_engine(fixture->gate.pool, ends[0], 76 + (int32_t)info->set), 0);
	fixture->engine = ends[1];
	hear_of_contents(fixture);
	assert_int_equal(chan_send(fixture->engine, &info->header, -1), 0);
	start_worker(fixture);
	lose(&before);
}

static inline void start_engine(struct fixture *fixture)
{
	const struct wire_engine_info info = {
		.header = WIRE_INIT(WIRE_ENGINE_INFO, struct wire_engine_info),
		.scan_deadline_ms = 60000,
		.set = 1,
		.workers = 1,
	};

	start_engine_with(fixture, &info);
}

static inline int take_scan(void *context, struct chan_message *message)
{
	struct fake_worker *worker = context;
	struct stat status;

	worker->order = *(const struct wire_scan *)(const void *)message;
	worker->scan = worker->order.id;
	assert_int_equal(fstat(message->fd, &status), 0);
	worker->inode = status.st_ino;
	close(message->fd);
	return 0;
}

/* Which file a worker is scanning. 0: none. */
static inline uint64_t scanned_by(struct fixture *fixture, unsigned i)
{
	static const struct chan_rule rules[] = {
		{WIRE_SCAN, sizeof(struct wire_scan), true, take_scan}, {0}};
	struct fake_worker *worker = &fixture->workers[i];

	if (!worker->scan && chan_readable(worker->fd))
		assert_int_equal(chan_serve(worker->fd, rules, worker), 0);
	return worker->scan ? worker->inode : 0;
}

/* What a worker says of the file that it was given. */
static inline void answer_by(struct fixture *fixture, unsigned i, struct wire_verdict message)
{
	assert_int_not_equal(scanned_by(fixture, i), 0);
	message.id = fixture->workers[i].scan;
	fixture->workers[i].scan = 0;
	assert_int_equal(chan_send(fixture->workers[i].fd, &message.header, -1), 0);
	run(fixture);
}

static inline void verdict_by(struct fixture *fixture, unsigned i, enum verdict verdict,
			      const char *reason)
{
	answer_by(fixture, i, wire_verdict_make(verdict, reason));
}

/* The same for the first worker. */
static inline uint64_t next_scan(struct fixture *fixture)
{
	return scanned_by(fixture, 0);
}

static inline void send_verdict(struct fixture *fixture, enum verdict verdict, const char *reason)
{
	verdict_by(fixture, 0, verdict, reason);
}

/* Its complaints about files that could not be scanned are not for whoever runs this. */
static inline void silent(void *context, int priority, const char *text)
{
}
