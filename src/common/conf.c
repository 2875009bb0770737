/* SPDX-License-Identifier: GPL-2.0-only */
#include "conf.h"

#include "match.h"
#include "signature.h"
#include "url.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

/* How the text of a key becomes its value. */
enum conf_type {
	CONF_STRING,
	CONF_PATH,	/* absolute */
	CONF_PATHS,	/* list of absolute paths */
	CONF_RULES,	/* list of rules, see match.h */
	CONF_NAMES,	/* list of words */
	CONF_URL,	/* of a proxy */
	CONF_URLS,	/* list of URLs of servers */
	CONF_FILES,	/* list of URLs of files of signatures */
	CONF_DATABASES, /* list of names of databases */
	CONF_CHOICE,	/* one of the names in choices */
	CONF_BOOL,
	CONF_DURATION,
	CONF_SIZE,
	CONF_COUNT,
	CONF_PERCENT,
	CONF_SCHEDULE,
	CONF_TIME,   /* of day */
	CONF_PLANNED /* part of the contract, without effect in this version */
};

struct conf_choice {
	const char *name;
	unsigned value;
};

struct conf_key {
	const char *section, *name;
	enum conf_type type;
	size_t offset; /* of the member of struct conf */
	const struct conf_choice *choices;
	uint64_t min, max; /* of numbers, in the unit of the member */
};

static const struct conf_choice choices_mode[] = {{"block", CONTROL_MODE_BLOCK},
						  {"notify", CONTROL_MODE_NOTIFY},
						  {"off", CONTROL_MODE_OFF},
						  {0}};
static const struct conf_choice choices_answer[] = {
	{"allow", CONF_ALLOW}, {"deny", CONF_DENY}, {0}};
static const struct conf_choice choices_reload[] = {{"auto", CONF_RELOAD_AUTO},
						    {"parallel", CONF_RELOAD_PARALLEL},
						    {"lean", CONF_RELOAD_LEAN},
						    {0}};
static const struct conf_choice choices_facility[] = {
	{"daemon", LOG_DAEMON}, {"user", LOG_USER},
	{"auth", LOG_AUTH},	{"authpriv", LOG_AUTHPRIV},
	{"mail", LOG_MAIL},	{"local0", LOG_LOCAL0},
	{"local1", LOG_LOCAL1}, {"local2", LOG_LOCAL2},
	{"local3", LOG_LOCAL3}, {"local4", LOG_LOCAL4},
	{"local5", LOG_LOCAL5}, {"local6", LOG_LOCAL6},
	{"local7", LOG_LOCAL7}, {0}};

#define KEY(section_, name_, type_, member_, ...)                                                  \
	{                                                                                          \
		section_, name_, type_, offsetof(struct conf, member_), __VA_ARGS__                \
	}
#define PLANNED(section_, name_)                                                                   \
	{                                                                                          \
		section_, name_, CONF_PLANNED, 0, NULL, 0, 0                                       \
	}
#define NUMBER(min_, max_) NULL, (min_), (max_)
#define MINUTE		   UINT64_C(60000)
#define KIB		   (UINT64_C(1) << 10)
#define MIB		   (UINT64_C(1) << 20)

