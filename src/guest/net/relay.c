/* SPDX-License-Identifier: Apache-2.0 */
/* The transparent TCP relay: a connection that would leave the sandbox becomes a stream `connect` to the host.
 *
 * The rules (nft.c) hold its first packet (hold.c) and bring it here when the host has connected; conntrack knows where
 * it was going, and that, as a literal, is what the host is asked for.
 *
 *     SYN held -> OPEN -> ACCEPT of the host: SYN goes on -> accept -> bytes both ways -> EOF each way -> gone
 *                   \-> REFUSE: the program is refused         \-> RESET of the host: RST (SO_LINGER of 0)
 *                                                               \-> an error of the socket: RESET to the host
 *
 * Between ACCEPT and accept a relay has no socket. Those to one place are alike, so the first that waits for such a
 * connection is taken when NAT has changed the port that it comes from. One whose program has gone away meanwhile is
 * given up after COMING_MS. A connection that was not held is taken first, and the host asked then: a refusal is an
 * RST.
 *
 * Back-pressure: we read only what the stream takes (credit, and room in the wire's queue), and grant credit only for
 * what the socket took, so that a connection holds at most one window of bytes here. The socket is watched
 * edge-triggered, once for its whole life: what can be read or written is remembered, a hang-up costs one event, and a
 * reset is seen while the stream is stalled too.
 *
 * A relay outlives its stream when the host has sent all and the program has not read it yet.
 *
 * Nothing loops: a connection made to our own port or address has nowhere to go and is reset. */
#include "guest/net/link.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "guest/core/core.h"
#include "guest/net/hold.h"
#include "guest/core/loop.h"
#include "wire/service.h"
#include "wire/wire.h"

#include <netinet/tcp.h>
#include <string.h>

#define ORIGINAL_DST 80 /* SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST; the kernel's headers of them want others */

enum {
	RELAYS_MAX = 8192,
	ACCEPTS_MAX = 64,
	CHUNK = 64 * 1024,
	ALIVE_IDLE_S = 120,
	ALIVE_EVERY_S = 20,
	ALIVE_TRIES = 6,
	COMING_MS = 5000, /* from the host's ACCEPT to the program's own kernel, and ours, saying so */
};

struct relay {
	struct hull_stream stream;
	struct hull_watch watch;
	int fd;
	bool can_read, can_write; /* as far as the last event or call told */
	bool ending;              /* the program's FIN is there, behind what is to be read */
	bool read_done;           /* the program has sent its FIN, and we EOF */
	bool host_done;           /* the host's EOF came */
	struct hull_buf pending;  /* from the host, not taken by the socket yet */
	/* While fd is -1: */
	enum { TAKEN, HELD, COMING } state;
	uint32_t held; /* the packet */
	union hull_sockaddr from, to;
	unsigned round; /* of the timer, when it was COMING */
	bool broken;    /* the host has reset it meanwhile */
	struct relay *next, *prev;
};

static struct hull_watch listeners[2];
static size_t relays;
static struct relay *without_socket;
static struct hull_timer coming;
static unsigned coming_round;
static bool coming_watched;

static void relay_list_del(struct relay *r)
{
	if (r->state == TAKEN)
		return;
	*(r->prev ? &r->prev->next : &without_socket) = r->next;
	if (r->next)
		r->next->prev = r->prev;
	r->state = TAKEN;
}

static void relay_free(struct relay *r, bool reset)
{
	static const struct linger now = {.l_onoff = 1, .l_linger = 0};
	relay_list_del(r);
	hull_watch_del(&r->watch);
	if (reset && r->fd >= 0)
		setsockopt(r->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	if (r->fd >= 0)
		close(r->fd);
	hull_buf_free(&r->pending);
	free(r);
	relays--;
}

/* The socket broke: tell the host. Frees r. */
static void broke(struct relay *r, int error)
{
	if (r->stream.id)
		hull_wire_reset(hull_wire, r->stream.id, error == EPIPE ? ECONNRESET : error, strerror(error));
	else
		relay_free(r, true);
}

static void relay_grant(struct relay *r, size_t n)
{
	if (r->stream.id && n > 0)
		hull_wire_grant(hull_wire, r->stream.id, n);
}

/* From the program to the host. False: r is gone. */
static bool pump_up(struct relay *r)
{
	static uint8_t chunk[CHUNK];
	while (r->can_read && !r->read_done && r->stream.id) {
		size_t room = hull_wire_writable(hull_wire, r->stream.id);
		if (room == 0)
			return true; /* relay_on_writable() goes on */
		size_t want = room < sizeof(chunk) ? room : sizeof(chunk);
		ssize_t n = read(r->fd, chunk, want);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			r->can_read = false;
		} else if (n < 0) {
			broke(r, errno);
			return false;
		} else if (n > 0) {
			hull_wire_write(hull_wire, r->stream.id, HULL_CHANNEL_MAIN, chunk, (size_t)n);
			/* Less than there was room for: there is no more, and what comes is a new event. An end that
			 * came with this one has none. */
			r->can_read = (size_t)n == want || r->ending;
		} else {
			/* The last EOF of the two closes the stream, and r with it unless something is pending. */
			bool last = r->host_done;
			bool stays = r->pending.len > 0;
			r->read_done = true;
			hull_wire_eof(hull_wire, r->stream.id);
			return !last || stays;
		}
	}
	return true;
}

