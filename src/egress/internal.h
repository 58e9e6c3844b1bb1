/* SPDX-License-Identifier: Apache-2.0 */
/* Inside hull-egress: what all its files share; names.h, dial.h, proxy.h and conn.h have the rest. The contract to the
 * outside is egress/egress.h.
 *
 *   serve.c    the loop, the wire to the keeper, and the table of services
 *   syscalls.c the system calls that all of this may make
 *   request.c  arguments of an OPEN
 *   config.c   the EGRESS stream: lines from the keeper;  control.c  lines to it
 *   names.c    synthetic addresses, and looking names up
 *   resolve.c  RESOLVE streams
 *   dial.c     connecting to the first of several addresses that answers
 *   proxy.c    upstream proxies
 *   connect.c  CONNECT streams: from the question to a connected socket;  conn.c  their bytes
 *   inspect.c  their first bytes, and HTTP requests;  http.c, sni.c, tls.c  parsers
 *   passthrough.c  what passes without inspection
 *   refuse.c   refusals, and what helps against them;  log.c  lines of egress.log
 *   datagram.c DATAGRAM streams
 *   ports.c    published ports
 *
 * One thread and one libuv loop; only getaddrinfo(3) runs in libuv's threads. The guest is hostile: all it can make us
 * hold is bounded by the limits in egress.h and a window for each stream. */
#ifndef HULL_EGRESS_INTERNAL_H
#define HULL_EGRESS_INTERNAL_H

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/text.h"
#include "egress/egress.h"
#include "egress/proxy.h"
#include "loop/loop.h"
#include "policy/policy.h"

#include <jansson.h>
#include <uv.h>

enum { SCRATCH = 128 * 1024 };

struct names;

struct egress {
	struct loop loop;
	struct loop_link link; /* to the keeper */
	int exit_code;
	const struct egress_hooks *hooks;

	struct loop_stream control;
	struct hull_buf control_in, control_out;
	unsigned log_lost;

	char *sandbox;
	struct hull_policy policy;
	struct proxy http_proxy, https_proxy, all_proxy;
	char *no_proxy;
	struct names *names;
	struct list_node conns, flows, questions, ports;
	size_t conn_count, flow_count, question_count, port_count;
	uint8_t scratch[SCRATCH];
};

/* What to do about a stream that is opened; each answers it. */
void connect_open(struct egress *g, uint32_t id, const uint8_t *args, size_t len);
void resolve_open(struct egress *g, uint32_t id, const uint8_t *args, size_t len);
void datagram_open(struct egress *g, uint32_t id, const uint8_t *args, size_t len);
void control_open(struct egress *g, uint32_t id);

/* --- request.c --- */

/* ADDRESS, PORT, NAME, QTYPE of an OPEN. Texts owned; false when malformed. */
struct request {
	char *address, *name;
	uint32_t port, qtype;
};
bool request_read(const uint8_t *args, size_t len, struct request *out);
void request_free(struct request *r);

/* --- control.c --- */

/* Queue a line to the keeper; takes j. A line that may be lost is dropped while too many wait. */
void control_send(struct egress *g, json_t *j, bool may_be_lost);
void control_writable(struct loop_stream *s);

/* --- connect.c, datagram.c --- */

/* Abort what the policy does not allow any more; how many. */
size_t connect_recheck(struct egress *g);
size_t datagram_recheck(struct egress *g);

/* --- ports.c --- */

void port_publish(struct egress *g, const json_t *j);
void port_unpublish(struct egress *g, json_int_t id);

#endif
