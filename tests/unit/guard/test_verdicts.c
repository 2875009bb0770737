/* SPDX-License-Identifier: GPL-2.0-only */
#include "../support/mount_fixture.h"
#include "../support/scratch.h"
#include "make_verdicts.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/sysmacros.h>

/* Longer than two ticks of any kernel's clock: what happens after it has another ctime. */
#define TICK_US 40000

#define SIGNATURES 7

/* One bucket. */
#define SMALLEST 64

#define BIG (1 << 16)

/* --- what the kernel says of a file, changed on its way --- */

static struct {
	void (*statx)(struct statx *status);
	void (*handle)(struct file_handle *handle);
	int handle_errno;
	uint64_t mount_id; /* 0: as it is */
	unsigned n_calls;
} twist;

int __real_statx(int directory, const char *name, int flags, unsigned mask, struct statx *status);
int __wrap_statx(int directory, const char *name, int flags, unsigned mask, struct statx *status);
int __real_name_to_handle_at(int directory, const char *name, struct file_handle *handle, int *id,
			     int flags);
int __wrap_name_to_handle_at(int directory, const char *name, struct file_handle *handle, int *id,
			     int flags);

int __wrap_statx(int directory, const char *name, int flags, unsigned mask, struct statx *status)
{
	int r = __real_statx(directory, name, flags, mask, status);

	twist.n_calls++;
	if (r == 0 && twist.statx)
		twist.statx(status);
	if (r == 0 && twist.mount_id)
		status->stx_mnt_id = twist.mount_id;
	return r;
}

int __wrap_name_to_handle_at(int directory, const char *name, struct file_handle *handle, int *id,
			     int flags)
{
	int r = __real_name_to_handle_at(directory, name, handle, id, flags);

	twist.n_calls++;
	if (r == 0 && twist.handle)
		twist.handle(handle);
	if (twist.handle_errno) {
		errno = twist.handle_errno;
		return -1;
	}
	return r;
}

/* --- setup --- */

static bool has_unique_mount_ids(void)
{
	struct statx status;

	return __real_statx(AT_FDCWD, "/", 0, STATX_MNT_ID_UNIQUE, &status) == 0 &&
	       status.stx_mask & STATX_MNT_ID_UNIQUE;
}

static void handles_or_skip(void)
{
	union {
		struct file_handle handle;
		char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} raw = {.handle.handle_bytes = MAX_HANDLE_SZ};
	int unused;

	if (__real_name_to_handle_at(AT_FDCWD, ".", &raw.handle, &unused, 0) < 0) {
		print_message("skipped: this filesystem has no handles\n");
		skip();
	}
}

static int setup(void **state)
{
	memset(&twist, 0, sizeof(twist));
	*state = make_verdicts(BIG, has_unique_mount_ids());
	return mkdir("d", 0755) < 0 || chdir("d") < 0 || !*state ? -1 : 0;
}

static int setup_reused_ids(void **state)
{
	memset(&twist, 0, sizeof(twist));
	*state = make_verdicts(BIG, false);
	return mkdir("d", 0755) < 0 || chdir("d") < 0 || !*state ? -1 : 0;
}

static int teardown(void **state)
{
	verdicts_free(*state);
	return chdir("..") < 0 || nftw("d", scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS) < 0 ? -1
											      : 0;
}

static struct verdict_tag tag_under(const struct verdicts *verdicts, const char *name,
				    uint64_t signatures)
{
	struct verdict_tag tag = {0};
	int r = verdicts_tag(verdicts, AT_FDCWD, name, signatures, &tag, NULL, NULL);

	if (r < 0)
		fail_msg("%s: %s", name, strerror(-r));
	return tag;
}

static struct verdict_tag tag_of(const struct verdicts *verdicts, const char *name)
{
	return tag_under(verdicts, name, SIGNATURES);
}

static void assert_same(struct verdict_tag a, struct verdict_tag b)
{
	assert_memory_equal(&a, &b, sizeof(a));
}

static void assert_other(struct verdict_tag a, struct verdict_tag b)
{
	/* not only the halves that choose a bucket */
	assert_int_not_equal(a.half[0], b.half[0]);
	assert_int_not_equal(a.half[1], b.half[1]);
}

/* --- tags --- */

static void a_file_keeps_its_tag(void **state)
{
	int fd, directory = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct verdict_tag tag, again;
	unsigned fds;

	scratch_write("file", "12", 2);
	scratch_write("secret", "", 0);
	assert_int_equal(chmod("secret", 0), 0);
	fd = open("file", O_PATH | O_CLOEXEC);
	fds = unit_count_fds();
	tag = tag_of(*state, "file");
	assert_same(tag, tag_of(*state, "file"));
	assert_same(tag, tag_of(*state, "./file"));
	/* by a directory, by itself */
	assert_int_equal(verdicts_tag(*state, directory, "file", SIGNATURES, &again, NULL, NULL),
			 0);
	assert_same(tag, again);
	assert_int_equal(verdicts_tag(*state, fd, "", SIGNATURES, &again, NULL, NULL), 0);
	assert_same(tag, again);
	(void)tag_of(*state, "secret");
	assert_int_equal(unit_count_fds(), fds);
	close(fd);
	close(directory);
}

