/* SPDX-License-Identifier: Apache-2.0 */
/* Published ports: listeners on the host whose connections are dialed into the guest; see internal.h.
 *
 * Without an address a port is bound on 127.0.0.1 and ::1, with the same number on both. A connection that is accepted
 * becomes a DIAL stream: bytes, ends and breaks are passed on as in conn.c; one that the guest does not take is
 * reset. For UDP every sender gets a DIAL stream of its own for as long as it is not idle. */
#include "egress/internal.h"

#include "wire/args.h"
#include "wire/service.h"

#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

enum { SENDERS_MAX = 64, UDP_IDLE_MS = 60 * 1000, BACKLOG = 256, PORT_TRIES = 16, PAUSE_MS = 200 };

struct port {
	struct egress *g;
	struct list_node in_list;
	json_int_t id;
	uint16_t guest;
	bool udp;
	struct loop_socket *listeners[2];
	struct loop_timer *paused; /* no descriptor was left to accept with */
	struct list_node calls;
	size_t call_count;
	bool unheard; /* nothing listened in the sandbox the last time, and the keeper was told */
};

/* One connection, or one UDP sender. */
struct call {
	struct port *port; /* NULL when it was unpublished meanwhile: TCP goes on */
	struct egress *g;
	struct loop_stream stream;
	struct list_node in_list;
	struct loop_socket *sock; /* TCP */
	bool accepted, guest_eof, peer_eof, sent_eof;
	struct hull_buf out; /* to the host's side; UDP: from the guest, not whole yet */
	/* UDP */
	bool udp;
	int listener;
	struct sockaddr_storage from;
	socklen_t from_len;
	struct loop_timer *alarm;
	uint64_t used_ms;
};

static void call_free(struct call *c)
{
	list_del(&c->in_list);
	if (c->port)
		c->port->call_count--;
	c->g->conn_count -= !c->udp;
	loop_timer_free(c->alarm);
	hull_buf_free(&c->out);
	free(c);
}

/* Report whether anything listens in the sandbox, when that changes. */
static void heard(struct port *p, bool yes)
{
	if (!p || p->udp || p->unheard == !yes)
		return;
	p->unheard = !yes;
	control_send(p->g, json_pack("{s:{s:I,s:b}}", "listens", "id", p->id, "yes", yes), true);
}

static void on_closed(struct loop_stream *s, int code, const char *message)
{
	struct call *c = container_of(s, struct call, stream);
	if (code == -ECONNREFUSED && !c->accepted)
		heard(c->port, false);
	if (code == 0 && c->sock && c->out.len > 0)
		return; /* the last bytes are on their way */
	if (code == 0)
		loop_socket_close(c->sock);
	else
		loop_socket_reset(c->sock);
	c->sock = NULL;
	call_free(c);
}

/* c is gone when this returns. */
static void call_end(struct call *c, int code)
{
	loop_socket_reset(c->sock);
	c->sock = NULL;
	if (c->stream.id)
		loop_stream_reset(&c->stream, code, "");
	else
		call_free(c);
}

static void watch(struct call *c)
{
	int events = c->out.len ? UV_WRITABLE : 0;
	if (!c->peer_eof && loop_stream_room(&c->stream) > 0)
		events |= UV_READABLE;
	loop_socket_watch(c->sock, events);
}

/* False when c is gone. */
static bool call_flush(struct call *c)
{
	if (loop_stream_drain(&c->stream, &c->out, c->sock->fd) < 0) {
		/* Broken: the read tells. What was not taken is dropped. */
		loop_stream_grant(&c->stream, c->out.len);
		hull_buf_drain(&c->out, c->out.len);
	}
	if (!c->stream.id && !c->out.len) {
		loop_socket_close(c->sock);
		c->sock = NULL;
		call_free(c);
		return false;
	}
	if (c->guest_eof && !c->sent_eof && !c->out.len) {
		c->sent_eof = true;
		shutdown(c->sock->fd, SHUT_WR);
	}
	watch(c);
	return true;
}

