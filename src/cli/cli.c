/* SPDX-License-Identifier: GPL-2.0-only */
#include "cli.h"

#include <stdarg.h>
#include <stdlib.h>
#include <syslog.h>
#include <unistd.h>

int cli_error(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)fputs("holdfast: ", stderr);
	(void)vfprintf(stderr, format, args);
	(void)fputc('\n', stderr);
	va_end(args);
	return CLI_ERROR;
}

void cli_print_json(json_t *answer)
{
	(void)json_dumpf(answer, stdout, JSON_INDENT(2));
	(void)putchar('\n');
	json_decref(answer);
}

void cli_report_problem(void *context, int priority, unsigned line, const char *text)
{
	const struct cli *cli = context;

	if (priority > LOG_ERR)
		return; /* check-config tells of warnings */
	if (line)
		(void)cli_error("%s:%u: %s", cli->config, line, text);
	else
		(void)cli_error("%s: %s", cli->config, text);
}

struct conf *cli_read_conf(const struct cli *cli)
{
	struct conf *conf = conf_read_file(cli->config, cli_report_problem, (void *)cli);

	if (conf && conf_resolve(conf, cli_report_problem, (void *)cli) < 0)
		return conf_free(conf);
	return conf;
}

static void ignore_problem(void *context, int priority, unsigned line, const char *text)
{
}

struct conf *cli_find_service(const struct cli *cli)
{
	struct conf *conf = conf_read_file(cli->config, ignore_problem, NULL);

	if (!conf)
		conf = conf_new();
	if (!conf)
		(void)cli_error("out of memory");
	return conf;
}

const char *cli_style(enum cli_style style)
{
	static const char *const sequences[] = {
		[CLI_PLAIN] = "\033[0m",
		[CLI_BOLD] = "\033[1m",
		[CLI_GOOD] = "\033[1;32m",
		[CLI_BAD] = "\033[1;31m",
	};

	return isatty(STDOUT_FILENO) && !getenv("NO_COLOR") ? sequences[style] : "";
}

bool cli_option(struct cli *cli, int option, const char *argument)
{
	if (option == CLI_OPTION_CONFIG)
		cli->config = argument;
	else if (option == CLI_OPTION_JSON)
		cli->json = true;
	return option == CLI_OPTION_CONFIG || option == CLI_OPTION_JSON;
}
