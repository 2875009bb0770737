/* SPDX-License-Identifier: GPL-2.0-only */
/* Against a real server on loopback, tests/system/mirror.py, which does as each test says. */
#include "../../../src/fetcher/transfer.h"
#include "../support/conf_fixture.h"
#include "../support/scratch.h"

#include <config.h>
#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#define SIZE	 20000
#define MAX_SIZE (1024 * 1024)

struct server {
	pid_t pid;
	FILE *in, *out;
	char url[64];
};

static struct server http, https, strict; /* strict: wants a certificate, on ::1 */
static char content[SIZE];
static int body; /* where bodies go in each test */
static struct conf *conf;
static struct transfer *transfer;
static struct transfer_reply reply;

/* What libcurl was told; hurry makes its limits of a minute and more one second, in_full_speed
 * keeps it from slowing anything down. */
static bool hurry, in_full_speed;
static int64_t told[CURLOPT_LASTENTRY % 10000 + 1000];

CURLcode __real_curl_easy_setopt(CURL *curl, CURLoption option, ...);
CURLcode __wrap_curl_easy_setopt(CURL *curl, CURLoption option, ...);
CURLcode __wrap_curl_easy_setopt(CURL *curl, CURLoption option, ...)
{
	va_list arguments;
	CURLcode code;

	va_start(arguments, option);
	if (option < CURLOPTTYPE_OBJECTPOINT) {
		long value = va_arg(arguments, long);

		told[option % 10000] = value;
		if (hurry && (option == CURLOPT_LOW_SPEED_TIME || option == CURLOPT_TIMEOUT))
			value = option == CURLOPT_TIMEOUT && value > 60 ? value : 1;
		code = __real_curl_easy_setopt(curl, option, value);
	} else if (option >= CURLOPTTYPE_OFF_T && option < CURLOPTTYPE_BLOB) {
		told[option % 10000] = va_arg(arguments, curl_off_t);
		code = __real_curl_easy_setopt(
			curl, option, in_full_speed ? 0 : (curl_off_t)told[option % 10000]);
	} else {
		code = __real_curl_easy_setopt(curl, option, va_arg(arguments, void *));
	}
	va_end(arguments);
	return code;
}

/* Once so much has come, it is a quarter of an hour later; with on_told(), which until then is told
 * of every piece, as each look at the clock takes a while. */
static uint64_t later_at;
static uint64_t later_ms;

int __real_clock_gettime(clockid_t clock, struct timespec *time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
	int r = __real_clock_gettime(clock, time);

	later_ms += later_at ? 100 : 0;
	time->tv_sec += (time_t)(later_ms / 1000);
	return r;
}

#define TOLD(option) told[CURLOPT_##option % 10000]

static void server_start(struct server *server, const char *script, const char *host)
{
	int in[2], out[2];
	char line[64];

	scratch_write("script.json", script, strlen(script));
	assert_int_equal(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC), 0);
	server->pid = fork();
	if (!server->pid) {
		(void)dup2(in[0], STDIN_FILENO);
		(void)dup2(out[1], STDOUT_FILENO);
		(void)execlp("python3", "python3", getenv("HOLDFAST_TEST_MIRROR"), "script.json",
			     NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	server->in = fdopen(in[1], "w");
	server->out = fdopen(out[0], "r");
	assert_non_null(fgets(line, sizeof(line), server->out));
	(void)snprintf(server->url, sizeof(server->url), "%s:%d", host, atoi(line));
}

static json_t *server_command(struct server *server, const char *command)
{
	json_t *answer;

	assert_true(fprintf(server->in, "%s\n", command) > 0);
	assert_int_equal(fflush(server->in), 0);
	answer = json_loadf(server->out, JSON_DISABLE_EOF_CHECK, NULL);
	assert_non_null(answer);
	return answer;
}

/* The rules from now on, a list in JSON; with ' in the place of " */
static void rules(struct server *server, const char *text)
{
	char command[4096];

	(void)snprintf(command, sizeof(command), "{'rules': %s}", text);
	for (char *c = command; *c; c++)
		if (*c == '\'')
			*c = '"';
	json_decref(server_command(server, command));
}

static size_t server_count(struct server *server)
{
	json_t *requests = server_command(server, "{\"requests\": true}");
	size_t n = json_array_size(requests);

	json_decref(requests);
	return n;
}

/* What the server saw in the request of this number; a negative one counts from the end. */
static const char *saw(struct server *server, int number, const char *key)
{
	static char text[256];
	json_t *requests = server_command(server, "{\"requests\": true}");
	size_t i = (size_t)(number < 0 ? (int)json_array_size(requests) + number : number);
	const json_t *value = json_object_get(json_array_get(requests, i), key);

	if (json_is_integer(value))
		(void)snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT,
			       json_integer_value(value));
	else
		(void)snprintf(text, sizeof(text), "%s",
			       json_is_string(value) ? json_string_value(value) : "none");
	json_decref(requests);
	return text;
}

static int server_stop(struct server *server)
{
	int status = -1;

	if (!server->out)
		return -1;
	(void)fclose(server->in);
	(void)fclose(server->out);
	return waitpid(server->pid, &status, 0) == server->pid ? status : -1;
}

