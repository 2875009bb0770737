/* SPDX-License-Identifier: GPL-2.0-only */
/* What is known of the bytes of files, who vouched for it, and when workers are replaced: see
 * gate_fixture.h. */
#include "gate_fixture.h"

/* Where times tell of each change, or nothing is remembered. */
static int setup(void **state)
{
	static struct fixture fixture;

	*state = &fixture;
	return fixture_init(&fixture);
}

static int teardown(void **state)
{
	fixture_deinit(*state);
	return 0;
}

static void begin(struct fixture *fixture)
{
	memory_or_skip(fixture);
	watch_scratch(fixture);
	start_engine(fixture);
}

/* The content that is told of by this letter; all files are of seven bytes. */
static struct content content(char letter)
{
	struct content content = {.size = 7, .set = 1};

	memset(content.digest, letter, sizeof(content.digest));
	return content;
}

static struct wire_verdict verdict_on(char letter, enum verdict verdict, uint32_t flags)
{
	const struct content it = content(letter);
	struct wire_verdict message = wire_verdict_make(verdict, "");

	message.flags = flags;
	memcpy(message.digest, it.digest, sizeof(message.digest));
	return message;
}

static void answer(struct fixture *fixture, unsigned i, char letter, enum verdict verdict,
		   uint32_t flags)
{
	answer_by(fixture, i, verdict_on(letter, verdict, flags));
}

static bool knows(const struct fixture *fixture, char letter)
{
	const struct content it = content(letter);

	return contents_has(fixture->gate.contents, &it);
}

/* Somebody opens a file, in which the worker i finds this. */
static void open_clean(struct fixture *fixture, const char *name, unsigned i, char letter)
{
	int fd = open_file(fixture, name);

	answer(fixture, i, letter, VERDICT_CLEAN, WIRE_VERDICT_HASHED);
	assert_answered(fd, true);
}

/* --- what is vouched for --- */

static void the_bytes_of_a_clean_file_are_known(void **state)
{
	struct fixture *fixture = *state;

	begin(fixture);
	assert_false(knows(fixture, 'a'));
	open_clean(fixture, "file", 0, 'a');
	assert_int_equal(fixture->workers[0].order.size, 7);
	assert_int_equal(fixture->workers[0].order.flags, 0);
	assert_true(knows(fixture, 'a'));
	assert_int_equal(contents_count(fixture->gate.contents), 1);
	assert_int_equal(fixture->gate.counters->same_content, 0);
}

static void no_other_verdict_is_vouched_for(void **state)
{
	struct fixture *fixture = *state;

	begin(fixture);
	for (enum verdict verdict = VERDICT_INFECTED; verdict < VERDICT_COUNT; verdict++) {
		scratch_write("third", "content", 7);
		(void)open_file(fixture, "third");
		answer(fixture, 0, 'a', verdict, WIRE_VERDICT_HASHED);
	}
	/* nor is one without a digest */
	(void)open_file(fixture, "other");
	answer(fixture, 0, 'b', VERDICT_CLEAN, 0);
	assert_int_equal(contents_count(fixture->gate.contents), 0);
}

/* Whoever had it open when it was hashed may have changed it for the scan, and back. */
static void a_file_that_had_a_writer_is_not_vouched_for(void **state)
{
	struct fixture *fixture = *state;
	int writer = open("file", O_WRONLY | O_CLOEXEC), fd;

	begin(fixture);
	fd = open_file(fixture, "file");
	assert_int_not_equal(scanned_by(fixture, 0), 0);
	close(writer);
	answer(fixture, 0, 'a', VERDICT_CLEAN, WIRE_VERDICT_HASHED);
	assert_answered(fd, true);
	assert_false(knows(fixture, 'a'));
}

static void a_file_that_has_a_writer_is_not_vouched_for(void **state)
{
	struct fixture *fixture = *state;
	int writer, fd;

	begin(fixture);
	fd = open_file(fixture, "file");
	assert_int_not_equal(scanned_by(fixture, 0), 0);
	writer = open("file", O_WRONLY | O_CLOEXEC);
	answer(fixture, 0, 'a', VERDICT_CLEAN, WIRE_VERDICT_HASHED);
	assert_answered(fd, true);
	close(writer);
	assert_false(knows(fixture, 'a'));
}

