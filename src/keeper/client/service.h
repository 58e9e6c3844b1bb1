/* SPDX-License-Identifier: Apache-2.0 */
/* The KEEPER service: requests about the sandbox, answered here (api.h); service.c. */
#ifndef HULL_KEEPER_SERVICE_H
#define HULL_KEEPER_SERVICE_H

#include "base/list.h"
#include "loop/loop.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct keeper;

enum {
	WAITERS_MAX = 256,       /* requests that wait for something */
	STATS_TIMEOUT_MS = 1000, /* a guest that does not send its figures: answer without them */
};

struct service {
	struct list_node waiters;
	size_t waiter_count;
	uv_timer_t stats_timer;
};

void service_init(struct keeper *k);
/* reserved: the client may only ask for the state and stop the sandbox. */
void service_open(struct keeper *k, struct loop_link *client, uint32_t stream, const uint8_t *args, size_t len,
		  bool reserved);

/* --- what requests wait for --- */

/* Something that a request may wait for has changed. */
void service_changed(struct keeper *k);
/* The guest has sent its figures, or did not in time. */
void service_stats(struct keeper *k);
/* The command of job `id` runs (error NULL), or could not be executed. */
void service_job(struct keeper *k, const char *id, int code, const char *error);
/* A path was mounted or unmounted, or not. */
void service_mounted(struct keeper *k, const char *path, int code, const char *error);
/* The disk was grown, or not. */
void service_grown(struct keeper *k, int code, const char *error);
/* It is known how publishing port `id` went. */
void service_port(struct keeper *k, json_int_t id);
/* hull-egress has answered to a policy. */
void service_policy(struct keeper *k);
/* A save is over; error is NULL when it went well. figures (may be NULL) is borrowed. */
void service_saved(struct keeper *k, int code, const char *error, json_t *figures);
/* Everything is gone but the clients: answer the requests that wait for that. */
void service_ended(struct keeper *k);

#endif
