/* SPDX-License-Identifier: GPL-2.0-only */
#include "crew.h"

#include "../common/clock.h"
#include "lane.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Files are sent so many at a time where opening them takes no time. */
#define BATCH 8

/* An open that took longer waited for something. */
#define SLOW_US 1000

/* A thread that has waited for so long leaves work to others. */
#define WAITING_US 3000

/* The guard is busy, or there are too many files on their way to it. */
#define BUSY_MS 10

/* The last thread waits so long for others to close their connections before it tries again. */
#define CROWDED_MS 100

struct crew_thread {
	struct crew *crew;
	struct lane lane;
	pthread_t thread;
	_Atomic uint64_t waiting_since_us; /* 0: it works */
	bool is_slow;			   /* the last open waited */
	bool is_answered;		   /* it has had a verdict */
	struct crew_thread *next_left;
};

struct crew {
	struct crew_options options;
	pthread_mutex_t mutex; /* of all up to n_at_work */
	struct walk *walk;
	bool has_ended;
	struct crew_thread *left; /* whose connections were too many: others take their files */
	unsigned n_at_work;	  /* threads that have not left, nor found nothing more to do */
	atomic_bool is_stopping;
	atomic_bool has_failed;
	atomic_uint n_running;
	int done; /* eventfd */
	unsigned n_threads;
	struct crew_thread threads[CREW_MAX];
};

/* --- taking files from the walk --- */

/* A file that was found, which outlives the next step of the walk. path is one allocation with its
 * name. */
static int crew_keep(const struct walk_item *found, struct walk_item *ret_kept)
{
	size_t path_size = strlen(found->path) + 1, name_size = strlen(found->name) + 1;
	int directory = fcntl(found->directory, F_DUPFD_CLOEXEC, 0);
	char *path;

	/* Not every directory is a descriptor. */
	if (directory < 0 && found->directory != AT_FDCWD)
		return -errno;
	path = malloc(path_size + name_size);
	if (!path) {
		close(directory);
		return -ENOMEM;
	}
	memcpy(path, found->path, path_size);
	memcpy(path + path_size, found->name, name_size);
	*ret_kept = *found;
	ret_kept->path = path;
	ret_kept->name = path + path_size;
	ret_kept->directory = directory < 0 ? AT_FDCWD : directory;
	return 0;
}

/* Steps to the next file. Returns whether there is one. The mutex is held. */
static bool crew_walk(struct crew *crew, struct walk_item *ret_item)
{
	while (!crew->has_ended &&
	       !atomic_load_explicit(&crew->is_stopping, memory_order_relaxed)) {
		struct walk_item item;
		int r;

		walk_next(crew->walk, &item);
		if (item.kind == WALK_END) {
			crew->has_ended = true;
		} else if (item.kind != WALK_FILE) {
			show_item(crew->options.show, &item);
		} else {
			r = crew_keep(&item, ret_item);
			if (r == 0)
				return true;
			show_unreadable(crew->options.show, item.path, r);
		}
	}
	return false;
}

static bool crew_next(struct crew *crew, struct walk_item *ret_item)
{
	bool found;

	(void)pthread_mutex_lock(&crew->mutex);
	found = crew_walk(crew, ret_item);
	(void)pthread_mutex_unlock(&crew->mutex);
	return found;
}

/* --- the connection --- */

static void crew_fail(struct crew *crew, const char *problem)
{
	if (!atomic_exchange(&crew->has_failed, true))
		show_problem(crew->options.show, problem);
	crew_stop(crew);
}

/* Leaves the files to others, where the connection was one too many. Returns whether it was. */
static bool crew_leave(struct crew_thread *thread)
{
	struct crew *crew = thread->crew;
	bool leaves;

	if (!crew->options.is_limited || thread->lane.fd < 0 || thread->is_answered)
		return false;
	(void)pthread_mutex_lock(&crew->mutex);
	/* Somebody has to go on trying. */
	leaves = crew->n_at_work > 1;
	if (leaves) {
		lane_attach(&thread->lane, -1);
		crew->n_at_work--;
		thread->next_left = crew->left;
		crew->left = thread;
	}
	(void)pthread_mutex_unlock(&crew->mutex);
	if (!leaves)
		(void)usleep(CROWDED_MS * 1000);
	return leaves;
}

/* Takes files of threads that have left. Returns whether there were any; if not, this thread is not
 * at work any more, and none can leave files to it. */
