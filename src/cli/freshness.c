/* SPDX-License-Identifier: GPL-2.0-only */
#include "freshness.h"

#include "../common/line.h"
#include "../common/signature.h"
#include "../common/url.h"
#include "client.h"
#include "human.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the fetcher remembers is never larger. */
#define STATE_SIZE_MAX (4 << 20)

/* So many lines of a kind people get. */
#define LINES_MAX 12

/* A cool-down that is longer was written under another clock: see src/fetcher/source.h. */
#define COOL_DOWN_MAX_S (7 * 24 * 3600)

/* So many names a warning has. */
#define NAMES_MAX 5

/* --- what the fetcher remembers --- */

/* Reads a file that an unprivileged user has written. Returns a string of *ret_size bytes to free;
 * NULL with errno. */
static char *freshness_read_file(const char *path, size_t *ret_size)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), error;
	struct stat status;
	char *text = NULL;
	ssize_t n = -1;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &status) < 0) {
		error = errno;
	} else if (!S_ISREG(status.st_mode) || status.st_size > STATE_SIZE_MAX) {
		error = EINVAL;
	} else {
		text = malloc((size_t)status.st_size + 1);
		n = text ? pread(fd, text, (size_t)status.st_size, 0) : -1;
		error = errno;
	}
	close(fd);
	if (n < 0) {
		free(text);
		errno = error;
		return NULL;
	}
	*ret_size = (size_t)n;
	return text;
}

static void freshness_take_text(char *text, size_t size, const json_t *object, const char *key)
{
	const char *value = json_string_value(json_object_get(object, key));

	(void)snprintf(text, size, "%s", value ? value : "");
}

/* What is no time counts as never. */
static int64_t freshness_take_time(const json_t *object, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(object, key));

	return value > 0 ? value : 0;
}

static void freshness_take_item(struct freshness *freshness, const json_t *object)
{
	struct freshness_item *item = &freshness->items[freshness->n_items];
	json_int_t version = json_integer_value(json_object_get(object, "version"));

	if (freshness->n_items >= FRESHNESS_ITEMS_MAX)
		return;
	freshness_take_text(item->name, sizeof(item->name), object, "name");
	freshness_take_text(item->source, sizeof(item->source), object, "source");
	freshness_take_text(item->problem, sizeof(item->problem), object, "problem");
	item->custom = json_is_true(json_object_get(object, "custom"));
	item->checked = freshness_take_time(object, "checked");
	item->changed = freshness_take_time(object, "changed");
	item->version = version > 0 && version <= UINT32_MAX ? (uint32_t)version : 0;
	freshness->n_items += *item->name != '\0';
}

static void freshness_take_source(struct freshness *freshness, const json_t *object)
{
	struct freshness_source *source = &freshness->sources[freshness->n_sources];

	if (freshness->n_sources >= FRESHNESS_SOURCES_MAX)
		return;
	freshness_take_text(source->url, sizeof(source->url), object, "url");
	freshness_take_text(source->problem, sizeof(source->problem), object, "problem");
	source->last_ok = freshness_take_time(object, "last_ok");
	source->cool_until = freshness_take_time(object, "cool_until");
	source->cool_since = freshness_take_time(object, "cool_since");
	freshness->n_sources += *source->url != '\0';
}

static void freshness_read(struct freshness *freshness)
{
	char directory[PATH_MAX], path[PATH_MAX + 32], *text;
	json_t *state, *entry;
	size_t size, i;

	conf_signatures_dir(freshness->conf, directory, sizeof(directory));
	(void)snprintf(path, sizeof(path), "%s/%s", directory, SIGNATURE_STATE);
	text = freshness_read_file(path, &size);
	if (!text) {
		if (errno != ENOENT) /* else nobody was ever asked */
			(void)snprintf(freshness->problem, sizeof(freshness->problem), "%s: %s",
				       path, strerror(errno));
		return;
	}
	state = json_loadb(text, size, 0, NULL);
	free(text);
	if (!json_is_object(state))
		(void)snprintf(freshness->problem, sizeof(freshness->problem),
			       "%s cannot be understood: the next update writes it anew", path);
	json_array_foreach(json_object_get(state, "items"), i, entry)
		freshness_take_item(freshness, entry);
	json_array_foreach(json_object_get(state, "sources"), i, entry)
		freshness_take_source(freshness, entry);
	freshness->next_run = freshness_take_time(state, "next_run");
	json_decref(state);
}

