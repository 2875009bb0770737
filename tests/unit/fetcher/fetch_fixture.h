/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * fetch_fixture: servers, a clock, and what applies cdiffs and tries signatures, of the test's own.
 * The store and the state are the real ones; the directory of signatures is "d" in the scratch
 * directory. Needs wrap_fetch.
 */
#include "../../../src/common/log.h"
#include "../../../src/fetcher/patch.h"
#include "../../../src/fetcher/run.h"
#include "../../../src/signatures/container.h"
#include "../../../src/signatures/trial.h"
#include "../support/conf_fixture.h"
#include "../support/scratch.h"

#include <errno.h>
#include <time.h>

#define NOW	    1790000000
#define HOUR	    3600
#define ANSWERS_MAX 256
#define BODY_MAX    20000

/* A whole file that make_cvd() makes. */
#define CVD_SIZE 2000

/* What a server has to say to one request. */
struct answer {
	char what[256]; /* "a/test.cvd head": of http://a/test.cvd, the first bytes only */
	struct transfer_reply reply;
	char body[BODY_MAX]; /* the whole file */
	size_t size;
	size_t padding;	      /* so many zeros are behind it */
	size_t cut;	      /* the connection ends there; 0: it does not */
	int64_t takes;	      /* seconds */
	void (*before)(void); /* what happens when it is asked for; NULL: nothing */
	bool was_given;
};

static struct {
	int64_t now;
	uint64_t monotonic_us;
	uint32_t random;
	struct answer answers[ANSWERS_MAX];
	unsigned n_answers;
	char asked[16384]; /* a line for each request */
	char agent[256];   /* of the last one; empty: ours */
	uint64_t max_size; /* of the last one */
	uint32_t requests;
	uint64_t bytes;
	char tried[4096];    /* a line for each trial */
	const char *refused; /* a trial of what is called so ends with refusal; NULL: of nothing */
	int refusal;
	char patched[1024]; /* a line for each patch_apply() */
	int patch_result;
	int put_result, publish_result; /* of store_put() and store_publish(), 0: as they are */
	char logged[16384];
} world;

