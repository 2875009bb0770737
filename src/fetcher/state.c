/* SPDX-License-Identifier: GPL-2.0-only */
#include "state.h"

#include "../common/url.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATE_VERSION  1
#define STATE_SIZE_MAX (2 * 1024 * 1024)     /* full tables need less */
#define STATE_TIME_MAX INT64_C(253402300799) /* the end of the year 9999 */
#define UUID_LENGTH    36

static bool is_printable(char c)
{
	return c >= ' ' && c <= '~';
}

/* The readers return whether the value is there and in its bounds; *wrong names the first key whose
 * value is not. */

static bool read_number(const json_t *object, const char *key, int64_t max, int64_t *ret,
			const char **wrong)
{
	const json_t *value = json_object_get(object, key);

	*ret = json_integer_value(value);
	if (json_is_integer(value) && *ret >= 0 && *ret <= max)
		return true;
	*wrong = key;
	return false;
}

static bool read_text(const json_t *object, const char *key, char *buffer, size_t size,
		      const char **wrong)
{
	const char *text = json_string_value(json_object_get(object, key));
	size_t length = text ? strlen(text) : size;

	for (size_t i = 0; i < length && length < size; i++)
		if (!is_printable(text[i]))
			length = size;
	if (length < size) {
		memcpy(buffer, text, length + 1);
		return true;
	}
	*wrong = key;
	return false;
}

#define READ_TIME(object, key, ret)   read_number(object, key, STATE_TIME_MAX, ret, wrong)
#define READ_TEXT(object, key, field) read_text(object, key, field, sizeof(field), wrong)

static bool read_source(const json_t *json, struct source *source, const char **wrong)
{
	int64_t failures;

	if (!READ_TEXT(json, "url", source->url) || !READ_TIME(json, "last_ok", &source->last_ok) ||
	    !read_number(json, "failures", UINT32_MAX, &failures, wrong) ||
	    !READ_TIME(json, "retry_at", &source->retry_at) ||
	    !READ_TIME(json, "cool_until", &source->cool_until) ||
	    !READ_TIME(json, "cool_since", &source->cool_since) ||
	    !READ_TEXT(json, "problem", source->problem))
		return false;
	source->failures = (uint32_t)failures;
	return true;
}

static bool read_item(const json_t *json, struct state_item *item, const char **wrong)
{
	const json_t *custom = json_object_get(json, "custom");
	int64_t version, signatures;

	if (!READ_TEXT(json, "name", item->name) || !READ_TEXT(json, "source", item->source) ||
	    !READ_TIME(json, "checked", &item->checked) ||
	    !READ_TIME(json, "changed", &item->changed) ||
	    !read_number(json, "version", UINT32_MAX, &version, wrong) ||
	    !read_number(json, "signatures", UINT32_MAX, &signatures, wrong) ||
	    !READ_TEXT(json, "etag", item->etag) ||
	    !READ_TEXT(json, "last_modified", item->last_modified) ||
	    !READ_TEXT(json, "problem", item->problem))
		return false;
	*wrong = "name";
	if (!*item->name || strchr(item->name, '/'))
		return false;
	*wrong = "custom";
	item->custom = json_is_true(custom);
	item->version = (uint32_t)version;
	item->signatures = (uint32_t)signatures;
	return json_is_boolean(custom);
}

static bool read_uuid(const json_t *json, struct state *state, const char **wrong)
{
	if (!READ_TEXT(json, "uuid", state->uuid))
		return false;
	*wrong = "uuid";
	return strlen(state->uuid) == UUID_LENGTH &&
	       strspn(state->uuid, "0123456789abcdef-") == UUID_LENGTH;
}

static bool read_state(const json_t *json, struct state *state, const char **wrong)
{
	const json_t *sources = json_object_get(json, "sources");
	const json_t *items = json_object_get(json, "items");
	int64_t version;

	if (!read_number(json, "version", STATE_VERSION, &version, wrong) ||
	    !READ_TIME(json, "next_run", &state->next_run) || !read_uuid(json, state, wrong))
		return false;
	*wrong = "version";
	if (version != STATE_VERSION)
		return false;
	*wrong = "sources";
	if (!json_is_array(sources) || json_array_size(sources) > SOURCES_MAX)
		return false;
	*wrong = "items";
	if (!json_is_array(items) || json_array_size(items) > STATE_ITEMS_MAX)
		return false;
	state->n_sources = (unsigned)json_array_size(sources);
	for (unsigned i = 0; i < state->n_sources; i++)
		if (!read_source(json_array_get(sources, i), &state->sources[i], wrong))
			return false;
	state->n_items = (unsigned)json_array_size(items);
	for (unsigned i = 0; i < state->n_items; i++)
		if (!read_item(json_array_get(items, i), &state->items[i], wrong))
			return false;
	return true;
}

