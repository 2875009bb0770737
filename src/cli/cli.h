/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* cli: what the verbs have in common. Each verb is a file of its own; main.c has the table. */
#include "../common/conf.h"

#include <jansson.h>
#include <stdio.h>

/* Exit codes of all verbs, where a verb does not say otherwise. */
#define CLI_OK	  0
#define CLI_NO	  1 /* the answer is no */
#define CLI_ERROR 2 /* there is no answer */

struct cli {
	const char *config; /* path of the configuration */
	bool json;	    /* for programs instead of people */
};

/*
 * The verbs. They get what stands behind the verb and return the exit code. Those that have options
 * of their own get all that stands there, with the program's name before it as main() has it.
 */
int verb_status(const struct cli *cli, int argc, char **argv);
int verb_explain(const struct cli *cli, int argc, char **argv);
int verb_check_config(const struct cli *cli, int argc, char **argv);
int verb_verify(const struct cli *cli, int argc, char **argv);
int verb_scan(const struct cli *cli, int argc, char **argv);
int verb_report(const struct cli *cli, int argc, char **argv);
int verb_update(const struct cli *cli, int argc, char **argv);

/* cli_error() prints a line on standard error and returns CLI_ERROR. */
int cli_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* cli_option() takes an option that all verbs have, as getopt_long() returns it; verbs with options
 * of their own call it for what they do not know. Returns whether it is one. */
#define CLI_OPTION_CONFIG 'c'
#define CLI_OPTION_JSON	  'j'
#define CLI_OPTIONS                                                                                \
	{"config", required_argument, NULL, CLI_OPTION_CONFIG},                                    \
	{                                                                                          \
		"json", no_argument, NULL, CLI_OPTION_JSON                                         \
	}
bool cli_option(struct cli *cli, int option, const char *argument);

/* cli_print_json() prints an answer for programs and releases it. */
void cli_print_json(json_t *answer);

/* cli_report_problem() prints what is wrong with the configuration, warnings aside; context is the
 * struct cli. See conf_report. */
void cli_report_problem(void *context, int priority, unsigned line, const char *text);

/* cli_read_conf() reads and resolves the configuration; problems go to standard error, then
 * NULL. */
struct conf *cli_read_conf(const struct cli *cli);

/* cli_find_service() reads where the service's directories are: one that is being edited will do,
 * and so will the defaults. NULL: out of memory, which it says. */
struct conf *cli_find_service(const struct cli *cli);

/* cli_style() returns the terminal sequence that begins a style, or ends it, or "" where standard
 * output is no terminal or NO_COLOR is set. */
enum cli_style { CLI_PLAIN, CLI_BOLD, CLI_GOOD, CLI_BAD };
const char *cli_style(enum cli_style style);

/* cli_width() returns how many columns a line that is drawn on a terminal may have. */
#define CLI_WIDTH_MAX 512
unsigned cli_width(FILE *terminal);

/* cli_block_signals() makes Ctrl-C and SIGTERM something to read from a descriptor (signalfd(2)),
 * so that the caller comes to an end of its own. Returns it, or -1. */
int cli_block_signals(void);
