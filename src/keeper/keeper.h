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
 *   machine/      the engine and the image, saving and restoring
 *   keeper.c      the life of the sandbox;   runtime.c  its sockets' directory;   record.c  sandbox.json;   logs.c
 *
 * Each room has a header for each of its files, with the structure that the file owns; here they are put together. A
 * file includes this one when it has to reach another file's part, and changes only its own.
 *
 * Memory: every stream holds at most its window on the way to a reader that stalls; STREAMS_MAX bounds the streams,
 * CLIENTS_MAX the clients, PENDING_* what waits for the guest to come up. */
#ifndef HULL_KEEPER_KEEPER_H
#define HULL_KEEPER_KEEPER_H

#include "keeper/client/client.h"
#include "keeper/client/docker_socket.h"
#include "keeper/client/service.h"
#include "keeper/grow.h"
#include "keeper/guest/clock.h"
#include "keeper/guest/dockerlog.h"
#include "keeper/guest/guest.h"
#include "keeper/life.h"
#include "keeper/logs.h"
#include "keeper/machine/ops.h"
#include "keeper/network/gateway.h"
#include "keeper/record.h"
#include "keeper/runtime.h"
#include "keeper/session/attach.h"
#include "keeper/session/jobs.h"
#include "keeper/session/relay.h"
#include "keeper/workspace/share.h"
#include "loop/loop.h"
#include "store/store.h"

enum { SCRATCH = 64 * 1024 /* what one read takes */ };

struct keeper {
	struct loop loop;
	struct hull_paths paths;
	struct hull_sandbox sb;
	int lock_fd; /* the sandbox runs as long as this is held */

	struct life life;
	struct origin origin;
	struct runtime runtime;
	struct record record;
	struct logs logs;

	const struct machine_ops *machine_ops;
	struct machine *machine;
	char trouble[512]; /* the last that the engine complained about */
	struct guest guest;
	struct clock clock;
	struct grow grow;
	struct dockerlog dockerlog;

	struct clients clients;
	struct service service;
	struct docker_socket docker;
	struct relays relays;
	struct jobs jobs;
	struct workspace workspace;
	struct network network;

	uint8_t scratch[SCRATCH];
};

/* Whose link it is. */
static inline struct keeper *keeper_of_link(const struct loop_link *l)
{
	return l->owner;
}

#endif
