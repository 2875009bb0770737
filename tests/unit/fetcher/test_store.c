/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/fetcher/store.h"
#include "../support/mount_fixture.h"
#include "../support/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>

#define SYNCED_MAX 256

/* All that changes what is on the disk goes through here: it is counted, so that a child can end
 * before any one of them, and what was synced is kept in mind. */
static unsigned steps_left; /* 0: for ever */
static ino_t synced[SYNCED_MAX];
static size_t n_synced;
static int failing_fsync; /* the n-th from now on fails; 0: none */
static bool check_synced; /* at the moment when a set is put in force */

static void step(void)
{
	if (steps_left && --steps_left == 0)
		_exit(9);
}

static bool is_synced(const char *path)
{
	struct stat status;

	assert_int_equal(stat(path, &status), 0);
	for (size_t i = 0; i < n_synced; i++)
		if (synced[i] == status.st_ino)
			return true;
	print_error("%s is not on the disk\n", path);
	return false;
}

#define WRAP(type, name, parameters, arguments)                                                    \
	type __real_##name parameters;                                                             \
	type __wrap_##name parameters;                                                             \
	type __wrap_##name parameters                                                              \
	{                                                                                          \
		step();                                                                            \
		return __real_##name arguments;                                                    \
	}

WRAP(int, remove, (const char *path), (path))
WRAP(int, unlinkat, (int at, const char *path, int flags), (at, path, flags))
WRAP(int, mkdirat, (int at, const char *path, mode_t mode), (at, path, mode))
WRAP(int, fchmod, (int fd, mode_t mode), (fd, mode))
WRAP(int, symlinkat, (const char *target, int at, const char *path), (target, at, path))
WRAP(int, linkat, (int from_at, const char *from, int to_at, const char *to, int flags),
     (from_at, from, to_at, to, flags))

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
	struct stat status;

	step();
	assert_int_equal(fstat(fd, &status), 0);
	assert_true(n_synced < SYNCED_MAX);
	if (failing_fsync && --failing_fsync == 0) {
		errno = EIO;
		return -1;
	}
	synced[n_synced++] = status.st_ino;
	return __real_fsync(fd);
}

static void assert_set_is_synced(const char *set)
{
	char path[PATH_MAX];
	struct dirent **entries;
	int n = scandir(set, &entries, NULL, alphasort);

	assert_true(n > 2);
	for (int i = 0; i < n; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", set, entries[i]->d_name);
		if (*entries[i]->d_name != '.')
			assert_true(is_synced(path));
		free(entries[i]);
	}
	free(entries);
	assert_true(is_synced(set));
	assert_true(is_synced("d/sets"));
}

int __real_renameat(int from_at, const char *from, int to_at, const char *to);
int __wrap_renameat(int from_at, const char *from, int to_at, const char *to);
int __wrap_renameat(int from_at, const char *from, int to_at, const char *to)
{
	step();
	if (check_synced && !strcmp(to, "current")) {
		char set[PATH_MAX] = "d/";
		ssize_t n = readlinkat(from_at, from, set + 2, sizeof(set) - 3);

		assert_true(n > 0);
		assert_set_is_synced(set);
	}
	return __real_renameat(from_at, from, to_at, to);
}

/* The store, in a directory of its own for each test. */

static int setup(void **state)
{
	steps_left = 0;
	n_synced = 0;
	failing_fsync = 0;
	check_synced = true;
	return mkdir("d", 0755);
}

