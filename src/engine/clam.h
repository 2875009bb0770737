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

struct clam_result {
	enum verdict verdict;
	char reason[WIRE_SIGNATURE_MAX]; /* INFECTED: the signature; INCOMPLETE, FAILED: why; CLEAN:
					    empty */
};

/*
 * clam_new() loads the signatures that conf names, and the embedded test signature always. Without
 * any other it is *ret_test_only. scratch is a directory for temporary files. On error returns NULL
 * with the reason in problem.
 */
struct clam *clam_new(const struct conf *conf, const char *scratch, unsigned *ret_signatures,
		      bool *ret_test_only, char *problem, size_t problem_size);
struct clam *clam_free(struct clam *clam);

/* clam_set_scratch() gives a forked worker a directory of its own for temporary files. */
int clam_set_scratch(struct clam *clam, const char *scratch);

/* clam_scan() scans an open file from its beginning. Its offset does not matter. */
void clam_scan(struct clam *clam, int fd, struct clam_result *ret_result);
