/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * patch: makes a newer database of an older one and the cdiffs between them. Verifying and applying
 * cdiffs is libfreshclam's, which does it only while it downloads; so a child of ours, confined to
 * its directory, lets it do so from a server of its own on the loopback interface, which has
 * nothing but the cdiffs that were fetched before.
 */
#include <stddef.h>
#include <stdint.h>

struct patch {
	const char *database; /* "daily" */
	const char *base;     /* path of the daily.cvd or daily.cld it begins with */
	uint32_t from, to;    /* versions: of base, and wanted */
	const char *cdiffs;   /* directory of daily-N.cdiff for each N after from up to to */
	const char *work;     /* an empty directory: what comes of it is work/daily.cld */
};

/* patch_apply() returns 0, or a negative errno with the reason in problem: -EBADMSG where a cdiff
 * does not verify, does not fit or is empty, -ENOENT where one is missing, -ENOSPC, -EIO where base
 * is at fault. work is then empty again. It takes no longer than PATCH_TIMEOUT_S. */
#define PATCH_TIMEOUT_S 600
int patch_apply(const struct patch *patch, char *problem, size_t problem_size);