static int teardown(void **state)
{
	return nftw("d", scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct store *open_store(void)
{
	char problem[512] = "";
	bool busy = true;
	struct store *store = store_open("d", &busy, problem, sizeof(problem));

	assert_false(busy);
	if (!store)
		fail_msg("%s", problem);
	return store;
}

/* Returns the problem that keeps it from being opened. */
static const char *refused(const char *directory, bool is_busy)
{
	static char problem[512];
	bool busy = !is_busy;

	assert_null(store_open(directory, &busy, problem, sizeof(problem)));
	assert_int_equal(busy, is_busy);
	return problem;
}

static void put(struct store *store, const char *name, const char *content)
{
	char path[PATH_MAX], problem[512] = "";

	store_path(store, "work/x", path, sizeof(path));
	scratch_write(path, content, strlen(content));
	assert_int_equal(chmod(path, 0600), 0);
	if (store_put(store, path, name, problem, sizeof(problem)) != 0)
		fail_msg("%s", problem);
	assert_int_equal(access(path, F_OK), -1);
}

static void replace(struct store *store, const char *name)
{
	char problem[512] = "";

	if (store_replace(store, name, problem, sizeof(problem)) != 0)
		fail_msg("%s", problem);
}

static void drop(struct store *store, const char *name)
{
	char problem[512] = "";

	if (store_drop(store, name, problem, sizeof(problem)) != 0)
		fail_msg("%s", problem);
}

static void publish(struct store *store)
{
	char problem[512] = "";

	if (store_publish(store, problem, sizeof(problem)) != 0)
		fail_msg("%s", problem);
}

static void read_file(const char *path, char *buffer, size_t size)
{
	FILE *file = fopen(path, "re");

	assert_non_null(file);
	buffer[fread(buffer, 1, size - 1, file)] = '\0';
	(void)fclose(file);
}

/* All files of a directory, in their order: "a=1 b=2 " */
static const char *list(const char *directory)
{
	static char text[1024];
	struct dirent **entries;
	int n = scandir(directory, &entries, NULL, alphasort);

	*text = '\0';
	for (int i = 0; i < n; i++) {
		char path[PATH_MAX], content[64] = "";
		struct stat status;
		size_t length = strlen(text);

		(void)snprintf(path, sizeof(path), "%s/%s", directory, entries[i]->d_name);
		if (lstat(path, &status) == 0 && S_ISREG(status.st_mode))
			read_file(path, content, sizeof(content));
		if (strcmp(entries[i]->d_name, ".") != 0 && strcmp(entries[i]->d_name, "..") != 0)
			(void)snprintf(text + length, sizeof(text) - length, "%s%s%s ",
				       entries[i]->d_name, *content ? "=" : "", content);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
	return text;
}

static const char *found(const struct store *store, const char *name)
{
	static char content[64];
	char path[PATH_MAX];

	if (!store_find(store, name, path, sizeof(path)))
		return NULL;
	read_file(path, content, sizeof(content));
	return content;
}

/* Publishes a set of one file, in a run of its own. */
static void publish_one(const char *name, const char *content)
{
	struct store *store = open_store();

	put(store, name, content);
	publish(store);
	store_close(store);
}

static void what_is_missing_is_made(void **state)
{
	struct store *store;
	char path[PATH_MAX];
	struct stat status;

	assert_int_equal(rmdir("d"), 0);
	(void)umask(0077);
	store = open_store();
	(void)umask(0022);
	assert_null(found(store, "a.ndb"));
	assert_false(store_is_staged(store));
	assert_string_equal(store_path(store, "partial/x", path, sizeof(path)),
			    "d/fetch/partial/x");
	scratch_write(path, "", 0);
	scratch_write("d/fetch/work/x", "", 0);
	/* who reads what was published goes through this one */
	assert_int_equal(stat("d/sets", &status), 0);
	assert_int_equal(status.st_mode & 07777, 0755);
	store_close(store);
	assert_string_equal(list("d"), "fetch sets ");
}

static mode_t mode_of(const char *path)
{
	struct stat status;

	assert_int_equal(stat(path, &status), 0);
	return status.st_mode & 07777;
}

/* Where files belong to the group of their directory, they go on to. */
static void the_group_of_directories_stays(void **state)
{
	assert_int_equal(chmod("d", 02755), 0);
	publish_one("a.ndb", "1");
	assert_int_equal(mode_of("d/fetch"), 02755);
	assert_int_equal(mode_of("d/fetch/partial"), 02700);
	assert_int_equal(mode_of("d/sets"), 02755);
	assert_int_equal(mode_of("d/sets/1"), 02755);
	/* whatever else is wrong with them */
	assert_int_equal(chmod("d/sets", 02700), 0);
	assert_int_equal(chmod("d/fetch", 02777), 0);
	(void)umask(0077);
	publish_one("a.ndb", "2");
	(void)umask(0022);
	assert_int_equal(mode_of("d/sets"), 02755);
	assert_int_equal(mode_of("d/sets/2"), 02755);
	assert_int_equal(mode_of("d/fetch"), 02755);
	assert_int_equal(mode_of("d"), 02755);
}

static void nothing_to_work_on_is_left(void **state)
{
	struct store *store = open_store();

	assert_int_equal(mkdir("d/fetch/work/trial", 0700), 0);
	assert_int_equal(mkdir("d/fetch/work/trial/deep", 0700), 0);
	scratch_write("d/fetch/work/trial/deep/a.ndb", "1", 1);
	scratch_write("d/fetch/partial/daily.cvd", "1", 1);
	store_close(store);
	assert_string_equal(list("d/fetch"), "lock partial replaced ");
	assert_string_equal(list("d/fetch/partial"), "daily.cvd=1 ");
}

static void what_is_published_is_in_force(void **state)
{
	struct store *store = open_store();
	struct stat status;
	char target[64] = "";

	put(store, "a.ndb", "1");
	assert_string_equal(found(store, "a.ndb"), "1");
	assert_true(store_is_staged(store));
	assert_string_equal(list("d/current"), "");
	publish(store);
	assert_false(store_is_staged(store));
	assert_string_equal(found(store, "a.ndb"), "1");
	assert_string_equal(list("d/current"), "a.ndb=1 ");
	assert_true(readlink("d/current", target, sizeof(target) - 1) > 0);
	assert_string_equal(target, "sets/1");
	assert_int_equal(stat("d/current/a.ndb", &status), 0);
	assert_int_equal(status.st_mode & 07777, 0644);
	/* nothing to do */
	publish(store);
	assert_string_equal(list("d/sets"), "1 ");
	store_close(store);
	assert_string_equal(list("d/current"), "a.ndb=1 ");
}

static void what_is_not_published_is_gone(void **state)
{
	struct store *store;

	publish_one("a.ndb", "1");
	store = open_store();
	put(store, "a.ndb", "2");
	put(store, "b.ndb", "2");
	assert_string_equal(found(store, "a.ndb"), "2");
	store_close(store);
	assert_string_equal(list("d/current"), "a.ndb=1 ");
	assert_string_equal(list("d/sets"), "1 ");
}

static void sets_share_what_they_have_in_common(void **state)
{
	struct store *store;
	struct stat old, new;

	publish_one("a.ndb", "1");
	publish_one("b.ndb", "1");
	assert_string_equal(list("d/current"), "a.ndb=1 b.ndb=1 ");
	assert_int_equal(stat("d/sets/1/a.ndb", &old), 0);
	assert_int_equal(stat("d/sets/2/a.ndb", &new), 0);
	assert_int_equal(old.st_ino, new.st_ino);
	/* and what one of them has otherwise is not changed in the other */
	store = open_store();
	put(store, "a.ndb", "2");
	drop(store, "b.ndb");
	drop(store, "c.ndb");
	publish(store);
	assert_string_equal(list("d/sets/2"), "a.ndb=1 b.ndb=1 ");
	assert_string_equal(list("d/sets/3"), "a.ndb=2 ");
	assert_string_equal(list("d/sets"), "2 3 ");
	/* more than once in a run */
	put(store, "c.ndb", "3");
	publish(store);
	assert_string_equal(list("d/current"), "a.ndb=2 c.ndb=3 ");
	assert_string_equal(list("d/sets"), "3 4 ");
	store_close(store);
}

static void a_set_differs_only_if_it_does(void **state)
{
	struct store *store;

	publish_one("a.ndb", "1");
	store = open_store();
	drop(store, "b.ndb");
	assert_false(store_is_staged(store));
	put(store, "b.ndb", "1");
	assert_true(store_is_staged(store));
	drop(store, "b.ndb");
	assert_false(store_is_staged(store));
	put(store, "a.ndb", "2");
	assert_true(store_is_staged(store));
	store_close(store);
	store = open_store();
	drop(store, "a.ndb");
	assert_true(store_is_staged(store));
	store_close(store);
}

static bool keep_a(void *context, const char *name)
{
	assert_ptr_equal(context, keep_a);
	return *name == 'a';
}

static void only_what_is_wanted_is_kept(void **state)
{
	struct store *store = open_store();
	char problem[512] = "";

	assert_int_equal(store_keep_only(store, keep_a, keep_a, problem, sizeof(problem)), 0);
	put(store, "a.ndb", "1");
	put(store, "b.ndb", "1");
	publish(store);
	put(store, "c.ndb", "1");
	assert_int_equal(store_keep_only(store, keep_a, keep_a, problem, sizeof(problem)), 0);
	assert_non_null(found(store, "a.ndb"));
	assert_null(found(store, "b.ndb"));
	assert_null(found(store, "c.ndb"));
	publish(store);
	assert_string_equal(list("d/current"), "a.ndb=1 ");
	assert_false(store_is_staged(store));
	store_close(store);
}

static void one_run_at_a_time(void **state)
{
	struct store *store = open_store();

	put(store, "a.ndb", "1");
	scratch_write("d/fetch/work/y", "2", 1);
	assert_non_null(strstr(refused("d", true), "another update of d is under way"));
	assert_non_null(found(store, "a.ndb"));
	/* It has not taken away what that one works on. */
	assert_string_equal(list("d/fetch/work"), "y=2 ");
	store_close(store);
	store_close(open_store());
}

static void what_a_killed_run_left_is_removed(void **state)
{
	struct store *store;

	publish_one("a.ndb", "1");
	publish_one("a.ndb", "2");
	publish_one("a.ndb", "3");
	assert_int_equal(mkdir("d/sets/9.new", 0755), 0);
	assert_int_equal(mkdir("d/sets/1.gone", 0755), 0);
	assert_int_equal(mkdir("d/sets/4", 0755), 0);
	assert_int_equal(mkdir("d/sets/03", 0755), 0);
	assert_int_equal(mkdir("d/sets/1", 0755), 0);
	assert_int_equal(symlink("sets/4", "d/fetch/current"), 0);
	assert_int_equal(mkdir("d/fetch/work", 0700), 0);
	assert_int_equal(mkdir("d/fetch/work/deep", 0700), 0);
	scratch_write("d/sets/9.new/a.ndb", "9", 1);
	scratch_write("d/fetch/work/deep/a.ndb", "9", 1);
	scratch_write("d/fetch/partial/daily.cvd", "9", 1);
	scratch_write("d/fetch/state.json", "9", 1);
	store = open_store();
	assert_string_equal(list("d/sets"), "2 3 ");
	assert_string_equal(list("d/current"), "a.ndb=3 ");
	assert_string_equal(list("d/fetch"), "lock partial replaced state.json=9 work ");
	assert_string_equal(list("d/fetch/work"), "");
	assert_string_equal(list("d/fetch/partial"), "daily.cvd=9 ");
	store_close(store);
}

static void a_link_that_leads_nowhere_is_mended(void **state)
{
	static const char *const odd[] = {"sets/7", "/etc", "../d/sets/1", "sets/1/..", "sets/01"};

	for (size_t i = 0; i < N_ELEMENTS(odd); i++) {
		publish_one("a.ndb", i % 2 ? "1" : "2");
		assert_int_equal(unlink("d/current"), 0);
		assert_int_equal(symlink(odd[i], "d/current"), 0);
		store_close(open_store());
		assert_string_equal(list("d/current"), i % 2 ? "a.ndb=1 " : "a.ndb=2 ");
	}
	assert_int_equal(unlink("d/current"), 0);
	store_close(open_store());
	assert_string_equal(list("d/current"), "a.ndb=2 ");
}

static void what_is_not_ours_is_left_alone(void **state)
{
	publish_one("a.ndb", "1");
	assert_int_equal(unlink("d/current"), 0);
	assert_int_equal(mkdir("d/current", 0755), 0);
	scratch_write("d/current/b.ndb", "2", 1);
	assert_non_null(strstr(refused("d", false), "d/current: "));
	assert_string_equal(list("d/current"), "b.ndb=2 ");
	assert_int_equal(unlink("d/current/b.ndb"), 0);
	assert_int_equal(rmdir("d/current"), 0);
	/* no file is written through a link */
	assert_int_equal(unlink("d/fetch/lock"), 0);
	assert_int_equal(symlink("../elsewhere", "d/fetch/lock"), 0);
	assert_non_null(strstr(refused("d", false), "d/fetch/lock: "));
	assert_int_equal(access("elsewhere", F_OK), -1);
}

static void a_file_that_the_set_has_instead_goes(void **state)
{
	struct store *store = open_store();
	char path[PATH_MAX];

	scratch_write("d/daily.cvd", "old", 3);
	scratch_write("d/daily.ndb", "own", 3);
	scratch_write("d/main.cvd", "own", 3);
	scratch_write("d/local.ndb", "own", 3);
	assert_true(store_own(store, "daily.cvd", path, sizeof(path)));
	assert_string_equal(path, "d/daily.cvd");
	assert_true(store_own(store, "main.cvd", path, sizeof(path)));
	assert_false(store_own(store, "absent.cvd", path, sizeof(path)));
	assert_false(store_own(store, "fetch", path, sizeof(path)));
	assert_false(store_own(store, "../d/main.cvd", path, sizeof(path)));
	put(store, "daily.cld", "new");
	replace(store, "daily.cvd");
	put(store, "local.hdb", "new");
	put(store, "mainly.cvd", "new");
	assert_int_equal(access("d/daily.cvd", F_OK), 0);
	publish(store);
	assert_string_equal(list("d"),
			    "current daily.ndb=own fetch local.ndb=own main.cvd=own sets ");
	assert_string_equal(list("d/fetch/replaced"), "");
	/* what an administrator puts there again is his */
	scratch_write("d/daily.cvd", "own", 3);
	put(store, "daily.cld", "newer");
	publish(store);
	assert_int_equal(access("d/daily.cvd", F_OK), 0);
	store_close(store);
	store_close(open_store());
	assert_int_equal(access("d/daily.cvd", F_OK), 0);
}

static void assert_mark_removes(const char *set, bool expected)
{
	struct store *store;

	scratch_write("d/daily.cvd", "own", 3);
	assert_int_equal(symlink(set, "d/fetch/replaced/daily.cvd"), 0);
	store = open_store();
	assert_string_equal(list("d/fetch/replaced"), "");
	if ((access("d/daily.cvd", F_OK) < 0) != expected)
		fail_msg("%s", set);
	store_close(store);
}

/* As a run leaves it that is killed. */
static void a_mark_is_for_its_own_set(void **state)
{
	static const char *const others[] = {"1", "3", "0", "02", "2x", "x", "../sets/2", "22"};
	struct store *store;

	publish_one("a.ndb", "1");
	publish_one("a.ndb", "2");
	for (size_t i = 0; i < N_ELEMENTS(others); i++)
		assert_mark_removes(others[i], false);
	assert_mark_removes("2", true);
	scratch_write("d/daily.cvd", "own", 3);
	scratch_write("d/fetch/replaced/daily.cvd", "2", 1);
	store_close(open_store());
	assert_int_equal(access("d/daily.cvd", F_OK), 0);
	/* Nor does one of another set count when one is published. */
	store = open_store();
	assert_int_equal(symlink("4", "d/fetch/replaced/daily.cvd"), 0);
	put(store, "a.ndb", "3");
	replace(store, "gone.cvd");
	publish(store);
	assert_int_equal(access("d/daily.cvd", F_OK), 0);
	assert_string_equal(list("d/fetch/replaced"), "");
	/* The last word counts. */
	replace(store, "daily.cvd");
	replace(store, "daily.cvd");
	publish(store);
	assert_int_equal(access("d/daily.cvd", F_OK), -1);
	store_close(store);
}

/* A run that has looked at it and published nothing, or something else, changes nothing. */
static void a_file_stays_until_its_set_is_in_force(void **state)
{
	struct store *store = open_store();

	scratch_write("d/daily.cvd", "own", 3);
	put(store, "daily.cld", "new");
	replace(store, "daily.cvd");
	store_close(store);
	store = open_store();
	assert_string_equal(list("d/fetch/replaced"), "");
	put(store, "other.ndb", "new");
	publish(store);
	store_close(store);
	assert_int_equal(access("d/daily.cvd", F_OK), 0);
}

static void names_stay_in_the_set(void **state)
{
	static const char *const bad[] = {"", ".", "..", "../x.ndb", "a/b.ndb", "/x.ndb", ".a.ndb"};
	struct store *store = open_store();
	char problem[512], path[PATH_MAX];

	scratch_write("d/fetch/work/x", "1", 1);
	for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
		assert_int_equal(
			store_put(store, "d/fetch/work/x", bad[i], problem, sizeof(problem)),
			-EINVAL);
		assert_false(store_find(store, bad[i], path, sizeof(path)));
	}
	/* and only files come into it */
	assert_int_equal(symlink("/etc/passwd", "d/fetch/work/y"), 0);
	assert_int_not_equal(store_put(store, "d/fetch/work/y", "a.ndb", problem, sizeof(problem)),
			     0);
	assert_int_equal(mkfifo("d/fetch/work/z", 0600), 0);
	assert_int_equal(store_put(store, "d/fetch/work/z", "a.ndb", problem, sizeof(problem)),
			 -EINVAL);
	assert_false(store_is_staged(store));
	store_close(store);
}

/* A disk that fails at any sync leaves the old set, or none, in force, and can be tried again. */
static void an_error_leaves_the_old_set_in_force(void **state)
{
	for (int first = 1; first >= 0; first--)
		for (int n = 1; n <= 4; n++) {
			struct store *store = open_store();
			char problem[512] = "";

			put(store, "a.ndb", "new");
			failing_fsync = n;
			assert_int_equal(store_publish(store, problem, sizeof(problem)), -EIO);
			assert_non_null(strstr(problem, "cannot put in force d/sets/"));
			assert_string_equal(list("d/current"), first ? "" : "a.ndb=old ");
			if (n == 4) {
				publish(store);
				assert_string_equal(list("d/current"), "a.ndb=new ");
				put(store, "a.ndb", "old");
				publish(store);
			}
			store_close(store);
		}
}

/* What the killed runs do: from old to new. */
static void update(void)
{
	struct store *store = open_store();

	put(store, "daily.cld", "new");
	replace(store, "daily.cvd");
	put(store, "b.ndb", "new");
	drop(store, "c.ndb");
	publish(store);
	store_close(store);
}

/* Does it in a child that ends before the n-th change to the disk. Returns whether it was. */
static bool update_killed(unsigned n)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		steps_left = n;
		update();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 9 || WEXITSTATUS(status) == 0));
	return WEXITSTATUS(status) == 9;
}

