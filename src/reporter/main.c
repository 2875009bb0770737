/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * holdfast-report: writes findings and notes to syslog, the journal and the log file. Started by
 * holdfastd as the service's user, without capabilities.
 */
#include "../common/role.h"
#include "reporter.h"

int main(int argc, char **argv)
{
	return reporter_run(role_start("holdfast-report", argc, argv));
}
