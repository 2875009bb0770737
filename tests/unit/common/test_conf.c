/* SPDX-License-Identifier: GPL-2.0-only */
/* The values of keys; the snapshot is in test_conf_snapshot.c. */
#include "../support/conf_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

static void defaults_are_those_documented(void **state)
{
	const struct conf *conf = *state;

	assert_string_equal(conf->user, "holdfast");
	assert_string_equal(conf->control_group, "holdfast");
	assert_string_equal(conf->state_dir, "/var/lib/holdfast");
	assert_string_equal(conf->run_dir, "/run/holdfast");
	assert_int_equal(conf->include.n_entries, 0);
	assert_int_equal(conf->exclude.n_entries, 0);
	assert_int_equal(conf->exclude_user.n_entries, 0);
	assert_int_equal(conf->exclude_process.n_entries, 0);
	assert_int_equal(conf->mode, CONTROL_MODE_BLOCK);
	assert_int_equal(conf->hold_timeout_ms, 15000);
	assert_int_equal(conf->on_timeout, CONF_ALLOW);
	assert_int_equal(conf->on_failure, CONF_ALLOW);
	assert_int_equal(conf->on_incomplete, CONF_ALLOW);
	assert_null(conf->signatures);
	assert_true(conf->warm_start);
	assert_int_equal(conf->workers, 0);
	assert_int_equal(conf->max_file_size, 100 << 20);
	assert_int_equal(conf->max_scan_size, 400 << 20);
	assert_int_equal(conf->max_scan_time_ms, 120000);
	assert_false(conf->detect_pua);
	assert_true(conf->heuristics);
	assert_int_equal(conf->verdict_cache, 16 << 20);
	assert_int_equal(conf->content_cache, 16 << 20);
	assert_int_equal(conf->schedule.days, SCHEDULE_DAILY);
	assert_int_equal(conf->schedule.minute, 120);
	assert_int_equal(conf->scan_path.n_entries, 0);
	assert_int_equal(conf->scan_exclude.n_entries, 0);
	assert_true(conf->cross_filesystems);
	assert_false(conf->scan_remote_filesystems);
	assert_false(conf->finish_by.is_set);
	assert_int_equal(conf->scan_cpu, 100);
	assert_int_equal(conf->scan_random_delay_ms, 0);
	assert_int_equal(conf->reload, CONF_RELOAD_AUTO);
	assert_int_equal(conf->mirror.n_entries, 0);
	assert_int_equal(conf->database.n_entries, 0);
	assert_int_equal(conf->custom.n_entries, 0);
	assert_int_equal(conf->custom_max_size, 100 << 20);
	assert_int_equal(conf->check_every_ms, 2 * 3600 * 1000);
	assert_int_equal(conf->check_random_delay_ms, 10 * 60 * 1000);
	assert_int_equal(conf->rate_limit, 0);
	assert_null(conf->proxy);
	assert_null(conf->ca_file);
	assert_null(conf->client_certificate);
	assert_null(conf->client_key);
	assert_null(conf->netrc_file);
	assert_int_equal(conf->max_age_warning_ms, 3 * 24 * 3600 * 1000);
	assert_true(conf->syslog);
	assert_int_equal(conf->facility, LOG_DAEMON);
	assert_null(conf->log_file);
	assert_int_equal(conf->log_file_max_size, 20 << 20);
}

