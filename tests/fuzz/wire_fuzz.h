/* SPDX-License-Identifier: Apache-2.0 */
/* The body of fuzz_wire_host.c and fuzz_wire_guest.c: one wire, and an input that plays both its peer and its owner.
 *
 * The input is a list of operations: raw bytes to feed, a frame put together from a few bytes (so that the fuzzer gets
 * past the framing without finding 12 right bytes), or a call of the owner. What the owner does inside an event is
 * also taken from the input. Checked all the while: each stream is announced once and closed once with its own user
 * pointer (a heap block, so that a stale one is found), credit never leaves the window, output stays in its limits,
 * and what is sent is a sequence of well-formed frames. */
#ifndef HULL_TESTS_WIRE_FUZZ_H
#define HULL_TESTS_WIRE_FUZZ_H

#include "wire/internal.h"

#include "base/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FUZZ_INBOUND = 20, FUZZ_CONTROL = 64 * 1024, FUZZ_HIGH = 64 * 1024, FUZZ_CALLS = 2000 };

struct fuzz {
	struct hull_wire *w;
	struct hull_cur in;
	size_t open; /* streams that have begun and not ended */
	size_t relayed;
	unsigned calls;
	bool closing_all;
	struct hull_cur checked;
	struct hull_buf frame; /* of our output, while it is not whole */
};

#define MUST(x)                                                                           \
	do {                                                                              \
		if (!(x)) {                                                               \
			fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #x); \
			abort();                                                          \
		}                                                                         \
	} while (0)

static uint32_t *new_user(struct fuzz *f, uint32_t stream)
{
	uint32_t *user = malloc(sizeof(*user));
	MUST(user);
	*user = stream;
	f->open++;
	return user;
}

/* A stream by its place among the first few of either side. */
static uint32_t pick_stream(struct fuzz *f)
{
	return hull_cur_u8(&f->in) % 24;
}

/* One call of the owner. `stream` 0 = any. */
static void owner_call(struct fuzz *f, uint32_t stream)
{
	static uint8_t bytes[100 * 1024];
	if (f->in.bad || ++f->calls > FUZZ_CALLS)
		return;
	uint8_t what = hull_cur_u8(&f->in);
	uint32_t id = stream && !(what & 0x80) ? stream : pick_stream(f);
	uint32_t got;
	size_t n;
	const uint8_t *p;
	switch (what & 0x1f) {
	case 1:
		hull_wire_accept(f->w, id, bytes, hull_cur_u8(&f->in));
		break;
	case 2:
		hull_wire_refuse(f->w, id, hull_cur_u8(&f->in), "no");
		break;
	case 3:
		hull_wire_write(f->w, id, what >> 5, bytes, (size_t)hull_cur_u8(&f->in) * 400);
		break;
	case 4:
		n = (size_t)hull_cur_u8(&f->in) * 400;
		if (hull_wire_relay(f->w, id, what >> 5, bytes, n) == 0)
			f->relayed += n + HULL_WIRE_HEADER * (n / HULL_WIRE_PAYLOAD_MAX + 1);
		break;
	case 5:
		hull_wire_message(f->w, id, bytes, hull_cur_u8(&f->in));
		break;
	case 6:
		hull_wire_grant(f->w, id, (size_t)hull_cur_u8(&f->in) * 1000);
		break;
	case 7:
		hull_wire_eof(f->w, id);
		break;
	case 8:
		hull_wire_reset(f->w, id, -(int)hull_cur_u8(&f->in), NULL);
		break;
	case 9: {
		uint32_t *user = new_user(f, 0);
		if (hull_wire_open(f->w, 1, bytes, (size_t)hull_cur_u8(&f->in) * 300, user, &got) < 0) {
			f->open--;
			free(user);
		} else if (hull_wire_user(f->w, got) == user) {
			*user = got;
		}
		break;
	}
	case 10:
		hull_wire_hello(f->w, hull_cur_u8(&f->in) % 4);
		break;
	case 11:
		if (!(hull_cur_u8(&f->in) % 4))
			hull_wire_restart(f->w);
		break;
	case 12:
		hull_wire_writable(f->w, id);
		break;
	case 13:
		MUST(hull_wire_feed(f->w, "x", 0, NULL) <= 0);
		break;
	case 14:
		n = hull_wire_output(f->w, &p);
		MUST(n == 0 || p);
		break;
	default:
		break;
	}
}

/* --- events --- */

static void check_user(const void *user, uint32_t stream)
{
	const uint32_t *u = user;
	MUST(u && (*u == stream || *u == 0));
}