static int group_setup(void **state)
{
	char command[PATH_MAX];

	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN);
	/* None of these may decide anything. */
	if (!getenv("HOLDFAST_TEST_MIRROR") || setenv("http_proxy", "http://127.0.0.1:1", 1) < 0 ||
	    setenv("no_proxy", "*", 1) < 0 || setenv("https_proxy", "http://127.0.0.1:1", 1) < 0 ||
	    scratch_setup(state) < 0)
		return -1;
	(void)snprintf(command, sizeof(command), "python3 '%s' --certificates .",
		       getenv("HOLDFAST_TEST_MIRROR"));
	if (system(command) != 0)
		return -1;
	for (size_t i = 0; i < SIZE; i++)
		content[i] = (char)(i * 7 + i / 256);
	if (mkdir("d", 0755) < 0)
		return -1;
	scratch_write("d/a.bin", content, SIZE);
	scratch_write("d/small", content, 100);
	scratch_write("d/empty", "", 0);
	server_start(&http, "{\"directory\": \"d\"}", "http://127.0.0.1");
	server_start(&https,
		     "{\"directory\": \"d\", \"tls\": {\"certificate\": \"server.pem\","
		     " \"key\": \"server.key\"}}",
		     "https://localhost");
	server_start(&strict,
		     "{\"directory\": \"d\", \"host\": \"::1\", \"tls\": {\"certificate\":"
		     " \"server.pem\", \"key\": \"server.key\", \"client_ca\": \"ca.pem\"}}",
		     "https://[::1]");
	return 0;
}

static int group_teardown(void **state)
{
	return server_stop(&http) | server_stop(&https) | server_stop(&strict) |
	       scratch_teardown(state);
}

static unsigned n_told;
static uint64_t last_done, last_total;

static void on_told(void *context, uint64_t done, uint64_t total)
{
	assert_ptr_equal(context, content);
	assert_true(!total || done <= total);
	n_told++;
	last_done = done;
	last_total = total;
	if (later_at && done >= later_at) {
		later_ms += 901000;
		later_at = 0;
	}
}

static int setup(void **state)
{
	hurry = in_full_speed = false;
	later_at = 0;
	later_ms = 0;
	n_told = 0;
	conf = conf_new();
	transfer = conf ? transfer_new(conf, on_told, content) : NULL;
	body = open("body", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	rules(&http, "[]");
	rules(&https, "[]");
	return transfer && body >= 0 ? 0 : -1;
}

static int teardown(void **state)
{
	transfer = transfer_free(transfer);
	conf = conf_free(conf);
	return close(body);
}

static void get_url(const char *url, struct transfer_request request)
{
	request.url = url;
	request.fd = body;
	if (!request.max_size)
		request.max_size = MAX_SIZE;
	transfer_get(transfer, &request, &reply);
}

#define GET_FROM(server, path, ...)                                                                \
	do {                                                                                       \
		char get_url_[PATH_MAX];                                                           \
		(void)snprintf(get_url_, sizeof(get_url_), "%s%s", (server)->url, path);           \
		get_url(get_url_, (struct transfer_request){__VA_ARGS__});                         \
	} while (0)

#define GET(...) GET_FROM(&http, "/a.bin", __VA_ARGS__)

static const char *const names[] = {"DONE",   "NOT_MODIFIED", "NOT_FOUND", "COOL_DOWN",
				    "BROKEN", "REFUSED",      "LOCAL"};

static void assert_result_at(enum transfer_result expected, int line)
{
	bool is_well = expected == TRANSFER_DONE || expected == TRANSFER_NOT_MODIFIED;

	if (reply.result != expected)
		fail_msg("line %d: %s, not %s: status %ld, %s", line, names[reply.result],
			 names[expected], reply.status, reply.problem);
	if (is_well != !*reply.problem)
		fail_msg("line %d: the problem is \"%s\"", line, reply.problem);
}

#define assert_result(expected) assert_result_at(expected, __LINE__)

/* fd has these bytes and no more. */
static void assert_body(const char *expected, size_t size)
{
	char found[SIZE + 1];

	assert_int_equal(reply.size, size);
	assert_int_equal(pread(body, found, sizeof(found), 0), size);
	assert_memory_equal(found, expected, size);
}

static void fill_body(const char *bytes, size_t size)
{
	assert_int_equal(ftruncate(body, 0), 0);
	assert_int_equal(pwrite(body, bytes, size, 0), size);
}

static void set_path(const char *key, const char *name)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/%s", scratch, name);
	conf_fixture_set(conf, "signatures", key, path);
}

static void test_whole_file(void **state)
{
	GET();
	assert_result(TRANSFER_DONE);
	assert_int_equal(reply.status, 200);
	assert_body(content, SIZE);
	assert_int_equal(strlen(reply.etag), 18);
	assert_non_null(strstr(reply.last_modified, " GMT"));
	assert_int_equal(transfer_requests(transfer), 1);
	assert_in_range(transfer_bytes(transfer), SIZE + 50, SIZE + 1000);
	assert_string_equal(saw(&http, 0, "range"), "none");
	assert_string_equal(saw(&http, 0, "user_agent"), "holdfast/" HOLDFAST_VERSION);
	assert_true(n_told > 0);
	assert_int_equal(last_total, SIZE);
	GET(.user_agent = "ClamAV/1.4.6");
	assert_string_equal(saw(&http, 1, "user_agent"), "ClamAV/1.4.6");
	assert_int_equal(transfer_requests(transfer), 2);
}

static void test_empty_file(void **state)
{
	fill_body(content, 500);
	GET_FROM(&http, "/empty");
	assert_result(TRANSFER_DONE);
	assert_body("", 0);
}

static void test_head(void **state)
{
	GET(.first = 512);
	assert_result(TRANSFER_DONE);
	assert_body(content, 512);
	assert_int_equal(reply.status, 206);
	assert_string_equal(saw(&http, 0, "range"), "bytes=0-511");
	assert_string_equal(saw(&http, 0, "sent"), "512");
	GET_FROM(&http, "/small", .first = 512);
	assert_result(TRANSFER_DONE);
	assert_body(content, 100);
}

