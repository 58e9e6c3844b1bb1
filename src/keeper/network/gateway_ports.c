/* SPDX-License-Identifier: Apache-2.0 */
/* Published ports, as the gateway keeps them; see gateway_internal.h. A port is known by a number of its own. */
#include "keeper/network/gateway_internal.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "keeper/keeper.h"
#include "keeper/network/gateway_child.h"

#include <stdlib.h>
#include <string.h>

enum { PORT_TEXT_MAX = 500 };

static json_t *port_entry(struct gateway *g, json_int_t id)
{
	char key[24];
	snprintf(key, sizeof(key), "%lld", (long long)id);
	return json_object_get(g->ports, key);
}

/* --- to and from hull-egress --- */

static void send_port(struct gateway *g, json_int_t id, const struct hull_port *p)
{
	gateway_send(g, json_pack("{s:{s:I,s:s,s:i,s:i,s:s}}", "publish", "id", id, "ip", p->ip, "host", p->host,
				  "guest", p->guest, "proto", p->udp ? "udp" : "tcp"));
}

void gateway_ports_send(struct gateway *g)
{
	const char *key;
	json_t *entry;
	json_object_foreach(g->ports, key, entry)
	{
		struct hull_port p;
		if (hull_port_parse(json_string_value(json_object_get(entry, "spec")), &p, NULL) < 0)
			continue;
		/* A number that was free is kept. */
		json_int_t host = json_integer_value(json_object_get(entry, "host"));
		if (!p.host && host > 0 && host < 65536)
			p.host = (uint16_t)host;
		send_port(g, atoll(key), &p);
	}
}

void gateway_port_answered(struct gateway *g, const json_t *j)
{
	json_int_t id = json_integer_value(json_object_get(j, "id"));
	json_t *entry = port_entry(g, id);
	if (!entry)
		return;
	json_object_del(entry, "pending");
	json_object_del(entry, "error");
	json_object_del(entry, "bound");
	json_object_del(entry, "note");
	/* The child is taken at its word for these, and for nothing else. */
	json_t *error = json_object_get(j, "error"), *bound = json_object_get(j, "bound");
	json_t *host = json_object_get(j, "host");
	if (json_is_string(error) && json_string_length(error) <= PORT_TEXT_MAX)
		json_object_set(entry, "error", error);
	else if (error)
		json_object_set_new(entry, "error", json_string("it cannot be bound"));
	if (json_integer_value(host) > 0 && json_integer_value(host) <= 65535)
		json_object_set(entry, "host", host);
	json_t *list = json_array();
	for (size_t i = 0; i < json_array_size(bound) && i < 2; i++)
		if (json_string_length(json_array_get(bound, i)) <= PORT_TEXT_MAX &&
		    json_is_string(json_array_get(bound, i)))
			json_array_append(list, json_array_get(bound, i));
	if (json_array_size(list))
		json_object_set(entry, "bound", list);
	json_decref(list);
	if (error)
		hull_log("port %s: %s", json_string_value(json_object_get(entry, "spec")),
			 json_string_value(json_object_get(entry, "error")));
	g->k->events->port(g->k, id);
}

void gateway_port_listens(struct gateway *g, const json_t *j)
{
	json_t *entry = port_entry(g, json_integer_value(json_object_get(j, "id")));
	struct hull_port p;
	if (!entry || hull_port_parse(json_string_value(json_object_get(entry, "spec")), &p, NULL) < 0)
		return;
	if (json_is_true(json_object_get(j, "yes"))) {
		json_object_del(entry, "note");
		return;
	}
	json_object_set_new(entry, "note", json_sprintf("nothing listens on port %u in the sandbox yet", p.guest));
	keeper_log_guest(g->k, "port %s: nothing listens on port %u in the sandbox yet",
			 json_string_value(json_object_get(entry, "spec")), p.guest);
}

/* --- for the rest of the keeper --- */

json_int_t gateway_port_add(struct gateway *g, const struct hull_port *p)
{
	char key[24];
	_cleanup_free_ char *spec = hull_port_text(p);
	json_int_t id = ++g->next_port;
	snprintf(key, sizeof(key), "%lld", (long long)id);
	if (!spec || json_object_set_new(g->ports, key, json_pack("{s:s,s:b}", "spec", spec, "pending", 1)) < 0)
		return -ENOMEM;
	return id;
}

