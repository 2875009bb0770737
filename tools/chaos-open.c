/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The part of tools/chaos that opens files, of which each open's right answer is known:
 *
 *   chaos-open RESULTS UID GID PROCESSES THREADS SEED REST MARKER < LIST
 *
 * RESULTS is a file that is mapped: struct chaos, followed by its threads and records, whom
 * tools/chaos watches. It begins when chaos->go is set, and ends on SIGTERM. REST is the
 * microseconds between two opens of a thread. MARKER is what makes a file malware. LIST has a file
 * in each line: a letter of enum kind, a space and the path.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAGIC	     0x31736f616863ULL
#define FILES_MAX    4096
#define RECORDS	     65536 /* a power of two */
#define BUCKETS	     40	   /* of nanoseconds: bucket i has those from 2^i on */
#define CONTENT_MAX  (1 << 20)
#define RECORD_PATH  80
#define PER_THOUSAND 1000

enum outcome { CLEAN_ALLOWED, INFECTED_DENIED, INFECTED_ALLOWED, CLEAN_DENIED, OTHER, OUTCOMES };

enum kind {
	KIND_CLEAN = 'c',
	KIND_INFECTED = 'i',
	KIND_PROGRAM = 'p',	     /* is executed */
	KIND_INFECTED_PROGRAM = 'q', /* is to be executed */
	KIND_CHANGING = 'w',  /* one process rewrites, replaces and renames it; clean at first */
	KIND_KEPT_OPEN = 'k', /* the same, by a descriptor that is never closed */
	KIND_VISITING_CLEAN = 'C', /* on the filesystem that comes and goes */
	KIND_VISITING_INFECTED = 'I',
};

enum change { UNCHANGED, WRITTEN, REPLACED, MOVED, WRITTEN_KEPT_OPEN };

/* An open that took long, or that was not answered as it should have been. */
struct record {
	_Atomic uint64_t number; /* from 1 on; 0 while it is being written */
	uint64_t begin_ns, end_ns;
	uint32_t thread, outcome;
	int32_t error;
	int32_t change; /* enum change: what was done last to a file that changes */
	uint64_t changed_ns;
	char path[RECORD_PATH]; /* its end */
};

struct thread {
	int32_t pid, tid;
	_Atomic uint64_t since_ns;  /* of the open that it is in; 0: none */
	_Atomic uint64_t denied_ns; /* when the last open began that was denied rightly */
	_Atomic uint64_t outcomes[OUTCOMES];
	_Atomic uint64_t buckets[BUCKETS];
	_Atomic uint64_t max_ns;
	_Atomic uint64_t changes, renames, executions;
	char path[RECORD_PATH];
};

struct chaos {
	uint64_t magic;
	_Atomic uint64_t record_over_ns;
	_Atomic uint64_t records; /* written so far; the ring keeps the last */
	_Atomic uint32_t go, stop;
	_Atomic uint32_t visiting; /* 1: the filesystem that comes and goes is there */
	_Atomic uint32_t visitors; /* threads that are about to open a file of it */
	uint32_t n_threads, n_records;
};

struct file {
	enum kind kind;
	pthread_rwlock_t lock; /* for those that change: while the answer must stay as it is */
	bool infected, elsewhere;
	enum change change;
	uint64_t changed_ns;
	int fd;
	size_t size;
	char path[PATH_MAX], other_path[PATH_MAX];
};

/* The files of a kind, as numbers. */
struct list {
	unsigned files[FILES_MAX], n;
};

static struct chaos *chaos;
static struct thread *threads;
static struct record *records;
static struct file *files;
static unsigned n_files;
static struct list clean, infected, programs, changing, visiting;
static const char *marker;
static unsigned rest_us;
static uint64_t seed;

static _Thread_local struct thread *self;
static _Thread_local const struct file *current; /* the file that is opened, where it changes */
static _Thread_local uint64_t random_state;

static uint64_t now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static unsigned below(unsigned limit)
{
	random_state = random_state * 6364136223846793005 + 1442695040888963407;
	return (unsigned)((random_state >> 33) % limit);
}

/* --- what became of an open --- */

static const char *end_of(const char *path)
{
	size_t length = strlen(path);

	return length < RECORD_PATH ? path : path + length - RECORD_PATH + 1;
}

