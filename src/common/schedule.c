/* SPDX-License-Identifier: GPL-2.0-only */
#include "schedule.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define MINUTE	    INT64_C(60)
#define DAY	    INT64_C(86400)
#define DAY_MINUTES 1440

#define WEEK 7
static const char *const day_names[WEEK] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};

static const char blank[] = " \t";

/* Exactly HH:MM. */
static bool parse_minute(const char *text, unsigned *ret)
{
	static const char digits[] = "0123456789";
	unsigned hour, minute;

	if (strlen(text) != 5 || strspn(text, digits) != 2 || strspn(text + 3, digits) != 2 ||
	    sscanf(text, "%u:%u", &hour, &minute) != 2 || hour > 23 || minute > 59)
		return false;
	*ret = hour * 60 + minute;
	return true;
}

int schedule_parse_time(const char *text, struct schedule_time *ret, char *problem,
			size_t problem_size)
{
	unsigned minute;

	if (!parse_minute(text, &minute)) {
		(void)snprintf(problem, problem_size,
			       "'%s' is not a time of day from 00:00 to 23:59", text);
		return -EINVAL;
	}
	*ret = (struct schedule_time){.is_set = true, .minute = minute};
	return 0;
}

static bool parse_day(const char *text, size_t length, unsigned *ret)
{
	for (unsigned day = 0; day < WEEK; day++) {
		if (length == strlen(day_names[day]) &&
		    !strncasecmp(text, day_names[day], length)) {
			*ret = day;
			return true;
		}
	}
	return false;
}

/* A day or a range of them. */
static bool parse_range(const char *text, size_t length, unsigned *days)
{
	const char *dash = memchr(text, '-', length);
	size_t first_length = dash ? (size_t)(dash - text) : length;
	unsigned first, last;

	if (!parse_day(text, first_length, &first))
		return false;
	last = first;
	if (dash && !parse_day(dash + 1, length - first_length - 1, &last))
		return false;
	for (*days |= 1u << last; first != last; first = (first + 1) % WEEK)
		*days |= 1u << first;
	return true;
}

static int parse_days(const char *text, size_t length, unsigned *ret, char *problem,
		      size_t problem_size)
{
	const char *end = text + length;
	unsigned days = 0;

	if (length == strlen("daily") && !strncasecmp(text, "daily", length)) {
		*ret = SCHEDULE_DAILY;
		return 0;
	}
	for (const char *comma; text <= end; text = comma + 1) {
		comma = memchr(text, ',', (size_t)(end - text));
		if (!comma)
			comma = end;
		if (!parse_range(text, (size_t)(comma - text), &days)) {
			(void)snprintf(problem, problem_size,
				       "'%.*s' is not daily, nor a day or days such as Sun or "
				       "Mon,Wed-Fri",
				       (int)(comma - text), text);
			return -EINVAL;
		}
	}
	*ret = days;
	return 0;
}

int schedule_parse(const char *text, struct schedule *ret, char *problem, size_t problem_size)
{
	size_t length = strcspn(text, blank);
	const char *clock = text + length + strspn(text + length, blank);
	struct schedule_time time;
	unsigned days;

	if (!strcasecmp(text, "off")) {
		*ret = (struct schedule){0};
		return 0;
	}
	if (!*clock) {
		(void)snprintf(problem, problem_size,
			       "'%s' is not a schedule such as off, daily 02:00 or "
			       "Mon,Wed-Fri 03:30",
			       text);
		return -EINVAL;
	}
	if (parse_days(text, length, &days, problem, problem_size) < 0 ||
	    schedule_parse_time(clock, &time, problem, problem_size) < 0)
		return -EINVAL;
	*ret = (struct schedule){.days = days, .minute = time.minute};
	return 0;
}

char *schedule_format_time(const struct schedule_time *time, char *buffer, size_t size)
{
	(void)snprintf(buffer, size, "%02u:%02u", time->minute / 60, time->minute % 60);
	return buffer;
}

char *schedule_format(const struct schedule *schedule, char *buffer, size_t size)
{
	const struct schedule_time time = {.minute = schedule->minute};
	char days[SCHEDULE_TEXT_MAX] = "", clock[SCHEDULE_TEXT_MAX];

	if (!schedule->days) {
		(void)snprintf(buffer, size, "off");
		return buffer;
	}
	for (unsigned i = 1; i <= WEEK; i++)
		if (schedule->days >> i % WEEK & 1)
			strcat(strcat(days, *days ? "," : ""), day_names[i % WEEK]);
	(void)snprintf(buffer, size, "%s %s", schedule->days == SCHEDULE_DAILY ? "daily" : days,
		       schedule_format_time(&time, clock, sizeof(clock)));
	return buffer;
}

