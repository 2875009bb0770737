/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * Every message between holdfast's processes. One message is one datagram on a SOCK_SEQPACKET
 * socket: a fixed struct that begins with a wire_header, and at most one file descriptor beside it.
 * Both ends come from one build, so the structs are the format; a peer that sends another version,
 * type, length or number of descriptors is dropped (see src/common/chan.h).
 *
 * Strings are NUL-terminated within their arrays; receivers check that with wire_string_ok().
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "verdict.h"

#define WIRE_VERSION	   1
#define WIRE_PATH_MAX	   4096 /* PATH_MAX: the longest path /proc/self/fd can name */
#define WIRE_TEXT_MAX	   1024
#define WIRE_WORKERS_MAX   128 /* of one engine */
#define WIRE_SIGNATURE_MAX 256
#define WIRE_VERSIONS_MAX  512
#define WIRE_EXE_MAX	   512 /* longer executable paths are cut: they only inform \ */

enum wire_type {
	/* supervisor to a child */
	WIRE_CONFIG = 1,  /* fd: a sealed snapshot of the configuration */
	WIRE_PEER,	  /* fd: a socket whose other end another process holds */
	WIRE_PING,	  /* answer with WIRE_PONG from the main loop */
	WIRE_ENGINE_DOWN, /* no engine can be started: do not keep openers waiting for one */
	WIRE_TRUSTED_PID, /* this process reads the configuration: do not hold its opens */
	WIRE_HISTORY,	  /* restarts and gaps, for status */
	WIRE_FETCH,	  /* fetcher: what to do, after WIRE_CONFIG */
	WIRE_TRIAL,	  /* engine: only try the signatures, see engine.h; before WIRE_CONFIG */
	WIRE_RELEASE,	  /* guard: let go of all engines; another one will be introduced */
	WIRE_CLONE,	  /* standby: make another; fd: its channel */
	WIRE_TAKE_OVER,	  /* standby: be the guard; what follows is for that */
	/* a child to the supervisor */
	WIRE_READY,
	WIRE_FAILED, /* the child could not do what was asked; text says why */
	WIRE_PONG,
	WIRE_STANDBY,  /* a standby's first word on its channel */
	WIRE_SWITCHED, /* guard: another engine has taken over */
	WIRE_UPDATE,   /* guard: somebody asks for fresh signatures; fd: a socket to tell him on */
	WIRE_FETCHED,  /* fetcher: the run is over */
	WIRE_WATCH,    /* reader of the configuration; fd: inotify on the directory of signatures */
	WIRE_STOPPING, /* supervisor to the reporter: the end that follows was asked for */
	/* anyone to the reporter, and the engine to the supervisor who passes it on */
	WIRE_NOTE,
	WIRE_FOUND,
	/* engine to guard */
	WIRE_ENGINE_INFO,
	WIRE_DATABASE, /* after WIRE_ENGINE_INFO, one for each file of signatures */
	WIRE_WORKER,   /* fd: the socket of a new worker */
	WIRE_WORKER_ENDED,
	/* guard to engine */
	WIRE_KILL_WORKER,
	WIRE_RETIRE, /* another engine has taken over: fork no more workers, end with this socket */
	WIRE_CONTENTS,	  /* fd: the table of contents, read-only; before it no worker is forked */
	WIRE_NO_CONTENTS, /* there is none */
	WIRE_REPLACE_WORKER, /* it will be let go: fork another one beside it */
	/* guard to worker and back, and between the scan socket and the guard */
	WIRE_SCAN, /* fd: the file to scan */
	WIRE_VERDICT,
	/* porter to guard */
	WIRE_SCAN_CLIENT, /* fd: a socket on which a client is served */
	/* scan socket, and by way of the porter between client and guard */
	WIRE_SCAN_INFO, /* answered with WIRE_ENGINE_INFO */
	/* fd: a file that the client was refused, by whatever descriptor; a struct wire_scan, and
	 * answered with WIRE_VERDICT: why */
	WIRE_SCAN_WHY,
	/* control socket: see control.h */
	WIRE_CONTROL_STATUS,
	WIRE_CONTROL_STATUS_REPLY,
	WIRE_CONTROL_INCLUDE,
	WIRE_CONTROL_INCLUDE_REPLY,
	WIRE_CONTROL_PLACE,
	WIRE_CONTROL_PLACE_REPLY,
	WIRE_CONTROL_FULL_SCAN,
	WIRE_CONTROL_FULL_SCAN_REPLY,
	WIRE_CONTROL_DATABASE,
	WIRE_CONTROL_DATABASE_REPLY,
	WIRE_CONTROL_POISON,
	WIRE_CONTROL_POISON_REPLY,
	WIRE_CONTROL_UPDATE,
	WIRE_CONTROL_WARM_START,
	WIRE_CONTROL_WARM_START_REPLY,
	/* from the fetcher to whoever asked for an update, on the socket he asked on */
	WIRE_UPDATE_PROGRESS,
	WIRE_UPDATE_ITEM,
	WIRE_UPDATE_DONE,
	WIRE_TYPE_COUNT
};

