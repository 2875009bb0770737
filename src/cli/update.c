/* SPDX-License-Identifier: GPL-2.0-only */
/* holdfast update: fetches fresh signatures now, by the service where one runs. */
#include "cli.h"
#include "client.h"
#include "standalone_fetch.h"
#include "update_show.h"

#include "../common/chan.h"
#include "../common/clock.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <syslog.h>
#include <unistd.h>

/* A fetcher that says nothing for longer is lost: nothing that it does takes so long. */
#define SILENCE_S (30 * 60)

/* So long one of our own may take to end after its last message. */
#define END_S 60

#define TICK_MS 1000

static const char usage[] =
	"Usage: holdfast update [OPTION...]\n"
	"\n"
	"Asks the mirrors and custom URLs of the configuration for fresh signatures, and takes "
	"what\n"
	"is new. Where the service runs, it does so and loads them; where none runs, root can.\n"
	"\n"
	"  --mirror-to DIR        keep a copy of what the mirrors have in DIR, for a web server "
	"to\n"
	"                         serve it to other machines; without the service\n"
	"  -q, --quiet            print only what failed, and what may not be asked for yet\n"
	"  --json                 one object at the end\n"
	"  --config FILE          instead of " CONF_FILE_DEFAULT "\n"
	"\n"
	"Exit codes: 0 updated, 1 up to date, 2 failed, 3 cool-down: the servers want to be left\n"
	"alone for now.\n";

struct update {
	struct cli cli;
	const char *mirror_to; /* NULL: none */
	bool quiet;
	struct conf *conf;
	int signals; /* signalfd */
	int socket;  /* the fetcher tells of the run here; -1: it ended */
	int channel; /* of a fetcher of our own; -1: it ended, or it is the service's */
	struct standalone_fetch fetch;
	struct update_show *show;
	struct wire_update_done done; /* without a type: not yet */
};

/* --- what the fetcher says --- */

static int update_take_progress(void *context, struct chan_message *message)
{
	struct update *update = context;
	const struct wire_update_progress *progress = (const void *)message;

	if (!wire_string_ok(progress->file, sizeof(progress->file)))
		return -EPROTO;
	update_show_progress(update->show, progress);
	return 0;
}

static int update_take_item(void *context, struct chan_message *message)
{
	struct update *update = context;
	const struct wire_update_item *item = (const void *)message;

	if (item->result >= WIRE_UPDATE_RESULT_COUNT ||
	    !wire_string_ok(item->name, sizeof(item->name)) ||
	    !wire_string_ok(item->source, sizeof(item->source)) ||
	    !wire_string_ok(item->text, sizeof(item->text)))
		return -EPROTO;
	update_show_item(update->show, item);
	return 0;
}

static int update_take_done(void *context, struct chan_message *message)
{
	struct update *update = context;
	const struct wire_update_done *done = (const void *)message;

	if (done->result >= WIRE_UPDATE_RESULT_COUNT ||
	    !wire_string_ok(done->text, sizeof(done->text)))
		return -EPROTO;
	update->done = *done;
	return 0;
}

static int update_take_note(void *context, struct chan_message *message)
{
	struct update *update = context;
	const struct wire_note *note = (const void *)message;

	if (!wire_string_ok(note->text, sizeof(note->text)))
		return -EPROTO;
	if (note->priority <= LOG_WARNING)
		update_show_note(update->show, note->text);
	return 0;
}

/* What the supervisor would want to know: that it is alive, and when the next run is. */
static int update_take_nothing(void *context, struct chan_message *message)
{
	return 0;
}

static const struct chan_rule socket_rules[] = {
	{WIRE_UPDATE_PROGRESS, sizeof(struct wire_update_progress), false, update_take_progress},
	{WIRE_UPDATE_ITEM, sizeof(struct wire_update_item), false, update_take_item},
	{WIRE_UPDATE_DONE, sizeof(struct wire_update_done), false, update_take_done},
	{0},
};

static const struct chan_rule channel_rules[] = {
	{WIRE_NOTE, sizeof(struct wire_note), false, update_take_note},
	{WIRE_PONG, sizeof(struct wire_plain), false, update_take_nothing},
	{WIRE_FETCHED, sizeof(struct wire_fetched), false, update_take_nothing},
	{0},
};

/* --- until it ends --- */

/* Serves what is ready; a socket that ended is not looked at any more. */
static bool update_serve(struct update *update, const struct pollfd *ready, int *fd,
			 const struct chan_rule *rules)
{
	if (!ready->revents)
		return false;
	if (chan_serve(ready->fd, rules, update) < 0)
		*fd = -1;
	return true;
}

/* Of a fetcher of our own what it has to say is heard until it ends. */
static bool update_is_over(const struct update *update)
{
	return update->channel < 0 && (update->done.header.type || update->socket < 0);
}

static int update_interrupted(struct update *update)
{
	struct signalfd_siginfo signal = {.ssi_signo = SIGTERM};

	(void)!read(update->signals, &signal, sizeof(signal));
	return update_show_fail(update->show, 128 + (int)signal.ssi_signo,
				update->fetch.pid ? "interrupted"
						  : "interrupted: the service goes on with it");
}

