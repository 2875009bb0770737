/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * holdfast verify [PATH]: does it work? Writes the EICAR test file below an include path (or at
 * PATH), tries to read it as an unprivileged user, and removes it.
 */
#include "cli.h"

#include "../common/match.h"
#include "eicar.h" /* made from config/eicar.ndb */

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Whom to try as. */
#define UNPRIVILEGED_USER "nobody"

/* An open that has not been answered after so long will not be. */
#define PATIENCE_S 120

/* The child's exit status where it is no errno. */
#define CANNOT_BECOME_USER 255

struct trial {
	char directory[PATH_MAX]; /* made for the trial; empty: the caller named the file */
	char path[PATH_MAX + 16];
	int directory_fd; /* of directory, so that nobody can put another one in its place; or
			     AT_FDCWD */
	const char *user; /* who tried; NULL: the caller */
	int error;	  /* of the open; 0: it was read */
};

/* The file's name as seen from directory_fd. */
static const char *trial_name(const struct trial *trial)
{
	return trial->directory_fd == AT_FDCWD ? trial->path : strrchr(trial->path, '/') + 1;
}

/* The signature spells the file in hexadecimal, so that this program does not look like one. */
static bool verify_write_eicar(int fd)
{
	const char *hex = strrchr(eicar_signature, ':') + 1;
	char bytes[128];
	size_t n = 0;
	unsigned byte;

	while (n < sizeof(bytes) && sscanf(hex + 2 * n, "%2x", &byte) == 1)
		bytes[n++] = (char)byte;
	return write(fd, bytes, n) == (ssize_t)n;
}

