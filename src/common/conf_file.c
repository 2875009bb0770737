/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The INI file. inih does the reading, with a reader of ours in front of it: the inih of Debian
 * cuts lines at 200 bytes, takes an indented line for one more value of the key above, drops what
 * follows " ;" in a value and a key behind a section, and tells of the first bad line only. Each of
 * these would lose part of the configuration without a word, so such lines are refused here.
 */
#include "conf_problem.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

/* inih's buffer has room for 200 bytes with the newline and the NUL; a line may be at most this
 * long. */
#define LINE_LENGTH_MAX 198

struct conf_file {
	FILE *file;
	struct conf *conf;
	struct conf_problems problems;
	char *buffer; /* of getline() */
	size_t buffer_size;
	unsigned line;
};

/* Known to nobody. */
#define REFUSED_SECTION "[refused]"

/* What inih takes for white space: isspace() of the C locale. */
static const char blank[] = " \t\v\f\r";

/* Some editors begin a file with it. */
static const char byte_order_mark[] = "\xef\xbb\xbf";

static const char not_ini[] = "neither [section] nor key = value";

static bool line_is_comment(const char *line)
{
	/* The terminating NUL too: an empty line. */
	return strchr("#;", line[strspn(line, blank)]) != NULL;
}

/* Whether a line that begins with [ is a section and nothing else; writes its name. */
static bool section_parse(const char *line, char *name, size_t size)
{
	size_t length = strcspn(line, "]");

	(void)snprintf(name, size, "%.*s", (int)length - 1, line + 1);
	return line[length] == ']' && !line[length + 1 + strspn(line + length + 1, blank)];
}

/* Says what is wrong with a line, or what inih would get wrong about it; NULL for nothing. */
static const char *line_problem(const char *line, size_t length)
{
	if (strlen(line) != length)
		return "the line holds a NUL byte";
	if (line_is_comment(line))
		return NULL;
	if (length > LINE_LENGTH_MAX)
		return "the line is too long: at most 198 bytes";
	if (strchr(blank, *line))
		return "the line is indented: every key stands on a line of its own, at its "
		       "beginning";
	for (const char *c = strchr(line, ';'); c; c = strchr(c + 1, ';'))
		if (strchr(blank, c[-1]))
			return "a comment must stand on a line of its own (what follows ' ;' would "
			       "be lost)";
	return *line == '[' || strpbrk(line, "=:") ? NULL : not_ini;
}

/* Takes off what ends a line: one newline, with a carriage return before it or without. */
static size_t line_chomp(char *line, size_t length)
{
	if (length > 0 && line[length - 1] == '\n')
		line[--length] = '\0';
	if (length > 0 && line[length - 1] == '\r')
		line[--length] = '\0';
	return length;
}

/* A section that is refused is replaced by one that is not known, so that its keys do not count as
 * those of the section before. */
static const char *conf_file_check_section(struct conf_file *file, const char *line)
{
	char name[64];

	if (!section_parse(line, name, sizeof(name)))
		conf_problem(&file->problems, file->line, not_ini);
	else if (!conf_knows_section(name))
		conf_problem(&file->problems, file->line, "unknown section [%s]", name);
	else
		return line;
	return REFUSED_SECTION;
}

/* Called by inih for each line; works as fgets() does. Comments and refused lines are empty to
 * inih: they may be longer than its buffer. */
static char *conf_file_read_line(char *buffer, int size, void *stream)
{
	struct conf_file *file = stream;
	ssize_t n = getline(&file->buffer, &file->buffer_size, file->file);
	const char *line = file->buffer, *problem;
	size_t length;

	if (n < 0)
		return NULL;

	length = line_chomp(file->buffer, (size_t)n);
	if (++file->line == 1 && !strncmp(line, byte_order_mark, strlen(byte_order_mark))) {
		line += strlen(byte_order_mark);
		length -= strlen(byte_order_mark);
	}
	problem = line_problem(line, length);
	if (problem)
		conf_problem(&file->problems, file->line, "%s", problem);

	if (problem || line_is_comment(line))
		line = "";
	else if (*line == '[')
		line = conf_file_check_section(file, line);
	(void)snprintf(buffer, (size_t)size, "%s\n", line);
	return buffer;
}

/* Called by inih for each key. Returning 0 would make it report the line as a syntax error. */
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
	if (!conf_knows_section(section))
		return 1; /* refused already, with its line */

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
			     "no include in section [on-access]: nothing would be protected");
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