struct wire_header {
	uint16_t version;
	uint16_t type; /* enum wire_type */
	uint32_t size; /* of the whole message in bytes */
};
_Static_assert(sizeof(struct wire_header) == 8, "wire format");

/* A message that is a type and nothing more: PING, PONG, CONFIG, ENGINE_DOWN, control requests. */
struct wire_plain {
	struct wire_header header;
};
_Static_assert(sizeof(struct wire_plain) == 8, "wire format");

enum wire_peer_role {
	WIRE_PEER_REPORTER, /* guard: send notes and findings here */
	WIRE_PEER_ENGINE,   /* guard: an engine that has loaded its signatures */
	WIRE_PEER_CONTROL,  /* guard: the listening control socket */
	WIRE_PEER_SCAN,	    /* porter: the listening scan socket */
	WIRE_PEER_PORTER,   /* guard: it announces clients here */
	WIRE_PEER_GUARD,    /* engine, reporter, porter: the guard's end */
	WIRE_PEER_UPDATE,   /* fetcher: somebody who wants to be told of the run */
	WIRE_PEER_COUNT
};

struct wire_peer {
	struct wire_header header;
	uint32_t role; /* enum wire_peer_role */
	int32_t pid;   /* of the process at the other end; 0: any */
};
_Static_assert(sizeof(struct wire_peer) == 16, "wire format");

struct wire_switched {
	struct wire_header header;
	int32_t engine; /* its pid, as it was introduced */
	uint32_t unused;
};
_Static_assert(sizeof(struct wire_switched) == 16, "wire format");

/* PING and PONG between guard and worker: each guard knows its own numbers only. */
struct wire_question {
	struct wire_header header;
	uint64_t number;
};
_Static_assert(sizeof(struct wire_question) == 16, "wire format");

struct wire_take_over {
	struct wire_header header;
	int32_t predecessor;  /* the guard that has ended; 0: there was none */
	uint32_t has_crashed; /* 1: by a fault of its own */
};
_Static_assert(sizeof(struct wire_take_over) == 16, "wire format");

struct wire_standby {
	struct wire_header header;
	int32_t pid;
	uint32_t unused;
};
_Static_assert(sizeof(struct wire_standby) == 16, "wire format");

struct wire_trusted_pid {
	struct wire_header header;
	int32_t pid; /* 0: nobody any more */
	uint32_t unused;
};
_Static_assert(sizeof(struct wire_trusted_pid) == 16, "wire format");

enum wire_ended_role {
	WIRE_ENDED_GUARD,
	WIRE_ENDED_STANDBY,
	WIRE_ENDED_ENGINE,
	WIRE_ENDED_REPORTER,
	WIRE_ENDED_PORTER,
	WIRE_ENDED_COUNT
};

#define WIRE_REASON_MAX 112

/* The processes of one kind that ended without having been asked to. */
struct wire_ended {
	int64_t last_at; /* seconds since the epoch; 0: none has */
	uint32_t n;
	uint32_t unused;
	char reason[WIRE_REASON_MAX]; /* why the last one did, for people */
};
_Static_assert(sizeof(struct wire_ended) == 128, "wire format");

