/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/guard/request.h"
#include "answers.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

/* While set there is no memory. */
static bool no_memory;

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

void *__wrap_calloc(size_t n, size_t size)
{
	return no_memory ? NULL : __real_calloc(n, size);
}

void *__wrap_malloc(size_t size)
{
	return no_memory ? NULL : __real_malloc(size);
}

struct fixture {
	struct answers answers;
	struct event_table events;
	struct event memory[ANSWERS_MAX];
	struct request_table table;
	bool initialized; /* the table; a test may have ended it */
	unsigned fds_before;
};

static int setup(void **state)
{
	static struct fixture fixture;

	fixture = (struct fixture){.fds_before = unit_count_fds(), .initialized = true};
	*state = &fixture;
	if (answers_init(&fixture.answers) < 0)
		return -1;
	event_table_init(&fixture.events, &fixture.answers.group, fixture.memory, ANSWERS_MAX);
	return request_table_init(&fixture.table, &fixture.events);
}

static void deinit(struct fixture *fixture)
{
	request_table_deinit(&fixture->table);
	fixture->initialized = false;
	assert_int_equal(fixture->table.n_requests, 0);
	assert_null(fixture->table.live);
	for (enum lane lane = LANE_OPEN; lane < LANE_COUNT; lane++)
		assert_null(fixture->table.queues[lane]);
	assert_int_equal(fixture->events.n_held, 0);
}

/* Nothing is left: no event, no descriptor. */
static int teardown(void **state)
{
	struct fixture *fixture = *state;

	if (fixture->initialized)
		deinit(fixture);
	answers_deinit(&fixture->answers);
	assert_int_equal(unit_count_fds(), fixture->fds_before);
	return 0;
}

static struct file_id file(uint64_t inode)
{
	return (struct file_id){.device = 1, .inode = inode};
}

/* Requests differ only in the file they are for, so the inode names them. */
static struct request *request_in(struct fixture *fixture, uint64_t inode, enum lane lane)
{
	const struct file_state state = {.size = inode};
	struct request *request = request_new(&fixture->table, 0, file(inode), &state, lane);

	assert_non_null(request);
	return request;
}

static struct request *request(struct fixture *fixture, uint64_t inode)
{
	return request_in(fixture, inode, LANE_OPEN);
}

static struct request *take(struct fixture *fixture)
{
	return request_take(&fixture->table, LANE_SCHEDULED);
}

/* An open arrives and waits. Returns its descriptor. */
static int join(struct fixture *fixture, struct request *to, uint64_t arrived)
{
	struct group_event open = answers_open(&fixture->answers);
	struct event *event = event_new(&fixture->events, &open, arrived);

	assert_non_null(event);
	request_join(&fixture->table, to, event);
	return open.fd;
}

/* What has been answered since the last time: these descriptors in this order, and no other. */
static void assert_answered(struct fixture *fixture, const int *fds, size_t n, bool allow)
{
	assert_int_equal(answers_count(&fixture->answers), n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(answers_next(&fixture->answers), allow ? fds[i] : -fds[i]);
		assert_false(unit_fd_is_open(fds[i]));
	}
}

static void assert_queue(struct fixture *fixture, const uint64_t *inodes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct request *taken = take(fixture);

		assert_non_null(taken);
		assert_int_equal(taken->id.inode, inodes[i]);
	}
	assert_null(take(fixture));
}

static void a_new_request_waits_and_is_found(void **state)
{
	struct fixture *fixture = *state;
	struct request *made = request(fixture, 7);

	assert_ptr_equal(request_find(&fixture->table, file(7)), made);
	assert_int_equal(fixture->table.n_requests, 1);
	assert_true(made->waiting);
	assert_int_equal(made->state.size, 7);
	assert_int_equal(made->n_events, 0);
	assert_int_equal(made->n_openers, 0);
	assert_false(made->stale || made->timed_out || made->losses || made->crashes ||
		     made->rescans);
}

