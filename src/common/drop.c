/* SPDX-License-Identifier: GPL-2.0-only */
#include "drop.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int drop_capabilities(const int *keep, size_t n, const int *bounding, size_t n_bounding)
{
	capng_clear(CAPNG_SELECT_ALL);
	for (size_t i = 0; i < n; i++)
		if (capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, (unsigned)keep[i]) <
		    0)
			return -EINVAL;
	for (size_t i = 0; i < n_bounding; i++)
		if (capng_update(CAPNG_ADD, CAPNG_BOUNDING_SET, (unsigned)bounding[i]) < 0)
			return -EINVAL;
	return capng_apply(CAPNG_SELECT_ALL) < 0 ? -EPERM : 0;
}

int drop_new_privs(void)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

int drop_to_user(uid_t uid, gid_t gid)
{
	/* The bounding set needs CAP_SETPCAP, which goes with the uid: first this, then that. */
	capng_clear(CAPNG_SELECT_BOUNDS);
	if (capng_apply(CAPNG_SELECT_BOUNDS) < 0)
		return -EPERM;
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return -errno;
	capng_clear(CAPNG_SELECT_ALL);
	if (capng_apply(CAPNG_SELECT_CAPS) < 0)
		return -EPERM;
	return drop_new_privs();
}

/* Landlock has no wrapper in libc. Rights by version of its interface, see landlock(7). */
#define RIGHTS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define RIGHTS_WRITE                                                                               \
	(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG |                             \
	 LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_SYM |                               \
	 LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR)
#define RIGHTS_NEVER                                                                               \
	(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR |                               \
	 LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |                             \
	 LANDLOCK_ACCESS_FS_MAKE_BLOCK)

static int landlock_allow(int ruleset, const char *path, uint64_t rights)
{
	struct landlock_path_beneath_attr rule = {
		.allowed_access = rights,
		.parent_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC),
	};
	int r;

	if (rule.parent_fd < 0)
		return errno == ENOENT ? 0 : -errno; /* nothing there to allow */
	r = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0
		    ? -errno
		    : 0;
	close(rule.parent_fd);
	return r;
}

bool drop_has_landlock(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) > 0;
}

int drop_filesystem(const char *writable, const char *const *readable, size_t n)
{
	const struct landlock_ruleset_attr attr = {
		.handled_access_fs = RIGHTS_READ | RIGHTS_WRITE | RIGHTS_NEVER,
	};
	int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	int r;

	if (ruleset < 0)
		return drop_has_landlock() ? -errno : 1;

	r = landlock_allow(ruleset, writable, RIGHTS_READ | RIGHTS_WRITE);
	for (size_t i = 0; i < n && r == 0; i++)
		r = landlock_allow(ruleset, readable[i], RIGHTS_READ);
	if (r == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		r = -errno;
	close(ruleset);
	return r;
}
