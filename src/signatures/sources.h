/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* sources: which files of signatures there are, in a form that tells one set from another. */
#include "../common/conf.h"

#include <holdfast/wire.h>

/*
 * sources_read() looks at the files of a directory of signatures and fills set, engine and versions
 * of info. The set is made of all their bytes, of libclamav's version, and of what conf says about
 * scanning: what is clean under one set is clean under an equal one. A .cvd or .cld has its own
 * version; of others the first digits of their SHA-256 are shown. Returns how many files there are,
 * 0 for a missing directory, or a negative errno: -EISDIR where something else than a file has a
 * name like one.
 */
int sources_read(const char *directory, const struct conf *conf, struct wire_engine_info *info);
