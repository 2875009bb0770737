/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * make_verdicts: a table of verdicts that nobody takes over.
 */
#include "../../../src/guard/verdicts.h"

#include <unistd.h>

static inline struct verdicts *make_verdicts(size_t bytes, bool has_unique_mount_ids)
{
	int memory = -1;
	struct verdicts *verdicts = verdicts_new(bytes, has_unique_mount_ids, &memory);

	close(memory);
	return verdicts;
}