static void numbers_are_read_in_their_units(void **state)
{
	static const struct {
		const char *section, *key;
		size_t member;
		struct {
			const char *text;
			uint64_t value;
		} values[9];
	} cases[] = {
		{"on-access",
		 "hold-timeout",
		 offsetof(struct conf, hold_timeout_ms),
		 {{"15", 15000},
		  {"500ms", 500},
		  {"100ms", 100}, /* the least */
		  {"2s", 2000},
		  {"2 s", 2000},
		  {"3m", 180000},
		  {"1h", 3600000}, /* the most */
		  {"0000000000000000000000007", 7000}}},
		{"engine",
		 "max-file-size",
		 offsetof(struct conf, max_file_size),
		 {{"1", 1},
		  {"4096", 4096},
		  {"512K", 512 << 10},
		  {"10M", 10 << 20},
		  {"1G", 1 << 30},
		  {"2047M", UINT64_C(2047) << 20}}},
		{"engine",
		 "workers",
		 offsetof(struct conf, workers),
		 {{"1", 1}, {"128", 128}, {"auto", 0}}},
		{"engine",
		 "max-scan-size",
		 offsetof(struct conf, max_scan_size),
		 {{"64G", UINT64_C(64) << 30}}},
		{"engine",
		 "max-scan-time",
		 offsetof(struct conf, max_scan_time_ms),
		 {{"100ms", 100}, {"60m", 3600000}}},
		{"engine",
		 "verdict-cache",
		 offsetof(struct conf, verdict_cache),
		 {{"64K", 64 << 10}, {"65537", 65537}, {"128M", 128 << 20}}},
		{"engine",
		 "content-cache",
		 offsetof(struct conf, content_cache),
		 {{"0", 0}, {"16M", 16 << 20}, {"128M", 128 << 20}}},
		{"full-scan",
		 "cpu",
		 offsetof(struct conf, scan_cpu),
		 {{"1%", 1}, {"25%", 25}, {"25 %", 25}, {"25", 25}, {"100%", 100}}},
		{"full-scan",
		 "random-delay",
		 offsetof(struct conf, scan_random_delay_ms),
		 {{"0", 0}, {"0s", 0}, {"90m", 5400000}, {"24h", 86400000}, {"1d", 86400000}}},
		{"signatures",
		 "custom-max-size",
		 offsetof(struct conf, custom_max_size),
		 {{"1K", 1024}, {"4G", UINT64_C(4) << 30}}},
		{"signatures",
		 "check-every",
		 offsetof(struct conf, check_every_ms),
		 {{"0", 0}, {"90s", 90000}, {"30d", UINT64_C(30) * 86400000}}},
		{"signatures",
		 "random-delay",
		 offsetof(struct conf, check_random_delay_ms),
		 {{"0", 0}, {"1d", 86400000}}},
		{"signatures",
		 "rate-limit",
		 offsetof(struct conf, rate_limit),
		 {{"0", 0}, {"500K", 500 << 10}, {"1024G", UINT64_C(1) << 40}}},
		{"signatures",
		 "max-age-warning",
		 offsetof(struct conf, max_age_warning_ms),
		 {{"0", 0}, {"36h", 129600000}, {"3650d", UINT64_C(3650) * 86400000}}},
		{"alerts",
		 "log-file-max-size",
		 offsetof(struct conf, log_file_max_size),
		 {{"4096", 4096}, {"1024G", UINT64_C(1) << 40}}},
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		for (size_t k = 0; cases[i].values[k].text; k++) {
			struct conf *conf = conf_new();

			assert_non_null(conf);
			conf_fixture_set(conf, cases[i].section, cases[i].key,
					 cases[i].values[k].text);
			assert_int_equal(*(uint64_t *)(void *)((char *)conf + cases[i].member),
					 cases[i].values[k].value);
			conf_free(conf);
		}
	}
}

