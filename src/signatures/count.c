/* SPDX-License-Identifier: GPL-2.0-only */
#include "count.h"

#include "../common/signature.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define MODE_OF_COUNT "r"

/* The count, then the loading. */
#define MODES_KNOWN MODE_OF_COUNT " rb "

static struct {
	bool watches, prevents;
	char modes[16]; /* of the files that were opened since count_watch() */
} count;

void count_watch(void)
{
	count.watches = true;
	count.modes[0] = '\0';
}

void count_prevent(void)
{
	count.watches = false;
	count.prevents = !strcmp(count.modes, MODES_KNOWN);
}

void count_allow(void)
{
	count.watches = count.prevents = false;
}

static void count_note(const char *mode)
{
	size_t length = strlen(count.modes);

	(void)snprintf(count.modes + length, sizeof(count.modes) - length, "%s ", mode);
}

static bool count_is_superfluous(const char *path, const char *mode)
{
	static const char *const suffixes[] = {".hdb", ".hdu", ".hsb", ".hsu", ".mdb", ".mdu",
					       ".msb", ".msu", ".ndb", ".ndu", ".ldb", ".ldu"};
	const char *dot = strcmp(mode, MODE_OF_COUNT) == 0 ? strrchr(path, '.') : NULL;

	for (size_t i = 0; dot && i < sizeof(suffixes) / sizeof(suffixes[0]); i++)
		if (!strcasecmp(dot, suffixes[i]))
			return true;
	return false;
}

/* In the place of the one of libc, for this program and the libraries in it. */
FILE *fopen64(const char *path, const char *mode)
{
	FILE *(*real)(const char *, const char *);

	if (count.watches && signature_is_file(path))
		count_note(mode);
	if (count.prevents && count_is_superfluous(path, mode)) {
		errno = EPERM;
		return NULL;
	}
	*(void **)&real = dlsym(RTLD_NEXT, "fopen64");
	return real(path, mode);
}
