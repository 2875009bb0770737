/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Each test has a directory of its own to fill, "t", which is the path that is walked if none is
 * given. What a walk finds is compared as lines, in any order: "file a/b", "directory .", and for
 * what is skipped the reason, "symlink a/c".
 */
#include "../../../src/common/walk.h"
#include "../support/mount_fixture.h"
#include "../support/scratch.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#define NOBODY 65534

/* A directory with files for each of so many levels: more than are held open, with a path that is
 * longer than PATH_MAX. */
#define DEEP_LEVELS 3000
#define DEEP_FILES  3

static bool can_mount;
static char tree[PATH_MAX + 2];

/* So late that no directory has changed since. */
#define UNCHANGED INT64_MAX

/* Mounted by the test, to be unmounted after it. */
static const char *mounted[16];
static size_t n_mounted;

static const struct walk_rules everything = {.cross_filesystems = true},
			       one_filesystem = {.cross_filesystems = false};

/* What happens to "a" between the first look at it and its opening. */
static void (*before_open)(void);

/* The path of which a server says nothing. */
static const char *unanswered;

int __wrap_statx(int directory, const char *name, int flags, unsigned mask, struct statx *ret);
int __real_statx(int directory, const char *name, int flags, unsigned mask, struct statx *ret);

int __wrap_statx(int directory, const char *name, int flags, unsigned mask, struct statx *ret)
{
	void (*now)(void) = strcmp(name, "a") ? NULL : before_open;
	int r;

	if (unanswered && !strcmp(name, unanswered)) {
		errno = ETIMEDOUT;
		return -1;
	}
	r = __real_statx(directory, name, flags, mask, ret);
	if (now) {
		before_open = NULL;
		now();
	}
	return r;
}

/* What is read last of its directory: then the disk fails. */
static const char *last_read;

struct dirent *__wrap_readdir64(DIR *stream);
struct dirent *__real_readdir64(DIR *stream);

struct dirent *__wrap_readdir64(DIR *stream)
{
	static bool fails;
	struct dirent *entry = fails ? NULL : __real_readdir64(stream);

	if (fails)
		errno = EIO;
	fails = entry && last_read && !strcmp(entry->d_name, last_read);
	return entry;
}

#define WALK_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

/* --- what is walked --- */

static int group_setup(void **state)
{
	if (scratch_setup(state) < 0)
		return -1;
	can_mount = mount_fixture_unshare();
	(void)snprintf(tree, sizeof(tree), "%s/t", scratch);
	return 0;
}

static int setup(void **state)
{
	return mkdir("t", 0755);
}

static int teardown(void **state)
{
	while (n_mounted)
		if (umount2(mounted[--n_mounted], MNT_DETACH) < 0)
			return -1;
	/* nftw() does not go as deep. */
	return system("rm -rf --one-file-system t");
}

static void make_directory(const char *name)
{
	assert_int_equal(mkdir(name, 0755), 0);
}

static void make_file(const char *name)
{
	scratch_write(name, name, strlen(name));
}

static void make_mount(const char *source, const char *target, const char *type,
		       unsigned long flags, const char *options)
{
	if (!can_mount) {
		print_message("skipped: nothing can be mounted (not root?)\n");
		skip();
	}
	if (mount(source, target, type, flags, options) < 0) {
		print_message("skipped: %s cannot be mounted: %s\n", type, strerror(errno));
		skip();
	}
	assert_true(n_mounted < N_ELEMENTS(mounted));
	mounted[n_mounted++] = target;
}

static void make_tmpfs(const char *target)
{
	make_mount("tmpfs", target, "tmpfs", 0, "size=64m,nr_inodes=300000");
}

static void make_bind(const char *source, const char *target)
{
	make_mount(source, target, NULL, MS_BIND, NULL);
}

/* A path below scratch. Good until the next but three. */
static const char *at(const char *name)
{
	static char paths[4][PATH_MAX + NAME_MAX + 2];
	static unsigned n;
	char *path = paths[n++ % N_ELEMENTS(paths)];

	(void)snprintf(path, sizeof(paths[0]), "%s/%s", scratch, name);
	return path;
}

/* --- what is found --- */

struct found {
	char *text; /* the lines, one after the other */
	size_t size;
	char **lines;
	size_t n;
};

static const char *relative(const char *path)
{
	size_t length = strlen(tree);

	if (strncmp(path, tree, length) || (path[length] && path[length] != '/'))
		return path;
	return path[length] ? path + length + 1 : ".";
}

static void write_item(FILE *stream, const struct walk_item *item)
{
	const char *path = relative(item->path);

	switch (item->kind) {
	case WALK_FILE:
		(void)fprintf(stream, "file %s", path);
		break;
	case WALK_DIRECTORY:
		(void)fprintf(stream, "directory %s", path);
		break;
	case WALK_SKIPPED:
		(void)fprintf(stream, "%s %s", walk_reason_name(item->reason), path);
		break;
	case WALK_END:
		(void)fprintf(stream, "end %s", path);
	}
	if (item->error)
		(void)fprintf(stream, ": %s", strerror(-item->error));
	if (item->filesystem)
		(void)fprintf(stream, " on %s", item->filesystem);
	if (item->rule)
		(void)fprintf(stream, " by %s", relative(item->rule->text));
	(void)fputc('\0', stream);
}

static void found_split(struct found *found)
{
	found->n = 0;
	for (size_t i = 0; i < found->size; i++)
		found->n += !found->text[i];
	found->lines = calloc(found->n + 1, sizeof(*found->lines));
	assert_non_null(found->lines);
	for (size_t i = 0, at_byte = 0; i < found->n; i++) {
		found->lines[i] = found->text + at_byte;
		at_byte += strlen(found->lines[i]) + 1;
	}
}

/* Goes to the end of a walk, and frees it. */
static struct found find_rest(struct walk *walk)
{
	struct found found = {0};
	struct walk_item item;
	FILE *stream = open_memstream(&found.text, &found.size);

	assert_non_null(stream);
	assert_non_null(walk);
	for (walk_next(walk, &item); item.kind != WALK_END; walk_next(walk, &item)) {
		assert_string_equal(walk_position(walk), item.path);
		write_item(stream, &item);
	}
	assert_string_equal(walk_position(walk), "");
	assert_string_equal(item.path, "");
	walk_next(walk, &item);
	assert_int_equal(item.kind, WALK_END);
	assert_null(walk_free(walk));
	assert_int_equal(fclose(stream), 0);
	found_split(&found);
	return found;
}

static struct walk *new_walk(const struct walk_rules *rules)
{
	static const char *const paths[] = {tree};

	return walk_new(paths, 1, rules, NULL, UNCHANGED);
}

