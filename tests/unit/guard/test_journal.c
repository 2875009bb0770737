/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/guard/journal.h"
#include "../support/mount_fixture.h"
#include "../support/scratch.h"
#include "make_verdicts.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

/* Room for many, and for four. */
#define BIG   (1 << 20)
#define SMALL 64

/* In bytes: the header, and that with a number of tags. */
#define HEADER_SIZE	64
#define FILE_SIZE_OF(n) (HEADER_SIZE + (n)*VERDICTS_TAG_SIZE)
#define BOOT_ID_LENGTH	36
#define SOME_OTHER_BOOT "00000000-0000-0000-0000-000000000000"
#define NOT_ROOT	12345

/* Each test begins with an empty directory "state" and a table. */
static int directory = -1;
static char problem[256];

static int setup(void **state)
{
	*state = make_verdicts(BIG, true);
	if (!*state || mkdir("state", 0700) < 0)
		return -1;
	directory = open("state", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*problem = '\0';
	return directory < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	verdicts_free(*state);
	close(directory);
	/* of tests with a disk of their own */
	(void)umount2("state", MNT_DETACH);
	return nftw("state", scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct journal *open_journal(struct verdicts *verdicts)
{
	struct journal *journal =
		journal_open(directory, verdicts, false, problem, sizeof(problem));

	if (!journal)
		fail_msg("%s", problem);
	return journal;
}

static struct verdict_tag number(uint64_t n)
{
	return (struct verdict_tag){{n, ~n | 1}};
}

static bool has(const struct verdicts *verdicts, uint64_t n)
{
	struct verdict_tag tag = number(n);

	return verdicts_has(verdicts, &tag);
}

/* As the loop does. */
static void add(struct verdicts *verdicts, struct journal *journal, uint64_t n)
{
	struct verdict_tag tag = number(n);

	verdicts_add(verdicts, &tag);
	journal_add(journal, &tag);
}

static off_t file_size(void)
{
	struct stat status;

	assert_int_equal(stat("state/verdicts", &status), 0);
	return status.st_size;
}

/* A file of this boot with the tags from 1 to n. Returns its key. */
static void make_file(uint64_t n, unsigned char *ret_key)
{
	struct verdicts *verdicts = make_verdicts(BIG, true);
	struct journal *journal = open_journal(verdicts);

	for (uint64_t i = 1; i <= n; i++)
		add(verdicts, journal, i);
	assert_int_equal(journal_write(journal), 0);
	assert_int_equal(file_size(), FILE_SIZE_OF((off_t)n));
	verdicts_key(verdicts, ret_key);
	journal_free(journal);
	verdicts_free(verdicts);
}

static bool has_key(const struct verdicts *verdicts, const unsigned char *expected)
{
	unsigned char key[VERDICTS_KEY_SIZE];

	verdicts_key(verdicts, key);
	return memcmp(key, expected, sizeof(key)) == 0;
}

/* The next guard: what it finds are these numbers. */
static void assert_found(uint64_t first, uint64_t last)
{
	struct verdicts *verdicts = make_verdicts(BIG, true);
	struct journal *journal = open_journal(verdicts);

	for (uint64_t n = first; n <= last; n++)
		if (!has(verdicts, n))
			fail_msg("%llu is lost", (unsigned long long)n);
	assert_int_equal(verdicts_count(verdicts), last + 1 - first);
	journal_free(journal);
	verdicts_free(verdicts);
}

/* --- what is found again --- */

/* Nor when the file is written anew from the table. */
static void tags_of_what_others_may_write_are_not_kept(void **state)
{
	const struct verdict_tag of_others = {{1, 2}};
	struct journal *journal = open_journal(*state);

	verdicts_add(*state, &of_others);
	journal_add(journal, &of_others);
	assert_int_equal(journal_write(journal), 0);
	assert_int_equal(file_size(), FILE_SIZE_OF(0));
	add(*state, journal, 7);
	journal_forget(journal);
	assert_int_equal(journal_write(journal), 0);
	assert_int_equal(file_size(), FILE_SIZE_OF(1));
	journal_free(journal);
	assert_found(7, 7);
}

static void what_was_written_is_found_again(void **state)
{
	struct verdicts *next = make_verdicts(BIG, true);
	struct journal *journal = open_journal(*state);
	struct verdict_tag tag, again;
	struct stat status;

	scratch_write("file", "", 0);
	if (verdicts_tag(*state, AT_FDCWD, "file", 1, &tag, NULL, NULL) == -EOPNOTSUPP) {
		print_message("skipped: this kernel has no unique mount ids\n");
		skip();
	}
	verdicts_add(*state, &tag);
	journal_add(journal, &tag);
	assert_int_equal(journal_write(journal), 0);
	assert_int_equal(journal_write(journal), 0);
	assert_int_equal(file_size(), FILE_SIZE_OF(1));
	journal_free(journal);

	journal = open_journal(next);
	assert_int_equal(verdicts_count(next), 1);
	/* the same file is the same tag */
	assert_int_equal(verdicts_tag(next, AT_FDCWD, "file", 1, &again, NULL, NULL), 0);
	assert_memory_equal(&tag, &again, sizeof(tag));
	assert_true(verdicts_has(next, &again));
	assert_int_equal(stat("state/verdicts", &status), 0);
	assert_int_equal(status.st_mode, S_IFREG | 0600);
	journal_free(journal);
	verdicts_free(next);
}

static void what_was_taken_out_is_not_found_again(void **state)
{
	struct verdicts *next = make_verdicts(BIG, true);
	const struct verdict_tag stays = number(1), goes = number(3);
	struct journal *journal = open_journal(*state);

	verdicts_add(*state, &stays);
	journal_add(journal, &stays);
	verdicts_add(*state, &goes);
	journal_add(journal, &goes);
	assert_int_equal(journal_write(journal), 0);
	verdicts_remove(*state, &goes);
	journal_forget(journal);
	assert_int_equal(journal_write(journal), 0);
	journal_forget(NULL);
	journal_free(journal);

	journal = open_journal(next);
	assert_true(verdicts_has(next, &stays));
	assert_false(verdicts_has(next, &goes));
	journal_free(journal);
	verdicts_free(next);
}

static void guards_add_to_what_others_wrote(void **state)
{
	for (uint64_t guard = 0; guard < 3; guard++) {
		struct verdicts *verdicts = make_verdicts(BIG, true);
		struct journal *journal = open_journal(verdicts);

		for (uint64_t n = 1; n <= 1000; n++)
			add(verdicts, journal, guard * 1000 + n);
		assert_int_equal(journal_write(journal), 0);
		journal_free(journal);
		verdicts_free(verdicts);
	}
	assert_int_equal(file_size(), FILE_SIZE_OF(3000));
	assert_found(1, 3000);
}

/* The table has outlived the guard before, and knows more than the file. */
static void what_is_known_already_is_not_read(void **state)
{
	unsigned char old_key[VERDICTS_KEY_SIZE], key[VERDICTS_KEY_SIZE];
	struct journal *journal;
	unsigned fds;

	make_file(3, old_key);
	verdicts_key(*state, key);
	fds = unit_count_fds();
	journal = journal_open(directory, *state, true, problem, sizeof(problem));
	assert_non_null(journal);
	assert_int_equal(unit_count_fds(), fds + 1); /* the directory */
	assert_int_equal(verdicts_count(*state), 0);
	assert_true(has_key(*state, key));
	assert_int_equal(file_size(), FILE_SIZE_OF(3));
	add(*state, journal, 7);
	assert_int_equal(file_size(), FILE_SIZE_OF(3));

	/* The file is made the table's. */
	assert_int_equal(journal_write(journal), 0);
	assert_int_equal(unit_count_fds(), fds + 2);
	assert_found(7, 7);
	/* and from here on only added to */
	add(*state, journal, 8);
	assert_int_equal(journal_write(journal), 0);
	assert_int_equal(file_size(), FILE_SIZE_OF(2));
	assert_found(7, 8);
	journal_free(journal);
	assert_int_equal(unit_count_fds(), fds);
}

/* Even where nothing was added to it since: the one before may have been killed with tags on their
 * way. */
static void what_is_known_already_is_written_whether_or_not_there_is_more(void **state)
{
	struct verdict_tag tag = number(5);
	struct journal *journal;

	verdicts_add(*state, &tag);
	journal = journal_open(directory, *state, true, problem, sizeof(problem));
	assert_non_null(journal);
	assert_int_equal(journal_write(journal), 0);
	assert_found(5, 5);
	journal_free(journal);
}

static void a_directory_that_others_can_change_is_refused_then_too(void **state)
{
	assert_int_equal(fchmod(directory, 0777), 0);
	assert_null(journal_open(directory, *state, true, problem, sizeof(problem)));
	assert_non_null(strstr(problem, "is open to others"));
}

static void what_was_not_written_is_not_found(void **state)
{
	struct journal *journal = open_journal(*state);

	add(*state, journal, 1);
	assert_int_equal(journal_write(journal), 0);
	add(*state, journal, 2);
	assert_null(journal_free(journal));
	assert_found(1, 1);
}

static void a_journal_keeps_its_directory(void **state)
{
	unsigned fds = unit_count_fds();
	struct journal *journal = open_journal(*state);

	assert_int_equal(unit_count_fds(), fds + 2);
	journal_free(journal);
	assert_int_equal(unit_count_fds(), fds);
	assert_null(journal_free(NULL));
	journal_add(NULL, &(struct verdict_tag){{1, 1}});
}

/* Says in the pipe how far it has come. */
static void write_until_killed(struct verdicts *verdicts, int out)
{
	struct journal *journal = open_journal(verdicts);

	for (uint64_t n = 1; n < 40000; n++) {
		add(verdicts, journal, n);
		if (n % 3 == 0 &&
		    (journal_write(journal) < 0 || write(out, &n, sizeof(n)) != sizeof(n)))
			_exit(1);
	}
	(void)pause();
	_exit(1);
}

static void what_was_written_outlives_a_kill(void **state)
{
	struct verdicts *next = make_verdicts(BIG, true);
	struct journal *journal;
	uint64_t n, last = 0;
	int out[2], status;
	pid_t child;

	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		write_until_killed(*state, out[1]);
	close(out[1]);
	while (last < 3000 && read(out[0], &n, sizeof(n)) == sizeof(n))
		last = n;
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	while (read(out[0], &n, sizeof(n)) == sizeof(n))
		last = n;
	assert_true(last >= 3000);
	close(out[0]);

	journal = open_journal(next);
	for (n = 1; n <= last; n++)
		assert_true(has(next, n));
	assert_true(verdicts_count(next) - last <= 3);
	journal_free(journal);
	verdicts_free(next);
}

/* --- what does not count --- */

/* The file is begun anew by a table of its own key, and works. */
static void assert_begun_anew(const char *what, const unsigned char *old_key)
{
	struct verdicts *verdicts = make_verdicts(BIG, true);
	struct journal *journal = open_journal(verdicts);

	if (verdicts_count(verdicts) != 0 || file_size() != HEADER_SIZE)
		fail_msg("%s: %zu tags, %lld bytes", what, verdicts_count(verdicts),
			 (long long)file_size());
	assert_false(has_key(verdicts, old_key));
	add(verdicts, journal, 77);
	assert_int_equal(journal_write(journal), 0);
	journal_free(journal);
	verdicts_free(verdicts);
	assert_found(77, 77);
}

static size_t read_file(char *buffer, size_t size)
{
	FILE *file = fopen("state/verdicts", "re");
	size_t n;

	assert_non_null(file);
	n = fread(buffer, 1, size, file);
	(void)fclose(file);
	return n;
}

static void a_file_of_another_boot_is_begun_anew(void **state)
{
	char boot[BOOT_ID_LENGTH], content[FILE_SIZE_OF(3)], *found;
	unsigned char key[VERDICTS_KEY_SIZE];
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

	assert_non_null(file);
	assert_int_equal(fread(boot, 1, sizeof(boot), file), sizeof(boot));
	(void)fclose(file);
	for (size_t changed = 0; changed < BOOT_ID_LENGTH; changed += 7) {
		(void)unlink("state/verdicts");
		make_file(3, key);
		assert_int_equal(read_file(content, sizeof(content)), sizeof(content));
		found = memmem(content, sizeof(content), boot, sizeof(boot));
		assert_non_null(found);
		found[changed] ^= 1;
		scratch_write("state/verdicts", content, sizeof(content));
		assert_int_equal(chmod("state/verdicts", 0600), 0);
		assert_begun_anew("another boot", key);
	}
}

static void a_damaged_header_is_begun_anew(void **state)
{
	unsigned char key[VERDICTS_KEY_SIZE];
	char content[FILE_SIZE_OF(3)];

	/* the key is what it is */
	for (size_t i = 0; i < HEADER_SIZE - VERDICTS_KEY_SIZE; i++) {
		(void)unlink("state/verdicts");
		make_file(3, key);
		assert_int_equal(read_file(content, sizeof(content)), sizeof(content));
		content[i] ^= 1;
		scratch_write("state/verdicts", content, sizeof(content));
		assert_int_equal(chmod("state/verdicts", 0600), 0);
		assert_begun_anew("header", key);
	}
}

static void garbage_is_begun_anew(void **state)
{
	static char garbage[100000];
	unsigned char key[VERDICTS_KEY_SIZE] = {0};
	uint32_t random = 1;

	for (size_t i = 0; i < sizeof(garbage); i++)
		garbage[i] = (char)unit_random(&random);
	for (size_t size = 0; size <= sizeof(garbage); size += size < 100 ? 1 : 33300) {
		scratch_write("state/verdicts", garbage, size);
		assert_int_equal(chmod("state/verdicts", 0600), 0);
		assert_begun_anew("garbage", key);
		scratch_write("state/verdicts", memset(garbage, 0, size), size);
		assert_int_equal(chmod("state/verdicts", 0600), 0);
		assert_begun_anew("zeros", key);
	}
}

static void half_a_header_is_begun_anew(void **state)
{
	unsigned char key[VERDICTS_KEY_SIZE];

	for (off_t size = 0; size < HEADER_SIZE; size++) {
		(void)unlink("state/verdicts");
		make_file(3, key);
		assert_int_equal(truncate("state/verdicts", size), 0);
		assert_begun_anew("half a header", key);
	}
}

static void half_a_tag_is_cut_off(void **state)
{
	unsigned char key[VERDICTS_KEY_SIZE];

	for (off_t torn = 1; torn < VERDICTS_TAG_SIZE; torn++) {
		struct verdicts *verdicts = make_verdicts(BIG, true);
		struct journal *journal;

		(void)unlink("state/verdicts");
		make_file(5, key);
		assert_int_equal(truncate("state/verdicts", FILE_SIZE_OF(3) + torn), 0);
		journal = open_journal(verdicts);
		assert_true(has_key(verdicts, key));
		assert_int_equal(verdicts_count(verdicts), 3);
		/* what follows is whole again */
		add(verdicts, journal, 4);
		assert_int_equal(journal_write(journal), 0);
		assert_int_equal(file_size(), FILE_SIZE_OF(4));
		journal_free(journal);
		verdicts_free(verdicts);
		assert_found(1, 4);
	}
}

static void zeros_in_the_file_are_no_tags(void **state)
{
	unsigned char key[VERDICTS_KEY_SIZE];

	make_file(3, key);
	assert_int_equal(truncate("state/verdicts", FILE_SIZE_OF(1000)), 0);
	assert_found(1, 3);
}

/* Of a file that is too large for the table, only the end is read. */
static void a_huge_file_is_not_read(void **state)
{
	struct verdicts *verdicts = make_verdicts(SMALL, true);
	unsigned char key[VERDICTS_KEY_SIZE];
	struct journal *journal;

	make_file(3, key);
	assert_int_equal(truncate("state/verdicts", (off_t)1 << 40), 0);
	journal = open_journal(verdicts);
	assert_true(has_key(verdicts, key));
	assert_int_equal(verdicts_count(verdicts), 0);
	add(verdicts, journal, 9);
	assert_int_equal(journal_write(journal), 0);
	assert_int_equal(file_size(), FILE_SIZE_OF(1));
	journal_free(journal);
	verdicts_free(verdicts);

	/* the key stays when the file is written anew */
	verdicts = make_verdicts(SMALL, true);
	journal = open_journal(verdicts);
	assert_true(has(verdicts, 9));
	assert_true(has_key(verdicts, key));
	journal_free(journal);
	verdicts_free(verdicts);
}

static void the_last_that_were_written_count_most(void **state)
{
	struct verdicts *verdicts = make_verdicts(SMALL, true);
	unsigned char key[VERDICTS_KEY_SIZE];
	struct journal *journal;

	make_file(1000, key);
	journal = open_journal(verdicts);
	assert_int_equal(verdicts_count(verdicts), 4);
	for (uint64_t n = 997; n <= 1000; n++)
		assert_true(has(verdicts, n));
	/* in their order */
	add(verdicts, journal, 1001);
	assert_false(has(verdicts, 997));
	journal_free(journal);
	verdicts_free(verdicts);
}

/* --- growing --- */

/* The table of another guard is as this one. */
static void assert_alike(const struct verdicts *verdicts)
{
	struct verdicts *next = make_verdicts(SMALL, true);
	struct journal *journal = open_journal(next);

	for (size_t place = 0; place < verdicts_capacity(verdicts); place++) {
		struct verdict_tag here, there;

		assert_int_equal(verdicts_at(verdicts, place, &here),
				 verdicts_at(next, place, &there));
		assert_memory_equal(&here, &there, sizeof(here));
	}
	journal_free(journal);
	verdicts_free(next);
}

static void a_file_that_has_grown_is_written_anew(void **state)
{
	struct verdicts *verdicts = make_verdicts(SMALL, true);
	struct journal *journal = open_journal(verdicts);
	unsigned n_smaller = 0;
	off_t before = 0;
	unsigned fds = unit_count_fds();

	for (uint64_t n = 1; n <= 100; n++) {
		add(verdicts, journal, n);
		assert_int_equal(journal_write(journal), 0);
		n_smaller += file_size() < before;
		before = file_size();
		assert_true(before <= FILE_SIZE_OF(8));
		assert_alike(verdicts);
	}
	/* not each time */
	assert_in_range(n_smaller, 18, 25);
	assert_int_equal(unit_count_fds(), fds);
	assert_int_equal(access("state/verdicts.new", F_OK), -1);
	journal_free(journal);
	verdicts_free(verdicts);
}

static void a_table_larger_than_a_chunk_is_written_anew(void **state)
{
	struct verdicts *verdicts = make_verdicts(1000 * SMALL, true); /* 2048 tags */
	struct journal *journal = open_journal(verdicts), *again;
	struct verdicts *next = make_verdicts(1000 * SMALL, true);
	struct verdict_tag tag;
	size_t n_tags = 0;

	for (uint64_t n = 1; n <= 4100; n++) {
		add(verdicts, journal, n);
		if (n % 100 == 0)
			assert_int_equal(journal_write(journal), 0);
	}
	assert_int_equal(file_size(), FILE_SIZE_OF((off_t)verdicts_count(verdicts)));
	again = open_journal(next);
	for (size_t place = 0; place < verdicts_capacity(verdicts); place++)
		if (verdicts_at(verdicts, place, &tag)) {
			assert_true(verdicts_has(next, &tag));
			n_tags++;
		}
	assert_int_equal(n_tags, verdicts_count(next));
	assert_true(n_tags > 1000);
	journal_free(again);
	verdicts_free(next);
	journal_free(journal);
	verdicts_free(verdicts);
}

static void a_ring_that_is_full_takes_no_more(void **state)
{
	struct journal *journal = open_journal(*state);
	uint64_t n = 1;

	/* so that it does not begin at its beginning */
	for (; n <= 100; n++)
		add(*state, journal, n);
	assert_int_equal(journal_write(journal), 0);
	for (; n <= 100 + JOURNAL_RING; n++)
		add(*state, journal, n);
	for (uint64_t lost = 1; lost <= 10; lost++)
		add(*state, journal, 1000000 + lost);
	assert_int_equal(journal_write(journal), 0);
	assert_int_equal(file_size(), FILE_SIZE_OF(100 + JOURNAL_RING));
	for (; n <= 2000 + JOURNAL_RING; n++)
		add(*state, journal, n);
	assert_int_equal(journal_write(journal), 0);
	journal_free(journal);
	assert_found(1, 2000 + JOURNAL_RING);
}

/* --- a disk that is full --- */

/* The state is on a filesystem of four pages. */
static void small_disk_or_skip(void)
{
	char options[64];

	(void)snprintf(options, sizeof(options), "mode=0700,size=%ld", 4 * sysconf(_SC_PAGESIZE));
	if (!mount_fixture_unshare() || mount("tmpfs", "state", "tmpfs", 0, options) < 0) {
		print_message("skipped: nothing can be mounted\n");
		skip();
	}
	close(directory);
	directory = open("state", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(directory >= 0);
}

static void a_full_disk_is_told_and_survived(void **state)
{
	const off_t size = 4 * sysconf(_SC_PAGESIZE);
	struct journal *journal;
	uint64_t n;

	small_disk_or_skip();
	journal = open_journal(*state);
	for (n = 1; n <= 1000; n++)
		add(*state, journal, n);
	assert_int_equal(journal_write(journal), 0);
	/* part of it fits */
	for (; n <= 2000; n++)
		add(*state, journal, n);
	assert_int_equal(journal_write(journal), -ENOSPC);
	assert_int_equal(file_size(), size);
	/* room again, but what would be written now would not be where tags are */
	assert_int_equal(mount(NULL, "state", NULL, MS_REMOUNT, "size=1m"), 0);
	assert_int_equal(journal_write(journal), -ENOSPC);
	add(*state, journal, 5000);
	assert_int_equal(journal_write(journal), -ENOSPC);
	assert_int_equal(file_size(), size);
	journal_free(journal);
	assert_found(1, (uint64_t)(size - HEADER_SIZE) / VERDICTS_TAG_SIZE);
}

static void fill_disk(void)
{
	static const char page[4096];
	FILE *file = fopen("state/filler", "we");

	assert_non_null(file);
	while (fwrite(page, 1, sizeof(page), file) == sizeof(page) && fflush(file) == 0)
		;
	(void)fclose(file);
}

static void when_there_is_room_again_the_file_is_written_anew(void **state)
{
	struct verdicts *verdicts = make_verdicts(SMALL, true);
	struct journal *journal;
	int r = 0;

	small_disk_or_skip();
	journal = open_journal(verdicts);
	for (uint64_t n = 1; n <= 8; n++) {
		add(verdicts, journal, n);
		assert_int_equal(journal_write(journal), 0);
	}
	fill_disk();
	add(verdicts, journal, 9);
	assert_int_equal(journal_write(journal), -ENOSPC);
	/* the old file is still there, alone */
	assert_int_equal(file_size(), FILE_SIZE_OF(8));
	assert_int_equal(access("state/verdicts.new", F_OK), -1);
	assert_int_equal(unlink("state/filler"), 0);
	for (uint64_t n = 10; n <= 30; n++) {
		add(verdicts, journal, n);
		r = journal_write(journal);
		assert_true(r == 0 || r == -ENOSPC);
	}
	assert_int_equal(r, 0);
	assert_alike(verdicts);
	journal_free(journal);
	verdicts_free(verdicts);
}

static void without_room_to_begin_there_is_no_journal(void **state)
{
	unsigned fds;

	small_disk_or_skip();
	/* short by a header, at the last write */
	for (uint64_t n = 1; n <= 4 * (uint64_t)sysconf(_SC_PAGESIZE) / VERDICTS_TAG_SIZE; n++)
		add(*state, NULL, n);
	assert_null(journal_open(directory, *state, false, problem, sizeof(problem)));
	assert_non_null(strstr(problem, strerror(ENOSPC)));
	assert_int_equal(access("state/verdicts", F_OK), -1);
	fill_disk();
	fds = unit_count_fds();
	assert_null(journal_open(directory, *state, false, problem, sizeof(problem)));
	assert_non_null(strstr(problem, "cannot be written"));
	assert_non_null(strstr(problem, strerror(ENOSPC)));
	assert_int_equal(unit_count_fds(), fds);
	assert_int_equal(access("state/verdicts", F_OK), -1);
}

/* --- what is refused --- */

static void assert_refused(struct verdicts *verdicts, const char *why)
{
	unsigned fds = unit_count_fds();

	*problem = '\0';
	if (journal_open(directory, verdicts, false, problem, sizeof(problem)))
		fail_msg("not refused: %s", why);
	if (!strstr(problem, why))
		fail_msg("%s, not %s", problem, why);
	assert_int_equal(verdicts_count(verdicts), 0);
	assert_int_equal(unit_count_fds(), fds);
}

static void a_directory_that_others_can_change_is_refused(void **state)
{
	static const mode_t modes[] = {0720, 0702, 0777, 01777};
	unsigned char key[VERDICTS_KEY_SIZE];

	make_file(3, key);
	for (size_t i = 0; i < N_ELEMENTS(modes); i++) {
		assert_int_equal(chmod("state", modes[i]), 0);
		assert_refused(*state, "the directory is open to others");
	}
	assert_int_equal(chmod("state", 0755), 0);
	if (chown("state", NOT_ROOT, -1) == 0) {
		assert_refused(*state, "the directory belongs to user 12345");
		assert_int_equal(chown("state", geteuid(), -1), 0);
	}
	assert_found(1, 3);
}

static void a_file_that_others_can_use_is_refused(void **state)
{
	static const mode_t modes[] = {0620, 0602, 0640, 0604, 0666};
	unsigned char key[VERDICTS_KEY_SIZE];

	make_file(3, key);
	for (size_t i = 0; i < N_ELEMENTS(modes); i++) {
		assert_int_equal(chmod("state/verdicts", modes[i]), 0);
		assert_refused(*state, "verdicts is open to others");
	}
	assert_int_equal(chmod("state/verdicts", 0600), 0);
	if (chown("state/verdicts", NOT_ROOT, -1) == 0) {
		assert_refused(*state, "verdicts belongs to user 12345");
		assert_int_equal(chown("state/verdicts", geteuid(), -1), 0);
	}
	assert_found(1, 3);
}

static void what_is_not_a_file_is_refused(void **state)
{
	unsigned char key[VERDICTS_KEY_SIZE];

	/* what it leads to would be good */
	make_file(3, key);
	assert_int_equal(rename("state/verdicts", "state/elsewhere"), 0);
	assert_int_equal(symlink("elsewhere", "state/verdicts"), 0);
	assert_refused(*state, strerror(ELOOP));
	assert_int_equal(unlink("state/verdicts"), 0);
	assert_int_equal(mkfifo("state/verdicts", 0600), 0);
	assert_refused(*state, "not a regular file");
	assert_int_equal(unlink("state/verdicts"), 0);
	assert_int_equal(mkdir("state/verdicts", 0700), 0);
	assert_refused(*state, strerror(EISDIR));
}

static void what_is_not_a_directory_is_refused(void **state)
{
	int was = directory;

	scratch_write("file", "", 0);
	directory = -1;
	assert_refused(*state, strerror(EBADF));
	directory = open("file", O_RDONLY | O_CLOEXEC);
	assert_refused(*state, "not a directory");
	close(directory);
	directory = was;
}

static void a_directory_that_has_gone_is_refused(void **state)
{
	assert_int_equal(rmdir("state"), 0);
	assert_refused(*state, strerror(ENOENT));
	assert_int_equal(mkdir("state", 0700), 0);
}

/* Which mounts have gone between two guards nobody knows. */
static void without_unique_mount_ids_there_is_no_journal(void **state)
{
	struct verdicts *verdicts = make_verdicts(SMALL, false);
	unsigned char key[VERDICTS_KEY_SIZE];

	make_file(3, key);
	assert_refused(verdicts, "no unique mount ids");
	verdicts_free(verdicts);
}

static void a_new_file_that_was_left_is_in_nobodys_way(void **state)
{
	struct journal *journal;

	scratch_write("state/verdicts.new", "left", 4);
	journal = open_journal(*state);
	assert_int_equal(access("state/verdicts.new", F_OK), -1);
	journal_free(journal);
	assert_int_equal(unlink("state/verdicts"), 0);

	scratch_write("target", "mine", 4);
	assert_int_equal(symlink("../target", "state/verdicts.new"), 0);
	journal = open_journal(*state);
	add(*state, journal, 1);
	assert_int_equal(journal_write(journal), 0);
	journal_free(journal);
	assert_found(1, 1);
	assert_int_equal(truncate("target", 4), 0);
	assert_int_equal(access("state/verdicts.new", F_OK), -1);
}

/* --- two threads --- */

static atomic_bool done;

static void *write_all_the_time(void *argument)
{
	while (!done)
		if (journal_write(argument) < 0)
			return argument;
	return NULL;
}

#define TAGS_IN_THREADS 50000

/* The file is written anew many times while the table changes. */
static void the_loop_goes_on_while_it_is_written(void **state)
{
	struct verdicts *verdicts = make_verdicts(1000 * SMALL, true); /* 2048 tags */
	struct verdicts *next = make_verdicts(BIG, true);
	struct journal *journal = open_journal(verdicts);
	struct verdict_tag tag;
	size_t n_whole = 0;
	pthread_t thread;
	void *failed;

	done = false;
	assert_int_equal(pthread_create(&thread, NULL, write_all_the_time, journal), 0);
	for (uint64_t n = 1; n <= TAGS_IN_THREADS; n++)
		add(verdicts, journal, n);
	done = true;
	assert_int_equal(pthread_join(thread, &failed), 0);
	assert_null(failed);
	/* the ring may be full */
	assert_int_equal(journal_write(journal), 0);
	add(verdicts, journal, TAGS_IN_THREADS + 1);
	assert_int_equal(journal_write(journal), 0);
	journal_free(journal);

	journal = open_journal(next);
	assert_true(has(next, TAGS_IN_THREADS + 1));
	assert_true(file_size() <= FILE_SIZE_OF(2 * 2048));
	/* some may be torn, but only some */
	for (size_t place = 0; place < verdicts_capacity(next); place++)
		n_whole += verdicts_at(next, place, &tag) && tag.half[1] == (~tag.half[0] | 1);
	assert_true(n_whole > verdicts_count(next) / 2);
	journal_free(journal);
	verdicts_free(next);
	verdicts_free(verdicts);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_was_written_is_found_again),
		TEST(what_was_taken_out_is_not_found_again),
		TEST(guards_add_to_what_others_wrote),
		TEST(what_is_known_already_is_not_read),
		TEST(what_is_known_already_is_written_whether_or_not_there_is_more),
		TEST(a_directory_that_others_can_change_is_refused_then_too),
		TEST(what_was_not_written_is_not_found),
		TEST(a_journal_keeps_its_directory),
		TEST(what_was_written_outlives_a_kill),
		TEST(a_file_of_another_boot_is_begun_anew),
		TEST(a_damaged_header_is_begun_anew),
		TEST(garbage_is_begun_anew),
		TEST(tags_of_what_others_may_write_are_not_kept),
		TEST(half_a_header_is_begun_anew),
		TEST(half_a_tag_is_cut_off),
		TEST(zeros_in_the_file_are_no_tags),
		TEST(a_huge_file_is_not_read),
		TEST(the_last_that_were_written_count_most),
		TEST(a_file_that_has_grown_is_written_anew),
		TEST(a_table_larger_than_a_chunk_is_written_anew),
		TEST(a_ring_that_is_full_takes_no_more),
		TEST(a_full_disk_is_told_and_survived),
		TEST(when_there_is_room_again_the_file_is_written_anew),
		TEST(without_room_to_begin_there_is_no_journal),
		TEST(a_directory_that_others_can_change_is_refused),
		TEST(a_file_that_others_can_use_is_refused),
		TEST(what_is_not_a_file_is_refused),
		TEST(what_is_not_a_directory_is_refused),
		TEST(a_directory_that_has_gone_is_refused),
		TEST(without_unique_mount_ids_there_is_no_journal),
		TEST(a_new_file_that_was_left_is_in_nobodys_way),
		TEST(the_loop_goes_on_while_it_is_written),
	};

	return cmocka_run_group_tests_name("journal", tests, scratch_setup, scratch_teardown);
}
