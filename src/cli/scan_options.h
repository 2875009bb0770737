/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* scan_options: what the words behind `holdfast scan` ask for. */
#include "cli.h"

struct scan_options {
	struct cli cli; /* with what --config and --json behind the verb say */
	bool afresh, remote, standalone, cross_filesystems;
	bool verbose, no_summary, no_progress;
	bool full, wait, stop;
	unsigned threads;	  /* 0: as many as seem right */
	const char *database;	  /* NULL: not given */
	struct conf_list exclude; /* rules; symbolic links in their literal parts resolved */
	char **paths;		  /* into argv */
	int n_paths;
};

/*
 * scan_options_parse() reads them, the program's name first. Returns -1, or the exit code where
 * that was all: help was asked for, or something is wrong, which it has said.
 */
int scan_options_parse(struct scan_options *options, const struct cli *cli, int argc, char **argv);

/* scan_options_free() frees what they hold. */
void scan_options_free(struct scan_options *options);
