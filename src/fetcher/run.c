/* SPDX-License-Identifier: GPL-2.0-only */
#include "run.h"

#include "../common/clock.h"
#include "../common/line.h"
#include "../common/log.h"
#include "../common/tree.h"
#include "../common/url.h"
#include "../signatures/container.h"
#include "../signatures/trial.h"
#include "../signatures/verify.h"
#include "custom.h"
#include "database.h"
#include "mirror.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

/* After a run that brought nothing for want of an answer the next is sooner: so much after the
 * first one, doubled with each, up to check-every. A machine that starts may have no network yet.
 */
#define RETRY_S 600

/* Whose servers want to know whom they serve; the others are told our own name. */
#define OFFICIAL_DOMAIN "clamav.net"

int64_t run_now(void)
{
	return (int64_t)(clock_wall_us() / CLOCK_US_PER_SEC);
}

void run_fail(struct wire_update_item *item, const char *format, ...)
{
	va_list args;

	item->result = WIRE_UPDATE_FAILED;
	va_start(args, format);
	(void)vsnprintf(item->text, sizeof(item->text), format, args);
	va_end(args);
}

void run_fail_here(const struct run *run, struct wire_update_item *item,
		   const struct transfer_reply *reply)
{
	char directory[PATH_MAX];

	run_fail(item, "%s, in %s", reply->problem,
		 store_path(run->store, "", directory, sizeof(directory)));
}

/* --- what databases and custom files need --- */

/* The official servers turn away whoever does not introduce himself as their own tool does: by the
 * library, the system, and a number of his own. */
static const char *run_user_agent(const struct run *run, const char *url, char *buffer, size_t size)
{
	struct utsname system;

	if (!url_is_of_domain(url, OFFICIAL_DOMAIN) || uname(&system) < 0)
		return NULL;
	(void)snprintf(buffer, size, "ClamAV/%s (OS: linux-gnu, ARCH: %s, CPU: %s, UUID: %s)",
		       container_library(), system.machine, system.machine, run->state->uuid);
	return buffer;
}

static void run_save(const struct run *run, const struct state *state)
{
	char path[PATH_MAX];
	int r = state_save(state, store_path(run->store, "state.json", path, sizeof(path)));

	if (r < 0)
		log_warning("signatures: cannot write %s, so cool-downs are forgotten: %s", path,
			    strerror(-r));
}

static void run_cool(struct source *source, const struct source *cooled)
{
	source->cool_since = cooled->cool_since;
	source->cool_until = cooled->cool_until;
	memcpy(source->problem, cooled->problem, sizeof(source->problem));
}

/* A server that wants to be left alone is, by all that is asked of it, and after a kill too. What
 * is forbidden may be one file. */
static void run_cool_down(struct run *run, const struct source *cooled,
			  const struct transfer_reply *reply)
{
	log_warning("signatures: %s is not asked any more for %lld s: %s", cooled->url,
		    (long long)(cooled->cool_until - run_now()), cooled->problem);
	for (unsigned i = 0; i < run->state->n_sources; i++) {
		struct source *source = &run->state->sources[i], *saved;

		if (source != cooled &&
		    (reply->status == 403 || !url_same_server(source->url, cooled->url)))
			continue;
		/* One that is to be left alone for longer is. */
		if (source_may_ask(source, run_now()) || source->cool_until < cooled->cool_until)
			run_cool(source, cooled);
		saved = state_source(run->before, source->url);
		if (saved)
			run_cool(saved, source);
	}
	run_save(run, run->before);
}

void run_get(struct run *run, struct source *source, const struct transfer_request *request,
	     struct transfer_reply *reply, struct wire_update_item *item, const char *file)
{
	uint64_t before = transfer_bytes(run->transfer);
	struct transfer_request full = *request;
	bool was_asked = source_may_ask(source, run_now());
	char agent[256];

	full.user_agent = run_user_agent(run, request->url, agent, sizeof(agent));
	audience_begin(run->audience, request->first ? "" : file);
	transfer_get(run->transfer, &full, reply);
	item->bytes += transfer_bytes(run->transfer) - before;
	if (reply->result != TRANSFER_DONE)
		source_answered(source, reply, run_now());
	if (was_asked && !source_may_ask(source, run_now()))
		run_cool_down(run, source, reply);
}

