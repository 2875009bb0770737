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
#include <strings.h>
#include <sys/random.h>
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
	bool is_read;
	unsigned char digest[SHA256_SIZE];
};

/* --- listing --- */

static void sources_problem(const struct sources *sources, const char *path, int error,
			    const char *remedy, char *problem, size_t size)
{
	(void)snprintf(problem, size, "signatures: cannot read %s as user %s: %s%s", path,
		       sources->conf->user, strerror(error), remedy);
}

/* Returns 1 where a file is to be listed; 0: it has gone; -1: it is refused. */
static int sources_look(struct sources *sources, struct source *source, char *problem, size_t size)
{
	const char *directory = sources->directories[source->directory].path;
	struct stat status;

	if (stat(source->path, &source->status) < 0) {
		const int error = errno;

		if (lstat(source->path, &status) < 0 && errno == ENOENT) {
			sources->vanished = true;
			return 0;
		}
		sources_problem(sources, source->path, error, "; mend or remove it", problem, size);
		return -1;
	}
	/* A directory or a FIFO would keep libclamav busy for ever. */
	if (!S_ISREG(source->status.st_mode)) {
		(void)snprintf(problem, size,
			       "signatures: something in %s is called like a file of signatures "
			       "and is none; remove it",
			       directory);
		return -1;
	}
	if (sources->n_files == SOURCES_FILES_MAX) {
		(void)snprintf(problem, size,
			       "signatures: there are more than %d files in %s; merge some",
			       SOURCES_FILES_MAX, directory);
		return -1;
	}
	return 1;
}

/* Whether YARA rules include others, or may. */
static bool source_includes(const struct source *source)
{
	static const char include[] = "include";
	const size_t size = (size_t)source->status.st_size;
	char *text = malloc(size + 1);
	const char *at = text;
	int fd = open(source->path, O_RDONLY | O_CLOEXEC);
	bool includes = !text || fd < 0 || read(fd, text, size) != (ssize_t)size;

	if (text)
		text[size] = '\0';
	while (!includes &&
	       (at = memmem(at, size - (size_t)(at - text), include, strlen(include)))) {
		at += strlen(include);
		includes = at[strspn(at, " \t")] == '"';
	}
	if (fd >= 0)
		close(fd);
	free(text);
	return includes;
}

static bool source_is_yara(const struct source *source)
{
	const char *suffix = strrchr(source->name, '.');

	return !strcasecmp(suffix, ".yar") || !strcasecmp(suffix, ".yara");
}

static bool sources_add(struct sources *sources, unsigned directory, const char *name,
			char *problem, size_t problem_size)
{
	struct source source = {.directory = directory};
	int r;

	if (!signature_is_file(name))
		return true;
	if (asprintf(&source.path, "%s/%s", sources->directories[directory].path, name) < 0)
		return false;
	source.name = source.path + strlen(source.path) - strlen(name);
	r = sources_look(sources, &source, problem, problem_size);
	if (r <= 0) {
		free(source.path);
		return r == 0;
	}
	if (source_is_yara(&source) && source_includes(&source))
		sources->includes = true;
	sources->files[sources->n_files++] = source;
	sources->directories[directory].n_files++;
	return true;
}

/* Adds all files, in the order of their names, the hidden ones too: they are loaded. */
static bool sources_add_all(struct sources *sources, unsigned directory, char *problem,
			    size_t problem_size)
{
	const char *path = sources->directories[directory].path;
	struct dirent **entries;
	int n = scandir(path, &entries, NULL, alphasort);
	bool is_good = true;

	/* What was published was there a moment ago. */
	if (n < 0 && errno == ENOENT && directory == 0)
		return true;
	if (n < 0) {
		sources_problem(sources, path, errno, "", problem, problem_size);
		return false;
	}
	for (int i = 0; i < n; i++) {
		is_good = is_good && sources_add(sources, directory, entries[i]->d_name, problem,
						 problem_size);
		free(entries[i]);
	}
	free(entries);
	return is_good;
}

