/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * errand: something that may crash, fill the memory or never end, done by a child of its own. Its
 * death is an answer as others are. What else it may not do it gives up itself: sandbox.h, drop.h.
 */
#include <stddef.h>
#include <stdint.h>

struct errand {
	const char *what; /* for people: "applying cdiffs" */
	/* Runs in the child, which ends with it, and has no descriptor but the standard ones.
	 * Returns 0 or more, or a negative errno with the reason in problem. */
	int (*run)(void *context, char *problem, size_t problem_size);
	void *context;
	unsigned timeout_s;  /* of time, and of CPU time */
	uint64_t max_memory; /* address space, in bytes, beside what it has at its beginning */
	uint64_t max_file;   /* no file that it writes becomes longer, in bytes */
};

/*
 * errand_run() waits for the child and returns what run() did. Or a negative errno with the reason
 * in problem: -EBADMSG where it crashed, so that what it worked on is at fault; -ETIMEDOUT where it
 * took longer than it may; -ENOMEM where it was killed from outside, as the kernel does when memory
 * runs out. The child ends with its parent. To be called while there is no other thread.
 */
int errand_run(const struct errand *errand, char *problem, size_t problem_size);
