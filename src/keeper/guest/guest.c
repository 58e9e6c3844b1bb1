/* SPDX-License-Identifier: Apache-2.0 */
/* The wire to the guest and its control stream; see guest.h.
 *
 * HELLO goes out when the machine has started; the socket holds it until hull-init opens the port. When the guest
 * has answered, the control stream is opened and CONFIGURE sent: the time in it is then as fresh as can be. The guest
 * answers CONFIGURED, and from then on takes commands.
 *
 * The guest is hostile: its messages are read through checked accessors, its texts are made printable and truncated,
 * its numbers are only passed on. A protocol error ends the machine. */
#include "keeper/keeper.h"
#include "keeper/guest/guest.h"
#include "keeper/guest/clock.h"
#include "keeper/guest/dockerlog.h"

#include "base/cleanup.h"
#include "base/debug.h"
#include "base/log.h"
#include "base/text.h"
#include "wire/args.h"
#include "wire/service.h"

#include <string.h>
#include <sys/random.h>
#include <time.h>

static uint64_t realtime_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* --- messages from the guest --- */

static void on_service(struct keeper *k, struct hull_cur *cur)
{
	struct guest *g = k->guest;
	struct hull_arg a;
	_cleanup_free_ char *service = NULL;
	_cleanup_free_ char *state = NULL;
	_cleanup_free_ char *text = NULL;
	while (hull_args_next(cur, &a)) {
		char **to = a.tag == HULL_TAG_SERVICE ? &service
			    : a.tag == HULL_TAG_STATE ? &state
			    : a.tag == HULL_TAG_TEXT  ? &text
						      : NULL;
		if (!to || *to)
			continue;
		*to = a.tag == HULL_TAG_TEXT ? hull_printable((const char *)a.p, a.n) : hull_arg_str(&a);
	}
	if (!hull_streq(service, "docker") || k->sb.no_docker)
		return;
	static const char *const known[] = {"starting", "ready", "failed", "stopped", "absent"};
	/* It is frozen until somebody connects to it, and so has nothing to write in a log either. */
	bool resting = hull_streq(state, "resting");
	if (!resting && !hull_streq(state, "absent"))
		dockerlog_start(k);
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		if (!hull_streq(resting ? "ready" : state, known[i]))
			continue;
		g->docker = known[i];
		if (i == 1) {
			g->docker_failures = 0;
			if (!g->docker_ms)
				g->docker_ms = keeper_ms(k);
		}
		if (i == 2) {
			g->docker_failures++;
			snprintf(g->docker_text, sizeof(g->docker_text), "%s", text ? text : "");
		}
		keeper_log_guest(k, "docker: %s%s%.200s", known[i], text && text[0] ? ": " : "", text ? text : "");
		k->events->docker_changed(k);
		return;
	}
}

bool guest_docker_hopeless(const struct keeper *k)
{
	return k->guest->docker_failures >= DOCKER_FAILURES || hull_streq(k->guest->docker, "absent");
}

static void on_stats(struct keeper *k, struct hull_cur *cur)
{
	static const struct {
		uint16_t tag;
		const char *name;
	} figures[] = {
		{HULL_TAG_MEM_TOTAL, "mem_total"},   {HULL_TAG_MEM_AVAIL, "mem_avail"},
		{HULL_TAG_DISK_TOTAL, "disk_total"}, {HULL_TAG_DISK_FREE, "disk_free"},
		{HULL_TAG_SESSIONS, "sessions"},     {HULL_TAG_UPTIME_MS, "uptime_ms"},
	};
	_cleanup_(json_decrefp) json_t *j = json_object();
	struct hull_arg a;
	while (j && hull_args_next(cur, &a))
		for (size_t i = 0; i < sizeof(figures) / sizeof(*figures); i++)
			if (a.tag == figures[i].tag) {
				uint64_t v = a.n == 4 ? hull_arg_u32(&a) : hull_arg_u64(&a);
				json_object_set_new(j, figures[i].name, json_integer((json_int_t)(v & INT64_MAX)));
			}
	if (cur->bad || !j)
		return;
	json_decref(k->guest->stats);
	k->guest->stats = hull_steal_ptr(j);
	k->events->guest_stats(k);
}

static void on_log(struct keeper *k, struct hull_cur *cur)
{
	struct hull_arg a;
	while (hull_args_next(cur, &a)) {
		if (a.tag != HULL_TAG_TEXT)
			continue;
		_cleanup_free_ char *text = hull_printable((const char *)a.p, a.n);
		keeper_log_guest(k, "guest: %s", text ? text : "");
	}
}