static void test_head_of_server_without_ranges(void **state)
{
	rules(&http, "[{'body': {'size': 100000000}, 'ignore_range': true}]");
	GET(.first = 512);
	assert_result(TRANSFER_DONE);
	assert_int_equal(reply.size, 512);
	assert_int_equal(lseek(body, 0, SEEK_END), 512);
	assert_true(atoll(saw(&http, 0, "sent")) < 100000000);
	rules(&http, "[{'endless': true}]");
	GET(.first = 512);
	assert_result(TRANSFER_DONE);
	assert_int_equal(reply.size, 512);
	rules(&http, "[{'endless': true, 'ignore_range': true}]");
	GET(.first = 512);
	assert_result(TRANSFER_DONE);
	assert_int_equal(reply.size, 512);
	/* The rest does not come where it has all there is, or not for long. */
	rules(&http, "[{'ignore_range': true}]");
	GET_FROM(&http, "/small", .first = 512);
	assert_result(TRANSFER_DONE);
	assert_body(content, 100);
	rules(&http, "[{'ignore_range': true, 'stall': 512}]");
	GET(.first = 512);
	assert_result(TRANSFER_DONE);
	assert_body(content, 512);
	rules(&http, "[{'truncate': 300}]");
	GET(.first = 512);
	assert_result(TRANSFER_BROKEN);
	assert_body(content, 300);
}

static void test_broken_and_resumed(void **state)
{
	char etag[256];

	rules(&http, "[{'nth': 1, 'truncate': 7000}]");
	GET();
	assert_result(TRANSFER_BROKEN);
	assert_body(content, 7000);
	(void)snprintf(etag, sizeof(etag), "%s", reply.etag);
	assert_true(*etag);
	GET(.from = 7000, .if_range = etag);
	assert_result(TRANSFER_DONE);
	assert_int_equal(reply.status, 206);
	assert_body(content, SIZE);
	assert_string_equal(saw(&http, 1, "range"), "bytes=7000-");
	assert_string_equal(saw(&http, 1, "if_range"), etag);
	assert_string_equal(saw(&http, 1, "sent"), "13000");
}

static void test_resumed_behind_more_than_was_counted(void **state)
{
	fill_body(content, 9000);
	GET(.from = 7000);
	assert_result(TRANSFER_DONE);
	assert_body(content, SIZE);
	assert_string_equal(saw(&http, 0, "if_range"), "none");
	assert_true(last_total == 0 || last_total == SIZE);
}

static void test_resumed_of_another_version(void **state)
{
	fill_body("old old old", 11);
	GET_FROM(&http, "/small", .from = 11, .if_range = "\"old\"");
	assert_result(TRANSFER_DONE);
	assert_int_equal(reply.status, 200);
	assert_body(content, 100);
	/* one that is longer than the new one, and an empty new one */
	fill_body(content, 5000);
	rules(&http, "[{'ignore_range': true}]");
	GET_FROM(&http, "/small", .from = 5000);
	assert_result(TRANSFER_DONE);
	assert_body(content, 100);
	fill_body(content, 5000);
	GET_FROM(&http, "/empty", .from = 5000);
	assert_result(TRANSFER_DONE);
	assert_body("", 0);
}

static void test_resume_broken_again(void **state)
{
	fill_body(content, 1000);
	rules(&http, "[{'nth': 1, 'truncate': 500}, {'nth': 1, 'close': true}]");
	GET(.from = 1000);
	assert_result(TRANSFER_BROKEN);
	assert_body(content, 1500);
	GET(.from = 1500);
	assert_result(TRANSFER_BROKEN);
	assert_int_equal(reply.status, 0);
	assert_body(content, 1500);
}

static void test_wrong_ranges(void **state)
{
	static const char *const ranges[] = {"'bytes 99-19999/20000'",
					     "'bytes 101-19999/20000'",
					     "'bytes 0-19899/19900'",
					     "'bytes 100-19998/20000'",
					     "'bytes 100-20000/20001'",
					     "'bytes 100-19999/30000'",
					     "'bytes 100-'",
					     "'bytes 100-99/100'",
					     "'items 100-19999/20000'",
					     "'bytes */20000'",
					     "'bytes 100-99999999999999999999999/20000'",
					     "null"};
	char rule[256];

	for (size_t i = 0; i < N_ELEMENTS(ranges); i++) {
		fill_body(content, 100);
		(void)snprintf(rule, sizeof(rule), "[{'headers': {'Content-Range': %s}}]",
			       ranges[i]);
		rules(&http, rule);
		GET(.from = 100);
		assert_result(TRANSFER_REFUSED);
		assert_body(content, 100);
	}
	rules(&http, "[{'headers': {'Content-Range': 'bytes 100-19999/*'}}]");
	GET(.from = 100);
	assert_result(TRANSFER_DONE);
	fill_body(content, 100);
	rules(&http, "[{'status': 206, 'body': '', 'headers': "
		     "{'Content-Range': 'bytes 100-99/100'}}]");
	GET(.from = 100);
	assert_result(TRANSFER_REFUSED);
	/* A range without a length says where its end is. */
	rules(&http, "[{'nth': 1, 'truncate': 50, 'headers': {'Content-Length': null}}, "
		     "{'truncate': 19850, 'headers': {'Content-Length': null}}]");
	GET(.from = 100);
	assert_result(TRANSFER_BROKEN);
	assert_body(content, 150);
	GET(.from = 150);
	assert_result(TRANSFER_DONE);
	assert_body(content, SIZE);
	/* a head that is not one, or not all of it */
	rules(&http, "[{'headers': {'Content-Range': 'bytes 512-1023/20000'}}]");
	GET(.first = 512);
	assert_result(TRANSFER_REFUSED);
	rules(&http, "[{'status': 206, 'body': '0123456789', 'headers': "
		     "{'Content-Range': 'bytes 0-9/20000'}}]");
	GET(.first = 512);
	assert_result(TRANSFER_REFUSED);
	/* a part where none was asked for */
	rules(&http, "[{'status': 206, 'body': '0123456789', 'headers': "
		     "{'Content-Range': 'bytes 0-9/10'}}]");
	GET();
	assert_result(TRANSFER_REFUSED);
	rules(&http, "[{'status': 206, 'body': ''}]");
	GET();
	assert_result(TRANSFER_REFUSED);
}

