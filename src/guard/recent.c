/* SPDX-License-Identifier: GPL-2.0-only */
#include "recent.h"

#include "../common/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/*
 * Whoever waited over a file when it was marked has run by then, on whatever machine: counted from
 * when he can have been answered. A guard that stands still for seconds before it dies answers
 * nobody.
 */
#define RECENT_US (2 * CLOCK_US_PER_SEC)

void recent_add(struct recent *recent, int fd, uint64_t device)
{
	struct recent_file *file = &recent->files[recent->next % RECENT_MAX];

	/* Whoever dies in between leaves an entry that does not count. */
	file->marked_us = 0;
	if (handle_of(fd, &file->handle) < 0)
		return;
	file->device = device;
	recent->next++;
	*(volatile uint64_t *)&file->marked_us = clock_monotonic_us();
}

static void recent_listen(const struct recent_file *file, struct group *group,
			  const struct mounts *mounts)
{
	const struct mount *mount = mounts_showing(mounts, file->device);
	int fd = mount ? handle_open(&file->handle, mount, O_PATH) : -ENOENT;

	if (fd < 0)
		return;
	group_listen_path_only(group, fd);
	close(fd);
}

void recent_listen_again(struct recent *recent, struct group *group, const struct mounts *mounts)
{
	for (unsigned i = 0; i < RECENT_MAX; i++) {
		struct recent_file *file = &recent->files[i];

		if (file->marked_us && file->marked_us + RECENT_US > group->drained_us)
			recent_listen(file, group, mounts);
		file->marked_us = 0;
	}
}
