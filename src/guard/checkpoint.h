/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * checkpoint: what full scans must know after a restart or a power cut, in the file "checkpoint".
 *
 * Written to a new file, synchronized, and renamed over the old one: at any moment there is one
 * that is whole. Opens files and waits for disks: not for the loop.
 */
#include "../common/walk.h"

#include <holdfast/control.h>
#include <limits.h>

/* What a full scan has passed over, for its report. */
struct scan_skips {
	uint64_t by_reason[WALK_REASON_COUNT];
	uint64_t unlisted; /* of them, and of what was not verified, not in the report one by one */
};

struct checkpoint {
	int64_t last_slot; /* see schedule.h */
	bool is_unfinished;
	bool is_stopped;     /* by somebody: it goes on with the next slot, not before */
	bool afresh;	     /* what was verified before is scanned, too */
	unsigned sessions;   /* begun or gone on so often */
	uint64_t rules;	     /* of the configuration: what is scanned and what is not */
	uint64_t report_end; /* so long its report was */
	struct control_full_scan_counts now, last;
	struct scan_skips skips;
	int64_t noted;	/* when the walk was there, or somewhat before */
	char *position; /* see walk_position(); NULL or empty: the beginning. Owned */
};

/* checkpoint_read() fills checkpoint from directory. Returns 0, -ENOENT where there is none, or
 * another negative errno: -EBADMSG where it is damaged, or of another version. */
int checkpoint_read(int directory, struct checkpoint *checkpoint);

/* checkpoint_write() returns 0 or a negative errno: then the one before is still there. */
int checkpoint_write(int directory, const struct checkpoint *checkpoint);
