/* SPDX-License-Identifier: GPL-2.0-only */
#include "full_scan.h"

#include "../common/clock.h"
#include "../common/line.h"
#include "../common/scan_numbers.h"
#include "scan_report.h"

#include <errno.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

/* What is done again after a power cut: the files of so much time that were not scanned. */
#define CHECKPOINT_US (30 * CLOCK_US_PER_SEC)

struct full_scan {
	int directory;
	const struct conf *conf;
	struct checkpoint *checkpoint; /* counts and skips are kept in there */
	struct pace *pace;
	const struct verdicts *verdicts;
	const struct scan_callbacks *owner;
	void *context;
	struct walk *walk;
	struct scan_report *report;
	struct wire_engine_info engine;
	const char **paths;
	struct walk_rules rules;
	unsigned under_way;
	uint64_t busy_us;      /* what is not in busy_ms yet: most files take less than one */
	uint64_t noted_us;     /* when the last checkpoint was written */
	bool is_draining;      /* for the next one: nothing new until all tasks are back */
	bool is_walked;	       /* everything was found */
	bool has_no_engine;    /* files came back that nobody could scan */
	bool report_is_broken; /* and that has been said */
};

static struct control_full_scan_counts *scan_counts(struct full_scan *scan)
{
	return &scan->checkpoint->now;
}

/* --- the report --- */

static json_t *json_path(const char *path)
{
	size_t size = LINE_ESCAPED_MAX(strlen(path));
	char *escaped = malloc(size);
	json_t *json = escaped ? json_string(line_escape(escaped, size, path)) : NULL;

	free(escaped);
	return json;
}

static json_t *json_text(const char *text)
{
	char escaped[LINE_ESCAPED_MAX(WIRE_VERSIONS_MAX)];

	return json_string(line_escape(escaped, sizeof(escaped), text));
}

static void scan_set(json_t *object, const char *key, json_t *value)
{
	(void)json_object_set_new(object, key, value);
}

static json_t *scan_event(const char *type, const char *path)
{
	json_t *event = json_object();

	scan_set(event, "type", json_string(type));
	scan_set(event, "time", json_integer((json_int_t)(clock_wall_us() / CLOCK_US_PER_SEC)));
	if (path)
		scan_set(event, "path", json_path(path));
	return event;
}

/* What is no finding is counted only, when there is too much of it. */
static bool scan_lists(struct full_scan *scan)
{
	bool lists = scan_report_has_room(scan->report);

	scan->checkpoint->skips.unlisted += !lists;
	return lists;
}

static void scan_report_verdict(struct full_scan *scan, const struct scan_task *task)
{
	static const char *const types[VERDICT_COUNT] = {
		[VERDICT_INFECTED] = "found",
		[VERDICT_INCOMPLETE] = "incomplete",
		[VERDICT_FAILED] = "failed",
	};
	const struct wire_verdict *verdict = &task->verdict;
	bool found = verdict->verdict == VERDICT_INFECTED;
	json_t *event;

	if (verdict->verdict != VERDICT_CLEAN && (found || scan_lists(scan))) {
		event = scan_event(types[verdict->verdict], task->path);
		scan_set(event, found ? "signature" : "reason", json_text(verdict->reason));
		scan_report_add(scan->report, event);
	}
	if (*verdict->warning && scan_lists(scan)) {
		event = scan_event("warning", task->path);
		scan_set(event, "reason", json_text(verdict->warning));
		scan_report_add(scan->report, event);
	}
}

static void scan_report_skip(struct full_scan *scan, const struct walk_item *item)
{
	json_t *event;

	if (!scan_lists(scan))
		return;
	event = scan_event("skipped", item->path);
	scan_set(event, "reason", json_string(walk_reason_name(item->reason)));
	if (item->rule)
		scan_set(event, "rule", json_path(item->rule->text));
	if (item->filesystem)
		scan_set(event, "filesystem", json_text(item->filesystem));
	if (item->error)
		scan_set(event, "error",
			 json_text(item->error == -EAGAIN ? "somebody holds a lease on it"
							  : strerror(-item->error)));
	scan_report_add(scan->report, event);
}

