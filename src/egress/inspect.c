/* SPDX-License-Identifier: Apache-2.0 */
/* Inspects what the guest sends on a connection, before it goes out; see conn.h. The first bytes decide:
 *
 * - TLS: the server name must be the name that was connected to, also in a second ClientHello (tls.c). The rest passes,
 *   untouched.
 * - Plain HTTP: every request on the connection is parsed; its Host must be that name, and the policy decides about
 *   method and path.
 * - Anything else passes, unless a rule checks requests.
 *
 * Inspection adds no delay where it can be avoided: another protocol is recognized by the first byte that neither TLS
 * nor HTTP can have; bytes that may be the begin of a request line are sent at once (a server does nothing with half a
 * line) and kept for the parser. */
#include "egress/conn.h"

#include "egress/http.h"
#include "egress/sni.h"
#include "egress/tls.h"

#include <string.h>

static bool give(struct conn *c, const void *p, size_t n)
{
	if (n == 0 || hull_buf_add(&c->out, p, n) == 0)
		return true;
	conn_reset(c, ENOMEM, "out of memory");
	return false;
}

/* Everything that has come may go, from here on unseen. */
static bool pass(struct conn *c)
{
	size_t skip = c->sent_early;
	c->mode = MODE_PASS;
	c->sent_early = 0;
	if (!give(c, hull_buf_bytes(&c->in) + skip, c->in.len - skip))
		return false;
	hull_buf_free(&c->in);
	return true;
}

/* Because of the request itself, whatever the rules. */
static bool deny(struct conn *c, const char *why)
{
	c->remedy = REMEDY_NONE;
	conn_deny(c, NULL, why, false);
	return false;
}

/* --- refusals in HTTP --- */

/* A request that is not to go out. */
static bool no_request(struct conn *c, const struct hull_answer *a, const char *why)
{
	/* An answer to an earlier request may be on its way, in the middle of which no page can be put. */
	bool first = c->sent == 0 && c->out.len == 0;
	bool quiet = first || (c->answered && c->out.len == 0);
	_cleanup_free_ char *method = c->http->method ? strdup(c->http->method) : NULL;
	_cleanup_free_ char *path = c->http->path ? strdup(c->http->path) : NULL;
	if (c->method) {
		conn_log(c); /* the request before */
		c->logged = false;
	}
	c->refused = why;
	c->remedy = !a ? REMEDY_NONE : a->rule && !a->rule->allow ? REMEDY_RM : REMEDY_ALLOW;
	conn_set_rule(c, a ? a->rule : NULL);
	free(c->method);
	free(c->path);
	c->method = method ? strdup(method) : NULL;
	c->path = path ? strdup(path) : NULL;
	if (c->sent_early && first)
		quiet = true;
	if (quiet)
		return conn_page(c, method, path, why);
	conn_reset(c, EACCES, why);
	return false;
}

/* The connection is refused already: only the head of the first request is wanted, for the page, or a word of TLS. */
static bool refused(struct conn *c)
{
	if (!c->http && c->in.len && hull_buf_bytes(&c->in)[0] == 0x16)
		return conn_alert(c);
	if (!c->http && c->in.len) {
		enum http_look look = http_look(hull_buf_bytes(&c->in), c->in.len);
		if (look == HTTP_MAYBE)
			return true;
		c->http = look == HTTP_YES ? calloc(1, sizeof(*c->http)) : NULL;
		if (!c->http) {
			conn_reset(c, EACCES, c->refused);
			return false;
		}
	}
	while (c->in.len) {
		size_t used;
		enum http_event e = http_feed(c->http, hull_buf_bytes(&c->in), c->in.len, &used);
		hull_buf_drain(&c->in, used);
		if (e == HTTP_MORE)
			break;
		if (e == HTTP_HEAD) {
			c->method = strdup(c->http->method);
			c->path = strdup(c->http->path);
			return conn_page(c, c->method, c->path, c->refused);
		}
		conn_reset(c, EACCES, c->refused);
		return false;
	}
	return true;
}

/* --- requests --- */