struct wire_history {
	struct wire_header header;
	int64_t started_at;	   /* of the supervisor, seconds since the epoch */
	uint64_t last_gap_us;	   /* so long were files left unprotected last; 0: never */
	uint64_t last_takeover_us; /* so long did it take last; 0: never */
	uint32_t gaps;		   /* losses of the guard that nobody took over from */
	uint32_t takeovers;	   /* those that a standby did */
	struct wire_ended ended[WIRE_ENDED_COUNT];
};
_Static_assert(sizeof(struct wire_history) == 680, "wire format");

/* READY and FAILED. The engine reports what it loaded; the others leave the numbers 0. */
struct wire_result {
	struct wire_header header;
	uint32_t signatures;	  /* loaded, the embedded test signature included */
	uint32_t test_only;	  /* 1: nothing but the embedded test signature */
	int64_t newest;		  /* when the newest signatures were made, as in wire_engine_info */
	uint64_t memory;	  /* resident bytes of the engine once it has loaded */
	char text[WIRE_TEXT_MAX]; /* FAILED: why */
};
_Static_assert(sizeof(struct wire_result) == 1056, "wire format");

struct wire_note {
	struct wire_header header;
	int64_t time_us;   /* since the epoch; 0: when it is read */
	uint32_t priority; /* of syslog: LOG_ERR, LOG_WARNING, ... */
	uint32_t unused;
	char text[WIRE_TEXT_MAX];
};
_Static_assert(sizeof(struct wire_note) == 1048, "wire format");

/* What the openers of an infected file were told. */
enum wire_answer {
	WIRE_ANSWER_BLOCKED,
	WIRE_ANSWER_NOTIFIED, /* mode = notify: let through */
	WIRE_ANSWER_LATE,  /* the verdict came after the hold deadline had let the opener through */
	WIRE_ANSWER_MOVED, /* nobody was held: it was moved into scope, and scanned for that */
	WIRE_ANSWER_DEMANDED,  /* nobody was held: somebody asked for a scan */
	WIRE_ANSWER_SCHEDULED, /* nobody was held: a full scan */
	WIRE_ANSWER_WARM,      /* nobody was held: a warm start, as it had been opened before */
	WIRE_ANSWER_AHEAD,     /* nobody was held: it had just been written */
	WIRE_ANSWER_COUNT
};

struct wire_found {
	struct wire_header header;
	int64_t time_us;  /* since the epoch */
	int32_t pid;	  /* of the first opener */
	uint32_t uid;	  /* its effective uid; UINT32_MAX: not known */
	uint32_t answer;  /* enum wire_answer */
	uint32_t openers; /* how many opens this one scan answered */
	char signature[WIRE_SIGNATURE_MAX];
	char exe[WIRE_EXE_MAX]; /* of the first opener; empty: not known */
	char path[WIRE_PATH_MAX];
};
_Static_assert(sizeof(struct wire_found) == 4896, "wire format");

struct wire_engine_info {
	struct wire_header header;
	int64_t loaded_at; /* seconds since the epoch */
	uint32_t signatures;
	uint32_t test_only;
	uint32_t workers;
	uint32_t scan_deadline_ms; /* a worker that is silent for longer is lost */
	/* Tells sets of signatures apart, and the settings that they are used with: a file that is
	 * clean under one is clean under the same again. */
	uint64_t set;
	int64_t newest;	 /* when the newest signatures were made, seconds since the epoch: what the
			    newest signed file says of itself, without any the newest file's time of
			    modification; 0: there are none */
	char engine[32]; /* the version of libclamav: "1.4.6" */
	char versions[WIRE_VERSIONS_MAX]; /* of each file of signatures: "daily.cvd 27450, ..." */
};
_Static_assert(sizeof(struct wire_engine_info) == 592, "wire format");

#define WIRE_DATABASE_NAME_MAX 64
#define WIRE_DATABASES_MAX     64 /* further ones are loaded, and not told of */

