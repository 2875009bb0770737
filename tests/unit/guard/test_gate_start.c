/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What becomes of opens when a guard ends and another takes over: see gate_fixture.h. Both are
 * here, on the same estate; the first one just does nothing more.
 */
#include "gate_fixture.h"

static char lines[4096]; /* the log */

static void collect(void *context, int priority, const char *text)
{
	size_t used = strlen(lines);

	(void)snprintf(lines + used, sizeof(lines) - used, "%s\n", text);
}

/* --- what a guard that is killed has left, whenever that is --- */

/* Seen at the moments at which its successor would find something else from then on. */
static struct {
	const struct estate *estate;
	const struct event *deciding; /* while the opener was looked at */
	unsigned taken, taken_late;   /* from the inbox, and no sooner than a successor had it */
	struct verdict_tag before;    /* of a file that is closed after writing */
	const struct verdicts *verdicts;
	bool was_told_of_close;
} seen;

void __wrap_group_take(struct group *group, const struct group_event *event);
void __real_group_take(struct group *group, const struct group_event *event);
void __wrap_opener_read(int32_t pid, struct opener *opener);
void __real_opener_read(int32_t pid, struct opener *opener);

void __wrap_group_take(struct group *group, const struct group_event *event)
{
	struct verdict_tag tag;

	seen.taken++;
	for (unsigned i = 0; seen.estate && i < EVENTS_MAX; i++)
		if (seen.estate->events[i].held && seen.estate->events[i].fd == event->fd)
			seen.taken_late++;
	if (seen.verdicts && event->type == GROUP_CLOSED_WRITE)
		seen.was_told_of_close =
			verdicts_tag(seen.verdicts, event->fd, "", 0, &tag, NULL, NULL) == 0 &&
			tag.half[0] != seen.before.half[0];
	__real_group_take(group, event);
}

void __wrap_opener_read(int32_t pid, struct opener *opener)
{
	seen.deciding = seen.estate ? seen.estate->deciding : NULL;
	__real_opener_read(pid, opener);
}

/* --- one guard after another --- */

static void ignore(void *context)
{
}

static void denied(void *context, int32_t pid, struct file_id id,
		   const struct wire_verdict *verdict)
{
	fixture_denied(context, pid, id, verdict);
}

/* Its own memory and descriptors go; what it has left stays. */
static void end_gate(struct fixture *fixture)
{
	struct gate *gate = &fixture->gate;
	struct request *request, *next;

	gate->pool = pool_free(gate->pool);
	REQUEST_FOREACH (&gate->requests, request, next) {
		request->events = NULL;
		request->askers = NULL;
		request_free(&gate->requests, request);
	}
	request_table_deinit(&gate->requests);
	for (unsigned i = 0; i < GROUP_QUEUES; i++)
		gate->sources[i] = sd_event_source_disable_unref(gate->sources[i]);
	gate->sweeper = sd_event_source_disable_unref(gate->sweeper);
	gate->settler = sd_event_source_disable_unref(gate->settler);
	gate->visitor_source = sd_event_source_disable_unref(gate->visitor_source);
	gate->ahead_timer = sd_event_source_disable_unref(gate->ahead_timer);
	ahead_deinit(&gate->ahead);
	visitor_deinit(&gate->visitor);
	bypass_deinit(&gate->bypass);
	pins_deinit(&gate->pins);
	verdicts_free(gate->verdicts);
	contents_free(gate->contents);
	watch_deinit(&gate->watch);
	remote_deinit(&gate->remote);
}

/* The next guard is ready to begin. */
static void follow(struct fixture *fixture)
{
	static const struct gate_callbacks owner = {
		.progress = ignore, .switched = ignore, .denied = denied};
	const char *what;

	end_gate(fixture);
	assert_int_equal(gate_init(&fixture->gate, fixture->estate, fixture->event, fixture->outbox,
				   &owner, fixture, &what),
			 0);
	assert_true(mount_fixture_read(&fixture->gate.watch.mounts) >= 0);
	assert_int_equal(gate_set_conf(&fixture->gate, fixture->conf), 0);
}

