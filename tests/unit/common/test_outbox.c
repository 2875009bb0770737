/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/common/chan.h"
#include "../../../src/common/clock.h"
#include "../../../src/common/outbox.h"
#include "../support/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#define MAX 4

struct fixture {
	struct outbox *outbox;
	int peer; /* -1: none */
	unsigned fds_before;
};

static int setup(void **state)
{
	static struct fixture fixture;

	fixture = (struct fixture){
		.peer = -1, .fds_before = unit_count_fds(), .outbox = outbox_new(MAX)};
	*state = &fixture;
	return fixture.outbox ? 0 : -1;
}

/* The outbox closes its own end, whatever state it is in. */
static int teardown(void **state)
{
	struct fixture *fixture = *state;

	assert_null(outbox_free(fixture->outbox));
	if (fixture->peer >= 0)
		close(fixture->peer);
	assert_int_equal(unit_count_fds(), fixture->fds_before);
	return 0;
}

static void lose_peer(struct fixture *fixture)
{
	close(fixture->peer);
	fixture->peer = -1;
}

static void connect_peer(struct fixture *fixture)
{
	int ends[2];

	assert_int_equal(chan_pair(ends), 0);
	if (fixture->peer >= 0)
		lose_peer(fixture);
	outbox_connect(fixture->outbox, ends[0]);
	fixture->peer = ends[1];
}

/* Letters name the messages: capitals are findings, the others notes. */
static void push(struct fixture *fixture, const char *letters)
{
	for (; *letters; letters++) {
		const char text[] = {*letters, '\0'};
		struct wire_found found = {.header = WIRE_INIT(WIRE_FOUND, struct wire_found)};

		if (*letters >= 'a') {
			outbox_push_note(fixture->outbox, LOG_INFO, text);
			continue;
		}
		memcpy(found.path, text, sizeof(text));
		outbox_push(fixture->outbox, &found.header);
		/* what was pushed is a copy */
		memset(&found, 'X', sizeof(found));
	}
}

/* Appends the letters of what has arrived; stops after n. */
static void receive(struct fixture *fixture, char *letters, size_t n)
{
	union {
		struct wire_header header;
		struct wire_note note;
		struct wire_found found;
	} message;

	letters += strlen(letters);
	while (n-- > 0) {
		ssize_t size = recv(fixture->peer, &message, sizeof(message), MSG_DONTWAIT);

		if (size <= 0)
			break;
		assert_int_equal(message.header.size, size);
		assert_int_equal(message.header.version, WIRE_VERSION);
		*letters++ = message.header.type == WIRE_FOUND ? *message.found.path
							       : *message.note.text;
	}
	*letters = '\0';
}

static void assert_received(struct fixture *fixture, const char *expected)
{
	char letters[64] = "";

	receive(fixture, letters, sizeof(letters) - 1);
	assert_string_equal(letters, expected);
}

static void messages_go_out_at_once_to_a_peer_that_listens(void **state)
{
	connect_peer(*state);
	push(*state, "aB");
	assert_received(*state, "aB");
	push(*state, "c");
	assert_received(*state, "c");
	assert_int_equal(outbox_flush(((struct fixture *)*state)->outbox), 0);
}

static void messages_wait_for_the_first_peer(void **state)
{
	struct fixture *fixture = *state;

	push(fixture, "aBc");
	assert_int_equal(outbox_flush(fixture->outbox), -ENOTCONN);
	connect_peer(fixture);
	assert_int_equal(outbox_flush(fixture->outbox), 0);
	assert_received(fixture, "aBc");
	assert_int_equal(outbox_dropped(fixture->outbox), 0);
	/* sent once */
	assert_int_equal(outbox_flush(fixture->outbox), 0);
	assert_received(fixture, "");
}

