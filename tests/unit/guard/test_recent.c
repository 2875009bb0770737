/* SPDX-License-Identifier: GPL-2.0-only */
/* The kernel's marks and the clock are the test's own: it notes which files are listened to again.
 */
#include "../../../src/guard/recent.h"
#include "../support/mount_fixture.h"
#include "../support/scratch.h"

#include <time.h>

#define SECOND UINT64_C(1000000)

static struct {
	uint64_t heard[4]; /* inodes */
	unsigned n;
	uint64_t now_us;
} fake;

void __wrap_group_listen_path_only(struct group *group, int fd);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time);

void __wrap_group_listen_path_only(struct group *group, int fd)
{
	struct stat status;

	assert_int_equal(fstat(fd, &status), 0);
	assert_true(fcntl(fd, F_GETFL) & O_PATH); /* raises no event */
	if (fake.n < N_ELEMENTS(fake.heard))
		fake.heard[fake.n] = status.st_ino;
	fake.n++;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
	time->tv_sec = (time_t)(fake.now_us / SECOND);
	time->tv_nsec = (long)(fake.now_us % SECOND) * 1000;
	return 0;
}

static struct mounts mounts;
static struct group group;
static struct recent recent;

static int setup(void **state)
{
	memset(&fake, 0, sizeof(fake));
	memset(&recent, 0, sizeof(recent));
	memset(&group, 0, sizeof(group));
	fake.now_us = 1000 * SECOND;
	return 0;
}

static uint64_t mark(const char *name)
{
	int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct stat status;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &status), 0);
	recent_add(&recent, fd, mounts.mounts[mount_fixture_index(&mounts, scratch)].device);
	close(fd);
	return status.st_ino;
}

static void listen_again(void)
{
	fake.n = 0;
	recent_listen_again(&recent, &group, &mounts);
}

static void what_was_marked_just_now_is_listened_to(void **state)
{
	uint64_t one = mark("one"), other = mark("other");

	listen_again();
	assert_int_equal(fake.n, 2);
	assert_int_equal(fake.heard[0], one);
	assert_int_equal(fake.heard[1], other);
	/* once */
	listen_again();
	assert_int_equal(fake.n, 0);
}

static void what_was_marked_long_ago_is_not(void **state)
{
	uint64_t young;

	(void)mark("one");
	fake.now_us += 2 * SECOND;
	young = mark("other");
	group.drained_us = fake.now_us;
	listen_again();
	assert_int_equal(fake.n, 1);
	assert_int_equal(fake.heard[0], young);
}

/* The opener who waited over it may still wait. */
static void nothing_is_long_ago_while_nobody_reads(void **state)
{
	group.drained_us = fake.now_us;
	(void)mark("one");
	fake.now_us += 60 * SECOND;
	(void)mark("other");
	listen_again();
	assert_int_equal(fake.n, 2);
}

static void a_file_that_is_gone_is_passed_over(void **state)
{
	(void)mark("gone");
	assert_int_equal(unlink("gone"), 0);
	(void)mark("one");
	listen_again();
	assert_int_equal(fake.n, 1);
}

static void the_last_ones_count(void **state)
{
	(void)mark("first");
	for (unsigned i = 0; i < RECENT_MAX; i++)
		(void)mark("one");
	listen_again();
	assert_int_equal(fake.n, RECENT_MAX);
	assert_int_equal(fake.heard[0], fake.heard[1]);
}

static int group_setup(void **state)
{
	return scratch_setup(state) < 0 || mount_fixture_read(&mounts) < 0 ? -1 : 0;
}

static int group_teardown(void **state)
{
	mounts_free(&mounts);
	return scratch_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(what_was_marked_just_now_is_listened_to, setup),
		cmocka_unit_test_setup(what_was_marked_long_ago_is_not, setup),
		cmocka_unit_test_setup(nothing_is_long_ago_while_nobody_reads, setup),
		cmocka_unit_test_setup(a_file_that_is_gone_is_passed_over, setup),
		cmocka_unit_test_setup(the_last_ones_count, setup),
	};

	if (geteuid() != 0) {
		print_message("skipped: only root may open by handle\n");
		return UNIT_SKIPPED;
	}
	return cmocka_run_group_tests_name("recent", tests, group_setup, group_teardown);
}
