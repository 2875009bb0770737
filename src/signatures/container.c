/* SPDX-License-Identifier: GPL-2.0-only */
#include "container.h"

#include "message.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int container_parse(const char *head, struct container_head *ret)
{
	char text[CONTAINER_HEAD_SIZE + 1];
	struct cl_cvd *parsed;

	memcpy(text, head, CONTAINER_HEAD_SIZE);
	text[CONTAINER_HEAD_SIZE] = '\0';
	/* What is none is named by whoever wanted one. */
	message_hush();
	parsed = cl_cvdparse(text);
	message_unhush();
	if (!parsed)
		return -EBADMSG;
	*ret = (struct container_head){
		.version = parsed->version,
		.signatures = parsed->sigs,
		.functionality = parsed->fl,
		.built_at = parsed->stime,
	};
	cl_cvdfree(parsed);
	return 0;
}

int container_read(const char *path, struct container_head *ret)
{
	char head[CONTAINER_HEAD_SIZE];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, head, sizeof(head));
	close(fd);
	if (n < 0)
		return -EIO;
	return n == sizeof(head) ? container_parse(head, ret) : -EBADMSG;
}

uint32_t container_functionality(void)
{
	return cl_retflevel();
}

const char *container_library(void)
{
	return cl_retver();
}
