/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/signatures/container.h"
#include "../../../src/signatures/message.h"
#include "../../../src/signatures/verify.h"
#include "../support/cvds.h"

#include <clamav.h>
#include <errno.h>
#include <sys/wait.h>

static struct cvds_file file;
static char problem[512];

static int verify(const char *path, const char *database)
{
	*problem = '\0';
	return verify_container(path, database, problem, sizeof(problem));
}

static void a_head_is_understood(void **state)
{
	struct container_head head;

	cvds_copy("test-6.cvd", "test.cvd");
	assert_int_equal(container_read("test.cvd", &head), 0);
	assert_int_equal(head.version, 6);
	assert_int_equal(head.signatures, 14);
	assert_int_equal(head.functionality, 81);
	assert_int_equal(head.built_at, 1624412045);
}

static void what_is_no_head_is_refused(void **state)
{
	struct container_head head = {.version = 7};

	scratch_write("short", "ClamAV-VDB:", 11);
	assert_int_equal(container_read("short", &head), -EBADMSG);
	memset(file.content, 'x', CONTAINER_HEAD_SIZE);
	scratch_write("other", file.content, CONTAINER_HEAD_SIZE);
	assert_int_equal(container_read("other", &head), -EBADMSG);
	assert_int_equal(container_read("absent", &head), -ENOENT);
	assert_int_equal(head.version, 7);
}

/* Programs that write lines of their own there would have those of libclamav among them. */
static off_t size_of_said(int fd)
{
	struct stat status;

	assert_int_equal(fstat(fd, &status), 0);
	return status.st_size;
}