static void sources_add_directory(struct sources *sources, const char *path)
{
	struct sources_directory *directory = &sources->directories[sources->n_directories++];

	(void)snprintf(directory->path, sizeof(directory->path), "%s", path);
}

/* Signatures that were published and cannot be had are not to be missed in silence. */
static bool sources_add_current(struct sources *sources, char *problem, size_t problem_size)
{
	char path[PATH_MAX + sizeof(SIGNATURE_CURRENT) + 2], resolved[PATH_MAX];
	struct stat status;
	int n = snprintf(path, sizeof(path), "%s/" SIGNATURE_CURRENT, sources->directories[0].path);
	int error;

	if (lstat(path, &status) < 0 ? errno == ENOENT || errno == ENOTDIR
				     : !S_ISLNK(status.st_mode))
		return true;
	/* Only a directory has that in it. */
	(void)snprintf(path + n, sizeof(path) - (size_t)n, "/.");
	if (realpath(path, resolved)) {
		sources_add_directory(sources, resolved);
		return true;
	}
	error = errno;
	path[n] = '\0';
	sources_problem(sources, path, error,
			error == EACCES ? "; all that it leads through must be open to that user"
					: "; \"holdfast update\" mends it, or remove it",
			problem, problem_size);
	return false;
}

/* The same directories once more, or those of the configuration where before is NULL. */
static struct sources *sources_list(const struct conf *conf, const struct sources *before,
				    char *problem, size_t problem_size)
{
	struct sources *sources = calloc(1, sizeof(*sources));
	bool is_good = true;
	char path[PATH_MAX];

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
		sources_add_directory(sources, conf_signatures_dir(conf, path, sizeof(path)));
		is_good = sources_add_current(sources, problem, problem_size);
	}
	for (unsigned i = 0; i < sources->n_directories && is_good; i++)
		is_good = sources_add_all(sources, i, problem, problem_size);
	return is_good ? sources : sources_free(sources);
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

static bool source_hash(const struct source *source, unsigned char *ret_digest)
{
	int fd = open(source->path, O_RDONLY | O_CLOEXEC);
	unsigned char *digest;
	unsigned length = 0;
	bool is_read;

	if (fd < 0)
		return false;
	digest = cl_hash_file_fd(fd, "sha256", &length);
	close(fd);
	is_read = digest && length == SHA256_SIZE;
	if (is_read)
		memcpy(ret_digest, digest, SHA256_SIZE);
	free(digest);
	return is_read;
}

static _Noreturn void sources_tell_digests(const struct sources *sources, int fd)
{
	for (unsigned i = 0; i < sources->n_files; i++) {
		struct source_told told = {0};

		told.is_read = source_hash(&sources->files[i], told.digest);
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
static bool sources_hear_digests(struct sources *sources)
{
	for (unsigned i = 0; i < sources->n_files; i++) {
		struct source *source = &sources->files[i];
		struct source_told told;

		if (read(sources->digests, &told, sizeof(told)) != sizeof(told) || !told.is_read)
			return false;
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
		    (!source_hash(b, digest) || memcmp(a->digest, digest, SHA256_SIZE) != 0))
			return false;
	}
	return true;
}

bool sources_settle(struct sources *sources)
{
	char problem[WIRE_TEXT_MAX];
	struct sources *after = NULL;

	if (!sources->vanished && sources_hear_digests(sources))
		after = sources_list(sources->conf, sources, problem, sizeof(problem));
	sources->is_settled = after && !after->vanished && sources_are_equal(sources, after);
	(void)sources_free(after);
	return sources->is_settled;
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
			(void)snprintf(version, sizeof(version), "%.*s", SHOWN_DIGITS,
				       sources->is_settled ? digits : "?");
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
	/* What is not known byte by byte is like no other set. */
	if ((!sources->is_settled || sources->includes) &&
	    getrandom(&info->set, sizeof(info->set), 0) != sizeof(info->set))
		n = -EIO;
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