static const struct conf_key conf_keys[] = {
	KEY("service", "user", CONF_STRING, user, NUMBER(0, 0)),
	KEY("service", "state-dir", CONF_PATH, state_dir, NUMBER(0, 0)),
	KEY("service", "run-dir", CONF_PATH, run_dir, NUMBER(0, 0)),
	KEY("service", "control-group", CONF_STRING, control_group, NUMBER(0, 0)),
	KEY("service", "heartbeat", CONF_DURATION, heartbeat_ms, NUMBER(1000, 5 * MINUTE)),

	KEY("on-access", "include", CONF_RULES, include, NUMBER(0, 0)),
	KEY("on-access", "exclude", CONF_RULES, exclude, NUMBER(0, 0)),
	KEY("on-access", "exclude-user", CONF_NAMES, exclude_user, NUMBER(0, 0)),
	KEY("on-access", "exclude-process", CONF_RULES, exclude_process, NUMBER(0, 0)),
	KEY("on-access", "mode", CONF_CHOICE, mode, choices_mode, 0, 0),
	KEY("on-access", "hold-timeout", CONF_DURATION, hold_timeout_ms, NUMBER(100, 60 * MINUTE)),
	KEY("on-access", "on-timeout", CONF_CHOICE, on_timeout, choices_answer, 0, 0),
	KEY("on-access", "on-failure", CONF_CHOICE, on_failure, choices_answer, 0, 0),
	KEY("on-access", "on-incomplete", CONF_CHOICE, on_incomplete, choices_answer, 0, 0),
	KEY("on-access", "remote-filesystems", CONF_BOOL, remote_filesystems, NUMBER(0, 0)),
	KEY("on-access", "scan-ahead", CONF_BOOL, scan_ahead, NUMBER(0, 0)),
	KEY("on-access", "warm-start", CONF_BOOL, warm_start, NUMBER(0, 0)),

	KEY("engine", "signatures", CONF_PATH, signatures, NUMBER(0, 0)),
	KEY("engine", "workers", CONF_COUNT, workers, NUMBER(1, WIRE_WORKERS_MAX)),
	/* libclamav refuses files of 2 GiB and more whatever it is told */
	KEY("engine", "max-file-size", CONF_SIZE, max_file_size, NUMBER(1, 2047 * MIB)),
	KEY("engine", "max-scan-size", CONF_SIZE, max_scan_size, NUMBER(1, 64 * 1024 * MIB)),
	KEY("engine", "max-scan-time", CONF_DURATION, max_scan_time_ms, NUMBER(100, 60 * MINUTE)),
	KEY("engine", "detect-pua", CONF_BOOL, detect_pua, NUMBER(0, 0)),
	KEY("engine", "heuristics", CONF_BOOL, heuristics, NUMBER(0, 0)),
	KEY("engine", "verdict-cache", CONF_SIZE, verdict_cache, NUMBER(64 * KIB, 128 * MIB)),
	KEY("engine", "content-cache", CONF_SIZE, content_cache, NUMBER(0, 128 * MIB)),
	KEY("engine", "reload", CONF_CHOICE, reload, choices_reload, 0, 0),

	KEY("full-scan", "schedule", CONF_SCHEDULE, schedule, NUMBER(0, 0)),
	KEY("full-scan", "path", CONF_PATHS, scan_path, NUMBER(0, 0)),
	KEY("full-scan", "exclude", CONF_RULES, scan_exclude, NUMBER(0, 0)),
	KEY("full-scan", "cross-filesystems", CONF_BOOL, cross_filesystems, NUMBER(0, 0)),
	KEY("full-scan", "remote-filesystems", CONF_BOOL, scan_remote_filesystems, NUMBER(0, 0)),
	KEY("full-scan", "finish-by", CONF_TIME, finish_by, NUMBER(0, 0)),
	KEY("full-scan", "cpu", CONF_PERCENT, scan_cpu, NUMBER(1, 100)),
	KEY("full-scan", "random-delay", CONF_DURATION, scan_random_delay_ms,
	    NUMBER(0, 1440 * MINUTE)),

	KEY("signatures", "mirror", CONF_URLS, mirror, NUMBER(0, 0)),
	KEY("signatures", "database", CONF_DATABASES, database, NUMBER(0, 0)),
	KEY("signatures", "custom", CONF_FILES, custom, NUMBER(0, 0)),
	KEY("signatures", "custom-max-size", CONF_SIZE, custom_max_size,
	    NUMBER(KIB, 4 * 1024 * MIB)),
	KEY("signatures", "check-every", CONF_DURATION, check_every_ms,
	    NUMBER(0, 30 * 1440 * MINUTE)),
	KEY("signatures", "random-delay", CONF_DURATION, check_random_delay_ms,
	    NUMBER(0, 1440 * MINUTE)),
	KEY("signatures", "rate-limit", CONF_SIZE, rate_limit, NUMBER(0, 1024 * 1024 * MIB)),
	KEY("signatures", "proxy", CONF_URL, proxy, NUMBER(0, 0)),
	KEY("signatures", "ca-file", CONF_PATH, ca_file, NUMBER(0, 0)),
	KEY("signatures", "client-certificate", CONF_PATH, client_certificate, NUMBER(0, 0)),
	KEY("signatures", "client-key", CONF_PATH, client_key, NUMBER(0, 0)),
	KEY("signatures", "netrc-file", CONF_PATH, netrc_file, NUMBER(0, 0)),
	KEY("signatures", "max-age-warning", CONF_DURATION, max_age_warning_ms,
	    NUMBER(0, 3650 * 1440 * MINUTE)),

	KEY("alerts", "syslog", CONF_BOOL, syslog, NUMBER(0, 0)),
	KEY("alerts", "facility", CONF_CHOICE, facility, choices_facility, 0, 0),
	KEY("alerts", "log-file", CONF_PATH, log_file, NUMBER(0, 0)),
	KEY("alerts", "log-file-max-size", CONF_SIZE, log_file_max_size,
	    NUMBER(4096, 1024 * 1024 * MIB)),
	PLANNED("alerts", "json-file"),
	PLANNED("alerts", "repeat-after"),
	PLANNED("alerts", "command"),
	PLANNED("alerts", "webhook"),
	PLANNED("alerts", "metrics-file"),

	PLANNED("quarantine", "action"),
	PLANNED("quarantine", "directory"),
	PLANNED("quarantine", "max-size"),
	PLANNED("quarantine", "keep"),
};
#define N_KEYS (sizeof(conf_keys) / sizeof(conf_keys[0]))
_Static_assert(N_KEYS <= CONF_KEYS_MAX, "conf.h must make room");