static json_t *scan_summary(const struct full_scan *scan, const char *state)
{
	const struct control_full_scan_counts *counts = &scan->checkpoint->now;
	const struct scan_skips *skips = &scan->checkpoint->skips;
	json_t *paths = json_array(), *skipped = json_object();
	json_t *summary = json_object();

	scan_set(summary, "state", json_string(state));
	for (size_t i = 0; i < SCAN_NUMBERS; i++)
		scan_set(summary, scan_numbers[i].name, json_integer(scan_number(counts, i)));
	scan_set(summary, "sessions", json_integer(scan->checkpoint->sessions));
	scan_set(summary, "known_signatures", json_integer(scan->engine.signatures));
	scan_set(summary, "unlisted", json_integer((json_int_t)skips->unlisted));
	scan_set(summary, "engine", json_text(scan->engine.engine));
	scan_set(summary, "signatures", json_text(scan->engine.versions));
	for (size_t i = 0; i < scan->conf->scan_path.n_entries; i++)
		(void)json_array_append_new(paths,
					    json_path(scan->conf->scan_path.entries[i].text));
	scan_set(summary, "paths", paths);
	for (enum walk_reason reason = 0; reason < WALK_REASON_COUNT; reason++)
		if (skips->by_reason[reason])
			scan_set(skipped, walk_reason_name(reason),
				 json_integer((json_int_t)skips->by_reason[reason]));
	/* Instead of one number. */
	scan_set(summary, "skipped", skipped);
	return summary;
}

/* --- beginning and ending --- */

