/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * The control socket (RUN-DIR/control, SOCK_SEQPACKET): one request, one reply, as often as the
 * client likes. Only root and members of control-group may connect. Requests carry no file
 * descriptor.
 */
#include "wire.h"

#define CONTROL_SOCKET_NAME "control"

/*
 * The scan socket (RUN-DIR/scan, SOCK_SEQPACKET), for everybody: WIRE_SCAN with a file that the
 * client has opened for reading, which shows that it may read it; WIRE_VERDICT comes back, in any
 * order. A client has at most SCAN_WINDOW files under way: further ones are not read from the
 * socket. WIRE_SCAN_INFO and WIRE_SCAN_WHY beside.
 */
#define SCAN_SOCKET_NAME "scan"
#define SCAN_WINDOW	 32

/* So many connections at once has one user at most; root has as many as there are. */
#define SCAN_CONNECTIONS_MAX 16

/* What decides over the opens of files in scope. */
enum control_mode { CONTROL_MODE_BLOCK, CONTROL_MODE_NOTIFY, CONTROL_MODE_OFF };

/* What decides over opens without a verdict: the keys of the configuration. */
enum control_policy {
	CONTROL_ON_TIMEOUT,
	CONTROL_ON_FAILURE,
	CONTROL_ON_INCOMPLETE,
	CONTROL_POLICY_COUNT
};

/* Opens that one of them has decided over, in mode block. */
struct control_decided {
	uint64_t allowed, denied;
};

/* The counters begin with the guard process, except those from the history. */
struct control_counters {
	uint64_t opens;	       /* permission events read */
	uint64_t out_of_scope; /* allowed: not below an include path, or excluded by path */
	uint64_t excluded;     /* allowed: the service itself, an excluded user or process */
	uint64_t verdicts[VERDICT_COUNT]; /* on files that were opened, or moved into scope */
	uint64_t scans[VERDICT_COUNT]; /* on others, that a scan on demand or a full scan found */
	uint64_t ahead[VERDICT_COUNT]; /* on files that were written, and that nobody wanted yet */
	uint64_t ahead_dropped;	       /* not scanned ahead, as others had to be scanned first */
	uint64_t known;		       /* opens and scans answered by a verdict given before */
	uint64_t
		same_content; /* files that were not scanned: their bytes were verified in others */
	uint64_t joined;      /* opens that were answered by a scan already under way */
	uint64_t denied;      /* opens refused */
	uint64_t timeouts;    /* opens answered by on-timeout */
	struct control_decided decided[CONTROL_POLICY_COUNT];
	uint64_t late;		   /* files that on-timeout let through and malware was found in */
	uint64_t poisoned;	   /* opens of files that workers did not survive before */
	uint64_t rescans;	   /* a file changed under its scan and was scanned again */
	uint64_t marks;		   /* clean files the kernel was told to stop asking about */
	uint64_t drops;		   /* close-after-write: such a mark was dropped */
	uint64_t workers_lost;	   /* workers that crashed or overran */
	uint64_t workers_replaced; /* workers that were let go after many scans */
	uint64_t not_scanned;	   /* no room or no memory to scan it */
	uint64_t alerts_dropped;
	uint64_t read_errors; /* opens the kernel refused, as it could not open the file for us */
	uint64_t overflows;   /* the kernel lost events: must stay 0 */
};

struct control_status_reply {
	struct wire_header header;
	int64_t guard_started_at; /* seconds since the epoch, as all times here */
	struct wire_history history;
	struct wire_engine_info engine;
	struct control_counters counters;
	uint32_t mode; /* enum control_mode */
	uint32_t includes;
	uint32_t workers_busy, workers_alive;
	uint32_t requests;    /* files being scanned or waiting for it */
	uint32_t full;	      /* 1: no more opens are read until some are answered */
	uint32_t held;	      /* opens waiting for an answer now */
	uint32_t engine_down; /* 1: no engine can be started */
	uint32_t places;      /* mounts that an include path leads to, or that are below one */
	uint32_t bypassed;    /* directories out of scope whose files are not asked about */
	uint32_t infected;    /* files known to be, whose opens are refused without a scan */
	uint32_t poison;      /* files that are not given to workers again, see POISON */
	uint32_t ahead;	      /* files that wait to be scanned as they were written */
	uint32_t unused;
	uint64_t contents, contents_max; /* entries of the content cache, and how many there can be;
					    0: it is off */
};
_Static_assert(sizeof(struct control_status_reply) == 1664, "wire format");

/* INCLUDE: an include path; DATABASE: a file of signatures that was loaded; PLACE: a mount that an
 * include path leads to, or that is below one; POISON: a file that is not given to workers again as
 * they did not survive it, the one that was met last first, CONTROL_POISON_MAX of them at most. */
#define CONTROL_POISON_MAX 16

struct control_index_request {
	struct wire_header header;
	uint32_t index;
	uint32_t unused;
};
_Static_assert(sizeof(struct control_index_request) == 16, "wire format");

enum control_watch_state {
	CONTROL_WATCHED,
	CONTROL_NOT_WATCHED, /* error says why */
	CONTROL_LEFT_ALONE   /* not watched as configured; error says why */
};

/* The reply to DATABASE; n: how many there are. */
struct control_database_reply {
	struct wire_header header;
	uint32_t index, n;
	struct wire_database database; /* without a name: there is none of this index */
};
_Static_assert(sizeof(struct control_database_reply) == 104, "wire format");

