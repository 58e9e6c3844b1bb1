/* SPDX-License-Identifier: Apache-2.0 */
/* The wire to the guest and its control stream; guest.c. */
#ifndef HULL_KEEPER_GUEST_H
#define HULL_KEEPER_GUEST_H

#include "base/buf.h"
#include "loop/loop.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct keeper;

enum {
	GUEST_STREAMS_MAX = 2048, /* that the guest has open at once: connections, questions */
	DOCKER_FAILURES = 3,      /* dockerd failed this often in a row: waiting for it ends */
};

struct guest {
	struct loop_link link;
	bool open;
	struct loop_stream control;
	struct hull_buf ca;                /* the authorities it is to trust, as arguments of the control stream */
	bool answered;                     /* it is up */
	bool configured;                   /* and its workspace is there: it takes commands */
	bool quiescing;                    /* guest_quiesce() waits for its answer */
	bool stopping;                     /* it said so */
	const char *docker;                /* "off" "starting" "ready" "failed" "stopped" "absent" */
	unsigned docker_failures;          /* since it was last ready */
	char docker_text[256];             /* what it said about its last failure */
	json_t *stats;                     /* the last it sent, NULL = never */
	uint64_t configured_ms, docker_ms; /* since the keeper started; 0 = not yet */
	uint64_t hello_ns, configured_ns;  /* uv_hrtime */
};
/* Start speaking to the guest on fd (borrowed until guest_close). */
int guest_open(struct keeper *k, int fd, struct hull_error *err);
void guest_close(struct keeper *k);
/* Everything that commands rely on is there. */
void guest_ready(struct keeper *k);
/* The arguments of an EXEC of the keeper's own: n words run as root in /. 0 or -ENOMEM. */
int guest_root_command(const char *const *argv, size_t n, struct hull_buf *out);
void guest_shutdown(struct keeper *k, uint32_t grace_ms);
void guest_ask_stats(struct keeper *k);
/* A signal to every process of a session; -ENOTCONN when the guest is not up. */
int guest_kill_session(struct keeper *k, uint32_t session, uint32_t sig);
/* Docker is not up and will not be: there is none, or it failed too often. */
bool guest_docker_hopeless(const struct keeper *k);
/* Have the guest write its disk, and make sure that it has read all that was sent: machine_ops.synced() is called then,
 * and nothing is sent to it until guest_release(). -ENOTCONN when it is not up. */
int guest_quiesce(struct keeper *k, bool rest);
void guest_release(struct keeper *k);

#endif
