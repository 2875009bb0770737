/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/signatures/sources.h"
#include "../support/conf_fixture.h"
#include "../support/scratch.h"

#include <clamav.h>
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

/* Files that this process, and not the hasher, has read. */
static unsigned n_read;

/* Whether files cannot be read. */
static bool is_unreadable;

unsigned char *__real_cl_hash_file_fd(int fd, const char *algorithm, unsigned *length);
unsigned char *__wrap_cl_hash_file_fd(int fd, const char *algorithm, unsigned *length);

unsigned char *__wrap_cl_hash_file_fd(int fd, const char *algorithm, unsigned *length)
{
	n_read++;
	if (is_unreadable)
		return NULL;
	return __real_cl_hash_file_fd(fd, algorithm, length);
}

/* A file that goes between being listed and being looked at; NULL: none. */
static const char *fake_goes;

int __real_scandir64(const char *path, struct dirent ***entries,
		     int (*select)(const struct dirent *),
		     int (*compare)(const struct dirent **, const struct dirent **));
int __wrap_scandir64(const char *path, struct dirent ***entries,
		     int (*select)(const struct dirent *),
		     int (*compare)(const struct dirent **, const struct dirent **));

int __wrap_scandir64(const char *path, struct dirent ***entries,
		     int (*select)(const struct dirent *),
		     int (*compare)(const struct dirent **, const struct dirent **))
{
	int n = __real_scandir64(path, entries, select, compare);

	if (fake_goes)
		(void)unlink(fake_goes);
	fake_goes = NULL;
	return n;
}

static int setup(void **state)
{
	char path[PATH_MAX + 16];

	*state = conf_new();
	if (!*state || mkdir("d", 0755) < 0)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/d", scratch);
	conf_fixture_set(*state, "engine", "signatures", path);
	return 0;
}

