/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* scan_numbers: what programs call the numbers of struct control_full_scan_counts, all of which
 * have 64 bits. */
#include <holdfast/control.h>
#include <stddef.h>

#define SCAN_NUMBER(name) offsetof(struct control_full_scan_counts, name)

static const struct scan_number {
	const char *name;
	size_t offset;
} scan_numbers[] = {
	{"began", SCAN_NUMBER(began)},
	{"ended", SCAN_NUMBER(ended)},
	{"directories", SCAN_NUMBER(directories)},
	{"files", SCAN_NUMBER(files)},
	{"bytes", SCAN_NUMBER(bytes)},
	{"known", SCAN_NUMBER(known)},
	{"scanned", SCAN_NUMBER(scanned)},
	{"bytes_scanned", SCAN_NUMBER(bytes_scanned)},
	{"infected", SCAN_NUMBER(infected)},
	{"incomplete", SCAN_NUMBER(incomplete)},
	{"failed", SCAN_NUMBER(failed)},
	{"skipped", SCAN_NUMBER(skipped)},
	{"unreadable", SCAN_NUMBER(unreadable)},
	{"busy_ms", SCAN_NUMBER(busy_ms)},
};
#define SCAN_NUMBERS (sizeof(scan_numbers) / sizeof(scan_numbers[0]))
_Static_assert(SCAN_NUMBERS * sizeof(uint64_t) == sizeof(struct control_full_scan_counts),
	       "each number has a name");

/* scan_number() returns the number of index i. */
static inline int64_t scan_number(const struct control_full_scan_counts *counts, size_t i)
{
	int64_t number;

	memcpy(&number, (const char *)counts + scan_numbers[i].offset, sizeof(number));
	return number;
}
