/* SPDX-License-Identifier: GPL-2.0-only */
#include "standalone_fetch.h"

#include "../common/chan.h"
#include "../common/drop.h"
#include "../common/program.h"
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FETCHER "holdfast-fetch"

static int fetch_confine(const void *context)
{
	const struct conf *conf = context;

	return geteuid() == 0 ? drop_to_user(conf->uid, conf->gid) : drop_new_privs();
}

/* --- directories --- */

/* Whether the service's user may write there, which that user finds out. Returns 0 or a negative
 * errno. */
static int fetch_try_directory(const struct conf *conf, const char *path)
{
	char inside[PATH_MAX + 2];
	int status = 0;
	pid_t pid;

	/* A file is none. */
	(void)snprintf(inside, sizeof(inside), "%s/.", path);
	pid = fork();
	if (pid == 0) {
		int r = fetch_confine(conf);

		_exit(r < 0 ? -r : access(inside, R_OK | W_OK | X_OK) < 0 ? errno : 0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

/* Makes a directory, which belongs to the service's user, where there is none. */
static bool fetch_make_directory(const struct conf *conf, const char *path, char *problem,
				 size_t size)
{
	int fd, r = 0;

	if (mkdir(path, 0755) < 0) {
		if (errno == EEXIST)
			return true;
		(void)snprintf(problem, size, "cannot make the directory %s: %s", path,
			       strerror(errno));
		return false;
	}
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || (geteuid() == 0 && fchown(fd, conf->uid, conf->gid) < 0))
		r = -errno;
	if (fd >= 0)
		close(fd);
	if (r < 0)
		(void)snprintf(problem, size, "cannot give the directory %s to user %s: %s", path,
			       conf->user, strerror(-r));
	return r == 0;
}

static bool fetch_check_directory(const struct conf *conf, const char *path, char *problem,
				  size_t size)
{
	int r = fetch_try_directory(conf, path);

	if (r == -EACCES)
		(void)snprintf(problem, size,
			       "the service's user, %s, may not write to %s, or not reach it: "
			       "name a directory that belongs to it and to nobody else",
			       conf->user, path);
	else if (r < 0)
		(void)snprintf(problem, size, "%s: %s", path, strerror(-r));
	return r == 0;
}

/* Root makes nothing where somebody else leads it to. */
static bool fetch_make_mirror(const struct conf *conf, const char *path, char *problem, size_t size)
{
	char *here = *path == '/' ? strdup("") : realpath(".", NULL), *full = NULL, *link = NULL;
	bool is_made = false;

	if (here && asprintf(&full, "%s/%s", here, path) >= 0 && geteuid() == 0)
		link = conf_find_foreign_link(full);
	if (link)
		(void)snprintf(problem, size,
			       "%s is a symbolic link that does not belong to root: name the path "
			       "it stands for",
			       link);
	else if (!full)
		(void)snprintf(problem, size, "out of memory");
	else
		is_made = fetch_make_directory(conf, path, problem, size);
	free(link);
	free(full);
	free(here);
	return is_made;
}

/* The directory of signatures, and that of the mirror: its real path goes to ret_mirror, which is
 * empty where there is none. */
static bool fetch_prepare_directories(const struct conf *conf, const char *mirror_to,
				      char ret_mirror[PATH_MAX], char *problem, size_t size)
{
	char directory[PATH_MAX], real[PATH_MAX];

	ret_mirror[0] = '\0';
	(void)umask(022);
	conf_signatures_dir(conf, directory, sizeof(directory));
	if (!conf->signatures) {
		(void)mkdir(conf->state_dir, 0755);
		if (!fetch_make_directory(conf, directory, problem, size))
			return false;
	}
	if (!mirror_to)
		return fetch_check_directory(conf, directory, problem, size);
	if (!fetch_make_mirror(conf, mirror_to, problem, size))
		return false;
	if (!realpath(mirror_to, ret_mirror)) {
		(void)snprintf(problem, size, "%s: %s", mirror_to, strerror(errno));
		return false;
	}
	if (realpath(directory, real) && !strcmp(real, ret_mirror)) {
		(void)snprintf(problem, size,
			       "%s is the directory of signatures: what a mirror has would be "
			       "loaded too; name another directory",
			       mirror_to);
		return false;
	}
	return fetch_check_directory(conf, ret_mirror, problem, size);
}

/* --- the run --- */

/* Tells it what to do, and gives it somebody to tell. */
static int fetch_equip(struct standalone_fetch *fetch, const struct conf *conf, const char *mirror)
{
	const struct wire_plain config = {.header = WIRE_INIT(WIRE_CONFIG, struct wire_plain)};
	const struct wire_peer peer = {
		.header = WIRE_INIT(WIRE_PEER, struct wire_peer),
		.role = WIRE_PEER_UPDATE,
	};
	struct wire_fetch what = {.header = WIRE_INIT(WIRE_FETCH, struct wire_fetch)};
	int snapshot = conf_snapshot(conf), ends[2], r;

	if (snapshot < 0)
		return snapshot;
	(void)snprintf(what.mirror_to, sizeof(what.mirror_to), "%s", mirror);
	r = chan_send(fetch->channel, &config.header, snapshot);
	close(snapshot);
	if (r == 0)
		r = chan_send(fetch->channel, &what.header, -1);
	if (r == 0)
		r = chan_pair(ends);
	if (r < 0)
		return r;
	fetch->told = ends[0];
	r = chan_send(fetch->channel, &peer.header, ends[1]);
	close(ends[1]);
	return r;
}

bool standalone_fetch_start(struct standalone_fetch *fetch, const struct conf *conf,
			    const char *mirror_to, char *problem, size_t problem_size)
{
	char directory[PATH_MAX], mirror[PATH_MAX];
	pid_t pid;
	int r;

	*fetch = (struct standalone_fetch){.channel = -1, .told = -1};
	if (geteuid() != 0 && geteuid() != conf->uid) {
		(void)snprintf(problem, problem_size,
			       "without the service only root, or user %s, may fetch signatures",
			       conf->user);
		return false;
	}
	if (!conf->mirror.n_entries && !conf->custom.n_entries) {
		(void)snprintf(problem, problem_size,
			       "[signatures] names neither mirror nor custom: there is nowhere to "
			       "fetch from");
		return false;
	}
	if (!fetch_prepare_directories(conf, mirror_to, mirror, problem, problem_size))
		return false;
	program_find_directory(directory, sizeof(directory), FETCHER);
	pid = launch_start(directory, FETCHER, fetch_confine, conf, &fetch->channel);
	r = pid < 0 ? pid : 0;
	if (r == 0) {
		fetch->pid = pid;
		r = fetch_equip(fetch, conf, mirror);
	}
	if (r < 0) {
		(void)snprintf(problem, problem_size, "cannot start the fetcher: %s", strerror(-r));
		standalone_fetch_end(fetch);
	}
	return r == 0;
}

void standalone_fetch_end(struct standalone_fetch *fetch)
{
	if (fetch->pid > 0)
		launch_end(fetch->pid);
	if (fetch->channel >= 0)
		close(fetch->channel);
	if (fetch->told >= 0)
		close(fetch->told);
	*fetch = (struct standalone_fetch){.channel = -1, .told = -1};
}