static void found_free(struct found *found)
{
	free(found->lines);
	free(found->text);
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static size_t count(const struct found *found, const char *line)
{
	size_t n = 0;

	for (size_t i = 0; i < found->n; i++)
		n += !strcmp(found->lines[i], line);
	return n;
}

/* The lines must be these, in any order; frees what was found. */
static void assert_lines(struct found found, const char **lines, size_t n)
{
	qsort(found.lines, found.n, sizeof(*found.lines), compare);
	qsort(lines, n, sizeof(*lines), compare);
	for (size_t i = 0; i < n || i < found.n; i++)
		if (i >= n || i >= found.n || strcmp(lines[i], found.lines[i]) != 0)
			fail_msg("found \"%s\", not \"%s\"", i < found.n ? found.lines[i] : "",
				 i < n ? lines[i] : "");
	found_free(&found);
}

#define ASSERT_FOUND(found, ...)                                                                   \
	assert_lines(found, (const char *[]){__VA_ARGS__},                                         \
		     N_ELEMENTS(((const char *[]){__VA_ARGS__})))
#define ASSERT_WALK(rules, ...) ASSERT_FOUND(find_rest(new_walk(rules)), __VA_ARGS__)

/* Goes on until something with this name is found, which must be. */
static void go_to(struct walk *walk, const char *name, struct walk_item *item)
{
	do
		walk_next(walk, item);
	while (item->kind != WALK_END && strcmp(relative(item->path), name) != 0);
	assert_int_not_equal(item->kind, WALK_END);
}

static void assert_nothing(struct found found)
{
	assert_int_equal(found.n, 0);
	found_free(&found);
}

/* Rules with one more rule, which is below the tree. */
static const struct walk_rules *excluding(const char *rule)
{
	static char text[2 * PATH_MAX];
	static struct conf_entry entries[] = {{.text = (char *)"/nothing/of/this"}, {.text = text}};
	static struct conf_list exclude = {entries, N_ELEMENTS(entries)};
	static const struct walk_rules rules = {.exclude = &exclude, .cross_filesystems = true};

	(void)snprintf(text, sizeof(text), "%s%s", tree, rule);
	return &rules;
}

#define ASSERT_EXCLUDED(rule, ...) ASSERT_WALK(excluding(rule), __VA_ARGS__)

/* As another user, who has no privileges. */
static struct found find_as_nobody(const struct walk_rules *rules)
{
	struct found found = {0};
	char buffer[4096];
	ssize_t n;
	int ends[2], status;
	pid_t pid;

	if (geteuid() != 0) {
		print_message("skipped: not root\n");
		skip();
	}
	assert_int_equal(pipe(ends), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
		    setresuid(NOBODY, NOBODY, NOBODY) < 0)
			_exit(1);
		found = find_rest(new_walk(rules));
		_exit(write(ends[1], found.text, found.size) == (ssize_t)found.size ? 0 : 2);
	}
	close(ends[1]);
	n = read(ends[0], buffer, sizeof(buffer));
	close(ends[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_true(n > 0);
	found.text = malloc((size_t)n);
	assert_non_null(found.text);
	memcpy(found.text, buffer, (size_t)n);
	found.size = (size_t)n;
	found_split(&found);
	return found;
}

/* --- trees --- */

static void everything_below_a_path_is_found_once(void **state)
{
	make_directory("t/a");
	make_directory("t/a/b");
	make_directory("t/a/b/empty");
	make_directory("t/c");
	make_file("t/1");
	make_file("t/a/2");
	make_file("t/a/b/3");
	make_file("t/a/b/.hidden");
	make_file("t/c/...");
	ASSERT_WALK(&everything, "directory .", "directory a", "directory a/b",
		    "directory a/b/empty", "directory c", "file 1", "file a/2", "file a/b/3",
		    "file a/b/.hidden", "file c/...");
}

static void what_comes_after_a_directory_is_in_it(void **state)
{
	struct walk_item item;
	struct walk *walk = new_walk(&everything);
	char inside[PATH_MAX] = "";
	size_t n = 0;

	make_directory("t/a");
	make_directory("t/b");
	make_file("t/a/x");
	make_file("t/b/x");
	for (walk_next(walk, &item); item.kind != WALK_END; walk_next(walk, &item)) {
		if (item.kind == WALK_DIRECTORY) {
			(void)snprintf(inside, sizeof(inside), "%s/x", item.path);
			continue;
		}
		assert_string_equal(item.path, inside);
		n++;
	}
	assert_int_equal(n, 2);
	walk_free(walk);
}

static void an_item_says_what_and_where_it_is(void **state)
{
	struct walk_item item;
	struct walk *walk = new_walk(&everything);
	struct stat by_path, by_name;
	size_t n = 0;

	make_directory("t/a");
	make_file("t/a/file");
	assert_int_equal(symlink("nowhere", "t/link"), 0);
	for (walk_next(walk, &item); item.kind != WALK_END; walk_next(walk, &item), n++) {
		assert_int_equal(lstat(item.path, &by_path), 0);
		assert_int_equal(fstatat(item.directory, item.name, &by_name, AT_SYMLINK_NOFOLLOW),
				 0);
		assert_int_equal(by_path.st_ino, by_name.st_ino);
		assert_int_equal(by_path.st_ino, item.status.stx_ino);
		assert_int_equal(by_path.st_mode, item.status.stx_mode);
		assert_int_equal(by_path.st_size, item.status.stx_size);
		assert_int_equal(item.status.stx_mask & STATX_BASIC_STATS, STATX_BASIC_STATS);
		assert_null(item.filesystem);
		assert_null(item.rule);
		assert_int_equal(item.error, 0);
	}
	assert_int_equal(n, 4);
	walk_free(walk);
}

static void names_may_hold_any_bytes(void **state)
{
	char longest[NAME_MAX + 1], path[PATH_MAX], line[PATH_MAX];

	(void)memset(longest, 'n', NAME_MAX);
	longest[NAME_MAX] = '\0';
	(void)snprintf(path, sizeof(path), "t/%s", longest);
	make_directory(path);
	(void)snprintf(path, sizeof(path), "t/%s/%s", longest, longest);
	make_file(path);
	make_file("t/new\nline");
	make_file("t/\xff\xfe invalid \xc3");
	make_file("t/*");
	make_directory("t/**");
	make_file("t/**/\\012");
	make_file("t/ ");
	(void)snprintf(path, sizeof(path), "directory %s", longest);
	(void)snprintf(line, sizeof(line), "file %s/%s", longest, longest);
	ASSERT_WALK(&everything, "directory .", path, line, "file new\nline",
		    "file \xff\xfe invalid \xc3", "file *", "directory **", "file **/\\012",
		    "file  ");
}

static void the_root_may_be_given(void **state)
{
	static const char *const paths[] = {"/"};
	struct conf_entry rules[] = {{.text = (char *)"/**"}};
	struct conf_list exclude = {rules, 1};
	const struct walk_rules only_names = {.exclude = &exclude, .cross_filesystems = true};
	struct walk *walk = walk_new(paths, 1, &only_names, NULL, UNCHANGED);
	struct walk_item item;
	struct found found;
	char line[64];

	walk_next(walk, &item);
	assert_int_equal(item.kind, WALK_DIRECTORY);
	assert_string_equal(item.path, "/");
	found = find_rest(walk);
	(void)snprintf(line, sizeof(line), "excluded /%.*s by /**", (int)strcspn(scratch + 1, "/"),
		       scratch + 1);
	assert_int_equal(count(&found, line), 1);
	found_free(&found);

	found = find_rest(walk_new(paths, 1, &only_names, "/nowhere", UNCHANGED));
	assert_int_equal(count(&found, line), 1);
	assert_int_equal(count(&found, "directory /"), 0);
	found_free(&found);
}

static void a_file_may_be_given(void **state)
{
	static const char *const paths[] = {tree};
	struct walk_item item;
	struct walk *walk;
	char content[8];
	int fd;

	assert_int_equal(rmdir("t"), 0);
	make_file("t");
	walk = walk_new(paths, 1, &everything, NULL, UNCHANGED);
	walk_next(walk, &item);
	assert_int_equal(item.kind, WALK_FILE);
	assert_string_equal(item.path, tree);
	fd = walk_open(&item);
	assert_true(fd >= 0);
	assert_int_equal(read(fd, content, sizeof(content)), 1);
	close(fd);
	walk_next(walk, &item);
	assert_int_equal(item.kind, WALK_END);
	walk_free(walk);
}

static void a_path_that_does_not_exist_is_unreadable(void **state)
{
	const char *const paths[] = {"/nowhere/at/all", "/dev/null/x", tree};

	ASSERT_FOUND(find_rest(walk_new(paths, 3, &everything, NULL, UNCHANGED)),
		     "unreadable /nowhere/at/all: No such file or directory",
		     "unreadable /dev/null/x: Not a directory", "directory .");
}

static void paths_are_walked_in_their_order(void **state)
{
	const char *const paths[] = {at("t/b"), at("t/file"), at("t/a")};
	struct found found;

	make_directory("t/a");
	make_directory("t/b");
	make_file("t/file");
	found = find_rest(walk_new(paths, 3, &everything, NULL, UNCHANGED));
	assert_int_equal(found.n, 3);
	assert_string_equal(found.lines[0], "directory b");
	assert_string_equal(found.lines[1], "file file");
	assert_string_equal(found.lines[2], "directory a");
	found_free(&found);
	assert_nothing(find_rest(walk_new(NULL, 0, &everything, NULL, UNCHANGED)));
}

static void what_is_below_another_path_is_walked_once(void **state)
{
	const char *const paths[] = {at("t/a/b"), at("t/a"), at("t/ab"), at("t/a")};

	make_directory("t/a");
	make_directory("t/ab");
	make_directory("t/a/b");
	ASSERT_FOUND(find_rest(walk_new(paths, 4, &everything, NULL, UNCHANGED)), "directory a",
		     "directory a/b", "directory ab");
}

/* --- depth --- */

static void make_deep_in(const char *directory, int levels)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC), below;
	char name[16];

	for (int i = 0; i < levels; i++) {
		for (int j = 0; j < DEEP_FILES; j++) {
			(void)snprintf(name, sizeof(name), "f%d", j);
			below = openat(fd, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
			assert_true(below >= 0);
			close(below);
		}
		(void)snprintf(name, sizeof(name), "d%d", i);
		assert_int_equal(mkdirat(fd, name, 0755), 0);
		below = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(below >= 0);
		close(fd);
		fd = below;
	}
	close(fd);
}

static void make_deep(int levels)
{
	make_deep_in("t", levels);
}

/* How many lines are of files; none may come twice. */
static size_t count_files(struct found *found)
{
	size_t n = 0;

	qsort(found->lines, found->n, sizeof(*found->lines), compare);
	for (size_t i = 0; i < found->n; i++) {
		if (i && !strcmp(found->lines[i], found->lines[i - 1]))
			fail_msg("twice: %.100s", found->lines[i]);
		n += !strncmp(found->lines[i], "file ", strlen("file "));
	}
	return n;
}

static void trees_may_have_any_depth(void **state)
{
	unsigned before = unit_count_fds(), most = 0;
	struct walk *walk = new_walk(&everything);
	size_t files = 0, directories = 0, longest = 0, n = 0;
	struct walk_item item;

	/* where they are made in no time */
	if (can_mount)
		make_tmpfs("t");
	make_deep(DEEP_LEVELS);
	for (walk_next(walk, &item); item.kind != WALK_END; walk_next(walk, &item)) {
		files += item.kind == WALK_FILE;
		directories += item.kind == WALK_DIRECTORY;
		assert_int_not_equal(item.kind, WALK_SKIPPED);
		if (strlen(item.path) > longest)
			longest = strlen(item.path);
		if (n++ % 100 == 0 && unit_count_fds() > most)
			most = unit_count_fds();
	}
	walk_free(walk);
	assert_int_equal(directories, DEEP_LEVELS + 1);
	assert_int_equal(files, DEEP_FILES * DEEP_LEVELS);
	assert_true(longest > PATH_MAX);
	assert_in_range(most, before + 2, before + WALK_OPEN_MAX + 1);
	assert_int_equal(unit_count_fds(), before);
}

static void not_more_are_open_after_coming_back(void **state)
{
	unsigned before = unit_count_fds(), most = 0;
	struct walk *walk = new_walk(&everything);
	struct walk_item item;

	make_directory("t/one");
	make_directory("t/two");
	make_directory("t/three");
	make_deep_in("t/one", 2 * WALK_OPEN_MAX);
	make_deep_in("t/two", 2 * WALK_OPEN_MAX);
	make_deep_in("t/three", 2 * WALK_OPEN_MAX);
	for (walk_next(walk, &item); item.kind != WALK_END; walk_next(walk, &item))
		if (unit_count_fds() > most)
			most = unit_count_fds();
	walk_free(walk);
	assert_in_range(most, before + 2, before + WALK_OPEN_MAX + 1);
}

static void a_walk_may_end_anywhere(void **state)
{
	unsigned before = unit_count_fds();
	struct walk_item item;
	struct walk *walk;

	make_deep(2 * WALK_OPEN_MAX);
	for (int i = 0; i < 3 * WALK_OPEN_MAX; i++) {
		walk = new_walk(&everything);
		for (int j = 0; j < i; j++)
			walk_next(walk, &item);
		assert_null(walk_free(walk));
		assert_int_equal(unit_count_fds(), before);
	}
	assert_null(walk_free(NULL));
}

/* Writes the path of a level, which begins with that of the tree. */
static void deep_path(char *path, size_t size, int level)
{
	size_t length = (size_t)snprintf(path, size, "%s", tree);

	for (int i = 0; i <= level; i++)
		length += (size_t)snprintf(path + length, size - length, "/d%d", i);
}

/* Walks down to a level. Returns how many files were found until then. */
static size_t find_until(struct walk *walk, int level)
{
	struct walk_item item;
	char path[PATH_MAX];
	size_t files = 0;

	deep_path(path, sizeof(path), level);
	do {
		walk_next(walk, &item);
		assert_int_not_equal(item.kind, WALK_END);
		files += item.kind == WALK_FILE;
	} while (strcmp(item.path, path) != 0);
	return files;
}

static void move_level(int level, const char *to)
{
	char path[PATH_MAX];

	deep_path(path, sizeof(path), level);
	assert_int_equal(rename(path, to), 0);
}

/* The way up from what was moved leads elsewhere: the level above is found by its path. */
static void what_is_moved_away_does_not_lead_elsewhere(void **state)
{
	const int levels = 2 * WALK_OPEN_MAX;
	struct walk *walk = new_walk(&everything);
	struct found found;
	size_t files;

	make_deep(levels);
	make_directory("away");
	make_file("away/trap");
	files = find_until(walk, levels - 1);
	move_level(5, "away/d5");
	found = find_rest(walk);
	assert_int_equal(files + count_files(&found), DEEP_FILES * levels);
	assert_int_equal(count_files(&found), found.n);
	found_free(&found);
	assert_int_equal(system("rm -rf away"), 0);
}

static void a_level_that_is_gone_is_reported_and_those_above_go_on(void **state)
{
	const int levels = 2 * WALK_OPEN_MAX;
	char path[PATH_MAX], line[PATH_MAX + 8];
	struct walk *walk = new_walk(&everything);
	struct found found;
	size_t files;

	make_deep(levels);
	make_directory("away");
	files = find_until(walk, levels - 1);
	/* Level 7 goes out of level 6, and that out of level 5. */
	move_level(7, "away/d7");
	move_level(6, "away/d6");
	found = find_rest(walk);
	deep_path(path, sizeof(path), 6);
	(void)snprintf(line, sizeof(line), "gone %s", relative(path));
	assert_int_equal(count(&found, line), 1);
	files += count_files(&found);
	assert_int_equal(count_files(&found), found.n - 1);
	/* All files but those of that level, of which it may have read some before. */
	assert_in_range(files, DEEP_FILES * (levels - 1), DEEP_FILES * levels);
	found_free(&found);
	assert_int_equal(system("rm -rf away"), 0);
}

/* What another mount hides now is not the level that we came from. */
static void a_level_that_is_mounted_over_is_gone(void **state)
{
	const int levels = 2 * WALK_OPEN_MAX;
	struct walk *walk = new_walk(&everything);
	static char path[PATH_MAX];
	char line[PATH_MAX + 8];
	struct found found;

	make_deep(levels);
	(void)find_until(walk, levels - 1);
	deep_path(path, sizeof(path), 6);
	make_bind(tree, path);
	found = find_rest(walk);
	(void)snprintf(line, sizeof(line), "gone %s", relative(path));
	assert_int_equal(count(&found, line), 1);
	found_free(&found);
}

/* --- what is not looked at --- */

static void symbolic_links_are_not_followed(void **state)
{
	make_directory("t/a");
	make_file("t/a/file");
	assert_int_equal(symlink(".", "t/a/loop"), 0);
	assert_int_equal(symlink("../a", "t/a/up"), 0);
	assert_int_equal(symlink("file", "t/a/link"), 0);
	assert_int_equal(symlink("self", "t/self"), 0);
	assert_int_equal(symlink("/", "t/root"), 0);
	ASSERT_WALK(&everything, "directory .", "directory a", "file a/file", "symlink a/loop",
		    "symlink a/up", "symlink a/link", "symlink self", "symlink root");
}

static void a_symbolic_link_that_is_given_is_followed(void **state)
{
	const char *const paths[] = {at("t/to-a"), at("t/to-file")};
	struct walk *walk;
	struct walk_item item;
	int fd;

	make_directory("t/a");
	make_file("t/a/file");
	make_file("t/b");
	assert_int_equal(symlink("a", "t/to-a"), 0);
	assert_int_equal(symlink("b", "t/to-file"), 0);
	ASSERT_FOUND(find_rest(walk_new(paths, 2, &everything, NULL, UNCHANGED)), "directory to-a",
		     "file to-a/file", "file to-file");
	walk = walk_new(paths, 2, &everything, NULL, UNCHANGED);
	go_to(walk, "to-file", &item);
	fd = walk_open(&item);
	assert_true(fd >= 0);
	close(fd);
	walk_free(walk);
}

static void special_files_are_not_opened(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "t/socket"};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), writer;
	const char *const paths[] = {at("t/fifo")};
	struct walk_item item;
	struct walk *walk;

	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(mkfifo("t/fifo", 0644), 0);
	ASSERT_WALK(&everything, "directory .", "special socket", "special fifo");
	ASSERT_FOUND(find_rest(walk_new(paths, 1, &everything, NULL, UNCHANGED)), "special fifo");
	walk = new_walk(&everything);
	go_to(walk, "fifo", &item);
	assert_int_equal(walk_open(&item), -ESTALE);
	walk_free(walk);
	/* nobody reads it */
	writer = open("t/fifo", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	assert_int_equal(writer, -1);
	close(fd);
}

