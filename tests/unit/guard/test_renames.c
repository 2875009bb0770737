/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * First with a kernel of the test's own: the group's descriptor is a pipe into which the test
 * writes events. Then with the real one, which marks a filesystem that the test has made; that
 * needs root.
 */
#include "../../../src/guard/handle.h"
#include "../../../src/guard/renames.h"
#include "../support/mount_fixture.h"
#include "../support/scratch.h"

#include <errno.h>
#include <sys/fanotify.h>

/* --- what events mean --- */

/* An event with one struct fanotify_event_info_fid, and its handle. */
struct record {
	struct fanotify_event_metadata metadata;
	struct fanotify_event_info_header info;
	__kernel_fsid_t filesystem;
	unsigned handle_bytes;
	int handle_type;
	unsigned char bytes[8];
};

struct fixture {
	struct renames renames;
	int kernel; /* the end to write to */
};

static int setup(void **state)
{
	static struct fixture fixture;
	int ends[2];

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return -1;
	fixture.renames.fd = ends[0];
	fixture.kernel = ends[1];
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	renames_deinit(&fixture->renames);
	close(fixture->kernel);
	return 0;
}

static struct record move_of(unsigned char number, uint64_t mask)
{
	return (struct record){
		.metadata = {.event_len = sizeof(struct record),
			     .vers = FANOTIFY_METADATA_VERSION,
			     .metadata_len = FAN_EVENT_METADATA_LEN,
			     .mask = mask,
			     .fd = FAN_NOFD},
		.info = {.info_type = FAN_EVENT_INFO_TYPE_FID,
			 .len = sizeof(struct record) - FAN_EVENT_METADATA_LEN},
		.handle_bytes = 8,
		.handle_type = 1,
		.bytes = {number, 2, 3, 4, 5, 6, 7, 8},
	};
}

static uint64_t hash_of(unsigned char number)
{
	const unsigned char bytes[8] = {number, 2, 3, 4, 5, 6, 7, 8};

	return handle_hash(1, bytes, sizeof(bytes));
}

static void send_record(struct fixture *fixture, const struct record *record)
{
	assert_int_equal(write(fixture->kernel, record, record->metadata.event_len),
			 record->metadata.event_len);
}

static void moves_of_directories_are_told_by_their_handles(void **state)
{
	struct fixture *fixture = *state;
	struct renames_event events[RENAMES_BATCH];

	for (unsigned char i = 0; i < 3; i++) {
		struct record record = move_of(i, FAN_MOVE_SELF | FAN_ONDIR);

		send_record(fixture, &record);
	}
	assert_int_equal(renames_read(&fixture->renames, events), 3);
	for (unsigned char i = 0; i < 3; i++) {
		assert_false(events[i].lost);
		assert_int_equal(events[i].directory, hash_of(i));
	}
	assert_int_equal(renames_read(&fixture->renames, events), -EAGAIN);
}

static void moves_of_files_are_passed_over(void **state)
{
	struct fixture *fixture = *state;
	struct renames_event events[RENAMES_BATCH];
	struct record file = move_of(1, FAN_MOVE_SELF),
		      directory = move_of(2, FAN_MOVE_SELF | FAN_ONDIR);

	send_record(fixture, &file);
	assert_int_equal(renames_read(&fixture->renames, events), 0);
	assert_int_equal(renames_read(&fixture->renames, events), -EAGAIN);
	send_record(fixture, &file);
	send_record(fixture, &directory);
	send_record(fixture, &file);
	assert_int_equal(renames_read(&fixture->renames, events), 1);
	assert_int_equal(events[0].directory, hash_of(2));
}

static void that_events_were_lost_is_told(void **state)
{
	struct fixture *fixture = *state;
	struct renames_event events[RENAMES_BATCH];
	struct record lost = move_of(0, FAN_Q_OVERFLOW),
		      directory = move_of(2, FAN_MOVE_SELF | FAN_ONDIR);

	lost.metadata.event_len = sizeof(lost.metadata);
	send_record(fixture, &directory);
	send_record(fixture, &lost);
	assert_int_equal(renames_read(&fixture->renames, events), 2);
	assert_false(events[0].lost);
	assert_true(events[1].lost);
}