/* From the host to the program. Bytes taken, or -1: r is gone. */
static ssize_t relay_put(struct relay *r, const uint8_t *p, size_t n)
{
	size_t done = 0;
	while (r->can_write && done < n) {
		ssize_t w = write(r->fd, p + done, n - done);
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0 && errno == EAGAIN) {
			r->can_write = false;
		} else if (w < 0) {
			broke(r, errno);
			return -1;
		} else {
			done += (size_t)w;
		}
	}
	relay_grant(r, done);
	return (ssize_t)done;
}

/* All the host sent is written: pass its end on. False: r is gone. */
static bool relay_finish(struct relay *r)
{
	if (!r->host_done || r->pending.len > 0)
		return true;
	if (r->fd < 0)
		return true;
	if (!r->stream.id) {
		relay_free(r, false);
		return false;
	}
	shutdown(r->fd, SHUT_WR);
	return true;
}

static void relay_ready(struct hull_watch *w, uint32_t events)
{
	struct relay *r = container_of(w, struct relay, watch);
	if (events & EPOLLERR) {
		int error = 0;
		socklen_t n = sizeof(error);
		if (getsockopt(r->fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0 || error == 0)
			error = ECONNRESET;
		broke(r, error);
		return;
	}
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP))
		r->can_read = true;
	if (events & (EPOLLRDHUP | EPOLLHUP))
		r->ending = true;
	if (events & EPOLLOUT)
		r->can_write = true;
	if (r->pending.len > 0) {
		ssize_t n = relay_put(r, hull_buf_bytes(&r->pending), r->pending.len);
		if (n < 0)
			return;
		hull_buf_drain(&r->pending, (size_t)n);
		if (!relay_finish(r))
			return;
	}
	pump_up(r);
}

/* --- the stream's events --- */

static void relay_on_data(void *user, unsigned channel, const uint8_t *p, size_t n)
{
	struct relay *r = user;
	ssize_t done = r->pending.len == 0 ? relay_put(r, p, n) : 0;
	if (done >= 0 && (size_t)done < n && hull_buf_add(&r->pending, p + done, n - (size_t)done) < 0)
		broke(r, ENOMEM);
}

static void relay_on_writable(void *user)
{
	pump_up(user);
}

static void relay_on_eof(void *user)
{
	struct relay *r = user;
	r->host_done = true;
	relay_finish(r); /* the stream is still there: `closed` comes after this when it was the last EOF */
}

static void relay_give_up(struct hull_timer *t)
{
	struct relay *r = without_socket;
	bool more = false;
	coming_round++;
	while (r) {
		struct relay *next = r->next;
		if (r->state == COMING && coming_round - r->round > 1) {
			if (r->stream.id) /* it is still there afterwards */
				hull_wire_reset(hull_wire, r->stream.id, ECONNRESET, "the program has gone away");
			relay_free(r, true);
		} else {
			more = more || r->state == COMING;
		}
		r = next;
	}
	coming_watched = more && hull_timer_start(t, COMING_MS, relay_give_up) == 0;
}

static void relay_on_accepted(void *user, const uint8_t *args, size_t len)
{
	struct relay *r = user;
	if (r->state != HELD)
		return;
	r->state = COMING;
	r->round = coming_round;
	if (!coming_watched)
		coming_watched = hull_timer_start(&coming, COMING_MS, relay_give_up) == 0;
	hull_hold_answer(r->held, HULL_HOLD_GO);
}

static void relay_on_closed(void *user, int code, const char *message)
{
	struct relay *r = user;
	r->stream.id = 0;
	if (r->state == COMING) {
		r->broken = code != 0;
		return; /* relay_take() tells the program, relay_give_up() ends it */
	}
	if (r->state == HELD)
		hull_hold_answer(r->held, hull_hold_of(code));
	if (code == 0 && r->pending.len > 0)
		return; /* relay_ready() writes the rest */
	relay_free(r, code != 0);
}

static const struct hull_stream_ops relay_ops = {
	.accepted = relay_on_accepted,
	.data = relay_on_data,
	.writable = relay_on_writable,
	.eof = relay_on_eof,
	.closed = relay_on_closed,
};

/* --- new connections --- */

