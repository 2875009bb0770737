/* SPDX-License-Identifier: GPL-2.0-only */
#include "conf_problem.h"

#include "filesystem.h"
#include "match.h"
#include "mounts.h"
#include "signature.h"
#include "url.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

/* As the kernel: a path with more links than this leads nowhere. */
#define SYMLINKS_MAX 40

struct resolver {
	struct conf *conf;
	struct conf_problems problems;
};

/* Users and groups may be given as numbers. */
static bool parse_id(const char *text, unsigned *ret)
{
	char *end;
	unsigned long number = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || number >= UINT32_MAX)
		return false;
	*ret = (unsigned)number;
	return true;
}

static bool resolve_user(const char *name, uid_t *ret_uid, gid_t *ret_gid)
{
	struct passwd *user = parse_id(name, ret_uid) ? getpwuid(*ret_uid) : getpwnam(name);

	if (!user)
		return false;
	*ret_uid = user->pw_uid;
	*ret_gid = user->pw_gid;
	return true;
}

static bool resolve_group(const char *name, gid_t *ret_gid)
{
	struct group *group;

	if (parse_id(name, ret_gid))
		return true;
	group = getgrnam(name);
	if (group)
		*ret_gid = group->gr_gid;
	return group != NULL;
}

static void resolve_service(struct resolver *resolver)
{
	struct conf *conf = resolver->conf;
	unsigned line = conf_line(conf, "service", "user");

	if (!resolve_user(conf->user, &conf->uid, &conf->gid))
		conf_problem(&resolver->problems, line,
			     "user: there is no user '%s'; create it as a system user of its own",
			     conf->user);
	else if (conf->uid == 0)
		conf_problem(&resolver->problems, line,
			     "user: must not be root: its opens are never held, and files from "
			     "anywhere are unpacked as this user");
	if (!resolve_group(conf->control_group, &conf->control_gid))
		conf_problem(&resolver->problems, conf_line(conf, "service", "control-group"),
			     "control-group: there is no group '%s'", conf->control_group);
}

static void resolve_excluded_users(struct resolver *resolver)
{
	struct conf_list *users = &resolver->conf->exclude_user;

	for (size_t i = 0; i < users->n_entries; i++) {
		struct conf_entry *entry = &users->entries[i];
		gid_t gid;

		if (!parse_id(entry->text, &entry->uid) &&
		    !resolve_user(entry->text, &entry->uid, &gid))
			conf_problem(&resolver->problems, entry->line,
				     "exclude-user: there is no user '%s'", entry->text);
	}
}

/* Puts rest, which is empty or begins with a slash, behind a directory. */
static char *path_append(const char *directory, const char *rest)
{
	char *path;

	if (!strcmp(directory, "/") && *rest)
		directory = "";
	return asprintf(&path, "%s%s", directory, rest) < 0 ? NULL : path;
}

char *conf_resolve_path(const char *path)
{
	char *head = strdup(path), *real = NULL, *resolved;

	if (!head)
		return NULL;

	/* Leave out components from the end until the rest exists; the root always does. */
	while (!(real = realpath(*head ? head : "/", NULL)) && *head)
		*strrchr(head, '/') = '\0';
	resolved = real ? path_append(real, path + strlen(head)) : NULL;
	free(real);
	free(head);
	return resolved;
}

/* The path that a symbolic link at the first length bytes of path leads to, with what follows it.
 */
static char *link_follow(const char *path, size_t length, const char *link)
{
	char target[PATH_MAX], *followed;
	ssize_t n = readlink(link, target, sizeof(target) - 1);
	const char *slash = strrchr(link, '/');

	if (n < 0)
		return NULL;
	target[n] = '\0';
	return asprintf(&followed, "%.*s%s%s", *target == '/' ? 0 : (int)(slash - link + 1), link,
			target, path + length) < 0
		       ? NULL
		       : followed;
}

