/* SPDX-License-Identifier: GPL-2.0-only */
#include "trial.h"

#include "../common/drop.h"
#include "../common/errand.h"
#include "../common/sandbox.h"
#include "../common/signature.h"
#include "count.h"
#include "message.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A slice is full when so much is resident: compiling it takes some more. */
#define TRIAL_SLICE_MEMORY (TRIAL_MEMORY / 8 * 7)

/* How many signatures a slice has at least, or nothing would come of a trial that begins with much
 * in memory; and after how many it is looked at. */
#define TRIAL_SLICE_MIN	  10000
#define TRIAL_CHECK_EVERY 256

/* A backstop for what libclamav takes at once; and for what it writes. */
#define TRIAL_MAX_MEMORY (UINT64_C(2) << 30)
#define TRIAL_MAX_FILE	 (UINT64_C(64) << 20)

/* Files are loaded one after the other into an engine, until it has enough; then the next begins,
 * in the same file, with the signature behind the last that was kept. */
struct trial_run {
	const struct trial *trial;
	char **files;
	size_t n_files;
	int statm; /* of this process: how much is resident */

	size_t file;	 /* that the slice is at */
	uint64_t from;	 /* the first of its signatures that was not kept before */
	uint64_t index;	 /* the signature that comes next */
	uint64_t next;	 /* the first that did not fit any more */
	uint64_t n_kept; /* in this slice */
	bool full;
	uint32_t signatures; /* kept in all slices */
};