static void to_sender(struct call *c)
{
	while (c->out.len >= 2) {
		const uint8_t *b = hull_buf_bytes(&c->out);
		size_t len = (size_t)b[0] | (size_t)b[1] << 8;
		if (len > HULL_NET_DATAGRAM) {
			call_end(c, EMSGSIZE);
			return;
		}
		if (c->out.len < 2 + len)
			return;
		/* One that cannot go now is dropped. */
		(void)!sendto(c->listener, b + 2, len, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&c->from,
			      c->from_len);
		hull_buf_drain(&c->out, 2 + len);
	}
}

static void on_data(struct loop_stream *s, unsigned channel, const uint8_t *p, size_t n)
{
	struct call *c = container_of(s, struct call, stream);
	if (c->udp) {
		loop_stream_grant(s, n);
		c->used_ms = uv_hrtime() / 1000000;
	}
	if (hull_buf_add(&c->out, p, n) < 0)
		call_end(c, ENOMEM);
	else if (c->udp)
		to_sender(c);
	else
		call_flush(c);
}

static void on_eof(struct loop_stream *s)
{
	struct call *c = container_of(s, struct call, stream);
	c->guest_eof = true;
	if (c->udp)
		call_end(c, ECANCELED);
	else
		call_flush(c);
}

static void on_accepted(struct loop_stream *s, const uint8_t *args, size_t len)
{
	struct call *c = container_of(s, struct call, stream);
	c->accepted = true;
	heard(c->port, true);
	if (c->sock)
		watch(c);
}

static void on_writable(struct loop_stream *s)
{
	struct call *c = container_of(s, struct call, stream);
	if (c->sock && c->accepted)
		watch(c);
}

static const struct loop_stream_ops OPS = {
	.accepted = on_accepted,
	.data = on_data,
	.writable = on_writable,
	.eof = on_eof,
	.closed = on_closed,
};

static void on_sock(struct loop_socket *s, int events)
{
	struct call *c = s->owner;
	if ((events & UV_WRITABLE) && !call_flush(c))
		return;
	if (!(events & UV_READABLE))
		return;
	ssize_t n = loop_stream_fill(&c->g->loop, &c->stream, s->fd);
	if (n < 0 && n != -EAGAIN) {
		call_end(c, (int)-n);
		return;
	}
	c->peer_eof = c->peer_eof || n == 0;
	watch(c);
	if (n == 0)
		loop_stream_eof(&c->stream);
}

/* --- accepting --- */

static struct call *call_new(struct port *p)
{
	struct egress *g = p->g;
	struct call *c = calloc(1, sizeof(*c));
	_cleanup_(hull_buf_free) struct hull_buf args = {0};
	if (!c)
		return NULL;
	c->g = g;
	c->port = p;
	c->udp = p->udp;
	c->stream.ops = &OPS;
	list_init(&c->in_list);
	int r = hull_args_put_u32(&args, HULL_TAG_PORT, p->guest);
	if (r == 0 && p->udp)
		r = hull_args_put_u32(&args, HULL_TAG_PROTOCOL, 17);
	if (r == 0)
		r = loop_stream_open(&c->stream, &g->link, HULL_SVC_DIAL, &args);
	if (r < 0) {
		free(c);
		return NULL;
	}
	list_add(&p->calls, &c->in_list);
	p->call_count++;
	g->conn_count += !c->udp;
	return c;
}

static void on_pause_over(void *owner)
{
	struct port *p = owner;
	loop_timer_free(p->paused);
	p->paused = NULL;
	for (int i = 0; i < 2; i++)
		loop_socket_watch(p->listeners[i], UV_READABLE);
}

/* The connection stays in the kernel's queue, and the listener ready: it is let alone for a while. */
static void pause_port(struct port *p)
{
	if (!p->paused)
		p->paused = loop_timer_new(&p->g->loop, PAUSE_MS, p, on_pause_over);
	for (int i = 0; p->paused && i < 2; i++)
		loop_socket_watch(p->listeners[i], 0);
}

static void on_connection(struct loop_socket *s, int events)
{
	struct port *p = s->owner;
	for (int i = 0; i < 64; i++) {
		int fd = accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
			pause_port(p);
			return;
		}
		if (fd < 0)
			break;
		int on = 1;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		struct call *c = p->g->conn_count < EGRESS_CONNECTIONS_MAX ? call_new(p) : NULL;
		if (!c) {
			struct linger now = {.l_onoff = 1};
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
			close(fd);
			continue;
		}
		c->sock = loop_socket_new(&p->g->loop, fd, c, on_sock);
		if (!c->sock)
			call_end(c, ENOMEM);
	}
	loop_socket_watch(s, UV_READABLE);
}

