/* SPDX-License-Identifier: GPL-2.0-only */
#include "custom.h"

#include "../common/url.h"
#include "../signatures/container.h"
#include "mirror.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* So often a file is asked for in one run: for the rest of it, as long as that brings more. */
#define ATTEMPTS 4

struct custom {
	struct run *run;
	const char *url;
	struct wire_update_item *item;
	struct source *source;
	struct state_item *known;
	char local[PATH_MAX];	      /* what is in force; empty: nothing */
	char path[PATH_MAX];	      /* what came */
	uint32_t version, signatures; /* of that */
	struct transfer_reply reply;
};

static void custom_find_local(struct custom *custom)
{
	const struct run *run = custom->run;
	struct wire_update_item *item = custom->item;
	struct container_head head;

	if (run->mirror_to) {
		(void)mirror_path(run, custom->item->name, custom->local, sizeof(custom->local));
		if (access(custom->local, F_OK) < 0)
			*custom->local = '\0';
	} else if (!store_find(run->store, custom->item->name, custom->local,
			       sizeof(custom->local))) {
		*custom->local = '\0';
	}
	if (!*custom->local)
		return;
	item->signatures_before = item->signatures_after = custom->known->signatures;
	if (signature_is_container(item->name) && container_read(custom->local, &head) == 0)
		item->version_before = item->version_after = head.version;
}

/* Asks for what is newer than what we have. Parts of one run are put together only: between two,
 * nobody knows what the file was. */
static void custom_download(struct custom *custom, int fd)
{
	struct transfer_request request = {
		.url = custom->url,
		.fd = fd,
		.max_size = custom->run->conf->custom_max_size,
	};
	char etag[sizeof(custom->reply.etag)];

	(void)!ftruncate(fd, 0);
	/* What another server said of its file says nothing of this one's. */
	if (*custom->local && !strcmp(custom->known->source, custom->item->source)) {
		if (*custom->known->etag)
			request.if_none_match = custom->known->etag;
		if (*custom->known->last_modified)
			request.if_modified_since = custom->known->last_modified;
	}
	for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
		uint64_t before = request.from;

		run_get(custom->run, custom->source, &request, &custom->reply, custom->item,
			custom->item->name);
		if (custom->reply.result != TRANSFER_BROKEN || custom->reply.size <= before ||
		    !*custom->reply.etag)
			break;
		memcpy(etag, custom->reply.etag, sizeof(etag));
		request.if_none_match = request.if_modified_since = NULL;
		request.if_range = etag;
		request.from = custom->reply.size;
	}
}

/* Servers that tell no versions apart send everything each time. */
static bool custom_is_same(const struct custom *custom)
{
	char a[16384], b[sizeof(a)];
	FILE *old = fopen(custom->local, "re"), *new = fopen(custom->path, "re");
	bool same = old && new;

	while (same) {
		size_t n = fread(a, 1, sizeof(a), old), m = fread(b, 1, sizeof(b), new);

		same = n == m && !memcmp(a, b, n);
		if (n < sizeof(a))
			break;
	}
	if (old)
		(void)fclose(old);
	if (new)
		(void)fclose(new);
	return same;
}

static void custom_refuse(struct custom *custom, const char *problem)
{
	source_failed(custom->source, problem, run_now());
	run_fail(custom->item, "%s: %s", custom->source->url, problem);
}

/* A signed file from elsewhere is held to what those of the mirrors are. Returns whether it may be
 * tried. */
static bool custom_check_container(struct custom *custom, char *database, size_t size)
{
	const uint32_t old = custom->item->version_before;
	struct container_head new;
	char problem[WIRE_SIGNATURE_MAX];

	(void)snprintf(database, size, "%.*s", (int)strcspn(custom->item->name, "."),
		       custom->item->name);
	if (container_read(custom->path, &new) < 0) {
		custom_refuse(custom, "what came is no database");
		return false;
	}
	custom->version = new.version;
	if (new.version >= old)
		return true;
	(void)snprintf(problem, sizeof(problem),
		       "it sent version %u, but %u is in use: an older one is not taken",
		       new.version, old);
	custom_refuse(custom, problem);
	return false;
}