static void take_down(enum outcome outcome, int error, uint64_t begin, uint64_t end)
{
	uint64_t number = atomic_fetch_add(&chaos->records, 1) + 1;
	struct record *record = &records[(number - 1) % RECORDS];

	atomic_store(&record->number, 0);
	record->begin_ns = begin;
	record->end_ns = end;
	record->thread = (uint32_t)(self - threads);
	record->outcome = outcome;
	record->error = error;
	record->change = current ? (int32_t)current->change : UNCHANGED;
	record->changed_ns = current ? current->changed_ns : 0;
	memcpy(record->path, self->path, sizeof(record->path));
	atomic_store(&record->number, number);
}

static uint64_t begin_open(const char *path)
{
	uint64_t begin = now_ns();

	(void)snprintf(self->path, sizeof(self->path), "%s", end_of(path));
	atomic_store(&self->since_ns, begin);
	return begin;
}

/* error is 0 where it was opened. */
static void end_open(uint64_t begin, int error, bool is_infected)
{
	uint64_t end = now_ns(), taken = end - begin;
	unsigned bucket = taken ? 63 - (unsigned)__builtin_clzll(taken) : 0;
	enum outcome outcome = error && error != EPERM ? OTHER
			       : is_infected ? (error ? INFECTED_DENIED : INFECTED_ALLOWED)
					     : (error ? CLEAN_DENIED : CLEAN_ALLOWED);

	atomic_store(&self->since_ns, 0);
	self->outcomes[outcome]++;
	self->buckets[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
	if (taken > self->max_ns)
		self->max_ns = taken;
	if (outcome == INFECTED_DENIED)
		self->denied_ns = begin;
	if (outcome > INFECTED_DENIED || taken >= chaos->record_over_ns)
		take_down(outcome, error, begin, end);
}

/* Returns the descriptor or -1. */
static int open_expecting(const char *path, int flags, bool is_infected)
{
	uint64_t begin = begin_open(path);
	int fd = open(path, flags | O_CLOEXEC, 0644);

	end_open(begin, fd < 0 ? errno : 0, is_infected);
	return fd;
}

static void read_expecting(const char *path, bool is_infected)
{
	int fd = open_expecting(path, O_RDONLY, is_infected);
	char byte;

	if (fd < 0)
		return;
	(void)!read(fd, &byte, 1);
	close(fd);
}

/* --- files that change --- */

static const char *path_of(const struct file *file)
{
	return file->elsewhere ? file->other_path : file->path;
}

/* Text, no two alike, which ends with the marker where it is malware. */
static bool write_content(int fd, size_t size, bool is_infected)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz      "; /* 32 */
	static _Thread_local char text[CONTENT_MAX];
	size_t length = strlen(marker);

	for (size_t i = 0; i < size; i++)
		text[i] = i % 80 == 79 ? '\n' : letters[below(32)];
	if (is_infected)
		memcpy(text + size - length, marker, length);
	return pwrite(fd, text, size, 0) == (ssize_t)size;
}

static void changed(struct file *file, enum change change)
{
	file->change = change;
	file->changed_ns = now_ns();
}

static void change_by_writing(struct file *file)
{
	int fd = open_expecting(path_of(file), O_WRONLY | O_TRUNC, false);

	if (fd < 0)
		return;
	file->infected = below(2);
	if (!write_content(fd, file->size, file->infected))
		err(1, "%s", path_of(file));
	close(fd);
	changed(file, WRITTEN);
}

/* The only way with one that nobody can open any more. */
static void change_by_replacing(struct file *file)
{
	char path[PATH_MAX];
	bool will_be = below(2);
	int fd;

	if (snprintf(path, sizeof(path), "%s.new", file->path) >= (int)sizeof(path))
		errx(1, "%s: name too long", file->path);
	(void)unlink(path); /* of a time when it was refused */
	fd = open_expecting(path, O_WRONLY | O_CREAT | O_EXCL, false);
	if (fd < 0)
		return;
	if (!write_content(fd, file->size, will_be) || rename(path, path_of(file)) < 0)
		err(1, "%s", path);
	file->infected = will_be;
	close(fd);
	changed(file, REPLACED);
}

