/* SPDX-License-Identifier: GPL-2.0-only */
#include "transfer.h"

#include "../common/clock.h"
#include "../common/url.h"

#include <config.h>
#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define REDIRECTS_MAX	  5L
#define CONNECT_S	  30L
#define HEAD_S		  60L	       /* for requests with first */
#define WHOLE_S		  (24 * 3600L) /* for the others: what is left comes next time */
#define SLOW_S		  60L	       /* no longer at less than SLOW_BYTES a second */
#define SLOW_BYTES	  1000
#define RATE_MIN	  1024 /* slower, its pauses would look as if nothing came */
#define PATIENCE_S	  900  /* from then on it must have come at PACE_MIN all in all */
#define PACE_MIN	  (32 * 1024)
#define COPY_SIZE	  (64 * 1024)
#define HEADERS_MAX	  (64 * 1024) /* of all answers to one request */
#define JUNK_MAX	  (64 * 1024) /* of a body that is not wanted, such as an error's page */
#define PROGRESS_EVERY_MS 200

struct transfer {
	const struct conf *conf;
	transfer_progress progress;
	void *context;
	CURL *curl;
	uint32_t requests;
	uint64_t bytes;

	/* The request under way. */
	const struct transfer_request *request;
	struct transfer_reply *reply;
	bool decided;	 /* reply says the result, whatever libcurl makes of it */
	bool begun;	 /* the body that was asked for is coming */
	bool looked;	 /* at how it begins */
	uint64_t offset; /* in fd, of the first byte that comes */
	uint64_t end;	 /* size in fd when all has come; UINT64_MAX: not known */
	size_t headers;
	int64_t began_ms;
	int64_t progress_ms; /* when it was told last */
	char error[CURL_ERROR_SIZE];
};

static const struct answer {
	long status;
	const char *text;
} answers[] = {
	{400, "Bad Request"},
	{401, "Unauthorized: a user and a password are wanted, see netrc-file"},
	{403, "Forbidden"},
	{404, "Not Found"},
	{407, "Proxy Authentication Required: a user and a password are wanted, see proxy"},
	{410, "Gone"},
	{416, "Range Not Satisfiable"},
	{429, "Too Many Requests"},
	{500, "Internal Server Error"},
	{502, "Bad Gateway"},
	{503, "Service Unavailable"},
	{504, "Gateway Timeout"},
};

/* Words of our own: what a server calls it may be anything. */
static const char *answer_text(long status)
{
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
		if (answers[i].status == status)
			return answers[i].text;
	return "is not an answer to this request";
}

/* These decide the result. They return false, for callers that stop with it. */

static bool transfer_succeed(struct transfer *transfer, enum transfer_result result)
{
	transfer->decided = true;
	transfer->reply->result = result;
	return false;
}

__attribute__((format(printf, 3, 4))) static bool
transfer_fail(struct transfer *transfer, enum transfer_result result, const char *format, ...)
{
	struct transfer_reply *reply = transfer->reply;
	char url[sizeof(reply->problem)];
	va_list arguments;
	size_t length;

	transfer->decided = true;
	reply->result = result;
	va_start(arguments, format);
	(void)vsnprintf(reply->problem, sizeof(reply->problem), format, arguments);
	va_end(arguments);
	length = strlen(reply->problem);
	(void)snprintf(reply->problem + length, sizeof(reply->problem) - length, " (%s)",
		       url_display(transfer->request->url, url, sizeof(url)));
	for (char *c = reply->problem; *c; c++)
		if (iscntrl((unsigned char)*c))
			*c = '?';
	return false;
}

/* Whether a text may be a header's value: nothing that could begin another header. */
static bool is_header_value(const char *text, size_t size)
{
	for (const char *c = text; *c; c++)
		if (*c < ' ' || *c > '~')
			return false;
	return *text && strlen(text) < size;
}

/* A header of the last answer; NULL: there is none. */
static const char *transfer_header(const struct transfer *transfer, const char *name)
{
	struct curl_header *header;

	return curl_easy_header(transfer->curl, name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK
		       ? header->value
		       : NULL;
}

static void transfer_copy_header(const struct transfer *transfer, const char *name, char *buffer,
				 size_t size)
{
	const char *value = transfer_header(transfer, name);

	if (value && is_header_value(value, size))
		(void)snprintf(buffer, size, "%s", value);
}

static long transfer_status(const struct transfer *transfer)
{
	long status = 0;

	(void)curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &status);
	return status;
}

