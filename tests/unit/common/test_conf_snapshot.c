/* SPDX-License-Identifier: GPL-2.0-only */
/* The configuration as other processes get it. */
#include "../support/conf_fixture.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Snapshots conf and reads it back. */
static struct conf *round_trip(const struct conf *conf)
{
	int fd = conf_snapshot(conf);
	struct conf *copy;

	assert_true(fd >= 0);
	copy = conf_from_snapshot(fd);
	assert_true(unit_fd_is_open(fd)); /* it stays the caller's */
	close(fd);
	return copy;
}

static void assert_lists_equal(const struct conf_list *a, const struct conf_list *b)
{
	assert_int_equal(a->n_entries, b->n_entries);
	for (size_t i = 0; i < a->n_entries; i++) {
		assert_string_equal(a->entries[i].text, b->entries[i].text);
		assert_int_equal(a->entries[i].uid, b->entries[i].uid);
		assert_int_equal(b->entries[i].line, 0);
	}
}

static void assert_strings_equal(const char *a, const char *b)
{
	if (a && b)
		assert_string_equal(a, b);
	else
		assert_ptr_equal(a, b);
}

static void assert_confs_equal(const struct conf *a, const struct conf *b)
{
	assert_non_null(b);
	assert_strings_equal(a->user, b->user);
	assert_strings_equal(a->control_group, b->control_group);
	assert_strings_equal(a->state_dir, b->state_dir);
	assert_strings_equal(a->run_dir, b->run_dir);
	assert_int_equal(a->uid, b->uid);
	assert_int_equal(a->gid, b->gid);
	assert_int_equal(a->control_gid, b->control_gid);
	assert_lists_equal(&a->include, &b->include);
	assert_lists_equal(&a->exclude, &b->exclude);
	assert_lists_equal(&a->exclude_user, &b->exclude_user);
	assert_lists_equal(&a->exclude_process, &b->exclude_process);
	assert_int_equal(a->mode, b->mode);
	assert_int_equal(a->hold_timeout_ms, b->hold_timeout_ms);
	assert_int_equal(a->on_timeout, b->on_timeout);
	assert_int_equal(a->on_failure, b->on_failure);
	assert_int_equal(a->on_incomplete, b->on_incomplete);
	assert_int_equal(a->warm_start, b->warm_start);
	assert_strings_equal(a->signatures, b->signatures);
	assert_int_equal(a->workers, b->workers);
	assert_int_equal(a->max_file_size, b->max_file_size);
	assert_int_equal(a->max_scan_size, b->max_scan_size);
	assert_int_equal(a->max_scan_time_ms, b->max_scan_time_ms);
	assert_int_equal(a->detect_pua, b->detect_pua);
	assert_int_equal(a->heuristics, b->heuristics);
	assert_int_equal(a->verdict_cache, b->verdict_cache);
	assert_int_equal(a->content_cache, b->content_cache);
	assert_int_equal(a->schedule.days, b->schedule.days);
	assert_int_equal(a->schedule.minute, b->schedule.minute);
	assert_lists_equal(&a->scan_path, &b->scan_path);
	assert_lists_equal(&a->scan_exclude, &b->scan_exclude);
	assert_int_equal(a->cross_filesystems, b->cross_filesystems);
	assert_int_equal(a->scan_remote_filesystems, b->scan_remote_filesystems);
	assert_int_equal(a->finish_by.is_set, b->finish_by.is_set);
	assert_int_equal(a->finish_by.minute, b->finish_by.minute);
	assert_int_equal(a->scan_cpu, b->scan_cpu);
	assert_int_equal(a->scan_random_delay_ms, b->scan_random_delay_ms);
	assert_int_equal(a->reload, b->reload);
	assert_lists_equal(&a->mirror, &b->mirror);
	assert_lists_equal(&a->database, &b->database);
	assert_lists_equal(&a->custom, &b->custom);
	assert_int_equal(a->custom_max_size, b->custom_max_size);
	assert_int_equal(a->check_every_ms, b->check_every_ms);
	assert_int_equal(a->check_random_delay_ms, b->check_random_delay_ms);
	assert_int_equal(a->rate_limit, b->rate_limit);
	assert_strings_equal(a->proxy, b->proxy);
	assert_strings_equal(a->ca_file, b->ca_file);
	assert_strings_equal(a->client_certificate, b->client_certificate);
	assert_strings_equal(a->client_key, b->client_key);
	assert_strings_equal(a->netrc_file, b->netrc_file);
	assert_int_equal(a->max_age_warning_ms, b->max_age_warning_ms);
	assert_int_equal(a->syslog, b->syslog);
	assert_int_equal(a->facility, b->facility);
	assert_strings_equal(a->log_file, b->log_file);
	assert_int_equal(a->log_file_max_size, b->log_file_max_size);
}

