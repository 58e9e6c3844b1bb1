/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes in: cut into frames, however they arrive. A header is checked before its payload is waited for, so nothing
 * is ever buffered for a frame that is not allowed; at most one payload is buffered, in memory allocated once. A
 * payload that is whole in the caller's bytes is used where it is.
 *
 * Resyncing: after a restore the guest may still send the rest of a frame of its earlier life. A host that expects
 * that (config.resync) skips bytes until it sees a HELLO with its own epoch, which it chose at random: nobody sends
 * that by accident, and who sends it on purpose has said HELLO. */
#include "wire/internal.h"

#include "base/bytes.h"

#include <string.h>

/* Which payload lengths, flags and ids each type may have. */
static int check_header(struct hull_wire *w, const struct header *h, uint16_t reserved)
{
	static const struct {
		const char *name;
		uint32_t least;
		uint32_t most;
		uint8_t flags;
	} rules[] = {
		[HULL_WIRE_HELLO] = {"HELLO", WIRE_HELLO_LEN, HULL_WIRE_PAYLOAD_MAX, 0},
		[HULL_WIRE_OPEN] = {"OPEN", 1, HULL_WIRE_PAYLOAD_MAX, HULL_WIRE_MORE},
		[HULL_WIRE_ACCEPT] = {"ACCEPT", 0, HULL_WIRE_PAYLOAD_MAX, 0},
		[HULL_WIRE_REFUSE] = {"REFUSE", 4, HULL_WIRE_MESSAGE_MAX, 0},
		[HULL_WIRE_DATA] = {"DATA", 1, HULL_WIRE_PAYLOAD_MAX, 0x0f},
		[HULL_WIRE_MESSAGE] = {"MESSAGE", 1, HULL_WIRE_MESSAGE_MAX, 0},
		[HULL_WIRE_CREDIT] = {"CREDIT", 4, 4, 0},
		[HULL_WIRE_EOF] = {"EOF", 0, 0, 0},
		[HULL_WIRE_RESET] = {"RESET", 4, HULL_WIRE_MESSAGE_MAX, 0},
	};
	if (h->type == 0 || h->type >= sizeof(rules) / sizeof(rules[0]))
		return wire_die(w, -EPROTO, "malformed wire frame: unknown type %u", h->type);
	if (reserved != 0)
		return wire_die(w, -EPROTO, "malformed wire frame: %s with reserved bits set", rules[h->type].name);
	if (h->flags & (uint8_t)~rules[h->type].flags)
		return wire_die(w, -EPROTO, "malformed wire frame: %s with flags 0x%02x", rules[h->type].name,
				h->flags);
	if (h->length < rules[h->type].least || h->length > rules[h->type].most)
		return wire_die(w, -EPROTO, "malformed wire frame: %s of %u bytes", rules[h->type].name, h->length);
	if ((h->stream == 0) != (h->type == HULL_WIRE_HELLO))
		return wire_die(w, -EPROTO, "malformed wire frame: %s on stream %u", rules[h->type].name, h->stream);
	return 0;
}

static int take_header(struct hull_wire *w)
{
	struct hull_cur c = hull_cur_make(w->head, sizeof(w->head));
	w->frame.stream = hull_cur_le32(&c);
	w->frame.type = hull_cur_u8(&c);
	w->frame.flags = hull_cur_u8(&c);
	uint16_t reserved = hull_cur_le16(&c);
	w->frame.length = hull_cur_le32(&c);
	return check_header(w, &w->frame, reserved);
}

