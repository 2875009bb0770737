/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's marks are the test's own: it notes which are taken back. Almost all files here are
 * one file with many numbers.
 */
#include "../../../src/guard/handle.h"
#include "../../../src/guard/pins.h"
#include "../support/mount_fixture.h"
#include "../support/scratch.h"

#include <errno.h>

/* The files whose marks were taken back to make room, as inodes. */
static struct {
	uint64_t inodes[16];
	size_t n;
} taken;

bool __wrap_group_forget_path_only(struct group *group, int fd);

bool __wrap_group_forget_path_only(struct group *group, int fd)
{
	struct stat status;

	assert_int_equal(fstat(fd, &status), 0);
	/* to look at a file must raise no event */
	assert_true(fcntl(fd, F_GETFL) & O_PATH);
	assert_true(taken.n < N_ELEMENTS(taken.inodes));
	taken.inodes[taken.n++] = status.st_ino;
	return true;
}

/* So many more pieces of memory can be had. */
static unsigned pieces = UINT32_MAX;

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

static bool take_piece(void)
{
	if (!pieces)
		return false;
	pieces--;
	return true;
}

/* The compiler makes it of a malloc() that is filled with zeros. */
void *__wrap_calloc(size_t n, size_t size)
{
	return take_piece() ? __real_calloc(n, size) : NULL;
}

void *__wrap_malloc(size_t size)
{
	return take_piece() ? __real_malloc(size) : NULL;
}

struct fixture {
	struct group group;
	struct mounts mounts;
	struct pins pins;
	uint64_t device; /* of the superblock */
	int filler;	 /* stands for many files */
};

/* A filesystem of its own, where that can be had: not each has handles. */
static int group_setup(void **state)
{
	static struct fixture fixture;
	struct handle handle;

	if (scratch_setup(state) < 0 || mkdir("fs", 0755) < 0)
		return -1;
	if (mount_fixture_unshare())
		(void)mount("tmpfs", "fs", "tmpfs", 0, "size=1m");
	if (mount_fixture_read(&fixture.mounts) < 0)
		return -1;
	fixture.device = fixture.mounts.mounts[mount_fixture_index(&fixture.mounts, "fs")].device;
	scratch_write("fs/filler", "", 0);
	fixture.filler = open("fs/filler", O_RDONLY | O_CLOEXEC);
	if (handle_of(fixture.filler, &handle) < 0) {
		print_message("skipped: no file handles here\n");
		exit(UNIT_SKIPPED);
	}
	*state = &fixture;
	return 0;
}

static int group_teardown(void **state)
{
	struct fixture *fixture = *state;

	close(fixture->filler);
	mounts_free(&fixture->mounts);
	(void)umount2("fs", MNT_DETACH);
	return scratch_teardown(state);
}

static int setup(void **state)
{
	struct fixture *fixture = *state;

	fixture->group = (struct group){.queues[0].fd = -1};
	pins_init(&fixture->pins, &fixture->group, &fixture->mounts);
	taken.n = 0;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	pins_deinit(&fixture->pins);
	assert_null(fixture->pins.by_id);
	return 0;
}

/* A file, which stays open, and what it is called by. */
static int make_file(const char *name, struct file_id *ret_id)
{
	struct file_state unused;
	int fd;

	scratch_write(name, "x", 1);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(file_stat(fd, ret_id, &unused), 0);
	return fd;
}

static void pin(struct fixture *fixture, int fd, struct file_id id)
{
	assert_int_equal(pins_add(&fixture->pins, fd, id, fixture->device), 0);
}

/* Pins n other files, of which this is the first number. */
static void pin_others(struct fixture *fixture, unsigned first, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		pin(fixture, fixture->filler, (struct file_id){.device = 1, .inode = first + i});
}

