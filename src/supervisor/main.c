/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * holdfastd: the program an administrator starts. Everything that may open a file or fail for a
 * reason the administrator can mend happens here, before the first mark is set.
 */
#include "../common/drop.h"
#include "../common/log.h"
#include "../common/program.h"
#include "changes.h"
#include "config.h"
#include "listener.h"
#include "memory.h"
#include "notify.h"
#include "supervisor.h"

#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXIT_BAD_CONFIG 2

/* Descriptors for the guard: one for each held open and each file being scanned, and some. */
#define DESCRIPTORS 65536

/*
 * What the supervisor does with each:
 *
 * - SETUID, SETGID: starting programs as the service's user
 * - SETPCAP: emptying their bounding sets
 * - SYS_ADMIN: the engine's mount namespace
 * - KILL: ending programs of the service's user
 * - IPC_LOCK: staying in memory
 * - DAC_READ_SEARCH: reading the configuration, and seeing the paths it names, on a reload
 */
static const int supervisor_capabilities[] = {
	CAP_SETUID, CAP_SETGID,	  CAP_SETPCAP,	       CAP_SYS_ADMIN,
	CAP_KILL,   CAP_IPC_LOCK, CAP_DAC_READ_SEARCH,
};

/* And what the guard, whom it starts, must be able to get beside: see src/guard/main.c. */
static const int bounding_capabilities[] = {
	CAP_SETUID,   CAP_SETGID,	   CAP_SETPCAP,	   CAP_SYS_ADMIN, CAP_KILL,
	CAP_IPC_LOCK, CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE, CAP_LEASE,	  CAP_SYS_NICE,
};

#define N(array) (sizeof(array) / sizeof((array)[0]))

static void main_report(void *context, int priority, unsigned line, const char *text)
{
	if (line)
		log_line(priority, "%s:%u: %s%s", (const char *)context, line,
			 priority == LOG_WARNING ? "warning: " : "", text);
	else
		log_line(priority, "%s: %s%s", (const char *)context,
			 priority == LOG_WARNING ? "warning: " : "", text);
}

/* As many as there may be, up to what the guard can use; it checks what it got. */
static void main_raise_files(void)
{
	struct rlimit limit = {DESCRIPTORS, DESCRIPTORS};

	if (setrlimit(RLIMIT_NOFILE, &limit) == 0 || getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* Inherited by the children; those that are to be ordinary raise their score again. */
static void main_avoid_oom(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "-1000", 5) < 0)
		log_warning(
			"when memory runs out this service may be killed first: cannot lower its "
			"oom_score_adj: %m");
	if (fd >= 0)
		close(fd);
}

static const char *main_parse(int argc, char **argv)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'v'},
		{0},
	};
	const char *path = CONF_FILE_DEFAULT;
	int option;

	while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			path = optarg;
			break;
		case 'h':
			(void)printf("Usage: holdfastd [--config FILE]\n\nProtects the paths named "
				     "in FILE (%s) in the foreground, until SIGTERM.\nSIGHUP "
				     "reloads the configuration and the signatures.\n",
				     CONF_FILE_DEFAULT);
			exit(0);
		case 'v':
			(void)printf("holdfastd %s\n", HOLDFAST_VERSION);
			exit(0);
		default:
			exit(EXIT_BAD_CONFIG);
		}
	}
	if (optind < argc) {
		log_error("unexpected argument '%s'; try --help", argv[optind]);
		exit(EXIT_BAD_CONFIG);
	}
	return path;
}

int main(int argc, char **argv)
{
	char program_dir[PATH_MAX], scratch[PATH_MAX], problem[WIRE_TEXT_MAX];
	struct child_setup setup = {.program_dir = program_dir, .scratch_dir = scratch};
	struct conf *conf;
	struct supervisor_files files = {0};
	int r;

	log_set_name("holdfastd");
	(void)umask(022);
	setup.config_path = main_parse(argc, argv);
	conf = conf_read_file(setup.config_path, main_report, (void *)setup.config_path);
	if (!conf || conf_resolve(conf, main_report, (void *)setup.config_path) < 0)
		return EXIT_BAD_CONFIG;
	if (geteuid() != 0) {
		log_error("must be started by root: only root can hold the opens of others");
		return 1;
	}

	setup.uid = conf->uid;
	setup.gid = conf->gid;
	program_find_directory(program_dir, sizeof(program_dir), child_name(CHILD_GUARD));
	if (listener_open(conf, scratch, sizeof(scratch), &files.listeners, problem,
			  sizeof(problem)) < 0) {
		log_error("%s", problem);
		return 1;
	}
	memory_open(&files.memory);
	files.changes = changes_open(conf, files.not_watched, sizeof(files.not_watched));
	notify_init();
	main_raise_files();
	main_avoid_oom();
	if (mlockall(MCL_CURRENT | MCL_FUTURE) < 0)
		log_warning("cannot lock memory: %m");
	r = drop_capabilities(supervisor_capabilities, N(supervisor_capabilities),
			      bounding_capabilities, N(bounding_capabilities));
	if (r < 0) {
		log_error("cannot give up privileges: %s", strerror(-r));
		return 1;
	}
	return supervisor_run(conf, &setup, &files);
}
