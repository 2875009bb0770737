/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/common/chan.h"
#include "../support/unit.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* More than chan.c has room for. */
#define FDS_MAX 8

/* What the handler saw. */
struct seen {
	unsigned calls;
	struct wire_worker message;
	int fd;
	int result; /* what it is to return */
};

static int take(void *context, struct chan_message *message)
{
	struct seen *seen = context;

	seen->calls++;
	memcpy(&seen->message, message, sizeof(seen->message));
	seen->fd = message->fd;
	return seen->result;
}

/* WIRE_FOUND stands for a message as long as any may be. */
static const struct chan_rule rules[] = {
	{WIRE_PING, sizeof(struct wire_plain), false, take},
	{WIRE_WORKER, sizeof(struct wire_worker), true, take},
	{WIRE_FOUND, WIRE_MESSAGE_MAX, false, take},
	{0},
};

struct fixture {
	int ours, theirs;
	unsigned fds_before;
	struct seen seen;
};

static int setup(void **state)
{
	static struct fixture fixture;
	int ends[2];

	fixture = (struct fixture){.fds_before = unit_count_fds()};
	if (chan_pair(ends) < 0)
		return -1;
	fixture.ours = ends[0];
	fixture.theirs = ends[1];
	*state = &fixture;
	return 0;
}

/* Whatever a test did, no descriptor is left. */
static int teardown(void **state)
{
	struct fixture *fixture = *state;

	if (fixture->ours >= 0)
		close(fixture->ours);
	if (fixture->theirs >= 0)
		close(fixture->theirs);
	assert_int_equal(unit_count_fds(), fixture->fds_before);
	return 0;
}

static int serve(struct fixture *fixture)
{
	return chan_serve(fixture->ours, rules, &fixture->seen);
}

/* A peer that does as it likes: any bytes, any number of descriptors. */
static void send_raw(int socket, const void *bytes, size_t size, unsigned n_fds)
{
	int fds[FDS_MAX];
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(fds))];
	} control = {0};
	struct iovec iov = {.iov_base = (void *)bytes, .iov_len = size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	assert_true(n_fds <= FDS_MAX);
	if (n_fds) {
		struct cmsghdr *header;

		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		header = CMSG_FIRSTHDR(&msg);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		for (unsigned i = 0; i < n_fds; i++)
			assert_true((fds[i] = dup(0)) >= 0);
		memcpy(CMSG_DATA(header), fds, n_fds * sizeof(int));
	}
	assert_int_equal(sendmsg(socket, &msg, 0), size);
	for (unsigned i = 0; i < n_fds; i++)
		close(fds[i]);
}

static const struct wire_plain ping = {.header = WIRE_INIT(WIRE_PING, struct wire_plain)};

static struct wire_worker worker_message(int32_t pid)
{
	return (struct wire_worker){.header = WIRE_INIT(WIRE_WORKER, struct wire_worker),
				    .pid = pid};
}

static void a_message_reaches_the_handler_of_its_rule(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(chan_send(fixture->theirs, &ping.header, -1), 0);
	assert_int_equal(serve(fixture), 0);
	assert_int_equal(fixture->seen.calls, 1);
	assert_int_equal(fixture->seen.message.header.type, WIRE_PING);
	assert_int_equal(fixture->seen.fd, -1);
}

static void the_result_of_the_handler_is_passed_on(void **state)
{
	struct fixture *fixture = *state;

	fixture->seen.result = -ENOMEM;
	assert_int_equal(chan_send(fixture->theirs, &ping.header, -1), 0);
	assert_int_equal(serve(fixture), -ENOMEM);
}

static void messages_arrive_one_by_one_and_in_order(void **state)
{
	struct fixture *fixture = *state;

	for (int32_t i = 0; i < 5; i++) {
		struct wire_worker message = worker_message(i);

		assert_int_equal(chan_send(fixture->theirs, &message.header, 0), 0);
	}
	for (int32_t i = 0; i < 5; i++) {
		assert_int_equal(serve(fixture), 0);
		assert_int_equal(fixture->seen.calls, i + 1);
		assert_int_equal(fixture->seen.message.pid, i);
		close(fixture->seen.fd);
	}
	assert_false(chan_readable(fixture->ours));
}

static void a_descriptor_is_passed_and_both_sides_own_theirs(void **state)
{
	struct fixture *fixture = *state;
	struct wire_worker message = worker_message(1);
	int tube[2];
	char byte = 0;

	assert_int_equal(pipe(tube), 0);
	assert_int_equal(chan_send(fixture->theirs, &message.header, tube[1]), 0);
	assert_true(unit_fd_is_open(tube[1]));
	assert_int_equal(serve(fixture), 0);

	/* another number for the same pipe, which no program we execute inherits */
	assert_int_not_equal(fixture->seen.fd, tube[1]);
	assert_int_equal(fcntl(fixture->seen.fd, F_GETFD), FD_CLOEXEC);
	close(tube[1]);
	assert_int_equal(write(fixture->seen.fd, "x", 1), 1);
	assert_int_equal(read(tube[0], &byte, 1), 1);
	assert_int_equal(byte, 'x');
	close(fixture->seen.fd);
	close(tube[0]);
}

