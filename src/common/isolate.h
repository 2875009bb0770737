/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* isolate: namespaces for the engine, made by root in the child that becomes it. */
#include "conf.h"

/* What the engine uses beside the system's own directories; strings must live on. */
struct isolate_needs {
	const char *scratch_dir; /* exists; becomes a filesystem in memory, of this user */
	const char *program_dir;
	uid_t uid;
	gid_t gid;
};

/*
 * isolate_engine() gives the engine a network of its own, without a way out, and a filesystem in
 * memory for what its workers unpack: no path of the machine can be filled up by an archive, and no
 * mark can be on it. Where mounts are shared, as systemd makes them, what is unmounted outside goes
 * here too. conf: where the signatures are. Returns 0 or a negative errno.
 */
int isolate_engine(const struct isolate_needs *needs, const struct conf *conf);