/* The reply to POISON; n: how many there are. */
struct control_poison_reply {
	struct wire_header header;
	uint32_t index, n;
	int64_t since;	/* seconds since the epoch */
	uint64_t met;	/* opens and scans that were answered without a worker since */
	char path[512]; /* when it was found, longer ones without their middle; empty: there is none
			   of this index */
	char reason[WIRE_SIGNATURE_MAX]; /* how its workers ended */
};
_Static_assert(sizeof(struct control_poison_reply) == 800, "wire format");

/* The reply to INCLUDE and PLACE. */
struct control_watch_reply {
	struct wire_header header;
	uint32_t index;
	uint32_t state;		  /* enum control_watch_state */
	char mark[32];		  /* the kind of mark: "filesystem", "mount", "layers" */
	char filesystem[32];	  /* its type: "ext4" */
	char path[WIRE_PATH_MAX]; /* INCLUDE: as configured, symbolic links resolved; PLACE: the
				     mount point, empty when it has gone meanwhile */
	char error[WIRE_SIGNATURE_MAX];
};
_Static_assert(sizeof(struct control_watch_reply) == 4432, "wire format");

/* In state-dir: what the guard keeps, which root alone may change, and its reports, the last
 * CONTROL_REPORTS_MAX of them, as long as they are no larger than CONTROL_REPORTS_BYTES_MAX
 * together. */
#define CONTROL_SCANS_DIR	  "scans"
#define CONTROL_REPORTS_DIR	  "scans/reports"
#define CONTROL_REPORTS_MAX	  60
#define CONTROL_REPORTS_BYTES_MAX (UINT64_C(512) << 20)

/* The full scan: asking about it and, for root only, telling it what to do. */
enum control_full_scan_verb {
	CONTROL_FULL_SCAN_ASK,
	CONTROL_FULL_SCAN_START,  /* now, whatever the schedule says; one that was paused goes on */
	CONTROL_FULL_SCAN_AFRESH, /* now, from the beginning, and files verified before too */
	CONTROL_FULL_SCAN_STOP,	  /* pause the one that runs: it goes on with the next slot */
	CONTROL_FULL_SCAN_VERB_COUNT
};

struct control_full_scan_request {
	struct wire_header header;
	uint32_t verb; /* enum control_full_scan_verb */
	uint32_t unused;
};
_Static_assert(sizeof(struct control_full_scan_request) == 16, "wire format");

enum control_full_scan_state {
	CONTROL_FULL_SCAN_IDLE,
	CONTROL_FULL_SCAN_RUNNING,
	CONTROL_FULL_SCAN_PAUSED, /* begun, and goes on with the next slot */
	CONTROL_FULL_SCAN_STATE_COUNT
};

/* What a full scan has done so far, or did. Times are seconds since the epoch, 0: never. */
struct control_full_scan_counts {
	int64_t began, ended;
	uint64_t directories, files; /* found */
	uint64_t bytes;		     /* the size of those files */
	uint64_t known;		     /* files verified before in this state, not scanned again */
	uint64_t scanned;	     /* files scanned */
	uint64_t bytes_scanned;	     /* their size */
	uint64_t infected, incomplete, failed;
	uint64_t skipped; /* excluded, on other filesystems, special files, ...; the report says */
	uint64_t unreadable; /* directories and files */
	uint64_t busy_ms;    /* time spent scanning, over all workers */
};
_Static_assert(sizeof(struct control_full_scan_counts) == 112, "wire format");

struct control_full_scan_reply {
	struct wire_header header;
	uint32_t state; /* enum control_full_scan_state */
	uint32_t error; /* errno why what was asked for was not done; 0: it was */
	int64_t next;	/* when it begins or goes on by itself, seconds since the epoch; 0: never */
	int64_t pause_at;		      /* finish-by of the one that runs; 0: none */
	struct control_full_scan_counts now;  /* RUNNING and PAUSED */
	struct control_full_scan_counts last; /* the last that was finished */
	char path[WIRE_PATH_MAX];	      /* RUNNING: where it is */
	char problem[WIRE_SIGNATURE_MAX];  /* for people: why nothing can be kept on disk; empty: it
					      can */
	char schedule[WIRE_SIGNATURE_MAX]; /* as configured */
};
_Static_assert(sizeof(struct control_full_scan_reply) == 4864, "wire format");

/* The warm start: files that were opened before are verified again, under other signatures or after
 * a restart. */
enum control_warm_start_state {
	CONTROL_WARM_START_OFF, /* warm-start = no, or mode = off */
	CONTROL_WARM_START_IDLE,
	CONTROL_WARM_START_RUNNING,
	CONTROL_WARM_START_STATE_COUNT
};

/* The reply to WARM_START. Numbers are those of the run that is under way, or of the last. */
struct control_warm_start_reply {
	struct wire_header header;
	uint32_t state; /* enum control_warm_start_state */
	uint32_t unused;
	uint64_t files;	      /* known as opened before */
	int64_t began, ended; /* seconds since the epoch; 0: not yet */
	uint64_t of, done;    /* files to look at, and looked at */
	uint64_t verified;    /* again, and clean */
	uint64_t known;	      /* verified before in this state, or opened meanwhile */
	uint64_t gone;	      /* no longer there */
	uint64_t passed_over; /* out of scope, empty, on no local filesystem, unreadable, ... */
	uint64_t infected, unverified;
};
_Static_assert(sizeof(struct control_warm_start_reply) == 104, "wire format");
