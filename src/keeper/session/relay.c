/* SPDX-License-Identifier: Apache-2.0 */
/* Relaying a client's stream to the guest and back; see relay.h.
 *
 * A relay is two streams: `client` on the client's wire, `guest` on the guest's. Data received on one is queued on the
 * other at once. Credit received on one is granted on the other, and none is added here: so what is in flight between
 * the two ends never exceeds the window that each of them granted. A reader that stalls, stalls only its own stream.
 *
 * Before the guest is configured a relay waits on the pending list; what its client sends meanwhile is kept in `early`
 * as {u8 kind, u8 channel, u32 length, bytes} and replayed when the guest's stream is opened. That is at most a window
 * of data per stream, and PENDING_BYTES_MAX over all.
 *
 * Ends: each half's `closed` comes once. The first to come passes the end on to the other half, the second frees. */
#include "keeper/keeper.h"
#include "keeper/session/relay.h"
#include "keeper/guest/clock.h"
#include "keeper/guest/guest.h"
#include "keeper/session/jobs.h"
#include "keeper/workspace/share.h"

#include "base/cleanup.h"
#include "base/debug.h"
#include "base/text.h"
#include "wire/args.h"
#include "wire/service.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

enum { EARLY_DATA = 1, EARLY_MESSAGE, EARLY_EOF };

struct relay {
	struct keeper *k;
	struct list_node in_list; /* k->relays->pending or k->relays->open */
	struct loop_stream client, guest;
	struct sync_wait sync;
	uint8_t service;
	bool pending;
	bool accepted;
	struct hull_buf args; /* while pending */
	char id[JOB_ID + 1];  /* of an exec */
	struct hull_buf early;
	uint64_t bytes;
};

static void relay_free(struct relay *r)
{
	struct keeper *k = r->k;
	share_sync_cancel(&r->sync);
	list_del(&r->in_list);
	k->relays->count--;
	if (r->service == HULL_SVC_EXEC)
		k->relays->exec_count--;
	k->relays->pending_bytes -= r->args.len + r->early.len;
	bool trim = r->bytes > (1 << 20) && k->relays->count == 0;
	hull_buf_free(&r->args);
	hull_buf_free(&r->early);
	free(r);
	if (trim)
		malloc_trim(0);
}

/* --- arguments --- */

static bool tag_known(uint8_t service, uint16_t tag)
{
	if (tag == HULL_TAG_TRACE)
		return true;
	switch (service) {
	case HULL_SVC_EXEC:
		/* KEEP is for jobs: without a client to take the output there must be a keeper of it. */
		return tag == HULL_TAG_ARGV || tag == HULL_TAG_ENV || tag == HULL_TAG_CWD || tag == HULL_TAG_USER ||
		       tag == HULL_TAG_TTY || tag == HULL_TAG_ROWS || tag == HULL_TAG_COLS || tag == HULL_TAG_LOGIN;
	case HULL_SVC_DIAL:
		return tag == HULL_TAG_PATH || tag == HULL_TAG_PORT || tag == HULL_TAG_ADDRESS;
	default:
		return tag == HULL_TAG_PATH || tag == HULL_TAG_NAME || tag == HULL_TAG_USER;
	}
}

/* The name by which the person knows that directory. */
static int put_linkdir(const struct keeper *k, struct hull_buf *out)
{
	const char *first = k->sb.workdir                              ? k->sb.workdir
			    : k->workspace->mount_count && k->sb.paths ? k->sb.paths[0]
								       : NULL;
	size_t n = !first ? 0 : k->sb.workdir ? strlen(first) : hull_entry_split(first, NULL);
	for (size_t i = 0; n && k->sb.links && k->sb.links[i] && k->sb.links[i + 1]; i += 2)
		if (strncmp(k->sb.links[i + 1], first, n) == 0 && !k->sb.links[i + 1][n])
			return hull_args_put_str(out, HULL_TAG_LINKDIR, k->sb.links[i]);
	return 0;
}

int relay_arguments(const struct keeper *k, uint8_t service, const uint8_t *args, size_t len, struct hull_buf *out)
{
	struct hull_cur cur = hull_cur_make(args, len);
	struct hull_arg a;
	int r = 0;
	for (size_t i = 0; service == HULL_SVC_EXEC && r == 0 && k->sb.env[i]; i++)
		r = hull_args_put_str(out, HULL_TAG_ENV, k->sb.env[i]);
	/* The clone, or the first path, is where work is done, unless the request says otherwise. */
	if (service == HULL_SVC_EXEC && r == 0 && k->sb.workdir)
		r = hull_args_put_str(out, HULL_TAG_WORKDIR, k->sb.workdir);
	else if (service == HULL_SVC_EXEC && r == 0 && k->workspace->mount_count && k->sb.paths && k->sb.paths[0]) {
		const char *first = k->sb.paths[0];
		r = hull_args_put(out, HULL_TAG_WORKDIR, first, hull_entry_split(first, NULL));
	}
	if (service == HULL_SVC_EXEC && r == 0)
		r = put_linkdir(k, out);
	while (r == 0 && hull_args_next(&cur, &a))
		if (tag_known(service, a.tag))
			r = hull_args_put(out, a.tag, a.p, a.n);
	return r < 0 ? r : cur.bad ? -EINVAL : 0;
}