static int verify_make(struct trial *trial)
{
	int fd = openat(trial->directory_fd, trial_name(trial),
			O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	int error;

	if (fd < 0)
		return cli_error("cannot write %s: %s", trial->path, strerror(errno));
	error = fchmod(fd, 0644) < 0 || !verify_write_eicar(fd) ? errno : 0;
	close(fd);
	if (error)
		(void)unlinkat(trial->directory_fd, trial_name(trial), 0);
	return error ? cli_error("cannot write %s: %s", trial->path, strerror(error)) : CLI_OK;
}

/* Makes the directory, which others may enter. Where it is may belong to a user who moves it away
 * and puts something else there: so what is changed is what was opened, and only if it is ours. */
static int verify_make_directory(struct trial *trial)
{
	struct stat status;
	int error;

	if (!mkdtemp(trial->directory)) {
		error = errno;
	} else {
		trial->directory_fd =
			open(trial->directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		error = trial->directory_fd < 0 || fstat(trial->directory_fd, &status) < 0 ? errno
											   : 0;
		if (!error && (status.st_uid != geteuid() || fchmod(trial->directory_fd, 0755) < 0))
			error = EPERM;
		if (!error)
			return CLI_OK;
		(void)rmdir(trial->directory);
	}
	(void)cli_error("cannot make a directory %s: %s", trial->directory, strerror(error));
	trial->directory[0] = '\0';
	return CLI_ERROR;
}

/* Decides on the file: at PATH, in the directory PATH, or in one below the first include path. */
static int verify_place(const struct cli *cli, const char *path, struct trial *trial)
{
	struct conf *conf = NULL;
	struct stat status;

	if (path && (stat(path, &status) < 0 || !S_ISDIR(status.st_mode))) {
		(void)snprintf(trial->path, sizeof(trial->path), "%s", path);
		return CLI_OK;
	}
	if (path) {
		(void)snprintf(trial->directory, sizeof(trial->directory),
			       "%s/.holdfast-verify-XXXXXX", path);
	} else {
		const char *rule;

		conf = cli_read_conf(cli);
		if (!conf)
			return CLI_ERROR;
		rule = conf->include.entries[0].text;
		(void)snprintf(trial->directory, sizeof(trial->directory),
			       "%.*s/.holdfast-verify-XXXXXX", (int)match_literal_length(rule),
			       rule);
		conf_free(conf);
	}

	if (verify_make_directory(trial) != CLI_OK)
		return CLI_ERROR;
	(void)snprintf(trial->path, sizeof(trial->path), "%s/eicar.com", trial->directory);
	return CLI_OK;
}

static _Noreturn void verify_open(const struct trial *trial, const struct passwd *user)
{
	char byte;
	int fd;

	(void)signal(SIGINT, SIG_DFL);
	(void)signal(SIGTERM, SIG_DFL);
	(void)alarm(PATIENCE_S);
	if (user &&
	    (setgroups(0, NULL) < 0 || setgid(user->pw_gid) < 0 || setuid(user->pw_uid) < 0))
		_exit(CANNOT_BECOME_USER);
	fd = open(trial->path, O_RDONLY | O_CLOEXEC);
	_exit(fd < 0 || read(fd, &byte, 1) < 0 ? errno : 0);
}

/* Opens the file in a child, as user where there is one. */
static int verify_try(struct trial *trial, const struct passwd *user)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		verify_open(trial, user);
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return cli_error("cannot start a process: %s", strerror(errno));
	if (!WIFEXITED(status))
		return cli_error(WTERMSIG(status) == SIGALRM
					 ? "the open was not answered within %d s"
					 : "interrupted",
				 PATIENCE_S);
	if (WEXITSTATUS(status) == CANNOT_BECOME_USER)
		return cli_error("cannot become the user %s to try it", UNPRIVILEGED_USER);
	trial->user = user ? user->pw_name : NULL;
	trial->error = WEXITSTATUS(status);
	return CLI_OK;
}

static int verify_judge(const struct cli *cli, const struct trial *trial)
{
	const char *who = trial->user ? trial->user : "you";
	bool refused = trial->error == EPERM;
	const char *result = refused	     ? "refused: on-access protection works"
			     : !trial->error ? "NOT REFUSED: this path is not protected"
					     : "no answer: the open failed for another reason";

	if (cli->json) {
		json_t *answer = json_pack("{s:s, s:s, s:b, s:s}", "path", trial->path, "user", who,
					   "refused", refused, "error",
					   trial->error ? strerror(trial->error) : "");

		cli_print_json(answer);
	} else {
		(void)printf("wrote   the EICAR test file to %s\n", trial->path);
		(void)printf("opened  it as %s: %s\n", who,
			     trial->error ? strerror(trial->error) : "it was opened and read");
		(void)printf("removed it\n%s%s%s\n", cli_style(refused ? CLI_GOOD : CLI_BAD),
			     result, cli_style(CLI_PLAIN));
		if (!trial->error)
			(void)printf("Ask 'holdfast status', and 'holdfast explain %s'.\n",
				     trial->path);
	}
	return refused ? CLI_OK : trial->error ? CLI_ERROR : CLI_NO;
}

int verb_verify(const struct cli *cli, int argc, char **argv)
{
	const struct passwd *user = NULL;
	struct trial trial = {.directory_fd = AT_FDCWD};
	bool made = false;
	int status;

	/* Whoever loses patience ends the child that waits; what we made is removed all the same.
	 */
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGTERM, SIG_IGN);
	status = verify_place(cli, argc ? argv[0] : NULL, &trial);
	if (status == CLI_OK) {
		status = verify_make(&trial);
		made = status == CLI_OK;
	}
	/* Not earlier: reading the configuration looks up users as well, in the same static
	 * memory. */
	if (status == CLI_OK && geteuid() == 0)
		user = getpwnam(UNPRIVILEGED_USER);
	if (status == CLI_OK)
		status = verify_try(&trial, user);
	/* Where a directory above is closed to others, that says nothing about us: try as root. */
	if (status == CLI_OK && trial.error == EACCES && user)
		status = verify_try(&trial, NULL);

	if (made)
		(void)unlinkat(trial.directory_fd, trial_name(&trial), 0);
	if (*trial.directory)
		(void)rmdir(trial.directory);
	return status == CLI_OK ? verify_judge(cli, &trial) : status;
}
