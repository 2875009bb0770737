/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The INI file. inih does the reading, with a reader of ours in front of it:
 * the inih of Debian cuts lines at 200 bytes, takes an indented line for one
 * more value of the key above, and drops what follows " ;" in a value. Each of
 * these would lose part of a path without a word, so such lines are refused
 * here.
 */
#include "conf_problem.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

/* inih's buffer has room for 200 bytes with the newline and the NUL; a line may
 * be at most this long. */
#define LINE_LENGTH_MAX 198

struct conf_file {
	FILE *file;
	struct conf *conf;
	struct conf_problems problems;
	char *buffer; /* of getline() */
	size_t buffer_size;
	unsigned line;
	char bad_section[64]; /* the unknown section reported last: once is
				 enough */
};

/* Says what inih would get wrong about a line, NULL for nothing. */
static const char *line_problem(const char *line, size_t length)
{
	size_t indent = strspn(line, " \t");

	if (strlen(line) != length)
		return "the line holds a NUL byte";
	if (line[indent] == '\0' || line[indent] == '#' || line[indent] == ';')
		return NULL;
	if (length > LINE_LENGTH_MAX)
		return "the line is too long: at most 198 bytes";
	if (indent > 0)
		return "the line is indented: every key stands on a line of "
		       "its own, at its "
		       "beginning";
	if (strstr(line, " ;") || strstr(line, "\t;"))
		return "a comment must stand on a line of its own (what "
		       "follows ' ;' would be "
		       "lost)";
	return NULL;
}

/* Called by inih for each line; works as fgets() does. */
static char *conf_file_read_line(char *buffer, int size, void *stream)
{
	struct conf_file *file = stream;
	ssize_t length = getline(&file->buffer, &file->buffer_size, file->file);
	const char *problem;

	if (length < 0)
		return NULL;

	file->line++;
	while (length > 0 && strchr("\r\n", file->buffer[length - 1]))
		file->buffer[--length] = '\0';
	problem = line_problem(file->buffer, (size_t)length);
	if (problem)
		conf_problem(&file->problems, file->line, "%s", problem);

	/* A refused line counts as an empty one, and so does a comment: it may
	 * be longer than the buffer. */
	if (problem || strchr("#;", file->buffer[strspn(file->buffer, " \t")]))
		length = 0;
	(void)snprintf(buffer, (size_t)size, "%.*s\n", (int)length, file->buffer);
	return buffer;
}

/* Called by inih for each key. Returning 0 would make it report the line as a
 * syntax error. */
static int conf_file_take(void *user, const char *section, const char *name, const char *value)
{
	struct conf_file *file = user;
	char problem[768];
	int r;

	if (!*section) {
		conf_problem(&file->problems, file->line, "key '%s' stands before any [section]",
			     name);
		return 1;
	}
	if (!conf_knows_section(section)) {
		if (strcmp(file->bad_section, section))
			conf_problem(&file->problems, file->line, "unknown section [%s]", section);
		(void)snprintf(file->bad_section, sizeof(file->bad_section), "%s", section);
		return 1;
	}

	r = conf_set(file->conf, section, name, value, file->line, problem, sizeof(problem));
	if (r == -ENOMEM)
		conf_problem(&file->problems, file->line, "out of memory");
	else if (r < 0)
		conf_problem(&file->problems, file->line, "%s", problem);
	else if (r > 0)
		file->problems.report(file->problems.context, LOG_WARNING, file->line, problem);
	return 1;
}

static void conf_file_parse(struct conf_file *file)
{
	int r = ini_parse_stream(conf_file_read_line, file, conf_file_take, file);

	if (r > 0)
		conf_problem(&file->problems, (unsigned)r, "neither [section] nor key = value");
	else if (r < 0)
		conf_problem(&file->problems, 0, "out of memory");
	if (ferror(file->file))
		conf_problem(&file->problems, 0, "cannot read it: %s", strerror(errno));
	if (!file->problems.n && !file->conf->include.n_entries)
		conf_problem(&file->problems, 0,
			     "no include in section [on-access]: nothing "
			     "would be protected");
}

struct conf *conf_read_file(const char *path, conf_report report, void *context)
{
	struct conf_file file = {
		.file = fopen(path, "re"),
		.conf = conf_new(),
		.problems = {.report = report, .context = context},
	};

	if (!file.file)
		conf_problem(&file.problems, 0, "cannot open it: %s", strerror(errno));
	else if (!file.conf)
		conf_problem(&file.problems, 0, "out of memory");
	else
		conf_file_parse(&file);

	free(file.buffer);
	if (file.file)
		(void)fclose(file.file);
	return file.problems.n ? conf_free(file.conf) : file.conf;
}