static void prepare(bool with_old)
{
	struct store *store = open_store();

	scratch_write("d/daily.cvd", "own", 3);
	if (with_old) {
		put(store, "b.ndb", "older");
		put(store, "z.ndb", "older");
		publish(store);
		drop(store, "z.ndb");
		put(store, "b.ndb", "old");
		put(store, "c.ndb", "old");
		publish(store);
	}
	store_close(store);
}

/* What is called like a whole set is one. */
static void assert_sets_are_whole(const char *new)
{
	struct dirent **entries;
	int n = scandir("d/sets", &entries, NULL, alphasort);

	assert_true(n >= 2);
	for (int i = 0; i < n; i++) {
		char path[PATH_MAX];
		const char *files;

		(void)snprintf(path, sizeof(path), "d/sets/%s", entries[i]->d_name);
		files = strchr(entries[i]->d_name, '.') ? new : list(path);
		assert_true(!strcmp(files, new) || !strcmp(files, "b.ndb=older z.ndb=older ") ||
			    !strcmp(files, "b.ndb=old c.ndb=old "));
		free(entries[i]);
	}
	free(entries);
}

static void a_run_may_be_killed_at_any_step(void **state)
{
	static const char new[] = "b.ndb=new daily.cld=new ";

	for (int with_old = 0; with_old < 2; with_old++) {
		const char *old = with_old ? "b.ndb=old c.ndb=old " : "";
		bool was_new = false;
		unsigned n = 1;

		for (bool killed = true; killed; n++) {
			bool is_new;

			prepare(with_old);
			killed = update_killed(n);
			/* It was the child that knew. */
			check_synced = false;
			/* as the engine finds it at once, and the next run */
			is_new = !strcmp(list("d/current"), new);
			if (!is_new)
				assert_string_equal(list("d/current"), old);
			assert_sets_are_whole(new);
			store_close(open_store());
			if (is_new || strcmp(list("d/current"), old) != 0)
				assert_string_equal(list("d/current"), new);
			/* never twice: own is there until the set has it */
			assert_int_equal(access("d/daily.cvd", F_OK),
					 strcmp(list("d/current"), new) ? 0 : -1);
			/* nothing piles up */
			assert_string_equal(list("d/fetch"), "lock partial replaced ");
			assert_string_equal(list("d/fetch/replaced"), "");
			assert_true(strlen(list("d/sets")) <= strlen("1 2 "));
			assert_null(strchr(list("d/sets"), '.'));
			/* and the next run comes to an end */
			update();
			assert_string_equal(list("d/current"), new);
			assert_false(was_new && !is_new);
			was_new = is_new;
			assert_int_equal(teardown(NULL), 0);
			assert_int_equal(setup(NULL), 0);
		}
		assert_true(was_new);
		assert_true(n > 20);
	}
}