static void defaults_survive_a_snapshot(void **state)
{
	struct conf *copy = round_trip(*state);

	assert_confs_equal(*state, copy);
	conf_free(copy);
}

/* Nothing here has its default. */
static void every_value_survives_a_snapshot(void **state)
{
	static const char *const values[][3] = {
		{"service", "user", "someone"},
		{"service", "control-group", "some group"},
		{"service", "state-dir", "/state"},
		{"service", "run-dir", "/run/x"},
		{"on-access", "include", "/srv"},
		{"on-access", "include", "/home/*/x/**/y"},
		{"on-access", "exclude", "/srv/=;#[x]"},
		{"on-access", "exclude", "/srv/resolved"},
		{"on-access", "exclude-user", "alice"},
		{"on-access", "exclude-user", "resolved"},
		{"on-access", "exclude-user", "bob"},
		{"on-access", "exclude-process", "/usr/bin/x"},
		{"on-access", "mode", "notify"},
		{"on-access", "hold-timeout", "1234ms"},
		{"on-access", "on-timeout", "deny"},
		{"on-access", "on-failure", "deny"},
		{"on-access", "on-incomplete", "deny"},
		{"engine", "signatures", "/sig"},
		{"engine", "workers", "5"},
		{"on-access", "warm-start", "no"},
		{"engine", "max-file-size", "1"},
		{"engine", "max-scan-size", "64G"},
		{"engine", "max-scan-time", "3599999ms"},
		{"engine", "detect-pua", "yes"},
		{"engine", "heuristics", "no"},
		{"engine", "verdict-cache", "65537"},
		{"engine", "content-cache", "0"},
		{"engine", "reload", "lean"},
		{"signatures", "mirror", "https://user:p%40ss@mirror:8443/clamav"},
		{"signatures", "mirror", "http://[::1]/x"},
		{"signatures", "database", "daily"},
		{"signatures", "database", "test-1"},
		{"signatures", "custom", "https://x/local.ndb?key=a/b#c"},
		{"signatures", "custom", "file:///srv/own.ldb"},
		{"signatures", "custom-max-size", "1025"},
		{"signatures", "check-every", "1234567ms"},
		{"signatures", "random-delay", "1ms"},
		{"signatures", "rate-limit", "1"},
		{"signatures", "proxy", "socks5h://user:word@proxy:1080"},
		{"signatures", "ca-file", "/ca"},
		{"signatures", "client-certificate", "/certificate"},
		{"signatures", "client-key", "/key"},
		{"signatures", "netrc-file", "/netrc"},
		{"signatures", "max-age-warning", "0"},
		{"full-scan", "schedule", "Mon,Wed-Fri 03:31"},
		{"full-scan", "path", "/srv"},
		{"full-scan", "path", "/var/[x] y"},
		{"full-scan", "exclude", "/srv/**/x*"},
		{"full-scan", "exclude", "/srv/resolved"},
		{"full-scan", "cross-filesystems", "no"},
		{"full-scan", "remote-filesystems", "yes"},
		{"full-scan", "finish-by", "06:07"},
		{"full-scan", "cpu", "33%"},
		{"full-scan", "random-delay", "1234567ms"},
		{"alerts", "syslog", "no"},
		{"alerts", "facility", "local7"},
		{"alerts", "log-file", "/var/log/x"},
		{"alerts", "log-file-max-size", "5000"},
	};
	struct conf *conf = *state, *copy;

	for (size_t i = 0; i < N_ELEMENTS(values); i++)
		conf_fixture_set(conf, values[i][0], values[i][1], values[i][2]);
	conf->uid = 4294967294u;
	conf->gid = 2;
	conf->control_gid = 3;
	conf->exclude_user.entries[0].uid = 1000;
	conf->exclude_user.entries[1].uid = 0;
	conf->exclude_user.entries[2].uid = 4000000000u;

	copy = round_trip(conf);
	assert_confs_equal(conf, copy);
	conf_free(copy);
}

static void schedules_survive_a_snapshot(void **state)
{
	static const char *const schedules[] = {"off", "daily 00:00", "Sun 23:59", "Sat-Mon 01:00",
						"Mon-Sat 10:09"};

	for (size_t i = 0; i < N_ELEMENTS(schedules); i++) {
		struct conf *conf = conf_new(), *copy;

		assert_non_null(conf);
		conf_fixture_set(conf, "full-scan", "schedule", schedules[i]);
		conf_fixture_set(conf, "full-scan", "finish-by", "00:00");
		copy = round_trip(conf);
		assert_confs_equal(conf, copy);
		conf_free(copy);
		conf_free(conf);
	}
}

