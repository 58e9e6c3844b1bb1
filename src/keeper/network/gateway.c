/* SPDX-License-Identifier: Apache-2.0 */
/* hull-egress, the sandbox's gateway to the network, as the keeper has it; see gateway.h and egress/egress.h. */
#include "keeper/network/gateway_internal.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "egress/egress.h"
#include "keeper/keeper.h"
#include "keeper/network/gateway_child.h"
#include "keeper/network/gateway_proxy.h"
#include "policy/policy.h"
#include "wire/service.h"

#include <stdlib.h>
#include <string.h>

enum { EGRESS_LOG_CAP = 8 << 20 };

/* --- to hull-egress --- */

static json_t *names_json(const struct gateway *g)
{
	json_t *a = json_array();
	for (size_t i = 0; i < NUMBERS; i++)
		if (g->name_table[i])
			json_array_append_new(a, json_pack("[I,s]", (json_int_t)i, g->name_table[i]));
	return a;
}

static void send_start(struct gateway *g)
{
	gateway_send(g, json_pack("{s:{s:s,s:o,s:o}}", "start", "sandbox", g->k->sb.name, "proxy", gateway_proxy(g->k),
				  "names", names_json(g)));
}

static void send_policy(void *ctx)
{
	struct gateway *g = ctx;
	struct keeper *k = g->k;
	/* From now on the file may not be missing. */
	if (g->policy.text[POLICY_SANDBOX] && !k->sb.has_policy) {
		k->sb.has_policy = true;
		k->sb.has_policy = keeper_save(k, k->sb.state, k->sb.last_error) >= 0;
	}
	gateway_send(g, policy_state_send(&g->policy));
}

/* --- from hull-egress --- */

static void on_name(struct gateway *g, const json_t *pair)
{
	json_int_t number = json_integer_value(json_array_get(pair, 0));
	const char *text = json_string_value(json_array_get(pair, 1));
	if (number <= 0 || number >= NUMBERS || !text || strlen(text) > HULL_HOST_MAX)
		return;
	free(g->name_table[number]);
	g->name_table[number] = strdup(text);
}

void gateway_receive(struct gateway *g, const char *line, size_t n)
{
	_cleanup_(json_decrefp) json_t *j = json_loadb(line, n, 0, NULL);
	const json_t *v;
	if ((v = json_object_get(j, "log"))) {
		char *text = json_dumps(v, JSON_COMPACT);
		size_t len = text ? strlen(text) : 0;
		if (len) {
			text[len] = '\n';
			logfile_write(&g->log, text, len + 1);
		}
		free(text);
	} else if ((v = json_object_get(j, "name"))) {
		on_name(g, v);
	} else if ((v = json_object_get(j, "port"))) {
		gateway_port_answered(g, v);
	} else if ((v = json_object_get(j, "listens"))) {
		gateway_port_listens(g, v);
	} else if ((v = json_object_get(j, "policy"))) {
		policy_state_answered(&g->policy, v);
		g->k->events->policy(g->k);
	}
}

/* Without namespaces it reads the host's own files, and only those that were there when it started. */
static void on_host_files(void *ctx)
{
	struct gateway *g = ctx;
	if (!g->k->network->host_files_fixed || !g->child)
		return;
	keeper_log_guest(g->k, "the resolver's configuration has changed: starting the gateway again");
	gateway_process_replace(g, 0);
}

void gateway_started(struct gateway *g)
{
	send_start(g);
	send_policy(g);
	gateway_ports_send(g);
}

/* --- for the rest of the keeper --- */

void gateway_runtime_changed(struct keeper *k)
{
	struct gateway *g = k->network->gateway;
	if (g && g->host.k && !g->closing)
		host_files_again(&g->host);
}