/* The head as an HTTP proxy wants it: the whole URL, and who we are. The URL is made of what was connected to, which
 * the policy has allowed, and never of what the request says. */
static bool give_absolute(struct conn *c)
{
	struct http *h = c->http;
	const uint8_t *b = hull_buf_bytes(&h->head);
	_cleanup_free_ char *auth = proxy_authorization(c->shake.proxy);
	const uint8_t *lf = memchr(b, '\n', h->head.len);
	if (!auth || !lf)
		return deny(c, "out of memory");
	size_t line = (size_t)(lf - b) + 1, rest = h->target_at + strlen(h->target);
	char front[HULL_HOST_MAX + 16];
	bool six = c->literal && c->target.addr.family == AF_INET6;
	const char *tail = h->target;
	if (h->authority) {
		tail += strlen("http://");
		tail += strcspn(tail, "/?");
	} else if (strcmp(tail, "*") == 0) {
		tail = "";
	}
	snprintf(front, sizeof(front), "http://%s%s%s%s", six ? "[" : "", c->host, six ? "]" : "",
		 h->authority && tail[0] != '/' ? "/" : "");
	return give(c, b, h->target_at) && give(c, front, strlen(front)) && give(c, tail, strlen(tail)) &&
	       give(c, b + rest, line - rest) && give(c, auth, strlen(auth)) && give(c, b + line, h->head.len - line);
}

/* Is what answers at the address, or the port of this host, allowed by whatever name it is called? */
static bool any_name(const struct conn *c)
{
	return c->literal || (c->host_service && c->verdict == HULL_ALLOW);
}

/* Does a Host or the authority of a target mean what was connected to? */
static bool means_target(const struct conn *c, const char *said)
{
	if (!said)
		return true;
	if (!any_name(c))
		return http_authority_is(said, c->host, c->target.port);
	/* A server at an address may go by many names, but an upstream proxy would go where the name leads. */
	return !c->absolute || http_authority_is_addr(said, &c->target.addr, c->target.port);
}

const struct hull_rule *conn_veto(const struct conn *c, const char *host, const char *method, const char *path)
{
	struct hull_target t = {.port = c->target.port, .proto = c->target.proto};
	char name[HULL_HOST_MAX + 1];
	if (!hull_addr_parse(host, &t.addr)) {
		if (!hull_host_name(host, strlen(host), name))
			return NULL;
		t.name = name;
	}
	return hull_policy_veto(&c->g->policy, &t, method, path);
}

/* A rule that denies a name does so however the server is reached: by an address or a port of this host, Host tells.
 * What is no authority at all, so that servers may find another name in it, is not let through. False when c is gone,
 * or ending. */
static bool named_to_any(struct conn *c)
{
	struct http *h = c->http;
	const char *said[] = {h->authority, h->host};
	for (size_t i = 0; i < 2; i++) {
		char host[HULL_HOST_MAX + 2];
		uint16_t port;
		struct hull_addr a;
		if (!said[i] || !said[i][0])
			continue;
		if (!http_authority_split(said[i], host, &port) ||
		    (!hull_addr_parse(host, &a) && strpbrk(host, ":/\\@?# \t%,")))
			return no_request(c, NULL, "the Host of the request is malformed");
		const struct hull_rule *r = h->connect ? conn_veto(c, host, NULL, NULL)
						       : conn_veto(c, host, h->method, h->path);
		if (r) {
			struct hull_answer no = {.verdict = HULL_DENY, .rule = r};
			return no_request(c, &no, "a rule denies the host that the request is for");
		}
		free(c->spoken_for);
		c->spoken_for = strdup(host);
		if (!c->spoken_for)
			return deny(c, "out of memory");
	}
	return true;
}