static void succeed(struct fixture *fixture, bool has_crashed)
{
	follow(fixture);
	gate_note_crash(fixture->estate, has_crashed);
	gate_start(&fixture->gate);
	run(fixture);
}

/* A guard ended right after the kernel had given it this. Returns the descriptor. */
static int leave_in_inbox(struct fixture *fixture, unsigned place, uint64_t mask, const char *name)
{
	int fd = name ? open(name, O_RDONLY | O_CLOEXEC) : FAN_NOFD;

	assert_true(!name || fd >= 0);
	fixture->estate->group.queues[0].inbox[place] = (struct fanotify_event_metadata){
		.event_len = FAN_EVENT_METADATA_LEN,
		.vers = FANOTIFY_METADATA_VERSION,
		.metadata_len = FAN_EVENT_METADATA_LEN,
		.mask = mask,
		.fd = fd,
		.pid = OPENER_PID,
	};
	return fd;
}

/* A guard ended while it decided over an open that is held. */
static void leave_undecided(struct fixture *fixture, int fd)
{
	fixture->estate->deciding = event_find(&fixture->gate.events, fd);
	assert_non_null(fixture->estate->deciding);
}

static int setup(void **state)
{
	static struct fixture fixture;

	*state = &fixture;
	lines[0] = '\0';
	memset(&seen, 0, sizeof(seen));
	return fixture_init(&fixture);
}

static int teardown(void **state)
{
	fixture_deinit(*state);
	return 0;
}

/* --- the opens that it held --- */

static void whoever_was_held_is_held_and_gets_his_answer(void **state)
{
	struct fixture *fixture = *state;
	int clean, infected, other;

	set(fixture, "on-failure", "deny");
	clean = open_file(fixture, "file");
	other = open_file(fixture, "file");
	infected = open_file(fixture, "other");
	succeed(fixture, false);
	assert_held(clean);
	assert_held(other);
	assert_held(infected);
	start_engine(fixture);
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_answered(clean, true);
	assert_answered(other, true);
	send_verdict(fixture, VERDICT_INFECTED, "Eicar-Test");
	assert_answered(infected, false);
	assert_no_more_answers();
	assert_int_equal(fixture->gate.events.n_held, 0);
	/* They were counted by the one before. */
	assert_int_equal(fixture->gate.counters->opens, 3);
}

/* What the one before had begun has gone with it. */
static void a_scan_under_way_is_begun_again(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	start_engine(fixture);
	fd = open_file(fixture, "file");
	assert_int_equal(next_scan(fixture), inode_of("file"));
	succeed(fixture, false);
	assert_held(fd);
	start_engine(fixture);
	assert_int_equal(next_scan(fixture), inode_of("file"));
	send_verdict(fixture, VERDICT_INFECTED, "Eicar-Test");
	assert_answered(fd, false);
}

static void there_can_be_many_guards(void **state)
{
	struct fixture *fixture = *state;
	int fds[5];

	for (unsigned i = 0; i < 5; i++) {
		fds[i] = open_file(fixture, "file");
		succeed(fixture, false);
	}
	start_engine(fixture);
	send_verdict(fixture, VERDICT_CLEAN, "");
	for (unsigned i = 0; i < 5; i++)
		assert_answered(fds[i], true);
	assert_no_more_answers();
}

static void they_are_settled_in_the_order_of_their_arrival(void **state)
{
	struct fixture *fixture = *state;
	int first, second, third;

	/* The last one gets the first place of the table, which has become free. */
	first = open_file(fixture, "file");
	fake.now_us += SECOND;
	second = open_file(fixture, "other");
	fake.now_us += SECOND;
	third = open_file(fixture, "third");
	start_engine(fixture);
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_answered(first, true);
	fake.now_us += SECOND;
	first = open_file(fixture, "fourth");
	assert_int_equal(event_find(&fixture->gate.events, first) - fixture->estate->events, 0);

	succeed(fixture, false);
	start_engine(fixture);
	assert_int_equal(next_scan(fixture), inode_of("other"));
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_answered(second, true);
	assert_int_equal(next_scan(fixture), inode_of("third"));
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_answered(third, true);
	assert_int_equal(next_scan(fixture), inode_of("fourth"));
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_answered(first, true);
}