static void each_file_has_a_tag_of_its_own(void **state)
{
	scratch_write("one", "", 0);
	scratch_write("two", "", 0);
	assert_other(tag_of(*state, "one"), tag_of(*state, "two"));
}

static void a_tag_costs_two_system_calls(void **state)
{
	scratch_write("file", "", 0);
	(void)tag_of(*state, "file");
	assert_int_equal(twist.n_calls, 2);
}

static void what_a_tag_was_made_of_is_told(void **state)
{
	struct file_id id, expected_id;
	struct file_state file_state, expected_state;
	struct verdict_tag tag, again;
	int fd;

	scratch_write("file", "123", 3);
	fd = open("file", O_RDONLY | O_CLOEXEC);
	assert_int_equal(file_stat(fd, &expected_id, &expected_state), 0);
	close(fd);
	assert_int_equal(verdicts_tag(*state, AT_FDCWD, "file", SIGNATURES, &tag, &id, &file_state),
			 0);
	assert_memory_equal(&id, &expected_id, sizeof(id));
	assert_memory_equal(&file_state, &expected_state, sizeof(file_state));
	assert_int_equal(file_state.size, 3);
	memset(&id, 0, sizeof(id));
	assert_int_equal(verdicts_tag(*state, AT_FDCWD, "file", SIGNATURES, &again, &id, NULL), 0);
	assert_memory_equal(&id, &expected_id, sizeof(id));
	assert_same(tag, again);
}

static void nothing_but_files_has_a_tag(void **state)
{
	struct verdict_tag tag;
	int link;

	scratch_write("file", "", 0);
	assert_int_equal(symlink("file", "link"), 0);
	assert_int_equal(mkfifo("fifo", 0600), 0);
	link = open("link", O_PATH | O_NOFOLLOW | O_CLOEXEC);
	assert_int_equal(verdicts_tag(*state, AT_FDCWD, "link", 0, &tag, NULL, NULL), -EINVAL);
	assert_int_equal(verdicts_tag(*state, link, "", 0, &tag, NULL, NULL), -EINVAL);
	assert_int_equal(verdicts_tag(*state, AT_FDCWD, "fifo", 0, &tag, NULL, NULL), -EINVAL);
	assert_int_equal(verdicts_tag(*state, AT_FDCWD, ".", 0, &tag, NULL, NULL), -EINVAL);
	assert_int_equal(verdicts_tag(*state, AT_FDCWD, "", 0, &tag, NULL, NULL), -EINVAL);
	assert_int_equal(verdicts_tag(*state, AT_FDCWD, "/dev/null", 0, &tag, NULL, NULL), -EINVAL);
	assert_int_equal(verdicts_tag(*state, AT_FDCWD, "missing", 0, &tag, NULL, NULL), -ENOENT);
	assert_int_equal(verdicts_tag(*state, -1, "", 0, &tag, NULL, NULL), -EBADF);
	close(link);
}

static void a_change_makes_another_tag(void **state)
{
	static const struct timespec past[2] = {{1000, 0}, {1000, 0}},
				     later[2] = {{1000, 1}, {1000, 1}};
	struct verdict_tag before, after;

	scratch_write("file", "12", 2);
	before = tag_of(*state, "file");
	assert_int_equal(truncate("file", 1), 0);
	after = tag_of(*state, "file");
	assert_other(before, after);

	assert_int_equal(utimensat(AT_FDCWD, "file", past, 0), 0);
	before = tag_of(*state, "file");
	assert_int_equal(utimensat(AT_FDCWD, "file", later, 0), 0);
	after = tag_of(*state, "file");
	assert_other(before, after);

	(void)usleep(TICK_US);
	assert_int_equal(chmod("file", 0600), 0);
	assert_other(after, tag_of(*state, "file"));
}

/* Times can be set back, but for the one of the last change. */
static void a_file_rewritten_in_disguise_has_another_tag(void **state)
{
	struct verdict_tag before, after;
	struct file_state was, is;
	struct stat status;

	scratch_write("file", "good", 4);
	assert_int_equal(verdicts_tag(*state, AT_FDCWD, "file", 0, &before, NULL, &was), 0);
	assert_int_equal(stat("file", &status), 0);
	(void)usleep(TICK_US);
	scratch_write("file", "evil", 4);
	assert_int_equal(utimensat(AT_FDCWD, "file",
				   (const struct timespec[2]){status.st_atim, status.st_mtim}, 0),
			 0);
	assert_int_equal(verdicts_tag(*state, AT_FDCWD, "file", 0, &after, NULL, &is), 0);
	assert_int_equal(is.size, was.size);
	assert_int_equal(is.mtime_ns, was.mtime_ns);
	assert_other(before, after);
}

