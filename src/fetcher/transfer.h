/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * transfer: requests over HTTP and copies of local files, by libcurl, one at a time. It knows
 * nothing of signatures or of what a source may be asked; it bounds what comes, in bytes and in
 * time, and says what came.
 *
 * No request is repeated here, but for one that finds that the server has closed a connection which
 * was kept. No environment variable decides over proxies. Redirects are followed five times at
 * most, from https to https only, and never to a file. The process must ignore SIGPIPE.
 */
#include "../common/conf.h"

struct transfer;

/* Called several times a second while something comes: done bytes of total (0: not known). */
typedef void (*transfer_progress)(void *context, uint64_t done, uint64_t total);

enum transfer_result {
	TRANSFER_DONE,
	TRANSFER_NOT_MODIFIED,
	TRANSFER_NOT_FOUND, /* 404, 410; a local file that does not exist */
	TRANSFER_COOL_DOWN, /* 429, 403, 503 with Retry-After: the source wants to be left alone */
	TRANSFER_BROKEN,    /* no connection, or it ended before the end: what came is in fd */
	TRANSFER_REFUSED,   /* another answer, a loop of redirects, a certificate that is not right,
			       more than max_size bytes. With from and status 416: what is in fd
			       is not a beginning of what there is; where there is just as much,
			       that is DONE */
	TRANSFER_LOCAL,	    /* it is us: the disk is full, our certificate cannot be read, ... */
	TRANSFER_RESULT_COUNT
};

struct transfer_request {
	const char *url;
	int fd;		   /* where the body goes, from its offset 0; or behind from, see there.
			      Not touched before there is a body */
	uint64_t max_size; /* of all that is in fd in the end */
	uint64_t from;	   /* fd has so many bytes already: ask for those behind them. A server
			      that sends everything makes us begin again from 0, as a file: does */
	uint64_t first;	   /* without from: ask for the first so many bytes only, 0: all. A server
			      that sends more is cut off there, and that is TRANSFER_DONE */
	const char *if_range;	       /* with from: the ETag under which they came; NULL: none */
	const char *if_none_match;     /* etag of a reply; NULL: none */
	const char *if_modified_since; /* last_modified of a reply; NULL: none */
	/* Once the first look_at bytes are in fd (0: never) it is asked whether the rest is wanted;
	 * if not, it is cut off there, and that is DONE. */
	uint64_t look_at;
	bool (*look)(void *context);
	void *look_context;
	const char *user_agent; /* NULL: ours */
};

struct transfer_reply {
	enum transfer_result result;
	long status;	     /* of HTTP; 0: there was no answer, or a file: URL */
	uint64_t size;	     /* bytes in fd; from, where nothing came */
	int64_t retry_after; /* COOL_DOWN: seconds, as asked for in either form; -1: not said */
	char etag[256];	     /* strong ones only; empty: none. A file: has one too */
	char last_modified[64];
	char problem[512]; /* for people, without passwords; empty for DONE and NOT_MODIFIED */
};

/* transfer_new() uses what [signatures] of conf says of proxies, certificates, credentials and
 * speed; conf must live on. NULL: out of memory. transfer_free() takes NULL, returns NULL. */
struct transfer *transfer_new(const struct conf *conf, transfer_progress progress, void *context);
struct transfer *transfer_free(struct transfer *transfer);

/* transfer_get() sends one request and fills reply. */
void transfer_get(struct transfer *transfer, const struct transfer_request *request,
		  struct transfer_reply *reply);

/* What went over since transfer_new(): requests sent, redirects included, and bytes received, their
 * headers included. Copies of local files are neither. */
uint32_t transfer_requests(const struct transfer *transfer);
uint64_t transfer_bytes(const struct transfer *transfer);
