/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Files are in fs/in, which is included, and fs/out, which is not. With root fs is a filesystem of
 * the test's own, and is mounted a second time: files opened there come through a mount that is not
 * in the table.
 */
#include "../../../src/guard/file.h"
#include "../../../src/guard/handle.h"
#include "../../../src/guard/locate.h"
#include "../support/conf_fixture.h"
#include "../support/mount_fixture.h"
#include "../support/scratch.h"

#include <errno.h>

/* So many mounts are tried for a handle. */
#define MOUNTS_TRIED 8

/* What the mounts that do not exist are called. */
#define BOUND_ID   999999999
#define BOUND_LINE "999999999 1 0:1048575 / / rw - ext4 /dev/sda rw\n"

/* The name of a file that handles lead to instead of their own; NULL: as the kernel does. */
static const char *misled;

int __wrap_handle_open(const struct handle *handle, const struct mount *mount, int flags);
int __real_handle_open(const struct handle *handle, const struct mount *mount, int flags);

int __wrap_handle_open(const struct handle *handle, const struct mount *mount, int flags)
{
	return misled ? open(misled, flags | O_CLOEXEC) : __real_handle_open(handle, mount, flags);
}

struct fixture {
	struct conf *conf;
	struct mounts mounts;
};

static bool fs_is_ours; /* and is mounted at "again", too */

static int group_setup(void **state)
{
	static const char *const directories[] = {"fs/in", "fs/in/private", "fs/out", "fs/in/over",
						  "fs/out/sub"};

	if (scratch_setup(state) < 0 || mkdir("fs", 0755) < 0 || mkdir("again", 0755) < 0)
		return -1;
	fs_is_ours = mount_fixture_unshare() && mount("tmpfs", "fs", "tmpfs", 0, "size=8m") == 0 &&
		     mount("fs", "again", NULL, MS_BIND, NULL) == 0;
	for (size_t i = 0; i < N_ELEMENTS(directories); i++)
		if (mkdir(directories[i], 0755) < 0)
			return -1;
	return 0;
}

static int group_teardown(void **state)
{
	/* The first may be there without the other. */
	(void)umount2("again", MNT_DETACH);
	(void)umount2("fs", MNT_DETACH);
	return scratch_teardown(state);
}

static void path_of(char *buffer, size_t size, const char *name)
{
	(void)snprintf(buffer, size, "%s/%s", scratch, name);
}

static void add_rule(struct fixture *fixture, const char *key, const char *name)
{
	char path[PATH_MAX + 64];

	path_of(path, sizeof(path), name);
	conf_fixture_set(fixture->conf, "on-access", key, path);
}

/* Those of btrfs that the machine may have would be tried for any handle. */
static int read_mounts(struct mounts *mounts)
{
	int r = mount_fixture_read(mounts);

	for (size_t i = 0; i < mounts->n && fs_is_ours; i++)
		if (!strcmp(mounts->mounts[i].type, "btrfs"))
			(void)strcpy(mounts->mounts[i].type, "xfs");
	return r;
}

static int setup(void **state)
{
	static struct fixture fixture;

	misled = NULL;
	fixture = (struct fixture){.conf = conf_new()};
	if (!fixture.conf || read_mounts(&fixture.mounts) < 0)
		return -1;
	add_rule(&fixture, "include", "fs/in");
	add_rule(&fixture, "exclude", "fs/in/private");
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	mounts_free(&fixture->mounts);
	conf_free(fixture->conf);
	return 0;
}

/* The mount that the files are on. The pointer does not survive that a mount is added. */
static struct mount *mount_of_fs(struct fixture *fixture)
{
	return &fixture->mounts.mounts[mount_fixture_index(&fixture->mounts, "fs")];
}

static void remove_mount(struct mounts *mounts, const char *point)
{
	struct mount removed = mounts->mounts[mount_fixture_index(mounts, point)];
	struct mounts one = {.mounts = calloc(1, sizeof(removed)), .n = 1};
	size_t i = mount_fixture_index(mounts, point);

	assert_non_null(one.mounts);
	one.mounts[0] = removed;
	mounts_free(&one);
	mounts->n--;
	memmove(&mounts->mounts[i], &mounts->mounts[i + 1],
		(mounts->n - i) * sizeof(mounts->mounts[0]));
}

/* The path of fs/NAME inside its superblock. */
static void inside_of(struct fixture *fixture, char *buffer, size_t size, const char *name)
{
	char path[PATH_MAX + 64];

	path_of(path, sizeof(path), name);
	assert_true(mount_inside(mount_of_fs(fixture), path, buffer, size));
}

/* Adds a mount, that does not exist, of fs/NAME at point; its path is put below scratch. */
static struct mount *add_bind_mount(struct fixture *fixture, const char *name, const char *point)
{
	char inside[PATH_MAX], path[PATH_MAX + 64];
	struct mount *mount, *fs;

	inside_of(fixture, inside, sizeof(inside), name);
	path_of(path, sizeof(path), point);
	assert_int_equal(mount_fixture_add(&fixture->mounts, BOUND_LINE), 0);
	mount = &fixture->mounts.mounts[fixture->mounts.n - 1];
	fs = mount_of_fs(fixture);
	free(mount->root);
	free(mount->point);
	mount->root = strdup(inside);
	mount->point = strdup(path);
	mount->device = fs->device;
	/* That was found out again for all of them. */
	for (size_t i = 0; i < fixture->mounts.n; i++)
		fixture->mounts.mounts[i].is_reachable |= fixture->mounts.mounts[i].id == BOUND_ID;
	return mount;
}