static bool status_has_body(long status)
{
	return status == 200 || status == 206;
}

/* Only what was asked for, to its end, and of the same version of the file. */
static bool transfer_check_range(struct transfer *transfer, int64_t length)
{
	const struct transfer_request *request = transfer->request;
	const char *range = transfer_header(transfer, "Content-Range");
	const char *etag = transfer_header(transfer, "ETag");
	uint64_t first = 0, last = 0, total = 0, wanted;
	int n = range ? sscanf(range, "bytes %" SCNu64 "-%" SCNu64 "/%" SCNu64, &first, &last,
			       &total)
		      : 0;

	if (n < 3)
		total = request->first ? request->first : last + 1;
	wanted = request->first && request->first < total ? request->first : total;
	if (n < 2 || (!request->first && !request->from) || first != request->from ||
	    last < first || last + 1 != wanted ||
	    (length >= 0 && (uint64_t)length != last + 1 - first))
		return transfer_fail(transfer, TRANSFER_REFUSED,
				     "the server sends another part than the one asked for");
	if (request->if_range && etag && strcmp(etag, request->if_range) != 0)
		return transfer_fail(transfer, TRANSFER_REFUSED,
				     "the server goes on with another version of the file");
	transfer->end = last + 1;
	return true;
}

/* Makes ready for a body that is for offset and length bytes long (-1: not known). */
static bool transfer_begin_at(struct transfer *transfer, uint64_t offset, int64_t length)
{
	const struct transfer_request *request = transfer->request;

	if (length >= 0)
		transfer->end = offset + (uint64_t)length;
	if (!request->first && transfer->end != UINT64_MAX && transfer->end > request->max_size)
		return transfer_fail(transfer, TRANSFER_REFUSED,
				     "it has %" PRIu64 " bytes, and %" PRIu64 " are allowed",
				     transfer->end, request->max_size);
	if (ftruncate(request->fd, (off_t)offset) < 0)
		return transfer_fail(transfer, TRANSFER_LOCAL, "cannot be written: %s",
				     strerror(errno));
	transfer->reply->size = transfer->offset = offset;
	transfer->begun = true;
	return true;
}

