/* SPDX-License-Identifier: GPL-2.0-only */
#include "client.h"

#include "../common/chan.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int client_connect(const char *run_dir, const char *name)
{
	const struct timeval timeout = {.tv_sec = CLIENT_TIMEOUT_S};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, r = 0;

	if (snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", run_dir, name) >=
	    (int)sizeof(address.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0 ||
	    connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		r = -errno;
	if (r < 0)
		close(fd);
	return r < 0 ? r : fd;
}

struct client_reply {
	void *to;
	size_t size;
};

static int client_take_reply(void *context, struct chan_message *message)
{
	const struct client_reply *reply = context;

	memcpy(reply->to, message, reply->size);
	return 0;
}

int client_ask(int fd, const struct wire_header *request, enum wire_type type, void *ret_reply,
	       size_t size)
{
	struct client_reply reply = {.to = ret_reply, .size = size};
	const struct chan_rule rules[] = {{type, size, false, client_take_reply}, {0}};
	int r = chan_send(fd, request, -1);

	if (r == 0)
		r = chan_serve(fd, rules, &reply);
	return r == -EAGAIN ? -ETIMEDOUT : r;
}
