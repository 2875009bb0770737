/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/common/schedule.h"
#include "../support/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MINUTE INT64_C(60)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

/* From here on local time is that of this place. */
static void live_in(const char *zone)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "/usr/share/zoneinfo/%s", zone);
	if (access(path, R_OK) < 0)
		fail_msg("%s is missing: install tzdata", path);
	assert_int_equal(setenv("TZ", zone, 1), 0);
	tzset();
}

static struct tm read_time(const char *text)
{
	struct tm tm = {.tm_isdst = -1};
	const char *end = strptime(text, "%Y-%m-%d %H:%M", &tm);

	assert_non_null(end);
	assert_string_equal(end, "");
	return tm;
}

static int64_t utc(const char *text)
{
	struct tm tm = read_time(text);

	return timegm(&tm);
}

/* Of times that the clock shows once. */
static int64_t local(const char *text)
{
	struct tm tm = read_time(text);

	return mktime(&tm);
}

static struct schedule schedule_of(const char *text)
{
	struct schedule schedule;
	char problem[256] = "";

	if (schedule_parse(text, &schedule, problem, sizeof(problem)) != 0)
		fail_msg("%s: %s", text, problem);
	return schedule;
}

static struct schedule_time time_of(const char *text)
{
	struct schedule_time time;
	char problem[256] = "";

	if (schedule_parse_time(text, &time, problem, sizeof(problem)) != 0)
		fail_msg("%s: %s", text, problem);
	return time;
}

/* --- what people write --- */

#define SUN 1
#define MON 2
#define TUE 4
#define WED 8
#define THU 16
#define FRI 32
#define SAT 64

static void schedules_are_read_and_written(void **state)
{
	static const struct {
		const char *text;
		unsigned days, minute;
		const char *written;
	} cases[] = {
		{"off", 0, 0, "off"},
		{"Off", 0, 0, "off"},
		{"daily 02:00", 127, 120, "daily 02:00"},
		{"daily 00:00", 127, 0, "daily 00:00"},
		{"DAILY 23:59", 127, 1439, "daily 23:59"},
		{"daily \t 02:00", 127, 120, "daily 02:00"},
		{"Sun 03:30", SUN, 210, "Sun 03:30"},
		{"sat 03:30", SAT, 210, "Sat 03:30"},
		{"Mon,Wed-Fri 03:30", MON | WED | THU | FRI, 210, "Mon,Wed,Thu,Fri 03:30"},
		{"Sat-Mon 01:00", SAT | SUN | MON, 60, "Mon,Sat,Sun 01:00"},
		{"Fri-Sun 01:00", FRI | SAT | SUN, 60, "Fri,Sat,Sun 01:00"},
		{"Sun-Tue 01:00", SUN | MON | TUE, 60, "Mon,Tue,Sun 01:00"},
		{"Tue-Tue 10:09", TUE, 609, "Tue 10:09"},
		{"Tue,Mon,Tue 10:09", MON | TUE, 609, "Mon,Tue 10:09"},
		{"Mon-Sun 10:09", 127, 609, "daily 10:09"},
		{"Wed-Tue 10:09", 127, 609, "daily 10:09"},
		{"Mon-Wed,Tue-Sat 10:09", 126, 609, "Mon,Tue,Wed,Thu,Fri,Sat 10:09"},
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		struct schedule schedule = schedule_of(cases[i].text);
		char text[SCHEDULE_TEXT_MAX];

		if (schedule.days != cases[i].days || schedule.minute != cases[i].minute)
			fail_msg("%s: days %x, minute %u", cases[i].text, schedule.days,
				 schedule.minute);
		assert_ptr_equal(schedule_format(&schedule, text, sizeof(text)), text);
		assert_string_equal(text, cases[i].written);
	}
}

static void what_is_written_is_read_again(void **state)
{
	for (unsigned days = 1; days < 128; days++) {
		for (unsigned minute = 0; minute < 1440; minute += 61) {
			struct schedule schedule = {days, minute}, again;
			char text[SCHEDULE_TEXT_MAX];

			again = schedule_of(schedule_format(&schedule, text, sizeof(text)));
			assert_int_equal(again.days, days);
			assert_int_equal(again.minute, minute);
		}
	}
}

static void bad_schedules_are_refused_with_a_reason(void **state)
{
#define SCHEDULE(text) "'" text "' is not a schedule such as off, daily 02:00 or Mon,Wed-Fri 03:30"
#define DAYS(text)     "'" text "' is not daily, nor a day or days such as Sun or Mon,Wed-Fri"
#define TIME(text)     "'" text "' is not a time of day from 00:00 to 23:59"
	static const struct {
		const char *text, *problem;
	} cases[] = {
		{"", SCHEDULE("")},
		{"daily", SCHEDULE("daily")},
		{"02:00", SCHEDULE("02:00")},
		{"hourly", SCHEDULE("hourly")},
		{"Sun", SCHEDULE("Sun")},
		{"no", SCHEDULE("no")},
		{"offf", SCHEDULE("offf")},
		{"weekly 02:00", DAYS("weekly")},
		{"dail 02:00", DAYS("dail")},
		{"dailyy 02:00", DAYS("dailyy")},
		{"Sunday 02:00", DAYS("Sunday")},
		{"Su 02:00", DAYS("Su")},
		{"Mon,Fry 02:00", DAYS("Fry")},
		{"Mon,daily 02:00", DAYS("daily")},
		{"Mon-Fry 02:00", DAYS("Mon-Fry")},
		{"Mno-Fri 02:00", DAYS("Mno-Fri")},
		{"Mon-Wed-Fri 02:00", DAYS("Mon-Wed-Fri")},
		{"Mon- 02:00", DAYS("Mon-")},
		{"-Mon 02:00", DAYS("-Mon")},
		{"Mon,,Tue 02:00", DAYS("")},
		{"Mon, 02:00", DAYS("")},
		{"off 02:00", DAYS("off")},
		{"daily 24:00", TIME("24:00")},
		{"daily 12:60", TIME("12:60")},
		{"daily 2:00", TIME("2:00")},
		{"daily 02:0", TIME("02:0")},
		{"daily 02:00:00", TIME("02:00:00")},
		{"daily 0200", TIME("0200")},
		{"daily 02.00", TIME("02.00")},
		{"daily -2:00", TIME("-2:00")},
		{"daily +2:00", TIME("+2:00")},
		{"daily 02:+1", TIME("02:+1")},
		{"daily 02: 1", TIME("02: 1")},
		{"daily at 02:00", TIME("at 02:00")},
		{"Sun 3pm", TIME("3pm")},
	};
#undef SCHEDULE
#undef DAYS

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		struct schedule schedule = {5, 6};
		char problem[256] = "";
		int r = schedule_parse(cases[i].text, &schedule, problem, sizeof(problem));

		if (r != -EINVAL || strcmp(problem, cases[i].problem))
			fail_msg("%s: %d, %s", cases[i].text, r, problem);
		assert_int_equal(schedule.days, 5);
		assert_int_equal(schedule.minute, 6);
	}
}

