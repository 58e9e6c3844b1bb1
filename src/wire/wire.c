/* SPDX-License-Identifier: Apache-2.0 */
/* A wire's life: made, HELLO, epochs, death. The other files are listed in internal.h; wire.h is the contract.
 *
 * States of a session:
 *   host side    new --hull_wire_hello--> said_hello --the peer's HELLO of that epoch--> ready
 *                hull_wire_hello again: back to said_hello, skipping what was under way
 *   guest side   new --the peer's HELLO--> ready (and answered); again with every HELLO
 *   both         any --malformed input, no memory, a peer that does not read--> dead --hull_wire_restart--> new
 *
 * A wire that dies inside feed closes its streams before feed returns. One that dies inside another call must not
 * call `closed` there, under the feet of an owner who is using the stream: it asks for attention with `output`, and
 * the next feed, output, sent or free closes the streams. */
#include "wire/internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { QUEUE_HIGH = 512 * 1024, QUEUE_MAX_CONTROL = 4 * 1024 * 1024 };

struct hull_wire *hull_wire_new(const struct hull_wire_config *config, const struct hull_wire_ops *ops, void *ctx)
{
	struct hull_wire *w = calloc(1, sizeof(*w));
	if (!w)
		return NULL;
	w->payload = malloc(HULL_WIRE_PAYLOAD_MAX);
	if (!w->payload) {
		free(w);
		return NULL;
	}
	w->config = *config;
	if (w->config.queue_high == 0)
		w->config.queue_high = QUEUE_HIGH;
	if (w->config.queue_max_control == 0)
		w->config.queue_max_control = QUEUE_MAX_CONTROL;
	w->ops = *ops;
	w->ctx = ctx;
	w->next_id = config->side == HULL_WIRE_HOST ? 1 : 2;
	table_init(&w->table, w);
	list_init(&w->waiting);
	list_init(&w->granting);
	return w;
}

void hull_wire_free(struct hull_wire *w)
{
	if (!w)
		return;
	wire_die(w, -ECONNRESET, "the wire was closed");
	wire_reap(w);
	table_free(&w->table);
	hull_buf_free(&w->out);
	hull_buf_free(&w->opening_args);
	free(w->payload);
	free(w);
}

bool hull_wire_dead(const struct hull_wire *w)
{
	return w->dead;
}

int wire_die(struct hull_wire *w, int code, const char *fmt, ...)
{
	if (w->dead)
		return w->death.code;
	char msg[sizeof(w->death.msg)];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	w->dead = true;
	w->told = false; /* so that `output` is called and the owner comes to look */
	return hull_fail(&w->death, code, "%s", msg);
}

void wire_reap(struct hull_wire *w)
{
	if (!w->dead)
		return;
	hull_buf_free(&w->out);
	hull_buf_free(&w->opening_args);
	w->sent_left = w->handed = w->tail = w->out_control = w->out_open = 0;
	wire_finish_all(w, table_take_all(&w->table), w->death.msg);
}

/* --- streams come and go --- */

struct stream *wire_stream_new(struct hull_wire *w, uint32_t id, bool local, void *user)
{
	struct stream *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->id = id;
	s->local = local;
	s->user = user;
	s->send_credit = s->recv_credit = HULL_WIRE_WINDOW;
	list_init(&s->waiting);
	list_init(&s->granting);
	if (table_add(&w->table, s) < 0) {
		free(s);
		return NULL;
	}
	w->inbound += !local;
	return s;
}

static void finish_detached(struct hull_wire *w, struct stream *s, int code, const char *message)
{
	list_del(&s->waiting);
	list_del(&s->granting);
	if (w->ops.closed)
		w->ops.closed(w->ctx, s->id, s->user, code, message);
	free(s);
}

void wire_finish(struct hull_wire *w, struct stream *s, int code, const char *message)
{
	table_remove(&w->table, s);
	w->inbound -= !s->local;
	finish_detached(w, s, code, message);
}

void wire_finish_all(struct hull_wire *w, struct stream *all, const char *why)
{
	/* Off the lists at once: an event below must not reach a stream that is only waiting for its end. */
	for (struct stream *s = all; s; s = s->chain) {
		list_del(&s->waiting);
		list_del(&s->granting);
	}
	bool outer = w->ending;
	w->ending = true;
	while (all) {
		struct stream *s = all;
		all = s->chain;
		finish_detached(w, s, -ECONNRESET, why);
	}
	w->ending = outer;
}

bool hull_wire_ending(const struct hull_wire *w)
{
	return w->ending;
}

/* --- sessions --- */

struct stream *wire_new_session(struct hull_wire *w)
{
	queue_forget(w);
	hull_buf_free(&w->opening_args);
	w->opening = 0;
	w->last_peer = 0;
	w->inbound = 0;
	w->ready = false;
	/* Our own ids go on growing, so that an id of an earlier epoch never means a stream of this one. */
	if (w->next_id > UINT32_MAX / 2)
		w->next_id = w->config.side == HULL_WIRE_HOST ? 1 : 2;
	struct stream *all = table_take_all(&w->table);
	list_init(&w->waiting);
	list_init(&w->granting);
	/* The sentinels are fresh; the old members must not point to them any more. */
	for (struct stream *s = all; s; s = s->chain) {
		list_init(&s->waiting);
		list_init(&s->granting);
	}
	return all;
}

int wire_say_hello(struct hull_wire *w, uint64_t epoch)
{
	uint8_t raw[12];
	for (unsigned i = 0; i < 4; i++)
		raw[i] = (uint8_t)((uint32_t)HULL_WIRE_VERSION >> (8 * i));
	for (unsigned i = 0; i < 8; i++)
		raw[4 + i] = (uint8_t)(epoch >> (8 * i));
	return queue_frame(w, 0, HULL_WIRE_HELLO, 0, WIRE_MAGIC, WIRE_MAGIC_LEN, raw, sizeof(raw));
}

int hull_wire_hello(struct hull_wire *w, uint64_t epoch)
{
	if (w->dead)
		return -EPIPE;
	if (w->config.side != HULL_WIRE_HOST || (w->said_hello && epoch == w->epoch))
		return -EINVAL;
	struct stream *old = wire_new_session(w);
	w->skipping = w->said_hello; /* a first HELLO has nothing before it to skip */
	w->resyncing = !w->said_hello && w->config.resync;
	w->window_seen = 0;
	w->said_hello = true;
	w->epoch = epoch;
	int r = wire_say_hello(w, epoch);
	wire_finish_all(w, old, "a new session began on the wire");
	queue_tell(w);
	return r < 0 ? -EPIPE : 0;
}

int hull_wire_restart(struct hull_wire *w)
{
	w->sent_left = w->handed = 0;
	struct stream *old = wire_new_session(w);
	hull_buf_free(&w->out);
	w->restarts++;
	w->dead = w->told = w->said_hello = w->skipping = w->resyncing = false;
	w->death = (struct hull_error){0};
	w->head_have = w->payload_have = 0;
	wire_finish_all(w, old, "the wire was reopened");
	return 0;
}