struct conf *conf_new(void)
{
	struct conf *conf = calloc(1, sizeof(*conf));

	if (!conf)
		return NULL;

	conf->user = strdup("holdfast");
	conf->control_group = strdup("holdfast");
	conf->state_dir = strdup("/var/lib/holdfast");
	conf->run_dir = strdup("/run/holdfast");
	conf->heartbeat_ms = 3000;
	conf->mode = CONTROL_MODE_BLOCK;
	conf->hold_timeout_ms = 15000;
	conf->on_timeout = conf->on_failure = conf->on_incomplete = CONF_ALLOW;
	conf->warm_start = true;
	conf->scan_ahead = true;
	conf->max_file_size = 100 * MIB;
	conf->max_scan_size = 400 * MIB;
	conf->max_scan_time_ms = 2 * MINUTE;
	conf->heuristics = true;
	conf->verdict_cache = 16 * MIB;
	conf->content_cache = 16 * MIB;
	conf->schedule = (struct schedule){.days = SCHEDULE_DAILY, .minute = 2 * 60};
	conf->cross_filesystems = true;
	conf->scan_cpu = 100;
	conf->check_every_ms = 120 * MINUTE;
	conf->check_random_delay_ms = 10 * MINUTE;
	conf->custom_max_size = 100 * MIB;
	conf->max_age_warning_ms = 3 * 1440 * MINUTE;
	conf->syslog = true;
	conf->facility = LOG_DAEMON;
	conf->log_file_max_size = 20 * MIB;

	if (!conf->user || !conf->control_group || !conf->state_dir || !conf->run_dir)
		return conf_free(conf);
	return conf;
}

static void *conf_member(const struct conf *conf, const struct conf_key *key)
{
	return (char *)conf + key->offset;
}

static bool conf_key_is_list(const struct conf_key *key)
{
	return key->type == CONF_PATHS || key->type == CONF_RULES || key->type == CONF_NAMES ||
	       key->type == CONF_URLS || key->type == CONF_FILES || key->type == CONF_DATABASES;
}

static bool conf_key_is_string(const struct conf_key *key)
{
	return key->type == CONF_STRING || key->type == CONF_PATH || key->type == CONF_URL;
}

struct conf *conf_free(struct conf *conf)
{
	if (!conf)
		return NULL;

	for (const struct conf_key *key = conf_keys; key < conf_keys + N_KEYS; key++) {
		if (conf_key_is_string(key)) {
			free(*(char **)conf_member(conf, key));
		} else if (conf_key_is_list(key)) {
			struct conf_list *list = conf_member(conf, key);

			for (size_t i = 0; i < list->n_entries; i++)
				free(list->entries[i].text);
			free(list->entries);
		}
	}
	free(conf);
	return NULL;
}

