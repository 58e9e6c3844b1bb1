/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that pass without inspection: to an address, or to a port of this host's, that a rule allows; see conn.h.
 *
 * - A rule for a name allows only that name, so requests on such a connection must be for it (inspect.c).
 * - A rule for an address, or for localhost:PORT, allows whatever answers there: a proxy, a Docker daemon, a server of
 *   many names. Requests may have any Host, be for a proxy, or switch to another protocol at any time: all of that is
 *   within the rule.
 * - A rule that denies a name holds however its server is reached. So while there is one for the port, these
 *   connections are inspected as well. When one is added, those that passed without inspection and could have named it
 *   are aborted (connect_recheck()).
 *
 * For the log, the first request or the server name of TLS is read, as far as it is in the first bytes. */
#include "egress/conn.h"

#include "egress/http.h"
#include "egress/sni.h"

#include <string.h>

bool conn_whole(const struct conn *c)
{
	return (c->literal || c->host_service) && c->verdict == HULL_ALLOW && !c->absolute &&
	       !hull_policy_vetoes(&c->g->policy, c->target.port, c->target.proto);
}

static void note_request(struct conn *c, const uint8_t *p, size_t n)
{
	struct http h = {0};
	size_t used;
	char host[HULL_HOST_MAX + 2];
	uint16_t port;
	if (http_feed(&h, p, n, &used) == HTTP_HEAD) {
		const char *said = h.authority ? h.authority : h.host;
		c->method = strdup(h.method);
		c->path = strdup(h.path);
		if (said && http_authority_split(said, host, &port))
			c->spoken_for = strdup(host);
	}
	http_free(&h);
}

void conn_note(struct conn *c)
{
	const uint8_t *p = hull_buf_bytes(&c->in);
	size_t n = c->in.len;
	char name[HULL_HOST_MAX + 1];
	if (p[0] != 0x16) {
		enum http_look look = http_look(p, n);
		c->uninspected = look != HTTP_NO;
		if (look == HTTP_YES)
			note_request(c, p, n);
		return;
	}
	switch (sni_parse(p, n, name, NULL)) {
	case SNI_NAME:
		c->spoken_for = strdup(name);
		break;
	case SNI_NONE:
		break;
	default:
		c->uninspected = true;
	}
}
