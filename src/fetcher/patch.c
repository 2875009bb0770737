/* SPDX-License-Identifier: GPL-2.0-only */
#include "patch.h"

#include "../common/drop.h"
#include "../common/errand.h"
#include "../common/tree.h"
#include "../signatures/container.h"

#include <arpa/inet.h>
#include <clamav.h>
#include <errno.h>
#include <fcntl.h>
#include <libfreshclam.h>
#include <limits.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define PATCH_MAX_MEMORY (UINT64_C(2) << 30)
#define PATCH_MAX_FILE	 (UINT64_C(2) << 30)

/* libfreshclam says in several ways, or by a crash, that it cannot write. Where less than so many
 * bytes are left then, this is why. */
#define PATCH_ROOM_MIN (UINT64_C(1) << 20)

/* Whom libfreshclam talks to waits no longer: it is this process. */
#define PATCH_REQUEST_S 30

struct patch_run {
	const struct patch *patch;
	/* Absolute, as libfreshclam changes the working directory, and without symbolic links. */
	char base[PATH_MAX], cdiffs[PATH_MAX];
	char apply[PATH_MAX];		/* the directory that libfreshclam has, below work */
	char head[CONTAINER_HEAD_SIZE]; /* of what the server says it has */
	int output;			/* what libfreshclam prints */
	uint32_t served;		/* the cdiff that was asked for last; 0: none */
	bool is_full;			/* the disk, when a cdiff was given up */
};

static bool patch_is_full(const char *directory)
{
	struct statvfs status;

	return statvfs(directory, &status) == 0 &&
	       (uint64_t)status.f_bavail * status.f_frsize < PATCH_ROOM_MIN;
}

static int patch_say_full(const char *directory, char *problem, size_t problem_size)
{
	(void)snprintf(problem, problem_size,
		       "the filesystem of %s is full: make room there for a database that is "
		       "unpacked",
		       directory);
	return -ENOSPC;
}

static void patch_cdiff_path(const char *directory, const char *database, uint32_t version,
			     char *buffer, size_t size)
{
	(void)snprintf(buffer, size, "%s/%s-%u.cdiff", directory, database, version);
}

/* The server. It answers in a thread of the child. */

static enum MHD_Result patch_send(struct MHD_Connection *connection, unsigned status,
				  struct MHD_Response *response)
{
	enum MHD_Result result;

	if (!response)
		return MHD_NO;
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result patch_send_cdiff(struct patch_run *run, struct MHD_Connection *connection,
					uint32_t version)
{
	char path[PATH_MAX];
	struct stat status;
	int fd;

	run->served = version;
	patch_cdiff_path(run->cdiffs, run->patch->database, version, path, sizeof(path));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &status) < 0) {
		if (fd >= 0)
			close(fd);
		return MHD_NO;
	}
	return patch_send(connection, MHD_HTTP_OK,
			  MHD_create_response_from_fd64((uint64_t)status.st_size, fd));
}

static bool patch_is_cdiff(const struct patch *patch, const char *url, uint32_t *ret_version)
{
	char expected[128];

	for (uint32_t version = patch->from + 1; version <= patch->to; version++) {
		(void)snprintf(expected, sizeof(expected), "/%s-%u.cdiff", patch->database,
			       version);
		if (!strcmp(url, expected)) {
			*ret_version = version;
			return true;
		}
	}
	return false;
}

static enum MHD_Result patch_answer(void *context, struct MHD_Connection *connection,
				    const char *url, const char *method, const char *version,
				    const char *data, size_t *data_size, void **request)
{
	struct patch_run *run = context;
	const char *range =
		MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_RANGE);
	char whole[128];
	uint32_t wanted;

	(void)snprintf(whole, sizeof(whole), "/%s.cvd", run->patch->database);
	if (patch_is_cdiff(run->patch, url, &wanted))
		return patch_send_cdiff(run, connection, wanted);
	if (!strcmp(url, whole) && range)
		return patch_send(connection, MHD_HTTP_PARTIAL_CONTENT,
				  MHD_create_response_from_buffer(sizeof(run->head), run->head,
								  MHD_RESPMEM_PERSISTENT));
	/* A whole file is wanted after a cdiff that was no good; what it was unpacked to is still
	 * there. */
	if (!strcmp(url, whole))
		run->is_full = patch_is_full(run->apply);
	return patch_send(connection, MHD_HTTP_NOT_FOUND,
			  MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT));
}

