/* SPDX-License-Identifier: Apache-2.0 */
/* docker.sock on the host: every connection is a DIAL of the guest's Docker socket; see docker_socket.h.
 *
 * The host's side is plain bytes, not a wire.
 * - From the client: only as much is read as the stream takes; without room the socket is not watched for reading.
 * - To the client: what the socket does not take is buffered, at most a window, because credit is granted only for what
 *   was written.
 * - A half-close is passed on in both directions.
 * - A connection made before dockerd is ready waits, unread. It fails when dockerd has failed for good. */
#include "keeper/keeper.h"
#include "keeper/client/docker_socket.h"
#include "keeper/guest/guest.h"
#include "keeper/session/relay.h"
#include "keeper/workspace/share.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "wire/args.h"
#include "wire/service.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct conn {
	struct keeper *k;
	struct list_node in_list;
	uv_poll_t poll;
	int fd; /* -1 = closing */
	int watching;
	struct loop_stream stream;
	struct sync_wait sync;
	bool waits; /* for that */
	bool dialled;
	bool client_eof; /* it sends no more */
	bool guest_eof;  /* the guest sends no more: shut down when `out` is empty */
	bool guest_done; /* the stream is gone: close when `out` is empty */
	bool shut;
	struct hull_buf out;
};

static void on_poll(uv_poll_t *poll, int status, int events);

static void on_closed(uv_handle_t *handle)
{
	struct conn *c = handle->data;
	hull_buf_free(&c->out);
	free(c);
}

/* The host's side is over; the stream, when there is one, is reset and frees the rest. */
static void conn_close(struct conn *c)
{
	if (c->fd < 0)
		return;
	list_del(&c->in_list);
	share_sync_cancel(&c->sync);
	c->k->docker->count--;
	if (c->dialled)
		c->k->relays->count--;
	int fd = c->fd;
	c->fd = -1;
	loop_stream_reset(&c->stream, ECONNRESET, "the client went away");
	uv_close((uv_handle_t *)&c->poll, on_closed);
	close(fd);
}

static void rewatch(struct conn *c)
{
	if (c->fd < 0)
		return;
	bool can_send = c->dialled && !c->client_eof && c->stream.id &&
			hull_wire_writable(c->stream.wire, c->stream.id) > 0;
	/* PRIORITIZED never happens on a unix socket; but while something is watched a full hang-up is told, as that.
	 */
	int events = UV_PRIORITIZED | (can_send ? UV_READABLE : 0) | (c->out.len ? UV_WRITABLE : 0);
	if (events == c->watching)
		return;
	c->watching = events;
	uv_poll_start(&c->poll, events, on_poll);
}

/* Write what the client takes; grant the guest as much. */
static void push(struct conn *c)
{
	if (c->fd < 0)
		return;
	if (loop_stream_drain(&c->stream, &c->out, c->fd) < 0) {
		conn_close(c);
		return;
	}
	if (c->out.len == 0 && c->guest_eof && !c->shut) {
		c->shut = true;
		shutdown(c->fd, SHUT_WR);
	}
	if (c->out.len == 0 && c->guest_done)
		conn_close(c);
	else
		rewatch(c);
}

static void pull(struct conn *c)
{
	ssize_t n = c->client_eof ? -EAGAIN : loop_stream_fill(&c->k->loop, &c->stream, c->fd);
	if (n < 0 && n != -EAGAIN) {
		conn_close(c);
		return;
	}
	if (n == 0) {
		c->client_eof = true;
		loop_stream_eof(&c->stream);
	}
	rewatch(c);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct conn *c = poll->data;
	if (status < 0) {
		conn_close(c);
		return;
	}
	if (events & UV_WRITABLE)
		push(c);
	if (c->fd >= 0 && (events & UV_READABLE))
		pull(c);
	else if (c->fd >= 0 && (events & UV_PRIORITIZED))
		conn_close(c); /* gone altogether: nobody is there to read an answer */
}

