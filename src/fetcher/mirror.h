/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * mirror: a directory that any web server can serve to other machines: each NAME.cvd, the
 * NAME-N.cdiff that led to it, custom files, and index.json, which says what there is:
 *
 *   {"updated": 1790000000,
 *    "files": [{"name": "daily.cvd", "version": 27451, "size": 61234567}, ...]}
 *
 * What is in there is always complete: a file appears by rename, cdiffs before the .cvd that they
 * lead to. What the fetcher itself needs is in a directory whose name begins with a dot.
 */
#include "run.h"

/* In the mirror's directory: what store_open() is given. */
#define MIRROR_STORE ".holdfast"

/* So many cdiffs of one database are kept. freshclam asks for one after the other, too. */
#define MIRROR_CDIFFS_MAX 100

/* mirror_path() writes the path of a file of the mirror. Returns buffer. */
char *mirror_path(const struct run *run, const char *name, char *buffer, size_t size);

/* mirror_put() moves a file into the mirror under that name. Returns 0, or a negative errno with
 * the reason in problem. */
int mirror_put(const struct run *run, const char *path, const char *name, char *problem,
	       size_t problem_size);

/* mirror_finish() removes cdiffs that are too old and writes the index. Returns 0, or a negative
 * errno with the reason in problem. */
int mirror_finish(const struct run *run, char *problem, size_t problem_size);