static int make_file(const char *name)
{
	int fd;

	scratch_write(name, "x", 1);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static const struct location *locate_fd(struct fixture *fixture, int fd)
{
	static struct location location;

	/* What was there before must not matter. */
	location.error = 1;
	location.scope = POLICY_IN_SCOPE;
	location.device = 1;
	location.events_tell_of_change = true;
	(void)strcpy(location.path, "/before");
	locate(&fixture->mounts, fixture->conf, policy_path, fd, &location);
	return &location;
}

static void assert_located(struct fixture *fixture, int fd, enum policy_scope scope,
			   const char *name)
{
	const struct location *location = locate_fd(fixture, fd);
	char path[PATH_MAX + 64];

	path_of(path, sizeof(path), name);
	if (location->error != 0)
		fail_msg("%s: %s", name, strerror(-location->error));
	if (location->scope != scope)
		fail_msg("%s: %d, not %d", name, location->scope, scope);
	assert_string_equal(location->path, path);
	assert_int_equal(location->device, mount_of_fs(fixture)->device);
}

/* Makes a file, and says what is found of it. */
static void assert_file(struct fixture *fixture, const char *file, enum policy_scope scope,
			const char *name)
{
	int fd = make_file(file);

	assert_located(fixture, fd, scope, name);
	close(fd);
	assert_int_equal(unlink(file), 0);
}

/* --- files that were opened by one of our mounts --- */

static void a_file_is_where_it_was_opened(void **state)
{
	assert_file(*state, "fs/in/f", POLICY_IN_SCOPE, "fs/in/f");
	assert_file(*state, "fs/in/private/f", POLICY_EXCLUDED, "fs/in/private/f");
	assert_file(*state, "fs/out/f", POLICY_NOT_INCLUDED, "fs/out/f");
	assert_file(*state, "fs/f", POLICY_NOT_INCLUDED, "fs/f");
}

static void a_directory_is_where_it_is_by_the_rule_that_is_given(void **state)
{
	static struct location location;
	struct fixture *fixture = *state;
	int fd = open("fs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	/* one could be called "in" */
	assert_true(fd >= 0);
	assert_located(fixture, fd, POLICY_NOT_INCLUDED, "fs");
	locate(&fixture->mounts, fixture->conf, policy_directory, fd, &location);
	assert_int_equal(location.error, 0);
	assert_int_equal(location.scope, POLICY_IN_SCOPE);
	close(fd);

	/* by another name of it, too */
	fd = open("fs/out", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	(void)add_bind_mount(fixture, "fs/out", "elsewhere");
	locate(&fixture->mounts, fixture->conf, policy_directory, fd, &location);
	assert_int_equal(location.scope, POLICY_NOT_INCLUDED);
	add_rule(fixture, "include", "elsewhere/file");
	locate(&fixture->mounts, fixture->conf, policy_directory, fd, &location);
	assert_int_equal(location.scope, POLICY_IN_SCOPE);
	assert_located(fixture, fd, POLICY_NOT_INCLUDED, "fs/out");
	close(fd);
}

static void a_deleted_file_is_where_it_was(void **state)
{
	static const struct {
		const char *name;
		enum policy_scope scope;
	} cases[] = {{"fs/in/f", POLICY_IN_SCOPE},
		     {"fs/in/private/f", POLICY_EXCLUDED},
		     {"fs/out/f", POLICY_NOT_INCLUDED}};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		int fd = make_file(cases[i].name);

		assert_int_equal(unlink(cases[i].name), 0);
		assert_located(*state, fd, cases[i].scope, cases[i].name);
		close(fd);
	}
}

static void a_hard_link_counts_by_the_name_that_was_opened(void **state)
{
	int in = make_file("fs/in/f"), out;

	assert_int_equal(link("fs/in/f", "fs/out/g"), 0);
	out = open("fs/out/g", O_RDONLY | O_CLOEXEC);
	assert_true(out >= 0);
	assert_located(*state, in, POLICY_IN_SCOPE, "fs/in/f");
	assert_located(*state, out, POLICY_NOT_INCLUDED, "fs/out/g");
	close(in);
	close(out);
	assert_int_equal(unlink("fs/in/f"), 0);
	assert_int_equal(unlink("fs/out/g"), 0);
}

static void what_is_not_open_cannot_be_located(void **state)
{
	const struct location *location = locate_fd(*state, -1);

	assert_int_equal(location->error, -EBADF);
	/* nothing is left of the one before */
	assert_int_equal(location->scope, POLICY_NOT_INCLUDED);
	assert_false(location->events_tell_of_change);
	assert_true(strlen(location->path) < sizeof(location->path));
}

static void only_local_filesystems_tell_of_each_change(void **state)
{
	static const struct {
		const char *type;
		bool tells;
	} cases[] = {{"ext4", true},  {"tmpfs", true},	     {"overlay", false},
		     {"nfs4", false}, {"fuse.sshfs", false}, {"ecryptfs", false}};
	struct fixture *fixture = *state;
	struct mount *mount = mount_of_fs(fixture);
	int fd = make_file("fs/in/f");

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		free(mount->type);
		mount->type = strdup(cases[i].type);
		assert_located(fixture, fd, POLICY_IN_SCOPE, "fs/in/f");
		assert_int_equal(locate_fd(fixture, fd)->events_tell_of_change, cases[i].tells);
	}
	close(fd);
	assert_int_equal(unlink("fs/in/f"), 0);
}

/* --- paths longer than a system call can name --- */

#define DEEP_LEVELS 30
#define DEEP_NAME   200

static void deep_name(char *name)
{
	memset(name, 'd', DEEP_NAME);
	name[DEEP_NAME] = '\0';
}

/* Makes directories in a directory until no path reaches the last one, with a file "f" in it.
 * Returns the file. */
static int make_deep(const char *top)
{
	char name[DEEP_NAME + 1];
	int at = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd;

	deep_name(name);
	for (unsigned i = 0; i < DEEP_LEVELS; i++) {
		int next;

		assert_int_equal(mkdirat(at, name, 0755), 0);
		next = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		close(at);
		at = next;
	}
	fd = openat(at, "f", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "x", 1), 1);
	close(at);
	return fd;
}

