/* SPDX-License-Identifier: GPL-2.0-only */
#include "sink.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* systemd names the journal's end of standard error in the environment: DEVICE:INODE. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat status;

	return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
	       fstat(STDERR_FILENO, &status) == 0 && status.st_dev == device &&
	       status.st_ino == inode;
}

void sink_stderr_write(const struct report *report)
{
	/* A terminal that is stopped must not keep the other sinks waiting. */
	struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};

	if (!stderr_is_journal() && poll(&ready, 1, 0) == 1 && ready.revents & POLLOUT)
		(void)dprintf(STDERR_FILENO, "holdfast: %s\n", report->text);
}