static bool crew_take_over(struct crew_thread *thread)
{
	struct crew *crew = thread->crew;
	struct lane_file file;

	(void)pthread_mutex_lock(&crew->mutex);
	while (crew->left && !lane_is_full(&thread->lane)) {
		if (crew->left->lane.n_files) {
			lane_hand_over(&crew->left->lane, &file);
			lane_put(&thread->lane, &file);
		} else {
			crew->left = crew->left->next_left;
		}
	}
	if (!thread->lane.n_files) {
		lane_attach(&thread->lane, -1);
		crew->n_at_work--;
	}
	(void)pthread_mutex_unlock(&crew->mutex);
	return thread->lane.n_files > 0;
}

/* Gets a connection, the first or one instead of one that was lost. Returns whether there is one;
 * if not, the scan ends, or this thread has left. */
static bool crew_connect(struct crew_thread *thread)
{
	const struct crew_options *options = &thread->crew->options;
	char problem[512] = "";
	int fd;

	if (crew_leave(thread))
		return false;
	lane_give_up(&thread->lane, options->tries, "its scanner was lost, again and again");
	fd = options->connect(options->context, thread->lane.fd, problem, sizeof(problem));
	if (fd < 0) {
		lane_give_up(&thread->lane, 0, problem);
		lane_attach(&thread->lane, -1);
		crew_fail(thread->crew, problem);
		return false;
	}
	lane_attach(&thread->lane, fd);
	return true;
}

/* Waits for verdicts, at most so long (-1: for ever). Returns whether the connection is of use, or
 * there is a new one. */
static bool crew_await(struct crew_thread *thread, int timeout_ms)
{
	struct pollfd ready = {.fd = thread->lane.fd, .events = POLLIN};
	int r = lane_receive(&thread->lane), n;

	if (r == -EAGAIN && timeout_ms) {
		atomic_store_explicit(&thread->waiting_since_us, clock_monotonic_us(),
				      memory_order_relaxed);
		n = poll(&ready, 1, timeout_ms);
		atomic_store_explicit(&thread->waiting_since_us, 0, memory_order_relaxed);
		if (n > 0)
			r = lane_receive(&thread->lane);
		else if (n == 0 && timeout_ms == thread->crew->options.silence_ms)
			r = -ETIMEDOUT;
	}
	thread->is_answered |= r > 0;
	return r >= 0 || r == -EAGAIN || crew_connect(thread);
}

static bool crew_send(struct crew_thread *thread)
{
	int r;

	while ((r = lane_send(&thread->lane)) < 0)
		if (r == -EAGAIN ? !crew_await(thread, BUSY_MS) : !crew_connect(thread))
			return false;
	return true;
}

/* Sends what there is and waits until at most n files are under way. */
static bool crew_settle(struct crew_thread *thread, unsigned n)
{
	bool is_alive = crew_send(thread);

	while (is_alive && thread->lane.n_files > n)
		is_alive =
			crew_await(thread, thread->crew->options.silence_ms) && crew_send(thread);
	return is_alive;
}

static void crew_on_done(void *context, const struct lane_file *file,
			 const struct wire_verdict *verdict)
{
	const struct crew_thread *thread = context;

	if (file->is_refused && verdict->verdict == VERDICT_FAILED)
		show_unopened(thread->crew->options.show, file->path, -EPERM);
	else
		show_verdict(thread->crew->options.show, file->path, file->size, verdict);
}

/* --- opening files --- */

static int crew_open(struct crew_thread *thread, const struct walk_item *item)
{
	uint64_t began = clock_monotonic_us();
	int fd;

	atomic_store_explicit(&thread->waiting_since_us, began, memory_order_relaxed);
	fd = walk_open(item);
	atomic_store_explicit(&thread->waiting_since_us, 0, memory_order_relaxed);
	thread->is_slow = clock_monotonic_us() - began > SLOW_US;
	return fd;
}

/* On-access protection refuses with EPERM, and says why to whom it refused. */
static bool crew_may_ask_why(const struct crew_thread *thread, int error)
{
	return error == -EPERM && thread->crew->options.may_ask_why;
}

/* Another link to it may be one that can be opened. */
static void crew_forget_link(struct crew *crew, const struct walk_item *item)
{
	(void)pthread_mutex_lock(&crew->mutex);
	walk_forget_link(crew->walk, item);
	(void)pthread_mutex_unlock(&crew->mutex);
}

