/* SPDX-License-Identifier: GPL-2.0-only */
#include "relay.h"

#include "../common/chan.h"
#include "../common/filesystem.h"
#include "../common/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <holdfast/control.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Not in the headers of Debian 12; the value is the kernel's, include/uapi/linux/stat.h. */
#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x00004000
#endif

struct relay {
	int client, guard;
	unsigned n_scans; /* handed on and not answered */
	FILE *mountinfo;  /* NULL: not read yet */
	struct mounts mounts;
	uint64_t good_mount; /* the unique id of one whose files may be handed on; 0: none yet */
};

/* --- what may be handed on --- */

/* Brings the table up to date. */
static void relay_read_mounts(struct relay *relay)
{
	struct pollfd changed = {.events = POLLPRI};

	if (!relay->mountinfo) {
		relay->mountinfo = fopen("/proc/self/mountinfo", "re");
		if (!relay->mountinfo)
			return;
	} else {
		changed.fd = fileno(relay->mountinfo);
		if (poll(&changed, 1, 0) <= 0)
			return;
		mounts_free(&relay->mounts);
		rewind(relay->mountinfo);
	}
	if (mounts_read(&relay->mounts, relay->mountinfo) < 0)
		mounts_free(&relay->mounts);
}

/* Why files of this mount must not be handed on; NULL: they may be. */
static const char *relay_mount_problem(struct relay *relay, uint64_t id)
{
	const struct mount *mount;

	relay_read_mounts(relay);
	mount = mounts_find(&relay->mounts, id);
	if (!mount)
		return "it is on no filesystem that is mounted here";
	switch (filesystem_kind(mount->type)) {
	case FILESYSTEM_REMOTE:
		return "it is on a network or FUSE filesystem: scan it with --standalone";
	case FILESYSTEM_KERNEL:
	case FILESYSTEM_AUTOMOUNT:
		return "it is on the kernel's own filesystem";
	case FILESYSTEM_LOCAL:
	case FILESYSTEM_OVERLAY:
	case FILESYSTEM_STACKED:
	default:
		return NULL;
	}
}

static bool relay_look(int fd, unsigned mask, struct statx *ret)
{
	return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | mask, ret) == 0 &&
	       S_ISREG(ret->stx_mode);
}

/* Why the guard must not be given a file; NULL: it may be. must_be_readable: the client must have
 * shown that it may read it. */
static const char *relay_problem(struct relay *relay, int fd, bool must_be_readable)
{
	int flags = fcntl(fd, F_GETFL);
	struct statx status, unique;
	const char *problem;

	if (must_be_readable && (flags < 0 || (flags & O_PATH) || (flags & O_ACCMODE) == O_WRONLY))
		return "it was not opened for reading";
	if (!relay_look(fd, STATX_MNT_ID_UNIQUE, &unique))
		return "not a regular file";
	/* Most are of one mount. An id that is not unique may be another's by now. */
	if (!(unique.stx_mask & STATX_MNT_ID_UNIQUE))
		unique.stx_mnt_id = 0;
	if (unique.stx_mnt_id && unique.stx_mnt_id == relay->good_mount)
		return NULL;
	if (!relay_look(fd, STATX_MNT_ID, &status))
		return "not a regular file";
	problem = relay_mount_problem(relay, status.stx_mnt_id);
	if (!problem)
		relay->good_mount = unique.stx_mnt_id;
	return problem;
}

/* --- messages --- */

static int relay_take_file(struct relay *relay, struct chan_message *message, bool must_be_readable)
{
	const struct wire_scan *scan = (const void *)message;
	const char *problem = relay_problem(relay, message->fd, must_be_readable);
	struct wire_verdict refusal;
	int r;

	if (problem) {
		refusal = wire_verdict_make(VERDICT_FAILED, problem);
		refusal.id = scan->id;
		r = chan_send(relay->client, &refusal.header, -1);
	} else {
		r = chan_send(relay->guard, &message->header, message->fd);
		relay->n_scans++;
	}
	close(message->fd);
	return r;
}

static int relay_take_scan(void *context, struct chan_message *message)
{
	return relay_take_file(context, message, true);
}

/* Whoever asks why it was refused a file need not have it open. */
static int relay_take_why(void *context, struct chan_message *message)
{
	return relay_take_file(context, message, false);
}

static int relay_take_info(void *context, struct chan_message *message)
{
	const struct relay *relay = context;

	return chan_send(relay->guard, &message->header, -1);
}

static const struct chan_rule client_rules[] = {
	{WIRE_SCAN, sizeof(struct wire_scan), true, relay_take_scan},
	{WIRE_SCAN_WHY, sizeof(struct wire_scan), true, relay_take_why},
	{WIRE_SCAN_INFO, sizeof(struct wire_plain), false, relay_take_info},
	{0},
};

static int relay_pass_back(void *context, struct chan_message *message)
{
	struct relay *relay = context;

	relay->n_scans -= message->header.type == WIRE_VERDICT;
	return chan_send(relay->client, &message->header, -1);
}

static const struct chan_rule guard_rules[] = {
	{WIRE_VERDICT, sizeof(struct wire_verdict), false, relay_pass_back},
	{WIRE_ENGINE_INFO, sizeof(struct wire_engine_info), false, relay_pass_back},
	{0},
};

/* Takes what there is, up to what may be under way. */
static int relay_serve(struct relay *relay, int from, const struct chan_rule *rules)
{
	int r = 0;

	for (unsigned i = 0;
	     i < SCAN_WINDOW && r == 0 && (from == relay->guard || relay->n_scans < SCAN_WINDOW);
	     i++)
		r = chan_serve(from, rules, relay);
	return r == -EAGAIN ? 0 : r;
}

void relay_run(int client, int guard)
{
	struct relay relay = {.client = client, .guard = guard};
	int r = 0;

	/* All that is there is taken at once. */
	(void)fcntl(client, F_SETFL, O_NONBLOCK);
	(void)fcntl(guard, F_SETFL, O_NONBLOCK);
	while (r == 0) {
		struct pollfd fds[] = {
			{.fd = guard, .events = POLLIN},
			{.fd = relay.n_scans < SCAN_WINDOW ? client : -1, .events = POLLIN},
		};

		if (poll(fds, 2, -1) < 0)
			break;
		if (fds[0].revents)
			r = relay_serve(&relay, guard, guard_rules);
		if (r == 0 && fds[1].revents)
			r = relay_serve(&relay, client, client_rules);
	}
	close(client);
	close(guard);
}
