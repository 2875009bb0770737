/* SPDX-License-Identifier: GPL-2.0-only */
/* holdfast scan PATH...: looks at files now, with the rights of the caller. */
#include "cli.h"
#include "crew.h"
#include "full_scan.h"
#include "scan_options.h"
#include "service.h"
#include "show.h"
#include "standalone.h"
#include "standalone_conf.h"

#include "../common/clock.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/sysinfo.h>
#include <unistd.h>

/* While it may need more threads it looks that often. */
#define TICK_MS 2

/* How often the progress is drawn. */
#define DRAW_MS 100

/* The files are counted once it is seen that the scan takes a while. */
#define COUNT_AFTER_US (CLOCK_US_PER_SEC / 2)

/* After Ctrl-C verdicts under way are taken for so long. */
#define INTERRUPTED_US CLOCK_US_PER_SEC

/* Connections that may be lost over a file, to the service and to workers of our own. */
#define SERVICE_TRIES	 3
#define STANDALONE_TRIES 2

/* Of connections to the service, where nobody says how many. */
#define THREADS_PER_CPU 2
#define THREADS_USUALLY 8

struct scan {
	struct scan_options options;
	const char **paths; /* absolute, without symbolic links; strings are owned */
	size_t n_paths;
	struct conf *conf;
	int signals; /* signalfd */
	struct show *show;
	struct service service;
	struct standalone *standalone;
	struct crew *crew;
	struct walk_rules rules;
	pthread_t counter;
	bool has_counter;
	atomic_bool ends; /* the counter is to stop */
};

/* --- what to scan, and who does it --- */

static bool scan_resolve_paths(struct scan *scan)
{
	scan->paths = calloc((size_t)scan->options.n_paths + 1, sizeof(*scan->paths));
	for (int i = 0; scan->paths && i < scan->options.n_paths; i++) {
		char *path = realpath(scan->options.paths[i], NULL);

		if (path)
			scan->paths[scan->n_paths++] = path;
	}
	return scan->paths != NULL;
}

/* A path that is not there is an error of its own; the others are scanned. */
static void scan_report_missing(struct scan *scan)
{
	for (int i = 0; i < scan->options.n_paths; i++) {
		char *path = realpath(scan->options.paths[i], NULL);

		if (!path)
			show_unreadable(scan->show, scan->options.paths[i], -errno);
		free(path);
	}
}

static void scan_on_note(void *context, const char *text)
{
	show_note(context, text);
}

/* Starts or finds who scans. Returns whether there is somebody; if not, that was said. */
static bool scan_prepare_scanner(struct scan *scan)
{
	char problem[WIRE_TEXT_MAX];

	if (scan->options.standalone) {
		/* The engine's directory is removed in any case. */
		(void)signal(SIGPIPE, SIG_IGN);
		scan->signals = cli_block_signals();
		scan->conf = standalone_conf(&scan->options.cli, scan->options.database,
					     scan->options.threads);
		if (!scan->conf)
			return false;
		scan->standalone = standalone_start(scan->conf, scan->signals, scan_on_note,
						    scan->show, problem, sizeof(problem));
		if (scan->standalone)
			return true;
	} else {
		scan->conf = cli_find_service(&scan->options.cli);
		if (!scan->conf)
			return false;
		if (service_open(&scan->service, scan->conf->run_dir, problem, sizeof(problem)) ==
		    0) {
			scan->signals = cli_block_signals();
			return true;
		}
	}
	(void)cli_error("%s", problem);
	return false;
}

static const struct wire_engine_info *scan_info(const struct scan *scan)
{
	return scan->standalone ? standalone_info(scan->standalone) : &scan->service.info;
}

static unsigned scan_threads_max(const struct scan_options *options)
{
	unsigned n = options->threads, cpus = (unsigned)get_nprocs();

	if (!n)
		n = THREADS_PER_CPU * cpus < THREADS_USUALLY ? THREADS_PER_CPU * cpus
							     : THREADS_USUALLY;
	return n < SCAN_CONNECTIONS_MAX ? n : SCAN_CONNECTIONS_MAX;
}

static struct crew *scan_begin(struct scan *scan)
{
	const struct wire_engine_info *info = scan_info(scan);
	struct crew_options options = {
		.paths = scan->paths,
		.n_paths = scan->n_paths,
		.rules = scan->rules,
		.flags = scan->options.afresh ? WIRE_SCAN_AFRESH : 0,
		.silence_ms = -1,
		.show = scan->show,
	};

	if (info->test_only)
		show_note(scan->show, "ONLY THE EICAR TEST SIGNATURE IS LOADED: no malware will "
				      "be found");
	if (scan->standalone) {
		/* One for each worker, who takes one file at a time. */
		options.threads = options.threads_max = info->workers;
		options.window = 1;
		options.tries = STANDALONE_TRIES;
		options.silence_ms = (int)info->scan_deadline_ms;
		options.connect = standalone_connect;
		options.context = scan->standalone;
	} else {
		options.threads_max = scan_threads_max(&scan->options);
		options.threads = 1 + info->workers / SCAN_WINDOW;
		options.window = SCAN_WINDOW;
		options.tries = SERVICE_TRIES;
		options.may_ask_why = true;
		options.is_limited = true;
		options.connect = service_connect;
		options.context = &scan->service;
	}
	return crew_new(&options);
}

/* --- counting for the progress --- */

static void *scan_count(void *context)
{
	struct scan *scan = context;
	struct walk *walk = walk_new(scan->paths, scan->n_paths, &scan->rules, NULL, 0);
	struct walk_item item = {.kind = WALK_SKIPPED};
	uint64_t files = 0, bytes = 0;

	while (walk && item.kind != WALK_END && !atomic_load(&scan->ends)) {
		walk_next(walk, &item);
		if (item.kind == WALK_FILE) {
			files++;
			bytes += item.status.stx_size;
		}
	}
	if (item.kind == WALK_END)
		show_set_totals(scan->show, files, bytes);
	walk_free(walk);
	return NULL;
}