static void a_file_with_several_links_is_found_once(void **state)
{
	struct found found;

	make_directory("t/a");
	make_file("t/one");
	make_file("t/two");
	assert_int_equal(link("t/one", "t/a/one"), 0);
	assert_int_equal(link("t/one", "t/a/again"), 0);
	assert_int_equal(link("t/two", "t/a/two"), 0);
	found = find_rest(new_walk(&everything));
	assert_int_equal(found.n, 7);
	assert_int_equal(count(&found, "file one") + count(&found, "file a/one") +
				 count(&found, "file a/again"),
			 1);
	assert_int_equal(count(&found, "link one") + count(&found, "link a/one") +
				 count(&found, "link a/again"),
			 2);
	assert_int_equal(count(&found, "file two") + count(&found, "file a/two"), 1);
	assert_int_equal(count(&found, "link two") + count(&found, "link a/two"), 1);
	found_free(&found);
	/* each walk finds it */
	found = find_rest(new_walk(&everything));
	assert_int_equal(count_files(&found), 2);
	found_free(&found);
}

static void make_linked_file(int n)
{
	char name[64], other[64];

	(void)snprintf(name, sizeof(name), "t/between/%d", n);
	(void)snprintf(other, sizeof(other), "t/aside/%d", n);
	assert_int_equal(mknod(name, S_IFREG | 0644, 0), 0);
	assert_int_equal(link(name, other), 0);
}