/* Where the program wanted to go. */
static int relay_original(int fd, int family, union hull_sockaddr *to)
{
	union hull_sockaddr self;
	socklen_t n = sizeof(*to);
	memset(to, 0, sizeof(*to));
	if (getsockopt(fd, family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP, ORIGINAL_DST, to, &n) < 0)
		return -errno;
	hull_link_address(family, 0, &self);
	return to->any.sa_family != family || hull_sockaddr_same(to, &self) ? -ECONNREFUSED : 0;
}

static struct relay *relay_new(int fd)
{
	struct relay *r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	relays++;
	r->stream.ops = &relay_ops;
	r->fd = fd;
	r->watch.fd = -1;
	return r;
}

static bool relay_same_place(const union hull_sockaddr *a, const union hull_sockaddr *b)
{
	return hull_sockaddr_same(a, b) && hull_sockaddr_port(a) == hull_sockaddr_port(b);
}

/* The relay that waits for a connection from one place to another. */
static struct relay *expected(const union hull_sockaddr *from, const union hull_sockaddr *to)
{
	struct relay *alike = NULL;
	for (struct relay *r = without_socket; r; r = r->next) {
		if (r->state != COMING || !relay_same_place(&r->to, to) || !hull_sockaddr_same(&r->from, from))
			continue;
		if (hull_sockaddr_port(&r->from) == hull_sockaddr_port(from))
			return r;
		alike = r;
	}
	return alike;
}

static void relay_held(uint32_t id, const union hull_sockaddr *from, const union hull_sockaddr *to)
{
	for (struct relay *r = without_socket; r; r = r->next)
		if (relay_same_place(&r->from, from) && relay_same_place(&r->to, to)) {
			/* The program's kernel has sent it again. */
			hull_hold_answer(id, r->state == HELD ? HULL_HOLD_FORGET : HULL_HOLD_GO);
			return;
		}
	struct relay *r = relays < RELAYS_MAX ? relay_new(-1) : NULL;
	if (!r) {
		hull_hold_answer(id, HULL_HOLD_REFUSED);
		return;
	}
	r->held = id;
	r->from = *from;
	r->to = *to;
	int e = hull_link_ask(HULL_SVC_CONNECT, to, r, &r->stream.id);
	if (e < 0) {
		relay_free(r, false);
		hull_hold_answer(id, hull_hold_of(e));
		return;
	}
	r->state = HELD;
	r->next = without_socket;
	if (r->next)
		r->next->prev = r;
	without_socket = r;
}

/* The socket of a relay is there. */
static void relay_attach(struct relay *r)
{
	if (!r->stream.id && (r->broken || r->pending.len == 0)) {
		relay_free(r, r->broken);
		return;
	}
	if (hull_watch_add(&r->watch, r->fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, relay_ready) == 0) {
		if (r->host_done)
			relay_finish(r);
	} else if (r->stream.id) {
		hull_wire_reset(hull_wire, r->stream.id, ENOMEM, "out of memory in the sandbox"); /* frees r */
	} else {
		relay_free(r, true);
	}
}

static void relay_take(int fd, const union hull_sockaddr *from)
{
	union hull_sockaddr to;
	int e = relay_original(fd, from->any.sa_family, &to);
	struct relay *r = e == 0 ? expected(from, &to) : NULL;
	if (r) {
		relay_list_del(r);
		r->fd = fd;
		relay_attach(r);
		return;
	}
	r = relay_new(fd);
	if (!r)
		close(fd);
	else if (relays > RELAYS_MAX || e < 0 || hull_link_ask(HULL_SVC_CONNECT, &to, r, &r->stream.id) < 0)
		relay_free(r, true);
	else
		relay_attach(r);
}

static void relay_accept_ready(struct hull_watch *w, uint32_t events)
{
	for (int i = 0; i < ACCEPTS_MAX; i++) {
		union hull_sockaddr from = {0};
		socklen_t n = sizeof(from);
		int fd = accept4(w->fd, &from.any, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0)
			return;
		relay_take(fd, &from);
	}
}

/* What accepted sockets inherit. A container that is killed takes its half of a connection along without a word. */
static void set_options(int fd)
{
	static const int one = 1, idle = ALIVE_IDLE_S, every = ALIVE_EVERY_S, tries = ALIVE_TRIES;
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof(every));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &tries, sizeof(tries));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

void hull_relay_hold(void)
{
	hull_hold_start(relay_held);
}

void hull_relay_start(void)
{
	static const int families[] = {AF_INET, AF_INET6};
	for (int i = 0; i < 2; i++) {
		struct hull_error err = {0};
		int fd = hull_link_socket(families[i], SOCK_STREAM, HULL_PORT_RELAY, &err);
		if (fd < 0 || hull_watch_add(&listeners[i], fd, EPOLLIN, relay_accept_ready) < 0)
			hull_say("network: %s", err.msg);
		else
			set_options(fd);
	}
}
