/* SPDX-License-Identifier: GPL-2.0-only */
#include "show.h"

#include "../common/clock.h"
#include "../common/line.h"
#include "cli.h"
#include "human.h"
#include "progress.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#define MIB (1024.0 * 1024.0)

struct show {
	struct show_options options;
	pthread_mutex_t mutex; /* of all that follows */
	struct show_counts counts;
	bool has_totals;
	uint64_t total_files, total_bytes;
	uint64_t began_us, began_wall_us;
	bool interrupted;
	bool ended;
	bool is_drawn; /* the progress is on the terminal */
	char at[WIRE_PATH_MAX];
	char escaped[LINE_ESCAPED_MAX(WIRE_PATH_MAX)];
};

struct show *show_new(const struct show_options *options)
{
	struct show *show = calloc(1, sizeof(*show));

	if (!show)
		return NULL;
	show->options = *options;
	show->began_us = clock_monotonic_us();
	show->began_wall_us = clock_wall_us();
	(void)pthread_mutex_init(&show->mutex, NULL);
	return show;
}

struct show *show_free(struct show *show)
{
	if (show)
		(void)pthread_mutex_destroy(&show->mutex);
	free(show);
	return NULL;
}

/* --- lines, with the mutex held --- */

static void show_erase_progress(struct show *show)
{
	if (show->is_drawn)
		(void)fputs("\r\033[K", show->options.err);
	show->is_drawn = false;
}

static const char *show_escape(struct show *show, const char *path)
{
	return line_escape(show->escaped, sizeof(show->escaped), path);
}

static void __attribute__((format(printf, 4, 5)))
show_line(struct show *show, FILE *stream, const char *path, const char *format, ...)
{
	va_list args;

	show_erase_progress(show);
	(void)fprintf(stream, "%s", show_escape(show, path));
	va_start(args, format);
	(void)vfprintf(stream, format, args);
	va_end(args);
	(void)fputc('\n', stream);
	(void)fflush(stream);
}

/* Takes over object. */
static void show_json(struct show *show, json_t *object)
{
	show_erase_progress(show);
	(void)json_dumpf(object, show->options.out, JSON_COMPACT);
	(void)fputc('\n', show->options.out);
	json_decref(object);
}

/* One line about a path with one text, in the shape that is asked for. */
static void show_fact(struct show *show, const char *type, const char *path, const char *key,
		      const char *value)
{
	show_json(show, json_pack("{s:s, s:s, s:s}", "type", type, "path", show_escape(show, path),
				  key, value));
	(void)fflush(show->options.out);
}

static void show_clean(struct show *show, const char *path, bool known)
{
	if (show->options.json)
		show_json(show, json_pack("{s:s, s:s, s:b}", "type", "clean", "path",
					  show_escape(show, path), "known", (int)known));
	else
		(void)fprintf(show->options.out, "%s: OK%s\n", show_escape(show, path),
			      known ? " (verified before)" : "");
}

static void show_found(struct show *show, const char *path, const char *signature)
{
	if (show->options.json)
		show_fact(show, "found", path, "signature", signature);
	else
		show_line(show, show->options.out, path, ": %s FOUND", signature);
}

static void show_not_verified(struct show *show, const char *type, const char *path,
			      const char *reason)
{
	if (show->options.json)
		show_fact(show, type, path, "reason", reason);
	else
		show_line(show, show->options.out, path, ": not verified (%s)", reason);
}

static void show_error(struct show *show, const char *path, const char *error)
{
	show->counts.errors++;
	if (show->options.json)
		show_fact(show, "error", path, "error", error);
	else
		show_line(show, show->options.err, path, ": cannot open: %s", error);
}

/* --- what is told --- */

static bool show_is_named(const struct show *show, const char *path)
{
	for (size_t i = 0; i < show->options.n_named; i++)
		if (!strcmp(show->options.named[i], path))
			return true;
	return false;
}