static void times_of_day_are_read_and_written(void **state)
{
	static const char *const bad[] = {"",	   "6:00", "06:00 ", " 06:00",
					  " 6:00", "none", "24:00",  "06:60"};
	struct schedule_time time;
	char text[SCHEDULE_TEXT_MAX];

	for (unsigned minute = 0; minute < 1440; minute++) {
		time = (struct schedule_time){true, minute};
		assert_ptr_equal(schedule_format_time(&time, text, sizeof(text)), text);
		time = time_of(text);
		assert_true(time.is_set);
		assert_int_equal(time.minute, minute);
	}
	assert_string_equal(text, "23:59");

	for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
		char problem[256] = "";

		time = (struct schedule_time){false, 7};
		assert_int_equal(schedule_parse_time(bad[i], &time, problem, sizeof(problem)),
				 -EINVAL);
		assert_false(time.is_set);
		assert_int_equal(time.minute, 7);
	}
	assert_int_equal(schedule_parse_time("06:60", &time, text, sizeof(text)), -EINVAL);
	assert_string_equal(text, "'06:60' is not a time of day from 00:00");
#undef TIME
}

/* --- slots --- */

static void the_next_slot_is_found(void **state)
{
	static const struct {
		const char *zone, *schedule;
		const char *moment, *slot; /* in UTC */
	} cases[] = {
		/* 2024-07-01 is a Monday */
		{"UTC", "daily 02:00", "2024-07-01 01:59", "2024-07-01 02:00"},
		{"UTC", "daily 02:00", "2024-07-01 02:00", "2024-07-02 02:00"},
		{"UTC", "daily 00:00", "2023-12-31 23:59", "2024-01-01 00:00"},
		{"UTC", "daily 23:59", "2024-02-28 23:59", "2024-02-29 23:59"},
		{"UTC", "Mon 02:00", "2024-07-01 01:00", "2024-07-01 02:00"},
		{"UTC", "Mon 02:00", "2024-07-01 02:00", "2024-07-08 02:00"},
		{"UTC", "Mon 02:00", "2024-07-02 00:00", "2024-07-08 02:00"},
		{"UTC", "Sun 02:00", "2024-07-01 01:00", "2024-07-07 02:00"},
		{"UTC", "Mon,Wed-Fri 03:30", "2024-07-01 03:30", "2024-07-03 03:30"},
		{"UTC", "Mon,Wed-Fri 03:30", "2024-07-05 03:30", "2024-07-08 03:30"},
		/* local time, and its day of the week */
		{"Europe/Berlin", "Mon 00:30", "2024-06-30 22:00", "2024-06-30 22:30"},
		{"America/New_York", "Sun 22:00", "2024-06-30 23:00", "2024-07-01 02:00"},
		{"Australia/Lord_Howe", "daily 02:00", "2024-07-01 00:00", "2024-07-01 15:30"},
		/* skipped: as long after the skipped hour began */
		{"Europe/Berlin", "daily 02:30", "2024-03-30 12:00", "2024-03-31 01:30"},
		{"Europe/Berlin", "daily 02:00", "2024-03-30 12:00", "2024-03-31 01:00"},
		{"Europe/Berlin", "daily 03:00", "2024-03-30 12:00", "2024-03-31 01:00"},
		{"Europe/Berlin", "daily 02:30", "2024-03-31 01:30", "2024-04-01 00:30"},
		{"America/New_York", "Sun 02:30", "2024-03-10 00:00", "2024-03-10 07:30"},
		{"Australia/Lord_Howe", "daily 02:15", "2024-10-05 15:00", "2024-10-05 15:45"},
		/* ... even if that is on the next day ... */
		{"America/Nuuk", "Sat 23:30", "2024-03-30 12:00", "2024-03-31 01:30"},
		{"America/Nuuk", "Sat 23:30", "2024-03-31 01:10", "2024-03-31 01:30"},
		{"America/Nuuk", "Sat 23:30", "2024-03-31 01:30", "2024-04-07 00:30"},
		/* ... which the whole day before may be */
		{"Pacific/Apia", "Fri 02:00", "2011-12-30 10:30", "2011-12-30 12:00"},
		{"Pacific/Apia", "Sat 02:00", "2011-12-30 09:30", "2011-12-30 12:00"},
		/* shown twice: the first */
		{"Europe/Berlin", "daily 02:30", "2024-10-26 12:00", "2024-10-27 00:30"},
		{"Europe/Berlin", "daily 02:30", "2024-10-27 00:30", "2024-10-28 01:30"},
		{"Europe/Berlin", "daily 02:30", "2024-10-27 01:10", "2024-10-28 01:30"},
		{"Europe/Berlin", "daily 03:00", "2024-10-26 12:00", "2024-10-27 02:00"},
		{"America/New_York", "Sun 01:30", "2024-11-03 00:00", "2024-11-03 05:30"},
		{"America/New_York", "Sun 01:30", "2024-11-03 06:00", "2024-11-10 06:30"},
		{"Australia/Lord_Howe", "daily 01:45", "2024-04-06 14:00", "2024-04-06 14:45"},
		{"Australia/Lord_Howe", "daily 01:45", "2024-04-06 15:10", "2024-04-07 15:15"},
		/* summer time in winter, and a change of what is standard */
		{"Africa/Casablanca", "daily 02:30", "2024-03-09 12:00", "2024-03-10 01:30"},
		{"Africa/Casablanca", "daily 02:30", "2024-04-13 12:00", "2024-04-14 02:30"},
		{"Europe/Moscow", "daily 01:30", "2014-10-25 12:00", "2014-10-25 21:30"},
		{"Europe/Moscow", "daily 01:30", "2014-10-25 22:10", "2014-10-26 22:30"},
		/* back over midnight: the clock has shown the beginning of Sunday already */
		{"America/St_Johns", "Sun 00:00", "2010-11-06 12:00", "2010-11-07 02:30"},
		{"America/St_Johns", "Sun 00:00", "2010-11-07 02:40", "2010-11-14 03:30"},
		/* a clock that was never set */
		{"America/New_York", "daily 02:00", "1970-01-01 00:00", "1970-01-01 07:00"},
		{"America/New_York", "Wed 20:00", "1970-01-01 00:00", "1970-01-01 01:00"},
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		struct schedule schedule = schedule_of(cases[i].schedule);
		int64_t slot;

		live_in(cases[i].zone);
		slot = schedule_after(&schedule, utc(cases[i].moment));
		if (slot != utc(cases[i].slot))
			fail_msg("%s, %s after %s: %lld, not %s", cases[i].zone, cases[i].schedule,
				 cases[i].moment, (long long)slot, cases[i].slot);
	}
}

