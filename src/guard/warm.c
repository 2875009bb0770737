/* SPDX-License-Identifier: GPL-2.0-only */
#include "warm.h"

#include "../common/clock.h"
#include "../common/filesystem.h"
#include "../common/path.h"
#include "../common/policy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

/* A run begins so long after the switch: those who have waited over it come first, and until the
 * upper group asks again (group.h) no file can be marked. */
#define BEGIN_AFTER_US (3 * CLOCK_US_PER_SEC)

/* So long it waits where people wait for too much else. */
#define LATER_US CLOCK_US_PER_SEC

/* The mount table is no older than this. */
#define MOUNTS_US (5 * CLOCK_US_PER_SEC)

/* O_NONBLOCK: somebody's lease on the file must not stop the thread. */
#define FILE_FLAGS (O_RDONLY | O_NONBLOCK | O_NOCTTY)

struct warm_task {
	struct scan_task task; /* first */
	struct used_file file;
	unsigned run;
};

__attribute__((format(printf, 3, 4))) static void warm_log(const struct warm *warm, int priority,
							   const char *format, ...)
{
	char text[WIRE_TEXT_MAX];
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	warm->owner->log(warm->context, priority, text);
}

void warm_init(struct warm *warm, struct used *used, const struct verdicts *verdicts,
	       struct pace *pace, const struct scan_callbacks *owner, void *context)
{
	*warm = (struct warm){
		.used = used,
		.verdicts = verdicts,
		.pace = pace,
		.owner = owner,
		.context = context,
	};
}

/* --- beginning and ending --- */

static void warm_forget(struct warm *warm)
{
	free(warm->files);
	warm->files = NULL;
	warm->n_again = 0;
	warm->has_no_engine = false;
	mounts_free(&warm->mounts);
	warm->mounts_read_us = 0;
	/* What is under way is of no run any more. */
	warm->run++;
}

void warm_deinit(struct warm *warm)
{
	warm_forget(warm);
}

static int64_t now_s(void)
{
	return (int64_t)(clock_wall_us() / CLOCK_US_PER_SEC);
}

void warm_begin(struct warm *warm, const struct conf *conf, uint64_t signatures)
{
	warm_forget(warm);
	warm->conf = conf;
	warm->signatures = signatures;
	warm->next = 0;
	warm->files = used_list(warm->used, &warm->n);
	if (!warm->files || !warm->n) {
		warm_forget(warm);
		return;
	}
	warm->began_us = clock_monotonic_us();
	warm->wait_until_us = warm->began_us + BEGIN_AFTER_US;
	warm->counts = (struct control_warm_start_reply){.began = now_s(), .of = warm->n};
	warm_log(warm, LOG_NOTICE,
		 "warm start: begins: %zu files were opened before and are verified again",
		 warm->n);
}

void warm_set_conf(struct warm *warm, const struct conf *conf)
{
	warm->conf = conf;
}

static void warm_end(struct warm *warm)
{
	const struct control_warm_start_reply *counts = &warm->counts;

	warm->counts.ended = now_s();
	warm_log(warm, LOG_NOTICE,
		 "warm start: %llu files verified again in %llu s, %llu were known, %llu gone, "
		 "%llu not clean",
		 (unsigned long long)counts->verified,
		 (unsigned long long)((clock_monotonic_us() - warm->began_us) / CLOCK_US_PER_SEC),
		 (unsigned long long)counts->known, (unsigned long long)counts->gone,
		 (unsigned long long)(counts->infected + counts->unverified));
	warm_forget(warm);
}

void warm_stop(struct warm *warm, const char *why)
{
	if (!warm->files)
		return;
	warm->counts.ended = now_s();
	warm_log(warm, LOG_NOTICE, "warm start: ends after %llu of %llu files: %s",
		 (unsigned long long)warm->counts.done, (unsigned long long)warm->counts.of, why);
	warm_forget(warm);
}

/* --- one file --- */

static int warm_read_mounts(struct warm *warm)
{
	FILE *stream;
	int r;

	if (warm->mounts_read_us && clock_monotonic_us() - warm->mounts_read_us < MOUNTS_US)
		return 0;
	stream = fopen("/proc/self/mountinfo", "re");
	if (!stream)
		return -errno;
	mounts_free(&warm->mounts);
	r = mounts_read(&warm->mounts, stream);
	(void)fclose(stream);
	warm->mounts_read_us = r == 0 ? clock_monotonic_us() : 0;
	return r;
}

/* Whether a file that is not there was in a directory that is. Where neither is there, the
 * filesystem may not be mounted now. */
