/* SPDX-License-Identifier: GPL-2.0-only */
#include "due.h"

#define WAIT_MIN   60
#define RETRY_MIN  600
#define RETRY_BITS 10	       /* RETRY_MIN is doubled no more often */
#define SLACK	   (7 * 86400) /* a source may ask for so much more patience */

static uint64_t due_every(const struct conf *conf)
{
	uint64_t every = conf->check_every_ms / 1000;

	return every > WAIT_MIN ? every : WAIT_MIN;
}

bool due_is_configured(const struct conf *conf)
{
	return conf->mirror.n_entries || conf->custom.n_entries;
}

bool due_by_itself(const struct conf *conf)
{
	return conf->check_every_ms && due_is_configured(conf);
}

uint64_t due_first(const struct conf *conf, bool test_only, uint32_t random)
{
	return test_only ? 0 : random % (conf->check_random_delay_ms / 1000 + 1);
}

uint64_t due_next(const struct conf *conf, int64_t next, int64_t now)
{
	uint64_t most = due_every(conf) + conf->check_random_delay_ms / 1000 + SLACK, wait = 0;

	if (!next)
		return due_every(conf);
	if (next > now)
		wait = (uint64_t)next - (uint64_t)now;
	if (wait < WAIT_MIN)
		return WAIT_MIN;
	return wait < most ? wait : most;
}

uint64_t due_retry(const struct conf *conf, unsigned failures)
{
	unsigned doubled = failures > RETRY_BITS ? RETRY_BITS : failures > 0 ? failures - 1 : 0;
	uint64_t wait = (uint64_t)RETRY_MIN << doubled;

	return wait < due_every(conf) ? wait : due_every(conf);
}