static void control_message(struct loop_stream *s, const uint8_t *p, size_t n)
{
	struct keeper *k = container_of(s, struct guest, control)->link.owner;
	struct guest *g = k->guest;
	struct hull_cur cur = hull_cur_make(p, n);
	switch (hull_cur_u8(&cur)) {
	case HULL_MSG_CONFIGURED:
		if (g->answered)
			break;
		g->answered = true;
		g->configured_ns = uv_hrtime();
		k->events->guest_answered(k);
		break;
	case HULL_MSG_MOUNTED:
	case HULL_MSG_UNMOUNTED:
		k->events->guest_mounted(k, p[0] == HULL_MSG_MOUNTED, &cur);
		break;
	case HULL_MSG_SERVICE:
		on_service(k, &cur);
		break;
	case HULL_MSG_STATS:
		on_stats(k, &cur);
		break;
	case HULL_MSG_LOG:
		on_log(k, &cur);
		break;
	case HULL_MSG_SYNCED:
		if (g->quiescing && k->machine_ops->synced) {
			g->quiescing = false;
			k->machine_ops->synced(k);
		}
		break;
	case HULL_MSG_SESSION:
		k->events->guest_session(k, &cur);
		break;
	case HULL_MSG_CLOCK:
		clock_answered(k, &cur);
		break;
	case HULL_MSG_GROWN:
		k->events->guest_grown(k, &cur);
		break;
	case HULL_MSG_STOPPING:
		if (!g->stopping)
			keeper_log_guest(k, "the guest is shutting down");
		g->stopping = true;
		k->events->guest_stopping(k);
		break;
	default:
		break; /* of a newer guest */
	}
}

static void control_closed(struct loop_stream *s, int code, const char *message)
{
	struct keeper *k = container_of(s, struct guest, control)->link.owner;
	if (k->life.phase == PHASE_ENDED || code == -ECONNRESET || code == -ECANCELED || k->guest->stopping)
		return;
	_cleanup_free_ char *text = hull_printable(message, strlen(message));
	keeper_fault(k, "the guest closed its control stream: %s", text && text[0] ? text : "no reason given");
}

static const struct loop_stream_ops CONTROL_OPS = {
	.message = control_message,
	.closed = control_closed,
};

void guest_ready(struct keeper *k)
{
	k->guest->configured = true;
	k->guest->configured_ms = keeper_ms(k);
	k->events->guest_configured(k);
	clock_send(k);
}

/* --- messages to the guest --- */

/* What makes the sandbox the person's own. Links that a message has no room for are left out: they are a comfort. */
static int put_person(const struct hull_sandbox *s, struct hull_buf *b)
{
	int r = s->git_name ? hull_args_put_str(b, HULL_TAG_GIT_NAME, s->git_name) : 0;
	if (r == 0 && s->git_email)
		r = hull_args_put_str(b, HULL_TAG_GIT_EMAIL, s->git_email);
	for (size_t i = 0; r == 0 && s->links && s->links[i] && s->links[i + 1]; i += 2) {
		if (b->len + strlen(s->links[i]) + strlen(s->links[i + 1]) + 16 > HULL_WIRE_MESSAGE_MAX)
			break;
		r = hull_args_put_str(b, HULL_TAG_LINK, s->links[i]);
		if (r == 0)
			r = hull_args_put_str(b, HULL_TAG_TARGET, s->links[i + 1]);
	}
	return r;
}

static void guest_hello(struct loop_link *l, uint64_t epoch)
{
	struct keeper *k = l->owner;
	struct guest *g = k->guest;
	if (g->control.id)
		return;
	g->hello_ns = uv_hrtime();
	char hostname[HULL_NAME_MAX + 1];
	hull_hostname(k->sb.name, hostname);
	g->control.ops = &CONTROL_OPS;
	int r = loop_stream_open(&g->control, l, HULL_SVC_CONTROL, &k->guest->ca);
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	uint8_t kind = HULL_MSG_CONFIGURE;
	uint8_t entropy[128];
	if (getrandom(entropy, sizeof(entropy), 0) != (ssize_t)sizeof(entropy))
		r = -EIO;
	if (r == 0)
		r = hull_buf_add(&b, &kind, 1);
	if (r == 0)
		r = hull_args_put_u64(&b, HULL_TAG_TIME_NS, realtime_ns());
	if (r == 0)
		r = hull_args_put_str(&b, HULL_TAG_HOSTNAME, hostname);
	if (r == 0)
		r = hull_args_put(&b, HULL_TAG_ENTROPY, entropy, sizeof(entropy));
	if (r == 0)
		r = hull_args_put_u64(&b, HULL_TAG_DISK_BYTES, k->sb.disk);
	if (r == 0 && k->origin.fresh)
		r = hull_args_put_u32(&b, HULL_TAG_RENEW, 1);
	if (r == 0)
		r = hull_args_put_u64(&b, HULL_TAG_SWAP_BYTES, k->sb.swap);
	/* Always: a machine that is restored may have had others. */
	char levels[HULL_DEBUG_TEXT + 4] = "off,";
	hull_debug_text(levels + 4);
	if (r == 0)
		r = hull_args_put_str(&b, HULL_TAG_LOG, levels);
	if (r == 0)
		r = put_person(&k->sb, &b);
	explicit_bzero(entropy, sizeof(entropy));
	if (r == 0)
		loop_stream_message(&g->control, hull_buf_bytes(&b), b.len);
	else
		keeper_fault(k, "cannot configure the guest: %s", strerror(-r));
}