static void choices_are_read(void **state)
{
	static const struct {
		const char *section, *key, *value;
		size_t member;
		unsigned expected;
	} cases[] = {
		{"on-access", "mode", "block", offsetof(struct conf, mode), CONTROL_MODE_BLOCK},
		{"on-access", "mode", "notify", offsetof(struct conf, mode), CONTROL_MODE_NOTIFY},
		{"on-access", "mode", "off", offsetof(struct conf, mode), CONTROL_MODE_OFF},
		{"on-access", "on-timeout", "deny", offsetof(struct conf, on_timeout), CONF_DENY},
		{"on-access", "on-failure", "deny", offsetof(struct conf, on_failure), CONF_DENY},
		{"on-access", "on-incomplete", "deny", offsetof(struct conf, on_incomplete),
		 CONF_DENY},
		{"on-access", "on-incomplete", "allow", offsetof(struct conf, on_incomplete),
		 CONF_ALLOW},
		{"engine", "reload", "auto", offsetof(struct conf, reload), CONF_RELOAD_AUTO},
		{"engine", "reload", "parallel", offsetof(struct conf, reload),
		 CONF_RELOAD_PARALLEL},
		{"engine", "reload", "lean", offsetof(struct conf, reload), CONF_RELOAD_LEAN},
		{"alerts", "facility", "daemon", offsetof(struct conf, facility), LOG_DAEMON},
		{"alerts", "facility", "user", offsetof(struct conf, facility), LOG_USER},
		{"alerts", "facility", "auth", offsetof(struct conf, facility), LOG_AUTH},
		{"alerts", "facility", "authpriv", offsetof(struct conf, facility), LOG_AUTHPRIV},
		{"alerts", "facility", "mail", offsetof(struct conf, facility), LOG_MAIL},
		{"alerts", "facility", "local0", offsetof(struct conf, facility), LOG_LOCAL0},
		{"alerts", "facility", "local1", offsetof(struct conf, facility), LOG_LOCAL1},
		{"alerts", "facility", "local2", offsetof(struct conf, facility), LOG_LOCAL2},
		{"alerts", "facility", "local3", offsetof(struct conf, facility), LOG_LOCAL3},
		{"alerts", "facility", "local4", offsetof(struct conf, facility), LOG_LOCAL4},
		{"alerts", "facility", "local5", offsetof(struct conf, facility), LOG_LOCAL5},
		{"alerts", "facility", "local6", offsetof(struct conf, facility), LOG_LOCAL6},
		{"alerts", "facility", "local7", offsetof(struct conf, facility), LOG_LOCAL7},
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		struct conf *conf = conf_new();

		assert_non_null(conf);
		conf_fixture_set(conf, cases[i].section, cases[i].key, cases[i].value);
		assert_int_equal(*(unsigned *)(void *)((char *)conf + cases[i].member),
				 cases[i].expected);
		conf_free(conf);
	}
}

static void switches_are_read(void **state)
{
	struct conf *conf = *state;

	conf_fixture_set(conf, "on-access", "warm-start", "no");
	conf_fixture_set(conf, "engine", "detect-pua", "yes");
	conf_fixture_set(conf, "engine", "heuristics", "no");
	conf_fixture_set(conf, "alerts", "syslog", "no");
	conf_fixture_set(conf, "full-scan", "cross-filesystems", "no");
	conf_fixture_set(conf, "full-scan", "remote-filesystems", "yes");
	assert_false(conf->warm_start);
	assert_true(conf->detect_pua);
	assert_false(conf->heuristics);
	assert_false(conf->cross_filesystems);
	assert_true(conf->scan_remote_filesystems);
	assert_false(conf->remote_filesystems); /* that of [on-access] */
	assert_false(conf->syslog);
}

static void times_are_read(void **state)
{
	struct conf *conf = *state;

	conf_fixture_set(conf, "full-scan", "schedule", "Sat-Mon 03:30");
	conf_fixture_set(conf, "full-scan", "finish-by", "06:15");
	assert_int_equal(conf->schedule.days, 0x43);
	assert_int_equal(conf->schedule.minute, 210);
	assert_true(conf->finish_by.is_set);
	assert_int_equal(conf->finish_by.minute, 375);
}

static void paths_are_normalized(void **state)
{
	struct conf *conf = *state;

	conf_fixture_set(conf, "service", "state-dir", "//var//tmp/");
	conf_fixture_set(conf, "alerts", "log-file", "/var/log/x y.log");
	conf_fixture_set(conf, "on-access", "include", "/srv//www/");
	assert_string_equal(conf->state_dir, "/var/tmp");
	assert_string_equal(conf->log_file, "/var/log/x y.log");
	conf_fixture_set(conf, "full-scan", "path", "/srv//mail/");
	conf_fixture_set(conf, "full-scan", "path", "//");
	conf_fixture_set(conf, "full-scan", "exclude", "/bin/");
	assert_string_equal(conf->include.entries[0].text, "/srv/www");
	assert_string_equal(conf->scan_path.entries[0].text, "/srv/mail");
	assert_string_equal(conf->scan_path.entries[1].text, "/");
	assert_string_equal(conf->scan_exclude.entries[0].text, "/bin");
}

