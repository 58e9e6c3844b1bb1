/* hull-egress, the sandbox's gateway to the network, as the keeper has it; see gateway.h and egress/egress.h.
 *
 * The child is started with the sandbox and again whenever it dies: what went through it is reset, and nothing else
 * notices. What it must not forget is kept here: the policy (gateway_policy.c), the ports, the names it gave addresses
 * to. */
#include "keeper/keeper.h"
#include "keeper/network/gateway.h"
#include "keeper/guest/guest.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "egress/egress.h"
#include "keeper/network/gateway_child.h"
#include "keeper/network/gateway_files.h"
#include "keeper/network/gateway_policy.h"
#include "keeper/network/gateway_proxy.h"
#include "policy/policy.h"
#include "policy/port.h"
#include "wire/service.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
	LINE_MAX_OUT = 4 << 20,
	EGRESS_LOG_CAP = 8 << 20,
	CALM_MS = 10 * 1000,
	RESTART_MS = 100,
	RESTART_MOST_MS = 5000,
	END_MS = 5000,
	NUMBERS = 65536,
	FAILURES_AT_START = 3,
	PORT_TEXT_MAX = 500,
};

/* One life of the child. Freed when the loop has let go of its link and its process. */
struct child {
	struct loop_link link;
	struct loop_stream control;
	struct hull_buf in, out;
	struct loop_child process;
	int handles; /* the link and the process, until the loop has let go of them */
};

struct gateway {
	struct keeper *k;
	struct child *child;  /* NULL = not running at the moment */
	struct child *ending; /* killed, and has not exited yet; then there is no `child` */
	bool closing;
	struct loop_restarts restarts;
	uint64_t restart_ms; /* to wait once it has exited */
	uv_timer_t restart;
	struct policy_state policy;
	struct host_files host;
	char **name_table; /* by number */
	struct logfile log;
	json_t *ports; /* {"ID": {"spec", "bound", "host", "error", "pending"}} */
	json_int_t next_port;
};

static void start_child(struct gateway *g);

/* --- saying --- */

static void pump(struct child *c)
{
	while (c->control.id && c->out.len > 0) {
		ssize_t n = hull_wire_write(c->control.wire, c->control.id, 0, hull_buf_bytes(&c->out), c->out.len);
		if (n <= 0)
			return;
		hull_buf_drain(&c->out, (size_t)n);
	}
}

/* Takes the reference to j. Without a child it is not lost: a new one is told everything. */
static void say(struct gateway *g, json_t *j)
{
	_cleanup_(json_decrefp) json_t *own = j;
	struct child *c = g->child;
	char *text = c && own ? json_dumps(own, JSON_COMPACT) : NULL;
	size_t n = text ? strlen(text) : 0;
	if (n) {
		text[n] = '\n';
		hull_buf_add(&c->out, text, n + 1);
		pump(c);
	}
	free(text);
}

static json_t *names_json(const struct gateway *g)
{
	json_t *a = json_array();
	for (size_t i = 0; i < NUMBERS; i++)
		if (g->name_table[i])
			json_array_append_new(a, json_pack("[I,s]", (json_int_t)i, g->name_table[i]));
	return a;
}

static void say_start(struct gateway *g)
{
	say(g, json_pack("{s:{s:s,s:o,s:o}}", "start", "sandbox", g->k->sb.name, "proxy", gateway_proxy(g->k), "names",
			 names_json(g)));
}

static void say_policy(void *ctx)
{
	struct gateway *g = ctx;
	struct keeper *k = g->k;
	/* From now on the file may not be missing. */
	if (g->policy.text[POLICY_SANDBOX] && !k->sb.has_policy) {
		k->sb.has_policy = true;
		k->sb.has_policy = keeper_save(k, k->sb.state, k->sb.last_error) >= 0;
	}
	say(g, policy_state_say(&g->policy));
}

static void say_port(struct gateway *g, json_int_t id, const struct hull_port *p)
{
	say(g, json_pack("{s:{s:I,s:s,s:i,s:i,s:s}}", "publish", "id", id, "ip", p->ip, "host", p->host, "guest",
			 p->guest, "proto", p->udp ? "udp" : "tcp"));
}

/* --- hearing --- */

static void on_name(struct gateway *g, const json_t *pair)
{
	json_int_t number = json_integer_value(json_array_get(pair, 0));
	const char *text = json_string_value(json_array_get(pair, 1));
	if (number <= 0 || number >= NUMBERS || !text || strlen(text) > HULL_HOST_MAX)
		return;
	free(g->name_table[number]);
	g->name_table[number] = strdup(text);
}

static json_t *port_entry(struct gateway *g, json_int_t id)
{
	char key[24];
	snprintf(key, sizeof(key), "%lld", (long long)id);
	return json_object_get(g->ports, key);
}

static void on_port(struct gateway *g, const json_t *j)
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

static void on_listens(struct gateway *g, const json_t *j)
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