/* A moment too far away for a calendar is taken for one in UTC. */
static struct tm local_time(int64_t moment)
{
	const time_t time = moment;
	struct tm tm = {0};

	(void)localtime_r(&time, &tm);
	return tm;
}

/*
 * When the clock shows a date and time, which are given as the moment that shows them in UTC.
 * mktime() would leave open which one it is where the clock shows it twice or not at all; by what
 * the clock was ahead of UTC the day before it is the first, or as much later as is skipped.
 */
static int64_t moment_shown(int64_t shown)
{
	int64_t moment = shown - local_time(shown - DAY).tm_gmtoff;
	int64_t changed = shown - local_time(moment).tm_gmtoff;

	return changed + local_time(changed).tm_gmtoff == shown ? changed : moment;
}

/* A day as the clock shows it. */
struct day {
	int64_t midnight; /* for moment_shown() */
	unsigned weekday;
};

/* The day that is n days after that of a moment. */
static struct day day_near(int64_t moment, int n)
{
	const struct tm now = local_time(moment);
	const int64_t seconds = now.tm_hour * 60 * MINUTE + now.tm_min * MINUTE + now.tm_sec;

	return (struct day){
		.midnight = moment + now.tm_gmtoff - seconds + n * DAY,
		.weekday = (unsigned)(now.tm_wday + n + 2 * WEEK) % WEEK,
	};
}

static bool schedule_has_day(const struct schedule *schedule, struct day day)
{
	return schedule->days >> day.weekday & 1;
}

static int64_t day_moment(struct day day, unsigned minute)
{
	return moment_shown(day.midnight + minute * MINUTE);
}

/* Where midnight is skipped or shown twice, a slot can be on another day than it is of: so both
 * searches begin and end a day further away than the same day of the week. */
#define NEAR_DAYS (WEEK + 1)

int64_t schedule_after(const struct schedule *schedule, int64_t moment)
{
	tzset();
	for (int n = -1; n <= NEAR_DAYS; n++) {
		struct day day = day_near(moment, n);

		if (schedule_has_day(schedule, day) && day_moment(day, schedule->minute) > moment)
			return day_moment(day, schedule->minute);
	}
	return INT64_MAX;
}

int64_t schedule_time_after(const struct schedule_time *time, int64_t moment)
{
	return schedule_after(&(struct schedule){SCHEDULE_DAILY, time->minute}, moment);
}

/* A slot, and when the scan that it is for must pause. */
struct window {
	int64_t slot, end;
};

/* By the day and not by the slot: one that the clock has skipped over may come after its end. */
static int64_t window_end(const struct schedule_state *state, struct day day)
{
	const struct schedule_time *finish_by = &state->finish_by;

	if (!finish_by->is_set)
		return INT64_MAX;
	return day_moment(day,
			  finish_by->minute +
				  (finish_by->minute > state->schedule.minute ? 0 : DAY_MINUTES));
}

/* The last slot that is not later than a moment. Without a schedule there is no time that a scan
 * which somebody began would have to be over by. */
static struct window window_before(const struct schedule_state *state, int64_t moment)
{
	for (int n = 1; n >= -NEAR_DAYS; n--) {
		struct day day = day_near(moment, n);

		if (schedule_has_day(&state->schedule, day) &&
		    day_moment(day, state->schedule.minute) <= moment)
			return (struct window){
				.slot = day_moment(day, state->schedule.minute),
				.end = window_end(state, day),
			};
	}
	return (struct window){INT64_MIN, INT64_MAX};
}

struct schedule_decision schedule_decide(const struct schedule_state *state, int64_t started,
					 int64_t moment)
{
	const int64_t last = state->last_slot < moment ? state->last_slot : moment;
	const bool has_waited = moment < started || moment - started >= state->delay;
	struct window window;
	bool is_open, is_new;
	int64_t next;

	tzset();
	window = window_before(state, moment - state->delay);
	is_open = moment < window.end;
	is_new = window.slot > last;
	if (is_open && ((is_new && has_waited) || (state->is_unfinished && !state->is_stopped)))
		return (struct schedule_decision){
			.action = state->is_unfinished ? SCHEDULE_GO_ON : SCHEDULE_BEGIN,
			.slot = is_new ? window.slot : last,
			.until = window.end,
		};

	next = schedule_after(&state->schedule, moment - state->delay);
	if (is_open && is_new)
		next = started;
	return (struct schedule_decision){
		.action = SCHEDULE_WAIT,
		.slot = last,
		.until = next < INT64_MAX ? next + state->delay : next,
	};
}
