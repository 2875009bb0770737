/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/common/chan.h"
#include "../../../src/porter/porter.h"
#include "../support/scratch.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#define PATIENCE_MS 30000

struct fixture {
	int supervisor, guard; /* the test's ends */
	pid_t pid;
	struct sockaddr_un address;
	int relay; /* the guard's end of the last one announced */
};

static void send_peer(struct fixture *fixture, enum wire_peer_role role, int fd)
{
	const struct wire_peer peer = {.header = WIRE_INIT(WIRE_PEER, struct wire_peer),
				       .role = role};

	assert_int_equal(chan_send(fixture->supervisor, &peer.header, fd), 0);
	close(fd);
}

static int setup(void **state)
{
	static struct fixture fixture;
	int ends[2], guard[2], listener;

	fixture = (struct fixture){.address.sun_family = AF_UNIX};
	*state = &fixture;
	(void)snprintf(fixture.address.sun_path, sizeof(fixture.address.sun_path), "scan");
	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (listener < 0 || chan_pair(ends) < 0 || chan_pair(guard) < 0 ||
	    bind(listener, (struct sockaddr *)&fixture.address, sizeof(fixture.address)) < 0 ||
	    listen(listener, 8) < 0)
		return -1;
	fixture.supervisor = ends[0];
	fixture.guard = guard[0];
	fixture.pid = fork();
	if (fixture.pid == 0) {
		close(ends[0]);
		close(guard[0]);
		_exit(porter_run(ends[1]));
	}
	close(ends[1]);
	send_peer(&fixture, WIRE_PEER_SCAN, listener);
	send_peer(&fixture, WIRE_PEER_GUARD, guard[1]);
	return fixture.pid < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	(void)kill(fixture->pid, SIGKILL);
	(void)waitpid(fixture->pid, NULL, 0);
	close(fixture->supervisor);
	close(fixture->guard);
	return unlink("scan");
}

static int take_relay(void *context, struct chan_message *message)
{
	((struct fixture *)context)->relay = message->fd;
	return 0;
}

static void await(int fd)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};

	assert_int_equal(poll(&ready, 1, PATIENCE_MS), 1);
}

/* A client that is served. */
static int connect_client(struct fixture *fixture)
{
	static const struct chan_rule rules[] = {
		{WIRE_SCAN_CLIENT, sizeof(struct wire_scan_client), true, take_relay}, {0}};
	int client = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	assert_true(client >= 0);
	assert_int_equal(
		connect(client, (struct sockaddr *)&fixture->address, sizeof(fixture->address)), 0);
	await(fixture->guard);
	assert_int_equal(chan_serve(fixture->guard, rules, fixture), 0);
	return client;
}

/* The only child of the porter, once there is one: the guard is told before. */
static pid_t find_relay(const struct fixture *fixture)
{
	char path[64];
	pid_t pid = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", fixture->pid, fixture->pid);
	while (!pid) {
		FILE *list = fopen(path, "re");

		assert_non_null(list);
		if (fscanf(list, "%d", &pid) != 1)
			(void)sched_yield();
		(void)fclose(list);
	}
	return pid;
}

static void a_ping_is_answered(void **state)
{
	const struct wire_plain ping = {.header = WIRE_INIT(WIRE_PING, struct wire_plain)};
	struct fixture *fixture = *state;
	struct wire_plain pong;
	int client = connect_client(fixture);

	assert_int_equal(chan_send(fixture->supervisor, &ping.header, -1), 0);
	await(fixture->supervisor);
	assert_int_equal(recv(fixture->supervisor, &pong, sizeof(pong), 0), sizeof(pong));
	assert_int_equal(pong.header.type, WIRE_PONG);
	close(fixture->relay);
	close(client);
}

/* Its client and the guard see the end, and another client has its place. */
static void a_relay_that_is_stopped_is_killed(void **state)
{
	struct fixture *fixture = *state;
	int client = connect_client(fixture);
	char byte;

	assert_int_equal(kill(find_relay(fixture), SIGSTOP), 0);
	await(client);
	assert_true(recv(client, &byte, 1, 0) <= 0);
	await(fixture->relay);
	assert_int_equal(recv(fixture->relay, &byte, 1, 0), 0);
	close(client);
	close(fixture->relay);
	client = connect_client(fixture);
	close(client);
	close(fixture->relay);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_ping_is_answered),
		TEST(a_relay_that_is_stopped_is_killed),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("porter", tests, scratch_setup, scratch_teardown);
}
