/* SPDX-License-Identifier: GPL-2.0-only */
/* Which directories the service makes for itself. */
#include "../../../src/supervisor/listener.h"
#include "../support/conf_fixture.h"
#include "../support/scratch.h"

/* In scratch, for whoever runs this. */
static void open_with(const char *signatures)
{
	char path[PATH_MAX + 16], made[PATH_MAX], problem[1024] = "";
	struct conf *conf = conf_new();
	struct listeners listeners;

	assert_non_null(conf);
	(void)snprintf(path, sizeof(path), "%s/run", scratch);
	conf_fixture_set(conf, "service", "run-dir", path);
	(void)snprintf(path, sizeof(path), "%s/state", scratch);
	conf_fixture_set(conf, "service", "state-dir", path);
	(void)snprintf(path, sizeof(path), "%s/%s", scratch, signatures ? signatures : "");
	if (signatures)
		conf_fixture_set(conf, "engine", "signatures", path);
	conf->uid = geteuid();
	conf->gid = conf->control_gid = getegid();
	if (listener_open(conf, made, sizeof(made), &listeners, problem, sizeof(problem)) < 0) {
		if (geteuid() != 0) {
			print_message("skipped: %s\n", problem);
			skip();
		}
		fail_msg("%s", problem);
	}
	close(listeners.control);
	close(listeners.scan);
	conf_free(conf);
}

static int clean(void **state)
{
	return system("rm -rf run state mine");
}

static void the_default_directory_of_signatures_is_made(void **state)
{
	struct stat status;

	open_with(NULL);
	assert_int_equal(stat("state/signatures", &status), 0);
	assert_int_equal(status.st_mode & 07777, 02755);
}

/* Whether it is there or not. */
static void one_that_is_configured_is_the_administrators(void **state)
{
	struct stat before, after;

	open_with("mine");
	assert_int_equal(stat("mine", &before), -1);
	assert_int_equal(stat("state/signatures", &before), -1);
	assert_int_equal(mkdir("mine", 0711), 0);
	assert_int_equal(stat("mine", &before), 0);
	open_with("mine");
	assert_int_equal(stat("mine", &after), 0);
	assert_int_equal(after.st_mode, before.st_mode);
	assert_memory_equal(&after.st_ctim, &before.st_ctim, sizeof(after.st_ctim));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(the_default_directory_of_signatures_is_made, clean),
		cmocka_unit_test_teardown(one_that_is_configured_is_the_administrators, clean),
	};

	return cmocka_run_group_tests_name("listener", tests, scratch_setup, scratch_teardown);
}