static void remove_deep(const char *top)
{
	char name[DEEP_NAME + 1];
	int ways[DEEP_LEVELS + 1] = {open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};

	deep_name(name);
	for (unsigned i = 0; i < DEEP_LEVELS; i++)
		ways[i + 1] = openat(ways[i], name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	(void)unlinkat(ways[DEEP_LEVELS], "f", 0);
	for (unsigned i = DEEP_LEVELS; i > 0; i--) {
		close(ways[i]);
		assert_int_equal(unlinkat(ways[i - 1], name, AT_REMOVEDIR), 0);
	}
	close(ways[0]);
}

static void deep_path(char *buffer, const char *top)
{
	char name[DEEP_NAME + 1];

	deep_name(name);
	buffer += sprintf(buffer, "%s/%s", scratch, top);
	for (unsigned i = 0; i < DEEP_LEVELS; i++)
		buffer += sprintf(buffer, "/%s", name);
	(void)strcpy(buffer, "/f");
}

static void assert_deep(struct fixture *fixture, const char *top, enum policy_scope scope)
{
	static char expected[LOCATION_PATH_MAX];
	int fd = make_deep(top);
	const struct location *location = locate_fd(fixture, fd);

	deep_path(expected, top);
	assert_true(strlen(expected) > PATH_MAX);
	assert_int_equal(location->error, 0);
	assert_int_equal(location->scope, scope);
	assert_string_equal(location->path, expected);
	assert_int_equal(location->device, mount_of_fs(fixture)->device);
	close(fd);
	remove_deep(top);
}

/* How many mappings this process has. */
static unsigned count_mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned n = 0;
	int c;

	assert_non_null(maps);
	while ((c = getc(maps)) != EOF)
		n += c == '\n';
	(void)fclose(maps);
	return n;
}

static void to_tell_a_long_path_leaves_nothing_behind(void **state)
{
	int fd = make_deep("fs/in");
	unsigned fds, mappings;

	(void)locate_fd(*state, fd);
	fds = unit_count_fds();
	mappings = count_mappings();
	for (unsigned i = 0; i < 10; i++)
		(void)locate_fd(*state, fd);
	assert_int_equal(unit_count_fds(), fds);
	assert_in_range(count_mappings(), mappings, mappings + 5);
	close(fd);
	remove_deep("fs/in");
}

static void a_path_may_be_longer_than_a_path_can_be(void **state)
{
	assert_deep(*state, "fs/in", POLICY_IN_SCOPE);
	assert_deep(*state, "fs/in/private", POLICY_EXCLUDED);
	assert_deep(*state, "fs/out", POLICY_NOT_INCLUDED);
}

static void all_of_a_long_path_counts(void **state)
{
	add_rule(*state, "exclude", "fs/in/**/f");
	add_rule(*state, "include", "fs/out/**/f");
	assert_deep(*state, "fs/in", POLICY_EXCLUDED);
	assert_deep(*state, "fs/out", POLICY_IN_SCOPE);
}

/* A name that a bind mount makes longer than what can be told. */
static void a_name_that_is_too_long_to_tell_is_passed_over(void **state)
{
	static char point[LOCATION_PATH_MAX];
	struct fixture *fixture = *state;
	struct mount *mount = add_bind_mount(fixture, "fs/out", "fs/in");

	memset(point, 'x', sizeof(point) - 1);
	point[0] = '/';
	free(mount->point);
	mount->point = strdup(point);
	assert_file(fixture, "fs/out/f", POLICY_NOT_INCLUDED, "fs/out/f");
}

/* --- other names --- */

static void a_name_in_scope_wins_over_the_one_that_was_opened(void **state)
{
	struct fixture *fixture = *state;

	/* out, or excluded, by the name that was opened */
	(void)add_bind_mount(fixture, "fs/out", "fs/in/bound");
	assert_file(fixture, "fs/out/f", POLICY_IN_SCOPE, "fs/in/bound/f");
	(void)add_bind_mount(fixture, "fs/in/private", "fs/in/public");
	assert_file(fixture, "fs/in/private/f", POLICY_IN_SCOPE, "fs/in/public/f");
}

/* Lists the mount that was added last before all others. */
static void list_first(struct mounts *mounts)
{
	struct mount last = mounts->mounts[mounts->n - 1];

	memmove(&mounts->mounts[1], &mounts->mounts[0],
		(mounts->n - 1) * sizeof(mounts->mounts[0]));
	mounts->mounts[0] = last;
}