/* One file of signatures that was loaded. */
struct wire_database {
	struct wire_header header;
	int64_t built_at; /* a .cvd or .cld: when it was made; another: its time of modification */
	uint32_t version; /* of a .cvd or .cld; 0: it has none */
	uint32_t signatures;		   /* as a .cvd or .cld says of itself; 0: it does not */
	char name[WIRE_DATABASE_NAME_MAX]; /* "daily.cvd" */
};
_Static_assert(sizeof(struct wire_database) == 88, "wire format");

/* WORKER, KILL_WORKER and REPLACE_WORKER */
struct wire_worker {
	struct wire_header header;
	int32_t pid;
	uint32_t unused;
};
_Static_assert(sizeof(struct wire_worker) == 16, "wire format");

/* WORKER_ENDED: how, which tells whether what it was scanning is to blame. */
struct wire_worker_ended {
	struct wire_header header;
	int32_t pid;
	int32_t signal; /* that ended it; 0: it ended of itself */
};
_Static_assert(sizeof(struct wire_worker_ended) == 16, "wire format");

/* Who has files scanned. */
struct wire_scan_client {
	struct wire_header header;
	int32_t pid;
	uint32_t uid;
};
_Static_assert(sizeof(struct wire_scan_client) == 16, "wire format");

struct wire_scan {
	struct wire_header header;
	uint64_t id;	/* comes back in the verdict */
	uint32_t flags; /* WIRE_SCAN_* */
	uint32_t unused;
	uint64_t size; /* to a worker: of the file, as the guard has seen it */
};
_Static_assert(sizeof(struct wire_scan) == 32, "wire format");

/* To the guard: scan it although it was verified in this state before. To a worker: although its
 * content may be known. */
#define WIRE_SCAN_AFRESH 1u

#define WIRE_DIGEST_SIZE 32 /* SHA-256 */

struct wire_verdict {
	struct wire_header header;
	uint64_t id;
	uint64_t scanned; /* bytes that were looked at, those unpacked from it included */
	uint64_t cpu_us;  /* processor time that it took */
	uint32_t verdict; /* enum verdict */
	uint32_t flags;	  /* WIRE_VERDICT_* */
	char reason[WIRE_SIGNATURE_MAX];  /* INFECTED: the signature; INCOMPLETE, FAILED: why */
	char warning[WIRE_SIGNATURE_MAX]; /* what libclamav had to say of the file; empty: nothing
					   */
	unsigned char digest[WIRE_DIGEST_SIZE]; /* see WIRE_VERDICT_HASHED */
};
_Static_assert(sizeof(struct wire_verdict) == 584, "wire format");

/* From the guard: it was verified in this state before, and not scanned now. */
#define WIRE_VERDICT_KNOWN 1u

/* From the guard: there is no engine that could scan it. */
#define WIRE_VERDICT_NO_ENGINE 2u

/* From the guard: too much that somebody waits for is under way; to be asked for later. */
#define WIRE_VERDICT_LATER 16u

/* From a worker: the digest is that of the file, which has the size that WIRE_SCAN said. */
#define WIRE_VERDICT_HASHED 4u

/* From a worker: a file of this content was clean before, and this one was not scanned. */
#define WIRE_VERDICT_SAME_CONTENT 8u

/* What a run of the fetcher is for. */
struct wire_fetch {
	struct wire_header header;
	uint32_t flags; /* WIRE_FETCH_* */
	uint32_t unused;
	char mirror_to[WIRE_PATH_MAX]; /* keep a mirror in this directory; empty: the directory of
					  signatures */
};
_Static_assert(sizeof(struct wire_fetch) == 4112, "wire format");

/* Ask for nothing before the time that the last run has planned. */
#define WIRE_FETCH_IF_DUE 1u

/* How an update ended, of one file or of all: the worst of them. */
enum wire_update_result {
	WIRE_UPDATE_UP_TO_DATE,
	WIRE_UPDATE_UPDATED,
	WIRE_UPDATE_COOL_DOWN, /* no source may be asked yet */
	WIRE_UPDATE_FAILED,
	WIRE_UPDATE_RESULT_COUNT
};