static void on_line(struct gateway *g, const char *line, size_t n)
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
		on_port(g, v);
	} else if ((v = json_object_get(j, "listens"))) {
		on_listens(g, v);
	} else if ((v = json_object_get(j, "policy"))) {
		policy_state_heard(&g->policy, v);
		g->k->events->policy(g->k);
	}
}

static void control_data(struct loop_stream *s, unsigned channel, const uint8_t *p, size_t n)
{
	struct child *c = container_of(s, struct child, control);
	struct gateway *g = keeper_of_link(&c->link)->network->gateway;
	loop_stream_grant(s, n);
	if (c->in.len + n > LINE_MAX_OUT || hull_buf_add(&c->in, p, n) < 0) {
		hull_buf_free(&c->in);
		return;
	}
	const uint8_t *nl;
	while (c->in.len && (nl = memchr(hull_buf_bytes(&c->in), '\n', c->in.len))) {
		size_t len = (size_t)(nl - hull_buf_bytes(&c->in));
		on_line(g, (char *)hull_buf_bytes(&c->in), len);
		hull_buf_drain(&c->in, len + 1);
	}
}

static void control_writable(struct loop_stream *s)
{
	pump(container_of(s, struct child, control));
}

static void control_closed(struct loop_stream *s, int code, const char *message)
{
}

static const struct loop_stream_ops CONTROL_OPS = {
	.data = control_data, .writable = control_writable, .closed = control_closed};

/* --- the child's life --- */

static void child_handle_closed(struct child *c)
{
	if (--c->handles > 0)
		return;
	hull_buf_free(&c->in);
	hull_buf_free(&c->out);
	free(c);
}

static void on_link_freed(struct loop_link *l)
{
	child_handle_closed(container_of(l, struct child, link));
}

static void on_process_freed(struct loop_child *p)
{
	child_handle_closed(container_of(p, struct child, process));
}

static void on_restart(uv_timer_t *t)
{
	start_child(t->data);
}

static void restart_in(struct gateway *g, uint64_t ms)
{
	uv_update_time(&g->k->loop.uv);
	uv_timer_start(&g->restart, on_restart, ms, 0);
}

/* Start another child in `ms`, but not before this one has exited: it holds the published ports until then. Not from
 * inside an event of its wire. */
static void replace_child(struct gateway *g, uint64_t ms)
{
	struct child *c = g->child;
	g->child = NULL;
	g->restart_ms = ms;
	loop_link_close(&c->link);
	if (c->process.pid > 0) {
		g->ending = c;
		loop_child_kill(&c->process);
	} else {
		restart_in(g, ms);
	}
}

static void child_failed(struct gateway *g, const char *why)
{
	struct keeper *k = g->k;
	if (g->closing || k->life.phase >= PHASE_STOPPING) {
		loop_link_close(&g->child->link);
		loop_child_kill(&g->child->process);
		g->ending = g->child->process.pid > 0 ? g->child : NULL;
		g->child = NULL;
		return;
	}
	keeper_log_guest(k, "the gateway ended (%s): starting it again", why);
	replace_child(g, (uint64_t)loop_restarts_failed(&g->restarts, keeper_ms(k)));
}

static void on_exited(struct loop_child *p, int status)
{
	struct child *c = container_of(p, struct child, process);
	struct gateway *g = keeper_of_link(&c->link)->network->gateway;
	if (c == g->child) {
		child_failed(g, "it exited");
		return;
	}
	g->ending = NULL;
	if (!g->closing && g->k->life.phase < PHASE_STOPPING)
		restart_in(g, g->restart_ms);
}

static void on_gone(struct loop_link *l, int code, const char *why)
{
	child_failed(keeper_of_link(l)->network->gateway, why);
}

/* A connection to a published port. */
static void on_opened(struct loop_link *l, uint32_t stream, uint8_t service, const uint8_t *args, size_t len)
{
	struct keeper *k = l->owner;
	if (service != HULL_SVC_DIAL)
		hull_wire_refuse(l->wire, stream, ENOSYS, "not offered");
	else if (!k->guest->configured || k->life.phase != PHASE_RUNNING)
		hull_wire_refuse(l->wire, stream, ECONNREFUSED, "the guest is not up");
	else
		pair_open(k, l, stream, &k->guest->link, service, args, len);
}

static int try_start(struct gateway *g, struct hull_error *err)
{
	static const struct hull_wire_config config = {
		.side = HULL_WIRE_HOST,
		.name = "hull-egress",
		.max_inbound = EGRESS_CONNECTIONS_MAX * 2,
	};
	struct keeper *k = g->k;
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return hull_fail_errno(err, "cannot make a socket pair");
	_cleanup_close_ int theirs = pair[1];
	struct child *c = calloc(1, sizeof(*c));
	if (!c) {
		close(pair[0]);
		return hull_fail(err, -ENOMEM, "out of memory");
	}
	c->link.owner = k;
	c->link.gone = on_gone;
	c->link.opened = on_opened;
	c->link.freed = on_link_freed;
	c->process.exited = on_exited;
	c->process.freed = on_process_freed;
	c->control.ops = &CONTROL_OPS;
	int r = loop_link_open(&k->loop, &c->link, pair[0], true, &config, err);
	if (r < 0) {
		close(pair[0]);
		free(c);
		return r;
	}
	c->handles = 1; /* from here on, closing the link frees it */
	pid_t pid = 0;
	int pidfd = -1;
	r = k->network->start(k, theirs, &pid, &pidfd, err);
	if (r == 0)
		r = loop_child_watch(&k->loop, &c->process, pid, pidfd, err);
	if (r < 0) {
		loop_link_close(&c->link);
		return r;
	}
	c->handles++;
	g->child = c;
	r = hull_wire_hello(c->link.wire, uv_hrtime());
	if (r == 0)
		r = loop_stream_open(&c->control, &c->link, HULL_SVC_EGRESS, NULL);
	return r < 0 ? hull_fail(err, r, "cannot speak to the gateway: %s", strerror(-r)) : 0;
}