static void of_the_files_with_several_links_the_oldest_is_forgotten(void **state)
{
	const char *const paths[] = {at("t/first"), at("t/between"), at("t/last")};
	struct found found;

	make_tmpfs("t");
	make_directory("t/first");
	make_directory("t/between");
	make_directory("t/aside");
	make_directory("t/last");
	make_file("t/first/file");
	assert_int_equal(link("t/first/file", "t/last/file"), 0);
	for (int i = 0; i < WALK_LINKS_MAX - 1; i++)
		make_linked_file(i);
	found = find_rest(walk_new(paths, 3, &everything, NULL, UNCHANGED));
	assert_int_equal(count(&found, "link last/file"), 1);
	assert_int_equal(count_files(&found), WALK_LINKS_MAX);
	found_free(&found);

	for (int i = 0; i < WALK_LINKS_MAX; i++)
		make_linked_file(WALK_LINKS_MAX + i);
	found = find_rest(walk_new(paths, 3, &everything, NULL, UNCHANGED));
	assert_int_equal(count(&found, "file last/file"), 1);
	assert_int_equal(count_files(&found), 2 * WALK_LINKS_MAX + 1);
	found_free(&found);
}

/* One that could not be opened does not hide the others. */
static void a_link_that_is_forgotten_is_found_again(void **state)
{
	const char *const paths[] = {at("t/1"), at("t/2"), at("t/3")};
	struct walk *walk;
	struct walk_item item;

	make_file("t/1");
	assert_int_equal(link("t/1", "t/2"), 0);
	assert_int_equal(link("t/1", "t/3"), 0);
	walk = walk_new(paths, 3, &everything, NULL, UNCHANGED);
	go_to(walk, "1", &item);
	walk_forget_link(walk, &item);
	/* and nothing happens when it is not known */
	walk_forget_link(walk, &item);
	walk_next(walk, &item);
	assert_int_equal(item.kind, WALK_FILE);
	walk_next(walk, &item);
	assert_int_equal(item.kind, WALK_SKIPPED);
	assert_int_equal(item.reason, WALK_LINK);
	walk_free(walk);
}

static void what_is_forgotten_leaves_room(void **state)
{
	const char *const paths[] = {at("t/first"), at("t/between")};
	unsigned n = 0;
	struct walk *walk;
	struct walk_item item;

	make_tmpfs("t");
	make_directory("t/first");
	make_directory("t/between");
	make_directory("t/aside");
	make_file("t/first/file");
	assert_int_equal(link("t/first/file", "t/aside/file"), 0);
	for (int i = 0; i < WALK_LINKS_MAX + 1; i++)
		make_linked_file(i);
	walk = walk_new(paths, 2, &everything, NULL, UNCHANGED);
	go_to(walk, "first/file", &item);
	walk_forget_link(walk, &item);
	for (walk_next(walk, &item); item.kind != WALK_END; walk_next(walk, &item))
		n += item.kind == WALK_FILE;
	assert_int_equal(n, WALK_LINKS_MAX + 1);
	walk_free(walk);
}

static void files_of_two_filesystems_may_have_one_number(void **state)
{
	struct stat one, other;

	make_directory("t/a");
	make_directory("t/b");
	make_tmpfs("t/a");
	make_tmpfs("t/b");
	make_file("t/a/x");
	make_file("t/b/x");
	make_directory("t/a/out");
	make_directory("t/b/out");
	assert_int_equal(link("t/a/x", "t/a/out/x"), 0);
	assert_int_equal(link("t/b/x", "t/b/out/x"), 0);
	assert_int_equal(stat("t/a/x", &one), 0);
	assert_int_equal(stat("t/b/x", &other), 0);
	assert_int_equal(one.st_ino, other.st_ino);
	ASSERT_EXCLUDED("/*/out", "directory .", "directory a", "file a/x",
			"excluded a/out by */out", "directory b", "file b/x",
			"excluded b/out by */out");
}