static void everything_is_on_the_disk_first(void **state)
{
	struct store *store;

	publish_one("a.ndb", "1");
	n_synced = 0;
	store = open_store();
	put(store, "b.ndb", "1");
	drop(store, "a.ndb");
	publish(store);
	assert_true(is_synced("d"));
	store_close(store);
}

static void a_read_only_disk_is_a_problem(void **state)
{
	if (!mount_fixture_unshare() || mount("none", "d", "tmpfs", 0, NULL) < 0) {
		print_message("skipped: nothing can be mounted\n");
		skip();
	}
	publish_one("a.ndb", "1");
	assert_int_equal(mount("none", "d", NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	assert_non_null(strstr(refused("d", false), "d/fetch/"));
	assert_non_null(strstr(refused("d", false), "is mounted read-only: mount it for writing"));
	assert_string_equal(list("d/current"), "a.ndb=1 ");
	assert_int_equal(umount("d"), 0);
}

/* No inode is left: nothing can be made. */
static void a_full_disk_is_a_problem(void **state)
{
	char problem[512] = "", name[32];
	struct store *store;

	if (!mount_fixture_unshare() || mount("none", "d", "tmpfs", 0, "nr_inodes=40") < 0) {
		print_message("skipped: nothing can be mounted\n");
		skip();
	}
	publish_one("a.ndb", "1");
	store = open_store();
	scratch_write("d/fetch/work/x", "2", 1);
	for (int i = 0;; i++) {
		(void)snprintf(name, sizeof(name), "d/fill%d", i);
		if (mkdir(name, 0755) < 0)
			break;
	}
	assert_int_equal(store_put(store, "d/fetch/work/x", "a.ndb", problem, sizeof(problem)),
			 -ENOSPC);
	assert_non_null(strstr(problem, "d/sets/2.new"));
	assert_non_null(strstr(problem, "make room"));
	/* what was not taken is still there; with room for the set, but not for the link */
	assert_int_equal(rmdir("d/fill0"), 0);
	assert_int_equal(rmdir("d/fill1"), 0);
	assert_int_equal(store_put(store, "d/fetch/work/x", "a.ndb", problem, sizeof(problem)), 0);
	for (int i = 0; i < 2; i++) {
		(void)snprintf(name, sizeof(name), "d/fill%d", i);
		(void)mkdir(name, 0755);
	}
	assert_int_equal(store_publish(store, problem, sizeof(problem)), -ENOSPC);
	assert_string_equal(list("d/current"), "a.ndb=1 ");
	assert_true(store_is_staged(store));
	assert_int_equal(rmdir("d/fill0"), 0);
	publish(store);
	assert_string_equal(list("d/current"), "a.ndb=2 ");
	store_close(store);
	assert_int_equal(umount("d"), 0);
}

static void a_directory_of_others_is_a_problem(void **state)
{
	pid_t pid;
	int status;

	if (getuid() != 0) {
		print_message("skipped: only root can become another user\n");
		skip();
	}
	publish_one("a.ndb", "1");
	pid = fork();
	if (pid == 0) {
		char problem[512] = "";
		bool busy;

		if (setuid(65534) == 0 && !store_open("d", &busy, problem, sizeof(problem)) &&
		    strstr(problem, "d/fetch/lock: Permission denied; ") &&
		    strstr(problem, "must belong to the user that holdfast runs as"))
			_exit(0);
		print_error("%s\n", problem);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_string_equal(list("d/current"), "a.ndb=1 ");
}

static void nothing_leaks(void **state)
{
	unsigned fds = unit_count_fds();
	char problem[512] = "";
	struct store *store;

	publish_one("a.ndb", "1");
	store = open_store();
	put(store, "a.ndb", "2");
	assert_int_not_equal(store_put(store, "d/absent", "b.ndb", problem, sizeof(problem)), 0);
	assert_non_null(strstr(problem, "b.ndb"));
	(void)refused("d", true);
	store_close(store);
	(void)refused("d/absent/deep", false);
	assert_int_equal(unit_count_fds(), fds);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_missing_is_made),
		TEST(the_group_of_directories_stays),
		TEST(nothing_to_work_on_is_left),
		TEST(what_is_published_is_in_force),
		TEST(what_is_not_published_is_gone),
		TEST(sets_share_what_they_have_in_common),
		TEST(a_set_differs_only_if_it_does),
		TEST(only_what_is_wanted_is_kept),
		TEST(one_run_at_a_time),
		TEST(what_a_killed_run_left_is_removed),
		TEST(a_link_that_leads_nowhere_is_mended),
		TEST(what_is_not_ours_is_left_alone),
		TEST(a_file_that_the_set_has_instead_goes),
		TEST(a_mark_is_for_its_own_set),
		TEST(a_file_stays_until_its_set_is_in_force),
		TEST(names_stay_in_the_set),
		TEST(an_error_leaves_the_old_set_in_force),
		TEST(a_run_may_be_killed_at_any_step),
		TEST(everything_is_on_the_disk_first),
		TEST(a_read_only_disk_is_a_problem),
		TEST(a_full_disk_is_a_problem),
		TEST(a_directory_of_others_is_a_problem),
		TEST(nothing_leaks),
	};

	return cmocka_run_group_tests_name("store", tests, scratch_setup, scratch_teardown);
}