static void start_child(struct gateway *g)
{
	struct keeper *k = g->k;
	struct hull_error err = {0};
	loop_restarts_started(&g->restarts, keeper_ms(k));
	host_files_hold(&g->host);
	if (try_start(g, &err) < 0) {
		hull_log("no network: %s", err.msg);
		g->restarts.failures++;
		if (g->child)
			replace_child(g, RESTART_MOST_MS);
		else
			restart_in(g, RESTART_MOST_MS);
		return;
	}
	say_start(g);
	say_policy(g);
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
		say_port(g, atoll(key), &p);
	}
}

/* Without namespaces it reads the host's own files, and only those that were there when it started. */
static void on_host_files(void *ctx)
{
	struct gateway *g = ctx;
	if (!g->k->network->host_files_fixed || !g->child)
		return;
	keeper_log_guest(g->k, "the resolver's configuration has changed: starting the gateway again");
	replace_child(g, 0);
}

/* --- for the rest of the keeper --- */

void gateway_runtime_changed(struct keeper *k)
{
	struct gateway *g = k->network->gateway;
	if (g && g->host.k && !g->closing)
		host_files_again(&g->host);
}

static json_int_t add_port(struct gateway *g, const struct hull_port *p)
{
	char key[24];
	_cleanup_free_ char *spec = hull_port_text(p);
	json_int_t id = ++g->next_port;
	snprintf(key, sizeof(key), "%lld", (long long)id);
	if (!spec || json_object_set_new(g->ports, key, json_pack("{s:s,s:b}", "spec", spec, "pending", 1)) < 0)
		return -ENOMEM;
	return id;
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
	r = policy_state_open(&g->policy, &k->loop.uv, paths, g, say_policy, err);
	if (r < 0)
		return r;
	for (size_t i = 0; k->sb.ports && k->sb.ports[i]; i++) {
		struct hull_port p;
		struct hull_error why;
		if (hull_port_parse(k->sb.ports[i], &p, &why) < 0) /* checked when it was written down */
			hull_log("%s", why.msg);
		else
			add_port(g, &p);
	}
	host_files_open(&g->host, k, k->network->host_files, g, on_host_files);
	start_child(g);
	return 0;
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
					 "`hull logs %s` has its words",
					 k->sb.name);
		if (error)
			return hull_fail(err, -EADDRINUSE, "%s (`hull ports %s --unpublish %s` takes the port out)",
					 error, k->sb.name, json_string_value(json_object_get(entry, "spec")));
	}
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
	say_start(g);
}

void gateway_close(struct keeper *k)
{
	struct gateway *g = k->network->gateway;
	if (!g || g->closing)
		return;
	g->closing = true;
	struct child *c = g->child ? g->child : g->ending;
	g->child = g->ending = NULL;
	if (c) {
		loop_link_close(&c->link);
		loop_child_end(&c->process, END_MS); /* a port that was published is free when the sandbox has ended */
	}
	if (g->restart.data) {
		uv_close((uv_handle_t *)&g->restart, NULL);
		policy_state_close(&g->policy);
		host_files_close(&g->host);
	}
	logfile_close(&g->log);
	/* The rest goes with the process: handles of the loop lie in it. */
}

/* --- the policy --- */

json_t *gateway_policy(struct keeper *k, const char *changed, bool texts)
{
	struct gateway *g = k->network->gateway;
	if (!g)
		return json_pack("{s:b}", "network", !k->sb.no_network);
	if (hull_streq(changed, "global"))
		policy_state_read(&g->policy, POLICY_GLOBAL);
	else if (hull_streq(changed, "sandbox"))
		policy_state_read(&g->policy, POLICY_SANDBOX);
	return policy_state_json(&g->policy, texts);
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

/* --- published ports --- */

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
	json_int_t id = add_port(g, &p);
	if (id < 0)
		return hull_fail(err, -ENOMEM, "out of memory");
	say_port(g, id, &p);
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
		say(g, json_pack("{s:{s:I}}", "unpublish", "id", (json_int_t)atoll(key)));
		json_object_del(g->ports, key);
		found++;
	}
	if (!found)
		return hull_fail(err, -ENOENT, "no such port is published; `hull ports %s` shows those that are",
				 k->sb.name);
	save_ports(g);
	return 0;
}
