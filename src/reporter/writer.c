/* SPDX-License-Identifier: GPL-2.0-only */
#include "writer.h"

#include "../common/chan.h"
#include "../common/clock.h"
#include "sink.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

struct writer {
	pthread_t thread;
	int inbox;
	int channel; /* to the supervisor */
	struct conf *conf;
	struct sink_file *file;
	bool file_broken; /* so that a full disk is told of once, not with each line */
};

static void writer_write(struct writer *writer, const struct report *report);

static void writer_write_note(struct writer *writer, uint64_t time_us, int priority,
			      const char *text)
{
	struct report report;

	report_note(&report, time_us, priority, text);
	writer_write(writer, &report);
}

static void writer_write_file(struct writer *writer, const struct report *report)
{
	int r = sink_file_write(writer->file, report);
	bool was_broken = writer->file_broken;
	char text[WIRE_TEXT_MAX];

	writer->file_broken = r < 0;
	if (r < 0 && !was_broken) {
		(void)snprintf(text, sizeof(text), "log-file: lines are being lost: %s",
			       strerror(-r));
		writer_write_note(writer, clock_wall_us(), LOG_ERR, text);
	}
}

static void writer_write(struct writer *writer, const struct report *report)
{
	if (writer->conf && writer->conf->syslog)
		sink_system_write(report);
	if (writer->file)
		writer_write_file(writer, report);
	sink_stderr_write(report);
}

static void writer_take_note(struct writer *writer, const struct wire_note *note)
{
	writer_write_note(writer, note->time_us ? (uint64_t)note->time_us : clock_wall_us(),
			  LOG_PRI((int)note->priority), note->text);
}

static void writer_take_found(struct writer *writer, const struct wire_found *found)
{
	uint64_t time_us = (uint64_t)found->time_us;
	struct report report;

	report_found(&report, found);
	writer_write(writer, &report);
	if (found->answer == WIRE_ANSWER_LATE)
		writer_write_note(writer, time_us, LOG_ERR,
				  "the file of the line above was opened before its verdict came: "
				  "hold-timeout had passed");
	if (found->answer == WIRE_ANSWER_MOVED)
		writer_write_note(writer, time_us, LOG_ERR,
				  "the file of the line above came with a directory that was moved "
				  "here; it can have been opened in the moment before it was "
				  "scanned");
}

static void writer_answer(const struct writer *writer, enum wire_type type, const char *text)
{
	const struct wire_result result = wire_result_make(type, text);

	(void)chan_send(writer->channel, &result.header, -1);
}

static void writer_take_conf(struct writer *writer, struct conf *conf)
{
	struct sink_file *file = NULL;
	char problem[WIRE_TEXT_MAX];

	if (conf->log_file && !(file = sink_file_open(conf, problem, sizeof(problem)))) {
		conf_free(conf);
		writer_answer(writer, WIRE_FAILED, problem);
		return;
	}
	sink_file_close(writer->file);
	conf_free(writer->conf);
	writer->file = file;
	writer->file_broken = false;
	writer->conf = conf;
	sink_system_open(conf);
	writer_answer(writer, WIRE_READY, "");
}

static void *writer_run(void *context)
{
	struct writer *writer = context;
	union {
		struct wire_header header;
		struct wire_note note;
		struct wire_found found;
		struct writer_conf conf;
	} message;
	ssize_t n;

	while ((n = recv(writer->inbox, &message, sizeof(message), 0)) > 0 ||
	       (n < 0 && errno == EINTR)) {
		if (n < 0)
			continue;
		if (message.header.type == WIRE_NOTE)
			writer_take_note(writer, &message.note);
		else if (message.header.type == WIRE_FOUND)
			writer_take_found(writer, &message.found);
		else
			writer_take_conf(writer, message.conf.conf);
	}
	return NULL;
}

static struct writer *writer_free(struct writer *writer)
{
	close(writer->inbox);
	sink_file_close(writer->file);
	conf_free(writer->conf);
	free(writer);
	return NULL;
}

struct writer *writer_start(int inbox, int channel)
{
	struct writer *writer = calloc(1, sizeof(*writer));

	if (!writer) {
		close(inbox);
		return NULL;
	}
	writer->inbox = inbox;
	writer->channel = channel;
	return pthread_create(&writer->thread, NULL, writer_run, writer) == 0 ? writer
									      : writer_free(writer);
}

struct writer *writer_end(struct writer *writer)
{
	if (!writer)
		return NULL;
	(void)pthread_join(writer->thread, NULL);
	return writer_free(writer);
}