static void a_file_has_one_tag_under_all_its_names(void **state)
{
	struct verdict_tag before, after;
	struct file_state was, is;

	scratch_write("file", "12", 2);
	assert_int_equal(link("file", "other"), 0);
	assert_same(tag_of(*state, "file"), tag_of(*state, "other"));

	/* as long as the filesystem does not take a rename for a change */
	assert_int_equal(verdicts_tag(*state, AT_FDCWD, "file", 0, &before, NULL, &was), 0);
	assert_int_equal(mkdir("there", 0755), 0);
	assert_int_equal(rename("file", "there/renamed"), 0);
	assert_int_equal(verdicts_tag(*state, AT_FDCWD, "there/renamed", 0, &after, NULL, &is), 0);
	if (is.ctime_ns == was.ctime_ns)
		assert_same(before, after);
	else
		assert_other(before, after);
}

static void root_or_skip(void)
{
	if (geteuid() == 0)
		return;
	print_message("skipped: only root can make files that only root may write to\n");
	skip();
}

static void a_tag_says_whether_only_root_writes(void **state)
{
	static const struct {
		uid_t owner;
		mode_t mode;
		bool of_root;
	} cases[] = {
		{0, 0644, true},  {0, 0755, true},  {0, 0400, true},	  {0, 0664, false},
		{0, 0646, false}, {0, 0602, false}, {12345, 0600, false}, {12345, 0444, false},
	};
	struct verdict_tag tag;

	root_or_skip();
	scratch_write("file", "", 0);
	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		assert_int_equal(chown("file", cases[i].owner, 0), 0);
		assert_int_equal(chmod("file", cases[i].mode), 0);
		tag = tag_of(*state, "file");
		assert_int_equal(verdict_tag_is_of_root(&tag), cases[i].of_root);
	}
}

/* Each of its closes by a writer, whichever other files there are. */
static void what_others_may_write_has_another_tag_after_each_close(void **state)
{
	struct verdict_tag first, second, of_root;
	struct file_id id;

	root_or_skip();
	scratch_write("file", "", 0);
	of_root = tag_of(*state, "file");
	assert_int_equal(verdicts_tag(*state, AT_FDCWD, "file", SIGNATURES, &first, &id, NULL), 0);
	verdicts_closed(*state, id);
	verdicts_closes_missed(*state);
	assert_same(of_root, tag_of(*state, "file"));

	assert_int_equal(chmod("file", 0666), 0);
	first = tag_of(*state, "file");
	assert_same(first, tag_of(*state, "file"));
	verdicts_closed(*state, id);
	second = tag_of(*state, "file");
	assert_other(first, second);
	id.inode++;
	verdicts_closed(*state, id);
	assert_same(second, tag_of(*state, "file"));
	verdicts_closes_missed(*state);
	assert_other(second, tag_of(*state, "file"));
}

/* Under the same key: nobody has seen what was closed in between. */
static void another_process_has_other_tags_of_what_others_may_write(void **state)
{
	struct verdicts *next = make_verdicts(BIG, has_unique_mount_ids());
	unsigned char key[VERDICTS_KEY_SIZE];

	root_or_skip();
	assert_non_null(next);
	verdicts_key(*state, key);
	verdicts_set_key(next, key);
	scratch_write("file", "", 0);
	if (has_unique_mount_ids())
		assert_same(tag_of(*state, "file"), tag_of(next, "file"));
	assert_int_equal(chmod("file", 0666), 0);
	assert_other(tag_of(*state, "file"), tag_of(next, "file"));
	verdicts_free(next);
}

/* --- a table that outlives its process --- */

/* Whoever takes it over sees what was in it, and goes on with it. */
static void a_table_that_is_taken_over_is_the_same(void **state)
{
	int memory = -1, same;
	struct verdicts *first = verdicts_new(BIG, has_unique_mount_ids(), &memory), *next;
	struct verdict_tag tag, of_users;

	assert_non_null(first);
	assert_true(memory >= 0);
	scratch_write("file", "", 0);
	scratch_write("users", "", 0);
	assert_int_equal(chmod("users", 0666), 0);
	verdicts_closes_missed(first);
	tag = tag_of(first, "file");
	of_users = tag_of(first, "users");
	verdicts_add(first, &tag);
	verdicts_free(first);

	same = memory;
	next = verdicts_new(BIG, has_unique_mount_ids(), &memory);
	assert_non_null(next);
	assert_int_equal(memory, same);
	assert_same(tag_of(next, "file"), tag);
	assert_same(tag_of(next, "users"), of_users);
	assert_true(verdicts_has(next, &tag));
	assert_int_equal(verdicts_count(next), 1);
	assert_int_equal(verdicts_capacity(next), verdicts_capacity(*state));
	verdicts_free(next);
	close(memory);
}