static bool custom_try(struct custom *custom)
{
	char database[SIGNATURE_FILE_MAX + 1] = "", problem[WIRE_TEXT_MAX];
	int r;

	if (signature_is_container(custom->item->name) &&
	    !custom_check_container(custom, database, sizeof(database)))
		return false;
	r = run_trial(custom->run, custom->path, *database ? database : NULL, *database != '\0',
		      &custom->signatures, problem, sizeof(problem));
	if (r == -EBADMSG)
		custom_refuse(custom, problem);
	else if (r < 0)
		run_fail(custom->item, "%s", problem);
	return r == 0;
}

/* What came is what we have to be asked about next time. */
static void custom_remember(struct custom *custom)
{
	memcpy(custom->known->source, custom->item->source, sizeof(custom->known->source));
	memcpy(custom->known->etag, custom->reply.etag, sizeof(custom->known->etag));
	memcpy(custom->known->last_modified, custom->reply.last_modified,
	       sizeof(custom->known->last_modified));
}

static void custom_stage(struct custom *custom)
{
	const struct run *run = custom->run;
	struct wire_update_item *item = custom->item;
	char problem[WIRE_TEXT_MAX];
	int r = run->mirror_to
			? mirror_put(run, custom->path, item->name, problem, sizeof(problem))
			: store_put(run->store, custom->path, item->name, problem, sizeof(problem));

	if (r < 0) {
		run_fail(item, "%s", problem);
		return;
	}
	item->result = WIRE_UPDATE_UPDATED;
	item->version_after = custom->version;
	item->signatures_after = custom->signatures;
	custom_remember(custom);
}

static void custom_take(struct custom *custom)
{
	struct wire_update_item *item = custom->item;

	switch (custom->reply.result) {
	case TRANSFER_DONE:
		if (*custom->local && custom_is_same(custom)) {
			run_was_right(custom->source);
			custom_remember(custom);
			item->result = WIRE_UPDATE_UP_TO_DATE;
		} else if (custom_try(custom)) {
			run_was_right(custom->source);
			custom_stage(custom);
		}
		break;
	case TRANSFER_NOT_MODIFIED:
		item->result = WIRE_UPDATE_UP_TO_DATE;
		break;
	case TRANSFER_COOL_DOWN:
		item->result = WIRE_UPDATE_COOL_DOWN;
		item->until = custom->source->cool_until;
		(void)snprintf(item->text, sizeof(item->text), "%s", custom->reply.problem);
		break;
	case TRANSFER_LOCAL:
		run_fail_here(custom->run, item, &custom->reply);
		break;
	default:
		run_fail(item, "%s: %s", custom->source->url, custom->reply.problem);
	}
}

void custom_update(struct run *run, const char *url, struct wire_update_item *item)
{
	struct custom custom = {.run = run, .url = url, .item = item};
	int fd;

	(void)snprintf(item->name, sizeof(item->name), "%s", url_file_name(url));
	(void)url_display(url, item->source, sizeof(item->source));
	custom.source = state_source(run->state, item->source);
	custom.known = state_item(run->state, item->name, true);
	if (!custom.source || !custom.known) {
		run_fail(item, "out of memory");
		return;
	}
	custom_find_local(&custom);
	if (!source_may_ask(custom.source, run_now())) {
		item->result = WIRE_UPDATE_COOL_DOWN;
		item->until = custom.source->cool_until;
		(void)snprintf(item->text, sizeof(item->text), "%s", custom.source->problem);
		return;
	}
	fd = run_open_partial(run, item->name, custom.path, sizeof(custom.path), item);
	if (fd < 0)
		return;
	custom_download(&custom, fd);
	close(fd);
	custom_take(&custom);
	(void)unlink(custom.path); /* where it was not put elsewhere */
}