static void a_file_that_changed_is_vouched_for_when_it_was_scanned_as_it_is(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	begin(fixture);
	fd = open_file(fixture, "file");
	assert_int_not_equal(scanned_by(fixture, 0), 0);
	scratch_write("file", "CONTENT", 7);
	answer(fixture, 0, 'a', VERDICT_CLEAN, WIRE_VERDICT_HASHED);
	assert_held(fd);
	answer(fixture, 0, 'b', VERDICT_CLEAN, WIRE_VERDICT_HASHED);
	assert_answered(fd, true);
	assert_false(knows(fixture, 'a'));
	assert_true(knows(fixture, 'b'));
}

/* The kernel has told of it, and nobody has read that yet: verdicts come first. */
static void a_close_that_is_not_read_yet_counts(void **state)
{
	const struct fanotify_event_metadata closed = {
		.event_len = FAN_EVENT_METADATA_LEN,
		.vers = FANOTIFY_METADATA_VERSION,
		.metadata_len = FAN_EVENT_METADATA_LEN,
		.mask = FAN_CLOSE_WRITE,
		.fd = open("file", O_RDONLY | O_CLOEXEC),
		.pid = OPENER_PID,
	};
	struct fixture *fixture = *state;
	struct wire_verdict verdict = verdict_on('a', VERDICT_CLEAN, WIRE_VERDICT_HASHED);
	int fd;

	begin(fixture);
	fd = open_file(fixture, "file");
	assert_int_not_equal(scanned_by(fixture, 0), 0);
	verdict.id = fixture->workers[0].scan;
	fixture->workers[0].scan = 0;
	assert_int_equal(write(fake.kernel, &closed, sizeof(closed)), sizeof(closed));
	assert_int_equal(chan_send(fixture->workers[0].fd, &verdict.header, -1), 0);
	run(fixture);
	assert_answered(fd, true);
	assert_false(knows(fixture, 'a'));
	/* of another file it is no reason */
	scratch_write("file", "content", 7);
	open_clean(fixture, "file", 0, 'a');
	assert_true(knows(fixture, 'a'));
}

static void while_nothing_is_read_nothing_is_vouched_for(void **state)
{
	struct fixture *fixture = *state;
	struct wire_verdict verdict = verdict_on('a', VERDICT_CLEAN, WIRE_VERDICT_HASHED);
	int fd, other;

	begin(fixture);
	fd = open_file(fixture, "file");
	assert_int_not_equal(scanned_by(fixture, 0), 0);
	/* as when there is no room for another open */
	assert_true(sd_event_source_set_enabled(fixture->gate.sources[0], SD_EVENT_OFF) >= 0);
	other = open_file(fixture, "other");
	verdict.id = fixture->workers[0].scan;
	fixture->workers[0].scan = 0;
	fixture->gate.started = false;
	assert_int_equal(chan_send(fixture->workers[0].fd, &verdict.header, -1), 0);
	run(fixture);
	assert_answered(fd, true);
	assert_false(knows(fixture, 'a'));
	fixture->gate.started = true;
	assert_true(sd_event_source_set_enabled(fixture->gate.sources[0], SD_EVENT_ON) >= 0);
	run(fixture);
	assert_held(other);
	assert_true(knows(fixture, 'a'));
}

static void lost_events_take_what_was_not_settled(void **state)
{
	struct fixture *fixture = *state;
	const struct content it = content('a');

	begin(fixture);
	candidates_add(&fixture->gate.candidates, (struct file_id){1, 2}, &it, 3);
	overflow(fixture);
	assert_int_equal(fixture->gate.candidates.n, 0);
	assert_false(knows(fixture, 'a'));
}