/* Returns whether a table of this size, over this memory, is the one that was there. It is closed
 * then, and so is the memory. */
static bool is_taken_over(int memory, size_t bytes, const struct verdict_tag *tag)
{
	int before = memory;
	struct verdicts *verdicts = verdicts_new(bytes, has_unique_mount_ids(), &memory);
	bool is_same;

	assert_non_null(verdicts);
	if (memory != before)
		close(before);
	is_same = verdicts_has(verdicts, tag);
	assert_int_equal(verdicts_count(verdicts), is_same);
	verdicts_free(verdicts);
	close(memory);
	return is_same;
}

static int make_memory(size_t bytes, struct verdict_tag *ret_tag)
{
	int memory = -1;
	struct verdicts *verdicts = verdicts_new(bytes, has_unique_mount_ids(), &memory);

	assert_non_null(verdicts);
	*ret_tag = tag_of(verdicts, "file");
	verdicts_add(verdicts, ret_tag);
	verdicts_free(verdicts);
	return memory;
}

static void one_that_is_of_another_size_or_unfinished_is_made_anew(void **state)
{
	const size_t zero = 0;
	struct verdict_tag tag;
	struct stat status;
	int memory;

	scratch_write("file", "", 0);
	memory = make_memory(BIG, &tag);
	assert_true(is_taken_over(memory, BIG, &tag));
	memory = make_memory(BIG, &tag);
	assert_false(is_taken_over(memory, 2 * BIG, &tag));
	memory = make_memory(BIG, &tag);
	assert_false(is_taken_over(memory, BIG / 2, &tag));
	/* Its owner ended before it had a key, or a size. */
	memory = make_memory(BIG, &tag);
	assert_int_equal(pwrite(memory, &zero, sizeof(zero), 0), sizeof(zero));
	assert_false(is_taken_over(memory, BIG, &tag));
	memory = make_memory(BIG, &tag);
	assert_int_equal(ftruncate(memory, 0), 0);
	assert_false(is_taken_over(memory, BIG, &tag));
	/* it is of nobody's but the family's */
	memory = make_memory(BIG, &tag);
	assert_int_equal(fstat(memory, &status), 0);
	assert_int_equal(status.st_nlink, 0);
	assert_int_equal(fcntl(memory, F_GETFD), FD_CLOEXEC);
	close(memory);
}

static void other_signatures_make_another_tag(void **state)
{
	scratch_write("file", "", 0);
	assert_same(tag_under(*state, "file", 1), tag_under(*state, "file", 1));
	assert_other(tag_under(*state, "file", 1), tag_under(*state, "file", 2));
	assert_other(tag_under(*state, "file", 1),
		     tag_under(*state, "file", (UINT64_C(1) << 32) + 1));
}

static void another_table_makes_other_tags(void **state)
{
	struct verdicts *other = make_verdicts(BIG, has_unique_mount_ids());

	assert_non_null(other);
	scratch_write("file", "", 0);
	assert_other(tag_of(*state, "file"), tag_of(other, "file"));
	verdicts_free(other);
}

static void a_table_with_the_same_key_makes_the_same_tags(void **state)
{
	struct verdicts *other = make_verdicts(SMALLEST, has_unique_mount_ids());
	unsigned char key[VERDICTS_KEY_SIZE];

	assert_non_null(other);
	scratch_write("file", "", 0);
	verdicts_key(*state, key);
	verdicts_set_key(other, key);
	assert_same(tag_of(*state, "file"), tag_of(other, "file"));
	/* each byte counts */
	for (size_t i = 0; i < sizeof(key); i++) {
		key[i]++;
		verdicts_set_key(other, key);
		key[i]--;
		assert_other(tag_of(*state, "file"), tag_of(other, "file"));
	}
	verdicts_free(other);
}

/* --- each thing that counts, by itself --- */

static void twist_major(struct statx *status)
{
	status->stx_dev_major++;
}

static void twist_minor(struct statx *status)
{
	status->stx_dev_minor++;
}

static void twist_inode(struct statx *status)
{
	status->stx_ino++;
}

static void twist_inode_high(struct statx *status)
{
	status->stx_ino ^= UINT64_C(1) << 63;
}

static void twist_size(struct statx *status)
{
	status->stx_size++;
}

static void twist_mtime_sec(struct statx *status)
{
	status->stx_mtime.tv_sec++;
}

static void twist_mtime_nsec(struct statx *status)
{
	status->stx_mtime.tv_nsec ^= 1;
}

static void twist_ctime_sec(struct statx *status)
{
	status->stx_ctime.tv_sec++;
}

static void twist_ctime_nsec(struct statx *status)
{
	status->stx_ctime.tv_nsec ^= 1;
}

static void twist_mount(struct statx *status)
{
	status->stx_mnt_id++;
}

static void twist_mount_high(struct statx *status)
{
	status->stx_mnt_id ^= UINT64_C(1) << 63;
}

