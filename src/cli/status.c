/* SPDX-License-Identifier: GPL-2.0-only */
/* holdfast status: what is protected, what happened, and what needs attention. */
#include "cli.h"
#include "client.h"
#include "freshness.h"
#include "full_scan.h"
#include "human.h"
#include "warm_start.h"

#include "../common/clock.h"
#include "../common/line.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Exit codes, for monitoring. */
enum { STATUS_FINE, STATUS_WARNING, STATUS_NOT_PROTECTING };

#define WARNINGS_MAX (14 + FRESHNESS_WARNINGS_MAX)

/* Files that workers do not survive: so many are shown, those met last. */
#define POISON_SHOWN 5

struct warning {
	int severity; /* an exit code */
	char text[512];
};

struct status {
	struct control_status_reply reply;
	struct control_full_scan_reply full_scan;
	struct control_warm_start_reply warm_start;
	struct control_watch_reply *includes; /* reply.includes of them */
	struct control_watch_reply *places;   /* reply.places of them */
	struct control_poison_reply poison[POISON_SHOWN];
	unsigned n_poison; /* of them are there */
	struct freshness *freshness;
	struct warning warnings[WARNINGS_MAX];
	unsigned n_warnings;
	int severity; /* of the worst warning */
};

static const char *const mode_names[] = {
	[CONTROL_MODE_BLOCK] = "block",
	[CONTROL_MODE_NOTIFY] = "notify",
	[CONTROL_MODE_OFF] = "off",
};

static const char *const policy_names[CONTROL_POLICY_COUNT] = {
	[CONTROL_ON_TIMEOUT] = "on-timeout",
	[CONTROL_ON_FAILURE] = "on-failure",
	[CONTROL_ON_INCOMPLETE] = "on-incomplete",
};

/* --- asking --- */

/* Asks for n things of a kind; the caller frees *ret. */
static int status_ask_watches(int fd, enum wire_type type, enum wire_type reply, uint32_t n,
			      struct control_watch_reply **ret)
{
	int r = 0;

	*ret = calloc(n + 1, sizeof(**ret));
	if (!*ret)
		return -ENOMEM;
	for (uint32_t i = 0; i < n && r == 0; i++) {
		const struct control_index_request request = {
			.header = WIRE_INIT(type, struct control_index_request),
			.index = i,
		};

		r = client_ask(fd, &request.header, reply, &(*ret)[i], sizeof((*ret)[i]));
	}
	return r;
}

/* They may become fewer between two requests. */
static int status_ask_poison(int fd, struct status *status)
{
	int r = 0;

	while (r == 0 && status->n_poison < POISON_SHOWN &&
	       status->n_poison < status->reply.poison) {
		struct control_poison_reply *poison = &status->poison[status->n_poison];
		const struct control_index_request request = {
			.header = WIRE_INIT(WIRE_CONTROL_POISON, struct control_index_request),
			.index = status->n_poison,
		};

		r = client_ask(fd, &request.header, WIRE_CONTROL_POISON_REPLY, poison,
			       sizeof(*poison));
		if (r == 0 && !*poison->path)
			break;
		status->n_poison += r == 0;
	}
	return r;
}

static int status_ask(const struct conf *conf, struct status *status)
{
	const struct wire_plain request = {
		.header = WIRE_INIT(WIRE_CONTROL_STATUS, struct wire_plain),
	};
	int fd = client_connect(conf->run_dir, CONTROL_SOCKET_NAME), r;

	if (fd < 0)
		return fd;
	status->freshness = freshness_new(conf, (int64_t)(clock_wall_us() / CLOCK_US_PER_SEC));
	r = !status->freshness ? -ENOMEM
			       : client_ask(fd, &request.header, WIRE_CONTROL_STATUS_REPLY,
					    &status->reply, sizeof(status->reply));
	if (r == 0)
		r = status_ask_watches(fd, WIRE_CONTROL_INCLUDE, WIRE_CONTROL_INCLUDE_REPLY,
				       status->reply.includes, &status->includes);
	if (r == 0)
		r = status_ask_watches(fd, WIRE_CONTROL_PLACE, WIRE_CONTROL_PLACE_REPLY,
				       status->reply.places, &status->places);
	if (r == 0)
		r = status_ask_poison(fd, status);
	if (r == 0)
		r = freshness_ask(status->freshness, fd);
	if (r == 0)
		r = full_scan_ask(fd, CONTROL_FULL_SCAN_ASK, &status->full_scan);
	if (r == 0)
		r = warm_start_ask(fd, &status->warm_start);
	close(fd);
	return r;
}

