/* SPDX-License-Identifier: Apache-2.0 */
/* The DNS server on hull0's address, UDP and TCP, both families: every question becomes a stream `resolve` to the host.
 *
 * The rules (nft.c) bring port 53 here. dns_message.c reads the question and says whether the host is to be asked at
 * all; the host answers with synthetic addresses. At most ASKED_MAX questions are open at the host; up to WAITING_MAX
 * more wait for their turn, in order; beyond that a question is dropped, and whoever asked asks again.
 *
 * A question over UDP remembers its asker's address, one over TCP its connection. TCP connections (CLIENTS_MAX; the
 * oldest goes for a new one) are answered one question at a time, in order, and read from only in between. */
#include "guest/net/link.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/list.h"
#include "guest/net/dns_message.h"
#include "guest/core/core.h"
#include "guest/core/loop.h"
#include "wire/args.h"
#include "wire/service.h"
#include "wire/wire.h"

#include <arpa/inet.h>
#include <string.h>

enum {
	ASKED_MAX = 256,
	WAITING_MAX = 2048,
	CLIENTS_MAX = 128,
	PACKETS_MAX = 64,
};

struct client { /* of TCP */
	struct hull_watch watch;
	int fd;
	bool can_read;             /* as far as the last event or call told; the watch is edge-triggered */
	bool read_done;            /* it has sent its FIN */
	struct question *question; /* the one it waits for */
	struct hull_buf in, out;
	struct list_node place; /* in `clients` */
};

struct question {
	struct hull_stream stream;
	struct hull_dns_query query;
	struct client *client; /* NULL: UDP, or the client has gone (then socket is -1) */
	int socket;            /* UDP: borrowed; -1 otherwise */
	union hull_sockaddr from;
	bool answered;
	struct list_node place; /* in `waiting` */
};

static struct hull_watch datagrams[2], listeners[2];
static struct list_node waiting = {&waiting, &waiting};
static size_t waiting_count, asked_count;
static struct list_node clients = {&clients, &clients}; /* oldest first */
static size_t client_count;

static void client_step(struct client *c);

/* --- answers --- */

static void send_udp(int fd, const union hull_sockaddr *to, const struct hull_dns_query *query,
		     enum hull_dns_rcode rcode, const struct hull_dns_addresses *addresses)
{
	uint8_t out[HULL_DNS_UDP_MAX];
	size_t n = hull_dns_build(query, rcode, addresses, out, query->size);
	/* What the socket does not take is lost, as datagrams are. */
	ssize_t sent = sendto(fd, out, n, MSG_DONTWAIT, &to->any, hull_sockaddr_len(to));
	(void)sent;
}

static void send_tcp(struct client *c, const struct hull_dns_query *query, enum hull_dns_rcode rcode,
		     const struct hull_dns_addresses *addresses)
{
	uint8_t out[2 + HULL_DNS_UDP_MAX];
	size_t n = hull_dns_build(query, rcode, addresses, out + 2, HULL_DNS_UDP_MAX);
	out[0] = (uint8_t)(n >> 8);
	out[1] = (uint8_t)n;
	hull_buf_add(&c->out, out, n + 2); /* without memory: the client asks again */
}

static void dns_answer(struct question *q, enum hull_dns_rcode rcode, const struct hull_dns_addresses *addresses)
{
	if (q->answered)
		return;
	q->answered = true;
	if (q->client)
		send_tcp(q->client, &q->query, rcode, addresses);
	else if (q->socket >= 0)
		send_udp(q->socket, &q->from, &q->query, rcode, addresses);
}

static void ask_more(void);

/* The end of a question that does not wait. */
static void question_free(struct question *q)
{
	struct client *c = q->client;
	free(q);
	if (c) {
		c->question = NULL;
		client_step(c);
	}
}

/* --- the stream's events --- */

