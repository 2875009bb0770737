/* SPDX-License-Identifier: GPL-2.0-only */
#include "database.h"

#include "../common/clock.h"
#include "../common/log.h"
#include "../common/url.h"
#include "../signatures/container.h"
#include "mirror.h"
#include "patch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)

/* Bounds of what a server may send: the largest official ones are 170 MB and a few. */
#define CVD_SIZE_MAX   (1024 * MIB)
#define CDIFF_SIZE_MAX (64 * MIB)

/* One mirror may take so long over one database before the next is asked. */
#define MIRROR_US (3600 * CLOCK_US_PER_SEC)

/* Cdiffs that are larger than this, and than what they change, are no help. */
#define CDIFFS_SIZE_MIN (1 * MIB)

/* Further behind than this the whole file is asked for at once. */
#define CDIFFS_MAX 100

/* So often a whole file is asked for in one go: for the rest of it, as long as that brings more. */
#define ATTEMPTS 4

/* What came of one source. */
enum outcome {
	OUTCOME_DONE,  /* what it has is staged */
	OUTCOME_SAME,  /* it has what we have */
	OUTCOME_OLDER, /* it has less */
	OUTCOME_WHOLE, /* cdiffs do not help */
	OUTCOME_NEXT,  /* another source may do better */
	OUTCOME_STOP,  /* none would: the fault is here */
};

struct database {
	struct run *run;
	const char *name;
	struct wire_update_item *item;
	char local[PATH_MAX];		/* what there is; empty: nothing */
	struct container_head have;	/* of local; version 0: nothing */
	bool is_own;			/* an administrator has put it there */
	const char *mirror;		/* the URL that is being asked */
	struct source *source;		/* what is known of it */
	uint64_t until_us;		/* so long may it take */
	char head[CONTAINER_HEAD_SIZE]; /* of what it has */
	struct container_head offer;	/* what that says */
	char cdiffs[PATH_MAX];		/* directory of those that were fetched */
	uint32_t reached;		/* the version that they lead to */
	bool is_interrupted;		/* not for want of a further one */
	int download;			/* where the whole file goes */
};

/* Adds to what the user is told where no source will do. */
static void database_note(struct database *database, const char *problem)
{
	char *text = database->item->text;
	size_t used = strlen(text), size = sizeof(database->item->text);

	(void)snprintf(text + used, size - used, "%s%s: %s", used ? "; " : "",
		       database->source->url, problem);
}

static enum outcome database_blame(struct database *database, const char *problem)
{
	source_failed(database->source, problem, run_now());
	database_note(database, problem);
	return OUTCOME_NEXT;
}

static void database_get(struct database *database, const char *file,
			 struct transfer_request *request, struct transfer_reply *reply)
{
	char url[2 * PATH_MAX];

	if (clock_monotonic_us() > database->until_us) {
		*reply = (struct transfer_reply){.result = TRANSFER_BROKEN};
		(void)snprintf(reply->problem, sizeof(reply->problem), "it takes too long");
		return;
	}
	(void)snprintf(url, sizeof(url), "%s/%s", database->mirror, file);
	request->url = url;
	run_get(database->run, database->source, request, reply, database->item, file);
}

/* What follows from an answer that brought nothing. */
static enum outcome database_no_file(struct database *database, const struct transfer_reply *reply)
{
	if (reply->result != TRANSFER_LOCAL) {
		database_note(database, reply->problem);
		return OUTCOME_NEXT;
	}
	run_fail_here(database->run, database->item, reply);
	return OUTCOME_STOP;
}

/* --- what a source has --- */

static enum outcome database_ask(struct database *database)
{
	struct transfer_request request = {
		.fd = memfd_create("head", MFD_CLOEXEC),
		.first = CONTAINER_HEAD_SIZE,
		.max_size = CONTAINER_HEAD_SIZE,
	};
	struct transfer_reply reply;
	char file[SIGNATURE_DATABASE_MAX + 8];
	ssize_t n = -1;

	(void)snprintf(file, sizeof(file), "%s.cvd", database->name);
	database_get(database, file, &request, &reply);
	if (reply.result == TRANSFER_DONE)
		n = pread(request.fd, database->head, sizeof(database->head), 0);
	if (request.fd >= 0)
		close(request.fd);
	if (reply.result != TRANSFER_DONE)
		return database_no_file(database, &reply);
	if (n != sizeof(database->head) || container_parse(database->head, &database->offer) < 0)
		return database_blame(database, "what it has under this name is no database");
	if (!database->have.version || database->offer.version > database->have.version)
		return OUTCOME_DONE;
	return database->offer.version == database->have.version ? OUTCOME_SAME : OUTCOME_OLDER;
}

