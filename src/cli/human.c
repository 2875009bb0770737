/* SPDX-License-Identifier: GPL-2.0-only */
#include "human.h"

#include "../common/clock.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

char *human_time(char *buffer, size_t size, int64_t seconds)
{
	time_t time = (time_t)seconds;
	struct tm local;

	if (!localtime_r(&time, &local) || !strftime(buffer, size, "%Y-%m-%d %H:%M:%S", &local))
		(void)snprintf(buffer, size, "@%" PRId64, seconds);
	return buffer;
}

char *human_duration(char *buffer, size_t size, int64_t seconds)
{
	if (seconds < 0)
		seconds = 0;
	if (seconds >= 86400)
		(void)snprintf(buffer, size, "%" PRId64 " d %" PRId64 " h", seconds / 86400,
			       seconds % 86400 / 3600);
	else if (seconds >= 3600)
		(void)snprintf(buffer, size, "%" PRId64 " h %" PRId64 " min", seconds / 3600,
			       seconds % 3600 / 60);
	else if (seconds >= 60)
		(void)snprintf(buffer, size, "%" PRId64 " min %" PRId64 " s", seconds / 60,
			       seconds % 60);
	else
		(void)snprintf(buffer, size, "%" PRId64 " s", seconds);
	return buffer;
}

char *human_age(char *buffer, size_t size, int64_t seconds)
{
	return human_duration(buffer, size,
			      (int64_t)(clock_wall_us() / CLOCK_US_PER_SEC) - seconds);
}

char *human_bytes(char *buffer, size_t size, uint64_t bytes)
{
	static const char *const units[] = {"B", "KB", "MB", "GB", "TB", "PB", "EB"};
	double value = (double)bytes;
	unsigned unit = 0;

	while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		value /= 1024;
		unit++;
	}
	(void)snprintf(buffer, size, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
	return buffer;
}

char *human_count(char *buffer, size_t size, uint64_t count)
{
	char digits[24], text[32];
	size_t length = (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, count), n = 0;

	for (size_t i = 0; i < length; i++) {
		if (i && (length - i) % 3 == 0)
			text[n++] = ',';
		text[n++] = digits[i];
	}
	(void)snprintf(buffer, size, "%.*s", (int)n, text);
	return buffer;
}

char *human_time_near(char *buffer, size_t size, int64_t seconds, int64_t now)
{
	time_t then = (time_t)seconds, present = (time_t)now;
	struct tm a, b;
	bool is_today;

	if (!localtime_r(&then, &a) || !localtime_r(&present, &b))
		return human_time(buffer, size, seconds);
	is_today = a.tm_year == b.tm_year && a.tm_yday == b.tm_yday;
	if (!strftime(buffer, size, is_today ? "%H:%M" : "%Y-%m-%d %H:%M", &a))
		return human_time(buffer, size, seconds);
	return buffer;
}
