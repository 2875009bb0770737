/* SPDX-License-Identifier: GPL-2.0-only */
#include "full_scan.h"

#include "../common/clock.h"
#include "../common/line.h"
#include "../common/scan_numbers.h"
#include "client.h"
#include "human.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

/* How often --wait asks, and for how long it does without an answer. */
#define POLL_US 250000
/* A scan of which little is new is over in no time. */
#define POLL_FIRST_US 5000
#define PATIENCE_S    15

/* After so long it is seen whether a scan could begin. */
#define BEGIN_US 500000

static const char *const state_names[] = {
	[CONTROL_FULL_SCAN_IDLE] = "idle",
	[CONTROL_FULL_SCAN_RUNNING] = "running",
	[CONTROL_FULL_SCAN_PAUSED] = "paused",
};

int full_scan_ask(int fd, enum control_full_scan_verb verb,
		  struct control_full_scan_reply *ret_reply)
{
	const struct control_full_scan_request request = {
		.header = WIRE_INIT(WIRE_CONTROL_FULL_SCAN, struct control_full_scan_request),
		.verb = verb,
	};
	int r = client_ask(fd, &request.header, WIRE_CONTROL_FULL_SCAN_REPLY, ret_reply,
			   sizeof(*ret_reply));

	if (r == 0 && (ret_reply->state >= CONTROL_FULL_SCAN_STATE_COUNT ||
		       !wire_string_ok(ret_reply->path, sizeof(ret_reply->path)) ||
		       !wire_string_ok(ret_reply->problem, sizeof(ret_reply->problem)) ||
		       !wire_string_ok(ret_reply->schedule, sizeof(ret_reply->schedule))))
		r = -EPROTO;
	return r;
}

/* --- for people --- */

static void full_scan_print_counts(const struct control_full_scan_counts *counts)
{
	char bytes[32];

	(void)printf("%" PRIu64 " files, %s", counts->files,
		     human_bytes(bytes, sizeof(bytes), counts->bytes));
	if (counts->known)
		(void)printf(", %" PRIu64 " verified before", counts->known);
	(void)printf(", %s%" PRIu64 " infected%s", counts->infected ? cli_style(CLI_BAD) : "",
		     counts->infected, counts->infected ? cli_style(CLI_PLAIN) : "");
	if (counts->incomplete + counts->failed)
		(void)printf(", %" PRIu64 " not verified", counts->incomplete + counts->failed);
	if (counts->unreadable)
		(void)printf(", %" PRIu64 " unreadable", counts->unreadable);
	if (counts->skipped)
		(void)printf(", %" PRIu64 " skipped", counts->skipped);
}

static void full_scan_print_next(const struct control_full_scan_reply *reply, const char *what)
{
	char when[32];

	if (reply->next)
		(void)printf("%s %s", what, human_time(when, sizeof(when), reply->next));
	else
		(void)printf("%s never", what);
	if (*reply->schedule)
		(void)printf(" (%s)", reply->schedule);
}

static void full_scan_print_now(const struct control_full_scan_reply *reply)
{
	char when[32], age[32], path[LINE_ESCAPED_MAX(WIRE_PATH_MAX)];

	switch (reply->state) {
	case CONTROL_FULL_SCAN_RUNNING:
		(void)printf(
			"running since %s (%s): ", human_time(when, sizeof(when), reply->now.began),
			human_age(age, sizeof(age), reply->now.began));
		full_scan_print_counts(&reply->now);
		if (*reply->path)
			(void)printf("\n  %-11s at %s", "",
				     line_escape(path, sizeof(path), reply->path));
		if (reply->pause_at)
			(void)printf("\n  %-11s pauses at %s", "",
				     human_time(when, sizeof(when), reply->pause_at));
		break;
	case CONTROL_FULL_SCAN_PAUSED:
		full_scan_print_next(reply, "paused, goes on");
		(void)printf(": ");
		full_scan_print_counts(&reply->now);
		break;
	default:
		full_scan_print_next(reply, "next");
	}
}

