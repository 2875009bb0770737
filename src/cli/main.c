/* SPDX-License-Identifier: GPL-2.0-only */
/* holdfast: the command line of the service. */
#include "cli.h"

#include "config.h"

#include <getopt.h>
#include <string.h>

struct verb {
	const char *name, *operands, *summary;
	int (*run)(const struct cli *cli, int argc, char **argv);
	int operands_min, operands_max;
	bool has_options; /* it takes them apart itself */
};

static const struct verb verbs[] = {
	{"status", "", "what is protected, and what needs attention", verb_status, 0, 0, false},
	{"scan", "PATH...", "scan files and directories now; 'holdfast scan --help'", verb_scan, 0,
	 1 << 20, true},
	{"report", "", "what the last full scan found; 'holdfast report --help'", verb_report, 0, 1,
	 true},
	{"update", "", "fetch fresh signatures now; 'holdfast update --help'", verb_update, 0, 0,
	 true},
	{"explain", "PATH...", "which rule decides over a path, and how", verb_explain, 1, 1 << 20,
	 false},
	{"check-config", "[FILE]", "say what is wrong with the configuration", verb_check_config, 0,
	 1, false},
	{"verify", "[PATH]", "try to read the EICAR test file below an include path, or at PATH",
	 verb_verify, 0, 1, false},
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
		     "1 not refused, 2 could not be tried; scan 0 clean, 1 something found, 2 not\n"
		     "all was verified; update 0 updated, 1 up to date, 2 failed, 3 cool-down;\n"
		     "the others 0, or 2 for an error.\n",
		     CONF_FILE_DEFAULT);
}

static const struct verb *find_verb(const char *name)
{
	for (size_t i = 0; i < N_VERBS; i++)
		if (!strcmp(verbs[i].name, name))
			return &verbs[i];
	return NULL;
}

/* Takes the options that all verbs have, as far as flags says (getopt(3)). Returns -1, or the exit
 * code where that was all. */
static int take_options(struct cli *cli, int argc, char **argv, const char *flags)
{
	static const struct option options[] = {
		CLI_OPTIONS,
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'v'},
		{0},
	};
	int option;

	optind = 0;
	while ((option = getopt_long(argc, argv, flags, options, NULL)) != -1) {
		if (option == 'h') {
			print_help();
			return CLI_OK;
		}
		if (option == 'v') {
			(void)printf("holdfast %s\n", HOLDFAST_VERSION);
			return CLI_OK;
		}
		if (!cli_option(cli, option, optarg))
			return CLI_ERROR;
	}
	return -1;
}

int main(int argc, char **argv)
{
	struct cli cli = {.config = CONF_FILE_DEFAULT};
	const struct verb *verb;
	int code = take_options(&cli, argc, argv, "+c:h"), operands;

	if (code >= 0)
		return code;
	if (optind >= argc)
		return cli_error("what to do? Try 'holdfast --help'");
	verb = find_verb(argv[optind]);
	if (!verb)
		return cli_error("unknown verb '%s'; try 'holdfast --help'", argv[optind]);

	/* The options behind the verb are read as if they stood behind the program. */
	argv[optind] = argv[0];
	argc -= optind;
	argv += optind;
	if (verb->has_options)
		return verb->run(&cli, argc, argv);
	code = take_options(&cli, argc, argv, "c:h");
	if (code >= 0)
		return code;
	operands = argc - optind;
	if (operands < verb->operands_min || operands > verb->operands_max)
		return cli_error("usage: holdfast %s %s", verb->name, verb->operands);
	return verb->run(&cli, operands, argv + optind);
}
