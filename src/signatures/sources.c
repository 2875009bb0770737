/* SPDX-License-Identifier: GPL-2.0-only */
#include "sources.h"

#include "../common/clock.h"
#include "../common/signature.h"
#include "container.h"

#include <clamav.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHA256_SIZE 32

/* So many hexadecimal digits tell files apart for people. */
#define SHOWN_DIGITS 12

/* Where a file changed so shortly before we looked, its times may not tell of another change. */
#define TIMES_TELL_AFTER_S 2

struct source {
	char *path;
	const char *name; /* in path */
	unsigned directory;
	struct stat status;
	unsigned char digest[SHA256_SIZE];
};

/* What the hasher tells of each file. */
struct source_told {
	int32_t error; /* errno; 0: there is a digest */
	unsigned char digest[SHA256_SIZE];
};

/* --- listing --- */

static int sources_add(struct sources *sources, unsigned directory, const char *name)
{
	struct source source = {.directory = directory};

	if (!signature_is_file(name))
		return 0;
	if (asprintf(&source.path, "%s/%s", sources->directories[directory].path, name) < 0)
		return -ENOMEM;
	source.name = source.path + strlen(source.path) - strlen(name);
	if (stat(source.path, &source.status) < 0) {
		free(source.path);
		return 0;
	}
	/* A directory or a FIFO would keep libclamav busy for ever. */
	if (!S_ISREG(source.status.st_mode) || sources->n_files == SOURCES_FILES_MAX) {
		free(source.path);
		return S_ISREG(source.status.st_mode) ? -E2BIG : -EISDIR;
	}
	sources->files[sources->n_files++] = source;
	sources->directories[directory].n_files++;
	return 0;
}