/* --- cdiffs --- */

static void database_cdiff_name(const struct database *database, uint32_t version, char *buffer,
				size_t size)
{
	(void)snprintf(buffer, size, "%s-%u.cdiff", database->name, version);
}

static void database_get_cdiff(struct database *database, uint32_t version,
			       struct transfer_reply *reply)
{
	struct transfer_request request = {.max_size = CDIFF_SIZE_MAX};
	char file[SIGNATURE_DATABASE_MAX + 24], path[PATH_MAX + 64];

	database_cdiff_name(database, version, file, sizeof(file));
	(void)snprintf(path, sizeof(path), "%s/%s", database->cdiffs, file);
	request.fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (request.fd < 0) {
		*reply = (struct transfer_reply){.result = TRANSFER_LOCAL};
		(void)snprintf(reply->problem, sizeof(reply->problem), "cannot make %s: %s", path,
			       strerror(errno));
		return;
	}
	database_get(database, file, &request, reply);
	close(request.fd);
}

/* Up to which cdiffs are worth it. */
static uint64_t database_size(const struct database *database)
{
	struct stat status;

	return stat(database->local, &status) == 0 && status.st_size > (off_t)CDIFFS_SIZE_MIN
		       ? (uint64_t)status.st_size
		       : CDIFFS_SIZE_MIN;
}

/*
 * Fetches cdiffs one by one, as far as there are any: reached says how far. DONE: some came, and
 * what they lead to is worth having although there may be more.
 */
static enum outcome database_get_cdiffs(struct database *database)
{
	uint32_t from = database->have.version;
	struct transfer_reply reply;
	uint64_t size = 0;

	database->reached = from;
	database->is_interrupted = false;
	if (!from || database->offer.version - from > CDIFFS_MAX)
		return OUTCOME_WHOLE;
	if (run_empty_work(database->run, "cdiffs", database->cdiffs, sizeof(database->cdiffs),
			   database->item) < 0)
		return OUTCOME_STOP;
	while (database->reached < database->offer.version) {
		database_get_cdiff(database, database->reached + 1, &reply);
		if (reply.result != TRANSFER_DONE) {
			database->is_interrupted = reply.result != TRANSFER_NOT_FOUND;
			break;
		}
		/* An empty one is the publisher's word for: take the whole file. */
		size += reply.size;
		if (!reply.size || size > database_size(database))
			return OUTCOME_WHOLE;
		database->reached++;
	}
	if (database->reached > from)
		return OUTCOME_DONE;
	return reply.result == TRANSFER_NOT_FOUND ? OUTCOME_WHOLE
						  : database_no_file(database, &reply);
}

/* Makes the newer database of the one we have and the cdiffs; its path is written to path. */
static enum outcome database_patch(struct database *database, char *path, size_t size)
{
	char work[PATH_MAX], problem[WIRE_TEXT_MAX];
	struct patch patch = {
		.database = database->name,
		.base = database->local,
		.from = database->have.version,
		.to = database->reached,
		.cdiffs = database->cdiffs,
		.work = work,
	};
	int r = run_empty_work(database->run, "patch", work, sizeof(work), database->item);

	if (r < 0)
		return OUTCOME_STOP;
	(void)snprintf(path, size, "%s/%s.cld", work, database->name);
	r = patch_apply(&patch, problem, sizeof(problem));
	if (r == 0)
		return OUTCOME_DONE;
	/* Neither the cdiffs nor what they were to change: the whole file would fare no better. */
	if (r != -EBADMSG && r != -ENOENT && r != -EIO) {
		run_fail(database->item, "%s", problem);
		return OUTCOME_STOP;
	}
	log_warning("signatures: %s: the cdiffs of %s are of no use, the whole file is asked for: "
		    "%s",
		    database->name, database->source->url, problem);
	return OUTCOME_WHOLE;
}

/* --- the whole file --- */

