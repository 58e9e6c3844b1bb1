/* The wire to the keeper, and sockets and timers in the loop; see internal.h.
 *
 * As in the keeper: the wire's events act at once, its output is written when the loop is about to sleep. */
#include "egress/internal.h"

#include "base/io.h"
#include "wire/args.h"
#include "wire/service.h"

#include <string.h>
#include <sys/socket.h>

static void on_poll(uv_poll_t *poll, int status, int events);

static void watch(struct egress *g, int events)
{
	if (g->watching == events)
		return;
	g->watching = events;
	uv_poll_start(&g->poll, events, on_poll);
}

static void end(struct egress *g, int code)
{
	g->over = true;
	g->exit_code = code;
	uv_stop(&g->loop);
}

/* --- events of the wire --- */

static void wire_open(void *ctx, uint32_t id, uint8_t service, const uint8_t *args, size_t len)
{
	struct egress *g = ctx;
	switch (service) {
	case HULL_SVC_EGRESS:
		control_open(g, id);
		break;
	case HULL_SVC_CONNECT:
		connect_open(g, id, args, len);
		break;
	case HULL_SVC_RESOLVE:
		resolve_open(g, id, args, len);
		break;
	case HULL_SVC_DATAGRAM:
		datagram_open(g, id, args, len);
		break;
	default:
		hull_wire_refuse(g->wire, id, ENOSYS, "not offered here");
	}
}

static void wire_accepted(void *ctx, uint32_t id, void *user, const uint8_t *args, size_t len)
{
	struct stream *s = user;
	if (s && s->ops->accepted)
		s->ops->accepted(s);
}

static void wire_data(void *ctx, uint32_t id, void *user, unsigned channel, const uint8_t *p, size_t n)
{
	struct egress *g = ctx;
	struct stream *s = user;
	if (s && s->ops->data)
		s->ops->data(s, p, n);
	else
		hull_wire_grant(g->wire, id, n);
}

static void wire_writable(void *ctx, uint32_t id, void *user)
{
	struct stream *s = user;
	if (s && s->ops->writable)
		s->ops->writable(s);
}

static void wire_eof(void *ctx, uint32_t id, void *user)
{
	struct stream *s = user;
	if (s && s->ops->eof)
		s->ops->eof(s);
}

static void wire_closed(void *ctx, uint32_t id, void *user, int code, const char *message)
{
	struct stream *s = user;
	if (!s)
		return;
	s->id = 0;
	s->ops->closed(s, code);
}

static void wire_output(void *ctx)
{
	((struct egress *)ctx)->output = true;
}

/* --- the socket --- */

static void flush(struct egress *g)
{
	g->output = false;
	for (;;) {
		const uint8_t *p;
		size_t n = hull_wire_output(g->wire, &p);
		if (n == 0)
			break;
		ssize_t w = send(g->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (w > 0) {
			hull_wire_sent(g->wire, (size_t)w);
			continue;
		}
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0 && errno == EAGAIN)
			watch(g, UV_READABLE | UV_WRITABLE);
		else
			end(g, 0);
		return;
	}
	if (hull_wire_dead(g->wire))
		end(g, 1);
	else
		watch(g, UV_READABLE);
}

static void on_prepare(uv_prepare_t *prepare)
{
	struct egress *g = prepare->data;
	while (g->output && !g->over) {
		flush(g);
		if (g->watching & UV_WRITABLE)
			break;
	}
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct egress *g = poll->data;
	if (status < 0) {
		end(g, 1);
		return;
	}
	if (events & UV_WRITABLE)
		flush(g);
	if (g->over || !(events & UV_READABLE))
		return;
	ssize_t n = read(g->fd, g->scratch, sizeof(g->scratch));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	struct hull_error err = {0};
	if (n <= 0)
		end(g, n < 0);
	else if (hull_wire_feed(g->wire, g->scratch, (size_t)n, &err) < 0)
		end(g, 1);
}