void full_scan_print(const struct control_full_scan_reply *reply)
{
	const struct control_full_scan_counts *last = &reply->last;
	char when[32], took[32];

	(void)printf("  %-11s ", "full scan");
	full_scan_print_now(reply);
	(void)printf("\n  %-11s ", "last one");
	if (last->ended) {
		(void)printf("%s, took %s: ", human_time(when, sizeof(when), last->began),
			     human_duration(took, sizeof(took), last->ended - last->began));
		full_scan_print_counts(last);
		(void)putchar('\n');
	} else {
		(void)printf("none finished yet\n");
	}
}

/* --- for programs --- */

static json_t *full_scan_json_counts(const struct control_full_scan_counts *counts)
{
	json_t *object = json_object();

	for (size_t i = 0; i < SCAN_NUMBERS; i++)
		(void)json_object_set_new(object, scan_numbers[i].name,
					  json_integer((json_int_t)scan_number(counts, i)));
	return object;
}

json_t *full_scan_json(const struct control_full_scan_reply *reply)
{
	char path[LINE_ESCAPED_MAX(WIRE_PATH_MAX)];
	json_t *answer =
		json_pack("{s:s, s:I, s:I, s:s, s:s, s:s}", "state", state_names[reply->state],
			  "next", (json_int_t)reply->next, "pause_at", (json_int_t)reply->pause_at,
			  "path", line_escape(path, sizeof(path), reply->path), "problem",
			  reply->problem, "schedule", reply->schedule);

	if (reply->state != CONTROL_FULL_SCAN_IDLE)
		(void)json_object_set_new(answer, "now", full_scan_json_counts(&reply->now));
	if (reply->last.ended)
		(void)json_object_set_new(answer, "last", full_scan_json_counts(&reply->last));
	return answer;
}

/* --- holdfast scan --full --- */

static const char *full_scan_refusal(enum control_full_scan_verb verb, int error)
{
	switch (error) {
	case EPERM:
	case EACCES:
		return "only root may tell it what to do";
	case EALREADY:
		return verb == CONTROL_FULL_SCAN_STOP ? "it is paused already"
						      : "one is running already: see 'holdfast "
							"status'; --stop pauses it";
	case ENOENT:
	case ESRCH:
		return "none is running";
	case EAGAIN:
		return "the service is not ready yet: no engine has loaded its signatures";
	default:
		return strerror(error);
	}
}

static int full_scan_unreachable(const char *run_dir, int r)
{
	return cli_error("%s (%s/%s)",
			 r == -ENOENT || r == -ECONNREFUSED ? "holdfastd is not running"
			 : r == -EACCES			    ? "only root may start a full scan"
			 : r == -ETIMEDOUT		    ? "the guard does not answer"
							    : strerror(-r),
			 run_dir, CONTROL_SOCKET_NAME);
}

/* Connects anew for each question: while it waits, a guard may be followed by another. */
static int full_scan_ask_once(const char *run_dir, enum control_full_scan_verb verb,
			      struct control_full_scan_reply *reply)
{
	int fd = client_connect(run_dir, CONTROL_SOCKET_NAME), r;

	if (fd < 0)
		return fd;
	r = full_scan_ask(fd, verb, reply);
	close(fd);
	return r;
}

static void full_scan_draw(const struct control_full_scan_reply *reply)
{
	char bytes[32];

	(void)fprintf(stderr, "\r%" PRIu64 " files  %s  %" PRIu64 " infected\033[K",
		      reply->now.files, human_bytes(bytes, sizeof(bytes), reply->now.bytes),
		      reply->now.infected);
}

/* What has kept a scan from its end, or its report from the disk. */
static int full_scan_problem(const struct control_full_scan_reply *reply)
{
	return cli_error("full scan: %s", reply->problem);
}

/* began: of the scan that was waited for; 0: it ended too soon to be seen. asked: when. */
static int full_scan_result(const struct control_full_scan_reply *reply, int64_t began,
			    int64_t asked)
{
	const struct control_full_scan_counts *last = &reply->last;

	if (*reply->problem)
		return full_scan_problem(reply);
	if (last->ended < asked || (began && last->began != began))
		return cli_error("full scan: it was paused, or did not begin: see 'holdfast "
				 "status'");
	if (last->infected)
		return CLI_NO;
	return last->incomplete || last->failed || last->unreadable ? CLI_ERROR : CLI_OK;
}