/* How much of a broken download can be used: that of the same file, by what it says of itself. */
static uint64_t database_resume_at(const struct database *database, int fd)
{
	char head[CONTAINER_HEAD_SIZE];
	off_t size = lseek(fd, 0, SEEK_END);

	if (size > CONTAINER_HEAD_SIZE && pread(fd, head, sizeof(head), 0) == sizeof(head) &&
	    !memcmp(head, database->head, sizeof(head)))
		return (uint64_t)size;
	(void)!ftruncate(fd, 0);
	return 0;
}

/* What comes may be older than the head had it, or no database: it is not fetched to its end to see
 * that. database_check() says what is wrong with it. */
static bool database_is_newer(void *context)
{
	struct database *database = context;
	char bytes[CONTAINER_HEAD_SIZE];
	struct container_head head;

	return pread(database->download, bytes, sizeof(bytes), 0) != sizeof(bytes) ||
	       (container_parse(bytes, &head) == 0 && head.version > database->have.version);
}

/* Fetches what is missing of the whole file, of which fd has so much. */
static enum outcome database_download(struct database *database, int fd, uint64_t from,
				      const char *file)
{
	struct transfer_request request = {
		.fd = fd,
		.from = from,
		.max_size = CVD_SIZE_MAX,
		.look_at = CONTAINER_HEAD_SIZE,
		.look = database_is_newer,
		.look_context = database,
	};
	struct transfer_reply reply;

	database->download = fd;
	for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
		uint64_t before = request.from;

		database_get(database, file, &request, &reply);
		if (reply.result == TRANSFER_DONE)
			return OUTCOME_DONE;
		if (reply.result == TRANSFER_BROKEN && reply.size > before) {
			request.from = reply.size;
		} else if (reply.result == TRANSFER_REFUSED && before) {
			/* Nothing can be put behind what we have. */
			(void)!ftruncate(fd, 0);
			request.from = 0;
		} else {
			break;
		}
	}
	if (reply.result == TRANSFER_REFUSED)
		(void)!ftruncate(fd, 0);
	return database_no_file(database, &reply);
}

/* Whether what came is what we want: by what it says of itself, then by its signature and a trial.
 */
static enum outcome database_check(struct database *database, const char *path)
{
	char problem[WIRE_TEXT_MAX];
	struct container_head head;
	uint32_t signatures;
	int r;

	if (container_read(path, &head) < 0)
		return database_blame(database, "what came is no database");
	/* Its head is ahead of its file, as while a mirror is being filled. */
	if (head.version == database->have.version) {
		(void)snprintf(problem, sizeof(problem),
			       "it says that it has version %u, but sends the one we have",
			       database->offer.version);
		database_note(database, problem);
		return OUTCOME_OLDER;
	}
	if (head.version < database->have.version) {
		(void)snprintf(problem, sizeof(problem),
			       "it sent version %u, but %u is in use: an older one is not taken",
			       head.version, database->have.version);
		return database_blame(database, problem);
	}
	r = run_trial(database->run, path, database->name, true, &signatures, problem,
		      sizeof(problem));
	if (r == -EBADMSG)
		return database_blame(database, problem);
	if (r < 0) {
		run_fail(database->item, "%s", problem);
		return OUTCOME_STOP;
	}
	return OUTCOME_DONE;
}

static enum outcome database_get_whole_once(struct database *database, const char *file, char *path,
					    size_t size, bool *ret_resumed)
{
	int fd = run_open_partial(database->run, file, path, size, database->item);
	enum outcome outcome;
	uint64_t from;

	if (fd < 0)
		return OUTCOME_STOP;
	from = database_resume_at(database, fd);
	*ret_resumed = from > 0;
	outcome = database_download(database, fd, from, file);
	close(fd);
	if (outcome != OUTCOME_DONE)
		return outcome;
	outcome = database_check(database, path);
	if (outcome == OUTCOME_NEXT || outcome == OUTCOME_OLDER)
		(void)unlink(path);
	return outcome;
}

/* Fetches and checks the whole file; its path is written to path. */
static enum outcome database_get_whole(struct database *database, char *path, size_t size)
{
	char file[SIGNATURE_DATABASE_MAX + 8];
	bool resumed, again;
	enum outcome outcome;

