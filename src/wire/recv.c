/* SPDX-License-Identifier: Apache-2.0 */
/* What each frame means. Every function here ends in at most one event; nothing is touched after it. */
#include "wire/internal.h"

#include "base/bytes.h"

#include <string.h>

/* --- HELLO --- */

static int version_mismatch(struct hull_wire *w, uint32_t version)
{
	return wire_die(w, -EPROTO,
			"the other end speaks version %u of the wire, this hull speaks version %d: rebuild the image "
			"(hull image build) and restart the sandbox, so that both are of one release",
			version, HULL_WIRE_VERSION);
}

static int guest_hello(struct hull_wire *w, uint32_t version, uint64_t epoch)
{
	struct stream *old = wire_new_session(w);
	w->epoch = epoch;
	/* A host of another version learns ours from the answer and reports it; until it says a HELLO we understand
	 * there is nothing here to talk to. */
	w->ready = version == HULL_WIRE_VERSION;
	w->skipping = !w->ready;
	int r = wire_say_hello(w, epoch);
	unsigned restarts = w->restarts;
	wire_finish_all(w, old, "a new session began on the wire");
	if (r == 0 && w->ready && w->restarts == restarts && w->ops.hello)
		w->ops.hello(w->ctx, version, epoch);
	return r;
}

static int host_hello(struct hull_wire *w, uint32_t version, uint64_t epoch)
{
	if (!w->said_hello || w->ready)
		return wire_die(w, -EPROTO, "wire protocol: HELLO that answers none of ours");
	if (epoch != w->epoch && w->skipping)
		return 0; /* the answer to an earlier HELLO */
	if (version != HULL_WIRE_VERSION)
		return version_mismatch(w, version);
	if (epoch != w->epoch)
		return wire_die(w, -EPROTO, "wire protocol: HELLO of another epoch");
	w->ready = true;
	w->skipping = false;
	if (w->ops.hello)
		w->ops.hello(w->ctx, version, epoch);
	return 0;
}

static int recv_hello(struct hull_wire *w, const uint8_t *p, size_t n)
{
	struct hull_cur c = hull_cur_make(p, n);
	const uint8_t *magic = hull_cur_take(&c, WIRE_MAGIC_LEN);
	uint32_t version = hull_cur_le32(&c);
	uint64_t epoch = hull_cur_le64(&c);
	if (c.bad || memcmp(magic, WIRE_MAGIC, WIRE_MAGIC_LEN) != 0)
		return wire_die(w, -EPROTO, "wire protocol: this is not a Hull wire");
	if (version == HULL_WIRE_VERSION && n != WIRE_HELLO_LEN)
		return wire_die(w, -EPROTO, "malformed wire frame: HELLO of %zu bytes", n);
	return w->config.side == HULL_WIRE_GUEST ? guest_hello(w, version, epoch) : host_hello(w, version, epoch);
}

/* --- OPEN --- */

static void announce(struct hull_wire *w, uint32_t id, uint8_t service, const uint8_t *args, size_t n)
{
	struct stream *s = wire_stream_new(w, id, false, NULL);
	if (s && wire_traced()) {
		s->trace = trace_id(args, n);
		trace_frame(w, false, id, HULL_WIRE_OPEN, 0, n);
	}
	if (!s)
		wire_die(w, -ENOMEM, "out of memory for a new stream");
	else if (w->ops.open)
		w->ops.open(w->ctx, id, service, args, n);
	else
		hull_wire_refuse(w, id, -ENOSYS, "no services here");
}

/* The fragments of one OPEN follow each other with no other OPEN between, so there is one buffer, not one a stream. */
static int recv_open(struct hull_wire *w, const struct header *h, const uint8_t *p)
{
	bool first = w->opening != h->stream;
	bool more = h->flags & HULL_WIRE_MORE;
	if (first) {
		if (w->opening)
			return wire_die(w, -EPROTO, "wire protocol: OPEN of stream %u amid that of %u", h->stream,
					w->opening);
		if ((h->stream & 1) == (w->config.side == HULL_WIRE_HOST))
			return wire_die(w, -EPROTO, "wire protocol: stream %u has an id of this side", h->stream);
		if (h->stream <= w->last_peer)
			return wire_die(w, -EPROTO, "wire protocol: stream %u was opened before", h->stream);
		w->last_peer = h->stream;
		w->opening_refused = w->inbound >= w->config.max_inbound;
		if (w->opening_refused)
			queue_verdict(w, h->stream, HULL_WIRE_REFUSE, EAGAIN, "too many streams are open");
	}
	w->opening = more ? h->stream : 0;
	if (w->opening_refused)
		return 0;
	if (first && !more) {
		announce(w, h->stream, p[0], p + 1, h->length - 1);
		return 0;
	}
	if (w->opening_args.len + h->length > HULL_WIRE_ARGS_MAX + 1) /* + 1: the service */
		return wire_die(w, -EPROTO, "wire protocol: OPEN of stream %u with more than %d bytes of arguments",
				h->stream, HULL_WIRE_ARGS_MAX);
	if (hull_buf_add(&w->opening_args, p, h->length) < 0)
		return wire_die(w, -ENOMEM, "out of memory for the arguments of a new stream");
	if (more)
		return 0;
	struct hull_buf args = w->opening_args; /* out of reach of what the event does */
	w->opening_args = (struct hull_buf){0};
	announce(w, h->stream, hull_buf_bytes(&args)[0], hull_buf_bytes(&args) + 1, args.len - 1);
	hull_buf_free(&args);
	return 0;
}

/* --- frames of a stream --- */

static int out_of_turn(struct hull_wire *w, const char *what, uint32_t stream)
{
	return wire_die(w, -EPROTO, "wire protocol: %s on stream %u is out of turn", what, stream);
}