static void a_name_out_of_scope_changes_nothing(void **state)
{
	struct fixture *fixture = *state;

	(void)add_bind_mount(fixture, "fs/in", "elsewhere");
	list_first(&fixture->mounts);
	(void)add_bind_mount(fixture, "fs/in", "fs/in/private/in");
	(void)add_bind_mount(fixture, "fs/out", "fs/in/private/out");
	list_first(&fixture->mounts);
	(void)add_bind_mount(fixture, "fs/in/private", "private");
	list_first(&fixture->mounts);
	assert_file(fixture, "fs/in/f", POLICY_IN_SCOPE, "fs/in/f");
	assert_file(fixture, "fs/out/f", POLICY_NOT_INCLUDED, "fs/out/f");
	assert_file(fixture, "fs/in/private/f", POLICY_EXCLUDED, "fs/in/private/f");
}

static void the_first_name_in_scope_is_told(void **state)
{
	struct fixture *fixture = *state;

	(void)add_bind_mount(fixture, "fs/out", "elsewhere");
	(void)add_bind_mount(fixture, "fs/out", "fs/in/first");
	(void)add_bind_mount(fixture, "fs/out", "fs/in/second");
	(void)add_bind_mount(fixture, "fs/out", "fs/in/private/third");
	assert_file(fixture, "fs/out/f", POLICY_IN_SCOPE, "fs/in/first/f");
}

static void a_single_file_may_be_mounted_in_scope(void **state)
{
	struct fixture *fixture = *state;

	(void)add_bind_mount(fixture, "fs/out/f", "fs/in/called");
	assert_file(fixture, "fs/out/f", POLICY_IN_SCOPE, "fs/in/called");
	assert_file(fixture, "fs/out/f2", POLICY_NOT_INCLUDED, "fs/out/f2");
}

/* No name leads there: another mount is in the way. */
static void a_mount_that_is_hidden_gives_no_name(void **state)
{
	struct fixture *fixture = *state;

	add_bind_mount(fixture, "fs/out", "fs/in/bound")->is_reachable = false;
	assert_file(fixture, "fs/out/f", POLICY_NOT_INCLUDED, "fs/out/f");
}

static void mounts_of_other_directories_and_filesystems_give_no_name(void **state)
{
	struct fixture *fixture = *state;

	(void)add_bind_mount(fixture, "fs/out/sub", "fs/in/bound");
	add_bind_mount(fixture, "fs/out", "fs/in/bound")->device++;
	assert_file(fixture, "fs/out/f", POLICY_NOT_INCLUDED, "fs/out/f");
	assert_file(fixture, "fs/out/sub/f", POLICY_IN_SCOPE, "fs/in/bound/f");
}

/* --- layers --- */

static void add_layer(struct fixture *fixture, const char *name, const char *point, bool is_lower)
{
	struct mount *mount = add_bind_mount(fixture, name, point);

	mount->id = 0;
	mount->is_lower = is_lower;
}

static void a_file_of_the_upper_layer_is_called_as_the_overlay_is(void **state)
{
	struct fixture *fixture = *state;

	add_layer(fixture, "fs/out", "fs/in/over", false);
	assert_file(fixture, "fs/out/f", POLICY_IN_SCOPE, "fs/in/over/f");
}

/* The same file, as the test mounts no overlay, is a link. */
static void a_file_of_a_lower_layer_is_if_the_overlay_shows_it_there(void **state)
{
	struct fixture *fixture = *state;
	struct statx unused;
	int fd;

	if (!file_look(scratch, &unused)) {
		print_message("skipped: this kernel cannot look without waiting\n");
		skip();
	}
	fd = make_file("fs/out/f");
	add_layer(fixture, "fs/out", "fs/in/over", true);
	/* nothing is there */
	assert_located(fixture, fd, POLICY_NOT_INCLUDED, "fs/out/f");
	/* another is */
	close(make_file("fs/in/over/f"));
	assert_located(fixture, fd, POLICY_NOT_INCLUDED, "fs/out/f");
	assert_int_equal(unlink("fs/in/over/f"), 0);
	/* this one, and not by a symbolic link */
	assert_int_equal(symlink("../../out/f", "fs/in/over/f"), 0);
	assert_located(fixture, fd, POLICY_NOT_INCLUDED, "fs/out/f");
	assert_int_equal(unlink("fs/in/over/f"), 0);
	assert_int_equal(link("fs/out/f", "fs/in/over/f"), 0);
	assert_located(fixture, fd, POLICY_IN_SCOPE, "fs/in/over/f");
	close(fd);
	assert_int_equal(unlink("fs/in/over/f"), 0);
	assert_int_equal(unlink("fs/out/f"), 0);
}

/* --- files that were opened by a mount that is not one of ours --- */

/* What is mounted at "again" is not in the table. */
static void forget_again(struct fixture *fixture)
{
	struct handle handle;
	int fd, r;

	if (!fs_is_ours) {
		print_message("skipped: nothing can be mounted (not root?)\n");
		skip();
	}
	fd = open("again", O_RDONLY | O_CLOEXEC);
	r = handle_of(fd, &handle);
	close(fd);
	if (r == 0) {
		fd = handle_open(&handle, mount_of_fs(fixture), O_PATH);
		r = fd < 0 ? fd : 0;
		if (fd >= 0)
			close(fd);
	}
	if (r < 0) {
		print_message("skipped: no file handles here: %s\n", strerror(-r));
		skip();
	}
	remove_mount(&fixture->mounts, "again");
}