/* --- the stream --- */

static void on_data(struct loop_stream *s, unsigned channel, const uint8_t *p, size_t n)
{
	struct conn *c = container_of(s, struct conn, stream);
	if (c->fd < 0)
		return;
	if (hull_buf_add(&c->out, p, n) < 0)
		conn_close(c);
	else
		push(c);
}

static void on_writable(struct loop_stream *s)
{
	rewatch(container_of(s, struct conn, stream));
}

static void on_eof(struct loop_stream *s)
{
	struct conn *c = container_of(s, struct conn, stream);
	c->guest_eof = true;
	if (c->fd >= 0)
		push(c);
}

static void on_stream_closed(struct loop_stream *s, int code, const char *message)
{
	struct conn *c = container_of(s, struct conn, stream);
	if (c->fd < 0)
		return;
	if (code < 0 && code != -ECONNRESET) {
		_cleanup_free_ char *text = hull_printable(message, strlen(message));
		keeper_log_guest(c->k, "docker.sock: the guest ended a connection: %s", text ? text : "");
	}
	c->guest_done = true;
	push(c);
}

static const struct loop_stream_ops OPS = {
	.data = on_data,
	.writable = on_writable,
	.eof = on_eof,
	.closed = on_stream_closed,
};

static void dial(struct conn *c)
{
	struct keeper *k = c->k;
	_cleanup_(hull_buf_free) struct hull_buf args = {0};
	c->stream.ops = &OPS;
	if (k->relays->count >= STREAMS_MAX || hull_args_put_str(&args, HULL_TAG_PATH, HULL_GUEST_DOCKER_SOCKET) < 0 ||
	    loop_stream_open(&c->stream, &k->guest->link, HULL_SVC_DIAL, &args) < 0) {
		conn_close(c);
		return;
	}
	c->dialled = true;
	k->relays->count++;
	rewatch(c);
}

static void passed(struct sync_wait *w)
{
	struct conn *c = container_of(w, struct conn, sync);
	c->waits = false;
	dial(c);
}

/* When what is on the host now can be seen in the guest: `docker run -v` and `docker build` read it there. */
static void dial_synced(struct conn *c)
{
	if (c->waits)
		return;
	c->waits = !share_sync(c->k, &c->sync, passed);
	if (!c->waits)
		dial(c);
}

static bool ready(const struct keeper *k)
{
	return k->guest->configured && k->life.phase < PHASE_STOPPING && strcmp(k->guest->docker, "ready") == 0;
}

void docker_init(struct keeper *k)
{
	list_init(&k->docker->conns);
	k->docker->listener.fd = -1;
}

void docker_accepted(struct keeper *k, int fd)
{
	struct conn *c = NULL;
	if (k->docker->count < DOCKER_CLIENTS_MAX && k->life.phase < PHASE_STOPPING && !guest_docker_hopeless(k))
		c = calloc(1, sizeof(*c));
	if (!c || uv_poll_init(&k->loop.uv, &c->poll, fd) < 0) {
		free(c);
		close(fd);
		return;
	}
	c->k = k;
	c->fd = fd;
	c->poll.data = c;
	list_add(&k->docker->conns, &c->in_list);
	k->docker->count++;
	rewatch(c);
	if (ready(k))
		dial_synced(c);
}

void docker_changed(struct keeper *k)
{
	bool hopeless = guest_docker_hopeless(k) || k->life.phase >= PHASE_STOPPING;
	list_each(n, &k->docker->conns)
	{
		struct conn *c = container_of(n, struct conn, in_list);
		if (c->dialled)
			continue;
		if (ready(k))
			dial_synced(c);
		else if (hopeless)
			conn_close(c);
	}
}

void docker_close(struct keeper *k)
{
	listener_close(&k->docker->listener);
	list_each(n, &k->docker->conns) conn_close(container_of(n, struct conn, in_list));
}