/* REFUSE and RESET: u32 code, then text that may hold anything. */
static int recv_verdict(struct hull_wire *w, struct stream *s, const uint8_t *p, size_t n)
{
	char text[HULL_WIRE_MESSAGE_MAX + 1];
	struct hull_cur c = hull_cur_make(p, n);
	uint32_t code = hull_cur_le32(&c);
	size_t len = hull_cur_left(&c);
	memcpy(text, c.p, len);
	text[len] = '\0';
	wire_finish(w, s, code > 0 && code < 4096 ? -(int)code : -EIO, text);
	return 0;
}

static int recv_data(struct hull_wire *w, struct stream *s, unsigned channel, const uint8_t *p, size_t n)
{
	if (n > s->recv_credit)
		return wire_die(w, -EPROTO, "wire protocol: %zu bytes on stream %u, which has credit for %u", n, s->id,
				s->recv_credit);
	s->recv_credit -= (uint32_t)n;
	queue_grant(w, s); /* what was held back may be due now */
	if (w->ops.data)
		w->ops.data(w->ctx, s->id, s->user, channel, p, n);
	return 0;
}

static int recv_credit(struct hull_wire *w, struct stream *s, const uint8_t *p, size_t n)
{
	struct hull_cur c = hull_cur_make(p, n);
	uint32_t id = s->id;
	uint32_t bytes = hull_cur_le32(&c);
	if (bytes == 0 || bytes > HULL_WIRE_WINDOW - s->send_credit)
		return wire_die(w, -EPROTO, "wire protocol: credit of %u bytes for stream %u, which has %u already",
				bytes, id, s->send_credit);
	s->send_credit += bytes;
	if (w->ops.credit)
		w->ops.credit(w->ctx, id, s->user, bytes);
	s = table_find(&w->table, id); /* it may be gone; no event can make another one of this id */
	if (w->dead || !s || !s->wants_credit || s->send_credit == 0)
		return 0;
	s->wants_credit = false;
	if (queue_room(w) == 0)
		list_add(&w->waiting, &s->waiting);
	else if (w->ops.writable)
		w->ops.writable(w->ctx, id, s->user);
	return 0;
}

static int recv_eof(struct hull_wire *w, struct stream *s)
{
	uint32_t id = s->id;
	bool both = s->sent_eof;
	s->got_eof = true;
	queue_grant(w, s); /* nothing to grant any more */
	if (w->ops.eof)
		w->ops.eof(w->ctx, id, s->user);
	/* When our EOF went first, the end comes here; else hull_wire_eof() brings it, in the event or later. */
	s = both ? table_find(&w->table, id) : NULL;
	if (s)
		wire_finish(w, s, 0, "");
	return 0;
}

static int recv_stream(struct hull_wire *w, struct stream *s, const struct header *h, const uint8_t *p)
{
	uint32_t id = s->id;
	switch (h->type) {
	case HULL_WIRE_ACCEPT:
		if (!s->local || s->accepted)
			return out_of_turn(w, "ACCEPT", id);
		s->accepted = true;
		if (w->ops.accepted)
			w->ops.accepted(w->ctx, id, s->user, p, h->length);
		return 0;
	case HULL_WIRE_REFUSE:
		if (!s->local || s->accepted)
			return out_of_turn(w, "REFUSE", id);
		return recv_verdict(w, s, p, h->length);
	case HULL_WIRE_RESET:
		return recv_verdict(w, s, p, h->length);
	case HULL_WIRE_CREDIT:
		return recv_credit(w, s, p, h->length);
	default:
		break;
	}
	/* What is left is the peer's half of the stream: not before it accepted, not after its EOF. */
	const char *name = h->type == HULL_WIRE_DATA ? "DATA" : h->type == HULL_WIRE_MESSAGE ? "MESSAGE" : "EOF";
	if (s->got_eof || (s->local && !s->accepted))
		return out_of_turn(w, name, id);
	if (h->type == HULL_WIRE_DATA)
		return recv_data(w, s, h->flags, p, h->length);
	if (h->type == HULL_WIRE_EOF)
		return recv_eof(w, s);
	if (w->ops.message)
		w->ops.message(w->ctx, id, s->user, p, h->length);
	return 0;
}

int recv_frame(struct hull_wire *w, const struct header *h, const uint8_t *p)
{
	if (wire_traced() && h->type != HULL_WIRE_OPEN) /* its stream is not known before all of it is here */
		trace_frame(w, false, h->stream, h->type, h->flags, h->length);
	if (w->dead)
		return w->death.code;
	if (h->type == HULL_WIRE_HELLO)
		return recv_hello(w, p, h->length);
	if (!w->ready)
		return w->skipping ? 0 : wire_die(w, -EPROTO, "wire protocol: a frame before HELLO");
	if (h->type == HULL_WIRE_OPEN)
		return recv_open(w, h, p);
	if (w->opening == h->stream) {
		if (h->type != HULL_WIRE_RESET && !w->opening_refused)
			return out_of_turn(w, "a frame before the end of OPEN", h->stream);
		if (h->type == HULL_WIRE_RESET) { /* the opener thought better of it */
			w->opening = 0;
			hull_buf_free(&w->opening_args);
		}
		return 0;
	}
	struct stream *s = table_find(&w->table, h->stream);
	if (s)
		return recv_stream(w, s, h, p);
	bool ours = (h->stream & 1) == (w->config.side == HULL_WIRE_HOST);
	if (ours ? h->stream < w->next_id : h->stream <= w->last_peer)
		return 0; /* it ended; the frame was on its way already */
	return wire_die(w, -EPROTO, "wire protocol: stream %u was never opened", h->stream);
}
