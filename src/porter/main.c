/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * holdfast-porter: stands at the scan socket, where everybody may hand in files. Started by
 * holdfastd as the service's user, without capabilities.
 */
#include "../common/role.h"
#include "porter.h"

#include <signal.h>
#include <sys/prctl.h>

int main(int argc, char **argv)
{
	int channel = role_start("holdfast-porter", argc, argv);

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	return porter_run(channel);
}
