/* SPDX-License-Identifier: GPL-2.0-only */
#include "opener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int opener_proc = -1; /* /proc, which nobody can put a mark in the way of */

int opener_init(void)
{
	opener_proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return opener_proc < 0 ? -errno : 0;
}

static uint32_t opener_read_uid(int32_t pid)
{
	char name[32],
		status[1024]; /* the Uid: line is the ninth; what stands before it is short */
	const char *line;
	uint32_t uid = OPENER_UID_UNKNOWN;
	ssize_t n = -1;
	int fd;

	(void)snprintf(name, sizeof(name), "%d/status", pid);
	fd = openat(opener_proc, name, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, status, sizeof(status) - 1);
		close(fd);
	}
	if (n <= 0)
		return OPENER_UID_UNKNOWN;

	/* The kernel escapes newlines in Name:, so only it can begin a line. Real uid, then
	 * effective. */
	status[n] = '\0';
	line = strstr(status, "\nUid:");
	if (!line || sscanf(line, "\nUid: %*u %u", &uid) != 1)
		return OPENER_UID_UNKNOWN;
	return uid;
}

void opener_read(int32_t pid, struct opener *opener)
{
	char name[32];
	ssize_t n = -1;

	opener->pid = pid;
	opener->uid = OPENER_UID_UNKNOWN;
	opener->exe[0] = '\0';
	if (pid <= 0)
		return;

	opener->uid = opener_read_uid(pid);
	(void)snprintf(name, sizeof(name), "%d/exe", pid);
	n = readlinkat(opener_proc, name, opener->exe, sizeof(opener->exe) - 1);
	opener->exe[n > 0 ? n : 0] = '\0';
}

bool opener_exe_is_ours(const struct opener *opener)
{
	struct stat theirs, ours;
	char name[32];

	(void)snprintf(name, sizeof(name), "%d/exe", opener->pid);
	return fstatat(opener_proc, name, &theirs, 0) == 0 && stat(opener->exe, &ours) == 0 &&
	       theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino;
}
