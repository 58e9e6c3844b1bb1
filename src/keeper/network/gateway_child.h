/* SPDX-License-Identifier: Apache-2.0 */
/* Starting hull-egress in its jail (gateway_child.c), and what starting and saving a sandbox ask of the gateway. */
#ifndef HULL_KEEPER_GATEWAY_CHILD_H
#define HULL_KEEPER_GATEWAY_CHILD_H

#include "keeper/keeper.h"

/* Fit for network.start (gateway.h). */
int gateway_child_start(struct keeper *k, int fd, pid_t *pid, int *pidfd, struct hull_error *err);

/* --- gateway.c and gateway_ports.c, for starting and saving --- */

/* Run the loop until it is known how every port of sandbox.json went; an error when one cannot be had. */
int gateway_await_ports(struct keeper *k, struct hull_error *err);
/* The names that have synthetic addresses: [[number, "name"], ...], a new reference; NULL = none. */
json_t *gateway_names(const struct keeper *k);
/* The guest is one that was saved: it knows these. names may be NULL. */
void gateway_restore_names(struct keeper *k, const json_t *names);

#endif