/* A failed send keeps nothing of the caller's and takes nothing away. */
static void a_descriptor_that_could_not_be_sent_stays_open(void **state)
{
	struct fixture *fixture = *state;
	struct wire_worker message = worker_message(1);
	int fd = dup(0);

	close(fixture->ours);
	fixture->ours = -1;
	assert_int_equal(chan_send(fixture->theirs, &message.header, fd), -EPIPE);
	assert_true(unit_fd_is_open(fd));
	close(fd);
}

/* Each differs in one thing from a message that would be taken. */
static void what_fits_no_rule_is_refused_and_leaks_nothing(void **state)
{
	static const struct {
		const char *name;
		uint16_t version, type;
		uint32_t says_size; /* in the header */
		size_t size;	    /* sent */
		unsigned n_fds;
	} cases[] = {
		{"version too old", WIRE_VERSION - 1, WIRE_PING, 8, 8, 0},
		{"version too new", WIRE_VERSION + 1, WIRE_PING, 8, 8, 0},
		{"type 0", WIRE_VERSION, 0, 8, 8, 0},
		{"no such type", WIRE_VERSION, WIRE_TYPE_COUNT, 8, 8, 0},
		{"type of another socket", WIRE_VERSION, WIRE_PONG, 8, 8, 0},
		{"type of another socket, with a descriptor", WIRE_VERSION, WIRE_SCAN, 16, 16, 1},
		{"header says more than came", WIRE_VERSION, WIRE_PING, 9, 8, 0},
		{"header says less than came", WIRE_VERSION, WIRE_PING, 7, 8, 0},
		{"header says the right size, too much came", WIRE_VERSION, WIRE_PING, 8, 9, 0},
		{"header says the right size, too little came", WIRE_VERSION, WIRE_WORKER, 16, 15,
		 1},
		{"too long, and says so", WIRE_VERSION, WIRE_PING, 16, 16, 0},
		{"too short, and says so", WIRE_VERSION, WIRE_WORKER, 8, 8, 1},
		{"half a header", WIRE_VERSION, WIRE_PING, 4, 4, 0},
		{"one byte", WIRE_VERSION, WIRE_PING, 1, 1, 0},
		{"nothing but a descriptor", WIRE_VERSION, WIRE_PING, 0, 0, 1},
		{"unexpected descriptor", WIRE_VERSION, WIRE_PING, 8, 8, 1},
		{"two unexpected descriptors", WIRE_VERSION, WIRE_PING, 8, 8, 2},
		{"missing descriptor", WIRE_VERSION, WIRE_WORKER, 16, 16, 0},
		{"two descriptors", WIRE_VERSION, WIRE_WORKER, 16, 16, 2},
		{"as many descriptors as there is room for", WIRE_VERSION, WIRE_WORKER, 16, 16, 4},
		{"more descriptors than there is room for", WIRE_VERSION, WIRE_WORKER, 16, 16, 8},
		{"cut off, where the rest would do", WIRE_VERSION, WIRE_FOUND, WIRE_MESSAGE_MAX,
		 WIRE_MESSAGE_MAX + 1, 0},
		{"cut off, with a descriptor", WIRE_VERSION, WIRE_FOUND, WIRE_MESSAGE_MAX,
		 WIRE_MESSAGE_MAX + 1, 1},
	};
	struct fixture *fixture = *state;
	unsigned fds = unit_count_fds();

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		static char bytes[WIRE_MESSAGE_MAX + 1];
		const struct wire_header header = {cases[i].version, cases[i].type,
						   cases[i].says_size};
		int r;

		memcpy(bytes, &header, sizeof(header));
		send_raw(fixture->theirs, bytes, cases[i].size, cases[i].n_fds);
		r = serve(fixture);
		if (r != -EPROTO || fixture->seen.calls)
			fail_msg("%s: result %d, %u calls", cases[i].name, r, fixture->seen.calls);
		if (unit_count_fds() != fds)
			fail_msg("%s: descriptors leaked", cases[i].name);
		assert_false(chan_readable(fixture->ours));
	}
}

static void the_longest_message_is_taken(void **state)
{
	static char bytes[WIRE_MESSAGE_MAX];
	const struct wire_header header = {WIRE_VERSION, WIRE_FOUND, WIRE_MESSAGE_MAX};
	struct fixture *fixture = *state;

	memcpy(bytes, &header, sizeof(header));
	send_raw(fixture->theirs, bytes, sizeof(bytes), 0);
	assert_int_equal(serve(fixture), 0);
	assert_int_equal(fixture->seen.calls, 1);
}