static void scan_log(const struct full_scan *scan, int priority, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void scan_log(const struct full_scan *scan, int priority, const char *format, ...)
{
	char text[WIRE_TEXT_MAX];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	scan->owner->log(scan->context, priority, text);
}

static void hash_list(crypto_generichash_state *state, const struct conf_list *list)
{
	for (size_t i = 0; i < list->n_entries; i++)
		(void)crypto_generichash_update(state, (const unsigned char *)list->entries[i].text,
						strlen(list->entries[i].text) + 1);
	(void)crypto_generichash_update(state, (const unsigned char *)"", 1);
}

/* A number of what is scanned and what is not: with other rules an unfinished scan means nothing.
 */
static uint64_t scan_hash_rules(const struct conf *conf)
{
	const unsigned char flags[2] = {conf->cross_filesystems, conf->scan_remote_filesystems};
	crypto_generichash_state state;
	unsigned char hash[crypto_generichash_BYTES];
	uint64_t number;

	(void)crypto_generichash_init(&state, NULL, 0, sizeof(hash));
	hash_list(&state, &conf->scan_path);
	hash_list(&state, &conf->scan_exclude);
	(void)crypto_generichash_update(&state, flags, sizeof(flags));
	(void)crypto_generichash_final(&state, hash, sizeof(hash));
	memcpy(&number, hash, sizeof(number));
	return number;
}

/* What an unfinished scan has found is kept, when its report can be. */
static void scan_abandon(struct full_scan *scan)
{
	struct checkpoint *checkpoint = scan->checkpoint;
	struct scan_report *report =
		checkpoint->report_end ? scan_report_open(scan->directory, checkpoint->report_end)
				       : NULL;
	char name[64];

	checkpoint->now.ended = (int64_t)(clock_wall_us() / CLOCK_US_PER_SEC);
	if (report)
		(void)scan_report_finish(report, scan_summary(scan, "abandoned"),
					 checkpoint->now.began, name, sizeof(name));
	checkpoint->is_unfinished = false;
}

void full_scan_abandon(int directory, const struct conf *conf, struct checkpoint *checkpoint)
{
	struct full_scan scan = {.directory = directory, .conf = conf, .checkpoint = checkpoint};

	if (checkpoint->is_unfinished)
		scan_abandon(&scan);
}

/* Goes on with the report of an unfinished scan; NULL: that cannot be done. */
static struct scan_report *scan_go_on(struct full_scan *scan)
{
	const struct checkpoint *checkpoint = scan->checkpoint;
	struct scan_report *report;

	if (!checkpoint->is_unfinished)
		return NULL;
	if (checkpoint->rules != scan_hash_rules(scan->conf)) {
		scan_log(scan, LOG_NOTICE,
			 "full scan: what is to be scanned has changed: beginning anew");
		scan_abandon(scan);
		return NULL;
	}
	report = scan_report_open(scan->directory, checkpoint->report_end);
	if (!report)
		scan_log(
			scan, LOG_WARNING,
			"full scan: the report of the unfinished scan is lost (%s): beginning anew",
			strerror(errno));
	return report;
}

static void scan_begin_anew(struct full_scan *scan)
{
	struct checkpoint *checkpoint = scan->checkpoint;

	free(checkpoint->position);
	*checkpoint = (struct checkpoint){
		.last_slot = checkpoint->last_slot,
		.is_unfinished = true,
		.afresh = checkpoint->afresh,
		.rules = scan_hash_rules(scan->conf),
		.now.began = (int64_t)(clock_wall_us() / CLOCK_US_PER_SEC),
		.last = checkpoint->last,
	};
	scan->report = scan_report_open(scan->directory, 0);
}

static bool scan_begin_walk(struct full_scan *scan)
{
	const struct conf *conf = scan->conf;

	scan->rules = (struct walk_rules){
		.exclude = &conf->scan_exclude,
		.cross_filesystems = conf->cross_filesystems,
		.remote = conf->scan_remote_filesystems,
	};
	scan->paths = calloc(conf->scan_path.n_entries + 1, sizeof(*scan->paths));
	if (!scan->paths)
		return false;
	for (size_t i = 0; i < conf->scan_path.n_entries; i++)
		scan->paths[i] = conf->scan_path.entries[i].text;
	scan->walk = walk_new(scan->paths, conf->scan_path.n_entries, &scan->rules,
			      scan->checkpoint->position, scan->checkpoint->noted);
	return scan->walk != NULL;
}

struct full_scan *full_scan_new(int directory, const struct conf *conf,
				struct checkpoint *checkpoint, struct pace *pace,
				const struct verdicts *verdicts, const struct scan_callbacks *owner,
				void *context)
{
	struct full_scan *scan = calloc(1, sizeof(*scan));

	if (!scan)
		return NULL;
	*scan = (struct full_scan){
		.directory = directory,
		.conf = conf,
		.checkpoint = checkpoint,
		.pace = pace,
		.verdicts = verdicts,
		.owner = owner,
		.context = context,
		.noted_us = clock_monotonic_us(),
	};
	scan->report = scan_go_on(scan);
	if (!scan->report)
		scan_begin_anew(scan);
	if (!scan->report || !scan_begin_walk(scan)) {
		int error = errno;

		full_scan_free(scan);
		errno = error;
		return NULL;
	}
	checkpoint->sessions++;
	return scan;
}

struct full_scan *full_scan_free(struct full_scan *scan)
{
	if (!scan)
		return NULL;
	scan_report_free(scan->report);
	walk_free(scan->walk);
	free(scan->paths);
	free(scan);
	return NULL;
}

void full_scan_set_engine(struct full_scan *scan, const struct wire_engine_info *info)
{
	json_t *event;

	if (scan->engine.set == info->set && scan->engine.loaded_at)
		return;
	scan->engine = *info;
	event = scan_event("signatures", NULL);
	scan_set(event, "versions", json_text(info->versions));
	scan_set(event, "known", json_integer(info->signatures));
	scan_set(event, "engine", json_text(info->engine));
	scan_report_add(scan->report, event);
}

/* --- files --- */

static void scan_skip(struct full_scan *scan, const struct walk_item *item)
{
	scan->checkpoint->skips.by_reason[item->reason]++;
	if (item->reason == WALK_UNREADABLE)
		scan_counts(scan)->unreadable++;
	else
		scan_counts(scan)->skipped++;
	/* What comes by the thousand, and is nothing to scan, is counted only; so are files that
	 * went. */
	if (item->reason != WALK_SYMLINK && item->reason != WALK_SPECIAL &&
	    item->reason != WALK_GONE && item->reason != WALK_LINK)
		scan_report_skip(scan, item);
}

/* A file that was found and cannot be opened. */
static void scan_cannot_open(struct full_scan *scan, const struct walk_item *item, int error)
{
	struct walk_item skipped = *item;

	walk_forget_link(scan->walk, item);
	skipped.kind = WALK_SKIPPED;
	skipped.reason = error == -ENOENT || error == -ESTALE || error == -ENXIO ? WALK_GONE
										 : WALK_UNREADABLE;
	skipped.error = skipped.reason == WALK_GONE ? 0 : error;
	scan_skip(scan, &skipped);
}

static bool scan_is_known(const struct full_scan *scan, const struct walk_item *item)
{
	struct verdict_tag tag;

	return !scan->checkpoint->afresh &&
	       verdicts_tag(scan->verdicts, item->directory, item->name, scan->engine.set, &tag,
			    NULL, NULL) == 0 &&
	       verdicts_has(scan->verdicts, &tag);
}

static void scan_file(struct full_scan *scan, const struct walk_item *item)
{
	struct control_full_scan_counts *counts = scan_counts(scan);
	struct scan_task *task;
	int fd;

	if (item->status.stx_size == 0 || scan_is_known(scan, item)) {
		counts->files++;
		counts->bytes += item->status.stx_size;
		counts->known += item->status.stx_size != 0;
		return;
	}
	fd = walk_open(item);
	if (fd < 0) {
		scan_cannot_open(scan, item, fd);
		return;
	}
	task = calloc(1, sizeof(*task));
	if (task)
		task->path = strdup(item->path);
	if (!task || !task->path) {
		free(task);
		close(fd);
		scan_cannot_open(scan, item, -ENOMEM);
		return;
	}
	counts->files++;
	counts->bytes += item->status.stx_size;
	task->lane = LANE_SCHEDULED;
	task->fd = fd;
	task->size = item->status.stx_size;
	task->afresh = scan->checkpoint->afresh;
	task->remote = scan->conf->scan_remote_filesystems;
	scan->under_way++;
	scan->owner->send(scan->context, task);
}

void full_scan_take(struct full_scan *scan, struct scan_task *task)
{
	struct control_full_scan_counts *counts = scan_counts(scan);
	const struct wire_verdict *verdict = &task->verdict;

	scan->under_way--;
	if (verdict->flags & WIRE_VERDICT_NO_ENGINE) {
		scan->has_no_engine = true;
	} else if (verdict->flags & WIRE_VERDICT_KNOWN) {
		counts->known++;
	} else {
		counts->scanned++;
		counts->bytes_scanned += task->size;
		scan->busy_us += verdict->cpu_us;
		counts->busy_ms += scan->busy_us / CLOCK_US_PER_MS;
		scan->busy_us %= CLOCK_US_PER_MS;
		counts->infected += verdict->verdict == VERDICT_INFECTED;
		counts->incomplete += verdict->verdict == VERDICT_INCOMPLETE;
		counts->failed += verdict->verdict == VERDICT_FAILED;
	}
	pace_charge(scan->pace, verdict->cpu_us);
	if (!(verdict->flags & WIRE_VERDICT_NO_ENGINE))
		scan_report_verdict(scan, task);
	close(task->fd);
	free(task->path);
	free(task);
}

/* --- going on --- */

int full_scan_pause(struct full_scan *scan)
{
	struct checkpoint *checkpoint = scan->checkpoint;
	int64_t end = scan->has_no_engine ? -ENOTCONN : scan_report_sync(scan->report);
	char *position = strdup(walk_position(scan->walk));

	if (end < 0 || !position) {
		free(position);
		return end < 0 ? (int)end : -ENOMEM;
	}
	free(checkpoint->position);
	checkpoint->position = position;
	checkpoint->report_end = (uint64_t)end;
	/* Less what the clocks of filesystems are behind. */
	checkpoint->noted = (int64_t)(clock_wall_us() / CLOCK_US_PER_SEC) - 2;
	scan->noted_us = clock_monotonic_us();
	scan->is_draining = false;
	return checkpoint_write(scan->directory, checkpoint);
}

/* Notes where the scan is, when nothing is under way. */
static void scan_note(struct full_scan *scan)
{
	int r = full_scan_pause(scan);

	if (r < 0 && !scan->report_is_broken)
		scan_log(scan, LOG_ERR,
			 "full scan: cannot write where it is, or its report: %s: after a restart "
			 "it will go on where that was written last",
			 strerror(-r));
	scan->report_is_broken = r < 0;
	scan->noted_us = clock_monotonic_us();
	scan->is_draining = false;
}

enum full_scan_progress full_scan_step(struct full_scan *scan, uint64_t *ret_wait_us)
{
	struct walk_item item;

	*ret_wait_us = UINT64_MAX;
	if (scan->has_no_engine)
		return scan->under_way ? FULL_SCAN_WAITS : FULL_SCAN_MUST_PAUSE;
	if (scan->is_walked)
		return scan->under_way ? FULL_SCAN_WAITS : FULL_SCAN_DONE;
	if (clock_monotonic_us() - scan->noted_us > CHECKPOINT_US)
		scan->is_draining = true;
	if (scan->is_draining && !scan->under_way)
		scan_note(scan);
	if (scan->is_draining || scan->under_way >= pace_tasks(scan->pace))
		return FULL_SCAN_WAITS;
	*ret_wait_us = pace_wait(scan->pace);
	if (*ret_wait_us)
		return FULL_SCAN_WAITS;

	walk_next(scan->walk, &item);
	switch (item.kind) {
	case WALK_FILE:
		scan_file(scan, &item);
		break;
	case WALK_DIRECTORY:
		scan_counts(scan)->directories++;
		break;
	case WALK_SKIPPED:
		scan_skip(scan, &item);
		break;
	case WALK_END:
	default:
		scan->is_walked = true;
		break;
	}
	return FULL_SCAN_GOES_ON;
}

unsigned full_scan_under_way(const struct full_scan *scan)
{
	return scan->under_way;
}

bool full_scan_is_done(const struct full_scan *scan)
{
	return scan->is_walked && !scan->under_way && !scan->has_no_engine;
}

const char *full_scan_where(const struct full_scan *scan)
{
	return walk_position(scan->walk);
}

int full_scan_finish(struct full_scan *scan)
{
	struct checkpoint *checkpoint = scan->checkpoint;
	struct control_full_scan_counts *counts = &checkpoint->now;
	char name[64] = "";
	int r;

	counts->ended = (int64_t)(clock_wall_us() / CLOCK_US_PER_SEC);
	r = scan_report_finish(scan->report, scan_summary(scan, "complete"), counts->began, name,
			       sizeof(name));
	scan->report = NULL;
	scan_log(scan, counts->infected ? LOG_WARNING : LOG_NOTICE,
		 "full scan: finished after %llu min: %llu files, %llu of them verified before, "
		 "%llu infected, %llu not verified, %llu unreadable; %s%s",
		 (unsigned long long)(counts->ended - counts->began) / 60,
		 (unsigned long long)counts->files, (unsigned long long)counts->known,
		 (unsigned long long)counts->infected,
		 (unsigned long long)(counts->incomplete + counts->failed),
		 (unsigned long long)counts->unreadable,
		 r < 0 ? "its report cannot be written: " : "report ", r < 0 ? strerror(-r) : name);
	checkpoint->last = *counts;
	checkpoint->is_unfinished = checkpoint->afresh = false;
	free(checkpoint->position);
	checkpoint->position = NULL;
	return r < 0 ? r : checkpoint_write(scan->directory, checkpoint);
}
