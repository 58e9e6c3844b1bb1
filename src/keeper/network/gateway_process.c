/* SPDX-License-Identifier: Apache-2.0 */
/* hull-egress as a process: started with the sandbox and again whenever it dies, and the lines to and from it; see
 * gateway_internal.h.
 *
 * One that has failed is killed, and the next one started when it has exited: it holds the published ports until then. */
#include "keeper/network/gateway_internal.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "egress/egress.h"
#include "keeper/guest/guest.h"
#include "keeper/keeper.h"
#include "wire/service.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { LINE_MAX_OUT = 4 << 20, END_MS = 5000 };

/* --- lines --- */

void gateway_send(struct gateway *g, json_t *j)
{
	_cleanup_(json_decrefp) json_t *own = j;
	struct child *c = g->child;
	char *text = c && own ? json_dumps(own, JSON_COMPACT) : NULL;
	size_t n = text ? strlen(text) : 0;
	if (n) {
		text[n] = '\n';
		hull_buf_add(&c->out, text, n + 1);
		loop_stream_push(&c->control, 0, &c->out);
	}
	free(text);
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
		gateway_receive(g, (char *)hull_buf_bytes(&c->in), len);
		hull_buf_drain(&c->in, len + 1);
	}
}

static void control_writable(struct loop_stream *s)
{
	loop_stream_push(s, 0, &container_of(s, struct child, control)->out);
}

static void control_closed(struct loop_stream *s, int code, const char *message)
{
}

static const struct loop_stream_ops CONTROL_OPS = {
	.data = control_data, .writable = control_writable, .closed = control_closed};

/* --- its life --- */

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
	gateway_process_start(t->data);
}

static void restart_in(struct gateway *g, uint64_t ms)
{
	uv_update_time(&g->k->loop.uv);
	uv_timer_start(&g->restart, on_restart, ms, 0);
}

void gateway_process_replace(struct gateway *g, uint64_t ms)
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
	gateway_process_replace(g, (uint64_t)loop_restarts_failed(&g->restarts, keeper_ms(k)));
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

void gateway_process_start(struct gateway *g)
{
	struct keeper *k = g->k;
	struct hull_error err = {0};
	loop_restarts_started(&g->restarts, keeper_ms(k));
	host_files_hold(&g->host);
	if (try_start(g, &err) < 0) {
		hull_log("no network: %s", err.msg);
		g->restarts.failures++;
		if (g->child)
			gateway_process_replace(g, RESTART_MOST_MS);
		else
			restart_in(g, RESTART_MOST_MS);
		return;
	}
	gateway_started(g);
}

void gateway_process_end(struct gateway *g)
{
	struct child *c = g->child ? g->child : g->ending;
	g->child = g->ending = NULL;
	if (!c)
		return;
	loop_link_close(&c->link);
	loop_child_end(&c->process, END_MS); /* a port that was published is free when the sandbox has ended */
}
