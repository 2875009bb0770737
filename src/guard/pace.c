/* SPDX-License-Identifier: GPL-2.0-only */
#include "pace.h"

#include "../common/clock.h"

#include <unistd.h>

/* Files that the gate has at once, for each processor that may be used: one is scanned, one waits.
 */
#define TASKS_PER_PROCESSOR 2

/* Processor time that was not used is saved up for so long: scans come in lumps. */
#define PACE_BURST_US CLOCK_US_PER_SEC

void pace_set(struct pace *pace, uint64_t percent)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);

	if (percent != pace->percent)
		pace->credit_us = 0;
	pace->percent = percent;
	pace->share = (double)(processors > 0 ? processors : 1) * (double)percent / 100;
}

void pace_init(struct pace *pace, uint64_t percent)
{
	*pace = (struct pace){
		.credited_us = clock_monotonic_us(),
		.own_cpu_us = clock_read_us(CLOCK_THREAD_CPUTIME_ID),
	};
	pace_set(pace, percent);
}

void pace_charge(struct pace *pace, uint64_t cpu_us)
{
	pace->credit_us -= (int64_t)cpu_us;
}

uint64_t pace_wait(struct pace *pace)
{
	uint64_t now = clock_monotonic_us(), own = clock_read_us(CLOCK_THREAD_CPUTIME_ID);
	int64_t most = (int64_t)(pace->share * (double)PACE_BURST_US);

	pace_charge(pace, own - pace->own_cpu_us);
	pace->own_cpu_us = own;
	pace->credit_us += (int64_t)((double)(now - pace->credited_us) * pace->share);
	pace->credited_us = now;
	if (pace->credit_us > most)
		pace->credit_us = most;
	if (pace->credit_us >= 0 || pace->percent >= 100)
		return 0;
	return (uint64_t)((double)-pace->credit_us / pace->share) + 1;
}

unsigned pace_tasks(const struct pace *pace)
{
	unsigned n = (unsigned)pace->share * TASKS_PER_PROCESSOR;

	return n ? n : 1;
}