static void the_hold_deadline_goes_on(void **state)
{
	struct fixture *fixture = *state;
	int early, late;

	set(fixture, "hold-timeout", "15s");
	set(fixture, "on-timeout", "deny");
	early = open_file(fixture, "file");
	pass_time(fixture, 5 * SECOND);
	late = open_file(fixture, "file");
	pass_time(fixture, 5 * SECOND);
	succeed(fixture, false);
	pass_time(fixture, 4 * SECOND);
	assert_held(early);
	pass_time(fixture, 2 * SECOND);
	assert_answered(early, false);
	assert_held(late);
	pass_time(fixture, 4 * SECOND);
	assert_answered(late, false);
}

/* A lease, which keeps whoever wants to write waiting, goes with the descriptors that it was taken
 * by; and the event's is one of those. */
static void writers_are_not_kept_waiting(void **state)
{
	struct fixture *fixture = *state;
	int fd = open_file(fixture, "file");

	if (!group_lock_out_writers(fd)) {
		print_message("skipped: no leases on this filesystem\n");
		skip();
	}
	succeed(fixture, false);
	assert_held(fd);
	assert_int_equal(fcntl(fd, F_GETLEASE), F_UNLCK);
}

/* What need not be held any more, as the configuration is another. */
static void what_is_settled_goes_by_the_configuration_there_is(void **state)
{
	struct fixture *fixture = *state;
	int fd = open_file(fixture, "file");

	set(fixture, "mode", "notify");
	succeed(fixture, false);
	assert_answered(fd, true);
	assert_no_more_answers();
	assert_int_equal(fixture->gate.events.n_held, 0);
}

static void a_first_guard_has_nothing_to_settle(void **state)
{
	struct fixture *fixture = *state;

	/* fixture_init() has called gate_start() */
	assert_true(fixture->estate->watching);
	assert_int_equal(fixture->estate->group.epoch, 0);
	assert_no_more_answers();
}

/* --- what it had read, and not taken --- */

static void an_open_in_the_inbox_is_taken(void **state)
{
	struct fixture *fixture = *state;
	int fd = leave_in_inbox(fixture, GROUP_BATCH - 1, FAN_OPEN_PERM, "file"), next;

	succeed(fixture, false);
	assert_held(fd);
	assert_int_equal(fixture->estate->group.queues[0].inbox[GROUP_BATCH - 1].event_len, 0);
	assert_int_equal(fixture->gate.counters->opens, 1);
	/* and what is read from now on does not touch it */
	next = open_file(fixture, "file");
	start_engine(fixture);
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_answered(fd, true);
	assert_answered(next, true);
	assert_no_more_answers();
}

static void a_whole_batch_can_be_in_the_inbox(void **state)
{
	struct fixture *fixture = *state;
	int fds[GROUP_BATCH];

	for (unsigned i = 0; i < GROUP_BATCH; i++)
		fds[i] = leave_in_inbox(fixture, i, FAN_OPEN_PERM, i < 40 ? "file" : "empty");
	succeed(fixture, false);
	for (unsigned i = 40; i < GROUP_BATCH; i++)
		assert_answered(fds[i], true);
	for (unsigned i = 0; i < 40; i++)
		assert_held(fds[i]);
	assert_int_equal(fixture->gate.events.n_held, 40);
}

/* It ended after it had made an event of it, and before it had noted that. */
static void an_open_that_is_held_too_is_not_taken_twice(void **state)
{
	struct fixture *fixture = *state;
	int fd = open_file(fixture, "file");

	(void)leave_in_inbox(fixture, 0, FAN_OPEN_PERM, "other");
	close(fixture->estate->group.queues[0].inbox[0].fd);
	fixture->estate->group.queues[0].inbox[0].fd = fd;
	succeed(fixture, false);
	assert_int_equal(fixture->estate->group.queues[0].inbox[0].event_len, 0);
	assert_int_equal(fixture->gate.events.n_held, 1);
	assert_int_equal(fixture->gate.counters->opens, 1);
	start_engine(fixture);
	send_verdict(fixture, VERDICT_INFECTED, "Eicar-Test");
	assert_answered(fd, false);
	assert_no_more_answers();
}