static const struct conf_key *conf_find_key(const char *section, const char *name)
{
	for (const struct conf_key *key = conf_keys; key < conf_keys + N_KEYS; key++)
		if (!strcmp(key->section, section) && !strcmp(key->name, name))
			return key;
	return NULL;
}

bool conf_knows_section(const char *section)
{
	for (const struct conf_key *key = conf_keys; key < conf_keys + N_KEYS; key++)
		if (!strcmp(key->section, section))
			return true;
	return false;
}

unsigned conf_line(const struct conf *conf, const char *section, const char *name)
{
	const struct conf_key *key = conf_find_key(section, name);

	return key ? conf->lines[key - conf_keys] : 0;
}

static bool conf_key_is_single(const struct conf_key *key)
{
	return !conf_key_is_list(key) && key->type != CONF_PLANNED;
}

/* Takes ownership of text. */
static int conf_list_add(struct conf_list *list, char *text, unsigned line, const char **problem)
{
	struct conf_entry *entries;

	if (list->n_entries >= CONF_LIST_MAX) {
		free(text);
		*problem = "more than 256 entries";
		return -EINVAL;
	}
	entries = reallocarray(list->entries, list->n_entries + 1, sizeof(*entries));
	if (!entries) {
		free(text);
		return -ENOMEM;
	}
	list->entries = entries;
	list->entries[list->n_entries++] = (struct conf_entry){.text = text, .line = line};
	return 0;
}

static int conf_set_string(char **member, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return -ENOMEM;
	free(*member);
	*member = copy;
	return 0;
}

/* A path is a rule without a pattern, so advice on patterns is none. */
static char *conf_normalize_path(const char *value, const char **problem)
{
	if (*value != '/') {
		*problem = "a path must be absolute: begin with /";
		return NULL;
	}
	if (strchr(value, '*')) {
		*problem = "* is not allowed here";
		return NULL;
	}
	return match_normalize(value, problem);
}

/* Names of files are put behind it. */
static char *conf_normalize_mirror(const char *value, const char **problem)
{
	if (strpbrk(value, "?#"))
		*problem = "the URL of a mirror has neither ? nor #: names of files are put behind "
			   "it";
	return *problem ? NULL : url_normalize(value, URL_HTTP, problem);
}

static char *conf_normalize_file(const char *value, const char **problem)
{
	char *url = url_normalize(value, URL_HTTP | URL_FILE, problem);

	if (url)
		*problem = signature_custom_problem(url_file_name(url));
	if (url && *problem) {
		free(url);
		return NULL;
	}
	return url;
}

/* It becomes the beginning of a file's name. */
static bool conf_check_database(const char *value, const char **problem)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_-";

	if (strspn(value, allowed) == strlen(value) && strlen(value) <= SIGNATURE_DATABASE_MAX)
		return true;
	*problem = "the name of a database is made of letters, digits, - and _: main, not main.cvd";
	return false;
}

static int conf_set_url(char **member, const char *value, const char **problem)
{
	char *url = url_normalize(value, URL_HTTP | URL_SOCKS, problem);

	if (!url)
		return *problem ? -EINVAL : -ENOMEM;
	free(*member);
	*member = url;
	return 0;
}

static int conf_set_path(char **member, const char *value, const char **problem)
{
	char *path = conf_normalize_path(value, problem);

	if (!path)
		return *problem ? -EINVAL : -ENOMEM;
	free(*member);
	*member = path;
	return 0;
}

struct conf_unit {
	const char *name;
	uint64_t factor;
};

/* A number with a unit behind it. The first unit is the one a bare number has. */
static bool conf_parse_number(const char *value, const struct conf_unit *units, uint64_t *ret)
{
	unsigned long long number;
	char *unit;

	if (*value < '0' || *value > '9')
		return false;
	errno = 0;
	number = strtoull(value, &unit, 10);
	if (errno)
		return false;
	unit += strspn(unit, " ");

	for (const struct conf_unit *u = units; u->name; u++)
		if (!strcmp(unit, u->name) || (u == units && !*unit))
			return !__builtin_mul_overflow(number, u->factor, ret);
	return false;
}