static void off_has_no_slot(void **state)
{
	struct schedule off = schedule_of("off");

	live_in("Europe/Berlin");
	assert_int_equal(schedule_after(&off, utc("2024-07-01 00:00")), INT64_MAX);
}

/* The definition, minute by minute: a slot is when the clock shows its time first on a day. */
static void slots_are_when_the_clock_shows_them(void **state)
{
	static const char *const zones[] = {"UTC", "Europe/Berlin", "America/New_York",
					    "Australia/Lord_Howe", "America/Nuuk"};
	static const char *const times[] = {"00:00", "01:45", "02:30", "23:30"};

	for (size_t z = 0; z < N_ELEMENTS(zones); z++) {
		int shown[N_ELEMENTS(times)] = {-1, -1, -1, -1};

		live_in(zones[z]);
		for (int64_t now = local("2024-01-01 00:00"); now < local("2025-01-01 00:00");
		     now += MINUTE) {
			struct tm tm;

			(void)localtime_r(&(time_t){now}, &tm);
			for (size_t t = 0; t < N_ELEMENTS(times); t++) {
				struct schedule_time time = time_of(times[t]);

				if ((unsigned)(tm.tm_hour * 60 + tm.tm_min) != time.minute ||
				    tm.tm_yday == shown[t])
					continue;
				shown[t] = tm.tm_yday;
				if (schedule_time_after(&time, now - 1) != now ||
				    schedule_time_after(&time, now) <= now)
					fail_msg("%s, %s on day %d of the year: not the slot",
						 zones[z], times[t], tm.tm_yday);
			}
		}
	}
}

static void there_is_one_slot_on_each_day(void **state)
{
	static const char *const zones[] = {"Europe/Berlin", "America/New_York",
					    "Australia/Lord_Howe", "America/Nuuk"};
	static const char *const times[] = {"00:00", "01:45", "02:00", "02:15", "02:30", "23:30"};

	for (size_t z = 0; z < N_ELEMENTS(zones); z++) {
		live_in(zones[z]);
		for (size_t t = 0; t < N_ELEMENTS(times); t++) {
			struct schedule_time time = time_of(times[t]);
			int64_t slot = local("2024-01-01 00:00") - 1;

			for (unsigned n = 0; n < 366; n++)
				slot = schedule_time_after(&time, slot);
			if (slot < local("2024-12-31 00:00") || slot >= local("2025-01-01 00:00"))
				fail_msg("%s, %s: the 366th is %lld", zones[z], times[t],
					 (long long)slot);
		}
	}
}

static void a_change_of_the_time_zone_is_noticed(void **state)
{
	struct schedule schedule = schedule_of("daily 02:00");
	struct schedule_state at = {.schedule = schedule};

	live_in("UTC");
	at.last_slot = utc("2024-07-01 12:00");
	assert_int_equal(schedule_after(&schedule, at.last_slot), utc("2024-07-02 02:00"));
	assert_int_equal(setenv("TZ", "Europe/Berlin", 1), 0);
	assert_int_equal(schedule_after(&schedule, at.last_slot), utc("2024-07-02 00:00"));
	assert_int_equal(setenv("TZ", "America/New_York", 1), 0);
	assert_int_equal(schedule_decide(&at, 0, utc("2024-07-02 05:59")).action, SCHEDULE_WAIT);
	assert_int_equal(setenv("TZ", "Europe/Berlin", 1), 0);
	assert_int_equal(schedule_decide(&at, 0, utc("2024-07-02 05:59")).slot,
			 utc("2024-07-02 00:00"));
}

/* --- a service, whose clock is ours --- */

struct service {
	struct schedule_state state;
	int64_t started, now;
	int64_t scan_takes;
	bool sleeps; /* until something may be due, instead of looking every minute */

	bool is_scanning;
	int64_t left, pause_at;
	int64_t promised; /* nothing is due before */
	char text[8192];  /* what it did, in local time */
};

static void service_note(struct service *service, const char *what)
{
	size_t length = strlen(service->text);
	struct tm tm;
	char when[64];

	(void)localtime_r(&(time_t){service->now}, &tm);
	assert_true(strftime(when, sizeof(when), "%a %d %H:%M %Z", &tm) > 0);
	(void)snprintf(service->text + length, sizeof(service->text) - length, "%s %s\n", when,
		       what);
}