/* Settled at once, it is answered, and its number is free: another may have that already. */
static void nor_when_it_need_not_be_held_any_more(void **state)
{
	struct fixture *fixture = *state;
	int other, fd;

	start_engine(fixture);
	fd = open_file(fixture, "file");
	fake.now_us++;
	other = open_file(fixture, "other");
	fixture->estate->group.queues[0].inbox[0] = (struct fanotify_event_metadata){
		.event_len = FAN_EVENT_METADATA_LEN,
		.mask = FAN_OPEN_PERM,
		.fd = fd,
		.pid = OPENER_PID,
	};
	fixture->conf->on_failure = CONF_ALLOW;
	fixture->estate->events[0].crashes = 2; /* one of several reasons */
	succeed(fixture, false);
	assert_int_equal(fixture->gate.counters->opens, 2);
	assert_int_equal(fixture->gate.events.n_held, 1);
	start_engine(fixture);
	assert_int_equal(next_scan(fixture), inode_of("other"));
	send_verdict(fixture, VERDICT_INFECTED, "Eicar-Test");
	(void)recv(fake.kernel, &(struct fanotify_response){0}, sizeof(struct fanotify_response),
		   MSG_DONTWAIT); /* fd's: the number is that of the other's request now */
	assert_answered(other, false);
	assert_no_more_answers();
}

/* --- what was verified --- */

/* Under an engine of the same signatures, with a filesystem that is marked. */
static void verify_by_open(struct fixture *fixture, const char *name)
{
	int fd = open_file(fixture, name);

	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_answered(fd, true);
}

static void begin_to_verify(struct fixture *fixture)
{
	memory_or_skip(fixture);
	fixture->estate->group.features.has[FEATURE_FILESYSTEM_MARKS] = true;
	watch_scratch(fixture);
	start_engine(fixture);
	scratch_write("users", "content", 7);
	assert_int_equal(chown("users", 12345, 12345), 0);
	verify_by_open(fixture, "file");
	verify_by_open(fixture, "users");
	assert_answered(open_file(fixture, "users"), true);
}

/* A close after writing is subscribed with the mark on the filesystem, and waits for whoever reads
 * next. */
static void what_was_verified_is_known(void **state)
{
	struct fixture *fixture = *state;

	begin_to_verify(fixture);
	succeed(fixture, true);
	start_engine(fixture);
	assert_answered(open_file(fixture, "file"), true);
	assert_answered(open_file(fixture, "users"), true);
	assert_int_equal(next_scan(fixture), 0);
}

static void marks_are_dropped(void **state)
{
	struct fixture *fixture = *state;
	unsigned epoch = fixture->estate->group.epoch;

	succeed(fixture, false);
	assert_int_equal(fixture->estate->group.epoch, epoch + 1);
	succeed(fixture, false);
	assert_int_equal(fixture->estate->group.epoch, epoch + 2);
}

/* Where files are subscribed one by one, that ends with their marks. */
static void without_marks_on_filesystems_closes_may_have_gone_unseen(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	begin_to_verify(fixture);
	fixture->estate->group.features.has[FEATURE_FILESYSTEM_MARKS] = false;
	succeed(fixture, false);
	start_engine(fixture);
	assert_answered(open_file(fixture, "file"), true);
	fd = open_file(fixture, "users");
	assert_held(fd);
}

/* It had made the kernel forget, and not drawn the conclusion. */
static void closes_that_it_missed_are_missed(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	begin_to_verify(fixture);
	fixture->estate->group.epoch++;
	succeed(fixture, false);
	start_engine(fixture);
	assert_answered(open_file(fixture, "file"), true);
	fd = open_file(fixture, "users");
	assert_held(fd);
}