static void change_kept_open(struct file *file)
{
	if (file->fd < 0)
		file->fd = open_expecting(file->path, O_RDWR, file->infected);
	if (file->fd < 0)
		return;
	file->infected = below(2);
	if (!write_content(file->fd, file->size, file->infected))
		err(1, "%s", file->path);
	changed(file, WRITTEN_KEPT_OPEN);
}

static void change(struct file *file)
{
	(void)pthread_rwlock_wrlock(&file->lock);
	current = file;
	if (file->kind == KIND_KEPT_OPEN)
		change_kept_open(file);
	else if (file->infected || below(4) == 0)
		change_by_replacing(file);
	else
		change_by_writing(file);
	current = NULL;
	(void)pthread_rwlock_unlock(&file->lock);
	self->changes++;
}

static void move(struct file *file)
{
	(void)pthread_rwlock_wrlock(&file->lock);
	if (rename(path_of(file), file->elsewhere ? file->path : file->other_path) < 0)
		err(1, "rename: %s", path_of(file));
	file->elsewhere = !file->elsewhere;
	changed(file, MOVED);
	(void)pthread_rwlock_unlock(&file->lock);
	self->renames++;
}

static void read_changing(struct file *file)
{
	(void)pthread_rwlock_rdlock(&file->lock);
	current = file;
	read_expecting(path_of(file), file->infected);
	current = NULL;
	(void)pthread_rwlock_unlock(&file->lock);
}

/* --- the others --- */

static void execute(const struct file *file)
{
	char *argv[] = {(char *)(uintptr_t)file->path, NULL};
	char *environment[] = {NULL};
	uint64_t begin = begin_open(file->path);
	pid_t child;
	int error = posix_spawn(&child, file->path, NULL, NULL, argv, environment);

	end_open(begin, error, file->kind == KIND_INFECTED_PROGRAM);
	if (error == 0)
		(void)waitpid(child, NULL, 0);
	self->executions++;
}

static void visit(const struct file *file)
{
	chaos->visitors++;
	if (chaos->visiting)
		read_expecting(file->path, file->kind == KIND_VISITING_INFECTED);
	chaos->visitors--;
}

static struct file *any_of(const struct list *list)
{
	return list->n ? &files[list->files[below(list->n)]] : NULL;
}

/* What a thread does next, and how often in a thousand times. */
static void act(void)
{
	unsigned dice = below(PER_THOUSAND);
	struct file *file;

	if (dice < 350 && (file = any_of(&clean)))
		read_expecting(file->path, false);
	else if (dice < 600 && (file = any_of(&infected)))
		read_expecting(file->path, true);
	else if (dice < 850 && (file = any_of(&changing)))
		read_changing(file);
	else if (dice < 940 && (file = any_of(&changing)))
		change(file);
	else if (dice < 960 && (file = any_of(&changing)) && file->kind == KIND_CHANGING)
		move(file);
	else if (dice < 990 && (file = any_of(&visiting)))
		visit(file);
	else if ((file = any_of(&programs)))
		execute(file);
}

static void *run_thread(void *context)
{
	self = context;
	self->tid = (int32_t)syscall(SYS_gettid);
	random_state = seed + (uint64_t)(self - threads) * 0x9e3779b97f4a7c15;
	while (!chaos->go && !chaos->stop)
		(void)usleep(10000);
	while (!chaos->stop) {
		act();
		if (rest_us)
			(void)usleep(rest_us);
	}
	return NULL;
}

/* --- processes --- */

static void become(uid_t uid, gid_t gid)
{
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		err(1, "cannot become user %u", uid);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* the change of user has undone it */
}

static void list_add(struct list *list, unsigned file)
{
	list->files[list->n++] = file;
}

/* Of the files that change, a process has its own: only its threads know their state. */
static void choose_files(unsigned process, unsigned n_processes)
{
	unsigned n_changing = 0;

	for (unsigned i = 0; i < n_files; i++)
		switch (files[i].kind) {
		case KIND_CLEAN:
			list_add(&clean, i);
			break;
		case KIND_INFECTED:
			list_add(&infected, i);
			break;
		case KIND_PROGRAM:
		case KIND_INFECTED_PROGRAM:
			list_add(&programs, i);
			break;
		case KIND_CHANGING:
		case KIND_KEPT_OPEN:
			if (n_changing++ % n_processes == process)
				list_add(&changing, i);
			break;
		case KIND_VISITING_CLEAN:
		case KIND_VISITING_INFECTED:
			list_add(&visiting, i);
			break;
		}
}