static void service_pause(struct service *service, const char *what)
{
	service->state.is_unfinished = service->left > 0;
	service->is_scanning = false;
	service_note(service, what);
}

static void service_decide(struct service *service)
{
	struct schedule_decision decision =
		schedule_decide(&service->state, service->started, service->now);

	service->state.last_slot = decision.slot;
	if (decision.action == SCHEDULE_WAIT) {
		assert_true(decision.until > service->now);
		service->promised = decision.until;
		return;
	}
	if (service->now < service->promised)
		service_note(service, "sooner than it had said");
	if (decision.action == SCHEDULE_BEGIN)
		service->left = service->scan_takes;
	service->is_scanning = true;
	service->state.is_stopped = false;
	service->pause_at = decision.until;
	service_note(service, decision.action == SCHEDULE_BEGIN ? "begin" : "go on");
}

static int64_t service_next(const struct service *service)
{
	if (!service->sleeps)
		return service->now + MINUTE;
	if (!service->is_scanning)
		return service->promised;
	return service->pause_at - service->now < service->left ? service->pause_at
								: service->now + service->left;
}

/* It does what it does, but not what is due when time is up. */
static void service_run(struct service *service, int64_t end)
{
	while (service->now < end) {
		int64_t next;

		if (service->is_scanning && service->left <= 0)
			service_pause(service, "end");
		else if (service->is_scanning && service->now >= service->pause_at)
			service_pause(service, "pause");
		if (!service->is_scanning)
			service_decide(service);
		next = service_next(service);
		next = next < end ? next : end;
		service->left -= service->is_scanning ? next - service->now : 0;
		service->now = next;
	}
}

/* The clock, not the time, goes forward or back. */
static void service_set_clock(struct service *service, int64_t moment)
{
	service->now = moment;
	service->promised = INT64_MIN;
}

static void service_down_until(struct service *service, int64_t moment)
{
	if (service->is_scanning)
		service_pause(service, "down");
	service->started = moment;
	service_set_clock(service, moment);
}

typedef void (*service_story)(struct service *service);

/* A service that started for the first time, and whose scans take an hour. */
static void assert_story(const char *zone, const char *schedule, const char *finish_by,
			 const char *start, service_story story, const char *expected)
{
	for (int sleeps = 0; sleeps < 2; sleeps++) {
		struct service service = {.sleeps = sleeps, .scan_takes = HOUR};

		live_in(zone);
		service.state.schedule = schedule_of(schedule);
		if (finish_by)
			service.state.finish_by = time_of(finish_by);
		service.started = service.now = service.state.last_slot = local(start);
		service.promised = INT64_MIN;
		story(&service);
		assert_string_equal(service.text, expected);
	}
}

static void for_a_week(struct service *service)
{
	service_run(service, service->now + 7 * DAY);
}

static void a_week_of_daily_scans(void **state)
{
	assert_story("UTC", "daily 02:00", NULL, "2024-07-01 12:00", for_a_week,
		     "Tue 02 02:00 UTC begin\nTue 02 03:00 UTC end\n"
		     "Wed 03 02:00 UTC begin\nWed 03 03:00 UTC end\n"
		     "Thu 04 02:00 UTC begin\nThu 04 03:00 UTC end\n"
		     "Fri 05 02:00 UTC begin\nFri 05 03:00 UTC end\n"
		     "Sat 06 02:00 UTC begin\nSat 06 03:00 UTC end\n"
		     "Sun 07 02:00 UTC begin\nSun 07 03:00 UTC end\n"
		     "Mon 08 02:00 UTC begin\nMon 08 03:00 UTC end\n");
}

static void weeks_of_some_days(void **state)
{
	assert_story("Europe/Berlin", "Mon,Wed-Fri 03:30", NULL, "2024-07-01 00:00", for_a_week,
		     "Mon 01 03:30 CEST begin\nMon 01 04:30 CEST end\n"
		     "Wed 03 03:30 CEST begin\nWed 03 04:30 CEST end\n"
		     "Thu 04 03:30 CEST begin\nThu 04 04:30 CEST end\n"
		     "Fri 05 03:30 CEST begin\nFri 05 04:30 CEST end\n");
	assert_story("America/New_York", "Sat-Mon 01:00", NULL, "2024-07-01 00:00", for_a_week,
		     "Mon 01 01:00 EDT begin\nMon 01 02:00 EDT end\n"
		     "Sat 06 01:00 EDT begin\nSat 06 02:00 EDT end\n"
		     "Sun 07 01:00 EDT begin\nSun 07 02:00 EDT end\n");
}

static void off_for_a_week(struct service *service)
{
	service->state.delay = 20 * MINUTE;
	for_a_week(service);
	assert_int_equal(service->promised, INT64_MAX);
	service->state.is_unfinished = true;
	service->state.is_stopped = true;
	for_a_week(service);
}

static void with_the_schedule_off_nothing_happens(void **state)
{
	assert_story("UTC", "off", NULL, "2024-07-01 00:00", off_for_a_week, "");
	assert_story("UTC", "off", "06:00", "2024-07-01 00:00", off_for_a_week, "");
}

static void off_and_interrupted(struct service *service)
{
	for_a_week(service);
	service->state.is_unfinished = true;
	service->left = HOUR;
	service->promised = 0;
	for_a_week(service);
}

static void with_the_schedule_off_what_was_interrupted_goes_on(void **state)
{
	static const char story[] = "Mon 08 00:00 UTC go on\nMon 08 01:00 UTC end\n";

	assert_story("UTC", "off", NULL, "2024-07-01 00:00", off_and_interrupted, story);
	assert_story("UTC", "off", "06:00", "2024-07-01 00:00", off_and_interrupted, story);
}

static void for_three_days(struct service *service)
{
	service_run(service, service->now + 3 * DAY);
}

