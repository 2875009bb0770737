/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* unit: cmocka, which wants these headers before its own, and what several tests share. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/resource.h>

/* The exit status of a program that could run none of its tests, as meson knows it. */
#define UNIT_SKIPPED 77

#define N_ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))

/* How many descriptors this process has open: equal before and after means nothing leaked. */
static inline unsigned unit_count_fds(void)
{
	DIR *directory = opendir("/proc/self/fd");
	unsigned n = 0;

	if (!directory) {
		print_message("skipped: /proc is not mounted\n");
		skip();
	}
	while (readdir(directory))
		n++;
	closedir(directory);
	return n;
}

static inline bool unit_fd_is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* From here on no descriptor can be had; those that are open stay, standard input among them.
 * Returns the limit to restore. */
static inline struct rlimit unit_forbid_fds(void)
{
	struct rlimit before, none;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	return before;
}

/* A generator of our own, so that a failure comes again on every machine. */
static inline uint32_t unit_random(uint32_t *state)
{
	*state = *state * UINT32_C(1664525) + UINT32_C(1013904223);
	return *state >> 8;
}