static bool is_gone(int directory, const char *name)
{
	const char *slash = strrchr(name, '/');
	char parent[USED_PATH_MAX];
	int fd;

	if (!slash)
		return true;
	(void)snprintf(parent, sizeof(parent), "%.*s", (int)(slash - name), name);
	fd = file_open_below(directory, parent);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* Returns a descriptor of O_PATH, -ESTALE where the file is gone, or another negative errno. */
static int warm_find(struct warm *warm, const char *path)
{
	const struct mount *mount;
	int r = warm_read_mounts(warm), directory, fd;
	const char *name;

	if (r < 0)
		return r;
	mount = mounts_of_path(&warm->mounts, path);
	if (!mount || filesystem_kind(mount->type) != FILESYSTEM_LOCAL)
		return -EXDEV;
	directory = file_open_directory(mount->point, mount->id, false);
	if (directory < 0)
		return directory;
	name = path_rest(mount->point, path) + 1;
	fd = file_open_below(directory, name);
	if (fd == -ENOTDIR || fd == -ELOOP || (fd == -ENOENT && is_gone(directory, name)))
		fd = -ESTALE;
	close(directory);
	return fd;
}

/* Whether the file that was found is to be scanned. 0: it is; else a negative errno, -EALREADY
 * where it was verified in this state, -ESTALE where it is none. */
static int warm_judge(const struct warm *warm, int fd, struct verdict_tag *ret_tag,
		      uint64_t *ret_size)
{
	struct file_state state;
	int r = verdicts_tag(warm->verdicts, fd, "", warm->signatures, ret_tag, NULL, &state);

	if (r < 0)
		return r == -EINVAL ? -ESTALE : r;
	*ret_size = state.size;
	return state.size == 0 ? -ENODATA : verdicts_has(warm->verdicts, ret_tag) ? -EALREADY : 0;
}

static int warm_give(struct warm *warm, const struct used_file *file, int fd, uint64_t size)
{
	struct warm_task *task = calloc(1, sizeof(*task));

	if (!task)
		return -ENOMEM;
	*task = (struct warm_task){
		.task = {.lane = LANE_WARM, .fd = fd, .size = size},
		.file = *file,
		.run = warm->run,
	};
	warm->under_way++;
	warm->owner->send(warm->context, &task->task);
	return 0;
}

/* Returns 0 where the gate has it now, or a negative errno as warm_judge() does. */
static int warm_look(struct warm *warm, const struct used_file *file)
{
	char path[USED_PATH_MAX];
	struct verdict_tag tag;
	uint64_t size;
	int fd, again, r;

	if (!used_path(warm->used, file, path))
		return -EALREADY;
	if (policy_path(warm->conf, path).scope != POLICY_IN_SCOPE)
		return -EXDEV;
	fd = warm_find(warm, path);
	if (fd < 0)
		return fd;
	r = warm_judge(warm, fd, &tag, &size);
	if (r < 0) {
		close(fd);
		return r;
	}
	/* Of others' files the kernel does not let us keep the time of access. */
	again = file_reopen(fd, FILE_FLAGS | (verdict_tag_is_of_root(&tag) ? O_NOATIME : 0));
	close(fd);
	if (again < 0)
		return again;
	r = warm_give(warm, file, again, size);
	if (r < 0)
		close(again);
	return r;
}

static void warm_next(struct warm *warm, const struct used_file *file)
{
	struct control_warm_start_reply *counts = &warm->counts;
	int r = warm_look(warm, file);

	if (r == 0)
		return;
	counts->done++;
	if (r == -ESTALE) {
		counts->gone++;
		used_drop(warm->used, file);
	} else if (r == -EALREADY) {
		counts->known++;
	} else {
		counts->passed_over++;
	}
}

/* --- all files --- */

static bool warm_is_full(const struct warm *warm)
{
	return warm->under_way >= WARM_TASKS_MAX || warm->under_way >= pace_tasks(warm->pace);
}

bool warm_step(struct warm *warm, uint64_t *ret_wait_us)
{
	uint64_t now = clock_monotonic_us();
	struct used_file file;

	*ret_wait_us = UINT64_MAX;
	if (!warm->files)
		return false;
	if (warm->has_no_engine) {
		warm_stop(warm, "no engine is running");
		return false;
	}
	if (warm->next == warm->n && !warm->n_again) {
		if (!warm->under_way)
			warm_end(warm);
		return false;
	}
	if (warm_is_full(warm))
		return false;
	*ret_wait_us =
		now < warm->wait_until_us ? warm->wait_until_us - now : pace_wait(warm->pace);
	if (*ret_wait_us)
		return false;
	file = warm->n_again ? warm->again[--warm->n_again] : warm->files[warm->next++];
	warm_next(warm, &file);
	return true;
}

static void warm_count(struct warm *warm, const struct used_file *file,
		       const struct wire_verdict *verdict)
{
	struct control_warm_start_reply *counts = &warm->counts;

	counts->done++;
	if (verdict->flags & WIRE_VERDICT_KNOWN) {
		counts->known++;
	} else if (verdict->verdict == VERDICT_CLEAN) {
		counts->verified++;
	} else if (verdict->verdict == VERDICT_INFECTED) {
		counts->infected++;
		/* It has been reported, and need not be with each set of signatures. */
		used_drop(warm->used, file);
	} else {
		counts->unverified++;
	}
}

void warm_take(struct warm *warm, struct scan_task *task)
{
	struct warm_task *own = (void *)task;
	const struct wire_verdict *verdict = &task->verdict;

	warm->under_way--;
	pace_charge(warm->pace, verdict->cpu_us);
	if (own->run == warm->run) {
		if (verdict->flags & WIRE_VERDICT_NO_ENGINE) {
			warm->has_no_engine = true;
		} else if (verdict->flags & WIRE_VERDICT_LATER) {
			warm->again[warm->n_again++] = own->file;
			warm->wait_until_us = clock_monotonic_us() + LATER_US;
		} else {
			warm_count(warm, &own->file, verdict);
		}
	}
	close(task->fd);
	free(own);
}
