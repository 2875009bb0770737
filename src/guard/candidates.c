/* SPDX-License-Identifier: GPL-2.0-only */
#include "candidates.h"

void candidates_add(struct candidates *candidates, struct file_id file,
		    const struct content *content, uint64_t voucher)
{
	if (candidates->n < CANDIDATES_MAX)
		candidates->waiting[candidates->n++] = (struct candidate){file, *content, voucher};
}

/* Its place is taken by the last: their order does not matter. */
static void candidates_drop(struct candidates *candidates, unsigned i)
{
	candidates->waiting[i] = candidates->waiting[--candidates->n];
}

void candidates_closed(struct candidates *candidates, struct file_id file)
{
	for (unsigned i = candidates->n; i-- > 0;)
		if (candidates->waiting[i].file.device == file.device &&
		    candidates->waiting[i].file.inode == file.inode)
			candidates_drop(candidates, i);
}

void candidates_forget(struct candidates *candidates, uint64_t voucher)
{
	for (unsigned i = candidates->n; i-- > 0;)
		if (candidates->waiting[i].voucher == voucher)
			candidates_drop(candidates, i);
}

void candidates_clear(struct candidates *candidates)
{
	candidates->n = 0;
}

void candidates_settle(struct candidates *candidates, struct contents *contents)
{
	for (unsigned i = 0; i < candidates->n; i++)
		contents_add(contents, &candidates->waiting[i].content,
			     candidates->waiting[i].voucher);
	candidates->n = 0;
}