struct freshness *freshness_new(const struct conf *conf, int64_t now)
{
	struct freshness *freshness = calloc(1, sizeof(*freshness));

	if (!freshness)
		return NULL;
	freshness->conf = conf;
	freshness->now = now;
	freshness_read(freshness);
	return freshness;
}

/* --- what is loaded --- */

int freshness_ask(struct freshness *freshness, int fd)
{
	struct control_database_reply reply = {.n = 1};
	int r = 0;

	/* There may be others meanwhile: the last reply says how many. */
	for (uint32_t i = 0; r == 0 && i < reply.n && i < WIRE_DATABASES_MAX; i++) {
		const struct control_index_request request = {
			.header = WIRE_INIT(WIRE_CONTROL_DATABASE, struct control_index_request),
			.index = i,
		};

		r = client_ask(fd, &request.header, WIRE_CONTROL_DATABASE_REPLY, &reply,
			       sizeof(reply));
		if (r == 0 && !wire_string_ok(reply.database.name, sizeof(reply.database.name)))
			r = -EPROTO;
		if (r == 0 && *reply.database.name)
			freshness->databases[freshness->n_databases++] = reply.database;
	}
	return r;
}

/* --- what belongs together --- */

static bool freshness_is_of(const struct freshness_item *item, const char *file)
{
	const char *dot = strrchr(file, '.');

	if (item->custom)
		return !strcmp(item->name, file);
	return signature_is_container(file) && strlen(item->name) == (size_t)(dot - file) &&
	       !strncmp(item->name, file, (size_t)(dot - file));
}

/* NULL: the fetcher knows nothing of this file. */
static const struct freshness_item *freshness_find_item(const struct freshness *freshness,
							const char *file)
{
	for (unsigned i = 0; i < freshness->n_items; i++)
		if (freshness_is_of(&freshness->items[i], file))
			return &freshness->items[i];
	return NULL;
}

static bool freshness_is_loaded(const struct freshness *freshness,
				const struct freshness_item *item)
{
	for (unsigned i = 0; i < freshness->n_databases; i++)
		if (freshness_is_of(item, freshness->databases[i].name))
			return true;
	return false;
}

/* Whether the configuration still wants it; what it does not is remembered until the next run. */
static bool freshness_is_wanted(const struct freshness *freshness,
				const struct freshness_item *item)
{
	const struct conf *conf = freshness->conf;
	const struct conf_list *list = item->custom ? &conf->custom : &conf->database;

	for (size_t i = 0; i < list->n_entries; i++)
		if (!strcmp(item->name, item->custom ? url_file_name(list->entries[i].text)
						     : list->entries[i].text))
			return item->custom || conf->mirror.n_entries;
	/* No database named: the official ones. */
	return !item->custom && !list->n_entries && conf->mirror.n_entries;
}

static bool freshness_is_cooling(const struct freshness *freshness,
				 const struct freshness_source *source)
{
	return source->cool_since <= freshness->now && freshness->now < source->cool_until &&
	       source->cool_until - source->cool_since <= COOL_DOWN_MAX_S;
}

/* --- judging --- */

static uint64_t freshness_max_age(const struct freshness *freshness)
{
	return freshness->conf->max_age_warning_ms / 1000;
}

static bool freshness_is_old(const struct freshness *freshness, int64_t when)
{
	return freshness_max_age(freshness) && freshness->now > when &&
	       (uint64_t)(freshness->now - when) > freshness_max_age(freshness);
}

