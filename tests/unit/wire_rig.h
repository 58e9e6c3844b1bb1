/* SPDX-License-Identifier: Apache-2.0 */
/* A rig for wire tests: ends that write down their events as text, a pump between two of them, frames by hand.
 *
 * Every event becomes a word in `log`, so that a test compares a whole conversation with one string:
 *   hello:VERSION:EPOCH open:ID:SERVICE:ARGS accepted:ID:ARGS data:ID:CHANNEL:BYTES message:ID:BYTES writable:ID
 *   credit:ID:BYTES eof:ID closed:ID:CODE:MESSAGE
 * Bytes of DATA that arrive in pieces are one word when `merge` is set. */
#ifndef HULL_TESTS_WIRE_RIG_H
#define HULL_TESTS_WIRE_RIG_H

#include "base/buf.h"
#include "wire/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct end {
	struct hull_wire *w;
	struct hull_buf log;
	size_t outputs; /* `output` events */
	bool merge;
	uint64_t data_bytes;
	uint32_t merge_stream; /* 0 = the last word is not data */
	unsigned merge_channel;
	bool quiet; /* count, do not write down */
	bool auto_accept;
	bool auto_grant;
	uint32_t last_open;
	unsigned closed;
	/* Called in the event of that name, after it was written down. */
	void (*on_open)(struct end *e, uint32_t stream);
	void (*on_data)(struct end *e, uint32_t stream);
	void (*on_eof)(struct end *e, uint32_t stream);
	void (*on_closed)(struct end *e, uint32_t stream);
	void (*on_writable)(struct end *e, uint32_t stream);
};

__attribute__((format(printf, 2, 3))) static inline void rig_note(struct end *e, const char *fmt, ...)
{
	char word[512];
	va_list ap;
	if (e->quiet)
		return;
	va_start(ap, fmt);
	vsnprintf(word, sizeof(word), fmt, ap);
	va_end(ap);
	e->merge_stream = 0;
	if (e->log.len)
		hull_buf_addstr(&e->log, " ");
	hull_buf_addstr(&e->log, word);
}

static inline void rig_hello(void *ctx, uint32_t version, uint64_t epoch)
{
	rig_note(ctx, "hello:%u:%llu", version, (unsigned long long)epoch);
}

static inline void rig_open(void *ctx, uint32_t stream, uint8_t service, const uint8_t *args, size_t len)
{
	struct end *e = ctx;
	e->last_open = stream;
	if (len > 64)
		rig_note(e, "open:%u:%u:%zu", stream, service, len);
	else
		rig_note(e, "open:%u:%u:%.*s", stream, service, (int)len, (const char *)args);
	if (e->auto_accept) {
		int r = hull_wire_accept(e->w, stream, NULL, 0);
		assert_int_equal(r, hull_wire_dead(e->w) ? -EPIPE : 0);
	}
	if (e->on_open)
		e->on_open(e, stream);
}

static inline void rig_accepted(void *ctx, uint32_t stream, void *user, const uint8_t *args, size_t len)
{
	rig_note(ctx, "accepted:%u:%.*s", stream, (int)len, (const char *)args);
}

static inline void rig_data(void *ctx, uint32_t stream, void *user, unsigned channel, const uint8_t *p, size_t n)
{
	struct end *e = ctx;
	e->data_bytes += n;
	if (e->auto_grant)
		assert_int_equal(hull_wire_grant(e->w, stream, n), 0);
	if (e->merge && e->merge_stream == stream && e->merge_channel == channel && !e->quiet) {
		hull_buf_add(&e->log, p, n);
	} else {
		rig_note(e, "data:%u:%u:", stream, channel);
		if (!e->quiet)
			hull_buf_add(&e->log, p, n);
		e->merge_stream = stream;
		e->merge_channel = channel;
	}
	if (e->on_data)
		e->on_data(e, stream);
}

static inline void rig_message(void *ctx, uint32_t stream, void *user, const uint8_t *p, size_t n)
{
	rig_note(ctx, "message:%u:%.*s", stream, (int)n, (const char *)p);
}

static inline void rig_writable(void *ctx, uint32_t stream, void *user)
{
	struct end *e = ctx;
	rig_note(e, "writable:%u", stream);
	if (e->on_writable)
		e->on_writable(e, stream);
}

static inline void rig_credit(void *ctx, uint32_t stream, void *user, uint32_t bytes)
{
	rig_note(ctx, "credit:%u:%u", stream, bytes);
}

static inline void rig_eof(void *ctx, uint32_t stream, void *user)
{
	struct end *e = ctx;
	rig_note(e, "eof:%u", stream);
	if (e->on_eof)
		e->on_eof(e, stream);
}

static inline void rig_closed(void *ctx, uint32_t stream, void *user, int code, const char *message)
{
	struct end *e = ctx;
	rig_note(e, "closed:%u:%d:%s", stream, code, message);
	e->closed++;
	if (e->on_closed)
		e->on_closed(e, stream);
}

static inline void rig_output(void *ctx)
{
	((struct end *)ctx)->outputs++;
}

