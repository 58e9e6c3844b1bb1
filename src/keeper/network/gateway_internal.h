/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the gateway know of each other. Nobody else includes this.
 *
 *   gateway_process.c   the process hull-egress, and the lines to and from it
 *   gateway_policy.c    the policy's files;   gateway_files.c   the resolver's configuration
 *   gateway_ports.c     published ports;      gateway.c         the rest
 *
 * hull-egress may die at any time. What it must not forget is kept here: the policy, the ports, the names that have
 * synthetic addresses. A new one is sent all of it. */
#ifndef HULL_KEEPER_GATEWAY_INTERNAL_H
#define HULL_KEEPER_GATEWAY_INTERNAL_H

#include "keeper/logs.h"
#include "keeper/network/gateway.h"
#include "keeper/network/gateway_files.h"
#include "keeper/network/gateway_policy.h"
#include "loop/loop.h"
#include "policy/port.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	CALM_MS = 10 * 1000,
	RESTART_MS = 100,
	RESTART_MOST_MS = 5000,
	FAILURES_AT_START = 3,
	NUMBERS = 65536, /* of synthetic addresses */
};

/* One life of the child. Freed when the loop has let go of its link and its process. */
struct child {
	struct loop_link link;
	struct loop_stream control;
	struct hull_buf in, out;
	struct loop_child process;
	int handles; /* the link and the process, until the loop has let go of them */
};

struct gateway {
	struct keeper *k;
	struct child *child;  /* NULL = not running at the moment */
	struct child *ending; /* killed, and has not exited yet; then there is no `child` */
	bool closing;
	struct loop_restarts restarts;
	uint64_t restart_ms; /* to wait once it has exited */
	uv_timer_t restart;
	struct policy_state policy;
	struct host_files host;
	char **name_table; /* by number */
	struct logfile log;
	json_t *ports; /* {"ID": {"spec", "bound", "host", "error", "pending"}} */
	json_int_t next_port;
};

/* --- gateway_process.c --- */

void gateway_process_start(struct gateway *g);
/* Start another one in `ms`, but not before this one has exited. Not from inside an event of its wire. */
void gateway_process_replace(struct gateway *g, uint64_t ms);
/* For good: it has exited when this returns. */
void gateway_process_end(struct gateway *g);
/* Send a line. Takes the reference to j. Without a process it is dropped: a new one is sent everything. */
void gateway_send(struct gateway *g, json_t *j);

/* --- gateway.c --- */

void gateway_receive(struct gateway *g, const char *line, size_t n);
/* A new process runs: send it everything. */
void gateway_started(struct gateway *g);

/* --- gateway_ports.c --- */

json_int_t gateway_port_add(struct gateway *g, const struct hull_port *p); /* its id, or -ENOMEM */
void gateway_ports_send(struct gateway *g);                                /* all, to a new process */
/* Lines from hull-egress. */
void gateway_port_answered(struct gateway *g, const json_t *j);
void gateway_port_listens(struct gateway *g, const json_t *j);

#endif