static void what_is_excluded_is_not_entered(void **state)
{
	make_directory("t/bin");
	make_directory("t/bin2");
	make_directory("t/bin2/bin");
	make_file("t/bin/x");
	make_file("t/bin2/x");
	make_file("t/bin2/bin/y");
	ASSERT_EXCLUDED("/none", "directory .", "directory bin", "file bin/x", "directory bin2",
			"file bin2/x", "directory bin2/bin", "file bin2/bin/y");
	ASSERT_EXCLUDED("/bin", "directory .", "excluded bin by bin", "directory bin2",
			"file bin2/x", "directory bin2/bin", "file bin2/bin/y");
	ASSERT_EXCLUDED("/bin2/x", "directory .", "directory bin", "file bin/x", "directory bin2",
			"excluded bin2/x by bin2/x", "directory bin2/bin", "file bin2/bin/y");
	ASSERT_EXCLUDED("/*/x", "directory .", "directory bin", "excluded bin/x by */x",
			"directory bin2", "excluded bin2/x by */x", "directory bin2/bin",
			"file bin2/bin/y");
	ASSERT_EXCLUDED("/**/bin", "directory .", "excluded bin by **/bin", "directory bin2",
			"file bin2/x", "excluded bin2/bin by **/bin");
	ASSERT_EXCLUDED("/bin2/**", "directory .", "directory bin", "file bin/x", "directory bin2",
			"excluded bin2/x by bin2/**", "excluded bin2/bin by bin2/**");
	ASSERT_EXCLUDED("", "excluded . by .");
}

static void excluded_directories_are_not_opened(void **state)
{
	make_directory("t/a");
	assert_int_equal(chmod("t/a", 0), 0);
	ASSERT_FOUND(find_as_nobody(&everything), "directory .", "unreadable a: Permission denied");
	ASSERT_FOUND(find_as_nobody(excluding("/a")), "directory .", "excluded a by a");
}

static void a_directory_that_cannot_be_read_is_reported_once(void **state)
{
	make_directory("t/closed");
	make_file("t/closed/x");
	make_directory("t/only-names");
	make_file("t/only-names/x");
	make_file("t/only-names/y");
	make_directory("t/no-names");
	make_file("t/no-names/x");
	make_directory("t/open");
	make_file("t/open/secret");
	assert_int_equal(chmod("t/closed", 0700), 0);
	assert_int_equal(chmod("t/only-names", 0744), 0);
	assert_int_equal(chmod("t/no-names", 0711), 0);
	assert_int_equal(chmod("t/open/secret", 0600), 0);
	ASSERT_FOUND(
		find_as_nobody(&everything), "directory .", "unreadable closed: Permission denied",
		"unreadable only-names: Permission denied",
		"unreadable no-names: Permission denied", "directory open", "file open/secret");
}

static void a_directory_that_cannot_be_read_to_its_end_is_reported(void **state)
{
	make_directory("t/a");
	make_file("t/a/x");
	make_directory("t/b");
	make_file("t/b/y");
	last_read = "x";
	ASSERT_WALK(&everything, "directory .", "directory a", "file a/x",
		    "unreadable a: Input/output error", "directory b", "file b/y");
	last_read = NULL;
}

