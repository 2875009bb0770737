/* SPDX-License-Identifier: GPL-2.0-only */
/* holdfast report: what full scans found, from the reports that the guard writes. */
#include "cli.h"
#include "human.h"

#include "../common/line.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <holdfast/control.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define SUFFIX ".json"

static const char usage[] =
	"Usage: holdfast report [--last | --list | NAME] [--json]\n"
	"\n"
	"Tells what a full scan found: the last one, or the one that --list calls NAME.\n"
	"\n"
	"  --last                 the last one (default)\n"
	"  --list                 one line for each\n"
	"  --json                 the report as it is, or with --list an array of summaries\n"
	"  --config FILE          instead of " CONF_FILE_DEFAULT "\n";

struct reports {
	char directory[PATH_MAX];
	struct dirent **names; /* in the order of their time */
	int n;
};

/* --- reading --- */

static int report_is_one(const struct dirent *entry)
{
	size_t length = strlen(entry->d_name);

	return *entry->d_name != '.' && length > strlen(SUFFIX) &&
	       !strcmp(entry->d_name + length - strlen(SUFFIX), SUFFIX);
}

/* Returns whether the directory could be read; one that does not exist holds no reports. */
static bool report_find(const struct cli *cli, struct reports *reports)
{
	struct conf *conf = cli_find_service(cli);

	if (!conf)
		return false;
	(void)snprintf(reports->directory, sizeof(reports->directory), "%s/" CONTROL_REPORTS_DIR,
		       conf->state_dir);
	conf_free(conf);
	reports->n = scandir(reports->directory, &reports->names, report_is_one, alphasort);
	if (reports->n >= 0)
		return true;
	reports->n = 0;
	if (errno == ENOENT)
		return true;
	(void)cli_error("cannot read %s: %s%s", reports->directory, strerror(errno),
			errno == EACCES ? " (reports name files of all users: they are for root)"
					: "");
	return false;
}

static void report_free(struct reports *reports)
{
	for (int i = 0; i < reports->n; i++)
		free(reports->names[i]);
	free(reports->names);
}

/* Reads one report, to be released; NULL after saying why not. */
static json_t *report_read(const struct reports *reports, const char *name)
{
	char path[PATH_MAX + NAME_MAX + 2];
	json_error_t error;
	json_t *report;

	errno = 0;
	(void)snprintf(path, sizeof(path), "%s/%s", reports->directory, name);
	report = json_load_file(path, 0, &error);
	if (report && json_is_object(json_object_get(report, "summary")))
		return report;
	(void)cli_error("cannot read the report %s: %s", path,
			report	? "it has no summary"
			: errno ? strerror(errno)
				: error.text);
	json_decref(report);
	return NULL;
}

static json_int_t report_number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* "" where there is none. */
static const char *report_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

/* Whoever wrote it, a line on a terminal is one line. Paths were escaped when they were written: so
 * a backslash stays one. */
static const char *report_escape(const char *text)
{
	static char escaped[LINE_ESCAPED_MAX(LINE_ESCAPED_MAX(PATH_MAX))];
	static const char backslash[] = "\\x5c";
	const char *from = line_escape(escaped, sizeof(escaped), text);
	char *to = escaped;

	while (*from) {
		if (!strncmp(from, backslash, strlen(backslash))) {
			*to++ = '\\';
			from += strlen(backslash);
		} else {
			*to++ = *from++;
		}
	}
	*to = '\0';
	return escaped;
}

/* --- one report --- */

static void report_print_paths(const json_t *summary)
{
	const json_t *path;
	size_t i;

	(void)printf("  paths       ");
	json_array_foreach(json_object_get(summary, "paths"), i, path)(void)
		printf("%s%s", i ? ", " : "",
		       json_is_string(path) ? report_escape(json_string_value(path)) : "?");
	(void)putchar('\n');
}

