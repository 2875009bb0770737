/* SPDX-License-Identifier: GPL-2.0-only */
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILE_NAME "verdicts"
#define NEW_NAME  "verdicts.new"

#define BOOT_ID_PATH "/proc/sys/kernel/random/boot_id"
#define BOOT_ID_SIZE 36

#define MAGIC UINT32_C(0x68667664)
/* Of the file, and of what verdicts_tag() makes tags of. */
#define VERSION 2

/* Tags read or written at once. */
#define CHUNK 256

#define OPEN_FLAGS (O_RDWR | O_APPEND | O_NOFOLLOW | O_CLOEXEC)

struct header {
	uint32_t magic, version;
	char boot[BOOT_ID_SIZE + 4];
	unsigned char key[VERDICTS_KEY_SIZE];
};
_Static_assert(sizeof(struct header) == 4 * VERDICTS_TAG_SIZE, "the file format");

struct journal {
	struct verdicts *verdicts;
	int directory;
	int fd;
	struct header header; /* of the file */
	size_t n;	      /* tags in the file, or that would be, had writing not failed */
	int failed;	      /* why nothing more is written to it, a negative errno */

	atomic_bool is_outdated; /* it holds a tag that was taken out */

	/* Both only grow: the loop puts tags in at head, the thread takes them out at tail. */
	atomic_size_t head, tail;
	struct verdict_tag ring[JOURNAL_RING];
};

struct problem {
	char *text;
	size_t size;
};

/* Returns false, for callers to return. */
__attribute__((format(printf, 2, 3))) static bool problem_is(const struct problem *problem,
							     const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(problem->text, problem->size, format, arguments);
	va_end(arguments);
	return false;
}

/* --- writing --- */

static int journal_put(int fd, const void *data, size_t size)
{
	ssize_t n = write(fd, data, size);

	if (n < 0)
		return -errno;
	return (size_t)n < size ? -ENOSPC : 0;
}

/* The loop may change the table meanwhile. A tag that is seen torn is one of no file. */
static int journal_put_table(struct journal *journal, int fd)
{
	const size_t capacity = verdicts_capacity(journal->verdicts);
	struct verdict_tag chunk[CHUNK];
	size_t n = 0;
	int r = 0;

	journal->n = 0;
	for (size_t place = 0; place < capacity && r == 0; place++) {
		n += verdicts_at(journal->verdicts, place, &chunk[n]) &&
		     verdict_tag_is_of_root(&chunk[n]);
		if (n < CHUNK && place + 1 < capacity)
			continue;
		r = journal_put(fd, chunk, n * sizeof(*chunk));
		journal->n += n;
		n = 0;
	}
	return r;
}