static const struct conf_unit units_none[] = {{"", 1}, {0}};
static const struct conf_unit units_time[] = {
	{"s", 1000}, {"ms", 1}, {"m", MINUTE}, {"h", 60 * MINUTE}, {"d", 1440 * MINUTE}, {0}};
static const struct conf_unit units_size[] = {
	{"", 1}, {"K", KIB}, {"M", MIB}, {"G", 1024 * MIB}, {0}};
static const struct conf_unit units_percent[] = {{"%", 1}, {0}};

/* How the numbers of each type are written. */
static const struct conf_number {
	const struct conf_unit *units;
	const char *expected;
} conf_numbers[] = {
	[CONF_DURATION] = {units_time, "a duration such as 500ms, 15s, 2m or 1h"},
	[CONF_SIZE] = {units_size, "a size such as 4096, 512K, 100M or 2G"},
	[CONF_COUNT] = {units_none, "a number, or auto"},
	[CONF_PERCENT] = {units_percent, "a percentage such as 25%"},
};

/* In the largest unit that divides it; nothing has the first. */
static const char *conf_format_number(uint64_t number, const struct conf_unit *units, char *buffer,
				      size_t size)
{
	const struct conf_unit *best = NULL;

	for (const struct conf_unit *unit = units; unit->name; unit++)
		if (number % unit->factor == 0 &&
		    (!best || (number && unit->factor > best->factor)))
			best = unit;
	(void)snprintf(buffer, size, "%llu%s", (unsigned long long)(number / best->factor),
		       best->name);
	return buffer;
}

static int conf_set_number(uint64_t *member, const struct conf_key *key, const char *value,
			   char *problem, size_t problem_size)
{
	const struct conf_number *type = &conf_numbers[key->type];
	uint64_t number;

	if (key->type == CONF_COUNT && !strcmp(value, "auto")) {
		*member = 0;
		return 0;
	}
	if (!conf_parse_number(value, type->units, &number)) {
		(void)snprintf(problem, problem_size, "'%s' is not %s", value, type->expected);
		return -EINVAL;
	}
	if (number < key->min || number > key->max) {
		char min[32], max[32];

		(void)snprintf(problem, problem_size, "%s is out of range: %s to %s", value,
			       conf_format_number(key->min, type->units, min, sizeof(min)),
			       conf_format_number(key->max, type->units, max, sizeof(max)));
		return -EINVAL;
	}
	*member = number;
	return 0;
}

static int conf_set_choice(unsigned *member, const struct conf_choice *choices, const char *value,
			   char *problem, size_t problem_size)
{
	int n = snprintf(problem, problem_size, "'%s' is none of:", value);

	for (const struct conf_choice *choice = choices; choice->name; choice++) {
		if (!strcmp(value, choice->name)) {
			*member = choice->value;
			return 0;
		}
		if (n >= 0 && (size_t)n < problem_size)
			n += snprintf(problem + n, problem_size - (size_t)n, " %s", choice->name);
	}
	return -EINVAL;
}

static int conf_set_bool(bool *member, const char *value, char *problem, size_t problem_size)
{
	static const struct conf_choice choices[] = {{"yes", true}, {"no", false}, {0}};
	unsigned choice;
	int r = conf_set_choice(&choice, choices, value, problem, problem_size);

	if (r == 0)
		*member = choice;
	return r;
}

/* Copies the text for a list; NULL with what is wrong with it, or out of memory without. */
static char *conf_entry_text(const struct conf_key *key, const char *value, const char **problem)
{
	switch (key->type) {
	case CONF_PATHS:
		return conf_normalize_path(value, problem);
	case CONF_RULES:
		return match_normalize(value, problem);
	case CONF_URLS:
		return conf_normalize_mirror(value, problem);
	case CONF_FILES:
		return conf_normalize_file(value, problem);
	case CONF_DATABASES:
		return conf_check_database(value, problem) ? strdup(value) : NULL;
	default:
		return strdup(value);
	}
}

