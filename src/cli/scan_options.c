/* SPDX-License-Identifier: GPL-2.0-only */
#include "scan_options.h"

#include "../common/match.h"
#include "crew.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
	"Usage: holdfast scan [OPTION...] PATH...\n"
	"       holdfast scan --full [--all] [--wait] | --full --stop\n"
	"\n"
	"Scans files and directories, and what is below them, with your rights. What you name is\n"
	"scanned: the exclusions of the configuration are those of on-access protection and of "
	"the\n"
	"full scan, and do not apply here.\n"
	"\n"
	"  --all                  files too that were verified before and have not changed since\n"
	"  --exclude RULE         leave out a path and all below it; * and ** as in the\n"
	"                         configuration; may be given several times\n"
	"  --cross-filesystems=yes|no\n"
	"                         go into other filesystems below PATH (yes)\n"
	"  -x                     do not, as --cross-filesystems=no\n"
	"  --remote               network and FUSE filesystems too; with --standalone, as the "
	"service\n"
	"                         takes no file whose server could keep it waiting\n"
	"  --action none          what to do with what is found; only none in this version\n"
	"  --standalone           without the service, by an engine that is started for this\n"
	"  --database DIR         with --standalone: the directory of signatures\n"
	"  --threads N            open at most N files at a time, with the service no more than "
	"16;\n"
	"                         with --standalone: workers\n"
	"\n"
	"  -i, --infected         print what was found and what could not be verified (default)\n"
	"  -v, --verbose          print every file\n"
	"  --no-summary           no summary at the end\n"
	"  --no-progress          no progress on a terminal\n"
	"  --json                 JSON Lines: an object for each thing found, and a summary\n"
	"  --config FILE          instead of " CONF_FILE_DEFAULT "\n"
	"\n"
	"  --full                 the service's full scan, as the configuration has it: start it\n"
	"                         now, or go on where it was paused\n"
	"  --all                  with --full: from the beginning, and files verified before too\n"
	"  --wait                 with --full: until it has ended\n"
	"  --stop                 with --full: pause it\n"
	"\n"
	"Exit codes: 0 nothing found, 1 something found, 2 not everything could be verified.\n";

static bool options_add_exclude(struct conf_list *list, const char *text)
{
	const char *problem = NULL;
	char *rule = match_normalize(text, &problem);
	struct conf_entry *entries =
		rule ? reallocarray(list->entries, list->n_entries + 1, sizeof(*entries)) : NULL;

	if (entries) {
		list->entries = entries;
		list->entries[list->n_entries++] = (struct conf_entry){.text = rule};
		return true;
	}
	if (!rule && problem && *text != '/')
		(void)cli_error("--exclude: '%s' is relative: write /**/%s for that name "
				"anywhere, or the path from / on",
				text, text);
	else
		(void)cli_error("--exclude: '%s': %s", text, problem ? problem : "out of memory");
	free(rule);
	return false;
}

static bool options_check_action(const char *action)
{
	if (!strcmp(action, "none"))
		return true;
	if (!strcmp(action, "copy") || !strcmp(action, "move"))
		(void)cli_error("--action %s: there is no quarantine in this version; nothing was "
				"scanned",
				action);
	else
		(void)cli_error("--action: '%s' is none of: none copy move", action);
	return false;
}

static bool options_set_cross(struct scan_options *options, const char *answer)
{
	options->cross_filesystems = !strcmp(answer, "yes");
	if (options->cross_filesystems || !strcmp(answer, "no"))
		return true;
	(void)cli_error("--cross-filesystems: '%s' is none of: yes no", answer);
	return false;
}

static bool options_set_threads(struct scan_options *options, const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	options->threads = (unsigned)n;
	if (*text >= '1' && *text <= '9' && !*end && n <= CREW_MAX)
		return true;
	(void)cli_error("--threads: '%s' is not a number from 1 to %d", text, CREW_MAX);
	return false;
}

/* Options without a short form. */
enum {
	OPTION_ALL = 256,
	OPTION_EXCLUDE,
	OPTION_CROSS,
	OPTION_REMOTE,
	OPTION_ACTION,
	OPTION_STANDALONE,
	OPTION_DATABASE,
	OPTION_THREADS,
	OPTION_NO_SUMMARY,
	OPTION_NO_PROGRESS,
	OPTION_FULL,
	OPTION_WAIT,
	OPTION_STOP,
	OPTION_HELP,
};

