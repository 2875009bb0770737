/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * trial: whether signatures load, without what that costs: in a child that may nothing but read
 * them, and in slices. Each slice is an engine of its own that begins behind the last signature of
 * the one before and is full when TRIAL_MEMORY is, so that each signature is loaded once however
 * large the set is. A file is parsed anew for each slice that it is in.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a trial may have in memory, about, in bytes: a good deal less than a quarter of an engine
 * with a set for which that matters. */
#define TRIAL_MEMORY (UINT64_C(160) << 20)

/* So long it may take. */
#define TRIAL_TIMEOUT_S 900

struct trial {
	const char *path;    /* a file or a directory */
	const char *scratch; /* an empty directory, the only one where the child may write */
	/* Called first, with path and database: whether path is what it should be. NULL: whatever
	 * it is. See verify.h. */
	int (*verify)(const char *path, const char *database, char *problem, size_t problem_size);
	const char *database;
	bool detect_pua;
	bool as_signed; /* bytecode in it is loaded: it was verified, or made of what was */
};

/* trial_run() returns 0 with how many signatures there are in *ret_signatures; or a negative errno
 * with the reason in problem: -EBADMSG where the signatures are at fault, also by taking more time
 * or memory than they may; -ENOMEM where the machine has none. */
int trial_run(const struct trial *trial, uint32_t *ret_signatures, char *problem,
	      size_t problem_size);