void guest_shutdown(struct keeper *k, uint32_t grace_ms)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	uint8_t kind = HULL_MSG_SHUTDOWN;
	if (hull_buf_add(&b, &kind, 1) == 0 && hull_args_put_u32(&b, HULL_TAG_GRACE_MS, grace_ms) == 0)
		loop_stream_message(&k->guest->control, hull_buf_bytes(&b), b.len);
}

void guest_ask_stats(struct keeper *k)
{
	uint8_t kind = HULL_MSG_STATS_ASK;
	loop_stream_message(&k->guest->control, &kind, 1);
}

int guest_root_command(const char *const *argv, size_t n, struct hull_buf *out)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < n; i++)
		r = hull_args_put_str(out, HULL_TAG_ARGV, argv[i]);
	if (r == 0)
		r = hull_args_put_str(out, HULL_TAG_USER, "root");
	return r ? r : hull_args_put_str(out, HULL_TAG_CWD, "/");
}

int guest_kill_session(struct keeper *k, uint32_t session, uint32_t sig)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	uint8_t kind = HULL_MSG_KILL;
	if (!k->guest->configured || !k->guest->control.id)
		return -ENOTCONN;
	if (hull_buf_add(&b, &kind, 1) < 0 || hull_args_put_u32(&b, HULL_TAG_SESSION, session) < 0 ||
	    hull_args_put_u32(&b, HULL_TAG_SIGNAL, sig) < 0)
		return -ENOMEM;
	loop_stream_message(&k->guest->control, hull_buf_bytes(&b), b.len);
	return 0;
}

int guest_quiesce(struct keeper *k, bool rest)
{
	struct guest *g = k->guest;
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	uint8_t kind = HULL_MSG_SYNC;
	if (!g->open || !g->configured || !g->control.id)
		return -ENOTCONN;
	int r = hull_buf_add(&b, &kind, 1);
	/* What is not needed in a copy should not have to end in each of them. */
	if (rest)
		dockerlog_stop(k);
	if (r == 0 && rest)
		r = hull_args_put_u32(&b, HULL_TAG_REST, 1);
	if (r < 0)
		return r;
	g->quiescing = true;
	loop_stream_message(&g->control, hull_buf_bytes(&b), b.len);
	loop_link_hold(&g->link);
	return 0;
}

void guest_release(struct keeper *k)
{
	k->guest->quiescing = false;
	if (!k->guest->open)
		return;
	loop_link_release(&k->guest->link);
	clock_send(k);
}

/* --- the wire itself --- */

static void guest_gone(struct loop_link *l, int code, const char *why)
{
	struct keeper *k = l->owner;
	_cleanup_free_ char *text = hull_printable(why, strlen(why));
	/* A client that is told of the end may start the sandbox again at once: so not before its lock is free. */
	k->loop.corked = k->life.phase != PHASE_ENDED;
	loop_link_close(l);
	if (code == -EPROTO)
		keeper_fault(k, "the guest broke the wire protocol: %s", text ? text : "");
	else if (code < 0 && code != -ECONNRESET && code != -EPIPE)
		keeper_fault(k, "the wire to the guest failed: %s", text ? text : "");
	else
		k->events->wire_closed(k);
}

int guest_open(struct keeper *k, int fd, struct hull_error *err)
{
	struct guest *g = k->guest;
	g->docker = k->sb.no_docker ? "off" : "starting";
	g->link.gone = guest_gone;
	g->link.hello = guest_hello;
	g->link.owner = k;
	g->link.opened = k->events->guest_opened;
	g->link.active = clock_link_active;
	const struct hull_wire_config config = {
		.side = HULL_WIRE_HOST,
		.name = "guest",
		.max_inbound = GUEST_STREAMS_MAX,
		.resync = k->origin.restore != NULL, /* it may have been saved amid a frame */
	};
	int r = loop_link_open(&k->loop, &g->link, fd, false, &config, err);
	if (r < 0)
		return r;
	g->open = true;
	/* A restored guest must not be able to have said this one before. */
	uint64_t epoch = 0;
	if (getrandom(&epoch, sizeof(epoch), 0) != (ssize_t)sizeof(epoch))
		return hull_fail(err, -EIO, "the host has no random numbers");
	r = hull_wire_hello(g->link.wire, epoch);
	return r < 0 ? hull_fail(err, r, "cannot start the wire protocol with the guest: %s", strerror(-r)) : 0;
}

void guest_close(struct keeper *k)
{
	struct guest *g = k->guest;
	if (g->open)
		loop_link_close(&g->link);
	g->open = false;
	json_decref(g->stats);
	g->stats = NULL;
}
