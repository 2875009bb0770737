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
static const char *explain_problem(const struct conf *conf, const char *path)
{
	FILE *stream = fopen("/proc/self/mountinfo", "re");
	struct mounts mounts = {0};
	const struct mount *mount;
	const char *problem = NULL;

	if (stream && mounts_read(&mounts, stream) == 0 && (mount = mounts_of_path(&mounts, path)))
		problem = filesystem_problem(mount->type, conf->remote_filesystems);
	mounts_free(&mounts);
	if (stream)
		(void)fclose(stream);
	return problem;
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
	if (decision.rule) {
		(void)json_object_set_new(
			answer, "rule",
			json_string(line_escape(escaped, sizeof(escaped), decision.rule->text)));
		(void)json_object_set_new(answer, "file", json_string(cli->config));
		(void)json_object_set_new(answer, "line", json_integer(decision.rule->line));
	}
	return answer;
}

static void explain_one(const struct cli *cli, const struct conf *conf, const char *path,
			json_t *answers)
{
	struct policy_decision decision = policy_path(conf, path);
	const char *problem =
		decision.scope == POLICY_IN_SCOPE ? explain_problem(conf, path) : NULL;

	if (answers)
		(void)json_array_append_new(answers, explain_json(cli, path, decision, problem));
	else
		explain_print(cli, path, decision, problem);
}

int verb_explain(const struct cli *cli, int argc, char **argv)
{
	struct conf *conf = cli_read_conf(cli);
	json_t *answers = cli->json ? json_array() : NULL;
	int status = CLI_OK;

	if (!conf)
		return CLI_ERROR;

	for (int i = 0; i < argc; i++) {
		char *path = explain_resolve(argv[i]);

		if (!path) {
			status = cli_error(
				"%s: there is no such file; give its path without . and ..",
				argv[i]);
			continue;
		}
		explain_one(cli, conf, path, answers);
		free(path);
	}
	if (cli->json) {
		cli_print_json(answers);
	} else if (conf->mode != CONTROL_MODE_BLOCK) {
		(void)printf("(mode = %s: nothing is blocked)\n",
			     conf->mode == CONTROL_MODE_NOTIFY ? "notify" : "off");
	}
	conf_free(conf);
	return status;
}
