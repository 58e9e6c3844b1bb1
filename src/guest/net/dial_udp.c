/* SPDX-License-Identifier: Apache-2.0 */
/* The service dial with PROTOCOL 17: a published UDP port. One stream for one sender on the host.
 *
 * A connected socket, so that only the port's own program answers; DATA is datagrams, each behind its length. Without
 * an ADDRESS it is 127.0.0.1, and ::1 when that says that nobody listens: the last datagram is kept until the port has
 * answered, and then goes there. Nobody on either: the stream is reset with ECONNREFUSED, and the sender's next
 * datagram comes with a new one. Nothing waits: what does not fit is dropped. A stream that is idle for IDLE_MS ends.
 */
#include "guest/net/link.h"

#include "base/buf.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "guest/core/core.h"
#include "guest/core/loop.h"
#include "wire/service.h"
#include "wire/wire.h"

#include <string.h>
#include <sys/socket.h>

enum { IDLE_MS = 120 * 1000, PACKETS_MAX = 64 };

struct call {
	struct hull_stream stream;
	struct hull_watch watch;
	struct hull_timer idle;
	int fd;
	bool try_v6;
	uint16_t port;
	uint64_t used_ms;
	struct hull_buf in;   /* of the host's datagrams, what has no end yet */
	struct hull_buf last; /* while try_v6: what was sent last */
};

static void dial_udp_ready(struct hull_watch *w, uint32_t events);

static void dial_udp_call_free(struct call *c)
{
	hull_watch_del(&c->watch);
	hull_timer_stop(&c->idle);
	if (c->fd >= 0)
		close(c->fd);
	hull_buf_free(&c->in);
	hull_buf_free(&c->last);
	free(c);
}

static int dial_udp_attach(struct call *c, const union hull_sockaddr *to)
{
	_cleanup_close_ int fd = socket(to->any.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, &to->any, hull_sockaddr_len(to)) < 0)
		return -errno;
	int r = hull_watch_add(&c->watch, fd, EPOLLIN, dial_udp_ready);
	if (r == 0)
		c->fd = hull_steal_fd(&fd);
	return r;
}

/* Nobody listens there. False when that was the last place, and c is gone. */
static bool dial_udp_refused(struct call *c)
{
	if (c->try_v6) {
		union hull_sockaddr six = {.six = {.sin6_family = AF_INET6,
						   .sin6_port = htons(c->port),
						   .sin6_addr = IN6ADDR_LOOPBACK_INIT}};
		c->try_v6 = false;
		hull_watch_del(&c->watch);
		close(hull_steal_fd(&c->fd));
		if (dial_udp_attach(c, &six) == 0) {
			ssize_t sent = send(c->fd, hull_buf_bytes(&c->last), c->last.len, MSG_DONTWAIT | MSG_NOSIGNAL);
			(void)sent; /* the next call on the socket tells */
			hull_buf_free(&c->last);
			return true;
		}
	}
	hull_wire_reset(hull_wire, c->stream.id, ECONNREFUSED, "nobody listens on this port"); /* frees c */
	return false;
}

/* False when c is gone. */
static bool dial_udp_put(struct call *c, const uint8_t *p, size_t n)
{
	/* An error is that of an earlier datagram, and this one has not been sent. */
	while (send(c->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == ECONNREFUSED)
		if (!dial_udp_refused(c))
			return false;
	if (!c->try_v6)
		return true;
	hull_buf_drain(&c->last, c->last.len);
	if (hull_buf_add(&c->last, p, n) < 0)
		c->try_v6 = false;
	return true;
}

static void dial_udp_ready(struct hull_watch *w, uint32_t events)
{
	static uint8_t p[2 + 65536];
	struct call *c = container_of(w, struct call, watch);
	for (int i = 0; i < PACKETS_MAX; i++) {
		ssize_t n = recv(c->fd, p + 2, sizeof(p) - 2, MSG_DONTWAIT);
		if (n < 0 && errno == ECONNREFUSED) {
			if (!dial_udp_refused(c))
				return;
			continue;
		}
		if (n < 0)
			return;
		c->try_v6 = false;
		hull_buf_free(&c->last);
		c->used_ms = hull_uptime_ms();
		p[0] = (uint8_t)n;
		p[1] = (uint8_t)(n >> 8);
		/* All of it or nothing. */
		if (n <= HULL_NET_DATAGRAM && hull_wire_writable(hull_wire, c->stream.id) >= (size_t)n + 2)
			hull_wire_write(hull_wire, c->stream.id, HULL_CHANNEL_MAIN, p, (size_t)n + 2);
	}
}

/* --- the stream's events --- */

static void dial_udp_on_data(void *user, unsigned channel, const uint8_t *p, size_t n)
{
	struct call *c = user;
	c->used_ms = hull_uptime_ms();
	if (hull_buf_add(&c->in, p, n) < 0) {
		hull_wire_reset(hull_wire, c->stream.id, ENOMEM, "out of memory in the sandbox"); /* frees c */
		return;
	}
	hull_wire_grant(hull_wire, c->stream.id, n);
	for (;;) {
		struct hull_cur cur = hull_cur_make(hull_buf_bytes(&c->in), c->in.len);
		uint16_t len = hull_cur_le16(&cur);
		if (len > HULL_NET_DATAGRAM) {
			hull_wire_reset(hull_wire, c->stream.id, EMSGSIZE, "a datagram longer than any");
			return;
		}
		const uint8_t *datagram = hull_cur_take(&cur, len);
		if (!datagram)
			return;
		if (!dial_udp_put(c, datagram, len))
			return;
		hull_buf_drain(&c->in, len + 2U);
	}
}

static void dial_udp_on_eof(void *user)
{
	struct call *c = user;
	hull_wire_eof(hull_wire, c->stream.id);
}

static void dial_udp_on_closed(void *user, int code, const char *message)
{
	dial_udp_call_free(user);
}

static const struct hull_stream_ops call_ops = {
	.data = dial_udp_on_data, .eof = dial_udp_on_eof, .closed = dial_udp_on_closed};

static void idle_fired(struct hull_timer *t)
{
	struct call *c = container_of(t, struct call, idle);
	uint64_t idle = hull_uptime_ms() - c->used_ms;
	if (idle >= IDLE_MS)
		hull_wire_reset(hull_wire, c->stream.id, ETIMEDOUT, "idle"); /* frees c */
	else
		hull_timer_start(t, IDLE_MS - idle, idle_fired);
}

void hull_dial_udp_open(uint32_t stream, const union hull_sockaddr *to, bool try_v6)
{
	struct call *c = calloc(1, sizeof(*c));
	if (!c) {
		hull_wire_refuse(hull_wire, stream, ENOMEM, "out of memory in the sandbox");
		return;
	}
	c->stream = (struct hull_stream){.ops = &call_ops, .id = stream};
	c->fd = -1;
	c->try_v6 = try_v6;
	c->port = hull_sockaddr_port(to);
	c->used_ms = hull_uptime_ms();
	int r = dial_udp_attach(c, to);
	if (r < 0) {
		hull_wire_refuse(hull_wire, stream, -r, strerror(-r));
		dial_udp_call_free(c);
		return;
	}
	hull_timer_start(&c->idle, IDLE_MS, idle_fired);
	hull_wire_set_user(hull_wire, stream, c);
	hull_wire_accept(hull_wire, stream, NULL, 0);
}
