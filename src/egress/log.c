/* SPDX-License-Identifier: Apache-2.0 */
/* A line of egress.log for each connection, and for each request of plain HTTP; see docs/network.md. */
#include "egress/conn.h"

#include <string.h>
#include <time.h>

enum { PATH_SHOWN = 1024 };

static void put(json_t *j, const char *key, json_t *v)
{
	if (v)
		json_object_set_new(j, key, v);
}

static json_t *text(const char *s)
{
	_cleanup_free_ char *shown = s ? hull_printable(s, strnlen(s, PATH_SHOWN)) : NULL;
	return shown ? json_string(shown) : NULL;
}

static json_t *now_text(void)
{
	struct timespec ts;
	struct tm tm;
	char s[40], all[64];
	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	strftime(s, sizeof(s), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(all, sizeof(all), "%s.%03ldZ", s, ts.tv_nsec / 1000000);
	return json_string(all);
}

void conn_log(struct conn *c)
{
	if (c->logged || !c->host)
		return;
	c->logged = true;
	json_t *j = json_object();
	char addr[HULL_ADDR_TEXT];
	uint64_t now = uv_hrtime() / 1000000;
	put(j, "time", now_text());
	put(j, "sandbox", text(c->g->sandbox));
	put(j, "verdict", json_string(c->failed ? "error" : c->refused ? "deny" : "allow"));
	if (!c->literal)
		put(j, "name", text(c->host));
	const struct hull_addr *a = c->literal ? &c->target.addr : &c->peer;
	if (a->family && !c->via_proxy)
		put(j, "address", json_string(hull_addr_text(a, addr)));
	put(j, "port", json_integer(c->target.port));
	put(j, "proto", json_string(c->target.proto == HULL_PROTO_UDP ? "udp" : "tcp"));
	if (c->via_proxy)
		put(j, "proxy", text(c->shake.proxy->host));
	if (c->method)
		put(j, "method", text(c->method));
	if (c->path)
		put(j, "path", text(c->path));
	put(j, "rule", c->rule ? text(c->rule) : json_string("none"));
	if (c->refused)
		put(j, "why", text(c->refused));
	put(j, "sent", json_integer((json_int_t)(c->sent - c->sent_before)));
	put(j, "received", json_integer((json_int_t)(c->received - c->received_before)));
	put(j, "ms", json_integer((json_int_t)(now - c->begin_ms)));
	c->sent_before = c->sent;
	c->received_before = c->received;
	c->begin_ms = now;
	control_send(c->g, json_pack("{s:o}", "log", j), true);
}
