/* SPDX-License-Identifier: GPL-2.0-only */
#include "update_show.h"

#include "../common/clock.h"
#include "../common/line.h"
#include "cli.h"
#include "human.h"
#include "progress.h"

#include <stdarg.h>
#include <stdlib.h>

/* Further ones are counted only: there are never so many in a run. */
#define ITEMS_MAX 1024
#define NOTES_MAX 32

static const char *const result_names[] = {
	[WIRE_UPDATE_UP_TO_DATE] = "up-to-date",
	[WIRE_UPDATE_UPDATED] = "updated",
	[WIRE_UPDATE_COOL_DOWN] = "cool-down",
	[WIRE_UPDATE_FAILED] = "failed",
};

enum update_code update_code(enum wire_update_result result)
{
	switch (result) {
	case WIRE_UPDATE_UPDATED:
		return UPDATE_UPDATED;
	case WIRE_UPDATE_UP_TO_DATE:
		return UPDATE_UP_TO_DATE;
	case WIRE_UPDATE_COOL_DOWN:
		return UPDATE_COOL_DOWN;
	case WIRE_UPDATE_FAILED:
	case WIRE_UPDATE_RESULT_COUNT:
	default:
		return UPDATE_FAILED;
	}
}

/* --- the line of an item --- */

struct update_line {
	char *text;
	size_t size, length;
	const char *separator; /* before what is added next */
};

/* Adds a part; what does not fit is cut. */
static void __attribute__((format(printf, 2, 3)))
update_add(struct update_line *line, const char *format, ...)
{
	va_list args;
	int n;

	n = snprintf(line->text + line->length, line->size - line->length, "%s", line->separator);
	line->length += (size_t)n;
	if (line->length < line->size) {
		va_start(args, format);
		n = vsnprintf(line->text + line->length, line->size - line->length, format, args);
		va_end(args);
		line->length += n > 0 ? (size_t)n : 0;
	}
	if (line->length >= line->size)
		line->length = line->size - 1;
	line->separator = ", ";
}

static void update_add_version(struct update_line *line, const struct wire_update_item *item)
{
	if (item->version_before && item->version_before != item->version_after)
		update_add(line, "%u -> %u", item->version_before, item->version_after);
	else
		update_add(line, "%u", item->version_after);
}

static void update_add_signatures(struct update_line *line, const struct wire_update_item *item)
{
	uint32_t before = item->signatures_before, after = item->signatures_after;
	char count[32], change[32];

	human_count(count, sizeof(count), after);
	human_count(change, sizeof(change), after > before ? after - before : before - after);
	if (before && before != after)
		update_add(line, "%s signature%s (%c%s)", count, after == 1 ? "" : "s",
			   after > before ? '+' : '-', change);
	else
		update_add(line, "%s signature%s", count, after == 1 ? "" : "s");
}

static void update_add_updated(struct update_line *line, const struct wire_update_item *item,
			       const char *source)
{
	char bytes[32];

	if (item->version_after)
		update_add_version(line, item);
	if (item->signatures_after)
		update_add_signatures(line, item);
	if (!item->version_after && !item->signatures_after)
		update_add(line, "updated");
	if (item->patches)
		update_add(line, "%u cdiff%s", item->patches, item->patches == 1 ? "" : "s");
	update_add(line, "%s", human_bytes(bytes, sizeof(bytes), item->bytes));
	line->separator = " ";
	if (*source)
		update_add(line, "from %s", source);
}

static void update_add_cool_down(struct update_line *line, const struct wire_update_item *item,
				 const char *why, int64_t now)
{
	char when[32];

	update_add(line, "cool-down");
	line->separator = " ";
	if (item->until)
		update_add(line, "until %s", human_time_near(when, sizeof(when), item->until, now));
	line->separator = " ";
	if (*why)
		update_add(line, "(%s)", why);
}

