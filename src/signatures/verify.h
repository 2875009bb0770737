/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* verify: whether a .cvd is what somebody has signed, and what was asked for; by libclamav. */
#include <stddef.h>

/* verify_container() checks a .cvd: its digest and signature, and that it is the database of that
 * name ("daily") and no other. path must end in ".cvd". Returns 0, or a negative errno with the
 * reason in problem: -EBADMSG where it is not right. It unpacks, so it is to be called where a file
 * from anywhere may be: see trial.h. */
int verify_container(const char *path, const char *database, char *problem, size_t problem_size);
