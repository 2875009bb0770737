/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * holdfast-guard: owns the fanotify groups and decides over each open. Started by holdfastd, which
 * holds the other end of descriptor 3.
 */
#include "../common/drop.h"
#include "../common/log.h"
#include "../common/role.h"
#include "standby.h"

#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

/*
 * What the guard does with each, and nothing else needs a capability:
 *
 * - SYS_ADMIN: making the fanotify groups, marking filesystems
 * - DAC_READ_SEARCH: reaching include paths, and marking files, that only their owner may read
 * - SYS_PTRACE: reading /proc/PID/exe of other users' processes
 * - IPC_LOCK: staying in memory
 * - LEASE: asking whether anybody writes to a file of another owner
 * - SYS_NICE, the last, as containers withhold it and nothing depends on it: the priority of
 *   workers
 */
static const int guard_capabilities[] = {
	CAP_SYS_ADMIN, CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE, CAP_IPC_LOCK, CAP_LEASE, CAP_SYS_NICE,
};

int main(int argc, char **argv)
{
	int channel = role_start("holdfast-guard", argc, argv);
	int r;

	/* Stopped and without a supervisor it would hang every opener for good. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);

	/* The kernel sends SIGIO when a lease is broken; ours last a microsecond. */
	(void)signal(SIGIO, SIG_IGN);

	/* A dump is written by a helper whose opens would wait for a successor, who waits for the
	 * end of the dump. */
	(void)prctl(PR_SET_DUMPABLE, 0);

	/* A page that has to be read in while openers wait could wait for one of them. */
	r = mlockall(MCL_CURRENT | MCL_FUTURE);
	if (r < 0)
		log_warning("cannot lock memory: %m");

	r = drop_capabilities(guard_capabilities,
			      sizeof(guard_capabilities) / sizeof(int) -
				      !drop_has_capability(CAP_SYS_NICE),
			      NULL, 0);
	if (r == 0)
		r = drop_new_privs();
	if (r < 0) {
		log_error("cannot give up privileges: %s", strerror(-r));
		return 1;
	}
	return standby_run(channel);
}
