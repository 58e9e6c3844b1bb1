/* SPDX-License-Identifier: Apache-2.0 */
/* The KEEPER service: requests of clients; see service.h, and keeper/api.h for what they take and answer.
 *
 * A request is one OPEN with JSON in it. Most are answered at once; those that wait are in service.waiters until what
 * they wait for has come (requests.c). The answer is written as the client takes it. A client that goes away takes its
 * requests with it. */
#include "keeper/client/request.h"
#include "keeper/keeper.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "wire/args.h"
#include "wire/service.h"

#include <stdlib.h>

/* --- answering --- */

static void pump(struct request *q)
{
	loop_stream_push(&q->stream, 0, &q->answer);
	if (q->answer.len)
		return;
	q->finished = true;
	loop_stream_eof(&q->stream);
}

void request_answer(struct request *q, json_t *j)
{
	_cleanup_(json_decrefp) json_t *own = j;
	_cleanup_free_ char *text = own ? json_dumps(own, JSON_COMPACT) : NULL;
	if (q->waits) {
		list_del(&q->in_list);
		q->k->service->waiter_count--;
		q->waits = FOR_NOTHING;
	}
	q->answered = true;
	if (!text || hull_buf_addstr(&q->answer, text) < 0)
		loop_stream_reset(&q->stream, ENOMEM, "out of memory");
	else
		pump(q);
}

void request_fail(struct request *q, int code, const char *text)
{
	request_answer(q, json_pack("{s:s+,s:i}", "error", text, "", "code", code < 0 ? -code : code));
}

bool request_wait(struct request *q, enum wait_for what)
{
	/* However many wait for something: it can be looked at and stopped. */
	size_t most = what == FOR_END || what == FOR_STATS ? 2 * WAITERS_MAX : WAITERS_MAX;
	if (q->k->service->waiter_count >= most) {
		request_fail(q, EAGAIN, "too many requests wait already");
		return false;
	}
	q->waits = what;
	q->k->service->waiter_count++;
	list_add(&q->k->service->waiters, &q->in_list);
	return true;
}

static void on_writable(struct loop_stream *s)
{
	struct request *q = container_of(s, struct request, stream);
	if (q->answered && !q->finished)
		pump(q);
}

static void on_closed(struct loop_stream *s, int code, const char *message)
{
	struct request *q = container_of(s, struct request, stream);
	if (q->waits) {
		list_del(&q->in_list);
		q->k->service->waiter_count--;
	}
	if (q->waits == FOR_LEASE && q->k->life.phase != PHASE_ENDED) {
		hull_log("the process that started this sandbox has ended: killing the machine");
		q->k->events->kill(q->k);
	}
	hull_buf_free(&q->answer);
	free(q->path);
	free(q);
}

static const struct loop_stream_ops OPS = {.writable = on_writable, .closed = on_closed};

void service_init(struct keeper *k)
{
	list_init(&k->service->waiters);
	uv_timer_init(&k->loop.uv, &k->service->stats_timer);
	k->service->stats_timer.data = k;
}

void service_open(struct keeper *k, struct loop_link *client, uint32_t stream, const uint8_t *args, size_t len,
		  bool reserved)
{
	struct hull_cur cur = hull_cur_make(args, len);
	struct hull_arg a, json = {0};
	while (hull_args_next(&cur, &a))
		if (a.tag == HULL_TAG_JSON)
			json = a;
	struct request *q = cur.bad || !json.p ? NULL : calloc(1, sizeof(*q));
	if (!q) {
		hull_wire_refuse(client->wire, stream, EINVAL, "malformed request");
		return;
	}
	q->k = k;
	q->stream.ops = &OPS;
	loop_stream_adopt(&q->stream, client, stream);
	hull_wire_accept(client->wire, stream, NULL, 0);
	request_handle(q, (const char *)json.p, json.n, reserved);
}