static void dns_on_accepted(void *user, const uint8_t *args, size_t len)
{
	struct question *q = user;
	struct hull_dns_addresses a = {0};
	struct hull_cur cur = hull_cur_make(args, len);
	struct hull_arg arg;
	int family = q->query.qtype == HULL_DNS_AAAA ? AF_INET6 : AF_INET;
	while (hull_args_next(&cur, &arg)) {
		if (arg.tag == HULL_TAG_TTL) {
			a.ttl = hull_arg_u32(&arg);
		} else if (arg.tag == HULL_TAG_ADDRESS && a.count < HULL_DNS_ANSWERS_MAX) {
			_cleanup_free_ char *text = hull_arg_str(&arg);
			if (text && inet_pton(family, text, a.bytes[a.count]) == 1)
				a.count++;
		}
	}
	dns_answer(q, HULL_DNS_NOERROR, &a);
}

static enum hull_dns_rcode rcode_of(int code)
{
	switch (code) {
	case -ENOENT:
		return HULL_DNS_NXDOMAIN;
	case -EACCES:
	case -ENOSYS: /* a host that has no network to offer */
		return HULL_DNS_REFUSED;
	case -EINVAL:
		return HULL_DNS_FORMERR;
	default:
		return HULL_DNS_SERVFAIL;
	}
}

static void dns_on_closed(void *user, int code, const char *message)
{
	struct question *q = user;
	dns_answer(q, rcode_of(code), NULL);
	asked_count--;
	question_free(q);
	ask_more();
}

static const struct hull_stream_ops question_ops = {.accepted = dns_on_accepted, .closed = dns_on_closed};

static int dns_ask_host(struct question *q)
{
	_cleanup_(hull_buf_free) struct hull_buf args = {0};
	int r = hull_args_put_str(&args, HULL_TAG_NAME, q->query.name);
	if (r == 0)
		r = hull_args_put_u32(&args, HULL_TAG_QTYPE, q->query.qtype);
	return r < 0 ? r : hull_port_ask(HULL_SVC_RESOLVE, &args, q, &q->stream.id);
}

/* The wire's callbacks come from wherever it is called, so a closed stream may call this amid itself: once is enough.
 */
static void ask_more(void)
{
	static bool busy;
	if (busy)
		return;
	busy = true;
	while (!list_empty(&waiting) && asked_count < ASKED_MAX) {
		struct question *q = container_of(waiting.next, struct question, place);
		list_del(&q->place);
		waiting_count--;
		asked_count++;
		if (dns_ask_host(q) == 0) {
			hull_wire_eof(hull_wire, q->stream.id);
			continue;
		}
		asked_count--;
		dns_answer(q, HULL_DNS_SERVFAIL, NULL);
		question_free(q);
	}
	busy = false;
}

/* Take a message; false when its sender is not to be listened to any more. */
static bool dns_take(const uint8_t *p, size_t n, struct client *c, int fd, const union hull_sockaddr *from)
{
	struct hull_dns_query query;
	enum hull_dns_rcode rcode;
	int r = hull_dns_parse(p, n, &query, &rcode);
	if (r == HULL_DNS_DROP)
		return false;
	if (r == HULL_DNS_ANSWER) {
		if (c)
			send_tcp(c, &query, rcode, NULL);
		else
			send_udp(fd, from, &query, rcode, NULL);
		return true;
	}
	struct question *q = waiting_count < WAITING_MAX ? calloc(1, sizeof(*q)) : NULL;
	if (!q)
		return true;
	q->stream.ops = &question_ops;
	q->query = query;
	q->client = c;
	q->socket = fd;
	if (from)
		q->from = *from;
	if (c)
		c->question = q;
	list_add(&waiting, &q->place);
	waiting_count++;
	return true;
}

/* --- UDP --- */