static inline void add_line(char *buffer, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static inline void add_line(char *buffer, size_t size, const char *format, ...)
{
	size_t used = strlen(buffer);
	va_list args;

	va_start(args, format);
	(void)vsnprintf(buffer + used, size - used, format, args);
	va_end(args);
	(void)strncat(buffer, "\n", size - strlen(buffer) - 1);
}

static inline const char *base_name(const char *path)
{
	return strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
}

/* --- what servers have --- */

/* Adds an answer. Those to the same question are given one after the other, the last for ever;
 * whatever else is asked for does not exist. */
static inline struct answer *answer(const char *what, enum transfer_result result)
{
	struct answer *new = &world.answers[world.n_answers++];

	assert_true(world.n_answers <= ANSWERS_MAX);
	*new = (struct answer){.reply = {.result = result, .retry_after = -1}};
	(void)snprintf(new->what, sizeof(new->what), "%s", what);
	if (result != TRANSFER_DONE && result != TRANSFER_NOT_MODIFIED)
		(void)snprintf(new->reply.problem, sizeof(new->reply.problem), "problem of %s",
			       what);
	return new;
}

static inline struct answer *serve(const char *what, const void *body, size_t size)
{
	struct answer *new = answer(what, TRANSFER_DONE);

	assert_true(size <= sizeof(new->body));
	memcpy(new->body, body, size);
	new->size = size;
	return new;
}

static inline struct answer *serve_text(const char *what, const char *text)
{
	return serve(what, text, strlen(text));
}

/* The connection ends when so much of the file is there. */
static inline struct answer *serve_broken(const char *what, const void *body, size_t size,
					  size_t cut)
{
	struct answer *new = serve(what, body, size);

	new->reply.result = TRANSFER_BROKEN;
	new->cut = cut;
	(void)snprintf(new->reply.problem, sizeof(new->reply.problem), "problem of %s", what);
	return new;
}

static inline struct answer *serve_cool_down(const char *what, int64_t retry_after)
{
	struct answer *new = answer(what, TRANSFER_COOL_DOWN);

	new->reply.status = 429;
	new->reply.retry_after = retry_after;
	return new;
}

static inline void make_head_for(char *head, unsigned version, unsigned functionality)
{
	char text[CONTAINER_HEAD_SIZE + 1];

	(void)snprintf(text, sizeof(text),
		       "ClamAV-VDB:22 Jun 2021 21-34 -0400:%u:%u:%u:"
		       "3e249e00076b0b15bb54ced37be880c7:signature:builder:1624412040%*s",
		       version, 10 * version, functionality, CONTAINER_HEAD_SIZE, "");
	memcpy(head, text, CONTAINER_HEAD_SIZE);
}

/* Of version 5 there are 50 signatures, and so on. */
static inline void make_head(char *head, unsigned version)
{
	make_head_for(head, version, 81);
}

static inline void make_cvd(char *cvd, unsigned version)
{
	make_head(cvd, version);
	for (size_t i = CONTAINER_HEAD_SIZE; i < CVD_SIZE; i++)
		cvd[i] = (char)('a' + (i + version) % 26);
}

static inline void serve_head(const char *host, unsigned version)
{
	char head[CONTAINER_HEAD_SIZE], what[256];

	make_head(head, version);
	(void)snprintf(what, sizeof(what), "%s/test.cvd head", host);
	(void)serve(what, head, sizeof(head));
}

static inline void serve_whole(const char *host, unsigned version)
{
	char cvd[CVD_SIZE], what[256];

	make_cvd(cvd, version);
	(void)snprintf(what, sizeof(what), "%s/test.cvd", host);
	(void)serve(what, cvd, sizeof(cvd));
}

static inline void serve_cdiffs(const char *host, unsigned first, unsigned last)
{
	char what[256], text[64];

	for (unsigned version = first; version <= last; version++) {
		(void)snprintf(what, sizeof(what), "%s/test-%u.cdiff", host, version);
		(void)snprintf(text, sizeof(text), "cdiff %u", version);
		(void)serve_text(what, text);
	}
}

/* What a good mirror has. */
static inline void serve_all(const char *host, unsigned version)
{
	serve_head(host, version);
	serve_whole(host, version);
	serve_cdiffs(host, 2, version);
}

/* From here on the servers have nothing, and nothing was asked. */
static inline void forget(void)
{
	world.n_answers = 0;
	*world.asked = *world.tried = *world.patched = *world.logged = '\0';
}

static inline void assert_asked(const char *lines)
{
	assert_string_equal(world.asked, lines);
}

/* --- what the linker puts in the place of the real ones --- */

int __wrap_clock_gettime(clockid_t clock, struct timespec *time);
ssize_t __wrap_getrandom(void *buffer, size_t size, unsigned flags);
void __wrap_transfer_get(struct transfer *transfer, const struct transfer_request *request,
			 struct transfer_reply *reply);
uint32_t __wrap_transfer_requests(const struct transfer *transfer);
uint64_t __wrap_transfer_bytes(const struct transfer *transfer);
int __wrap_patch_apply(const struct patch *patch, char *problem, size_t problem_size);
int __wrap_trial_run(const struct trial *trial, uint32_t *ret_signatures, char *problem,
		     size_t problem_size);
int __real_store_put(struct store *store, const char *path, const char *name, char *problem,
		     size_t problem_size);
int __wrap_store_put(struct store *store, const char *path, const char *name, char *problem,
		     size_t problem_size);
int __real_store_publish(struct store *store, char *problem, size_t problem_size);
int __wrap_store_publish(struct store *store, char *problem, size_t problem_size);

int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
	const uint64_t us =
		clock == CLOCK_REALTIME ? (uint64_t)world.now * 1000000 : world.monotonic_us;

	*time = (struct timespec){.tv_sec = (time_t)(us / 1000000),
				  .tv_nsec = (long)(us % 1000000) * 1000};
	return 0;
}

