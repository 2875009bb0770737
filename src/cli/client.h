/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* client: the command line's end of the control socket and of the scan socket. */
#include <holdfast/control.h>
#include <stddef.h>

/* client_connect() connects to one of the guard's sockets, *_SOCKET_NAME. Returns the socket, or a
 * negative errno. */
int client_connect(const char *run_dir, const char *name);

/*
 * client_ask() sends a request and takes the reply of this type and size. Returns 0 or a negative
 * errno; -ETIMEDOUT when the guard does not answer within CLIENT_TIMEOUT_S seconds.
 */
int client_ask(int fd, const struct wire_header *request, enum wire_type type, void *ret_reply,
	       size_t size);

#define CLIENT_TIMEOUT_S 5
