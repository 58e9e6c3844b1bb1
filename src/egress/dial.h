/* SPDX-License-Identifier: Apache-2.0 */
/* Connecting to the first of several addresses that answers; dial.c. */
#ifndef HULL_EGRESS_DIAL_H
#define HULL_EGRESS_DIAL_H

#include "egress/names.h"
#include "loop/loop.h"
#include "policy/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct egress;

enum {
	DIAL_AGAIN_MS = 250, /* RFC 8305, 5 */
	DIAL_AT_ONCE = 3,    /* descriptors that a connection may take while it is made */
	DIAL_DROP_MS = 1000, /* for the oldest of those, while there are other addresses */
};

struct dial {
	struct egress *g;
	struct hull_addr addrs[ADDRS_MAX];
	size_t count, next;
	uint16_t port;
	struct loop_socket *tries[ADDRS_MAX];
	size_t under_way;
	int error; /* the first */
	struct loop_timer *alarm;
	bool active;
	void *owner;
	/* fd connected (the callee's), or -errno. addr: which. */
	void (*done)(struct dial *d, int fd, const struct hull_addr *addr);
};
/* Addresses of both families are tried in turn. */
void dial_start(struct egress *g, struct dial *d, const struct hull_addr *addrs, size_t n, uint16_t port);
void dial_cancel(struct dial *d);

#endif
