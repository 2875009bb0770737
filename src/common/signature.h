/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* signature: files of signatures by their names. */
#include <stdbool.h>

/* The longest name of a database: "main", "daily". */
#define SIGNATURE_DATABASE_MAX 40

/* The longest name of a custom file. */
#define SIGNATURE_FILE_MAX 60

/* Below the directory of signatures: what the fetcher has published, a symbolic link to a directory
 * that nothing is changed in any more; and what it keeps for itself. */
#define SIGNATURE_CURRENT "current"
#define SIGNATURE_SETS	  "sets"
#define SIGNATURE_FETCH	  "fetch"
#define SIGNATURE_STATE	  "fetch/state.json"

/* signature_is_file() says whether libclamav loads a file of this name from a directory. */
bool signature_is_file(const char *name);

/* signature_is_container() says whether it is a container that says its version: .cvd, .cld. */
bool signature_is_container(const char *name);

/* signature_custom_problem() says why a file of this name may not be fetched from anywhere, for
 * people; NULL: it may. */
const char *signature_custom_problem(const char *name);
