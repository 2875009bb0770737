/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/common/policy.h"
#include "../support/conf_fixture.h"

static int setup(void **state)
{
	struct conf *conf;

	if (conf_fixture_setup(state) < 0)
		return -1;
	conf = *state;
	conf_fixture_set(conf, "on-access", "include", "/srv");
	conf_fixture_set(conf, "on-access", "include", "/home/*/inbox");
	conf_fixture_set(conf, "on-access", "include", "/srv/www");
	conf_fixture_set(conf, "on-access", "exclude", "/srv/cache");
	conf_fixture_set(conf, "on-access", "exclude", "/srv/www/**/tmp");
	conf_fixture_set(conf, "on-access", "exclude", "/opt");
	conf_fixture_set(conf, "on-access", "exclude-process", "/usr/bin/backup");
	conf_fixture_set(conf, "on-access", "exclude-process", "/opt/*/bin");
	conf_fixture_set(conf, "on-access", "exclude-user", "alice");
	conf_fixture_set(conf, "on-access", "exclude-user", "bob");
	conf->exclude_user.entries[0].uid = 1000;
	conf->exclude_user.entries[1].uid = 0;
	return 0;
}

static void paths_are_decided_by_include_and_exclude(void **state)
{
	static const struct {
		const char *path;
		enum policy_scope scope;
		const char *rule; /* that decides */
	} cases[] = {
		{"/etc/passwd", POLICY_NOT_INCLUDED, NULL},
		{"/srv2", POLICY_NOT_INCLUDED, NULL},
		{"/", POLICY_NOT_INCLUDED, NULL},
		/* excluded only, which is not the same as included and excluded */
		{"/opt/tool", POLICY_NOT_INCLUDED, NULL},
		{"/srv", POLICY_IN_SCOPE, "/srv"},
		{"/srv/data/x", POLICY_IN_SCOPE, "/srv"},
		{"/srv/www/index.html", POLICY_IN_SCOPE, "/srv"},
		{"/home/u/inbox/mail", POLICY_IN_SCOPE, "/home/*/inbox"},
		{"/home/u/outbox", POLICY_NOT_INCLUDED, NULL},
		{"/srv/cache", POLICY_EXCLUDED, "/srv/cache"},
		{"/srv/cache/x", POLICY_EXCLUDED, "/srv/cache"},
		{"/srv/cache2", POLICY_IN_SCOPE, "/srv"},
		/* exclude wins over the longer include, too */
		{"/srv/www/a/tmp/x", POLICY_EXCLUDED, "/srv/www/**/tmp"},
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		struct policy_decision decision = policy_path(*state, cases[i].path);

		if (decision.scope != cases[i].scope)
			fail_msg("%s: %d, not %d", cases[i].path, decision.scope, cases[i].scope);
		if (cases[i].rule)
			assert_string_equal(decision.rule->text, cases[i].rule);
		else
			assert_null(decision.rule);
	}
}

/* A test of its own rules: those of the group's setup are too few. */
static void directories_are_decided_for_whatever_is_in_them(void **state)
{
	static const struct {
		const char *path;
		enum policy_scope scope;
		const char *rule; /* that decides */
	} cases[] = {
		/* included or excluded with all that is in it */
		{"/srv", POLICY_IN_SCOPE, "/srv"},
		{"/srv/data", POLICY_IN_SCOPE, "/srv"},
		{"/srv/cache", POLICY_EXCLUDED, "/srv/cache"},
		{"/srv/cache/x", POLICY_EXCLUDED, "/srv/cache"},
		{"/srv/a/tmp", POLICY_EXCLUDED, "/srv/**/tmp"},
		{"/opt", POLICY_NOT_INCLUDED, NULL},
		/* one file in it is */
		{"/", POLICY_IN_SCOPE, "/srv"},
		{"/etc", POLICY_IN_SCOPE, "/etc/passwd"},
		{"/etc/ssh", POLICY_NOT_INCLUDED, NULL},
		{"/etc2", POLICY_NOT_INCLUDED, NULL},
		/* some names in it are */
		{"/var/spool", POLICY_IN_SCOPE, "/var/spool/*.msg"},
		{"/var/spool/cron", POLICY_NOT_INCLUDED, NULL},
		{"/var", POLICY_NOT_INCLUDED, NULL},
		{"/home/u", POLICY_IN_SCOPE, "/home/*/inbox"},
		{"/home/u/inbox", POLICY_IN_SCOPE, "/home/*/inbox"},
		{"/home", POLICY_NOT_INCLUDED, NULL},
		{"/home/u/outbox", POLICY_NOT_INCLUDED, NULL},
		/* all that is in it, but not the directory */
		{"/data", POLICY_IN_SCOPE, "/data/**"},
		{"/data/x", POLICY_IN_SCOPE, "/data/**"},
		/* what is excluded is all in it, but not the directory */
		{"/srv/mail", POLICY_IN_SCOPE, "/srv"},
		{"/srv/mail/x", POLICY_EXCLUDED, "/srv/mail/**"},
		/* one file in it is excluded, others may be there */
		{"/srv/www", POLICY_IN_SCOPE, "/srv"},
		{"/srv/www/index.html", POLICY_EXCLUDED, "/srv/www/index.html"},
	};
	static const struct {
		const char *key, *rule;
	} rules[] = {
		{"include", "/etc/passwd"},   {"include", "/srv"},
		{"include", "/home/*/inbox"}, {"include", "/var/spool/*.msg"},
		{"include", "/data/**"},      {"exclude", "/srv/cache"},
		{"exclude", "/srv/**/tmp"},   {"exclude", "/srv/mail/**"},
		{"exclude", "/opt"},	      {"exclude", "/srv/www/index.html"},
	};
	struct conf *conf = conf_new();

	assert_non_null(conf);
	for (size_t i = 0; i < N_ELEMENTS(rules); i++)
		conf_fixture_set(conf, "on-access", rules[i].key, rules[i].rule);
	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		struct policy_decision decision = policy_directory(conf, cases[i].path);

		if (decision.scope != cases[i].scope)
			fail_msg("%s: %d, not %d", cases[i].path, decision.scope, cases[i].scope);
		if (cases[i].rule)
			assert_string_equal(decision.rule->text, cases[i].rule);
		else
			assert_null(decision.rule);
	}
	conf_free(conf);
}