static bool transfer_begin(struct transfer *transfer, long status)
{
	curl_off_t length = -1;

	(void)curl_easy_getinfo(transfer->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	if (status == 206 && !transfer_check_range(transfer, length))
		return false;
	return transfer_begin_at(transfer, status == 206 ? transfer->request->from : 0, length);
}

static bool transfer_write(struct transfer *transfer, const char *data, size_t size)
{
	const struct transfer_request *request = transfer->request;
	struct transfer_reply *reply = transfer->reply;

	while (size) {
		ssize_t n = pwrite(request->fd, data, size, (off_t)reply->size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return transfer_fail(transfer, TRANSFER_LOCAL, "cannot be written: %s",
					     strerror(n < 0 ? errno : ENOSPC));
		data += n;
		size -= (size_t)n;
		reply->size += (uint64_t)n;
	}
	return true;
}

/* Whether what has begun to come is worth going on with. */
static bool transfer_look(struct transfer *transfer)
{
	const struct transfer_request *request = transfer->request;

	if (!request->look_at || transfer->looked || transfer->reply->size < request->look_at)
		return true;
	transfer->looked = true;
	return request->look(request->look_context) || transfer_succeed(transfer, TRANSFER_DONE);
}

/* Takes in a piece of the body. Returns whether more is wanted. */
static bool transfer_store(struct transfer *transfer, const char *data, size_t size)
{
	const struct transfer_request *request = transfer->request;
	uint64_t limit = request->first ? request->first : request->max_size;
	uint64_t room = limit - transfer->reply->size;

	if (!transfer_write(transfer, data, size < room ? size : room) || !transfer_look(transfer))
		return false;
	if (request->first && transfer->reply->size == limit &&
	    (size > room || transfer->end != limit))
		return transfer_succeed(transfer, TRANSFER_DONE);
	if (size > room)
		return transfer_fail(transfer, TRANSFER_REFUSED,
				     "it has more than the %" PRIu64 " bytes that are allowed",
				     limit);
	return true;
}

static int64_t transfer_now_ms(void)
{
	return (int64_t)(clock_monotonic_us() / CLOCK_US_PER_MS);
}

/* What we ask for no faster than, bytes a second; 0: as fast as it comes. */
static uint64_t transfer_rate(const struct transfer *transfer)
{
	uint64_t limit = transfer->request->first ? 0 : transfer->conf->rate_limit;

	return limit && limit < RATE_MIN ? RATE_MIN : limit;
}

/* A server that just keeps it from being called slow must not keep everybody waiting. */
static bool transfer_is_dragging(const struct transfer *transfer)
{
	int64_t seconds = (transfer_now_ms() - transfer->began_ms) / 1000;
	uint64_t rate = transfer_rate(transfer) / 2;
	uint64_t pace = rate && rate < PACE_MIN ? rate : PACE_MIN;

	return seconds > PATIENCE_S &&
	       (transfer->reply->size - transfer->offset) / (uint64_t)seconds < pace;
}

static void transfer_tell(struct transfer *transfer)
{
	int64_t now_ms = transfer_now_ms();

	if (!transfer->progress || !transfer->begun ||
	    now_ms - transfer->progress_ms < PROGRESS_EVERY_MS)
		return;
	transfer->progress_ms = now_ms;
	transfer->progress(transfer->context, transfer->reply->size,
			   transfer->end == UINT64_MAX ? 0 : transfer->end);
}

static size_t on_header(char *data, size_t one, size_t size, void *context)
{
	struct transfer *transfer = context;

	transfer->bytes += size;
	transfer->headers += size;
	if (transfer->headers <= HEADERS_MAX)
		return size;
	(void)transfer_fail(transfer, TRANSFER_REFUSED,
			    "the server sends headers of more than %d bytes", HEADERS_MAX);
	return 0;
}

static size_t on_body(char *data, size_t one, size_t size, void *context)
{
	struct transfer *transfer = context;
	long status = transfer_status(transfer);

	transfer->bytes += size;
	if (!status_has_body(status))
		return size; /* on_progress() bounds it */
	if (!transfer->begun && !transfer_begin(transfer, status))
		return 0;
	return transfer_store(transfer, data, size) ? size : 0;
}

/* Sees the bodies of redirects too, which on_body() is not given. */
static int on_progress(void *context, curl_off_t total, curl_off_t now, curl_off_t up_total,
		       curl_off_t up_now)
{
	struct transfer *transfer = context;
	long status = transfer_status(transfer);

	transfer_tell(transfer);
	if (transfer->begun && transfer_is_dragging(transfer)) {
		(void)transfer_fail(transfer, TRANSFER_BROKEN, "it comes too slowly");
		return 1;
	}
	if (status_has_body(status) || now <= JUNK_MAX)
		return 0;
	if (status < 400)
		(void)transfer_fail(transfer, TRANSFER_REFUSED,
				    "the server sends more than %d bytes with a %ld", JUNK_MAX,
				    status);
	return 1;
}

static bool headers_add(struct curl_slist **headers, const char *name, const char *value)
{
	char header[512];
	struct curl_slist *longer;

	if (!value || !is_header_value(value, sizeof(header) / 2))
		return true;
	(void)snprintf(header, sizeof(header), "%s: %s", name, value);
	longer = curl_slist_append(*headers, header);
	if (longer)
		*headers = longer;
	return longer;
}

#define SET(option, value) (curl_easy_setopt(transfer->curl, CURLOPT_##option, value) == CURLE_OK)

static bool transfer_set_request(struct transfer *transfer, struct curl_slist **headers)
{
	const struct transfer_request *request = transfer->request;
	char range[64] = "";

	if (request->first)
		(void)snprintf(range, sizeof(range), "0-%" PRIu64, request->first - 1);
	else if (request->from)
		(void)snprintf(range, sizeof(range), "%" PRIu64 "-", request->from);
	if ((request->from && !headers_add(headers, "If-Range", request->if_range)) ||
	    !headers_add(headers, "If-None-Match", request->if_none_match) ||
	    !headers_add(headers, "If-Modified-Since", request->if_modified_since))
		return false;
	return SET(URL, request->url) && SET(HTTPHEADER, *headers) &&
	       SET(RANGE, *range ? range : NULL) &&
	       SET(USERAGENT,
		   request->user_agent ? request->user_agent : "holdfast/" HOLDFAST_VERSION) &&
	       SET(HEADERFUNCTION, on_header) && SET(HEADERDATA, transfer) &&
	       SET(WRITEFUNCTION, on_body) && SET(WRITEDATA, transfer) &&
	       SET(XFERINFOFUNCTION, on_progress) && SET(XFERINFODATA, transfer) &&
	       SET(NOPROGRESS, 0L) && SET(ERRORBUFFER, transfer->error);
}

/* Where a request may lead, and for how long. */
static bool transfer_set_bounds(struct transfer *transfer)
{
	const struct transfer_request *request = transfer->request;
	bool is_https = !strncasecmp(request->url, "https:", 6);
	curl_off_t rate = (curl_off_t)transfer_rate(transfer);
	long slow = rate && rate / 4 < SLOW_BYTES ? (long)rate / 4 : SLOW_BYTES;

	return SET(PROTOCOLS_STR, "http,https") &&
	       SET(REDIR_PROTOCOLS_STR, is_https ? "https" : "http,https") &&
	       SET(FOLLOWLOCATION, 1L) && SET(MAXREDIRS, REDIRECTS_MAX) &&
	       SET(CONNECTTIMEOUT, CONNECT_S) && SET(TIMEOUT, request->first ? HEAD_S : WHOLE_S) &&
	       SET(LOW_SPEED_LIMIT, slow) && SET(LOW_SPEED_TIME, SLOW_S) &&
	       SET(MAX_RECV_SPEED_LARGE, rate) && SET(NOSIGNAL, 1L);
}

/* What the configuration says of the way there. An empty proxy and an empty list of exceptions keep
 * environment variables from deciding. */
static bool transfer_set_way(struct transfer *transfer)
{
	const struct conf *conf = transfer->conf;

	if (conf->ca_file && (!SET(CAINFO, conf->ca_file) || !SET(CAPATH, NULL) ||
			      !SET(PROXY_CAINFO, conf->ca_file) || !SET(PROXY_CAPATH, NULL)))
		return false;
	/* Without a file of its own, the key is beside the certificate. */
	if (!SET(SSLCERT, conf->client_certificate) || !SET(SSLKEY, conf->client_key))
		return false;
	if (conf->netrc_file &&
	    (!SET(NETRC, (long)CURL_NETRC_OPTIONAL) || !SET(NETRC_FILE, conf->netrc_file)))
		return false;
	return SET(PROXY, conf->proxy ? conf->proxy : "") && SET(NOPROXY, "");
}

static int64_t parse_retry_after(const char *text)
{
	time_t date;

	if (!text)
		return -1;
	if (isdigit((unsigned char)*text))
		return strtoll(text, NULL, 10);
	date = curl_getdate(text, NULL);
	if (date == -1)
		return -1;
	return date > time(NULL) ? date - time(NULL) : 0;
}

static enum transfer_result result_of_code(CURLcode code)
{
	switch (code) {
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_URL_MALFORMAT:
	case CURLE_TOO_MANY_REDIRECTS:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_BAD_CONTENT_ENCODING:
		return TRANSFER_REFUSED;
	case CURLE_OUT_OF_MEMORY:
	case CURLE_FAILED_INIT:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CACERT_BADFILE:
		return TRANSFER_LOCAL;
	default:
		return TRANSFER_BROKEN;
	}
}

/* The range begins behind the end: there is no more. */
static bool transfer_is_complete(const struct transfer *transfer)
{
	const char *range = transfer_header(transfer, "Content-Range");
	uint64_t total;

	return transfer->request->from && range && sscanf(range, "bytes */%" SCNu64, &total) == 1 &&
	       total == transfer->request->from;
}

static void transfer_decide_by_status(struct transfer *transfer, long status)
{
	const struct transfer_request *request = transfer->request;
	int64_t retry_after = parse_retry_after(transfer_header(transfer, "Retry-After"));
	enum transfer_result result = TRANSFER_REFUSED;

	if (status == 304 && (request->if_none_match || request->if_modified_since))
		result = TRANSFER_NOT_MODIFIED;
	else if (status == 416 && transfer_is_complete(transfer))
		result = TRANSFER_DONE;
	else if (status == 404 || status == 410)
		result = TRANSFER_NOT_FOUND;
	else if (status == 429 || status == 403 || (status == 503 && retry_after >= 0))
		result = TRANSFER_COOL_DOWN;
	if (result == TRANSFER_COOL_DOWN)
		transfer->reply->retry_after = retry_after;
	if (result == TRANSFER_DONE || result == TRANSFER_NOT_MODIFIED)
		(void)transfer_succeed(transfer, result);
	else
		(void)transfer_fail(transfer, result, "%ld %s", status, answer_text(status));
}

static void transfer_finish(struct transfer *transfer, CURLcode code)
{
	struct transfer_reply *reply = transfer->reply;
	long status = transfer_status(transfer);

	reply->status = status;
	if (status_has_body(status) || status == 304) {
		transfer_copy_header(transfer, "ETag", reply->etag, sizeof(reply->etag));
		transfer_copy_header(transfer, "Last-Modified", reply->last_modified,
				     sizeof(reply->last_modified));
		if (*reply->etag != '"')
			*reply->etag = '\0';
	}
	if (transfer->decided)
		return;
	/* What the server said counts, however its page of words ended. */
	if (status >= 400 || (code == CURLE_OK && !status_has_body(status)))
		transfer_decide_by_status(transfer, status);
	else if (code != CURLE_OK)
		(void)transfer_fail(transfer, result_of_code(code), "%s",
				    *transfer->error ? transfer->error : curl_easy_strerror(code));
	else if (!transfer->begun && !transfer_begin(transfer, status))
		return;
	else if (transfer->end != UINT64_MAX && reply->size != transfer->end)
		(void)transfer_fail(transfer, TRANSFER_BROKEN,
				    "it ended after %" PRIu64 " of %" PRIu64 " bytes", reply->size,
				    transfer->end);
	else
		(void)transfer_succeed(transfer, TRANSFER_DONE);
}

static void transfer_ask(struct transfer *transfer)
{
	const char *netrc_file = transfer->conf->netrc_file;
	struct curl_slist *headers = NULL;
	long redirects = 0, sent = 0;

	/* libcurl goes on without one that it cannot read. */
	if (netrc_file && access(netrc_file, R_OK) < 0) {
		(void)transfer_fail(transfer, TRANSFER_LOCAL, "cannot read the netrc-file %s: %s",
				    netrc_file, strerror(errno));
		return;
	}

	curl_easy_reset(transfer->curl); /* connections stay */
	if (transfer_set_request(transfer, &headers) && transfer_set_bounds(transfer) &&
	    transfer_set_way(transfer)) {
		transfer_finish(transfer, curl_easy_perform(transfer->curl));
		(void)curl_easy_getinfo(transfer->curl, CURLINFO_REDIRECT_COUNT, &redirects);
		(void)curl_easy_getinfo(transfer->curl, CURLINFO_REQUEST_SIZE, &sent);
		if (sent)
			transfer->requests += 1 + (uint32_t)redirects;
	} else {
		(void)transfer_fail(transfer, TRANSFER_LOCAL, "libcurl cannot be set up for it");
	}
	/* It does not live longer than the list. */
	(void)SET(HTTPHEADER, NULL);
	curl_slist_free_all(headers);
}

/* Opens what a file: URL names. It must not hang in a FIFO, nor wake a device. */
static int file_open(const char *url)
{
	CURLU *parts = curl_url();
	char *path = NULL;
	int fd = -1, error = EINVAL;

	if (parts && curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
	    curl_url_get(parts, CURLUPART_PATH, &path, CURLU_URLDECODE) == CURLUE_OK) {
		fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		error = errno;
	}
	curl_free(path);
	curl_url_cleanup(parts);
	return fd < 0 ? -error : fd;
}

/* What an ETag is for a server: another one whenever the file may be another. */
static void file_describe(const struct stat *status, struct transfer_reply *reply)
{
	struct tm tm;

	(void)snprintf(reply->etag, sizeof(reply->etag),
		       "\"%" PRIx64 "-%" PRIx64 "-%" PRIx64 ".%lx\"", (uint64_t)status->st_ino,
		       (uint64_t)status->st_size, (uint64_t)status->st_ctim.tv_sec,
		       status->st_ctim.tv_nsec);
	if (gmtime_r(&status->st_mtim.tv_sec, &tm))
		(void)strftime(reply->last_modified, sizeof(reply->last_modified),
			       "%a, %d %b %Y %H:%M:%S GMT", &tm);
}

static bool file_is_known(const struct transfer *transfer)
{
	const struct transfer_request *request = transfer->request;
	const struct transfer_reply *reply = transfer->reply;

	if (request->if_none_match)
		return !strcmp(request->if_none_match, reply->etag);
	return request->if_modified_since &&
	       !strcmp(request->if_modified_since, reply->last_modified);
}

static void file_read(struct transfer *transfer, int fd, const struct stat *before)
{
	static char buffer[COPY_SIZE];
	struct stat after;
	ssize_t n;

	if (!transfer_begin_at(transfer, 0, before->st_size))
		return;
	while ((n = read(fd, buffer, sizeof(buffer))) > 0) {
		if (!transfer_store(transfer, buffer, (size_t)n))
			return;
		transfer_tell(transfer);
	}
	if (n < 0 || fstat(fd, &after) < 0)
		(void)transfer_fail(transfer, TRANSFER_BROKEN, "%s", strerror(errno));
	else if (transfer->reply->size != transfer->end ||
		 after.st_mtim.tv_sec != before->st_mtim.tv_sec ||
		 after.st_mtim.tv_nsec != before->st_mtim.tv_nsec)
		(void)transfer_fail(transfer, TRANSFER_BROKEN, "it was changed meanwhile");
	else
		(void)transfer_succeed(transfer, TRANSFER_DONE);
}

static void transfer_copy(struct transfer *transfer)
{
	int fd = file_open(transfer->request->url);
	struct stat status;

	if (fd < 0) {
		(void)transfer_fail(transfer,
				    fd == -ENOENT || fd == -ENOTDIR ? TRANSFER_NOT_FOUND
								    : TRANSFER_REFUSED,
				    "%s", strerror(-fd));
		return;
	}
	if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode)) {
		(void)transfer_fail(transfer, TRANSFER_REFUSED, "this is not a regular file");
	} else {
		file_describe(&status, transfer->reply);
		if (file_is_known(transfer))
			(void)transfer_succeed(transfer, TRANSFER_NOT_MODIFIED);
		else
			file_read(transfer, fd, &status);
	}
	close(fd);
}