int gateway_open(struct keeper *k, struct hull_error *err)
{
	if (k->sb.no_network || !k->network->start || k->network->gateway)
		return 0;
	struct gateway *g = calloc(1, sizeof(*g));
	k->network->gateway = g;
	if (!g)
		return hull_fail(err, -ENOMEM, "out of memory");
	g->k = k;
	g->restarts = (struct loop_restarts){.calm_ms = CALM_MS, .delay_ms = RESTART_MS, .delay_max = RESTART_MOST_MS};
	g->log.fd = -1;
	g->name_table = calloc(NUMBERS, sizeof(*g->name_table));
	g->ports = json_object();
	char *paths[POLICY_FILES] = {hull_fmt("%s/policy.yaml", k->paths.config),
				     hull_sandbox_path(&k->paths, k->sb.name, "policy.yaml")};
	_cleanup_free_ char *log = hull_sandbox_path(&k->paths, k->sb.name, "egress.log");
	if (!g->name_table || !g->ports || !log)
		return hull_fail(err, -ENOMEM, "out of memory");
	int r = logfile_open(&g->log, log, EGRESS_LOG_CAP, false, err);
	if (r < 0)
		return r;
	uv_timer_init(&k->loop.uv, &g->restart);
	g->restart.data = g;
	g->policy.files[POLICY_SANDBOX].expected = k->sb.has_policy;
	r = policy_state_open(&g->policy, &k->loop.uv, paths, g, send_policy, err);
	if (r < 0)
		return r;
	for (size_t i = 0; k->sb.ports && k->sb.ports[i]; i++) {
		struct hull_port p;
		struct hull_error why;
		if (hull_port_parse(k->sb.ports[i], &p, &why) < 0) /* checked when it was written down */
			hull_log("%s", why.msg);
		else
			gateway_port_add(g, &p);
	}
	host_files_open(&g->host, k, k->network->host_files, g, on_host_files);
	gateway_process_start(g);
	return 0;
}

json_t *gateway_names(const struct keeper *k)
{
	json_t *a = k->network->gateway ? names_json(k->network->gateway) : NULL;
	if (json_array_size(a))
		return a;
	json_decref(a);
	return NULL;
}

void gateway_restore_names(struct keeper *k, const json_t *names)
{
	struct gateway *g = k->network->gateway;
	if (!g || !json_array_size(names))
		return;
	for (size_t i = 0; i < json_array_size(names); i++)
		on_name(g, json_array_get(names, i));
	send_start(g);
}

void gateway_close(struct keeper *k)
{
	struct gateway *g = k->network->gateway;
	if (!g || g->closing)
		return;
	g->closing = true;
	gateway_process_end(g);
	if (g->restart.data) {
		uv_close((uv_handle_t *)&g->restart, NULL);
		policy_state_close(&g->policy);
		host_files_close(&g->host);
	}
	logfile_close(&g->log);
	/* The rest goes with the process: handles of the loop lie in it. */
}

/* --- the policy --- */

json_t *gateway_policy(struct keeper *k, bool texts)
{
	const struct gateway *g = k->network->gateway;
	return g ? policy_state_json(&g->policy, texts) : json_pack("{s:b}", "network", !k->sb.no_network);
}

void gateway_policy_read(struct keeper *k, const char *changed)
{
	struct gateway *g = k->network->gateway;
	if (g && hull_streq(changed, "global"))
		policy_state_read(&g->policy, POLICY_GLOBAL);
	else if (g && hull_streq(changed, "sandbox"))
		policy_state_read(&g->policy, POLICY_SANDBOX);
}

bool gateway_policy_settled(struct keeper *k)
{
	return !k->network->gateway || k->network->gateway->closing ||
	       policy_state_settled(&k->network->gateway->policy);
}

void gateway_guest_open(struct loop_link *l, uint32_t stream, uint8_t service, const uint8_t *args, size_t len)
{
	struct keeper *k = l->owner;
	struct gateway *g = k->network->gateway;
	if (service != HULL_SVC_CONNECT && service != HULL_SVC_RESOLVE && service != HULL_SVC_DATAGRAM)
		hull_wire_refuse(l->wire, stream, ENOSYS, "not offered by this host");
	else if (!g || g->closing)
		hull_wire_refuse(l->wire, stream, ENETDOWN, "this sandbox has no network");
	else if (!g->child)
		hull_wire_refuse(l->wire, stream, ENETDOWN, "the gateway is being started");
	else
		pair_open(k, l, stream, &g->child->link, service, args, len);
}
