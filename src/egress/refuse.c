/* SPDX-License-Identifier: Apache-2.0 */
/* Refusals, and the command that helps against each; see conn.h.
 *
 * - Before a connection is made: on ports of HTTP and TLS it is accepted, and the refusal is a page or an alert; on
 *   others connect(2) fails.
 * - Later: a page, or a reset.
 *
 * A command is suggested only where it helps: no rule where one that denies would override it, and none when the
 * content of a request is wrong, not its destination. */
#include "egress/conn.h"

#include <string.h>

enum { COMMAND = 800, WHAT = COMMAND + 100 };

static const char *box(const struct conn *c)
{
	return c->g->sandbox && c->g->sandbox[0] ? c->g->sandbox : "NAME";
}

static void allow_command(const struct conn *c, const char *host, const char *options, char *out, size_t cap)
{
	bool six = strchr(host, ':') != NULL;
	snprintf(out, cap, "hull policy allow --sandbox %s %s%s%s:%u%s%s", box(c), six ? "[" : "", host, six ? "]" : "",
		 c->target.port, c->target.proto == HULL_PROTO_UDP ? "/udp" : "", options);
}

/* True when out is a way to allow it. */
static bool remedy(const struct conn *c, const char *method, const char *path, char *out, size_t cap)
{
	char options[600] = "", command[COMMAND];
	const struct proxy *p;
	switch (c->remedy) {
	case REMEDY_ALLOW:
		if (method && path && path[0] && strlen(path) < 400 && strcspn(path, "' *") == strlen(path))
			snprintf(options, sizeof(options), " --method %s --path '%s'", method, path);
		allow_command(c, c->host_service ? "localhost" : c->host, options, out, cap);
		return true;
	case REMEDY_PRIVATE:
		allow_command(c, c->host, " --private", out, cap);
		return true;
	case REMEDY_LOCALHOST:
		allow_command(c, "localhost", "", command, sizeof(command));
		snprintf(out, cap, "%s, and connect to host.hull.internal:%u", command, c->target.port);
		return true;
	case REMEDY_RM:
		snprintf(out, cap, "remove the rule (`hull policy rm`): one that denies beats every rule that allows");
		return false;
	case REMEDY_PROXY:
		p = proxy_for(c->g, c->host, c->target.port);
		snprintf(out, cap, "%s", p && p->bad ? p->bad : "start the sandbox again");
		return false;
	default:
		snprintf(out, cap, "no rule allows it: it is refused for what it says, not for where it goes");
		return false;
	}
}

/* Ports where HTTP or TLS is expected: the connection is accepted, and the refusal sent on it. Elsewhere it
 * fails. */
static bool speaks(uint16_t port)
{
	return port == 80 || port == 8080 || port == 443 || port == 8443;
}

bool conn_alert(struct conn *c)
{
	/* Fatal: access_denied (RFC 8446, 6.2). In front of any key, so the client reads it, and knows it for final. */
	static const uint8_t alert[] = {0x15, 3, 3, 0, 2, 2, 49};
	conn_log(c);
	conn_finish(c, alert, sizeof(alert));
	return false;
}

void conn_deny(struct conn *c, const struct hull_answer *a, const char *why, bool page)
{
	c->refused = why;
	conn_set_rule(c, a ? a->rule : NULL);
	if (a && a->rule && !a->rule->allow)
		c->remedy = REMEDY_RM;
	if (page && speaks(c->target.port)) {
		conn_await_first(c);
		return;
	}
	char what[WHAT], text[WHAT + 1200];
	bool allows = remedy(c, NULL, NULL, what, sizeof(what));
	snprintf(text, sizeof(text), "%s:%u: %s%s%s%s; %s%s", c->host, c->target.port, why, c->rule ? " (" : "",
		 c->rule ? c->rule : "", c->rule ? ")" : "", allows ? "to allow it: " : "", what);
	conn_reset(c, c->remedy == REMEDY_PROXY ? ENETUNREACH : EACCES, text);
}

bool conn_page(struct conn *c, const char *method, const char *path, const char *why)
{
	char what[WHAT];
	bool allows = remedy(c, c->verdict == HULL_ALLOW_HTTP ? method : NULL, path, what, sizeof(what));
	_cleanup_free_ char *shown = hull_printable(path ? path : "", path ? strnlen(path, 300) : 0);
	_cleanup_free_ char *body = hull_fmt("Hull's network policy refuses this request.\n\n"
					     "  request:  %s http://%s:%u%s\n"
					     "  reason:   %s\n"
					     "  rule:     %s\n"
					     "  %s %s\n",
					     method ? method : "", c->host, c->target.port, shown ? shown : "", why,
					     c->rule ? c->rule : "none allows it",
					     allows ? "to allow:" : "what now:", what);
	_cleanup_free_ char *text =
		body ? hull_fmt("HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain; charset=utf-8\r\n"
				"Content-Length: %zu\r\nConnection: close\r\nX-Hull-Policy: denied\r\n\r\n%s",
				strlen(body), body)
		     : NULL;
	if (!text) {
		conn_reset(c, EACCES, why);
		return false;
	}
	conn_log(c);
	conn_finish(c, text, strlen(text));
	return false;
}
