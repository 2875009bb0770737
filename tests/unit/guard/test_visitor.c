/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/guard/visitor.h"
#include "../support/scratch.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Long enough for others to get ahead, if nothing keeps them. */
#define SLOW_US 100000

/* Longer than the thread ever takes; nothing waits so long when all is well. */
#define PATIENCE_MS 10000

/* More descriptors than there is room for on their way there and back. */
#define DESCRIPTORS_MAX 8192

/* Some filesystems do not say in a list what is a file: then each must be opened to be told. */
static bool types_unknown;

/* Some take long. */
static atomic_bool slow, reading;

struct dirent *__wrap_readdir64(DIR *stream);
struct dirent *__real_readdir64(DIR *stream);

struct dirent *__wrap_readdir64(DIR *stream)
{
	struct dirent *entry;

	if (slow) {
		reading = true;
		(void)usleep(SLOW_US);
	}
	entry = __real_readdir64(stream);
	reading = false;
	if (entry && types_unknown)
		entry->d_type = DT_UNKNOWN;
	return entry;
}

static int group_setup(void **state)
{
	struct rlimit limit;

	/* As in the guard: the thread writes to a pipe that nobody reads any more. */
	(void)signal(SIGPIPE, SIG_IGN);
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -1;
	limit.rlim_cur = limit.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &limit) < 0 ? -1 : scratch_setup(state);
}