ssize_t __wrap_getrandom(void *buffer, size_t size, unsigned flags)
{
	for (size_t i = 0; i < size; i++)
		((uint8_t *)buffer)[i] = (uint8_t)(world.random >> (8 * (i % 4)));
	return (ssize_t)size;
}

static inline void note_request(const struct transfer_request *request, const char *what)
{
	char line[1024];

	(void)snprintf(line, sizeof(line), "%s", what);
	if (request->from)
		(void)snprintf(line + strlen(line), sizeof(line) - strlen(line), " %llu-",
			       (unsigned long long)request->from);
	for (unsigned i = 0; i < 3; i++) {
		const char *const names[] = {"if-range", "if-none-match", "if-modified-since"};
		const char *const values[] = {request->if_range, request->if_none_match,
					      request->if_modified_since};

		if (values[i])
			(void)snprintf(line + strlen(line), sizeof(line) - strlen(line), " %s=%s",
				       names[i], values[i]);
	}
	add_line(world.asked, sizeof(world.asked), "%s", line);
	(void)snprintf(world.agent, sizeof(world.agent), "%s",
		       request->user_agent ? request->user_agent : "");
	world.max_size = request->max_size;
	world.requests++;
}

static inline struct answer *find_answer(const char *what)
{
	struct answer *found = NULL;

	for (unsigned i = 0; i < world.n_answers; i++) {
		if (strcmp(world.answers[i].what, what) != 0)
			continue;
		found = &world.answers[i];
		if (!found->was_given)
			break;
	}
	if (found)
		found->was_given = true;
	return found;
}

/* As transfer.h says that a body comes. */
static inline void give_body(const struct answer *given, const struct transfer_request *request,
			     struct transfer_reply *reply)
{
	const size_t end = given->cut ? given->cut : given->size + given->padding;
	const size_t last = end < given->size ? end : given->size;

	assert_true(request->from <= end);
	assert_true(end <= request->max_size);
	reply->size = end;
	if (end == request->from)
		return; /* the file is not touched before there is a body */
	if (request->from < last)
		assert_int_equal(pwrite(request->fd, given->body + request->from,
					last - request->from, (off_t)request->from),
				 last - request->from);
	assert_int_equal(ftruncate(request->fd, (off_t)end), 0);
	if (request->look_at && end >= request->look_at && !request->look(request->look_context)) {
		reply->result = TRANSFER_DONE;
		reply->size = request->from > request->look_at ? request->from : request->look_at;
		assert_int_equal(ftruncate(request->fd, (off_t)reply->size), 0);
	}
	world.bytes += reply->size - request->from;
}

void __wrap_transfer_get(struct transfer *transfer, const struct transfer_request *request,
			 struct transfer_reply *reply)
{
	const char *url = request->url;
	char what[1024];
	struct answer *given;

	url += !strncmp(url, "http://", 7) ? 7 : 0;
	(void)snprintf(what, sizeof(what), "%s%s", url, request->first ? " head" : "");
	if (request->first)
		assert_int_equal(request->first, CONTAINER_HEAD_SIZE);
	note_request(request, what);
	given = find_answer(what);
	if (given && given->before)
		given->before();
	*reply = given ? given->reply
		       : (struct transfer_reply){.result = TRANSFER_NOT_FOUND, .status = 404};
	reply->size = request->from;
	if (!given)
		(void)snprintf(reply->problem, sizeof(reply->problem), "%.100s: no such file",
			       what);
	else if (given->size || given->reply.result == TRANSFER_DONE)
		give_body(given, request, reply);
	world.monotonic_us += given ? (uint64_t)given->takes * 1000000 : 0;
}

uint32_t __wrap_transfer_requests(const struct transfer *transfer)
{
	return world.requests;
}

uint64_t __wrap_transfer_bytes(const struct transfer *transfer)
{
	return world.bytes;
}

