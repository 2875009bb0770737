/* SPDX-License-Identifier: GPL-2.0-only */
#include "lane.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

bool lane_is_full(const struct lane *lane)
{
	return lane->n_files >= lane->window;
}

void lane_put(struct lane *lane, const struct lane_file *file)
{
	struct lane_file *slot = &lane->files[lane->n_files++];

	*slot = *file;
	slot->id = ++lane->last_id;
	slot->tries = 0;
}

void lane_hand_over(struct lane *lane, struct lane_file *ret_file)
{
	*ret_file = lane->files[--lane->n_files];
	if (lane->n_sent > lane->n_files)
		lane->n_sent = lane->n_files;
}

static void lane_forget(struct lane *lane, unsigned i)
{
	close(lane->files[i].fd);
	free(lane->files[i].path);
	if (i < lane->n_sent)
		lane->n_sent--;
	lane->n_files--;
	/* In their order: those that were sent are the first. */
	memmove(&lane->files[i], &lane->files[i + 1], (lane->n_files - i) * sizeof(lane->files[0]));
}

/* One message for each file, and the descriptor beside it. */
struct lane_packet {
	struct wire_scan scan;
	struct iovec iov;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
};

static void lane_pack(const struct lane *lane, const struct lane_file *file,
		      struct lane_packet *packet, struct msghdr *message)
{
	struct cmsghdr *header;

	*packet = (struct lane_packet){
		.scan = {.header = WIRE_INIT(file->is_refused ? WIRE_SCAN_WHY : WIRE_SCAN,
					     struct wire_scan),
			 .id = file->id,
			 .flags = lane->flags},
		.iov = {.iov_base = &packet->scan, .iov_len = sizeof(packet->scan)},
	};
	*message = (struct msghdr){
		.msg_iov = &packet->iov,
		.msg_iovlen = 1,
		.msg_control = packet->control.bytes,
		.msg_controllen = sizeof(packet->control.bytes),
	};
	header = CMSG_FIRSTHDR(message);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &file->fd, sizeof(int));
}

int lane_send(struct lane *lane)
{
	struct lane_packet packets[SCAN_WINDOW];
	struct mmsghdr messages[SCAN_WINDOW] = {0};

	while (lane->n_sent < lane->n_files) {
		unsigned n = lane->n_files - lane->n_sent;
		int sent;

		for (unsigned i = 0; i < n; i++)
			lane_pack(lane, &lane->files[lane->n_sent + i], &packets[i],
				  &messages[i].msg_hdr);
		sent = sendmmsg(lane->fd, messages, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0 && errno != EINTR)
			return errno == ETOOMANYREFS ? -EAGAIN : -errno;
		for (int i = 0; i < sent; i++)
			lane->files[lane->n_sent++].tries++;
	}
	return 0;
}

static bool lane_verdict_ok(const struct wire_verdict *verdict, size_t size)
{
	return size == sizeof(*verdict) && verdict->header.size == size &&
	       verdict->header.version == WIRE_VERSION && verdict->header.type == WIRE_VERDICT &&
	       verdict->verdict < VERDICT_COUNT &&
	       wire_string_ok(verdict->reason, sizeof(verdict->reason)) &&
	       wire_string_ok(verdict->warning, sizeof(verdict->warning));
}

static int lane_take(struct lane *lane, const struct wire_verdict *verdict)
{
	for (unsigned i = 0; i < lane->n_sent; i++) {
		if (lane->files[i].id != verdict->id)
			continue;
		lane->done(lane->context, &lane->files[i], verdict);
		lane_forget(lane, i);
		return 0;
	}
	return -EPROTO;
}

int lane_receive(struct lane *lane)
{
	struct wire_verdict verdicts[SCAN_WINDOW];
	struct iovec iov[SCAN_WINDOW];
	struct mmsghdr messages[SCAN_WINDOW] = {0};
	int n;

	for (unsigned i = 0; i < SCAN_WINDOW; i++) {
		iov[i] = (struct iovec){&verdicts[i], sizeof(verdicts[i])};
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
	}
	/* As in chan_serve(): a reset is reported ahead of what came before it. */
	do
		n = recvmmsg(lane->fd, messages, SCAN_WINDOW, MSG_DONTWAIT, NULL);
	while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	if (n < 0)
		return -errno;

	for (int i = 0; i < n; i++) {
		/* The end is an empty message. */
		if (messages[i].msg_len == 0)
			return i ? i : -EPIPE;
		if (messages[i].msg_hdr.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ||
		    !lane_verdict_ok(&verdicts[i], messages[i].msg_len) ||
		    lane_take(lane, &verdicts[i]) < 0)
			return -EPROTO;
	}
	return n;
}

void lane_attach(struct lane *lane, int fd)
{
	if (lane->fd >= 0)
		close(lane->fd);
	lane->fd = fd;
	lane->n_sent = 0;
}

void lane_give_up(struct lane *lane, unsigned tries, const char *reason)
{
	struct wire_verdict verdict = {
		.header = WIRE_INIT(WIRE_VERDICT, struct wire_verdict),
		.verdict = VERDICT_FAILED,
	};

	(void)snprintf(verdict.reason, sizeof(verdict.reason), "%s", reason);
	for (unsigned i = lane->n_files; i-- > 0;) {
		if (lane->files[i].tries < tries)
			continue;
		verdict.id = lane->files[i].id;
		lane->done(lane->context, &lane->files[i], &verdict);
		lane_forget(lane, i);
	}
}
