/* SPDX-License-Identifier: Apache-2.0 */
/* CONNECT streams: from the guest's question to a connected socket; see internal.h.
 *
 *     policy -> LOOKUP -> DIAL -> (PROXY) -> OPEN -> gone          refused: REFUSED -> ENDING -> gone
 *
 * The policy is asked before anything else happens, and for each address that a name turned out to have. conn.c has
 * what happens once the connection is open. */
#include "egress/conn.h"

#include <string.h>

/* --- connecting --- */

/* The host's own address: its services are opened as localhost:PORT, or by exactly this address. */
struct hull_answer judge_address(const struct egress *g, const struct hull_target *target, const struct hull_addr *a)
{
	struct hull_target t = *target;
	t.addr = *a;
	struct hull_answer answer = hull_policy_address(&g->policy, &t);
	unsigned whole = a->family == AF_INET ? 32 : 128;
	bool exact = answer.rule && answer.rule->kind == HULL_RULE_NET &&
		     (answer.rule->bits == whole || hull_net_special(&answer.rule->net, answer.rule->bits));
	bool named = answer.rule && answer.rule->private_ok;
	if (answer.verdict == HULL_ALLOW && !exact && !named && addr_is_local(a)) {
		answer.verdict = HULL_DENY;
		answer.rule = NULL;
		answer.why = "an address of this host (its services are allowed as localhost:PORT)";
	}
	return answer;
}

/* An address of the target's that the policy does not let us connect to. */
static void deny_address(struct conn *c, const struct hull_answer *a, const struct hull_addr *addr)
{
	bool loopback = addr->family == AF_INET ? addr->b[0] == 127
						: hull_addr_equal(addr, &(struct hull_addr){AF_INET6, {[15] = 1}});
	if (addr->family)
		c->peer = *addr; /* for the log */
	c->remedy = addr->family && (loopback || addr_is_local(addr)) ? REMEDY_LOCALHOST
		    : c->literal                                      ? REMEDY_ALLOW
		    : addr->family                                    ? REMEDY_PRIVATE
								      : REMEDY_NONE;
	conn_deny(c, a, a->why, true);
}

static void on_dialed(struct dial *d, int fd, const struct hull_addr *addr)
{
	struct conn *c = d->owner;
	if (fd < 0) {
		char text[300];
		snprintf(text, sizeof(text), "%.200s:%u: %s", c->via_proxy ? "the upstream proxy" : c->host,
			 c->target.port, strerror(-fd));
		conn_reset(c, -fd, text);
		return;
	}
	if (!c->host_service && !c->via_proxy) {
		/* The policy may have changed since the addresses were judged. */
		struct hull_answer a = judge_address(c->g, &c->target, addr);
		if (a.verdict != HULL_ALLOW) {
			close(fd);
			deny_address(c, &a, addr);
			return;
		}
	}
	c->peer = *addr;
	c->sock = loop_socket_new(&c->g->loop, fd, c, conn_sock_ready);
	if (!c->sock) {
		conn_reset(c, ENOMEM, "out of memory");
		return;
	}
	if (!c->via_proxy || c->absolute) {
		conn_opened(c);
		return;
	}
	c->state = CONN_PROXY;
	c->shake.host = c->host;
	c->shake.port = c->target.port;
	int r = proxy_step(&c->shake, &c->reply, &c->out);
	if (r < 0)
		conn_reset(c, -r, "the request to the upstream proxy cannot be made");
	else
		conn_flush(c);
}

static void dial_now(struct conn *c, const struct hull_addr *addrs, size_t n, uint16_t port)
{
	c->state = CONN_DIAL;
	c->dial.owner = c;
	c->dial.done = on_dialed;
	dial_start(c->g, &c->dial, addrs, n, port);
}

static void on_looked(struct lookup *l, int error, const struct hull_addr *addrs, size_t n)
{
	struct conn *c = container_of(l, struct conn, lookup);
	if (error) {
		conn_reset(c, error == -ENOENT ? ENOENT : EHOSTUNREACH,
			   error == -ENOENT ? "no such name" : "the name could not be looked up");
		return;
	}
	if (c->via_proxy) {
		dial_now(c, addrs, n, c->shake.proxy->port);
		return;
	}
	struct hull_addr good[ADDRS_MAX];
	size_t count = 0;
	struct hull_answer no = {.why = "it has no address"};
	struct hull_addr refused = {0};
	for (size_t i = 0; i < n && i < ADDRS_MAX; i++) {
		struct hull_answer a = judge_address(c->g, &c->target, &addrs[i]);
		if (a.verdict == HULL_ALLOW) {
			good[count++] = addrs[i];
		} else {
			no = a;
			refused = addrs[i];
		}
	}
	if (count == 0)
		deny_address(c, &no, &refused);
	else
		dial_now(c, good, count, c->target.port);
}

/* The target's name, or the proxy's. */
static void look_up(struct conn *c, const char *host)
{
	struct name **slot = c->via_proxy ? &c->proxy_name : &c->name;
	if (!*slot) {
		*slot = name_get(c->g, host);
		if (!*slot) {
			conn_reset(c, EAGAIN, "too many names are in use");
			return;
		}
		name_hold(*slot);
	}
	c->state = CONN_LOOKUP;
	lookup_start(c->g, *slot, &c->lookup);
}

