/* SPDX-License-Identifier: GPL-2.0-only */
/* Any rule against any path, and any name through line_escape(). Input: rule NUL path. */
#include "../../src/common/line.h"
#include "../../src/common/match.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is below a path that a rule means is meant too. */
static void check_below(const char *rule, const char *path)
{
	char below[4096];

	(void)snprintf(below, sizeof(below), "%s/x", path);
	if (strlen(path) < sizeof(below) - 3)
		assert(match_path(rule, below));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 2), escaped[1024], *rule;
	const char *path, *problem;

	memcpy(text, data, size);
	text[size] = text[size + 1] = '\0';
	path = text + strlen(text) + 1;

	line_escape(escaped, sizeof(escaped), text);
	for (const char *c = escaped; *c; c++)
		assert((unsigned char)*c >= ' ' && *c != 0x7f);

	rule = match_normalize(text, &problem);
	if (rule) {
		assert(match_literal_length(rule) >= 1 &&
		       match_literal_length(rule) <= strlen(rule));
		if (path <= text + size && *path == '/' && match_path(rule, path))
			check_below(rule, path);
	}
	free(rule);
	free(text);
	return 0;
}
