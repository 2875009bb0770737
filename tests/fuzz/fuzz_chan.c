/* SPDX-License-Identifier: GPL-2.0-only */
/* Any datagram on a channel: handled as its rule says, or refused. */
#include "../../src/common/chan.h"

#include <assert.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int take(void *context, struct chan_message *message)
{
	assert(message->fd == -1 && message->header.version == WIRE_VERSION);
	*(size_t *)context = message->header.size;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct chan_rule rules[] = {
		{WIRE_PING, sizeof(struct wire_plain), false, take},
		{WIRE_NOTE, sizeof(struct wire_note), false, take},
		{0},
	};
	size_t handled = 0;
	int ends[2], r;

	if (!size || chan_pair(ends) < 0)
		return 0;
	(void)send(ends[0], data, size, MSG_DONTWAIT);
	r = chan_readable(ends[1]) ? chan_serve(ends[1], rules, &handled) : -EAGAIN;
	assert(r == 0 ? handled == size : r == -EPROTO || r == -EAGAIN);
	close(ends[0]);
	close(ends[1]);
	return 0;
}
