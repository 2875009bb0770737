/* SPDX-License-Identifier: GPL-2.0-only */
/* What a verdict says about a file and its bytes, for those who open it next. */
#include "../common/log.h"
#include "gate_inner.h"

#include <string.h>

/* Whether the scanned bytes are still the file's bytes, and the signatures still those that count.
 */
bool gate_still_holds(const struct request *request)
{
	struct file_state state;
	struct file_id id;

	return !request->stale && file_stat(request->fd, &id, &state) == 0 &&
	       file_state_equal(&state, &request->state);
}

/* Notes that a file was verified in the state that it is in. Returns whether it is known now. */
static bool gate_note_clean(struct gate *gate, const struct request *request)
{
	struct verdict_tag tag;
	struct file_state state;
	struct file_id id;

	if (!request->may_be_remembered ||
	    verdicts_tag(gate->verdicts, request->fd, "", gate_signatures(gate), &tag, &id,
			 &state) < 0 ||
	    !file_state_equal(&state, &request->state))
		return false;
	/* Where we do not see it closed, whoever may write to it can change it in this state. */
	if (!verdict_tag_is_of_root(&tag) && !watch_has(&gate->watch, request->device))
		return false;
	verdicts_add(gate->verdicts, &tag);
	journal_add(gate->journal, &tag);
	return true;
}

static struct content gate_content(const struct gate *gate, const struct request *request)
{
	struct content content = {.size = request->state.size, .set = gate_signatures(gate)};

	memcpy(content.digest, request->content.digest, sizeof(content.digest));
	return content;
}

/*
 * Notes that the bytes of a file are clean, wherever they are. It has just been noted of the file,
 * and writers are still locked out.
 *
 * The worker hashed the file first and scanned it then. Somebody could have had other bytes in it
 * for the scan, and the first ones back in time. But nobody had it open for writing when it was
 * given to the worker, and nobody has now; so he would have opened it in between, and left another
 * ctime than it had, or made one of the calls that leave none, and closed it: of that the kernel
 * has told us by now, though we may not have read it. Until we have, this is a candidate.
 */
static void gate_vouch(struct gate *gate, const struct request *request)
{
	const struct content content = gate_content(gate, request);

	if (!gate->contents || !request->content.is_told || request->content.is_known ||
	    request->had_writer)
		return;
	candidates_add(&gate->candidates, request->id, &content, request->content.voucher);
	gate_arm_settler(gate);
}

/* Idle: opens that wait come first. */
void gate_arm_settler(struct gate *gate)
{
	if (gate->candidates.n)
		(void)sd_event_source_set_enabled(gate->settler, SD_EVENT_ONESHOT);
}

int gate_on_settler(sd_event_source *source, void *userdata)
{
	struct gate *gate = userdata;

	/* Else it is armed again when that has been read. */
	if (gate->contents && !group_has_unread(gate->group))
		candidates_settle(&gate->candidates, gate->contents);
	return 0;
}

/* Tells the kernel not to ask about a verified file. Writers must be locked out. */
void gate_mark(struct gate *gate, int fd, struct file_id id, uint64_t device)
{
	if (group_may_mark(gate->group) && pins_add(&gate->pins, fd, id, device) == 0 &&
	    group_ignore(gate->group, fd))
		gate->counters->marks++;
}

/*
 * Remembers that a file is clean, and tells the kernel not to ask about it again. The opener has
 * been answered and may have written and closed in the meantime: so it is looked at once more while
 * nobody can be writing.
 */
static void gate_remember_clean(struct gate *gate, const struct request *request)
{
	if ((!request->may_be_marked && !request->may_be_remembered) ||
	    request->generation != pool_generation(gate->pool) || !request->is_settled ||
	    !group_lock_out_writers(request->fd))
		return;
	if (gate_still_holds(request)) {
		if (gate_note_clean(gate, request))
			gate_vouch(gate, request);
		ahead_drop(&gate->ahead, request->id);
		if (request->may_be_marked)
			gate_mark(gate, request->fd, request->id, request->device);
	}
	group_let_writers_in(request->fd);
}

/* A file that may have been verified before, in this very state, is not clean, or cannot be called
 * so. */
static void gate_forget_clean(struct gate *gate, const struct request *request)
{
	struct verdict_tag tag;

	if (verdicts_tag(gate->verdicts, request->fd, "", gate_signatures(gate), &tag, NULL,
			 NULL) == 0 &&
	    verdicts_has(gate->verdicts, &tag)) {
		verdicts_remove(gate->verdicts, &tag);
		journal_forget(gate->journal);
	}
	(void)group_forget(gate->group, request->fd);
	pins_drop(&gate->pins, request->id);
}

