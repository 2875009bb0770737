/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * answers: a group whose answers go into a pipe, where a test can read what the kernel would have
 * been told; and events whose descriptors have numbers that are used once, so that an answer to
 * the wrong one is seen.
 */
#include "../../../src/guard/event.h"
#include "../support/unit.h"

#include <errno.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define ANSWERS_FIRST_FD 200
#define ANSWERS_MAX	 700

struct answers {
	struct group group;
	int reader;
	int next_fd;
};

static inline int answers_init(struct answers *answers)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return -1;
	*answers = (struct answers){
		.group.queues[0].fd = ends[1], .reader = ends[0], .next_fd = ANSWERS_FIRST_FD};
	return 0;
}

static inline void answers_deinit(struct answers *answers)
{
	close(answers->reader);
	close(answers->group.queues[0].fd);
}

/* An open as the kernel would report it. */
static inline struct group_event answers_open(struct answers *answers)
{
	int fd = fcntl(0, F_DUPFD_CLOEXEC, answers->next_fd);

	assert_true(fd >= 0);
	answers->next_fd = fd + 1;
	return (struct group_event){.type = GROUP_OPEN, .fd = fd, .pid = fd + 1000};
}

/* Reads the next answer. Returns the descriptor, negative if it was refused; 0: there is none. */
static inline int answers_next(struct answers *answers)
{
	struct fanotify_response response;
	ssize_t n = read(answers->reader, &response, sizeof(response));

	if (n < 0 && errno == EAGAIN)
		return 0;
	assert_int_equal(n, sizeof(response));
	assert_true(response.response == FAN_ALLOW || response.response == FAN_DENY);
	return response.response == FAN_ALLOW ? response.fd : -response.fd;
}

/* How many answers nobody has read yet. */
static inline unsigned answers_count(const struct answers *answers)
{
	int bytes = 0;

	assert_int_equal(ioctl(answers->reader, FIONREAD, &bytes), 0);
	return (unsigned)bytes / (unsigned)sizeof(struct fanotify_response);
}