struct transfer *transfer_new(const struct conf *conf, transfer_progress progress, void *context)
{
	struct transfer *transfer = calloc(1, sizeof(*transfer));

	if (!transfer)
		return NULL;
	*transfer = (struct transfer){.conf = conf, .progress = progress, .context = context};
	if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
		transfer->curl = curl_easy_init();
	return transfer->curl ? transfer : transfer_free(transfer);
}

struct transfer *transfer_free(struct transfer *transfer)
{
	if (transfer) {
		curl_easy_cleanup(transfer->curl);
		curl_global_cleanup();
	}
	free(transfer);
	return NULL;
}

void transfer_get(struct transfer *transfer, const struct transfer_request *request,
		  struct transfer_reply *reply)
{
	*reply = (struct transfer_reply){.size = request->from, .retry_after = -1};
	transfer->request = request;
	transfer->reply = reply;
	transfer->decided = transfer->begun = transfer->looked = false;
	transfer->end = UINT64_MAX;
	transfer->headers = 0;
	transfer->began_ms = transfer_now_ms();
	*transfer->error = '\0';
	if (!strncasecmp(request->url, "file:", 5))
		transfer_copy(transfer);
	else
		transfer_ask(transfer);
}

uint32_t transfer_requests(const struct transfer *transfer)
{
	return transfer->requests;
}

uint64_t transfer_bytes(const struct transfer *transfer)
{
	return transfer->bytes;
}