/* Adds all files, in the order of their names, the hidden ones too: they are loaded. */
static int sources_add_all(struct sources *sources, unsigned directory)
{
	struct dirent **entries;
	int n = scandir(sources->directories[directory].path, &entries, NULL, alphasort), r = 0;

	if (n < 0)
		return errno == ENOENT ? 0 : -errno;
	for (int i = 0; i < n; i++) {
		if (r == 0)
			r = sources_add(sources, directory, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	return r;
}

static void sources_problem(const struct sources *sources, const char *path, int error,
			    char *problem, size_t size)
{
	if (error == EISDIR)
		(void)snprintf(problem, size,
			       "signatures: something in %s is called like a file of signatures "
			       "and is none; remove it",
			       path);
	else if (error == E2BIG)
		(void)snprintf(problem, size,
			       "signatures: there are more than %d files in %s; merge some",
			       SOURCES_FILES_MAX, path);
	else
		(void)snprintf(problem, size, "signatures: cannot read %s as user %s: %s", path,
			       sources->conf->user, strerror(error));
}

static void sources_add_directory(struct sources *sources, const char *path)
{
	struct sources_directory *directory = &sources->directories[sources->n_directories++];

	(void)snprintf(directory->path, sizeof(directory->path), "%s", path);
}

/* The same directories once more, or those of the configuration where before is NULL. */
static struct sources *sources_list(const struct conf *conf, const struct sources *before,
				    char *problem, size_t problem_size)
{
	struct sources *sources = calloc(1, sizeof(*sources));
	char path[PATH_MAX + sizeof(SIGNATURE_CURRENT) + 1], resolved[PATH_MAX];
	struct stat status;

	(void)snprintf(problem, problem_size, "out of memory");
	if (!sources)
		return NULL;
	sources->conf = conf;
	sources->digests = -1;
	sources->listed_at = (int64_t)(clock_wall_us() / CLOCK_US_PER_SEC);
	sources->files = calloc(SOURCES_FILES_MAX, sizeof(*sources->files));
	if (!sources->files)
		return sources_free(sources);

	if (before) {
		for (unsigned i = 0; i < before->n_directories; i++)
			sources_add_directory(sources, before->directories[i].path);
	} else {
		sources_add_directory(sources, conf_signatures_dir(conf, resolved, PATH_MAX));
		(void)snprintf(path, sizeof(path), "%s/" SIGNATURE_CURRENT, resolved);
		if (lstat(path, &status) == 0 && S_ISLNK(status.st_mode) &&
		    realpath(path, resolved) && stat(resolved, &status) == 0 &&
		    S_ISDIR(status.st_mode))
			sources_add_directory(sources, resolved);
	}
	for (unsigned i = 0; i < sources->n_directories; i++) {
		int r = sources_add_all(sources, i);

		if (r < 0) {
			sources_problem(sources, sources->directories[i].path, -r, problem,
					problem_size);
			return sources_free(sources);
		}
	}
	return sources;
}

struct sources *sources_new(const struct conf *conf, char *problem, size_t problem_size)
{
	return sources_list(conf, NULL, problem, problem_size);
}

struct sources *sources_free(struct sources *sources)
{
	if (!sources)
		return NULL;
	if (sources->digests >= 0)
		close(sources->digests);
	/* Nobody reads what it says, so it ends. */
	if (sources->hasher)
		(void)waitpid(sources->hasher, NULL, 0);
	for (unsigned i = 0; i < sources->n_files; i++)
		free(sources->files[i].path);
	free(sources->files);
	free(sources);
	return NULL;
}

/* --- digests --- */

/* Returns 0 or a negative errno. */
static int source_hash(const struct source *source, unsigned char *ret_digest)
{
	int fd = open(source->path, O_RDONLY | O_CLOEXEC);
	unsigned char *digest;
	unsigned length = 0;
	int r = -EIO;

	if (fd < 0)
		return -errno;
	digest = cl_hash_file_fd(fd, "sha256", &length);
	close(fd);
	if (digest && length == SHA256_SIZE) {
		memcpy(ret_digest, digest, SHA256_SIZE);
		r = 0;
	}
	free(digest);
	return r;
}

static _Noreturn void sources_tell_digests(const struct sources *sources, int fd)
{
	for (unsigned i = 0; i < sources->n_files; i++) {
		struct source_told told = {0};

		told.error = -source_hash(&sources->files[i], told.digest);
		if (write(fd, &told, sizeof(told)) != sizeof(told))
			_exit(1);
	}
	_exit(0);
}

bool sources_hash(struct sources *sources, char *problem, size_t problem_size)
{
	int ends[2];
	pid_t pid = -1;

	if (!sources->n_files)
		return true;
	if (pipe2(ends, O_CLOEXEC) == 0) {
		pid = fork();
		if (pid == 0) {
			close(ends[0]);
			sources_tell_digests(sources, ends[1]);
		}
		close(ends[1]);
		if (pid < 0)
			close(ends[0]);
	}
	if (pid < 0) {
		(void)snprintf(problem, problem_size, "signatures: no process to read them in: %s",
			       strerror(errno));
		return false;
	}
	sources->hasher = pid;
	sources->digests = ends[0];
	return true;
}

/* A message is shorter than PIPE_BUF, so it comes as a whole. */
static bool sources_hear_digests(struct sources *sources, char *problem, size_t problem_size)
{
	for (unsigned i = 0; i < sources->n_files; i++) {
		struct source *source = &sources->files[i];
		struct source_told told = {.error = EIO};

		if (read(sources->digests, &told, sizeof(told)) != sizeof(told) || told.error) {
			sources_problem(sources, source->path, told.error, problem, problem_size);
			return false;
		}
		memcpy(source->digest, told.digest, sizeof(told.digest));
	}
	return true;
}

static bool is_same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* Whether the times of a file show that nothing has happened to it. */
static bool source_is_untouched(const struct source *source, int64_t seen_at,
				const struct source *after)
{
	const struct stat *a = &source->status, *b = &after->status;

	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       is_same_time(a->st_mtim, b->st_mtim) && is_same_time(a->st_ctim, b->st_ctim) &&
	       a->st_ctim.tv_sec + TIMES_TELL_AFTER_S < seen_at;
}

static bool sources_are_equal(const struct sources *sources, const struct sources *after)
{
	if (sources->n_files != after->n_files)
		return false;
	for (unsigned i = 0; i < sources->n_files; i++) {
		const struct source *a = &sources->files[i], *b = &after->files[i];
		unsigned char digest[SHA256_SIZE];

		if (strcmp(a->path, b->path) != 0)
			return false;
		if (!source_is_untouched(a, sources->listed_at, b) &&
		    (source_hash(b, digest) < 0 || memcmp(a->digest, digest, SHA256_SIZE) != 0))
			return false;
	}
	return true;
}

bool sources_settle(struct sources *sources, char *problem, size_t problem_size)
{
	struct sources *after;
	bool is_same;

	if (!sources_hear_digests(sources, problem, problem_size))
		return false;
	after = sources_list(sources->conf, sources, problem, problem_size);
	if (!after)
		return false;
	is_same = sources_are_equal(sources, after);
	if (!is_same)
		(void)snprintf(problem, problem_size,
			       "signatures: those in %s changed while they were loaded",
			       sources->directories[0].path);
	(void)sources_free(after);
	return is_same;
}

/* --- describing --- */

/* Adds what a file is called and its version. Returns how many bytes of versions are in use. */
static size_t sources_show(struct wire_engine_info *info, size_t shown, const char *name,
			   const char *version)
{
	static const char more[] = ", ...";
	char *at = info->versions + shown;
	size_t left = sizeof(info->versions) - shown;
	int n = snprintf(at, left, "%s%s %s", shown ? ", " : "", name, version);

	if (n >= 0 && (size_t)n + sizeof(more) <= left)
		return shown + (size_t)n;
	(void)snprintf(at, left, "%s", left >= sizeof(more) ? more : "");
	return sizeof(info->versions) - 1;
}

static void source_digits(const struct source *source, char digits[2 * SHA256_SIZE + 1])
{
	for (unsigned i = 0; i < SHA256_SIZE; i++)
		(void)snprintf(digits + 2 * i, 3, "%02x", source->digest[i]);
}

static struct wire_database source_describe(const struct source *source)
{
	struct wire_database database = {
		.header = WIRE_INIT(WIRE_DATABASE, struct wire_database),
		.built_at = source->status.st_mtim.tv_sec,
	};
	struct container_head head;

	(void)snprintf(database.name, sizeof(database.name), "%s", source->name);
	if (signature_is_container(source->name) && container_read(source->path, &head) == 0) {
		database.built_at = head.built_at;
		database.version = head.version;
		database.signatures = head.signatures;
	}
	return database;
}

static void sources_write_settings(const struct conf *conf, FILE *text)
{
	(void)fprintf(
		text, "%s %u %llu %llu %llu %d %d\n", cl_retver(), cl_retflevel(),
		(unsigned long long)conf->max_file_size, (unsigned long long)conf->max_scan_size,
		(unsigned long long)conf->max_scan_time_ms, conf->detect_pua, conf->heuristics);
}

/* All that makes the set goes to text. Returns how many databases are told of. */
static unsigned sources_write(const struct sources *sources, FILE *text,
			      struct wire_engine_info *info, struct wire_database *databases)
{
	int64_t newest_signed = 0, newest_any = 0;
	unsigned n_databases = 0;
	size_t shown = 0;

	for (unsigned i = 0; i < sources->n_files; i++) {
		const struct source *source = &sources->files[i];
		const struct wire_database database = source_describe(source);
		int64_t *newest = database.version ? &newest_signed : &newest_any;
		char digits[2 * SHA256_SIZE + 1], version[32];

		source_digits(source, digits);
		(void)fprintf(text, "%u/%s %s\n", source->directory, source->name, digits);
		if (database.version)
			(void)snprintf(version, sizeof(version), "%u", database.version);
		else
			(void)snprintf(version, sizeof(version), "%.*s", SHOWN_DIGITS, digits);
		shown = sources_show(info, shown, source->name, version);
		if (database.built_at > *newest)
			*newest = database.built_at;
		if (n_databases < WIRE_DATABASES_MAX)
			databases[n_databases++] = database;
	}
	info->newest = newest_signed ? newest_signed : newest_any;
	return n_databases;
}

int sources_describe(const struct sources *sources, struct wire_engine_info *info,
		     struct wire_database databases[WIRE_DATABASES_MAX])
{
	unsigned char digest[SHA256_SIZE];
	char *text = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&text, &size);
	int n;

	if (!stream)
		return -ENOMEM;
	*info->versions = '\0';
	(void)snprintf(info->engine, sizeof(info->engine), "%s", cl_retver());
	sources_write_settings(sources->conf, stream);
	n = (int)sources_write(sources, stream, info, databases);
	if (fclose(stream) != 0 || !cl_hash_data("sha256", text, size, digest, NULL))
		n = -ENOMEM;
	else
		memcpy(&info->set, digest, sizeof(info->set));
	free(text);
	return n;
}

/* Whether one of them makes the other superfluous. */
static bool source_is_double(const struct source *a, const struct source *b)
{
	size_t length = strcspn(a->name, ".");

	if (!strcmp(a->name, b->name))
		return true;
	return signature_is_container(a->name) && signature_is_container(b->name) &&
	       length == strcspn(b->name, ".") && !strncmp(a->name, b->name, length);
}

bool sources_find_double(const struct sources *sources, char *text, size_t size)
{
	for (unsigned i = 0; i < sources->n_files; i++)
		for (unsigned j = i + 1; j < sources->n_files; j++) {
			const struct source *a = &sources->files[i], *b = &sources->files[j];

			if (!source_is_double(a, b))
				continue;
			(void)snprintf(text, size,
				       "signatures: %s and %s are the same database, which takes "
				       "memory twice; remove one",
				       a->path, b->path);
			return true;
		}
	return false;
}
