/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * database: one of the databases that mirrors have: as little traffic as brings it up to date.
 */
#include "run.h"

/* database_update() asks the mirrors in their order, those that have just failed last, and stages
 * what is newer (or, for a mirror of our own, puts it there). Fills item. */
void database_update(struct run *run, const char *name, struct wire_update_item *item);
