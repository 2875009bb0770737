/* SPDX-License-Identifier: GPL-2.0-only */
#include "clam.h"

#include "../common/clock.h"
#include "../signatures/count.h"
#include "../signatures/message.h"
#include "../signatures/sources.h"
#include "eicar.h" /* made from config/eicar.ndb */

#include <clamav.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct clam {
	struct cl_engine *engine;
	struct cl_scan_options options;
	uint64_t max_scan_time_ms;
};

/* Why the first read that failed during this scan did; empty: none did. libclamav goes on without
 * those bytes, may call the rest clean, and tells by a message only, whose callback is
 * process-wide. */
static char clam_read_error[128];

static void clam_note_read_error(const char *message)
{
	static const char failed[] = "pread error: ";
	const char *at = strstr(message, failed);

	if (!at || *clam_read_error)
		return;
	at += strlen(failed);
	(void)snprintf(clam_read_error, sizeof(clam_read_error), "%.*s", (int)strcspn(at, "\n"),
		       at);
}

static void clam_on_message(enum cl_msg severity, const char *full, const char *message,
			    void *context)
{
	if (severity == CL_MSG_ERROR)
		clam_note_read_error(message);
	message_note(severity, message);
}

/* Nothing to do here; but only with a callback does libclamav name the limit that a file is over:
 * without one an oversize file comes back as CL_VIRUS with no name at all. */
static void clam_on_found(int fd, const char *name, void *context)
{
}

static void clam_problem(char *problem, size_t size, const char *what, int code)
{
	const char *message = message_last();

	(void)snprintf(problem, size, "%s: %s%s%s%s", what, cl_strerror(code), *message ? " (" : "",
		       message, *message ? ")" : "");
}

/* libclamav loads from files only. */
static int clam_load_embedded(struct clam *clam, const char *scratch, unsigned *signatures)
{
	char path[512];
	int fd, r = CL_EWRITE;

	(void)snprintf(path, sizeof(path), "%s/eicar.ndb", scratch);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return CL_ECREAT;
	if (write(fd, eicar_signature, strlen(eicar_signature)) == (ssize_t)strlen(eicar_signature))
		r = cl_load(path, clam->engine, signatures, CL_DB_STDOPT);
	close(fd);
	(void)unlink(path);
	return r;
}

/* The directory itself before what was published in it: what it says to ignore is. */
static bool clam_load_directories(struct clam *clam, const struct sources *sources,
				  const struct conf *conf, unsigned *signatures, char *problem,
				  size_t problem_size)
{
	const unsigned options = CL_DB_STDOPT | (conf->detect_pua ? CL_DB_PUA : 0);

	for (unsigned i = 0; i < sources->n_directories; i++) {
		const struct sources_directory *directory = &sources->directories[i];
		char what[PATH_MAX + 32];
		int r = directory->n_files
				? cl_load(directory->path, clam->engine, signatures, options)
				: CL_SUCCESS;

		if (r == CL_SUCCESS)
			continue;
		(void)snprintf(what, sizeof(what), "signatures: cannot load %s", directory->path);
		clam_problem(problem, problem_size, what, r);
		return false;
	}
	return true;
}

/* The files are read twice at the same time: by libclamav, and for their digests. */
static bool clam_load_sources(struct clam *clam, struct sources *sources, const struct conf *conf,
			      struct clam_set *ret_set, char *problem, size_t problem_size)
{
	int n;

	if (!sources_find_double(sources, ret_set->warning, sizeof(ret_set->warning)))
		ret_set->warning[0] = '\0';
	if (!sources_hash(sources, problem, problem_size) ||
	    !clam_load_directories(clam, sources, conf, &ret_set->info.signatures, problem,
				   problem_size))
		return false;
	/* Verdicts are remembered as those of this set. In place of the other warning, which the
	 * next load repeats. */
	if (!sources_settle(sources))
		(void)snprintf(ret_set->warning, sizeof(ret_set->warning),
			       "signatures: those in %s changed while they were loaded; what was "
			       "loaded is in use, but no verdict is kept beyond the next reload",
			       sources->directories[0].path);
	n = sources_describe(sources, &ret_set->info, ret_set->databases);
	if (n < 0) {
		(void)snprintf(problem, problem_size, "signatures: %s", strerror(-n));
		return false;
	}
	ret_set->n_databases = (unsigned)n;
	return true;
}

static bool clam_load(struct clam *clam, const struct conf *conf, const char *scratch,
		      struct clam_set *ret_set, char *problem, size_t problem_size)
{
	struct sources *sources;
	bool is_loaded;
	int r;

	count_watch();
	r = clam_load_embedded(clam, scratch, &ret_set->info.signatures);
	if (r != CL_SUCCESS) {
		clam_problem(problem, problem_size, "the embedded test signature", r);
		return false;
	}
	sources = sources_new(conf, problem, problem_size);
	if (!sources)
		return false;
	ret_set->info.test_only = sources->n_files == 0;
	count_prevent();
	is_loaded = clam_load_sources(clam, sources, conf, ret_set, problem, problem_size);
	count_allow();
	(void)sources_free(sources);
	return is_loaded;
}

