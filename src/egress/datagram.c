/* SPDX-License-Identifier: Apache-2.0 */
/* DATAGRAM streams: a UDP flow of the guest's; see docs/internals/wire.md.
 *
 * One connected socket for each flow, so that only its peer can answer. Datagrams that do not fit are dropped whole, in
 * both directions, as networks do; the first ones wait while the name is looked up. A flow that is idle for five
 * minutes ends. */
#include "egress/conn.h"

#include "wire/service.h"

#include <string.h>
#include <sys/socket.h>

enum {
	IDLE_MS = 300 * 1000,
	HELD_MAX = 16 * 1024, /* bytes of whole datagrams that wait for a name to be looked up; one of any length may */
};

struct flow {
	struct egress *g;
	struct loop_stream stream;
	struct list_node in_list;
	struct hull_target target;
	char *host;
	bool literal, own, accepted;
	struct name *name;
	struct lookup lookup;
	struct loop_socket *sock;
	struct loop_timer *alarm;
	struct hull_buf in;   /* from the guest, not a whole datagram yet */
	struct hull_buf held; /* datagrams with their lengths, before there is a socket */
	struct hull_addr peer;
	uint64_t begin_ms, used_ms, sent, received;
	char *rule;
	const char *refused;
};

static void log_flow(struct flow *f)
{
	/* The same line as for a connection. */
	struct conn c = {
		.g = f->g,
		.host = f->host,
		.literal = f->literal,
		.target = f->target,
		.peer = f->peer,
		.begin_ms = f->begin_ms,
		.sent = f->sent,
		.received = f->received,
		.rule = f->rule,
		.refused = f->refused,
	};
	conn_log(&c);
}

static void on_closed(struct loop_stream *s, int code, const char *message)
{
	struct flow *f = container_of(s, struct flow, stream);
	log_flow(f);
	lookup_cancel(&f->lookup);
	loop_socket_close(f->sock);
	loop_timer_free(f->alarm);
	list_del(&f->in_list);
	f->g->flow_count--;
	name_release(f->name);
	hull_buf_free(&f->in);
	hull_buf_free(&f->held);
	free(f->host);
	free(f->rule);
	free(f);
}

/* The flow is gone when this returns. */
static void end(struct flow *f, int code, const char *text)
{
	if (f->accepted)
		loop_stream_reset(&f->stream, code, text);
	else
		loop_stream_refuse(&f->stream, code, text);
}

static void refuse(struct flow *f, const struct hull_answer *a)
{
	f->refused = a->why;
	free(f->rule);
	f->rule = a->rule ? hull_fmt("%s: %s %s", a->rule->source, a->rule->allow ? "allow" : "deny", a->rule->text)
			  : NULL;
	char text[600];
	snprintf(text, sizeof(text), "%.260s:%u/udp: %s", f->host, f->target.port, a->why);
	end(f, EACCES, text);
}

static void on_idle(void *owner)
{
	struct flow *f = owner;
	uint64_t idle = uv_hrtime() / 1000000 - f->used_ms;
	loop_timer_free(f->alarm);
	f->alarm = NULL;
	if (idle >= IDLE_MS)
		end(f, ETIMEDOUT, "idle");
	else
		f->alarm = loop_timer_new(&f->g->loop, IDLE_MS - idle, f, on_idle);
}

/* --- from the guest --- */

