/* SPDX-License-Identifier: Apache-2.0 */
/* The sandbox's network: hull-egress, the policy's files and published ports; gateway.c. */
#ifndef HULL_KEEPER_GATEWAY_H
#define HULL_KEEPER_GATEWAY_H

#include "base/error.h"
#include "loop/loop.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct keeper;
struct gateway;

struct network {
	struct gateway *gateway; /* NULL = no network */
	size_t pair_count;       /* streams between the guest and hull-egress; pair.c */
	/* Start hull-egress with its end of the wire: gateway_child_start(), or a test's; NULL = there is none. */
	int (*start)(struct keeper *k, int fd, pid_t *pid, int *pidfd, struct hull_error *err);
	const char *const *host_files; /* what tests put in place of gateway_files.h's; NULL = those */
	bool host_files_fixed;         /* hull-egress has them as they were when it started */
};
/* Start it, unless the sandbox has no network. */
int gateway_open(struct keeper *k, struct hull_error *err);
void gateway_close(struct keeper *k);
/* The runtime directory is another one, or has lost some of its files. */
void gateway_runtime_changed(struct keeper *k);
/* The guest opened one of the network's streams. */
void gateway_guest_open(struct loop_link *l, uint32_t stream, uint8_t service, const uint8_t *args, size_t len);
/* Pass a stream that `from` opened on to `to`; pair.c. */
void pair_open(struct keeper *k, struct loop_link *from, uint32_t stream, struct loop_link *to, uint8_t service,
	       const uint8_t *args, size_t len);

/* --- the policy --- */

/* What is in force (api.h, "policy"). */
json_t *gateway_policy(struct keeper *k, bool texts);
/* Read one file again: "global" or "sandbox". */
void gateway_policy_read(struct keeper *k, const char *changed);
/* Has hull-egress answered to the last policy it was sent? service_policy() is called when it does. */
bool gateway_policy_settled(struct keeper *k);

/* --- published ports --- */

/* Publish as [[IP:]HOST:]PORT[/proto]: its number; service_port() is called when it is known how it went, and then
 * gateway_published() is to be called to keep it, or forget it. */
json_int_t gateway_publish(struct keeper *k, const char *spec, struct hull_error *err);
void gateway_published(struct keeper *k, json_int_t id);
int gateway_unpublish(struct keeper *k, const char *spec, struct hull_error *err);
/* {spec, bound: [...], host} or {spec, error}: a new reference; NULL when it is not known yet. */
json_t *gateway_port(struct keeper *k, json_int_t id);
json_t *gateway_ports(struct keeper *k);

#endif
