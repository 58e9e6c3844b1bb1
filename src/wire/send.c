/* SPDX-License-Identifier: Apache-2.0 */
/* The owner's calls on streams. Each checks that the stream is in a state for it, queues a frame, and never calls
 * `closed`, except hull_wire_refuse(), hull_wire_eof() and hull_wire_reset() for their own stream. */
#include "wire/internal.h"

#include <stdlib.h>
#include <string.h>

/* Whether we may speak at all: the host after its HELLO, the guest after the host's. */
static bool can_speak(const struct hull_wire *w)
{
	return w->config.side == HULL_WIRE_HOST ? w->said_hello : w->ready;
}

/* The stream for sending on our half of it, or why not. */
static int sending(const struct hull_wire *w, uint32_t id, struct stream **out)
{
	if (w->dead)
		return -EPIPE;
	struct stream *s = table_find(&w->table, id);
	if (!s)
		return -ENOENT;
	if (!s->local && !s->accepted)
		return -ENOTCONN;
	if (s->sent_eof)
		return -EPIPE;
	*out = s;
	return 0;
}

/* What a public call returns: a wire that died on the way is -EPIPE. */
static int done(struct hull_wire *w, int r)
{
	int result = w->dead ? -EPIPE : r;
	queue_tell(w);
	return result;
}

/* --- beginning --- */

static int queue_open(struct hull_wire *w, uint32_t id, uint8_t service, const uint8_t *args, size_t len)
{
	size_t part = len < HULL_WIRE_PAYLOAD_MAX - 1 ? len : HULL_WIRE_PAYLOAD_MAX - 1;
	int r = queue_frame(w, id, HULL_WIRE_OPEN, part < len ? HULL_WIRE_MORE : 0, &service, 1, args, part);
	while (r == 0 && part < len) {
		args += part;
		len -= part;
		part = len < HULL_WIRE_PAYLOAD_MAX ? len : HULL_WIRE_PAYLOAD_MAX;
		r = queue_frame(w, id, HULL_WIRE_OPEN, part < len ? HULL_WIRE_MORE : 0, args, part, NULL, 0);
	}
	return r;
}

int hull_wire_open(struct hull_wire *w, uint8_t service, const void *args, size_t len, void *user, uint32_t *stream)
{
	if (w->dead)
		return -EPIPE;
	if (!can_speak(w))
		return -ENOTCONN;
	if (len > HULL_WIRE_ARGS_MAX)
		return -EMSGSIZE;
	if (w->next_id > UINT32_MAX)
		return -EMFILE;
	size_t frames = len / HULL_WIRE_PAYLOAD_MAX + 1;
	size_t bytes = 1 + len + frames * HULL_WIRE_HEADER;
	if (w->out_open && w->out_open + bytes > w->config.queue_max_control)
		return -EAGAIN;
	if (!hull_buf_room(&w->out, bytes))
		return -ENOMEM;
	uint32_t id = (uint32_t)w->next_id;
	struct stream *s = wire_stream_new(w, id, true, user);
	if (!s)
		return -ENOMEM;
	if (wire_traced())
		s->trace = trace_id(args, len);
	w->next_id += 2;
	*stream = id;
	int r = queue_open(w, id, service, args, len);
	if (r < 0) { /* what was not opened is not closed either */
		table_remove(&w->table, s);
		free(s);
	}
	return done(w, r);
}

int hull_wire_accept(struct hull_wire *w, uint32_t stream, const void *args, size_t len)
{
	if (w->dead)
		return -EPIPE;
	struct stream *s = table_find(&w->table, stream);
	if (!s)
		return -ENOENT;
	if (s->local || s->accepted)
		return -EINVAL;
	if (len > HULL_WIRE_PAYLOAD_MAX)
		return -EMSGSIZE;
	s->accepted = true;
	return done(w, queue_frame(w, stream, HULL_WIRE_ACCEPT, 0, args, len, NULL, 0));
}

int hull_wire_refuse(struct hull_wire *w, uint32_t stream, int code, const char *message)
{
	if (w->dead)
		return -EPIPE;
	struct stream *s = table_find(&w->table, stream);
	if (!s)
		return -ENOENT;
	if (s->local || s->accepted)
		return -EINVAL;
	int r = queue_verdict(w, stream, HULL_WIRE_REFUSE, code, message);
	wire_finish(w, s, -ECANCELED, "refused");
	return done(w, r);
}