static void without_descriptors_directories_are_unreadable(void **state)
{
	struct walk *walk = new_walk(&everything);
	struct walk_item item;
	struct rlimit before;

	make_directory("t/a");
	make_file("t/file");
	walk_next(walk, &item);
	assert_int_equal(item.kind, WALK_DIRECTORY);
	before = unit_forbid_fds();
	ASSERT_FOUND(find_rest(walk), "unreadable a: Too many open files", "file file");
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

/* --- what changes meanwhile --- */

static void what_vanishes_is_gone(void **state)
{
	struct walk *walk = new_walk(&everything);
	struct walk_item item;
	struct found found;
	char first[PATH_MAX], line[PATH_MAX + 8];

	/* Alike, as nobody knows which comes first. */
	make_directory("t/a");
	make_directory("t/b");
	make_directory("t/c");
	make_file("t/x");
	make_file("t/y");
	walk_next(walk, &item);
	walk_next(walk, &item);
	(void)snprintf(first, sizeof(first), "%s", relative(item.path));
	assert_int_equal(system("rm -rf t/*"), 0);
	found = find_rest(walk);
	assert_int_equal(found.n, 4);
	for (const char *name = "abcxy"; *name; name++) {
		(void)snprintf(line, sizeof(line), "gone %c", *name);
		assert_int_equal(count(&found, line), *first != *name);
	}
	found_free(&found);
}

static void what_takes_the_place_of_a_directory_is_not_entered(void **state)
{
	struct walk *walk = new_walk(&everything);
	struct walk_item item;
	struct found found;
	const char *other;

	make_directory("t/a");
	make_directory("t/b");
	make_directory("elsewhere");
	make_file("elsewhere/file");
	walk_next(walk, &item);
	walk_next(walk, &item);
	other = relative(item.path)[0] == 'a' ? "b" : "a";
	assert_int_equal(rmdir(other[0] == 'a' ? "t/a" : "t/b"), 0);
	assert_int_equal(symlink("../elsewhere", other[0] == 'a' ? "t/a" : "t/b"), 0);
	found = find_rest(walk);
	/* Some filesystems give the new name, too. */
	assert_true(found.n > 0);
	assert_int_equal(count(&found, other[0] == 'a' ? "symlink a" : "symlink b"), found.n);
	found_free(&found);
	assert_int_equal(system("rm -r elsewhere"), 0);
}

static void replace_by_link(void)
{
	assert_int_equal(rename("t/a", "was-a"), 0);
	assert_int_equal(symlink("../elsewhere", "t/a"), 0);
}

static void replace_by_directory(void)
{
	assert_int_equal(rename("t/a", "was-a"), 0);
	assert_int_equal(rename("elsewhere", "t/a"), 0);
}

static void replace_by_fifo(void)
{
	assert_int_equal(rename("t/a", "was-a"), 0);
	assert_int_equal(mkfifo("t/a", 0644), 0);
}

static void remove_it(void)
{
	assert_int_equal(rename("t/a", "was-a"), 0);
}

/* The same directory, but not the same mount. */
static void mount_over_it(void)
{
	if (can_mount)
		make_bind("t/a", "t/a");
	else
		replace_by_directory();
}

static void what_is_replaced_before_it_is_opened_is_gone(void **state)
{
	static void (*const ways[])(void) = {replace_by_link, replace_by_directory, replace_by_fifo,
					     remove_it, mount_over_it};

	for (size_t i = 0; i < N_ELEMENTS(ways); i++) {
		make_directory("t/a");
		make_file("t/a/inside");
		make_directory("elsewhere");
		make_file("elsewhere/file");
		before_open = ways[i];
		ASSERT_WALK(&everything, "directory .", "gone a");
		assert_null(before_open);
		assert_int_equal(teardown(state), 0);
		assert_int_equal(system("rm -rf was-a elsewhere"), 0);
		assert_int_equal(setup(state), 0);
	}
}

static void a_directory_is_read_on_where_it_was_moved_to(void **state)
{
	struct walk *walk = new_walk(&everything);
	struct walk_item item;
	struct found found;

	make_directory("t/a");
	make_file("t/a/file");
	go_to(walk, "a", &item);
	assert_int_equal(rename("t/a", "moved"), 0);
	make_directory("t/a");
	found = find_rest(walk);
	assert_true(found.n > 0);
	assert_string_equal(found.lines[0], "file a/file");
	found_free(&found);
	assert_int_equal(system("rm -r moved"), 0);
}

/* --- going on later --- */

static void make_small_tree(void)
{
	make_directory("t/a");
	make_directory("t/a/a");
	make_directory("t/a/b");
	make_directory("t/a/b/deep");
	make_directory("t/ab");
	make_directory("t/empty");
	make_directory("t/excluded");
	make_file("t/a/file");
	make_file("t/a/a/1");
	make_file("t/a/a/2");
	make_file("t/a/a/3");
	make_file("t/a/b/1");
	make_file("t/a/b/deep/1");
	make_file("t/ab/1");
	make_file("t/excluded/1");
	make_file("t/new\nline");
	make_file("t/single");
	assert_int_equal(symlink("a", "t/link"), 0);
	assert_int_equal(mkfifo("t/a/b/fifo", 0644), 0);
}

/* Position n of a walk, to free. */
static char *position_after(const char *const *paths, size_t n_paths,
			    const struct walk_rules *rules, size_t n)
{
	struct walk *walk = walk_new(paths, n_paths, rules, NULL, UNCHANGED);
	struct walk_item item;
	char *position;

	assert_non_null(walk);
	while (n--)
		walk_next(walk, &item);
	position = strdup(walk_position(walk));
	assert_non_null(position);
	walk_free(walk);
	return position;
}

static void assert_goes_on_everywhere(const char *const *paths, size_t n_paths)
{
	struct conf_entry rule = {.text = (char *)at("t/excluded")};
	struct conf_list exclude = {&rule, 1};
	const struct walk_rules rules = {.exclude = &exclude, .cross_filesystems = true};
	struct found all = find_rest(walk_new(paths, n_paths, &rules, NULL, UNCHANGED));

	for (size_t i = 0; i <= all.n; i++) {
		char *after = position_after(paths, n_paths, &rules, i);
		struct walk *walk = walk_new(paths, n_paths, &rules, after, UNCHANGED);
		struct found rest;

		assert_string_equal(walk_position(walk), after);
		free(after);
		rest = find_rest(walk);
		if (rest.n != all.n - i)
			fail_msg("%zu after %zu of %zu", rest.n, i, all.n);
		for (size_t j = 0; j < rest.n; j++)
			assert_string_equal(rest.lines[j], all.lines[i + j]);
		found_free(&rest);
	}
	found_free(&all);
}

static void a_walk_goes_on_after_any_position(void **state)
{
	const char *const one[] = {tree};
	char paths[4][2 * PATH_MAX];
	const char *const several[] = {paths[0], paths[1], paths[2], paths[3]};

	make_small_tree();
	assert_goes_on_everywhere(one, 1);
	(void)snprintf(paths[0], sizeof(paths[0]), "%s/ab", tree);
	(void)snprintf(paths[1], sizeof(paths[1]), "%s/single", tree);
	(void)snprintf(paths[2], sizeof(paths[2]), "%s/excluded", tree);
	(void)snprintf(paths[3], sizeof(paths[3]), "%s/a", tree);
	assert_goes_on_everywhere(several, 4);
}

static void a_walk_goes_on_at_any_depth(void **state)
{
	const char *const paths[] = {tree};
	struct found all;

	make_deep(3 * WALK_OPEN_MAX);
	all = find_rest(new_walk(&everything));
	for (size_t i = 1; i < all.n; i += 37) {
		char *after = position_after(paths, 1, &everything, i);
		struct found rest = find_rest(walk_new(paths, 1, &everything, after, UNCHANGED));

		free(after);
		if (rest.n != all.n - i)
			fail_msg("%zu after %zu of %zu", rest.n, i, all.n);
		found_free(&rest);
	}
	found_free(&all);
}

static struct found find_after(const char *name)
{
	static const char *const paths[] = {tree};
	char path[2 * PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/%s", tree, name);
	return find_rest(walk_new(paths, 1, &everything, path, UNCHANGED));
}

static size_t find_after_count(const char *name)
{
	struct found found = find_after(name);
	size_t n = found.n;

	found_free(&found);
	return n;
}

static void where_it_was_removed_its_directory_comes_again(void **state)
{
	make_directory("t/a");
	make_file("t/a/1");
	make_file("t/a/2");
	ASSERT_FOUND(find_after("a/0"), "file a/1", "file a/2");
	ASSERT_FOUND(find_after("b"), "directory a", "file a/1", "file a/2");
	ASSERT_FOUND(find_after("b/c/d"), "directory a", "file a/1", "file a/2");
	/* names that only begin alike */
	ASSERT_FOUND(find_after("a/1x"), "file a/1", "file a/2");
	ASSERT_FOUND(find_after("aa"), "directory a", "file a/1", "file a/2");
}

static void a_directory_that_has_changed_since_comes_again(void **state)
{
	static const char *const paths[] = {tree};
	struct statx status;
	int64_t now;

	make_directory("t/a");
	make_file("t/a/1");
	make_file("t/a/2");
	assert_int_equal(statx(AT_FDCWD, at("t/a"), 0, STATX_CTIME, &status), 0);
	now = status.stx_ctime.tv_sec;
	/* The tree has changed as well, and a comes with all that is in the tree. */
	ASSERT_FOUND(find_rest(walk_new(paths, 1, &everything, at("t/a/1"), now)), "directory a",
		     "file a/1", "file a/2");
	assert_in_range(find_after_count("a/1"), 0, 1);
}

static void what_became_something_else_is_found(void **state)
{
	make_file("t/a");
	ASSERT_FOUND(find_after("a/b/c"), "file a");
	assert_nothing(find_after("a"));
	assert_int_equal(unlink("t/a"), 0);
	assert_int_equal(symlink(".", "t/a"), 0);
	ASSERT_FOUND(find_after("a/b/c"), "symlink a");
	assert_int_equal(unlink("t/a"), 0);
	make_directory("t/a");
	make_file("t/a/x");
	ASSERT_FOUND(find_after("a"), "file a/x");
}

static void a_position_elsewhere_is_none(void **state)
{
	static const char *const paths[] = {tree};
	const char *const positions[] = {"", "/", "/nowhere", "x"};
	char beside[PATH_MAX + 8];

	make_file("t/a");
	for (size_t i = 0; i < N_ELEMENTS(positions); i++)
		ASSERT_FOUND(find_rest(walk_new(paths, 1, &everything, positions[i], UNCHANGED)),
			     "directory .", "file a");
	(void)snprintf(beside, sizeof(beside), "%s2/a", tree);
	ASSERT_FOUND(find_rest(walk_new(paths, 1, &everything, beside, UNCHANGED)), "directory .",
		     "file a");
	ASSERT_FOUND(find_rest(walk_new(paths, 1, &everything, tree, UNCHANGED)), "file a");
}

/* --- opening --- */

static struct walk *find_file(struct walk_item *item)
{
	struct walk *walk = new_walk(&everything);

	make_file("t/a");
	go_to(walk, "a", item);
	return walk;
}

static void a_file_that_was_found_can_be_opened(void **state)
{
	const struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 2000}};
	struct walk_item item;
	struct walk *walk = find_file(&item);
	struct stat status;
	char content[8];
	int fd;

	assert_int_equal(utimensat(AT_FDCWD, "t/a", times, 0), 0);
	fd = walk_open(&item);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFL) & (O_ACCMODE | O_PATH), O_RDONLY);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(read(fd, content, sizeof(content)), 3);
	assert_memory_equal(content, "t/a", 3);
	/* nobody can tell that it was read */
	assert_int_equal(fstat(fd, &status), 0);
	assert_int_equal(status.st_atime, 1000);
	close(fd);
	walk_free(walk);
}

static void what_was_replaced_is_not_opened(void **state)
{
	unsigned before = unit_count_fds();
	struct walk_item item;
	struct walk *walk = find_file(&item);

	assert_int_equal(rename("t/a", "t/b"), 0);
	assert_int_equal(walk_open(&item), -ENOENT);
	make_file("t/a");
	assert_int_equal(walk_open(&item), -ESTALE);
	assert_int_equal(unlink("t/a"), 0);
	assert_int_equal(symlink("b", "t/a"), 0); /* to the very file */
	assert_int_equal(walk_open(&item), -ESTALE);
	assert_int_equal(unlink("t/a"), 0);
	make_directory("t/a");
	assert_int_equal(walk_open(&item), -ESTALE);
	assert_int_equal(rmdir("t/a"), 0);
	assert_int_equal(mkfifo("t/a", 0644), 0);
	assert_int_equal(walk_open(&item), -ESTALE);
	walk_free(walk);
	assert_int_equal(unit_count_fds(), before);
}

