/* SPDX-License-Identifier: GPL-2.0-only */
/* Any file as the configuration: refused or read, and what was read survives its snapshot. */
#include "../../src/common/conf.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ignore(void *context, int priority, unsigned line, const char *text)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC), snapshot;
	struct conf *conf, *copy;
	char path[64];

	(void)!write(fd, data, size);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	conf = conf_read_file(path, ignore, NULL);
	close(fd);
	if (!conf)
		return 0;

	snapshot = conf_snapshot(conf);
	copy = conf_from_snapshot(snapshot);
	assert(copy && copy->include.n_entries == conf->include.n_entries);
	for (size_t i = 0; i < conf->include.n_entries; i++)
		assert(!strcmp(copy->include.entries[i].text, conf->include.entries[i].text));
	assert(copy->hold_timeout_ms == conf->hold_timeout_ms);
	close(snapshot);
	conf_free(copy);
	conf_free(conf);
	return 0;
}
