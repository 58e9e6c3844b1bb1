/* SPDX-License-Identifier: Apache-2.0 */
/* The QMP client; see qmp.h. States: waiting for the greeting, negotiating (qmp_capabilities sent, id 0), ready, dead.
 * Commands given before "ready" wait in `held` and are then moved to the output. */
#include "engine/qmp.h"

#include "base/buf.h"

#include <stdlib.h>
#include <string.h>

enum state { GREETING, NEGOTIATING, READY, DEAD };

struct hull_qmp {
	struct hull_qmp_ops ops;
	void *ctx;
	enum state state;
	uint64_t last_id;
	struct hull_buf line; /* the incomplete line, at most HULL_QMP_LINE_MAX */
	struct hull_buf held; /* commands waiting for READY */
	struct hull_buf out;
};

struct hull_qmp *hull_qmp_new(const struct hull_qmp_ops *ops, void *ctx)
{
	struct hull_qmp *q = calloc(1, sizeof(*q));
	if (!q)
		return NULL;
	q->ops = *ops;
	q->ctx = ctx;
	return q;
}

void hull_qmp_free(struct hull_qmp *q)
{
	if (!q)
		return;
	hull_buf_free(&q->line);
	hull_buf_free(&q->held);
	hull_buf_free(&q->out);
	free(q);
}

static int on_greeting(struct hull_qmp *q, const json_t *msg, struct hull_error *err)
{
	const json_t *qemu = json_object_get(json_object_get(json_object_get(msg, "QMP"), "version"), "qemu");
	const json_t *major = json_object_get(qemu, "major");
	const json_t *minor = json_object_get(qemu, "minor");
	const json_t *micro = json_object_get(qemu, "micro");
	if (!json_is_integer(major) || !json_is_integer(minor) || !json_is_integer(micro))
		return hull_fail(err, -EPROTO, "QMP: expected a greeting as the first line");
	if (hull_buf_addstr(&q->out, "{\"execute\": \"qmp_capabilities\", \"id\": 0}\n") < 0)
		return hull_fail(err, -ENOMEM, "QMP: out of memory");
	q->state = NEGOTIATING;
	if (q->ops.greeting)
		q->ops.greeting(q->ctx, (int)json_integer_value(major), (int)json_integer_value(minor),
				(int)json_integer_value(micro));
	return 0;
}

static int on_reply(struct hull_qmp *q, const json_t *msg, struct hull_error *err)
{
	const json_t *result = json_object_get(msg, "return");
	const json_t *failure = json_object_get(msg, "error");
	const json_t *id = json_object_get(msg, "id");
	const char *text = NULL;
	if (failure) {
		text = json_string_value(json_object_get(failure, "desc"));
		if (!text)
			text = "unknown error";
		result = NULL;
	}
	if (q->state == NEGOTIATING) {
		if (!json_is_integer(id) || json_integer_value(id) != 0)
			return 0;
		if (failure)
			return hull_fail(err, -EPROTO, "QMP: negotiation refused: %.200s", text);
		if (q->held.len && hull_buf_add(&q->out, hull_buf_bytes(&q->held), q->held.len) < 0)
			return hull_fail(err, -ENOMEM, "QMP: out of memory");
		hull_buf_free(&q->held);
		q->state = READY;
		if (q->ops.ready)
			q->ops.ready(q->ctx);
		return 0;
	}
	if (json_is_integer(id) && json_integer_value(id) > 0 && q->ops.reply)
		q->ops.reply(q->ctx, (uint64_t)json_integer_value(id), result, text);
	return 0;
}

static int on_line(struct hull_qmp *q, const char *p, size_t n, struct hull_error *err)
{
	while (n > 0 && (p[n - 1] == '\r' || p[n - 1] == ' '))
		n--;
	if (n == 0)
		return 0;
	json_error_t why;
	json_t *msg = json_loadb(p, n, 0, &why);
	if (!json_is_object(msg)) {
		json_decref(msg);
		return hull_fail(err, -EPROTO, "QMP: not a JSON object: %s", msg ? "another value" : why.text);
	}
	int r = 0;
	const char *event = json_string_value(json_object_get(msg, "event"));
	if (q->state == GREETING)
		r = on_greeting(q, msg, err);
	else if (event) {
		const json_t *data = json_object_get(msg, "data");
		if (q->ops.event)
			q->ops.event(q->ctx, event, json_is_object(data) ? data : NULL);
	} else if (json_object_get(msg, "return") || json_object_get(msg, "error"))
		r = on_reply(q, msg, err);
	json_decref(msg);
	return r;
}

int hull_qmp_feed(struct hull_qmp *q, const void *data, size_t n, struct hull_error *err)
{
	const uint8_t *p = data;
	int r = 0;
	while (n > 0 && r == 0 && q->state != DEAD) {
		const uint8_t *end = memchr(p, '\n', n);
		size_t part = end ? (size_t)(end - p) : n;
		if (part > HULL_QMP_LINE_MAX - q->line.len)
			r = hull_fail(err, -EPROTO, "QMP: a line of more than %d bytes", HULL_QMP_LINE_MAX);
		else if (end && q->line.len == 0)
			r = on_line(q, (const char *)p, part, err);
		else if (hull_buf_add(&q->line, p, part) < 0)
			r = hull_fail(err, -ENOMEM, "QMP: out of memory");
		else if (end) {
			r = on_line(q, (const char *)hull_buf_bytes(&q->line), q->line.len, err);
			hull_buf_drain(&q->line, q->line.len);
		}
		part += end ? 1 : 0;
		p += part;
		n -= part;
	}
	if (r < 0) {
		q->state = DEAD;
		hull_buf_free(&q->line);
		hull_buf_free(&q->held);
		hull_buf_free(&q->out);
	}
	return r;
}

bool hull_qmp_ready(const struct hull_qmp *q)
{
	return q->state == READY;
}

int hull_qmp_command(struct hull_qmp *q, const char *name, const char *arguments, uint64_t *id)
{
	if (q->state == DEAD)
		return -EPIPE;
	struct hull_buf *to = q->state == READY ? &q->out : &q->held;
	uint64_t this = ++q->last_id;
	if (id)
		*id = this;
	return hull_buf_addf(to, "{\"execute\": \"%s\", \"id\": %llu%s%s}\n", name, (unsigned long long)this,
			     arguments ? ", \"arguments\": " : "", arguments ? arguments : "");
}

size_t hull_qmp_output(struct hull_qmp *q, const uint8_t **p)
{
	*p = q->out.len ? hull_buf_bytes(&q->out) : NULL;
	return q->out.len;
}

void hull_qmp_sent(struct hull_qmp *q, size_t n)
{
	hull_buf_drain(&q->out, n);
}