static void show_skipped_line(struct show *show, const struct walk_item *item)
{
	const char *reason = walk_reason_name(item->reason);
	const char *detail = item->rule ? item->rule->text : item->filesystem;
	char text[LINE_ESCAPED_MAX(WIRE_PATH_MAX)];

	/* Whoever mounts by FUSE chooses what the type is called. */
	line_escape(text, sizeof(text), detail ? detail : "");
	if (show->options.json) {
		json_t *object = json_pack("{s:s, s:s, s:s}", "type", "skipped", "path",
					   show_escape(show, item->path), "reason", reason);

		if (detail)
			(void)json_object_set_new(object, item->rule ? "rule" : "filesystem",
						  json_string(text));
		show_json(show, object);
	} else {
		show_line(show, show->options.out, item->path, ": skipped (%s%s%s)", reason,
			  detail ? ": " : "", text);
	}
}

/* What the caller named and we do not look at he is told of, and it counts: unless it was his own
 * rule, or the same file by another name. */
static void show_skipped(struct show *show, const struct walk_item *item)
{
	bool refused = item->reason != WALK_EXCLUDED && item->reason != WALK_LINK &&
		       show_is_named(show, item->path);

	show->counts.skipped[item->reason]++;
	if (refused)
		show->counts.errors++;
	if (refused || show->options.verbose)
		show_skipped_line(show, item);
}

void show_item(struct show *show, const struct walk_item *item)
{
	(void)pthread_mutex_lock(&show->mutex);
	if (item->kind == WALK_DIRECTORY) {
		show->counts.directories++;
		if (show->options.progress)
			(void)snprintf(show->at, sizeof(show->at), "%s", item->path);
	} else if (item->kind == WALK_SKIPPED && !show->ended) {
		if (item->reason == WALK_UNREADABLE)
			show_error(show, item->path, strerror(-item->error));
		else
			show_skipped(show, item);
	}
	(void)pthread_mutex_unlock(&show->mutex);
}

static void show_count(struct show *show, uint64_t size, const struct wire_verdict *verdict)
{
	struct show_counts *counts = &show->counts;
	bool known = verdict->flags & WIRE_VERDICT_KNOWN;

	counts->files++;
	counts->known += known;
	counts->infected += verdict->verdict == VERDICT_INFECTED;
	counts->incomplete += verdict->verdict == VERDICT_INCOMPLETE;
	counts->failed += verdict->verdict == VERDICT_FAILED;
	counts->bytes_done += size;
	counts->bytes_scanned += verdict->scanned;
	counts->bytes_read += known ? 0 : size;
}

static void show_warning(struct show *show, const char *path, const char *warning)
{
	char text[LINE_ESCAPED_MAX(WIRE_SIGNATURE_MAX)];

	line_escape(text, sizeof(text), warning);
	if (show->options.json)
		show_fact(show, "warning", path, "warning", text);
	else
		show_line(show, show->options.err, path, ": warning: %s", text);
}

static void show_judgement(struct show *show, const char *path, const struct wire_verdict *verdict)
{
	char reason[LINE_ESCAPED_MAX(WIRE_SIGNATURE_MAX)];

	line_escape(reason, sizeof(reason), verdict->reason);
	switch (verdict->verdict) {
	case VERDICT_INFECTED:
		show_found(show, path, reason);
		break;
	case VERDICT_INCOMPLETE:
	case VERDICT_FAILED:
		show_not_verified(show, verdict_name((enum verdict)verdict->verdict), path, reason);
		break;
	default:
		if (show->options.verbose)
			show_clean(show, path, verdict->flags & WIRE_VERDICT_KNOWN);
	}
}

void show_verdict(struct show *show, const char *path, uint64_t size,
		  const struct wire_verdict *verdict)
{
	(void)pthread_mutex_lock(&show->mutex);
	if (!show->ended) {
		show_count(show, size, verdict);
		if (*verdict->warning)
			show_warning(show, path, verdict->warning);
		/* Most files are clean, and nothing is to be said of them. */
		if (verdict->verdict != VERDICT_CLEAN || show->options.verbose)
			show_judgement(show, path, verdict);
		if (show->options.progress)
			(void)snprintf(show->at, sizeof(show->at), "%s", path);
	}
	(void)pthread_mutex_unlock(&show->mutex);
}

void show_unopened(struct show *show, const char *path, int error)
{
	const struct walk_item gone = {.kind = WALK_SKIPPED, .path = path, .reason = WALK_GONE};
	struct wire_verdict verdict = {.verdict = VERDICT_FAILED};

	switch (error) {
	case -ENOENT:
		show_item(show, &gone);
		break;
	case -ESTALE:
	case -EAGAIN:
		(void)snprintf(verdict.reason, sizeof(verdict.reason), "%s",
			       error == -ESTALE ? "it was replaced meanwhile"
						: "somebody holds a lease on it");
		show_verdict(show, path, 0, &verdict);
		break;
	default:
		show_unreadable(show, path, error);
	}
}

