/* SPDX-License-Identifier: GPL-2.0-only */
#include "estate.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct estate *estate_new(const char **ret_what)
{
	struct estate *estate = mmap(NULL, sizeof(*estate), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int r;

	*ret_what = "out of memory";
	if (estate == MAP_FAILED)
		return NULL;
	estate->renames.fd = -1;
	estate->verdicts = -1;
	estate->contents = -1;
	*ret_what = "fanotify is not available (in a container that forbids it?)";
	r = group_init(&estate->group);
	if (r == 0 && estate->group.features.has[FEATURE_RENAME_WATCH])
		r = renames_init(&estate->renames);
	if (r == 0)
		return estate;
	(void)estate_free(estate);
	errno = -r;
	return NULL;
}

struct estate *estate_free(struct estate *estate)
{
	if (!estate)
		return NULL;
	group_deinit(&estate->group);
	renames_deinit(&estate->renames);
	if (estate->verdicts >= 0)
		close(estate->verdicts);
	if (estate->contents >= 0)
		close(estate->contents);
	(void)munmap(estate, sizeof(*estate));
	return NULL;
}

/* Processes that ended before anybody heard of them: the supervisor has given them up. */
static void estate_clear_given_up(struct estate *estate)
{
	for (size_t i = 0; i < ESTATE_MEMBERS_MAX; i++) {
		struct pollfd channel = {.fd = estate->members[i].channel};

		if (!channel.fd || poll(&channel, 1, 0) != 1 || !(channel.revents & POLLHUP))
			continue;
		/* In this order: the number must not be in here when it can be used again. */
		estate->members[i].channel = 0;
		close(channel.fd);
	}
}

struct estate_member *estate_enter(struct estate *estate, int channel)
{
	estate_clear_given_up(estate);
	for (size_t i = 0; i < ESTATE_MEMBERS_MAX; i++)
		if (!estate->members[i].channel) {
			estate->members[i].channel = channel;
			return &estate->members[i];
		}
	return NULL;
}

/* --- sweeping --- */

/* Which descriptors stay. */
struct kept {
	bool *is_kept;
	unsigned n;
};

static void kept_add(struct kept *kept, int fd)
{
	if (fd >= 0 && (unsigned)fd < kept->n)
		kept->is_kept[fd] = true;
}

static void estate_keep_roster(const struct roster *roster, struct kept *kept)
{
	if (!roster->engine)
		return;
	kept_add(kept, roster->engine_fd);
	for (size_t i = 0; i < ROSTER_WORKERS_MAX; i++) {
		const struct roster_worker *worker = &roster->workers[i];

		if (!worker->fd)
			continue;
		kept_add(kept, worker->fd);
		if (worker->is_busy)
			kept_add(kept, worker->scan.fd);
	}
}

static void estate_keep_queue(const struct group_queue *queue, struct kept *kept)
{
	kept_add(kept, queue->fd);
	for (unsigned i = 0; i < GROUP_BATCH; i++)
		if (queue->inbox[i].event_len)
			kept_add(kept, queue->inbox[i].fd);
}

static void estate_keep(const struct estate *estate, struct kept *kept)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		kept_add(kept, fd);
	for (size_t i = 0; i < ESTATE_MEMBERS_MAX; i++)
		if (estate->members[i].channel)
			kept_add(kept, estate->members[i].channel);
	kept_add(kept, estate->renames.fd);
	kept_add(kept, estate->verdicts);
	kept_add(kept, estate->contents);
	estate_keep_roster(&estate->roster, kept);
	for (size_t i = 0; i < EVENTS_MAX; i++)
		if (estate->events[i].held)
			kept_add(kept, estate->events[i].fd);
	for (unsigned i = 0; i < GROUP_QUEUES; i++)
		estate_keep_queue(&estate->group.queues[i], kept);
}

static void kept_close_others(const struct kept *kept)
{
	unsigned first = 0;

	for (unsigned fd = 0; fd < kept->n; fd++) {
		if (!kept->is_kept[fd])
			continue;
		if (fd > first)
			(void)close_range(first, fd - 1, 0);
		first = fd + 1;
	}
	(void)close_range(first, ~0u, 0);
}

void estate_sweep(struct estate *estate)
{
	struct kept kept = {.n = ESTATE_DESCRIPTORS_MAX};

	estate_clear_given_up(estate);
	kept.is_kept = calloc(kept.n, sizeof(*kept.is_kept));
	/* Without memory the descriptors stay open; nobody waits for that. */
	if (!kept.is_kept)
		return;
	estate_keep(estate, &kept);
	kept_close_others(&kept);
	free(kept.is_kept);
}