static void messages_wait_while_the_peer_is_replaced(void **state)
{
	struct fixture *fixture = *state;

	connect_peer(fixture);
	push(fixture, "a");
	assert_received(fixture, "a");
	lose_peer(fixture);
	/* the one that finds the peer gone is not lost either */
	push(fixture, "bC");
	assert_int_equal(outbox_flush(fixture->outbox), -ENOTCONN);
	connect_peer(fixture);
	assert_int_equal(outbox_flush(fixture->outbox), 0);
	assert_received(fixture, "bC");
	assert_int_equal(outbox_dropped(fixture->outbox), 0);
}

static void messages_wait_when_the_peer_is_taken_away(void **state)
{
	struct fixture *fixture = *state;

	connect_peer(fixture);
	outbox_connect(fixture->outbox, -1);
	push(fixture, "a");
	assert_int_equal(outbox_flush(fixture->outbox), -ENOTCONN);
	assert_received(fixture, "");
	connect_peer(fixture);
	assert_int_equal(outbox_flush(fixture->outbox), 0);
	assert_received(fixture, "a");
}

static void a_new_peer_closes_the_socket_to_the_old(void **state)
{
	struct fixture *fixture = *state;
	int old;

	connect_peer(fixture);
	old = fixture->peer;
	fixture->peer = -1;
	connect_peer(fixture);
	assert_true(chan_readable(old)); /* the end */
	assert_false(chan_readable(fixture->peer));
	close(old);
}

/* What is queued beyond MAX goes, the least important and oldest first. Behind what is kept stands
 * how many went. */
static void a_full_queue_drops_the_oldest_note_first(void **state)
{
	static const struct {
		const char *pushed, *kept;
		unsigned dropped;
	} cases[] = {
		{"abcd", "abcd", 0},	 {"abcde", "bcde1", 1}, {"abcdefghi", "fghi5", 5},
		{"ABCD", "ABCD", 0},	 {"ABCDE", "BCDE1", 1}, {"aBCDE", "BCDE1", 1},
		{"ABCdE", "ABCE1", 1},	 {"ABcDE", "ABDE1", 1}, {"aBcDE", "BcDE1", 1},
		{"AbcDEF", "ADEF2", 2},	 {"AbcdE", "AcdE1", 1}, {"Abcde", "Acde1", 1},
		{"ABcdEFG", "BEFG3", 3},
	};
	struct fixture *fixture = *state;
	uint64_t dropped = 0;

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		char letters[64] = "";

		outbox_connect(fixture->outbox, -1);
		push(fixture, cases[i].pushed);
		connect_peer(fixture);
		assert_int_equal(outbox_flush(fixture->outbox), 0);
		receive(fixture, letters, sizeof(letters) - 1);
		if (strcmp(letters, cases[i].kept))
			fail_msg("%s became %s, not %s", cases[i].pushed, letters, cases[i].kept);
		/* counted, over all peers */
		dropped += cases[i].dropped;
		assert_int_equal(outbox_dropped(fixture->outbox), dropped);
	}
}

static void a_note_never_displaces_a_finding(void **state)
{
	struct fixture *fixture = *state;

	push(fixture, "ABCDef");
	connect_peer(fixture);
	assert_int_equal(outbox_flush(fixture->outbox), 0);
	assert_received(fixture, "ABCD2");
	assert_int_equal(outbox_dropped(fixture->outbox), 2);
}

/* The socket takes some, the queue keeps some; whatever is not dropped arrives once and in order.
 */
static void a_slow_peer_gets_everything_that_was_kept(void **state)
{
	static char sent[4096], got[4096];
	struct fixture *fixture = *state;
	unsigned n = 0;

	connect_peer(fixture);
	do {
		const char letter[] = {(char)('a' + n % 26), '\0'};

		strcat(sent, letter);
		push(fixture, letter);
		n++;
		assert_true(n < sizeof(sent) - 16);
	} while (outbox_flush(fixture->outbox) == 0);
	assert_int_equal(outbox_flush(fixture->outbox), -EAGAIN);

	/* nothing has been dropped, until there is no room in the queue either */
	push(fixture, "ABC");
	strcat(sent, "ABC");
	assert_int_equal(outbox_dropped(fixture->outbox), 0);
	push(fixture, "D");
	sent[n - 1] = '\0'; /* the note that was queued */
	strcat(sent, "ABCD1");
	assert_int_equal(outbox_dropped(fixture->outbox), 1);

	while (outbox_flush(fixture->outbox) == -EAGAIN)
		receive(fixture, got, 1);
	receive(fixture, got, sizeof(got) - 1 - strlen(got));
	assert_string_equal(got, sent);
}

