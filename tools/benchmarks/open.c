/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The part of tools/bench that touches protected files. Those of a directory are numbered, a
 * thousand in each directory below it.
 *
 *   open make FILES SIZE DIRECTORY...
 *           makes files of text, no two alike, the same ones in each directory; those that were
 *           there are replaced
 *
 *   open time FIRST STEP COUNT DIRECTORY...
 *           opens every STEPth file; prints for each directory a line with the nanoseconds of each
 *           open()
 *
 *   open open FILES OPENERS DIRECTORY
 *   open read FILES OPENERS DIRECTORY
 *           opens, or reads, all of them by so many processes at once, each its share; prints the
 *           nanoseconds that all of it took
 *
 *   open run FILES COUNT DIRECTORY
 *           executes files in turn, one after the other; prints the nanoseconds that all of it took
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Directories take turns after so many opens: often enough that noise hits all of them alike, and
 * seldom enough that what a change of turns costs stays below the 99th percentile. */
#define OPENS_PER_TURN 500

#define FILES_PER_DIRECTORY 1000
#define OPENERS_MAX	    64

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void file_name(char *path, const char *directory, int i)
{
	if (snprintf(path, PATH_MAX, "%s/%03d/%06d", directory, i / FILES_PER_DIRECTORY, i) >=
	    PATH_MAX)
		errx(1, "%s: name too long", directory);
}

/* --- make --- */

static void fill(char *text, size_t size, uint64_t *random)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz      "; /* 32 */

	for (size_t i = 0; i < size; i++) {
		*random = *random * 6364136223846793005 + 1442695040888963407;
		text[i] = i % 80 == 79 ? '\n' : letters[*random >> 59];
	}
}

static void make_file(const char *directory, int i, const char *text, size_t size)
{
	char path[PATH_MAX];
	int fd;

	file_name(path, directory, i);
	if (i % FILES_PER_DIRECTORY == 0) {
		*strrchr(path, '/') = '\0';
		(void)mkdir(path, 0755);
		file_name(path, directory, i);
	}
	(void)unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, text, size) != (ssize_t)size)
		err(1, "%s", path);
	close(fd);
}

static void make(char **directories, int n_directories, int n, size_t size)
{
	uint64_t random = (uint64_t)now_ns();
	char *text = malloc(size);
	int fd;

	if (!text)
		err(1, "malloc");
	for (int i = 0; i < n; i++) {
		fill(text, size, &random);
		for (int d = 0; d < n_directories; d++)
			make_file(directories[d], i, text, size);
	}
	/* Or writing back would disturb what is timed next. */
	for (int d = 0; d < n_directories; d++) {
		fd = open(directories[d], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0 || syncfs(fd) < 0)
			err(1, "%s", directories[d]);
		close(fd);
	}
	free(text);
}

/* --- time --- */

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

static void time_all(char **directories, int n_directories, int first, int step, int n)
{
	int64_t *taken = calloc((size_t)n_directories * (size_t)n, sizeof(*taken));

	if (!taken)
		err(1, "calloc");
	for (int from = 0; from < n; from += OPENS_PER_TURN)
		for (int d = 0; d < n_directories; d++)
			for (int i = from; i < n && i < from + OPENS_PER_TURN; i++)
				taken[d * n + i] = time_open(directories[d], first + i * step);

	for (int d = 0; d < n_directories; d++)
		for (int i = 0; i < n; i++)
			(void)printf("%" PRId64 "%c", taken[d * n + i], i + 1 < n ? ' ' : '\n');
	free(taken);
}

/* --- open, read --- */

struct race {
	int start[2];  /* closed for writing: go */
	int64_t *ends; /* of each opener */
	const char *directory;
	int n_files;
	int n_openers;
	bool reads;
};

static void read_to_end(int fd, const char *path)
{
	static char buffer[65536];
	ssize_t n;

	do
		n = read(fd, buffer, sizeof(buffer));
	while (n > 0);
	if (n < 0)
		err(1, "%s", path);
}

static void race_run(const struct race *race, int opener)
{
	char path[PATH_MAX], byte;
	int fd;

	close(race->start[1]);
	(void)!read(race->start[0], &byte, 1);
	for (int i = opener; i < race->n_files; i += race->n_openers) {
		file_name(path, race->directory, i);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			err(1, "%s", path);
		if (race->reads)
			read_to_end(fd, path);
		close(fd);
	}
	race->ends[opener] = now_ns();
	_exit(0);
}

static void open_all(const char *directory, int n_files, int n_openers, bool reads)
{
	struct race race = {.directory = directory,
			    .n_files = n_files,
			    .n_openers = n_openers < OPENERS_MAX ? n_openers : OPENERS_MAX,
			    .reads = reads};
	int64_t begin, end = 0;
	int status;

	race.ends = mmap(NULL, OPENERS_MAX * sizeof(*race.ends), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (race.ends == MAP_FAILED || pipe2(race.start, O_CLOEXEC) < 0)
		err(1, "shared memory, a pipe");
	for (int i = 0; i < race.n_openers; i++) {
		pid_t pid = fork();

		if (pid < 0)
			err(1, "fork");
		if (pid == 0)
			race_run(&race, i);
	}
	/* They are there by then, so that it is not their making that is measured. */
	(void)usleep(20000);
	begin = now_ns();
	close(race.start[1]);
	while (wait(&status) > 0)
		if (status)
			errx(1, "an opener failed");
	for (int i = 0; i < race.n_openers; i++)
		end = race.ends[i] > end ? race.ends[i] : end;
	(void)printf("%" PRId64 "\n", end - begin);
}

/* --- run --- */

static void run_one(const char *path)
{
	char *const argv[] = {(char *)path, NULL}, *const environment[] = {NULL};
	int status, r;
	pid_t pid;

	r = posix_spawn(&pid, path, NULL, NULL, argv, environment);
	if (r)
		errx(1, "%s: %s", path, strerror(r));
	if (waitpid(pid, &status, 0) < 0 || status)
		errx(1, "%s: ended with status %#x", path, (unsigned)status);
}

static void run_all(const char *directory, int n_files, int n)
{
	int64_t begin = now_ns();
	char path[PATH_MAX];

	for (int i = 0; i < n; i++) {
		file_name(path, directory, i % n_files);
		run_one(path);
	}
	(void)printf("%" PRId64 "\n", now_ns() - begin);
}

/* --- */

/* argv[i], which must be a number of at least min. */
static int number(int argc, char **argv, int i, int min)
{
	int n = i < argc ? atoi(argv[i]) : INT_MIN;

	if (n < min)
		errx(2, "%s: a number from %d is needed", i < argc ? argv[i] : "the end", min);
	return n;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 4 ? argv[1] : "";

	if (!strcmp(verb, "make"))
		make(argv + 4, argc - 4, number(argc, argv, 2, 1),
		     (size_t)number(argc, argv, 3, 1));
	else if (!strcmp(verb, "time"))
		time_all(argv + 5, argc - 5, number(argc, argv, 2, 0), number(argc, argv, 3, 1),
			 number(argc, argv, 4, 1));
	else if (!strcmp(verb, "open") || !strcmp(verb, "read"))
		open_all(argv[4], number(argc, argv, 2, 1), number(argc, argv, 3, 1),
			 !strcmp(verb, "read"));
	else if (!strcmp(verb, "run"))
		run_all(argv[4], number(argc, argv, 2, 1), number(argc, argv, 3, 1));
	else
		errx(2, "usage: see open.c");
	return 0;
}
