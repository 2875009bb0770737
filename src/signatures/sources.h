/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * sources: which files of signatures an engine loads, in a form that tells one set from another.
 *
 * They are those of the directory of signatures and, where SIGNATURE_CURRENT in it is a symbolic
 * link, those in the directory that it leads to. Other files than signature_is_file() knows are
 * passed over.
 */
#include "../common/conf.h"

#include <holdfast/wire.h>
#include <limits.h>
#include <stddef.h>
#include <sys/types.h>

/* More files are refused. */
#define SOURCES_FILES_MAX 4096

#define SOURCES_DIRECTORIES_MAX 2

struct source;

struct sources_directory {
	char path[PATH_MAX];
	unsigned n_files; /* libclamav refuses a directory without any */
};

/* The files as they were at one moment. The directories may be read by others. */
struct sources {
	struct sources_directory directories[SOURCES_DIRECTORIES_MAX];
	unsigned n_directories;
	const struct conf *conf;
	int64_t listed_at; /* seconds since the epoch */
	struct source *files;
	unsigned n_files;
	bool vanished;	 /* one went while they were listed */
	bool includes;	 /* YARA rules among them include files that need not be */
	bool is_settled; /* see sources_settle() */
	pid_t hasher;	 /* 0: none */
	int digests;	 /* where it tells them */
};

/*
 * sources_new() lists the files. The link is followed now and not again: a set that is published
 * later does not mix in. conf must outlive it. Returns NULL with the reason in problem: a directory
 * or a file in it cannot be reached, the link leads to none, there are too many files, or something
 * else than a file has a name like one. A missing directory has no files.
 */
struct sources *sources_new(const struct conf *conf, char *problem, size_t problem_size);

/* sources_free() takes NULL, and returns NULL. */
struct sources *sources_free(struct sources *sources);

/*
 * sources_hash() begins to read the files, in a child. While there is another thread, libclamav,
 * which loads them meanwhile, would take locks for each byte of the lines it counts: 17 s of
 * processor time for 8.4 million signatures instead of 7 s.
 */
bool sources_hash(struct sources *sources, char *problem, size_t problem_size);

/*
 * sources_settle() waits for the digests that sources_hash() began with, and sees whether the files
 * are still the same: by their times, and by their bytes where those do not tell. Returns false
 * where they are not or it cannot be seen: nobody knows then what exactly was loaded.
 */
bool sources_settle(struct sources *sources);

/*
 * sources_describe() fills set, newest, engine and versions of info, and databases with the first
 * WIRE_DATABASES_MAX files. Returns how many, or a negative errno. The set is made of all their
 * bytes, of libclamav's version, and of what the configuration says about scanning: what is clean
 * under one set is clean under an equal one. Where not all bytes are known, as files did not settle
 * or include others, it is a random number. A .cvd or .cld has its own version; of others the first
 * digits of their SHA-256 are shown, "?" where they did not settle.
 */
int sources_describe(const struct sources *sources, struct wire_engine_info *info,
		     struct wire_database databases[WIRE_DATABASES_MAX]);

/* sources_find_double() says whether a database lies there twice, and names the first such in text,
 * for people. */
bool sources_find_double(const struct sources *sources, char *text, size_t size);