/* --- until the end --- */

struct scan_clock {
	uint64_t began_us, drawn_us;
	uint64_t interrupted_us; /* 0: it was not */
};

/* What is to be done now and then. Returns how long it can wait for the next time, in
 * milliseconds. */
static int scan_tick(struct scan *scan, struct scan_clock *clock, bool progress)
{
	uint64_t now = clock_monotonic_us();
	bool may_grow = crew_tick(scan->crew);

	if (now - clock->drawn_us >= DRAW_MS * CLOCK_US_PER_MS) {
		clock->drawn_us = now;
		show_tick(scan->show);
	}
	if (progress && !scan->has_counter && now - clock->began_us > COUNT_AFTER_US)
		scan->has_counter = pthread_create(&scan->counter, NULL, scan_count, scan) == 0;
	return may_grow && now - clock->began_us < CLOCK_US_PER_SEC ? TICK_MS : DRAW_MS / 4;
}

/* Waits until all is done or the caller has enough. Returns whether all threads have ended. */
static bool scan_wait(struct scan *scan, bool progress, bool *ret_interrupted)
{
	struct pollfd ready[] = {{.fd = crew_fd(scan->crew), .events = POLLIN},
				 {.fd = scan->signals, .events = POLLIN}};
	struct scan_clock clock = {.began_us = clock_monotonic_us()};
	struct signalfd_siginfo signal;

	clock.drawn_us = clock.began_us;
	while (!ready[0].revents) {
		if (poll(ready, 2, scan_tick(scan, &clock, progress)) < 0)
			continue;
		if (ready[1].revents) {
			(void)!read(scan->signals, &signal, sizeof(signal));
			if (clock.interrupted_us)
				return false;
			clock.interrupted_us = clock_monotonic_us();
			*ret_interrupted = true;
			crew_stop(scan->crew);
		}
		if (clock.interrupted_us &&
		    clock_monotonic_us() - clock.interrupted_us > INTERRUPTED_US)
			return false;
	}
	return true;
}

/* Each file under way is a descriptor. */
static void scan_raise_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* Ends what was begun. Threads that wait for an open, or a disk, go with the process. */
static void scan_finish(struct scan *scan, bool all_ended)
{
	atomic_store(&scan->ends, true);
	if (all_ended) {
		if (scan->has_counter)
			(void)pthread_join(scan->counter, NULL);
		scan->crew = crew_free(scan->crew);
	}
	/* They may still wait for it: it ends, but stays in memory. */
	if (all_ended)
		scan->standalone = standalone_free(scan->standalone);
	else if (scan->standalone)
		standalone_stop(scan->standalone);
}

static int scan_run(struct scan *scan, bool progress)
{
	bool interrupted = false, all_ended;

	scan->crew = scan_begin(scan);
	if (!scan->crew) {
		scan_finish(scan, true);
		return cli_error("out of memory");
	}
	all_ended = scan_wait(scan, progress, &interrupted);
	show_end(scan->show, scan_info(scan), interrupted);
	scan_finish(scan, all_ended);
	return show_exit_code(scan->show);
}

/* What has begun stays in memory where threads may still use it. */
static int scan_paths(struct scan *scan)
{
	const struct scan_options *options = &scan->options;
	bool progress = isatty(STDERR_FILENO) && !options->cli.json && !options->no_progress;
	const struct show_options show = {
		.json = options->cli.json,
		.verbose = options->verbose,
		.summary = !options->no_summary,
		.progress = progress,
		.out = stdout,
		.err = stderr,
		.named = scan->paths,
		.n_named = scan->n_paths,
	};

	scan->rules = (struct walk_rules){
		.exclude = &options->exclude,
		.cross_filesystems = options->cross_filesystems,
		.remote = options->remote,
	};
	scan->show = show_new(&show);
	if (!scan->show)
		return cli_error("out of memory");
	scan_report_missing(scan);
	return scan_prepare_scanner(scan) ? scan_run(scan, progress) : CLI_ERROR;
}

static void scan_free(struct scan *scan)
{
	/* Threads are left that wait, and use it. */
	if (scan->crew)
		return;
	for (size_t i = 0; i < scan->n_paths; i++)
		free((char *)scan->paths[i]);
	free(scan->paths);
	conf_free(scan->conf);
	show_free(scan->show);
	scan_options_free(&scan->options);
	if (scan->signals >= 0)
		close(scan->signals);
	free(scan);
}

static int scan_full(const struct scan_options *options)
{
	const struct full_scan_options full = {
		.verb = options->stop	  ? CONTROL_FULL_SCAN_STOP
			: options->afresh ? CONTROL_FULL_SCAN_AFRESH
					  : CONTROL_FULL_SCAN_START,
		.wait = options->wait,
		.progress = !options->no_progress && !options->cli.json,
	};

	return full_scan_run(&options->cli, &full);
}

int verb_scan(const struct cli *cli, int argc, char **argv)
{
	struct scan *scan = calloc(1, sizeof(*scan));
	int code;

	if (!scan)
		return cli_error("out of memory");
	scan->signals = -1;
	code = scan_options_parse(&scan->options, cli, argc, argv);
	if (code < 0 && scan->options.full) {
		code = scan_full(&scan->options);
	} else if (code < 0) {
		scan_raise_files();
		code = scan_resolve_paths(scan) ? scan_paths(scan) : cli_error("out of memory");
	}
	scan_free(scan);
	return code;
}
