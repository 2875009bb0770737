/* SPDX-License-Identifier: GPL-2.0-only */
#include "signature.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

#define CONTAINER 1u /* signed, or made of what is */
#define LOCAL	  2u /* only from a directory, never fetched from a custom URL */

/* What libclamav 1.4 loads from a directory, whatever the case (tried with a file of each). */
static const struct suffix {
	const char *name;
	unsigned flags;
} suffixes[] = {
	{".cvd", CONTAINER}, {".cld", CONTAINER | LOCAL}, /* nobody has signed it as a whole */
	{".cud", LOCAL},     {".cbc", LOCAL},		  /* programs */
	{".cfg", LOCAL},				  /* switches parts of the library off */
	{".db", 0},	     {".hdb", 0},
	{".hdu", 0},	     {".hsb", 0},
	{".hsu", 0},	     {".mdb", 0},
	{".mdu", 0},	     {".msb", 0},
	{".msu", 0},	     {".ndb", 0},
	{".ndu", 0},	     {".ldb", 0},
	{".ldu", 0},	     {".sdb", 0},
	{".zmd", 0},	     {".rmd", 0},
	{".pdb", 0},	     {".gdb", 0},
	{".wdb", 0},	     {".ftm", 0},
	{".cdb", 0},	     {".cat", 0},
	{".crb", 0},	     {".idb", 0},
	{".ioc", 0},	     {".yar", 0},
	{".yara", 0},	     {".pwdb", 0},
	{".ign", 0},	     {".ign2", 0},
	{".fp", 0},	     {".sfp", 0},
	{".imp", 0},
};

static const struct suffix *suffix_find(const char *name)
{
	const char *dot = strrchr(name, '.');

	for (size_t i = 0; dot && i < sizeof(suffixes) / sizeof(suffixes[0]); i++)
		if (!strcasecmp(dot, suffixes[i].name))
			return &suffixes[i];
	return NULL;
}

bool signature_is_file(const char *name)
{
	return suffix_find(name) != NULL;
}

bool signature_is_container(const char *name)
{
	const struct suffix *suffix = suffix_find(name);

	return suffix && (suffix->flags & CONTAINER);
}

const char *signature_custom_problem(const char *name)
{
	const struct suffix *suffix = suffix_find(name);

	if (!suffix)
		return "the URL must end in the name of a file of signatures, such as local.ndb";
	if (*name == '.' || strlen(name) > SIGNATURE_FILE_MAX)
		return "the name of a file of signatures begins with its name and is no longer "
		       "than 60 bytes";
	if (suffix->flags & LOCAL)
		return "files of this kind are taken from signed sources only: a .cvd";
	return NULL;
}