/* Opens a file and puts it into the lane. */
static void crew_pass(struct crew_thread *thread, const struct walk_item *item)
{
	struct lane_file file = {.path = (char *)item->path, .size = item->status.stx_size};
	int error;

	file.fd = error = crew_open(thread, item);
	if (crew_may_ask_why(thread, error)) {
		file.is_refused = true;
		file.fd = openat(item->directory, item->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	}
	if (item->directory >= 0)
		close(item->directory);
	if (file.fd >= 0) {
		lane_put(&thread->lane, &file);
	} else {
		crew_forget_link(thread->crew, item);
		show_unopened(thread->crew->options.show, item->path, error);
		free(file.path);
	}
}

/* --- threads --- */

/* Returns whether the connection is of use still. */
static bool crew_scan(struct crew_thread *thread)
{
	struct lane *lane = &thread->lane;
	struct walk_item item;
	bool is_alive = true;

	while (is_alive && crew_next(thread->crew, &item)) {
		unsigned unsent;

		crew_pass(thread, &item);
		unsent = lane->n_files - lane->n_sent;
		/* What is there already is taken now and then: nobody should wait for a finding. */
		if (lane_is_full(lane))
			is_alive = crew_settle(thread, lane->window / 2);
		else if (unsent >= BATCH || thread->is_slow)
			is_alive = crew_send(thread) && crew_await(thread, 0);
	}
	return is_alive && crew_settle(thread, 0);
}

/* The last one says that all is done. What nobody took has no verdict: the scan ended early. */
static void crew_end_thread(struct crew *crew)
{
	if (atomic_fetch_sub(&crew->n_running, 1) != 1)
		return;
	for (; crew->left; crew->left = crew->left->next_left)
		lane_give_up(&crew->left->lane, 0, "the scan ended");
	(void)eventfd_write(crew->done, 1);
}

static void *crew_run(void *context)
{
	struct crew_thread *thread = context;
	bool is_alive = crew_connect(thread);

	while (is_alive)
		is_alive = crew_scan(thread) && crew_take_over(thread);
	crew_end_thread(thread->crew);
	return NULL;
}

static void crew_count_at_work(struct crew *crew, int n)
{
	(void)pthread_mutex_lock(&crew->mutex);
	crew->n_at_work += (unsigned)n;
	(void)pthread_mutex_unlock(&crew->mutex);
}

static bool crew_begin_thread(struct crew *crew)
{
	struct crew_thread *thread = &crew->threads[crew->n_threads];

	*thread = (struct crew_thread){
		.crew = crew,
		.lane = {.fd = -1,
			 .window = crew->options.window,
			 .flags = crew->options.flags,
			 .done = crew_on_done,
			 .context = thread},
	};
	crew_count_at_work(crew, 1);
	(void)atomic_fetch_add(&crew->n_running, 1);
	if (pthread_create(&thread->thread, NULL, crew_run, thread) != 0) {
		crew_count_at_work(crew, -1);
		crew_end_thread(crew);
		return false;
	}
	crew->n_threads++;
	return true;
}

struct crew *crew_new(const struct crew_options *options)
{
	struct crew *crew = calloc(1, sizeof(*crew));

	if (!crew)
		return NULL;
	crew->options = *options;
	if (crew->options.threads_max > CREW_MAX)
		crew->options.threads_max = CREW_MAX;
	(void)pthread_mutex_init(&crew->mutex, NULL);
	crew->done = eventfd(0, EFD_CLOEXEC);
	crew->walk = walk_new(options->paths, options->n_paths, &crew->options.rules, NULL, 0);
	if (crew->done < 0 || !crew->walk || !crew_begin_thread(crew))
		return crew_free(crew);
	while (crew->n_threads < options->threads && crew->n_threads < crew->options.threads_max &&
	       crew_begin_thread(crew))
		;
	return crew;
}

int crew_fd(const struct crew *crew)
{
	return crew->done;
}

bool crew_tick(struct crew *crew)
{
	uint64_t now = clock_monotonic_us();
	bool all_wait = true;

	if (crew->n_threads >= crew->options.threads_max)
		return false;
	for (unsigned i = 0; i < crew->n_threads; i++) {
		uint64_t since = atomic_load(&crew->threads[i].waiting_since_us);

		/* One that has ended or left does not wait: then no more are begun. */
		all_wait &= since && since + WAITING_US < now;
	}
	/* Once all are done nobody looks at a new one. */
	if (all_wait && atomic_load(&crew->n_running) && !crew_begin_thread(crew))
		crew->options.threads_max = crew->n_threads;
	return true;
}

void crew_stop(struct crew *crew)
{
	atomic_store(&crew->is_stopping, true);
}

struct crew *crew_free(struct crew *crew)
{
	if (!crew)
		return NULL;
	for (unsigned i = 0; i < crew->n_threads; i++)
		(void)pthread_join(crew->threads[i].thread, NULL);
	walk_free(crew->walk);
	if (crew->done >= 0)
		close(crew->done);
	(void)pthread_mutex_destroy(&crew->mutex);
	free(crew);
	return NULL;
}
