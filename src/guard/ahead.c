/* SPDX-License-Identifier: GPL-2.0-only */
#include "ahead.h"

#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

/* What takes longer to settle waits in a queue of its own, so that each is in the order of time. */
#define SLOW_US 100000

int ahead_init(struct ahead *ahead, unsigned max)
{
	*ahead = (struct ahead){.files = calloc(max + 1, sizeof(*ahead->files)), .max = max};
	if (!ahead->files)
		return -ENOMEM;
	for (unsigned i = max; i-- > 0;)
		LL_PREPEND(ahead->unused, &ahead->files[i]);
	return 0;
}

void ahead_deinit(struct ahead *ahead)
{
	free(ahead->files);
	*ahead = (struct ahead){0};
}

static struct ahead_file **ahead_chain(struct ahead *ahead, struct file_id id)
{
	/* As in request.c. */
	uint64_t hash = (id.inode ^ id.device << 40) * UINT64_C(0x9e3779b97f4a7c15);

	return &ahead->chains[(hash >> 32) & (AHEAD_CHAINS - 1)];
}

static struct ahead_file *ahead_find(struct ahead *ahead, struct file_id id)
{
	struct ahead_file *file = *ahead_chain(ahead, id);

	while (file && (file->id.inode != id.inode || file->id.device != id.device))
		file = file->chain;
	return file;
}

static void ahead_queue(struct ahead *ahead, struct ahead_file *file, uint64_t settles_us,
			uint64_t now_us)
{
	/* A ctime may be in the future. */
	if (settles_us > AHEAD_WAIT_MAX_US)
		settles_us = AHEAD_WAIT_MAX_US;
	file->is_slow = settles_us > SLOW_US;
	file->due_us = now_us + settles_us;
	DL_APPEND(ahead->queues[file->is_slow], file);
}

/* Enters a file that is not in the table, in which there is room. */
static void ahead_enter(struct ahead *ahead, const struct ahead_file *from, uint64_t settles_us,
			uint64_t now_us)
{
	struct ahead_file *file = ahead->unused, **chain = ahead_chain(ahead, from->id);

	LL_DELETE(ahead->unused, file);
	*file = *from;
	file->chain = *chain;
	*chain = file;
	ahead_queue(ahead, file, settles_us, now_us);
	ahead->n++;
}

/* Takes a file out of the table. */
static void ahead_leave(struct ahead *ahead, struct ahead_file *file)
{
	struct ahead_file **chain = ahead_chain(ahead, file->id);

	while (*chain != file)
		chain = &(*chain)->chain;
	*chain = file->chain;
	DL_DELETE(ahead->queues[file->is_slow], file);
	LL_PREPEND(ahead->unused, file);
	ahead->n--;
}

bool ahead_add(struct ahead *ahead, const struct ahead_file *file, uint64_t settles_us,
	       uint64_t now_us)
{
	struct ahead_file entry = *file;

	if (!ahead->unused)
		return false;
	entry.give_up_us = now_us + AHEAD_WAIT_MAX_US;
	ahead_enter(ahead, &entry, settles_us, now_us);
	return true;
}

void ahead_drop(struct ahead *ahead, struct file_id id)
{
	struct ahead_file *file = ahead_find(ahead, id);

	if (file)
		ahead_leave(ahead, file);
}

bool ahead_again(struct ahead *ahead, struct file_id id, int32_t pid, uint64_t settles_us,
		 uint64_t now_us, bool *ret_given_up)
{
	struct ahead_file *file = ahead_find(ahead, id);

	*ret_given_up = file && file->give_up_us <= now_us;
	if (*ret_given_up) {
		ahead_drop(ahead, id);
	} else if (file) {
		file->pid = pid;
		DL_DELETE(ahead->queues[file->is_slow], file);
		ahead_queue(ahead, file, settles_us, now_us);
	}
	return file;
}

/* The queue whose first file is due first; NULL: both are empty. */
static struct ahead_file *ahead_first(const struct ahead *ahead)
{
	struct ahead_file *fast = ahead->queues[false], *slow = ahead->queues[true];

	return !slow || (fast && fast->due_us <= slow->due_us) ? fast : slow;
}

bool ahead_take(struct ahead *ahead, uint64_t now_us, struct ahead_file *ret)
{
	struct ahead_file *file = ahead_first(ahead);

	if (!file || file->due_us > now_us)
		return false;
	*ret = *file;
	ahead_leave(ahead, file);
	return true;
}

bool ahead_put_back(struct ahead *ahead, const struct ahead_file *file, uint64_t settles_us,
		    uint64_t now_us)
{
	bool is_back = ahead_find(ahead, file->id);

	if (is_back || !ahead->unused)
		return is_back;
	ahead_enter(ahead, file, settles_us, now_us);
	return true;
}

unsigned ahead_give_up(struct ahead *ahead, uint64_t now_us)
{
	unsigned n = 0;

	for (int slow = false; slow <= true; slow++) {
		struct ahead_file *file;

		while ((file = ahead->queues[slow]) && file->give_up_us <= now_us) {
			ahead_leave(ahead, file);
			n++;
		}
	}
	return n;
}

uint64_t ahead_due_us(const struct ahead *ahead)
{
	const struct ahead_file *first = ahead_first(ahead);

	return first ? first->due_us : UINT64_MAX;
}
