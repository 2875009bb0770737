/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The part of tools/bench that touches protected files:
 *
 *   bench-open make FILES SIZE DIRECTORY     replaces the files of a directory by new ones of text,
 *                                            no two alike: clamd knows content it has seen
 *   bench-open time FILES DIRECTORY...       opens them; prints for each directory a line with the
 *                                            nanoseconds of each open()
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Directories take turns after so many opens: often enough that noise hits all of them alike, and
 * seldom enough that what a change of turns costs stays below the 99th percentile. */
#define OPENS_PER_TURN 500

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void file_name(char *path, const char *directory, int i)
{
	if (snprintf(path, PATH_MAX, "%s/%06d", directory, i) >= PATH_MAX)
		errx(1, "%s: name too long", directory);
}

static void fill(char *text, size_t size, uint64_t *random)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz      "; /* 32 */

	for (size_t i = 0; i < size; i++) {
		*random = *random * 6364136223846793005 + 1442695040888963407;
		text[i] = i % 80 == 79 ? '\n' : letters[*random >> 59];
	}
}

static void make(const char *directory, int n, size_t size)
{
	uint64_t random = (uint64_t)now_ns();
	char path[PATH_MAX], *text = malloc(size);
	int fd;

	if (!text)
		err(1, "malloc");
	for (int i = 0; i < n; i++) {
		fill(text, size, &random);
		file_name(path, directory, i);
		(void)unlink(path);
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
		if (fd < 0 || write(fd, text, size) != (ssize_t)size)
			err(1, "%s", path);
		close(fd);
	}
	/* Or writing back would disturb what is timed next. */
	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || syncfs(fd) < 0)
		err(1, "%s", directory);
	free(text);
}

static int64_t time_open(const char *directory, int i)
{
	char path[PATH_MAX];
	int64_t begin, taken;
	int fd;

	file_name(path, directory, i);
	begin = now_ns();
	fd = open(path, O_RDONLY | O_CLOEXEC);
	taken = now_ns() - begin;
	if (fd < 0)
		err(1, "%s", path);
	close(fd);
	return taken;
}

static void time_all(char **directories, int n_directories, int n)
{
	int64_t *taken = calloc((size_t)n_directories * (size_t)n, sizeof(*taken));

	if (!taken)
		err(1, "calloc");
	for (int from = 0; from < n; from += OPENS_PER_TURN)
		for (int d = 0; d < n_directories; d++)
			for (int i = from; i < n && i < from + OPENS_PER_TURN; i++)
				taken[d * n + i] = time_open(directories[d], i);

	for (int d = 0; d < n_directories; d++)
		for (int i = 0; i < n; i++)
			(void)printf("%" PRId64 "%c", taken[d * n + i], i + 1 < n ? ' ' : '\n');
	free(taken);
}

int main(int argc, char **argv)
{
	int n = argc > 2 ? atoi(argv[2]) : 0;

	if (argc == 5 && !strcmp(argv[1], "make"))
		make(argv[4], n, strtoul(argv[3], NULL, 10));
	else if (argc > 3 && !strcmp(argv[1], "time"))
		time_all(argv + 3, argc - 3, n);
	else
		errx(2, "usage: make FILES SIZE DIRECTORY | time FILES DIRECTORY...");
	return 0;
}
