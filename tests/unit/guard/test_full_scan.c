/* SPDX-License-Identifier: GPL-2.0-only */
/* A full scan of a small tree, with a gate, a clock and processors of the test's own. */
#include "../../../src/guard/full_scan.h"
#include "../../../src/guard/scan_report.h"
#include "../support/conf_fixture.h"
#include "../support/scratch.h"
#include "make_verdicts.h"

#include <errno.h>
#include <signal.h>
#include <syslog.h>
#include <time.h>

#define SECOND	   UINT64_C(1000000)
#define BEGAN	   4102488000 /* noon of 2100-01-01, UTC: directories are older */
#define SIGNATURES 7

/* --- what the linker puts in the place of the real ones --- */

static struct {
	uint64_t now_us, own_cpu_us;
	long processors;
} fake;

int __wrap_clock_gettime(clockid_t clock, struct timespec *time);
long __wrap_sysconf(int name);
long __real_sysconf(int name);

int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
	uint64_t now_us = clock == CLOCK_REALTIME	     ? BEGAN * SECOND + fake.now_us
			  : clock == CLOCK_THREAD_CPUTIME_ID ? fake.own_cpu_us
							     : 1000 * SECOND + fake.now_us;

	time->tv_sec = (time_t)(now_us / SECOND);
	time->tv_nsec = (long)(now_us % SECOND) * 1000;
	return 0;
}

long __wrap_sysconf(int name)
{
	return name == _SC_NPROCESSORS_ONLN ? fake.processors : __real_sysconf(name);
}

/* --- the fixture --- */

struct fixture {
	int directory;
	struct conf *conf;
	struct checkpoint checkpoint;
	struct pace pace;
	struct verdicts *verdicts;
	struct full_scan *scan;
	struct scan_task *tasks; /* under way, the first that was sent first */
	unsigned n_tasks, most_tasks, n_sent;
	bool afresh;	 /* all that were sent were to be */
	uint64_t cpu_us; /* that each takes */
	unsigned n_logged;
	char logged[512]; /* the last line */
};