static void twist_type(struct file_handle *handle)
{
	handle->handle_type ^= 0x40;
}

static void twist_generation(struct file_handle *handle)
{
	handle->f_handle[handle->handle_bytes - 1] ^= 1;
}

static void twist_length(struct file_handle *handle)
{
	handle->handle_bytes--;
}

static void all_that_counts_counts(void **state)
{
	void (*const of_statx[])(struct statx *) = {
		NULL,	     twist_major,      twist_minor,	 twist_inode,	  twist_inode_high,
		twist_size,  twist_mtime_sec,  twist_mtime_nsec, twist_ctime_sec, twist_ctime_nsec,
		twist_mount, twist_mount_high,
	};
	void (*const of_handle[])(struct file_handle *) = {twist_type, twist_generation,
							   twist_length};
	struct verdict_tag tags[N_ELEMENTS(of_statx) + N_ELEMENTS(of_handle)];
	size_t n = 0;

	handles_or_skip();
	scratch_write("file", "12", 2);
	for (size_t i = 0; i < N_ELEMENTS(of_statx); i++) {
		twist.statx = of_statx[i];
		tags[n++] = tag_of(*state, "file");
	}
	twist.statx = NULL;
	for (size_t i = 0; i < N_ELEMENTS(of_handle); i++) {
		twist.handle = of_handle[i];
		tags[n++] = tag_of(*state, "file");
	}
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < i; j++)
			assert_other(tags[i], tags[j]);
}

static void a_filesystem_may_have_no_handles(void **state)
{
	struct verdict_tag with, without, tag;

	handles_or_skip();
	scratch_write("file", "", 0);
	with = tag_of(*state, "file");
	twist.handle_errno = EOPNOTSUPP;
	without = tag_of(*state, "file");
	assert_other(with, without);
	assert_same(without, tag_of(*state, "file"));
	/* any other failure is one */
	twist.handle_errno = EIO;
	assert_int_equal(verdicts_tag(*state, AT_FDCWD, "file", 0, &tag, NULL, NULL), -EIO);
}

static void twist_no_mount(struct statx *status)
{
	status->stx_mask &= ~(unsigned)(STATX_MNT_ID | STATX_MNT_ID_UNIQUE);
}

static void twist_no_ctime(struct statx *status)
{
	status->stx_mask &= ~(unsigned)STATX_CTIME;
}

static void twist_no_atime(struct statx *status)
{
	status->stx_mask &= ~(unsigned)STATX_ATIME;
}

static void what_the_kernel_did_not_say_is_not_made_up(void **state)
{
	struct verdict_tag tag;

	scratch_write("file", "", 0);
	twist.statx = twist_no_mount;
	assert_int_equal(verdicts_tag(*state, AT_FDCWD, "file", 0, &tag, NULL, NULL), -EOPNOTSUPP);
	twist.statx = twist_no_ctime;
	assert_int_equal(verdicts_tag(*state, AT_FDCWD, "file", 0, &tag, NULL, NULL), -EOPNOTSUPP);
	/* as on a mount with noatime */
	twist.statx = twist_no_atime;
	(void)tag_of(*state, "file");
}

/* --- mounts --- */

static void bind_or_skip(const char *point)
{
	if (!mount_fixture_unshare() || mount(".", point, NULL, MS_BIND, NULL) < 0) {
		print_message("skipped: nothing can be mounted\n");
		skip();
	}
}

static void another_mount_makes_another_tag(void **state)
{
	assert_int_equal(mkdir("bound", 0755), 0);
	scratch_write("file", "", 0);
	bind_or_skip("bound");
	assert_other(tag_of(*state, "file"), tag_of(*state, "bound/file"));
	assert_int_equal(umount("bound"), 0);
}

static void tell_mounts(struct verdicts *verdicts)
{
	struct mounts mounts = {0};
	uint64_t *ids;

	assert_int_equal(mount_fixture_read(&mounts), 0);
	ids = calloc(mounts.n, sizeof(*ids));
	assert_non_null(ids);
	for (size_t i = 0; i < mounts.n; i++)
		ids[i] = mounts.mounts[i].id;
	verdicts_mounts_changed(verdicts, ids, mounts.n);
	free(ids);
	mounts_free(&mounts);
}

/* Mounts the same again, tells of all changes, and returns the file's tag. */
static struct verdict_tag mount_again(struct verdicts *verdicts)
{
	struct verdict_tag before = tag_of(verdicts, "bound/file"), after;

	assert_same(before, tag_of(verdicts, "bound/file"));
	assert_int_equal(umount("bound"), 0);
	tell_mounts(verdicts);
	assert_int_equal(mount(".", "bound", NULL, MS_BIND, NULL), 0);
	tell_mounts(verdicts);
	after = tag_of(verdicts, "bound/file");
	assert_other(before, after);
	return after;
}