static void fz_hello(void *ctx, uint32_t version, uint64_t epoch)
{
	MUST(version == HULL_WIRE_VERSION);
	owner_call(ctx, 0);
}
static void fz_open(void *ctx, uint32_t stream, uint8_t service, const uint8_t *args, size_t len)
{
	struct fuzz *f = ctx;
	uint32_t sum = service;
	MUST(len <= HULL_WIRE_ARGS_MAX);
	hull_wire_set_user(f->w, stream, new_user(f, stream));
	owner_call(f, stream);
	for (size_t i = 0; i < len; i++) /* still there after the call */
		sum += args[i];
	__asm__ volatile("" ::"r"(sum));
}
static void fz_accepted(void *ctx, uint32_t stream, void *user, const uint8_t *args, size_t len)
{
	check_user(user, stream);
	owner_call(ctx, stream);
}
static void fz_data(void *ctx, uint32_t stream, void *user, unsigned channel, const uint8_t *p, size_t n)
{
	uint32_t sum = 0;
	check_user(user, stream);
	MUST(n > 0 && n <= HULL_WIRE_PAYLOAD_MAX && channel < 16);
	owner_call(ctx, stream);
	for (size_t i = 0; i < n; i++)
		sum += p[i];
	__asm__ volatile("" ::"r"(sum));
}
static void fz_message(void *ctx, uint32_t stream, void *user, const uint8_t *p, size_t n)
{
	check_user(user, stream);
	MUST(n > 0 && n <= HULL_WIRE_MESSAGE_MAX);
	owner_call(ctx, stream);
}
static void fz_writable(void *ctx, uint32_t stream, void *user)
{
	struct fuzz *f = ctx;
	check_user(user, stream);
	MUST(hull_wire_writable(f->w, stream) > 0);
	owner_call(f, stream);
}
static void fz_credit(void *ctx, uint32_t stream, void *user, uint32_t bytes)
{
	check_user(user, stream);
	MUST(bytes > 0 && bytes <= HULL_WIRE_WINDOW);
	owner_call(ctx, stream);
}
static void fz_eof(void *ctx, uint32_t stream, void *user)
{
	check_user(user, stream);
	owner_call(ctx, stream);
}
static void fz_closed(void *ctx, uint32_t stream, void *user, int code, const char *message)
{
	struct fuzz *f = ctx;
	check_user(user, stream);
	MUST(code <= 0 && code > -4096 && message && strlen(message) <= HULL_WIRE_MESSAGE_MAX);
	MUST(hull_wire_user(f->w, stream) == NULL);
	free(user);
	MUST(f->open > 0);
	f->open--;
	owner_call(f, stream);
}

static const struct hull_wire_ops fuzz_ops = {
	.hello = fz_hello,
	.open = fz_open,
	.accepted = fz_accepted,
	.data = fz_data,
	.message = fz_message,
	.writable = fz_writable,
	.credit = fz_credit,
	.eof = fz_eof,
	.closed = fz_closed,
};

/* --- the peer --- */

static void check_wire(struct fuzz *f)
{
	const struct hull_wire *w = f->w;
	MUST(w->dead || hull_wire_streams(w) <= f->open);
	MUST(w->inbound <= FUZZ_INBOUND);
	MUST(w->opening_args.len <= HULL_WIRE_ARGS_MAX + 1);
	if (w->dead)
		return;
	MUST(w->out_control <= FUZZ_CONTROL);
	MUST(w->out.len <=
	     FUZZ_CONTROL + w->out_open + FUZZ_HIGH + HULL_WIRE_PAYLOAD_MAX + 64 * HULL_WIRE_HEADER + f->relayed);
	for (size_t i = 0; w->table.buckets && i < (size_t)1 << w->table.bits; i++)
		for (struct stream *s = w->table.buckets[i]; s; s = s->chain) {
			MUST(s->send_credit <= HULL_WIRE_WINDOW);
			MUST(s->recv_credit + s->grant <= HULL_WIRE_WINDOW);
		}
}

/* Send n bytes of the output, and look whether they are frames. */
static void drain(struct fuzz *f, size_t n)
{
	const uint8_t *p;
	size_t have = hull_wire_output(f->w, &p);
	if (n > have)
		n = have;
	MUST(hull_buf_add(&f->frame, p, n) == 0);
	hull_wire_sent(f->w, n);
	while (f->frame.len >= HULL_WIRE_HEADER) {
		struct hull_cur c = hull_cur_make(hull_buf_bytes(&f->frame), f->frame.len);
		uint32_t stream = hull_cur_le32(&c);
		uint8_t type = hull_cur_u8(&c);
		hull_cur_u8(&c);
		MUST(hull_cur_le16(&c) == 0);
		uint32_t length = hull_cur_le32(&c);
		MUST(type >= HULL_WIRE_HELLO && type <= HULL_WIRE_RESET && length <= HULL_WIRE_PAYLOAD_MAX);
		MUST((stream == 0) == (type == HULL_WIRE_HELLO));
		if (!hull_cur_take(&c, length))
			return;
		hull_buf_drain(&f->frame, HULL_WIRE_HEADER + length);
	}
}