static void on_idle(void *owner)
{
	struct call *c = owner;
	uint64_t idle = uv_hrtime() / 1000000 - c->used_ms;
	loop_timer_free(c->alarm);
	c->alarm = NULL;
	if (idle >= UDP_IDLE_MS)
		call_end(c, ETIMEDOUT);
	else
		c->alarm = loop_timer_new(&c->g->loop, UDP_IDLE_MS - idle, c, on_idle);
}

static struct call *sender(struct port *p, int listener, const struct sockaddr_storage *from, socklen_t len)
{
	list_each(at, &p->calls)
	{
		struct call *c = container_of(at, struct call, in_list);
		if (c->listener == listener && c->from_len == len && memcmp(&c->from, from, len) == 0)
			return c;
	}
	struct call *c = p->call_count < SENDERS_MAX ? call_new(p) : NULL;
	if (!c)
		return NULL;
	c->listener = listener;
	c->from = *from;
	c->from_len = len;
	c->used_ms = uv_hrtime() / 1000000;
	c->alarm = loop_timer_new(&p->g->loop, UDP_IDLE_MS, c, on_idle);
	return c;
}

static void on_datagram(struct loop_socket *s, int events)
{
	struct port *p = s->owner;
	struct egress *g = p->g;
	for (int i = 0; i < 32; i++) {
		struct sockaddr_storage from = {0};
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(s->fd, g->scratch + 2, sizeof(g->scratch) - 2, MSG_DONTWAIT,
				     (struct sockaddr *)&from, &len);
		if (n < 0)
			break;
		struct call *c = n <= HULL_NET_DATAGRAM ? sender(p, s->fd, &from, len) : NULL;
		if (!c || loop_stream_room(&c->stream) < (size_t)n + 2)
			continue;
		c->used_ms = uv_hrtime() / 1000000;
		g->scratch[0] = (uint8_t)n;
		g->scratch[1] = (uint8_t)((size_t)n >> 8);
		loop_stream_write(&c->stream, 0, g->scratch, (size_t)n + 2);
	}
	loop_socket_watch(s, UV_READABLE);
}

/* --- publishing --- */

static void tell(struct egress *g, json_int_t id, json_t *bound, uint16_t host, const char *error)
{
	json_t *j = error ? json_pack("{s:{s:I,s:s}}", "port", "id", id, "error", error)
			  : json_pack("{s:{s:I,s:o,s:i}}", "port", "id", id, "bound", bound, "host", host);
	control_send(g, j, false);
}

static int bind_one(struct port *p, size_t slot, const struct hull_addr *a, uint16_t *port)
{
	struct sockaddr_storage at;
	socklen_t n = hull_addr_to(a, *port, &at);
	int type = (p->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC;
	_cleanup_close_ int fd = socket(a->family, type, 0);
	if (fd < 0)
		return -errno;
	int on = 1;
	if (!p->udp)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (a->family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&at, n) < 0 || (!p->udp && listen(fd, BACKLOG) < 0))
		return -errno;
	n = sizeof(at);
	if (getsockname(fd, (struct sockaddr *)&at, &n) < 0)
		return -errno;
	*port = ntohs(a->family == AF_INET ? ((struct sockaddr_in *)(void *)&at)->sin_port
					   : ((struct sockaddr_in6 *)(void *)&at)->sin6_port);
	p->listeners[slot] = loop_socket_new(&p->g->loop, hull_steal_fd(&fd), p, p->udp ? on_datagram : on_connection);
	if (!p->listeners[slot])
		return -ENOMEM;
	loop_socket_watch(p->listeners[slot], UV_READABLE);
	return 0;
}

