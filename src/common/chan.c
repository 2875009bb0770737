/* SPDX-License-Identifier: GPL-2.0-only */
#include "chan.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* Room for more descriptors than any message has, so that surplus ones are seen and closed. */
#define FDS_MAX 4

int chan_pair(int ret_ends[2])
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;

	ret_ends[0] = ends[0];
	ret_ends[1] = ends[1];
	return 0;
}

int chan_send(int fd, const struct wire_header *message, int pass_fd)
{
	struct iovec iov = {.iov_base = (void *)message, .iov_len = message->size};
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (pass_fd >= 0) {
		struct cmsghdr *cmsg;

		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &pass_fd, sizeof(int));
	}

	do
		n = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);

	return n < 0 ? -errno : 0;
}

static size_t chan_take_fds(struct msghdr *msg, int *fds)
{
	size_t n_fds = 0;

	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		size_t n;

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds + n_fds, CMSG_DATA(cmsg), n * sizeof(int));
		n_fds += n;
	}

	return n_fds;
}

static const struct chan_rule *chan_find_rule(const struct chan_rule *rules,
					      const struct wire_header *header, size_t size,
					      size_t n_fds)
{
	if (size < sizeof(*header) || header->size != size || header->version != WIRE_VERSION)
		return NULL;

	for (const struct chan_rule *rule = rules; rule->handler; rule++)
		if (rule->type == header->type)
			return rule->size == size && rule->has_fd == (n_fds == 1) && n_fds <= 1
				       ? rule
				       : NULL;

	return NULL;
}

int chan_serve(int fd, const struct chan_rule *rules, void *context)
{
	/* The message is large; static, because every process serves its sockets from one
	 * thread. */
	static struct chan_message message;
	struct iovec iov = {.iov_base = message.bytes, .iov_len = sizeof(message.bytes)};
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control;
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	int fds[FDS_MAX];
	const struct chan_rule *rule;
	size_t n_fds;
	ssize_t n;

	/* A peer that ended with something of ours unread makes the kernel report that first, once:
	 * its last messages come after it, and then the end. */
	do
		n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	if (n < 0)
		return -errno;

	n_fds = chan_take_fds(&msg, fds);
	if (n == 0 && n_fds == 0)
		return -EPIPE;

	rule = msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)
		       ? NULL
		       : chan_find_rule(rules, &message.header, (size_t)n, n_fds);
	if (!rule) {
		while (n_fds > 0)
			close(fds[--n_fds]);
		return -EPROTO;
	}

	message.fd = n_fds == 1 ? fds[0] : -1;
	return rule->handler(context, &message);
}

void chan_pong(int fd)
{
	const struct wire_plain pong = {.header = WIRE_INIT(WIRE_PONG, struct wire_plain)};

	(void)chan_send(fd, &pong.header, -1);
}

bool chan_readable(int fd)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};

	return poll(&ready, 1, 0) == 1;
}