/* Symbolic links can resolve to any path the kernel allows. */
static void strange_paths_survive_a_snapshot(void **state)
{
	struct conf *conf = *state, *copy;
	char longest[4096];

	memset(longest, 'x', sizeof(longest));
	for (size_t i = 0; i < sizeof(longest); i += 200)
		longest[i] = '/';
	longest[sizeof(longest) - 1] = '\0';

	conf_fixture_set(conf, "on-access", "include", "/a\nb = c\n[x]");
	conf_fixture_set(conf, "on-access", "include", "/ leading and trailing ");
	conf_fixture_set(conf, "on-access", "include", "/\xff\xfe\x80 \001\033[2J");
	conf_fixture_set(conf, "on-access", "include", "/\\x00;#=\"'");
	conf_fixture_set(conf, "on-access", "include", "/%s%n");
	conf_fixture_set(conf, "on-access", "include", longest);
	conf_fixture_set(conf, "on-access", "exclude", "/");
	copy = round_trip(conf);
	assert_confs_equal(conf, copy);
	conf_free(copy);
}

static void a_full_list_survives_a_snapshot(void **state)
{
	struct conf *conf = *state, *copy;

	for (unsigned i = 0; i < CONF_LIST_MAX; i++) {
		conf_fixture_set(conf, "on-access", "exclude-user", "u");
		conf->exclude_user.entries[i].uid = i;
	}
	copy = round_trip(conf);
	assert_confs_equal(conf, copy);
	conf_free(copy);
}

/* Those who get a snapshot cannot change it under the feet of others. */
static void a_snapshot_is_sealed(void **state)
{
	int fd = conf_snapshot(*state);
	struct stat status;

	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(pwrite(fd, "x", 1, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(fstat(fd, &status), 0);
	assert_int_equal(ftruncate(fd, status.st_size + 1), -1);
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL), -1);
	close(fd);
}

static int memfd_with(const char *bytes, size_t size)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, size), size);
	return fd;
}

static void what_is_no_snapshot_is_refused(void **state)
{
#define BYTES(text) text, sizeof(text) - 1
	static const struct {
		const char *name, *bytes;
		size_t size;
	} cases[] = {
		{"empty", "", 0},
		{"no end", BYTES("service\0user\0x\0")},
		{"no NUL", BYTES("service")},
		{"key without value", BYTES("service\0user\0")},
		{"unknown section", BYTES("x\0user\0x\0resolved\0001 2 3\0")},
		{"unknown key", BYTES("service\0x\0x\0resolved\0001 2 3\0")},
		{"bad value", BYTES("engine\0workers\0x\0resolved\0001 2 3\0")},
		{"numbers missing", BYTES("service\0user\0x\0resolved\0")},
		{"a number missing", BYTES("service\0user\0x\0resolved\0001 2\0")},
		{"numbers without end", BYTES("service\0user\0x\0resolved\0001 2 3")},
		{"number of a user missing",
		 BYTES("on-access\0exclude-user\0x\0resolved\0001 2 3\0")},
		{"no number of a user",
		 BYTES("on-access\0exclude-user\0x\0resolved\0001 2 3\0x\0")},
		{"more behind it", BYTES("service\0user\0x\0resolved\0001 2 3\0004\0")},
		{"an INI file", BYTES("[service]\nuser = x\n")},
	};
#undef BYTES

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		int fd = memfd_with(cases[i].bytes, cases[i].size);

		if (conf_from_snapshot(fd))
			fail_msg("%s: taken", cases[i].name);
		close(fd);
	}
	assert_null(conf_from_snapshot(-1));
}

/* Cut anywhere, it is no snapshot. */
static void a_part_of_a_snapshot_is_refused(void **state)
{
	char bytes[4096];
	ssize_t size;
	int fd;

	conf_fixture_set(*state, "on-access", "include", "/srv");
	conf_fixture_set(*state, "on-access", "exclude-user", "x");
	fd = conf_snapshot(*state);
	size = pread(fd, bytes, sizeof(bytes), 0);
	close(fd);
	assert_in_range(size, 1, sizeof(bytes) - 1);

	for (ssize_t part = 0; part < size; part++) {
		fd = memfd_with(bytes, (size_t)part);
		if (conf_from_snapshot(fd))
			fail_msg("%zd of %zd bytes were taken", part, size);
		close(fd);
	}
}

static void a_snapshot_leaks_no_descriptor(void **state)
{
	unsigned before = unit_count_fds();

	conf_free(round_trip(*state));
	assert_int_equal(unit_count_fds(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CONF_TEST(defaults_survive_a_snapshot),
		CONF_TEST(every_value_survives_a_snapshot),
		CONF_TEST(schedules_survive_a_snapshot),
		CONF_TEST(strange_paths_survive_a_snapshot),
		CONF_TEST(a_full_list_survives_a_snapshot),
		CONF_TEST(a_snapshot_is_sealed),
		CONF_TEST(what_is_no_snapshot_is_refused),
		CONF_TEST(a_part_of_a_snapshot_is_refused),
		CONF_TEST(a_snapshot_leaks_no_descriptor),
	};

	return cmocka_run_group_tests_name("conf snapshot", tests, NULL, NULL);
}