void run_was_right(struct source *source)
{
	const struct transfer_reply done = {.result = TRANSFER_DONE};

	/* It may have said in the end that it wants to be left alone. */
	if (source_may_ask(source, run_now()))
		source_answered(source, &done, run_now());
}

int run_empty_work(struct run *run, const char *name, char *buffer, size_t size,
		   struct wire_update_item *item)
{
	char relative[64];
	int r = 0;

	(void)snprintf(relative, sizeof(relative), "work/%s", name);
	(void)store_path(run->store, relative, buffer, size);
	(void)tree_remove(buffer);
	if (mkdir(buffer, 0700) < 0) {
		r = -errno;
		run_fail(item, "cannot make the directory %s: %s", buffer, strerror(-r));
	}
	return r;
}

int run_open_partial(struct run *run, const char *name, char *path, size_t size,
		     struct wire_update_item *item)
{
	char relative[128];
	int fd;

	(void)snprintf(relative, sizeof(relative), "partial/%s", name);
	(void)store_path(run->store, relative, path, size);
	fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0) {
		fd = -errno;
		run_fail(item, "cannot write %s: %s", path, strerror(-fd));
	}
	return fd;
}

int run_trial(struct run *run, const char *path, const char *database, bool as_signed,
	      uint32_t *ret_signatures, char *problem, size_t problem_size)
{
	struct wire_update_item item;
	char scratch[PATH_MAX];
	struct trial trial = {
		.path = path,
		.scratch = scratch,
		.verify = database ? verify_container : NULL,
		.database = database,
		.detect_pua = run->conf->detect_pua,
		.as_signed = as_signed,
	};
	int r = run_empty_work(run, "trial", scratch, sizeof(scratch), &item);

	if (r < 0) {
		(void)snprintf(problem, problem_size, "%s", item.text);
		return r;
	}
	return trial_run(&trial, ret_signatures, problem, problem_size);
}

/* --- one after the other --- */

struct run_items {
	struct wire_update_item *items;
	size_t n;
};

/* What has been asked for of a database or file becomes part of what is known of it. */
static void run_remember(struct run *run, const struct wire_update_item *item, bool custom)
{
	struct state_item *known = state_item(run->state, item->name, custom);
	/* Of one that is up to date there is something to say only where all that answered have
	 * older ones: that confirms nothing. */
	bool confirmed = item->result == WIRE_UPDATE_UPDATED ||
			 (item->result == WIRE_UPDATE_UP_TO_DATE && !*item->text);

	if (!known)
		return;
	(void)snprintf(known->problem, sizeof(known->problem), "%s", confirmed ? "" : item->text);
	if (!confirmed)
		return;
	known->checked = run_now();
	if (item->result == WIRE_UPDATE_UPDATED)
		known->changed = known->checked;
	if (item->result == WIRE_UPDATE_UPDATED || !*known->source)
		(void)snprintf(known->source, sizeof(known->source), "%s", item->source);
	known->version = item->version_after;
	known->signatures = item->signatures_after;
}

static void run_item(struct run *run, struct run_items *items, const char *what, bool custom)
{
	struct wire_update_item *item = &items->items[items->n++];

	item->header = (struct wire_header)WIRE_INIT(WIRE_UPDATE_ITEM, struct wire_update_item);
	item->result = WIRE_UPDATE_FAILED;
	if (custom)
		custom_update(run, what, item);
	else
		database_update(run, what, item);
	run_remember(run, item, custom);
}

static bool run_wants_database(const struct conf *conf, const char *name)
{
	size_t length = strcspn(name, ".");

	/* Where no mirror is configured any more, what they gave is better than nothing. */
	if (!conf->mirror.n_entries)
		return true;
	for (size_t i = 0; i < conf->database.n_entries; i++)
		if (strlen(conf->database.entries[i].text) == length &&
		    !strncmp(conf->database.entries[i].text, name, length))
			return true;
	return false;
}