static void bad_values_are_refused_with_a_reason_and_change_nothing(void **state)
{
#define ANYWHERE  "; /**/NAME stands for that name anywhere"
#define NAMES	  "the name of a database is made of letters, digits, - and _: main, not main.cvd"
#define FORTY_ONE "aaaaaaaaaabbbbbbbbbbccccccccccdddddddddde"
	static const struct {
		const char *section, *key, *value, *problem;
	} cases[] = {
		{"engine", "sinatures", "/x", "unknown key 'sinatures' in section [engine]"},
		{"service", "mode", "off", "unknown key 'mode' in section [service]"},
		{"service", "", "x", "unknown key '' in section [service]"},
		{"engin", "workers", "1", "key 'workers' in the unknown section [engin]"},
		{"service", "user", "", "user: no value"},
		{"on-access", "include", "", "include: no value"},
		{"on-access", "mode", "Block", "mode: 'Block' is none of: block notify off"},
		{"on-access", "mode", "blocks", "mode: 'blocks' is none of: block notify off"},
		{"on-access", "on-failure", "yes", "on-failure: 'yes' is none of: allow deny"},
		{"alerts", "facility", "kern",
		 "facility: 'kern' is none of: daemon user auth authpriv mail local0 local1 "
		 "local2 local3 local4 local5 local6 local7"},
		{"alerts", "syslog", "true", "syslog: 'true' is none of: yes no"},
		{"on-access", "hold-timeout", "soon",
		 "hold-timeout: 'soon' is not a duration such as 500ms, 15s, 2m or 1h"},
		{"on-access", "hold-timeout", "-1",
		 "hold-timeout: '-1' is not a duration such as 500ms, 15s, 2m or 1h"},
		{"on-access", "hold-timeout", "1.5s",
		 "hold-timeout: '1.5s' is not a duration such as 500ms, 15s, 2m or 1h"},
		{"on-access", "hold-timeout", "15 sec",
		 "hold-timeout: '15 sec' is not a duration such as 500ms, 15s, 2m or 1h"},
		{"on-access", "hold-timeout", "1M",
		 "hold-timeout: '1M' is not a duration such as 500ms, 15s, 2m or 1h"},
		{"on-access", "hold-timeout", "99ms",
		 "hold-timeout: 99ms is out of range: 100ms to 1h"},
		{"on-access", "hold-timeout", "0", "hold-timeout: 0 is out of range: 100ms to 1h"},
		{"on-access", "hold-timeout", "3600001ms",
		 "hold-timeout: 3600001ms is out of range: 100ms to 1h"},
		{"on-access", "hold-timeout", "1d",
		 "hold-timeout: 1d is out of range: 100ms to 1h"},
		/* would be 1384 ms and 1 K if the products were allowed to wrap around */
		{"on-access", "hold-timeout", "18446744073709553s",
		 "hold-timeout: '18446744073709553s' is not a duration such as 500ms, 15s, 2m or "
		 "1h"},
		{"engine", "max-file-size", "18014398509481985K",
		 "max-file-size: '18014398509481985K' is not a size such as 4096, 512K, 100M or "
		 "2G"},
		{"engine", "max-file-size", "99999999999999999999",
		 "max-file-size: '99999999999999999999' is not a size such as 4096, 512K, 100M or "
		 "2G"},
		{"engine", "max-file-size", "100MB",
		 "max-file-size: '100MB' is not a size such as 4096, 512K, 100M or 2G"},
		{"engine", "max-file-size", "0x10",
		 "max-file-size: '0x10' is not a size such as 4096, 512K, 100M or 2G"},
		{"engine", "max-file-size", "0", "max-file-size: 0 is out of range: 1 to 2047M"},
		{"engine", "max-file-size", "2G", "max-file-size: 2G is out of range: 1 to 2047M"},
		{"alerts", "log-file-max-size", "4095",
		 "log-file-max-size: 4095 is out of range: 4K to 1024G"},
		{"engine", "workers", "many", "workers: 'many' is not a number, or auto"},
		{"engine", "workers", "4K", "workers: '4K' is not a number, or auto"},
		{"engine", "workers", "+4", "workers: '+4' is not a number, or auto"},
		{"engine", "workers", "0", "workers: 0 is out of range: 1 to 128"},
		{"engine", "workers", "129", "workers: 129 is out of range: 1 to 128"},
		{"service", "run-dir", "run",
		 "run-dir: 'run': a path must be absolute: begin with /"},
		{"service", "run-dir", "/run/../etc",
		 "run-dir: '/run/../etc': a path must not contain . or .. as a component"},
		{"service", "run-dir", "/run/*", "run-dir: '/run/*': * is not allowed here"},
		{"on-access", "include", "srv",
		 "include: 'srv': a path must be absolute: begin with /" ANYWHERE},
		{"on-access", "exclude", "/srv/./x",
		 "exclude: '/srv/./x': a path must not contain . or .. as a component"},
		{"on-access", "exclude-process", "/usr/**bin",
		 "exclude-process: '/usr/**bin': ** must stand alone between two slashes"},
		{"engine", "verdict-cache", "65535",
		 "verdict-cache: 65535 is out of range: 64K to 128M"},
		{"engine", "verdict-cache", "5G", "verdict-cache: 5G is out of range: 64K to 128M"},
		{"engine", "content-cache", "129M",
		 "content-cache: 129M is out of range: 0 to 128M"},
		{"full-scan", "schedule", "daily",
		 "schedule: 'daily' is not a schedule such as off, daily 02:00 or Mon,Wed-Fri "
		 "03:30"},
		{"full-scan", "schedule", "Mon-Fry 02:00",
		 "schedule: 'Mon-Fry' is not daily, nor a day or days such as Sun or Mon,Wed-Fri"},
		{"full-scan", "schedule", "daily 25:00",
		 "schedule: '25:00' is not a time of day from 00:00 to 23:59"},
		{"full-scan", "finish-by", "6",
		 "finish-by: '6' is not a time of day from 00:00 to 23:59"},
		{"full-scan", "finish-by", "none",
		 "finish-by: 'none' is not a time of day from 00:00 to 23:59"},
		{"full-scan", "cpu", "0%", "cpu: 0% is out of range: 1% to 100%"},
		{"full-scan", "cpu", "101%", "cpu: 101% is out of range: 1% to 100%"},
		{"full-scan", "cpu", "auto", "cpu: 'auto' is not a percentage such as 25%"},
		{"full-scan", "cpu", "2.5%", "cpu: '2.5%' is not a percentage such as 25%"},
		{"full-scan", "random-delay", "25h", "random-delay: 25h is out of range: 0s to 1d"},
		{"full-scan", "path", "srv", "path: 'srv': a path must be absolute: begin with /"},
		{"full-scan", "path", "/srv/*", "path: '/srv/*': * is not allowed here"},
		{"full-scan", "path", "/srv/..",
		 "path: '/srv/..': a path must not contain . or .. as a component"},
		{"full-scan", "exclude", "bin",
		 "exclude: 'bin': a path must be absolute: begin with /" ANYWHERE},
		{"full-scan", "exclude", "bin/",
		 "exclude: 'bin/': a path must be absolute: begin with /" ANYWHERE},
		{"full-scan", "exclude", "test.txt",
		 "exclude: 'test.txt': a path must be absolute: begin with /" ANYWHERE},
		{"engine", "reload", "fast", "reload: 'fast' is none of: auto parallel lean"},
		{"signatures", "mirror", "mirror.example/clamav",
		 "mirror: 'mirror.example/clamav': a URL begins with http:// or https://"},
		{"signatures", "mirror", "file:///srv/mirror",
		 "mirror: 'file:///srv/mirror': a URL begins with http:// or https://"},
		{"signatures", "mirror", "https:///clamav",
		 "mirror: 'https:///clamav': there is no host in this URL"},
		{"signatures", "mirror", "http://mirror/get?name=",
		 "mirror: 'http://mirror/get?name=': the URL of a mirror has neither ? nor #: "
		 "names of files are put behind it"},
		{"signatures", "mirror", "http://mirror/a b",
		 "mirror: 'http://mirror/a b': this character does not belong into a URL: write it "
		 "as %XX"},
		{"signatures", "database", "main.cvd", "database: 'main.cvd': " NAMES},
		{"signatures", "database", "../main", "database: '../main': " NAMES},
		{"signatures", "database", "main daily", "database: 'main daily': " NAMES},
		{"signatures", "database", FORTY_ONE, "database: '" FORTY_ONE "': " NAMES},
		{"signatures", "custom", "/srv/local.ndb",
		 "custom: '/srv/local.ndb': a URL begins with http://, https:// or file://"},
		{"signatures", "custom", "https://x/y",
		 "custom: 'https://x/y': the URL must end in the name of a file of signatures, "
		 "such "
		 "as local.ndb"},
		{"signatures", "custom", "https://x?/local.ndb",
		 "custom: 'https://x?/local.ndb': the URL must end in the name of a file of "
		 "signatures, such as local.ndb"},
		{"signatures", "custom", "https://x/y.cbc",
		 "custom: 'https://x/y.cbc': files of this kind are taken from signed sources "
		 "only: "
		 "a .cvd"},
		{"signatures", "custom-max-size", "1023",
		 "custom-max-size: 1023 is out of range: 1K to 4G"},
		{"signatures", "custom-max-size", "5G",
		 "custom-max-size: 5G is out of range: 1K to 4G"},
		{"signatures", "check-every", "31d", "check-every: 31d is out of range: 0s to 30d"},
		{"signatures", "check-every", "never",
		 "check-every: 'never' is not a duration such as 500ms, 15s, 2m or 1h"},
		{"signatures", "random-delay", "25h",
		 "random-delay: 25h is out of range: 0s to 1d"},
		{"signatures", "rate-limit", "100 KB",
		 "rate-limit: '100 KB' is not a size such as 4096, 512K, 100M or 2G"},
		{"signatures", "proxy", "proxy:3128",
		 "proxy: 'proxy:3128': a URL begins with http://, https:// or socks5://"},
		{"signatures", "ca-file", "ca.pem",
		 "ca-file: 'ca.pem': a path must be absolute: begin with /"},
		{"signatures", "max-age-warning", "-1",
		 "max-age-warning: '-1' is not a duration such as 500ms, 15s, 2m or 1h"},
		{"full-scan", "cross-filesystems", "on",
		 "cross-filesystems: 'on' is none of: yes no"},
	};
#undef ANYWHERE
#undef NAMES
#undef FORTY_ONE

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		char problem[768] = "";
		int r = conf_set(*state, cases[i].section, cases[i].key, cases[i].value, 0, problem,
				 sizeof(problem));

		if (r != -EINVAL || strcmp(problem, cases[i].problem))
			fail_msg("%s = %s: %d, %s", cases[i].key, cases[i].value, r, problem);
	}
	defaults_are_those_documented(state);
}