	/* It may have said so to a cdiff. */
	if (!source_may_ask(database->source, run_now()))
		return OUTCOME_NEXT;
	(void)snprintf(file, sizeof(file), "%s.cvd", database->name);
	outcome = database_get_whole_once(database, file, path, size, &resumed);
	/* Two halves of different files would be nobody's fault. */
	if (outcome == OUTCOME_NEXT && resumed && access(path, F_OK) < 0 &&
	    source_may_ask(database->source, run_now()))
		outcome = database_get_whole_once(database, file, path, size, &again);
	return outcome;
}

/* --- putting it in place --- */

static const char *const suffixes[] = {".cld", ".cvd"};
#define N_SUFFIXES (sizeof(suffixes) / sizeof(suffixes[0]))

/* What an administrator has put there goes when something newer is in force: both would be
 * loaded. */
static int database_replace_own(const struct database *database, uint32_t version, char *problem,
				size_t problem_size)
{
	struct store *store = database->run->store;
	char name[SIGNATURE_DATABASE_MAX + 8], path[PATH_MAX];
	struct container_head head;
	int r = 0;

	for (size_t i = 0; i < N_SUFFIXES && r == 0; i++) {
		(void)snprintf(name, sizeof(name), "%s%s", database->name, suffixes[i]);
		if (store_own(store, name, path, sizeof(path)) &&
		    container_read(path, &head) == 0 && head.version < version)
			r = store_replace(store, name, problem, problem_size);
	}
	return r;
}

/* And what was published goes where he has put something newer, or the same. */
static enum outcome database_keep_own(struct database *database)
{
	char name[SIGNATURE_DATABASE_MAX + 8], problem[WIRE_TEXT_MAX];
	int r = 0;

	for (size_t i = 0; i < N_SUFFIXES && r == 0 && database->is_own; i++) {
		(void)snprintf(name, sizeof(name), "%s%s", database->name, suffixes[i]);
		r = store_drop(database->run->store, name, problem, sizeof(problem));
	}
	if (r < 0) {
		run_fail(database->item, "%s", problem);
		return OUTCOME_STOP;
	}
	return OUTCOME_SAME;
}

static enum outcome database_stage(struct database *database, const char *path, const char *suffix,
				   const char *other_suffix)
{
	struct run *run = database->run;
	struct wire_update_item *item = database->item;
	char name[SIGNATURE_DATABASE_MAX + 8], other[SIGNATURE_DATABASE_MAX + 8];
	char problem[WIRE_TEXT_MAX];
	struct container_head head;
	int r = container_read(path, &head);

	(void)snprintf(name, sizeof(name), "%s%s", database->name, suffix);
	(void)snprintf(other, sizeof(other), "%s%s", database->name, other_suffix);
	(void)snprintf(problem, sizeof(problem), "cannot read %s: %s", path, strerror(-r));
	if (r == 0)
		r = run->mirror_to ? mirror_put(run, path, name, problem, sizeof(problem))
				   : store_put(run->store, path, name, problem, sizeof(problem));
	if (r == 0 && !run->mirror_to)
		r = store_drop(run->store, other, problem, sizeof(problem));
	if (r == 0 && !run->mirror_to)
		r = database_replace_own(database, head.version, problem, sizeof(problem));
	if (r < 0) {
		run_fail(item, "%s", problem);
		return OUTCOME_STOP;
	}
	item->result = WIRE_UPDATE_UPDATED;
	item->version_after = head.version;
	item->signatures_after = head.signatures;
	*item->text = '\0';
	if (head.version < database->offer.version)
		(void)snprintf(item->text, sizeof(item->text),
			       "%s says that it has version %u, but not how to get there yet",
			       database->source->url, database->offer.version);
	if (head.functionality > container_functionality())
		(void)snprintf(item->text, sizeof(item->text),
			       "a newer libclamav than %s could use more of it",
			       container_library());
	return OUTCOME_DONE;
}

static enum outcome database_by_cdiffs(struct database *database)
{
	char path[PATH_MAX + 64], problem[WIRE_TEXT_MAX];
	enum outcome outcome = database_get_cdiffs(database);
	uint32_t signatures;
	int r;

	if (outcome == OUTCOME_DONE)
		outcome = database_patch(database, path, sizeof(path));
	if (outcome != OUTCOME_DONE)
		return outcome;
	r = run_trial(database->run, path, NULL, true, &signatures, problem, sizeof(problem));
	if (r == -EBADMSG) {
		log_warning(
			"signatures: %s: what the cdiffs of %s make is of no use, the whole file "
			"is asked for: %s",
			database->name, database->source->url, problem);
		return OUTCOME_WHOLE;
	}
	if (r < 0) {
		run_fail(database->item, "%s", problem);
		return OUTCOME_STOP;
	}
	outcome = database_stage(database, path, ".cld", ".cvd");
	if (outcome == OUTCOME_DONE)
		database->item->patches = database->reached - database->have.version;
	return outcome;
}