static int setup(void **state)
{
	static struct visitor visitor;

	*state = &visitor;
	return visitor_init(&visitor) < 0 || mkdir("directory", 0755) < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	visitor_deinit(*state);
	return nftw("directory", scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Of a directory. */
static int next(struct visitor *visitor)
{
	uint32_t ticket;
	int fd = visitor_next(visitor, &ticket);

	assert_int_equal(ticket, 0);
	return fd;
}

static void visit(struct visitor *visitor, const char *name)
{
	int directory = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(directory >= 0);
	assert_int_equal(visitor_visit(visitor, directory), 0);
	/* it is the visitor's no more */
	assert_int_equal(close(directory), 0);
}

/* Waits for a file. Returns its descriptor. */
static int next_file(struct visitor *visitor)
{
	struct pollfd poll_fd = {.fd = visitor_fd(visitor), .events = POLLIN};
	int fd;

	if (poll(&poll_fd, 1, PATIENCE_MS) != 1)
		fail_msg("no file comes");
	fd = next(visitor);
	assert_true(fd >= 0);
	return fd;
}

/* Waits for a file of the scratch directory, and closes it. */
static void next_name(struct visitor *visitor, char *name, size_t size)
{
	char link[64], path[PATH_MAX];
	int fd = next_file(visitor);
	ssize_t length;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof(path) - 1);
	assert_true(length > (ssize_t)strlen(scratch));
	path[length] = '\0';
	(void)snprintf(name, size, "%s", path + strlen(scratch) + 1);
	close(fd);
}

/* The one that was visited last is through when this comes. */
static void assert_nothing_more(struct visitor *visitor)
{
	char name[PATH_MAX];

	assert_int_equal(mkdir("directory/last", 0755), 0);
	scratch_write("directory/last/file", "", 0);
	visit(visitor, "directory/last");
	next_name(visitor, name, sizeof(name));
	assert_string_equal(name, "directory/last/file");
	assert_int_equal(next(visitor), -EAGAIN);
}

static void each_file_of_a_directory_is_handed_over(void **state)
{
	bool seen[100] = {false};
	char name[PATH_MAX];
	unsigned i;

	for (i = 0; i < N_ELEMENTS(seen); i++) {
		(void)snprintf(name, sizeof(name), "directory/%u", i);
		scratch_write(name, name, strlen(name));
	}
	visit(*state, "directory");
	for (size_t n = 0; n < N_ELEMENTS(seen); n++) {
		next_name(*state, name, sizeof(name));
		assert_int_equal(sscanf(name, "directory/%u", &i), 1);
		assert_true(i < N_ELEMENTS(seen));
		assert_false(seen[i]);
		seen[i] = true;
	}
	assert_nothing_more(*state);
}

static void only_files_directly_in_it_are(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "directory/socket"};
	int bound = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char name[PATH_MAX];

	/* nobody writes to the FIFO: who just opens it waits */
	assert_int_equal(mkfifo("directory/fifo", 0600), 0);
	assert_int_equal(bind(bound, (const struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(mkdir("directory/below", 0755), 0);
	scratch_write("directory/below/file", "", 0);
	scratch_write("outside", "", 0);
	assert_int_equal(symlink("../outside", "directory/link"), 0);
	assert_int_equal(symlink("below", "directory/link-below"), 0);
	assert_int_equal(link("outside", "directory/hard"), 0);
	scratch_write("directory/.hidden", "", 0);
	visit(*state, "directory");
	for (unsigned i = 0; i < 2; i++) {
		next_name(*state, name, sizeof(name));
		if (strcmp(name, "directory/hard") != 0)
			assert_string_equal(name, "directory/.hidden");
	}
	assert_nothing_more(*state);
	close(bound);
	assert_int_equal(unlink("outside"), 0);
}

static void only_they_are_even_if_the_filesystem_does_not_tell_which(void **state)
{
	unsigned fds = unit_count_fds();

	types_unknown = true;
	only_files_directly_in_it_are(state);
	types_unknown = false;
	/* the one visited last may still be */
	assert_in_range(unit_count_fds(), fds, fds + 1);
}

static void what_is_handed_over_can_be_read_and_no_more(void **state)
{
	char content[8] = "";
	int fd;

	scratch_write("directory/file", "content", 7);
	visit(*state, "directory");
	fd = next_file(*state);
	assert_int_equal(read(fd, content, sizeof(content)), 7);
	assert_string_equal(content, "content");
	assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
}

static void one_file_is_opened_by_its_handle(void **state)
{
	int root = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd;
	struct visitor *visitor = *state;
	struct pollfd poll_fd = {.fd = visitor_fd(visitor), .events = POLLIN};
	struct handle handle;
	char content[8] = "";
	uint32_t ticket;

	if (geteuid() != 0) {
		print_message("skipped: only root may open by handle\n");
		skip();
	}
	scratch_write("directory/file", "content", 7);
	assert_int_equal(handle_at(root, "directory/file", &handle), 0);
	assert_int_equal(visitor_open(visitor, root, &handle, 7), 0);
	assert_int_equal(poll(&poll_fd, 1, PATIENCE_MS), 1);
	fd = visitor_next(visitor, &ticket);
	assert_int_equal(ticket, 7);
	assert_int_equal(read(fd, content, sizeof(content)), 7);
	assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);

	/* One that is gone is told of, too. */
	assert_int_equal(unlink("directory/file"), 0);
	root = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(visitor_open(visitor, root, &handle, 8), 0);
	assert_int_equal(poll(&poll_fd, 1, PATIENCE_MS), 1);
	assert_int_equal(visitor_next(visitor, &ticket), -ESTALE);
	assert_int_equal(ticket, 8);
	/* and the directory is no longer open */
	assert_false(unit_fd_is_open(root));
}

static void where_nothing_was_visited_there_is_nothing(void **state)
{
	assert_int_equal(next(*state), -EAGAIN);
	/* an empty directory has none either */
	assert_int_equal(mkdir("directory/empty", 0755), 0);
	visit(*state, "directory/empty");
	assert_nothing_more(*state);
}

/* A list of it that was read elsewhere stays where it is. */
static void the_descriptor_of_a_directory_is_not_used_up(void **state)
{
	int directory = open("directory", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	scratch_write("directory/file", "", 0);
	assert_true(directory >= 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(visitor_visit(*state, directory), 0);
		close(next_file(*state));
	}
	assert_int_equal(lseek(directory, 0, SEEK_CUR), 0);
	close(directory);
}

static void what_is_no_directory_is_not_visited(void **state)
{
	int fd;

	scratch_write("directory/file", "", 0);
	fd = open("directory/file", O_RDONLY | O_CLOEXEC);
	assert_int_equal(visitor_visit(*state, fd), -ENOTDIR);
	close(fd);
	assert_int_equal(visitor_visit(*state, fd), -EBADF);
	assert_nothing_more(*state);
}

static void nothing_stays_open(void **state)
{
	char name[PATH_MAX];
	unsigned fds;

	scratch_write("directory/file", "", 0);
	assert_int_equal(mkfifo("directory/fifo", 0600), 0);
	/* the directory is closed only once all has been handed over: the next one tells */
	visit(*state, "directory");
	next_name(*state, name, sizeof(name));
	assert_nothing_more(*state);
	fds = unit_count_fds();
	for (unsigned i = 0; i < 50; i++) {
		visit(*state, "directory");
		next_name(*state, name, sizeof(name));
	}
	visit(*state, "directory/last");
	next_name(*state, name, sizeof(name));
	/* the one visited last may still be open, as it was before */
	assert_in_range(unit_count_fds(), fds - 1, fds + 1);
}

static void the_end_ends_the_thread(void **state)
{
	unsigned fds = unit_count_fds();
	struct visitor visitor;
	int others[8];

	/* before there is one */
	assert_int_equal(visitor_init(&visitor), 0);
	visitor_deinit(&visitor);
	assert_int_equal(unit_count_fds(), fds);
	/* while it waits for something to do */
	assert_int_equal(visitor_init(&visitor), 0);
	scratch_write("directory/file", "", 0);
	visit(&visitor, "directory");
	close(next_file(&visitor));
	assert_true(visitor.running);
	visitor_deinit(&visitor);
	assert_false(visitor.running);
	assert_int_equal(unit_count_fds(), fds);
	/* twice is once: what has come in the place of its descriptors is not its own */
	for (unsigned i = 0; i < N_ELEMENTS(others); i++)
		others[i] = dup(0);
	visitor_deinit(&visitor);
	for (unsigned i = 0; i < N_ELEMENTS(others); i++)
		assert_int_equal(close(others[i]), 0);
	assert_int_equal(unit_count_fds(), fds);
}

static void at_the_end_the_thread_is_done(void **state)
{
	struct visitor visitor;

	assert_int_equal(visitor_init(&visitor), 0);
	slow = true;
	visit(&visitor, "directory");
	while (!reading)
		(void)usleep(100);
	visitor_deinit(&visitor);
	assert_false(reading);
	slow = false;
}

/* --- when nobody takes what comes --- */

static bool can_have_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur >= DESCRIPTORS_MAX &&
	    sysconf(_SC_PAGESIZE) == 4096)
		return true;
	/* a pipe has room for a page at least */
	print_message("skipped: %d descriptors are not allowed, or pages are large\n",
		      DESCRIPTORS_MAX);
	return false;
}

/* Closes whatever is open that was not before. */
static void close_since(int first)
{
	for (int fd = first; fd < DESCRIPTORS_MAX; fd++)
		(void)close(fd);
}

/* Visits a directory with one file until that was refused so often. Returns how often it was not.
 */
static unsigned visit_until_refused(struct visitor *visitor, unsigned times)
{
	int directory = open("directory", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;
	unsigned n = 0, refused = 0;

	assert_true(directory >= 0);
	while (refused < times) {
		r = visitor_visit(visitor, directory);
		if (r < 0)
			assert_int_equal(r, -EAGAIN);
		refused += r < 0;
		n += r == 0;
		if (n > DESCRIPTORS_MAX / 2)
			fail_msg("there is always room");
	}
	close(directory);
	return n;
}

static void there_is_room_for_so_many_and_no_more(void **state)
{
	unsigned n, more, fds;

	if (!can_have_descriptors())
		skip();
	scratch_write("directory/file", "", 0);
	n = visit_until_refused(*state, 1);
	assert_true(n >= 800);
	/* what is refused leaves nothing behind; what the thread has taken meanwhile has made room,
	 * and it may have two open itself */
	fds = unit_count_fds();
	more = visit_until_refused(*state, 100);
	assert_true(unit_count_fds() <= fds + more + 2);
	/* each that was not refused comes, once there is room */
	for (unsigned i = 0; i < n + more; i++)
		close(next_file(*state));
	assert_nothing_more(*state);
}

static void the_end_ends_a_thread_that_waits_for_room(void **state)
{
	struct visitor visitor;
	int first;

	if (!can_have_descriptors())
		skip();
	first = dup(0);
	close(first);
	assert_int_equal(visitor_init(&visitor), 0);
	scratch_write("directory/file", "", 0);
	(void)visit_until_refused(&visitor, 100);
	visitor_deinit(&visitor);
	assert_false(visitor.running);
	/* what was on its way is lost */
	close_since(first);
}

#define VISITOR_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		VISITOR_TEST(each_file_of_a_directory_is_handed_over),
		VISITOR_TEST(only_files_directly_in_it_are),
		VISITOR_TEST(only_they_are_even_if_the_filesystem_does_not_tell_which),
		VISITOR_TEST(what_is_handed_over_can_be_read_and_no_more),
		VISITOR_TEST(one_file_is_opened_by_its_handle),
		VISITOR_TEST(where_nothing_was_visited_there_is_nothing),
		VISITOR_TEST(the_descriptor_of_a_directory_is_not_used_up),
		VISITOR_TEST(what_is_no_directory_is_not_visited),
		VISITOR_TEST(nothing_stays_open),
		VISITOR_TEST(the_end_ends_the_thread),
		VISITOR_TEST(at_the_end_the_thread_is_done),
		VISITOR_TEST(there_is_room_for_so_many_and_no_more),
		VISITOR_TEST(the_end_ends_a_thread_that_waits_for_room),
	};

	return cmocka_run_group_tests_name("visitor", tests, group_setup, scratch_teardown);
}
