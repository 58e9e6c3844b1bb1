/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a connection of the guest's, in both directions, and its end; see conn.h and connect.c.
 *
 * What the guest sends is judged (inspect.c) before it goes out; what the peer sends passes. Memory: what the guest has
 * sent and the peer has not taken is at most a window, because credit is granted only for what has gone out; from the
 * peer nothing is read that the wire does not take at once. An end in one direction is passed on alone, and a
 * connection that broke is an RST on the other side. */
#include "egress/conn.h"

#include "egress/http.h"

#include <string.h>
#include <sys/socket.h>

enum {
	/* For the first bytes of the guest; after that it is a protocol where the server speaks first. Emulated, pip
	 * takes a second. */
	REFUSED_MS = 5000,
	ENDING_MS = 5000, /* for the guest to read a refusal */
};

/* --- the end --- */

static void conn_free(struct conn *c)
{
	struct egress *g = c->g;
	conn_log(c);
	lookup_cancel(&c->lookup);
	dial_cancel(&c->dial);
	loop_timer_free(c->alarm);
	list_del(&c->in_list);
	g->conn_count--;
	name_release(c->name);
	name_release(c->proxy_name);
	hull_buf_free(&c->in);
	hull_buf_free(&c->out);
	hull_buf_free(&c->reply);
	if (c->http)
		http_free(c->http);
	free(c->http);
	free(c->tls);
	free(c->host);
	free(c->rule);
	free(c->method);
	free(c->path);
	free(c->spoken_for);
	free(c);
}

/* Refuse or reset the stream; c is gone when this returns. */
void conn_reset(struct conn *c, int code, const char *text)
{
	if (!c->refused && !c->accepted) {
		c->failed = true;
		c->refused = strerrordesc_np(code);
	}
	loop_socket_reset(c->sock);
	c->sock = NULL;
	if (!c->stream.id)
		conn_free(c);
	else if (c->accepted)
		loop_stream_reset(&c->stream, code, text);
	else
		loop_stream_refuse(&c->stream, code, text);
}

static void on_closed(struct loop_stream *s, int code, const char *message)
{
	struct conn *c = container_of(s, struct conn, stream);
	if (code == 0 && c->sock && c->out.len > 0 && !c->sent_eof)
		return; /* both ends are closed; the last bytes are still on their way to the peer */
	if (code == 0)
		loop_socket_close(c->sock);
	else
		loop_socket_reset(c->sock);
	c->sock = NULL;
	conn_free(c);
}

void conn_set_rule(struct conn *c, const struct hull_rule *r)
{
	free(c->rule);
	c->rule = r ? hull_fmt("%s: %s %s", r->source, r->allow ? "allow" : "deny", r->text) : NULL;
}

static void on_alarm(void *owner)
{
	struct conn *c = owner;
	conn_reset(c, c->state == CONN_REFUSED ? EACCES : ECONNRESET, "refused by the policy");
}

static void set_alarm(struct conn *c, uint64_t ms)
{
	loop_timer_free(c->alarm);
	c->alarm = loop_timer_new(&c->g->loop, ms, c, on_alarm);
}

static void accept_stream(struct conn *c)
{
	if (!c->accepted && c->stream.id)
		loop_stream_accept(&c->stream, NULL);
	c->accepted = true;
}

static void disconnect_peer(struct conn *c)
{
	lookup_cancel(&c->lookup);
	dial_cancel(&c->dial);
	loop_socket_reset(c->sock);
	c->sock = NULL;
	hull_buf_free(&c->out);
}

void conn_finish(struct conn *c, const void *p, size_t n)
{
	disconnect_peer(c);
	accept_stream(c);
	c->state = CONN_ENDING;
	hull_buf_free(&c->in);
	loop_stream_write(&c->stream, 0, p, n);
	set_alarm(c, ENDING_MS);
	if (c->owed)
		loop_stream_grant(&c->stream, c->owed);
	c->owed = 0;
	loop_stream_eof(&c->stream);
}

/* Not connected: what the guest says is only to tell how a refusal can be read. */
void conn_await_first(struct conn *c)
{
	disconnect_peer(c);
	accept_stream(c);
	c->state = CONN_REFUSED;
	set_alarm(c, REFUSED_MS);
	if (c->in.len)
		conn_inspect(c);
}

/* --- to the peer --- */

static size_t held(const struct conn *c)
{
	return c->in.len + c->out.len + (c->http ? c->http->head.len : 0);
}

static void watch(struct conn *c)
{
	if (!c->sock)
		return;
	int events = c->out.len ? UV_WRITABLE : 0;
	if (c->state == CONN_PROXY)
		events |= UV_READABLE;
	else if (!c->peer_eof && loop_stream_room(&c->stream) > 0)
		events |= UV_READABLE;
	loop_socket_watch(c->sock, events);
}

/* Returns the bytes that went, or -errno. */
static ssize_t send_some(struct conn *c, const uint8_t *p, size_t n)
{
	size_t done = 0;
	while (done < n) {
		ssize_t w = send(c->sock->fd, p + done, n - done, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0 && errno == EAGAIN)
			break;
		if (w < 0)
			return -errno;
		done += (size_t)w;
	}
	c->sent += c->state == CONN_OPEN ? done : 0;
	return (ssize_t)done;
}