/* Makes what has just been staged what cdiffs are put on top of. */
static bool database_use_staged(struct database *database)
{
	char name[SIGNATURE_DATABASE_MAX + 8];

	(void)snprintf(name, sizeof(name), "%s.cvd", database->name);
	return store_find(database->run->store, name, database->local, sizeof(database->local)) &&
	       container_read(database->local, &database->have) == 0 &&
	       database->have.version < database->offer.version;
}

static enum outcome database_whole(struct database *database)
{
	char path[PATH_MAX];
	enum outcome outcome = database_get_whole(database, path, sizeof(path));

	if (outcome == OUTCOME_DONE)
		outcome = database_stage(database, path, ".cvd", ".cld");
	/* The whole file may be behind what the server's head says; cdiffs lead on from there. */
	if (outcome == OUTCOME_DONE && database_use_staged(database)) {
		struct wire_update_item before = *database->item;

		if (database_by_cdiffs(database) != OUTCOME_DONE) {
			before.bytes = database->item->bytes;
			*database->item = before;
		}
	}
	return outcome;
}

/* For a mirror: the cdiffs for machines that have what we had, and the whole file for the others.
 */
static enum outcome database_for_mirror(struct database *database)
{
	char path[PATH_MAX], patched[PATH_MAX + 64], file[SIGNATURE_DATABASE_MAX + 24];
	char problem[WIRE_TEXT_MAX];
	enum outcome outcome = database_get_whole(database, path, sizeof(path));
	uint32_t from = database->have.version;

	if (outcome != OUTCOME_DONE)
		return outcome;
	outcome = database_get_cdiffs(database);
	if (outcome == OUTCOME_DONE) /* only to see that they are right */
		outcome = database_patch(database, patched, sizeof(patched));
	if (outcome == OUTCOME_STOP || outcome == OUTCOME_NEXT)
		return outcome;
	/* What is left out now would be asked for by nobody later. */
	if (outcome == OUTCOME_DONE && database->is_interrupted)
		return OUTCOME_NEXT;
	if (outcome == OUTCOME_WHOLE)
		database->reached = from;
	for (uint32_t version = from + 1; version <= database->reached; version++) {
		char cdiff[PATH_MAX + 64];

		database_cdiff_name(database, version, file, sizeof(file));
		(void)snprintf(cdiff, sizeof(cdiff), "%s/%s", database->cdiffs, file);
		if (mirror_put(database->run, cdiff, file, problem, sizeof(problem)) < 0) {
			run_fail(database->item, "%s", problem);
			return OUTCOME_STOP;
		}
	}
	return database_stage(database, path, ".cvd", ".cld");
}

/* --- the mirrors in their order --- */

static enum outcome database_try(struct database *database)
{
	enum outcome outcome;

	database->until_us = clock_monotonic_us() + MIRROR_US;
	outcome = database_ask(database);
	(void)snprintf(database->item->source, sizeof(database->item->source), "%s",
		       database->source->url);
	if (outcome == OUTCOME_SAME)
		return database_keep_own(database);
	if (outcome != OUTCOME_DONE)
		return outcome;
	if (database->run->mirror_to)
		return database_for_mirror(database);
	outcome = database_by_cdiffs(database);
	return outcome == OUTCOME_WHOLE ? database_whole(database) : outcome;
}

static enum outcome database_from(struct database *database)
{
	enum outcome outcome = database_try(database);

	if (outcome == OUTCOME_DONE || outcome == OUTCOME_SAME || outcome == OUTCOME_OLDER)
		run_was_right(database->source);
	return outcome;
}

