/* SPDX-License-Identifier: Apache-2.0 */
/* What a room reports to rooms above it, and asks of the sandbox's life (life/life.c, which has the table).
 *
 * Rooms depend on each other one way: guest, workspace, session, network, machine, client, life; each on those before
 * it. What has to go the other way goes through here. */
#ifndef HULL_KEEPER_EVENTS_H
#define HULL_KEEPER_EVENTS_H

#include "base/bytes.h"
#include "loop/loop.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct keeper;

struct keeper_events {
	/* --- of the guest --- */

	void (*guest_answered)(struct keeper *k);   /* it is up, and has announced its sessions */
	void (*guest_configured)(struct keeper *k); /* and takes commands */
	void (*guest_stopping)(struct keeper *k);   /* it shuts down, asked or not */
	void (*guest_stats)(struct keeper *k);      /* its figures are in guest.stats */
	void (*guest_session)(struct keeper *k, struct hull_cur *cur);
	void (*guest_mounted)(struct keeper *k, bool mounted, struct hull_cur *cur);
	void (*guest_grown)(struct keeper *k, struct hull_cur *cur);
	/* It opens a stream: a share's or the network's. */
	void (*guest_opened)(struct loop_link *l, uint32_t stream, uint8_t service, const uint8_t *args, size_t len);
	void (*docker_changed)(struct keeper *k);

	/* --- of the machine --- */

	void (*machine_runs)(struct keeper *k);
	void (*wire_closed)(struct keeper *k); /* by the engine, which is about to end */
	/* It is off. May be called from inside any event. */
	void (*machine_ended)(struct keeper *k, int code, const char *reason);

	/* --- how something went that a client asked for; error is NULL when it went well --- */

	void (*saved)(struct keeper *k, int code, const char *error, json_t *figures); /* figures: borrowed, or NULL */
	void (*grown)(struct keeper *k, int code, const char *error);
	void (*mounted)(struct keeper *k, const char *path, int code, const char *error); /* or unmounted */
	void (*job)(struct keeper *k, const char *id, int code, const char *error);       /* its command runs, or not */
	void (*port)(struct keeper *k, json_int_t id);
	void (*policy)(struct keeper *k); /* hull-egress has answered to one */

	/* --- the end --- */

	void (*stop)(struct keeper *k, uint32_t grace_ms);
	void (*kill)(struct keeper *k);                   /* ends as "stopped" */
	void (*fault)(struct keeper *k, const char *why); /* ends as "crashed" */
};

/* Something is wrong with the guest: kill the machine; the sandbox ends as crashed, with this reason. */
__attribute__((format(printf, 2, 3))) void keeper_fault(struct keeper *k, const char *fmt, ...);
uint64_t keeper_ms(const struct keeper *k); /* since the keeper started */

#endif