static void a_time_that_the_clock_skips_has_its_scan(void **state)
{
	assert_story("Europe/Berlin", "daily 02:30", NULL, "2024-03-30 00:00", for_three_days,
		     "Sat 30 02:30 CET begin\nSat 30 03:30 CET end\n"
		     "Sun 31 03:30 CEST begin\nSun 31 04:30 CEST end\n"
		     "Mon 01 02:30 CEST begin\nMon 01 03:30 CEST end\n");
	assert_story("America/New_York", "daily 02:30", NULL, "2024-03-09 00:00", for_three_days,
		     "Sat 09 02:30 EST begin\nSat 09 03:30 EST end\n"
		     "Sun 10 03:30 EDT begin\nSun 10 04:30 EDT end\n"
		     "Mon 11 02:30 EDT begin\nMon 11 03:30 EDT end\n");
	assert_story("Australia/Lord_Howe", "daily 02:15", NULL, "2024-10-05 00:00", for_three_days,
		     "Sat 05 02:15 +1030 begin\nSat 05 03:15 +1030 end\n"
		     "Sun 06 02:45 +11 begin\nSun 06 03:45 +11 end\n"
		     "Mon 07 02:15 +11 begin\nMon 07 03:15 +11 end\n");
	assert_story("America/Nuuk", "daily 23:30", NULL, "2024-03-29 12:00", for_three_days,
		     "Fri 29 23:30 -02 begin\nSat 30 00:30 -02 end\n"
		     "Sun 31 00:30 -01 begin\nSun 31 01:30 -01 end\n"
		     "Sun 31 23:30 -01 begin\nMon 01 00:30 -01 end\n");
}

static void a_short_scan_for_three_days(struct service *service)
{
	service->scan_takes = 10 * MINUTE;
	for_three_days(service);
}

static void a_time_that_the_clock_shows_twice_has_one_scan(void **state)
{
	assert_story("Europe/Berlin", "daily 02:30", NULL, "2024-10-26 00:00",
		     a_short_scan_for_three_days,
		     "Sat 26 02:30 CEST begin\nSat 26 02:40 CEST end\n"
		     "Sun 27 02:30 CEST begin\nSun 27 02:40 CEST end\n"
		     "Mon 28 02:30 CET begin\nMon 28 02:40 CET end\n");
	assert_story("America/New_York", "daily 01:30", NULL, "2024-11-02 00:00",
		     a_short_scan_for_three_days,
		     "Sat 02 01:30 EDT begin\nSat 02 01:40 EDT end\n"
		     "Sun 03 01:30 EDT begin\nSun 03 01:40 EDT end\n"
		     "Mon 04 01:30 EST begin\nMon 04 01:40 EST end\n");
	assert_story("Australia/Lord_Howe", "daily 01:45", NULL, "2024-04-06 00:00",
		     a_short_scan_for_three_days,
		     "Sat 06 01:45 +11 begin\nSat 06 01:55 +11 end\n"
		     "Sun 07 01:45 +11 begin\nSun 07 01:55 +11 end\n"
		     "Mon 08 01:45 +1030 begin\nMon 08 01:55 +1030 end\n");
}

static void with_a_delay(struct service *service)
{
	service->state.delay = 20 * MINUTE;
	for_three_days(service);
}

static void a_delay_comes_after_each_slot(void **state)
{
	assert_story("Europe/Berlin", "daily 02:30", NULL, "2024-03-30 00:00", with_a_delay,
		     "Sat 30 02:50 CET begin\nSat 30 03:50 CET end\n"
		     "Sun 31 03:50 CEST begin\nSun 31 04:50 CEST end\n"
		     "Mon 01 02:50 CEST begin\nMon 01 03:50 CEST end\n");
}

static void with_a_delay_of_a_day(struct service *service)
{
	service->state.delay = DAY;
	for_three_days(service);
}

static void even_the_longest_delay_leaves_a_scan_each_day(void **state)
{
	assert_story("UTC", "daily 02:00", NULL, "2024-07-01 00:00", with_a_delay_of_a_day,
		     "Tue 02 02:00 UTC begin\nTue 02 03:00 UTC end\n"
		     "Wed 03 02:00 UTC begin\nWed 03 03:00 UTC end\n");
}

/* --- missed --- */

static void down_over_some_slots(struct service *service)
{
	service->state.delay = 20 * MINUTE;
	service_down_until(service, local("2024-07-04 09:17"));
	service_run(service, local("2024-07-05 12:00"));
}

static void slots_missed_while_down_are_one_scan(void **state)
{
	assert_story("Europe/Berlin", "daily 02:00", NULL, "2024-07-01 12:00", down_over_some_slots,
		     "Thu 04 09:37 CEST begin\nThu 04 10:37 CEST end\n"
		     "Fri 05 02:20 CEST begin\nFri 05 03:20 CEST end\n");
}

static void down_until_just_after_a_slot(struct service *service)
{
	service->state.delay = 20 * MINUTE;
	service_down_until(service, local("2024-07-02 02:10"));
	service_run(service, local("2024-07-02 12:00"));
}

/* The delay is for machines that start together, too. */
static void the_delay_of_a_missed_slot_begins_with_the_start(void **state)
{
	assert_story("UTC", "daily 02:00", NULL, "2024-07-01 12:00", down_until_just_after_a_slot,
		     "Tue 02 02:30 UTC begin\nTue 02 03:30 UTC end\n");
}

static void down_over_no_slot(struct service *service)
{
	service_down_until(service, local("2024-07-02 01:59"));
	service_run(service, local("2024-07-02 01:59") + 30);
	service_down_until(service, local("2024-07-02 04:00"));
	service_run(service, local("2024-07-02 06:00"));
	service_down_until(service, local("2024-07-02 20:00"));
	service_run(service, local("2024-07-02 23:00"));
}

static void what_was_done_is_not_done_again_after_a_restart(void **state)
{
	assert_story("UTC", "daily 02:00", NULL, "2024-07-01 12:00", down_over_no_slot,
		     "Tue 02 04:00 UTC begin\nTue 02 05:00 UTC end\n");
}