/* --- the guest's half --- */

static void guest_accepted(struct loop_stream *s, const uint8_t *args, size_t len)
{
	struct relay *r = container_of(s, struct relay, guest);
	r->accepted = true;
	if (r->client.id)
		hull_wire_accept(r->client.wire, r->client.id, args, len);
}

static void guest_data(struct loop_stream *s, unsigned channel, const uint8_t *p, size_t n)
{
	struct relay *r = container_of(s, struct relay, guest);
	r->bytes += n;
	if (r->client.id && hull_wire_relay(r->client.wire, r->client.id, channel, p, n) < 0)
		loop_stream_reset(&r->client, ENOMEM, "the keeper cannot pass the stream on");
}

static void guest_message(struct loop_stream *s, const uint8_t *p, size_t n)
{
	loop_stream_message(&container_of(s, struct relay, guest)->client, p, n);
}

static void guest_credit(struct loop_stream *s, uint32_t bytes)
{
	loop_stream_grant(&container_of(s, struct relay, guest)->client, bytes);
}

static void guest_eof(struct loop_stream *s)
{
	loop_stream_eof(&container_of(s, struct relay, guest)->client);
}

static void guest_closed(struct loop_stream *s, int code, const char *message)
{
	struct relay *r = container_of(s, struct relay, guest);
	if (r->service == HULL_SVC_EXEC && !r->k->origin.first_exec_ns)
		r->k->origin.first_exec_ns = uv_hrtime();
	if (!r->client.id) {
		relay_free(r);
		return;
	}
	if (code == 0)
		return; /* both its EOFs have been passed on: the client's half ends by itself */
	/* The machine going down says why it did; the wire only knows that it was cut. */
	const char *why = message;
	if (code == -ECONNRESET && r->k->life.end_reason[0])
		why = r->k->life.end_reason;
	else if (code == -ECONNRESET && r->k->life.suspended && r->service == HULL_SVC_EXEC)
		why = "it was paused; the command goes on when it is resumed, as one of its jobs";
	else if (code == -ECONNRESET && !message[0])
		why = "the sandbox has stopped";
	_cleanup_free_ char *text = hull_printable(why, strlen(why));
	if (r->accepted)
		loop_stream_reset(&r->client, code, text);
	else
		hull_wire_refuse(r->client.wire, r->client.id, code, text);
}

static const struct loop_stream_ops GUEST_OPS = {
	.accepted = guest_accepted,
	.data = guest_data,
	.message = guest_message,
	.credit = guest_credit,
	.eof = guest_eof,
	.closed = guest_closed,
};

/* --- the client's half --- */

static void early(struct relay *r, uint8_t kind, unsigned channel, const uint8_t *p, size_t n)
{
	struct keeper *k = r->k;
	size_t need = 6 + n;
	uint8_t head[2] = {kind, (uint8_t)channel};
	if (k->relays->pending_bytes + need > PENDING_BYTES_MAX || hull_buf_add(&r->early, head, sizeof(head)) < 0) {
		hull_wire_refuse(r->client.wire, r->client.id, EAGAIN,
				 "too much waits for the guest to start; try later");
		return;
	}
	k->relays->pending_bytes += 2;
	if (hull_buf_le32(&r->early, (uint32_t)n) == 0)
		k->relays->pending_bytes += 4;
	if (hull_buf_add(&r->early, p, n) == 0)
		k->relays->pending_bytes += n;
}

static void client_data(struct loop_stream *s, unsigned channel, const uint8_t *p, size_t n)
{
	struct relay *r = container_of(s, struct relay, client);
	r->bytes += n;
	if (r->pending)
		early(r, EARLY_DATA, channel, p, n);
	else if (r->guest.id && hull_wire_relay(r->guest.wire, r->guest.id, channel, p, n) < 0)
		loop_stream_reset(&r->guest, ENOMEM, "the keeper cannot pass the stream on");
}

static void client_message(struct loop_stream *s, const uint8_t *p, size_t n)
{
	struct relay *r = container_of(s, struct relay, client);
	if (r->pending)
		early(r, EARLY_MESSAGE, 0, p, n);
	else
		loop_stream_message(&r->guest, p, n);
}

static void client_credit(struct loop_stream *s, uint32_t bytes)
{
	loop_stream_grant(&container_of(s, struct relay, client)->guest, bytes);
}

static void client_eof(struct loop_stream *s)
{
	struct relay *r = container_of(s, struct relay, client);
	if (r->pending)
		early(r, EARLY_EOF, 0, NULL, 0);
	else
		loop_stream_eof(&r->guest);
}

static void client_closed(struct loop_stream *s, int code, const char *message)
{
	struct relay *r = container_of(s, struct relay, client);
	if (!r->guest.id) {
		relay_free(r);
		return;
	}
	if (code != 0)
		loop_stream_reset(&r->guest, code == -ECANCELED ? -EPIPE : code, "the client went away");
}

