/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * child: starts the programs of the service, each with the privileges it gets and one channel to
 * us.
 *
 * By fork and exec, not vfork or posix_spawn: those keep the parent waiting until the exec, whose
 * open may be held by the guard, whom we are to watch.
 */
#include "../common/conf.h"

#include <sys/types.h>

enum child_role {
	CHILD_REPORTER,
	CHILD_ENGINE,
	CHILD_GUARD,
	CHILD_STANDBY, /* to be the guard */
	CHILD_PORTER,
	CHILD_FETCHER,
	CHILD_ROLES
};

/* What all programs have in common; strings must live on. */
struct child_setup {
	const char *program_dir;
	const char *config_path; /* shown by ps */
	const char *scratch_dir; /* the engine's, in run-dir */
	uid_t uid;
	gid_t gid;
};

/* child_name() returns the name of a role's program. */
const char *child_name(enum child_role role);

/*
 * child_start() starts a program, with the configuration conf: of that the engine's mount namespace
 * depends. Returns its pid, with our end of the channel in *ret_channel, or a negative errno. A
 * program that cannot be executed exits with 127.
 */
pid_t child_start(const struct child_setup *setup, enum child_role role, const struct conf *conf,
		  int *ret_channel);

/*
 * child_load_conf() forks a child that reads and resolves the configuration: that opens files and
 * may ask a name service, and we must do neither. It sends what is wrong as WIRE_NOTE, then
 * WIRE_WATCH with a descriptor that watches the directory of signatures, or WIRE_FAILED with why
 * there is none, and WIRE_CONFIG with a snapshot over the channel; or exits with 1. It begins when
 * it gets a message, so that its pid can be made known before. Returns as child_start().
 */
pid_t child_load_conf(const struct child_setup *setup, int *ret_channel);