static void test_rest_of_another_version(void **state)
{
	fill_body(content, 100);
	rules(&http, "[{'status': 206, 'body': '0123456789', 'headers': "
		     "{'Content-Range': 'bytes 100-109/110', 'ETag': '\\u0022new\\u0022'}}]");
	GET(.from = 100, .if_range = "\"old\"");
	assert_result(TRANSFER_REFUSED);
	assert_body(content, 100);
	GET(.from = 100, .if_range = "\"new\"");
	assert_result(TRANSFER_DONE);
	assert_int_equal(reply.size, 110);
}

static void test_resume_of_what_is_complete(void **state)
{
	char etag[256];

	GET();
	(void)snprintf(etag, sizeof(etag), "%s", reply.etag);
	GET(.from = SIZE, .if_range = etag);
	assert_result(TRANSFER_DONE);
	assert_int_equal(reply.status, 416);
	assert_body(content, SIZE);
	/* Whoever has no ETag can see for himself whether it is what he wants. */
	GET(.from = SIZE);
	assert_result(TRANSFER_DONE);
	assert_int_equal(reply.status, 416);
	assert_body(content, SIZE);
	GET(.from = SIZE + 1);
	assert_result(TRANSFER_REFUSED);
	rules(&http, "[{'status': 416, 'headers': {'Content-Range': 'bytes */20001'}}]");
	GET(.from = SIZE);
	assert_result(TRANSFER_REFUSED);
	rules(&http, "[{'status': 416}]");
	GET(.from = SIZE);
	assert_result(TRANSFER_REFUSED);
	rules(&http, "[{'status': 416, 'headers': {'Content-Range': 'bytes */0'}}]");
	GET();
	assert_result(TRANSFER_REFUSED);
	rules(&http, "[]");
	GET(.from = SIZE + 1, .if_range = etag);
	assert_result(TRANSFER_REFUSED);
}

static void test_answers(void **state)
{
	static const struct {
		const char *rule;
		enum transfer_result result;
		int64_t retry_after;
		const char *text;
	} cases[] = {
		{"'status': 404", TRANSFER_NOT_FOUND, -1, "404 Not Found"},
		{"'status': 410", TRANSFER_NOT_FOUND, -1, "410 Gone"},
		{"'status': 404, 'truncate': 3", TRANSFER_NOT_FOUND, -1, "404"},
		{"'status': 403", TRANSFER_COOL_DOWN, -1, "403 Forbidden"},
		{"'status': 429", TRANSFER_COOL_DOWN, -1, "429 Too Many Requests"},
		{"'status': 429, 'endless': true", TRANSFER_COOL_DOWN, -1, "429"},
		{"'status': 429, 'headers': {'Retry-After': '60'}", TRANSFER_COOL_DOWN, 60, "429"},
		{"'status': 429, 'headers': {'Retry-After': '0'}", TRANSFER_COOL_DOWN, 0, "429"},
		{"'status': 429, 'headers': {'Retry-After': '-7'}", TRANSFER_COOL_DOWN, -1, "429"},
		{"'status': 429, 'headers': {'Retry-After': 'soon'}", TRANSFER_COOL_DOWN, -1,
		 "429"},
		{"'status': 403, 'headers': {'Retry-After': '99999999999999999999999'}",
		 TRANSFER_COOL_DOWN, INT64_MAX, "403"},
		{"'status': 503, 'headers': {'Retry-After': 'Mon, 02 Jan 2006 15:04:05 GMT'}",
		 TRANSFER_COOL_DOWN, 0, "503"},
		{"'status': 503, 'headers': {'Retry-After': '7'}", TRANSFER_COOL_DOWN, 7,
		 "503 Service Unavailable"},
		{"'status': 503", TRANSFER_REFUSED, -1, "503 Service Unavailable"},
		{"'status': 500, 'headers': {'Retry-After': '7'}", TRANSFER_REFUSED, -1, "500"},
		{"'status': 500, 'endless': true", TRANSFER_REFUSED, -1, "500"},
		{"'auth': 'joe:secret'", TRANSFER_REFUSED, -1, "401 Unauthorized"},
		{"'status': 418", TRANSFER_REFUSED, -1, "418"},
		{"'status': 201", TRANSFER_REFUSED, -1, "201"},
		{"'status': 304", TRANSFER_REFUSED, -1, "304"},
		{"'status': 300", TRANSFER_REFUSED, -1, "300"},
		{"'close': true", TRANSFER_BROKEN, -1, "mpty reply"},
		{"'endless': 'headers'", TRANSFER_REFUSED, -1, "headers"},
		{"'status': 302, 'headers': {'Location': '/b'}, 'body': {'size': 100000000}",
		 TRANSFER_REFUSED, -1, "302"},
	};
	char rule[256];

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		fill_body("what was there", 14);
		(void)snprintf(rule, sizeof(rule), "[{%s}]", cases[i].rule);
		rules(&http, rule);
		GET();
		assert_result(cases[i].result);
		if (reply.retry_after != cases[i].retry_after)
			fail_msg("%s: %" PRId64, rule, reply.retry_after);
		if (!strstr(reply.problem, cases[i].text) ||
		    !strstr(reply.problem, "(http://127.0.0.1:"))
			fail_msg("%s: %s", rule, reply.problem);
		reply.size = 14;
		assert_body("what was there", 14);
		/* It was not asked again, but where it had closed the connection kept from before.
		 */
		if (server_count(&http) != 1 && reply.result != TRANSFER_BROKEN)
			fail_msg("%s: %zu requests", rule, server_count(&http));
	}
}

static void test_retry_after_date(void **state)
{
	rules(&http, "[{'status': 503, 'headers': {'Retry-After': 'Fri, 02 Jan 2099 15:04:05 "
		     "GMT'}}]");
	GET();
	assert_result(TRANSFER_COOL_DOWN);
	/* 4071049445 is that date. */
	assert_in_range(4071049445 - time(NULL), reply.retry_after - 60, reply.retry_after);
}