int link_open(struct egress *g, int fd)
{
	static const struct hull_wire_ops ops = {
		.open = wire_open,
		.accepted = wire_accepted,
		.data = wire_data,
		.writable = wire_writable,
		.eof = wire_eof,
		.closed = wire_closed,
		.output = wire_output,
	};
	struct hull_wire_config config = {
		.side = HULL_WIRE_GUEST,
		.max_inbound = EGRESS_CONNECTIONS_MAX + EGRESS_FLOWS_MAX + EGRESS_QUESTIONS_MAX + 64,
		.queue_max_control = 16 << 20,
	};
	g->fd = fd;
	int r = hull_set_nonblock(fd, true);
	if (r < 0)
		return r;
	g->wire = hull_wire_new(&config, &ops, g);
	if (!g->wire)
		return -ENOMEM;
	r = uv_poll_init(&g->loop, &g->poll, fd);
	if (r < 0)
		return r;
	g->poll.data = g;
	uv_prepare_init(&g->loop, &g->prepare);
	g->prepare.data = g;
	uv_prepare_start(&g->prepare, on_prepare);
	watch(g, UV_READABLE);
	return 0;
}

void stream_take(struct egress *g, struct stream *s, uint32_t id)
{
	s->id = id;
	hull_wire_set_user(g->wire, id, s);
}

/* --- arguments --- */

bool request_read(const uint8_t *args, size_t len, struct request *out)
{
	struct hull_cur cur = hull_cur_make(args, len);
	struct hull_arg a;
	*out = (struct request){0};
	bool ok = true;
	while (hull_args_next(&cur, &a)) {
		char **text = a.tag == HULL_TAG_ADDRESS ? &out->address : a.tag == HULL_TAG_NAME ? &out->name : NULL;
		if (text && (*text || a.n > 1024 || !(*text = hull_arg_str(&a))))
			ok = false;
		if (a.tag == HULL_TAG_PORT)
			out->port = hull_arg_u32(&a);
		if (a.tag == HULL_TAG_QTYPE)
			out->qtype = hull_arg_u32(&a);
	}
	if (ok && !cur.bad)
		return true;
	request_free(out);
	return false;
}

void request_free(struct request *r)
{
	free(r->address);
	free(r->name);
	*r = (struct request){0};
}

/* --- sockets --- */

static void on_sock(uv_poll_t *poll, int status, int events)
{
	struct sock *s = poll->data;
	if (status < 0)
		s->watching = 0; /* libuv stops watching what reports an error */
	s->ready(s, status < 0 ? UV_READABLE | UV_WRITABLE : events);
}

struct sock *sock_new(struct egress *g, int fd, void *owner, void (*ready)(struct sock *s, int events))
{
	struct sock *s = calloc(1, sizeof(*s));
	if (!s || uv_poll_init(&g->loop, &s->poll, fd) < 0) {
		free(s);
		close(fd);
		return NULL;
	}
	s->fd = fd;
	s->owner = owner;
	s->ready = ready;
	s->poll.data = s;
	return s;
}

void sock_watch(struct sock *s, int events)
{
	if (!s || s->watching == events)
		return;
	s->watching = events;
	if (events)
		uv_poll_start(&s->poll, events, on_sock);
	else
		uv_poll_stop(&s->poll);
}

static void on_sock_closed(uv_handle_t *h)
{
	free(h->data);
}

void sock_close(struct sock *s)
{
	if (!s)
		return;
	uv_close((uv_handle_t *)&s->poll, on_sock_closed);
	close(s->fd);
}

void sock_reset(struct sock *s)
{
	if (!s)
		return;
	struct linger now = {.l_onoff = 1, .l_linger = 0};
	setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	sock_close(s);
}

/* --- timers --- */

static void on_alarm(uv_timer_t *t)
{
	struct alarm *a = t->data;
	a->ring(a->owner);
}

struct alarm *alarm_new(struct egress *g, uint64_t ms, void *owner, void (*ring)(void *owner))
{
	struct alarm *a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	a->owner = owner;
	a->ring = ring;
	uv_timer_init(&g->loop, &a->timer);
	a->timer.data = a;
	uv_update_time(&g->loop);
	uv_timer_start(&a->timer, on_alarm, ms, 0);
	return a;
}

static void on_alarm_closed(uv_handle_t *h)
{
	free(h->data);
}

void alarm_free(struct alarm *a)
{
	if (a)
		uv_close((uv_handle_t *)&a->timer, on_alarm_closed);
}