bool conn_flush(struct conn *c)
{
	if (c->sock && (c->state == CONN_OPEN || c->state == CONN_PROXY) && c->out.len > 0) {
		ssize_t n = send_some(c, hull_buf_bytes(&c->out), c->out.len);
		/* What the peer said before it went is still to be read; the read tells how it ended. */
		hull_buf_drain(&c->out, n < 0 ? c->out.len : (size_t)n);
	}
	if (!c->stream.id && !c->out.len) {
		loop_socket_close(c->sock);
		c->sock = NULL;
		conn_free(c);
		return false;
	}
	size_t keep = held(c);
	if (c->stream.id && c->owed > keep) {
		loop_stream_grant(&c->stream, c->owed - keep);
		c->owed = keep;
	}
	if (c->sock && c->state == CONN_OPEN && c->guest_eof && !c->sent_eof && c->in.len + c->out.len == 0) {
		c->sent_eof = true;
		shutdown(c->sock->fd, SHUT_WR);
	}
	watch(c);
	return true;
}

/* --- from the guest --- */

static void on_data(struct loop_stream *s, unsigned channel, const uint8_t *p, size_t n)
{
	struct conn *c = container_of(s, struct conn, stream);
	if (c->state == CONN_ENDING) {
		loop_stream_grant(s, n);
		return;
	}
	c->owed += n;
	if (c->mode == MODE_PASS && c->state == CONN_OPEN && c->out.len == 0 && c->in.len == 0) {
		ssize_t w = send_some(c, p, n);
		if (w < 0)
			w = (ssize_t)n; /* the read tells how it ended */
		p += w;
		n -= (size_t)w;
	}
	if (n > 0 && hull_buf_add(c->mode == MODE_PASS ? &c->out : &c->in, p, n) < 0) {
		conn_reset(c, ENOMEM, "out of memory");
		return;
	}
	if (c->in.len > 0 && !conn_inspect(c))
		return;
	if (c->state != CONN_LOOKUP && c->state != CONN_DIAL)
		conn_flush(c);
}

static void on_eof(struct loop_stream *s)
{
	struct conn *c = container_of(s, struct conn, stream);
	c->guest_eof = true;
	if (c->state == CONN_REFUSED) {
		conn_reset(c, EACCES, "refused by the policy");
		return;
	}
	if (c->in.len > 0 && !conn_inspect(c))
		return;
	if (c->state == CONN_OPEN)
		conn_flush(c);
}

static void on_writable(struct loop_stream *s)
{
	struct conn *c = container_of(s, struct conn, stream);
	if (c->state == CONN_OPEN)
		watch(c);
}

/* --- from the peer --- */

void conn_opened(struct conn *c)
{
	c->state = CONN_OPEN;
	accept_stream(c);
	if (c->in.len == 0 || conn_inspect(c))
		conn_flush(c);
}

static void proxy_readable(struct conn *c)
{
	uint8_t *room = hull_buf_room(&c->reply, 4096);
	/* One byte at a time behind the answer would be the peer's: a handshake is short. */
	ssize_t n = room ? recv(c->sock->fd, room, c->shake.proxy->socks ? 512 : 4096, MSG_DONTWAIT) : -1;
	if (n < 0 && room && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		conn_reset(c, ECONNREFUSED, "the upstream proxy closed the connection");
		return;
	}
	hull_buf_added(&c->reply, (size_t)n);
	_cleanup_(hull_buf_free) struct hull_buf say = {0};
	int r;
	do {
		int before = c->shake.state;
		r = proxy_step(&c->shake, &c->reply, &say);
		if (c->shake.state == before)
			break;
	} while (r == 0 && c->reply.len > 0);
	if (r < 0) {
		conn_reset(c, -r, c->shake.why);
		return;
	}
	if (r == 0) {
		if (say.len && hull_buf_add(&c->out, hull_buf_bytes(&say), say.len) < 0)
			conn_reset(c, ENOMEM, "out of memory");
		else
			conn_flush(c);
		return;
	}
	/* What came with the answer is the peer's. */
	_cleanup_(hull_buf_free) struct hull_buf first = c->reply;
	c->reply = (struct hull_buf){0};
	c->state = CONN_OPEN;
	accept_stream(c);
	c->received += first.len;
	if (first.len)
		loop_stream_write(&c->stream, 0, hull_buf_bytes(&first), first.len);
	conn_opened(c);
}

/* False when c is gone. */
static bool peer_readable(struct conn *c)
{
	struct egress *g = c->g;
	size_t room = c->stream.id ? loop_stream_room(&c->stream) : sizeof(g->scratch);
	if (room == 0) {
		watch(c);
		return true;
	}
	size_t want = room < sizeof(g->scratch) ? room : sizeof(g->scratch);
	ssize_t n = recv(c->sock->fd, g->scratch, want, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		watch(c);
		return true;
	}
	if (n < 0) {
		int e = errno;
		conn_reset(c, e, e == ECONNRESET ? "" : strerror(e));
		return false;
	}
	if (n == 0) {
		bool last = c->guest_eof && c->out.len == 0;
		c->peer_eof = true;
		watch(c);
		if (c->stream.id)
			loop_stream_eof(&c->stream); /* after both EOFs c is gone */
		return !last;
	}
	c->received += (uint64_t)n;
	c->answered = true;
	if (c->stream.id)
		loop_stream_write(&c->stream, 0, g->scratch, (size_t)n);
	if (c->mode == MODE_SWITCH)
		return conn_switched(c, g->scratch, (size_t)n);
	if (c->mode == MODE_TLS)
		return conn_tls_heard(c, g->scratch, (size_t)n);
	watch(c);
	return true;
}

void conn_sock_ready(struct loop_socket *s, int events)
{
	struct conn *c = s->owner;
	if (events & UV_READABLE) {
		if (c->state == CONN_PROXY) {
			proxy_readable(c);
			return;
		}
		if (!peer_readable(c))
			return;
	}
	if (events & UV_WRITABLE)
		conn_flush(c);
}

const struct loop_stream_ops conn_stream_ops = {
	.data = on_data,
	.eof = on_eof,
	.writable = on_writable,
	.closed = on_closed,
};