static void test_conditions(void **state)
{
	struct transfer_reply first;

	GET();
	first = reply;
	GET(.if_none_match = first.etag);
	assert_result(TRANSFER_NOT_MODIFIED);
	assert_int_equal(reply.status, 304);
	assert_string_equal(reply.etag, first.etag);
	assert_string_equal(saw(&http, 1, "if_none_match"), first.etag);
	GET(.if_modified_since = first.last_modified);
	assert_result(TRANSFER_NOT_MODIFIED);
	assert_string_equal(reply.last_modified, first.last_modified);
	assert_string_equal(saw(&http, 2, "if_modified_since"), first.last_modified);
	GET_FROM(&http, "/small", .if_none_match = first.etag);
	assert_result(TRANSFER_DONE);
	assert_body(content, 100);
	GET(.if_modified_since = "Mon, 02 Jan 2006 15:04:05 GMT");
	assert_result(TRANSFER_DONE);
	assert_string_equal(saw(&http, 0, "if_none_match"), "none");
	assert_string_equal(saw(&http, 0, "if_modified_since"), "none");
}

static void test_validators_that_are_of_no_use(void **state)
{
	char rule[1024];

	rules(&http, "[{'headers': {'ETag': 'W/\\u0022abc\\u0022'}}]");
	GET();
	assert_string_equal(reply.etag, "");
	rules(&http, "[{'headers': {'ETag': 'abc'}}]");
	GET();
	assert_string_equal(reply.etag, "");
	(void)snprintf(rule, sizeof(rule),
		       "[{'headers': {'ETag': '\\u0022%0300d\\u0022', 'Last-Modified': '%0100d'}}]",
		       0, 0);
	rules(&http, rule);
	GET();
	assert_result(TRANSFER_DONE);
	assert_string_equal(reply.etag, "");
	assert_string_equal(reply.last_modified, "");
	rules(&http, "[{'headers': {'ETag': '\\u0022a\\u0007b\\u0022'}}]");
	GET();
	assert_string_equal(reply.etag, "");
	/* and none that would be more than one header */
	rules(&http, "[]");
	GET(.if_none_match = "\"a\"\r\nRange: bytes=0-0");
	assert_result(TRANSFER_DONE);
	assert_body(content, SIZE);
	assert_string_equal(saw(&http, 0, "if_none_match"), "none");
}

static void test_redirects(void **state)
{
	char rule[256];

	rules(&http, "[{'path': '/x', 'redirect': '/a.bin'}]");
	GET_FROM(&http, "/x");
	assert_result(TRANSFER_DONE);
	assert_body(content, SIZE);
	assert_int_equal(transfer_requests(transfer), 2);
	rules(&http, "[{'redirect': '/r{n}'}]");
	GET();
	assert_result(TRANSFER_REFUSED);
	assert_int_equal(server_count(&http), 6);
	assert_int_equal(transfer_requests(transfer), 2 + 6);
	(void)snprintf(rule, sizeof(rule), "[{'redirect': 'file://%s/d/a.bin'}]", scratch);
	rules(&http, rule);
	GET();
	assert_result(TRANSFER_REFUSED);
	assert_int_equal(lseek(body, 0, SEEK_END), SIZE);
	rules(&http, "[{'redirect': 'ftp://127.0.0.1:1/x'}]");
	GET();
	assert_result(TRANSFER_REFUSED);
	/* A cool-down that a redirect leads to is one. */
	rules(&http, "[{'path': '/a.bin', 'redirect': '/b'}, {'status': 429}]");
	GET();
	assert_result(TRANSFER_COOL_DOWN);
	rules(&http, "[{'redirect': 'http://127.0.0.1:1/'}]");
	GET();
	assert_result(TRANSFER_BROKEN);
}

static void test_redirects_of_https(void **state)
{
	char rule[256];

	set_path("ca-file", "ca.pem");
	(void)snprintf(rule, sizeof(rule), "[{'redirect': '%s/a.bin'}]", http.url);
	rules(&https, rule);
	GET_FROM(&https, "/x");
	assert_result(TRANSFER_REFUSED);
	assert_int_equal(server_count(&https), 1);
	assert_int_equal(server_count(&http), 0);
	rules(&https, "[{'path': '/x', 'redirect': '/a.bin'}]");
	GET_FROM(&https, "/x");
	assert_result(TRANSFER_DONE);
	(void)snprintf(rule, sizeof(rule), "[{'redirect': '%s/a.bin'}]", https.url);
	rules(&http, rule);
	GET();
	assert_result(TRANSFER_DONE);
	assert_int_equal(server_count(&http), 1);
}

static void test_sizes(void **state)
{
	GET(.max_size = SIZE);
	assert_result(TRANSFER_DONE);
	/* by what is announced, before anything is written */
	fill_body("what was there", 14);
	GET(.max_size = SIZE - 1);
	assert_result(TRANSFER_REFUSED);
	assert_int_equal(lseek(body, 0, SEEK_END), 14);
	fill_body(content, 100);
	GET(.from = 100, .max_size = SIZE - 1);
	assert_result(TRANSFER_REFUSED);
	assert_body(content, 100);
	/* by what comes */
	rules(&http, "[{'endless': true}]");
	GET(.max_size = SIZE);
	assert_result(TRANSFER_REFUSED);
	assert_int_equal(reply.size, SIZE);
	assert_int_equal(lseek(body, 0, SEEK_END), SIZE);
	GET(.from = SIZE - 1, .max_size = SIZE - 1);
	assert_result(TRANSFER_REFUSED);
	/* The head of something large is a head. */
	rules(&http, "[]");
	GET(.first = 512, .max_size = 512);
	assert_result(TRANSFER_DONE);
}

static void test_full_disk(void **state)
{
	struct rlimit before, little = {.rlim_cur = 5000, .rlim_max = RLIM_INFINITY};

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	little.rlim_max = before.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
	GET();
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_result(TRANSFER_LOCAL);
	assert_non_null(strstr(reply.problem, strerror(EFBIG)));
	assert_body(content, 5000);
	close(body);
	body = open("body", O_RDONLY | O_CLOEXEC);
	GET();
	assert_result(TRANSFER_LOCAL);
}

