/* SPDX-License-Identifier: GPL-2.0-only */
#include "policy.h"

#include "match.h"

#include <string.h>

static const struct conf_entry *policy_find(const struct conf_list *rules, const char *path)
{
	for (size_t i = 0; i < rules->n_entries; i++)
		if (match_path(rules->entries[i].text, path))
			return &rules->entries[i];
	return NULL;
}

static struct policy_decision policy_decide(const struct conf_list *includes,
					    const struct conf_list *excludes, const char *path)
{
	const struct conf_entry *include = policy_find(includes, path), *exclude;

	if (!include)
		return (struct policy_decision){POLICY_NOT_INCLUDED, NULL};
	exclude = policy_find(excludes, path);
	if (exclude)
		return (struct policy_decision){POLICY_EXCLUDED, exclude};
	return (struct policy_decision){POLICY_IN_SCOPE, include};
}

struct policy_decision policy_path(const struct conf *conf, const char *path)
{
	return policy_decide(&conf->include, &conf->exclude, path);
}

struct policy_decision policy_full_scan(const struct conf *conf, const char *path)
{
	struct policy_decision decision =
		policy_decide(&conf->scan_path, &conf->scan_exclude, path);

	/* Of paths that are below each other, each is walked by itself. */
	for (size_t i = 0; decision.scope == POLICY_IN_SCOPE && i < conf->scan_path.n_entries; i++)
		if (match_path(conf->scan_path.entries[i].text, path) &&
		    strlen(conf->scan_path.entries[i].text) > strlen(decision.rule->text))
			decision.rule = &conf->scan_path.entries[i];
	return decision;
}

struct policy_decision policy_directory(const struct conf *conf, const char *path)
{
	struct policy_decision decision = policy_path(conf, path);

	/* What is excluded or included is so with all that is in it. */
	for (size_t i = 0; decision.scope == POLICY_NOT_INCLUDED && i < conf->include.n_entries;
	     i++)
		if (match_child(conf->include.entries[i].text, path))
			decision = (struct policy_decision){POLICY_IN_SCOPE,
							    &conf->include.entries[i]};
	return decision;
}

const struct conf_entry *policy_user(const struct conf *conf, uid_t uid)
{
	for (size_t i = 0; i < conf->exclude_user.n_entries; i++)
		if (conf->exclude_user.entries[i].uid == uid)
			return &conf->exclude_user.entries[i];
	return NULL;
}

const struct conf_entry *policy_process(const struct conf *conf, const char *exe)
{
	return policy_find(&conf->exclude_process, exe);
}