static void what_is_mounted_again_is_another_mount(void **state)
{
	struct verdict_tag tag;

	assert_int_equal(mkdir("bound", 0755), 0);
	scratch_write("file", "", 0);
	bind_or_skip("bound");
	tell_mounts(*state);
	tag = mount_again(*state);
	assert_other(tag, mount_again(*state));
	assert_int_equal(umount("bound"), 0);
}

static struct verdict_tag tag_on(const struct verdicts *verdicts, uint64_t mount_id)
{
	twist.mount_id = mount_id;
	return tag_of(verdicts, "file");
}

static void an_id_that_has_gone_stands_for_another_mount(void **state)
{
	static const uint64_t both[] = {20, 4095}, one[] = {20}, three[] = {7, 4095, 20};
	struct verdict_tag stays, goes[4];

	scratch_write("file", "", 0);
	verdicts_mounts_changed(*state, both, 2);
	stays = tag_on(*state, 20);
	for (unsigned i = 0; i < N_ELEMENTS(goes); i++) {
		goes[i] = tag_on(*state, 4095);
		for (unsigned j = 0; j < i; j++)
			assert_other(goes[i], goes[j]);
		/* others come, go, and change their order */
		verdicts_mounts_changed(*state, three, 3);
		verdicts_mounts_changed(*state, both, 2);
		assert_same(goes[i], tag_on(*state, 4095));
		verdicts_mounts_changed(*state, one, 1);
		assert_other(goes[i], tag_on(*state, 4095));
		verdicts_mounts_changed(*state, both, 2);
	}
	assert_same(stays, tag_on(*state, 20));
	assert_other(stays, goes[0]);
	verdicts_mounts_changed(*state, NULL, 0);
	verdicts_mounts_changed(*state, both, 2);
	assert_other(stays, tag_on(*state, 20));
}

/* One of another mount namespace, or beyond the table. */
static void a_mount_not_told_of_is_another_after_each_change(void **state)
{
	static const uint64_t ids[] = {1, 2, 5000};
	static const uint64_t others[] = {
		3, 4096, 4097, 5000, 5000 % 4096, UINT64_C(1) << 32, UINT64_MAX};
	struct verdict_tag before;

	scratch_write("file", "", 0);
	for (size_t i = 0; i < 2 * N_ELEMENTS(others); i++) {
		uint64_t other = others[i / 2];

		before = tag_on(*state, other);
		assert_same(before, tag_on(*state, other));
		verdicts_mounts_changed(*state, ids, 3);
		assert_other(before, tag_on(*state, other));
	}
}

static void ids_that_are_unique_need_no_counting(void **state)
{
	static const uint64_t ids[] = {20};
	struct verdict_tag before;

	assert_int_equal(verdicts_can_outlive_us(*state), has_unique_mount_ids());
	if (!has_unique_mount_ids()) {
		print_message("skipped: not of this kernel\n");
		skip();
	}
	scratch_write("file", "", 0);
	before = tag_on(*state, 20);
	verdicts_mounts_changed(*state, ids, 1);
	assert_same(before, tag_on(*state, 20));
	verdicts_mounts_changed(*state, ids, 0);
	assert_same(before, tag_on(*state, 20));
}

/* --- the table --- */

static struct verdict_tag number(uint64_t n)
{
	return (struct verdict_tag){{n, n}};
}

static bool has(const struct verdicts *verdicts, uint64_t n)
{
	struct verdict_tag tag = number(n);

	return verdicts_has(verdicts, &tag);
}

static bool use(struct verdicts *verdicts, uint64_t n)
{
	struct verdict_tag tag = number(n);

	return verdicts_use(verdicts, &tag);
}

static void add(struct verdicts *verdicts, uint64_t n)
{
	struct verdict_tag tag = number(n);

	verdicts_add(verdicts, &tag);
}

static void drop(struct verdicts *verdicts, uint64_t n)
{
	struct verdict_tag tag = number(n);

	verdicts_remove(verdicts, &tag);
}

/* Those that are in a table of one bucket, in order, the most recent first; 0 at the end. */
static void assert_order(const struct verdicts *verdicts, const uint64_t *expected)
{
	struct verdict_tag tag;
	size_t n = 0;

	for (size_t place = verdicts_capacity(verdicts); place-- > 0;) {
		struct verdict_tag wanted = number(*expected);

		assert_int_equal(verdicts_at(verdicts, place, &tag), *expected != 0);
		assert_memory_equal(&tag, &wanted, sizeof(tag));
		if (*expected) {
			assert_true(verdicts_has(verdicts, &tag));
			expected++;
			n++;
		}
	}
	assert_int_equal(verdicts_count(verdicts), n);
}