static bool request(struct conn *c)
{
	struct http *h = c->http;
	if (!means_target(c, h->host))
		return no_request(c, NULL, "the Host of the request is not the name that was connected to");
	if (!means_target(c, h->authority))
		return no_request(c, NULL, "the target of the request is not the name that was connected to");
	if (h->connect && (!any_name(c) || c->absolute))
		return no_request(c, NULL, "CONNECT would open a tunnel that the rules cannot check");
	if (any_name(c) && !named_to_any(c))
		return false;
	struct hull_answer a = hull_policy_request(&c->g->policy, &c->target, h->method, h->path);
	if (a.verdict != HULL_ALLOW)
		return no_request(c, &a, a.why);
	bool first = !c->method;
	/* One line in the log for each request. */
	if (!first)
		conn_log(c);
	c->logged = false;
	conn_set_rule(c, a.rule);
	free(c->method);
	free(c->path);
	c->method = strdup(h->method);
	c->path = strdup(h->path);
	/* Only the very first answer is known to belong to its request without reading answers; a body would wait for
	 * an answer that waits for the body; and HTTP/2 cannot be looked at. Then there is nothing to switch to. */
	if (h->upgrade && (!first || c->received > 0 || h->chunked || h->length || h->upgrade_h2))
		http_strip_upgrade(h);
	size_t skip = c->sent_early;
	bool upgrade = h->upgrade, tunnel = h->connect;
	if (c->absolute) {
		if (!give_absolute(c))
			return false;
	} else {
		c->sent_early = 0;
		if (!give(c, hull_buf_bytes(&h->head) + skip, h->head.len - skip))
			return false;
	}
	http_go_on(h);
	c->answered = false;
	if (tunnel)
		return pass(c);
	if (upgrade)
		c->mode = MODE_SWITCH;
	return true;
}

static bool requests(struct conn *c)
{
	while (c->in.len && c->mode == MODE_HTTP) {
		size_t used;
		const uint8_t *p = hull_buf_bytes(&c->in);
		enum http_event e = http_feed(c->http, p, c->in.len, &used);
		if (e == HTTP_BAD)
			return deny(c, c->http->bad);
		if (e == HTTP_BODY && !give(c, p, used))
			return false;
		hull_buf_drain(&c->in, used);
		if (e == HTTP_HEAD && !request(c))
			return false;
	}
	return true;
}

bool conn_switched(struct conn *c, const uint8_t *p, size_t n)
{
	static const char want[] = "HTTP/1.1 101";
	size_t need = sizeof(want) - 1 - c->reply.len;
	if (hull_buf_add(&c->reply, p, n < need ? n : need) < 0) {
		conn_reset(c, ENOMEM, "out of memory");
		return false;
	}
	if (c->reply.len < sizeof(want) - 1 && memcmp(hull_buf_bytes(&c->reply), want, c->reply.len) == 0)
		return conn_flush(c);
	bool yes = c->reply.len == sizeof(want) - 1 && memcmp(hull_buf_bytes(&c->reply), want, sizeof(want) - 1) == 0;
	hull_buf_free(&c->reply);
	c->mode = yes ? MODE_PASS : MODE_HTTP;
	c->judged = yes;
	return (yes ? pass(c) : requests(c)) && conn_flush(c);
}

/* --- the first bytes --- */

/* A rule that looks at requests stands in the way: one without methods and paths would let it pass, unless it is a rule
 * that denies. */
static bool deny_unseen(struct conn *c, const char *why)
{
	struct hull_answer a = hull_policy_connect(&c->g->policy, &c->target);
	c->remedy = REMEDY_ALLOW;
	conn_deny(c, &a, why, false);
	return false;
}

/* Behind the first ClientHello. */
static bool handshake(struct conn *c)
{
	while (c->in.len && c->mode == MODE_TLS) {
		size_t used;
		const char *why;
		const uint8_t *p = hull_buf_bytes(&c->in);
		switch (tls_said(c->tls, p, c->in.len, &used, &why)) {
		case TLS_REST:
			return pass(c);
		case TLS_WRONG:
			return deny(c, why);
		case TLS_MORE:
			return true;
		case TLS_PASS:
			if (!give(c, p, used))
				return false;
			hull_buf_drain(&c->in, used);
		}
	}
	return true;
}

bool conn_tls_heard(struct conn *c, const uint8_t *p, size_t n)
{
	tls_heard(c->tls, p, n);
	if (c->tls->answer == TLS_DONE)
		return pass(c) && conn_flush(c);
	return handshake(c) && conn_flush(c);
}

