/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* freshness: which signatures are loaded, how old they are and whether their sources still confirm
 * them, as `holdfast status` tells of it. */
#include "cli.h"

#include <holdfast/control.h>

/* As many as the fetcher remembers; what a file has beyond that is not read. */
#define FRESHNESS_ITEMS_MAX   512
#define FRESHNESS_SOURCES_MAX 512

/* What the fetcher remembers of one database or custom file: see fetcher/state.h. */
struct freshness_item {
	char name[WIRE_DATABASE_NAME_MAX]; /* "daily", "local.ndb" */
	char source[WIRE_SIGNATURE_MAX], problem[WIRE_SIGNATURE_MAX];
	bool custom;
	int64_t checked, changed;
	uint32_t version;
};

struct freshness_source {
	char url[WIRE_SIGNATURE_MAX], problem[WIRE_SIGNATURE_MAX];
	int64_t last_ok, cool_until, cool_since;
};

struct freshness {
	const struct conf *conf;
	int64_t now; /* seconds since the epoch, as all times here */
	struct wire_database databases[WIRE_DATABASES_MAX];
	unsigned n_databases;
	struct freshness_item items[FRESHNESS_ITEMS_MAX];
	unsigned n_items;
	struct freshness_source sources[FRESHNESS_SOURCES_MAX];
	unsigned n_sources;
	int64_t next_run;	     /* 0: not known */
	char problem[WIRE_TEXT_MAX]; /* what the fetcher remembers cannot be read; empty: it can */
};

/* freshness_new() reads what the fetcher remembers; conf must live on. NULL: out of memory. */
struct freshness *freshness_new(const struct conf *conf, int64_t now);

/* freshness_ask() asks the guard for the files that are loaded. Returns 0 or a negative errno. */
int freshness_ask(struct freshness *freshness, int fd);

/* freshness_judge() writes what the user should be warned of, and returns how many of these there
 * are. */
#define FRESHNESS_WARNINGS_MAX 3
#define FRESHNESS_WARNING_SIZE 512
unsigned freshness_judge(const struct freshness *freshness, const struct wire_engine_info *engine,
			 char warnings[FRESHNESS_WARNINGS_MAX][FRESHNESS_WARNING_SIZE]);

/* freshness_print() prints the lines of `holdfast status`; freshness_json() returns all for
 * programs. */
void freshness_print(const struct freshness *freshness, FILE *out);
json_t *freshness_json(const struct freshness *freshness);
