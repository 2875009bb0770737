/* SPDX-License-Identifier: GPL-2.0-only */
/* holdfast check-config [FILE]: what is wrong with a configuration, without starting anything. */
#include "cli.h"

#include <syslog.h>

struct check {
	const struct cli *cli;
	json_t *problems; /* --json only */
};

static void check_report(void *context, int priority, unsigned line, const char *text)
{
	const char *severity = priority > LOG_ERR ? "warning" : "error";
	struct check *check = context;

	if (check->problems) {
		(void)json_array_append_new(check->problems,
					    json_pack("{s:s, s:i, s:s}", "severity", severity,
						      "line", (int)line, "text", text));
		return;
	}
	if (line)
		(void)printf("%s:%u: %s: %s\n", check->cli->config, line, severity, text);
	else
		(void)printf("%s: %s: %s\n", check->cli->config, severity, text);
}

int verb_check_config(const struct cli *cli, int argc, char **argv)
{
	const struct cli named = {.config = argc ? argv[0] : cli->config, .json = cli->json};
	struct check check = {.cli = &named, .problems = cli->json ? json_array() : NULL};
	struct conf *conf = conf_read_file(named.config, check_report, &check);
	bool valid = conf && conf_resolve(conf, check_report, &check) == 0;

	if (cli->json) {
		json_t *answer = json_pack("{s:s, s:b, s:o}", "file", named.config, "valid", valid,
					   "problems", check.problems);

		cli_print_json(answer);
	} else if (valid) {
		(void)printf("%s: valid, %zu include path(s)\n", named.config,
			     conf->include.n_entries);
	}
	conf_free(conf);
	return valid ? CLI_OK : CLI_ERROR;
}
