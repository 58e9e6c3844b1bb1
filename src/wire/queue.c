/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes out. Encoded frames stand in one queue in the order they were made, which keeps OPEN before DATA before EOF.
 *
 * Limits: DATA is taken while less than queue_high is queued (hull_wire_relay() aside, which is bounded by credit).
 * Everything the peer can make us say (answers, refusals, messages) is counted apart; past queue_max_control the
 * peer is one that asks and does not read, and the wire dies. OPEN frames are counted apart again: those are the
 * owner's own doing, and hull_wire_open() says -EAGAIN past the same limit. The counting is undone in
 * hull_wire_sent(), which reads the headers of our own frames as they leave.
 *
 * Credit is not queued when it is granted but when the owner asks for output: grants of many small reads become one
 * CREDIT frame. A grant is held back while it is under a quarter of the window and the peer still has half of its
 * window; so no peer ever waits for credit that is held back. */
#include "wire/internal.h"

#include <string.h>

enum { GRANT_DUE = HULL_WIRE_WINDOW / 4, CREDIT_LOW = HULL_WIRE_WINDOW / 2, KEEP = HULL_WIRE_WINDOW };

static void put_le32(uint8_t *to, uint32_t v)
{
	for (unsigned i = 0; i < 4; i++)
		to[i] = (uint8_t)(v >> (8 * i));
}

static uint32_t get_le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* The counter that frames of this type go into, NULL for DATA. */
static size_t *counter(struct hull_wire *w, uint8_t type)
{
	return type == HULL_WIRE_DATA ? NULL : type == HULL_WIRE_OPEN ? &w->out_open : &w->out_control;
}

int queue_frame(struct hull_wire *w, uint32_t stream, enum hull_wire_type type, uint8_t flags, const void *a, size_t an,
		const void *b, size_t bn)
{
	if (wire_traced())
		trace_frame(w, true, stream, (uint8_t)type, flags, an + bn);
	if (w->dead)
		return -EPIPE;
	size_t whole = HULL_WIRE_HEADER + an + bn;
	uint8_t *to = hull_buf_room(&w->out, whole);
	if (!to)
		return wire_die(w, -ENOMEM, "out of memory: %zu bytes wait to be sent on the wire", w->out.len);
	put_le32(to, stream);
	to[4] = (uint8_t)type;
	to[5] = flags;
	to[6] = to[7] = 0;
	put_le32(to + 8, (uint32_t)(an + bn));
	if (an)
		memcpy(to + HULL_WIRE_HEADER, a, an);
	if (bn)
		memcpy(to + HULL_WIRE_HEADER + an, b, bn);
	hull_buf_added(&w->out, whole);
	w->tail = whole;
	w->tail_stream = stream;
	w->tail_kind = (uint16_t)(type << 8 | flags);
	size_t *count = counter(w, (uint8_t)type);
	if (count)
		*count += whole;
	if (w->out_control > w->config.queue_max_control)
		return wire_die(w, -ENOBUFS,
				"the other end of the wire asks but does not read: %zu bytes of answers wait",
				w->out_control);
	return 0;
}

int queue_verdict(struct hull_wire *w, uint32_t stream, enum hull_wire_type type, int code, const char *message)
{
	uint8_t raw[4];
	int positive = code < 0 ? -code : code;
	size_t n = message ? strnlen(message, WIRE_TEXT_MAX) : 0;
	put_le32(raw, (uint32_t)(positive > 0 && positive < 4096 ? positive : EIO));
	return queue_frame(w, stream, type, 0, raw, sizeof(raw), message, n);
}

/* Small writes in a row become one frame: append what fits to the last frame, if that is DATA of this stream and
 * channel and the owner has not seen its bytes. Returns how much was appended. */
static size_t extend_tail(struct hull_wire *w, uint32_t stream, unsigned channel, const uint8_t *p, size_t n)
{
	size_t seen = w->handed > w->sent_left ? w->handed : w->sent_left;
	if (w->tail == 0 || w->tail_stream != stream || w->tail_kind != (HULL_WIRE_DATA << 8 | channel) ||
	    w->out.len < seen + w->tail)
		return 0;
	size_t room = HULL_WIRE_HEADER + HULL_WIRE_PAYLOAD_MAX - w->tail;
	size_t part = n < room ? n : room;
	if (part == 0 || hull_buf_add(&w->out, p, part) < 0)
		return 0;
	w->tail += part;
	put_le32(hull_buf_bytes(&w->out) + w->out.len - w->tail + 8, (uint32_t)(w->tail - HULL_WIRE_HEADER));
	if (wire_traced()) /* last: in the guest the line is a frame on this wire itself */
		trace_frame(w, true, stream, HULL_WIRE_DATA, (uint8_t)channel, part);
	return part;
}