static int update_wait(struct update *update)
{
	uint64_t heard_us = clock_monotonic_us(), silence_us;
	bool heard;

	while (!update_is_over(update)) {
		struct pollfd ready[] = {{.fd = update->signals, .events = POLLIN},
					 {.fd = update->channel, .events = POLLIN},
					 {.fd = update->socket, .events = POLLIN}};

		if (poll(ready, 3, TICK_MS) < 0)
			continue;
		if (ready[0].revents)
			return update_interrupted(update);
		heard = update_serve(update, &ready[1], &update->channel, channel_rules);
		heard |= update_serve(update, &ready[2], &update->socket, socket_rules);
		if (heard)
			heard_us = clock_monotonic_us();
		silence_us = clock_monotonic_us() - heard_us;
		if (update->done.header.type && update->fetch.pid &&
		    silence_us > END_S * CLOCK_US_PER_SEC)
			break;
		if (silence_us > SILENCE_S * CLOCK_US_PER_SEC)
			return update_show_fail(update->show, UPDATE_FAILED,
						"the fetcher has said nothing for half an hour");
		update_show_tick(update->show);
	}
	if (update->done.header.type)
		return update_show_end(update->show, &update->done);
	return update_show_fail(update->show, UPDATE_FAILED,
				update->fetch.pid
					? "the fetcher ended unexpectedly"
					: "the fetcher ended unexpectedly; the log says why");
}

/* --- who fetches --- */

static const char *update_unreachable(int error)
{
	return error == -EACCES	     ? "only root may have signatures fetched"
	       : error == -ETIMEDOUT ? "the guard does not answer"
				     : strerror(-error);
}

/* A fetcher of our own. Returns whether it runs; if not, why stands in problem. */
static bool update_start(struct update *update, char *problem, size_t size)
{
	update->conf = cli_read_conf(&update->cli);
	if (!update->conf) {
		(void)snprintf(problem, size, "the configuration cannot be used: %s",
			       update->cli.config);
		return false;
	}
	if (!standalone_fetch_start(&update->fetch, update->conf, update->mirror_to, problem, size))
		return false;
	update->socket = update->fetch.told;
	update->channel = update->fetch.channel;
	return true;
}

/* Returns whether somebody fetches; if not, why stands in problem. */
static bool update_begin(struct update *update, char *problem, size_t size)
{
	const struct wire_plain ask = {.header = WIRE_INIT(WIRE_CONTROL_UPDATE, struct wire_plain)};
	struct conf *conf;
	int r;

	if (update->mirror_to)
		return update_start(update, problem, size);
	conf = cli_find_service(&update->cli);
	if (!conf) {
		(void)snprintf(problem, size, "out of memory");
		return false;
	}
	update->socket = client_connect(conf->run_dir, CONTROL_SOCKET_NAME);
	r = update->socket < 0 ? update->socket : chan_send(update->socket, &ask.header, -1);
	if (r < 0)
		(void)snprintf(problem, size, "%s (%s/%s)", update_unreachable(r), conf->run_dir,
			       CONTROL_SOCKET_NAME);
	conf_free(conf);
	return r == -ENOENT || r == -ECONNREFUSED ? update_start(update, problem, size) : r == 0;
}

static int update_run(struct update *update)
{
	struct update_show_options options = {
		.json = update->cli.json,
		.quiet = update->quiet,
		.progress = isatty(STDERR_FILENO) && !update->cli.json && !update->quiet,
		.out = stdout,
		.err = stderr,
	};
	char problem[WIRE_TEXT_MAX];
	bool has_begun;
	int code;

	/* The fetcher must not outlive a reader of ours that goes away. */
	(void)signal(SIGPIPE, SIG_IGN);
	update->signals = cli_block_signals();
	has_begun = update_begin(update, problem, sizeof(problem));
	options.service = !update->fetch.pid;
	update->show = update_show_new(&options);
	if (!update->show)
		code = cli_error("out of memory");
	else if (has_begun)
		code = update_wait(update);
	else
		code = update_show_fail(update->show, UPDATE_FAILED, problem);

	if (!update->fetch.pid && update->socket >= 0)
		close(update->socket);
	standalone_fetch_end(&update->fetch);
	update_show_free(update->show);
	conf_free(update->conf);
	close(update->signals);
	return code;
}

int verb_update(const struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
		CLI_OPTIONS,
		{"mirror-to", required_argument, NULL, 'm'},
		{"quiet", no_argument, NULL, 'q'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct update update = {
		.cli = *cli,
		.socket = -1,
		.channel = -1,
		.fetch = {.channel = -1, .told = -1},
	};
	int option;

	optind = 0;
	while ((option = getopt_long(argc, argv, "c:q", options, NULL)) != -1) {
		if (option == 'm')
			update.mirror_to = optarg;
		else if (option == 'q')
			update.quiet = true;
		else if (option == 'h')
			return fputs(usage, stdout) < 0 ? CLI_ERROR : CLI_OK;
		else if (!cli_option(&update.cli, option, optarg))
			return CLI_ERROR;
	}
	if (optind < argc)
		return cli_error(
			"usage: holdfast update [OPTION...]; try 'holdfast update --help'");
	if (update.mirror_to && !*update.mirror_to)
		return cli_error("--mirror-to: no directory");
	return update_run(&update);
}
