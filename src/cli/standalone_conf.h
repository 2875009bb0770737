/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* standalone_conf: the configuration of an engine of our own. */
#include "cli.h"

/*
 * standalone_conf() reads the configuration, of which only the engine's part is used: so the file
 * may be missing, and what it names need not exist, as conf_resolve() would have it. The engine is
 * to run as the caller, or where that is root as the service's user, or as nobody.
 *
 * database: the directory of signatures, NULL: as configured. workers: 0: as configured. Returns
 * NULL after saying what is wrong.
 */
struct conf *standalone_conf(const struct cli *cli, const char *database, unsigned workers);
