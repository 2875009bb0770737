/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * policy: which opens are to be held, and what full scans look at. The guard, full scans and the
 * command line ask the same functions, so that a rule means the same everywhere. Pure: no system
 * call, no allocation.
 */
#include "conf.h"

enum policy_scope {
	POLICY_NOT_INCLUDED, /* below no include path */
	POLICY_EXCLUDED, /* below an include path, and below an exclude path: exclude always wins */
	POLICY_IN_SCOPE
};

struct policy_decision {
	enum policy_scope scope;
	const struct conf_entry *rule; /* the rule that decided; NULL for POLICY_NOT_INCLUDED */
};

/* policy_path() decides by the path of the file: absolute, symbolic links resolved. */
struct policy_decision policy_path(const struct conf *conf, const char *path);

/*
 * policy_full_scan() decides by the same kind of path whether full scans look at a file: includes
 * are the paths of [full-scan], excludes its exclude rules.
 */
struct policy_decision policy_full_scan(const struct conf *conf, const char *path);

/*
 * policy_directory() decides by the path of a directory for whatever files are directly in it:
 * POLICY_IN_SCOPE as soon as one of them could be.
 */
struct policy_decision policy_directory(const struct conf *conf, const char *path);

/* policy_user() returns the exclude-user entry for this effective uid, NULL: not excluded. */
const struct conf_entry *policy_user(const struct conf *conf, uid_t uid);

/* policy_process() returns the exclude-process rule that means this executable, NULL: not
 * excluded. */
const struct conf_entry *policy_process(const struct conf *conf, const char *exe);
