/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * schedule: when a full scan is due. Pure but for the time zone, which localtime_r() knows and
 * tzset() reads again when it was changed: so not for the guard's loop, as they open its file.
 *
 * All times are in seconds since the epoch, what people write is local time. Nothing here remembers
 * or waits: whoever asks again after the clock was set, after a suspend or a restart gets the
 * answer that is right then.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The slots of a schedule: at this time of day, on these days. */
struct schedule {
	unsigned days;	 /* bit 0 is Sunday; 0: never */
	unsigned minute; /* of the day */
};

#define SCHEDULE_DAILY 0x7fu

/* A time of day, or none. */
struct schedule_time {
	bool is_set;
	unsigned minute; /* of the day */
};

/*
 * schedule_parse() reads "off", "daily 02:00" or days of the week, "Sun 03:30", "Mon,Wed-Fri
 * 03:30"; a range may go over the end of the week, and upper and lower case are the same.
 * schedule_parse_time() reads "06:00". Return 0, or -EINVAL with what is wrong in problem; ret is
 * not touched then.
 */
int schedule_parse(const char *text, struct schedule *ret, char *problem, size_t problem_size);
int schedule_parse_time(const char *text, struct schedule_time *ret, char *problem,
			size_t problem_size);

/* schedule_format() writes what schedule_parse() reads, schedule_format_time() a set time, which
 * SCHEDULE_TEXT_MAX bytes are enough for. Return buffer. */
#define SCHEDULE_TEXT_MAX 40
char *schedule_format(const struct schedule *schedule, char *buffer, size_t size);
char *schedule_format_time(const struct schedule_time *time, char *buffer, size_t size);

/*
 * schedule_after() returns the first slot later than a moment, or INT64_MAX: there is none. There
 * is one slot on each of its days: where the clock shows that time twice, it is the first; where it
 * skips it, it is as long after the skipped hour began as it would have been.
 */
int64_t schedule_after(const struct schedule *schedule, int64_t moment);

/* schedule_time_after() returns when it is a set time next, later than a moment: once a day, as
 * above. */
int64_t schedule_time_after(const struct schedule_time *time, int64_t moment);

/* What is known of the past and wanted for the future. */
struct schedule_state {
	struct schedule schedule;
	struct schedule_time finish_by;
	int64_t last_slot;  /* the slot that was begun last; on the first start: the start */
	bool is_unfinished; /* a scan has begun and was paused or interrupted */
	bool is_stopped;    /* somebody told it to pause: it goes on with the next slot only */
	int64_t delay;	    /* seconds after each slot, chosen within random-delay */
};

enum schedule_action {
	SCHEDULE_WAIT,	/* until the moment given, and ask again */
	SCHEDULE_BEGIN, /* begin a scan, of the slot given */
	SCHEDULE_GO_ON, /* go on with the unfinished scan, for the slot given */
};

struct schedule_decision {
	enum schedule_action action;
	int64_t slot;  /* what last_slot becomes, whatever the action */
	int64_t until; /* SCHEDULE_WAIT: when something may be due, INT64_MAX: never; else: when the
			  scan must pause, INT64_MAX: it need not */
};

/*
 * schedule_decide() says what to do at a moment.
 *
 * - A slot that has passed since last_slot is due, delay seconds after it, or after the moment
 *   started where the service was not running at that time; several that were missed are one.
 * - finish_by makes a window of each slot: from delay seconds after it until the clock shows that
 *   time next. Outside of a window nothing begins and nothing goes on: a missed slot waits for the
 *   next window then. A window that the clock skips most of may be empty.
 * - An unfinished scan goes on with the next slot; unless it was stopped, without finish_by, or
 *   inside of a window, at once.
 * - A last_slot that lies in the future was written by a clock that was wrong: it becomes the
 *   moment. A started that does says nothing: whatever is due is due by its slot.
 * - With the schedule off nothing begins by itself. What somebody began goes on unless it was
 *   stopped, whatever finish_by says.
 *
 * started: when the service began to wait.
 */
struct schedule_decision schedule_decide(const struct schedule_state *state, int64_t started,
					 int64_t moment);
