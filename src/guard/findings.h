/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * findings: the files that are known not to be clean, or that cannot be scanned, each in the very
 * state it was seen in. The opposite of verdicts.h: what is here is answered without a scan.
 *
 * A file in a state is its device, inode, size and times, and the set of signatures and settings
 * that it was scanned under (struct wire_engine_info: the version of libclamav is part of it). Not
 * a verdict's tag: which mount a file is seen through makes a verdict of clean doubtful, and a
 * finding not; and a finding outlives a reload of the same signatures.
 *
 * Bounded, of fixed size, without a pointer, and empty when all zero, so that it can live in memory
 * that one process takes over from another: an entry that a process died over is not there. When
 * there is no room the finding that was met least recently goes, always one of the same kind.
 */
#include "file.h"

#include <holdfast/wire.h>

/* Of each kind. */
#define FINDINGS_MAX 1024

/* Longer paths lose their middle. */
#define FINDINGS_PATH_MAX 512

enum finding_kind {
	FINDING_INFECTED,
	FINDING_POISON, /* it crashed the workers that it was given to */
	FINDING_KIND_COUNT
};

/* What a finding is known by. */
struct finding_key {
	struct file_id id;
	struct file_state state;
	uint64_t signatures; /* the set, see struct wire_engine_info */
};

struct finding {
	uint32_t kind; /* enum finding_kind */
	uint32_t unused;
	int64_t since;			 /* seconds since the epoch */
	uint64_t met;			 /* opens and scans that it answered */
	char reason[WIRE_SIGNATURE_MAX]; /* INFECTED: the signature; POISON: how workers ended */
	char path[FINDINGS_PATH_MAX];	 /* when it was found, for people */
};

struct finding_place {
	struct finding_key key;
	uint64_t is_sure; /* what was scanned can only have been this state */
	uint64_t turn;	  /* when it was met last, the later the greater; 0: the place is free */
};

struct finding_table {
	uint32_t n_used; /* places beyond were never used */
	uint32_t unused;
	struct finding_place places[FINDINGS_MAX];
	struct finding findings[FINDINGS_MAX];
};

struct findings {
	uint64_t turns;
	struct finding_table tables[FINDING_KIND_COUNT];
};

/* findings_find() returns what is known of this file in this state, NULL: nothing. Valid until the
 * next change. */
const struct finding *findings_find(struct findings *findings, const struct finding_key *key);

/* findings_meet() is findings_find() for whoever answers by what it returns: that is counted. */
const struct finding *findings_meet(struct findings *findings, const struct finding_key *key);

/*
 * findings_add() puts one in, in the place of what was known before. is_sure: a change since the
 * scan would have made another state (file_state_settled()). path may have any length; a reason
 * that is too long is cut. Returns whether this kind of finding is news of this file.
 */
bool findings_add(struct findings *findings, const struct finding_key *key, enum finding_kind kind,
		  bool is_sure, const char *reason, const char *path);

/* findings_remove() takes it out. */
void findings_remove(struct findings *findings, const struct finding_key *key);

/* findings_forget() takes out what is known of a file in other states than this one, and what is
 * not sure of this one. */
void findings_forget(struct findings *findings, struct file_id id, const struct file_state *state);

/* findings_count() returns how many of a kind there are under these signatures. */
unsigned findings_count(const struct findings *findings, enum finding_kind kind,
			uint64_t signatures);

/* findings_at() returns one of them, 0: the one met last, 1: the one before; NULL: there are no so
 * many. Takes the longer the greater index is. */
const struct finding *findings_at(const struct findings *findings, enum finding_kind kind,
				  uint64_t signatures, unsigned index);