static bool run_wants(void *context, const char *name)
{
	const struct conf *conf = context;

	for (size_t i = 0; i < conf->custom.n_entries; i++)
		if (!strcmp(url_file_name(conf->custom.entries[i].text), name))
			return true;
	return signature_is_container(name) && run_wants_database(conf, name);
}

static bool run_is_complete(const struct run_items *items)
{
	for (size_t i = 0; i < items->n; i++)
		if (items->items[i].result > WIRE_UPDATE_UPDATED)
			return false;
	return true;
}

/* Makes what was staged what is in force. */
static int run_publish(struct run *run, const struct run_items *items, bool is_last,
		       bool *ret_published, char *problem, size_t problem_size)
{
	int r = 0;

	if (run->mirror_to)
		return is_last ? mirror_finish(run, problem, problem_size) : 0;
	/* What is not wanted any more goes when everything that is wanted is there. */
	if (is_last && run_is_complete(items))
		r = store_keep_only(run->store, run_wants, (void *)run->conf, problem,
				    problem_size);
	if (r < 0 || !store_is_staged(run->store))
		return r;
	r = store_publish(run->store, problem, problem_size);
	*ret_published = r == 0;
	return r;
}

/* Nothing of what was staged is in force: neither told nor remembered as if it were. */
static void run_take_back(struct run *run, struct run_items *items, size_t first,
			  const char *problem)
{
	memcpy(run->state->items, run->before->items, sizeof(run->before->items));
	run->state->n_items = run->before->n_items;
	for (size_t i = first; i < items->n; i++) {
		struct wire_update_item *item = &items->items[i];

		if (item->result != WIRE_UPDATE_UPDATED)
			continue;
		run_fail(item, "%s", problem);
		item->patches = 0;
		item->version_after = item->version_before;
		item->signatures_after = item->signatures_before;
	}
}

/* --- what there is to say --- */

static void run_log_item(const struct wire_update_item *item)
{
	char name[LINE_ESCAPED_MAX(sizeof(item->name))], text[LINE_ESCAPED_MAX(512)];
	char source[LINE_ESCAPED_MAX(sizeof(item->source))], version[64] = "";

	line_escape(name, sizeof(name), item->name);
	line_escape(text, sizeof(text), item->text);
	line_escape(source, sizeof(source), item->source);
	if (item->version_after)
		(void)snprintf(version, sizeof(version), " %u -> %u", item->version_before,
			       item->version_after);
	if (item->result == WIRE_UPDATE_UPDATED)
		log_notice("signatures: %s%s from %s%s%s", name, version, source, *text ? "; " : "",
			   text);
	else if (item->result == WIRE_UPDATE_FAILED)
		log_warning("signatures: %s was not refreshed: %s", name, text);
}

static void run_tell(struct run *run, const struct run_items *items, struct run_result *result)
{
	bool failed = false, cool = false, updated = false;

	run->audience->hear(run->audience->context);
	for (size_t i = 0; i < items->n; i++) {
		const struct wire_update_item *item = &items->items[i];

		run_log_item(item);
		audience_tell(run->audience, &item->header);
		failed |= item->result == WIRE_UPDATE_FAILED;
		cool |= item->result == WIRE_UPDATE_COOL_DOWN;
		updated |= item->result == WIRE_UPDATE_UPDATED;
	}
	result->done.result = failed	? WIRE_UPDATE_FAILED
			      : cool	? WIRE_UPDATE_COOL_DOWN
			      : updated ? WIRE_UPDATE_UPDATED
					: WIRE_UPDATE_UP_TO_DATE;
	result->done.bytes = transfer_bytes(run->transfer);
	result->done.requests = transfer_requests(run->transfer);
	result->done.published = result->fetched.published;
	result->fetched.result = result->done.result;
}

/* --- when the next one is --- */

/* A random share of random-delay, but no more than limit; seconds. */
static int64_t run_random_delay(const struct conf *conf, int64_t limit)
{
	int64_t most = (int64_t)(conf->check_random_delay_ms / 1000);
	uint32_t number = 0;

	(void)!getrandom(&number, sizeof(number), 0);
	return (int64_t)((double)number / 4294967296.0 * (double)(most < limit ? most : limit));
}