static void where_no_close_is_seen_what_users_may_write_is_not_vouched_for(void **state)
{
	struct fixture *fixture = *state;

	memory_or_skip(fixture);
	start_engine(fixture);
	scratch_write("users", "content", 7);
	assert_int_equal(chown("users", 12345, 12345), 0);
	open_clean(fixture, "users", 0, 'a');
	assert_false(knows(fixture, 'a'));
	open_clean(fixture, "file", 0, 'b');
	assert_true(knows(fixture, 'b'));
	watch_scratch(fixture);
	open_clean(fixture, "users", 0, 'a');
	assert_true(knows(fixture, 'a'));
}

static void a_verdict_under_signatures_that_no_longer_count_is_not_vouched_for(void **state)
{
	const struct wire_engine_info info = {
		.header = WIRE_INIT(WIRE_ENGINE_INFO, struct wire_engine_info),
		.scan_deadline_ms = 60000,
		.set = 2,
		.workers = 1,
	};
	struct fixture *fixture = *state;
	struct content it = content('a');
	struct fake_worker old;
	int before;

	begin(fixture);
	(void)open_file(fixture, "file");
	assert_int_not_equal(scanned_by(fixture, 0), 0);
	/* the old engine stays until its scan is done */
	old = fixture->workers[0];
	before = fixture->engine;
	fixture->workers[0].fd = -1;
	fixture->engine = -1;
	start_engine_with(fixture, &info);
	fixture->workers[1] = old;
	answer(fixture, 1, 'a', VERDICT_CLEAN, WIRE_VERDICT_HASHED);
	it.set = 2;
	assert_false(contents_has(fixture->gate.contents, &it));
	assert_false(knows(fixture, 'a'));
	close(before);
}

/* --- what is known --- */

static void what_is_known_by_its_bytes_is_remembered_as_a_file(void **state)
{
	struct fixture *fixture = *state;
	const struct content it = content('a');
	uint64_t voucher;
	int fd;

	begin(fixture);
	open_clean(fixture, "file", 0, 'a');
	voucher = contents_voucher(fixture->gate.contents, &it);
	fd = open_file(fixture, "other");
	answer(fixture, 0, 'a', VERDICT_CLEAN, WIRE_VERDICT_HASHED | WIRE_VERDICT_SAME_CONTENT);
	assert_answered(fd, true);
	assert_answered(open_file(fixture, "other"), true);
	assert_int_equal(fixture->gate.counters->same_content, 1);
	assert_int_equal(fixture->gate.counters->verdicts[VERDICT_CLEAN], 2);
	assert_int_equal(contents_voucher(fixture->gate.contents, &it), voucher);
}

static void a_worker_that_knows_what_cannot_be_breaks_the_protocol(void **state)
{
	static const struct {
		enum verdict verdict;
		uint32_t flags;
	} cases[] = {
		{VERDICT_INFECTED, WIRE_VERDICT_HASHED | WIRE_VERDICT_SAME_CONTENT},
		{VERDICT_FAILED, WIRE_VERDICT_HASHED | WIRE_VERDICT_SAME_CONTENT},
		{VERDICT_CLEAN, WIRE_VERDICT_SAME_CONTENT},
	};
	struct fixture *fixture = *state;

	begin(fixture);
	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		int fd;

		scratch_write("file", "content", 7);
		fd = open_file(fixture, "file");
		answer(fixture, 0, 'a', cases[i].verdict, cases[i].flags);
		assert_held(fd);
		assert_int_equal(fixture->gate.counters->workers_lost, i + 1);
		lose(&fixture->workers[0].fd);
		start_worker(fixture);
		answer(fixture, 0, 'a', VERDICT_CLEAN, 0);
		assert_answered(fd, true);
	}
	assert_int_equal(contents_count(fixture->gate.contents), 0);
}

struct probe {
	struct asker asker;
	unsigned n_told;
	struct wire_verdict verdict;
};

static void probe_told(struct asker *asker, const struct wire_verdict *verdict)
{
	struct probe *probe = (struct probe *)(void *)asker;

	probe->n_told++;
	probe->verdict = *verdict;
}

static void ask_afresh(struct fixture *fixture, struct probe *probe, const char *name)
{
	const struct gate_order order = {
		.lane = LANE_DEMAND, .afresh = true, .asker = &probe->asker};
	int fd = open(name, O_RDONLY | O_CLOEXEC);

	*probe = (struct probe){.asker.told = probe_told};
	gate_scan(&fixture->gate, fd, &order);
	close(fd);
	run(fixture);
}