/* A rule that takes something out of protection must not be led elsewhere by a user. */
static char *find_foreign_link(const char *path, unsigned depth)
{
	for (size_t length = 1; path[length - 1] && depth < SYMLINKS_MAX; length++) {
		char *head, *next, *found;
		struct stat status;

		if (path[length] && path[length] != '/')
			continue;
		head = strndup(path, length);
		if (!head || lstat(head, &status) < 0 || !S_ISLNK(status.st_mode)) {
			free(head);
			continue;
		}
		if (status.st_uid != 0)
			return head;
		next = link_follow(path, length, head);
		found = next ? find_foreign_link(next, depth + 1) : NULL;
		free(next);
		free(head);
		return found;
	}
	return NULL;
}

char *conf_find_foreign_link(const char *path)
{
	return find_foreign_link(path, 0);
}

static void check_exclude(struct resolver *resolver, const struct conf_entry *entry)
{
	char *literal = strndup(entry->text, match_literal_length(entry->text));
	char *link = literal ? conf_find_foreign_link(literal) : NULL;

	if (link)
		conf_problem(&resolver->problems, entry->line,
			     "%s: %s is a symbolic link that does not belong to root: its owner "
			     "could lead "
			     "this exclusion anywhere; name the path it stands for",
			     entry->text, link);
	free(link);
	free(literal);
}

static void check_excludes(struct resolver *resolver, const struct conf_list *list)
{
	for (size_t i = 0; i < list->n_entries; i++)
		check_exclude(resolver, &list->entries[i]);
}

/* Resolves what stands before the first component with a *; the rest is a pattern, not a path. */
static void resolve_rule(struct resolver *resolver, struct conf_entry *entry)
{
	unsigned length = match_literal_length(entry->text);
	char *literal = strndup(entry->text, length);
	char *real = literal ? conf_resolve_path(literal) : NULL;
	char *rule = real ? path_append(real, entry->text + (length > 1 ? length : 0)) : NULL;

	if (real && strchr(real, '*'))
		conf_problem(&resolver->problems, entry->line,
			     "%s is really %s: no rule can mean a name that holds a *", literal,
			     real);
	free(literal);
	free(real);
	if (!rule) {
		conf_problem(&resolver->problems, entry->line, "out of memory");
		return;
	}
	free(entry->text);
	entry->text = rule;
}

static void resolve_rules(struct resolver *resolver, struct conf_list *list)
{
	for (size_t i = 0; i < list->n_entries; i++)
		resolve_rule(resolver, &list->entries[i]);
}

/* An include path need not exist: what it is on, or would appear on, must be fit to be watched. */
static void check_include(struct resolver *resolver, const struct mounts *mounts,
			  const struct conf_entry *entry)
{
	char *directory = strndup(entry->text, match_literal_length(entry->text));
	const struct mount *mount = directory ? mounts_of_path(mounts, directory) : NULL;
	const char *problem =
		mount ? filesystem_problem(mount->type, resolver->conf->remote_filesystems) : NULL;
	struct stat status;

	if (!directory)
		conf_problem(&resolver->problems, entry->line, "out of memory");
	else if (problem)
		conf_problem(&resolver->problems, entry->line, "include: %s is on %s", directory,
			     problem);
	else if (lstat(directory, &status) == 0 && S_ISLNK(status.st_mode))
		conf_warning(&resolver->problems, entry->line,
			     "include: %s is a symbolic link that leads nowhere: reload when it "
			     "does",
			     directory);
	else if (stat(directory, &status) < 0)
		conf_warning(&resolver->problems, entry->line,
			     "include: %s: %s; it is protected from the moment it appears",
			     directory, strerror(errno));
	free(directory);
}