static bool first_tls(struct conn *c)
{
	char name[HULL_HOST_MAX + 1] = "";
	size_t used;
	enum sni_result found = sni_parse(hull_buf_bytes(&c->in), c->in.len, name, &used);
	switch (found) {
	case SNI_MORE:
		return c->in.len < SNI_INPUT_MAX && !c->guest_eof ? true : deny(c, "this is not a TLS handshake");
	case SNI_NAME:
		if (!any_name(c) && strcmp(name, c->host) != 0 && !(c->host_service && hull_host_is_host(name)))
			return deny(c, "the TLS server name is not the name that was connected to");
		if (any_name(c)) {
			struct hull_answer a = {.verdict = HULL_DENY, .rule = conn_veto(c, name, NULL, NULL)};
			if (a.rule) {
				conn_deny(c, &a, "a rule denies the TLS server name", false);
				return false;
			}
			c->spoken_for = strdup(name);
		}
		break;
	case SNI_NONE:
		break;
	default:
		return deny(c, "this is not a TLS handshake");
	}
	if (c->verdict == HULL_ALLOW_HTTP)
		return deny_unseen(c, "a rule looks at methods or paths, which TLS hides");
	if (c->absolute)
		return deny(c, "the upstream proxy takes only HTTP on port 80");
	c->tls = calloc(1, sizeof(*c->tls));
	if (!c->tls)
		return deny(c, "out of memory");
	c->tls->first = found;
	memcpy(c->tls->name, name, sizeof(name));
	c->mode = MODE_TLS;
	if (!give(c, hull_buf_bytes(&c->in), used))
		return false;
	hull_buf_drain(&c->in, used);
	return handshake(c);
}

static bool first(struct conn *c)
{
	if (conn_whole(c)) {
		conn_note(c);
		return pass(c);
	}
	const uint8_t *p = hull_buf_bytes(&c->in);
	size_t n = c->in.len;
	if (p[0] == 0x16 && (n < 2 || p[1] == 3))
		return n < 2 && !c->guest_eof ? true : first_tls(c);
	enum tls_look malformed = tls_malformed(p, n);
	if (malformed == TLS_YES)
		return deny(c, "this is not a TLS handshake");
	enum http_look look = malformed == TLS_MAYBE && !c->guest_eof ? HTTP_MAYBE : http_look(p, n);
	bool strict = c->verdict == HULL_ALLOW_HTTP || c->absolute ||
		      (c->target.port == 80 && !c->literal && !c->host_service);
	if (look == HTTP_MAYBE && !c->guest_eof) {
		size_t skip = c->sent_early;
		bool line = p[0] != '\r' && p[0] != '\n';
		/* Only to a peer that is there: before, a handshake with a proxy may come first. */
		if (strict || !line || c->state != CONN_OPEN)
			return true;
		c->sent_early = n;
		return give(c, p + skip, n - skip);
	}
	if (look == HTTP_YES) {
		c->http = calloc(1, sizeof(*c->http));
		if (!c->http)
			return deny(c, "out of memory");
		c->mode = MODE_HTTP;
		return requests(c);
	}
	if (look == HTTP_TWO && !c->literal && !c->host_service)
		return deny(c, "HTTP/2 without TLS cannot be inspected");
	if (strict && c->verdict == HULL_ALLOW_HTTP)
		return deny_unseen(c, "a rule looks at methods or paths, and this is not HTTP");
	if (strict)
		return deny(c, "only HTTP is spoken on port 80");
	return pass(c);
}

bool conn_inspect(struct conn *c)
{
	if (c->state == CONN_REFUSED)
		return refused(c);
	if (c->state == CONN_ENDING || c->in.len == 0)
		return true;
	/* Behind a proxy's handshake: nothing is judged before the connection stands. */
	if (c->via_proxy && c->state != CONN_OPEN)
		return true;
	if (c->mode == MODE_FIRST)
		return first(c);
	if (c->mode == MODE_HTTP)
		return requests(c);
	if (c->mode == MODE_TLS)
		return handshake(c);
	return c->mode == MODE_PASS ? pass(c) : true;
}
