/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * match: does a rule of the configuration mean this path?
 *
 * A rule is an absolute path. It means that path and all below it, by whole components: /bin means
 * /bin and /bin/ls, never /bin2. Within a component * stands for any run of characters; it does not
 * cross a slash. A component that is ** stands for any number of components, none included; as the
 * last component it stands for one or more, so that DIR/ with ** behind it means what is below DIR
 * but not DIR itself. Nothing else is special.
 *
 * Pure: no allocation after match_normalize(), no system call.
 */
#include <stdbool.h>

/*
 * match_normalize() checks a rule and returns it without repeated or trailing slashes; the caller
 * frees it. On error it returns NULL with *ret_problem set to what is wrong (a constant string) or,
 * when out of memory, to NULL. Refused: relative paths, the components . and .., and ** beside
 * other characters.
 */
char *match_normalize(const char *rule, const char **ret_problem);

/* match_path() says whether a normalized rule means path (absolute, no repeated slashes). */
bool match_path(const char *rule, const char *path);

/* match_child() says whether a normalized rule means some file directly in a directory, by whatever
 * name. */
bool match_child(const char *rule, const char *directory);

/*
 * match_literal_length() returns the length of the longest leading part of a normalized rule, in
 * whole components, that holds no *: the directory everything that the rule means is at or below.
 * At least 1.
 */
unsigned match_literal_length(const char *rule);