char *update_format_item(char *buffer, size_t size, const struct wire_update_item *item,
			 int64_t now)
{
	char name[LINE_ESCAPED_MAX(WIRE_DATABASE_NAME_MAX)];
	char source[LINE_ESCAPED_MAX(WIRE_SIGNATURE_MAX)], text[LINE_ESCAPED_MAX(WIRE_TEXT_MAX)];
	char why[sizeof(source) + sizeof(text) + 2];
	struct update_line line = {.text = buffer, .size = size, .separator = ""};

	line_escape(name, sizeof(name), item->name);
	line_escape(source, sizeof(source), item->source);
	line_escape(text, sizeof(text), item->text);
	if (*source && *text && !strstr(text, source))
		(void)snprintf(why, sizeof(why), "%s: %s", source, text);
	else
		(void)snprintf(why, sizeof(why), "%s", *text ? text : source);

	update_add(&line, "%-10s", name);
	line.separator = " ";
	switch (item->result) {
	case WIRE_UPDATE_UPDATED:
		update_add_updated(&line, item, source);
		break;
	case WIRE_UPDATE_UP_TO_DATE:
		if (item->version_after)
			update_add(&line, "%u", item->version_after);
		update_add(&line, "up to date");
		break;
	case WIRE_UPDATE_COOL_DOWN:
		update_add_cool_down(&line, item, why, now);
		return buffer;
	default:
		update_add(&line, "FAILED: %s", why);
		return buffer;
	}
	line.separator = "; ";
	if (*text)
		update_add(&line, "%s", text);
	return buffer;
}

/* --- showing --- */

struct update_show {
	struct update_show_options options;
	json_t *items;
	char *notes[NOTES_MAX];
	unsigned n_notes;
	bool is_drawn, is_moving;	/* a transfer is under way */
	struct wire_update_progress at; /* it */
	uint64_t began_us, began_with;	/* when it was seen first, and what was there then */
};

struct update_show *update_show_new(const struct update_show_options *options)
{
	struct update_show *show = calloc(1, sizeof(*show));

	if (!show)
		return NULL;
	show->options = *options;
	show->items = json_array();
	return show->items ? show : update_show_free(show);
}

struct update_show *update_show_free(struct update_show *show)
{
	if (!show)
		return NULL;
	for (unsigned i = 0; i < show->n_notes; i++)
		free(show->notes[i]);
	json_decref(show->items);
	free(show);
	return NULL;
}

static void update_erase(struct update_show *show)
{
	if (show->is_drawn)
		(void)fputs("\r\033[K", show->options.err);
	show->is_drawn = false;
}

void update_show_progress(struct update_show *show, const struct wire_update_progress *progress)
{
	/* Less than before: it begins anew. */
	if (!show->is_moving || strcmp(show->at.file, progress->file) ||
	    progress->done < show->at.done) {
		show->began_us = clock_monotonic_us();
		show->began_with = progress->done;
	}
	show->at = *progress;
	show->is_moving = true;
	update_show_tick(show);
}

void update_show_tick(struct update_show *show)
{
	const struct progress_transfer transfer = {
		.name = show->at.file,
		.done = show->at.done,
		.total = show->at.total,
		.received = show->at.done - show->began_with,
		.elapsed_us = clock_monotonic_us() - show->began_us,
	};
	char line[CLI_WIDTH_MAX * 2 + 1];

	if (!show->options.progress || !show->is_moving)
		return;
	(void)fprintf(show->options.err, "\r%s\033[K",
		      progress_format_transfer(line, sizeof(line), cli_width(show->options.err),
					       &transfer));
	(void)fflush(show->options.err);
	show->is_drawn = true;
}

static json_t *update_json_item(const struct wire_update_item *item)
{
	char name[LINE_ESCAPED_MAX(WIRE_DATABASE_NAME_MAX)];
	char source[LINE_ESCAPED_MAX(WIRE_SIGNATURE_MAX)], text[LINE_ESCAPED_MAX(WIRE_TEXT_MAX)];

	return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s}", "name",
			 line_escape(name, sizeof(name), item->name), "result",
			 result_names[item->result], "version_before",
			 (json_int_t)item->version_before, "version_after",
			 (json_int_t)item->version_after, "signatures_before",
			 (json_int_t)item->signatures_before, "signatures_after",
			 (json_int_t)item->signatures_after, "patches", (json_int_t)item->patches,
			 "bytes", (json_int_t)item->bytes, "until", (json_int_t)item->until,
			 "source", line_escape(source, sizeof(source), item->source), "text",
			 line_escape(text, sizeof(text), item->text));
}

