/* SPDX-License-Identifier: Apache-2.0 */
/* The upstream proxy, and its handshakes; proxy.c. */
#ifndef HULL_EGRESS_PROXY_H
#define HULL_EGRESS_PROXY_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

struct egress;

struct proxy {
	bool set, socks;
	char *bad; /* what to mend: it cannot be used; NULL = it can */
	char *host;
	uint16_t port;
	char *user, *password; /* NULL = none */
};

/* The proxy for this destination, or NULL. */
const struct proxy *proxy_for(const struct egress *g, const char *host, uint16_t port);
int proxy_parse(const char *url, struct proxy *out);
void proxy_free(struct proxy *p);
/* What is said to it and what must come back, for host:port; state starts at 0. Appends to `say`; reads from the front
 * of `heard` what belongs to the proxy. 1 = done, 0 = more is needed, -errno with why filled. */
struct handshake {
	const struct proxy *proxy;
	const char *host;
	uint16_t port;
	int state;
	char why[256];
};
int proxy_step(struct handshake *h, struct hull_buf *heard, struct hull_buf *say);
/* "Proxy-Authorization: ...\r\n", or an empty string; owned. */
char *proxy_authorization(const struct proxy *p);

#endif
