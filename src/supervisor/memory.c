/* SPDX-License-Identifier: GPL-2.0-only */
#include "memory.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define GROUPS_ROOT "/sys/fs/cgroup"

/* Longer files are cut: what is read of them stands at their beginning. */
#define FILE_MAX 4096

/* --- texts --- */

/* The number that follows a name at the beginning of a line; false: there is none. */
static bool memory_find(const char *text, const char *name, uint64_t *ret)
{
	size_t length = strlen(name);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, name, length))
			return sscanf(line + length, " %" SCNu64, ret) == 1;
	}
	return false;
}

uint64_t memory_of_machine(const char *meminfo)
{
	uint64_t kib;

	return memory_find(meminfo, "MemAvailable:", &kib) ? kib * 1024 : MEMORY_UNKNOWN;
}

/* "max" is no number. */
static uint64_t memory_limit(const char *text)
{
	uint64_t limit;

	return sscanf(text, "%" SCNu64, &limit) == 1 ? limit : MEMORY_UNKNOWN;
}

uint64_t memory_of_group(const char *max, const char *high, const char *current, const char *stat)
{
	uint64_t limit = memory_limit(max), slowed = memory_limit(high);
	uint64_t used, inactive = 0, active = 0;

	/* Above this one it would not be killed, but kept waiting for memory all the time. */
	if (slowed < limit)
		limit = slowed;
	if (limit == MEMORY_UNKNOWN || sscanf(current, "%" SCNu64, &used) != 1)
		return MEMORY_UNKNOWN;
	(void)memory_find(stat, "inactive_file ", &inactive);
	(void)memory_find(stat, "active_file ", &active);
	used = used > inactive + active ? used - inactive - active : 0;
	return limit > used ? limit - used : 0;
}

bool memory_is_short(uint64_t available, uint64_t engine)
{
	return engine && available < engine + engine / 10;
}

/* --- files --- */

/* Opens a file of the group at path, which is below the root of groups. */
static int memory_open_file(const char *path, const char *name)
{
	char full[PATH_MAX + 32];

	(void)snprintf(full, sizeof(full), GROUPS_ROOT "%s/%s", path, name);
	return open(full, O_RDONLY | O_CLOEXEC);
}

/* Takes the group at path if it can have a limit. The root of all groups cannot. */
static void memory_open_group(struct memory *memory, const char *path)
{
	struct memory_group group = {
		.max = memory_open_file(path, "memory.max"),
		.high = memory_open_file(path, "memory.high"),
		.current = memory_open_file(path, "memory.current"),
		.stat = memory_open_file(path, "memory.stat"),
	};

	if (group.max >= 0 && group.high >= 0 && group.current >= 0 && group.stat >= 0) {
		memory->groups[memory->n_groups++] = group;
		return;
	}
	if (group.max >= 0)
		close(group.max);
	if (group.high >= 0)
		close(group.high);
	if (group.current >= 0)
		close(group.current);
	if (group.stat >= 0)
		close(group.stat);
}

/* Writes the path of our group to path. Returns whether there is one. */
static bool memory_own_group(char *path, size_t size)
{
	FILE *stream = fopen("/proc/self/cgroup", "re");
	char line[PATH_MAX + 8];
	bool found = false;

	while (stream && !found && fgets(line, sizeof(line), stream)) {
		line[strcspn(line, "\n")] = '\0';
		found = !strncmp(line, "0::/", 4);
	}
	if (stream)
		(void)fclose(stream);
	if (found)
		(void)snprintf(path, size, "%s", line + 3);
	return found;
}

void memory_open(struct memory *memory)
{
	char path[PATH_MAX];
	char *slash;

	*memory = (struct memory){.meminfo = open("/proc/meminfo", O_RDONLY | O_CLOEXEC)};
	if (!memory_own_group(path, sizeof(path)))
		return;
	if (!strcmp(path, "/"))
		path[0] = '\0';
	while (memory->n_groups < MEMORY_GROUPS_MAX) {
		memory_open_group(memory, path);
		slash = strrchr(path, '/');
		if (!slash)
			return;
		*slash = '\0';
	}
}

static bool memory_read(int fd, char *text, size_t size)
{
	ssize_t n = fd >= 0 ? pread(fd, text, size - 1, 0) : -1;

	text[n > 0 ? n : 0] = '\0';
	return n > 0;
}

static uint64_t memory_left_by(const struct memory_group *group)
{
	char max[64], high[64], current[64], stat[FILE_MAX];

	if (!memory_read(group->max, max, sizeof(max)) ||
	    !memory_read(group->high, high, sizeof(high)) ||
	    !memory_read(group->current, current, sizeof(current)))
		return MEMORY_UNKNOWN;
	(void)memory_read(group->stat, stat, sizeof(stat));
	return memory_of_group(max, high, current, stat);
}

uint64_t memory_available(const struct memory *memory)
{
	char text[FILE_MAX];
	uint64_t least = memory_read(memory->meminfo, text, sizeof(text)) ? memory_of_machine(text)
									  : MEMORY_UNKNOWN;

	for (unsigned i = 0; i < memory->n_groups; i++) {
		uint64_t left = memory_left_by(&memory->groups[i]);

		if (left < least)
			least = left;
	}
	return least;
}