static bool freshness_judge_age(const struct freshness *freshness,
				const struct wire_engine_info *engine,
				char warning[FRESHNESS_WARNING_SIZE])
{
	char when[32], age[32], max[32];

	if (engine->test_only || !engine->newest || !freshness_is_old(freshness, engine->newest))
		return false;
	(void)snprintf(warning, FRESHNESS_WARNING_SIZE,
		       "the newest signatures are of %s, %s old: more than max-age-warning (%s)",
		       human_time(when, sizeof(when), engine->newest),
		       human_duration(age, sizeof(age), freshness->now - engine->newest),
		       human_duration(max, sizeof(max), (int64_t)freshness_max_age(freshness)));
	return true;
}

/* One warning for all, as most often the reason is one. */
static bool freshness_judge_items(const struct freshness *freshness,
				  char warning[FRESHNESS_WARNING_SIZE])
{
	const struct freshness_item *first = NULL;
	char names[256] = "", problem[LINE_ESCAPED_MAX(WIRE_SIGNATURE_MAX)];
	unsigned n = 0;

	for (unsigned i = 0; i < freshness->n_items; i++) {
		const struct freshness_item *item = &freshness->items[i];
		char name[LINE_ESCAPED_MAX(WIRE_DATABASE_NAME_MAX)], age[32] = "never";
		size_t length = strlen(names);

		if (!freshness_is_wanted(freshness, item) || !freshness_max_age(freshness) ||
		    (item->checked && !freshness_is_old(freshness, item->checked)))
			continue;
		if (!first)
			first = item;
		if (item->checked)
			human_duration(age, sizeof(age), freshness->now - item->checked);
		if (n++ < NAMES_MAX)
			(void)snprintf(names + length, sizeof(names) - length, "%s%s (%s)",
				       n > 1 ? ", " : "",
				       line_escape(name, sizeof(name), item->name), age);
	}
	if (!first)
		return false;
	if (n > NAMES_MAX)
		(void)snprintf(names + strlen(names), sizeof(names) - strlen(names), " and %u more",
			       n - NAMES_MAX);
	line_escape(problem, sizeof(problem), first->problem);
	(void)snprintf(warning, FRESHNESS_WARNING_SIZE,
		       "no source has confirmed for longer than max-age-warning: %s%s%s", names,
		       *problem ? ": " : "", problem);
	return true;
}

static const struct freshness_source *freshness_find_cooling(const struct freshness *freshness,
							     const char *url)
{
	char display[WIRE_SIGNATURE_MAX];

	url_display(url, display, sizeof(display));
	for (unsigned i = 0; i < freshness->n_sources; i++)
		if (!strcmp(freshness->sources[i].url, display) &&
		    freshness_is_cooling(freshness, &freshness->sources[i]))
			return &freshness->sources[i];
	return NULL;
}

/* One that cools down is no reason to worry as long as another one may be asked. */
static bool freshness_judge_sources(const struct freshness *freshness,
				    char warning[FRESHNESS_WARNING_SIZE])
{
	const struct conf *conf = freshness->conf;
	const struct conf_list *list = conf->mirror.n_entries ? &conf->mirror : &conf->custom;
	const struct freshness_source *first = NULL;
	char url[LINE_ESCAPED_MAX(WIRE_SIGNATURE_MAX)];
	char problem[LINE_ESCAPED_MAX(WIRE_SIGNATURE_MAX)], when[32];

	for (size_t i = 0; i < list->n_entries; i++) {
		const struct freshness_source *source =
			freshness_find_cooling(freshness, list->entries[i].text);

		if (!source)
			return false;
		if (!first || source->cool_until < first->cool_until)
			first = source;
	}
	if (!first)
		return false;
	(void)snprintf(warning, FRESHNESS_WARNING_SIZE,
		       "nobody may be asked for signatures until %s: %s%s%s",
		       human_time(when, sizeof(when), first->cool_until),
		       line_escape(url, sizeof(url), first->url), *first->problem ? ": " : "",
		       line_escape(problem, sizeof(problem), first->problem));
	return true;
}

