/* SPDX-License-Identifier: GPL-2.0-only */
/* holdfast explain PATH...: which rule decides over a path. The guard asks the same functions. */
#include "cli.h"

#include "../common/filesystem.h"
#include "../common/line.h"
#include "../common/match.h"
#include "../common/mounts.h"
#include "../common/policy.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a decision is called, for programs and for people. */
static const struct {
	const char *name, *meaning;
} scopes[] = {
	[POLICY_NOT_INCLUDED] = {"not-included", "not protected: it is below no include path"},
	[POLICY_EXCLUDED] = {"excluded", "not protected: excluded by"},
	[POLICY_IN_SCOPE] = {"in-scope", "protected by"},
};

/* Whether full scans look at a file. */
struct explanation {
	struct policy_decision decision;
	char problem[256]; /* why it is not looked at all the same; empty: it is */
};

/* Makes a path absolute and resolves its symbolic links, as the kernel does before it names a
 * file. */
static char *explain_resolve(const char *path)
{
	char directory[PATH_MAX], *absolute, *normal, *real = NULL;
	const char *problem;

	if (*path == '/')
		absolute = strdup(path);
	else if (!getcwd(directory, sizeof(directory)) ||
		 asprintf(&absolute, "%s/%s", directory, path) < 0)
		absolute = NULL;
	if (!absolute)
		return NULL;

	/* Where it exists realpath() knows what . and .. mean. Where not, there is no file to
	 * open. */
	real = realpath(absolute, NULL);
	if (!real) {
		normal = match_normalize(absolute, &problem);
		real = normal ? conf_resolve_path(normal) : NULL;
		free(normal);
	}
	free(absolute);
	return real;
}

/* Why a file in scope is on a filesystem that is left alone; NULL: it is not. */
static const char *explain_problem(const struct conf *conf, const struct mounts *mounts,
				   const char *path)
{
	const struct mount *mount = mounts_of_path(mounts, path);

	return mount ? filesystem_problem(mount->type, conf->remote_filesystems) : NULL;
}

/* Why full scans do not enter a mount below one of their paths; empty: they do. */
static void explain_mount(const struct conf *conf, const struct mount *mount,
			  const struct mount *begin, char *problem, size_t size)
{
	enum filesystem_kind kind = filesystem_kind(mount->type);
	char point[LINE_ESCAPED_MAX(PATH_MAX)], type[LINE_ESCAPED_MAX(NAME_MAX)];

	line_escape(point, sizeof(point), mount->point);
	line_escape(type, sizeof(type), mount->type);
	if (kind == FILESYSTEM_KERNEL)
		(void)snprintf(problem, size, "%s is the kernel's own filesystem (%s)", point,
			       type);
	else if (kind == FILESYSTEM_AUTOMOUNT)
		(void)snprintf(problem, size, "%s is an automounter's directory", point);
	else if (kind == FILESYSTEM_REMOTE && !conf->scan_remote_filesystems)
		(void)snprintf(problem, size,
			       "%s is a network, cluster or FUSE filesystem (%s), and "
			       "remote-filesystems = no",
			       point, type);
	else if (!conf->cross_filesystems && mount->device != begin->device)
		(void)snprintf(problem, size,
			       "%s is another filesystem, and cross-filesystems = no", point);
}

/* Goes down to path as the walk does: what it does not enter hides all below. */
static void explain_way(const struct conf *conf, const struct mounts *mounts, const char *from,
			const char *path, char *problem, size_t size)
{
	const struct mount *begin = mounts_of_path(mounts, from);
	size_t length = strlen(from);

	while (begin && !*problem) {
		char *head = strndup(path, length);
		const struct mount *mount = head ? mounts_of_path(mounts, head) : NULL;

		if (mount)
			explain_mount(conf, mount, begin, problem, size);
		free(head);
		if (!path[length])
			break;
		length += path[length] == '/';
		length += strcspn(path + length, "/");
	}
}

static struct explanation explain_full_scan(const struct conf *conf, const struct mounts *mounts,
					    const char *path)
{
	struct explanation full = {.decision = policy_full_scan(conf, path)};

	if (full.decision.scope == POLICY_IN_SCOPE)
		explain_way(conf, mounts, full.decision.rule->text, path, full.problem,
			    sizeof(full.problem));
	return full;
}

static bool explain_is_too_large(const struct conf *conf, const char *path)
{
	struct stat status;

	return lstat(path, &status) == 0 && S_ISREG(status.st_mode) &&
	       (uint64_t)status.st_size > conf->max_file_size;
}

static void explain_print(const struct cli *cli, const char *path, struct policy_decision decision,
			  const char *problem)
{
	const char *key = decision.scope == POLICY_EXCLUDED ? "exclude" : "include";
	char escaped[LINE_ESCAPED_MAX(PATH_MAX)];

	(void)printf("%s: %s%s%s", line_escape(escaped, sizeof(escaped), path),
		     cli_style(decision.scope == POLICY_IN_SCOPE ? CLI_GOOD : CLI_BOLD),
		     scopes[decision.scope].meaning, cli_style(CLI_PLAIN));
	if (decision.rule)
		(void)printf(" %s = %s (%s:%u)", key,
			     line_escape(escaped, sizeof(escaped), decision.rule->text),
			     cli->config, decision.rule->line);
	if (problem)
		(void)printf("\n  %sNOT PROTECTED%s all the same: it is on %s", cli_style(CLI_BAD),
			     cli_style(CLI_PLAIN), problem);
	(void)putchar('\n');
}

