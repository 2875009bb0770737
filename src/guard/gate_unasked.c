/* SPDX-License-Identifier: GPL-2.0-only */
/* Files that are scanned although nobody waits for them. */
#include "../common/clock.h"
#include "../common/line.h"
#include "../common/log.h"
#include "gate_inner.h"
#include "opener.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* After a look at files that were written, when another one is worth it at the earliest. */
#define AHEAD_PAUSE_US (25 * CLOCK_US_PER_MS)

/* While opens follow each other that closely, what was written waits for so long, as it would take
 * time from them; but for no more files than three quarters of the room. */
#define AHEAD_QUIET_US (2 * CLOCK_US_PER_MS)
#define AHEAD_YIELD_US (500 * CLOCK_US_PER_MS)

/* Of what the visitor opens for that. */
#define AHEAD_TICKET 1

/* Behind opens, and what else comes from the kernel. */
#define AHEAD_PRIORITY (SD_EVENT_PRIORITY_NORMAL + 5)

/* --- what was moved --- */

/* A directory whose files were opened without a question is, or may be, in scope now. */
void gate_on_moved(void *context, int fd)
{
	struct gate *gate = context;
	char escaped[512];
	int r;

	locate(&gate->watch.mounts, gate->conf, policy_directory, fd, &gate->location);
	if (gate->location.error == 0 && gate->location.scope != POLICY_IN_SCOPE)
		return;
	r = visitor_visit(&gate->visitor, fd);
	if (r < 0)
		log_warning("%s was moved here and is not scanned until its files are opened: %s",
			    line_escape(escaped, sizeof(escaped), gate->location.path),
			    strerror(-r));
}

int gate_on_renames(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct gate *gate = userdata;
	struct renames_event events[RENAMES_BATCH];
	int n = renames_read(&gate->estate->renames, events);

	for (int i = 0; i < n; i++) {
		if (events[i].lost)
			bypass_end_all(&gate->bypass, gate_on_moved, gate);
		else
			bypass_end(&gate->bypass, events[i].directory, gate_on_moved, gate);
	}
	if (n > 0)
		gate->owner->moved(gate->owner_context);
	return 0;
}

/* Scans a file that came into scope with its directory. */
static void gate_scan_moved(struct gate *gate, int fd)
{
	struct look look;

	if (!gate_in_scope(gate, fd) || gate_look(gate, fd, &look) < 0 || look.is_known ||
	    look.state.size == 0 || gate_is_poison(&look) || request_find(&gate->requests, look.id))
		return;
	if (!gate_request(gate, fd, &look, LANE_MOVED))
		gate->counters->not_scanned++;
}

/* --- what was written --- */

static void gate_arm_ahead(struct gate *gate, uint64_t not_before_us)
{
	uint64_t due_us = ahead_due_us(&gate->ahead);

	if (due_us < not_before_us)
		due_us = not_before_us;
	if (due_us >= gate->ahead_armed_us)
		return;
	gate->ahead_armed_us = due_us;
	(void)sd_event_source_set_time(gate->ahead_timer, due_us);
	(void)sd_event_source_set_enabled(gate->ahead_timer, SD_EVENT_ONESHOT);
}

bool gate_scans_ahead(const struct gate *gate)
{
	return gate->conf->scan_ahead && gate->conf->mode != CONTROL_MODE_OFF;
}

/* Who wrote it does not matter, but we ourselves. */
void gate_keep_ahead(struct gate *gate, const struct group_event *closed, struct file_id id,
		     const struct file_state *state)
{
	uint64_t now = clock_monotonic_us(), settles_us = file_state_settles_us(state);
	struct ahead_file file = {.id = id, .pid = closed->pid};
	bool given_up;

	if (!gate_scans_ahead(gate) || state->size == 0 || gate_is_own(gate, closed->pid))
		return;
	if (ahead_again(&gate->ahead, id, closed->pid, settles_us, now, &given_up)) {
		gate->counters->ahead_dropped += given_up;
		return;
	}
	if (!gate_in_scope(gate, closed->fd) || !gate->location.events_tell_of_change ||
	    handle_of(closed->fd, &file.handle) < 0)
		return;
	file.device = gate->location.device;
	if (ahead_add(&gate->ahead, &file, settles_us, now))
		gate_arm_ahead(gate, 0);
	else
		gate->counters->ahead_dropped++;
}

/* Whether it is a file that anybody may open yet, and not one of ours. */
static bool gate_may_be_opened(const struct gate *gate, const struct statx *status)
{
	return S_ISREG(status->stx_mode) && status->stx_nlink && status->stx_size &&
	       status->stx_uid != gate->conf->uid;
}

