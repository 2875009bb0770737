/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The part of tools/bench that is nothing but libclamav: one process, one engine, with the options
 * of src/engine/clam.c.
 *
 *   scan SIGNATURES SCRATCH
 *
 * loads that directory, says "ready N" (signatures), and then obeys lines:
 *
 *   memory                   its share of the memory that it has (Pss), in KB
 *   time FIRST COUNT DIRECTORY
 *                            scans files that open.c made, one after the other; the
 *                            nanoseconds that it took, opening and closing them included
 */
#define _GNU_SOURCE
#include <clamav.h>
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MB (1LL << 20)

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* As there: only with these are limits named, and is nothing said. */
static void on_found(int fd, const char *name, void *context)
{
}

static void on_message(enum cl_msg severity, const char *full, const char *message, void *context)
{
}

static void configure(struct cl_engine *engine, const char *scratch)
{
	static const struct {
		enum cl_engine_field field;
		long long value;
	} numbers[] = {
		{CL_ENGINE_MAX_FILESIZE, 100 * MB},   {CL_ENGINE_MAX_SCANSIZE, 400 * MB},
		{CL_ENGINE_MAX_SCANTIME, 120 * 1000}, {CL_ENGINE_DISABLE_CACHE, 1},
		{CL_ENGINE_DISABLE_PE_STATS, 1},
	};
	int r = cl_engine_set_str(engine, CL_ENGINE_TMPDIR, scratch);

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]) && r == CL_SUCCESS; i++)
		r = cl_engine_set_num(engine, numbers[i].field, numbers[i].value);
	if (r != CL_SUCCESS)
		errx(1, "settings: %s", cl_strerror(r));
	cl_engine_set_clcb_virus_found(engine, on_found);
}

static struct cl_engine *load(const char *signatures, const char *scratch, unsigned *ret_n)
{
	struct cl_engine *engine;
	int r = cl_init(CL_INIT_DEFAULT);

	if (r != CL_SUCCESS)
		errx(1, "cl_init: %s", cl_strerror(r));
	cl_set_clcb_msg(on_message);
	engine = cl_engine_new();
	if (!engine)
		errx(1, "cl_engine_new");
	configure(engine, scratch);
	*ret_n = 0;
	r = cl_load(signatures, engine, ret_n, CL_DB_STDOPT);
	if (r == CL_SUCCESS)
		r = cl_engine_compile(engine);
	if (r != CL_SUCCESS)
		errx(1, "%s: %s", signatures, cl_strerror(r));
	return engine;
}

static void tell_memory(void)
{
	FILE *file = fopen("/proc/self/smaps_rollup", "re");
	char line[256];
	long kb = -1;

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "Pss: %ld", &kb) == 1)
			break;
	if (kb < 0)
		errx(1, "/proc/self/smaps_rollup tells nothing");
	(void)fclose(file);
	(void)printf("%ld\n", kb);
}

static void scan_file(const struct cl_engine *engine, const char *path)
{
	struct cl_scan_options options = {
		.parse = ~0u,
		.general = CL_SCAN_GENERAL_HEURISTICS,
		.heuristic = CL_SCAN_HEURISTIC_EXCEEDS_MAX,
	};
	int r, fd = open(path, O_RDONLY | O_CLOEXEC);
	unsigned long scanned = 0;
	const char *name = NULL;

	if (fd < 0)
		err(1, "%s", path);
	r = cl_scandesc_callback(fd, NULL, &name, &scanned, engine, &options, NULL);
	if (r != CL_CLEAN)
		errx(1, "%s: %s", path, r == CL_VIRUS && name ? name : cl_strerror(r));
	close(fd);
}

static void time_scans(const struct cl_engine *engine, int first, int n, const char *directory)
{
	int64_t begin = now_ns();
	char path[PATH_MAX];

	for (int i = first; i < first + n; i++) {
		if (snprintf(path, sizeof(path), "%s/%03d/%06d", directory, i / 1000, i) >=
		    (int)sizeof(path))
			errx(1, "%s: name too long", directory);
		scan_file(engine, path);
	}
	(void)printf("%" PRId64 "\n", now_ns() - begin);
}

static void obey(const struct cl_engine *engine, char *line)
{
	char directory[PATH_MAX];
	int first, n;

	if (!strcmp(line, "memory\n"))
		tell_memory();
	else if (sscanf(line, "time %d %d %4095s", &first, &n, directory) == 3)
		time_scans(engine, first, n, directory);
	else
		errx(2, "not understood: %s", line);
	(void)fflush(stdout);
}

int main(int argc, char **argv)
{
	char line[PATH_MAX + 64];
	struct cl_engine *engine;
	unsigned n;

	if (argc != 3)
		errx(2, "usage: scan SIGNATURES SCRATCH");
	engine = load(argv[1], argv[2], &n);
	(void)printf("ready %u\n", n);
	(void)fflush(stdout);
	while (fgets(line, sizeof(line), stdin))
		obey(engine, line);
	cl_engine_free(engine);
	return 0;
}
