/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* custom: a file of signatures from a URL of its own: taken as a whole, where it has changed. */
#include "run.h"

/* custom_update() asks for it, tries it and stages it. Fills item. */
void custom_update(struct run *run, const char *url, struct wire_update_item *item);