static void on_send(void *context, struct scan_task *task)
{
	struct fixture *fixture = context;
	struct stat status, there;

	assert_int_equal(fstat(task->fd, &status), 0);
	assert_int_equal(stat(task->path, &there), 0);
	assert_int_equal(status.st_ino, there.st_ino);
	assert_int_equal(task->size, status.st_size);
	assert_int_equal(fcntl(task->fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	task->next = NULL;
	for (struct scan_task **at = &fixture->tasks;; at = &(*at)->next)
		if (!*at) {
			*at = task;
			break;
		}
	fixture->afresh = task->afresh && (fixture->afresh || !fixture->n_sent);
	fixture->n_sent++;
	if (++fixture->n_tasks > fixture->most_tasks)
		fixture->most_tasks = fixture->n_tasks;
}

static void on_log(void *context, int priority, const char *text)
{
	struct fixture *fixture = context;

	fixture->n_logged++;
	(void)snprintf(fixture->logged, sizeof(fixture->logged), "%d %s", priority, text);
}

static const struct scan_callbacks owner = {.send = on_send, .log = on_log};

static void set(struct fixture *fixture, const char *key, const char *value)
{
	conf_fixture_set(fixture->conf, "full-scan", key, value);
}

static void set_path(struct fixture *fixture, const char *key, const char *name)
{
	char path[PATH_MAX + 64];

	(void)snprintf(path, sizeof(path), "%s/%s", scratch, name);
	set(fixture, key, path);
}

static bool make_state_directory(struct fixture *fixture)
{
	if (mkdir("state", 0700) < 0 || mkdir("state/reports", 0700) < 0)
		return false;
	fixture->directory = open("state", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fixture->directory >= 0;
}

static void forget_state(struct fixture *fixture)
{
	free(fixture->checkpoint.position);
	fixture->checkpoint = (struct checkpoint){0};
	close(fixture->directory);
	assert_int_equal(nftw("state", scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static int setup(void **state)
{
	static struct fixture fixture;

	fixture = (struct fixture){.conf = conf_new(), .verdicts = make_verdicts(1 << 16, false)};
	*state = &fixture;
	memset(&fake, 0, sizeof(fake));
	fake.processors = 2;
	if (!fixture.conf || !fixture.verdicts || !make_state_directory(&fixture) ||
	    mkdir("tree", 0755) < 0)
		return -1;
	set_path(&fixture, "path", "tree");
	return 0;
}

/* A task comes back with this verdict. */
static void answer_with(struct fixture *fixture, struct wire_verdict verdict)
{
	struct scan_task *task = fixture->tasks;
	int fd = task->fd;

	fixture->tasks = task->next;
	fixture->n_tasks--;
	task->verdict = verdict;
	task->verdict.cpu_us = fixture->cpu_us;
	full_scan_take(fixture->scan, task);
	assert_false(unit_fd_is_open(fd));
	assert_int_equal(full_scan_under_way(fixture->scan), fixture->n_tasks);
}

/* What files are called says what is in them. */
static void answer(struct fixture *fixture)
{
	struct wire_verdict verdict = wire_verdict_make(VERDICT_CLEAN, "");
	const char *path = fixture->tasks->path;

	if (strstr(path, "infected"))
		verdict = wire_verdict_make(VERDICT_INFECTED, "Eicar-Test");
	else if (strstr(path, "encrypted"))
		verdict = wire_verdict_make(VERDICT_INCOMPLETE, "it is encrypted");
	else if (strstr(path, "broken"))
		verdict = wire_verdict_make(VERDICT_FAILED, "its worker died");
	else if (strstr(path, "strange"))
		(void)snprintf(verdict.warning, sizeof(verdict.warning), "it is strange");
	else if (strstr(path, "late"))
		verdict.flags = WIRE_VERDICT_KNOWN;
	answer_with(fixture, verdict);
}

static void answer_all(struct fixture *fixture)
{
	while (fixture->tasks)
		answer(fixture);
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	if (fixture->scan)
		answer_all(fixture);
	full_scan_free(fixture->scan);
	forget_state(fixture);
	verdicts_free(fixture->verdicts);
	conf_free(fixture->conf);
	return nftw("tree", scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* --- a scan --- */

static void begin(struct fixture *fixture)
{
	const struct wire_engine_info info = {.loaded_at = 1,
					      .signatures = 123,
					      .set = SIGNATURES,
					      .engine = "1.4.6",
					      .versions = "daily.cvd 27450"};

	pace_init(&fixture->pace, fixture->conf->scan_cpu);
	fixture->scan = full_scan_new(fixture->directory, fixture->conf, &fixture->checkpoint,
				      &fixture->pace, fixture->verdicts, &owner, fixture);
	assert_non_null(fixture->scan);
	full_scan_set_engine(fixture->scan, &info);
}

/* Does one step, and what that waits for. Returns whether there are more. */
static bool go_on(struct fixture *fixture)
{
	uint64_t wait_us = 0;

	switch (full_scan_step(fixture->scan, &wait_us)) {
	case FULL_SCAN_GOES_ON:
		break;
	case FULL_SCAN_DONE:
		return false;
	case FULL_SCAN_WAITS:
	default:
		if (wait_us == UINT64_MAX)
			answer(fixture);
		else
			fake.now_us += wait_us;
	}
	return true;
}

/* Returns after how many steps everything was found. */
static unsigned go_to_the_end(struct fixture *fixture)
{
	unsigned n = 0;

	while (go_on(fixture))
		assert_true(n++ < 100000);
	assert_true(full_scan_is_done(fixture->scan));
	return n;
}

static void finish(struct fixture *fixture)
{
	assert_int_equal(full_scan_finish(fixture->scan), 0);
	fixture->scan = full_scan_free(fixture->scan);
}

static void pause_it(struct fixture *fixture)
{
	answer_all(fixture);
	assert_int_equal(full_scan_pause(fixture->scan), 0);
	fixture->scan = full_scan_free(fixture->scan);
}

/* Another process has only what is on the disk. */
static void restart(struct fixture *fixture)
{
	free(fixture->checkpoint.position);
	assert_int_equal(checkpoint_read(fixture->directory, &fixture->checkpoint), 0);
}

static void scan_all(struct fixture *fixture)
{
	begin(fixture);
	(void)go_to_the_end(fixture);
	finish(fixture);
}

/* --- the report --- */

static json_t *load_report(void)
{
	DIR *directory = opendir("state/reports");
	const struct dirent *entry;
	char path[300] = "";
	json_error_t error;
	json_t *json;

	assert_non_null(directory);
	while ((entry = readdir(directory)))
		if (*entry->d_name != '.') {
			/* There is one only. */
			assert_string_equal(path, "");
			(void)snprintf(path, sizeof(path), "state/reports/%s", entry->d_name);
		}
	closedir(directory);
	json = json_load_file(path, 0, &error);
	if (!json)
		fail_msg("%s:%d: %s", path, error.line, error.text);
	return json;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Puts lines in the order of the alphabet. */
static char *sort_lines(const char *text)
{
	char *copy = strdup(text), *sorted = calloc(1, strlen(text) + 1), *rest = NULL, *lines[64];
	size_t n = 0;

	assert_true(copy && sorted);
	for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		assert_true(n < N_ELEMENTS(lines));
		lines[n++] = line;
	}
	qsort(lines, n, sizeof(*lines), compare);
	for (size_t i = 0; i < n; i++)
		(void)strcat(strcat(sorted, lines[i]), "\n");
	free(copy);
	return sorted;
}

/* The events of a report, one on a line, without when they happened, and without what each session
 * begins with. */
static char *list_events(void)
{
	json_t *report = load_report(), *events = json_object_get(report, "events"), *event;
	char text[32768] = "", *line;
	size_t i;

	json_array_foreach(events, i, event)
	{
		const char *type = json_string_value(json_object_get(event, "type"));

		if (!type || !strcmp(type, "signatures"))
			continue;
		assert_int_equal(json_object_del(event, "time"), 0);
		line = json_dumps(event, JSON_COMPACT);
		assert_true(strlen(text) + strlen(line) + 2 < sizeof(text));
		(void)strcat(strcat(text, line), "\n");
		free(line);
	}
	json_decref(report);
	return sort_lines(text);
}

static void assert_events(const char *expected)
{
	char *events = list_events(), *sorted = sort_lines(expected);

	assert_string_equal(events, sorted);
	free(events);
	free(sorted);
}

static void assert_summary(const json_t *summary, const char *key, json_int_t value)
{
	const json_t *there = json_object_get(summary, key);

	if (!json_is_integer(there) || json_integer_value(there) != value)
		fail_msg("%s: %lld, not %lld", key, (long long)json_integer_value(there),
			 (long long)value);
}

/* --- trees --- */

static void make_file(const char *name, size_t size)
{
	char content[4096];

	memset(content, 'x', sizeof(content));
	assert_true(size <= sizeof(content));
	scratch_write(name, content, size);
}

static void know(struct fixture *fixture, const char *name)
{
	struct verdict_tag tag;

	assert_int_equal(
		verdicts_tag(fixture->verdicts, AT_FDCWD, name, SIGNATURES, &tag, NULL, NULL), 0);
	verdicts_add(fixture->verdicts, &tag);
}

/* Something of everything but hard links. */
static void make_tree(struct fixture *fixture)
{
	assert_int_equal(mkdir("tree/sub", 0755), 0);
	assert_int_equal(mkdir("tree/sub/deep", 0755), 0);
	assert_int_equal(mkdir("tree/void", 0755), 0);
	make_file("tree/a", 1);
	make_file("tree/empty", 0);
	make_file("tree/infected", 10);
	make_file("tree/known", 100);
	know(fixture, "tree/known");
	make_file("tree/late", 1000);
	make_file("tree/sub/encrypted", 2);
	make_file("tree/sub/broken", 20);
	make_file("tree/sub/strange", 200);
	make_file("tree/sub/excluded", 2000);
	set_path(fixture, "exclude", "tree/sub/excluded");
	assert_int_equal(mkfifo("tree/sub/fifo", 0600), 0);
	assert_int_equal(symlink("a", "tree/sub/link"), 0);
	make_file("tree/sub/deep/b\"\n", 3);
	set(fixture, "path", "/proc");
	set_path(fixture, "path", "nowhere");
}

/* --- tests --- */

static void everything_is_counted(void **state)
{
	struct fixture *fixture = *state;
	const struct checkpoint *checkpoint = &fixture->checkpoint;
	const struct control_full_scan_counts *counts = &checkpoint->last;

	make_tree(fixture);
	fixture->cpu_us = 600;
	begin(fixture);
	fake.now_us += 90 * SECOND;
	(void)go_to_the_end(fixture);
	finish(fixture);
	assert_int_equal(counts->began, BEGAN);
	assert_int_equal(counts->ended, BEGAN + 90);
	assert_int_equal(counts->directories, 4);
	assert_int_equal(counts->files, 9);
	assert_int_equal(counts->bytes, 1336);
	assert_int_equal(counts->known, 2);
	assert_int_equal(counts->scanned, 6);
	assert_int_equal(counts->bytes_scanned, 236);
	assert_int_equal(counts->infected, 1);
	assert_int_equal(counts->incomplete, 1);
	assert_int_equal(counts->failed, 1);
	assert_int_equal(counts->unreadable, 1); /* what does not exist */
	assert_int_equal(counts->busy_ms, 3);	 /* of six, 3.6 */
	/* excluded, the FIFO, the link, /proc */
	assert_int_equal(counts->skipped, 4);
	assert_int_equal(checkpoint->skips.by_reason[WALK_EXCLUDED], 1);
	assert_int_equal(checkpoint->skips.by_reason[WALK_SPECIAL], 1);
	assert_int_equal(checkpoint->skips.by_reason[WALK_SYMLINK], 1);
	assert_int_equal(checkpoint->skips.by_reason[WALK_KERNEL], 1);
	assert_int_equal(checkpoint->skips.by_reason[WALK_UNREADABLE], 1);
	assert_int_equal(checkpoint->skips.unlisted, 0);

	assert_false(checkpoint->is_unfinished);
	assert_null(checkpoint->position);
	/* and that is on the disk */
	restart(fixture);
	assert_false(checkpoint->is_unfinished);
	assert_int_equal(counts->files, 9);
}

static void the_report_says_what_happened(void **state)
{
	struct fixture *fixture = *state;
	char expected[8192];
	json_t *report, *summary, *event;

	make_tree(fixture);
	scan_all(fixture);
	(void)snprintf(expected, sizeof(expected),
		       "{\"type\":\"failed\",\"path\":\"%1$s/tree/sub/broken\",\"reason\":\"its "
		       "worker died\"}\n"
		       "{\"type\":\"found\",\"path\":\"%1$s/tree/"
		       "infected\",\"signature\":\"Eicar-Test\"}\n"
		       "{\"type\":\"incomplete\",\"path\":\"%1$s/tree/sub/"
		       "encrypted\",\"reason\":\"it is encrypted\"}\n"
		       "{\"type\":\"skipped\",\"path\":\"/"
		       "proc\",\"reason\":\"kernel\",\"filesystem\":\"proc\"}\n"
		       "{\"type\":\"skipped\",\"path\":\"%1$s/"
		       "nowhere\",\"reason\":\"unreadable\",\"error\":\"%2$s\"}\n"
		       "{\"type\":\"skipped\",\"path\":\"%1$s/tree/sub/"
		       "excluded\",\"reason\":\"excluded\",\"rule\":\"%1$s/tree/sub/excluded\"}\n"
		       "{\"type\":\"warning\",\"path\":\"%1$s/tree/sub/strange\",\"reason\":\"it "
		       "is strange\"}\n",
		       scratch, strerror(ENOENT));
	assert_events(expected);

	report = load_report();
	event = json_array_get(json_object_get(report, "events"), 0);
	assert_string_equal(json_string_value(json_object_get(event, "type")), "signatures");
	assert_string_equal(json_string_value(json_object_get(event, "versions")),
			    "daily.cvd 27450");
	assert_summary(event, "known", 123);
	assert_summary(event, "time", BEGAN);
	summary = json_object_get(report, "summary");
	assert_string_equal(json_string_value(json_object_get(summary, "state")), "complete");
	assert_string_equal(json_string_value(json_object_get(summary, "engine")), "1.4.6");
	assert_int_equal(json_array_size(json_object_get(summary, "paths")), 3);
	assert_summary(summary, "began", BEGAN);
	assert_summary(summary, "sessions", 1);
	assert_summary(summary, "files", 9);
	assert_summary(summary, "bytes", 1336);
	assert_summary(summary, "known", 2);
	assert_summary(summary, "scanned", 6);
	assert_summary(summary, "infected", 1);
	assert_summary(summary, "known_signatures", 123);
	assert_summary(json_object_get(summary, "skipped"), "kernel", 1);
	assert_summary(json_object_get(summary, "skipped"), "special", 1);
	assert_null(json_object_get(json_object_get(summary, "skipped"), "remote"));
	json_decref(report);
}

static void a_file_with_several_links_is_scanned_once(void **state)
{
	struct fixture *fixture = *state;

	make_file("tree/a", 5);
	assert_int_equal(link("tree/a", "tree/b"), 0);
	assert_int_equal(link("tree/a", "tree/c"), 0);
	scan_all(fixture);
	assert_int_equal(fixture->n_sent, 1);
	assert_int_equal(fixture->checkpoint.last.files, 1);
	assert_int_equal(fixture->checkpoint.skips.by_reason[WALK_LINK], 2);
	assert_events("");
}

static void what_cannot_be_opened_is_told(void **state)
{
	struct fixture *fixture = *state;
	char expected[PATH_MAX + 256];
	int fd;

	(void)signal(SIGIO, SIG_IGN); /* tells the holder of a lease */
	make_file("tree/leased", 5);
	fd = open("tree/leased", O_RDWR | O_CLOEXEC);
	if (fcntl(fd, F_SETLEASE, F_WRLCK) < 0) {
		close(fd);
		print_message("skipped: this filesystem has no leases\n");
		skip();
	}
	scan_all(fixture);
	close(fd);
	assert_int_equal(fixture->checkpoint.last.files, 0);
	assert_int_equal(fixture->checkpoint.last.unreadable, 1);
	assert_int_equal(fixture->checkpoint.last.skipped, 0);
	(void)snprintf(expected, sizeof(expected),
		       "{\"type\":\"skipped\",\"path\":\"%s/tree/"
		       "leased\",\"reason\":\"unreadable\",\"error\":\"somebody holds a "
		       "lease on it\"}\n",
		       scratch);
	assert_events(expected);
}

static void known_files_are_not_sent(void **state)
{
	struct fixture *fixture = *state;

	make_file("tree/a", 5);
	make_file("tree/b", 5);
	know(fixture, "tree/a");
	scan_all(fixture);
	assert_int_equal(fixture->n_sent, 1);
	assert_false(fixture->afresh);
	assert_int_equal(fixture->checkpoint.last.known, 1);
	assert_int_equal(fixture->checkpoint.last.bytes, 10);

	/* one that was changed is another */
	make_file("tree/a", 6);
	scan_all(fixture);
	assert_int_equal(fixture->n_sent, 3);
}

static void afresh_all_are_sent(void **state)
{
	struct fixture *fixture = *state;

	make_file("tree/a", 5);
	make_file("tree/b", 5);
	know(fixture, "tree/a");
	fixture->checkpoint.afresh = true;
	begin(fixture);
	while (fixture->n_sent < 1)
		assert_true(go_on(fixture));
	/* it goes on as it was begun */
	pause_it(fixture);
	restart(fixture);
	begin(fixture);
	(void)go_to_the_end(fixture);
	finish(fixture);
	assert_int_equal(fixture->n_sent, 2);
	assert_true(fixture->afresh);
	assert_int_equal(fixture->checkpoint.last.known, 0);
	/* but the next does not */
	assert_false(fixture->checkpoint.afresh);
}

static void no_more_is_under_way_than_can_be_used(void **state)
{
	static const struct {
		long processors;
		const char *cpu;
		unsigned most;
	} cases[] = {{1, "100", 2}, {4, "100", 8}, {4, "50", 4}, {8, "25", 4},
		     {1, "10", 1},  {4, "20", 1},  {0, "100", 2}};
	struct fixture *fixture = *state;
	char name[32];
	uint64_t wait_us;

	for (unsigned i = 0; i < 20; i++) {
		(void)snprintf(name, sizeof(name), "tree/%u", i);
		make_file(name, 5);
	}
	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		fake.processors = cases[i].processors;
		set(fixture, "cpu", cases[i].cpu);
		fixture->most_tasks = 0;
		begin(fixture);
		/* whatever comes back, and if nothing does */
		while (full_scan_step(fixture->scan, &wait_us) == FULL_SCAN_GOES_ON)
			;
		assert_int_equal(wait_us, UINT64_MAX);
		assert_int_equal(fixture->n_tasks, cases[i].most);
		(void)go_to_the_end(fixture);
		assert_int_equal(fixture->most_tasks, cases[i].most);
		finish(fixture);
		assert_int_equal(fixture->checkpoint.last.scanned, 20);
	}
}

/* --- the pace --- */

/* Returns how long it waits before it goes on; 0: it does. */
static uint64_t pace(struct fixture *fixture)
{
	uint64_t wait_us;

	return full_scan_step(fixture->scan, &wait_us) == FULL_SCAN_WAITS ? wait_us : 0;
}

static void begin_at_pace(struct fixture *fixture, const char *cpu)
{
	for (char name[] = "tree/a"; name[5] <= 'j'; name[5]++)
		make_file(name, 5);
	fake.processors = 1;
	set(fixture, "cpu", cpu);
	begin(fixture);
	/* until all that may be is under way */
	while (pace(fixture) != UINT64_MAX)
		assert_true(fixture->n_tasks <= 2);
}

static void it_takes_no_more_than_its_share(void **state)
{
	struct fixture *fixture = *state;

	begin_at_pace(fixture, "10");
	fixture->cpu_us = SECOND;
	answer(fixture);
	assert_in_range(pace(fixture), 9 * SECOND, 10 * SECOND + 1);
	fake.now_us += 9 * SECOND;
	assert_in_range(pace(fixture), SECOND - 10, SECOND + 1);
	fake.now_us += SECOND + 1;
	assert_int_equal(pace(fixture), 0);
}

/* Looking for files takes time, too. */
static void its_own_time_counts(void **state)
{
	struct fixture *fixture = *state;

	begin_at_pace(fixture, "50");
	answer(fixture);
	fake.own_cpu_us += SECOND;
	assert_in_range(pace(fixture), 2 * SECOND - 10, 2 * SECOND + 1);
	fake.now_us += 2 * SECOND + 1;
	assert_int_equal(pace(fixture), 0);
}

static void what_was_not_used_is_not_saved_up_for_ever(void **state)
{
	struct fixture *fixture = *state;

	begin_at_pace(fixture, "10");
	fake.now_us += 20 * SECOND;
	answer(fixture);
	assert_int_equal(pace(fixture), 0);
	/* A second's share was saved: a tenth of a second. */
	while (pace(fixture) != UINT64_MAX)
		assert_true(fixture->n_tasks <= 1);
	fixture->cpu_us = SECOND / 2;
	answer(fixture);
	assert_in_range(pace(fixture), 4 * SECOND - 10, 4 * SECOND + 1);
}

static void with_all_processors_it_never_waits(void **state)
{
	struct fixture *fixture = *state;

	begin_at_pace(fixture, "100");
	fixture->cpu_us = 1000 * SECOND;
	answer(fixture);
	assert_int_equal(pace(fixture), 0);
}

/* --- over several sessions --- */

struct outcome {
	struct control_full_scan_counts counts;
	struct scan_skips skips;
	char *events;
};

static struct outcome outcome_of(const struct fixture *fixture)
{
	return (struct outcome){.counts = fixture->checkpoint.last,
				.skips = fixture->checkpoint.skips,
				.events = list_events()};
}

static void assert_outcome(const struct fixture *fixture, const struct outcome *expected)
{
	struct outcome outcome = outcome_of(fixture);

	outcome.counts.began = expected->counts.began;
	outcome.counts.ended = expected->counts.ended;
	assert_memory_equal(&outcome.counts, &expected->counts, sizeof(outcome.counts));
	assert_memory_equal(&outcome.skips, &expected->skips, sizeof(outcome.skips));
	assert_string_equal(outcome.events, expected->events);
	free(outcome.events);
}

/* Forgets all, and begins as the scheduler does. */
static void begin_from_nothing(struct fixture *fixture)
{
	forget_state(fixture);
	assert_true(make_state_directory(fixture));
	begin(fixture);
	assert_int_equal(checkpoint_write(fixture->directory, &fixture->checkpoint), 0);
}

static void wherever_it_is_paused_it_comes_to_the_same(void **state)
{
	struct fixture *fixture = *state;
	struct outcome expected;
	unsigned n_steps, n_paused = 0;

	make_tree(fixture);
	begin(fixture);
	n_steps = go_to_the_end(fixture);
	finish(fixture);
	expected = outcome_of(fixture);

	for (unsigned at = 0; at < n_steps; at++) {
		begin_from_nothing(fixture);
		for (unsigned i = 0; i < at; i++)
			assert_true(go_on(fixture));
		answer_all(fixture);
		if (!full_scan_is_done(fixture->scan)) {
			pause_it(fixture);
			restart(fixture);
			assert_true(fixture->checkpoint.is_unfinished);
			begin(fixture);
			n_paused++;
			assert_int_equal(fixture->checkpoint.sessions, 2);
		}
		(void)go_to_the_end(fixture);
		finish(fixture);
		assert_outcome(fixture, &expected);
	}
	assert_true(n_paused > 15);
	free(expected.events);
}

static void paused_at_each_file_it_comes_to_the_same(void **state)
{
	struct fixture *fixture = *state;
	struct outcome expected;
	unsigned n_sessions = 1;

	make_tree(fixture);
	scan_all(fixture);
	expected = outcome_of(fixture);
	begin_from_nothing(fixture);
	while (go_on(fixture) && (answer_all(fixture), !full_scan_is_done(fixture->scan))) {
		pause_it(fixture);
		restart(fixture);
		begin(fixture);
		n_sessions++;
	}
	finish(fixture);
	assert_outcome(fixture, &expected);
	assert_int_equal(fixture->checkpoint.sessions, n_sessions);
	assert_true(n_sessions > 15);
	free(expected.events);
}

/* It notes where it is from time to time; what came after that comes again. */
static void wherever_it_is_killed_it_comes_to_the_same(void **state)
{
	struct fixture *fixture = *state;
	struct outcome expected;
	unsigned n_steps, n_noted = 0;

	make_tree(fixture);
	begin(fixture);
	n_steps = go_to_the_end(fixture);
	finish(fixture);
	expected = outcome_of(fixture);

	for (unsigned at = 0; at < n_steps; at++) {
		begin_from_nothing(fixture);
		for (unsigned i = 0; i < at; i++)
			assert_true(go_on(fixture));
		fake.now_us += 31 * SECOND;
		for (unsigned i = 0; i < 8; i++)
			(void)go_on(fixture);
		answer_all(fixture);
		fixture->scan = full_scan_free(fixture->scan);
		restart(fixture);
		n_noted += fixture->checkpoint.report_end != 0;
		begin(fixture);
		(void)go_to_the_end(fixture);
		finish(fixture);
		assert_outcome(fixture, &expected);
	}
	assert_true(n_noted > 10);
	free(expected.events);
}

static void it_is_noted_only_when_nothing_is_under_way(void **state)
{
	struct fixture *fixture = *state;
	uint64_t wait_us;

	begin_at_pace(fixture, "100");
	assert_int_equal(fixture->n_tasks, 2);
	answer(fixture);
	fake.now_us += 31 * SECOND;
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(full_scan_step(fixture->scan, &wait_us), FULL_SCAN_WAITS);
	assert_int_equal(wait_us, UINT64_MAX);
	assert_int_equal(fixture->n_tasks, 1);
	assert_int_equal(access("state/checkpoint", F_OK), -1);
	answer(fixture);
	assert_int_equal(full_scan_step(fixture->scan, &wait_us), FULL_SCAN_GOES_ON);
	assert_int_equal(access("state/checkpoint", F_OK), 0);
}

static void what_cannot_be_noted_is_said_once(void **state)
{
	struct fixture *fixture = *state;

	begin_at_pace(fixture, "100");
	assert_int_equal(mkdir("state/checkpoint.new", 0700), 0);
	for (unsigned i = 0; i < 3; i++) {
		answer_all(fixture);
		fake.now_us += 31 * SECOND;
		assert_true(go_on(fixture));
		assert_int_equal(fixture->n_logged, 1);
	}
	assert_non_null(strstr(fixture->logged, strerror(EISDIR)));
	answer_all(fixture);
	assert_int_equal(full_scan_pause(fixture->scan), -EISDIR);
	/* The scan goes on. */
	assert_int_equal(rmdir("state/checkpoint.new"), 0);
	(void)go_to_the_end(fixture);
	finish(fixture);
	assert_int_equal(fixture->checkpoint.last.files, 10);
}

/* What came back without an engine, and all after what was noted last, comes again. */
static void without_an_engine_it_goes_back(void **state)
{
	struct fixture *fixture = *state;
	struct wire_verdict nobody = wire_verdict_make(VERDICT_FAILED, "there is no engine");
	struct outcome expected;
	uint64_t wait_us;
	unsigned n_steps;

	nobody.flags = WIRE_VERDICT_NO_ENGINE;
	make_tree(fixture);
	begin(fixture);
	n_steps = go_to_the_end(fixture);
	finish(fixture);
	expected = outcome_of(fixture);

	begin_from_nothing(fixture);
	for (unsigned i = 0; i < n_steps / 2; i++)
		assert_true(go_on(fixture));
	pause_it(fixture);
	restart(fixture);
	begin(fixture);
	while (fixture->n_tasks < 2)
		assert_int_equal(full_scan_step(fixture->scan, &wait_us), FULL_SCAN_GOES_ON);
	answer_with(fixture, nobody);
	/* the others come back first */
	assert_int_equal(full_scan_step(fixture->scan, &wait_us), FULL_SCAN_WAITS);
	assert_int_equal(wait_us, UINT64_MAX);
	answer_all(fixture);
	assert_int_equal(full_scan_step(fixture->scan, &wait_us), FULL_SCAN_MUST_PAUSE);
	assert_int_equal(full_scan_pause(fixture->scan), -ENOTCONN);
	fixture->scan = full_scan_free(fixture->scan);
	restart(fixture);
	begin(fixture);
	(void)go_to_the_end(fixture);
	finish(fixture);
	assert_outcome(fixture, &expected);
	free(expected.events);
}

/* All was found, but not all was scanned. */
static void without_an_engine_it_is_not_done(void **state)
{
	struct fixture *fixture = *state;
	struct wire_verdict nobody = wire_verdict_make(VERDICT_FAILED, "there is no engine");
	char text[4096] = "";
	uint64_t wait_us;
	int fd;

	nobody.flags = WIRE_VERDICT_NO_ENGINE;
	make_file("tree/a", 5);
	begin(fixture);
	while (full_scan_step(fixture->scan, &wait_us) == FULL_SCAN_GOES_ON)
		;
	answer_with(fixture, nobody);
	assert_false(full_scan_is_done(fixture->scan));
	assert_int_equal(full_scan_step(fixture->scan, &wait_us), FULL_SCAN_MUST_PAUSE);
	assert_int_equal(fixture->checkpoint.now.failed, 0);
	assert_int_equal(fixture->checkpoint.now.scanned, 0);
	fixture->scan = full_scan_free(fixture->scan);
	fd = open("state/report", O_RDONLY | O_CLOEXEC);
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	assert_null(strstr(text, "there is no engine"));
	close(fd);
}

static void begin_and_pause(struct fixture *fixture)
{
	make_tree(fixture);
	begin(fixture);
	for (unsigned i = 0; i < 10; i++)
		assert_true(go_on(fixture));
	pause_it(fixture);
	restart(fixture);
	fixture->checkpoint.last_slot = 77;
	fixture->checkpoint.last.files = 88;
}

static void assert_begun_anew(struct fixture *fixture)
{
	const struct checkpoint *checkpoint = &fixture->checkpoint;

	assert_int_equal(checkpoint->sessions, 1);
	assert_int_equal(checkpoint->now.files, 0);
	assert_int_equal(checkpoint->last_slot, 77);
	assert_int_equal(checkpoint->last.files, 88);
	assert_true(checkpoint->is_unfinished);
	(void)go_to_the_end(fixture);
	finish(fixture);
}

static void with_other_rules_it_begins_anew(void **state)
{
	static const struct {
		const char *key, *value;
	} changes[] = {{"cross-filesystems", "no"},
		       {"remote-filesystems", "yes"},
		       {"exclude", "/nowhere"},
		       {"path", "/nowhere/else"}};
	struct fixture *fixture = *state;

	begin_and_pause(fixture);
	for (size_t i = 0; i < N_ELEMENTS(changes); i++) {
		set(fixture, changes[i].key, changes[i].value);
		begin(fixture);
		assert_int_equal(fixture->n_logged, i + 1);
		assert_non_null(strstr(fixture->logged, "has changed: beginning anew"));
		assert_int_equal(fixture->checkpoint.sessions, 1);
		assert_int_equal(fixture->checkpoint.now.files, 0);
		for (unsigned n = 0; n < 10; n++)
			assert_true(go_on(fixture));
		pause_it(fixture);
	}
	/* with other ones that change nothing of that it goes on */
	set(fixture, "cpu", "50");
	begin(fixture);
	assert_int_equal(fixture->checkpoint.sessions, 2);
}

static void assert_abandoned(void)
{
	json_t *report = load_report(), *summary = json_object_get(report, "summary");
	char *events = list_events();

	assert_string_equal(json_string_value(json_object_get(summary, "state")), "abandoned");
	assert_summary(summary, "infected", 1);
	assert_summary(summary, "began", BEGAN);
	assert_summary(summary, "ended", BEGAN + 5);
	assert_non_null(strstr(events, "/tree/infected"));
	free(events);
	json_decref(report);
}

/* What was found so far is not lost with it. */
static void one_that_begins_anew_leaves_a_report(void **state)
{
	struct fixture *fixture = *state;

	make_file("tree/infected", 5);
	begin(fixture);
	while (!fixture->checkpoint.now.infected)
		assert_true(go_on(fixture));
	pause_it(fixture);
	restart(fixture);
	fake.now_us += 5 * SECOND;
	set(fixture, "exclude", "/nowhere");
	begin(fixture);
	assert_abandoned();
	assert_int_equal(fixture->checkpoint.now.infected, 0);
}

static void one_that_is_abandoned_leaves_a_report(void **state)
{
	struct fixture *fixture = *state;

	/* there is none */
	full_scan_abandon(fixture->directory, fixture->conf, &fixture->checkpoint);
	make_file("tree/infected", 5);
	begin(fixture);
	while (!fixture->checkpoint.now.infected)
		assert_true(go_on(fixture));
	pause_it(fixture);
	fake.now_us += 5 * SECOND;
	full_scan_abandon(fixture->directory, fixture->conf, &fixture->checkpoint);
	assert_abandoned();
	assert_false(fixture->checkpoint.is_unfinished);
	begin(fixture);
	assert_int_equal(fixture->checkpoint.sessions, 1);
	/* no second one is made of nothing */
	full_scan_abandon(fixture->directory, fixture->conf, &fixture->checkpoint);
	assert_abandoned();
}

static void what_was_excluded_is_found_when_it_begins_anew(void **state)
{
	struct fixture *fixture = *state;

	begin_and_pause(fixture);
	free(fixture->conf->scan_exclude.entries[0].text);
	fixture->conf->scan_exclude.entries[0].text = strdup("/nowhere");
	begin(fixture);
	assert_begun_anew(fixture);
	assert_int_equal(fixture->checkpoint.last.files, 10);
}

static void without_its_report_it_begins_anew(void **state)
{
	struct fixture *fixture = *state;

	begin_and_pause(fixture);
	assert_int_equal(unlink("state/report"), 0);
	begin(fixture);
	assert_int_equal(fixture->n_logged, 1);
	assert_non_null(strstr(fixture->logged, "is lost"));
	assert_begun_anew(fixture);
	assert_int_equal(fixture->checkpoint.last.files, 9);
	assert_int_equal(fixture->checkpoint.last.infected, 1);
}

static void without_a_directory_it_cannot_begin(void **state)
{
	struct fixture *fixture = *state;
	unsigned fds = unit_count_fds();

	errno = 0;
	assert_null(full_scan_new(-1, fixture->conf, &fixture->checkpoint, &fixture->pace,
				  fixture->verdicts, &owner, fixture));
	assert_int_equal(errno, EBADF);
	assert_int_equal(unit_count_fds(), fds);
	assert_null(full_scan_free(NULL));
}

static void new_signatures_are_noted_in_the_report(void **state)
{
	struct wire_engine_info info = {
		.loaded_at = 2, .set = SIGNATURES, .versions = "daily.cvd 27451"};
	struct fixture *fixture = *state;
	json_t *report, *events;

	make_file("tree/a", 5);
	begin(fixture);
	/* the same, loaded again, and others */
	full_scan_set_engine(fixture->scan, &info);
	info.set++;
	full_scan_set_engine(fixture->scan, &info);
	/* under which nothing is known yet */
	know(fixture, "tree/a");
	(void)go_to_the_end(fixture);
	finish(fixture);
	assert_int_equal(fixture->n_sent, 1);

	report = load_report();
	events = json_object_get(report, "events");
	assert_int_equal(json_array_size(events), 3); /* the last is empty */
	assert_string_equal(
		json_string_value(json_object_get(json_array_get(events, 1), "versions")),
		"daily.cvd 27451");
	json_decref(report);
}

/* In a report that is large already only findings are listed. */
static void what_is_too_much_is_counted_only(void **state)
{
	struct fixture *fixture = *state;
	char tail[4096] = "";
	int fd;

	make_tree(fixture);
	begin(fixture);
	pause_it(fixture);
	fd = open("state/report", O_RDWR | O_CLOEXEC);
	assert_int_equal(ftruncate(fd, (off_t)SCAN_REPORT_LIST_MAX), 0);
	fixture->checkpoint.report_end = SCAN_REPORT_LIST_MAX;
	begin(fixture);
	(void)go_to_the_end(fixture);
	finish(fixture);
	/* all but the finding */
	assert_int_equal(fixture->checkpoint.skips.unlisted, 6);
	assert_true(pread(fd, tail, sizeof(tail) - 1, (off_t)SCAN_REPORT_LIST_MAX) > 0);
	assert_non_null(strstr(tail, "/tree/infected"));
	assert_null(strstr(tail, "/tree/sub/encrypted"));
	assert_null(strstr(tail, "/tree/sub/strange"));
	assert_null(strstr(tail, "/tree/sub/excluded"));
	assert_non_null(strstr(tail, "\"unlisted\":6"));
	close(fd);
}

static void a_report_that_cannot_be_written_is_told(void **state)
{
	struct fixture *fixture = *state;

	make_file("tree/a", 5);
	begin(fixture);
	(void)go_to_the_end(fixture);
	assert_int_equal(rmdir("state/reports"), 0);
	assert_int_equal(full_scan_finish(fixture->scan), -ENOENT);
	assert_non_null(strstr(fixture->logged, "cannot be written"));
	assert_int_equal(fixture->checkpoint.last.files, 1);
	fixture->scan = full_scan_free(fixture->scan);
}

static void the_end_is_logged(void **state)
{
	struct fixture *fixture = *state;
	char expected[32];

	make_file("tree/infected", 5);
	scan_all(fixture);
	assert_int_equal(fixture->n_logged, 1);
	(void)snprintf(expected, sizeof(expected), "%d ", LOG_WARNING);
	assert_memory_equal(fixture->logged, expected, strlen(expected));
	assert_non_null(strstr(fixture->logged, "1 infected"));

	assert_int_equal(rename("tree/infected", "tree/clean"), 0);
	scan_all(fixture);
	(void)snprintf(expected, sizeof(expected), "%d ", LOG_NOTICE);
	assert_memory_equal(fixture->logged, expected, strlen(expected));
}

static void it_says_where_it_is(void **state)
{
	struct fixture *fixture = *state;
	char path[PATH_MAX + 16];

	make_file("tree/a", 5);
	begin(fixture);
	assert_string_equal(full_scan_where(fixture->scan), "");
	while (!fixture->n_sent)
		assert_true(go_on(fixture));
	(void)snprintf(path, sizeof(path), "%s/tree/a", scratch);
	assert_string_equal(full_scan_where(fixture->scan), path);
	assert_false(full_scan_is_done(fixture->scan));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(everything_is_counted),
		TEST(the_report_says_what_happened),
		TEST(a_file_with_several_links_is_scanned_once),
		TEST(what_cannot_be_opened_is_told),
		TEST(known_files_are_not_sent),
		TEST(afresh_all_are_sent),
		TEST(no_more_is_under_way_than_can_be_used),
		TEST(it_takes_no_more_than_its_share),
		TEST(its_own_time_counts),
		TEST(what_was_not_used_is_not_saved_up_for_ever),
		TEST(with_all_processors_it_never_waits),
		TEST(wherever_it_is_paused_it_comes_to_the_same),
		TEST(paused_at_each_file_it_comes_to_the_same),
		TEST(wherever_it_is_killed_it_comes_to_the_same),
		TEST(it_is_noted_only_when_nothing_is_under_way),
		TEST(what_cannot_be_noted_is_said_once),
		TEST(without_an_engine_it_goes_back),
		TEST(without_an_engine_it_is_not_done),
		TEST(with_other_rules_it_begins_anew),
		TEST(one_that_begins_anew_leaves_a_report),
		TEST(one_that_is_abandoned_leaves_a_report),
		TEST(what_was_excluded_is_found_when_it_begins_anew),
		TEST(without_its_report_it_begins_anew),
		TEST(without_a_directory_it_cannot_begin),
		TEST(new_signatures_are_noted_in_the_report),
		TEST(what_is_too_much_is_counted_only),
		TEST(a_report_that_cannot_be_written_is_told),
		TEST(the_end_is_logged),
		TEST(it_says_where_it_is),
	};

	if (setenv("TZ", "UTC", 1) < 0)
		return UNIT_SKIPPED;
	return cmocka_run_group_tests_name("full_scan", tests, scratch_setup, scratch_teardown);
}
