/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* scan_task: a file on its way from the scheduler's thread to a verdict and back. */
#include "request.h"

struct scan_task {
	struct asker asker; /* for the loop */
	struct scan_task *next;
	void *owner; /* the scheduler's */
	enum lane lane;
	int fd; /* of the file; the thread's to close */
	uint64_t size;
	bool afresh, remote;
	struct wire_verdict verdict; /* when it is back */
	char *path;
};

/* Whom full_scan and warm tell, in the same thread. */
struct scan_callbacks {
	void (*send)(void *context, struct scan_task *task); /* to the gate; must come back */
	void (*log)(void *context, int priority, const char *text);
};
