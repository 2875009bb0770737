/* SPDX-License-Identifier: GPL-2.0-only */
#include "notify.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int notify_fd = -1;

void notify_init(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t size;

	if (!path || (*path != '/' && *path != '@') || strlen(path) >= sizeof(address.sun_path))
		return;
	memcpy(address.sun_path, path, strlen(path));
	if (*path == '@') /* the abstract namespace */
		address.sun_path[0] = '\0';
	size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));

	notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (notify_fd >= 0 && connect(notify_fd, (struct sockaddr *)&address, size) < 0) {
		close(notify_fd);
		notify_fd = -1;
	}
	/* Not for the children: only this process speaks for the service. */
	(void)unsetenv("NOTIFY_SOCKET");
}

void notify_send(const char *assignments)
{
	if (notify_fd >= 0)
		(void)send(notify_fd, assignments, strlen(assignments),
			   MSG_DONTWAIT | MSG_NOSIGNAL);
}
