/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * notify: readiness, status and watchdog for systemd. sd_notify() of libsystemd waits when the
 * service manager does not read; that may be because its open is held and we are the one to end
 * that. So: a socket connected at start, and messages that are dropped rather than waited with.
 */
#include <stdint.h>

/* notify_init() connects to $NOTIFY_SOCKET. Without one the rest does nothing. */
void notify_init(void);

/* notify_send() sends assignments such as "READY=1", one a line. See sd_notify(3). */
void notify_send(const char *assignments);
