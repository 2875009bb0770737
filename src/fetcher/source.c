/* SPDX-License-Identifier: GPL-2.0-only */
#include "source.h"

#include <stdio.h>

bool source_may_ask(const struct source *source, int64_t now)
{
	return now >= source->cool_until || source->cool_since > now ||
	       source->cool_until - source->cool_since > SOURCE_COOL_DOWN_MAX_S;
}

bool source_is_healthy(const struct source *source, int64_t now)
{
	return now >= source->retry_at || source->retry_at - now > SOURCE_RETRY_MAX_S;
}

static int64_t source_cool_down(const struct transfer_reply *reply)
{
	if (reply->retry_after > SOURCE_COOL_DOWN_MAX_S)
		return SOURCE_COOL_DOWN_MAX_S;
	if (reply->retry_after > 0)
		return reply->retry_after;
	return reply->status == 403   ? SOURCE_FORBIDDEN_S
	       : reply->status == 429 ? SOURCE_TOO_MANY_S
				      : SOURCE_RETRY_S;
}

static void source_cool(struct source *source, const struct transfer_reply *reply, int64_t now)
{
	source->cool_since = now;
	source->cool_until = now + source_cool_down(reply);
	(void)snprintf(source->problem, sizeof(source->problem), "%s", reply->problem);
}

static void source_is_well(struct source *source, int64_t now)
{
	source->last_ok = now;
	source->failures = 0;
	source->retry_at = source->cool_until = source->cool_since = 0;
	*source->problem = '\0';
}

void source_answered(struct source *source, const struct transfer_reply *reply, int64_t now)
{
	switch (reply->result) {
	case TRANSFER_DONE:
	case TRANSFER_NOT_MODIFIED:
		source_is_well(source, now);
		break;
	case TRANSFER_COOL_DOWN:
		source_cool(source, reply, now);
		break;
	case TRANSFER_BROKEN:
	case TRANSFER_REFUSED:
		source_failed(source, reply->problem, now);
		break;
	default:
		break;
	}
}

void source_failed(struct source *source, const char *problem, int64_t now)
{
	int64_t wait = SOURCE_RETRY_S;

	for (uint32_t n = 0; n < source->failures && wait < SOURCE_RETRY_MAX_S; n++)
		wait *= 2;
	if (source->failures < UINT32_MAX)
		source->failures++;
	source->retry_at = now + (wait < SOURCE_RETRY_MAX_S ? wait : SOURCE_RETRY_MAX_S);
	(void)snprintf(source->problem, sizeof(source->problem), "%s", problem);
}