static const struct option long_options[] = {
	CLI_OPTIONS,
	{"all", no_argument, NULL, OPTION_ALL},
	{"exclude", required_argument, NULL, OPTION_EXCLUDE},
	{"cross-filesystems", required_argument, NULL, OPTION_CROSS},
	{"remote", no_argument, NULL, OPTION_REMOTE},
	{"action", required_argument, NULL, OPTION_ACTION},
	{"standalone", no_argument, NULL, OPTION_STANDALONE},
	{"database", required_argument, NULL, OPTION_DATABASE},
	{"threads", required_argument, NULL, OPTION_THREADS},
	{"infected", no_argument, NULL, 'i'},
	{"verbose", no_argument, NULL, 'v'},
	{"no-summary", no_argument, NULL, OPTION_NO_SUMMARY},
	{"no-progress", no_argument, NULL, OPTION_NO_PROGRESS},
	{"full", no_argument, NULL, OPTION_FULL},
	{"wait", no_argument, NULL, OPTION_WAIT},
	{"stop", no_argument, NULL, OPTION_STOP},
	{"help", no_argument, NULL, OPTION_HELP},
	{0},
};

/* Takes one option. Returns whether it can be used; if not, that was said. */
static bool options_take(struct scan_options *options, int option)
{
	switch (option) {
	case OPTION_ALL:
		return options->afresh = true;
	case OPTION_EXCLUDE:
		return options_add_exclude(&options->exclude, optarg);
	case OPTION_CROSS:
		return options_set_cross(options, optarg);
	case 'x':
		return options_set_cross(options, "no");
	case OPTION_REMOTE:
		return options->remote = true;
	case OPTION_ACTION:
		return options_check_action(optarg);
	case OPTION_STANDALONE:
		return options->standalone = true;
	case OPTION_DATABASE:
		return (options->database = optarg) != NULL;
	case OPTION_THREADS:
		return options_set_threads(options, optarg);
	case 'i':
		options->verbose = false;
		return true;
	case 'v':
		return options->verbose = true;
	case OPTION_NO_SUMMARY:
		return options->no_summary = true;
	case OPTION_NO_PROGRESS:
		return options->no_progress = true;
	case OPTION_FULL:
		return options->full = true;
	case OPTION_WAIT:
		return options->wait = true;
	case OPTION_STOP:
		return options->stop = true;
	default:
		return cli_option(&options->cli, option, optarg);
	}
}

/* Says what does not go together; NULL: nothing. */
static const char *options_contradiction(const struct scan_options *options)
{
	if (options->full && options->n_paths)
		return "--full scans what the configuration says: it takes no PATH";
	if (options->full && (options->standalone || options->exclude.n_entries))
		return "--full is the service's scan, as the configuration has it";
	if (!options->full && (options->wait || options->stop))
		return "--wait and --stop belong to --full";
	if (options->stop && (options->wait || options->afresh))
		return "--stop goes with neither --wait nor --all";
	if (options->database && !options->standalone)
		return "--database belongs to --standalone: the service has its own signatures";
	if (!options->full && !options->n_paths)
		return "usage: holdfast scan [OPTION...] PATH...; try 'holdfast scan --help'";
	return NULL;
}

/* The paths of files are compared with rules as they are walked: without symbolic links. */
static void options_resolve_exclude(struct conf_entry *entry)
{
	unsigned length = match_literal_length(entry->text);
	const char *rest = entry->text + (length > 1 ? length : 0);
	char *literal = strndup(entry->text, length);
	char *real = literal ? conf_resolve_path(literal) : NULL, *rule;

	/* A rule cannot mean a name that holds a *. */
	if (real && !strchr(real, '*') &&
	    asprintf(&rule, "%s%s", *rest && !real[1] ? "" : real, rest) >= 0) {
		free(entry->text);
		entry->text = rule;
	}
	free(literal);
	free(real);
}

int scan_options_parse(struct scan_options *options, const struct cli *cli, int argc, char **argv)
{
	const char *contradiction;
	int option;

	*options = (struct scan_options){.cli = *cli, .cross_filesystems = true};
	optind = 0;
	while ((option = getopt_long(argc, argv, "c:ivx", long_options, NULL)) != -1) {
		if (option == OPTION_HELP) {
			(void)fputs(usage, stdout);
			return CLI_OK;
		}
		if (!options_take(options, option))
			return CLI_ERROR;
	}
	options->paths = argv + optind;
	options->n_paths = argc - optind;
	contradiction = options_contradiction(options);
	if (contradiction)
		return cli_error("%s", contradiction);
	for (size_t i = 0; i < options->exclude.n_entries; i++)
		options_resolve_exclude(&options->exclude.entries[i]);
	return -1;
}

void scan_options_free(struct scan_options *options)
{
	for (size_t i = 0; i < options->exclude.n_entries; i++)
		free(options->exclude.entries[i].text);
	free(options->exclude.entries);
	options->exclude = (struct conf_list){0};
}