static void test_no_server(void **state)
{
	get_url("http://127.0.0.1:1/a.bin", (struct transfer_request){0});
	assert_result(TRANSFER_BROKEN);
	assert_int_equal(reply.status, 0);
	assert_int_equal(transfer_requests(transfer), 0);
	get_url("http://127.0.0.1:99999/", (struct transfer_request){0});
	assert_result(TRANSFER_REFUSED);
	get_url("ftp://127.0.0.1:1/", (struct transfer_request){0});
	assert_result(TRANSFER_REFUSED);
}

static void test_slow_servers(void **state)
{
	GET();
	assert_int_equal(TOLD(LOW_SPEED_TIME), 60);
	assert_int_equal(TOLD(LOW_SPEED_LIMIT), 1000);
	assert_int_equal(TOLD(CONNECTTIMEOUT), 30);
	assert_int_equal(TOLD(MAX_RECV_SPEED_LARGE), 0);
	assert_true(TOLD(TIMEOUT) > 3600);
	hurry = true;
	rules(&http, "[{'slow': [10, 0.2]}]");
	GET();
	assert_result(TRANSFER_BROKEN);
	assert_in_range(reply.size, 1, SIZE - 1);
	rules(&http, "[{'stall': 0}]");
	GET();
	assert_result(TRANSFER_BROKEN);
	assert_int_equal(reply.status, 0);
	/* A head that takes its time, though not that slowly. */
	rules(&http, "[{'slow': [1100, 0.5], 'body': {'size': 60000}, 'ignore_range': true}]");
	GET(.first = 50000);
	assert_result(TRANSFER_BROKEN);
	assert_int_equal(TOLD(TIMEOUT), 60);
}

static void test_rate_limit(void **state)
{
	conf_fixture_set(conf, "signatures", "rate-limit", "2000");
	GET_FROM(&http, "/small");
	assert_result(TRANSFER_DONE);
	assert_int_equal(TOLD(MAX_RECV_SPEED_LARGE), 2000);
	assert_int_equal(TOLD(LOW_SPEED_LIMIT), 500);
	conf_fixture_set(conf, "signatures", "rate-limit", "1");
	GET_FROM(&http, "/small");
	assert_int_equal(TOLD(MAX_RECV_SPEED_LARGE), 1024);
	assert_int_equal(TOLD(LOW_SPEED_LIMIT), 256);
	GET(.first = 512);
	assert_int_equal(TOLD(MAX_RECV_SPEED_LARGE), 0);
	conf_fixture_set(conf, "signatures", "rate-limit", "1M");
	GET();
	assert_result(TRANSFER_DONE);
	assert_int_equal(TOLD(MAX_RECV_SPEED_LARGE), 1048576);
	assert_int_equal(TOLD(LOW_SPEED_LIMIT), 1000);
}

#define MB UINT64_C(1000000)

/* Five megabytes, of which one has come when it is a quarter of an hour later. */
static void get_slowly(const char *rate_limit, const char *more, uint64_t from)
{
	uint64_t begin = *more ? 0 : from;
	char rule[256];

	in_full_speed = true;
	later_at = begin + MB;
	conf_fixture_set(conf, "signatures", "rate-limit", rate_limit);
	assert_int_equal(ftruncate(body, (off_t)from), 0);
	(void)snprintf(rule, sizeof(rule), "[{'body': {'size': %" PRIu64 "}%s}]", begin + 5 * MB,
		       more);
	rules(&http, rule);
	GET(.from = from, .max_size = 100 * MB);
	assert_int_equal(later_at, 0);
}

static void test_what_drags_is_broken_off(void **state)
{
	get_slowly("0", "", 0);
	assert_result(TRANSFER_BROKEN);
	assert_non_null(strstr(reply.problem, "it comes too slowly (http://127.0.0.1:"));
	assert_in_range(reply.size, MB, 5 * MB - 1);
	assert_int_equal(lseek(body, 0, SEEK_END), reply.size);
	/* Only what comes now says how fast it is: some 1000 bytes a second. */
	get_slowly("12000", "", 20 * MB);
	assert_result(TRANSFER_BROKEN);
	assert_in_range(reply.size, 21 * MB, 25 * MB - 1);
}

static void test_what_is_to_be_slow_may_be(void **state)
{
	get_slowly("2000", "", 0);
	assert_result(TRANSFER_DONE);
	assert_int_equal(reply.size, 5 * MB);
	/* It is never asked for so slowly. */
	get_slowly("1", "", 0);
	assert_result(TRANSFER_DONE);
	/* From the beginning again: what we had does not count. */
	get_slowly("2000", ", 'ignore_range': true", 900000);
	assert_result(TRANSFER_DONE);
	assert_int_equal(reply.status, 200);
	assert_int_equal(reply.size, 5 * MB);
	get_slowly("12000", ", 'ignore_range': true", 6 * MB);
	assert_result(TRANSFER_BROKEN);
}

static void test_for_a_quarter_of_an_hour_anything_may(void **state)
{
	later_at = 1;
	rules(&http, "[{'slow': [10000, 0.1]}]");
	GET();
	assert_result(TRANSFER_BROKEN);
	later_ms += 901000; /* What was before it began does not count. */
	GET();
	assert_result(TRANSFER_DONE);
}

static unsigned n_looks;
static bool is_wanted;

static bool look(void *context)
{
	char head[512];

	n_looks++;
	assert_ptr_equal(context, content);
	assert_int_equal(pread(body, head, sizeof(head), 0), sizeof(head));
	assert_memory_equal(head, content, sizeof(head));
	return is_wanted;
}

#define LOOK .look_at = 512, .look = look, .look_context = content