static void need_open_by_handle(struct fixture *fixture)
{
	const struct mount *mount =
		&fixture->mounts.mounts[mount_fixture_index(&fixture->mounts, "fs")];
	struct handle handle;
	int fd;

	assert_int_equal(handle_of(fixture->filler, &handle), 0);
	fd = handle_open(&handle, mount, O_PATH);
	if (fd < 0) {
		print_message("skipped: files cannot be opened by handle (not root?)\n");
		skip();
	}
	close(fd);
}

/* --- */

static void the_least_recent_mark_makes_room(void **state)
{
	struct fixture *fixture = *state;
	struct file_id first, second;
	int fd_first, fd_second;
	unsigned fds;

	need_open_by_handle(fixture);
	fd_first = make_file("fs/first", &first);
	fd_second = make_file("fs/second", &second);
	pin(fixture, fd_first, first);
	pin(fixture, fd_second, second);
	fds = unit_count_fds();
	pin_others(fixture, 0, PINS_MAX - 2);
	assert_int_equal(taken.n, 0);
	/* one too many, and one more */
	pin_others(fixture, PINS_MAX, 1);
	assert_int_equal(taken.n, 1);
	assert_int_equal(taken.inodes[0], first.inode);
	pin_others(fixture, PINS_MAX + 1, 1);
	assert_int_equal(taken.n, 2);
	assert_int_equal(taken.inodes[1], second.inode);
	assert_int_equal(unit_count_fds(), fds);
	close(fd_first);
	close(fd_second);
}

static void a_mark_that_is_set_again_is_recent(void **state)
{
	struct fixture *fixture = *state;
	struct file_id first, second;
	int fd_first, fd_second;

	need_open_by_handle(fixture);
	fd_first = make_file("fs/first", &first);
	fd_second = make_file("fs/second", &second);
	pin(fixture, fd_first, first);
	pin(fixture, fd_second, second);
	pin(fixture, fd_first, first);
	/* and counts once */
	pin_others(fixture, 0, PINS_MAX - 2);
	assert_int_equal(taken.n, 0);
	pin_others(fixture, PINS_MAX, 2);
	assert_int_equal(taken.n, 2);
	assert_int_equal(taken.inodes[0], second.inode);
	assert_int_equal(taken.inodes[1], first.inode);
	close(fd_first);
	close(fd_second);
}

/* It stays with the file. */
static void the_file_need_be_neither_open_nor_where_it_was(void **state)
{
	struct fixture *fixture = *state;
	struct file_id id;
	int fd;

	need_open_by_handle(fixture);
	fd = make_file("fs/first", &id);
	pin(fixture, fd, id);
	close(fd);
	assert_int_equal(rename("fs/first", "fs/moved"), 0);
	pin_others(fixture, 0, PINS_MAX);
	assert_int_equal(taken.n, 1);
	assert_int_equal(taken.inodes[0], id.inode);
}

static void of_a_file_that_is_gone_there_is_nothing_to_take(void **state)
{
	struct fixture *fixture = *state;
	unsigned fds = unit_count_fds();
	struct file_id id;
	int fd;

	need_open_by_handle(fixture);
	fd = make_file("fs/first", &id);
	pin(fixture, fd, id);
	close(fd);
	assert_int_equal(unlink("fs/first"), 0);
	/* of a filesystem that is no longer mounted */
	assert_int_equal(pins_add(&fixture->pins, fixture->filler, (struct file_id){2, 2},
				  fixture->device + 1),
			 0);
	pin_others(fixture, 0, PINS_MAX);
	assert_int_equal(taken.n, 0);
	/* they have gone first all the same */
	pin_others(fixture, PINS_MAX, 1);
	assert_int_equal(taken.n, 1);
	assert_int_equal(unit_count_fds(), fds);
}

