/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* human: numbers as people read them. Each writes to buffer and returns it. */
#include <stddef.h>
#include <stdint.h>

/* human_time() writes local time, "2026-11-22 02:00:00", of seconds since the epoch. */
char *human_time(char *buffer, size_t size, int64_t seconds);

/* human_duration() writes the two largest units: "3 d 4 h". What is negative counts as 0. */
char *human_duration(char *buffer, size_t size, int64_t seconds);

/* human_age() writes how long ago that was. */
char *human_age(char *buffer, size_t size, int64_t seconds);

/* human_bytes() writes "17 B", "1.2 KB" and so on, in steps of 1024. */
char *human_bytes(char *buffer, size_t size, uint64_t bytes);

/* human_count() writes 2,041,234. */
char *human_count(char *buffer, size_t size, uint64_t count);

/* human_time_near() writes local time without what need not be said of a time near now, in seconds
 * since the epoch as well: "14:05", or "2026-11-22 14:05" of another day. */
char *human_time_near(char *buffer, size_t size, int64_t seconds, int64_t now);