/* --- judging --- */

static void __attribute__((format(printf, 3, 4)))
status_warn(struct status *status, int severity, const char *format, ...)
{
	struct warning *warning = &status->warnings[status->n_warnings];
	va_list args;

	if (status->n_warnings >= WARNINGS_MAX)
		return;
	status->n_warnings++;
	warning->severity = severity;
	if (severity > status->severity)
		status->severity = severity;
	va_start(args, format);
	(void)vsnprintf(warning->text, sizeof(warning->text), format, args);
	va_end(args);
}

static uint64_t status_unverified(const struct control_counters *counters)
{
	return counters->verdicts[VERDICT_INCOMPLETE] + counters->verdicts[VERDICT_FAILED] +
	       counters->timeouts + counters->not_scanned;
}

/* Files that were scanned before anybody opened them. */
static uint64_t status_ahead(const struct control_counters *counters)
{
	uint64_t n = 0;

	for (int verdict = 0; verdict < VERDICT_COUNT; verdict++)
		n += counters->ahead[verdict];
	return n;
}

static void status_judge_freshness(struct status *status)
{
	char warnings[FRESHNESS_WARNINGS_MAX][FRESHNESS_WARNING_SIZE];
	unsigned n = freshness_judge(status->freshness, &status->reply.engine, warnings);

	for (unsigned i = 0; i < n; i++)
		status_warn(status, STATUS_WARNING, "%s", warnings[i]);
}

static void status_judge(struct status *status)
{
	const struct control_status_reply *reply = &status->reply;
	unsigned unwatched = 0, failed = 0;

	if (reply->counters.overflows)
		status_warn(status, STATUS_WARNING,
			    "OPENS WENT UNVERIFIED: the kernel's queue of opens overflowed %" PRIu64
			    " time(s), which must never happen; please report it",
			    reply->counters.overflows);
	for (uint32_t i = 0; i < reply->includes; i++)
		unwatched += status->includes[i].state != CONTROL_WATCHED;
	for (uint32_t i = 0; i < reply->places; i++)
		failed += status->places[i].state == CONTROL_NOT_WATCHED;
	if (reply->mode == CONTROL_MODE_OFF)
		status_warn(status, STATUS_NOT_PROTECTING, "mode = off: no open is looked at");
	else if (unwatched)
		status_warn(status, STATUS_NOT_PROTECTING,
			    "%u include path(s) are not watched: see above", unwatched);
	else if (failed)
		status_warn(status, STATUS_NOT_PROTECTING,
			    "%u filesystem(s) below include paths are not watched: see above",
			    failed);
	if (reply->engine_down)
		status_warn(status, STATUS_NOT_PROTECTING,
			    "no engine can be started: opens are answered by on-failure; the log "
			    "says why");
	else if (!reply->workers_alive)
		status_warn(status, STATUS_WARNING,
			    "no worker: what is not known waits, and is then answered by "
			    "on-timeout");
	if (reply->mode == CONTROL_MODE_NOTIFY)
		status_warn(status, STATUS_WARNING,
			    "mode = notify: malware is reported, not blocked");
	if (reply->engine.test_only)
		status_warn(status, STATUS_WARNING,
			    "ONLY THE EICAR TEST SIGNATURE IS LOADED: no malware will be found. "
			    "Put signature files into the directory of signatures and reload");
	status_judge_freshness(status);
	if (reply->full)
		status_warn(status, STATUS_WARNING,
			    "too many files wait for a verdict: further opens wait in the kernel");
	if (reply->counters.read_errors)
		status_warn(
			status, STATUS_WARNING,
			"%" PRIu64
			" open(s) were refused as their file could not be opened for us: the log "
			"says why",
			reply->counters.read_errors);
	if (status_unverified(&reply->counters))
		status_warn(status, STATUS_WARNING,
			    "%" PRIu64
			    " open(s) or scans ended without a verdict: the log names the files",
			    status_unverified(&reply->counters));
	if (reply->counters.late)
		status_warn(status, STATUS_WARNING,
			    "%" PRIu64
			    " infected file(s) were opened before their verdict came, as "
			    "on-timeout allows: the log names them",
			    reply->counters.late);
	if (reply->poison)
		status_warn(status, STATUS_WARNING,
			    "%u file(s) cannot be scanned, as workers do not survive them: see "
			    "above; remove them, or exclude what you trust",
			    reply->poison);
	if (*status->full_scan.problem)
		status_warn(status, STATUS_WARNING, "full scan: %s", status->full_scan.problem);
	if (reply->counters.alerts_dropped)
		status_warn(status, STATUS_WARNING, "%" PRIu64 " line(s) for the log were lost",
			    reply->counters.alerts_dropped);
}