static int remove_tree(const char *path)
{
	return nftw(path, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int teardown(void **state)
{
	conf_free(*state);
	return remove_tree("d");
}

static char problem[WIRE_TEXT_MAX];

static struct sources *list(const struct conf *conf)
{
	struct sources *sources = sources_new(conf, problem, sizeof(problem));

	if (!sources)
		fail_msg("%s", problem);
	return sources;
}

static struct sources *begin(const struct conf *conf)
{
	struct sources *sources = list(conf);

	if (!sources_hash(sources, problem, sizeof(problem)))
		fail_msg("%s", problem);
	return sources;
}

/* By then the hasher has read all there is, and libclamav may have loaded it. */
static void wait_hashed(const struct sources *sources)
{
	siginfo_t info;

	assert_int_equal(waitid(P_PID, (id_t)sources->hasher, &info, WEXITED | WNOWAIT), 0);
}

static bool settle(struct sources *sources)
{
	return sources_settle(sources);
}

struct told {
	struct wire_engine_info info;
	struct wire_database databases[WIRE_DATABASES_MAX];
	unsigned n_databases, n_directories;
};

/* What stands in there before must not show. */
static struct told read_all(const struct conf *conf, unsigned n_files)
{
	struct sources *sources = begin(conf);
	struct told told;
	int n;

	assert_true(settle(sources));
	memset(&told, 'x', sizeof(told));
	n = sources_describe(sources, &told.info, told.databases);
	assert_int_equal(sources->n_files, n_files);
	assert_int_equal(n, n_files < WIRE_DATABASES_MAX ? n_files : WIRE_DATABASES_MAX);
	told.n_databases = (unsigned)n;
	told.n_directories = sources->n_directories;
	assert_true(wire_string_ok(told.info.engine, sizeof(told.info.engine)));
	assert_true(wire_string_ok(told.info.versions, sizeof(told.info.versions)));
	assert_string_equal(told.info.engine, cl_retver());
	assert_null(sources_free(sources));
	return told;
}

static struct wire_engine_info read_sources(const struct conf *conf, unsigned n_files)
{
	return read_all(conf, n_files).info;
}

static uint64_t set_of(const struct conf *conf, unsigned n_files)
{
	return read_sources(conf, n_files).set;
}

static void set_time(const char *path, time_t when)
{
	const struct timespec times[2] = {{.tv_sec = when}, {.tv_sec = when}};

	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void write_two(void)
{
	scratch_write("d/a.ndb", "first", 5);
	scratch_write("d/b.hdb", "second", 6);
}

static void equal_files_are_one_set(void **state)
{
	uint64_t set, none = set_of(*state, 0);
	const struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 1}};

	write_two();
	set = set_of(*state, 2);
	assert_int_not_equal(set, none);
	assert_int_equal(set_of(*state, 2), set);
	/* whenever they were written, and in whatever order, and whoever may read them */
	assert_int_equal(unlink("d/a.ndb"), 0);
	scratch_write("d/a.ndb", "first", 5);
	assert_int_equal(utimensat(AT_FDCWD, "d/b.hdb", times, 0), 0);
	assert_int_equal(chmod("d/b.hdb", 0600), 0);
	assert_int_equal(set_of(*state, 2), set);
	/* wherever they are */
	assert_int_equal(rename("d/a.ndb", "elsewhere"), 0);
	assert_int_equal(symlink("../elsewhere", "d/a.ndb"), 0);
	assert_int_equal(set_of(*state, 2), set);
	assert_int_equal(unlink("elsewhere"), 0);
}

static void any_byte_makes_another_set(void **state)
{
	char content[] = "second";
	uint64_t set;

	write_two();
	set = set_of(*state, 2);
	for (size_t i = 0; i < sizeof(content) - 1; i++) {
		content[i] ^= 1;
		scratch_write("d/b.hdb", content, sizeof(content) - 1);
		assert_int_not_equal(set_of(*state, 2), set);
		content[i] ^= 1;
	}
	scratch_write("d/b.hdb", "second", 5);
	assert_int_not_equal(set_of(*state, 2), set);
	scratch_write("d/b.hdb", content, sizeof(content) - 1);
	assert_int_equal(set_of(*state, 2), set);
}

static void other_files_are_another_set(void **state)
{
	uint64_t set, swapped;

	write_two();
	set = set_of(*state, 2);
	scratch_write("d/c.ndb", "", 0);
	assert_int_not_equal(set_of(*state, 3), set);
	assert_int_equal(unlink("d/c.ndb"), 0);
	assert_int_equal(set_of(*state, 2), set);
	assert_int_equal(rename("d/a.ndb", "d/a.db"), 0);
	assert_int_not_equal(set_of(*state, 2), set);
	/* their names are exchanged */
	scratch_write("d/a.ndb", "second", 6);
	scratch_write("d/b.hdb", "first", 5);
	assert_int_equal(unlink("d/a.db"), 0);
	swapped = set_of(*state, 2);
	assert_int_not_equal(swapped, set);
}

/* libclamav loads the hidden, and not what is below. */
static void hidden_files_count_and_directories_do_not(void **state)
{
	uint64_t set;

	write_two();
	set = set_of(*state, 2);
	assert_int_equal(mkdir("d/below", 0755), 0);
	scratch_write("d/below/c.ndb", "1", 1);
	assert_int_equal(set_of(*state, 2), set);
	scratch_write("d/.hidden.ndb", "1", 1);
	assert_int_not_equal(set_of(*state, 3), set);
}

/* What others keep there: freshclam, an administrator, the fetcher. */
static void files_that_are_not_loaded_do_not_count(void **state)
{
	static const char *const names[] = {"d/freshclam.dat", "d/README", "d/a.ndb.bak", "d/.lock",
					    "d/state.json"};
	uint64_t none = set_of(*state, 0), two;

	for (size_t i = 0; i < N_ELEMENTS(names); i++)
		scratch_write(names[i], "1", 1);
	assert_int_equal(set_of(*state, 0), none);
	write_two();
	two = set_of(*state, 2);
	scratch_write("d/freshclam.dat", "2", 1);
	assert_int_equal(mkdir("d/c.d", 0755), 0);
	assert_int_equal(set_of(*state, 2), two);
}

static void assert_refused(const struct conf *conf, const char *before, const char *after)
{
	char expected[PATH_MAX + 256];

	assert_null(sources_new(conf, problem, sizeof(problem)));
	(void)snprintf(expected, sizeof(expected), "%s%s%s", before, scratch, after);
	assert_string_equal(problem, expected);
}

static void what_is_called_like_a_file_and_is_none_is_refused(void **state)
{
	static const char before[] = "signatures: something in ",
			  after[] = "/d is called like a file of signatures and is none; remove it";

	write_two();
	assert_int_equal(mkdir("d/more.ndb", 0755), 0);
	assert_refused(*state, before, after);
	assert_int_equal(rmdir("d/more.ndb"), 0);
	assert_int_equal(mkfifo("d/more.ndb", 0644), 0);
	assert_refused(*state, before, after);
	assert_int_equal(unlink("d/more.ndb"), 0);
	(void)set_of(*state, 2);
}

static void too_many_files_are_refused(void **state)
{
	char name[32];

	for (int i = 0; i < SOURCES_FILES_MAX; i++) {
		(void)snprintf(name, sizeof(name), "d/%d.yara", i);
		scratch_write(name, "", 0);
	}
	(void)set_of(*state, SOURCES_FILES_MAX);
	scratch_write("d/one-more.yara", "", 0);
	assert_refused(*state, "signatures: there are more than 4096 files in ", "/d; merge some");
}

static void a_directory_without_files_is_empty(void **state)
{
	struct wire_engine_info info = read_sources(*state, 0);

	assert_string_equal(info.versions, "");
	assert_int_equal(info.newest, 0);
	assert_int_equal(mkdir("d/below", 0755), 0);
	assert_int_equal(set_of(*state, 0), info.set);
	conf_fixture_set(*state, "engine", "signatures", "/nonexistent/nowhere");
	assert_string_equal(read_sources(*state, 0).versions, "");
}

static void what_cannot_be_read_is_an_error(void **state)
{
	char path[PATH_MAX + 16];

	scratch_write("file", "", 0);
	(void)snprintf(path, sizeof(path), "%s/file", scratch);
	conf_fixture_set(*state, "engine", "signatures", path);
	assert_refused(*state, "signatures: cannot read ",
		       "/file as user holdfast: Not a directory");
}

/* Whatever was loaded then, it is not to be taken for less. */
static void a_name_that_leads_nowhere_is_refused(void **state)
{
	write_two();
	assert_int_equal(symlink("absent", "d/c.ndb"), 0);
	assert_refused(*state, "signatures: cannot read ",
		       "/d/c.ndb as user holdfast: No such file or directory; mend or remove it");
	assert_int_equal(unlink("d/c.ndb"), 0);
	assert_int_equal(symlink("c.ndb", "d/c.ndb"), 0);
	assert_refused(*state, "signatures: cannot read ",
		       "/d/c.ndb as user holdfast: Too many levels of symbolic links; mend or "
		       "remove it");
	assert_int_equal(unlink("d/c.ndb"), 0);
	/* one that nobody loads */
	assert_int_equal(symlink("absent", "d/c.bak"), 0);
	(void)set_of(*state, 2);
}

/* Those who have read enough leave it at that. */
static void sources_that_are_not_settled_can_be_freed(void **state)
{
	unsigned fds = unit_count_fds();

	write_two();
	assert_null(sources_free(begin(*state)));
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(unit_count_fds(), fds);
}

/* --- what happens meanwhile --- */

/* What is said of it then is like nothing else. */
static void assert_changed(struct sources *sources)
{
	struct told told, again;

	assert_false(settle(sources));
	assert_true(sources_describe(sources, &told.info, told.databases) >= 0);
	assert_true(sources_describe(sources, &again.info, again.databases) >= 0);
	assert_int_not_equal(told.info.set, again.info.set);
	assert_non_null(strstr(told.info.versions, "a.ndb ?"));
	(void)sources_free(sources);
}

static void other_bytes_are_a_change(void **state)
{
	struct sources *sources;

	write_two();
	sources = begin(*state);
	assert_true(settle(sources));
	(void)sources_free(sources);

	sources = begin(*state);
	wait_hashed(sources);
	scratch_write("d/b.hdb", "SECOND", 6);
	assert_changed(sources);
	/* and if the time of modification is put back */
	sources = begin(*state);
	wait_hashed(sources);
	scratch_write("d/b.hdb", "second", 6);
	set_time("d/b.hdb", 1);
	assert_changed(sources);
}

static void other_names_are_a_change(void **state)
{
	struct sources *sources;

	write_two();
	sources = begin(*state);
	wait_hashed(sources);
	assert_int_equal(rename("d/b.hdb", "d/c.hdb"), 0);
	assert_changed(sources);
	sources = begin(*state);
	wait_hashed(sources);
	assert_int_equal(unlink("d/c.hdb"), 0);
	assert_changed(sources);
	sources = begin(*state);
	scratch_write("d/c.hdb", "", 0);
	assert_changed(sources);
	/* one that nobody loads */
	sources = begin(*state);
	scratch_write("d/c.hdb.bak", "", 0);
	assert_true(settle(sources));
	(void)sources_free(sources);
}

/* Before it was listed, or before its bytes were read. */
static void a_file_that_cannot_be_had_is_a_change(void **state)
{
	unsigned fds = unit_count_fds();
	struct sources *sources;

	write_two();
	fake_goes = "d/b.hdb";
	sources = begin(*state);
	assert_null(fake_goes);
	assert_int_equal(sources->n_files, 1);
	assert_changed(sources);

	write_two();
	sources = list(*state);
	assert_int_equal(unlink("d/b.hdb"), 0);
	assert_true(sources_hash(sources, problem, sizeof(problem)));
	assert_changed(sources);

	/* and one that cannot be read, whatever its times say */
	write_two();
	is_unreadable = true;
	sources = begin(*state);
	is_unreadable = false;
	sources->listed_at += 10;
	assert_changed(sources);

	/* and one that came and went, who knows when it was loaded */
	sources = begin(*state);
	wait_hashed(sources);
	scratch_write("d/c.ndb", "", 0);
	fake_goes = "d/c.ndb";
	assert_changed(sources);

	/* and where nothing could be listed any more */
	write_two();
	sources = begin(*state);
	wait_hashed(sources);
	assert_int_equal(mkfifo("d/c.ndb", 0644), 0);
	assert_changed(sources);
	assert_int_equal(unit_count_fds(), fds);
}

static unsigned read_again(const struct conf *conf, int64_t later)
{
	struct sources *sources = begin(conf);

	/* As if it had been listed so much later. */
	sources->listed_at += later;
	wait_hashed(sources);
	n_read = 0;
	assert_true(settle(sources));
	(void)sources_free(sources);
	return n_read;
}

/* Half a gigabyte takes its time to read. */
static void files_are_read_again_only_where_their_times_do_not_tell(void **state)
{
	write_two();
	assert_int_equal(read_again(*state, 0), 2);
	assert_int_equal(read_again(*state, 10), 0);
	/* The clock that times files stood still or was put back. */
	assert_int_equal(read_again(*state, -10), 2);
}

static void a_change_shows_in_the_times(void **state)
{
	struct stat before, after;
	struct sources *sources;

	write_two();
	assert_int_equal(stat("d/b.hdb", &before), 0);
	sources = begin(*state);
	sources->listed_at += 10;
	wait_hashed(sources);
	/* Of the same size, and the time of modification is put back. The clock of the times may
	 * stand still for milliseconds. */
	do {
		scratch_write("d/b.hdb", "SECOND", 6);
		assert_int_equal(utimensat(AT_FDCWD, "d/b.hdb",
					   (struct timespec[]){before.st_atim, before.st_mtim}, 0),
				 0);
		assert_int_equal(stat("d/b.hdb", &after), 0);
	} while (after.st_ctim.tv_nsec == before.st_ctim.tv_nsec);
	assert_changed(sources);
}

/* As updaters do that put the same file there once more. */
static void the_same_bytes_are_no_change(void **state)
{
	struct sources *sources;

	write_two();
	sources = begin(*state);
	wait_hashed(sources);
	scratch_write("d/.new", "second", 6);
	set_time("d/.new", 1);
	assert_int_equal(rename("d/.new", "d/b.hdb"), 0);
	assert_true(settle(sources));
	(void)sources_free(sources);
}

/* --- what was published --- */

static void publish(const char *set)
{
	assert_int_equal(symlink(set, "d/new"), 0);
	assert_int_equal(rename("d/new", "d/current"), 0);
}

static void make_sets(void)
{
	assert_int_equal(mkdir("d/sets", 0755), 0);
	assert_int_equal(mkdir("d/sets/1", 0755), 0);
	assert_int_equal(mkdir("d/sets/2", 0755), 0);
	scratch_write("d/sets/1/c.ndb", "1", 1);
	scratch_write("d/sets/2/c.ndb", "2", 1);
}

static void what_was_published_is_part_of_the_set(void **state)
{
	uint64_t without, first;

	write_two();
	make_sets();
	without = set_of(*state, 2);
	publish("sets/1");
	first = set_of(*state, 3);
	assert_int_not_equal(first, without);
	publish("sets/2");
	assert_int_not_equal(set_of(*state, 3), first);
	/* wherever it is */
	assert_int_equal(rename("d/sets/1", "d/sets/3"), 0);
	publish("sets/3");
	assert_int_equal(set_of(*state, 3), first);
	assert_int_equal(unlink("d/a.ndb"), 0);
	assert_int_equal(unlink("d/b.hdb"), 0);
	assert_string_equal(read_sources(*state, 1).versions, "c.ndb 6b86b273ff34");
}

static void a_directory_was_not_published(void **state)
{
	write_two();
	make_sets();
	assert_int_equal(rename("d/sets/1", "d/current"), 0);
	assert_int_equal(read_all(*state, 2).n_directories, 1);
}

/* Otherwise those signatures would be missed in silence. */
static void what_was_published_and_cannot_be_had_is_refused(void **state)
{
	static const char before[] = "signatures: cannot read ";

	write_two();
	make_sets();
	publish("sets/nowhere");
	assert_refused(*state, before,
		       "/d/current as user holdfast: No such file or directory; \"holdfast "
		       "update\" mends it, or remove it");
	publish("a.ndb");
	assert_refused(*state, before,
		       "/d/current as user holdfast: Not a directory; \"holdfast update\" mends "
		       "it, or remove it");
	publish("current");
	assert_refused(*state, before,
		       "/d/current as user holdfast: Too many levels of symbolic links; \"holdfast "
		       "update\" mends it, or remove it");
	publish("sets/1");
	assert_int_equal(symlink("../nowhere", "d/sets/1/x.ndb"), 0);
	assert_refused(*state, before,
		       "/d/sets/1/x.ndb as user holdfast: No such file or directory; mend or "
		       "remove it");
	assert_int_equal(unlink("d/sets/1/x.ndb"), 0);
	(void)set_of(*state, 3);
}

/* Runs as somebody else: nothing is closed to root. */
static _Noreturn void refuse_as_nobody(const struct conf *conf, const char *before,
				       const char *after)
{
	char expected[PATH_MAX + 256];
	bool is_right =
		setresuid(65534, 65534, 65534) == 0 && !sources_new(conf, problem, sizeof(problem));

	(void)snprintf(expected, sizeof(expected), "%s%s%s", before, scratch, after);
	_exit(!(is_right && !strcmp(problem, expected)));
}

static void assert_closed(const struct conf *conf, const char *closed, mode_t mode,
			  const char *after)
{
	int status;
	pid_t pid;

	assert_int_equal(chmod(closed, mode), 0);
	pid = fork();
	if (pid == 0)
		refuse_as_nobody(conf, "signatures: cannot read ", after);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(chmod(closed, 0755), 0);
}

static void what_is_closed_to_us_is_refused(void **state)
{
	static const char through[] = "/d/current as user holdfast: Permission denied; all that it "
				      "leads through must be open to that user",
			  set[] = "/d/sets/1 as user holdfast: Permission denied",
			  file[] = "/d/sets/1/c.ndb as user holdfast: Permission denied; mend or "
				   "remove it";

	if (geteuid() != 0) {
		print_message("skipped: only root can be somebody else\n");
		skip();
	}
	write_two();
	make_sets();
	publish("sets/1");
	assert_closed(*state, "d/sets", 0700, through);
	assert_closed(*state, "d/sets/1", 0711, set);
	assert_closed(*state, "d/sets/1", 0744, file);
	assert_closed(*state, "d", 0744, through);
}

/* It is loaded by the path that was listed. */
static void a_set_that_is_published_meanwhile_does_not_mix_in(void **state)
{
	char expected[PATH_MAX + 16];
	struct sources *sources;
	struct told told;

	make_sets();
	publish("sets/1");
	sources = begin(*state);
	publish("sets/2");
	(void)snprintf(expected, sizeof(expected), "%s/d/sets/1", scratch);
	assert_string_equal(sources->directories[1].path, expected);
	assert_int_equal(sources->directories[0].n_files, 0);
	assert_int_equal(sources->directories[1].n_files, 1);
	assert_true(settle(sources));
	assert_int_equal(sources_describe(sources, &told.info, told.databases), 1);
	assert_string_equal(told.info.versions, "c.ndb 6b86b273ff34");
	(void)sources_free(sources);
}

static void assert_double(const struct conf *conf, const char *a, const char *b)
{
	char text[WIRE_TEXT_MAX], expected[WIRE_TEXT_MAX];
	struct sources *sources = list(conf);

	assert_int_equal(sources_find_double(sources, text, sizeof(text)), a != NULL);
	if (a) {
		(void)snprintf(expected, sizeof(expected),
			       "signatures: %s/d/%s and %s/d/%s are the same database, which takes "
			       "memory twice; remove one",
			       scratch, a, scratch, b);
		assert_string_equal(text, expected);
	}
	(void)sources_free(sources);
}

static void a_database_that_lies_there_twice_is_found(void **state)
{
	make_sets();
	publish("sets/1");
	scratch_write("d/daily.cvd", "", 0);
	scratch_write("d/main.cvd", "", 0);
	scratch_write("d/daily.ndb", "", 0);
	scratch_write("d/c.hdb", "", 0);
	assert_double(*state, NULL, NULL);
	scratch_write("d/daily.cld", "", 0);
	assert_double(*state, "daily.cld", "daily.cvd");
	assert_int_equal(unlink("d/daily.cld"), 0);
	scratch_write("d/sets/1/main.cld", "", 0);
	assert_double(*state, "main.cvd", "sets/1/main.cld");
	assert_int_equal(unlink("d/sets/1/main.cld"), 0);
	scratch_write("d/c.ndb", "", 0);
	assert_double(*state, "c.ndb", "sets/1/c.ndb");
}

static void settings_make_another_set(void **state)
{
	struct conf *conf = *state;
	uint64_t set;

	write_two();
	set = set_of(conf, 2);
	conf->max_file_size++;
	assert_int_not_equal(set_of(conf, 2), set);
	conf->max_file_size--;
	conf->max_scan_size++;
	assert_int_not_equal(set_of(conf, 2), set);
	conf->max_scan_size--;
	conf->max_scan_time_ms++;
	assert_int_not_equal(set_of(conf, 2), set);
	conf->max_scan_time_ms--;
	conf->detect_pua = !conf->detect_pua;
	assert_int_not_equal(set_of(conf, 2), set);
	conf->heuristics = !conf->heuristics;
	assert_int_not_equal(set_of(conf, 2), set);
	conf->detect_pua = !conf->detect_pua;
	assert_int_not_equal(set_of(conf, 2), set);
	conf->heuristics = !conf->heuristics;
	/* what has nothing to do with scanning does not */
	conf->workers++;
	conf->verdict_cache++;
	conf->content_cache++;
	assert_int_equal(set_of(conf, 2), set);
}

static bool is_one_set(const struct conf *conf, const char *rules)
{
	scratch_write("d/c.yar", rules, strlen(rules));
	return set_of(conf, 3) == set_of(conf, 3);
}

/* Nobody looks at the files that are included. */
static void rules_that_include_others_are_never_the_same_set(void **state)
{
	static const char rule[] =
		"rule a { strings: $a = \"#include \\\"a.h\\\"\" condition: $a }";

	write_two();
	assert_true(is_one_set(*state, rule));
	assert_true(is_one_set(*state, ""));
	assert_true(is_one_set(*state, "// include"));
	assert_false(is_one_set(*state, "include \"b.yar\""));
	assert_false(is_one_set(*state, "// We include\ninclude \t\"b.yar\"\n"));
	/* whatever the case of the name, and wherever it is */
	assert_int_equal(rename("d/c.yar", "d/c.YARA"), 0);
	assert_int_not_equal(set_of(*state, 3), set_of(*state, 3));
	assert_int_equal(rename("d/c.YARA", "d/c.hdb"), 0);
	assert_int_equal(set_of(*state, 3), set_of(*state, 3));
	make_sets();
	publish("sets/1");
	assert_int_equal(rename("d/c.hdb", "d/sets/1/d.yara"), 0);
	assert_int_not_equal(set_of(*state, 4), set_of(*state, 4));
}

static void files_are_shown_by_their_digest(void **state)
{
	scratch_write("d/b.hdb", "", 0);
	scratch_write("d/a.ndb", "abc", 3);
	/* one that only says so */
	scratch_write("d/c.cvd", "abc", 3);
	assert_string_equal(read_sources(*state, 3).versions,
			    "a.ndb ba7816bf8f01, b.hdb e3b0c44298fc, c.cvd ba7816bf8f01");
}

/* Wherever the room ends, the list ends with a whole file. */
static void too_many_versions_are_cut(void **state)
{
	static const char more[] = "ba7816bf8f01, ...";
	char name[64], before[64] = "d/0.db";

	for (int i = 0; i < 40; i++) {
		(void)snprintf(name, sizeof(name), "d/%02d.db", i);
		scratch_write(name, "abc", 3);
	}
	scratch_write(before, "abc", 3);
	for (int i = 0; i < 30; i++) {
		struct wire_engine_info info;
		size_t length;

		(void)snprintf(name, sizeof(name), "d/0%.*s.db", i,
			       "------------------------------");
		assert_int_equal(rename(before, name), 0);
		(void)snprintf(before, sizeof(before), "%s", name);
		info = read_sources(*state, 41);
		length = strlen(info.versions);
		assert_string_equal(info.versions + length - sizeof(more) + 1, more);
		/* No more is left out than must be. */
		assert_true(length + sizeof(", 00.db ba7816bf8f01") > sizeof(info.versions));
	}
}

/* Further ones count as well. */
static void so_many_databases_are_told_of(void **state)
{
	char name[32];
	struct told told;
	uint64_t set;

	for (int i = 0; i < WIRE_DATABASES_MAX + 2; i++) {
		(void)snprintf(name, sizeof(name), "d/%02d.db", i);
		scratch_write(name, "abc", 3);
	}
	told = read_all(*state, WIRE_DATABASES_MAX + 2);
	assert_int_equal(told.n_databases, WIRE_DATABASES_MAX);
	assert_string_equal(told.databases[WIRE_DATABASES_MAX - 1].name, "63.db");
	set = told.info.set;
	scratch_write("d/65.db", "abd", 3);
	assert_int_not_equal(set_of(*state, WIRE_DATABASES_MAX + 2), set);
}

static void a_file_is_as_old_as_its_last_change(void **state)
{
	struct told told;

	write_two();
	set_time("d/a.ndb", 2000);
	set_time("d/b.hdb", 1000);
	told = read_all(*state, 2);
	assert_int_equal(told.info.newest, 2000);
	assert_int_equal(told.databases[0].header.type, WIRE_DATABASE);
	assert_int_equal(told.databases[0].header.size, sizeof(struct wire_database));
	assert_string_equal(told.databases[0].name, "a.ndb");
	assert_int_equal(told.databases[0].built_at, 2000);
	assert_int_equal(told.databases[0].version, 0);
	assert_int_equal(told.databases[0].signatures, 0);
	assert_string_equal(told.databases[1].name, "b.hdb");
	assert_int_equal(told.databases[1].built_at, 1000);
}

static void a_long_name_is_cut(void **state)
{
	char name[256], path[264];
	struct told told;

	memset(name, 'n', sizeof(name));
	(void)snprintf(name + 200, sizeof(name) - 200, ".ndb");
	(void)snprintf(path, sizeof(path), "d/%s", name);
	scratch_write(path, "", 0);
	told = read_all(*state, 1);
	assert_true(wire_string_ok(told.databases[0].name, sizeof(told.databases[0].name)));
	assert_int_equal(strlen(told.databases[0].name), WIRE_DATABASE_NAME_MAX - 1);
}

static void copy(const char *directory, const char *name)
{
	char from[PATH_MAX], to[64], buffer[65536];
	size_t n;
	FILE *file;

	(void)snprintf(from, sizeof(from), "%s/%s", directory, name);
	(void)snprintf(to, sizeof(to), "d/%s", name);
	file = fopen(from, "re");
	if (!file) {
		print_message("skipped: there is no %s\n", from);
		skip();
	}
	n = fread(buffer, 1, sizeof(buffer), file);
	(void)fclose(file);
	scratch_write(to, buffer, n);
}

static void a_signed_file_says_its_version(void **state)
{
	const char *directory = getenv("HOLDFAST_TEST_CVDS");
	struct told told;

	if (!directory) {
		print_message("skipped: HOLDFAST_TEST_CVDS does not name a directory\n");
		skip();
	}
	copy(directory, "test-5.cvd");
	copy(directory, "test-6.cvd");
	scratch_write("d/z.ndb", "abc", 3);
	assert_string_equal(read_sources(*state, 3).versions,
			    "test-5.cvd 5, test-6.cvd 6, z.ndb ba7816bf8f01");
	told = read_all(*state, 3);
	assert_int_equal(told.databases[0].version, 5);
	assert_int_equal(told.databases[1].version, 6);
	assert_in_range(told.databases[1].signatures, 1, 1000);
	/* made before this test was, and not when it was copied */
	assert_in_range(told.databases[1].built_at, 1500000000, 1700000000);
	assert_int_equal(told.info.newest, told.databases[1].built_at > told.databases[0].built_at
						   ? told.databases[1].built_at
						   : told.databases[0].built_at);
}

static void silent(enum cl_msg severity, const char *full, const char *text, void *context)
{
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(equal_files_are_one_set),
		TEST(any_byte_makes_another_set),
		TEST(other_files_are_another_set),
		TEST(hidden_files_count_and_directories_do_not),
		TEST(files_that_are_not_loaded_do_not_count),
		TEST(what_is_called_like_a_file_and_is_none_is_refused),
		TEST(too_many_files_are_refused),
		TEST(a_directory_without_files_is_empty),
		TEST(what_cannot_be_read_is_an_error),
		TEST(a_name_that_leads_nowhere_is_refused),
		TEST(sources_that_are_not_settled_can_be_freed),
		TEST(other_bytes_are_a_change),
		TEST(other_names_are_a_change),
		TEST(a_file_that_cannot_be_had_is_a_change),
		TEST(files_are_read_again_only_where_their_times_do_not_tell),
		TEST(a_change_shows_in_the_times),
		TEST(the_same_bytes_are_no_change),
		TEST(what_was_published_is_part_of_the_set),
		TEST(a_directory_was_not_published),
		TEST(what_was_published_and_cannot_be_had_is_refused),
		TEST(what_is_closed_to_us_is_refused),
		TEST(a_set_that_is_published_meanwhile_does_not_mix_in),
		TEST(a_database_that_lies_there_twice_is_found),
		TEST(settings_make_another_set),
		TEST(rules_that_include_others_are_never_the_same_set),
		TEST(files_are_shown_by_their_digest),
		TEST(too_many_versions_are_cut),
		TEST(so_many_databases_are_told_of),
		TEST(a_file_is_as_old_as_its_last_change),
		TEST(a_long_name_is_cut),
		TEST(a_signed_file_says_its_version),
	};

	cl_set_clcb_msg(silent);
	if (cl_init(CL_INIT_DEFAULT) != CL_SUCCESS)
		return UNIT_SKIPPED;
	return cmocka_run_group_tests_name("sources", tests, scratch_setup, scratch_teardown);
}