/* However often a source was asked in one run, that is one failure. */
static void run_count_failures(struct run *run)
{
	for (unsigned i = 0; i < run->state->n_sources; i++) {
		struct source *source = &run->state->sources[i];
		const struct source failed = *source;
		uint32_t n = i < run->before->n_sources && source->last_ok < run->began
				     ? run->before->sources[i].failures
				     : 0;

		if (source->failures <= n + 1)
			continue;
		source->failures = n;
		source_failed(source, failed.problem, run_now());
	}
}

/* In how many runs in a row no source has given what was right. */
static uint32_t run_failures(const struct run *run)
{
	const struct state *state = run->state;
	uint32_t fewest = UINT32_MAX;

	for (unsigned i = 0; i < state->n_sources; i++) {
		if (state->sources[i].last_ok >= run->began)
			return 0;
		if (state->sources[i].failures < fewest)
			fewest = state->sources[i].failures;
	}
	return fewest;
}

static int64_t run_plan(const struct run *run, const struct run_items *items,
			enum wire_update_result result)
{
	int64_t every = (int64_t)(run->conf->check_every_ms / 1000), wait = every, now = run_now();
	uint32_t failures = run_failures(run);
	int64_t cool = INT64_MAX;

	if (!every)
		return 0;
	if (result == WIRE_UPDATE_FAILED && failures && failures < 16 &&
	    (int64_t)RETRY_S << (failures - 1) < every)
		wait = (int64_t)RETRY_S << (failures - 1);
	/* Where nothing may be asked for before. */
	for (size_t i = 0; i < items->n; i++)
		if (items->items[i].until - now < cool)
			cool = items->items[i].until - now;
	if (items->n && cool > wait)
		wait = cool;
	return now + wait + run_random_delay(run->conf, wait);
}

static bool run_is_due(const struct run *run)
{
	/* A time further away than any that is ever planned was written under another clock. */
	int64_t most =
		(int64_t)((run->conf->check_every_ms + run->conf->check_random_delay_ms) / 1000) +
		SOURCE_COOL_DOWN_MAX_S;
	int64_t left = run->state->next_run - run_now();

	return left <= 0 || left > most;
}

/* --- a run --- */

/* Asks for all that a list names, and publishes what is new. Where that fails, result says why. */
static void run_list(struct run *run, struct run_items *items, const struct conf_list *list,
		     bool custom, struct run_result *result)
{
	char problem[WIRE_TEXT_MAX] = "";
	size_t first = items->n;
	bool published = false;

	memcpy(run->before, run->state, sizeof(*run->before));
	for (size_t i = 0; i < list->n_entries; i++)
		run_item(run, items, list->entries[i].text, custom);
	run_count_failures(run);
	if (run_publish(run, items, custom, &published, problem, sizeof(problem)) < 0) {
		run_take_back(run, items, first, problem);
		log_error("signatures: %s", problem);
		memcpy(result->done.text, problem, sizeof(result->done.text));
	}
	result->fetched.published |= published;
}

/* Makes the sources known, so that what a server says counts for all that is asked of it. */
static void run_know_sources(struct run *run)
{
	const struct conf_list *const lists[] = {&run->conf->mirror, &run->conf->custom};
	char url[WIRE_SIGNATURE_MAX];

	state_forget(run->state, run->conf);
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		for (size_t j = 0; j < lists[i]->n_entries; j++)
			(void)state_source(run->state, url_display(lists[i]->entries[j].text, url,
								   sizeof(url)));
}

