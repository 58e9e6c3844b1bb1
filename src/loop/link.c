/* SPDX-License-Identifier: Apache-2.0 */
/* A wire on a socket in the loop, and streams on wires; see loop.h.
 *
 * Reading: one read per turn of the loop, fed to the wire, whose events act at once. Writing: the wire says once that
 * it has output (`output`); the link goes on the dirty list, and when the loop is about to sleep everything is
 * written. What the socket does not take waits for it to be writable. Reading is never stopped: what a peer can make
 * us hold is bounded by credit and, for everything else, by the wire's own limit on queued control frames. */
#include "loop/loop.h"

#include "base/io.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void on_poll(uv_poll_t *poll, int status, int events);

static void watch(struct loop_link *l, int events)
{
	if (l->fd < 0 || l->watching == events)
		return;
	l->watching = events;
	uv_poll_start(&l->poll, events, on_poll);
}

/* --- events of the wire, handed to streams --- */

static void wire_hello(void *ctx, uint32_t version, uint64_t epoch)
{
	struct loop_link *l = ctx;
	if (l->hello)
		l->hello(l, epoch);
}

static void wire_open(void *ctx, uint32_t id, uint8_t service, const uint8_t *args, size_t len)
{
	struct loop_link *l = ctx;
	if (l->opened)
		l->opened(l, id, service, args, len);
	else
		hull_wire_refuse(l->wire, id, ENOSYS, "not offered by this host");
}

static void wire_accepted(void *ctx, uint32_t id, void *user, const uint8_t *args, size_t len)
{
	struct loop_stream *s = user;
	if (s && s->ops->accepted)
		s->ops->accepted(s, args, len);
}

static void wire_data(void *ctx, uint32_t id, void *user, unsigned channel, const uint8_t *p, size_t n)
{
	struct loop_link *l = ctx;
	struct loop_stream *s = user;
	if (s && s->ops->data)
		s->ops->data(s, channel, p, n);
	else
		hull_wire_grant(l->wire, id, n);
}

static void wire_message(void *ctx, uint32_t id, void *user, const uint8_t *p, size_t n)
{
	struct loop_stream *s = user;
	if (s && s->ops->message)
		s->ops->message(s, p, n);
}

static void wire_writable(void *ctx, uint32_t id, void *user)
{
	struct loop_stream *s = user;
	if (s && s->ops->writable)
		s->ops->writable(s);
}

static void wire_credit(void *ctx, uint32_t id, void *user, uint32_t bytes)
{
	struct loop_stream *s = user;
	if (s && s->ops->credit)
		s->ops->credit(s, bytes);
}

static void wire_eof(void *ctx, uint32_t id, void *user)
{
	struct loop_stream *s = user;
	if (s && s->ops->eof)
		s->ops->eof(s);
}

static void wire_closed(void *ctx, uint32_t id, void *user, int code, const char *message)
{
	struct loop_stream *s = user;
	if (!s)
		return;
	s->id = 0;
	s->wire = NULL;
	s->ops->closed(s, code, message ? message : "");
}

static void wire_output(void *ctx)
{
	struct loop_link *l = ctx;
	if (l->dirty || l->fd < 0)
		return;
	l->dirty = true;
	list_add(&l->loop->dirty, &l->in_dirty);
}

static const struct hull_wire_ops WIRE_OPS = {
	.hello = wire_hello,
	.open = wire_open,
	.accepted = wire_accepted,
	.data = wire_data,
	.message = wire_message,
	.writable = wire_writable,
	.credit = wire_credit,
	.eof = wire_eof,
	.closed = wire_closed,
	.output = wire_output,
};

/* --- the socket --- */

/* One read, fed to the wire. False when there was nothing to read, or the link is gone. */
static bool receive(struct loop_link *l)
{
	struct loop *loop = l->loop;
	ssize_t n = read(l->fd, loop->scratch, loop->scratch_size);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return errno == EINTR;
	if (n <= 0) {
		int code = n < 0 ? -errno : 0;
		l->gone(l, code, n < 0 ? strerror(errno) : "the connection was closed");
		return false;
	}
	struct hull_error err = {0};
	int r = hull_wire_feed(l->wire, loop->scratch, (size_t)n, &err);
	if (r >= 0 && l->fd >= 0 && l->active)
		l->active(l);
	if (r < 0 && l->fd >= 0)
		l->gone(l, r, err.msg);
	return r >= 0 && l->fd >= 0;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct loop_link *l = poll->data;
	if (status < 0) {
		/* libuv reports every error of a socket as EBADF, and stops watching it. What the error is, a read
		 * says, after everything that was received before it. */
		while (receive(l))
			;
		l->watching = 0;
		if (l->fd >= 0)
			watch(l, UV_READABLE);
		return;
	}
	if (events & UV_WRITABLE)
		loop_link_flush(l);
	if (l->fd >= 0 && (events & (UV_READABLE | UV_DISCONNECT)))
		receive(l);
}