static void report_print_times(const json_t *summary)
{
	json_int_t began = report_number(summary, "began"), ended = report_number(summary, "ended");
	bool complete = !strcmp(report_text(summary, "state"), "complete");
	char from[32], to[32], took[32];

	(void)printf("%sfull scan%s %s: %s to %s (%s)", cli_style(CLI_BOLD), cli_style(CLI_PLAIN),
		     complete ? "complete" : "NOT COMPLETE", human_time(from, sizeof(from), began),
		     human_time(to, sizeof(to), ended),
		     human_duration(took, sizeof(took), ended - began));
	if (report_number(summary, "sessions") > 1)
		(void)printf(", in %" JSON_INTEGER_FORMAT " parts",
			     report_number(summary, "sessions"));
	(void)printf("\n\n");
}

static void report_print_counts(const json_t *summary)
{
	json_int_t infected = report_number(summary, "infected");
	char bytes[32], scanned[32];

	/* Nobody knows them of one that was abandoned. */
	if (*report_text(summary, "engine"))
		(void)printf("  signatures  %" JSON_INTEGER_FORMAT ": %s; engine %s\n",
			     report_number(summary, "known_signatures"),
			     report_escape(report_text(summary, "signatures")),
			     report_text(summary, "engine"));
	report_print_paths(summary);
	(void)printf("  files       %" JSON_INTEGER_FORMAT " in %" JSON_INTEGER_FORMAT
		     " directories, %s\n",
		     report_number(summary, "files"), report_number(summary, "directories"),
		     human_bytes(bytes, sizeof(bytes), (uint64_t)report_number(summary, "bytes")));
	(void)printf("  verified    %" JSON_INTEGER_FORMAT " before, %" JSON_INTEGER_FORMAT
		     " scanned (%s)\n",
		     report_number(summary, "known"), report_number(summary, "scanned"),
		     human_bytes(scanned, sizeof(scanned),
				 (uint64_t)report_number(summary, "bytes_scanned")));
	(void)printf("  infected    %s%" JSON_INTEGER_FORMAT "%s\n",
		     cli_style(infected ? CLI_BAD : CLI_GOOD), infected, cli_style(CLI_PLAIN));
	(void)printf("  unverified  %" JSON_INTEGER_FORMAT " incomplete, %" JSON_INTEGER_FORMAT
		     " failed\n",
		     report_number(summary, "incomplete"), report_number(summary, "failed"));
}

static void report_print_skipped(const json_t *summary)
{
	json_t *skipped = json_object_get(summary, "skipped"), *n;
	const char *reason, *separator = "";

	if (!json_object_size(skipped))
		return;
	(void)printf("  skipped     ");
	json_object_foreach(skipped, reason, n)
	{
		(void)printf("%s%" JSON_INTEGER_FORMAT " %s", separator, json_integer_value(n),
			     report_escape(reason));
		separator = ", ";
	}
	(void)putchar('\n');
}

/* What a line about an event says behind its path; NULL: it gets no line. */
static const char *report_remark(const json_t *event, char *buffer, size_t size)
{
	const char *type = report_text(event, "type");
	const json_t *error = json_object_get(event, "error");

	if (!strcmp(type, "found"))
		(void)snprintf(buffer, size, "%s FOUND", report_text(event, "signature"));
	else if (!strcmp(type, "incomplete") || !strcmp(type, "failed"))
		(void)snprintf(buffer, size, "not verified (%s)", report_text(event, "reason"));
	else if (!strcmp(type, "skipped") && !strcmp(report_text(event, "reason"), "unreadable"))
		(void)snprintf(buffer, size, "cannot be read: %s",
			       json_is_integer(error)
				       ? strerror(abs((int)json_integer_value(error)))
				       : report_text(event, "error"));
	else
		return NULL;
	return buffer;
}

/* The events of one type that have a line. */
static void report_print_events(const json_t *report, const char *type)
{
	const json_t *events = json_object_get(report, "events"), *event;
	char remark[512];
	size_t i;

	json_array_foreach(events, i, event) if (!strcmp(report_text(event, "type"), type) &&
						 report_remark(event, remark, sizeof(remark)))
	{
		(void)printf("%s: ", report_escape(report_text(event, "path")));
		(void)printf("%s\n", report_escape(remark));
	}
}

