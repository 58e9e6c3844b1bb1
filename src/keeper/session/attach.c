/* SPDX-License-Identifier: Apache-2.0 */
/* Clients attached to a job: what it prints goes to each of them as well as to its log, what they send is its stdin.
 * See attach.h; the job's own side is jobs.c.
 *
 * - Output is queued for every client, and granted to the job when all of them have taken it. So a client that does not
 *   read makes the job wait, as docker attach does, and holds at most one window here. One that disconnects is no
 *   longer waited for.
 * - Input waits in the client's own buffer (at most the window it was granted) until the job's stream takes it, and is
 *   granted then. Its STDIN_EOF follows. A job without stdin discards it.
 * - At the end, EXIT follows the output, then the stream ends. */
#include "keeper/session/attach.h"

#include "wire/service.h"

#include <stdlib.h>

enum { CHANNELS = 2 };

struct attached {
	struct audience *audience; /* NULL: the job has gone */
	struct list_node in_list;
	struct loop_stream stream;
	struct hull_buf out[CHANNELS], in, exit;
	bool in_ended; /* STDIN_EOF is to follow `in` */
	bool over;     /* end the stream when everything has been sent */
};

void audience_init(struct audience *a, struct loop_stream *job, bool input)
{
	list_init(&a->list);
	a->job = job;
	a->input = input;
	a->owed = 0;
}

/* Has everybody taken everything? Then the job may write on. */
static void settle(struct audience *a)
{
	list_each(n, &a->list)
	{
		const struct attached *c = container_of(n, struct attached, in_list);
		if (c->out[0].len || c->out[1].len)
			return;
	}
	size_t owed = a->owed;
	a->owed = 0;
	if (owed)
		loop_stream_grant(a->job, owed);
}

static void pump_out(struct attached *c)
{
	for (unsigned i = 0; i < CHANNELS; i++) {
		loop_stream_push(&c->stream, i, &c->out[i]);
		if (c->out[i].len)
			return;
	}
	if (!c->over || !c->stream.id)
		return;
	c->over = false;
	if (c->exit.len)
		loop_stream_message(&c->stream, hull_buf_bytes(&c->exit), c->exit.len);
	loop_stream_eof(&c->stream);
}

static void pump_in(struct attached *c)
{
	struct audience *a = c->audience;
	size_t before = c->in.len;
	if (!a || !a->input)
		hull_buf_drain(&c->in, c->in.len);
	while (a && c->in.len) {
		ssize_t n = hull_wire_write(a->job->wire, a->job->id, 0, hull_buf_bytes(&c->in), c->in.len);
		if (n == 0)
			break;
		hull_buf_drain(&c->in, n < 0 ? c->in.len : (size_t)n); /* an error: its end is on the way */
	}
	loop_stream_grant(&c->stream, before - c->in.len);
	if (c->in_ended && !c->in.len) {
		uint8_t eof = HULL_MSG_STDIN_EOF;
		c->in_ended = false;
		if (a && a->input)
			loop_stream_message(a->job, &eof, 1);
	}
}

static void on_data(struct loop_stream *s, unsigned channel, const uint8_t *p, size_t n)
{
	struct attached *c = container_of(s, struct attached, stream);
	if (hull_buf_add(&c->in, p, n) < 0) {
		loop_stream_reset(s, ENOMEM, "out of memory");
		return;
	}
	pump_in(c);
}

static void on_message(struct loop_stream *s, const uint8_t *p, size_t n)
{
	struct attached *c = container_of(s, struct attached, stream);
	if (!c->audience || n == 0)
		return;
	if (p[0] == HULL_MSG_STDIN_EOF) {
		c->in_ended = true;
		pump_in(c);
	} else if (p[0] == HULL_MSG_RESIZE || p[0] == HULL_MSG_SIGNAL) {
		loop_stream_message(c->audience->job, p, n);
	}
}

static void on_writable(struct loop_stream *s)
{
	struct attached *c = container_of(s, struct attached, stream);
	struct audience *a = c->audience;
	pump_out(c); /* may be its end */
	if (a)
		settle(a);
}

static void on_closed(struct loop_stream *s, int code, const char *message)
{
	struct attached *c = container_of(s, struct attached, stream);
	struct audience *a = c->audience;
	list_del(&c->in_list);
	for (unsigned i = 0; i < CHANNELS; i++)
		hull_buf_free(&c->out[i]);
	hull_buf_free(&c->in);
	hull_buf_free(&c->exit);
	free(c);
	if (a)
		settle(a);
}

static const struct loop_stream_ops OPS = {
	.data = on_data, .message = on_message, .writable = on_writable, .closed = on_closed};

void audience_add(struct audience *a, struct loop_link *client, uint32_t stream)
{
	struct attached *c = calloc(1, sizeof(*c));
	if (!c) {
		hull_wire_refuse(client->wire, stream, ENOMEM, "out of memory");
		return;
	}
	c->audience = a;
	c->stream.ops = &OPS;
	list_add(&a->list, &c->in_list);
	loop_stream_adopt(&c->stream, client, stream);
	hull_wire_accept(client->wire, stream, NULL, 0);
}

void audience_data(struct audience *a, unsigned channel, const uint8_t *p, size_t n)
{
	a->owed += n;
	list_each(node, &a->list)
	{
		struct attached *c = container_of(node, struct attached, in_list);
		if (hull_buf_add(&c->out[channel == HULL_CHANNEL_STDERR], p, n) < 0)
			loop_stream_reset(&c->stream, ENOMEM, "out of memory");
		else
			pump_out(c);
	}
	settle(a);
}

void audience_writable(struct audience *a)
{
	list_each(n, &a->list) pump_in(container_of(n, struct attached, in_list));
}

void audience_message(struct audience *a, const uint8_t *p, size_t n)
{
	list_each(node, &a->list)
	{
		struct attached *c = container_of(node, struct attached, in_list);
		if (!c->exit.len && hull_buf_add(&c->exit, p, n) < 0)
			loop_stream_reset(&c->stream, ENOMEM, "out of memory");
	}
}

void audience_close(struct audience *a, int code, const char *message)
{
	list_each(n, &a->list)
	{
		struct attached *c = container_of(n, struct attached, in_list);
		list_del(&c->in_list);
		c->audience = NULL;
		if (code != 0) {
			loop_stream_reset(&c->stream, code, message);
			continue;
		}
		c->over = true;
		pump_out(c);
	}
}