static void planned_keys_are_known_and_say_that_they_do_nothing(void **state)
{
	static const char *const keys[][2] = {
		{"alerts", "json-file"},     {"alerts", "repeat-after"}, {"alerts", "command"},
		{"alerts", "webhook"},	     {"alerts", "metrics-file"}, {"quarantine", "action"},
		{"quarantine", "directory"}, {"quarantine", "max-size"}, {"quarantine", "keep"},
	};

	for (size_t i = 0; i < N_ELEMENTS(keys); i++) {
		char problem[768] = "", expected[128];

		(void)snprintf(expected, sizeof(expected), "%s: has no effect in this version",
			       keys[i][1]);
		assert_int_equal(
			conf_set(*state, keys[i][0], keys[i][1], "x", 1, problem, sizeof(problem)),
			1);
		assert_string_equal(problem, expected);
	}
	defaults_are_those_documented(state);
}

static void every_section_is_known(void **state)
{
	static const char *const sections[] = {"service",    "on-access", "engine",    "full-scan",
					       "signatures", "alerts",	  "quarantine"};

	for (size_t i = 0; i < N_ELEMENTS(sections); i++)
		assert_true(conf_knows_section(sections[i]));
	assert_false(conf_knows_section("resolved"));
	assert_false(conf_knows_section("Engine"));
	assert_false(conf_knows_section(""));
}

