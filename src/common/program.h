/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* program: how holdfastd, and the command line for itself, start the other programs. */
#include <stddef.h>

/* program_find_directory() writes where the program called name and the others are: beside this one
 * in a build directory, else where they were installed. */
void program_find_directory(char *directory, size_t size, const char *name);

/*
 * program_prepare() is the first that a forked child does: it leaves the caller's process group,
 * blocks no signal, and has no descriptor but the standard ones and channel, as ROLE_CHANNEL_FD.
 * Ends the process where it cannot.
 */
void program_prepare(int channel);