/* --- for people --- */

static void print_headline(const struct status *status)
{
	const struct control_status_reply *reply = &status->reply;
	char since[32], age[32];

	(void)printf("%s%s%s since %s (%s)\n\n",
		     cli_style(status->severity == STATUS_NOT_PROTECTING ? CLI_BAD : CLI_GOOD),
		     status->severity == STATUS_NOT_PROTECTING ? "NOT PROTECTING"
		     : reply->mode == CONTROL_MODE_NOTIFY      ? "watching"
							       : "protecting",
		     cli_style(CLI_PLAIN),
		     human_time(since, sizeof(since), reply->guard_started_at),
		     human_age(age, sizeof(age), reply->guard_started_at));
}

static void print_watches(const char *title, const struct control_watch_reply *watches, uint32_t n)
{
	static const char *const states[] = {
		[CONTROL_NOT_WATCHED] = "NOT WATCHED",
		[CONTROL_LEFT_ALONE] = "left alone",
	};
	char path[LINE_ESCAPED_MAX(WIRE_PATH_MAX)], error[LINE_ESCAPED_MAX(WIRE_SIGNATURE_MAX)];
	char filesystem[LINE_ESCAPED_MAX(sizeof(watches->filesystem))];

	for (uint32_t i = 0; i < n; i++) {
		const struct control_watch_reply *watch = &watches[i];

		line_escape(path, sizeof(path), watch->path);
		line_escape(filesystem, sizeof(filesystem), watch->filesystem);
		line_escape(error, sizeof(error), watch->error);
		if (watch->state == CONTROL_WATCHED)
			(void)printf("  %-11s %-32s %s, %s mark\n", i ? "" : title, path,
				     filesystem, watch->mark);
		else
			(void)printf("  %-11s %-32s %s, %s%s%s\n", i ? "" : title, path, filesystem,
				     watch->state <= CONTROL_LEFT_ALONE ? states[watch->state] : "",
				     *error ? ": " : "", error);
	}
}

static void print_policies(const struct control_counters *n)
{
	const char *title = "unverified";

	for (unsigned i = 0; i < CONTROL_POLICY_COUNT; i++) {
		const struct control_decided *decided = &n->decided[i];

		if (!decided->allowed && !decided->denied)
			continue;
		(void)printf("  %-11s %s: %" PRIu64 " opens allowed, %" PRIu64 " denied\n", title,
			     policy_names[i], decided->allowed, decided->denied);
		title = "";
	}
}

/* What is known without a scan. */
static void print_findings(const struct status *status)
{
	const struct control_status_reply *reply = &status->reply;
	char path[LINE_ESCAPED_MAX(sizeof(status->poison->path))], age[32];
	char reason[LINE_ESCAPED_MAX(sizeof(status->poison->reason))];

	if (reply->infected || reply->counters.late)
		(void)printf("  infected    %u file(s) known, refused without a scan; %" PRIu64
			     " found after on-timeout had let openers through\n",
			     reply->infected, reply->counters.late);
	if (reply->poison || reply->counters.poisoned)
		(void)printf("  poison      %u file(s) that workers do not survive; %" PRIu64
			     " opens of such answered by on-failure\n",
			     reply->poison, reply->counters.poisoned);
	for (unsigned i = 0; i < status->n_poison; i++) {
		const struct control_poison_reply *poison = &status->poison[i];

		line_escape(path, sizeof(path), poison->path);
		line_escape(reason, sizeof(reason), poison->reason);
		(void)printf("  %-11s %s: %s, %s ago\n", "", path, reason,
			     human_age(age, sizeof(age), poison->since));
	}
}