static void afresh_a_file_is_scanned_whatever_is_known_of_its_bytes(void **state)
{
	struct fixture *fixture = *state;
	struct probe probe;

	begin(fixture);
	ask_afresh(fixture, &probe, "file");
	assert_int_not_equal(scanned_by(fixture, 0), 0);
	assert_int_equal(fixture->workers[0].order.flags, WIRE_SCAN_AFRESH);
	answer(fixture, 0, 'a', VERDICT_CLEAN, WIRE_VERDICT_HASHED);
	assert_int_equal(probe.n_told, 1);
	/* whoever asked is not told what is in it */
	assert_int_equal(probe.verdict.flags, 0);
	assert_int_equal(probe.verdict.digest[0], 0);
	assert_true(knows(fixture, 'a'));

	/* and a worker that says that it has not done so has broken the protocol */
	ask_afresh(fixture, &probe, "file");
	answer(fixture, 0, 'a', VERDICT_CLEAN, WIRE_VERDICT_HASHED | WIRE_VERDICT_SAME_CONTENT);
	assert_int_equal(probe.n_told, 0);
	assert_int_equal(fixture->gate.counters->workers_lost, 1);
}

/* The worker had been given it before. */
static void who_joins_and_wants_it_scanned_has_it_scanned(void **state)
{
	struct fixture *fixture = *state;
	struct probe probe;
	int fd;

	begin(fixture);
	fd = open_file(fixture, "file");
	assert_int_not_equal(scanned_by(fixture, 0), 0);
	ask_afresh(fixture, &probe, "file");
	answer(fixture, 0, 'a', VERDICT_CLEAN, WIRE_VERDICT_HASHED | WIRE_VERDICT_SAME_CONTENT);
	assert_held(fd);
	assert_int_equal(probe.n_told, 0);
	assert_int_not_equal(scanned_by(fixture, 0), 0);
	assert_int_equal(fixture->workers[0].order.flags, WIRE_SCAN_AFRESH);
	answer(fixture, 0, 'a', VERDICT_INFECTED, WIRE_VERDICT_HASHED);
	assert_answered(fd, false);
	assert_int_equal(probe.verdict.verdict, VERDICT_INFECTED);
}

/* --- who vouched --- */

static void whoever_ends_takes_all_that_it_vouched_for(void **state)
{
	static const int signals[] = {SIGSEGV, SIGSYS, SIGKILL, 0};
	struct fixture *fixture = *state;

	begin(fixture);
	start_worker(fixture);
	for (size_t i = 0; i < N_ELEMENTS(signals); i++) {
		struct fake_worker last;

		contents_clear(fixture->gate.contents);
		scratch_write("file", "content", 7);
		scratch_write("other", "content", 7);
		open_clean(fixture, "file", 0, 'a');
		/* the first is busy, so that the other gets this one */
		scratch_write("third", "content", 7);
		(void)open_file(fixture, "third");
		assert_int_not_equal(scanned_by(fixture, 0), 0);
		open_clean(fixture, "other", 1, 'b');
		assert_true(knows(fixture, 'a') && knows(fixture, 'b'));
		lose_worker_by(fixture, 0, signals[i]);
		assert_false(knows(fixture, 'a'));
		assert_true(knows(fixture, 'b'));
		answer(fixture, 1, 'c', VERDICT_CLEAN, WIRE_VERDICT_HASHED);
		(void)recv(fake.kernel, &(struct fanotify_response){0},
			   sizeof(struct fanotify_response), MSG_DONTWAIT);
		/* the pool's first is now what is our second */
		last = fixture->workers[1];
		fixture->workers[0] = last;
		fixture->workers[1].fd = -1;
		start_worker(fixture);
	}
}

static void an_idle_worker_that_ends_takes_what_it_vouched_for(void **state)
{
	struct fixture *fixture = *state;

	begin(fixture);
	open_clean(fixture, "file", 0, 'a');
	drop_worker(fixture, 0);
	assert_false(knows(fixture, 'a'));
}