static int clam_configure(struct clam *clam, const struct conf *conf, const char *scratch)
{
	const struct {
		enum cl_engine_field field;
		uint64_t value;
	} numbers[] = {
		{CL_ENGINE_MAX_FILESIZE, conf->max_file_size},
		{CL_ENGINE_MAX_SCANSIZE, conf->max_scan_size},
		{CL_ENGINE_MAX_SCANTIME, conf->max_scan_time_ms},
		/* The library's cache stores scans that were cut short as clean. */
		{CL_ENGINE_DISABLE_CACHE, 1},
		{CL_ENGINE_DISABLE_PE_STATS, 1},
	};
	int r = cl_engine_set_str(clam->engine, CL_ENGINE_TMPDIR, scratch);

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]) && r == CL_SUCCESS; i++)
		r = cl_engine_set_num(clam->engine, numbers[i].field, (long long)numbers[i].value);

	clam->max_scan_time_ms = conf->max_scan_time_ms;
	clam->options.parse = ~0u;
	clam->options.general = conf->heuristics ? CL_SCAN_GENERAL_HEURISTICS : 0;
	/* Reaching a limit is reported as a finding of its own, which clam_scan() tells apart.
	 * Without this a file cut short would be called clean. */
	clam->options.heuristic = CL_SCAN_HEURISTIC_EXCEEDS_MAX;
	return r;
}

struct clam *clam_new(const struct conf *conf, const char *scratch, struct clam_set *ret_set,
		      char *problem, size_t problem_size)
{
	struct clam *clam = calloc(1, sizeof(*clam));
	int r = cl_init(CL_INIT_DEFAULT);

	(void)snprintf(problem, problem_size, "out of memory");
	if (!clam)
		return NULL;
	message_listen();
	if (r == CL_SUCCESS)
		clam->engine = cl_engine_new();
	if (!clam->engine)
		return clam_free(clam);

	cl_engine_set_clcb_virus_found(clam->engine, clam_on_found);
	ret_set->info.signatures = 0;
	r = clam_configure(clam, conf, scratch);
	if (r != CL_SUCCESS) {
		clam_problem(problem, problem_size, "libclamav refuses its settings", r);
		return clam_free(clam);
	}
	if (!clam_load(clam, conf, scratch, ret_set, problem, problem_size))
		return clam_free(clam);
	r = cl_engine_compile(clam->engine);
	if (r != CL_SUCCESS) {
		clam_problem(problem, problem_size, "cannot compile the signatures", r);
		return clam_free(clam);
	}
	cl_set_clcb_msg(clam_on_message);
	return clam;
}

struct clam *clam_free(struct clam *clam)
{
	if (clam && clam->engine)
		cl_engine_free(clam->engine);
	free(clam);
	return NULL;
}

int clam_set_scratch(struct clam *clam, const char *scratch)
{
	return cl_engine_set_str(clam->engine, CL_ENGINE_TMPDIR, scratch) == CL_SUCCESS ? 0
											: -EINVAL;
}

/* What libclamav says, in our terms. */
static enum verdict clam_judge(int code, const char *name, bool out_of_time)
{
	static const char limits[] = "Heuristics.Limits.Exceeded";

	switch (code) {
	case CL_VIRUS:
		return !name || !strncmp(name, limits, strlen(limits)) ? VERDICT_INCOMPLETE
								       : VERDICT_INFECTED;
	case CL_CLEAN:
		return out_of_time ? VERDICT_INCOMPLETE : VERDICT_CLEAN;
	case CL_EMAXREC:
	case CL_EMAXSIZE:
	case CL_EMAXFILES:
	case CL_ETIMEOUT:
		return VERDICT_INCOMPLETE;
	default:
		return VERDICT_FAILED;
	}
}

/* What people are told beside the verdict. */
static const char *clam_reason(enum verdict verdict, int code, const char *name, bool out_of_time)
{
	switch (verdict) {
	case VERDICT_INFECTED:
		return name;
	case VERDICT_INCOMPLETE:
		return out_of_time ? "max-scan-time" : name ? name : cl_strerror(code);
	case VERDICT_FAILED:
		return *clam_read_error ? clam_read_error : cl_strerror(code);
	case VERDICT_CLEAN:
	case VERDICT_COUNT:
	default:
		return "";
	}
}

void clam_scan(struct clam *clam, int fd, struct wire_verdict *ret_verdict)
{
	uint64_t began = clock_monotonic_us();
	unsigned long scanned = 0;
	const char *name = NULL; /* left untouched by libclamav for files of 5 bytes and fewer */
	bool out_of_time;
	int code;

	message_forget();
	*clam_read_error = '\0';
	code = cl_scandesc_callback(fd, NULL, &name, &scanned, clam->engine, &clam->options, NULL);
	/* Running out of time is not reported: it comes back as clean. */
	out_of_time = clock_monotonic_us() - began >= clam->max_scan_time_ms * CLOCK_US_PER_MS;

	ret_verdict->verdict = clam_judge(code, name, out_of_time);
	if (*clam_read_error && ret_verdict->verdict != VERDICT_INFECTED)
		ret_verdict->verdict = VERDICT_FAILED;
	ret_verdict->scanned = (uint64_t)scanned * CL_COUNT_PRECISION;
	(void)snprintf(ret_verdict->reason, sizeof(ret_verdict->reason), "%s",
		       clam_reason(ret_verdict->verdict, code, name, out_of_time));
	(void)snprintf(ret_verdict->warning, sizeof(ret_verdict->warning), "%s", message_last());
}
