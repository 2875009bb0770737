/* SPDX-License-Identifier: GPL-2.0-only */
#include "opener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of <linux/pidfd.h>, which has it since Linux 6.13. */
struct process_info {
	uint64_t mask;
	uint64_t cgroup;
	uint32_t pid, tgid, ppid;
	uint32_t ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
	int32_t exit_code;
};
_Static_assert(sizeof(struct process_info) == 64, "PIDFD_INFO_SIZE_VER0");

#define INFO_OF_PROCESS	  _IOWR(0xff, 11, struct process_info) /* PIDFD_GET_INFO */
#define INFO_HAS_ITS_USER (UINT64_C(1) << 1)		       /* PIDFD_INFO_CREDS */

static int opener_proc = -1; /* /proc, which nobody can put a mark in the way of */

int opener_init(void)
{
	opener_proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return opener_proc < 0 ? -errno : 0;
}

static bool opener_ask_uid(int32_t pid, uint32_t *ret_uid)
{
	struct process_info info = {.mask = INFO_HAS_ITS_USER};
	int fd = (int)syscall(SYS_pidfd_open, pid, 0), r;

	if (fd < 0)
		return false;
	r = ioctl(fd, INFO_OF_PROCESS, &info);
	close(fd);
	*ret_uid = info.euid;
	return r == 0 && info.mask & INFO_HAS_ITS_USER;
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

uint32_t opener_uid(int32_t pid)
{
	uint32_t uid;

	if (pid <= 0)
		return OPENER_UID_UNKNOWN;
	return opener_ask_uid(pid, &uid) ? uid : opener_read_uid(pid);
}

void opener_read(int32_t pid, struct opener *opener)
{
	opener->pid = pid;
	opener->uid = opener_uid(pid);
	opener->has_exe = false;
}

const char *opener_exe(struct opener *opener)
{
	char name[32];
	ssize_t n = -1;

	if (opener->has_exe)
		return opener->exe;
	(void)snprintf(name, sizeof(name), "%d/exe", opener->pid);
	if (opener->pid > 0)
		n = readlinkat(opener_proc, name, opener->exe, sizeof(opener->exe) - 1);
	opener->exe[n > 0 ? n : 0] = '\0';
	opener->has_exe = true;
	return opener->exe;
}

bool opener_exe_is_ours(struct opener *opener)
{
	struct stat theirs, ours;
	char name[32];

	(void)snprintf(name, sizeof(name), "%d/exe", opener->pid);
	return fstatat(opener_proc, name, &theirs, 0) == 0 &&
	       stat(opener_exe(opener), &ours) == 0 && theirs.st_dev == ours.st_dev &&
	       theirs.st_ino == ours.st_ino;
}