static void at_a_switch_of_engines_what_was_vouched_for_stays(void **state)
{
	struct fixture *fixture = *state;

	begin(fixture);
	open_clean(fixture, "file", 0, 'a');
	start_engine(fixture); /* the same signatures */
	assert_true(knows(fixture, 'a'));
}

/* What it vouched for before stays in doubt, so all of it goes. */
static void a_worker_that_is_found_to_have_lied_is_not_believed_any_more(void **state)
{
	struct fixture *fixture = *state;
	struct probe probe;

	log_set_sink(silent, NULL);
	begin(fixture);
	open_clean(fixture, "file", 0, 'a');
	open_clean(fixture, "other", 0, 'b');
	ask_afresh(fixture, &probe, "third");
	answer(fixture, 0, 'a', VERDICT_INCOMPLETE, WIRE_VERDICT_HASHED);
	assert_true(knows(fixture, 'a'));
	ask_afresh(fixture, &probe, "third");
	answer(fixture, 0, 'a', VERDICT_INFECTED, WIRE_VERDICT_HASHED);
	assert_false(knows(fixture, 'a'));
	assert_false(knows(fixture, 'b'));
	log_set_sink(NULL, NULL);
}

/* He makes a worker hash the one and scan the other. */
static void who_changes_a_file_makes_nobody_a_liar(void **state)
{
	struct fixture *fixture = *state;
	struct probe probe;

	begin(fixture);
	open_clean(fixture, "file", 0, 'a');
	ask_afresh(fixture, &probe, "other");
	assert_int_not_equal(scanned_by(fixture, 0), 0);
	scratch_write("other", "malware", 7);
	answer(fixture, 0, 'a', VERDICT_INFECTED, WIRE_VERDICT_HASHED);
	assert_int_equal(probe.verdict.verdict, VERDICT_INFECTED);
	assert_true(knows(fixture, 'a'));
}

/* --- the table --- */

static void an_engine_is_sent_the_table(void **state)
{
	const struct content it = content('a');
	struct fixture *fixture = *state;
	const struct contents *lent;

	begin(fixture);
	lent = contents_map(fixture->contents);
	assert_non_null(lent);
	open_clean(fixture, "file", 0, 'a');
	assert_true(contents_has(lent, &it));
	/* not again with the same size */
	assert_int_equal(gate_set_conf(&fixture->gate, fixture->conf), 0);
	assert_false(chan_readable(fixture->engine));
	assert_true(contents_has(lent, &it));

	/* whoever still has the old one finds nothing in it */
	conf_fixture_set(fixture->conf, "engine", "content-cache", "64K");
	assert_int_equal(gate_set_conf(&fixture->gate, fixture->conf), 0);
	assert_false(contents_has(lent, &it));
	contents_free(lent);
	assert_int_equal(contents_capacity(fixture->gate.contents), 1024);
	hear_of_contents(fixture);
	lent = contents_map(fixture->contents);
	assert_non_null(lent);
	assert_int_equal(contents_capacity(lent), 1024);
	contents_free(lent);
}

static void without_a_table_there_is_nothing_to_send(void **state)
{
	struct fixture *fixture = *state;

	begin(fixture);
	assert_int_not_equal(fixture->contents, -1);
	conf_fixture_set(fixture->conf, "engine", "content-cache", "0");
	assert_int_equal(gate_set_conf(&fixture->gate, fixture->conf), 0);
	hear_of_contents(fixture);
	assert_int_equal(fixture->contents, -1);
	assert_int_equal(fixture->estate->contents, -1);
	open_clean(fixture, "other", 0, 'a');
	start_engine(fixture);
	assert_int_equal(fixture->contents, -1);
}

/* --- workers are replaced --- */

static unsigned n_asked(struct fixture *fixture, int32_t *ret_pid)
{
	struct wire_worker message;
	unsigned n = 0;

	while (recv(fixture->engine, &message, sizeof(message), MSG_DONTWAIT) > 0)
		if (message.header.type == WIRE_REPLACE_WORKER) {
			*ret_pid = message.pid;
			n++;
		}
	return n;
}