/* Removes broken downloads of what came in another way, or is not wanted any more. */
static void run_clean_partial(const struct run *run, const struct run_items *items)
{
	char directory[PATH_MAX], wanted[SIGNATURE_DATABASE_MAX + 8];
	struct dirent **entries;
	int n = scandir(store_path(run->store, "partial", directory, sizeof(directory)), &entries,
			NULL, NULL);

	for (int i = 0; i < n; i++) {
		char path[PATH_MAX + NAME_MAX + 2];
		bool is_wanted = entries[i]->d_name[0] == '.';

		for (size_t j = 0; j < items->n && !is_wanted; j++) {
			(void)snprintf(wanted, sizeof(wanted), "%.*s.cvd", SIGNATURE_DATABASE_MAX,
				       items->items[j].name);
			is_wanted = items->items[j].result > WIRE_UPDATE_UPDATED &&
				    !strcmp(entries[i]->d_name, wanted);
		}
		(void)snprintf(path, sizeof(path), "%s/%s", directory, entries[i]->d_name);
		if (!is_wanted)
			(void)unlink(path);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
}

/* Databases are published before custom files are asked for: those may be anywhere. */
static void run_everything(struct run *run, struct run_items *items, struct run_result *result)
{
	static const struct conf_list none;

	run->began = run_now();
	run_know_sources(run);
	run_list(run, items, run->conf->mirror.n_entries ? &run->conf->database : &none, false,
		 result);
	run_list(run, items, &run->conf->custom, true, result);
	run_tell(run, items, result);
	/* Less is news, too. */
	if (result->fetched.published && result->done.result == WIRE_UPDATE_UP_TO_DATE)
		result->done.result = result->fetched.result = WIRE_UPDATE_UPDATED;
	if (*result->done.text)
		result->done.result = result->fetched.result = WIRE_UPDATE_FAILED;
	run_clean_partial(run, items);
	run->state->next_run = result->fetched.next =
		run_plan(run, items, (enum wire_update_result)result->done.result);
	run_save(run, run->state);
}

static void run_in_store(struct run *run, bool is_due_only, struct run_result *result)
{
	struct run_items items = {
		.items = calloc(run->conf->database.n_entries + run->conf->custom.n_entries + 1,
				sizeof(*items.items)),
	};
	char path[PATH_MAX], problem[WIRE_TEXT_MAX] = "";

	run->before = malloc(sizeof(*run->before));
	run->state = state_new(store_path(run->store, "state.json", path, sizeof(path)), problem,
			       sizeof(problem));
	run->transfer =
		transfer_new(run->conf, (transfer_progress)audience_progress, run->audience);
	if (*problem)
		log_warning("signatures: what was known of mirrors is lost: %s", problem);
	if (!items.items || !run->before || !run->state || !run->transfer) {
		(void)snprintf(result->done.text, sizeof(result->done.text), "out of memory");
	} else if (is_due_only && !run_is_due(run)) {
		result->fetched.next = run->state->next_run;
		result->fetched.result = result->done.result = WIRE_UPDATE_UP_TO_DATE;
	} else {
		run_everything(run, &items, result);
	}
	free(items.items);
	free(run->before);
	(void)transfer_free(run->transfer);
	state_free(run->state);
}

void run_all(const struct conf *conf, struct audience *audience, const char *mirror_to,
	     bool is_due_only, struct run_result *ret_result)
{
	struct run run = {.conf = conf, .audience = audience, .mirror_to = mirror_to};
	char directory[PATH_MAX];
	bool busy;

	*ret_result = (struct run_result){
		.fetched = {.header = WIRE_INIT(WIRE_FETCHED, struct wire_fetched),
			    .result = WIRE_UPDATE_FAILED},
		.done = {.header = WIRE_INIT(WIRE_UPDATE_DONE, struct wire_update_done),
			 .result = WIRE_UPDATE_FAILED},
	};
	if (!conf->mirror.n_entries && !conf->custom.n_entries) {
		(void)snprintf(ret_result->done.text, sizeof(ret_result->done.text),
			       "[signatures] names neither mirror nor custom: there is nowhere to "
			       "fetch from");
		return;
	}
	if (mirror_to)
		(void)mirror_path(&run, MIRROR_STORE, directory, sizeof(directory));
	else
		(void)conf_signatures_dir(conf, directory, sizeof(directory));
	run.store =
		store_open(directory, &busy, ret_result->done.text, sizeof(ret_result->done.text));
	if (!run.store) {
		log_error("signatures: %s", ret_result->done.text);
		return;
	}
	*ret_result->done.text = '\0';
	run_in_store(&run, is_due_only, ret_result);
	(void)store_close(run.store);
}