/* Opens again/NAME, which is made as fs/NAME. */
static int open_again(const char *name)
{
	char path[PATH_MAX];
	int fd;

	(void)snprintf(path, sizeof(path), "fs/%s", name);
	close(make_file(path));
	(void)snprintf(path, sizeof(path), "again/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void assert_again(struct fixture *fixture, const char *name, enum policy_scope scope,
			 const char *found)
{
	int fd = open_again(name);
	char path[PATH_MAX];

	assert_located(fixture, fd, scope, found);
	close(fd);
	(void)snprintf(path, sizeof(path), "fs/%s", name);
	assert_int_equal(unlink(path), 0);
}

static void a_file_opened_by_an_unknown_mount_is_found_on_ours(void **state)
{
	unsigned fds;

	forget_again(*state);
	fds = unit_count_fds();
	assert_again(*state, "in/f", POLICY_IN_SCOPE, "fs/in/f");
	assert_again(*state, "in/private/f", POLICY_EXCLUDED, "fs/in/private/f");
	assert_again(*state, "out/f", POLICY_NOT_INCLUDED, "fs/out/f");
	assert_int_equal(unit_count_fds(), fds);
}

/* The handle leads to any of them. */
static void a_file_with_several_links_may_be_in_scope_by_any(void **state)
{
	struct fixture *fixture = *state;
	const struct location *location;
	int fd;

	forget_again(fixture);
	fd = open_again("out/f");
	assert_int_equal(link("fs/out/f", "fs/out/g"), 0);
	location = locate_fd(fixture, fd);
	assert_int_equal(location->error, 0);
	assert_int_equal(location->scope, POLICY_IN_SCOPE);
	assert_int_equal(unlink("fs/out/g"), 0);
	assert_located(fixture, fd, POLICY_NOT_INCLUDED, "fs/out/f");
	close(fd);
	assert_int_equal(unlink("fs/out/f"), 0);
	/* directories have no others */
	fd = open("again/out", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_located(fixture, fd, POLICY_NOT_INCLUDED, "fs/out");
	close(fd);
}

static void it_has_all_names_that_ours_give_it(void **state)
{
	forget_again(*state);
	(void)add_bind_mount(*state, "fs/out", "elsewhere");
	assert_again(*state, "out/f", POLICY_NOT_INCLUDED, "fs/out/f");
	(void)add_bind_mount(*state, "fs/out", "fs/in/bound");
	assert_again(*state, "out/f", POLICY_IN_SCOPE, "fs/in/bound/f");
}

/* The kernel may know another of its names first; which one it was opened by cannot be told. */
static void it_is_found_by_a_handle_even_when_deleted(void **state)
{
	struct fixture *fixture = *state;
	const struct location *location;
	int fd;

	forget_again(fixture);
	fd = open_again("in/f");
	assert_int_equal(unlink("fs/in/f"), 0);
	location = locate_fd(fixture, fd);
	/* as the filesystem pleases; what cannot be told is scanned */
	if (location->error == 0)
		assert_located(fixture, fd, POLICY_IN_SCOPE, "fs/in/f");
	else
		assert_int_equal(location->error, -ESTALE);
	close(fd);
}

static void without_a_mount_of_its_superblock_it_cannot_be_told(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	forget_again(fixture);
	fd = open_again("in/f");
	remove_mount(&fixture->mounts, "fs");
	assert_int_equal(locate_fd(fixture, fd)->error, -ESTALE);
	close(fd);
	assert_int_equal(unlink("fs/in/f"), 0);
}

static void a_mount_that_is_not_at_its_place_does_not_count(void **state)
{
	struct fixture *fixture = *state;
	struct mount *mount;
	int fd;

	forget_again(fixture);
	fd = open_again("in/f");
	mount = mount_of_fs(fixture);
	/* another one is there, or none */
	mount->id += 1000000;
	assert_true(locate_fd(fixture, fd)->error < 0);
	mount->id -= 1000000;
	free(mount->point);
	mount->point = strdup("/nowhere");
	assert_true(locate_fd(fixture, fd)->error < 0);
	close(fd);
	assert_int_equal(unlink("fs/in/f"), 0);
}

/* Whoever answers for it may keep us waiting. */
static void a_remote_filesystem_is_not_asked(void **state)
{
	struct fixture *fixture = *state;
	struct mount *mount;
	int fd;

	forget_again(fixture);
	fd = open_again("in/f");
	mount = mount_of_fs(fixture);
	free(mount->type);
	mount->type = strdup("fuse.sshfs");
	assert_int_equal(locate_fd(fixture, fd)->error, -ESTALE);
	close(fd);
	assert_int_equal(unlink("fs/in/f"), 0);
}

/* A subvolume has a device of its own, which is not that of the mount. */
static void on_btrfs_the_device_may_be_another(void **state)
{
	struct fixture *fixture = *state;
	struct mount *mount;
	int fd;

	forget_again(fixture);
	fd = open_again("in/f");
	mount = mount_of_fs(fixture);
	mount->device++;
	assert_int_equal(locate_fd(fixture, fd)->error, -ESTALE);
	free(mount->type);
	mount->type = strdup("btrfs");
	assert_located(fixture, fd, POLICY_IN_SCOPE, "fs/in/f");
	close(fd);
	assert_int_equal(unlink("fs/in/f"), 0);
}

/* On another filesystem a handle may mean another file. */
static void a_file_that_a_handle_happens_to_mean_is_not_taken_for_it(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	forget_again(fixture);
	fd = open_again("out/f");
	close(make_file("fs/in/f"));
	misled = "fs/in/f";
	assert_int_equal(locate_fd(fixture, fd)->error, -ESTALE);
	misled = NULL;
	assert_located(fixture, fd, POLICY_NOT_INCLUDED, "fs/out/f");
	close(fd);
	assert_int_equal(unlink("fs/in/f"), 0);
	assert_int_equal(unlink("fs/out/f"), 0);
}

static void a_file_of_another_filesystem_is_not_taken_for_it(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	forget_again(fixture);
	fd = open_again("in/f");
	remove_mount(&fixture->mounts, "fs");
	for (size_t i = 0; i < fixture->mounts.n; i++) {
		free(fixture->mounts.mounts[i].type);
		fixture->mounts.mounts[i].type = strdup("btrfs");
	}
	assert_int_not_equal(locate_fd(fixture, fd)->error, 0);
	close(fd);
	assert_int_equal(unlink("fs/in/f"), 0);
}

/* Puts mounts that cannot be reached before all others. */
static void add_hidden(struct fixture *fixture, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		(void)add_bind_mount(fixture, "fs/in", "missing");
		list_first(&fixture->mounts);
	}
}

static void some_mounts_may_be_hidden_but_not_many(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	forget_again(fixture);
	add_hidden(fixture, MOUNTS_TRIED - 1);
	assert_again(fixture, "in/f", POLICY_IN_SCOPE, "fs/in/f");
	/* those that cannot be of its superblock do not count */
	fixture->mounts.mounts[0].device++;
	add_hidden(fixture, 1);
	assert_again(fixture, "in/f", POLICY_IN_SCOPE, "fs/in/f");
	add_hidden(fixture, 1);
	fd = open_again("in/f");
	assert_true(locate_fd(fixture, fd)->error < 0);
	close(fd);
	assert_int_equal(unlink("fs/in/f"), 0);
}

/* Nobody can open it by that name here, but elsewhere. */
static void a_file_hidden_under_another_mount_is_where_it_would_be(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	forget_again(fixture);
	fd = open_again("in/over/f");
	assert_int_equal(mount("tmpfs", "fs/in/over", "tmpfs", 0, "size=64k"), 0);
	assert_located(fixture, fd, POLICY_IN_SCOPE, "fs/in/over/f");
	assert_int_equal(umount2("fs/in/over", MNT_DETACH), 0);
	close(fd);
	assert_int_equal(unlink("fs/in/over/f"), 0);
}

/* Layers are no mounts to look something up on. */
static void what_is_known_to_be_hidden_is_not_tried(void **state)
{
	struct fixture *fixture = *state;

	forget_again(fixture);
	add_hidden(fixture, MOUNTS_TRIED);
	for (size_t i = 0; i < MOUNTS_TRIED; i++)
		fixture->mounts.mounts[i].is_reachable = false;
	assert_again(fixture, "in/f", POLICY_IN_SCOPE, "fs/in/f");
}

static void layers_are_not_tried(void **state)
{
	struct fixture *fixture = *state;

	forget_again(fixture);
	add_hidden(fixture, MOUNTS_TRIED);
	for (size_t i = 0; i < MOUNTS_TRIED; i++)
		fixture->mounts.mounts[i].id = 0;
	assert_again(fixture, "in/f", POLICY_IN_SCOPE, "fs/in/f");
}

/* Which name of the overlay it was opened by cannot be told, where that is not the one it should
 * have. */
static void a_file_of_a_lower_layer_opened_through_the_overlay_may_be_in_scope(void **state)
{
	struct fixture *fixture = *state;

	forget_again(fixture);
	add_layer(fixture, "fs/out", "elsewhere", true);
	assert_again(fixture, "out/f", POLICY_IN_SCOPE, "elsewhere/f");
	/* the upper one has no other names */
	fixture->mounts.mounts[fixture->mounts.n - 1].is_lower = false;
	assert_again(fixture, "out/f", POLICY_NOT_INCLUDED, "fs/out/f");
}

static void a_path_too_long_to_look_up_cannot_be_told(void **state)
{
	struct fixture *fixture = *state;
	char name[DEEP_NAME + 1];
	int fd, at;

	forget_again(fixture);
	close(make_deep("fs/in"));
	deep_name(name);
	at = open("again/in", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (unsigned i = 0; i < DEEP_LEVELS; i++) {
		int next = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		assert_true(next >= 0);
		close(at);
		at = next;
	}
	fd = openat(at, "f", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	close(at);
	assert_int_equal(locate_fd(fixture, fd)->error, -ENAMETOOLONG);
	close(fd);
	remove_deep("fs/in");
}

/* --- where our only mount shows a part --- */

/* Mounts a directory of fs at "part", and takes all other mounts of fs from the table. */
static void show_only(struct fixture *fixture, const char *name)
{
	forget_again(fixture);
	assert_int_equal(mkdir("part", 0755), 0);
	assert_int_equal(mount(name, "part", NULL, MS_BIND, NULL), 0);
	mounts_free(&fixture->mounts);
	assert_int_equal(read_mounts(&fixture->mounts), 0);
	remove_mount(&fixture->mounts, "again");
	remove_mount(&fixture->mounts, "fs");
}

static int part_teardown(void **state)
{
	if (fs_is_ours) {
		(void)umount2("part", MNT_DETACH);
		(void)rmdir("part");
	}
	return teardown(state);
}

static void assert_on_part(struct fixture *fixture, const char *file, enum policy_scope scope,
			   const char *name)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	const struct location *location;
	char path[PATH_MAX + 64];

	assert_true(fd >= 0);
	location = locate_fd(fixture, fd);
	path_of(path, sizeof(path), name);
	assert_int_equal(location->error, 0);
	if (location->scope != scope)
		fail_msg("%s: %d, not %d", name, location->scope, scope);
	assert_string_equal(location->path, path);
	close(fd);
}

static void a_file_in_the_part_is_found_by_it(void **state)
{
	struct fixture *fixture = *state;

	show_only(fixture, "fs/in");
	add_rule(fixture, "include", "part/sub");
	assert_int_equal(mkdir("fs/in/sub", 0755), 0);
	close(make_file("fs/in/sub/f"));
	close(make_file("fs/in/f"));
	/* fs/in is no name of ours now */
	assert_on_part(fixture, "fs/in/sub/f", POLICY_IN_SCOPE, "part/sub/f");
	assert_on_part(fixture, "fs/in/f", POLICY_NOT_INCLUDED, "part/f");
	assert_on_part(fixture, "part/sub/f", POLICY_IN_SCOPE, "part/sub/f");
	assert_int_equal(unlink("fs/in/sub/f"), 0);
	assert_int_equal(unlink("fs/in/f"), 0);
	assert_int_equal(rmdir("fs/in/sub"), 0);
}

static void a_deleted_file_of_the_part_is_found_by_it(void **state)
{
	struct fixture *fixture = *state;
	const struct location *location;
	char path[PATH_MAX + 64];
	int fd;

	show_only(fixture, "fs/in");
	add_rule(fixture, "include", "part");
	fd = make_file("fs/in/f");
	assert_int_equal(unlink("fs/in/f"), 0);
	location = locate_fd(fixture, fd);
	path_of(path, sizeof(path), "part/f");
	if (location->error == 0) {
		assert_int_equal(location->scope, POLICY_IN_SCOPE);
		assert_string_equal(location->path, path);
	} else {
		assert_int_equal(location->error, -ESTALE);
	}
	close(fd);
}

/* It may be out of scope, having no name, or such that cannot be told. */
static void assert_not_on_part(struct fixture *fixture, const char *file)
{
	const struct location *location;
	int fd = open(file, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	location = locate_fd(fixture, fd);
	if (location->error == 0) {
		assert_int_equal(location->scope, POLICY_NOT_INCLUDED);
		assert_null(strstr(location->path, "part/"));
	} else {
		assert_int_equal(location->error, -ESTALE);
	}
	close(fd);
}

static void a_file_beside_the_part_is_not_in_it(void **state)
{
	struct fixture *fixture = *state;

	show_only(fixture, "fs/in");
	add_rule(fixture, "include", "part");
	close(make_file("fs/out/f"));
	assert_not_on_part(fixture, "fs/out/f");
	assert_int_equal(unlink("fs/out/f"), 0);
}

/* Makes the directories on the way to fs + scratch + /part. */
static void make_trap(char *path, size_t size)
{
	(void)snprintf(path, size, "fs%s/part", scratch);
	for (char *slash = strchr(path, '/'); (slash = strchr(slash + 1, '/'));) {
		*slash = '\0';
		(void)mkdir(path, 0755);
		*slash = '/';
	}
	assert_int_equal(mkdir(path, 0755), 0);
}

/* Inside the superblock it has the very path that the part has outside. */
static void a_file_is_not_taken_for_one_in_the_part(void **state)
{
	char trap[PATH_MAX + 16], file[PATH_MAX + 32];
	struct fixture *fixture = *state;

	show_only(fixture, "fs/in");
	add_rule(fixture, "include", "part");
	make_trap(trap, sizeof(trap));
	(void)snprintf(file, sizeof(file), "%s/f", trap);
	close(make_file(file));
	assert_not_on_part(fixture, file);
	/* even if the part has one of that name */
	close(make_file("fs/in/f"));
	assert_not_on_part(fixture, file);
	assert_on_part(fixture, "fs/in/f", POLICY_IN_SCOPE, "part/f");
	assert_int_equal(unlink("fs/in/f"), 0);
}

/* --- bugs --- */

static void list_first_at(struct mounts *mounts, const char *point)
{
	size_t i = mount_fixture_index(mounts, point);
	struct mount mount = mounts->mounts[i];

	memmove(&mounts->mounts[1], &mounts->mounts[0], i * sizeof(mount));
	mounts->mounts[0] = mount;
}

/* A bind mount of another directory comes first in the table. */
static void show_another_part_first(struct fixture *fixture)
{
	forget_again(fixture);
	assert_int_equal(mkdir("part", 0755), 0);
	assert_int_equal(mount("fs/out", "part", NULL, MS_BIND, NULL), 0);
	mounts_free(&fixture->mounts);
	assert_int_equal(read_mounts(&fixture->mounts), 0);
	remove_mount(&fixture->mounts, "again");
	list_first_at(&fixture->mounts, "part");
}

static void a_mount_that_does_not_show_a_file_hides_it_from_no_other(void **state)
{
	show_another_part_first(*state);
	assert_again(*state, "in/f", POLICY_IN_SCOPE, "fs/in/f");
	assert_again(*state, "in/private/f", POLICY_EXCLUDED, "fs/in/private/f");
}

static void nor_a_directory(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	show_another_part_first(fixture);
	fd = open("again/in", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_located(fixture, fd, POLICY_IN_SCOPE, "fs/in");
	close(fd);
}

/* The kernel does not tell that a mount is called otherwise when a directory above is renamed. */
static void a_file_is_in_scope_by_the_very_name_it_was_opened_by(void **state)
{
	struct fixture *fixture = *state;
	const struct location *location;
	int fd;

	forget_again(fixture);
	assert_int_equal(mkdir("a", 0755), 0);
	assert_int_equal(mkdir("a/m", 0755), 0);
	assert_int_equal(mount("fs/out", "a/m", NULL, MS_BIND, NULL), 0);
	mounts_free(&fixture->mounts);
	assert_int_equal(read_mounts(&fixture->mounts), 0);
	assert_int_equal(rename("a", "b"), 0);
	add_rule(fixture, "include", "b");
	close(make_file("fs/out/f"));
	fd = open("b/m/f", O_RDONLY | O_CLOEXEC);
	location = locate_fd(fixture, fd);
	print_message("error %d scope %d path %s\n", location->error, location->scope,
		      location->path);
	assert_int_equal(umount2("b/m", MNT_DETACH), 0);
	assert_int_equal(unlink("fs/out/f"), 0);
	close(fd);
	assert_true(location->error < 0 || location->scope == POLICY_IN_SCOPE);
}

#define LOCATE_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
#define PART_TEST(function)   cmocka_unit_test_setup_teardown(function, setup, part_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PART_TEST(a_mount_that_does_not_show_a_file_hides_it_from_no_other),
		PART_TEST(nor_a_directory),
		LOCATE_TEST(a_file_is_in_scope_by_the_very_name_it_was_opened_by),
		LOCATE_TEST(a_file_is_where_it_was_opened),
		LOCATE_TEST(a_directory_is_where_it_is_by_the_rule_that_is_given),
		LOCATE_TEST(a_deleted_file_is_where_it_was),
		LOCATE_TEST(a_hard_link_counts_by_the_name_that_was_opened),
		LOCATE_TEST(what_is_not_open_cannot_be_located),
		LOCATE_TEST(only_local_filesystems_tell_of_each_change),
		LOCATE_TEST(a_path_may_be_longer_than_a_path_can_be),
		LOCATE_TEST(to_tell_a_long_path_leaves_nothing_behind),
		LOCATE_TEST(all_of_a_long_path_counts),
		LOCATE_TEST(a_name_that_is_too_long_to_tell_is_passed_over),
		LOCATE_TEST(a_name_in_scope_wins_over_the_one_that_was_opened),
		LOCATE_TEST(a_name_out_of_scope_changes_nothing),
		LOCATE_TEST(the_first_name_in_scope_is_told),
		LOCATE_TEST(a_single_file_may_be_mounted_in_scope),
		LOCATE_TEST(a_mount_that_is_hidden_gives_no_name),
		LOCATE_TEST(mounts_of_other_directories_and_filesystems_give_no_name),
		LOCATE_TEST(a_file_of_the_upper_layer_is_called_as_the_overlay_is),
		LOCATE_TEST(a_file_of_a_lower_layer_is_if_the_overlay_shows_it_there),
		LOCATE_TEST(a_file_opened_by_an_unknown_mount_is_found_on_ours),
		LOCATE_TEST(a_file_with_several_links_may_be_in_scope_by_any),
		LOCATE_TEST(it_has_all_names_that_ours_give_it),
		LOCATE_TEST(it_is_found_by_a_handle_even_when_deleted),
		LOCATE_TEST(without_a_mount_of_its_superblock_it_cannot_be_told),
		LOCATE_TEST(a_mount_that_is_not_at_its_place_does_not_count),
		LOCATE_TEST(a_remote_filesystem_is_not_asked),
		LOCATE_TEST(on_btrfs_the_device_may_be_another),
		LOCATE_TEST(a_file_that_a_handle_happens_to_mean_is_not_taken_for_it),
		LOCATE_TEST(a_file_of_another_filesystem_is_not_taken_for_it),
		LOCATE_TEST(some_mounts_may_be_hidden_but_not_many),
		LOCATE_TEST(a_file_hidden_under_another_mount_is_where_it_would_be),
		LOCATE_TEST(what_is_known_to_be_hidden_is_not_tried),
		LOCATE_TEST(layers_are_not_tried),
		LOCATE_TEST(a_file_of_a_lower_layer_opened_through_the_overlay_may_be_in_scope),
		LOCATE_TEST(a_path_too_long_to_look_up_cannot_be_told),
		PART_TEST(a_file_in_the_part_is_found_by_it),
		PART_TEST(a_deleted_file_of_the_part_is_found_by_it),
		PART_TEST(a_file_beside_the_part_is_not_in_it),
		PART_TEST(a_file_is_not_taken_for_one_in_the_part),
	};

	if (file_init() < 0) {
		print_message("skipped: /proc is not mounted\n");
		return UNIT_SKIPPED;
	}
	return cmocka_run_group_tests_name("locate", tests, group_setup, group_teardown);
}
