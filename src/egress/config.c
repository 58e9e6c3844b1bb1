/* SPDX-License-Identifier: Apache-2.0 */
/* The EGRESS stream: lines from the keeper; see egress.h. Lines to it: control.c. */
#include "egress/internal.h"
#include "egress/names.h"

#include <string.h>

static struct egress *of(struct loop_stream *s)
{
	return container_of(s, struct egress, control);
}

/* --- from the keeper --- */

/* The URL may hold a password: it is not repeated. */
static void take_proxy(const json_t *j, const char *key, const char *where, struct proxy *out)
{
	const char *url = json_string_value(json_object_get(j, key));
	proxy_free(out);
	if (!url || !url[0] || proxy_parse(url, out) == 0)
		return;
	out->set = true;
	out->bad = hull_fmt(
		"%s has to be http://[USER:PASSWORD@]HOST[:PORT] or socks5://...; correct it, then start the "
		"sandbox again",
		where);
}

static void on_start(struct egress *g, const json_t *j)
{
	const char *name = json_string_value(json_object_get(j, "sandbox"));
	const json_t *proxy = json_object_get(j, "proxy"), *names = json_object_get(j, "names");
	free(g->sandbox);
	g->sandbox = strdup(name ? name : "");
	take_proxy(proxy, "http", "http_proxy", &g->http_proxy);
	take_proxy(proxy, "https", "HTTPS_PROXY", &g->https_proxy);
	const char *bad = json_string_value(json_object_get(proxy, "bad"));
	take_proxy(proxy, "all", json_object_get(proxy, "config") ? "proxy: in config.yaml" : "ALL_PROXY",
		   &g->all_proxy);
	if (bad) {
		g->all_proxy.set = true;
		free(g->all_proxy.bad);
		g->all_proxy.bad = strdup(bad);
	}
	const char *no = json_string_value(json_object_get(proxy, "no"));
	free(g->no_proxy);
	g->no_proxy = no ? strdup(no) : NULL;
	for (size_t i = 0; i < json_array_size(names); i++) {
		const json_t *pair = json_array_get(names, i);
		json_int_t number = json_integer_value(json_array_get(pair, 0));
		const char *text = json_string_value(json_array_get(pair, 1));
		if (text && number > 0 && number < UINT32_MAX)
			name_restore(g, (uint32_t)number, text);
	}
}

static void on_policy(struct egress *g, const json_t *j)
{
	struct hull_policy p = {0};
	struct hull_error err = {0};
	json_int_t number = json_integer_value(json_object_get(j, "number"));
	if (!json_object_get(j, "closed") &&
	    hull_policy_build(json_string_value(json_object_get(j, "global")),
			      json_string_value(json_object_get(j, "sandbox")), &p, NULL, &err) < 0) {
		control_send(g, json_pack("{s:{s:I,s:s}}", "policy", "number", number, "error", err.msg), false);
		return;
	}
	hull_policy_free(&g->policy);
	g->policy = p;
	size_t cut = connect_recheck(g) + datagram_recheck(g);
	control_send(g, json_pack("{s:{s:I,s:b,s:I}}", "policy", "number", number, "ok", 1, "cut", (json_int_t)cut),
		     false);
}

static void on_line(struct egress *g, const char *line, size_t n)
{
	_cleanup_(json_decrefp) json_t *j = json_loadb(line, n, 0, NULL);
	json_t *v;
	if ((v = json_object_get(j, "start")))
		on_start(g, v);
	else if ((v = json_object_get(j, "policy")))
		on_policy(g, v);
	else if ((v = json_object_get(j, "publish")))
		port_publish(g, v);
	else if ((v = json_object_get(j, "unpublish")))
		port_unpublish(g, json_integer_value(json_object_get(v, "id")));
}

static void on_data(struct loop_stream *s, unsigned channel, const uint8_t *p, size_t n)
{
	struct egress *g = of(s);
	loop_stream_grant(s, n);
	if (g->control_in.len + n > EGRESS_LINE_MAX || hull_buf_add(&g->control_in, p, n) < 0) {
		hull_buf_free(&g->control_in);
		return;
	}
	for (;;) {
		const uint8_t *b = hull_buf_bytes(&g->control_in);
		const uint8_t *nl = g->control_in.len ? memchr(b, '\n', g->control_in.len) : NULL;
		if (!nl)
			return;
		on_line(g, (const char *)b, (size_t)(nl - b));
		hull_buf_drain(&g->control_in, (size_t)(nl - b) + 1);
	}
}

static void on_closed(struct loop_stream *s, int code, const char *message)
{
	struct egress *g = of(s);
	uv_stop(&g->loop.uv);
}

void control_open(struct egress *g, uint32_t id)
{
	static const struct loop_stream_ops ops = {.data = on_data, .writable = control_writable, .closed = on_closed};
	if (g->control.id) {
		hull_wire_refuse(g->link.wire, id, EBUSY, "opened already");
		return;
	}
	g->control.ops = &ops;
	loop_stream_adopt(&g->control, &g->link, id);
	loop_stream_accept(&g->control, NULL);
	control_writable(&g->control);
}