/* Nothing is synced: after a power cut the file does not count anyway. */
static int journal_write_anew(struct journal *journal)
{
	int fd, r;

	(void)unlinkat(journal->directory, NEW_NAME, 0);
	fd = openat(journal->directory, NEW_NAME, OPEN_FLAGS | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		return -errno;
	r = journal_put(fd, &journal->header, sizeof(journal->header));
	if (r == 0)
		r = journal_put_table(journal, fd);
	if (r == 0 && renameat(journal->directory, NEW_NAME, journal->directory, FILE_NAME) < 0)
		r = -errno;
	if (r < 0) {
		(void)unlinkat(journal->directory, NEW_NAME, 0);
		close(fd);
		return r;
	}
	if (journal->fd >= 0)
		close(journal->fd);
	journal->fd = fd;
	return 0;
}

static int journal_append(struct journal *journal, size_t from, size_t n)
{
	size_t first = from % JOURNAL_RING, n_first = JOURNAL_RING - first;
	struct iovec parts[2] = {{.iov_base = &journal->ring[first]}, {.iov_base = journal->ring}};
	ssize_t written;

	if (n_first > n)
		n_first = n;
	parts[0].iov_len = n_first * VERDICTS_TAG_SIZE;
	parts[1].iov_len = (n - n_first) * VERDICTS_TAG_SIZE;
	written = writev(journal->fd, parts, 2);
	if (written < 0)
		return -errno;
	return (size_t)written < n * VERDICTS_TAG_SIZE ? -ENOSPC : 0;
}

int journal_write(struct journal *journal)
{
	size_t tail = atomic_load_explicit(&journal->tail, memory_order_relaxed);
	size_t n = atomic_load_explicit(&journal->head, memory_order_acquire) - tail;
	bool is_outdated = atomic_exchange(&journal->is_outdated, false);

	if (n == 0 && !is_outdated)
		return journal->failed;
	journal->n += n;
	if (is_outdated || journal->n > 2 * verdicts_capacity(journal->verdicts))
		journal->failed = journal_write_anew(journal);
	else if (journal->failed == 0)
		journal->failed = journal_append(journal, tail, n);
	atomic_store_explicit(&journal->tail, tail + n, memory_order_release);
	return journal->failed;
}

void journal_add(struct journal *journal, const struct verdict_tag *tag)
{
	size_t head;

	if (!journal || !verdict_tag_is_of_root(tag))
		return;
	head = atomic_load_explicit(&journal->head, memory_order_relaxed);
	if (head - atomic_load_explicit(&journal->tail, memory_order_acquire) == JOURNAL_RING)
		return;
	journal->ring[head % JOURNAL_RING] = *tag;
	atomic_store_explicit(&journal->head, head + 1, memory_order_release);
}

void journal_forget(struct journal *journal)
{
	if (journal)
		atomic_store(&journal->is_outdated, true);
}

/* --- opening --- */

/* Whoever could read the key could look for files with the same tag. */
static bool journal_is_ours(int fd, const char *what, mode_t type, const struct problem *problem)
{
	const mode_t others = type == S_IFDIR ? S_IWGRP | S_IWOTH : S_IRWXG | S_IRWXO;
	struct stat status;

	if (fstat(fd, &status) < 0)
		return problem_is(problem, "%s cannot be looked at: %s", what, strerror(errno));
	if ((status.st_mode & S_IFMT) != type)
		return problem_is(problem, "%s is not a %s", what,
				  type == S_IFDIR ? "directory" : "regular file");
	if (status.st_uid != geteuid())
		return problem_is(problem, "%s belongs to user %u, not to user %u", what,
				  status.st_uid, geteuid());
	if (status.st_mode & others)
		return problem_is(problem, "%s is open to others (mode %04o)", what,
				  status.st_mode & 07777);
	return true;
}

static bool journal_read_boot(struct journal *journal, const struct problem *problem)
{
	int fd = open(BOOT_ID_PATH, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, journal->header.boot, BOOT_ID_SIZE);

	if (fd >= 0)
		close(fd);
	return n == BOOT_ID_SIZE || problem_is(problem, "%s cannot be read", BOOT_ID_PATH);
}

/* Reads the tags from number first on. */
static bool journal_load_tags(struct journal *journal, size_t first)
{
	struct verdict_tag chunk[CHUNK];
	size_t n;

	for (size_t i = first; i < journal->n; i += n) {
		ssize_t size = pread(journal->fd, chunk, sizeof(chunk),
				     (off_t)(sizeof(struct header) + i * sizeof(*chunk)));

		if (size < (ssize_t)sizeof(*chunk))
			return false;
		n = (size_t)size / sizeof(*chunk);
		for (size_t j = 0; j < n; j++)
			verdicts_add(journal->verdicts, &chunk[j]);
	}
	return true;
}

/* Returns whether the file counts. No more is read than there is room for, the last: whoever opens
 * files while we do is not protected. */
static bool journal_load(struct journal *journal)
{
	const size_t max = verdicts_capacity(journal->verdicts);
	struct header header;
	struct stat status;

	if (fstat(journal->fd, &status) < 0 ||
	    pread(journal->fd, &header, sizeof(header), 0) != sizeof(header) ||
	    memcmp(&header, &journal->header, offsetof(struct header, key)) != 0)
		return false;
	journal->n = ((size_t)status.st_size - sizeof(header)) / VERDICTS_TAG_SIZE;
	/* What was being written when we were killed. */
	if (ftruncate(journal->fd, (off_t)(sizeof(header) + journal->n * VERDICTS_TAG_SIZE)) < 0)
		return false;
	journal->header = header;
	verdicts_set_key(journal->verdicts, header.key);
	return journal_load_tags(journal, journal->n > max ? journal->n - max : 0);
}

static bool journal_begin(struct journal *journal, const struct problem *problem)
{
	int r;

	journal->fd = openat(journal->directory, FILE_NAME, OPEN_FLAGS);
	if (journal->fd < 0 && errno != ENOENT)
		return problem_is(problem, "%s cannot be opened: %s", FILE_NAME, strerror(errno));
	if (journal->fd >= 0 && !journal_is_ours(journal->fd, FILE_NAME, S_IFREG, problem))
		return false;
	if (journal->fd >= 0 && journal_load(journal))
		return true;
	r = journal_write_anew(journal);
	return r == 0 || problem_is(problem, "%s cannot be written: %s", FILE_NAME, strerror(-r));
}

static bool journal_prepare(struct journal *journal, int directory, const struct problem *problem)
{
	if (!verdicts_can_outlive_us(journal->verdicts))
		return problem_is(problem, "this kernel (before 6.8) has no unique mount ids");
	if (!journal_is_ours(directory, "the directory", S_IFDIR, problem))
		return false;
	journal->directory = fcntl(directory, F_DUPFD_CLOEXEC, 0);
	if (journal->directory < 0)
		return problem_is(problem, "%s", strerror(errno));
	journal->header.magic = MAGIC;
	journal->header.version = VERSION;
	verdicts_key(journal->verdicts, journal->header.key);
	return journal_read_boot(journal, problem);
}

struct journal *journal_open(int directory, struct verdicts *verdicts, bool is_known, char *problem,
			     size_t problem_size)
{
	const struct problem where = {problem, problem_size};
	struct journal *journal = calloc(1, sizeof(*journal));

	if (!journal) {
		(void)problem_is(&where, "out of memory");
		return NULL;
	}
	journal->verdicts = verdicts;
	journal->directory = journal->fd = -1;
	journal->is_outdated = is_known;
	if (!journal_prepare(journal, directory, &where) ||
	    (!is_known && !journal_begin(journal, &where)))
		return journal_free(journal);
	return journal;
}

struct journal *journal_free(struct journal *journal)
{
	if (!journal)
		return NULL;
	if (journal->fd >= 0)
		close(journal->fd);
	if (journal->directory >= 0)
		close(journal->directory);
	free(journal);
	return NULL;
}