/* Whether the window holds a HELLO with our epoch, whatever its version and whatever a later version adds to it. */
static bool window_is_hello(const struct hull_wire *w)
{
	struct hull_cur c = hull_cur_make(w->window, sizeof(w->window));
	uint32_t stream = hull_cur_le32(&c);
	uint8_t type = hull_cur_u8(&c);
	uint8_t flags = hull_cur_u8(&c);
	uint16_t reserved = hull_cur_le16(&c);
	uint32_t length = hull_cur_le32(&c);
	const uint8_t *magic = hull_cur_take(&c, WIRE_MAGIC_LEN);
	hull_cur_le32(&c); /* version: HELLO's own check words that error */
	return stream == 0 && type == HULL_WIRE_HELLO && flags == 0 && reserved == 0 && length >= WIRE_HELLO_LEN &&
	       length <= HULL_WIRE_PAYLOAD_MAX && memcmp(magic, WIRE_MAGIC, WIRE_MAGIC_LEN) == 0 &&
	       hull_cur_le64(&c) == w->epoch;
}

/* Skip up to and including the HELLO; returns the bytes used. Leaves the parser behind the first WIRE_HELLO_LEN
 * bytes of its payload. */
static size_t resync(struct hull_wire *w, const uint8_t *p, size_t n)
{
	const size_t size = sizeof(w->window);
	for (size_t i = 0; i < n; i++) {
		memmove(w->window, w->window + 1, size - 1);
		w->window[size - 1] = p[i];
		w->window_seen++;
		if (w->window_seen >= size && window_is_hello(w)) {
			memcpy(w->head, w->window, HULL_WIRE_HEADER);
			w->head_have = HULL_WIRE_HEADER;
			take_header(w);
			memcpy(w->payload, w->window + HULL_WIRE_HEADER, WIRE_HELLO_LEN);
			w->payload_have = WIRE_HELLO_LEN;
			w->resyncing = false;
			return i + 1;
		}
		if (w->window_seen > WIRE_RESYNC_MAX) {
			wire_die(w, -EPROTO, "no HELLO in %d bytes from the restored guest", WIRE_RESYNC_MAX);
			return i + 1;
		}
	}
	return n;
}

/* Take bytes into the header; returns how many. */
static size_t feed_header(struct hull_wire *w, const uint8_t *p, size_t n)
{
	size_t want = HULL_WIRE_HEADER - w->head_have;
	size_t part = n < want ? n : want;
	memcpy(w->head + w->head_have, p, part);
	w->head_have += part;
	if (w->head_have == HULL_WIRE_HEADER)
		take_header(w);
	return part;
}

/* Take bytes into the payload and act on the frame when it is whole; returns how many. */
static size_t feed_payload(struct hull_wire *w, const uint8_t *p, size_t n)
{
	struct header h = w->frame;
	size_t want = h.length - w->payload_have;
	size_t part = n < want ? n : want;
	const uint8_t *payload = w->payload;
	if (w->payload_have == 0 && part == want)
		payload = p;
	else if (part)
		memcpy(w->payload + w->payload_have, p, part);
	w->payload_have += part;
	if (part == want) {
		w->head_have = w->payload_have = 0; /* first: an event may restart the wire */
		recv_frame(w, &h, payload);
	}
	return part;
}

int hull_wire_feed(struct hull_wire *w, const void *p, size_t n, struct hull_error *err)
{
	const uint8_t *at = p;
	unsigned restarts = w->restarts;
	if (w->feeding)
		return hull_fail(err, -EBUSY, "the wire was fed from inside one of its events");
	w->feeding = true;
	w->busy++;
	bool whole = false; /* a frame without payload is acted on when its header is there */
	while ((n > 0 || whole) && !w->dead && w->restarts == restarts) {
		size_t used;
		if (w->resyncing)
			used = resync(w, at, n);
		else if (w->head_have < HULL_WIRE_HEADER)
			used = feed_header(w, at, n);
		else
			used = feed_payload(w, at, n);
		at += used;
		n -= used;
		whole = w->head_have == HULL_WIRE_HEADER && w->payload_have == w->frame.length;
	}
	/* Said before the streams are closed: one of those events may restart the wire. */
	int r = w->dead ? hull_fail(err, w->death.code, "%s", w->death.msg) : 0;
	wire_reap(w);
	w->feeding = false;
	w->busy--;
	queue_tell(w);
	return r;
}