static int conf_set_member(struct conf *conf, const struct conf_key *key, const char *value,
			   unsigned line, char *problem, size_t problem_size)
{
	void *member = conf_member(conf, key);
	const char *why = NULL;
	char *text;
	int r;

	switch (key->type) {
	case CONF_STRING:
		return conf_set_string(member, value);
	case CONF_CHOICE:
		return conf_set_choice(member, key->choices, value, problem, problem_size);
	case CONF_BOOL:
		return conf_set_bool(member, value, problem, problem_size);
	case CONF_DURATION:
	case CONF_SIZE:
	case CONF_COUNT:
	case CONF_PERCENT:
		return conf_set_number(member, key, value, problem, problem_size);
	case CONF_SCHEDULE:
		return schedule_parse(value, member, problem, problem_size);
	case CONF_TIME:
		return schedule_parse_time(value, member, problem, problem_size);
	case CONF_PATH:
		r = conf_set_path(member, value, &why);
		break;
	case CONF_URL:
		r = conf_set_url(member, value, &why);
		break;
	case CONF_PATHS:
	case CONF_RULES:
	case CONF_NAMES:
	case CONF_URLS:
	case CONF_FILES:
	case CONF_DATABASES:
		text = conf_entry_text(key, value, &why);
		r = text ? conf_list_add(member, text, line, &why) : why ? -EINVAL : -ENOMEM;
		break;
	case CONF_PLANNED:
	default:
		(void)snprintf(problem, problem_size, "has no effect in this version");
		return 1;
	}

	if (r == -EINVAL)
		(void)snprintf(problem, problem_size, "'%s': %s", value, why);
	return r;
}

int conf_set(struct conf *conf, const char *section, const char *name, const char *value,
	     unsigned line, char *problem, size_t problem_size)
{
	const struct conf_key *key = conf_find_key(section, name);
	char why[512];
	int r;

	if (!key) {
		(void)snprintf(problem, problem_size,
			       conf_knows_section(section) ? "unknown key '%s' in section [%s]"
							   : "key '%s' in the unknown section [%s]",
			       name, section);
		return -EINVAL;
	}
	if (!*value) {
		(void)snprintf(problem, problem_size, "%s: no value", name);
		return -EINVAL;
	}

	if (conf_key_is_single(key) && conf->lines[key - conf_keys]) {
		(void)snprintf(problem, problem_size, "%s: given before, on line %u", name,
			       conf->lines[key - conf_keys]);
		return -EINVAL;
	}

	conf->lines[key - conf_keys] = line;
	r = conf_set_member(conf, key, value, line, why, sizeof(why));
	if (r == -EINVAL || r == 1)
		(void)snprintf(problem, problem_size, "%s: %s", name, why);
	return r;
}

char *conf_signatures_dir(const struct conf *conf, char *buffer, size_t size)
{
	if (conf->signatures)
		(void)snprintf(buffer, size, "%s", conf->signatures);
	else
		(void)snprintf(buffer, size, "%s/signatures", conf->state_dir);
	return buffer;
}

/*
 * A snapshot is a run of section NUL key NUL value NUL. Unlike the INI file it can hold any path:
 * symbolic links may resolve to names that no line of an INI file can spell.
 */
static void conf_write_one(FILE *out, const struct conf_key *key, const char *value)
{
	(void)fprintf(out, "%s%c%s%c%s%c", key->section, 0, key->name, 0, value, 0);
}

static void conf_write_choice(FILE *out, const struct conf_key *key, unsigned value)
{
	for (const struct conf_choice *choice = key->choices; choice->name; choice++)
		if (choice->value == value)
			conf_write_one(out, key, choice->name);
}

static void conf_write_number(FILE *out, const struct conf_key *key, uint64_t value)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%llu%s", (unsigned long long)value,
		       key->type == CONF_DURATION ? "ms" : "");
	conf_write_one(out, key, key->type == CONF_COUNT && !value ? "auto" : text);
}

static void conf_write_list(FILE *out, const struct conf_key *key, const struct conf_list *list)
{
	for (size_t i = 0; i < list->n_entries; i++)
		conf_write_one(out, key, list->entries[i].text);
}