static inline void assert_file_is(const char *path, const void *content, size_t size)
{
	char buffer[BODY_MAX + 1];
	FILE *file = fopen(path, "re");

	if (!file)
		fail_msg("%s: %s", path, strerror(errno));
	assert_int_equal(fread(buffer, 1, sizeof(buffer), file), size);
	assert_memory_equal(buffer, content, size);
	(void)fclose(file);
}

/* Behind what is asked for there may be zeros. */
static inline void assert_file_begins(const char *path, const char *text)
{
	char buffer[256] = "";
	FILE *file = fopen(path, "re");

	if (!file)
		fail_msg("%s: %s", path, strerror(errno));
	(void)!fread(buffer, 1, sizeof(buffer) - 1, file);
	(void)fclose(file);
	assert_string_equal(buffer, text);
}

static inline void assert_empty_directory(const char *path)
{
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
}

/* The cdiffs that serve_cdiffs() serves fit one another. */
int __wrap_patch_apply(const struct patch *patch, char *problem, size_t problem_size)
{
	char path[PATH_MAX], text[64], cvd[CVD_SIZE];
	struct container_head base;

	assert_empty_directory(patch->work);
	assert_int_equal(container_read(patch->base, &base), 0);
	assert_int_equal(base.version, patch->from);
	for (uint32_t version = patch->from + 1; version <= patch->to; version++) {
		(void)snprintf(path, sizeof(path), "%s/%s-%u.cdiff", patch->cdiffs, patch->database,
			       version);
		(void)snprintf(text, sizeof(text), "cdiff %u", version);
		assert_file_begins(path, text);
	}
	add_line(world.patched, sizeof(world.patched), "%s %u-%u", base_name(patch->base),
		 patch->from, patch->to);
	if (world.patch_result < 0) {
		(void)snprintf(problem, problem_size, "problem of the cdiffs");
		return world.patch_result;
	}
	make_cvd(cvd, patch->to);
	(void)snprintf(path, sizeof(path), "%s/%s.cld", patch->work, patch->database);
	scratch_write(path, cvd, sizeof(cvd));
	return 0;
}

/* What has "spoiled" in it is refused, what the test says is, and nothing else. */
int __wrap_trial_run(const struct trial *trial, uint32_t *ret_signatures, char *problem,
		     size_t problem_size)
{
	const char *name = base_name(trial->path);
	char content[BODY_MAX + 1];
	FILE *file = fopen(trial->path, "re");

	assert_non_null(file);
	content[fread(content, 1, sizeof(content) - 1, file)] = '\0';
	(void)fclose(file);
	assert_empty_directory(trial->scratch);
	add_line(world.tried, sizeof(world.tried), "%s%s%s%s", name, trial->database ? " as " : "",
		 trial->database ? trial->database : "", trial->as_signed ? " signed" : "");
	(void)snprintf(problem, problem_size, "problem of the trial");
	if (world.refused && !strcmp(world.refused, name))
		return world.refusal;
	if (strstr(content, "spoiled"))
		return -EBADMSG;
	*ret_signatures = 7;
	return 0;
}

int __wrap_store_put(struct store *store, const char *path, const char *name, char *problem,
		     size_t problem_size)
{
	(void)snprintf(problem, problem_size, "problem of the store");
	return world.put_result ? world.put_result
				: __real_store_put(store, path, name, problem, problem_size);
}

int __wrap_store_publish(struct store *store, char *problem, size_t problem_size)
{
	(void)snprintf(problem, problem_size, "problem of the store");
	return world.publish_result ? world.publish_result
				    : __real_store_publish(store, problem, problem_size);
}

/* --- what is there --- */

static inline void log_to_world(void *context, int priority, const char *text)
{
	add_line(world.logged, sizeof(world.logged), "%d %s", priority, text);
}

static inline int world_setup(void **state)
{
	memset(&world, 0, sizeof(world));
	world.now = NOW;
	world.monotonic_us = UINT64_C(1000000000);
	log_set_sink(log_to_world, NULL);
	return mkdir("d", 0755);
}