/* Finds the newest there is of it: in the mirror, published, or put there by an administrator. */
static void database_look(struct database *database, bool own)
{
	const struct run *run = database->run;

	for (size_t i = 0; i < N_SUFFIXES; i++) {
		char name[SIGNATURE_DATABASE_MAX + 8], path[PATH_MAX];
		struct container_head head;

		(void)snprintf(name, sizeof(name), "%s%s", database->name, suffixes[i]);
		if (run->mirror_to)
			(void)mirror_path(run, name, path, sizeof(path));
		else if (own ? !store_own(run->store, name, path, sizeof(path))
			     : !store_find(run->store, name, path, sizeof(path)))
			continue;
		if (container_read(path, &head) < 0 || head.version < database->have.version ||
		    (head.version == database->have.version && !own))
			continue;
		memcpy(database->local, path, sizeof(path));
		database->have = head;
		database->is_own = own;
	}
}

static void database_find_local(struct database *database)
{
	database_look(database, false);
	if (!database->run->mirror_to)
		database_look(database, true);
	database->item->version_before = database->item->version_after = database->have.version;
	database->item->signatures_before = database->item->signatures_after =
		database->have.signatures;
}

static bool database_use_mirror(struct database *database, const char *mirror)
{
	char url[WIRE_SIGNATURE_MAX];

	database->mirror = mirror;
	database->source =
		state_source(database->run->state, url_display(mirror, url, sizeof(url)));
	return database->source != NULL;
}

/* Asks those mirrors that are healthy, or those that are not. Returns whether that settled it. */
static bool database_ask_mirrors(struct database *database, const bool *healthy, bool wanted,
				 bool *ret_answered)
{
	const struct conf_list *mirrors = &database->run->conf->mirror;

	for (size_t i = 0; i < mirrors->n_entries; i++) {
		if (healthy[i] != wanted ||
		    !database_use_mirror(database, mirrors->entries[i].text) ||
		    !source_may_ask(database->source, run_now()))
			continue;
		switch (database_from(database)) {
		case OUTCOME_DONE:
			return true;
		case OUTCOME_SAME:
			database->item->result = WIRE_UPDATE_UP_TO_DATE;
			*database->item->text = '\0';
			return true;
		case OUTCOME_STOP:
			return true;
		case OUTCOME_OLDER:
			*ret_answered = true;
			break;
		case OUTCOME_NEXT:
		case OUTCOME_WHOLE:
		default:
			break;
		}
	}
	return false;
}

/* The mirror that may be asked first again, where none may be asked now; NULL: one may. */
static const struct source *database_find_cooling(struct database *database)
{
	const struct conf_list *mirrors = &database->run->conf->mirror;
	const struct source *first = NULL;

	for (size_t i = 0; i < mirrors->n_entries; i++) {
		if (!database_use_mirror(database, mirrors->entries[i].text) ||
		    source_may_ask(database->source, run_now()))
			return NULL;
		if (!first || database->source->cool_until < first->cool_until)
			first = database->source;
	}
	return first;
}

/* No mirror gave it: because none may be asked, or because of what is in the item's text already.
 */
static void database_nobody(struct database *database)
{
	const struct source *cooling = database_find_cooling(database);
	struct wire_update_item *item = database->item;

	if (!cooling) {
		if (!*item->text)
			run_fail(item, "no mirror is configured");
		item->result = WIRE_UPDATE_FAILED;
		return;
	}
	item->result = WIRE_UPDATE_COOL_DOWN;
	item->until = cooling->cool_until;
	memcpy(item->source, cooling->url, sizeof(item->source));
	(void)snprintf(item->text, sizeof(item->text), "%s", cooling->problem);
}

void database_update(struct run *run, const char *name, struct wire_update_item *item)
{
	struct database database = {.run = run, .name = name, .item = item};
	const struct conf_list *mirrors = &run->conf->mirror;
	bool healthy[CONF_LIST_MAX] = {false}, answered = false;

	(void)snprintf(item->name, sizeof(item->name), "%s", name);
	database_find_local(&database);
	/* As it is now: one that fails is not to be asked a second time. */
	for (size_t i = 0; i < mirrors->n_entries; i++)
		healthy[i] = database_use_mirror(&database, mirrors->entries[i].text) &&
			     source_is_healthy(database.source, run_now());
	if (database_ask_mirrors(&database, healthy, true, &answered) ||
	    database_ask_mirrors(&database, healthy, false, &answered))
		return;
	if (answered) {
		item->result = WIRE_UPDATE_UP_TO_DATE;
		if (!*item->text)
			(void)snprintf(item->text, sizeof(item->text),
				       "no mirror that answered has a newer one");
		return;
	}
	database_nobody(&database);
}