static void conf_write(FILE *out, const struct conf *conf)
{
	char text[SCHEDULE_TEXT_MAX];

	for (const struct conf_key *key = conf_keys; key < conf_keys + N_KEYS; key++) {
		void *member = conf_member(conf, key);

		switch (key->type) {
		case CONF_STRING:
		case CONF_PATH:
		case CONF_URL:
			if (*(char **)member)
				conf_write_one(out, key, *(char **)member);
			break;
		case CONF_PATHS:
		case CONF_RULES:
		case CONF_NAMES:
		case CONF_URLS:
		case CONF_FILES:
		case CONF_DATABASES:
			conf_write_list(out, key, member);
			break;
		case CONF_CHOICE:
			conf_write_choice(out, key, *(unsigned *)member);
			break;
		case CONF_BOOL:
			conf_write_one(out, key, *(bool *)member ? "yes" : "no");
			break;
		case CONF_DURATION:
		case CONF_SIZE:
		case CONF_COUNT:
		case CONF_PERCENT:
			conf_write_number(out, key, *(uint64_t *)member);
			break;
		case CONF_SCHEDULE:
			conf_write_one(out, key, schedule_format(member, text, sizeof(text)));
			break;
		case CONF_TIME:
			if (((struct schedule_time *)member)->is_set)
				conf_write_one(out, key,
					       schedule_format_time(member, text, sizeof(text)));
			break;
		case CONF_PLANNED:
		default:
			break;
		}
	}
	/* What has no key of its own: the numbers behind the names. */
	(void)fprintf(out, "%s%c%u %u %u%c", "resolved", 0, conf->uid, conf->gid, conf->control_gid,
		      0);
	for (size_t i = 0; i < conf->exclude_user.n_entries; i++)
		(void)fprintf(out, "%u%c", conf->exclude_user.entries[i].uid, 0);
}

int conf_snapshot(const struct conf *conf)
{
	const int seals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	int fd, r = 0;

	if (!out)
		return -errno;
	conf_write(out, conf);
	if (fclose(out) != 0) {
		free(text);
		return -ENOMEM;
	}

	fd = memfd_create("holdfast.conf", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || write(fd, text, size) != (ssize_t)size || fcntl(fd, F_ADD_SEALS, seals) < 0)
		r = -errno;
	free(text);
	if (r < 0 && fd >= 0)
		close(fd);
	return r < 0 ? r : fd;
}

/* Steps from string to string within the snapshot. NULL: there is no further one. */
static const char *snapshot_next(const char **at, const char *end)
{
	const char *string = *at, *nul = memchr(string, '\0', (size_t)(end - string));

	if (!nul)
		return NULL;
	*at = nul + 1;
	return string;
}

static bool snapshot_read_resolved(struct conf *conf, const char *at, const char *end)
{
	const char *ids = snapshot_next(&at, end);

	if (!ids || sscanf(ids, "%u %u %u", &conf->uid, &conf->gid, &conf->control_gid) != 3)
		return false;
	for (size_t i = 0; i < conf->exclude_user.n_entries; i++) {
		const char *uid = snapshot_next(&at, end);

		if (!uid || sscanf(uid, "%u", &conf->exclude_user.entries[i].uid) != 1)
			return false;
	}
	return at == end;
}

static bool snapshot_read(struct conf *conf, const char *at, const char *end)
{
	char problem[512];
	const char *section;

	while ((section = snapshot_next(&at, end))) {
		const char *key, *value;

		if (!strcmp(section, "resolved"))
			return snapshot_read_resolved(conf, at, end);
		key = snapshot_next(&at, end);
		value = snapshot_next(&at, end);
		if (!key || !value ||
		    conf_set(conf, section, key, value, 0, problem, sizeof(problem)) < 0)
			return false;
	}
	return false;
}

struct conf *conf_from_snapshot(int fd)
{
	struct conf *conf = conf_new();
	struct stat status;
	char *text;

	if (!conf || fstat(fd, &status) < 0 || status.st_size <= 0)
		return conf_free(conf);
	text = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (text == MAP_FAILED)
		return conf_free(conf);
	if (!snapshot_read(conf, text, text + status.st_size))
		conf = conf_free(conf);
	(void)munmap(text, (size_t)status.st_size);
	return conf;
}