static void a_close_after_writing_in_the_inbox_counts(void **state)
{
	struct fixture *fixture = *state;
	int fd, closed;

	begin_to_verify(fixture);
	fixture->conf->scan_ahead = false;
	closed = leave_in_inbox(fixture, 5, FAN_CLOSE_WRITE, "users");
	succeed(fixture, false);
	assert_false(unit_fd_is_open(closed));
	assert_int_equal(fixture->estate->group.queues[0].inbox[5].event_len, 0);
	start_engine(fixture);
	fd = open_file(fixture, "users");
	assert_held(fd);
	assert_int_equal(next_scan(fixture), inode_of("users"));
}

static void so_does_news_of_lost_events(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	begin_to_verify(fixture);
	(void)leave_in_inbox(fixture, 0, FAN_Q_OVERFLOW, NULL);
	succeed(fixture, false);
	assert_int_equal(fixture->gate.counters->overflows, 1);
	assert_non_null(strstr(lines, "the kernel's event queue overflowed"));
	start_engine(fixture);
	fd = open_file(fixture, "users");
	assert_held(fd);
}

static void with_another_size_of_the_table_nothing_is_known(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	begin_to_verify(fixture);
	conf_fixture_set(fixture->conf, "engine", "verdict-cache", "64K");
	succeed(fixture, false);
	start_engine(fixture);
	fd = open_file(fixture, "file");
	assert_held(fd);
	send_verdict(fixture, VERDICT_CLEAN, "");
	assert_answered(fd, true);
	/* from here on it is */
	succeed(fixture, false);
	start_engine(fixture);
	assert_answered(open_file(fixture, "file"), true);
}

/* It died while it cleared the roster; the number of that descriptor is another's by now. */
static void workers_without_an_engine_are_nobodys(void **state)
{
	struct fixture *fixture = *state;
	struct roster *roster = &fixture->estate->roster;

	roster->workers[ROSTER_WORKERS_MAX - 1].fd = fixture->reporter;
	succeed(fixture, false);
	start_engine(fixture);
	assert_int_not_equal(roster->engine, 0);
	assert_int_equal(roster->workers[ROSTER_WORKERS_MAX - 1].fd, 0);
}

/* --- opens over which guards crash --- */

static void an_open_over_which_two_have_crashed_is_answered_by_on_failure(void **state)
{
	for (int allow = 0; allow <= 1; allow++) {
		struct fixture *fixture = *state;
		int fatal, other;

		lines[0] = '\0';
		fixture->n_denied = 0;
		scratch_write("other", "0123456789",
			      (size_t)allow + 1); /* nothing is known of it */
		set(fixture, "on-failure", allow ? "allow" : "deny");
		other = open_file(fixture, "other");
		fake.now_us++;
		fatal = open_file(fixture, "file");
		leave_undecided(fixture, fatal);
		succeed(fixture, true);
		assert_held(fatal);
		assert_string_equal(lines, "");
		leave_undecided(fixture, fatal);
		succeed(fixture, true);
		assert_answered(fatal, allow);
		assert_held(other);
		assert_string_equal(lines, "2 guards have crashed over an open of process 1: it is "
					   "answered by on-failure\n");
		assert_int_equal(fixture->n_denied, !allow);
		start_engine(fixture);
		send_verdict(fixture, VERDICT_INFECTED, "Eicar-Test");
		assert_answered(other, false);
		assert_no_more_answers();
	}
}

static void a_guard_that_was_killed_has_not_crashed(void **state)
{
	struct fixture *fixture = *state;
	int fd = open_file(fixture, "file");

	for (unsigned i = 0; i < 5; i++) {
		leave_undecided(fixture, fd);
		succeed(fixture, false);
		assert_held(fd);
	}
	/* nor has one that crashed over nothing in particular, or over what was answered */
	for (unsigned i = 0; i < 5; i++) {
		succeed(fixture, true);
		assert_held(fd);
	}
	fixture->estate->deciding = &fixture->estate->events[100];
	succeed(fixture, true);
	assert_int_equal(fixture->estate->events[100].crashes, 0);
	assert_held(fd);
	assert_string_equal(lines, "");
}