static void send_one(struct flow *f, const uint8_t *p, size_t n)
{
	if (send(f->sock->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		f->sent += n;
}

static void send_held(struct flow *f)
{
	while (f->held.len >= 2) {
		const uint8_t *b = hull_buf_bytes(&f->held);
		size_t len = (size_t)b[0] | (size_t)b[1] << 8;
		send_one(f, b + 2, len);
		hull_buf_drain(&f->held, 2 + len);
	}
	hull_buf_free(&f->held);
}

static void on_data(struct loop_stream *s, unsigned channel, const uint8_t *p, size_t n)
{
	struct flow *f = container_of(s, struct flow, stream);
	loop_stream_grant(s, n);
	f->used_ms = uv_hrtime() / 1000000;
	if (hull_buf_add(&f->in, p, n) < 0) {
		end(f, ENOMEM, "out of memory");
		return;
	}
	while (f->in.len >= 2) {
		const uint8_t *b = hull_buf_bytes(&f->in);
		size_t len = (size_t)b[0] | (size_t)b[1] << 8;
		if (len > HULL_NET_DATAGRAM) {
			end(f, EMSGSIZE, "a datagram that is too long");
			return;
		}
		if (f->in.len < 2 + len)
			return;
		if (f->sock)
			send_one(f, b + 2, len);
		else if (f->held.len == 0 || f->held.len + 2 + len <= HELD_MAX)
			hull_buf_add(&f->held, b, 2 + len);
		hull_buf_drain(&f->in, 2 + len);
	}
}

static void on_eof(struct loop_stream *s)
{
	struct flow *f = container_of(s, struct flow, stream);
	end(f, ECANCELED, "");
}

static const struct loop_stream_ops OPS = {.data = on_data, .eof = on_eof, .closed = on_closed};

/* --- from the peer --- */

static void on_sock(struct loop_socket *s, int events)
{
	struct flow *f = s->owner;
	struct egress *g = f->g;
	for (int i = 0; i < 32; i++) {
		ssize_t n = recv(s->fd, g->scratch + 2, sizeof(g->scratch) - 2, MSG_DONTWAIT);
		if (n < 0 && (errno == ECONNREFUSED || errno == EHOSTUNREACH)) {
			end(f, ECONNREFUSED, "nothing listens there");
			return;
		}
		if (n < 0)
			break;
		if (n > HULL_NET_DATAGRAM || loop_stream_room(&f->stream) < (size_t)n + 2)
			continue;
		g->scratch[0] = (uint8_t)n;
		g->scratch[1] = (uint8_t)((size_t)n >> 8);
		loop_stream_write(&f->stream, 0, g->scratch, (size_t)n + 2);
		f->received += (uint64_t)n;
		f->used_ms = uv_hrtime() / 1000000;
	}
	loop_socket_watch(s, UV_READABLE);
}

static void open_socket(struct flow *f, const struct hull_addr *a)
{
	struct sockaddr_storage to;
	socklen_t n = hull_addr_to(a, f->target.port, &to);
	int fd = socket(a->family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&to, n) < 0) {
		int e = errno;
		close(fd);
		end(f, e, strerror(e));
		return;
	}
	f->sock = fd >= 0 ? loop_socket_new(&f->g->loop, fd, f, on_sock) : NULL;
	if (!f->sock) {
		end(f, ENOBUFS, "no socket");
		return;
	}
	f->peer = *a;
	f->accepted = true;
	loop_socket_watch(f->sock, UV_READABLE);
	f->used_ms = uv_hrtime() / 1000000;
	f->alarm = loop_timer_new(&f->g->loop, IDLE_MS, f, on_idle);
	loop_stream_accept(&f->stream, NULL);
	send_held(f);
}

static void try_addresses(struct flow *f, const struct hull_addr *addrs, size_t n)
{
	struct hull_answer a = {.why = "it has no address"};
	for (size_t i = 0; i < n; i++) {
		a = judge_address(f->g, &f->target, &addrs[i]);
		if (a.verdict == HULL_ALLOW) {
			open_socket(f, &addrs[i]);
			return;
		}
	}
	refuse(f, &a);
}

static void on_looked(struct lookup *l, int error, const struct hull_addr *addrs, size_t n)
{
	struct flow *f = container_of(l, struct flow, lookup);
	if (error)
		end(f, error == -ENOENT ? ENOENT : EHOSTUNREACH, "the name could not be looked up");
	else
		try_addresses(f, addrs, n);
}

static void begin(struct flow *f)
{
	static const struct hull_addr loopback = {AF_INET, {127, 0, 0, 1}};
	struct hull_answer a = hull_policy_connect(&f->g->policy, &f->target);
	if (a.verdict != HULL_ALLOW) {
		refuse(f, &a);
		return;
	}
	f->rule = a.rule ? hull_fmt("%s: allow %s", a.rule->source, a.rule->text) : NULL;
	if (f->own)
		open_socket(f, &loopback);
	else if (f->literal)
		try_addresses(f, &f->target.addr, 1);
	else if (!(f->name = name_get(f->g, f->host)))
		end(f, EAGAIN, "too many names are in use");
	else {
		name_hold(f->name);
		lookup_start(f->g, f->name, &f->lookup);
	}
}

void datagram_open(struct egress *g, uint32_t id, const uint8_t *args, size_t len)
{
	_cleanup_(request_free) struct request r = {0};
	struct hull_addr a;
	char name[HULL_HOST_MAX + 1], text[HULL_ADDR_TEXT];
	bool synthetic = false;
	if (!request_read(args, len, &r) || !r.address || r.port == 0 || r.port > 65535) {
		hull_wire_refuse(g->link.wire, id, EINVAL, "not an address and port");
		return;
	}
	bool literal = hull_addr_parse(r.address, &a);
	struct name *known = literal ? name_of(g, &a, &synthetic) : NULL;
	if (synthetic && !known) {
		hull_wire_refuse(g->link.wire, id, EHOSTUNREACH, "no name has this synthetic address");
		return;
	}
	if (!literal && !hull_host_name(r.address, strlen(r.address), name)) {
		hull_wire_refuse(g->link.wire, id, EINVAL, "not an address or name");
		return;
	}
	struct flow *f = g->flow_count < EGRESS_FLOWS_MAX ? calloc(1, sizeof(*f)) : NULL;
	if (f)
		f->host = strdup(known ? known->text : literal ? hull_addr_text(&a, text) : name);
	if (!f || !f->host) {
		free(f);
		hull_wire_refuse(g->link.wire, id, EAGAIN, "too many flows are open in this sandbox");
		return;
	}
	f->g = g;
	f->stream.ops = &OPS;
	f->literal = literal && !known;
	f->target = (struct hull_target){.port = (uint16_t)r.port, .proto = HULL_PROTO_UDP};
	if (f->literal)
		f->target.addr = a;
	else
		f->target.name = f->host;
	f->own = !f->literal && hull_host_is_host(f->host);
	f->begin_ms = uv_hrtime() / 1000000;
	f->lookup.done = on_looked;
	lookup_init(&f->lookup);
	list_add(&g->flows, &f->in_list);
	g->flow_count++;
	loop_stream_adopt(&f->stream, &g->link, id);
	begin(f);
}

size_t datagram_recheck(struct egress *g)
{
	size_t cut = 0;
	list_each(at, &g->flows)
	{
		struct flow *f = container_of(at, struct flow, in_list);
		if (hull_policy_connect(&g->policy, &f->target).verdict == HULL_ALLOW &&
		    (f->own || !f->peer.family || judge_address(g, &f->target, &f->peer).verdict == HULL_ALLOW))
			continue;
		cut++;
		f->refused = "the policy was changed";
		end(f, ECONNRESET, "the policy was changed");
	}
	return cut;
}
