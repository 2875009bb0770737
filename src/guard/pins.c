/* SPDX-License-Identifier: GPL-2.0-only */
#include "pins.h"

#include "handle.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <uthash.h>

struct pin {
	struct file_id id;
	uint64_t device; /* of the superblock */
	struct handle handle;
	UT_hash_handle hh;
};

void pins_init(struct pins *pins, struct group *group, const struct mounts *mounts)
{
	*pins = (struct pins){.group = group, .mounts = mounts};
}

static void pin_free(struct pins *pins, struct pin *pin)
{
	HASH_DEL(pins->by_id, pin);
	free(pin);
}

void pins_drop(struct pins *pins, struct file_id id)
{
	struct pin *pin;

	HASH_FIND(hh, pins->by_id, &id, sizeof(id), pin);
	if (pin)
		pin_free(pins, pin);
}

void pins_deinit(struct pins *pins)
{
	struct pin *pin, *next;

	HASH_ITER (hh, pins->by_id, pin, next)
		pin_free(pins, pin);
}

/* The mark of a file that is gone, or whose filesystem is, went with it. */
static void pins_make_room(struct pins *pins)
{
	struct pin *oldest = pins->by_id;
	const struct mount *mount = mounts_showing(pins->mounts, oldest->device);
	int fd = mount ? handle_open(&oldest->handle, mount, O_PATH) : -ENOENT;

	if (fd >= 0) {
		(void)group_forget_path_only(pins->group, fd);
		close(fd);
	}
	pin_free(pins, oldest);
}

int pins_add(struct pins *pins, int fd, struct file_id id, uint64_t device)
{
	struct pin *pin;
	int r;

	if (pins->group->features.has[FEATURE_EVICTABLE_MARKS])
		return 0;
	if (pins->epoch != pins->group->epoch)
		pins_deinit(pins);
	pins->epoch = pins->group->epoch;
	pins_drop(pins, id);
	if (HASH_COUNT(pins->by_id) >= PINS_MAX)
		pins_make_room(pins);
	pin = malloc(sizeof(*pin));
	if (!pin)
		return -ENOMEM;
	*pin = (struct pin){.id = id, .device = device};
	r = handle_of(fd, &pin->handle);
	if (r < 0) {
		free(pin);
		return r;
	}
	HASH_ADD(hh, pins->by_id, id, sizeof(id), pin);
	if (!pin->hh.tbl) {
		free(pin);
		return -ENOMEM;
	}
	return 0;
}