static void room_is_as_much_as_fits(void **state)
{
	static const struct {
		size_t bytes, tags;
	} cases[] = {
		{0, 4},
		{1, 4},
		{63, 4},
		{64, 4},
		{127, 4},
		{128, 8},
		{255, 8},
		{256, 16},
		{4096, 256},
		{4095, 128},
		{8191, 256},
		{100000, 4096},
		{1 << 20, 1 << 16},
		{(1 << 20) - 1, 1 << 15},
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		struct verdicts *verdicts = make_verdicts(cases[i].bytes, false);
		uint32_t random = 1;

		assert_non_null(verdicts);
		if (verdicts_capacity(verdicts) != cases[i].tags)
			fail_msg("%zu bytes: %zu", cases[i].bytes, verdicts_capacity(verdicts));
		assert_int_equal(verdicts_count(verdicts), 0);
		/* more than there is room for: all buckets are filled */
		for (size_t n = 0; n < 16 * cases[i].tags; n++)
			add(verdicts, unit_random(&random) + UINT64_C(1));
		assert_int_equal(verdicts_count(verdicts), cases[i].tags);
		verdicts_free(verdicts);
	}
	assert_null(verdicts_free(NULL));
}

static void what_is_put_in_is_there(void **state)
{
	struct verdicts *verdicts = *state;
	const size_t n = verdicts_capacity(verdicts) / 4;

	for (size_t i = 1; i <= n; i++) {
		assert_false(has(verdicts, i));
		assert_false(use(verdicts, i));
		add(verdicts, i);
		assert_int_equal(verdicts_count(verdicts), i);
		assert_true(use(verdicts, i));
	}
	for (size_t i = 1; i <= n; i++)
		assert_true(has(verdicts, i));
	assert_int_equal(verdicts_count(verdicts), n);
}

static void half_a_tag_is_none(void **state)
{
	static const struct verdict_tag halves[] = {{{1, 2}}, {{2, 1}}, {{0, 1}}, {{1, 0}}};
	struct verdicts *verdicts = make_verdicts(SMALLEST, false);

	assert_non_null(verdicts);
	add(verdicts, 1);
	for (size_t i = 0; i < N_ELEMENTS(halves); i++) {
		assert_false(verdicts_has(verdicts, &halves[i]));
		assert_false(verdicts_use(verdicts, &halves[i]));
		verdicts_remove(verdicts, &halves[i]);
	}
	assert_order(verdicts, (const uint64_t[]){1, 0, 0, 0, 0});
	verdicts_free(verdicts);
}

static void the_least_recently_used_falls_out(void **state)
{
	struct verdicts *verdicts = make_verdicts(SMALLEST, false);

	assert_non_null(verdicts);
	for (uint64_t n = 1; n <= 4; n++)
		add(verdicts, n);
	assert_order(verdicts, (const uint64_t[]){4, 3, 2, 1, 0});
	add(verdicts, 5);
	assert_order(verdicts, (const uint64_t[]){5, 4, 3, 2, 0});
	assert_false(has(verdicts, 1));
	assert_false(use(verdicts, 1));

	/* looking at one is not using it */
	assert_true(has(verdicts, 2));
	assert_order(verdicts, (const uint64_t[]){5, 4, 3, 2, 0});
	assert_true(use(verdicts, 2));
	assert_order(verdicts, (const uint64_t[]){2, 5, 4, 3, 0});
	assert_true(use(verdicts, 5));
	assert_order(verdicts, (const uint64_t[]){5, 2, 4, 3, 0});
	assert_true(use(verdicts, 5));
	assert_order(verdicts, (const uint64_t[]){5, 2, 4, 3, 0});
	add(verdicts, 6);
	assert_order(verdicts, (const uint64_t[]){6, 5, 2, 4, 0});
	verdicts_free(verdicts);
}

static void none_is_there_twice(void **state)
{
	struct verdicts *verdicts = make_verdicts(SMALLEST, false);

	assert_non_null(verdicts);
	add(verdicts, 1);
	add(verdicts, 1);
	assert_order(verdicts, (const uint64_t[]){1, 0, 0, 0, 0});
	add(verdicts, 2);
	add(verdicts, 3);
	add(verdicts, 1);
	assert_order(verdicts, (const uint64_t[]){1, 3, 2, 0, 0});
	verdicts_free(verdicts);
}

static void what_is_taken_out_is_gone(void **state)
{
	struct verdicts *verdicts = make_verdicts(SMALLEST, false);

	assert_non_null(verdicts);
	drop(verdicts, 1);
	for (uint64_t n = 1; n <= 4; n++)
		add(verdicts, n);
	drop(verdicts, 5);
	drop(verdicts, 3);
	drop(verdicts, 3);
	assert_order(verdicts, (const uint64_t[]){4, 2, 1, 0, 0});
	drop(verdicts, 1);
	drop(verdicts, 4);
	assert_order(verdicts, (const uint64_t[]){2, 0, 0, 0, 0});
	add(verdicts, 3);
	drop(verdicts, 2);
	drop(verdicts, 3);
	assert_order(verdicts, (const uint64_t[]){0, 0, 0, 0, 0});
	verdicts_free(verdicts);
}

