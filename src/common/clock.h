/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
#include <stdint.h>
#include <time.h>

#define CLOCK_US_PER_MS	 UINT64_C(1000)
#define CLOCK_US_PER_SEC UINT64_C(1000000)

static inline uint64_t clock_read_us(clockid_t clock)
{
	struct timespec now;

	(void)clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * CLOCK_US_PER_SEC + (uint64_t)now.tv_nsec / 1000;
}

/* clock_monotonic_us() returns microseconds that never jump; for deadlines and durations. */
static inline uint64_t clock_monotonic_us(void)
{
	return clock_read_us(CLOCK_MONOTONIC);
}

/* clock_wall_us() returns microseconds since the epoch; for what people read. */
static inline uint64_t clock_wall_us(void)
{
	return clock_read_us(CLOCK_REALTIME);
}