/* Then any directory may be meant. */
static void a_move_without_a_handle_is_one_that_was_lost(void **state)
{
	struct fixture *fixture = *state;
	struct renames_event events[RENAMES_BATCH];
	struct record record = move_of(1, FAN_MOVE_SELF | FAN_ONDIR);

	record.metadata.event_len = sizeof(record.metadata);
	send_record(fixture, &record);
	record = move_of(1, FAN_MOVE_SELF | FAN_ONDIR);
	record.metadata.event_len = offsetof(struct record, handle_type);
	send_record(fixture, &record);
	record = move_of(1, FAN_MOVE_SELF | FAN_ONDIR);
	record.info.info_type = FAN_EVENT_INFO_TYPE_FID + 1;
	send_record(fixture, &record);
	assert_int_equal(renames_read(&fixture->renames, events), 3);
	for (size_t i = 0; i < 3; i++)
		assert_true(events[i].lost);
	/* a handle of no bytes is one */
	record = move_of(1, FAN_MOVE_SELF | FAN_ONDIR);
	record.handle_bytes = 0;
	record.metadata.event_len = offsetof(struct record, bytes);
	send_record(fixture, &record);
	assert_int_equal(renames_read(&fixture->renames, events), 1);
	assert_false(events[0].lost);
	assert_int_equal(events[0].directory, handle_hash(1, NULL, 0));
}

static void handles_differ_by_type_and_bytes(void **state)
{
	static const unsigned char bytes[] = {1, 2, 3, 4}, other[] = {1, 2, 3, 5},
				   swapped[] = {2, 1, 3, 4};

	assert_int_equal(handle_hash(1, bytes, 4), handle_hash(1, bytes, 4));
	assert_int_not_equal(handle_hash(1, bytes, 4), handle_hash(2, bytes, 4));
	assert_int_not_equal(handle_hash(1, bytes, 4), handle_hash(1, other, 4));
	assert_int_not_equal(handle_hash(1, bytes, 4), handle_hash(1, swapped, 4));
	assert_int_not_equal(handle_hash(1, bytes, 4), handle_hash(1, bytes, 3));
	assert_int_not_equal(handle_hash(1, bytes, 0), handle_hash(2, bytes, 0));
}

static void where_there_is_no_group_nothing_is_told(void **state)
{
	struct renames renames = {.fd = -1};
	struct renames_event events[RENAMES_BATCH];

	assert_int_equal(renames_read(&renames, events), -EBADF);
	assert_int_equal(renames_watch(&renames, "/proc"), -EBADF);
	renames_unwatch(&renames, "/proc");
	renames_deinit(&renames);
	assert_int_equal(renames.fd, -1);
}

/* --- what the kernel tells --- */

static int real_setup(void **state)
{
	static struct renames renames;
	int r;

	*state = NULL;
	if (mkdir("fs", 0755) < 0)
		return -1;
	if (!mount_fixture_unshare() || mount("tmpfs", "fs", "tmpfs", 0, "size=8m") < 0 ||
	    renames_init(&renames) < 0)
		return 0;
	r = renames_watch(&renames, "fs");
	if (r == 0)
		*state = &renames;
	else
		renames_deinit(&renames);
	/* a tmpfs could not be told from others by handle before 5.13 */
	return r == 0 || r == -ENODEV ? 0 : -1;
}

static int real_teardown(void **state)
{
	if (*state) {
		struct renames *renames = *state;

		renames_deinit(renames);
		assert_int_equal(renames->fd, -1);
	}
	(void)umount2("fs", MNT_DETACH);
	return rmdir("fs");
}

static struct renames *renames_of(void **state)
{
	if (!*state) {
		print_message("skipped: moves cannot be watched (not root?)\n");
		skip();
	}
	return *state;
}

static uint64_t hash_of_directory(const char *name)
{
	int fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct handle handle;

	assert_true(fd >= 0);
	assert_int_equal(handle_of(fd, &handle), 0);
	close(fd);
	return handle_hash(handle.type, handle.bytes, handle.size);
}

static void assert_told(struct renames *renames, const char *directory)
{
	struct renames_event events[RENAMES_BATCH];

	assert_int_equal(renames_read(renames, events), 1);
	assert_false(events[0].lost);
	assert_int_equal(events[0].directory, hash_of_directory(directory));
}

static void assert_nothing_told(struct renames *renames)
{
	struct renames_event events[RENAMES_BATCH];

	assert_int_equal(renames_read(renames, events), -EAGAIN);
}

static void the_kernel_tells_which_directory_was_moved(void **state)
{
	struct renames *renames = renames_of(state);
	struct renames_event events[RENAMES_BATCH];

	assert_int_equal(mkdir("fs/a", 0755), 0);
	assert_int_equal(mkdir("fs/b", 0755), 0);
	assert_int_equal(mkdir("fs/b/c", 0755), 0);
	assert_nothing_told(renames);
	/* called otherwise, moved elsewhere, with what is in it */
	assert_int_equal(rename("fs/a", "fs/d"), 0);
	assert_told(renames, "fs/d");
	assert_int_equal(rename("fs/b/c", "fs/c"), 0);
	assert_told(renames, "fs/c");
	assert_int_equal(rename("fs/b", "fs/c/b"), 0);
	assert_told(renames, "fs/c/b");
	/* exchanged: both */
	assert_int_equal(renameat2(AT_FDCWD, "fs/c", AT_FDCWD, "fs/d", RENAME_EXCHANGE), 0);
	assert_int_equal(renames_read(renames, events), 2);
	assert_int_not_equal(events[0].directory, events[1].directory);
	/* what does not move */
	assert_int_equal(chmod("fs/c", 0700), 0);
	assert_int_equal(rmdir("fs/c"), 0);
	assert_nothing_told(renames);
}