static void feed(struct fuzz *f, const void *p, size_t n)
{
	struct hull_error err = {0};
	unsigned restarts = f->w->restarts;
	int r = hull_wire_feed(f->w, p, n, &err);
	MUST(r == 0 || (r < 0 && err.code == r && err.msg[0]));
	MUST(r == 0 || hull_wire_dead(f->w) || f->w->restarts != restarts);
	if (f->w->restarts != restarts)
		hull_buf_drain(&f->frame, f->frame.len);
}

/* A frame with a header that is likely and a payload out of the input (or zeros). */
static void feed_frame(struct fuzz *f)
{
	static uint8_t raw[HULL_WIRE_HEADER + HULL_WIRE_PAYLOAD_MAX];
	uint32_t stream = pick_stream(f);
	uint8_t type = hull_cur_u8(&f->in);
	uint8_t shape = hull_cur_u8(&f->in);
	uint8_t n = hull_cur_u8(&f->in);
	size_t length = shape & 0x80 ? (size_t)n * 128 : n;
	memset(raw, 0, HULL_WIRE_HEADER + length);
	raw[0] = (uint8_t)stream;
	raw[4] = type < 0xf0 ? type % 9 + 1 : type;
	raw[5] = shape & 0x40 ? shape : 0;
	if (raw[4] == HULL_WIRE_OPEN && !(shape & 0x40)) { /* mostly the next id, or the fragment that must follow */
		uint32_t first = f->w->config.side == HULL_WIRE_HOST ? 2 : 1;
		uint32_t last = f->w->last_peer;
		stream = f->w->opening ? f->w->opening : last ? last + 2 : first;
		memcpy(raw, &stream, sizeof(stream));
		raw[5] = shape & 1;
	} else if (raw[4] == HULL_WIRE_DATA && !(shape & 0x40)) {
		raw[5] = shape & 0x0f;
	}
	if (raw[4] == HULL_WIRE_HELLO) {
		memset(raw, 0, 4);
		length = WIRE_HELLO_LEN;
		memcpy(raw + HULL_WIRE_HEADER, "HULLWIRE\1\0\0\0\0\0\0\0\0\0\0\0", WIRE_HELLO_LEN);
		raw[HULL_WIRE_HEADER + 12] = n % 4;
	} else if (raw[4] == HULL_WIRE_EOF) {
		length = 0;
	} else if (raw[4] == HULL_WIRE_CREDIT) {
		length = 4;
		raw[HULL_WIRE_HEADER] = n;
		raw[HULL_WIRE_HEADER + 1] = shape;
	} else {
		size_t part = length < hull_cur_left(&f->in) ? length : hull_cur_left(&f->in);
		if (part > 16) /* the rest stays zero, the input is for more than payload */
			part = 16;
		const uint8_t *p = hull_cur_take(&f->in, part);
		if (p)
			memcpy(raw + HULL_WIRE_HEADER, p, part);
	}
	for (unsigned i = 0; i < 4; i++)
		raw[8 + i] = (uint8_t)(length >> (8 * i));
	feed(f, raw, HULL_WIRE_HEADER + length);
}

static int fuzz_wire(enum hull_wire_side side, const uint8_t *data, size_t size)
{
	struct fuzz f = {.in = hull_cur_make(data, size)};
	struct hull_wire_config config = {.side = side,
					  .max_inbound = FUZZ_INBOUND,
					  .queue_high = FUZZ_HIGH,
					  .queue_max_control = FUZZ_CONTROL,
					  .resync = side == HULL_WIRE_HOST && size % 8 == 7};
	f.w = hull_wire_new(&config, &fuzz_ops, &f);
	MUST(f.w);
	if (size && data[0] != 0xff) { /* usually begin where a session begins */
		uint8_t hello[] = "\0\0\0\0\1\0\0\0\24\0\0\0HULLWIRE\1\0\0\0\1\0\0\0\0\0\0\0";
		hull_wire_hello(f.w, 1);
		feed(&f, hello, sizeof(hello) - 1);
	}
	while (!f.in.bad && hull_cur_left(&f.in)) {
		uint8_t op = hull_cur_u8(&f.in);
		unsigned restarts = f.w->restarts;
		if (op < 0x60) {
			feed_frame(&f);
		} else if (op < 0x80) {
			const uint8_t *p = hull_cur_take(&f.in, op & 0x1f);
			if (p)
				feed(&f, p, op & 0x1f);
		} else if (op < 0xc0) {
			owner_call(&f, 0);
		} else {
			drain(&f, (size_t)(op & 0x3f) * 2000);
		}
		if (f.w->restarts != restarts)
			hull_buf_drain(&f.frame, f.frame.len);
		check_wire(&f);
	}
	f.in.bad = true; /* no more calls */
	hull_wire_free(f.w);
	MUST(f.open == 0);
	hull_buf_free(&f.frame);
	return 0;
}

#endif