/* In a process where nobody listens; others there may count on what libclamav says. */
static _Noreturn void read_and_say(const char *path)
{
	struct container_head head;
	int fd = open("said", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool is_silent, is_heard;

	if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
		_exit(1);
	is_silent = container_read(path, &head) == -EBADMSG && size_of_said(fd) == 0;
	is_heard = cl_cvdverify(path) != CL_SUCCESS && size_of_said(fd) > 0;
	_exit(!(is_silent && is_heard));
}

static void nothing_is_said_on_standard_error(void **state)
{
	int status;
	pid_t pid;

	memset(file.content, 'x', CONTAINER_HEAD_SIZE);
	scratch_write("other.cvd", file.content, CONTAINER_HEAD_SIZE);
	pid = fork();
	if (pid == 0)
		read_and_say("other.cvd");
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Of what others complain of, what was kept stays, and the next is kept too. */
static void those_who_listen_go_on_listening(void **state)
{
	struct container_head head;

	scratch_write("other.cvd", "x", 1);
	message_listen();
	assert_int_equal(verify("other.cvd", "other"), -EBADMSG);
	assert_true(*message_errors());
	assert_int_equal(container_read("other.cvd", &head), -EBADMSG);
	assert_true(*message_errors());
	message_forget();
	memset(file.content, 'x', CONTAINER_HEAD_SIZE);
	scratch_write("other.cvd", file.content, CONTAINER_HEAD_SIZE);
	assert_int_equal(container_read("other.cvd", &head), -EBADMSG);
	assert_string_equal(message_errors(), "");
	assert_int_equal(verify("other.cvd", "other"), -EBADMSG);
	assert_true(*message_errors());
}

static void a_genuine_database_is_right(void **state)
{
	char name[32];

	for (int i = 1; i <= 6; i++) {
		(void)snprintf(name, sizeof(name), "test-%d.cvd", i);
		cvds_copy(name, "test.cvd");
		assert_int_equal(verify("test.cvd", "test"), 0);
		assert_int_equal(rename("test.cvd", "OTHER.CVD"), 0);
		assert_int_equal(verify("OTHER.CVD", "test"), 0);
	}
}

static void another_database_is_not_what_was_asked_for(void **state)
{
	static const char *const others[] = {"daily", "tes", "test.", "testing", "TEST", ""};

	cvds_copy("test-6.cvd", "daily.cvd");
	for (size_t i = 0; i < N_ELEMENTS(others); i++) {
		assert_int_equal(verify("daily.cvd", others[i]), -EBADMSG);
		assert_non_null(strstr(problem, "daily.cvd: not what was asked for"));
	}
}

/* Whatever is changed in it: one byte at a time, but for the builder's name, which nothing is made
 * of, and the padding. */
static void a_change_is_noticed(void **state)
{
	static const size_t places[] = {40, 41, 48, 60, 200, 512, 513, 600, 2000, 5000};

	cvds_get(&file, "test-6.cvd");
	for (size_t i = 0; i < N_ELEMENTS(places); i++) {
		file.content[places[i]] ^= 1;
		scratch_write("test.cvd", file.content, file.size);
		if (verify("test.cvd", "test") != -EBADMSG)
			fail_msg("byte %zu may be anything", places[i]);
		assert_true(strlen(problem) > strlen("test.cvd: "));
		file.content[places[i]] ^= 1;
	}
}

/* Neither newer nor older than it is. */
static void a_version_cannot_be_forged(void **state)
{
	char *version;

	cvds_get(&file, "test-6.cvd");
	version = strchr(strchr(file.content, ':') + 1, ':') + 1;
	assert_int_equal(*version, '6');
	for (char digit = '5'; digit <= '7'; digit++) {
		*version = digit;
		scratch_write("test.cvd", file.content, file.size);
		assert_int_equal(verify("test.cvd", "test"), digit == '6' ? 0 : -EBADMSG);
	}
}

static void a_part_of_it_is_refused(void **state)
{
	cvds_get(&file, "test-6.cvd");
	for (size_t size = 0; size < file.size; size += size < 600 ? 100 : 1000) {
		scratch_write("test.cvd", file.content, size);
		assert_int_equal(verify("test.cvd", "test"), -EBADMSG);
	}
	scratch_write("test.cvd", file.content, file.size);
	file.content[file.size] = 'x';
	scratch_write("test.cvd", file.content, file.size + 1);
	assert_int_equal(verify("test.cvd", "test"), -EBADMSG);
}

/* libclamav believes what a .cld has. */
static void only_a_cvd_is_signed(void **state)
{
	cvds_copy("test-6.cvd", "test.cld");
	assert_int_equal(verify("test.cld", "test"), -EINVAL);
	assert_string_equal(problem, "test.cld: only a .cvd is signed");
	assert_int_equal(verify("absent.cvd", "test"), -EBADMSG);
}

static void nothing_leaks(void **state)
{
	unsigned fds = unit_count_fds();

	cvds_copy("test-6.cvd", "test.cvd");
	assert_int_equal(verify("test.cvd", "test"), 0);
	assert_int_equal(verify("test.cvd", "daily"), -EBADMSG);
	scratch_write("test.cvd", "x", 1);
	assert_int_equal(verify("test.cvd", "test"), -EBADMSG);
	assert_int_equal(unit_count_fds(), fds);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_said_on_standard_error),
		cmocka_unit_test(those_who_listen_go_on_listening),
		cmocka_unit_test(a_head_is_understood),
		cmocka_unit_test(what_is_no_head_is_refused),
		cmocka_unit_test(a_genuine_database_is_right),
		cmocka_unit_test(another_database_is_not_what_was_asked_for),
		cmocka_unit_test(a_change_is_noticed),
		cmocka_unit_test(a_version_cannot_be_forged),
		cmocka_unit_test(a_part_of_it_is_refused),
		cmocka_unit_test(only_a_cvd_is_signed),
		cmocka_unit_test(nothing_leaks),
	};

	if (cl_init(CL_INIT_DEFAULT) != CL_SUCCESS)
		return UNIT_SKIPPED;
	return cmocka_run_group_tests_name("container", tests, scratch_setup, scratch_teardown);
}
