/* SPDX-License-Identifier: GPL-2.0-only */
#include "drop.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/stat.h>
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

bool drop_has_capability(int capability)
{
	return capng_get_caps_process() == 0 &&
	       capng_have_capability(CAPNG_PERMITTED, (unsigned)capability);
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

/* What a rule may say of a single file. */
#define RIGHTS_FILE                                                                                \
	(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE)

/* Versions of the interface from which on it can do these. */
#define VERSION_REFER	 2
#define VERSION_TRUNCATE 3
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif

/* Returns 0 or less where there is none. */
static long landlock_version(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

static int landlock_create(uint64_t handled)
{
	const struct landlock_ruleset_attr attr = {.handled_access_fs = handled};
	int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);

	return ruleset < 0 ? -errno : ruleset;
}

static int landlock_allow(int ruleset, const char *path, uint64_t rights)
{
	struct landlock_path_beneath_attr rule = {
		.allowed_access = rights,
		.parent_fd = open(path, O_PATH | O_CLOEXEC),
	};
	struct stat status;
	int r;

	if (rule.parent_fd < 0)
		return errno == ENOENT ? 0 : -errno; /* nothing there to allow */
	r = fstat(rule.parent_fd, &status) < 0 ? -errno : 0;
	if (r == 0 && !S_ISDIR(status.st_mode))
		rule.allowed_access &= RIGHTS_FILE;
	if (r == 0 &&
	    syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		r = -errno;
	close(rule.parent_fd);
	return r;
}

/* Closes ruleset. r: what came of filling it. */
static int landlock_enforce(int ruleset, int r)
{
	if (r == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		r = -errno;
	close(ruleset);
	return r;
}

bool drop_has_landlock(void)
{
	return landlock_version() > 0;
}

int drop_filesystem(const char *writable, const char *const *readable, size_t n)
{
	const long version = landlock_version();
	const uint64_t write =
		RIGHTS_WRITE | (version >= VERSION_TRUNCATE ? LANDLOCK_ACCESS_FS_TRUNCATE : 0);
	int ruleset, r;

	if (version <= 0)
		return 1;
	ruleset = landlock_create(RIGHTS_READ | write | RIGHTS_NEVER);
	if (ruleset < 0)
		return ruleset;
	r = landlock_allow(ruleset, writable, RIGHTS_READ | write);
	for (size_t i = 0; i < n && r == 0; i++)
		r = landlock_allow(ruleset, readable[i], RIGHTS_READ);
	return landlock_enforce(ruleset, r);
}

int drop_writes(const char *const *writable, size_t n)
{
	const long version = landlock_version();
	const uint64_t write = RIGHTS_WRITE | LANDLOCK_ACCESS_FS_REFER |
			       (version >= VERSION_TRUNCATE ? LANDLOCK_ACCESS_FS_TRUNCATE : 0);
	int ruleset, r = 0;

	if (version < VERSION_REFER)
		return 1;
	ruleset = landlock_create(write | (RIGHTS_NEVER & ~LANDLOCK_ACCESS_FS_EXECUTE));
	if (ruleset < 0)
		return ruleset;
	for (size_t i = 0; i < n && r == 0; i++)
		r = landlock_allow(ruleset, writable[i], write);
	return landlock_enforce(ruleset, r);
}