unsigned freshness_judge(const struct freshness *freshness, const struct wire_engine_info *engine,
			 char warnings[FRESHNESS_WARNINGS_MAX][FRESHNESS_WARNING_SIZE])
{
	unsigned n = 0;

	n += freshness_judge_age(freshness, engine, warnings[n]);
	n += freshness_judge_items(freshness, warnings[n]);
	n += freshness_judge_sources(freshness, warnings[n]);
	return n;
}

/* --- for people --- */

/* What the fetcher has to say of a file. */
static void freshness_print_item(const struct freshness *freshness,
				 const struct freshness_item *item, FILE *out)
{
	char text[LINE_ESCAPED_MAX(WIRE_SIGNATURE_MAX)], age[32];

	if (item->checked)
		(void)fprintf(out, "; from %s, confirmed %s ago",
			      line_escape(text, sizeof(text), item->source),
			      human_duration(age, sizeof(age), freshness->now - item->checked));
	if (*item->problem)
		(void)fprintf(out, "; the last check failed: %s",
			      line_escape(text, sizeof(text), item->problem));
}

static void freshness_print_database(const struct freshness *freshness,
				     const struct wire_database *database, FILE *out)
{
	const struct freshness_item *item = freshness_find_item(freshness, database->name);
	char name[LINE_ESCAPED_MAX(WIRE_DATABASE_NAME_MAX)], text[32];

	(void)fprintf(out, "%-14s ", line_escape(name, sizeof(name), database->name));
	if (database->version)
		(void)fprintf(out, "%u, ", database->version);
	if (database->signatures)
		(void)fprintf(out, "%s signatures, ",
			      human_count(text, sizeof(text), database->signatures));
	(void)fprintf(out, "%s old",
		      human_duration(text, sizeof(text), freshness->now - database->built_at));
	if (item)
		freshness_print_item(freshness, item, out);
	(void)fputc('\n', out);
}

/* Begins a line of the block; false: there are enough, and what is left is only counted. */
static bool freshness_begin_line(unsigned n, const char *title, FILE *out)
{
	if (n < LINES_MAX)
		(void)fprintf(out, "  %-11s ", n ? "" : title);
	return n < LINES_MAX;
}

static void freshness_end_lines(unsigned n, FILE *out)
{
	if (n > LINES_MAX)
		(void)fprintf(out, "  %-11s ... and %u more\n", "", n - LINES_MAX);
}

static void freshness_print_files(const struct freshness *freshness, FILE *out)
{
	char name[LINE_ESCAPED_MAX(WIRE_DATABASE_NAME_MAX)];
	unsigned n = 0;

	/* What is missing first, so that it is not among those that are only counted. */
	for (unsigned i = 0; i < freshness->n_items; i++) {
		const struct freshness_item *item = &freshness->items[i];

		if (freshness_is_loaded(freshness, item) || !freshness_is_wanted(freshness, item) ||
		    !freshness_begin_line(n++, "databases", out))
			continue;
		(void)fprintf(out, "%-14s not loaded", line_escape(name, sizeof(name), item->name));
		freshness_print_item(freshness, item, out);
		(void)fputc('\n', out);
	}
	for (unsigned i = 0; i < freshness->n_databases; i++)
		if (freshness_begin_line(n++, "databases", out))
			freshness_print_database(freshness, &freshness->databases[i], out);
	freshness_end_lines(n, out);
}