static void explain_print_full_scan(const struct cli *cli, const struct explanation *full)
{
	static const char *const meanings[] = {
		[POLICY_NOT_INCLUDED] = "not scanned: it is below no path of [full-scan]",
		[POLICY_EXCLUDED] = "not scanned: excluded by exclude =",
		[POLICY_IN_SCOPE] = "scanned by path =",
	};
	const struct conf_entry *rule = full->decision.rule;
	char escaped[LINE_ESCAPED_MAX(PATH_MAX)];

	(void)printf("  full scan: %s", meanings[full->decision.scope]);
	if (rule)
		(void)printf(" %s", line_escape(escaped, sizeof(escaped), rule->text));
	if (rule && rule->line)
		(void)printf(" (%s:%u)", cli->config, rule->line);
	if (*full->problem)
		(void)printf("\n  %sNOT SCANNED%s all the same: %s", cli_style(CLI_BAD),
			     cli_style(CLI_PLAIN), full->problem);
	(void)putchar('\n');
}

/* The rule that decided, and where it stands. */
static void explain_json_rule(const struct cli *cli, json_t *answer, const struct conf_entry *rule)
{
	char escaped[LINE_ESCAPED_MAX(PATH_MAX)];

	if (!rule)
		return;
	(void)json_object_set_new(answer, "rule",
				  json_string(line_escape(escaped, sizeof(escaped), rule->text)));
	(void)json_object_set_new(answer, "file", json_string(cli->config));
	(void)json_object_set_new(answer, "line", json_integer(rule->line));
}

static json_t *explain_json_full_scan(const struct cli *cli, const struct explanation *full)
{
	json_t *answer =
		json_pack("{s:s, s:b, s:s}", "scope", scopes[full->decision.scope].name, "scanned",
			  full->decision.scope == POLICY_IN_SCOPE && !*full->problem, "problem",
			  full->problem);

	explain_json_rule(cli, answer, full->decision.rule);
	return answer;
}

static json_t *explain_json(const struct cli *cli, const char *path,
			    struct policy_decision decision, const char *problem)
{
	json_t *answer = json_object();
	char escaped[LINE_ESCAPED_MAX(PATH_MAX)];

	(void)json_object_set_new(answer, "path",
				  json_string(line_escape(escaped, sizeof(escaped), path)));
	(void)json_object_set_new(answer, "scope", json_string(scopes[decision.scope].name));
	(void)json_object_set_new(answer, "watched",
				  json_boolean(decision.scope == POLICY_IN_SCOPE && !problem));
	explain_json_rule(cli, answer, decision.rule);
	return answer;
}

static void explain_one(const struct cli *cli, const struct conf *conf, const struct mounts *mounts,
			const char *path, json_t *answers)
{
	struct policy_decision decision = policy_path(conf, path);
	struct explanation full = explain_full_scan(conf, mounts, path);
	const char *problem =
		decision.scope == POLICY_IN_SCOPE ? explain_problem(conf, mounts, path) : NULL;
	bool too_large = explain_is_too_large(conf, path);
	json_t *answer;

	if (answers) {
		answer = explain_json(cli, path, decision, problem);
		(void)json_object_set_new(answer, "over_max_file_size", json_boolean(too_large));
		(void)json_object_set_new(answer, "full_scan", explain_json_full_scan(cli, &full));
		(void)json_array_append_new(answers, answer);
	} else {
		explain_print(cli, path, decision, problem);
		explain_print_full_scan(cli, &full);
		if (too_large)
			(void)printf("  over max-file-size: never verified completely\n");
	}
}

/* Where it cannot be read, nothing is said of filesystems. */
static void explain_read_mounts(struct mounts *mounts)
{
	FILE *stream = fopen("/proc/self/mountinfo", "re");

	if (stream && mounts_read(mounts, stream) < 0)
		mounts_free(mounts);
	if (stream)
		(void)fclose(stream);
}

int verb_explain(const struct cli *cli, int argc, char **argv)
{
	struct conf *conf = cli_read_conf(cli);
	json_t *answers = cli->json ? json_array() : NULL;
	struct mounts mounts = {0};
	int status = CLI_OK;

	if (!conf)
		return CLI_ERROR;
	explain_read_mounts(&mounts);

	for (int i = 0; i < argc; i++) {
		char *path = explain_resolve(argv[i]);

		if (!path) {
			status = cli_error(
				"%s: there is no such file; give its path without . and ..",
				argv[i]);
			continue;
		}
		explain_one(cli, conf, &mounts, path, answers);
		free(path);
	}
	if (cli->json) {
		cli_print_json(answers);
	} else if (conf->mode != CONTROL_MODE_BLOCK) {
		(void)printf("(mode = %s: nothing is blocked)\n",
			     conf->mode == CONTROL_MODE_NOTIFY ? "notify" : "off");
	}
	mounts_free(&mounts);
	conf_free(conf);
	return status;
}
