/* SPDX-License-Identifier: GPL-2.0-only */
#include "findings.h"

#include "../common/clock.h"
#include "../common/path.h"

#include <stdatomic.h>

static bool key_is_of(const struct finding_key *key, struct file_id id)
{
	return key->id.inode == id.inode && key->id.device == id.device;
}

static bool key_equal(const struct finding_key *a, const struct finding_key *b)
{
	return key_is_of(a, b->id) && file_state_equal(&a->state, &b->state) &&
	       a->signatures == b->signatures;
}

/* --- one table --- */

/* Where it is; table->n_used: nowhere. */
static uint32_t table_find(const struct finding_table *table, const struct finding_key *key)
{
	uint32_t i = 0;

	while (i < table->n_used &&
	       !(table->places[i].turn && key_equal(&table->places[i].key, key)))
		i++;
	return i;
}

/* A free place, or that of the one that was met least recently. */
static uint32_t table_make_room(struct finding_table *table)
{
	uint32_t oldest = 0;

	if (table->n_used < FINDINGS_MAX) {
		for (uint32_t i = 0; i < table->n_used; i++)
			if (!table->places[i].turn)
				return i;
		return table->n_used++;
	}
	for (uint32_t i = 1; i < FINDINGS_MAX; i++)
		if (table->places[i].turn < table->places[oldest].turn)
			oldest = i;
	return oldest;
}

static bool table_remove(struct finding_table *table, const struct finding_key *key)
{
	uint32_t i = table_find(table, key);

	if (i == table->n_used)
		return false;
	table->places[i].turn = 0;
	return true;
}

/* --- all of them --- */

/* The place and the finding; false: there is none. */
static bool findings_locate(struct findings *findings, const struct finding_key *key,
			    struct finding_place **ret_place, struct finding **ret)
{
	for (unsigned kind = 0; kind < FINDING_KIND_COUNT; kind++) {
		struct finding_table *table = &findings->tables[kind];
		uint32_t i = table_find(table, key);

		if (i == table->n_used)
			continue;
		*ret_place = &table->places[i];
		*ret = &table->findings[i];
		return true;
	}
	return false;
}

const struct finding *findings_find(struct findings *findings, const struct finding_key *key)
{
	struct finding_place *place;
	struct finding *finding;

	return findings_locate(findings, key, &place, &finding) ? finding : NULL;
}

const struct finding *findings_meet(struct findings *findings, const struct finding_key *key)
{
	struct finding_place *place;
	struct finding *finding;

	if (!findings_locate(findings, key, &place, &finding))
		return NULL;
	place->turn = ++findings->turns;
	finding->met++;
	return finding;
}

bool findings_add(struct findings *findings, const struct finding_key *key, enum finding_kind kind,
		  bool is_sure, const char *reason, const char *path)
{
	struct finding_table *table = &findings->tables[kind];
	bool is_news = !table_remove(table, key);
	struct finding *finding;
	uint32_t i;

	findings_remove(findings, key);
	i = table_make_room(table);
	finding = &table->findings[i];
	/* Whoever takes over from us in the middle of this finds a free place. */
	table->places[i].turn = 0;
	atomic_signal_fence(memory_order_seq_cst);
	table->places[i].key = *key;
	table->places[i].is_sure = is_sure;
	*finding = (struct finding){
		.kind = kind,
		.since = (int64_t)(clock_wall_us() / CLOCK_US_PER_SEC),
	};
	(void)snprintf(finding->reason, sizeof(finding->reason), "%s", reason);
	path_fit(finding->path, sizeof(finding->path), path);
	atomic_signal_fence(memory_order_seq_cst);
	table->places[i].turn = ++findings->turns;
	return is_news;
}

void findings_remove(struct findings *findings, const struct finding_key *key)
{
	for (unsigned kind = 0; kind < FINDING_KIND_COUNT; kind++)
		(void)table_remove(&findings->tables[kind], key);
}

void findings_forget(struct findings *findings, struct file_id id, const struct file_state *state)
{
	for (unsigned kind = 0; kind < FINDING_KIND_COUNT; kind++) {
		struct finding_table *table = &findings->tables[kind];

		for (uint32_t i = 0; i < table->n_used; i++) {
			struct finding_place *place = &table->places[i];

			if (key_is_of(&place->key, id) &&
			    !(place->is_sure && file_state_equal(&place->key.state, state)))
				place->turn = 0;
		}
	}
}

static bool place_counts(const struct finding_place *place, uint64_t signatures)
{
	return place->turn && place->key.signatures == signatures;
}

unsigned findings_count(const struct findings *findings, enum finding_kind kind,
			uint64_t signatures)
{
	const struct finding_table *table = &findings->tables[kind];
	unsigned n = 0;

	for (uint32_t i = 0; i < table->n_used; i++)
		n += place_counts(&table->places[i], signatures);
	return n;
}

const struct finding *findings_at(const struct findings *findings, enum finding_kind kind,
				  uint64_t signatures, unsigned index)
{
	const struct finding_table *table = &findings->tables[kind];
	const struct finding *found = NULL;
	uint64_t before = UINT64_MAX;

	for (unsigned n = 0; n <= index; n++) {
		uint64_t latest = 0;

		for (uint32_t i = 0; i < table->n_used; i++) {
			const struct finding_place *place = &table->places[i];

			if (!place_counts(place, signatures) || place->turn >= before ||
			    place->turn < latest)
				continue;
			latest = place->turn;
			found = &table->findings[i];
		}
		if (!latest)
			return NULL;
		before = latest;
	}
	return found;
}