static void test_a_look_at_how_it_begins(void **state)
{
	n_looks = 0;
	is_wanted = true;
	rules(&http, "[{'slow': [500, 0.001]}]");
	GET(LOOK);
	assert_result(TRANSFER_DONE);
	assert_body(content, SIZE);
	assert_int_equal(n_looks, 1);
	/* of each request */
	GET(.from = 1000, LOOK);
	assert_result(TRANSFER_DONE);
	assert_body(content, SIZE);
	assert_int_equal(n_looks, 2);
	/* and at nothing that is shorter */
	GET_FROM(&http, "/small", LOOK);
	assert_result(TRANSFER_DONE);
	assert_int_equal(n_looks, 2);
}

static void test_what_is_not_wanted_is_cut_off(void **state)
{
	char url[PATH_MAX];

	n_looks = 0;
	is_wanted = false;
	rules(&http, "[{'slow': [700, 0.01]}]");
	GET(LOOK);
	assert_result(TRANSFER_DONE);
	assert_int_equal(n_looks, 1);
	assert_in_range(reply.size, 512, SIZE - 1);
	assert_int_equal(lseek(body, 0, SEEK_END), reply.size);
	assert_true(atoll(saw(&http, 0, "sent")) < SIZE);
	/* A server that begins again is looked at, too. */
	fill_body(content, 900);
	rules(&http, "[{'slow': [700, 0.01], 'ignore_range': true}]");
	GET(.from = 900, LOOK);
	assert_result(TRANSFER_DONE);
	assert_int_equal(n_looks, 2);
	assert_in_range(reply.size, 512, SIZE - 1);
	(void)snprintf(url, sizeof(url), "file://%s/d/a.bin", scratch);
	get_url(url, (struct transfer_request){LOOK});
	assert_int_equal(n_looks, 3);
}

static void test_a_netrc_file_that_cannot_be_read(void **state)
{
	set_path("netrc-file", "no-netrc");
	GET();
	assert_result(TRANSFER_LOCAL);
	assert_non_null(strstr(reply.problem, "/no-netrc: No such file"));
	/* Nobody is asked without what it would have said. */
	assert_int_equal(server_count(&http), 0);
	assert_int_equal(transfer_requests(transfer), 0);
	get_url("file:///", (struct transfer_request){0});
	assert_result(TRANSFER_REFUSED);
}

static void test_credentials(void **state)
{
	char url[256], rule[512];
	static const char netrc[] = "machine 127.0.0.1 login joe password secret\n";
	const char *host = strstr(http.url, "127");

	rules(&http, "[{'path': '/a.bin', 'auth': 'joe:secret'}]");
	(void)snprintf(url, sizeof(url), "http://joe:secret@%s/a.bin", host);
	get_url(url, (struct transfer_request){0});
	assert_result(TRANSFER_DONE);
	assert_int_equal(server_count(&http), 1);
	(void)snprintf(url, sizeof(url), "http://joe:wrongone@%s/a.bin", host);
	get_url(url, (struct transfer_request){0});
	assert_result(TRANSFER_REFUSED);
	assert_int_equal(reply.status, 401);
	assert_null(strstr(reply.problem, "wrongone"));
	assert_non_null(strstr(reply.problem, "(http://joe@127.0.0.1:"));
	scratch_write("netrc", netrc, sizeof(netrc) - 1);
	set_path("netrc-file", "netrc");
	GET();
	assert_result(TRANSFER_DONE);
	/* They are not for others. */
	(void)snprintf(rule, sizeof(rule),
		       "[{'path': '/x', 'redirect': 'http://localhost:%s/small'}]",
		       strchr(host, ':') + 1);
	rules(&http, rule);
	(void)snprintf(url, sizeof(url), "http://joe:secret@%s/x", host);
	get_url(url, (struct transfer_request){0});
	assert_result(TRANSFER_DONE);
	assert_string_not_equal(saw(&http, 0, "authorization"), "none");
	assert_string_equal(saw(&http, 1, "authorization"), "none");
}

static void test_passwords_are_not_told(void **state)
{
	static const char *const urls[] = {
		"http://joe:secret@127.0.0.1:1/a",	  "http://joe:secret@127.0.0.1:99999/a",
		"http://joe:secret@no.such.invalid/a",	  "http://joe:secret@[::1/a",
		"https://joe:secret@127.0.0.1:1/a",	  "http://joe:se%zzcret@127.0.0.1:1/",
		"file://joe:secret@localhost/etc/passwd", "http://joe:se@cret@127.0.0.1:1/"};

	for (size_t i = 0; i < N_ELEMENTS(urls); i++) {
		get_url(urls[i], (struct transfer_request){0});
		assert_true(reply.result != TRANSFER_DONE);
		if (strstr(reply.problem, "cret"))
			fail_msg("%s: %s", urls[i], reply.problem);
	}
}

static void test_proxy(void **state)
{
	conf_fixture_set(conf, "signatures", "proxy", http.url);
	get_url("http://no.such.invalid/a.bin", (struct transfer_request){0});
	assert_result(TRANSFER_DONE);
	assert_body(content, SIZE);
	assert_string_equal(saw(&http, 0, "proxied"), "no.such.invalid");
	/* The proxy's word is not the source's. */
	get_url("https://no.such.invalid/a.bin", (struct transfer_request){0});
	assert_result(TRANSFER_BROKEN);
}

static void test_certificates(void **state)
{
	GET_FROM(&https, "/a.bin");
	assert_result(TRANSFER_REFUSED);
	assert_non_null(strstr(reply.problem, "certificate"));
	set_path("ca-file", "ca.pem");
	GET_FROM(&https, "/a.bin");
	assert_result(TRANSFER_DONE);
	assert_body(content, SIZE);
	/* one who is not who it should be */
	set_path("ca-file", "client.pem");
	transfer_free(transfer);
	transfer = transfer_new(conf, NULL, NULL);
	GET_FROM(&https, "/a.bin");
	assert_result(TRANSFER_REFUSED);
	set_path("ca-file", "nothing.pem");
	GET_FROM(&https, "/a.bin");
	assert_result(TRANSFER_LOCAL);
}