static void suspended_for_nine_hours(struct service *service)
{
	service->state.delay = 20 * MINUTE;
	service_run(service, local("2024-07-01 23:00"));
	service_set_clock(service, local("2024-07-02 08:00"));
	service_run(service, local("2024-07-03 12:00"));
}

static void a_slot_missed_in_a_suspend_is_due_on_waking_up(void **state)
{
	assert_story("Europe/Berlin", "daily 02:00", NULL, "2024-07-01 12:00",
		     suspended_for_nine_hours,
		     "Tue 02 08:00 CEST begin\nTue 02 09:00 CEST end\n"
		     "Wed 03 02:20 CEST begin\nWed 03 03:20 CEST end\n");
	assert_story("Europe/Berlin", "daily 02:00", "06:00", "2024-07-01 12:00",
		     suspended_for_nine_hours, "Wed 03 02:20 CEST begin\nWed 03 03:20 CEST end\n");
}

static void down_for_two_weeks(struct service *service)
{
	service_down_until(service, service->now + 14 * DAY);
	service_run(service, service->now + 2 * DAY);
}

/* On the morning of its day the last slot is that of a week ago. */
static void a_slot_missed_long_ago_is_found(void **state)
{
	assert_story("UTC", "Mon 02:00", NULL, "2024-07-01 01:00", down_for_two_weeks,
		     "Mon 15 01:00 UTC begin\nMon 15 02:00 UTC end\n"
		     "Mon 15 02:00 UTC begin\nMon 15 03:00 UTC end\n");
	/* Saturday's slot is on Sunday, this once */
	assert_story("America/Nuuk", "Sat 23:30", NULL, "2024-03-16 23:20", down_for_two_weeks,
		     "Sun 31 00:20 -01 begin\nSun 31 01:20 -01 end\n"
		     "Sun 31 01:20 -01 begin\nSun 31 02:20 -01 end\n");
}

static void down_as_the_clock_goes_back_over_midnight(struct service *service)
{
	service_down_until(service, utc("2010-11-07 02:40"));
	service_run(service, utc("2010-11-08 00:00"));
}

/* Sunday has begun, and it is Saturday again. */
static void a_slot_of_tomorrow_may_have_been_missed(void **state)
{
	assert_story("America/St_Johns", "Sun 00:00", NULL, "2010-11-06 12:00",
		     down_as_the_clock_goes_back_over_midnight,
		     "Sat 06 23:10 NST begin\nSun 07 00:10 NST end\n");
}

/* --- finish-by --- */

static void of_ten_hours_for_four_nights(struct service *service)
{
	service->scan_takes = 10 * HOUR;
	service_run(service, service->now + 4 * DAY);
}

static void a_scan_goes_on_night_after_night(void **state)
{
	assert_story("Europe/Berlin", "daily 02:00", "06:00", "2024-07-01 12:00",
		     of_ten_hours_for_four_nights,
		     "Tue 02 02:00 CEST begin\nTue 02 06:00 CEST pause\n"
		     "Wed 03 02:00 CEST go on\nWed 03 06:00 CEST pause\n"
		     "Thu 04 02:00 CEST go on\nThu 04 04:00 CEST end\n"
		     "Fri 05 02:00 CEST begin\nFri 05 06:00 CEST pause\n");
	/* over midnight */
	assert_story("Europe/Berlin", "Mon-Tue,Thu 22:00", "05:00", "2024-07-01 12:00",
		     of_ten_hours_for_four_nights,
		     "Mon 01 22:00 CEST begin\nTue 02 05:00 CEST pause\n"
		     "Tue 02 22:00 CEST go on\nWed 03 01:00 CEST end\n"
		     "Thu 04 22:00 CEST begin\nFri 05 05:00 CEST pause\n");
	/* up to the next one, and all the time */
	assert_story("UTC", "Tue 02:00", "02:00", "2024-07-01 12:00", of_ten_hours_for_four_nights,
		     "Tue 02 02:00 UTC begin\nTue 02 12:00 UTC end\n");
	assert_story("UTC", "daily 02:00", "01:59", "2024-07-01 12:00",
		     of_ten_hours_for_four_nights,
		     "Tue 02 02:00 UTC begin\nTue 02 12:00 UTC end\n"
		     "Wed 03 02:00 UTC begin\nWed 03 12:00 UTC end\n"
		     "Thu 04 02:00 UTC begin\nThu 04 12:00 UTC end\n"
		     "Fri 05 02:00 UTC begin\n");
}

static void delayed_in_its_window(struct service *service)
{
	service->state.delay = 30 * MINUTE;
	service->scan_takes = 5 * HOUR;
	for_three_days(service);
}

static void a_delay_is_part_of_the_window(void **state)
{
	assert_story("UTC", "daily 02:00", "06:00", "2024-07-01 12:00", delayed_in_its_window,
		     "Tue 02 02:30 UTC begin\nTue 02 06:00 UTC pause\n"
		     "Wed 03 02:30 UTC go on\nWed 03 04:00 UTC end\n"
		     "Thu 04 02:30 UTC begin\nThu 04 06:00 UTC pause\n");
}

static void down_over_a_window(struct service *service)
{
	service_down_until(service, local("2024-07-02 06:00"));
	service_run(service, local("2024-07-03 12:00"));
}

static void a_slot_missed_with_its_window_waits_for_the_next(void **state)
{
	assert_story("UTC", "daily 02:00", "06:00", "2024-07-01 12:00", down_over_a_window,
		     "Wed 03 02:00 UTC begin\nWed 03 03:00 UTC end\n");
}

static void down_into_a_window(struct service *service)
{
	service->state.delay = 20 * MINUTE;
	service_down_until(service, local("2024-07-03 05:00"));
	service_run(service, local("2024-07-03 05:30"));
	service_down_until(service, local("2024-07-03 05:40"));
	service_run(service, local("2024-07-04 01:00"));
	service_down_until(service, local("2024-07-04 02:10"));
	service_run(service, local("2024-07-04 12:00"));
	/* so late that the window is over when the delay is */
	service_down_until(service, local("2024-07-05 05:50"));
	service_run(service, local("2024-07-06 12:00"));
}

