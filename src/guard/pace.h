/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * pace: the processor time that scans which nobody waits for may use, on average ([full-scan] cpu).
 *
 * Whatever is scanned so is charged to one pace, the time of the thread that finds the files
 * included: several together get no more than one alone. For that thread.
 */
#include <stdint.h>

struct pace {
	double share;	      /* of one processor: 0.5, 4.0 */
	uint64_t percent;     /* of all of them */
	int64_t credit_us;    /* negative: used in advance */
	uint64_t credited_us; /* when it was last given */
	uint64_t own_cpu_us;  /* of this thread, when it was last charged */
};

/* pace_init() begins with this share of all processors, in percent; pace_set() sets another. */
void pace_init(struct pace *pace, uint64_t percent);
void pace_set(struct pace *pace, uint64_t percent);

/* pace_charge() says what a scan took. */
void pace_charge(struct pace *pace, uint64_t cpu_us);

/* pace_wait() returns how long nothing must be done, in microseconds. */
uint64_t pace_wait(struct pace *pace);

/* pace_tasks() returns how many files the gate may be given at once. */
unsigned pace_tasks(const struct pace *pace);