static struct MHD_Daemon *patch_serve(struct patch_run *run, char *url, size_t url_size)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	struct MHD_Daemon *daemon = MHD_start_daemon(
		MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, patch_answer, run,
		MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address, MHD_OPTION_END);
	const union MHD_DaemonInfo *info =
		daemon ? MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT) : NULL;

	if (info)
		(void)snprintf(url, url_size, "http://127.0.0.1:%u", info->port);
	else if (daemon)
		MHD_stop_daemon(daemon);
	return info ? daemon : NULL;
}

/* The child, which libfreshclam has for itself. */

/* The head of base, with the version that is wanted in the place of its own: the third field. */
static int patch_make_head(struct patch_run *run)
{
	char text[CONTAINER_HEAD_SIZE + 1] = "", wanted[2 * CONTAINER_HEAD_SIZE];
	int fd = open(run->base, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, CONTAINER_HEAD_SIZE);
	char *version;

	if (fd >= 0)
		close(fd);
	version = n == CONTAINER_HEAD_SIZE ? strchr(text, ':') : NULL;
	version = version ? strchr(version + 1, ':') : NULL;
	if (!version)
		return -EINVAL;
	version++;
	(void)snprintf(wanted, sizeof(wanted), "%.*s%u%-*s", (int)(version - text), text,
		       run->patch->to, CONTAINER_HEAD_SIZE, version + strcspn(version, ":"));
	memcpy(run->head, wanted, sizeof(run->head));
	return 0;
}

/* libfreshclam's first error is the cause of the others. */
static void patch_first_error(const struct patch_run *run, char *buffer, size_t size)
{
	static const char *const marks[] = {"LibClamAV Error: ", "ERROR: "};
	char text[16384];
	ssize_t n = pread(run->output, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n')
		for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
			const char *said = line + strlen(marks[i]);

			if (strncmp(line, marks[i], strlen(marks[i])) != 0)
				continue;
			(void)snprintf(buffer, size, "%.*s", (int)strcspn(said, "\n"), said);
			return;
		}
	(void)snprintf(buffer, size, "libfreshclam does not say why");
}

static int patch_confine(struct patch_run *run)
{
	const char *const readable[] = {run->base, run->cdiffs};
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), r;

	run->output = memfd_create("output", MFD_CLOEXEC);
	if (null < 0 || run->output < 0 || dup2(null, STDIN_FILENO) < 0 ||
	    dup2(run->output, STDOUT_FILENO) < 0 || dup2(run->output, STDERR_FILENO) < 0)
		return -errno;
	/* No proxy, no directory for temporary files but ours. */
	if (clearenv() != 0)
		return -ENOMEM;
	r = drop_new_privs();
	if (r == 0)
		r = drop_filesystem(run->apply, readable, sizeof(readable) / sizeof(readable[0]));
	return r < 0 ? r : 0;
}

static int patch_update(struct patch_run *run, char *url)
{
	fc_config config = {
		.msgFlags = FC_CONFIG_MSG_STDOUT | FC_CONFIG_MSG_QUIET,
		.maxAttempts = 1,
		.connectTimeout = PATCH_REQUEST_S,
		.requestTimeout = PATCH_REQUEST_S,
		.databaseDirectory = run->apply,
		.tempDirectory = run->apply,
	};
	int updated = 0;

	if (fc_initialize(&config) != FC_SUCCESS)
		return -EIO;
	return fc_update_database(run->patch->database, &url, 1, 1, NULL, 1, NULL, &updated) ==
				       FC_SUCCESS &&
			       updated
		       ? 0
		       : -EBADMSG;
}

/* Whether what came of it is what was wanted: what does not fit may have applied nevertheless. */
static int patch_check(const struct patch_run *run)
{
	char path[PATH_MAX];
	struct container_head head;
	int r;

	(void)snprintf(path, sizeof(path), "%s/%s.cld", run->apply, run->patch->database);
	r = container_read(path, &head);
	return r == 0 && head.version != run->patch->to ? -EBADMSG : r;
}