static void a_file_with_a_lease_is_not_waited_for(void **state)
{
	struct walk_item item;
	struct walk *walk = find_file(&item);
	int fd = open("t/a", O_RDWR | O_CLOEXEC);

	assert_true(signal(SIGIO, SIG_IGN) != SIG_ERR);
	if (fcntl(fd, F_SETLEASE, F_WRLCK) < 0) {
		print_message("skipped: no leases here\n");
		skip();
	}
	assert_int_equal(walk_open(&item), -EAGAIN);
	close(fd);
	walk_free(walk);
}

static void a_file_of_somebody_else_can_be_opened(void **state)
{
	struct walk_item item;
	struct walk *walk = find_file(&item);
	int status;
	pid_t pid;

	if (geteuid() != 0) {
		print_message("skipped: not root\n");
		skip();
	}
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(setresuid(NOBODY, NOBODY, NOBODY) == 0 && walk_open(&item) >= 0 ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	walk_free(walk);
}

/* --- mounts --- */

static void other_filesystems_are_walked_if_wanted(void **state)
{
	make_tmpfs("t");
	make_directory("t/a");
	make_directory("t/a/fs");
	make_file("t/a/fs/hidden");
	make_tmpfs("t/a/fs");
	make_file("t/a/fs/file");
	make_file("t/a/file");
	ASSERT_WALK(&everything, "directory .", "directory a", "directory a/fs", "file a/fs/file",
		    "file a/file");
	ASSERT_WALK(&one_filesystem, "directory .", "directory a", "filesystem a/fs on tmpfs",
		    "file a/file");
}

static void each_path_is_walked_on_its_own_filesystem(void **state)
{
	const char *const paths[] = {at("t/a"), at("t/b")};

	make_directory("t/a");
	make_directory("t/b");
	make_tmpfs("t/a");
	make_tmpfs("t/b");
	make_directory("t/b/sub");
	make_file("t/b/sub/x");
	ASSERT_FOUND(find_rest(walk_new(paths, 2, &one_filesystem, NULL, UNCHANGED)), "directory a",
		     "directory b", "directory b/sub", "file b/sub/x");
}

static void a_filesystem_below_a_path_is_walked_if_it_is_given_too(void **state)
{
	const char *const paths[] = {at("t"), at("t/home")};

	make_directory("t/home");
	make_tmpfs("t/home");
	make_file("t/home/file");
	make_file("t/file");
	ASSERT_FOUND(find_rest(walk_new(paths, 2, &one_filesystem, NULL, UNCHANGED)), "directory .",
		     "file file", "directory home", "file home/file");
	/* The position is of the path that is the longest. */
	ASSERT_FOUND(find_rest(walk_new(paths, 2, &one_filesystem, at("t/home"), UNCHANGED)),
		     "file home/file");
}

static void bind_mounts_of_the_same_superblock_are_walked(void **state)
{
	make_directory("t/a");
	make_directory("t/other");
	make_directory("t/bound");
	make_directory("t/foreign");
	make_file("t/a/file");
	make_tmpfs("t/other");
	make_file("t/other/file");
	make_bind("t/a", "t/bound");
	make_bind("t/other", "t/foreign");
	ASSERT_WALK(&one_filesystem, "directory .", "directory a", "file a/file",
		    "filesystem other on tmpfs", "directory bound", "file bound/file",
		    "filesystem foreign on tmpfs");
	ASSERT_WALK(&everything, "directory .", "directory a", "file a/file", "directory other",
		    "file other/file", "directory bound", "file bound/file", "directory foreign",
		    "file foreign/file");
}

/* Below a mount that is walked, what is on the superblock of the path is so again. */
static void mounts_are_compared_with_the_path_that_was_given(void **state)
{
	make_tmpfs("t");
	make_directory("t/a");
	make_directory("t/a/b");
	make_directory("t/c");
	make_file("t/c/file");
	make_bind("t/c", "t/a");
	make_directory("t/c/d");
	make_bind("t/c", "t/a/d");
	ASSERT_WALK(&one_filesystem, "directory .", "directory a", "file a/file", "directory a/d",
		    "file a/d/file", "directory a/d/d", "directory c", "file c/file",
		    "directory c/d");
}

static void files_may_be_mount_points(void **state)
{
	make_directory("t/fs");
	make_tmpfs("t/fs");
	make_file("t/fs/file");
	make_file("t/own");
	make_file("t/same");
	make_file("t/other");
	make_file("t/kernel");
	make_file("t/namespace");
	make_bind("t/own", "t/same");
	make_bind("t/fs/file", "t/other");
	make_bind("/proc/self/status", "t/kernel");
	make_bind("/proc/self/ns/net", "t/namespace");
	ASSERT_WALK(&one_filesystem, "directory .", "filesystem fs on tmpfs", "file own",
		    "file same", "filesystem other on tmpfs", "kernel kernel on proc",
		    "kernel namespace");
	ASSERT_WALK(&everything, "directory .", "directory fs", "file fs/file", "file own",
		    "file same", "file other", "kernel kernel on proc", "kernel namespace");
}

static void what_the_kernel_makes_up_is_not_walked(void **state)
{
	const char *const paths[] = {"/proc", "/proc/self/status"};
	make_directory("t/proc");
	make_directory("t/fs");
	make_mount("proc", "t/proc", "proc", 0, NULL);
	ASSERT_WALK(&everything, "directory .", "kernel proc on proc", "directory fs");
	ASSERT_WALK(&one_filesystem, "directory .", "kernel proc on proc", "directory fs");
	ASSERT_FOUND(find_rest(walk_new(paths, 1, &everything, NULL, UNCHANGED)),
		     "kernel /proc on proc");
	ASSERT_FOUND(find_rest(walk_new(paths + 1, 1, &everything, NULL, UNCHANGED)),
		     "kernel /proc/self/status on proc");
}

static void mounts_made_meanwhile_are_seen(void **state)
{
	struct walk *walk = new_walk(&everything);
	struct walk_item item;

	make_directory("t/a");
	make_directory("t/b");
	make_tmpfs("t/a");
	walk_next(walk, &item);
	/* The kernel gives the number of the one to the other. */
	assert_int_equal(umount("t/a"), 0);
	n_mounted = 0;
	make_mount("proc", "t/b", "proc", 0, NULL);
	ASSERT_FOUND(find_rest(walk), "directory a", "kernel b on proc");
}

/* Nobody answers: a look at it would not come back. */
static void what_has_no_server_is_not_touched(void **state)
{
	const struct walk_rules remote = {.remote = true};
	const char *const paths[] = {at("t/remote/below")};
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	struct walk_item item;
	struct walk *walk;
	char options[128];

	if (fd < 0) {
		print_message("skipped: no FUSE here\n");
		skip();
	}
	make_directory("t/remote");
	(void)snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
	make_mount("test", "t/remote", "fuse", 0, options);
	walk = new_walk(&everything);
	go_to(walk, "remote", &item);
	assert_int_equal(item.kind, WALK_SKIPPED);
	assert_int_equal(item.reason, WALK_REMOTE);
	assert_int_equal(item.status.stx_mask, 0);
	assert_string_equal(item.filesystem, "fuse");
	assert_nothing(find_rest(walk));
	ASSERT_FOUND(find_rest(walk_new(paths, 1, &everything, NULL, UNCHANGED)),
		     "remote remote/below on fuse");
	ASSERT_EXCLUDED("/remote", "directory .", "excluded remote by remote");
	ASSERT_WALK(&remote, "directory .", "filesystem remote on fuse");
	/* unless it is to be */
	unanswered = paths[0];
	ASSERT_FOUND(find_rest(walk_new(paths, 1, &remote, NULL, UNCHANGED)),
		     "unreadable remote/below: Connection timed out");
	unanswered = NULL;
	close(fd);
}

static void automounters_are_not_woken(void **state)
{
	const char *const paths[] = {at("t/auto"), at("t/auto/home")};
	char options[128], packet[512];
	int ends[2];
	pid_t daemon = fork();

	assert_true(daemon >= 0);
	if (daemon == 0) {
		/* The group of processes that an automounter is known by. */
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)setpgid(0, 0);
		(void)pause();
		_exit(0);
	}
	(void)setpgid(daemon, daemon);
	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	make_directory("t/auto");
	(void)snprintf(options, sizeof(options), "fd=%d,pgrp=%d,minproto=5,maxproto=5,indirect",
		       ends[1], daemon);
	make_mount("test", "t/auto", "autofs", 0, options);
	ASSERT_WALK(&everything, "directory .", "automount auto on autofs");
	ASSERT_FOUND(find_rest(walk_new(paths, 1, &everything, NULL, UNCHANGED)),
		     "automount auto on autofs");
	ASSERT_FOUND(find_rest(walk_new(paths + 1, 1, &everything, NULL, UNCHANGED)),
		     "automount auto/home on autofs");
	/* it was not asked for anything */
	assert_int_equal(read(ends[0], packet, sizeof(packet)), -1);
	close(ends[0]);
	close(ends[1]);
	assert_int_equal(kill(daemon, SIGKILL), 0);
	assert_int_equal(waitpid(daemon, NULL, 0), daemon);
}