static void only_the_same_file_is_found(void **state)
{
	struct fixture *fixture = *state;

	assert_null(request_find(&fixture->table, file(7)));
	(void)request(fixture, 7);
	assert_null(request_find(&fixture->table, file(8)));
	/* the same inode on another filesystem */
	assert_null(request_find(&fixture->table, (struct file_id){.device = 2, .inode = 7}));
}

static void it_has_a_descriptor_of_its_own(void **state)
{
	struct fixture *fixture = *state;
	struct request *made = request(fixture, 7);
	int fd = made->fd;

	assert_int_not_equal(fd, 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_null(request_free(&fixture->table, made));
	assert_false(unit_fd_is_open(fd));
	assert_true(unit_fd_is_open(0));
	assert_null(request_find(&fixture->table, file(7)));
	assert_int_equal(fixture->table.n_requests, 0);
	/* not in the queue any more, either */
	assert_null(take(fixture));
}

static void first_come_first_served(void **state)
{
	struct fixture *fixture = *state;

	assert_null(take(fixture));
	for (uint64_t i = 1; i <= 4; i++)
		(void)request(fixture, i);
	assert_queue(fixture, (const uint64_t[]){1, 2, 3, 4}, 4);
}

static void what_was_taken_is_not_in_the_queue_but_is_found(void **state)
{
	struct fixture *fixture = *state;
	struct request *made = request(fixture, 7);

	assert_ptr_equal(take(fixture), made);
	assert_false(made->waiting);
	assert_ptr_equal(request_find(&fixture->table, file(7)), made);
	assert_int_equal(fixture->table.n_requests, 1);
}

static void what_is_put_back_goes_to_the_front(void **state)
{
	struct fixture *fixture = *state;
	struct request *first, *second;

	for (uint64_t i = 1; i <= 4; i++)
		(void)request(fixture, i);
	first = take(fixture);
	second = take(fixture);
	request_put_back(&fixture->table, second);
	request_put_back(&fixture->table, first);
	assert_true(first->waiting && second->waiting);
	(void)request(fixture, 5);
	assert_queue(fixture, (const uint64_t[]){1, 2, 3, 4, 5}, 5);
}

static void one_may_leave_the_middle_of_the_queue(void **state)
{
	struct fixture *fixture = *state;

	for (uint64_t i = 1; i <= 4; i++)
		(void)request(fixture, i);
	(void)request_free(&fixture->table, request_find(&fixture->table, file(3)));
	(void)request_free(&fixture->table, request_find(&fixture->table, file(1)));
	(void)request_free(&fixture->table, request_find(&fixture->table, file(4)));
	assert_queue(fixture, (const uint64_t[]){2}, 1);
}

static void all_who_joined_get_the_answer_in_order(void **state)
{
	struct fixture *fixture = *state;

	for (int allow = 0; allow <= 1; allow++) {
		struct request *made = request(fixture, 7);
		int fds[5];

		for (unsigned i = 0; i < N_ELEMENTS(fds); i++) {
			fds[i] = join(fixture, made, i);
			assert_int_equal(made->n_events, i + 1);
		}
		assert_int_equal(answers_count(&fixture->answers), 0);
		assert_int_equal(request_answer(&fixture->table, made, allow, UINT64_MAX, UINT_MAX),
				 5);
		assert_answered(fixture, fds, N_ELEMENTS(fds), allow);
		assert_int_equal(made->n_events, 0);
		assert_int_equal(made->n_openers, 5);

		/* nobody is answered twice */
		assert_int_equal(
			request_answer(&fixture->table, made, !allow, UINT64_MAX, UINT_MAX), 0);
		assert_answered(fixture, NULL, 0, true);
		(void)request_free(&fixture->table, made);
	}
}

static void those_who_wait_for_another_file_are_left_alone(void **state)
{
	struct fixture *fixture = *state;
	struct request *one = request(fixture, 1), *two = request(fixture, 2);
	int first = join(fixture, one, 1), second = join(fixture, two, 2);

	assert_int_equal(request_answer(&fixture->table, one, false, UINT64_MAX, UINT_MAX), 1);
	assert_answered(fixture, &first, 1, false);
	assert_true(unit_fd_is_open(second));
	assert_int_equal(request_answer(&fixture->table, two, true, UINT64_MAX, UINT_MAX), 1);
	assert_answered(fixture, &second, 1, true);
}

static void only_those_who_came_before_are_answered(void **state)
{
	struct fixture *fixture = *state;
	struct request *made = request(fixture, 7);
	int fds[4];

	for (unsigned i = 0; i < N_ELEMENTS(fds); i++)
		fds[i] = join(fixture, made, 100 * (i + 1));

	assert_int_equal(request_answer(&fixture->table, made, true, 0, UINT_MAX), 0);
	assert_int_equal(request_answer(&fixture->table, made, true, 99, UINT_MAX), 0);
	assert_answered(fixture, NULL, 0, true);

	assert_int_equal(request_answer(&fixture->table, made, true, 250, UINT_MAX), 2);
	assert_answered(fixture, fds, 2, true);
	assert_int_equal(made->n_events, 2);
	assert_int_equal(made->n_openers, 4);
	assert_true(unit_fd_is_open(fds[2]) && unit_fd_is_open(fds[3]));

	/* who comes later waits, too, and is counted on top */
	(void)join(fixture, made, 500);
	assert_int_equal(made->n_events, 3);
	assert_int_equal(made->n_openers, 5);
	assert_int_equal(request_answer(&fixture->table, made, false, 350, UINT_MAX), 1);
	assert_answered(fixture, fds + 2, 1, false);
}

static void at_the_end_everyone_is_let_go(void **state)
{
	struct fixture *fixture = *state;
	int fds[6], request_fds[3], answered[N_ELEMENTS(fds)] = {0};

	for (unsigned i = 0; i < 3; i++) {
		struct request *made = request(fixture, i);

		request_fds[i] = made->fd;
		fds[2 * i] = join(fixture, made, i);
		fds[2 * i + 1] = join(fixture, made, UINT64_MAX - 1);
	}
	(void)take(fixture); /* a worker has one */
	deinit(fixture);

	assert_int_equal(answers_count(&fixture->answers), N_ELEMENTS(fds));
	for (size_t i = 0; i < N_ELEMENTS(fds); i++) {
		int fd = answers_next(&fixture->answers);

		for (size_t k = 0; k < N_ELEMENTS(fds); k++)
			answered[k] += fd == fds[k];
	}
	for (size_t i = 0; i < N_ELEMENTS(fds); i++) {
		assert_int_equal(answered[i], 1);
		assert_false(unit_fd_is_open(fds[i]));
	}
	for (size_t i = 0; i < N_ELEMENTS(request_fds); i++)
		assert_false(unit_fd_is_open(request_fds[i]));
}

static void an_empty_table_can_end(void **state)
{
	deinit(*state);
	assert_int_equal(answers_count(&((struct fixture *)*state)->answers), 0);
}

static void without_a_descriptor_there_is_no_request(void **state)
{
	struct fixture *fixture = *state;
	const struct file_state file_state = {0};
	struct rlimit limit = unit_forbid_fds();
	struct request *made = request_new(&fixture->table, 0, file(1), &file_state, LANE_OPEN);
	int error = errno;

	setrlimit(RLIMIT_NOFILE, &limit);
	assert_null(made);
	assert_int_equal(error, EMFILE);
	assert_int_equal(fixture->table.n_requests, 0);
	assert_null(request_find(&fixture->table, file(1)));
	assert_null(take(fixture));
}

/* All of it is there before the first open is held. */
static void no_memory_is_needed_while_openers_wait(void **state)
{
	struct fixture *fixture = *state;
	const struct file_state file_state = {0};
	struct request_table second;
	bool all = true;

	no_memory = true;
	assert_int_equal(request_table_init(&second, &fixture->events), -ENOMEM);
	for (uint64_t i = 0; i < 200 && all; i++)
		all = request_new(&fixture->table, 0, file(i), &file_state, LANE_OPEN) != NULL;
	no_memory = false;
	assert_true(all);
	request_table_deinit(&second);
}

static void the_table_is_bounded(void **state)
{
	struct fixture *fixture = *state;
	const struct rlimit enough = {REQUESTS_MAX + 100, REQUESTS_MAX + 100};
	const struct file_state file_state = {0};
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	if (limit.rlim_cur < enough.rlim_cur &&
	    setrlimit(RLIMIT_NOFILE, &(struct rlimit){enough.rlim_cur, limit.rlim_max}) < 0) {
		print_message("skipped: so many descriptors are not allowed\n");
		skip();
	}

	for (uint64_t i = 0; i < REQUESTS_MAX; i++) {
		/* full is said while there is still room for a batch of events */
		assert_int_equal(request_table_full(&fixture->table),
				 i > REQUESTS_MAX - GROUP_BATCH);
		(void)request(fixture, i);
	}
	assert_true(request_table_full(&fixture->table));
	errno = 0;
	assert_null(request_new(&fixture->table, 0, file(REQUESTS_MAX), &file_state, LANE_OPEN));
	assert_int_equal(errno, ENFILE);
	assert_int_equal(fixture->table.n_requests, REQUESTS_MAX);

	/* those that a worker has count, too */
	assert_non_null(take(fixture));
	assert_null(request_new(&fixture->table, 0, file(REQUESTS_MAX), &file_state, LANE_OPEN));
	/* one that ends makes room */
	(void)request_free(&fixture->table, request_find(&fixture->table, file(5)));
	(void)request(fixture, REQUESTS_MAX);
	deinit(fixture);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void the_table_is_full_when_events_are_short(void **state)
{
	struct fixture *fixture = *state;
	struct request *made = request(fixture, 1);

	for (unsigned i = 0; i <= ANSWERS_MAX - GROUP_BATCH; i++) {
		assert_false(request_table_full(&fixture->table));
		(void)join(fixture, made, i);
	}
	assert_true(request_table_full(&fixture->table));
	(void)request_answer(&fixture->table, made, true, 1, UINT_MAX);
	assert_false(request_table_full(&fixture->table));
}

/* --- lanes --- */

static void the_most_urgent_lane_is_served_first(void **state)
{
	struct fixture *fixture = *state;
	uint64_t expected[2 * LANE_COUNT];

	for (uint64_t i = 0; i < 2 * LANE_COUNT; i++)
		(void)request_in(fixture, i, (enum lane)(LANE_COUNT - 1 - i % LANE_COUNT));
	for (uint64_t lane = 0; lane < LANE_COUNT; lane++) {
		expected[2 * lane] = LANE_COUNT - 1 - lane;
		expected[2 * lane + 1] = 2 * LANE_COUNT - 1 - lane;
	}
	assert_queue(fixture, expected, N_ELEMENTS(expected));
}

static void only_lanes_up_to_the_last_are_served(void **state)
{
	struct fixture *fixture = *state;

	for (enum lane lane = LANE_OPEN; lane < LANE_COUNT; lane++)
		(void)request_in(fixture, lane, lane);
	for (enum lane lane = LANE_OPEN; lane < LANE_COUNT; lane++) {
		struct request *taken;

		assert_true(request_waits(&fixture->table, lane));
		taken = request_take(&fixture->table, lane);
		assert_non_null(taken);
		assert_int_equal(taken->id.inode, lane);
		assert_null(request_take(&fixture->table, lane));
		assert_false(request_waits(&fixture->table, lane));
	}
}

static void what_goes_back_stays_in_its_lane(void **state)
{
	struct fixture *fixture = *state;
	struct request *first, *second;

	first = request_in(fixture, 1, LANE_DEMAND);
	second = request_in(fixture, 2, LANE_DEMAND);
	(void)request_in(fixture, 3, LANE_DEMAND);
	(void)request_in(fixture, 4, LANE_SCHEDULED);
	assert_ptr_equal(take(fixture), first);
	assert_ptr_equal(take(fixture), second);
	(void)request_in(fixture, 5, LANE_OPEN);
	request_requeue(&fixture->table, first);
	request_put_back(&fixture->table, second);
	assert_true(first->waiting && second->waiting);
	assert_queue(fixture, (const uint64_t[]){5, 2, 3, 1, 4}, 5);
}

/* --- those who ask --- */

struct probe {
	struct asker asker;
	unsigned n_told, turn;
	struct wire_verdict verdict;
};

static unsigned n_told;

static void told(struct asker *asker, const struct wire_verdict *verdict)
{
	struct probe *probe = (struct probe *)(void *)asker;

	assert_null(asker->request);
	probe->n_told++;
	probe->turn = n_told++;
	probe->verdict = *verdict;
}

static void ask(struct fixture *fixture, struct request *of, struct probe *probe, enum lane lane)
{
	*probe = (struct probe){.asker.told = told};
	request_ask(&fixture->table, of, &probe->asker, lane);
	assert_ptr_equal(probe->asker.request, of);
}

static void an_opener_brings_a_request_forward(void **state)
{
	struct fixture *fixture = *state;

	for (uint64_t i = 1; i <= 3; i++)
		(void)request_in(fixture, i, LANE_SCHEDULED);
	(void)request_in(fixture, 4, LANE_OPEN);
	(void)join(fixture, request_find(&fixture->table, file(3)), 1);
	assert_queue(fixture, (const uint64_t[]){4, 3, 1, 2}, 4);
}

static void a_more_urgent_asker_brings_a_request_forward(void **state)
{
	struct fixture *fixture = *state;
	struct request *made;
	struct probe probes[2];

	for (uint64_t i = 1; i <= 3; i++)
		(void)request_in(fixture, i, LANE_SCHEDULED);
	(void)request_in(fixture, 4, LANE_DEMAND);
	made = request_find(&fixture->table, file(3));
	ask(fixture, made, &probes[0], LANE_DEMAND);
	assert_int_equal(made->lane, LANE_DEMAND);
	/* one who is not does not put it back */
	ask(fixture, made, &probes[1], LANE_SCHEDULED);
	assert_int_equal(made->lane, LANE_DEMAND);
	ask(fixture, request_find(&fixture->table, file(2)), &probes[1], LANE_SCHEDULED);
	assert_queue(fixture, (const uint64_t[]){4, 3, 1, 2}, 4);
}

/* Under way it is in no queue; when it comes back it is in the new lane. */
static void what_is_under_way_is_brought_forward_too(void **state)
{
	struct fixture *fixture = *state;
	struct request *first, *second;
	struct probe probe;

	first = request_in(fixture, 1, LANE_SCHEDULED);
	second = request_in(fixture, 2, LANE_SCHEDULED);
	assert_ptr_equal(take(fixture), first);
	assert_ptr_equal(take(fixture), second);
	(void)request_in(fixture, 3, LANE_DEMAND);
	(void)request_in(fixture, 4, LANE_MOVED);
	(void)join(fixture, first, 1);
	ask(fixture, second, &probe, LANE_DEMAND);
	assert_false(first->waiting || second->waiting);
	request_requeue(&fixture->table, second);
	request_requeue(&fixture->table, first);
	assert_queue(fixture, (const uint64_t[]){1, 3, 2, 4}, 4);
}

static void all_who_asked_are_told_once_in_their_order(void **state)
{
	const struct wire_verdict verdict = wire_verdict_make(VERDICT_INFECTED, "Eicar-Test"),
				  other = wire_verdict_make(VERDICT_CLEAN, "");
	struct fixture *fixture = *state;
	struct request *made = request_in(fixture, 1, LANE_DEMAND),
		       *another = request_in(fixture, 2, LANE_DEMAND);
	struct probe probes[4];

	n_told = 0;
	for (size_t i = 0; i < N_ELEMENTS(probes); i++)
		ask(fixture, i < 3 ? made : another, &probes[i], LANE_DEMAND);
	request_take_back(&fixture->table, &probes[1].asker);
	request_tell(made, &verdict);
	request_tell(made, &other);
	assert_null(made->askers);
	for (size_t i = 0; i < N_ELEMENTS(probes); i++)
		assert_int_equal(probes[i].n_told, i == 0 || i == 2);
	assert_int_equal(probes[0].turn, 0);
	assert_int_equal(probes[2].turn, 1);
	assert_memory_equal(&probes[0].verdict, &verdict, sizeof(verdict));
	assert_memory_equal(&probes[2].verdict, &verdict, sizeof(verdict));
	assert_ptr_equal(probes[3].asker.request, another);
}

static void what_nobody_wants_any_more_is_forgotten(void **state)
{
	struct fixture *fixture = *state;
	struct request *made = request_in(fixture, 1, LANE_DEMAND);
	struct probe probes[2];
	int fd = made->fd;

	ask(fixture, made, &probes[0], LANE_DEMAND);
	ask(fixture, made, &probes[1], LANE_SCHEDULED);
	request_take_back(&fixture->table, &probes[0].asker);
	assert_null(probes[0].asker.request);
	assert_ptr_equal(request_find(&fixture->table, file(1)), made);
	request_take_back(&fixture->table, &probes[1].asker);
	assert_null(probes[1].asker.request);
	assert_null(request_find(&fixture->table, file(1)));
	assert_int_equal(fixture->table.n_requests, 0);
	assert_false(unit_fd_is_open(fd));
	assert_null(take(fixture));
}

static void what_others_want_is_kept(void **state)
{
	struct fixture *fixture = *state;
	struct request *opened = request_in(fixture, 1, LANE_DEMAND),
		       *moved = request_in(fixture, 2, LANE_MOVED),
		       *under_way = request_in(fixture, 3, LANE_OPEN);
	struct probe probe;

	(void)join(fixture, opened, 1);
	ask(fixture, opened, &probe, LANE_DEMAND);
	request_take_back(&fixture->table, &probe.asker);
	assert_ptr_equal(request_find(&fixture->table, file(1)), opened);

	/* by the gate itself */
	ask(fixture, moved, &probe, LANE_DEMAND);
	request_take_back(&fixture->table, &probe.asker);
	assert_ptr_equal(request_find(&fixture->table, file(2)), moved);

	/* whoever has it will bring it back */
	assert_ptr_equal(take(fixture), under_way);
	ask(fixture, under_way, &probe, LANE_DEMAND);
	request_take_back(&fixture->table, &probe.asker);
	assert_ptr_equal(request_find(&fixture->table, file(3)), under_way);
}

/* --- any order of events: everyone is answered once, the queue stays in order --- */

#define FILES 12

/* What the table should hold. */
struct model {
	struct request *requests[FILES]; /* by file; NULL: none */
	unsigned queue[FILES];		 /* files, those that wait */
	unsigned n_queued;
	/* by descriptor; others in between may be somebody else's */
	bool opened[ANSWERS_FIRST_FD + ANSWERS_MAX];
	unsigned char answers[ANSWERS_FIRST_FD + ANSWERS_MAX];
};

static void model_unqueue(struct model *model, unsigned index)
{
	model->n_queued--;
	for (; index < model->n_queued; index++)
		model->queue[index] = model->queue[index + 1];
}

static void step_open(struct fixture *fixture, struct model *model, unsigned inode, uint64_t now)
{
	struct request *found = request_find(&fixture->table, file(inode));
	int fd;

	assert_ptr_equal(found, model->requests[inode]);
	if (!found) {
		model->requests[inode] = found = request(fixture, inode);
		model->queue[model->n_queued++] = inode;
	}
	fd = join(fixture, found, now);
	assert_true(fd < (int)N_ELEMENTS(model->opened));
	model->opened[fd] = true;
}

static void step_take(struct fixture *fixture, struct model *model)
{
	struct request *taken = take(fixture);

	if (!model->n_queued) {
		assert_null(taken);
		return;
	}
	assert_non_null(taken);
	assert_int_equal(taken->id.inode, model->queue[0]);
	model_unqueue(model, 0);
}

static void step_put_back(struct fixture *fixture, struct model *model, unsigned inode)
{
	struct request *taken = model->requests[inode];

	if (!taken || taken->waiting)
		return;
	request_put_back(&fixture->table, taken);
	for (unsigned i = model->n_queued++; i > 0; i--)
		model->queue[i] = model->queue[i - 1];
	model->queue[0] = inode;
}

static void step_settle(struct fixture *fixture, struct model *model, unsigned inode, bool allow)
{
	struct request *settled = model->requests[inode];

	if (!settled)
		return;
	(void)request_answer(&fixture->table, settled, allow, UINT64_MAX, UINT_MAX);
	(void)request_free(&fixture->table, settled);
	model->requests[inode] = NULL;
	for (unsigned i = 0; i < model->n_queued; i++)
		if (model->queue[i] == inode)
			model_unqueue(model, i);
}

static void step_time_out(struct fixture *fixture, struct model *model, unsigned inode,
			  uint64_t now)
{
	if (model->requests[inode])
		(void)request_answer(&fixture->table, model->requests[inode], true, now - 20,
				     UINT_MAX);
}

static void model_read_answers(struct fixture *fixture, struct model *model)
{
	int fd;

	while ((fd = answers_next(&fixture->answers))) {
		fd = fd < 0 ? -fd : fd;
		assert_in_range(fd, ANSWERS_FIRST_FD, ANSWERS_FIRST_FD + ANSWERS_MAX - 1);
		model->answers[fd]++;
	}
}

static void in_any_order_everyone_is_answered_once(void **state)
{
	struct fixture *fixture = *state;

	deinit(fixture);
	for (uint32_t seed = 1; seed <= 20; seed++) {
		struct model model = {0};
		uint32_t random = seed;

		assert_int_equal(request_table_init(&fixture->table, &fixture->events), 0);
		fixture->initialized = true;
		fixture->answers.next_fd = ANSWERS_FIRST_FD;
		for (uint64_t now = 1000; now < 1700; now++) {
			unsigned inode = unit_random(&random) % FILES;

			switch (unit_random(&random) % 8) {
			case 0:
				step_take(fixture, &model);
				break;
			case 1:
				step_put_back(fixture, &model, inode);
				break;
			case 2:
				step_settle(fixture, &model, inode, now % 2);
				break;
			case 3:
				step_time_out(fixture, &model, inode, now);
				break;
			default:
				step_open(fixture, &model, inode, now);
			}
			model_read_answers(fixture, &model);
		}
		deinit(fixture);
		model_read_answers(fixture, &model);
		for (int fd = 0; fd < fixture->answers.next_fd; fd++) {
			if (model.answers[fd] != model.opened[fd] ||
			    (model.opened[fd] && unit_fd_is_open(fd)))
				fail_msg("seed %u: event %d was answered %u times%s", seed, fd,
					 model.answers[fd],
					 unit_fd_is_open(fd) ? " and is open" : "");
		}
	}
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_new_request_waits_and_is_found),
		TEST(only_the_same_file_is_found),
		TEST(it_has_a_descriptor_of_its_own),
		TEST(first_come_first_served),
		TEST(what_was_taken_is_not_in_the_queue_but_is_found),
		TEST(what_is_put_back_goes_to_the_front),
		TEST(one_may_leave_the_middle_of_the_queue),
		TEST(all_who_joined_get_the_answer_in_order),
		TEST(those_who_wait_for_another_file_are_left_alone),
		TEST(only_those_who_came_before_are_answered),
		TEST(at_the_end_everyone_is_let_go),
		TEST(an_empty_table_can_end),
		TEST(without_a_descriptor_there_is_no_request),
		TEST(the_table_is_bounded),
		TEST(the_table_is_full_when_events_are_short),
		TEST(the_most_urgent_lane_is_served_first),
		TEST(only_lanes_up_to_the_last_are_served),
		TEST(no_memory_is_needed_while_openers_wait),
		TEST(what_goes_back_stays_in_its_lane),
		TEST(an_opener_brings_a_request_forward),
		TEST(a_more_urgent_asker_brings_a_request_forward),
		TEST(what_is_under_way_is_brought_forward_too),
		TEST(all_who_asked_are_told_once_in_their_order),
		TEST(what_nobody_wants_any_more_is_forgotten),
		TEST(what_others_want_is_kept),
		TEST(in_any_order_everyone_is_answered_once),
	};

	return cmocka_run_group_tests_name("request", tests, NULL, NULL);
}