static _Noreturn void run_process(unsigned process, unsigned n_threads)
{
	pthread_t *ids = calloc(n_threads, sizeof(*ids));

	if (!ids)
		err(1, "calloc");
	for (unsigned i = 0; i < n_threads; i++) {
		struct thread *thread = &threads[process * n_threads + i];

		thread->pid = getpid();
		errno = pthread_create(&ids[i], NULL, run_thread, thread);
		if (errno)
			err(1, "pthread_create");
	}
	for (unsigned i = 0; i < n_threads; i++)
		(void)pthread_join(ids[i], NULL);
	exit(0);
}

static void on_sigterm(int number)
{
	chaos->stop = 1;
}

/* --- the start --- */

static void add_file(char kind, const char *path)
{
	struct file *file = &files[n_files];
	struct stat st;

	if (n_files == FILES_MAX)
		errx(1, "more than %d files", FILES_MAX);
	if (snprintf(file->path, PATH_MAX, "%s", path) >= PATH_MAX ||
	    snprintf(file->other_path, PATH_MAX, "%s.moved", path) >= PATH_MAX)
		errx(1, "%s: name too long", path);
	if (!strchr("cipqwkCI", kind))
		errx(1, "%c: there is no such kind of file", kind);
	file->kind = (enum kind)kind;
	file->fd = -1;
	(void)pthread_rwlock_init(&file->lock, NULL);
	if (file->kind == KIND_CHANGING || file->kind == KIND_KEPT_OPEN) {
		if (stat(path, &st) < 0)
			err(1, "%s", path);
		file->size = (size_t)st.st_size;
		if (file->size > CONTENT_MAX || file->size < strlen(marker))
			errx(1, "%s: its size is not right", path);
	}
	n_files++;
}

static void read_list(void)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t length;

	files = calloc(FILES_MAX, sizeof(*files));
	if (!files)
		err(1, "calloc");
	while ((length = getline(&line, &size, stdin)) > 2) {
		line[length - 1] = '\0';
		add_file(line[0], line + 2);
	}
	free(line);
}

static void map_results(const char *path, unsigned n_threads)
{
	size_t size = sizeof(*chaos) + n_threads * sizeof(*threads) + RECORDS * sizeof(*records);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	void *memory;

	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		err(1, "%s", path);
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		err(1, "mmap: %s", path);
	close(fd);
	chaos = memory;
	threads = (void *)(chaos + 1);
	records = (void *)(threads + n_threads);
	chaos->n_threads = n_threads;
	chaos->n_records = RECORDS;
	chaos->record_over_ns = UINT64_MAX;
	chaos->magic = MAGIC;
}

int main(int argc, char **argv)
{
	const struct sigaction action = {.sa_handler = on_sigterm};
	unsigned n_processes, n_threads;
	int status, worst = 0;

	if (argc != 9)
		errx(2, "usage: RESULTS UID GID PROCESSES THREADS SEED REST MARKER < LIST");
	n_processes = (unsigned)atoi(argv[4]);
	n_threads = (unsigned)atoi(argv[5]);
	seed = strtoull(argv[6], NULL, 10);
	rest_us = (unsigned)atoi(argv[7]);
	marker = argv[8];
	map_results(argv[1], n_processes * n_threads);
	read_list();
	if (sigaction(SIGTERM, &action, NULL) < 0)
		err(1, "sigaction");

	for (unsigned i = 0; i < n_processes; i++) {
		pid_t child = fork();

		if (child < 0)
			err(1, "fork");
		if (child == 0) {
			become((uid_t)atoi(argv[2]), (gid_t)atoi(argv[3]));
			choose_files(i, n_processes);
			run_process(i, n_threads);
		}
	}
	while (wait(&status) > 0 || errno == EINTR)
		if (status)
			worst = 1;
	return worst;
}
