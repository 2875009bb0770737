/* SPDX-License-Identifier: GPL-2.0-only */
/* holdfast: the command line of the service. */
#include "cli.h"

#include "config.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

struct verb {
	const char *name, *operands, *summary;
	int (*run)(const struct cli *cli, int argc, char **argv);
	int operands_min, operands_max;
};

static const struct verb verbs[] = {
	{"status", "", "what is protected, and what needs attention", verb_status, 0, 0},
	{"explain", "PATH...", "which rule decides over a path, and how", verb_explain, 1, 1 << 20},
	{"check-config", "[FILE]", "say what is wrong with the configuration", verb_check_config, 0,
	 1},
	{"verify", "[PATH]", "try to read the EICAR test file below an include path, or at PATH",
	 verb_verify, 0, 1},
};
#define N_VERBS (sizeof(verbs) / sizeof(verbs[0]))

static void print_help(void)
{
	(void)printf("Usage: holdfast [--config FILE] [--json] VERB [...]\n\nVerbs:\n");
	for (size_t i = 0; i < N_VERBS; i++) {
		char call[64];

		(void)snprintf(call, sizeof(call), "%s %s", verbs[i].name, verbs[i].operands);
		(void)printf("  %-22s %s\n", call, verbs[i].summary);
	}
	(void)printf("\nOptions:\n"
		     "  --config FILE          instead of %s\n"
		     "  --json                 for programs\n"
		     "  --help, --version\n"
		     "\n"
		     "Exit codes: status 0 fine, 1 warning, 2 not protecting; verify 0 refused,\n"
		     "1 not refused, 2 could not be tried; the others 0, or 2 for an error.\n",
		     CONF_FILE_DEFAULT);
}

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

static void report_problem(void *context, int priority, unsigned line, const char *text)
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
	struct conf *conf = conf_read_file(cli->config, report_problem, (void *)cli);

	if (conf && conf_resolve(conf, report_problem, (void *)cli) < 0)
		return conf_free(conf);
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

static const struct verb *find_verb(const char *name)
{
	for (size_t i = 0; i < N_VERBS; i++)
		if (!strcmp(verbs[i].name, name))
			return &verbs[i];
	return NULL;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'v'},
		{0},
	};
	struct cli cli = {.config = CONF_FILE_DEFAULT};
	const struct verb *verb;
	int option, operands;

	while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			cli.config = optarg;
			break;
		case 'j':
			cli.json = true;
			break;
		case 'h':
			print_help();
			return CLI_OK;
		case 'v':
			(void)printf("holdfast %s\n", HOLDFAST_VERSION);
			return CLI_OK;
		default:
			return CLI_ERROR;
		}
	}
	if (optind >= argc)
		return cli_error("what to do? Try 'holdfast --help'");
	verb = find_verb(argv[optind]);
	if (!verb)
		return cli_error("unknown verb '%s'; try 'holdfast --help'", argv[optind]);
	operands = argc - optind - 1;
	if (operands < verb->operands_min || operands > verb->operands_max)
		return cli_error("usage: holdfast %s %s", verb->name, verb->operands);
	return verb->run(&cli, operands, argv + optind + 1);
}