static void print_counters(const struct control_status_reply *reply)
{
	const struct control_counters *n = &reply->counters;

	(void)printf("  opens       %" PRIu64 " asked about: %" PRIu64 " out of scope, %" PRIu64
		     " excluded, %" PRIu64 " denied, %u held now\n",
		     n->opens, n->out_of_scope, n->excluded, n->denied, reply->held);
	(void)printf("  verdicts    %" PRIu64 " clean, %" PRIu64 " infected, %" PRIu64
		     " incomplete, %" PRIu64 " failed; %" PRIu64 " known before; %" PRIu64
		     " opens timed out\n",
		     n->verdicts[VERDICT_CLEAN], n->verdicts[VERDICT_INFECTED],
		     n->verdicts[VERDICT_INCOMPLETE], n->verdicts[VERDICT_FAILED], n->known,
		     n->timeouts);
	if (reply->contents_max)
		(void)printf("  contents    %" PRIu64 " of %" PRIu64 " known; %" PRIu64
			     " files not scanned, as their bytes were verified in others\n",
			     reply->contents, reply->contents_max, n->same_content);
	(void)printf("  scan-ahead  %" PRIu64 " written files scanned, %" PRIu64
		     " infected; %u wait, %" PRIu64 " dropped for want of time\n",
		     status_ahead(n), n->ahead[VERDICT_INFECTED], reply->ahead, n->ahead_dropped);
	(void)printf("  kernel      %" PRIu64 " clean files marked, %" PRIu64
		     " marks dropped after a write; %u directories out of scope passed over\n",
		     n->marks, n->drops, reply->bypassed);
}

static void print_signatures(const struct status *status)
{
	const struct wire_engine_info *engine = &status->reply.engine;
	char count[32], when[32], age[32];

	(void)printf("  signatures  %s, loaded %s (%s ago)\n",
		     human_count(count, sizeof(count), engine->signatures),
		     human_time(when, sizeof(when), engine->loaded_at),
		     human_age(age, sizeof(age), engine->loaded_at));
	freshness_print(status->freshness, stdout);
}

static const char *const ended_names[WIRE_ENDED_COUNT] = {
	[WIRE_ENDED_GUARD] = "guard",	[WIRE_ENDED_STANDBY] = "standby",
	[WIRE_ENDED_ENGINE] = "engine", [WIRE_ENDED_REPORTER] = "reporter",
	[WIRE_ENDED_PORTER] = "porter",
};

static void print_processes(const struct control_status_reply *reply)
{
	const struct wire_history *history = &reply->history;
	char when[32];

	(void)printf("  workers     %u, %u busy, %" PRIu64 " lost, %" PRIu64
		     " replaced after many scans\n",
		     reply->workers_alive, reply->workers_busy, reply->counters.workers_lost,
		     reply->counters.workers_replaced);
	(void)printf("  restarts    guard %u, engine %u, reporter %u, porter %u since %s\n",
		     history->ended[WIRE_ENDED_GUARD].n, history->ended[WIRE_ENDED_ENGINE].n,
		     history->ended[WIRE_ENDED_REPORTER].n, history->ended[WIRE_ENDED_PORTER].n,
		     human_time(when, sizeof(when), history->started_at));
	for (size_t i = 0; i < WIRE_ENDED_COUNT; i++)
		if (history->ended[i].n)
			(void)printf("              %s, %s: %s\n", ended_names[i],
				     human_time(when, sizeof(when), history->ended[i].last_at),
				     history->ended[i].reason);
	if (history->takeovers)
		(void)printf("  takeovers   %u, the last within %" PRIu64
			     " ms: opens waited, none was let go\n",
			     history->takeovers, history->last_takeover_us / CLOCK_US_PER_MS);
	if (history->gaps)
		(void)printf("  gaps        %u, the last of %" PRIu64
			     " ms without protection, when a guard was lost\n",
			     history->gaps, history->last_gap_us / CLOCK_US_PER_MS);
}

static void status_print(const struct status *status)
{
	const struct control_status_reply *reply = &status->reply;

	print_headline(status);
	print_watches("watched", status->includes, reply->includes);
	print_watches("mounts", status->places, reply->places);
	(void)printf("  mode        %s\n", mode_names[reply->mode]);
	print_signatures(status);
	print_processes(reply);
	print_counters(reply);
	print_policies(&reply->counters);
	print_findings(status);
	warm_start_print(&status->warm_start);
	full_scan_print(&status->full_scan);
	for (unsigned i = 0; i < status->n_warnings; i++)
		(void)printf("%s%s!%s %s\n", i ? "" : "\n", cli_style(CLI_BAD),
			     cli_style(CLI_PLAIN), status->warnings[i].text);
}

/* --- for programs --- */

