/* SPDX-License-Identifier: Apache-2.0 */
/* Clients' streams to the guest: commands, connections, archives; relay.c. */
#ifndef HULL_KEEPER_RELAY_H
#define HULL_KEEPER_RELAY_H

#include "base/buf.h"
#include "base/list.h"
#include "loop/loop.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

struct keeper;

enum {
	STREAMS_MAX = 1024,          /* open to the guest at once, for clients of both sockets */
	PENDING_BYTES_MAX = 8 << 20, /* held for streams opened before the guest is up */
};

struct relays {
	struct list_node open, pending;
	size_t count;      /* of both, and connections to docker.sock that were dialled */
	size_t exec_count; /* of both: commands */
	size_t pending_bytes;
};
void relays_init(struct keeper *k);
/* A client opened a service of the guest's. */
void relay_open(struct keeper *k, struct loop_link *client, uint32_t stream, uint8_t service, const uint8_t *args,
		size_t len);
/* The guest is configured: open what waits. */
void relay_start_pending(struct keeper *k);
/* Append the ids of the commands that the guest runs. */
void relay_sessions(struct keeper *k, json_t *ids);
/* The machine is going down: what waits is refused. */
void relay_refuse_pending(struct keeper *k, const char *why);
/* The arguments of an OPEN to the guest, made of those a client sent: the sandbox's env first, known tags only.
 * -EINVAL when malformed. */
int relay_arguments(const struct keeper *k, uint8_t service, const uint8_t *args, size_t len, struct hull_buf *out);

#endif