static void datagram_ready(struct hull_watch *w, uint32_t events)
{
	uint8_t p[HULL_DNS_UDP_MAX];
	for (int i = 0; i < PACKETS_MAX; i++) {
		union hull_sockaddr from = {0};
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(w->fd, p, sizeof(p), MSG_DONTWAIT, &from.any, &len);
		if (n < 0)
			break;
		dns_take(p, (size_t)n, NULL, w->fd, &from);
	}
	ask_more();
}

/* --- TCP --- */

static void client_free(struct client *c)
{
	if (c->question) {
		c->question->client = NULL;
		c->question->socket = -1;
	}
	list_del(&c->place);
	client_count--;
	hull_watch_del(&c->watch);
	close(c->fd);
	hull_buf_free(&c->in);
	hull_buf_free(&c->out);
	free(c);
}

static bool would_block(ssize_t n)
{
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

/* Read what has come. False: c is of no more use. */
static bool client_read(struct client *c)
{
	uint8_t p[1024];
	ssize_t n = recv(c->fd, p, sizeof(p), 0);
	if (would_block(n))
		c->can_read = errno == EINTR;
	else if (n <= 0)
		c->read_done = n == 0;
	else
		return hull_buf_add(&c->in, p, (size_t)n) == 0;
	return n == 0 || would_block(n);
}

/* The next message in c->in: 1 = taken, 0 = not there as a whole yet, -1 = c is of no more use. */
static int dns_client_message(struct client *c)
{
	const uint8_t *p = hull_buf_bytes(&c->in);
	size_t n = c->in.len < 2 ? 0 : 2 + ((size_t)p[0] << 8 | p[1]);
	if (n == 0 || c->in.len < n)
		return 0;
	bool ok = dns_take(p + 2, n - 2, c, -1, NULL);
	hull_buf_drain(&c->in, n);
	return ok ? 1 : -1;
}

/* Go on until there is something to wait for. May free c. */
static void client_step(struct client *c)
{
	for (;;) {
		if (c->out.len > 0) {
			ssize_t n = send(c->fd, hull_buf_bytes(&c->out), c->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
			if (would_block(n))
				return;
			if (n < 0)
				break;
			hull_buf_drain(&c->out, (size_t)n);
			continue;
		}
		if (c->question)
			return;
		int r = dns_client_message(c);
		if (r > 0)
			continue;
		if (r < 0 || c->read_done)
			break;
		if (!c->can_read)
			return;
		if (!client_read(c))
			break;
	}
	client_free(c);
}

static void client_ready(struct hull_watch *w, uint32_t events)
{
	struct client *c = container_of(w, struct client, watch);
	if (events & EPOLLERR) {
		client_free(c);
		return;
	}
	c->can_read = c->can_read || (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP));
	client_step(c);
	ask_more();
}

static void dns_accept_ready(struct hull_watch *w, uint32_t events)
{
	int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct client *c = fd < 0 ? NULL : calloc(1, sizeof(*c));
	if (!c || hull_watch_add(&c->watch, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, client_ready) < 0) {
		if (fd >= 0)
			close(fd);
		free(c);
		return;
	}
	c->fd = fd;
	if (client_count >= CLIENTS_MAX)
		client_free(container_of(clients.next, struct client, place));
	list_add(&clients, &c->place);
	client_count++;
}

void hull_dns_start(void)
{
	static const int families[] = {AF_INET, AF_INET6};
	for (int i = 0; i < 2; i++) {
		struct hull_error err = {0};
		int fd = hull_link_socket(families[i], SOCK_DGRAM, HULL_PORT_DNS, &err);
		if (fd < 0 || hull_watch_add(&datagrams[i], fd, EPOLLIN, datagram_ready) < 0)
			hull_say("network: %s", err.msg);
		fd = hull_link_socket(families[i], SOCK_STREAM, HULL_PORT_DNS, &err);
		if (fd < 0 || hull_watch_add(&listeners[i], fd, EPOLLIN, dns_accept_ready) < 0)
			hull_say("network: %s", err.msg);
	}
}
