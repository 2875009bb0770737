/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* container: what a .cvd or .cld says of itself, and whether that is true; by libclamav. */
#include <stddef.h>
#include <stdint.h>

/* Every container begins with so many bytes of text about itself. */
#define CONTAINER_HEAD_SIZE 512

struct container_head {
	uint32_t version, signatures;
	uint32_t functionality; /* the level that a libclamav must have to use all of it */
	int64_t built_at;	/* seconds since the epoch */
};

/* container_parse() reads the first CONTAINER_HEAD_SIZE bytes, container_read() those of a file.
 * Return 0; -EBADMSG: it is none; another negative errno. */
int container_parse(const char *head, struct container_head *ret);
int container_read(const char *path, struct container_head *ret);

/* container_functionality() returns the level that the libclamav in use has, container_library()
 * its version: "1.4.6". */
uint32_t container_functionality(void);
const char *container_library(void);
