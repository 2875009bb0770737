/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * writer: the thread that writes lines to the sinks. It may wait for a log daemon as long as that
 * likes; the process that it is a thread of goes on.
 *
 * It takes what comes over a socket, one after the other: WIRE_NOTE, WIRE_FOUND, whose strings have
 * been checked, and struct writer_conf, so that a configuration is in force from that line on.
 */
#include "../common/conf.h"

#include <holdfast/wire.h>

struct writer_conf {
	struct wire_header header; /* WIRE_CONFIG */
	struct conf *conf;	   /* the writer's from here on */
};

struct writer;

/*
 * writer_start() starts the thread, which reads from inbox and owns it. Each configuration is
 * answered on channel by WIRE_READY, or by WIRE_FAILED where its log file cannot be written and the
 * one before stays. NULL: it could not be started, and inbox is closed.
 */
struct writer *writer_start(int inbox, int channel);

/* writer_end() waits until everything sent to inbox before its other end was closed is written.
 * Takes NULL. Returns NULL. */
struct writer *writer_end(struct writer *writer);
