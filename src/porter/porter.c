/* SPDX-License-Identifier: GPL-2.0-only */
#include "porter.h"

#include "../common/chan.h"
#include "relay.h"

#include <errno.h>
#include <fcntl.h>
#include <holdfast/control.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Clients at once; further ones wait in the backlog. All but root leave some to root. */
#define CLIENTS_MAX	      64
#define CLIENTS_OF_OTHERS_MAX 48

/* A client and the process that serves it. */
struct client {
	pid_t pid; /* 0: none */
	uid_t uid;
};

struct porter {
	int channel;  /* to the supervisor */
	int listener; /* the scan socket; -1: not yet */
	int guard;    /* -1: none */
	int signals;  /* signalfd of SIGCHLD */
	struct client clients[CLIENTS_MAX];
};

/* --- clients --- */

/* A place for a client of this user; NULL: there is none. */
static struct client *porter_find_place(struct porter *porter, uid_t uid)
{
	unsigned n_own = 0, n_others = 0;
	struct client *place = NULL;

	for (unsigned i = 0; i < CLIENTS_MAX; i++) {
		struct client *client = &porter->clients[i];

		if (!client->pid)
			place = client;
		n_own += client->pid && client->uid == uid;
		n_others += client->pid && client->uid != 0;
	}
	return uid == 0 || (n_own < SCAN_CONNECTIONS_MAX && n_others < CLIENTS_OF_OTHERS_MAX)
		       ? place
		       : NULL;
}

/* In the child: nothing but the two sockets is left to it. */
static _Noreturn void porter_be_relay(int client, int guard)
{
	int ends[2] = {dup2(client, STDERR_FILENO + 1), dup2(guard, STDERR_FILENO + 2)};

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (ends[0] < 0 || ends[1] < 0 || close_range(STDERR_FILENO + 3, ~0u, 0) < 0)
		_exit(1);
	relay_run(ends[0], ends[1]);
	_exit(0);
}

/* Makes a client known to the guard and begins to serve it. */
static void porter_admit(struct porter *porter, struct client *place, int fd,
			 const struct ucred *peer)
{
	const struct wire_scan_client message = {
		.header = WIRE_INIT(WIRE_SCAN_CLIENT, struct wire_scan_client),
		.pid = peer->pid,
		.uid = peer->uid,
	};
	int ends[2], low[2];
	pid_t pid = -1;

	if (chan_pair(ends) < 0)
		return;
	/* Above where the child puts them. */
	low[0] = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 3);
	low[1] = fcntl(ends[1], F_DUPFD_CLOEXEC, STDERR_FILENO + 3);
	if (low[0] >= 0 && low[1] >= 0 && chan_send(porter->guard, &message.header, ends[0]) == 0)
		pid = fork();
	if (pid == 0)
		porter_be_relay(low[0], low[1]);
	if (pid > 0)
		*place = (struct client){.pid = pid, .uid = peer->uid};
	for (unsigned i = 0; i < 2; i++) {
		close(ends[i]);
		if (low[i] >= 0)
			close(low[i]);
	}
}

/* Whoever finds no place loses the connection: he has others, or others have all. */
static void porter_accept(struct porter *porter)
{
	int fd = accept4(porter->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	socklen_t size = sizeof(struct ucred);
	struct client *place;
	struct ucred peer;

	if (fd < 0)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
	    (place = porter_find_place(porter, peer.uid)))
		porter_admit(porter, place, fd, &peer);
	close(fd);
}

static void porter_reap(struct porter *porter)
{
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	(void)!read(porter->signals, &info, sizeof(info));
	while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
		/* One that is stopped would keep the place of a client. */
		if (WIFSTOPPED(status)) {
			(void)kill(pid, SIGKILL);
			continue;
		}
		for (unsigned i = 0; i < CLIENTS_MAX; i++)
			if (porter->clients[i].pid == pid)
				porter->clients[i].pid = 0;
	}
}

/* --- the supervisor --- */

/* There is nothing in the configuration that concerns us. */
static int porter_take_conf(void *context, struct chan_message *message)
{
	const struct wire_result ready = wire_result_make(WIRE_READY, "");
	const struct porter *porter = context;

	close(message->fd);
	return chan_send(porter->channel, &ready.header, -1);
}

static int porter_take_peer(void *context, struct chan_message *message)
{
	const uint32_t role = ((const struct wire_peer *)(const void *)message)->role;
	struct porter *porter = context;
	int *peer = role == WIRE_PEER_SCAN    ? &porter->listener
		    : role == WIRE_PEER_GUARD ? &porter->guard
					      : NULL;

	if (!peer) {
		close(message->fd);
		return -EPROTO;
	}
	if (*peer >= 0)
		close(*peer);
	*peer = message->fd;
	return 0;
}

static int porter_take_ping(void *context, struct chan_message *message)
{
	chan_pong(((const struct porter *)context)->channel);
	return 0;
}

static const struct chan_rule channel_rules[] = {
	{WIRE_PING, sizeof(struct wire_plain), false, porter_take_ping},
	{WIRE_CONFIG, sizeof(struct wire_plain), true, porter_take_conf},
	{WIRE_PEER, sizeof(struct wire_peer), true, porter_take_peer},
	{0},
};

/* The guard has nothing to say here; its end means that it has gone. */
static const struct chan_rule guard_rules[] = {{0}};

static bool porter_has_room(const struct porter *porter)
{
	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		if (!porter->clients[i].pid)
			return true;
	return false;
}

static int porter_loop(struct porter *porter)
{
	for (;;) {
		bool open = porter->guard >= 0 && porter_has_room(porter);
		struct pollfd fds[] = {
			{.fd = porter->channel, .events = POLLIN},
			{.fd = porter->signals, .events = POLLIN},
			{.fd = porter->guard, .events = POLLIN},
			{.fd = open ? porter->listener : -1, .events = POLLIN},
		};

		if (poll(fds, 4, -1) < 0 && errno != EINTR)
			return 1;
		if (fds[1].revents)
			porter_reap(porter);
		if (fds[2].revents && chan_serve(porter->guard, guard_rules, porter) != -EAGAIN) {
			close(porter->guard);
			porter->guard = -1;
		}
		if (fds[0].revents && chan_serve(porter->channel, channel_rules, porter) < 0)
			return 0;
		if (fds[3].revents && porter->guard >= 0)
			porter_accept(porter);
	}
}

int porter_run(int channel)
{
	struct porter porter = {.channel = channel, .listener = -1, .guard = -1};
	sigset_t chld;

	(void)sigemptyset(&chld);
	(void)sigaddset(&chld, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &chld, NULL);
	porter.signals = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
	if (porter.signals < 0)
		return 1;
	return porter_loop(&porter);
}