static void push_control(struct fixture *fixture)
{
	const struct wire_plain stopping = {.header = WIRE_INIT(WIRE_STOPPING, struct wire_plain)};

	outbox_push(fixture->outbox, &stopping.header);
}

/* Neither for a line nor for want of room. */
static void what_is_no_line_is_never_dropped(void **state)
{
	struct fixture *fixture = *state;
	struct wire_plain control;

	push(fixture, "a");
	push_control(fixture);
	push(fixture, "BCDE");
	push_control(fixture);
	assert_int_equal(outbox_dropped(fixture->outbox), 2); /* a, B */
	connect_peer(fixture);
	assert_int_equal(outbox_flush(fixture->outbox), 0);
	assert_int_equal(recv(fixture->peer, &control, sizeof(control), MSG_DONTWAIT),
			 sizeof(control));
	assert_int_equal(control.header.type, WIRE_STOPPING);
	for (char path = 'C'; path <= 'E'; path++) {
		struct wire_found found;

		assert_int_equal(recv(fixture->peer, &found, sizeof(found), MSG_DONTWAIT),
				 sizeof(found));
		assert_int_equal(*found.path, path);
	}
	assert_int_equal(recv(fixture->peer, &control, sizeof(control), MSG_DONTWAIT),
			 sizeof(control));
	assert_int_equal(control.header.type, WIRE_STOPPING);
	assert_received(fixture, "2");
}

static void assert_told(struct fixture *fixture, const char *begin)
{
	struct wire_note note;

	assert_int_equal(recv(fixture->peer, &note, sizeof(note), MSG_DONTWAIT), sizeof(note));
	assert_int_equal(note.header.type, WIRE_NOTE);
	assert_int_equal(note.priority, LOG_ERR);
	if (strncmp(note.text, begin, strlen(begin)))
		fail_msg("\"%s\" does not begin with \"%s\"", note.text, begin);
	assert_received(fixture, "");
}

static void what_was_dropped_is_told_once_and_by_kind(void **state)
{
	struct fixture *fixture = *state;
	char letters[64] = "";

	push(fixture, "aBCDEFg");
	connect_peer(fixture);
	assert_int_equal(outbox_flush(fixture->outbox), 0);
	receive(fixture, letters, MAX);
	assert_string_equal(letters, "CDEF");
	assert_told(fixture, "3 line(s) before this one were dropped, 1 of them FOUND lines");

	push(fixture, "h");
	assert_received(fixture, "h");
	outbox_connect(fixture->outbox, -1);
	push(fixture, "ijklm");
	connect_peer(fixture);
	assert_int_equal(outbox_flush(fixture->outbox), 0);
	*letters = '\0';
	receive(fixture, letters, MAX);
	assert_string_equal(letters, "jklm");
	assert_told(fixture, "1 line(s) before this one were dropped, 0 of them");
}

static void what_was_dropped_is_told_to_the_next_peer(void **state)
{
	struct fixture *fixture = *state;
	char letters[64] = "";

	push(fixture, "abcde");
	connect_peer(fixture);
	lose_peer(fixture);
	assert_int_equal(outbox_flush(fixture->outbox), -ENOTCONN);
	connect_peer(fixture);
	assert_int_equal(outbox_flush(fixture->outbox), 0);
	receive(fixture, letters, MAX);
	assert_string_equal(letters, "bcde");
	assert_told(fixture, "1 line(s)");
	assert_int_equal(outbox_dropped(fixture->outbox), 1);
}