/* Or the next open in that place would be the one. */
static void what_was_being_decided_is_not_for_ever(void **state)
{
	struct fixture *fixture = *state;

	fixture->estate->deciding = &fixture->estate->events[0];
	succeed(fixture, true);
	assert_null(fixture->estate->deciding);
}

/* In the place of one that guards have crashed over another open is as good as any. */
static void crashes_are_forgotten_with_the_open(void **state)
{
	struct fixture *fixture = *state;
	int fd = open_file(fixture, "file");

	leave_undecided(fixture, fd);
	succeed(fixture, true);
	start_engine(fixture);
	send_verdict(fixture, VERDICT_INFECTED, "Eicar-Test");
	assert_answered(fd, false);

	scratch_write("file", "another", 7); /* nothing is known of it */
	fd = open_file(fixture, "file");
	leave_undecided(fixture, fd);
	succeed(fixture, true);
	assert_held(fd);
}

static void it_is_known_which_open_is_being_decided(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	seen.estate = fixture->estate;
	fd = open_file(fixture, "file");
	assert_ptr_equal(seen.deciding, event_find(&fixture->gate.events, fd));
	assert_null(fixture->estate->deciding);
	/* and so it is when it is settled again */
	seen.deciding = NULL;
	succeed(fixture, false);
	assert_ptr_equal(seen.deciding, event_find(&fixture->gate.events, fd));
	assert_null(fixture->estate->deciding);
}

/* --- between any two steps --- */

static void an_event_is_never_in_nobodys_hands(void **state)
{
	struct fixture *fixture = *state;

	begin_to_verify(fixture);
	seen.estate = fixture->estate;
	seen.taken = 0;
	(void)open_file(fixture, "other");
	(void)open_file(fixture, "empty");
	assert_int_equal(seen.taken, 2);
	assert_int_equal(seen.taken_late, 2);

	seen.verdicts = fixture->gate.verdicts;
	assert_int_equal(
		verdicts_tag(seen.verdicts, AT_FDCWD, "users", 0, &seen.before, NULL, NULL), 0);
	close_written(fixture, "users");
	assert_int_equal(seen.taken, 3);
	assert_true(seen.was_told_of_close);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(whoever_was_held_is_held_and_gets_his_answer),
		TEST(a_scan_under_way_is_begun_again),
		TEST(there_can_be_many_guards),
		TEST(they_are_settled_in_the_order_of_their_arrival),
		TEST(the_hold_deadline_goes_on),
		TEST(writers_are_not_kept_waiting),
		TEST(what_is_settled_goes_by_the_configuration_there_is),
		TEST(a_first_guard_has_nothing_to_settle),
		TEST(an_open_in_the_inbox_is_taken),
		TEST(a_whole_batch_can_be_in_the_inbox),
		TEST(an_open_that_is_held_too_is_not_taken_twice),
		TEST(nor_when_it_need_not_be_held_any_more),
		TEST(what_was_verified_is_known),
		TEST(marks_are_dropped),
		TEST(without_marks_on_filesystems_closes_may_have_gone_unseen),
		TEST(closes_that_it_missed_are_missed),
		TEST(a_close_after_writing_in_the_inbox_counts),
		TEST(so_does_news_of_lost_events),
		TEST(with_another_size_of_the_table_nothing_is_known),
		TEST(an_open_over_which_two_have_crashed_is_answered_by_on_failure),
		TEST(a_guard_that_was_killed_has_not_crashed),
		TEST(what_was_being_decided_is_not_for_ever),
		TEST(crashes_are_forgotten_with_the_open),
		TEST(workers_without_an_engine_are_nobodys),
		TEST(it_is_known_which_open_is_being_decided),
		TEST(an_event_is_never_in_nobodys_hands),
	};

	if (!can_run())
		return UNIT_SKIPPED;
	log_set_sink(collect, NULL);
	return cmocka_run_group_tests_name("gate_start", tests, fixture_group_setup,
					   scratch_teardown);
}
