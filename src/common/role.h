/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* role: what the programs that holdfastd starts have in common. */

/* The descriptor on which holdfastd hands a program its end of their channel. */
#define ROLE_CHANNEL_FD 3

/*
 * role_start() names the program in its log lines, checks its arguments (--config FILE, only shown
 * by ps: the configuration comes over the channel) and that it was started by holdfastd. Returns
 * the channel, or exits with a message.
 */
int role_start(const char *name, int argc, char **argv);
