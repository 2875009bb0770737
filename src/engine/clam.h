/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * clam: libclamav, and the only place in the service that knows it.
 *
 * Owns one loaded engine. Loaded before the workers are forked, shared by them copy-on-write.
 */
#include "../common/conf.h"

#include <holdfast/wire.h>

struct clam;

/* What was loaded. */
struct clam_set {
	struct wire_engine_info info; /* signatures, test_only, set, newest, engine and versions */
	struct wire_database databases[WIRE_DATABASES_MAX];
	unsigned n_databases;
	char warning[WIRE_TEXT_MAX]; /* for people; empty: there is nothing to warn of */
};

/*
 * clam_new() loads the signatures that conf names, and the embedded test signature always. scratch
 * is a directory for temporary files. Fills ret_set. On error returns NULL with the reason in
 * problem.
 */
struct clam *clam_new(const struct conf *conf, const char *scratch, struct clam_set *ret_set,
		      char *problem, size_t problem_size);
struct clam *clam_free(struct clam *clam);

/* clam_set_scratch() gives a forked worker a directory of its own for temporary files. */
int clam_set_scratch(struct clam *clam, const char *scratch);

/* clam_scan() scans an open file from its beginning, whatever its offset, and fills in what
 * ret_verdict says of that: verdict, reason, warning, scanned. A file of which a part could not be
 * read is not clean. */
void clam_scan(struct clam *clam, int fd, struct wire_verdict *ret_verdict);
