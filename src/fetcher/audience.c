/* SPDX-License-Identifier: GPL-2.0-only */
#include "audience.h"

#include "../common/chan.h"
#include "../common/clock.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#define PROGRESS_US (200 * CLOCK_US_PER_MS)
#define ALIVE_US    (10 * CLOCK_US_PER_SEC)
#define PATIENCE_MS 1000

void audience_add(struct audience *audience, int fd)
{
	if (audience->n < AUDIENCE_MAX)
		audience->clients[audience->n++] = fd;
	else
		close(fd);
}

static void audience_say_alive(struct audience *audience, uint64_t now)
{
	const struct wire_plain alive = {.header = WIRE_INIT(WIRE_PONG, struct wire_plain)};

	if (now - audience->alive_us < ALIVE_US)
		return;
	audience->alive_us = now;
	(void)chan_send(audience->channel, &alive.header, -1);
}

void audience_begin(struct audience *audience, const char *file)
{
	(void)snprintf(audience->file, sizeof(audience->file), "%s", file);
	audience->told_us = 0;
	/* A server that does not answer brings no progress. */
	audience_say_alive(audience, clock_monotonic_us());
}

void audience_progress(struct audience *audience, uint64_t done, uint64_t total)
{
	struct wire_update_progress progress = {
		.header = WIRE_INIT(WIRE_UPDATE_PROGRESS, struct wire_update_progress),
		.done = done,
		.total = total,
	};
	uint64_t now = clock_monotonic_us();

	audience_say_alive(audience, now);
	/* The end of a file is always told, so that nobody is left with a bar at 98%. */
	if (!*audience->file || !done || (now - audience->told_us < PROGRESS_US && done != total))
		return;
	audience->told_us = now;
	audience->hear(audience->context);
	memcpy(progress.file, audience->file, sizeof(progress.file));
	for (unsigned i = 0; i < audience->n; i++)
		(void)chan_send(audience->clients[i], &progress.header, -1);
}

/* Returns whether it was sent. */
static bool audience_send(int fd, const struct wire_header *message)
{
	struct pollfd writable = {.fd = fd, .events = POLLOUT};
	int r = chan_send(fd, message, -1);

	if (r == -EAGAIN && poll(&writable, 1, PATIENCE_MS) > 0)
		r = chan_send(fd, message, -1);
	return r == 0;
}

void audience_tell(struct audience *audience, const struct wire_header *message)
{
	for (unsigned i = 0; i < audience->n;) {
		if (audience_send(audience->clients[i], message)) {
			i++;
		} else {
			close(audience->clients[i]);
			audience->clients[i] = audience->clients[--audience->n];
		}
	}
}

void audience_dismiss(struct audience *audience)
{
	while (audience->n)
		close(audience->clients[--audience->n]);
}