static void check_includes(struct resolver *resolver)
{
	const struct conf_list *list = &resolver->conf->include;
	FILE *stream = fopen("/proc/self/mountinfo", "re");
	struct mounts mounts = {0};

	if (!stream || mounts_read(&mounts, stream) < 0)
		conf_problem(&resolver->problems, 0, "cannot read /proc/self/mountinfo: %s",
			     strerror(errno));
	for (size_t i = 0; i < list->n_entries; i++)
		check_include(resolver, &mounts, &list->entries[i]);
	mounts_free(&mounts);
	if (stream)
		(void)fclose(stream);
}

/* Whoever names nothing wants everything looked at. */
static void resolve_scan_paths(struct resolver *resolver)
{
	struct conf *conf = resolver->conf;
	char problem[64];

	if (!conf->scan_path.n_entries &&
	    conf_set(conf, "full-scan", "path", "/", 0, problem, sizeof(problem)) < 0)
		conf_problem(&resolver->problems, 0, "out of memory");
	resolve_rules(resolver, &conf->scan_path);
}

/* Like an include path it may appear later. */
static void check_scan_paths(const struct resolver *resolver)
{
	const struct conf_list *paths = &resolver->conf->scan_path;
	struct stat status;

	for (size_t i = 0; i < paths->n_entries; i++)
		if (stat(paths->entries[i].text, &status) < 0)
			conf_warning(&resolver->problems, paths->entries[i].line,
				     "path: %s: %s; full scans look at it once it is there",
				     paths->entries[i].text, strerror(errno));
}

/* What schedule, finish-by and random-delay say must leave time for a scan. */
static void check_scan_window(struct resolver *resolver)
{
	const struct conf *conf = resolver->conf;
	const unsigned day = 24 * 60,
		       minutes = (conf->finish_by.minute + day - conf->schedule.minute) % day;

	if (!conf->finish_by.is_set || !conf->schedule.days)
		return;
	if (!minutes)
		conf_problem(&resolver->problems, conf_line(conf, "full-scan", "finish-by"),
			     "finish-by: this is when scans begin; without finish-by they take as "
			     "long as they need");
	else if (conf->scan_random_delay_ms >= minutes * UINT64_C(60000))
		conf_problem(&resolver->problems, conf_line(conf, "full-scan", "random-delay"),
			     "random-delay: must be shorter than the %u minutes from schedule to "
			     "finish-by, or no scan may begin",
			     minutes);
}

/* Where a file or directory that will be made must have a directory above it. */
static void check_parent(struct resolver *resolver, const char *section, const char *key,
			 const char *path)
{
	char *parent = strdup(path), *slash = parent ? strrchr(parent, '/') : NULL;
	struct stat status;

	if (slash) {
		slash[slash == parent] = '\0';
		if (stat(parent, &status) < 0 || !S_ISDIR(status.st_mode))
			conf_problem(&resolver->problems, conf_line(resolver->conf, section, key),
				     "%s: there is no directory %s", key, parent);
	}
	free(parent);
}

/* The default directory of signatures may be missing: the embedded test signature is loaded
 * then. */
static void check_signatures(struct resolver *resolver)
{
	const char *directory = resolver->conf->signatures;
	struct stat status;

	if (!directory)
		return;
	if (stat(directory, &status) < 0)
		conf_problem(&resolver->problems, conf_line(resolver->conf, "engine", "signatures"),
			     "signatures: %s: %s", directory, strerror(errno));
	else if (!S_ISDIR(status.st_mode))
		conf_problem(&resolver->problems, conf_line(resolver->conf, "engine", "signatures"),
			     "signatures: %s is not a directory", directory);
}

/* The official databases, where a mirror is named and none of its own. */
static void resolve_databases(struct resolver *resolver)
{
	static const char *const official[] = {"main", "daily", "bytecode"};
	struct conf *conf = resolver->conf;
	char problem[64];

	for (size_t i = 0; i < sizeof(official) / sizeof(official[0]) && conf->mirror.n_entries &&
			   conf->database.n_entries == i;
	     i++)
		if (conf_set(conf, "signatures", "database", official[i], 0, problem,
			     sizeof(problem)) < 0)
			conf_problem(&resolver->problems, 0, "out of memory");
}

