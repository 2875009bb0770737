/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* memory: how much more of it may be used: what the machine has, and what the limits of our control
 * groups (version 2) leave. */
#include <stdbool.h>
#include <stdint.h>

/* Groups on the way to the root that have a limit of their own; further ones are not looked at. */
#define MEMORY_GROUPS_MAX 8

#define MEMORY_UNKNOWN UINT64_MAX

struct memory_group {
	int max, high, current, stat; /* its files */
};

struct memory {
	int meminfo; /* -1: there is none */
	struct memory_group groups[MEMORY_GROUPS_MAX];
	unsigned n_groups;
};

/* memory_open() opens what the others read: they open nothing. */
void memory_open(struct memory *memory);

/* memory_available() returns bytes, MEMORY_UNKNOWN where nobody says. */
uint64_t memory_available(const struct memory *memory);

/* memory_is_short() says whether that much does not hold another engine of this size, with some to
 * spare. 0: its size is not known, and it is taken for small. */
bool memory_is_short(uint64_t available, uint64_t engine);

/* memory_of_machine() reads the text of /proc/meminfo, memory_of_group() those of a group's
 * memory.max, memory.high, memory.current and memory.stat. What of a group's memory could be
 * dropped (files that were read) counts as free. Return bytes, MEMORY_UNKNOWN without a limit or
 * where they cannot be understood. */
uint64_t memory_of_machine(const char *meminfo);
uint64_t memory_of_group(const char *max, const char *high, const char *current, const char *stat);