static void begin(struct conn *c)
{
	struct egress *g = c->g;
	struct hull_answer a = hull_policy_connect(&g->policy, &c->target);
	conn_set_rule(c, a.rule);
	c->verdict = a.verdict;
	if (a.verdict == HULL_DENY && c->literal) {
		deny_address(c, &a, &c->target.addr);
		return;
	}
	if (a.verdict == HULL_DENY) {
		conn_deny(c, &a, a.why, true);
		return;
	}
	if (c->host_service) {
		static const struct hull_addr loopback[] = {{AF_INET, {127, 0, 0, 1}}, {AF_INET6, {[15] = 1}}};
		dial_now(c, loopback, 2, c->target.port);
		return;
	}
	if (c->literal) {
		struct hull_answer b = judge_address(g, &c->target, &c->target.addr);
		if (b.verdict != HULL_ALLOW) {
			deny_address(c, &b, &c->target.addr);
			return;
		}
	}
	const struct proxy *p = proxy_for(g, c->host, c->target.port);
	if (p && (p->bad || !p->host)) {
		/* Never past a proxy that somebody has asked for. */
		c->remedy = REMEDY_PROXY;
		conn_deny(c, NULL, "the setting of the upstream proxy cannot be used", true);
		return;
	}
	if (p) {
		struct hull_addr at;
		c->via_proxy = true;
		c->absolute = !p->socks && c->target.port == 80;
		c->shake.proxy = p;
		if (hull_addr_parse(p->host, &at))
			dial_now(c, &at, 1, p->port);
		else
			look_up(c, p->host);
		return;
	}
	if (c->literal)
		dial_now(c, &c->target.addr, 1, c->target.port);
	else
		look_up(c, c->host);
}

/* What the guest asked for: a name, a synthetic address that stands for one, or a literal address. */
static int set_target(struct conn *c, const char *address)
{
	char name[HULL_HOST_MAX + 1], text[HULL_ADDR_TEXT];
	struct hull_addr a;
	if (hull_addr_parse(address, &a)) {
		bool synthetic;
		struct name *n = name_of(c->g, &a, &synthetic);
		if (synthetic && !n)
			return -EHOSTUNREACH;
		c->literal = !n;
		if (c->literal)
			c->target.addr = a;
		c->host = strdup(n ? n->text : hull_addr_text(&a, text));
		c->name = n;
		if (n)
			name_hold(n);
	} else if (hull_host_name(address, strlen(address), name)) {
		c->host = strdup(name);
	} else {
		return -EINVAL;
	}
	if (!c->host)
		return -ENOMEM;
	c->target.name = c->literal ? NULL : c->host;
	c->host_service = !c->literal && hull_host_is_host(c->host);
	return 0;
}

void connect_open(struct egress *g, uint32_t id, const uint8_t *args, size_t len)
{
	_cleanup_(request_free) struct request r = {0};
	if (!request_read(args, len, &r) || !r.address || r.port == 0 || r.port > 65535) {
		hull_wire_refuse(g->link.wire, id, EINVAL, "not an address and port");
		return;
	}
	struct conn *c = g->conn_count < EGRESS_CONNECTIONS_MAX ? calloc(1, sizeof(*c)) : NULL;
	if (!c) {
		hull_wire_refuse(g->link.wire, id, EAGAIN, "too many connections are open in this sandbox");
		return;
	}
	c->g = g;
	c->stream.ops = &conn_stream_ops;
	c->target.port = (uint16_t)r.port;
	c->target.proto = HULL_PROTO_TCP;
	c->begin_ms = uv_hrtime() / 1000000;
	c->lookup.done = on_looked;
	lookup_init(&c->lookup);
	list_init(&c->in_list);
	list_add(&g->conns, &c->in_list);
	g->conn_count++;
	int e = set_target(c, r.address);
	loop_stream_adopt(&c->stream, &g->link, id);
	if (e < 0) {
		c->refused = e == -EINVAL ? "not an address or name" : "no name has this synthetic address";
		if (!c->host)
			c->host = hull_printable(r.address, strnlen(r.address, 100));
		conn_reset(c, -e, c->refused);
		return;
	}
	begin(c);
}

/* --- a new policy --- */

static bool still_allowed(struct conn *c)
{
	struct egress *g = c->g;
	struct hull_answer a = hull_policy_connect(&g->policy, &c->target);
	if (a.verdict == HULL_DENY)
		return false;
	/* What was not inspected from the start cannot be inspected from here on. */
	if (a.verdict == HULL_ALLOW_HTTP && (c->mode == MODE_PASS || c->mode == MODE_TLS) && !c->judged)
		return false;
	if ((c->mode == MODE_HTTP || c->mode == MODE_SWITCH || c->judged) && c->method && c->path &&
	    hull_policy_request(&g->policy, &c->target, c->method, c->path).verdict != HULL_ALLOW)
		return false;
	if (c->uninspected && hull_policy_vetoes(&g->policy, c->target.port, c->target.proto))
		return false;
	if (c->spoken_for &&
	    conn_veto(c, c->spoken_for, c->mode == MODE_PASS && !c->judged ? NULL : c->method, c->path))
		return false;
	c->verdict = a.verdict;
	return c->host_service || c->via_proxy || !c->peer.family ||
	       judge_address(g, &c->target, &c->peer).verdict == HULL_ALLOW;
}

size_t connect_recheck(struct egress *g)
{
	size_t cut = 0;
	list_each(at, &g->conns)
	{
		struct conn *c = container_of(at, struct conn, in_list);
		if (c->state == CONN_REFUSED || c->state == CONN_ENDING || still_allowed(c))
			continue;
		cut++;
		c->refused = "the policy was changed";
		conn_reset(c, ECONNRESET, "the policy was changed");
	}
	return cut;
}