/* --- bytes --- */

/* Remember that the owner waits: for credit, or for its turn when the queue has room. */
static void want(struct hull_wire *w, struct stream *s)
{
	s->wants_credit = s->send_credit == 0;
	if (s->wants_credit)
		list_del(&s->waiting);
	else if (list_empty(&s->waiting))
		list_add(&w->waiting, &s->waiting);
}

static size_t takes(const struct hull_wire *w, const struct stream *s)
{
	size_t room = queue_room(w);
	return room < s->send_credit ? room : s->send_credit;
}

ssize_t hull_wire_write(struct hull_wire *w, uint32_t stream, unsigned channel, const void *p, size_t n)
{
	struct stream *s = NULL;
	int r = sending(w, stream, &s);
	if (r < 0)
		return r;
	if (channel > 15)
		return -EINVAL;
	size_t part = takes(w, s);
	if (part > n)
		part = n;
	r = part ? queue_data(w, stream, channel, p, part) : 0;
	if (r == 0) {
		s->send_credit -= (uint32_t)part;
		if (part < n)
			want(w, s);
	}
	r = done(w, r);
	return r < 0 ? r : (ssize_t)part;
}

size_t hull_wire_writable(struct hull_wire *w, uint32_t stream)
{
	struct stream *s = NULL;
	if (sending(w, stream, &s) < 0)
		return 0;
	size_t n = takes(w, s);
	if (n == 0)
		want(w, s);
	return n;
}

int hull_wire_relay(struct hull_wire *w, uint32_t stream, unsigned channel, const void *p, size_t n)
{
	struct stream *s = NULL;
	int r = sending(w, stream, &s);
	if (r < 0)
		return r;
	if (channel > 15)
		return -EINVAL;
	if (n > s->send_credit)
		return -EAGAIN;
	r = queue_data(w, stream, channel, p, n);
	if (r == 0)
		s->send_credit -= (uint32_t)n;
	return done(w, r);
}

int hull_wire_message(struct hull_wire *w, uint32_t stream, const void *p, size_t n)
{
	struct stream *s = NULL;
	int r = sending(w, stream, &s);
	if (r < 0)
		return r;
	if (n == 0 || n > HULL_WIRE_MESSAGE_MAX)
		return -EMSGSIZE;
	return done(w, queue_frame(w, stream, HULL_WIRE_MESSAGE, 0, p, n, NULL, 0));
}

int hull_wire_grant(struct hull_wire *w, uint32_t stream, size_t n)
{
	if (w->dead)
		return -EPIPE;
	struct stream *s = table_find(&w->table, stream);
	if (!s)
		return -ENOENT;
	/* Only what was received can have been passed on; more would let the peer past the window. */
	size_t most = HULL_WIRE_WINDOW - s->recv_credit - s->grant;
	s->grant += (uint32_t)(n < most ? n : most);
	queue_grant(w, s);
	return done(w, 0);
}

/* --- ending --- */

int hull_wire_eof(struct hull_wire *w, uint32_t stream)
{
	struct stream *s = NULL;
	int r = sending(w, stream, &s);
	if (r < 0)
		return r;
	s->sent_eof = true;
	s->wants_credit = false;
	list_del(&s->waiting);
	r = queue_frame(w, stream, HULL_WIRE_EOF, 0, NULL, 0, NULL, 0);
	if (s->got_eof)
		wire_finish(w, s, 0, "");
	return done(w, r);
}

int hull_wire_reset(struct hull_wire *w, uint32_t stream, int code, const char *message)
{
	if (w->dead)
		return -EPIPE;
	struct stream *s = table_find(&w->table, stream);
	if (!s)
		return -ENOENT;
	int r = queue_verdict(w, stream, HULL_WIRE_RESET, code, message);
	wire_finish(w, s, -ECANCELED, "reset by this side");
	return done(w, r);
}

/* --- the rest --- */

void hull_wire_set_user(struct hull_wire *w, uint32_t stream, void *user)
{
	struct stream *s = table_find(&w->table, stream);
	if (s)
		s->user = user;
}

void *hull_wire_user(const struct hull_wire *w, uint32_t stream)
{
	struct stream *s = table_find(&w->table, stream);
	return s ? s->user : NULL;
}

size_t hull_wire_queued(const struct hull_wire *w)
{
	return w->out.len;
}

size_t hull_wire_streams(const struct hull_wire *w)
{
	return w->table.count;
}
