/* SPDX-License-Identifier: GPL-2.0-only */
#include "progress.h"

#include "../common/clock.h"
#include "../common/line.h"
#include "human.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

/* Opening a file and asking about it takes as long as scanning so many bytes. */
#define FILE_WEIGHT 16384

#define BAR_COLUMNS	 20
#define BAR_WIDTH_MIN	 100 /* of the terminal, for there to be a bar */
#define PATH_COLUMNS_MIN 12

/* A name that is longer shows its end; the figures behind it do not move. */
#define NAME_COLUMNS 20
/* Room for a bar behind a name and before the figures. */
#define TRANSFER_BAR_WIDTH_MIN 90

#define ELLIPSIS "..."

/* A character that is not ASCII may be two columns wide; none is wider. */
static unsigned progress_columns(const char *text)
{
	unsigned columns = 0;

	for (; *text; text++) {
		unsigned char byte = (unsigned char)*text;

		columns += byte < 0x80 ? 1 : byte >= 0xc0 ? 2 : 0;
	}
	return columns;
}

/* The longest end of text that fits, from a whole character on. */
static const char *progress_tail(const char *text, unsigned columns)
{
	unsigned surplus = progress_columns(text);

	while (surplus > columns) {
		unsigned char byte = (unsigned char)*text;

		surplus -= byte < 0x80 ? 1 : 2;
		do
			text++;
		while (((unsigned char)*text & 0xc0) == 0x80);
	}
	return text;
}

static void progress_add_path(char *buffer, size_t size, unsigned width, const char *path)
{
	char escaped[LINE_ESCAPED_MAX(PATH_MAX)];
	size_t length = strlen(buffer);
	unsigned used = (unsigned)length + 2; /* all ASCII until here */

	if (!*path || used + PATH_COLUMNS_MIN > width)
		return;
	line_escape(escaped, sizeof(escaped), path);
	if (progress_columns(escaped) <= width - used)
		(void)snprintf(buffer + length, size - length, "  %s", escaped);
	else
		(void)snprintf(buffer + length, size - length, "  %s%s", ELLIPSIS,
			       progress_tail(escaped, width - used - (unsigned)strlen(ELLIPSIS)));
}

/* How much of the work is done, from 0 to 1. What was counted may have grown meanwhile. */
static double progress_fraction(const struct progress *progress)
{
	double done = (double)progress->bytes + (double)progress->files * FILE_WEIGHT;
	double total = (double)progress->total_bytes + (double)progress->total_files * FILE_WEIGHT;

	return done >= total ? 1 : done / total;
}

static void progress_format_bar(char *buffer, size_t size, double fraction)
{
	unsigned full = (unsigned)(fraction * BAR_COLUMNS);

	(void)snprintf(buffer, size, "[%.*s%*s] ", (int)full, "####################",
		       (int)(BAR_COLUMNS - full), "");
}

static void progress_format_eta(char *buffer, size_t size, uint64_t seconds)
{
	if (seconds >= 3600)
		(void)snprintf(buffer, size, "  ETA %" PRIu64 ":%02u:%02u", seconds / 3600,
			       (unsigned)(seconds / 60 % 60), (unsigned)(seconds % 60));
	else
		(void)snprintf(buffer, size, "  ETA %u:%02u", (unsigned)(seconds / 60),
			       (unsigned)(seconds % 60));
}

static uint64_t progress_rate(uint64_t bytes, uint64_t elapsed_us)
{
	return elapsed_us ? (uint64_t)((double)bytes * CLOCK_US_PER_SEC / (double)elapsed_us) : 0;
}

char *progress_format(char *buffer, size_t size, unsigned width, const struct progress *progress)
{
	double fraction = progress->has_totals ? progress_fraction(progress) : 0;
	char bar[BAR_COLUMNS + 8] = "", done[32], total[32], speed[32], eta[48] = "";

	human_bytes(done, sizeof(done), progress->bytes);
	human_bytes(speed, sizeof(speed), progress_rate(progress->bytes, progress->elapsed_us));
	if (!progress->has_totals) {
		(void)snprintf(buffer, size, "counting  %" PRIu64 " files  %s  %s/s",
			       progress->files, done, speed);
	} else {
		if (width >= BAR_WIDTH_MIN)
			progress_format_bar(bar, sizeof(bar), fraction);
		if (fraction > 0)
			progress_format_eta(eta, sizeof(eta),
					    (uint64_t)((double)progress->elapsed_us *
						       (1 - fraction) / fraction) /
						    CLOCK_US_PER_SEC);
		(void)snprintf(
			buffer, size, "%s%3u%%  %" PRIu64 "/%" PRIu64 " files  %s/%s  %s/s%s", bar,
			(unsigned)(fraction * 100), progress->files, progress->total_files, done,
			human_bytes(total, sizeof(total), progress->total_bytes), speed, eta);
	}
	if (strlen(buffer) > width)
		buffer[width] = '\0';
	progress_add_path(buffer, size, width, progress->path);
	return buffer;
}

/* The name of the file, in NAME_COLUMNS. */
static void progress_format_name(char *buffer, size_t size, const char *name)
{
	char escaped[LINE_ESCAPED_MAX(NAME_MAX)];
	bool is_long;
	const char *tail;

	line_escape(escaped, sizeof(escaped), name);
	is_long = progress_columns(escaped) > NAME_COLUMNS;
	tail = progress_tail(escaped, NAME_COLUMNS - (is_long ? (unsigned)strlen(ELLIPSIS) : 0));
	(void)snprintf(buffer, size, "%s%s%*s", is_long ? ELLIPSIS : "", tail,
		       is_long ? 0 : (int)(NAME_COLUMNS - progress_columns(tail)), "");
}

char *progress_format_transfer(char *buffer, size_t size, unsigned width,
			       const struct progress_transfer *transfer)
{
	uint64_t rate = progress_rate(transfer->received, transfer->elapsed_us), left;
	double fraction;
	char bar[BAR_COLUMNS + 8] = "", name[LINE_ESCAPED_MAX(NAME_COLUMNS)];
	char done[32], total[32], speed[32], eta[48] = "";

	progress_format_name(name, sizeof(name), transfer->name);
	human_bytes(done, sizeof(done), transfer->done);
	human_bytes(speed, sizeof(speed), rate);
	if (width <= NAME_COLUMNS) {
		buffer[0] = '\0';
		return buffer;
	}
	if (!transfer->total) {
		(void)snprintf(buffer, size, "%s  %s  %s/s", name, done, speed);
	} else {
		left = transfer->total > transfer->done ? transfer->total - transfer->done : 0;
		fraction = left ? (double)transfer->done / (double)transfer->total : 1;
		if (width >= TRANSFER_BAR_WIDTH_MIN)
			progress_format_bar(bar, sizeof(bar), fraction);
		if (rate)
			progress_format_eta(eta, sizeof(eta), left / rate);
		(void)snprintf(buffer, size, "%s  %s%3u%%  %s/%s  %s/s%s", name, bar,
			       (unsigned)(fraction * 100), done,
			       human_bytes(total, sizeof(total), transfer->total), speed, eta);
	}
	/* All behind the name is ASCII. */
	if (strlen(buffer) - strlen(name) > width - NAME_COLUMNS)
		buffer[strlen(name) + width - NAME_COLUMNS] = '\0';
	return buffer;
}
