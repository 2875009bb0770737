/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * candidates: contents (common/contents.h) that a worker has vouched for, until it is sure that
 * what it hashed is what it scanned.
 *
 * Whoever changes a file between the two and back leaves another ctime, unless he does it by one of
 * the calls that leave none (verdicts.h); and then he has closed it, which the kernel tells us. So
 * a content waits here until all that the kernel had to tell when it came has been read.
 *
 * Bounded. What finds no room is not known, and scanned again in other files.
 */
#include "../common/contents.h"
#include "file.h"

#define CANDIDATES_MAX 64

struct candidate {
	struct file_id file;
	struct content content;
	uint64_t voucher;
};

struct candidates {
	struct candidate waiting[CANDIDATES_MAX];
	unsigned n;
};

/* candidates_add() adds what was found in this file. */
void candidates_add(struct candidates *candidates, struct file_id file,
		    const struct content *content, uint64_t voucher);

/* candidates_closed() drops what was found in this file: somebody who could write to it has closed
 * it. */
void candidates_closed(struct candidates *candidates, struct file_id file);

/* candidates_forget() drops what this voucher vouched for, candidates_clear() everything: a close
 * may have gone unseen. */
void candidates_forget(struct candidates *candidates, uint64_t voucher);
void candidates_clear(struct candidates *candidates);

/* candidates_settle() puts all of them into the table: nothing is unread. */
void candidates_settle(struct candidates *candidates, struct contents *contents);
