/* SPDX-License-Identifier: GPL-2.0-only */
#include "standalone_conf.h"

#include "crew.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

/* Files come from users' hands: as whom they are parsed where the service has no user. */
#define STANDALONE_USER "nobody"

/* As whom the engine runs: as the caller, or where that is root as the service's user, or as
 * nobody. */
static bool standalone_set_user(struct conf *conf)
{
	const struct passwd *user = geteuid() ? getpwuid(geteuid()) : getpwnam(conf->user);
	char *name;

	if (geteuid() == 0 && (!user || user->pw_uid == 0))
		user = getpwnam(STANDALONE_USER);
	if (geteuid() == 0 && !user) {
		(void)cli_error("there is neither a user %s nor %s: nothing is parsed as root",
				conf->user, STANDALONE_USER);
		return false;
	}
	conf->uid = user ? user->pw_uid : geteuid();
	conf->gid = user ? user->pw_gid : getegid();
	name = user ? strdup(user->pw_name) : NULL;
	if (name) {
		free(conf->user);
		conf->user = name;
	}
	return true;
}

static bool standalone_set_signatures(struct conf *conf, const char *directory)
{
	free(conf->signatures);
	conf->signatures = realpath(directory, NULL);
	if (!conf->signatures)
		(void)cli_error("--database: %s: %s", directory, strerror(errno));
	return conf->signatures != NULL;
}

struct conf *standalone_conf(const struct cli *cli, const char *database, unsigned workers)
{
	bool is_missing = !strcmp(cli->config, CONF_FILE_DEFAULT) &&
			  access(cli->config, F_OK) < 0 && errno == ENOENT;
	struct conf *conf = is_missing
				    ? conf_new()
				    : conf_read_file(cli->config, cli_report_problem, (void *)cli);

	if (!conf)
		return NULL;
	if ((database && !standalone_set_signatures(conf, database)) || !standalone_set_user(conf))
		return conf_free(conf);
	if (workers)
		conf->workers = workers;
	else if (!conf->workers)
		conf->workers = (uint64_t)get_nprocs();
	if (conf->workers > CREW_MAX)
		conf->workers = CREW_MAX;
	return conf;
}
