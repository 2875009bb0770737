/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * holdfast-fetch: refreshes the signatures. Started by holdfastd, or by "holdfast update", as the
 * service's user, without capabilities.
 */
#include "../common/role.h"
#include "fetcher.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>

int main(int argc, char **argv)
{
	int channel = role_start("holdfast-fetch", argc, argv);

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)umask(022);
	return fetcher_run(channel);
}