static void a_window_that_is_still_open_is_used(void **state)
{
	assert_story("UTC", "daily 02:00", "06:00", "2024-07-01 12:00", down_into_a_window,
		     "Wed 03 05:20 UTC begin\nWed 03 05:30 UTC down\n"
		     "Wed 03 05:40 UTC go on\nWed 03 06:00 UTC pause\n"
		     "Thu 04 02:20 UTC go on\nThu 04 02:50 UTC end\n"
		     "Sat 06 02:20 UTC begin\nSat 06 03:20 UTC end\n");
}

static void windows_last_as_the_clock_shows_them(void **state)
{
	/* an hour is skipped in it, at its end, and at its beginning */
	assert_story("Europe/Berlin", "daily 01:30", "04:00", "2024-03-31 00:00",
		     of_ten_hours_for_four_nights,
		     "Sun 31 01:30 CET begin\nSun 31 04:00 CEST pause\n"
		     "Mon 01 01:30 CEST go on\nMon 01 04:00 CEST pause\n"
		     "Tue 02 01:30 CEST go on\nTue 02 04:00 CEST pause\n"
		     "Wed 03 01:30 CEST go on\nWed 03 04:00 CEST pause\n");
	assert_story("Europe/Berlin", "Sun 01:30", "02:15", "2024-03-31 00:00", for_three_days,
		     "Sun 31 01:30 CET begin\nSun 31 03:15 CEST pause\n");
	assert_story("Europe/Berlin", "Sun-Mon 02:30", "03:45", "2024-03-31 00:00", for_three_days,
		     "Sun 31 03:30 CEST begin\nSun 31 03:45 CEST pause\n"
		     "Mon 01 02:30 CEST go on\nMon 01 03:15 CEST end\n");
	/* nothing of it is left: it does not become one of a whole day */
	assert_story("Europe/Berlin", "daily 02:30", "03:15", "2024-03-31 00:00",
		     a_short_scan_for_three_days,
		     "Mon 01 02:30 CEST begin\nMon 01 02:40 CEST end\n"
		     "Tue 02 02:30 CEST begin\nTue 02 02:40 CEST end\n");
	/* an hour is shown twice */
	assert_story("Europe/Berlin", "Sun 01:30", "02:30", "2024-10-27 00:00",
		     of_ten_hours_for_four_nights,
		     "Sun 27 01:30 CEST begin\nSun 27 02:30 CEST pause\n");
	assert_story("Europe/Berlin", "Sun 01:30", "03:00", "2024-10-27 00:00",
		     of_ten_hours_for_four_nights,
		     "Sun 27 01:30 CEST begin\nSun 27 03:00 CET pause\n");
	assert_story("Europe/Berlin", "Sun 02:45", "02:15", "2024-10-27 00:00",
		     of_ten_hours_for_four_nights,
		     "Sun 27 02:45 CEST begin\nSun 27 11:45 CET end\n");
}

/* --- unfinished --- */

static void down_in_a_scan(struct service *service)
{
	service->state.delay = 20 * MINUTE;
	service_run(service, local("2024-07-02 02:40"));
	service_down_until(service, local("2024-07-02 02:50"));
	service_run(service, local("2024-07-03 12:00"));
}

static void an_interrupted_scan_goes_on_at_once(void **state)
{
	assert_story("UTC", "daily 02:00", NULL, "2024-07-01 12:00", down_in_a_scan,
		     "Tue 02 02:20 UTC begin\nTue 02 02:40 UTC down\n"
		     "Tue 02 02:50 UTC go on\nTue 02 03:30 UTC end\n"
		     "Wed 03 02:20 UTC begin\nWed 03 03:20 UTC end\n");
}

static void down_in_a_scan_over_a_slot(struct service *service)
{
	service_run(service, local("2024-07-02 02:40"));
	service_down_until(service, local("2024-07-03 08:00"));
	service_run(service, local("2024-07-04 12:00"));
}

static void a_scan_that_goes_on_is_that_of_the_slots_missed_too(void **state)
{
	assert_story("UTC", "daily 02:00", NULL, "2024-07-01 12:00", down_in_a_scan_over_a_slot,
		     "Tue 02 02:00 UTC begin\nTue 02 02:40 UTC down\n"
		     "Wed 03 08:00 UTC go on\nWed 03 08:20 UTC end\n"
		     "Thu 04 02:00 UTC begin\nThu 04 03:00 UTC end\n");
}

static void down_in_a_scan_and_delayed_more(struct service *service)
{
	service_run(service, local("2024-07-02 02:40"));
	service->state.delay = 2 * HOUR;
	service_down_until(service, local("2024-07-02 02:50"));
	service_run(service, local("2024-07-02 12:00"));
}

static void a_scan_that_goes_on_is_not_begun_again(void **state)
{
	assert_story("UTC", "daily 02:00", NULL, "2024-07-01 12:00",
		     down_in_a_scan_and_delayed_more,
		     "Tue 02 02:00 UTC begin\nTue 02 02:40 UTC down\n"
		     "Tue 02 02:50 UTC go on\nTue 02 03:10 UTC end\n");
}

static void stopped_by_somebody(struct service *service)
{
	service_run(service, local("2024-07-02 02:40"));
	service_pause(service, "stop");
	service->state.is_stopped = true;
	service_run(service, local("2024-07-02 03:00"));
	service_down_until(service, local("2024-07-02 03:10"));
	service_run(service, local("2024-07-03 12:00"));
}

static void a_scan_that_was_stopped_goes_on_with_the_next_slot(void **state)
{
	static const char expected[] = "Tue 02 02:00 UTC begin\nTue 02 02:40 UTC stop\n"
				       "Wed 03 02:00 UTC go on\nWed 03 02:20 UTC end\n";

	assert_story("UTC", "daily 02:00", NULL, "2024-07-01 12:00", stopped_by_somebody, expected);
	assert_story("UTC", "daily 02:00", "06:00", "2024-07-01 12:00", stopped_by_somebody,
		     expected);
}