static const struct hull_wire_ops rig_ops = {
	.hello = rig_hello,
	.open = rig_open,
	.accepted = rig_accepted,
	.data = rig_data,
	.message = rig_message,
	.writable = rig_writable,
	.credit = rig_credit,
	.eof = rig_eof,
	.closed = rig_closed,
	.output = rig_output,
};

static inline void end_init_config(struct end *e, const struct hull_wire_config *config)
{
	*e = (struct end){0};
	e->w = hull_wire_new(config, &rig_ops, e);
	assert_non_null(e->w);
}

static inline void end_init(struct end *e, enum hull_wire_side side)
{
	end_init_config(e, &(struct hull_wire_config){.side = side, .max_inbound = 100});
}

static inline void end_free(struct end *e)
{
	hull_wire_free(e->w);
	hull_buf_free(&e->log);
}

/* The log so far, which then begins anew. */
static inline const char *end_log(struct end *e)
{
	static char text[4][65536];
	static unsigned turn;
	char *out = text[turn++ % 4];
	size_t n = e->log.len < sizeof(text[0]) - 1 ? e->log.len : sizeof(text[0]) - 1;
	if (n)
		memcpy(out, hull_buf_bytes(&e->log), n);
	out[n] = '\0';
	hull_buf_drain(&e->log, e->log.len);
	e->merge_stream = 0;
	return out;
}
#define assert_log(e, text) assert_string_equal(end_log(e), text)

/* Take at most `most` bytes of output, in pieces of at most `piece`, into `to` (or nowhere). */
static inline size_t end_take(struct end *e, size_t most, size_t piece, struct hull_buf *to)
{
	size_t total = 0;
	while (total < most) {
		const uint8_t *p;
		size_t n = hull_wire_output(e->w, &p);
		if (n == 0)
			break;
		if (n > piece)
			n = piece;
		if (n > most - total)
			n = most - total;
		if (to)
			hull_buf_add(to, p, n);
		hull_wire_sent(e->w, n);
		total += n;
	}
	return total;
}

/* Move at most `most` bytes from one end to the other, `piece` at a time; returns how many moved. */
static inline size_t pump_some(struct end *from, struct end *to, size_t most, size_t piece)
{
	struct hull_buf bytes = {0};
	size_t total = end_take(from, most, piece, &bytes);
	for (size_t at = 0; at < total; at += piece) {
		struct hull_error err = {0};
		size_t n = total - at < piece ? total - at : piece;
		if (hull_wire_feed(to->w, hull_buf_bytes(&bytes) + at, n, &err) < 0)
			fail_msg("feed: %s", err.msg);
	}
	hull_buf_free(&bytes);
	return total;
}

/* Move everything both ways until nothing is left. */
static inline void pump_by(struct end *a, struct end *b, size_t piece)
{
	while (pump_some(a, b, SIZE_MAX, piece) + pump_some(b, a, SIZE_MAX, piece) > 0)
		;
}
static inline void pump(struct end *a, struct end *b)
{
	pump_by(a, b, SIZE_MAX);
}

/* A host and a guest that have said HELLO (epoch 7), logs empty. */
static inline void pair_init(struct end *host, struct end *guest)
{
	end_init(host, HULL_WIRE_HOST);
	end_init(guest, HULL_WIRE_GUEST);
	assert_int_equal(hull_wire_hello(host->w, 7), 0);
	pump(host, guest);
	assert_log(guest, "hello:1:7");
	assert_log(host, "hello:1:7");
}

/* --- frames by hand --- */

static inline void frame_put(struct hull_buf *b, uint32_t stream, uint8_t type, uint8_t flags, const void *p, size_t n)
{
	hull_buf_le32(b, stream);
	uint8_t raw[4] = {type, flags, 0, 0};
	hull_buf_add(b, raw, sizeof(raw));
	hull_buf_le32(b, (uint32_t)n);
	hull_buf_add(b, p, n);
}
static inline void frame_hello(struct hull_buf *b, uint32_t version, uint64_t epoch)
{
	struct hull_buf p = {0};
	hull_buf_addstr(&p, "HULLWIRE");
	hull_buf_le32(&p, version);
	hull_buf_le64(&p, epoch);
	frame_put(b, 0, HULL_WIRE_HELLO, 0, hull_buf_bytes(&p), p.len);
	hull_buf_free(&p);
}
static inline void frame_u32(struct hull_buf *b, uint32_t stream, uint8_t type, uint32_t v)
{
	uint8_t raw[4] = {(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)};
	frame_put(b, stream, type, 0, raw, sizeof(raw));
}
/* Feed what was put together and begin anew. */
static inline int feed_frames(struct end *e, struct hull_buf *b, struct hull_error *err)
{
	int r = hull_wire_feed(e->w, hull_buf_bytes(b), b->len, err);
	hull_buf_drain(b, b->len);
	return r;
}
static inline uint32_t must_open(struct end *e, uint8_t service, const char *args)
{
	uint32_t id = 0;
	assert_int_equal(hull_wire_open(e->w, service, args, strlen(args), NULL, &id), 0);
	return id;
}

#endif
