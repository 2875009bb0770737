/* SPDX-License-Identifier: GPL-2.0-only */
/* holdfast explain PATH...: which rule decides over a path. The guard asks the same functions. */
#include "cli.h"

#include "../common/line.h"
#include "../common/match.h"
#include "../common/policy.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
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

static void explain_print(const struct cli *cli, const char *path, struct policy_decision decision)
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
	(void)putchar('\n');
}

static json_t *explain_json(const struct cli *cli, const char *path,
			    struct policy_decision decision)
{
	json_t *answer = json_object();
	char escaped[LINE_ESCAPED_MAX(PATH_MAX)];

	(void)json_object_set_new(answer, "path",
				  json_string(line_escape(escaped, sizeof(escaped), path)));
	(void)json_object_set_new(answer, "scope", json_string(scopes[decision.scope].name));
	if (decision.rule) {
		(void)json_object_set_new(
			answer, "rule",
			json_string(line_escape(escaped, sizeof(escaped), decision.rule->text)));
		(void)json_object_set_new(answer, "file", json_string(cli->config));
		(void)json_object_set_new(answer, "line", json_integer(decision.rule->line));
	}
	return answer;
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
				"%s: it does not exist, and . or .. in it mean nothing then",
				argv[i]);
			continue;
		}
		if (cli->json)
			(void)json_array_append_new(
				answers, explain_json(cli, path, policy_path(conf, path)));
		else
			explain_print(cli, path, policy_path(conf, path));
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