/* Reads a file that is not too long. Returns its size, or a negative errno. */
static ssize_t read_file(const char *path, char *buffer, size_t size)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct stat status;
	ssize_t n = 1, total = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))
		total = -EINVAL;
	while (total >= 0 && n > 0) {
		n = read(fd, buffer + total, size - (size_t)total);
		total = n < 0 ? -errno : total + n;
		if (total == (ssize_t)size)
			total = -EFBIG;
	}
	close(fd);
	return total;
}

/* Fills state from a file. Returns false with the reason in problem. */
static bool state_load(struct state *state, const char *path, char *problem, size_t problem_size)
{
	char *buffer = malloc(STATE_SIZE_MAX);
	ssize_t size = buffer ? read_file(path, buffer, STATE_SIZE_MAX) : -ENOMEM;
	const char *wrong;
	json_error_t error;
	json_t *json = NULL;
	bool done;

	if (size >= 0)
		json = json_loadb(buffer, (size_t)size, JSON_REJECT_DUPLICATES, &error);
	done = json && read_state(json, state, &wrong);
	if (size < 0 && size != -ENOENT)
		(void)snprintf(problem, problem_size, "%s: %s", path, strerror((int)-size));
	else if (size >= 0 && !json)
		(void)snprintf(problem, problem_size, "%s: this is not JSON, at line %d", path,
			       error.line);
	else if (json && !done)
		(void)snprintf(problem, problem_size, "%s: \"%s\" is not what belongs there", path,
			       wrong);
	json_decref(json);
	free(buffer);
	return done;
}

static void state_make_uuid(struct state *state)
{
	uint8_t b[16];

	if (getrandom(b, sizeof(b), 0) != sizeof(b))
		return;
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40); /* RFC 9562, version 4 */
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	(void)snprintf(state->uuid, sizeof(state->uuid),
		       "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
		       b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12],
		       b[13], b[14], b[15]);
}

struct state *state_new(const char *path, char *problem, size_t problem_size)
{
	struct state *state = calloc(1, sizeof(*state));

	*problem = '\0';
	if (!state || state_load(state, path, problem, problem_size))
		return state;
	memset(state, 0, sizeof(*state));
	state_make_uuid(state);
	return state;
}

void state_free(struct state *state)
{
	free(state);
}

static json_t *make_text(const char *text)
{
	char clean[WIRE_SIGNATURE_MAX];
	size_t i;

	for (i = 0; text[i] && i < sizeof(clean) - 1; i++)
		clean[i] = text[i];
	for (clean[i] = '\0'; i-- > 0;)
		if (!is_printable(clean[i]))
			clean[i] = '?';
	return json_string(clean);
}

static json_t *make_source(const struct source *source)
{
	return json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:o}", "url", make_text(source->url),
			 "last_ok", (json_int_t)source->last_ok, "failures",
			 (json_int_t)source->failures, "retry_at", (json_int_t)source->retry_at,
			 "cool_until", (json_int_t)source->cool_until, "cool_since",
			 (json_int_t)source->cool_since, "problem", make_text(source->problem));
}

static json_t *make_item(const struct state_item *item)
{
	return json_pack("{s:o, s:b, s:o, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "name",
			 make_text(item->name), "custom", item->custom, "source",
			 make_text(item->source), "checked", (json_int_t)item->checked, "changed",
			 (json_int_t)item->changed, "version", (json_int_t)item->version,
			 "signatures", (json_int_t)item->signatures, "etag", make_text(item->etag),
			 "last_modified", make_text(item->last_modified), "problem",
			 make_text(item->problem));
}

