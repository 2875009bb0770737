/* SPDX-License-Identifier: GPL-2.0-only */
#include "worker.h"

#include "../common/chan.h"
#include "../common/clock.h"
#include "../common/sandbox.h"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

/* What malloc() gives back to the kernel is larger, in bytes. */
#define KEPT_AT_ONCE (4 << 20)

struct worker {
	const struct worker_tools *tools;
	int fd;
	unsigned alarm_seconds;
};

/*
 * Says in verdict what the file's content is, where that can be told, and that it is clean where it
 * is known. Whether what is hashed here is what is then scanned is for the guard to tell: it sees
 * who writes to the file meanwhile.
 */
static void worker_recognize(const struct worker_tools *tools, int file,
			     const struct wire_scan *scan, struct wire_verdict *verdict)
{
	struct content content = {.size = scan->size, .set = tools->set};

	/* Files that are too large are not scanned as a whole, and never clean. */
	if (!tools->contents || scan->size == 0 || scan->size > tools->max_file_size ||
	    !digest_file(tools->digest, file, scan->size, content.digest))
		return;
	memcpy(verdict->digest, content.digest, sizeof(verdict->digest));
	verdict->flags = WIRE_VERDICT_HASHED;
	if (!(scan->flags & WIRE_SCAN_AFRESH) && contents_has(tools->contents, &content)) {
		verdict->verdict = VERDICT_CLEAN;
		verdict->scanned = scan->size;
		verdict->flags |= WIRE_VERDICT_SAME_CONTENT;
	}
}

static int worker_take_scan(void *context, struct chan_message *message)
{
	const struct wire_scan *scan = (const void *)message;
	const struct worker *worker = context;
	struct wire_verdict verdict = {
		.header = WIRE_INIT(WIRE_VERDICT, struct wire_verdict),
		.id = scan->id,
	};
	uint64_t cpu = clock_read_us(CLOCK_PROCESS_CPUTIME_ID);
	int file = message->fd;

	/* libclamav looks at its time limit only now and then. The signal's default action ends
	 * us. */
	(void)alarm(worker->alarm_seconds);
	worker_recognize(worker->tools, file, scan, &verdict);
	if (!(verdict.flags & WIRE_VERDICT_SAME_CONTENT))
		clam_scan(worker->tools->clam, file, &verdict);
	(void)alarm(0);
	verdict.cpu_us = clock_read_us(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	close(file);

	return chan_send(worker->fd, &verdict.header, -1);
}

/* From a guard that has just taken over, and must know what is on its way from us. */
static int worker_take_ping(void *context, struct chan_message *message)
{
	const struct wire_question *question = (const void *)message;
	const struct wire_question answer = {
		.header = WIRE_INIT(WIRE_PONG, struct wire_question),
		.number = question->number,
	};

	return chan_send(((const struct worker *)context)->fd, &answer.header, -1);
}

static const struct chan_rule worker_rules[] = {
	{WIRE_PING, sizeof(struct wire_question), false, worker_take_ping},
	{WIRE_SCAN, sizeof(struct wire_scan), true, worker_take_scan},
	{0},
};

/* When memory runs out a worker is the least loss. The file belongs to root while we are not
 * dumpable. */
static void worker_volunteer_for_oom(void)
{
	int fd;

	(void)prctl(PR_SET_DUMPABLE, 1);
	fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "1000", 4) < 0)
		perror("holdfast-engine: oom_score_adj");
	if (fd >= 0)
		close(fd);
	(void)prctl(PR_SET_DUMPABLE, 0);
}

/*
 * With all signatures there are libclamav needs 2.4 MB for each scan, for a short time. To have
 * that back from the kernel each time, page by page, took a quarter of the time of a scan of a
 * small file.
 */
static void worker_keep_memory(void)
{
	(void)mallopt(M_MMAP_THRESHOLD, KEPT_AT_ONCE);
	(void)mallopt(M_TRIM_THRESHOLD, 2 * KEPT_AT_ONCE);
}

_Noreturn void worker_run(const struct worker_tools *tools, int fd, const char *scratch)
{
	struct worker worker = {
		.tools = tools,
		.fd = fd,
		.alarm_seconds =
			(unsigned)((tools->max_scan_time_ms + WORKER_ALARM_GRACE_MS + 999) / 1000),
	};
	sigset_t none;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)prctl(PR_SET_NAME, "holdfast-worker");
	worker_volunteer_for_oom();
	worker_keep_memory();

	if (clam_set_scratch(tools->clam, scratch) < 0 || sandbox_enter(scratch, NULL, 0) < 0)
		_exit(WORKER_NOT_CONFINED);

	while (chan_serve(fd, worker_rules, &worker) == 0)
		;
	_exit(0);
}