static inline int world_teardown(void **state)
{
	log_set_sink(NULL, NULL);
	return nftw("d", scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void write_cvd(const char *path, unsigned version)
{
	char cvd[CVD_SIZE];

	make_cvd(cvd, version);
	scratch_write(path, cvd, sizeof(cvd));
}

static inline struct store *open_store(void)
{
	char problem[512] = "";
	bool busy;
	struct store *store = store_open("d", &busy, problem, sizeof(problem));

	if (!store)
		fail_msg("%s", problem);
	return store;
}

/* Puts a file in force, as an earlier run would have done. */
static inline void install(const char *name, const void *content, size_t size)
{
	struct store *store = open_store();
	char problem[512] = "", path[PATH_MAX];

	scratch_write(store_path(store, "work/x", path, sizeof(path)), content, size);
	assert_int_equal(__real_store_put(store, path, name, problem, sizeof(problem)), 0);
	assert_int_equal(__real_store_publish(store, problem, sizeof(problem)), 0);
	(void)store_close(store);
}

static inline void install_cvd(const char *name, unsigned version)
{
	char cvd[CVD_SIZE];

	make_cvd(cvd, version);
	install(name, cvd, sizeof(cvd));
}

/* The files of a directory, with the versions of those that say one: "local.ndb test.cvd=5 ". */
static inline const char *list_files(const char *directory)
{
	static char text[4096];
	struct dirent **entries;
	int n = scandir(directory, &entries, NULL, alphasort);

	*text = '\0';
	for (int i = 0; i < n; i++) {
		char path[PATH_MAX], version[32] = "";
		struct container_head head;

		(void)snprintf(path, sizeof(path), "%s/%s", directory, entries[i]->d_name);
		if (container_read(path, &head) == 0)
			(void)snprintf(version, sizeof(version), "=%u", head.version);
		if (*entries[i]->d_name != '.')
			(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s ",
				       entries[i]->d_name, version);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
	return text;
}

static inline const char *in_force(void)
{
	return list_files("d/current");
}

static inline bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

/* --- one run of a part --- */

static struct {
	struct conf *conf;
	struct audience audience;
	struct run run;
	struct wire_update_item item;
} part;

static inline void hear_nothing(void *context)
{
}

static inline int part_setup(void **state)
{
	char problem[512];

	if (world_setup(state) < 0)
		return -1;
	memset(&part, 0, sizeof(part));
	part.conf = conf_new();
	part.audience = (struct audience){.channel = -1, .hear = hear_nothing};
	part.run = (struct run){
		.conf = part.conf,
		.audience = &part.audience,
		.state = state_new("d/none", problem, sizeof(problem)),
		.before = state_new("d/none", problem, sizeof(problem)),
	};
	return part.conf && part.run.state && part.run.before ? 0 : -1;
}

static inline int part_teardown(void **state)
{
	(void)store_close(part.run.store);
	state_free(part.run.state);
	state_free(part.run.before);
	conf_free(part.conf);
	return world_teardown(state);
}

static inline void add_mirror(const char *url)
{
	conf_fixture_set(part.conf, "signatures", "mirror", url);
}

static inline struct source *source_of(const char *url)
{
	struct source *source = state_source(part.run.state, url);

	assert_non_null(source);
	return source;
}

/* Runs update and puts in force what it staged. */
static inline void part_update(void (*update)(struct run *run, const char *what,
					      struct wire_update_item *item),
			       const char *what)
{
	char problem[512];

	part.run.store = open_store();
	part.run.began = world.now;
	memset(&part.item, 0, sizeof(part.item));
	part.item.result = WIRE_UPDATE_FAILED;
	update(&part.run, what, &part.item);
	assert_int_equal(__real_store_publish(part.run.store, problem, sizeof(problem)), 0);
	part.run.store = store_close(part.run.store);
}

#define PART_TEST(function) cmocka_unit_test_setup_teardown(function, part_setup, part_teardown)