struct wire_fetched {
	struct wire_header header;
	int64_t next;	    /* when to run again, seconds since the epoch; 0: not by itself */
	uint32_t result;    /* enum wire_update_result */
	uint32_t published; /* 1: there are other signatures than before */
};
_Static_assert(sizeof(struct wire_fetched) == 24, "wire format");

/* A transfer, several times a second at most. */
struct wire_update_progress {
	struct wire_header header;
	uint64_t done, total; /* bytes; total 0: not known */
	char file[WIRE_DATABASE_NAME_MAX];
};
_Static_assert(sizeof(struct wire_update_progress) == 88, "wire format");

/* What became of one database or custom file. */
struct wire_update_item {
	struct wire_header header;
	uint32_t result;  /* enum wire_update_result */
	uint32_t patches; /* how many cdiffs made it; 0: it came as a whole, or not at all */
	uint32_t version_before, version_after;	      /* 0: none */
	uint32_t signatures_before, signatures_after; /* 0: not known */
	uint64_t bytes;				      /* received for it, whatever became of them */
	int64_t until;				      /* COOL_DOWN: seconds since the epoch */
	char name[WIRE_DATABASE_NAME_MAX];	      /* "daily", "local.ndb" */
	char source[WIRE_SIGNATURE_MAX]; /* URL it came from or was asked at; without a password */
	char text[WIRE_TEXT_MAX];	 /* what else there is to say: why it failed, ...; empty:
					    nothing */
};
_Static_assert(sizeof(struct wire_update_item) == 1392, "wire format");

/* The last message of a run. */
struct wire_update_done {
	struct wire_header header;
	uint64_t bytes;	    /* received */
	uint32_t requests;  /* sent */
	uint32_t result;    /* enum wire_update_result */
	uint32_t published; /* 1: there are other signatures than before */
	uint32_t unused;
	char text[WIRE_TEXT_MAX]; /* FAILED: why nothing could be tried; empty: the items say */
};
_Static_assert(sizeof(struct wire_update_done) == 1056, "wire format");

/* A datagram is never longer than this. */
#define WIRE_MESSAGE_MAX 8192
_Static_assert(sizeof(struct wire_found) <= WIRE_MESSAGE_MAX, "wire format");

/* wire_string_ok() says whether a string array that came over a socket ends within its bounds. */
static inline bool wire_string_ok(const char *string, size_t size)
{
	return memchr(string, '\0', size) != NULL;
}

/* WIRE_INIT() gives the header of a message of C type struct_type. */
#define WIRE_INIT(type_, struct_type)                                                              \
	{                                                                                          \
		.version = WIRE_VERSION, .type = (type_), .size = sizeof(struct_type)              \
	}

/* wire_note_make() makes a WIRE_NOTE; text is cut where it is too long. */
static inline struct wire_note wire_note_make(int priority, const char *text)
{
	struct wire_note note = {
		.header = WIRE_INIT(WIRE_NOTE, struct wire_note),
		.priority = (uint32_t)priority,
	};

	(void)snprintf(note.text, sizeof(note.text), "%s", text);
	return note;
}

/* wire_verdict_make() makes a WIRE_VERDICT for no scan in particular; reason is cut where it is too
 * long. */
static inline struct wire_verdict wire_verdict_make(enum verdict verdict, const char *reason)
{
	struct wire_verdict message = {
		.header = WIRE_INIT(WIRE_VERDICT, struct wire_verdict),
		.verdict = verdict,
	};

	(void)snprintf(message.reason, sizeof(message.reason), "%s", reason);
	return message;
}

/* wire_result_make() makes a WIRE_READY (text is empty) or a WIRE_FAILED (text says why). */
static inline struct wire_result wire_result_make(enum wire_type type, const char *text)
{
	struct wire_result result = {.header = WIRE_INIT(type, struct wire_result)};

	(void)snprintf(result.text, sizeof(result.text), "%s", text);
	return result;
}