static int patch_child(void *context, char *problem, size_t problem_size)
{
	struct patch_run *run = context;
	const struct patch *patch = run->patch;
	struct MHD_Daemon *daemon = NULL;
	char url[64], error[512];
	int r = cl_init(CL_INIT_DEFAULT) == CL_SUCCESS ? patch_confine(run) : -ENOTSUP;

	if (r == 0)
		r = patch_make_head(run);
	if (r == 0) {
		daemon = patch_serve(run, url, sizeof(url));
		r = daemon ? 0 : -errno;
	}
	if (r < 0) {
		(void)snprintf(problem, problem_size, "%s: cannot be patched: %s", run->base,
			       strerror(-r));
		return r;
	}
	r = patch_update(run, url);
	MHD_stop_daemon(daemon);
	if (r == 0)
		r = patch_check(run);
	if (r == 0)
		return 0;
	if (run->is_full)
		return patch_say_full(patch->work, problem, problem_size);
	patch_first_error(run, error, sizeof(error));
	if (!run->served) {
		(void)snprintf(problem, problem_size, "%s: cannot be patched: %s", run->base,
			       error);
		return -EIO;
	}
	(void)snprintf(problem, problem_size, "%s-%u.cdiff: %s", patch->database, run->served,
		       error);
	return r;
}

/* Every cdiff is there; where there is nothing in one, the whole database is to be had. */
static int patch_check_cdiffs(const struct patch *patch, char *problem, size_t problem_size)
{
	char path[PATH_MAX];
	struct stat status;

	if (patch->to <= patch->from) {
		(void)snprintf(problem, problem_size, "%s: version %u is not newer than %u",
			       patch->database, patch->to, patch->from);
		return -EINVAL;
	}
	for (uint32_t version = patch->from; version++ < patch->to;) {
		int r = 0;

		patch_cdiff_path(patch->cdiffs, patch->database, version, path, sizeof(path));
		if (stat(path, &status) < 0)
			r = -errno;
		else if (status.st_size == 0 || !S_ISREG(status.st_mode))
			r = -EBADMSG;
		if (r < 0) {
			(void)snprintf(problem, problem_size, "%s: %s", path,
				       r == -EBADMSG ? "it is empty" : strerror(-r));
			return r;
		}
	}
	return 0;
}

/* The base is read by a symbolic link: libfreshclam removes what it replaces, and a child that went
 * astray may only write below apply. */
static int patch_prepare(struct patch_run *run)
{
	const struct patch *patch = run->patch;
	char work[PATH_MAX], link[PATH_MAX];
	const char *suffix;

	if (!realpath(patch->work, work) || !realpath(patch->base, run->base) ||
	    !realpath(patch->cdiffs, run->cdiffs))
		return -errno;
	suffix = strrchr(patch->base, '.');
	(void)snprintf(run->apply, sizeof(run->apply), "%s/apply", work);
	(void)snprintf(link, sizeof(link), "%s/%s%s", run->apply, patch->database,
		       suffix ? suffix : "");
	return mkdir(run->apply, 0700) < 0 || symlink(run->base, link) < 0 ? -errno : 0;
}

static int patch_take(const struct patch_run *run, char *problem, size_t problem_size)
{
	char from[PATH_MAX], to[PATH_MAX];
	struct stat status;

	(void)snprintf(from, sizeof(from), "%s/%s.cld", run->apply, run->patch->database);
	(void)snprintf(to, sizeof(to), "%s/%s.cld", run->patch->work, run->patch->database);
	if (lstat(from, &status) == 0 && S_ISREG(status.st_mode) && rename(from, to) == 0)
		return 0;
	(void)snprintf(problem, problem_size, "%s: nothing came of applying cdiffs", from);
	return -EBADMSG;
}

int patch_apply(const struct patch *patch, char *problem, size_t problem_size)
{
	struct patch_run run = {.patch = patch};
	const struct errand errand = {
		.what = "applying cdiffs",
		.run = patch_child,
		.context = &run,
		.timeout_s = PATCH_TIMEOUT_S,
		.max_memory = PATCH_MAX_MEMORY,
		.max_file = PATCH_MAX_FILE,
	};
	int r = patch_check_cdiffs(patch, problem, problem_size);

	if (r < 0)
		return r;
	r = patch_prepare(&run);
	if (r < 0)
		(void)snprintf(problem, problem_size, "%s: cannot be patched in %s: %s",
			       patch->base, patch->work, strerror(-r));
	if (r == 0)
		r = errand_run(&errand, problem, problem_size);
	if (r == 0)
		r = patch_take(&run, problem, problem_size);
	else if (r == -EBADMSG && patch_is_full(patch->work))
		r = patch_say_full(patch->work, problem, problem_size);
	(void)tree_remove(run.apply);
	return r;
}