void show_unreadable(struct show *show, const char *path, int error)
{
	(void)pthread_mutex_lock(&show->mutex);
	if (!show->ended)
		show_error(show, path, strerror(-error));
	(void)pthread_mutex_unlock(&show->mutex);
}

void show_note(struct show *show, const char *text)
{
	(void)pthread_mutex_lock(&show->mutex);
	if (!show->ended) {
		show_erase_progress(show);
		(void)fprintf(show->options.err, "holdfast: %s\n", text);
	}
	(void)pthread_mutex_unlock(&show->mutex);
}

void show_problem(struct show *show, const char *text)
{
	show_note(show, text);
	(void)pthread_mutex_lock(&show->mutex);
	show->counts.errors++;
	(void)pthread_mutex_unlock(&show->mutex);
}

/* --- progress --- */

void show_set_totals(struct show *show, uint64_t files, uint64_t bytes)
{
	(void)pthread_mutex_lock(&show->mutex);
	show->has_totals = true;
	show->total_files = files;
	show->total_bytes = bytes;
	(void)pthread_mutex_unlock(&show->mutex);
}

static void show_draw_progress(struct show *show)
{
	const struct progress progress = {
		.files = show->counts.files,
		.bytes = show->counts.bytes_done,
		.has_totals = show->has_totals,
		.total_files = show->total_files,
		.total_bytes = show->total_bytes,
		.elapsed_us = clock_monotonic_us() - show->began_us,
		.path = show->at,
	};
	char line[CLI_WIDTH_MAX * 2 + 1];

	(void)fprintf(show->options.err, "\r%s\033[K",
		      progress_format(line, sizeof(line), cli_width(show->options.err), &progress));
	(void)fflush(show->options.err);
	show->is_drawn = true;
}

void show_tick(struct show *show)
{
	(void)pthread_mutex_lock(&show->mutex);
	(void)fflush(show->options.out);
	if (show->options.progress && !show->ended)
		show_draw_progress(show);
	(void)pthread_mutex_unlock(&show->mutex);
}

/* --- summary --- */

static void show_print_date(FILE *out, const char *what, uint64_t wall_us)
{
	time_t seconds = (time_t)(wall_us / CLOCK_US_PER_SEC);
	struct tm local = {0};
	char text[64] = "";

	if (localtime_r(&seconds, &local))
		(void)strftime(text, sizeof(text), "%Y:%m:%d %H:%M:%S", &local);
	(void)fprintf(out, "%-11s %s\n", what, text);
}

static void show_print_skipped(FILE *out, const struct show_counts *counts)
{
	uint64_t n = 0;
	const char *separator = " (";

	for (int i = 0; i < WALK_REASON_COUNT; i++)
		n += counts->skipped[i];
	if (!n)
		return;
	(void)fprintf(out, "Skipped: %" PRIu64, n);
	for (int i = 0; i < WALK_REASON_COUNT; i++) {
		if (!counts->skipped[i])
			continue;
		(void)fprintf(out, "%s%" PRIu64 " %s", separator, counts->skipped[i],
			      walk_reason_name((enum walk_reason)i));
		separator = ", ";
	}
	(void)fprintf(out, ")\n");
}