static void check_databases(struct resolver *resolver)
{
	const struct conf_list *list = &resolver->conf->database;

	for (size_t i = 0; i < list->n_entries; i++)
		for (size_t j = 0; j < i; j++)
			if (!strcmp(list->entries[i].text, list->entries[j].text))
				conf_problem(&resolver->problems, list->entries[i].line,
					     "database: %s is named on line %u too",
					     list->entries[i].text, list->entries[j].line);
}

/* Names become files of one directory. */
static void check_custom(struct resolver *resolver)
{
	const struct conf *conf = resolver->conf;

	for (size_t i = 0; i < conf->custom.n_entries; i++) {
		const struct conf_entry *entry = &conf->custom.entries[i];
		char name[SIGNATURE_FILE_MAX + 1];

		(void)snprintf(name, sizeof(name), "%s", url_file_name(entry->text));
		for (size_t j = 0; j < i; j++)
			if (!strcmp(name, url_file_name(conf->custom.entries[j].text)))
				conf_problem(&resolver->problems, entry->line,
					     "custom: another one is called %s too", name);
		for (size_t j = 0; j < conf->database.n_entries; j++) {
			char asked[SIGNATURE_DATABASE_MAX + 8];

			(void)snprintf(asked, sizeof(asked), "%s.cvd",
				       conf->database.entries[j].text);
			if (!strcmp(name, asked))
				conf_problem(&resolver->problems, entry->line,
					     "custom: %s is what the mirrors are asked for", name);
		}
	}
}

/* The signatures that there are protect without them. */
static void check_credentials(struct resolver *resolver)
{
	const struct conf *conf = resolver->conf;
	const struct {
		const char *key, *path;
	} files[] = {
		{"ca-file", conf->ca_file},
		{"client-certificate", conf->client_certificate},
		{"client-key", conf->client_key},
		{"netrc-file", conf->netrc_file},
	};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (files[i].path && access(files[i].path, F_OK) < 0)
			conf_warning(&resolver->problems,
				     conf_line(conf, "signatures", files[i].key),
				     "%s: %s: %s; no signatures are fetched without it",
				     files[i].key, files[i].path, strerror(errno));
	if (conf->client_key && !conf->client_certificate)
		conf_problem(&resolver->problems, conf_line(conf, "signatures", "client-key"),
			     "client-key: there is no client-certificate that it belongs to");
}

int conf_resolve(struct conf *conf, conf_report report, void *context)
{
	struct resolver resolver = {
		.conf = conf,
		.problems = {.report = report, .context = context},
	};

	resolve_service(&resolver);
	resolve_excluded_users(&resolver);
	check_excludes(&resolver, &conf->exclude);
	check_excludes(&resolver, &conf->exclude_process);
	check_excludes(&resolver, &conf->scan_exclude);
	resolve_rules(&resolver, &conf->include);
	resolve_rules(&resolver, &conf->exclude);
	resolve_rules(&resolver, &conf->exclude_process);
	resolve_rules(&resolver, &conf->scan_exclude);
	resolve_scan_paths(&resolver);
	check_includes(&resolver);
	check_scan_paths(&resolver);
	check_scan_window(&resolver);
	check_parent(&resolver, "service", "run-dir", conf->run_dir);
	check_parent(&resolver, "service", "state-dir", conf->state_dir);
	if (conf->log_file)
		check_parent(&resolver, "alerts", "log-file", conf->log_file);
	check_signatures(&resolver);
	resolve_databases(&resolver);
	check_databases(&resolver);
	check_custom(&resolver);
	check_credentials(&resolver);
	if (!conf->syslog && !conf->log_file)
		report(context, LOG_WARNING, conf_line(conf, "alerts", "syslog"),
		       "syslog = no and no log-file: findings are told to nobody but standard "
		       "error");

	return resolver.problems.n ? -EINVAL : 0;
}