static uint64_t trial_resident(const struct trial_run *run)
{
	unsigned long long size = 0, resident = 0;
	char text[128];
	ssize_t n = pread(run->statm, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	(void)sscanf(text, "%llu %llu", &size, &resident);
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Returns whether libclamav is to pass over a signature. */
static int trial_on_signature(const char *type, const char *name, unsigned custom, void *context)
{
	struct trial_run *run = context;
	const uint64_t index = run->index++;

	if (index < run->from || run->full)
		return 1;
	if (run->n_kept >= TRIAL_SLICE_MIN && run->n_kept % TRIAL_CHECK_EVERY == 0 &&
	    trial_resident(run) >= TRIAL_SLICE_MEMORY) {
		run->full = true;
		run->next = index;
		return 1;
	}
	run->n_kept++;
	return 0;
}

static int trial_problem(const char *path, int code, char *problem, size_t problem_size)
{
	const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;

	(void)snprintf(problem, problem_size, "%s: %s", name,
		       *message_errors() ? message_errors() : cl_strerror(code));
	return code == CL_EMEM ? -ENOMEM : code == CL_EOPEN ? -EIO : -EBADMSG;
}

static struct cl_engine *trial_engine(struct trial_run *run)
{
	struct cl_engine *engine = cl_engine_new();

	if (!engine)
		return NULL;
	if (cl_engine_set_num(engine, CL_ENGINE_DISABLE_CACHE, 1) != CL_SUCCESS ||
	    cl_engine_set_str(engine, CL_ENGINE_TMPDIR, run->trial->scratch) != CL_SUCCESS) {
		cl_engine_free(engine);
		return NULL;
	}
	cl_engine_set_clcb_sigload(engine, trial_on_signature, run);
	return engine;
}

/* Loads the rest of the file that the slice is at, or as much as fits. */
static int trial_load(struct trial_run *run, struct cl_engine *engine, char *problem,
		      size_t problem_size)
{
	const unsigned options = CL_DB_PHISHING | CL_DB_PHISHING_URLS |
				 (run->trial->as_signed ? CL_DB_BYTECODE : 0) |
				 (run->trial->detect_pua ? CL_DB_PUA : 0);
	unsigned loaded = 0;
	int r;

	run->index = 0;
	message_forget();
	/* Each load is the proof for the next, which need not be of another file. */
	count_watch();
	r = cl_load(run->files[run->file], engine, &loaded, options);
	count_prevent();
	if (r != CL_SUCCESS)
		return trial_problem(run->files[run->file], r, problem, problem_size);
	run->signatures += loaded;
	if (run->full) {
		run->from = run->next;
	} else {
		run->from = 0;
		run->file++;
	}
	return 0;
}

static int trial_slice(struct trial_run *run, char *problem, size_t problem_size)
{
	struct cl_engine *engine = trial_engine(run);
	int r = engine ? 0 : trial_problem(run->trial->path, CL_EMEM, problem, problem_size);
	int code;

	run->full = false;
	run->n_kept = 0;
	while (r == 0 && run->file < run->n_files && !run->full)
		r = trial_load(run, engine, problem, problem_size);
	if (r == 0) {
		message_forget();
		code = cl_engine_compile(engine);
		if (code != CL_SUCCESS)
			r = trial_problem(run->trial->path, code, problem, problem_size);
	}
	if (engine)
		cl_engine_free(engine);
	(void)malloc_trim(0);
	return r;
}

static int trial_add(struct trial_run *run, const char *path)
{
	char *copy = strdup(path);

	if (!copy)
		return -ENOMEM;
	run->files[run->n_files++] = copy;
	return 0;
}

static int trial_add_directory(struct trial_run *run)
{
	struct dirent **entries;
	int n = scandir(run->trial->path, &entries, NULL, alphasort), r = 0;
	char path[PATH_MAX];

	if (n < 0)
		return -errno;
	run->files = calloc((size_t)n + 1, sizeof(*run->files));
	if (!run->files)
		r = -ENOMEM;
	for (int i = 0; i < n; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", run->trial->path, entries[i]->d_name);
		if (r == 0 && signature_is_file(entries[i]->d_name))
			r = trial_add(run, path);
		free(entries[i]);
	}
	free(entries);
	return r;
}

static int trial_find_files(struct trial_run *run)
{
	struct stat status;

	if (stat(run->trial->path, &status) < 0)
		return -errno;
	if (S_ISDIR(status.st_mode))
		return trial_add_directory(run);
	run->files = calloc(1, sizeof(*run->files));
	return run->files ? trial_add(run, run->trial->path) : -ENOMEM;
}

/* Nothing of a file has been read yet. */
static int trial_confine(struct trial_run *run)
{
	int r = drop_new_privs();

	if (r == 0)
		r = trial_find_files(run);
	if (r == 0) {
		run->statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
		r = run->statm < 0 ? -errno : 0;
	}
	if (r == 0 && cl_init(CL_INIT_DEFAULT) != CL_SUCCESS)
		r = -ENOTSUP;
	return r == 0 ? sandbox_enter(run->trial->scratch, (const char *const *)run->files,
				      run->n_files)
		      : r;
}

/* The child's. What it allocates ends with it. */
static int trial_child(void *context, char *problem, size_t problem_size)
{
	struct trial_run *run = context;
	const struct trial *trial = run->trial;
	int r = trial_confine(run);

	if (r < 0) {
		(void)snprintf(problem, problem_size, "%s: cannot try these signatures: %s",
			       trial->path, strerror(-r));
		return r == -EBADMSG || r == -ETIMEDOUT ? -EIO : r;
	}
	message_listen();
	if (trial->verify)
		r = trial->verify(trial->path, trial->database, problem, problem_size);
	while (r == 0 && run->file < run->n_files)
		r = trial_slice(run, problem, problem_size);
	/* Of what this child may have. */
	if (r == -ENOMEM) {
		(void)snprintf(problem, problem_size, "%s: it takes more than %u MB to load",
			       trial->path, (unsigned)(TRIAL_MAX_MEMORY >> 20));
		r = -EBADMSG;
	}
	return r < 0 ? r : run->signatures > INT_MAX ? INT_MAX : (int)run->signatures;
}

int trial_run(const struct trial *trial, uint32_t *ret_signatures, char *problem,
	      size_t problem_size)
{
	struct trial_run run = {.trial = trial};
	const struct errand errand = {
		.what = "loading the signatures",
		.run = trial_child,
		.context = &run,
		.timeout_s = TRIAL_TIMEOUT_S,
		.max_memory = TRIAL_MAX_MEMORY,
		.max_file = TRIAL_MAX_FILE,
	};
	int r = errand_run(&errand, problem, problem_size);

	if (r < 0)
		return r == -ETIMEDOUT ? -EBADMSG : r;
	*ret_signatures = (uint32_t)r;
	return 0;
}