static bool is_let_go(struct fixture *fixture, unsigned i)
{
	char byte;

	return recv(fixture->workers[i].fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
}

static void rewrite(struct fixture *fixture, const char *name)
{
	scratch_write(name, "content", 7);
	close_written(fixture, name);
}

/* Many can be had in little time. */
static void scan_fast(struct fixture *fixture, const char *name)
{
	struct wire_verdict verdict = verdict_on('b', VERDICT_CLEAN, WIRE_VERDICT_HASHED);
	struct probe probe = {.asker.told = probe_told};
	const struct gate_order order = {
		.lane = LANE_DEMAND, .afresh = true, .asker = &probe.asker};
	int fd = open(name, O_RDONLY | O_CLOEXEC);

	gate_scan(&fixture->gate, fd, &order);
	close(fd);
	assert_int_not_equal(scanned_by(fixture, 0), 0);
	verdict.id = fixture->workers[0].scan;
	fixture->workers[0].scan = 0;
	assert_int_equal(chan_send(fixture->workers[0].fd, &verdict.header, -1), 0);
	while (!probe.n_told)
		assert_true(sd_event_run(fixture->event, 0) >= 0);
}

static void after_many_scans_a_worker_is_let_go_once_there_is_another(void **state)
{
	struct fixture *fixture = *state;
	int32_t pid = 0;
	int fd;

	begin(fixture);
	(void)n_asked(fixture, &pid);
	open_clean(fixture, "file", 0, 'a');
	for (unsigned i = 1; i < POOL_SCANS_MAX; i++) {
		assert_int_equal(n_asked(fixture, &pid), 0);
		scan_fast(fixture, "other");
	}
	assert_int_equal(n_asked(fixture, &pid), 1);
	assert_int_equal(pid, fixture->workers[0].pid);
	assert_false(is_let_go(fixture, 0));

	/* meanwhile it goes on */
	rewrite(fixture, "other");
	open_clean(fixture, "other", 0, 'b');
	assert_int_equal(n_asked(fixture, &pid), 0);
	rewrite(fixture, "other");
	fd = open_file(fixture, "other");
	assert_int_not_equal(scanned_by(fixture, 0), 0);
	start_worker(fixture);
	assert_false(is_let_go(fixture, 0));
	answer(fixture, 0, 'b', VERDICT_CLEAN, WIRE_VERDICT_HASHED);
	assert_answered(fd, true);
	assert_true(is_let_go(fixture, 0));
	assert_int_equal(fixture->gate.counters->workers_replaced, 1);
	assert_int_equal(fixture->gate.counters->workers_lost, 0);
	assert_int_equal(pool_alive(fixture->gate.pool), 1);
	/* nothing that it vouched for is doubted for that */
	assert_true(knows(fixture, 'a'));
	open_clean(fixture, "third", 1, 'c');
	assert_int_equal(n_asked(fixture, &pid), 0);
}

static void a_worker_that_has_been_there_for_long_is_replaced_too(void **state)
{
	struct fixture *fixture = *state;
	int32_t pid = 0;

	begin(fixture);
	(void)n_asked(fixture, &pid);
	fake.now_us += POOL_AGE_MAX_US - 1;
	open_clean(fixture, "file", 0, 'a');
	assert_int_equal(n_asked(fixture, &pid), 0);
	fake.now_us++;
	open_clean(fixture, "other", 0, 'b');
	assert_int_equal(n_asked(fixture, &pid), 1);
	start_worker(fixture);
	assert_true(is_let_go(fixture, 0));
}

static void so_is_one_that_has_lied(void **state)
{
	struct fixture *fixture = *state;
	struct probe probe;
	int32_t pid = 0;

	log_set_sink(silent, NULL);
	begin(fixture);
	open_clean(fixture, "file", 0, 'a');
	ask_afresh(fixture, &probe, "third");
	assert_int_equal(n_asked(fixture, &pid), 0);
	answer(fixture, 0, 'a', VERDICT_INFECTED, WIRE_VERDICT_HASHED);
	open_clean(fixture, "other", 0, 'b');
	assert_int_equal(n_asked(fixture, &pid), 1);
	assert_int_equal(pid, fixture->workers[0].pid);
	log_set_sink(NULL, NULL);
}

/* The one that has come then is in its place all the same. */
static void one_that_ends_before_it_is_let_go_keeps_no_other_from_being_replaced(void **state)
{
	struct fixture *fixture = *state;
	int32_t pid = 0;

	begin(fixture);
	fake.now_us += POOL_AGE_MAX_US;
	open_clean(fixture, "file", 0, 'a');
	assert_int_equal(n_asked(fixture, &pid), 1);
	lose_worker(fixture, 0);
	start_worker(fixture);
	fake.now_us += POOL_AGE_MAX_US;
	open_clean(fixture, "other", 0, 'b');
	assert_int_equal(n_asked(fixture, &pid), 1);
	assert_int_equal(pid, fixture->workers[0].pid);
	assert_int_equal(fixture->gate.counters->workers_replaced, 0);
}

/* The engine has two workers, and both have been there for long. */
static void they_are_not_all_replaced_at_once(void **state)
{
	const struct wire_engine_info info = {
		.header = WIRE_INIT(WIRE_ENGINE_INFO, struct wire_engine_info),
		.scan_deadline_ms = 60000,
		.set = 1,
		.workers = 2,
	};
	struct fixture *fixture = *state;
	int32_t pid = 0;

	memory_or_skip(fixture);
	watch_scratch(fixture);
	start_engine_with(fixture, &info);
	start_worker(fixture);
	(void)n_asked(fixture, &pid);
	fake.now_us += POOL_AGE_MAX_US;
	open_clean(fixture, "file", 0, 'a');
	assert_int_equal(n_asked(fixture, &pid), 1);
	start_worker(fixture);
	assert_true(is_let_go(fixture, 0));
	assert_false(is_let_go(fixture, 1));
	assert_int_equal(pool_alive(fixture->gate.pool), 2);
	open_clean(fixture, "other", 1, 'b');
	assert_int_equal(n_asked(fixture, &pid), 1);
	assert_int_equal(pid, fixture->workers[1].pid);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_bytes_of_a_clean_file_are_known),
		TEST(no_other_verdict_is_vouched_for),
		TEST(a_file_that_had_a_writer_is_not_vouched_for),
		TEST(a_file_that_has_a_writer_is_not_vouched_for),
		TEST(a_file_that_changed_is_vouched_for_when_it_was_scanned_as_it_is),
		TEST(a_close_that_is_not_read_yet_counts),
		TEST(while_nothing_is_read_nothing_is_vouched_for),
		TEST(lost_events_take_what_was_not_settled),
		TEST(where_no_close_is_seen_what_users_may_write_is_not_vouched_for),
		TEST(a_verdict_under_signatures_that_no_longer_count_is_not_vouched_for),
		TEST(what_is_known_by_its_bytes_is_remembered_as_a_file),
		TEST(a_worker_that_knows_what_cannot_be_breaks_the_protocol),
		TEST(afresh_a_file_is_scanned_whatever_is_known_of_its_bytes),
		TEST(who_joins_and_wants_it_scanned_has_it_scanned),
		TEST(whoever_ends_takes_all_that_it_vouched_for),
		TEST(an_idle_worker_that_ends_takes_what_it_vouched_for),
		TEST(at_a_switch_of_engines_what_was_vouched_for_stays),
		TEST(a_worker_that_is_found_to_have_lied_is_not_believed_any_more),
		TEST(who_changes_a_file_makes_nobody_a_liar),
		TEST(an_engine_is_sent_the_table),
		TEST(without_a_table_there_is_nothing_to_send),
		TEST(after_many_scans_a_worker_is_let_go_once_there_is_another),
		TEST(a_worker_that_has_been_there_for_long_is_replaced_too),
		TEST(so_is_one_that_has_lied),
		TEST(one_that_ends_before_it_is_let_go_keeps_no_other_from_being_replaced),
		TEST(they_are_not_all_replaced_at_once),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return can_run() ? cmocka_run_group_tests_name("gate_contents", tests, fixture_group_setup,
						       scratch_teardown)
			 : UNIT_SKIPPED;
}
