/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * estate: what a guard leaves to the one that follows it.
 *
 * Guards of one family (standby.h) share their table of descriptors and this memory, and nothing
 * else. So when one is killed, at whatever moment, the kernel's group, the events that were read
 * and not answered, the verdicts and the counters are all still there, under the same numbers and
 * addresses. What is in here must make sense after each single store: its owner can end between any
 * two.
 */
#include "event.h"
#include "findings.h"
#include "group.h"
#include "renames.h"
#include "roster.h"
#include "used.h"

#include <holdfast/control.h>
#include <stdatomic.h>

/* The guard, those that wait, and some that come while others have not been cleared away. */
#define ESTATE_MEMBERS_MAX 8

/* The numbers of descriptors are below: the supervisor sets that limit at its start. */
#define ESTATE_DESCRIPTORS_MAX 65536

/* A process of the family. */
struct estate_member {
	_Atomic int channel; /* its end of the channel to the supervisor; 0: this entry is free */
};

struct estate {
	struct group group;
	struct renames renames;
	struct estate_member members[ESTATE_MEMBERS_MAX];
	int64_t started_at;    /* when the first guard began, seconds since the epoch; 0: not yet */
	_Atomic bool watching; /* marks are set: openers wait for whoever is the guard */
	_Atomic int verdicts;  /* memory of verdicts.h; -1: there is none yet */
	_Atomic int contents;  /* memory of contents.h; -1: there is none */
	_Atomic bool may_miss_closes; /* events are being read, and one may get lost */
	unsigned closes_epoch;	      /* of the group, when closes may have gone unseen last */
	struct control_counters counters;
	struct findings findings;
	struct roster roster;
	struct used used;
	struct event *_Atomic deciding; /* what becomes of this open is being decided */
	struct event events[EVENTS_MAX];
};

/*
 * estate_new() makes the first of a family, with the kernel's groups. It needs CAP_SYS_ADMIN.
 * Returns NULL with errno set and what failed in *ret_what. estate_free() takes NULL and returns
 * NULL; it closes the groups, whereupon the kernel lets all openers go.
 */
struct estate *estate_new(const char **ret_what);
struct estate *estate_free(struct estate *estate);

/* estate_enter() notes a process of the family by its channel; those whose channel the supervisor
 * has closed are forgotten. NULL: there are too many. */
struct estate_member *estate_enter(struct estate *estate, int channel);

/*
 * estate_sweep() closes every descriptor that is not part of the estate: those that the guard
 * before had open for itself. No other process of the family may be opening any meanwhile.
 */
void estate_sweep(struct estate *estate);
