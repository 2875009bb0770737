/* SPDX-License-Identifier: GPL-2.0-only */
#include "remote.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STACK_SIZE 65536

/* What a thread is given, and owns: it may still wait when everything else has gone. */
struct task {
	struct group group;
	struct remote_mark mark;
	int results;
	char point[];
};

int remote_init(struct remote *remote, struct group *group)
{
	*remote = (struct remote){.group = group, .results = {-1, -1}};
	return pipe2(remote->results, O_CLOEXEC | O_NONBLOCK) < 0 ? -errno : 0;
}

void remote_deinit(struct remote *remote)
{
	for (int i = 0; i < 2; i++)
		if (remote->results[i] >= 0)
			close(remote->results[i]);
}

static void *task_run(void *argument)
{
	struct task *task = argument;

	task->mark.result = group_watch_steadily(&task->group, task->point);
	(void)!write(task->results, &task->mark, sizeof(task->mark));
	close(task->results);
	free(task);
	return NULL;
}

static int task_start(const struct remote *remote, const struct remote_mark *mark,
		      const char *point)
{
	struct task *task = malloc(sizeof(*task) + strlen(point) + 1);
	pthread_attr_t attributes;
	pthread_t thread;
	int r;

	if (!task)
		return -ENOMEM;
	*task = (struct task){
		.group = *remote->group,
		.mark = *mark,
		.results = fcntl(remote->results[1], F_DUPFD_CLOEXEC, 0),
	};
	strcpy(task->point, point);
	(void)pthread_attr_init(&attributes);
	(void)pthread_attr_setstacksize(&attributes, STACK_SIZE);
	(void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	r = task->results < 0 ? errno : pthread_create(&thread, &attributes, task_run, task);
	(void)pthread_attr_destroy(&attributes);
	if (r != 0) {
		if (task->results >= 0)
			close(task->results);
		free(task);
	}
	return -r;
}

static struct remote_mark *remote_find(struct remote *remote, uint64_t device, uint64_t mount_id)
{
	for (size_t i = 0; i < remote->n; i++)
		if (remote->marks[i].device == device && remote->marks[i].mount_id == mount_id)
			return &remote->marks[i];
	return NULL;
}

int remote_mark(struct remote *remote, uint64_t device, uint64_t mount_id, const char *point)
{
	struct remote_mark *mark = remote_find(remote, device, mount_id);
	int r;

	if (mark && mark->asked)
		return mark->result;
	if (!mark && remote->n == REMOTE_MAX)
		return -ENOSPC;
	if (!mark) {
		mark = &remote->marks[remote->n++];
		*mark = (struct remote_mark){
			.device = device, .mount_id = mount_id, .result = -EINPROGRESS};
	}
	r = task_start(remote, mark, point);
	mark->asked = r == 0;
	if (r < 0)
		mark->result = r;
	return mark->result;
}

int remote_fd(const struct remote *remote)
{
	return remote->results[0];
}

bool remote_read(struct remote *remote)
{
	struct remote_mark said, *mark;
	bool new = false;

	while (read(remote->results[0], &said, sizeof(said)) == sizeof(said)) {
		mark = remote_find(remote, said.device, said.mount_id);
		if (!mark)
			continue;
		new |= mark->result != said.result;
		mark->result = said.result;
		mark->asked = false;
	}
	return new;
}

void remote_keep(struct remote *remote,
		 bool (*keep)(const void *context, const struct remote_mark *mark),
		 const void *context)
{
	size_t n = 0;

	for (size_t i = 0; i < remote->n; i++)
		/* Its thread may hang: it counts until it has answered. */
		if (remote->marks[i].asked || keep(context, &remote->marks[i]))
			remote->marks[n++] = remote->marks[i];
	remote->n = n;
}
