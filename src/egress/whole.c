/* What a rule allows whole: a connection to an address, or to a port of this host's, that passes as it is; see
 * internal.h.
 *
 * A rule for a name speaks of that name alone, so requests on such a connection are held to it (inspect.c). A rule for
 * an address, or for localhost:PORT, speaks of whatever answers there: a proxy, a Docker daemon, a server of many
 * names. Its requests may say any Host, be for a proxy, or become another protocol at any time, and there is nothing
 * that they could say to leave the rule. Only a rule that denies could: it holds for the name that is said, however the
 * server is reached. So while no such rule is for the port, nothing is looked at, and the moment that one is made the
 * connections that have passed unseen and could have named it are cut (connect_recheck()).
 *
 * The first request, or the server name of TLS, is read for the log, as far as it is in the first bytes. Nothing waits
 * for it. */
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
