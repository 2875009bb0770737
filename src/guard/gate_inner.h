/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * gate_inner: what the files that make up the gate have of each other, and nobody else.
 *
 *   gate.c		opens, from the question to the answer; workers, deadlines
 *   gate_learn.c	what a verdict says about a file and its bytes, for those who open it next
 *   gate_unasked.c	files that are scanned although nobody waits: they were moved, or written
 *   gate_succession.c	what a guard before us left
 */
#include "gate.h"

/* --- gate.c --- */

/* A file that so many workers have crashed over counts as one that cannot be scanned; so does, this
 * once, one that lost so many for whatever reason. */
#define CRASHES_MAX 2
#define LOSSES_MAX  8

/* Between two signs of life when many openers are answered at once. */
#define ANSWERS_BETWEEN_PROGRESS 32

/* What a descriptor is of, and what is known of it. */
struct look {
	struct file_id id;
	struct file_state state;
	bool is_known;		       /* it was verified in this state */
	const struct finding *finding; /* what is known against it in this state; NULL: nothing */
};

/* gate_is_own() says whether it is a process that is never held: the service's own. */
bool gate_is_own(const struct gate *gate, int32_t pid);

/* gate_in_scope() fills gate->location. A file that cannot be located is in scope: what we do not
 * understand is scanned, not passed. */
bool gate_in_scope(struct gate *gate, int fd);

/* gate_path() does so too, and returns the path of what is scanned; valid until the next of both.
 */
const char *gate_path(struct gate *gate, const struct request *request);

/* gate_look() finds out what is known of what fd is of. Returns 0 or a negative errno. */
int gate_look(struct gate *gate, int fd, struct look *ret);

/* gate_is_poison() says whether it must not be given to a worker again. What was found in a file
 * may be looked for again. */
bool gate_is_poison(const struct look *look);

/* gate_finding_key() makes what a file in this state is known by among the findings. */
struct finding_key gate_finding_key(const struct gate *gate, struct file_id id,
				    const struct file_state *state);

/* gate_has_writer() says whether anybody has it open for writing. */
bool gate_has_writer(int fd);

/* gate_allows() says what openers are told by the verdict, where the mode is to block. */
bool gate_allows(const struct gate *gate, enum verdict verdict);

/* gate_request() makes a request for a file that has none, and which gate->location is about. NULL:
 * there is no room for it. */
struct request *gate_request(struct gate *gate, int fd, const struct look *look, enum lane lane);

/* gate_dispatch() gives waiting requests to idle workers. looked_at: this one's state is that of
 * just now; NULL: of none is. */
void gate_dispatch(struct gate *gate, const struct request *looked_at);

/* gate_take() does with an event of the group what there is to do, gate_decide() with an open. */
void gate_take(struct gate *gate, const struct group_event *event, uint64_t now);
void gate_decide(struct gate *gate, struct event *event);

/* gate_answer_at_once() answers an open that nobody scans anything for. Returns whether it was
 * allowed. */
bool gate_answer_at_once(struct gate *gate, struct event *event, struct file_id id,
			 const struct wire_verdict *verdict);

/* gate_read_on() stops reading while another batch might find no room, and goes on once it would.
 */
void gate_read_on(struct gate *gate);

/* gate_check_closes() notices that the group was made to forget: closes by writers may have gone
 * unseen. gate_on_missed_close() knows that one has. */
void gate_check_closes(struct gate *gate);
void gate_on_missed_close(struct gate *gate);

/* --- gate_learn.c --- */

/* gate_still_holds() says whether the scanned bytes are still the file's, and the signatures still
 * those that count. */
bool gate_still_holds(const struct request *request);

/* gate_learn() notes what the verdict says, for those who open the file next, or another one of the
 * same bytes. */
void gate_learn(struct gate *gate, const struct request *request,
		const struct wire_verdict *verdict, bool may_remember);

/* gate_mark() tells the kernel not to ask about a verified file. Writers must be locked out. */
void gate_mark(struct gate *gate, int fd, struct file_id id, uint64_t device);

/* The settler puts candidates into the content cache; it is armed when there are any. */
void gate_arm_settler(struct gate *gate);
int gate_on_settler(sd_event_source *source, void *userdata);

/* Of the pool. */
void gate_on_distrusted(void *context, uint64_t serial);
void gate_on_replaced(void *context);

/* --- gate_unasked.c --- */

/* Directories that were passed over, and were moved; what the visitor opened in them. */
void gate_on_moved(void *context, int fd);
int gate_on_renames(sd_event_source *source, int fd, uint32_t revents, void *userdata);
int gate_on_visited(sd_event_source *source, int fd, uint32_t revents, void *userdata);

/* gate_keep_ahead() has a file that was closed after writing wait until it can be scanned. */
bool gate_scans_ahead(const struct gate *gate);
void gate_keep_ahead(struct gate *gate, const struct group_event *closed, struct file_id id,
		     const struct file_state *state);

/* gate_fill_ahead() has a file that was written opened, if one is due, so that it gets into the
 * lane. */
void gate_fill_ahead(struct gate *gate);

/* gate_add_ahead() makes the timer that looks at them. Returns 0 or a negative errno. */
int gate_add_ahead(struct gate *gate);

/* --- gate_succession.c --- */

/* gate_drop_marks() takes all marks back: what they rest on has gone. */
void gate_drop_marks(struct gate *gate);

/* Of the pool: a worker scans this for a guard before us. */
struct request *gate_on_adopted(void *context, const struct roster_scan *scan);