static void port_free(struct port *p)
{
	for (int i = 0; i < 2; i++)
		loop_socket_close(p->listeners[i]);
	loop_timer_free(p->paused);
	list_each(at, &p->calls)
	{
		struct call *c = container_of(at, struct call, in_list);
		if (c->udp) {
			call_end(c, ECANCELED);
			continue;
		}
		/* A connection that stands goes on without its port. */
		list_del(&c->in_list);
		c->port = NULL;
	}
	list_del(&p->in_list);
	p->g->port_count--;
	free(p);
}

static const char *bind_error(int e, const char *where, uint16_t host, const char *proto, char *out, size_t cap)
{
	if (e == -EADDRINUSE)
		snprintf(out, cap,
			 "port %u/%s on %s is taken by another program; choose another, or leave it out to get a "
			 "free one",
			 host, proto, where);
	else if (e == -EACCES || e == -EPERM)
		snprintf(out, cap,
			 "port %u is privileged: ports below 1024 cannot be bound here; use one above, as %u:...", host,
			 host + 8000u);
	else if (e == -EADDRNOTAVAIL)
		snprintf(out, cap,
			 "%s is not an address of this host; choose one that `ip address` lists, or leave it out to "
			 "publish on its loopback",
			 where);
	else
		snprintf(out, cap, "cannot listen on %s port %u/%s: %s", where, host, proto, strerror(-e));
	return out;
}

void port_publish(struct egress *g, const json_t *j)
{
	static const struct hull_addr both[] = {{AF_INET, {127, 0, 0, 1}}, {AF_INET6, {[15] = 1}}};
	json_int_t id = json_integer_value(json_object_get(j, "id"));
	json_int_t host = json_integer_value(json_object_get(j, "host"));
	json_int_t guest = json_integer_value(json_object_get(j, "guest"));
	const char *ip = json_string_value(json_object_get(j, "ip"));
	const char *proto = json_string_value(json_object_get(j, "proto"));
	struct hull_addr one;
	char text[300];
	if (!ip)
		ip = "";
	if (host < 0 || host > 65535 || guest < 1 || guest > 65535 || (ip[0] && !hull_addr_parse(ip, &one))) {
		tell(g, id, NULL, 0, "not an address and port");
		return;
	}
	struct port *p = g->port_count < EGRESS_PORTS_MAX ? calloc(1, sizeof(*p)) : NULL;
	if (!p) {
		tell(g, id, NULL, 0, "too many ports are published; `hull ports NAME --unpublish PORT` makes room");
		return;
	}
	p->g = g;
	p->id = id;
	p->guest = (uint16_t)guest;
	p->udp = hull_streq(proto, "udp");
	list_init(&p->calls);
	list_add(&g->ports, &p->in_list);
	g->port_count++;
	const struct hull_addr *addrs = ip[0] ? &one : both;
	size_t count = ip[0] ? 1 : 2;
	json_t *bound = json_array();
	uint16_t port = (uint16_t)host;
	char addr[HULL_ADDR_TEXT];
	int e = 0, again = 0;
	for (size_t i = 0; i < count; i++) {
		e = bind_one(p, i, &addrs[i], &port);
		hull_addr_text(&addrs[i], addr);
		/* Any port that is free means free on both. */
		if (e == -EADDRINUSE && i == 1 && host == 0 && again++ < PORT_TRIES) {
			loop_socket_close(p->listeners[0]);
			p->listeners[0] = NULL;
			json_array_clear(bound);
			port = 0;
			i = SIZE_MAX; /* 0 in the next round */
			continue;
		}
		/* A host without IPv6 has only the other one. */
		if (e < 0 && !(i == 1 && (e == -EAFNOSUPPORT || e == -EADDRNOTAVAIL)))
			break;
		if (e == 0)
			json_array_append_new(
				bound, json_sprintf(addrs[i].family == AF_INET ? "%s:%u" : "[%s]:%u", addr, port));
		e = 0;
	}
	if (e < 0) {
		json_decref(bound);
		tell(g, id, NULL, 0, bind_error(e, addr, port, p->udp ? "udp" : "tcp", text, sizeof(text)));
		port_free(p);
		return;
	}
	tell(g, id, bound, port, NULL);
}

void port_unpublish(struct egress *g, json_int_t id)
{
	list_each(at, &g->ports)
	{
		struct port *p = container_of(at, struct port, in_list);
		if (p->id == id) {
			port_free(p);
			return;
		}
	}
}