static void test_client_certificate(void **state)
{
	set_path("ca-file", "ca.pem");
	GET_FROM(&strict, "/a.bin");
	assert_result(TRANSFER_BROKEN);
	set_path("client-certificate", "client.pem");
	set_path("client-key", "client.key");
	GET_FROM(&strict, "/a.bin");
	assert_result(TRANSFER_DONE);
	assert_body(content, SIZE);
	assert_string_equal(saw(&strict, -1, "certificate"), "test client");
	set_path("client-key", "nothing.key");
	transfer_free(transfer);
	transfer = transfer_new(conf, NULL, NULL);
	GET_FROM(&strict, "/a.bin");
	assert_result(TRANSFER_LOCAL);
}

static const char *file_url(const char *name)
{
	static char url[PATH_MAX];

	(void)snprintf(url, sizeof(url), "file://%s/%s", scratch, name);
	return url;
}

static void test_local_file(void **state)
{
	char etag[256], since[64];

	fill_body("what was there", 14);
	get_url(file_url("d/a.bin"), (struct transfer_request){.from = 14});
	assert_result(TRANSFER_DONE);
	assert_int_equal(reply.status, 0);
	assert_body(content, SIZE);
	get_url(file_url("d/%61%2ebin"), (struct transfer_request){.max_size = SIZE});
	assert_result(TRANSFER_DONE);
	get_url(file_url("d/empty"), (struct transfer_request){0});
	assert_result(TRANSFER_DONE);
	assert_body("", 0);
	get_url(file_url("d/a.bin"), (struct transfer_request){.first = 512});
	assert_result(TRANSFER_DONE);
	assert_body(content, 512);
	get_url(file_url("d/small"), (struct transfer_request){.first = 100});
	assert_result(TRANSFER_DONE);
	assert_body(content, 100);
	get_url(file_url("d/a.bin"), (struct transfer_request){.max_size = SIZE - 1});
	assert_result(TRANSFER_REFUSED);
	assert_int_equal(transfer_requests(transfer), 0);
	assert_int_equal(transfer_bytes(transfer), 0);

	scratch_write("local.ndb", "one", 3);
	get_url(file_url("local.ndb"), (struct transfer_request){0});
	(void)snprintf(etag, sizeof(etag), "%s", reply.etag);
	(void)snprintf(since, sizeof(since), "%s", reply.last_modified);
	get_url(file_url("local.ndb"),
		(struct transfer_request){.if_none_match = etag, .if_modified_since = since});
	assert_result(TRANSFER_NOT_MODIFIED);
	get_url(file_url("local.ndb"), (struct transfer_request){.if_modified_since = since});
	assert_result(TRANSFER_NOT_MODIFIED);
	/* One of the same time that is another, as "cp -p" makes it. */
	scratch_write("new", "two!", 4);
	assert_int_equal(rename("new", "local.ndb"), 0);
	get_url(file_url("local.ndb"),
		(struct transfer_request){.if_none_match = etag, .if_modified_since = since});
	assert_result(TRANSFER_DONE);
	assert_body("two!", 4);
	/* An older one is another one. */
	assert_int_equal(utimensat(AT_FDCWD, "local.ndb", (struct timespec[]){{1000}, {1000}}, 0),
			 0);
	get_url(file_url("local.ndb"), (struct transfer_request){.if_modified_since = since});
	assert_result(TRANSFER_DONE);
	assert_string_equal(reply.last_modified, "Thu, 01 Jan 1970 00:16:40 GMT");
}

static void test_what_is_not_a_file(void **state)
{
	unsigned fds = unit_count_fds();

	fill_body("what was there", 14);
	get_url(file_url("nothing"), (struct transfer_request){0});
	assert_result(TRANSFER_NOT_FOUND);
	get_url(file_url("d/a.bin/x"), (struct transfer_request){0});
	assert_result(TRANSFER_NOT_FOUND);
	get_url(file_url("d"), (struct transfer_request){0});
	assert_result(TRANSFER_REFUSED);
	assert_int_equal(mkfifo("fifo", 0600), 0);
	get_url(file_url("fifo"), (struct transfer_request){0});
	assert_result(TRANSFER_REFUSED);
	get_url("file:///dev/zero", (struct transfer_request){0});
	assert_result(TRANSFER_REFUSED);
	get_url("file:///a%00b", (struct transfer_request){0});
	assert_result(TRANSFER_REFUSED);
	reply.size = 14;
	assert_body("what was there", 14);
	assert_int_equal(unit_count_fds(), fds);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(whole_file),
		TEST(empty_file),
		TEST(head),
		TEST(head_of_server_without_ranges),
		TEST(broken_and_resumed),
		TEST(resumed_behind_more_than_was_counted),
		TEST(resumed_of_another_version),
		TEST(resume_broken_again),
		TEST(wrong_ranges),
		TEST(rest_of_another_version),
		TEST(resume_of_what_is_complete),
		TEST(answers),
		TEST(retry_after_date),
		TEST(conditions),
		TEST(validators_that_are_of_no_use),
		TEST(redirects),
		TEST(redirects_of_https),
		TEST(sizes),
		TEST(full_disk),
		TEST(no_server),
		TEST(slow_servers),
		TEST(rate_limit),
		TEST(what_drags_is_broken_off),
		TEST(what_is_to_be_slow_may_be),
		TEST(for_a_quarter_of_an_hour_anything_may),
		TEST(a_look_at_how_it_begins),
		TEST(what_is_not_wanted_is_cut_off),
		TEST(a_netrc_file_that_cannot_be_read),
		TEST(credentials),
		TEST(passwords_are_not_told),
		TEST(proxy),
		TEST(certificates),
		TEST(client_certificate),
		TEST(local_file),
		TEST(what_is_not_a_file),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