/* Waits until none is running any more. ret_began: when the last that was seen to run began; 0:
 * none was. Returns 0 or a negative errno. */
static int full_scan_wait(const char *run_dir, const struct full_scan_options *options,
			  struct control_full_scan_reply *reply, int64_t *ret_began)
{
	uint64_t heard_us = clock_monotonic_us();
	bool is_drawn = options->progress && isatty(STDERR_FILENO);
	useconds_t pause_us = POLL_FIRST_US;
	int r = 0;

	while (reply->state == CONTROL_FULL_SCAN_RUNNING) {
		if (is_drawn)
			full_scan_draw(reply);
		(void)usleep(pause_us);
		pause_us = pause_us < POLL_US / 2 ? 2 * pause_us : POLL_US;
		r = full_scan_ask_once(run_dir, CONTROL_FULL_SCAN_ASK, reply);
		if (r == 0) {
			heard_us = clock_monotonic_us();
			if (reply->state == CONTROL_FULL_SCAN_RUNNING && !reply->now.ended)
				*ret_began = reply->now.began;
		} else if (clock_monotonic_us() - heard_us > PATIENCE_S * CLOCK_US_PER_SEC) {
			break;
		}
	}
	if (is_drawn)
		(void)fputs("\r\033[K", stderr);
	return r;
}

static void full_scan_print_done(const struct full_scan_options *options,
				 const struct control_full_scan_reply *reply)
{
	static const char *const done[] = {
		[CONTROL_FULL_SCAN_START] = "the full scan runs: see 'holdfast status', and "
					    "'holdfast report' when it has ended",
		[CONTROL_FULL_SCAN_AFRESH] = "the full scan runs, from the beginning: see "
					     "'holdfast status', and 'holdfast report' when it "
					     "has ended",
		[CONTROL_FULL_SCAN_STOP] = "the full scan is paused: it goes on with its next "
					   "slot, or with 'holdfast scan --full'",
	};

	if (options->wait) {
		full_scan_print(reply);
		(void)printf("What it found: 'holdfast report'.\n");
	} else {
		(void)printf("%s\n", done[options->verb]);
	}
}

int full_scan_run(const struct cli *cli, const struct full_scan_options *options)
{
	struct conf *conf = cli_find_service(cli);
	struct control_full_scan_reply reply;
	int64_t asked = (int64_t)(clock_wall_us() / CLOCK_US_PER_SEC), began = 0;
	int r, code = CLI_OK;

	if (!conf)
		return CLI_ERROR;
	r = full_scan_ask_once(conf->run_dir, options->verb, &reply);
	/* Whoever wants to wait waits for the one that runs. */
	if (r == 0 && reply.error && !(reply.error == EALREADY && options->wait)) {
		conf_free(conf);
		return cli_error("full scan: %s",
				 reply.error == EIO && *reply.problem
					 ? reply.problem
					 : full_scan_refusal(options->verb, (int)reply.error));
	}
	if (r == 0 && options->wait) {
		r = full_scan_wait(conf->run_dir, options, &reply, &began);
		if (r == 0)
			code = full_scan_result(&reply, began, asked);
	} else if (r == 0 && options->verb != CONTROL_FULL_SCAN_STOP) {
		(void)usleep(BEGIN_US);
		r = full_scan_ask_once(conf->run_dir, CONTROL_FULL_SCAN_ASK, &reply);
		if (r == 0 && reply.state != CONTROL_FULL_SCAN_RUNNING && *reply.problem)
			code = full_scan_problem(&reply);
	}
	if (r < 0)
		code = full_scan_unreachable(conf->run_dir, r);
	else if (cli->json)
		cli_print_json(full_scan_json(&reply));
	else if (code != CLI_ERROR || options->wait)
		full_scan_print_done(options, &reply);
	conf_free(conf);
	return code;
}