static void it_is_known_how_many_wait(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(outbox_waiting(fixture->outbox), 0);
	push(fixture, "aBc");
	assert_int_equal(outbox_waiting(fixture->outbox), 3);
	push(fixture, "def");
	assert_int_equal(outbox_waiting(fixture->outbox), MAX);
	connect_peer(fixture);
	assert_int_equal(outbox_flush(fixture->outbox), 0);
	assert_int_equal(outbox_waiting(fixture->outbox), 0);
}

static void a_peer_that_goes_while_it_is_slow_is_noticed(void **state)
{
	struct fixture *fixture = *state;
	unsigned n = 0;

	connect_peer(fixture);
	do {
		push(fixture, "a");
		assert_true(n++ < 4096);
	} while (outbox_flush(fixture->outbox) == 0);
	lose_peer(fixture);
	assert_int_equal(outbox_flush(fixture->outbox), -ENOTCONN);
	connect_peer(fixture);
	assert_int_equal(outbox_flush(fixture->outbox), 0);
	assert_received(fixture, "a");
}

static void a_line_of_log_becomes_a_note(void **state)
{
	struct fixture *fixture = *state;
	int64_t before = (int64_t)clock_wall_us(), after;
	struct wire_note note;

	/* It tells when it was said, not when it was sent. */
	outbox_push_note(fixture->outbox, LOG_WARNING, "cannot %s");
	after = (int64_t)clock_wall_us();
	connect_peer(fixture);
	assert_int_equal(outbox_flush(fixture->outbox), 0);
	assert_int_equal(recv(fixture->peer, &note, sizeof(note), MSG_DONTWAIT), sizeof(note));
	assert_int_equal(note.header.type, WIRE_NOTE);
	assert_int_equal(note.header.size, sizeof(note));
	assert_int_equal(note.priority, LOG_WARNING);
	assert_in_range(note.time_us, before, after);
	assert_string_equal(note.text, "cannot %s");
}

static void a_note_too_long_is_cut(void **state)
{
	struct fixture *fixture = *state;
	char text[2 * WIRE_TEXT_MAX] = "";
	struct wire_note note;

	memset(text, 'x', sizeof(text) - 1);
	connect_peer(fixture);
	outbox_push_note(fixture->outbox, LOG_ERR, text);
	assert_int_equal(recv(fixture->peer, &note, sizeof(note), MSG_DONTWAIT), sizeof(note));
	assert_true(wire_string_ok(note.text, sizeof(note.text)));
	assert_int_equal(strlen(note.text), WIRE_TEXT_MAX - 1);
	/* nothing of our memory goes with it */
	assert_int_equal(note.unused, 0);
}

static void no_outbox_can_be_freed(void **state)
{
	assert_null(outbox_free(NULL));
}

/* Its messages and its socket go with it: see teardown, and the sanitizers. */
static void an_outbox_is_freed_with_what_is_in_it(void **state)
{
	push(*state, "aBc");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(messages_go_out_at_once_to_a_peer_that_listens),
		TEST(messages_wait_for_the_first_peer),
		TEST(messages_wait_while_the_peer_is_replaced),
		TEST(messages_wait_when_the_peer_is_taken_away),
		TEST(a_new_peer_closes_the_socket_to_the_old),
		TEST(a_full_queue_drops_the_oldest_note_first),
		TEST(a_note_never_displaces_a_finding),
		TEST(a_slow_peer_gets_everything_that_was_kept),
		TEST(what_is_no_line_is_never_dropped),
		TEST(what_was_dropped_is_told_once_and_by_kind),
		TEST(what_was_dropped_is_told_to_the_next_peer),
		TEST(it_is_known_how_many_wait),
		TEST(a_peer_that_goes_while_it_is_slow_is_noticed),
		TEST(a_line_of_log_becomes_a_note),
		TEST(a_note_too_long_is_cut),
		TEST(no_outbox_can_be_freed),
		TEST(an_outbox_is_freed_with_what_is_in_it),
	};

	return cmocka_run_group_tests_name("outbox", tests, NULL, NULL);
}
