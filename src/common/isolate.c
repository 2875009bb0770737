/* SPDX-License-Identifier: GPL-2.0-only */
#include "isolate.h"

#include "mounts.h"
#include "path.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>

/* Whether something that the engine needs is on a mount, or mounted below it. */
static bool isolate_needs_mount(const struct isolate_needs *needs, const char *signatures,
				const char *point)
{
	const char *const needed[] = {
		"/usr", "/lib", "/lib64",	    "/etc",	"/proc",
		"/sys", "/dev", needs->scratch_dir, signatures, needs->program_dir};

	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (path_rest(point, needed[i]) || path_rest(needed[i], point))
			return true;
	return false;
}

/*
 * Lets go of the mounts that the engine does not need: where mounts are not shared, what is
 * unmounted outside would live on in here. Files are opened for the engine by others.
 */
static int isolate_release_mounts(const struct isolate_needs *needs, const struct conf *conf)
{
	FILE *stream = fopen("/proc/self/mountinfo", "re");
	char directory[PATH_MAX], *signatures;
	struct mounts mounts = {0};
	int r = stream ? mounts_read(&mounts, stream) : -errno;

	signatures = conf_resolve_path(conf_signatures_dir(conf, directory, sizeof(directory)));
	if (!signatures)
		r = -ENOMEM;
	for (size_t i = 0; r == 0 && i < mounts.n; i++)
		if (!isolate_needs_mount(needs, signatures, mounts.mounts[i].point))
			(void)umount2(mounts.mounts[i].point, MNT_DETACH | UMOUNT_NOFOLLOW);
	free(signatures);
	mounts_free(&mounts);
	if (stream)
		(void)fclose(stream);
	return r;
}

int isolate_engine(const struct isolate_needs *needs, const struct conf *conf)
{
	char options[128];

	(void)snprintf(options, sizeof(options), "mode=0700,uid=%u,gid=%u,size=50%%", needs->uid,
		       needs->gid);
	if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return -errno;
	if (mount("holdfast", needs->scratch_dir, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  options) < 0)
		return -errno;
	return isolate_release_mounts(needs, conf);
}
