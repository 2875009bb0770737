/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* conf_fixture: a configuration of defaults for each test, as its state. */
#include "../../../src/common/conf.h"
#include "unit.h"

static inline int conf_fixture_setup(void **state)
{
	*state = conf_new();
	return *state ? 0 : -1;
}

static inline int conf_fixture_teardown(void **state)
{
	*state = conf_free(*state);
	return *state ? -1 : 0;
}

static inline void conf_fixture_set(struct conf *conf, const char *section, const char *key,
				    const char *value)
{
	char problem[768] = "";

	if (conf_set(conf, section, key, value, 0, problem, sizeof(problem)) != 0)
		fail_msg("%s = %s: %s", key, value, problem);
}

#define CONF_TEST(function)                                                                        \
	cmocka_unit_test_setup_teardown(function, conf_fixture_setup, conf_fixture_teardown)