static const struct loop_stream_ops CLIENT_OPS = {
	.data = client_data,
	.message = client_message,
	.credit = client_credit,
	.eof = client_eof,
	.closed = client_closed,
};

/* --- opening --- */

/* The relay may be gone when this returns. */
static void replay(struct relay *r, const struct hull_buf *sent)
{
	struct hull_cur cur = hull_cur_make(hull_buf_bytes(sent), sent->len);
	while (hull_cur_left(&cur) > 0) {
		uint8_t kind = hull_cur_u8(&cur);
		unsigned channel = hull_cur_u8(&cur);
		uint32_t n = hull_cur_le32(&cur);
		const uint8_t *p = hull_cur_take(&cur, n);
		if (cur.bad)
			return;
		if (kind == EARLY_MESSAGE) {
			loop_stream_message(&r->guest, p, n);
		} else if (kind == EARLY_EOF) {
			loop_stream_eof(&r->guest);
		} else if (hull_wire_relay(r->guest.wire, r->guest.id, channel, p, n) < 0) {
			loop_stream_reset(&r->guest, ENOMEM, "the keeper cannot pass the stream on");
			return;
		}
	}
}

static void start(struct relay *r)
{
	struct keeper *k = r->k;
	list_del(&r->in_list);
	list_add(&k->relays->open, &r->in_list);
	r->pending = false;
	clock_active(k);
	int e = loop_stream_open(&r->guest, &k->guest->link, r->service, &r->args);
	if (e < 0) {
		hull_wire_refuse(r->client.wire, r->client.id, -e,
				 e == -EMSGSIZE ? "the arguments and the environment are too large" : strerror(-e));
		return;
	}
	hull_debug(HULL_AREA_KEEPER, "client's stream #%u is the guest's stream #%u", r->client.id, r->guest.id);
	k->relays->pending_bytes -= r->args.len + r->early.len;
	hull_buf_free(&r->args);
	/* Both sides start with the same credit, so what came early always fits. */
	_cleanup_(hull_buf_free) struct hull_buf sent = r->early;
	r->early = (struct hull_buf){0};
	replay(r, &sent);
}

static void passed(struct sync_wait *w)
{
	start(container_of(w, struct relay, sync));
}

/* When what is on the host now can be seen there. */
static void start_synced(struct relay *r)
{
	if (share_sync(r->k, &r->sync, passed))
		start(r);
}

void relays_init(struct keeper *k)
{
	list_init(&k->relays->open);
	list_init(&k->relays->pending);
}

void relay_sessions(struct keeper *k, json_t *ids)
{
	list_each(n, &k->relays->open)
	{
		const struct relay *r = container_of(n, struct relay, in_list);
		if (*r->id)
			json_array_append_new(ids, json_string(r->id));
	}
}

void relay_open(struct keeper *k, struct loop_link *client, uint32_t stream, uint8_t service, const uint8_t *args,
		size_t len)
{
	if (k->life.phase >= PHASE_STOPPING) {
		hull_wire_refuse(client->wire, stream, ESHUTDOWN, "the sandbox is shutting down");
		return;
	}
	if (k->relays->count >= STREAMS_MAX) {
		hull_wire_refuse(client->wire, stream, EAGAIN,
				 "too many sessions are open in this sandbox: end some of them");
		return;
	}
	struct relay *r = calloc(1, sizeof(*r));
	int e = r ? relay_arguments(k, service, args, len, &r->args) : -ENOMEM;
	/* By which it is found again in a copy, or after a pause (jobs.c). */
	if (e == 0 && service == HULL_SVC_EXEC) {
		job_id(r->id);
		e = hull_args_put_str(&r->args, HULL_TAG_ID, r->id);
	}
	hull_debug(HULL_AREA_KEEPER, "client's stream #%u asks for service %u, %zu bytes of arguments", stream, service,
		   len);
	if (e == 0 && !k->guest->configured && k->relays->pending_bytes + r->args.len > PENDING_BYTES_MAX)
		e = -EAGAIN;
	if (e < 0) {
		hull_wire_refuse(client->wire, stream, -e,
				 e == -EINVAL   ? "malformed arguments"
				 : e == -EAGAIN ? "too much waits for the guest to start; try later"
						: strerror(-e));
		if (r)
			hull_buf_free(&r->args);
		free(r);
		return;
	}
	r->k = k;
	r->service = service;
	r->client.ops = &CLIENT_OPS;
	r->guest.ops = &GUEST_OPS;
	r->pending = true;
	k->relays->count++;
	if (service == HULL_SVC_EXEC)
		k->relays->exec_count++;
	k->relays->pending_bytes += r->args.len;
	list_add(&k->relays->pending, &r->in_list);
	loop_stream_adopt(&r->client, client, stream);
	if (k->guest->configured)
		start_synced(r);
}

void relay_start_pending(struct keeper *k)
{
	list_each(n, &k->relays->pending) start(container_of(n, struct relay, in_list));
}

void relay_refuse_pending(struct keeper *k, const char *why)
{
	list_each(n, &k->relays->pending)
	{
		struct relay *r = container_of(n, struct relay, in_list);
		hull_wire_refuse(r->client.wire, r->client.id, ESHUTDOWN, why);
	}
}
