/* SPDX-License-Identifier: GPL-2.0-only */
#include "cli.h"

#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <syslog.h>
#include <unistd.h>

#define WIDTH_DEFAULT 80

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

unsigned cli_width(FILE *terminal)
{
	struct winsize size;

	if (ioctl(fileno(terminal), TIOCGWINSZ, &size) < 0 || size.ws_col < 2)
		return WIDTH_DEFAULT - 1;
	/* The last column stays free: some terminals begin a line when it is written. */
	return size.ws_col > CLI_WIDTH_MAX ? CLI_WIDTH_MAX : size.ws_col - 1u;
}

int cli_block_signals(void)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

bool cli_option(struct cli *cli, int option, const char *argument)
{
	if (option == CLI_OPTION_CONFIG)
		cli->config = argument;
	else if (option == CLI_OPTION_JSON)
		cli->json = true;
	return option == CLI_OPTION_CONFIG || option == CLI_OPTION_JSON;
}
