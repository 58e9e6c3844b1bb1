/* SPDX-License-Identifier: Apache-2.0 */
/* hull-keeper: what it is made of. The contract to the outside is keeper/api.h.
 *
 * One thread, one libuv loop (loop/loop.h), one sandbox. Nothing polls, and no timer runs while nothing happens.
 *
 *   control.sock ── client/client.c ─┬─ client/service.c  the KEEPER service, answered here
 *                                    └─ session/relay.c ──┐  EXEC, DIAL, TAR_*: stream by stream, credit and all
 *   docker.sock ── client/docker_socket.c ────────── DIAL ┼── guest/guest.c ── the engine's wire
 *   session/jobs.c, guest/dockerlog.c ────────────── EXEC ┘
 *   guest/guest.c ── network/pair.c ── network/gateway.c ── hull-egress   CONNECT, RESOLVE, DATAGRAM; DIAL back
 *   guest/guest.c ── SHARE, for each path ── workspace/share.c ── hull-share
 *   machine/   the engine and the image, saving and restoring
 *   life/      the start, the stages and the end of the sandbox
 *   record.c   sandbox.json;   logs.c   capped files;   path_watch.c   files that change;   events.c   reports to rooms
 *   above
 *
 * A part is a structure that one file owns, with a header of its own; a room is the folder of related parts. Rooms
 * depend on each other one way (events.h). A file reads parts of its own room and of rooms below, by their headers, and
 * changes only its own.
 *
 * Memory: every stream holds at most its window on the way to a reader that stalls; STREAMS_MAX bounds the streams,
 * CLIENTS_MAX the clients, PENDING_* what waits for the guest to come up. */
#ifndef HULL_KEEPER_KEEPER_H
#define HULL_KEEPER_KEEPER_H

#include "keeper/events.h"
#include "keeper/logs.h"
#include "keeper/machine_ops.h"
#include "keeper/record.h"
#include "loop/loop.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

enum { SCRATCH = 64 * 1024 /* what one read takes */ };

/* The stages of the sandbox's life:
 *     STARTING   until the guest is configured
 *     RUNNING    until it is asked, or says, to go down
 *     STOPPING   until the engine has exited
 *     ENDED      while the clients take their last answers */
enum phase { PHASE_STARTING, PHASE_RUNNING, PHASE_STOPPING, PHASE_ENDED };

struct life {
	enum phase phase;
	uv_timer_t timer; /* one deadline at a time: boot, stop, drain */
	uv_signal_t sigterm;
	uint64_t started_ms;   /* uv_hrtime / 1e6 when the keeper started */
	bool stop_asked;       /* the guest was told to shut down */
	bool killed;           /* the engine was killed because somebody asked for the end */
	bool save_due;         /* write that it runs, when the loop is idle */
	bool suspended;        /* its memory is on disk: it ends as paused, not stopped */
	bool ended;            /* the machine is off; on_idle() does the rest */
	bool removed;          /* with the machine, as --rm asked */
	int end_code;          /* 0 = clean */
	char end_reason[1024]; /* why it did not end cleanly; what clients are told */
	/* Called once: the machine runs (err NULL), or it has ended without getting that far. */
	void (*report)(struct keeper *k, const struct hull_error *err);
	/* Start this sandbox anew, in this process: the template that its machine was to be restored from could not be
	 * loaded. Set by main(); returns only when that cannot be done. */
	void (*boot_instead)(struct keeper *k, const char *why);
};

/* What this run began with. */
struct origin {
	char *restore;                          /* what it was restored from, relative to home; NULL = booted */
	bool fresh;                             /* that is of another sandbox: the guest renews its identity */
	char note[512];                         /* for the person who waits: why it was booted instead */
	uint64_t begin_ns, machine_ns, runs_ns; /* uv_hrtime: the keeper began; the engine was started; its CPUs run */
	uint64_t first_exec_ns;                 /* the first command has ended */
};

struct keeper {
	struct loop loop;
	const struct keeper_events *events;
	struct hull_paths paths;
	struct hull_sandbox sb;
	int lock_fd;       /* the sandbox runs as long as this is held */
	char *runtime_dir; /* where its sockets are now */
	int runtime_fd;    /* that directory, locked; -1 = none */

	struct life life;
	struct origin origin;
	struct record record;
	struct logs logs;
	char trouble[512]; /* the last that the engine complained about */

	/* The parts, from the bottom up; of those above it a part knows nothing. */
	struct guest *guest;
	struct clock *clock;
	struct dockerlog *dockerlog;
	struct workspace *workspace;
	struct relays *relays;
	struct jobs *jobs;
	struct network *network;
	const struct machine_ops *machine_ops;
	struct machine *machine;
	struct grow *grow;
	struct runtime *runtime;
	struct clients *clients;
	struct docker_socket *docker;
	struct service *service;

	uint8_t scratch[SCRATCH];
};

/* Whose link it is. */
static inline struct keeper *keeper_of_link(const struct loop_link *l)
{
	return l->owner;
}

#endif
