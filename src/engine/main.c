/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * holdfast-engine: loads the signatures and forks the workers. Started by holdfastd as the
 * service's user, without capabilities, in a mount namespace with a scratch filesystem of its own.
 */
#include "../common/role.h"
#include "engine.h"

#include <signal.h>
#include <sys/prctl.h>

int main(int argc, char **argv)
{
	int channel = role_start("holdfast-engine", argc, argv);

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* What it holds in memory is nobody else's business, others of the same user included. */
	(void)prctl(PR_SET_DUMPABLE, 0);
	return engine_run(channel);
}