static void freshness_print_cool_downs(const struct freshness *freshness, FILE *out)
{
	char url[LINE_ESCAPED_MAX(WIRE_SIGNATURE_MAX)];
	char problem[LINE_ESCAPED_MAX(WIRE_SIGNATURE_MAX)], when[32];
	unsigned n = 0;

	for (unsigned i = 0; i < freshness->n_sources; i++) {
		const struct freshness_source *source = &freshness->sources[i];

		if (freshness_is_cooling(freshness, source) &&
		    freshness_begin_line(n++, "cool-down", out))
			(void)fprintf(out, "%s until %s%s%s\n",
				      line_escape(url, sizeof(url), source->url),
				      human_time(when, sizeof(when), source->cool_until),
				      *source->problem ? ": " : "",
				      line_escape(problem, sizeof(problem), source->problem));
	}
	freshness_end_lines(n, out);
}

void freshness_print(const struct freshness *freshness, FILE *out)
{
	char text[LINE_ESCAPED_MAX(WIRE_TEXT_MAX)];

	freshness_print_files(freshness, out);
	freshness_print_cool_downs(freshness, out);
	if (freshness->next_run > freshness->now && freshness->conf->check_every_ms)
		(void)fprintf(out, "  %-11s %s\n", "next check",
			      human_time(text, sizeof(text), freshness->next_run));
	if (*freshness->problem)
		(void)fprintf(out, "  %-11s %s\n", "updates",
			      line_escape(text, sizeof(text), freshness->problem));
}

/* --- for programs --- */

/* Everything in it came from elsewhere. */
static void freshness_set_text(json_t *object, const char *key, const char *value)
{
	char text[LINE_ESCAPED_MAX(WIRE_TEXT_MAX)];

	(void)json_object_set_new(object, key, json_string(line_escape(text, sizeof(text), value)));
}

static json_t *freshness_json_database(const struct wire_database *database)
{
	json_t *object = json_pack("{s:I, s:I, s:I}", "version", (json_int_t)database->version,
				   "signatures", (json_int_t)database->signatures, "built",
				   (json_int_t)database->built_at);

	freshness_set_text(object, "name", database->name);
	return object;
}

static json_t *freshness_json_item(const struct freshness *freshness,
				   const struct freshness_item *item)
{
	json_t *object = json_pack("{s:b, s:b, s:I, s:I, s:I}", "custom", (int)item->custom,
				   "loaded", (int)freshness_is_loaded(freshness, item), "checked",
				   (json_int_t)item->checked, "changed", (json_int_t)item->changed,
				   "version", (json_int_t)item->version);

	freshness_set_text(object, "name", item->name);
	freshness_set_text(object, "source", item->source);
	freshness_set_text(object, "problem", item->problem);
	return object;
}

static json_t *freshness_json_source(const struct freshness *freshness,
				     const struct freshness_source *source)
{
	bool is_cooling = freshness_is_cooling(freshness, source);
	json_t *object = json_pack("{s:I, s:b, s:I}", "last_ok", (json_int_t)source->last_ok,
				   "cooling", (int)is_cooling, "cool_until",
				   (json_int_t)(is_cooling ? source->cool_until : 0));

	freshness_set_text(object, "url", source->url);
	freshness_set_text(object, "problem", source->problem);
	return object;
}

json_t *freshness_json(const struct freshness *freshness)
{
	json_t *databases = json_array(), *items = json_array(), *sources = json_array();
	json_t *answer =
		json_pack("{s:o, s:o, s:o, s:I}", "databases", databases, "fetched", items,
			  "sources", sources, "next_check", (json_int_t)freshness->next_run);

	for (unsigned i = 0; i < freshness->n_databases; i++)
		(void)json_array_append_new(databases,
					    freshness_json_database(&freshness->databases[i]));
	for (unsigned i = 0; i < freshness->n_items; i++)
		(void)json_array_append_new(items,
					    freshness_json_item(freshness, &freshness->items[i]));
	for (unsigned i = 0; i < freshness->n_sources; i++)
		(void)json_array_append_new(
			sources, freshness_json_source(freshness, &freshness->sources[i]));
	freshness_set_text(answer, "problem", freshness->problem);
	return answer;
}