bool loop_link_flush(struct loop_link *l)
{
	if (l->loop->corked) {
		watch(l, UV_READABLE);
		return false;
	}
	if (l->dirty) {
		l->dirty = false;
		list_del(&l->in_dirty);
	}
	while (l->fd >= 0) {
		const uint8_t *p;
		size_t n = hull_wire_output(l->wire, &p);
		/* The wire died while queueing: the peer sends requests and does not read the answers. */
		if (n == 0 && hull_wire_dead(l->wire)) {
			l->gone(l, -EPROTO, "too much waits to be read by the other end");
			return true;
		}
		if (l->held && n > l->may_send)
			n = l->may_send;
		if (n == 0) {
			watch(l, UV_READABLE);
			return true;
		}
		ssize_t w = send(l->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (w > 0) {
			hull_wire_sent(l->wire, (size_t)w);
			l->may_send -= l->held ? (size_t)w : 0;
			continue;
		}
		if (w < 0 && errno == EINTR)
			continue;
		/* An error is left to receive(), which reads first what the peer has sent before. */
		watch(l, w < 0 && errno == EAGAIN ? UV_READABLE | UV_WRITABLE : UV_READABLE);
		return w < 0 && errno != EAGAIN;
	}
	return true;
}

void loop_link_hold(struct loop_link *l)
{
	const uint8_t *p;
	if (l->fd < 0)
		return;
	l->may_send = hull_wire_output(l->wire, &p);
	l->held = true;
}

void loop_link_release(struct loop_link *l)
{
	l->held = false;
	if (l->fd >= 0)
		wire_output(l);
}

int loop_link_open(struct loop *loop, struct loop_link *l, int fd, bool owns_fd, const struct hull_wire_config *config,
		   struct hull_error *err)
{
	l->loop = loop;
	l->fd = fd;
	l->owns_fd = owns_fd;
	l->poll.data = l;
	list_init(&l->in_dirty);
	int r = hull_set_nonblock(fd, true);
	if (r < 0)
		return hull_fail(err, r, "cannot use a connection: %s", strerror(-r));
	l->wire = hull_wire_new(config, &WIRE_OPS, l);
	if (!l->wire)
		return hull_fail(err, -ENOMEM, "out of memory");
	r = uv_poll_init(&loop->uv, &l->poll, fd);
	if (r < 0) {
		hull_wire_free(l->wire);
		l->wire = NULL;
		return hull_fail(err, r, "cannot watch a connection: %s", uv_strerror(r));
	}
	watch(l, UV_READABLE);
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct loop_link *l = handle->data;
	if (l->freed)
		l->freed(l);
}

void loop_link_close(struct loop_link *l)
{
	if (l->fd < 0 || !l->wire)
		return;
	int fd = l->fd;
	struct hull_wire *wire = l->wire;
	l->fd = -1;
	if (l->dirty)
		list_del(&l->in_dirty);
	l->dirty = false;
	uv_close((uv_handle_t *)&l->poll, on_closed);
	hull_wire_free(wire);
	l->wire = NULL;
	if (l->owns_fd)
		close(fd);
}

/* --- streams --- */

int loop_stream_open(struct loop_stream *s, struct loop_link *l, uint8_t service, const struct hull_buf *args)
{
	if (l->fd < 0)
		return -EPIPE;
	uint32_t id = 0;
	int r = hull_wire_open(l->wire, service, args ? hull_buf_bytes(args) : NULL, args ? args->len : 0, s, &id);
	if (r < 0)
		return r;
	s->wire = l->wire;
	s->id = id;
	return 0;
}

void loop_stream_adopt(struct loop_stream *s, struct loop_link *l, uint32_t id)
{
	s->wire = l->wire;
	s->id = id;
	hull_wire_set_user(l->wire, id, s);
}

void loop_stream_accept(struct loop_stream *s, const struct hull_buf *args)
{
	if (s->id)
		hull_wire_accept(s->wire, s->id, args ? hull_buf_bytes(args) : NULL, args ? args->len : 0);
}

void loop_stream_refuse(struct loop_stream *s, int code, const char *message)
{
	if (s->id)
		hull_wire_refuse(s->wire, s->id, code, message);
}

size_t loop_stream_room(const struct loop_stream *s)
{
	return s->id ? hull_wire_writable(s->wire, s->id) : 0;
}

ssize_t loop_stream_write(struct loop_stream *s, unsigned channel, const void *p, size_t n)
{
	return s->id ? hull_wire_write(s->wire, s->id, channel, p, n) : -ENOENT;
}

void loop_stream_grant(struct loop_stream *s, size_t n)
{
	if (s->id && n)
		hull_wire_grant(s->wire, s->id, n);
}

void loop_stream_eof(struct loop_stream *s)
{
	if (s->id)
		hull_wire_eof(s->wire, s->id);
}

void loop_stream_message(struct loop_stream *s, const void *p, size_t n)
{
	if (s->id)
		hull_wire_message(s->wire, s->id, p, n);
}

void loop_stream_reset(struct loop_stream *s, int code, const char *message)
{
	if (s->id)
		hull_wire_reset(s->wire, s->id, code, message);
}

ssize_t loop_stream_fill(struct loop *loop, struct loop_stream *s, int fd)
{
	size_t room = loop_stream_room(s);
	if (room == 0)
		return -EAGAIN;
	ssize_t n = read(fd, loop->scratch, room < loop->scratch_size ? room : loop->scratch_size);
	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	if (n > 0 && loop_stream_write(s, 0, loop->scratch, (size_t)n) != n)
		return -EPIPE;
	return n;
}

void loop_stream_push(struct loop_stream *s, unsigned channel, struct hull_buf *out)
{
	while (out->len) {
		ssize_t n = loop_stream_write(s, channel, hull_buf_bytes(out), out->len);
		if (n <= 0)
			return;
		hull_buf_drain(out, (size_t)n);
	}
}

int loop_stream_drain(struct loop_stream *s, struct hull_buf *out, int fd)
{
	size_t done = 0;
	int r = 0;
	while (out->len && r == 0) {
		ssize_t n = send(fd, hull_buf_bytes(out), out->len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0) {
			hull_buf_drain(out, (size_t)n);
			done += (size_t)n;
		} else if (n == 0 || errno != EINTR) {
			r = n == 0 ? -EPIPE : -errno;
		}
	}
	loop_stream_grant(s, done);
	return r == -EAGAIN ? 0 : r;
}