/* What an item says need not be said again. */
static void update_drop_notes(struct update_show *show, const char *told)
{
	for (unsigned i = 0; *told && i < show->n_notes; i++)
		if (strstr(show->notes[i], told))
			show->notes[i][0] = '\0';
}

void update_show_item(struct update_show *show, const struct wire_update_item *item)
{
	bool is_bad = update_code(item->result) >= UPDATE_FAILED;
	char line[UPDATE_LINE_MAX];

	update_erase(show);
	show->is_moving = false;
	if (json_array_size(show->items) < ITEMS_MAX)
		(void)json_array_append_new(show->items, update_json_item(item));
	if (show->options.json || (show->options.quiet && !is_bad))
		return;
	update_format_item(line, sizeof(line), item, (int64_t)(clock_wall_us() / CLOCK_US_PER_SEC));
	if (item->result == WIRE_UPDATE_FAILED)
		(void)fprintf(show->options.out, "%s%s%s\n", cli_style(CLI_BAD), line,
			      cli_style(CLI_PLAIN));
	else
		(void)fprintf(show->options.out, "%s\n", line);
	(void)fflush(show->options.out);
}

void update_show_note(struct update_show *show, const char *text)
{
	char escaped[LINE_ESCAPED_MAX(WIRE_TEXT_MAX)];

	if (show->n_notes >= NOTES_MAX)
		return;
	show->notes[show->n_notes] = strdup(line_escape(escaped, sizeof(escaped), text));
	show->n_notes += show->notes[show->n_notes] != NULL;
}

static void update_print_notes(struct update_show *show)
{
	json_t *item;
	size_t i;

	json_array_foreach(show->items, i, item)
		update_drop_notes(show, json_string_value(json_object_get(item, "text")));
	for (i = 0; i < show->n_notes; i++)
		if (*show->notes[i])
			(void)fprintf(show->options.err, "holdfast: %s\n", show->notes[i]);
}

static void update_print_json(struct update_show *show, const struct wire_update_done *done,
			      int code, const char *error)
{
	json_t *answer = json_pack("{s:s, s:i, s:I, s:I, s:b, s:O}", "result",
				   result_names[done->result], "exit_code", code, "requests",
				   (json_int_t)done->requests, "bytes", (json_int_t)done->bytes,
				   "published", (int)done->published, "items", show->items);

	if (*error)
		(void)json_object_set_new(answer, "error", json_string(error));
	(void)json_dumpf(answer, show->options.out, JSON_INDENT(2));
	(void)fputc('\n', show->options.out);
	json_decref(answer);
}

static void update_print_end(const struct update_show *show, const struct wire_update_done *done)
{
	static const char *const titles[] = {
		[WIRE_UPDATE_UP_TO_DATE] = "up to date",
		[WIRE_UPDATE_UPDATED] = "updated",
		[WIRE_UPDATE_COOL_DOWN] = "cool-down",
		[WIRE_UPDATE_FAILED] = "failed",
	};
	char bytes[32];

	(void)fprintf(show->options.out, "%s: %u request%s, %s received\n", titles[done->result],
		      done->requests, done->requests == 1 ? "" : "s",
		      human_bytes(bytes, sizeof(bytes), done->bytes));
	if (done->published && show->options.service)
		(void)fprintf(show->options.out, "the service loads the new signatures now\n");
}

int update_show_end(struct update_show *show, const struct wire_update_done *done)
{
	int code = (int)update_code(done->result);
	char text[LINE_ESCAPED_MAX(WIRE_TEXT_MAX)];

	update_erase(show);
	line_escape(text, sizeof(text), done->text);
	update_drop_notes(show, text);
	update_print_notes(show);
	if (show->options.json)
		update_print_json(show, done, code, text);
	else if (*text)
		(void)fprintf(show->options.err, "holdfast: update: %s\n", text);
	/* A refusal was no run. */
	if (!show->options.json && !show->options.quiet && (!*text || done->requests))
		update_print_end(show, done);
	return code;
}

int update_show_fail(struct update_show *show, int code, const char *problem)
{
	const struct wire_update_done done = {.result = WIRE_UPDATE_FAILED};

	update_erase(show);
	update_print_notes(show);
	if (show->options.json)
		update_print_json(show, &done, code, problem);
	else
		(void)fprintf(show->options.err, "holdfast: update: %s\n", problem);
	return code;
}