static void lists_keep_order_and_lines_and_are_bounded(void **state)
{
	struct conf *conf = *state;
	char problem[768], value[32];

	for (unsigned i = 0; i < CONF_LIST_MAX; i++) {
		(void)snprintf(value, sizeof(value), "/srv/%u", i);
		assert_int_equal(conf_set(conf, "on-access", "exclude", value, 10 + i, problem,
					  sizeof(problem)),
				 0);
	}
	assert_int_equal(
		conf_set(conf, "on-access", "exclude", "/one/more", 1, problem, sizeof(problem)),
		-EINVAL);
	assert_string_equal(problem, "exclude: '/one/more': more than 256 entries");

	assert_int_equal(conf->exclude.n_entries, CONF_LIST_MAX);
	assert_string_equal(conf->exclude.entries[0].text, "/srv/0");
	assert_int_equal(conf->exclude.entries[0].line, 10);
	assert_string_equal(conf->exclude.entries[255].text, "/srv/255");
	assert_int_equal(conf->exclude.entries[255].line, 265);
}

static void a_single_key_is_taken_once_and_its_line_is_known(void **state)
{
	struct conf *conf = *state;
	char problem[768];

	assert_int_equal(conf_line(conf, "engine", "workers"), 0);
	assert_int_equal(conf_set(conf, "engine", "workers", "3", 7, problem, sizeof(problem)), 0);
	assert_int_equal(conf_line(conf, "engine", "workers"), 7);
	assert_int_equal(conf_set(conf, "engine", "workers", "4", 9, problem, sizeof(problem)),
			 -EINVAL);
	assert_string_equal(problem, "workers: given before, on line 7");
	assert_int_equal(
		conf_set(conf, "full-scan", "schedule", "off", 8, problem, sizeof(problem)), 0);
	assert_int_equal(
		conf_set(conf, "full-scan", "schedule", "off", 9, problem, sizeof(problem)),
		-EINVAL);
	assert_string_equal(problem, "schedule: given before, on line 8");
	assert_int_equal(conf->workers, 3);
	assert_int_equal(conf_line(conf, "engine", "no-such-key"), 0);
}