static void what_is_dropped_leaves_room(void **state)
{
	struct fixture *fixture = *state;
	struct file_id first, second;
	int fd_first, fd_second;

	need_open_by_handle(fixture);
	fd_first = make_file("fs/first", &first);
	fd_second = make_file("fs/second", &second);
	pin(fixture, fd_first, first);
	pin(fixture, fd_second, second);
	pin_others(fixture, 0, PINS_MAX - 2);
	pins_drop(&fixture->pins, first);
	/* what is not there, or is of another device, cannot be dropped */
	pins_drop(&fixture->pins, first);
	pins_drop(&fixture->pins, (struct file_id){second.device + 1, second.inode});
	pin_others(fixture, PINS_MAX, 1);
	assert_int_equal(taken.n, 0);
	pin_others(fixture, PINS_MAX + 1, 1);
	assert_int_equal(taken.n, 1);
	assert_int_equal(taken.inodes[0], second.inode);
	close(fd_first);
	close(fd_second);
}

static void when_the_group_forgets_all_there_is_all_room_again(void **state)
{
	struct fixture *fixture = *state;

	need_open_by_handle(fixture);
	pin_others(fixture, 0, PINS_MAX);
	(void)group_forget_all(&fixture->group);
	/* these are others; none of those from before is left to be taken back */
	pin_others(fixture, PINS_MAX, PINS_MAX);
	assert_int_equal(taken.n, 0);
	/* and it is noticed once */
	pin_others(fixture, 2 * PINS_MAX, 1);
	assert_int_equal(taken.n, 1);
}

static void each_that_is_too_many_takes_one(void **state)
{
	struct fixture *fixture = *state;

	need_open_by_handle(fixture);
	pin_others(fixture, 0, PINS_MAX);
	for (unsigned i = 0; i < 100; i++) {
		taken.n = 0;
		pin_others(fixture, PINS_MAX + i, 1);
		assert_int_equal(taken.n, 1);
	}
}

/* The kernel makes room by itself. */
static void where_marks_can_be_evicted_none_is_noted(void **state)
{
	struct fixture *fixture = *state;

	fixture->group.features.has[FEATURE_EVICTABLE_MARKS] = true;
	pin_others(fixture, 0, 100);
	assert_null(fixture->pins.by_id);
	assert_int_equal(pins_add(&fixture->pins, -1, (struct file_id){1, 1}, 1), 0);
}

static void a_file_without_a_handle_must_not_be_marked(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(pins_add(&fixture->pins, -1, (struct file_id){1, 1}, 1), -EBADF);
	assert_null(fixture->pins.by_id);
}

/* It costs a mark, and not the guard. */
static void without_memory_a_file_must_not_be_marked(void **state)
{
	struct fixture *fixture = *state;
	const struct file_id id = {.device = 1, .inode = 1};

	for (unsigned enough = 0; enough < 3; enough++) {
		int r;

		pieces = enough;
		r = pins_add(&fixture->pins, fixture->filler, id, fixture->device);
		pieces = UINT32_MAX;
		assert_int_equal(r, -ENOMEM);
		assert_null(fixture->pins.by_id);
	}
	pin(fixture, fixture->filler, id);
	assert_non_null(fixture->pins.by_id);
}

#define PINS_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PINS_TEST(the_least_recent_mark_makes_room),
		PINS_TEST(a_mark_that_is_set_again_is_recent),
		PINS_TEST(the_file_need_be_neither_open_nor_where_it_was),
		PINS_TEST(of_a_file_that_is_gone_there_is_nothing_to_take),
		PINS_TEST(what_is_dropped_leaves_room),
		PINS_TEST(when_the_group_forgets_all_there_is_all_room_again),
		PINS_TEST(each_that_is_too_many_takes_one),
		PINS_TEST(where_marks_can_be_evicted_none_is_noted),
		PINS_TEST(a_file_without_a_handle_must_not_be_marked),
		PINS_TEST(without_memory_a_file_must_not_be_marked),
	};

	if (file_init() < 0) {
		print_message("skipped: /proc is not mounted\n");
		return UNIT_SKIPPED;
	}
	return cmocka_run_group_tests_name("pins", tests, group_setup, group_teardown);
}