/* --- clocks that are set --- */

static void set_back_by_five_days(struct service *service)
{
	service->state.delay = 20 * MINUTE;
	service_run(service, local("2024-07-09 12:00"));
	service_set_clock(service, local("2024-07-04 12:00"));
	service_run(service, local("2024-07-06 12:00"));
}

static void a_clock_set_back_neither_ends_the_schedule_nor_repeats_it(void **state)
{
	assert_story("UTC", "daily 02:00", NULL, "2024-07-08 12:00", set_back_by_five_days,
		     "Tue 09 02:20 UTC begin\nTue 09 03:20 UTC end\n"
		     "Fri 05 02:20 UTC begin\nFri 05 03:20 UTC end\n"
		     "Sat 06 02:20 UTC begin\nSat 06 03:20 UTC end\n");
}

static void set_back_to_before_the_start(struct service *service)
{
	service->state.delay = 20 * MINUTE;
	service->state.last_slot = local("2024-06-30 02:00");
	service_set_clock(service, local("2024-07-01 12:00"));
	service_run(service, local("2024-07-02 12:00"));
}

/* The start, with its delay, seems to lie in the future then. */
static void a_clock_set_back_to_before_the_start_does_no_harm(void **state)
{
	assert_story("UTC", "daily 02:00", NULL, "2024-08-01 12:00", set_back_to_before_the_start,
		     "Mon 01 12:00 UTC begin\nMon 01 13:00 UTC end\n"
		     "Tue 02 02:20 UTC begin\nTue 02 03:20 UTC end\n");
}

static void set_back_in_a_scan(struct service *service)
{
	service_run(service, local("2024-07-09 02:30"));
	service_down_until(service, local("2024-07-04 12:00"));
	service_run(service, local("2024-07-05 12:00"));
}

static void a_scan_goes_on_after_the_clock_was_set_back(void **state)
{
	assert_story("UTC", "daily 02:00", NULL, "2024-07-08 12:00", set_back_in_a_scan,
		     "Tue 09 02:00 UTC begin\nTue 09 02:30 UTC down\n"
		     "Thu 04 12:00 UTC go on\nThu 04 12:30 UTC end\n"
		     "Fri 05 02:00 UTC begin\nFri 05 03:00 UTC end\n");
}

static void set_forward_by_ten_days(struct service *service)
{
	service->state.delay = 20 * MINUTE;
	service_run(service, local("2024-07-01 13:00"));
	service_set_clock(service, local("2024-07-11 13:00"));
	service_run(service, local("2024-07-12 12:00"));
}

static void a_clock_set_forward_is_one_missed_scan(void **state)
{
	assert_story("UTC", "daily 02:00", NULL, "2024-07-01 12:00", set_forward_by_ten_days,
		     "Thu 11 13:00 UTC begin\nThu 11 14:00 UTC end\n"
		     "Fri 12 02:20 UTC begin\nFri 12 03:20 UTC end\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(schedules_are_read_and_written),
		cmocka_unit_test(what_is_written_is_read_again),
		cmocka_unit_test(bad_schedules_are_refused_with_a_reason),
		cmocka_unit_test(times_of_day_are_read_and_written),
		cmocka_unit_test(the_next_slot_is_found),
		cmocka_unit_test(off_has_no_slot),
		cmocka_unit_test(slots_are_when_the_clock_shows_them),
		cmocka_unit_test(there_is_one_slot_on_each_day),
		cmocka_unit_test(a_change_of_the_time_zone_is_noticed),
		cmocka_unit_test(a_week_of_daily_scans),
		cmocka_unit_test(weeks_of_some_days),
		cmocka_unit_test(with_the_schedule_off_nothing_happens),
		cmocka_unit_test(with_the_schedule_off_what_was_interrupted_goes_on),
		cmocka_unit_test(a_time_that_the_clock_skips_has_its_scan),
		cmocka_unit_test(a_time_that_the_clock_shows_twice_has_one_scan),
		cmocka_unit_test(a_delay_comes_after_each_slot),
		cmocka_unit_test(even_the_longest_delay_leaves_a_scan_each_day),
		cmocka_unit_test(slots_missed_while_down_are_one_scan),
		cmocka_unit_test(the_delay_of_a_missed_slot_begins_with_the_start),
		cmocka_unit_test(what_was_done_is_not_done_again_after_a_restart),
		cmocka_unit_test(a_slot_missed_in_a_suspend_is_due_on_waking_up),
		cmocka_unit_test(a_slot_missed_long_ago_is_found),
		cmocka_unit_test(a_slot_of_tomorrow_may_have_been_missed),
		cmocka_unit_test(a_scan_goes_on_night_after_night),
		cmocka_unit_test(a_delay_is_part_of_the_window),
		cmocka_unit_test(a_slot_missed_with_its_window_waits_for_the_next),
		cmocka_unit_test(a_window_that_is_still_open_is_used),
		cmocka_unit_test(windows_last_as_the_clock_shows_them),
		cmocka_unit_test(an_interrupted_scan_goes_on_at_once),
		cmocka_unit_test(a_scan_that_goes_on_is_that_of_the_slots_missed_too),
		cmocka_unit_test(a_scan_that_goes_on_is_not_begun_again),
		cmocka_unit_test(a_scan_that_was_stopped_goes_on_with_the_next_slot),
		cmocka_unit_test(a_clock_set_back_neither_ends_the_schedule_nor_repeats_it),
		cmocka_unit_test(a_clock_set_back_to_before_the_start_does_no_harm),
		cmocka_unit_test(a_scan_goes_on_after_the_clock_was_set_back),
		cmocka_unit_test(a_clock_set_forward_is_one_missed_scan),
	};

	return cmocka_run_group_tests_name("schedule", tests, NULL, NULL);
}