static void the_kernel_tells_nothing_of_files_that_counts(void **state)
{
	struct renames *renames = renames_of(state);
	struct renames_event events[RENAMES_BATCH];

	scratch_write("fs/f", "x", 1);
	assert_int_equal(rename("fs/f", "fs/g"), 0);
	assert_int_equal(renames_read(renames, events), 0);
	assert_int_equal(symlink("g", "fs/l"), 0);
	assert_int_equal(rename("fs/l", "fs/m"), 0);
	assert_int_equal(renames_read(renames, events), 0);
	assert_nothing_told(renames);
}

/* However it is mounted. */
static void a_superblock_is_watched_whole(void **state)
{
	struct renames *renames = renames_of(state);

	assert_int_equal(mkdir("again", 0755), 0);
	assert_int_equal(mkdir("fs/a", 0755), 0);
	assert_int_equal(mkdir("fs/a/b", 0755), 0);
	assert_int_equal(mount("fs/a", "again", NULL, MS_BIND, NULL), 0);
	assert_int_equal(rename("again/b", "again/c"), 0);
	assert_told(renames, "fs/a/c");
	assert_int_equal(umount2("again", MNT_DETACH), 0);
	assert_int_equal(rmdir("again"), 0);
}

static void many_moves_come_in_batches(void **state)
{
	enum { MOVES = 500 };
	struct renames *renames = renames_of(state);
	struct renames_event events[RENAMES_BATCH];
	char from[32], to[32];
	unsigned total = 0;
	int n;

	for (unsigned i = 0; i < MOVES; i++) {
		(void)snprintf(from, sizeof(from), "fs/a%u", i);
		(void)snprintf(to, sizeof(to), "fs/b%u", i);
		assert_int_equal(mkdir(from, 0755), 0);
		assert_int_equal(rename(from, to), 0);
	}
	while ((n = renames_read(renames, events)) > 0) {
		assert_true(n <= RENAMES_BATCH);
		for (int i = 0; i < n; i++) {
			(void)snprintf(to, sizeof(to), "fs/b%u", total++);
			assert_false(events[i].lost);
			assert_int_equal(events[i].directory, hash_of_directory(to));
		}
	}
	assert_int_equal(n, -EAGAIN);
	assert_int_equal(total, MOVES);
}

static void what_is_no_longer_watched_is_not_told(void **state)
{
	struct renames *renames = renames_of(state);

	renames_unwatch(renames, "fs");
	assert_int_equal(mkdir("fs/a", 0755), 0);
	assert_int_equal(rename("fs/a", "fs/b"), 0);
	assert_nothing_told(renames);
	assert_int_equal(renames_watch(renames, "fs/b"), 0);
	assert_int_equal(rename("fs/b", "fs/c"), 0);
	assert_told(renames, "fs/c");
}

static void what_is_not_there_cannot_be_watched(void **state)
{
	assert_int_equal(renames_watch(renames_of(state), "fs/missing"), -ENOENT);
}

#define RENAMES_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
#define REAL_TEST(function)    cmocka_unit_test_setup_teardown(function, real_setup, real_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RENAMES_TEST(moves_of_directories_are_told_by_their_handles),
		RENAMES_TEST(moves_of_files_are_passed_over),
		RENAMES_TEST(that_events_were_lost_is_told),
		RENAMES_TEST(a_move_without_a_handle_is_one_that_was_lost),
		cmocka_unit_test(handles_differ_by_type_and_bytes),
		cmocka_unit_test(where_there_is_no_group_nothing_is_told),
		REAL_TEST(the_kernel_tells_which_directory_was_moved),
		REAL_TEST(the_kernel_tells_nothing_of_files_that_counts),
		REAL_TEST(a_superblock_is_watched_whole),
		REAL_TEST(many_moves_come_in_batches),
		REAL_TEST(what_is_no_longer_watched_is_not_told),
		REAL_TEST(what_is_not_there_cannot_be_watched),
	};

	return cmocka_run_group_tests_name("renames", tests, scratch_setup, scratch_teardown);
}
