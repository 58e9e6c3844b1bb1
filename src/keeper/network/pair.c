/* SPDX-License-Identifier: Apache-2.0 */
/* Streams between the guest and hull-egress; see gateway.h.
 *
 * A pair is two streams: `a`, which its opener opened on its wire (the guest's CONNECT, RESOLVE and DATAGRAM, the
 * gateway's DIAL), and `b`, which we open on the other. As in relay.c, data and credit are passed on at once and credit
 * is never added here, so that at most a window is in flight in each direction. When the other side is not there, the
 * stream is refused; nothing waits. Connections to published ports do not wait for a sync of the shares (share_sync.c)
 * either: a server has many short connections, and a round for each would cost more than it is worth. */
#include "keeper/keeper.h"
#include "keeper/network/gateway.h"

#include "base/cleanup.h"
#include "base/debug.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

enum { PAIRS_MAX = 4096 };

struct pair {
	struct keeper *k;
	struct loop_stream a, b;
	bool accepted;
};

static void pair_free(struct pair *p)
{
	p->k->network->pair_count--;
	free(p);
}

static void pass(struct loop_stream *to, unsigned channel, const uint8_t *p, size_t n)
{
	if (to->id && hull_wire_relay(to->wire, to->id, channel, p, n) < 0)
		loop_stream_reset(to, ENOMEM, "the keeper cannot pass the stream on");
}

/* --- the opener's half --- */

static void a_data(struct loop_stream *s, unsigned channel, const uint8_t *p, size_t n)
{
	pass(&container_of(s, struct pair, a)->b, channel, p, n);
}

static void a_credit(struct loop_stream *s, uint32_t bytes)
{
	loop_stream_grant(&container_of(s, struct pair, a)->b, bytes);
}

static void a_eof(struct loop_stream *s)
{
	loop_stream_eof(&container_of(s, struct pair, a)->b);
}

static void a_closed(struct loop_stream *s, int code, const char *message)
{
	struct pair *p = container_of(s, struct pair, a);
	if (!p->b.id)
		pair_free(p);
	else if (code != 0)
		loop_stream_reset(&p->b, code == -ECANCELED ? -ECONNRESET : code, "");
}

static const struct loop_stream_ops A_OPS = {.data = a_data, .credit = a_credit, .eof = a_eof, .closed = a_closed};

/* --- the other --- */

static void b_accepted(struct loop_stream *s, const uint8_t *args, size_t len)
{
	struct pair *p = container_of(s, struct pair, b);
	p->accepted = true;
	if (p->a.id)
		hull_wire_accept(p->a.wire, p->a.id, args, len);
}

static void b_data(struct loop_stream *s, unsigned channel, const uint8_t *p, size_t n)
{
	pass(&container_of(s, struct pair, b)->a, channel, p, n);
}

static void b_credit(struct loop_stream *s, uint32_t bytes)
{
	loop_stream_grant(&container_of(s, struct pair, b)->a, bytes);
}

static void b_eof(struct loop_stream *s)
{
	loop_stream_eof(&container_of(s, struct pair, b)->a);
}

static void b_closed(struct loop_stream *s, int code, const char *message)
{
	struct pair *p = container_of(s, struct pair, b);
	if (!p->a.id) {
		pair_free(p);
		return;
	}
	if (code == 0)
		return; /* both its EOFs have been passed on: the opener's half ends by itself */
	_cleanup_free_ char *text = hull_printable(message, strlen(message));
	if (p->accepted)
		loop_stream_reset(&p->a, code, text);
	else
		hull_wire_refuse(p->a.wire, p->a.id, code, text);
}

static const struct loop_stream_ops B_OPS = {
	.accepted = b_accepted, .data = b_data, .credit = b_credit, .eof = b_eof, .closed = b_closed};

void pair_open(struct keeper *k, struct loop_link *from, uint32_t stream, struct loop_link *to, uint8_t service,
	       const uint8_t *args, size_t len)
{
	struct pair *p = k->network->pair_count < PAIRS_MAX ? calloc(1, sizeof(*p)) : NULL;
	struct hull_buf b = {.data = (uint8_t *)args, .len = len, .cap = len}; /* only read */
	if (!p) {
		hull_wire_refuse(from->wire, stream, EAGAIN, "too many connections are open in this sandbox");
		return;
	}
	p->k = k;
	p->a.ops = &A_OPS;
	p->b.ops = &B_OPS;
	int e = loop_stream_open(&p->b, to, service, &b);
	if (e < 0) {
		free(p);
		hull_wire_refuse(from->wire, stream, e == -EAGAIN ? EAGAIN : ENETDOWN, strerror(-e));
		return;
	}
	hull_debug(HULL_AREA_KEEPER, "guest's stream #%u (service %u) is hull-egress's stream #%u", stream, service,
		   p->b.id);
	k->network->pair_count++;
	loop_stream_adopt(&p->a, from, stream);
}