/* It is what free slots hold. */
static void zero_is_no_tag(void **state)
{
	struct verdicts *verdicts = make_verdicts(SMALLEST, false);

	assert_non_null(verdicts);
	for (uint64_t n = 0; n < 4; n++) {
		add(verdicts, n);
		add(verdicts, 0);
		assert_false(has(verdicts, 0));
		assert_false(use(verdicts, 0));
		drop(verdicts, 0);
	}
	assert_order(verdicts, (const uint64_t[]){3, 2, 1, 0, 0});
	verdicts_free(verdicts);
}

/* --- other threads --- */

#define ROUNDS 300000

/* Of the thread, at least. */
#define ASKER_ROUNDS 1000

static atomic_bool done;

struct asker {
	const struct verdicts *verdicts;
	atomic_ulong n_rounds;
	unsigned long n_false, n_found, n_failed;
};

/* Odd numbers are never put in. */
static void *ask(void *argument)
{
	struct asker *asker = argument;
	struct verdict_tag tag;

	while (!done) {
		for (uint64_t n = 1; n < 64; n += 2)
			asker->n_false += has(asker->verdicts, n);
		for (uint64_t n = 2; n < 64; n += 2)
			asker->n_found += has(asker->verdicts, n);
		if (verdicts_tag(asker->verdicts, AT_FDCWD, "file", 0, &tag, NULL, NULL) < 0)
			asker->n_failed++;
		asker->n_rounds++;
	}
	return NULL;
}

static void others_ask_while_the_loop_changes_it(void **state)
{
	static const uint64_t ids[] = {1, 2, 3};
	struct verdicts *verdicts = make_verdicts(2 * SMALLEST, false);
	struct asker asker = {.verdicts = verdicts};
	uint32_t random = 1;
	pthread_t thread;

	assert_non_null(verdicts);
	scratch_write("file", "", 0);
	done = false;
	assert_int_equal(pthread_create(&thread, NULL, ask, &asker), 0);
	for (unsigned i = 0; i < ROUNDS || asker.n_rounds < ASKER_ROUNDS; i++) {
		uint64_t n = 2 + unit_random(&random) % 31 * 2;

		if (i % 7 == 0)
			drop(verdicts, n);
		else if (i % 3 == 0)
			(void)use(verdicts, n);
		else
			add(verdicts, n);
		if (i % 1000 == 0)
			verdicts_mounts_changed(verdicts, ids, i / 1000 % 4);
	}
	done = true;
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(asker.n_false, 0);
	assert_int_equal(asker.n_failed, 0);
	assert_true(asker.n_found > 0);
	verdicts_free(verdicts);
}

#define TEST(name)	  cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_REUSED(name) cmocka_unit_test_setup_teardown(name, setup_reused_ids, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_file_keeps_its_tag),
		TEST(each_file_has_a_tag_of_its_own),
		TEST(a_tag_costs_two_system_calls),
		TEST(what_a_tag_was_made_of_is_told),
		TEST(nothing_but_files_has_a_tag),
		TEST(a_change_makes_another_tag),
		TEST(a_file_rewritten_in_disguise_has_another_tag),
		TEST(a_file_has_one_tag_under_all_its_names),
		TEST(a_table_that_is_taken_over_is_the_same),
		TEST(one_that_is_of_another_size_or_unfinished_is_made_anew),
		TEST(other_signatures_make_another_tag),
		TEST(another_table_makes_other_tags),
		TEST(a_table_with_the_same_key_makes_the_same_tags),
		TEST(all_that_counts_counts),
		TEST_REUSED(all_that_counts_counts),
		TEST(a_filesystem_may_have_no_handles),
		TEST(what_the_kernel_did_not_say_is_not_made_up),
		TEST_REUSED(what_the_kernel_did_not_say_is_not_made_up),
		TEST(another_mount_makes_another_tag),
		TEST_REUSED(another_mount_makes_another_tag),
		TEST(what_is_mounted_again_is_another_mount),
		TEST_REUSED(what_is_mounted_again_is_another_mount),
		TEST_REUSED(an_id_that_has_gone_stands_for_another_mount),
		TEST_REUSED(a_mount_not_told_of_is_another_after_each_change),
		TEST(ids_that_are_unique_need_no_counting),
		TEST(room_is_as_much_as_fits),
		TEST(what_is_put_in_is_there),
		TEST(half_a_tag_is_none),
		TEST(a_tag_says_whether_only_root_writes),
		TEST(what_others_may_write_has_another_tag_after_each_close),
		TEST(another_process_has_other_tags_of_what_others_may_write),
		TEST(the_least_recently_used_falls_out),
		TEST(none_is_there_twice),
		TEST(what_is_taken_out_is_gone),
		TEST(zero_is_no_tag),
		TEST(others_ask_while_the_loop_changes_it),
	};

	return cmocka_run_group_tests_name("verdicts", tests, scratch_setup, scratch_teardown);
}