static void what_is_mounted_over_an_automounter_is_walked(void **state)
{
	char options[128];
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	make_directory("t/auto");
	(void)snprintf(options, sizeof(options), "fd=%d,pgrp=%d,minproto=5,maxproto=5,direct",
		       ends[1], getpgrp());
	make_mount("test", "t/auto", "autofs", 0, options);
	make_tmpfs("t/auto");
	make_file("t/auto/file");
	ASSERT_WALK(&everything, "directory .", "directory auto", "file auto/file");
	ASSERT_WALK(&one_filesystem, "directory .", "filesystem auto on tmpfs");
	close(ends[0]);
	close(ends[1]);
}

static void what_is_excluded_is_so_before_anything_else(void **state)
{
	make_directory("t/proc");
	make_mount("proc", "t/proc", "proc", 0, NULL);
	assert_int_equal(symlink(".", "t/link"), 0);
	ASSERT_EXCLUDED("/**", "directory .", "excluded proc by **", "excluded link by **");
}

static void a_directory_bound_below_itself_ends(void **state)
{
	struct found found;

	make_directory("t/a");
	make_directory("t/a/b");
	make_file("t/a/file");
	make_bind("t/a", "t/a/b");
	ASSERT_WALK(&one_filesystem, "directory .", "directory a", "file a/file", "directory a/b",
		    "file a/b/file", "directory a/b/b");
	for (int i = 0; i < 3; i++)
		make_mount("t", "t/a/b", "none", MS_BIND | MS_REC, NULL);
	found = find_rest(new_walk(&one_filesystem));
	assert_true(count_files(&found) > 2);
	found_free(&found);
}

static void reasons_have_names(void **state)
{
	for (int i = 0; i < WALK_REASON_COUNT; i++) {
		const char *name = walk_reason_name((enum walk_reason)i);

		assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz"), strlen(name));
		for (int j = 0; j < i; j++)
			assert_string_not_equal(name, walk_reason_name((enum walk_reason)j));
	}
	assert_non_null(walk_reason_name(WALK_REASON_COUNT));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WALK_TEST(everything_below_a_path_is_found_once),
		WALK_TEST(what_comes_after_a_directory_is_in_it),
		WALK_TEST(an_item_says_what_and_where_it_is),
		WALK_TEST(names_may_hold_any_bytes),
		WALK_TEST(the_root_may_be_given),
		WALK_TEST(a_file_may_be_given),
		WALK_TEST(a_path_that_does_not_exist_is_unreadable),
		WALK_TEST(paths_are_walked_in_their_order),
		WALK_TEST(what_is_below_another_path_is_walked_once),
		WALK_TEST(trees_may_have_any_depth),
		WALK_TEST(not_more_are_open_after_coming_back),
		WALK_TEST(a_walk_may_end_anywhere),
		WALK_TEST(what_is_moved_away_does_not_lead_elsewhere),
		WALK_TEST(a_level_that_is_gone_is_reported_and_those_above_go_on),
		WALK_TEST(a_level_that_is_mounted_over_is_gone),
		WALK_TEST(symbolic_links_are_not_followed),
		WALK_TEST(a_symbolic_link_that_is_given_is_followed),
		WALK_TEST(special_files_are_not_opened),
		WALK_TEST(a_file_with_several_links_is_found_once),
		WALK_TEST(of_the_files_with_several_links_the_oldest_is_forgotten),
		WALK_TEST(a_link_that_is_forgotten_is_found_again),
		WALK_TEST(what_is_forgotten_leaves_room),
		WALK_TEST(files_of_two_filesystems_may_have_one_number),
		WALK_TEST(what_is_excluded_is_not_entered),
		WALK_TEST(excluded_directories_are_not_opened),
		WALK_TEST(a_directory_that_cannot_be_read_is_reported_once),
		WALK_TEST(a_directory_that_cannot_be_read_to_its_end_is_reported),
		WALK_TEST(without_descriptors_directories_are_unreadable),
		WALK_TEST(what_vanishes_is_gone),
		WALK_TEST(what_takes_the_place_of_a_directory_is_not_entered),
		WALK_TEST(what_is_replaced_before_it_is_opened_is_gone),
		WALK_TEST(a_directory_is_read_on_where_it_was_moved_to),
		WALK_TEST(a_walk_goes_on_after_any_position),
		WALK_TEST(a_directory_that_has_changed_since_comes_again),
		WALK_TEST(a_walk_goes_on_at_any_depth),
		WALK_TEST(where_it_was_removed_its_directory_comes_again),
		WALK_TEST(what_became_something_else_is_found),
		WALK_TEST(a_position_elsewhere_is_none),
		WALK_TEST(a_file_that_was_found_can_be_opened),
		WALK_TEST(what_was_replaced_is_not_opened),
		WALK_TEST(a_file_with_a_lease_is_not_waited_for),
		WALK_TEST(a_file_of_somebody_else_can_be_opened),
		WALK_TEST(other_filesystems_are_walked_if_wanted),
		WALK_TEST(each_path_is_walked_on_its_own_filesystem),
		WALK_TEST(a_filesystem_below_a_path_is_walked_if_it_is_given_too),
		WALK_TEST(bind_mounts_of_the_same_superblock_are_walked),
		WALK_TEST(mounts_are_compared_with_the_path_that_was_given),
		WALK_TEST(files_may_be_mount_points),
		WALK_TEST(what_the_kernel_makes_up_is_not_walked),
		WALK_TEST(mounts_made_meanwhile_are_seen),
		WALK_TEST(what_has_no_server_is_not_touched),
		WALK_TEST(automounters_are_not_woken),
		WALK_TEST(what_is_mounted_over_an_automounter_is_walked),
		WALK_TEST(what_is_excluded_is_so_before_anything_else),
		WALK_TEST(a_directory_bound_below_itself_ends),
		WALK_TEST(reasons_have_names),
	};

	if (access("/proc/self/mountinfo", R_OK) < 0) {
		print_message("skipped: /proc is not mounted\n");
		return UNIT_SKIPPED;
	}
	return cmocka_run_group_tests_name("walk", tests, group_setup, scratch_teardown);
}