/* Makes a request for a file that was written, if it is that, and a verdict on it could be
 * remembered and is not known. *ret_again_us: in how long to look again, 0: not at all. */
static void gate_scan_ahead(struct gate *gate, const struct ahead_file *file, int fd,
			    uint64_t *ret_again_us)
{
	struct request *request;
	struct statx status;
	struct look look;

	*ret_again_us = 0;
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &status) < 0 ||
	    !gate_may_be_opened(gate, &status))
		return;
	file_of_statx(&status, &look.id, &look.state);
	if (look.id.device != file->id.device || look.id.inode != file->id.inode)
		return;
	*ret_again_us = file_state_settles_us(&look.state);
	/* What comes of that may be no verdict to remember. */
	if (!*ret_again_us && request_find(&gate->requests, file->id))
		*ret_again_us = AHEAD_PAUSE_US;
	/* Who writes will close it, too. */
	if (*ret_again_us || gate_has_writer(fd))
		return;
	if (gate_look(gate, fd, &look) < 0 || look.is_known || look.finding ||
	    !gate_in_scope(gate, fd))
		return;
	request = gate_request(gate, fd, &look, LANE_AHEAD);
	if (request) {
		request->origin.pid = file->pid;
		request->origin.uid = OPENER_UID_UNKNOWN;
	}
}

/* Whether what was written is to wait on, although there is a worker for it. */
static bool gate_has_no_time_ahead(const struct gate *gate, uint64_t now)
{
	return now - gate->opened_us < AHEAD_QUIET_US && gate->ahead.n < gate->ahead.max / 4 * 3 &&
	       now < ahead_due_us(&gate->ahead) + AHEAD_YIELD_US;
}

unsigned gate_count_ahead(const struct gate *gate)
{
	return gate->ahead.n + gate->is_opening;
}

void gate_fill_ahead(struct gate *gate)
{
	uint64_t now = clock_monotonic_us();
	const struct mount *mount;
	int root;

	if (gate->is_opening || gate_has_no_time_ahead(gate, now) ||
	    !ahead_take(&gate->ahead, now, &gate->opening))
		return;
	mount = mounts_showing(&gate->watch.mounts, gate->opening.device);
	root = mount ? file_open_directory(mount->point, mount->id, true) : -ENOENT;
	gate->is_opening = root >= 0 && visitor_open(&gate->visitor, root, &gate->opening.handle,
						     AHEAD_TICKET) == 0;
}

/* What was written has been opened, if it is still there. */
static void gate_take_opened(struct gate *gate, int fd)
{
	const struct ahead_file *file = &gate->opening;
	uint64_t now = clock_monotonic_us(), again_us = 0;

	gate->is_opening = false;
	if (fd >= 0 && gate_scans_ahead(gate))
		gate_scan_ahead(gate, file, fd, &again_us);
	if (again_us &&
	    (file->give_up_us <= now || !ahead_put_back(&gate->ahead, file, again_us, now)))
		gate->counters->ahead_dropped++;
	gate_arm_ahead(gate, now + AHEAD_PAUSE_US);
}

static int gate_on_ahead(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct gate *gate = userdata;
	uint64_t now = clock_monotonic_us();

	gate->ahead_armed_us = UINT64_MAX;
	gate->counters->ahead_dropped += ahead_give_up(&gate->ahead, now);
	gate_dispatch(gate, NULL);
	gate_arm_ahead(gate, now + AHEAD_PAUSE_US);
	return 0;
}

int gate_add_ahead(struct gate *gate)
{
	int r = sd_event_add_time(gate->event, &gate->ahead_timer, CLOCK_MONOTONIC, 0,
				  AHEAD_PAUSE_US / 10, gate_on_ahead, gate);

	if (r < 0)
		return r;
	(void)sd_event_source_set_priority(gate->ahead_timer, AHEAD_PRIORITY);
	return sd_event_source_set_enabled(gate->ahead_timer, SD_EVENT_OFF);
}

/* --- what was opened for that --- */

int gate_on_visited(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct gate *gate = userdata;
	uint32_t ticket;
	int file = visitor_next(&gate->visitor, &ticket);

	if (ticket)
		gate_take_opened(gate, file);
	else if (file >= 0)
		gate_scan_moved(gate, file);
	if (file >= 0)
		close(file);
	gate_dispatch(gate, NULL);
	gate_read_on(gate);
	return 0;
}