/* The lines that clamscan prints, for those who read them by program, and ours between them. */
static void show_print_summary(const struct show *show, const struct wire_engine_info *info,
			       uint64_t took_us)
{
	const struct show_counts *counts = &show->counts;
	FILE *out = show->options.out;
	double read = (double)counts->bytes_read, scanned = (double)counts->bytes_scanned;
	uint64_t seconds = took_us / CLOCK_US_PER_SEC;

	(void)fprintf(out, "\n----------- SCAN SUMMARY -----------\n");
	if (show->interrupted)
		(void)fprintf(out, "Interrupted\n");
	if (info)
		(void)fprintf(out, "Known viruses: %u\nEngine version: %s\n", info->signatures,
			      info->engine);
	(void)fprintf(out, "Scanned directories: %" PRIu64 "\nScanned files: %" PRIu64 "\n",
		      counts->directories, counts->files);
	(void)fprintf(out, "Infected files: %" PRIu64 "\n", counts->infected);
	if (counts->errors)
		(void)fprintf(out, "Total errors: %" PRIu64 "\n", counts->errors);
	(void)fprintf(out, "Verified before: %" PRIu64 "\n", counts->known);
	if (counts->incomplete + counts->failed)
		(void)fprintf(out, "Not verified: %" PRIu64 "\n",
			      counts->incomplete + counts->failed);
	show_print_skipped(out, counts);
	(void)fprintf(out, "Data scanned: %.2f MB\nData read: %.2f MB (ratio %.2f:1)\n",
		      scanned / MIB, read / MIB, read > 0 ? scanned / read : 0.0);
	(void)fprintf(out, "Time: %" PRIu64 ".%03u sec (%" PRIu64 " m %u s)\n", seconds,
		      (unsigned)(took_us / 1000 % 1000), seconds / 60, (unsigned)(seconds % 60));
	show_print_date(out, "Start Date:", show->began_wall_us);
	show_print_date(out, "End Date:", clock_wall_us());
}

static int show_judge(const struct show *show)
{
	const struct show_counts *counts = &show->counts;

	if (counts->infected)
		return CLI_NO;
	return counts->errors || counts->incomplete || counts->failed || show->interrupted
		       ? CLI_ERROR
		       : CLI_OK;
}

static void show_json_summary(struct show *show, const struct wire_engine_info *info,
			      uint64_t took_us)
{
	const struct show_counts *counts = &show->counts;
	const struct {
		const char *name;
		uint64_t value;
	} numbers[] = {
		{"directories", counts->directories},
		{"files", counts->files},
		{"known", counts->known},
		{"infected", counts->infected},
		{"incomplete", counts->incomplete},
		{"failed", counts->failed},
		{"errors", counts->errors},
		{"bytes_scanned", counts->bytes_scanned},
		{"bytes_read", counts->bytes_read},
		{"began", show->began_wall_us / CLOCK_US_PER_SEC},
		{"ended", clock_wall_us() / CLOCK_US_PER_SEC},
		{"duration_us", took_us},
	};
	json_t *object = json_pack("{s:s}", "type", "summary"), *skipped = json_object();

	if (info)
		(void)json_object_update_new(object,
					     json_pack("{s:I, s:b, s:s, s:s}", "signatures",
						       (json_int_t)info->signatures, "test_only",
						       (int)info->test_only, "engine", info->engine,
						       "versions", info->versions));
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		(void)json_object_set_new(object, numbers[i].name,
					  json_integer((json_int_t)numbers[i].value));
	for (int i = 0; i < WALK_REASON_COUNT; i++)
		if (counts->skipped[i])
			(void)json_object_set_new(skipped, walk_reason_name((enum walk_reason)i),
						  json_integer((json_int_t)counts->skipped[i]));
	(void)json_object_set_new(object, "skipped", skipped);
	(void)json_object_set_new(object, "interrupted", json_boolean(show->interrupted));
	(void)json_object_set_new(object, "exit_code", json_integer(show_judge(show)));
	show_json(show, object);
}

void show_end(struct show *show, const struct wire_engine_info *info, bool interrupted)
{
	uint64_t took_us = clock_monotonic_us() - show->began_us;

	(void)pthread_mutex_lock(&show->mutex);
	show->ended = true;
	show->interrupted = interrupted;
	show_erase_progress(show);
	if (show->options.json)
		show_json_summary(show, info, took_us);
	else if (show->options.summary)
		show_print_summary(show, info, took_us);
	(void)fflush(show->options.out);
	(void)fflush(show->options.err);
	(void)pthread_mutex_unlock(&show->mutex);
}

int show_exit_code(struct show *show)
{
	int code;

	(void)pthread_mutex_lock(&show->mutex);
	code = show_judge(show);
	(void)pthread_mutex_unlock(&show->mutex);
	return code;
}

struct show_counts show_counts(struct show *show)
{
	struct show_counts counts;

	(void)pthread_mutex_lock(&show->mutex);
	counts = show->counts;
	(void)pthread_mutex_unlock(&show->mutex);
	return counts;
}