static void sources_of_signatures_are_normalized(void **state)
{
	struct conf *conf = *state;

	conf_fixture_set(conf, "signatures", "mirror", "HTTP://mirror/clamav/");
	conf_fixture_set(conf, "signatures", "mirror", "https://other");
	conf_fixture_set(conf, "signatures", "database", "daily");
	conf_fixture_set(conf, "signatures", "database",
			 "aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd");
	conf_fixture_set(conf, "signatures", "custom", "file:///srv//local.ndb");
	conf_fixture_set(conf, "signatures", "custom", "https://x/own.ldb?key=1");
	conf_fixture_set(conf, "signatures", "proxy", "socks5h://user:word@proxy:1080/");
	conf_fixture_set(conf, "signatures", "ca-file", "/etc//ca.pem");
	assert_string_equal(conf->mirror.entries[0].text, "http://mirror/clamav");
	assert_string_equal(conf->mirror.entries[1].text, "https://other");
	assert_string_equal(conf->database.entries[0].text, "daily");
	assert_int_equal(conf->database.n_entries, 2);
	assert_string_equal(conf->custom.entries[0].text, "file:///srv//local.ndb");
	assert_string_equal(conf->custom.entries[1].text, "https://x/own.ldb?key=1");
	assert_string_equal(conf->proxy, "socks5h://user:word@proxy:1080");
	assert_string_equal(conf->ca_file, "/etc/ca.pem");
}

static void signatures_are_in_the_state_directory_unless_told(void **state)
{
	char buffer[64];

	assert_ptr_equal(conf_signatures_dir(*state, buffer, sizeof(buffer)), buffer);
	assert_string_equal(buffer, "/var/lib/holdfast/signatures");
	conf_fixture_set(*state, "service", "state-dir", "/state");
	assert_string_equal(conf_signatures_dir(*state, buffer, sizeof(buffer)),
			    "/state/signatures");
	conf_fixture_set(*state, "engine", "signatures", "/sig");
	assert_string_equal(conf_signatures_dir(*state, buffer, sizeof(buffer)), "/sig");
}

static void no_configuration_can_be_freed(void **state)
{
	assert_null(conf_free(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CONF_TEST(defaults_are_those_documented),
		CONF_TEST(numbers_are_read_in_their_units),
		CONF_TEST(choices_are_read),
		CONF_TEST(switches_are_read),
		CONF_TEST(times_are_read),
		CONF_TEST(paths_are_normalized),
		CONF_TEST(bad_values_are_refused_with_a_reason_and_change_nothing),
		CONF_TEST(planned_keys_are_known_and_say_that_they_do_nothing),
		CONF_TEST(every_section_is_known),
		CONF_TEST(lists_keep_order_and_lines_and_are_bounded),
		CONF_TEST(a_single_key_is_taken_once_and_its_line_is_known),
		CONF_TEST(sources_of_signatures_are_normalized),
		CONF_TEST(signatures_are_in_the_state_directory_unless_told),
		CONF_TEST(no_configuration_can_be_freed),
	};

	return cmocka_run_group_tests_name("conf", tests, NULL, NULL);
}
