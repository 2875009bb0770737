/* SPDX-License-Identifier: GPL-2.0-only */
#include "role.h"

#include "log.h"

#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>

int role_start(const char *name, int argc, char **argv)
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'}, {0}};
	int type = 0, option;
	socklen_t size = sizeof(type);

	log_set_name(name);
	/* Executed by descriptor, it would be called by the number of that on some kernels. */
	(void)prctl(PR_SET_NAME, name);
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (option != 'c')
			exit(2);

	if (getsockopt(ROLE_CHANNEL_FD, SOL_SOCKET, SO_TYPE, &type, &size) < 0 ||
	    type != SOCK_SEQPACKET) {
		log_error("this program is started by holdfastd, not by hand");
		exit(2);
	}
	(void)fcntl(ROLE_CHANNEL_FD, F_SETFD, FD_CLOEXEC);
	(void)signal(SIGPIPE, SIG_IGN);
	return ROLE_CHANNEL_FD;
}