static void report_print(const json_t *report)
{
	static const char *const types[] = {"found", "incomplete", "failed", "skipped"};
	const json_t *summary = json_object_get(report, "summary");
	json_int_t unlisted = report_number(summary, "unlisted");

	report_print_times(summary);
	report_print_counts(summary);
	report_print_skipped(summary);
	(void)putchar('\n');
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		report_print_events(report, types[i]);
	if (unlisted)
		(void)printf("(%" JSON_INTEGER_FORMAT " more are counted, but not listed)\n",
			     unlisted);
}

static int report_show(const struct cli *cli, const struct reports *reports, const char *name)
{
	json_t *report = report_read(reports, name);

	if (!report)
		return CLI_ERROR;
	if (cli->json) {
		cli_print_json(report);
	} else {
		report_print(report);
		json_decref(report);
	}
	return CLI_OK;
}

static int report_show_named(const struct cli *cli, const struct reports *reports, const char *name)
{
	for (int i = 0; i < reports->n; i++) {
		const char *entry = reports->names[i]->d_name;
		size_t length = strlen(entry) - strlen(SUFFIX);

		if (!strcmp(entry, name) ||
		    (strlen(name) == length && !strncmp(entry, name, length)))
			return report_show(cli, reports, entry);
	}
	return cli_error("there is no report '%s': see 'holdfast report --list'", name);
}

static int report_show_last(const struct cli *cli, const struct reports *reports)
{
	if (!reports->n)
		return cli_error("there is no report yet: no full scan has ended (see 'holdfast "
				 "status')");
	return report_show(cli, reports, reports->names[reports->n - 1]->d_name);
}

/* --- all reports --- */

static void report_print_line(const char *name, const json_t *summary)
{
	json_int_t began = report_number(summary, "began"), infected;
	char when[32], took[32];

	infected = report_number(summary, "infected");
	(void)printf("%-20s  %s  %9s  %10" JSON_INTEGER_FORMAT " files  %s%" JSON_INTEGER_FORMAT
		     " infected%s  %s\n",
		     name, human_time(when, sizeof(when), began),
		     human_duration(took, sizeof(took), report_number(summary, "ended") - began),
		     report_number(summary, "files"), infected ? cli_style(CLI_BAD) : "", infected,
		     infected ? cli_style(CLI_PLAIN) : "",
		     report_escape(report_text(summary, "state")));
}

/* One that cannot be read is said, and does not hide the others. */
static int report_list(const struct cli *cli, const struct reports *reports)
{
	json_t *answer = json_array();
	int code = CLI_OK;

	for (int i = 0; i < reports->n; i++) {
		char *name = reports->names[i]->d_name;
		json_t *report = report_read(reports, name), *summary;

		if (!report) {
			code = CLI_ERROR;
			continue;
		}
		name[strlen(name) - strlen(SUFFIX)] = '\0';
		summary = json_object_get(report, "summary");
		(void)json_object_set_new(summary, "name", json_string(name));
		if (!cli->json)
			report_print_line(name, summary);
		(void)json_array_append(answer, summary);
		json_decref(report);
	}
	if (cli->json)
		cli_print_json(answer);
	else
		json_decref(answer);
	return code;
}

int verb_report(const struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
		CLI_OPTIONS,
		{"last", no_argument, NULL, 'a'},
		{"list", no_argument, NULL, 'l'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct cli own = *cli;
	struct reports reports = {0};
	bool list = false, last = false;
	int option, code = CLI_ERROR;

	optind = 0;
	while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		if (option == 'h') {
			(void)fputs(usage, stdout);
			return CLI_OK;
		}
		list |= option == 'l';
		last |= option == 'a';
		if (option != 'l' && option != 'a' && !cli_option(&own, option, optarg))
			return CLI_ERROR;
	}
	if (argc - optind + list + last > 1)
		return cli_error("usage: holdfast report [--last | --list | NAME]");

	if (report_find(&own, &reports))
		code = list	       ? report_list(&own, &reports)
		       : optind < argc ? report_show_named(&own, &reports, argv[optind])
				       : report_show_last(&own, &reports);
	report_free(&reports);
	return code;
}