/* What people write who mean a directory, or a name, and what it means. */
static void a_full_scan_is_decided_by_its_own_rules(void **state)
{
	static const struct {
		const char *path;
		enum policy_scope scope;
		const char *rule; /* that decides */
	} cases[] = {
		{"/srv", POLICY_IN_SCOPE, "/srv"},
		{"/srv/a", POLICY_IN_SCOPE, "/srv"},
		{"/srv2", POLICY_NOT_INCLUDED, NULL},
		{"/", POLICY_NOT_INCLUDED, NULL},
		{"/var/mail/u", POLICY_IN_SCOPE, "/var/mail/u"},
		{"/var/mail/v", POLICY_NOT_INCLUDED, NULL},
		/* excluded only */
		{"/bin/ls", POLICY_NOT_INCLUDED, NULL},
		{"/srv/bin", POLICY_EXCLUDED, "/srv/bin"},
		{"/srv/bin/ls", POLICY_EXCLUDED, "/srv/bin"},
		{"/srv/bin2", POLICY_IN_SCOPE, "/srv"},
		{"/srv/usr/bin/ls", POLICY_IN_SCOPE, "/srv"},
		{"/srv/test.txt", POLICY_EXCLUDED, "/**/test.txt"},
		{"/srv/a/b/test.txt", POLICY_EXCLUDED, "/**/test.txt"},
		{"/srv/mytest.txt", POLICY_IN_SCOPE, "/srv"},
		{"/srv/test.txt.gz", POLICY_IN_SCOPE, "/srv"},
		/* the rules of [on-access] have no say */
		{"/home/u", POLICY_NOT_INCLUDED, NULL},
		{"/srv/cache", POLICY_IN_SCOPE, "/srv"},
	};
	struct conf *conf = conf_new();

	assert_non_null(conf);
	conf_fixture_set(conf, "on-access", "include", "/home");
	conf_fixture_set(conf, "on-access", "exclude", "/srv/cache");
	conf_fixture_set(conf, "full-scan", "path", "/srv");
	conf_fixture_set(conf, "full-scan", "path", "/var/mail/u");
	conf_fixture_set(conf, "full-scan", "exclude", "/srv/bin/");
	conf_fixture_set(conf, "full-scan", "exclude", "/bin");
	conf_fixture_set(conf, "full-scan", "exclude", "/**/test.txt");
	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		struct policy_decision decision = policy_full_scan(conf, cases[i].path);

		if (decision.scope != cases[i].scope)
			fail_msg("%s: %d, not %d", cases[i].path, decision.scope, cases[i].scope);
		if (cases[i].rule)
			assert_string_equal(decision.rule->text, cases[i].rule);
		else
			assert_null(decision.rule);
	}
	assert_int_equal(policy_path(conf, "/srv/a").scope, POLICY_NOT_INCLUDED);
	assert_int_equal(policy_path(conf, "/home/test.txt").scope, POLICY_IN_SCOPE);
	conf_free(conf);
}

static void without_rules_nothing_is_in_scope(void **state)
{
	struct conf *conf = conf_new();

	assert_non_null(conf);
	assert_int_equal(policy_path(conf, "/srv").scope, POLICY_NOT_INCLUDED);
	assert_int_equal(policy_directory(conf, "/").scope, POLICY_NOT_INCLUDED);
	assert_int_equal(policy_full_scan(conf, "/srv").scope, POLICY_NOT_INCLUDED);
	assert_null(policy_user(conf, 0));
	assert_null(policy_process(conf, "/usr/bin/backup"));
	conf_free(conf);
}

static void users_are_excluded_by_uid(void **state)
{
	assert_string_equal(policy_user(*state, 1000)->text, "alice");
	assert_string_equal(policy_user(*state, 0)->text, "bob");
	assert_null(policy_user(*state, 1001));
	assert_null(policy_user(*state, (uid_t)-1));
}

static void processes_are_excluded_by_the_path_of_their_executable(void **state)
{
	assert_string_equal(policy_process(*state, "/usr/bin/backup")->text, "/usr/bin/backup");
	assert_string_equal(policy_process(*state, "/opt/x/bin/y")->text, "/opt/*/bin");
	assert_null(policy_process(*state, "/usr/bin/backup2"));
	/* what the kernel shows for an executable that was replaced: not the same program */
	assert_null(policy_process(*state, "/usr/bin/backup (deleted)"));
	assert_null(policy_process(*state, "/srv/cache/x"));
	assert_null(policy_process(*state, ""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_are_decided_by_include_and_exclude),
		cmocka_unit_test(directories_are_decided_for_whatever_is_in_them),
		cmocka_unit_test(a_full_scan_is_decided_by_its_own_rules),
		cmocka_unit_test(without_rules_nothing_is_in_scope),
		cmocka_unit_test(users_are_excluded_by_uid),
		cmocka_unit_test(processes_are_excluded_by_the_path_of_their_executable),
	};

	return cmocka_run_group_tests_name("policy", tests, setup, conf_fixture_teardown);
}
