/* SPDX-License-Identifier: GPL-2.0-only */
#include "listener.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 64

static int listener_make_directory(const char *path, mode_t mode, uid_t uid, gid_t gid,
				   char *problem, size_t problem_size)
{
	int r = 0;

	if (mkdir(path, mode) == 0)
		/* In this order: nobody who gave a directory away may change its mode, but by
		 * CAP_FOWNER. */
		r = chmod(path, mode) < 0 || chown(path, uid, gid) < 0 ? -errno : 0;
	else if (errno != EEXIST)
		r = -errno;
	if (r < 0)
		(void)snprintf(problem, problem_size, "cannot make the directory %s: %s", path,
			       strerror(-r));
	return r;
}

/* A socket file that nobody listens on was left by a service that was killed. */
static int listener_remove_stale(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), r = 0;

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
		r = -EADDRINUSE;
	else if (errno == ECONNREFUSED && unlink(address->sun_path) < 0)
		r = -errno;
	close(fd);
	return r;
}

static int listener_bind(int fd, const struct sockaddr_un *address, gid_t group, mode_t mode)
{
	if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ||
	    chown(address->sun_path, 0, group) < 0 || chmod(address->sun_path, mode) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return -errno;
	return 0;
}

/* Makes a socket in run-dir that this group, or everybody, may connect to. */
static int listener_make_socket(const struct conf *conf, const char *name, mode_t mode,
				char *problem, size_t problem_size)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, r;

	if (snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", conf->run_dir, name) >=
	    (int)sizeof(address.sun_path)) {
		(void)snprintf(problem, problem_size, "run-dir: the path is too long for a socket");
		return -ENAMETOOLONG;
	}

	r = listener_remove_stale(&address);
	if (r < 0) {
		(void)snprintf(problem, problem_size,
			       r == -EADDRINUSE
				       ? "another holdfastd is running: it listens on %s (%s)"
				       : "cannot make %s: %s",
			       address.sun_path, strerror(-r));
		return r;
	}
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	r = fd < 0 ? -errno : listener_bind(fd, &address, conf->control_gid, mode);
	if (r < 0) {
		(void)snprintf(problem, problem_size, "cannot make %s: %s", address.sun_path,
			       strerror(-r));
		if (fd >= 0)
			close(fd);
		return r;
	}
	return fd;
}

int listener_open(const struct conf *conf, char *scratch, size_t scratch_size,
		  struct listeners *ret, char *problem, size_t problem_size)
{
	char scans[PATH_MAX], reports[PATH_MAX], signatures[PATH_MAX];
	const struct {
		const char *path;
		mode_t mode;
		uid_t uid;
		gid_t gid;
	} directories[] = {
		{conf->run_dir, 0755, 0, 0},
		{conf->state_dir, 0755, 0, 0},
		{scratch, 0700, conf->uid, conf->gid},
		/* The guard's; what it makes there belongs to control-group, to read. */
		{scans, 02750, 0, conf->control_gid},
		{reports, 02750, 0, conf->control_gid},
		/* The fetcher's, who makes files in it for control-group to read. One that is
		 * configured is the administrator's: it is neither made nor given away. */
		{conf->signatures ? NULL : signatures, 02755, conf->uid, conf->control_gid},
	};
	int r = 0;

	(void)snprintf(scratch, scratch_size, "%s/scratch", conf->run_dir);
	(void)snprintf(scans, sizeof(scans), "%s/%s", conf->state_dir, CONTROL_SCANS_DIR);
	(void)conf_signatures_dir(conf, signatures, sizeof(signatures));
	(void)snprintf(reports, sizeof(reports), "%s/%s", conf->state_dir, CONTROL_REPORTS_DIR);
	for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]) && r == 0; i++)
		if (directories[i].path)
			r = listener_make_directory(directories[i].path, directories[i].mode,
						    directories[i].uid, directories[i].gid, problem,
						    problem_size);
	if (r < 0)
		return r;
	ret->control = listener_make_socket(conf, CONTROL_SOCKET_NAME, 0660, problem, problem_size);
	if (ret->control < 0)
		return ret->control;
	ret->scan = listener_make_socket(conf, SCAN_SOCKET_NAME, 0666, problem, problem_size);
	if (ret->scan < 0)
		close(ret->control);
	return ret->scan < 0 ? ret->scan : 0;
}
