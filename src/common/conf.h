/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * conf: the configuration as a value.
 *
 * - conf.c: the table of all keys; setting one value; the snapshot other processes get
 * - conf_file.c: reading the INI file
 * - conf_resolve.c: what needs the system: users, symbolic links, whether paths exist
 *
 * Reading and resolving open files and may wait for a name service: never in the guard's or the
 * supervisor's loop. A snapshot holds resolved values only, and reading it does neither.
 */
#include "schedule.h"

#include <holdfast/control.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CONF_FILE_DEFAULT "/etc/holdfast/holdfast.conf"

/* A list has at most so many entries; one more is an error. */
#define CONF_LIST_MAX 256

/* Room for the keys there are; conf.c checks that it suffices. */
#define CONF_KEYS_MAX 80

/* One entry of a key that may be given several times. */
struct conf_entry {
	char *text;
	unsigned line; /* in the file; 0 in a snapshot */
	uid_t uid;     /* exclude-user only, once resolved */
};

struct conf_list {
	struct conf_entry *entries;
	size_t n_entries;
};

enum conf_answer { CONF_ALLOW, CONF_DENY };

/* How new signatures take over. */
enum conf_reload {
	CONF_RELOAD_AUTO,     /* lean where memory for a second engine is short */
	CONF_RELOAD_PARALLEL, /* the new engine loads beside the old one */
	CONF_RELOAD_LEAN      /* the old one ends first */
};

/* Durations are in milliseconds, sizes in bytes. Strings are never NULL unless it says so. */
struct conf {
	/* [service] */
	char *user, *control_group;
	char *state_dir, *run_dir;
	uint64_t heartbeat_ms; /* a process of the service that is silent for so long is replaced */
	uid_t uid;	       /* of user; resolved */
	gid_t gid;
	gid_t control_gid;

	/* [on-access] */
	struct conf_list include, exclude; /* rules, see match.h */
	struct conf_list exclude_user;
	struct conf_list exclude_process; /* rules for the executable's path */
	unsigned mode;			  /* enum control_mode */
	uint64_t hold_timeout_ms;
	bool remote_filesystems;
	bool warm_start;
	bool scan_ahead;
	unsigned on_timeout, on_failure, on_incomplete; /* enum conf_answer */

	/* [engine] */
	char *signatures; /* a directory; NULL: not given, see conf_signatures_dir() */
	uint64_t workers; /* 0: two for each core */
	uint64_t max_file_size, max_scan_size, max_scan_time_ms;
	bool detect_pua, heuristics;
	uint64_t verdict_cache; /* bytes */
	uint64_t content_cache; /* bytes; 0: none */
	unsigned reload;	/* enum conf_reload */

	/* [full-scan] */
	struct schedule schedule;
	struct conf_list scan_path;    /* directories or files; resolved: one at least */
	struct conf_list scan_exclude; /* rules, see match.h */
	bool cross_filesystems;
	bool scan_remote_filesystems;
	struct schedule_time finish_by;
	uint64_t scan_cpu; /* percent of all processors */
	uint64_t scan_random_delay_ms;

	/* [signatures] */
	struct conf_list mirror;   /* URLs without a slash at the end */
	struct conf_list database; /* names; resolved: one at least */
	struct conf_list custom;   /* URLs of files */
	uint64_t check_every_ms;   /* 0: only when asked */
	uint64_t check_random_delay_ms;
	uint64_t custom_max_size;
	uint64_t rate_limit;		       /* bytes a second; 0: none */
	char *proxy;			       /* URL; NULL: none */
	char *ca_file;			       /* NULL: the system's */
	char *client_certificate, *client_key; /* NULL: none */
	char *netrc_file;		       /* users and passwords by host; NULL: none */
	uint64_t max_age_warning_ms;	       /* 0: never */

	/* [alerts] */
	bool syslog;
	unsigned facility; /* of syslog: LOG_DAEMON, ... */
	char *log_file;	   /* NULL: none */
	uint64_t log_file_max_size;

	unsigned lines[CONF_KEYS_MAX]; /* where each key was given, see conf_line() */
};

/*
 * Told of each problem. priority is LOG_ERR (the configuration is refused) or LOG_WARNING; line is
 * 0 where the problem belongs to no line.
 */
typedef void (*conf_report)(void *context, int priority, unsigned line, const char *text);

/* conf_new() returns a configuration of defaults, NULL when out of memory. conf_free() takes
 * NULL. */
struct conf *conf_new(void);
struct conf *conf_free(struct conf *conf);

/*
 * conf_set() gives one key a value. Returns 0; 1 when the key is valid but has no effect in this
 * version (problem says so); -EINVAL with the reason in problem; -ENOMEM.
 */
int conf_set(struct conf *conf, const char *section, const char *key, const char *value,
	     unsigned line, char *problem, size_t problem_size);

/* conf_knows_section() says whether any key belongs to this section. */
bool conf_knows_section(const char *section);

/* conf_line() returns the line on which a key was given last; 0: it was not given in a file. */
unsigned conf_line(const struct conf *conf, const char *section, const char *key);

/*
 * conf_signatures_dir() writes the directory of signatures to buffer: the one configured, or
 * "signatures" in state-dir. Returns buffer.
 */
char *conf_signatures_dir(const struct conf *conf, char *buffer, size_t size);

/*
 * conf_read_file() reads an INI file. Everything found wrong is reported; then it returns NULL, or
 * also when it cannot be read at all.
 */
struct conf *conf_read_file(const char *path, conf_report report, void *context);

/*
 * conf_resolve() looks up the users and groups, resolves symbolic links in the literal parts of
 * rules (the kernel reports paths without them) and checks that what must exist does. Returns 0, or
 * -EINVAL after reporting everything found wrong.
 */
int conf_resolve(struct conf *conf, conf_report report, void *context);

/*
 * conf_resolve_path() resolves the symbolic links of the longest leading part of path that exists.
 * Returns a string to free, NULL when out of memory.
 */
char *conf_resolve_path(const char *path);

/*
 * conf_find_foreign_link() finds a symbolic link on the way along an absolute path that does not
 * belong to root. Returns its name, to be freed; NULL: none.
 */
char *conf_find_foreign_link(const char *path);

/*
 * conf_snapshot() writes a resolved configuration to a sealed memfd. Returns it, or a negative
 * errno. conf_from_snapshot() reads one from fd, which stays the caller's; NULL when it is not a
 * snapshot.
 */
int conf_snapshot(const struct conf *conf);
struct conf *conf_from_snapshot(int fd);
