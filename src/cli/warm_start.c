/* SPDX-License-Identifier: GPL-2.0-only */
#include "warm_start.h"

#include "client.h"
#include "human.h"

#include <errno.h>
#include <inttypes.h>

int warm_start_ask(int fd, struct control_warm_start_reply *ret_reply)
{
	const struct wire_plain request = {
		.header = WIRE_INIT(WIRE_CONTROL_WARM_START, struct wire_plain),
	};
	int r = client_ask(fd, &request.header, WIRE_CONTROL_WARM_START_REPLY, ret_reply,
			   sizeof(*ret_reply));

	return r == 0 && ret_reply->state >= CONTROL_WARM_START_STATE_COUNT ? -EPROTO : r;
}

void warm_start_print(const struct control_warm_start_reply *reply)
{
	char when[32];

	(void)printf("  warm start  ");
	if (reply->state == CONTROL_WARM_START_OFF) {
		(void)printf("off\n");
		return;
	}
	(void)printf("%" PRIu64 " files known as opened before", reply->files);
	if (reply->state == CONTROL_WARM_START_RUNNING)
		(void)printf("; running, %" PRIu64 " of %" PRIu64 " looked at", reply->done,
			     reply->of);
	else if (reply->ended)
		(void)printf("; last %s: %" PRIu64 " verified again, %" PRIu64 " infected",
			     human_time(when, sizeof(when), reply->ended), reply->verified,
			     reply->infected);
	(void)putchar('\n');
}

json_t *warm_start_json(const struct control_warm_start_reply *reply)
{
	static const char *const states[CONTROL_WARM_START_STATE_COUNT] = {
		[CONTROL_WARM_START_OFF] = "off",
		[CONTROL_WARM_START_IDLE] = "idle",
		[CONTROL_WARM_START_RUNNING] = "running",
	};
	const struct {
		const char *name;
		uint64_t value;
	} numbers[] = {
		{"files", reply->files},
		{"began", (uint64_t)reply->began},
		{"ended", (uint64_t)reply->ended},
		{"of", reply->of},
		{"done", reply->done},
		{"verified", reply->verified},
		{"known", reply->known},
		{"gone", reply->gone},
		{"passed_over", reply->passed_over},
		{"infected", reply->infected},
		{"unverified", reply->unverified},
	};
	json_t *object = json_object();

	(void)json_object_set_new(object, "state", json_string(states[reply->state]));
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		(void)json_object_set_new(object, numbers[i].name,
					  json_integer((json_int_t)numbers[i].value));
	return object;
}