/* When there is no room for a descriptor the kernel drops it and hands over the rest. */
static void a_descriptor_lost_for_want_of_room_is_noticed(void **state)
{
	struct fixture *fixture = *state;
	struct rlimit limit;
	int r;

	send_raw(fixture->theirs, &ping, sizeof(ping), 1);
	limit = unit_forbid_fds();
	r = serve(fixture);
	setrlimit(RLIMIT_NOFILE, &limit);
	assert_int_equal(r, -EPROTO);
	assert_int_equal(fixture->seen.calls, 0);
}

static void the_end_comes_after_the_last_message(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(chan_send(fixture->theirs, &ping.header, -1), 0);
	close(fixture->theirs);
	fixture->theirs = -1;
	assert_int_equal(serve(fixture), 0);
	assert_int_equal(serve(fixture), -EPIPE);
	assert_int_equal(serve(fixture), -EPIPE);
	assert_int_equal(fixture->seen.calls, 1);
}

/* The kernel reports a reset before them, when the peer ended with something of ours unread. */
static void the_last_messages_of_a_peer_that_read_nothing_arrive(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(chan_send(fixture->ours, &ping.header, -1), 0);
	assert_int_equal(chan_send(fixture->theirs, &ping.header, -1), 0);
	close(fixture->theirs);
	fixture->theirs = -1;
	assert_int_equal(serve(fixture), 0);
	assert_int_equal(fixture->seen.calls, 1);
	assert_int_equal(serve(fixture), -EPIPE);
}

static void an_empty_socket_is_no_end(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(fcntl(fixture->ours, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(serve(fixture), -EAGAIN);
	assert_int_equal(fixture->seen.calls, 0);
}

static void readable_means_a_message_or_the_end(void **state)
{
	struct fixture *fixture = *state;

	assert_false(chan_readable(fixture->ours));
	assert_int_equal(chan_send(fixture->theirs, &ping.header, -1), 0);
	assert_true(chan_readable(fixture->ours));
	assert_int_equal(serve(fixture), 0);
	assert_false(chan_readable(fixture->ours));
	close(fixture->theirs);
	fixture->theirs = -1;
	assert_true(chan_readable(fixture->ours));
}

/* The socket is a blocking one: were it waited for, this test would never end. */
static void sending_never_waits(void **state)
{
	struct fixture *fixture = *state;
	unsigned n = 0;

	while (chan_send(fixture->theirs, &ping.header, -1) == 0)
		n++;
	assert_true(n > 0);
	assert_int_equal(chan_send(fixture->theirs, &ping.header, -1), -EAGAIN);
	/* and when it is read, it goes on */
	assert_int_equal(serve(fixture), 0);
	assert_int_equal(chan_send(fixture->theirs, &ping.header, -1), 0);
}

/* SIGPIPE would end this program here. */
static void sending_to_nobody_is_an_error_and_no_signal(void **state)
{
	struct fixture *fixture = *state;

	close(fixture->ours);
	fixture->ours = -1;
	assert_int_equal(chan_send(fixture->theirs, &ping.header, -1), -EPIPE);
}

static void a_pair_is_not_inherited(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(fcntl(fixture->ours, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(fixture->theirs, F_GETFD), FD_CLOEXEC);
}

static void a_pair_that_cannot_be_made_changes_nothing(void **state)
{
	struct rlimit limit = unit_forbid_fds();
	int ends[2] = {-7, -8};
	int r = chan_pair(ends);

	setrlimit(RLIMIT_NOFILE, &limit);
	assert_int_equal(r, -EMFILE);
	assert_int_equal(ends[0], -7);
	assert_int_equal(ends[1], -8);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_message_reaches_the_handler_of_its_rule),
		TEST(the_result_of_the_handler_is_passed_on),
		TEST(messages_arrive_one_by_one_and_in_order),
		TEST(a_descriptor_is_passed_and_both_sides_own_theirs),
		TEST(a_descriptor_that_could_not_be_sent_stays_open),
		TEST(what_fits_no_rule_is_refused_and_leaks_nothing),
		TEST(the_longest_message_is_taken),
		TEST(a_descriptor_lost_for_want_of_room_is_noticed),
		TEST(the_end_comes_after_the_last_message),
		TEST(the_last_messages_of_a_peer_that_read_nothing_arrive),
		TEST(an_empty_socket_is_no_end),
		TEST(readable_means_a_message_or_the_end),
		TEST(sending_never_waits),
		TEST(sending_to_nobody_is_an_error_and_no_signal),
		TEST(a_pair_is_not_inherited),
		TEST(a_pair_that_cannot_be_made_changes_nothing),
	};

	return cmocka_run_group_tests_name("chan", tests, NULL, NULL);
}