/*
 * Whether the state that the file is in now is the one that was scanned, under the signatures that
 * count now; *ret: what it is known by. Where two changes may look like one, no close by a writer
 * must have been seen. For findings: this says less than gate_still_holds().
 */
static bool gate_is_as_scanned(const struct gate *gate, const struct request *request,
			       struct finding_key *ret)
{
	struct file_state state;
	struct file_id id;

	if (file_stat(request->fd, &id, &state) < 0)
		return false;
	*ret = gate_finding_key(gate, id, &state);
	return request->generation == pool_generation(gate->pool) &&
	       file_state_equal(&state, &request->state) &&
	       (request->is_settled || !request->stale);
}

/*
 * Whether a finding holds as long as the file looks the same. Else, where times do not tell of each
 * change (by a mapping that was there before, or on tmpfs), it holds until a writer closes the
 * file. Poison in which something was changed unseen is poison enough: its openers get the answer
 * that they could have had before.
 */
static bool gate_is_sure(const struct request *request, enum finding_kind kind)
{
	return kind == FINDING_POISON || (request->may_be_remembered && request->is_settled &&
					  !request->had_writer && !request->stale);
}

/* Remembers what is known against a file, and says once which files kill workers. */
static void gate_remember_finding(struct gate *gate, const struct request *request,
				  enum finding_kind kind, const char *reason)
{
	bool is_sure = gate_is_sure(request, kind),
	     is_untouched = is_sure || (!request->had_writer && !request->stale), is_news;
	struct finding_key key;
	const char *path;

	if (!(request->may_be_remembered || (request->may_be_marked && is_untouched)) ||
	    !gate_is_as_scanned(gate, request, &key))
		return;
	path = gate_path(gate, request);
	is_news = findings_add(gate->findings, &key, kind, is_sure, reason, path);
	if (is_news && kind == FINDING_POISON)
		alert_poison(&gate->alert, path, reason,
			     gate->conf->mode != CONTROL_MODE_BLOCK ||
				     gate_allows(gate, VERDICT_FAILED));
}

/* It is clean after all. */
static void gate_forget_finding(struct gate *gate, const struct request *request)
{
	struct finding_key key;

	if (request->has_finding && gate_is_as_scanned(gate, request, &key))
		findings_remove(gate->findings, &key);
}

/* Nothing is believed any more of what this worker has vouched for. */
void gate_on_distrusted(void *context, uint64_t serial)
{
	struct gate *gate = context;

	candidates_forget(&gate->candidates, serial);
	if (gate->contents)
		contents_forget(gate->contents, serial);
}

void gate_on_replaced(void *context)
{
	((struct gate *)context)->counters->workers_replaced++;
}

/* An infected file whose bytes are known to be clean, and did not change between the two looks at
 * them: one of two workers has lied. */
static void gate_find_liar(struct gate *gate, const struct request *request,
			   const struct content *content, const char *signature)
{
	uint64_t voucher = contents_voucher(gate->contents, content);

	if (!voucher || !gate_is_sure(request, FINDING_INFECTED) || !gate_still_holds(request))
		return;
	log_error("a worker had called clean what is infected (%s): nothing that it said of the "
		  "content of files is believed any more",
		  signature);
	gate_on_distrusted(gate, voucher);
	pool_retire(gate->pool, voucher);
}

/* What the verdict says about the same bytes in other files. */
static void gate_learn_content(struct gate *gate, const struct request *request,
			       const struct wire_verdict *verdict)
{
	const struct content content = gate_content(gate, request);

	if (!gate->contents || !request->content.is_told ||
	    request->generation != pool_generation(gate->pool))
		return;
	if (request->content.is_known) {
		gate->counters->same_content++;
		contents_use(gate->contents, &content);
	} else if (verdict->verdict == VERDICT_INFECTED) {
		gate_find_liar(gate, request, &content, verdict->reason);
	}
}

/* Notes what the verdict says about the file, for those who open it next. */
void gate_learn(struct gate *gate, const struct request *request,
		const struct wire_verdict *verdict, bool may_remember)
{
	gate_learn_content(gate, request, verdict);
	if (verdict->verdict != VERDICT_CLEAN)
		gate_forget_clean(gate, request);
	else if (may_remember)
		gate_remember_clean(gate, request);

	if (verdict->verdict == VERDICT_INFECTED)
		gate_remember_finding(gate, request, FINDING_INFECTED, verdict->reason);
	else if (request->crashes >= CRASHES_MAX)
		gate_remember_finding(gate, request, FINDING_POISON, verdict->reason);
	else if (verdict->verdict == VERDICT_CLEAN)
		gate_forget_finding(gate, request);
}