static json_t *json_watches(const struct control_watch_reply *watches, uint32_t n)
{
	char path[LINE_ESCAPED_MAX(WIRE_PATH_MAX)];
	json_t *list = json_array();

	for (uint32_t i = 0; i < n; i++) {
		const struct control_watch_reply *watch = &watches[i];

		line_escape(path, sizeof(path), watch->path);
		(void)json_array_append_new(list, json_pack("{s:s, s:b, s:s, s:s, s:s}", "path",
							    path, "watched",
							    (int)(watch->state == CONTROL_WATCHED),
							    "filesystem", watch->filesystem, "mark",
							    watch->mark, "error", watch->error));
	}
	return list;
}

static json_t *json_counters(const struct control_counters *n)
{
	const struct {
		const char *name;
		uint64_t value;
	} counters[] = {
		{"opens", n->opens},
		{"out_of_scope", n->out_of_scope},
		{"excluded", n->excluded},
		{"known", n->known},
		{"same_content", n->same_content},
		{"joined", n->joined},
		{"denied", n->denied},
		{"timeouts", n->timeouts},
		{"late", n->late},
		{"poisoned", n->poisoned},
		{"rescans", n->rescans},
		{"marks", n->marks},
		{"drops", n->drops},
		{"workers_lost", n->workers_lost},
		{"workers_replaced", n->workers_replaced},
		{"not_scanned", n->not_scanned},
		{"read_errors", n->read_errors},
		{"alerts_dropped", n->alerts_dropped},
		{"overflows", n->overflows},
	};
	json_t *object = json_object(), *verdicts = json_object(), *scans = json_object();

	for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
		(void)json_object_set_new(object, counters[i].name,
					  json_integer((json_int_t)counters[i].value));
	for (int verdict = 0; verdict < VERDICT_COUNT; verdict++) {
		(void)json_object_set_new(verdicts, verdict_name((enum verdict)verdict),
					  json_integer((json_int_t)n->verdicts[verdict]));
		(void)json_object_set_new(scans, verdict_name((enum verdict)verdict),
					  json_integer((json_int_t)n->scans[verdict]));
	}
	(void)json_object_set_new(object, "verdicts", verdicts);
	(void)json_object_set_new(object, "scans", scans);
	return object;
}

static json_t *json_policies(const struct control_counters *n)
{
	json_t *object = json_object();

	for (unsigned i = 0; i < CONTROL_POLICY_COUNT; i++)
		(void)json_object_set_new(object, policy_names[i],
					  json_pack("{s:I, s:I}", "allowed",
						    (json_int_t)n->decided[i].allowed, "denied",
						    (json_int_t)n->decided[i].denied));
	return object;
}

static json_t *json_poison(const struct status *status)
{
	char path[LINE_ESCAPED_MAX(sizeof(status->poison->path))];
	char reason[LINE_ESCAPED_MAX(sizeof(status->poison->reason))];
	json_t *list = json_array();

	for (unsigned i = 0; i < status->n_poison; i++) {
		const struct control_poison_reply *poison = &status->poison[i];

		line_escape(path, sizeof(path), poison->path);
		line_escape(reason, sizeof(reason), poison->reason);
		(void)json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:I}", "path", path,
							    "reason", reason, "since",
							    (json_int_t)poison->since, "answered",
							    (json_int_t)poison->met));
	}
	return json_pack("{s:i, s:o}", "files", (int)status->reply.poison, "last", list);
}

static json_t *json_warnings(const struct status *status)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < status->n_warnings; i++)
		(void)json_array_append_new(list, json_string(status->warnings[i].text));
	return list;
}

static json_t *json_restarts(const struct wire_history *history)
{
	json_t *restarts =
		json_pack("{s:I, s:I, s:i, s:i}", "last_gap_us", (json_int_t)history->last_gap_us,
			  "last_takeover_us", (json_int_t)history->last_takeover_us, "gaps",
			  (int)history->gaps, "takeovers", (int)history->takeovers);
	json_t *last = json_object();

	for (size_t i = 0; i < WIRE_ENDED_COUNT; i++) {
		const struct wire_ended *ended = &history->ended[i];

		(void)json_object_set_new(restarts, ended_names[i],
					  json_integer((json_int_t)ended->n));
		if (ended->n)
			(void)json_object_set_new(last, ended_names[i],
						  json_pack("{s:I, s:s}", "at",
							    (json_int_t)ended->last_at, "reason",
							    ended->reason));
	}
	(void)json_object_set_new(restarts, "last", last);
	return restarts;
}