int queue_data(struct hull_wire *w, uint32_t stream, unsigned channel, const uint8_t *p, size_t n)
{
	size_t frames = (n + HULL_WIRE_PAYLOAD_MAX - 1) / HULL_WIRE_PAYLOAD_MAX;
	if (!hull_buf_room(&w->out, n + frames * HULL_WIRE_HEADER))
		return -ENOMEM;
	size_t done = extend_tail(w, stream, channel, p, n);
	while (done < n) {
		size_t part = n - done < HULL_WIRE_PAYLOAD_MAX ? n - done : HULL_WIRE_PAYLOAD_MAX;
		int r = queue_frame(w, stream, HULL_WIRE_DATA, (uint8_t)channel, p + done, part, NULL, 0);
		if (r < 0)
			return r;
		done += part;
	}
	return 0;
}

size_t queue_room(const struct hull_wire *w)
{
	if (w->out.len >= w->config.queue_high)
		return 0;
	size_t room = w->config.queue_high - w->out.len;
	return room > HULL_WIRE_PAYLOAD_MAX ? room : HULL_WIRE_PAYLOAD_MAX; /* no frames of a few bytes */
}

void queue_forget(struct hull_wire *w)
{
	/* What the owner was shown may be on its way; it ends at the end of a frame. */
	size_t keep = w->handed > w->sent_left ? w->handed : w->sent_left;
	w->out_control = w->out_open = w->tail = 0;
	w->out.len = keep;
	uint8_t type = w->sent_type;
	for (size_t at = 0, whole = w->sent_left; at < keep; at += whole) {
		if (at > 0 || whole == 0) {
			const uint8_t *head = hull_buf_bytes(&w->out) + at;
			type = head[4];
			whole = HULL_WIRE_HEADER + (size_t)get_le32(head + 8);
		}
		size_t *count = counter(w, type);
		if (count)
			*count += whole;
	}
}

void queue_grant(struct hull_wire *w, struct stream *s)
{
	if (s->got_eof || s->grant == 0)
		list_del(&s->granting);
	else if (list_empty(&s->granting) && (s->grant >= GRANT_DUE || s->recv_credit < CREDIT_LOW))
		list_add(&w->granting, &s->granting);
}

/* Turn due grants into CREDIT frames; those that do not fit wait until what is queued was sent. */
static void flush_grants(struct hull_wire *w)
{
	while (!list_empty(&w->granting) && w->out_control < w->config.queue_max_control / 2) {
		struct stream *s = container_of(w->granting.next, struct stream, granting);
		uint8_t raw[4];
		put_le32(raw, s->grant);
		list_del(&s->granting);
		if (queue_frame(w, s->id, HULL_WIRE_CREDIT, 0, raw, sizeof(raw), NULL, 0) < 0)
			return;
		s->recv_credit += s->grant;
		s->grant = 0;
	}
}

void queue_tell(struct hull_wire *w)
{
	if (w->told || w->busy)
		return;
	/* A death that no feed has reported also needs the owner's attention. */
	if (w->out.len == 0 && list_empty(&w->granting) && !(w->dead && w->table.count))
		return;
	w->told = true;
	if (w->ops.output)
		w->ops.output(w->ctx);
}

size_t hull_wire_output(struct hull_wire *w, const uint8_t **p)
{
	*p = NULL;
	if (!w->dead)
		flush_grants(w);
	if (w->dead) {
		if (!w->feeding)
			wire_reap(w);
		return 0;
	}
	if (w->out.len == 0) {
		w->told = false;
		return 0;
	}
	*p = hull_buf_bytes(&w->out);
	w->handed = w->out.len;
	return w->handed;
}

/* Tell the streams that wait for room, longest waiting first, until there is none. */
static void fire_waiting(struct hull_wire *w)
{
	if (w->firing)
		return;
	w->firing = true;
	while (!w->dead && !list_empty(&w->waiting) && queue_room(w) > 0) {
		struct stream *s = container_of(w->waiting.next, struct stream, waiting);
		list_del(&s->waiting);
		if (w->ops.writable)
			w->ops.writable(w->ctx, s->id, s->user);
	}
	w->firing = false;
}

/* The queue runs empty with every burst: giving its memory back and faulting it in again would cost more than the
 * bytes. What a stalled peer made it grow to is given back. */
static void drain(struct hull_buf *out, size_t n)
{
	if (n == out->len && out->cap <= KEEP)
		out->head = out->len = 0;
	else
		hull_buf_drain(out, n);
}

void hull_wire_sent(struct hull_wire *w, size_t n)
{
	if (w->dead) {
		if (!w->feeding)
			wire_reap(w);
		return;
	}
	if (n > w->out.len)
		n = w->out.len;
	w->handed -= n < w->handed ? n : w->handed;
	while (n > 0) {
		if (w->sent_left == 0) {
			const uint8_t *head = hull_buf_bytes(&w->out);
			w->sent_type = head[4];
			w->sent_left = HULL_WIRE_HEADER + (size_t)get_le32(head + 8);
		}
		size_t part = n < w->sent_left ? n : w->sent_left;
		size_t *count = counter(w, w->sent_type);
		if (count)
			*count -= part;
		drain(&w->out, part);
		w->sent_left -= part;
		n -= part;
	}
	if (w->out.len == 0)
		w->told = false;
	w->busy++;
	fire_waiting(w);
	w->busy--;
	queue_tell(w);
}