/* Returns a string to free, or NULL: out of memory. */
static char *state_print(const struct state *state)
{
	json_t *sources = json_array(), *items = json_array(), *json;
	bool failed = false;
	char *text = NULL;

	for (unsigned i = 0; i < state->n_sources; i++)
		failed |= json_array_append_new(sources, make_source(&state->sources[i])) < 0;
	for (unsigned i = 0; i < state->n_items; i++)
		failed |= json_array_append_new(items, make_item(&state->items[i])) < 0;
	json = json_pack("{s:i, s:I, s:s, s:o, s:o}", "version", STATE_VERSION, "next_run",
			 (json_int_t)state->next_run, "uuid", state->uuid, "sources", sources,
			 "items", items);
	if (json && !failed)
		text = json_dumps(json, JSON_INDENT(1));
	json_decref(json);
	return text;
}

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640), r = 0;
	size_t left = strlen(text);

	if (fd < 0)
		return -errno;
	while (!r && left) {
		ssize_t n = write(fd, text, left);

		if (n < 0)
			r = -errno;
		else
			left -= (size_t)n, text += n;
	}
	/* Whatever the umask was. */
	if (!r && (fchmod(fd, 0640) < 0 || fsync(fd) < 0))
		r = -errno;
	close(fd);
	return r;
}

static int sync_directory(const char *path)
{
	char copy[PATH_MAX];
	int fd, r;

	(void)snprintf(copy, sizeof(copy), "%s", path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = fsync(fd) < 0 ? -errno : 0;
	close(fd);
	return r;
}

int state_save(const struct state *state, const char *path)
{
	char *text = state_print(state);
	char beside[PATH_MAX];
	int r = -ENOMEM;

	if ((size_t)snprintf(beside, sizeof(beside), "%s.new", path) >= sizeof(beside))
		r = -ENAMETOOLONG;
	else if (text) {
		(void)unlink(beside); /* of a run that was killed */
		r = write_file(beside, text);
		if (!r && rename(beside, path) < 0)
			r = -errno;
		if (r)
			(void)unlink(beside);
		else
			r = sync_directory(path);
	}
	free(text);
	return r;
}

struct source *state_source(struct state *state, const char *url)
{
	char shown[WIRE_SIGNATURE_MAX];
	struct source *source;

	(void)url_display(url, shown, sizeof(shown));
	for (unsigned i = 0; i < state->n_sources; i++)
		if (!strcmp(state->sources[i].url, shown))
			return &state->sources[i];
	if (state->n_sources == SOURCES_MAX)
		return NULL;
	source = &state->sources[state->n_sources++];
	*source = (struct source){0};
	(void)snprintf(source->url, sizeof(source->url), "%s", shown);
	return source;
}

struct state_item *state_item(struct state *state, const char *name, bool custom)
{
	struct state_item *item;

	for (unsigned i = 0; i < state->n_items; i++)
		if (state->items[i].custom == custom && !strcmp(state->items[i].name, name))
			return &state->items[i];
	if (state->n_items == STATE_ITEMS_MAX || strlen(name) >= sizeof(item->name))
		return NULL;
	item = &state->items[state->n_items++];
	*item = (struct state_item){.custom = custom};
	(void)snprintf(item->name, sizeof(item->name), "%s", name);
	return item;
}

static bool list_has_source(const struct conf_list *list, const struct source *source)
{
	char shown[WIRE_SIGNATURE_MAX];

	for (size_t i = 0; i < list->n_entries; i++)
		if (!strcmp(url_display(list->entries[i].text, shown, sizeof(shown)), source->url))
			return true;
	return false;
}

static bool conf_has_item(const struct conf *conf, const struct state_item *item)
{
	const struct conf_list *list = item->custom ? &conf->custom : &conf->database;

	for (size_t i = 0; i < list->n_entries; i++) {
		const char *text = list->entries[i].text;

		if (!strcmp(item->custom ? url_file_name(text) : text, item->name))
			return true;
	}
	return false;
}

void state_forget(struct state *state, const struct conf *conf)
{
	unsigned n = 0;

	for (unsigned i = 0; i < state->n_sources; i++)
		if (list_has_source(&conf->mirror, &state->sources[i]) ||
		    list_has_source(&conf->custom, &state->sources[i]))
			state->sources[n++] = state->sources[i];
	state->n_sources = n;
	n = 0;
	for (unsigned i = 0; i < state->n_items; i++)
		if (conf_has_item(conf, &state->items[i]))
			state->items[n++] = state->items[i];
	state->n_items = n;
}