int gateway_await_ports(struct keeper *k, struct hull_error *err)
{
	struct gateway *g = k->network->gateway;
	const char *key;
	json_t *entry;
	if (!g)
		return 0;
	json_object_foreach(g->ports, key, entry)
	{
		/* The child answers at once, or dies and is started again; not for ever. */
		while (json_object_get(entry, "pending") && g->restarts.failures < FAILURES_AT_START &&
		       k->life.phase < PHASE_STOPPING)
			uv_run(&k->loop.uv, UV_RUN_ONCE);
		const char *error = json_string_value(json_object_get(entry, "error"));
		if (k->life.phase >= PHASE_STOPPING)
			return hull_fail(err, -ECANCELED, "%s",
					 k->life.end_reason[0] ? k->life.end_reason : "stopped before it had started");
		if (json_object_get(entry, "pending"))
			return hull_fail(err, -EIO,
					 "the gateway does not run, so no port can be published; "
					 "see `hull logs %s`",
					 k->sb.name);
		if (error)
			return hull_fail(err, -EADDRINUSE, "%s (`hull ports %s --unpublish %s` takes the port out)",
					 error, k->sb.name, json_string_value(json_object_get(entry, "spec")));
	}
	return 0;
}

json_t *gateway_port(struct keeper *k, json_int_t id)
{
	json_t *entry = k->network->gateway ? port_entry(k->network->gateway, id) : NULL;
	if (!entry || json_object_get(entry, "pending"))
		return NULL;
	return json_deep_copy(entry);
}

json_t *gateway_ports(struct keeper *k)
{
	json_t *a = json_array();
	const char *key;
	json_t *entry;
	if (k->network->gateway)
		json_object_foreach(k->network->gateway->ports, key, entry)
			json_array_append_new(a, json_deep_copy(entry));
	return a;
}

/* What is published is written down, so that the next start has it. */
static void save_ports(struct gateway *g)
{
	struct keeper *k = g->k;
	char **list = hull_strv_copy(NULL);
	const char *key;
	json_t *entry;
	json_object_foreach(g->ports, key, entry)
	{
		const char *spec = json_string_value(json_object_get(entry, "spec"));
		if (list && spec && !json_object_get(entry, "error"))
			hull_strv_add(&list, spec);
	}
	if (!list)
		return;
	hull_strv_free(k->sb.ports);
	k->sb.ports = list;
	k->life.save_due = true;
}

json_int_t gateway_publish(struct keeper *k, const char *spec, struct hull_error *err)
{
	struct gateway *g = k->network->gateway;
	struct hull_port p;
	if (!g || g->closing)
		return hull_fail(err, -ENETDOWN, "this sandbox has no network (--no-network)");
	int r = hull_port_parse(spec, &p, err);
	if (r < 0)
		return r;
	json_int_t id = gateway_port_add(g, &p);
	if (id < 0)
		return hull_fail(err, -ENOMEM, "out of memory");
	send_port(g, id, &p);
	return id;
}

void gateway_published(struct keeper *k, json_int_t id)
{
	struct gateway *g = k->network->gateway;
	json_t *entry = g ? port_entry(g, id) : NULL;
	char key[24];
	snprintf(key, sizeof(key), "%lld", (long long)id);
	if (entry && json_object_get(entry, "error"))
		json_object_del(g->ports, key);
	else if (entry)
		save_ports(g);
}

/* Same guest port; same host port and address where they are given. */
static bool means(const json_t *entry, const struct hull_port *want)
{
	struct hull_port p;
	const char *spec = json_string_value(json_object_get(entry, "spec"));
	json_int_t host = json_integer_value(json_object_get(entry, "host"));
	return spec && hull_port_parse(spec, &p, NULL) == 0 && p.guest == want->guest && p.udp == want->udp &&
	       (!want->host || want->host == p.host || want->host == host) &&
	       (!want->ip[0] || strcmp(want->ip, p.ip) == 0);
}

int gateway_unpublish(struct keeper *k, const char *spec, struct hull_error *err)
{
	struct gateway *g = k->network->gateway;
	struct hull_port want;
	if (!g || g->closing)
		return hull_fail(err, -ENETDOWN, "this sandbox has no network (--no-network)");
	int r = hull_port_parse(spec, &want, err);
	if (r < 0)
		return r;
	const char *key;
	json_t *entry;
	void *tmp;
	int found = 0;
	json_object_foreach_safe(g->ports, tmp, key, entry)
	{
		if (!means(entry, &want))
			continue;
		gateway_send(g, json_pack("{s:{s:I}}", "unpublish", "id", (json_int_t)atoll(key)));
		json_object_del(g->ports, key);
		found++;
	}
	if (!found)
		return hull_fail(err, -ENOENT, "no such port is published; `hull ports %s` shows those that are",
				 k->sb.name);
	save_ports(g);
	return 0;
}