static void status_print_json(const struct status *status)
{
	const struct control_status_reply *reply = &status->reply;
	const struct wire_history *history = &reply->history;
	json_t *signatures = freshness_json(status->freshness);
	json_t *answer = json_pack(
		"{s:b, s:i, s:s, s:I, s:I, s:i, s:i, s:b}", "protecting",
		status->severity < STATUS_NOT_PROTECTING, "exit_code", status->severity, "mode",
		mode_names[reply->mode], "service_started", (json_int_t)history->started_at,
		"guard_started", (json_int_t)reply->guard_started_at, "held", (int)reply->held,
		"requests", (int)reply->requests, "engine_down", (int)reply->engine_down);

	(void)json_object_set_new(answer, "warnings", json_warnings(status));
	(void)json_object_set_new(answer, "includes",
				  json_watches(status->includes, reply->includes));
	(void)json_object_set_new(answer, "mounts", json_watches(status->places, reply->places));
	(void)json_object_update_new(signatures,
				     json_pack("{s:I, s:b, s:I, s:I}", "count",
					       (json_int_t)reply->engine.signatures, "test_only",
					       (int)reply->engine.test_only, "loaded",
					       (json_int_t)reply->engine.loaded_at, "newest",
					       (json_int_t)reply->engine.newest));
	(void)json_object_set_new(answer, "signatures", signatures);
	(void)json_object_set_new(answer, "workers",
				  json_pack("{s:i, s:i}", "alive", (int)reply->workers_alive,
					    "busy", (int)reply->workers_busy));
	(void)json_object_set_new(answer, "restarts", json_restarts(history));
	(void)json_object_set_new(answer, "content_cache",
				  json_pack("{s:I, s:I}", "entries", (json_int_t)reply->contents,
					    "capacity", (json_int_t)reply->contents_max));
	(void)json_object_set_new(answer, "bypassed_directories",
				  json_integer((json_int_t)reply->bypassed));
	(void)json_object_set_new(answer, "counters", json_counters(&reply->counters));
	(void)json_object_set_new(answer, "scan_ahead",
				  json_pack("{s:I, s:I, s:I, s:I}", "scanned",
					    (json_int_t)status_ahead(&reply->counters), "infected",
					    (json_int_t)reply->counters.ahead[VERDICT_INFECTED],
					    "waiting", (json_int_t)reply->ahead, "dropped",
					    (json_int_t)reply->counters.ahead_dropped));
	(void)json_object_set_new(answer, "policies", json_policies(&reply->counters));
	(void)json_object_set_new(answer, "infected_files", json_integer(reply->infected));
	(void)json_object_set_new(answer, "poison", json_poison(status));
	(void)json_object_set_new(answer, "warm_start", warm_start_json(&status->warm_start));
	(void)json_object_set_new(answer, "full_scan", full_scan_json(&status->full_scan));
	cli_print_json(answer);
}

static int status_unreachable(const struct cli *cli, const char *run_dir, int error)
{
	const char *reason = error == -ENOENT || error == -ECONNREFUSED ? "holdfastd is not running"
			     : error == -EACCES	   ? "only root and control-group may ask"
			     : error == -ETIMEDOUT ? "the guard does not answer"
						   : strerror(-error);

	if (cli->json) {
		json_t *answer = json_pack("{s:b, s:s, s:i}", "protecting", 0, "error", reason,
					   "exit_code", STATUS_NOT_PROTECTING);

		cli_print_json(answer);
	} else {
		(void)printf("%s%s%s: %s (%s/%s)\n", cli_style(CLI_BAD),
			     error == -EACCES ? "unknown" : "NOT PROTECTING", cli_style(CLI_PLAIN),
			     reason, run_dir, CONTROL_SOCKET_NAME);
	}
	return STATUS_NOT_PROTECTING;
}

int verb_status(const struct cli *cli, int argc, char **argv)
{
	struct conf *conf = cli_find_service(cli);
	struct status status = {0};
	int r;

	if (!conf)
		return STATUS_NOT_PROTECTING;
	r = status_ask(conf, &status);
	if (r < 0) {
		status.severity = status_unreachable(cli, conf->run_dir, r);
	} else {
		status_judge(&status);
		if (cli->json)
			status_print_json(&status);
		else
			status_print(&status);
	}
	free(status.includes);
	free(status.places);
	free(status.freshness);
	conf_free(conf);
	return status.severity;
}
