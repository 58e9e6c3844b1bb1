/* SPDX-License-Identifier: Apache-2.0 */
/* UDP flows other than DNS: each becomes a stream `datagram` to the host, which allows it only by a rule.
 *
 * A flow is one pair of local socket and destination. The rules (nft.c) bring its datagrams to one port of hull0; the
 * source address is then all that tells flows apart (conntrack sees to it that no two have the same), and conntrack is
 * asked, by netlink, where the flow was going. Answers are sent from that port, and conntrack puts the destination's
 * address back on them.
 *
 *     first datagram -> OPEN and DATA -> datagrams both ways -> idle for IDLE_S, or the host's end -> gone
 *                          \-> REFUSE: an ICMP "unreachable" to the program, so that it need not wait
 *
 * Nothing waits for credit: a datagram that does not fit is dropped. At most FLOWS_MAX flows; beyond that datagrams are
 * dropped. A flow holds at most one incomplete datagram from the host. */
#include "guest/net/link.h"

#include "base/buf.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "guest/core/core.h"
#include "guest/core/loop.h"
#include "guest/net/netlink.h"
#include "wire/service.h"
#include "wire/wire.h"

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <string.h>

enum {
	FLOWS_MAX = 256,
	BUCKETS = 256,
	IDLE_S = 120,
	SWEEP_MS = 30000,
	PACKETS_MAX = 64,
	ICMP_UNREACHABLE = 3,
	ICMP_NO_PORT = 3,
	ICMP_PROHIBITED = 13,
	ICMP6_UNREACHABLE = 1,
	ICMP6_PROHIBITED = 1,
	ICMP6_NO_PORT = 4,
};

struct flow {
	struct hull_stream stream;
	int socket; /* borrowed */
	union hull_sockaddr from;
	uint64_t used_ms;
	struct hull_buf in; /* of the host's datagrams, what has no end yet */
	struct flow *next;  /* hash chain */
};

static struct hull_watch sockets[2];
static int conntrack = -1;
static struct flow *table[BUCKETS];
static size_t flows;
static struct hull_timer sweep;

static struct flow **slot(const union hull_sockaddr *a)
{
	uint32_t h = hull_sockaddr_port(a);
	const uint8_t *p = a->any.sa_family == AF_INET6 ? a->six.sin6_addr.s6_addr : (const uint8_t *)&a->four.sin_addr;
	for (size_t i = 0; i < (a->any.sa_family == AF_INET6 ? 16 : 4); i++)
		h = h * 31 + p[i];
	return &table[h % BUCKETS];
}

static struct flow *udp_find(const union hull_sockaddr *a)
{
	struct flow *f = *slot(a);
	while (f && !(hull_sockaddr_same(&f->from, a) && hull_sockaddr_port(&f->from) == hull_sockaddr_port(a)))
		f = f->next;
	return f;
}

static void flow_free(struct flow *f)
{
	struct flow **p = slot(&f->from);
	while (*p && *p != f)
		p = &(*p)->next;
	if (*p)
		*p = f->next;
	hull_buf_free(&f->in);
	free(f);
	flows--;
}

/* --- where a flow was going --- */

static void put_address(union hull_netlink *m, bool src, const union hull_sockaddr *a)
{
	if (a->any.sa_family == AF_INET6)
		hull_netlink_add(m, src ? CTA_IP_V6_SRC : CTA_IP_V6_DST, &a->six.sin6_addr, 16);
	else
		hull_netlink_add(m, src ? CTA_IP_V4_SRC : CTA_IP_V4_DST, &a->four.sin_addr, 4);
}

/* Ask conntrack about the answers to `from`, and read which destination they are for. */
static int udp_original(const union hull_sockaddr *from, union hull_sockaddr *to)
{
	union hull_netlink request, *m = &request;
	union {
		struct nlmsghdr h;
		uint8_t bytes[4096];
	} answer;
	const uint8_t udp = IPPROTO_UDP;
	bool six = from->any.sa_family == AF_INET6;
	struct nfgenmsg general = {.nfgen_family = (uint8_t)from->any.sa_family, .version = NFNETLINK_V0};
	uint16_t self_port = htons(HULL_PORT_UDP), port = htons(hull_sockaddr_port(from));
	union hull_sockaddr self;
	hull_link_address(from->any.sa_family, 0, &self);

	hull_netlink_begin(m, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET, 0, &general, sizeof(general));
	size_t tuple = hull_netlink_add(m, CTA_TUPLE_REPLY | NLA_F_NESTED, NULL, 0);
	size_t ip = hull_netlink_add(m, CTA_TUPLE_IP | NLA_F_NESTED, NULL, 0);
	put_address(m, true, &self);
	put_address(m, false, from);
	hull_netlink_end(m, ip);
	size_t proto = hull_netlink_add(m, CTA_TUPLE_PROTO | NLA_F_NESTED, NULL, 0);
	hull_netlink_add(m, CTA_PROTO_NUM, &udp, 1);
	hull_netlink_add(m, CTA_PROTO_SRC_PORT, &self_port, 2);
	hull_netlink_add(m, CTA_PROTO_DST_PORT, &port, 2);
	hull_netlink_end(m, proto);
	hull_netlink_end(m, tuple);
	if (conntrack < 0) /* not before it is needed: the kernel loads a module for it */
		conntrack = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	int r = conntrack < 0 ? -errno : hull_netlink_send(conntrack, m, 0);
	if (r < 0)
		return r;
	/* The kernel has answered before send() returns. */
	ssize_t n = recv(conntrack, &answer, sizeof(answer), MSG_DONTWAIT);
	if (n < (ssize_t)(NLMSG_HDRLEN + sizeof(general)))
		return n < 0 ? -errno : -EPROTO;
	if (answer.h.nlmsg_type == NLMSG_ERROR)
		return -ENOENT;

	size_t skip = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(general));
	struct hull_cur all = hull_cur_make(answer.bytes + skip, (size_t)n - skip);
	struct hull_cur first = hull_netlink_find(all, CTA_TUPLE_ORIG);
	struct hull_cur address = hull_netlink_find(hull_netlink_find(first, CTA_TUPLE_IP),
						    six ? CTA_IP_V6_DST : CTA_IP_V4_DST);
	struct hull_cur to_port = hull_netlink_find(hull_netlink_find(first, CTA_TUPLE_PROTO), CTA_PROTO_DST_PORT);
	const uint8_t *a = hull_cur_take(&address, six ? 16 : 4);
	const uint8_t *p = hull_cur_take(&to_port, 2);
	if (!a || !p)
		return -EPROTO;
	memset(to, 0, sizeof(*to));
	to->any.sa_family = from->any.sa_family;
	memcpy(six ? (void *)&to->six.sin6_addr : &to->four.sin_addr, a, six ? 16 : 4);
	memcpy(six ? &to->six.sin6_port : &to->four.sin_port, p, 2);
	return hull_sockaddr_same(to, &self) ? -ECONNREFUSED : 0;
}

/* --- the word to a program that its flow is not to be --- */

static uint16_t checksum(const uint8_t *p, size_t n)
{
	uint32_t sum = 0;
	for (size_t i = 0; i + 1 < n; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void set16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* What the kernel sends when nobody listens: ICMP with the start of the datagram as it came here. Conntrack knows it
 * for part of the flow, and puts the addresses that the program knows in. */
static void unreachable(const struct flow *f, bool prohibited)
{
	bool six = f->from.any.sa_family == AF_INET6;
	uint8_t m[8 + 40 + 8] = {0};
	size_t n = six ? sizeof(m) : 8 + 20 + 8;
	uint8_t *ip = m + 8, *udp = m + n - 8;
	union hull_sockaddr to = f->from;
	union hull_sockaddr self;
	hull_link_address(f->from.any.sa_family, 0, &self);
	_cleanup_close_ int fd = socket(f->from.any.sa_family, SOCK_RAW | SOCK_CLOEXEC,
					six ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
	if (fd < 0 || bind(fd, &self.any, hull_sockaddr_len(&self)) < 0)
		return;
	set16(udp, hull_sockaddr_port(&f->from));
	set16(udp + 2, HULL_PORT_UDP);
	set16(udp + 4, 8);
	if (six) {
		m[0] = ICMP6_UNREACHABLE;
		m[1] = prohibited ? ICMP6_PROHIBITED : ICMP6_NO_PORT; /* the kernel sums it */
		ip[0] = 0x60;
		set16(ip + 4, 8);
		ip[6] = IPPROTO_UDP;
		ip[7] = 64;
		memcpy(ip + 8, &f->from.six.sin6_addr, 16);
		memcpy(ip + 24, &self.six.sin6_addr, 16);
		to.six.sin6_port = 0;
	} else {
		m[0] = ICMP_UNREACHABLE;
		m[1] = prohibited ? ICMP_PROHIBITED : ICMP_NO_PORT;
		ip[0] = 0x45;
		set16(ip + 2, 28);
		ip[8] = 64;
		ip[9] = IPPROTO_UDP;
		memcpy(ip + 12, &f->from.four.sin_addr, 4);
		memcpy(ip + 16, &self.four.sin_addr, 4);
		set16(ip + 10, checksum(ip, 20));
		set16(m + 2, checksum(m, n));
	}
	ssize_t sent = sendto(fd, m, n, MSG_DONTWAIT, &to.any, hull_sockaddr_len(&to));
	(void)sent;
}

/* --- the stream's events --- */

static void udp_on_data(void *user, unsigned channel, const uint8_t *p, size_t n)
{
	struct flow *f = user;
	f->used_ms = hull_uptime_ms();
	if (hull_buf_add(&f->in, p, n) < 0) {
		hull_wire_reset(hull_wire, f->stream.id, ENOMEM, "out of memory in the sandbox");
		return;
	}
	hull_wire_grant(hull_wire, f->stream.id, n);
	for (;;) {
		struct hull_cur c = hull_cur_make(hull_buf_bytes(&f->in), f->in.len);
		uint16_t len = hull_cur_le16(&c);
		const uint8_t *datagram = hull_cur_take(&c, len);
		if (!datagram)
			return;
		ssize_t sent = sendto(f->socket, datagram, len, MSG_DONTWAIT, &f->from.any,
				      hull_sockaddr_len(&f->from));
		(void)sent; /* lost, as datagrams are */
		hull_buf_drain(&f->in, len + 2U);
	}
}

static void udp_on_eof(void *user)
{
	struct flow *f = user;
	hull_wire_eof(hull_wire, f->stream.id);
}

static void udp_on_closed(void *user, int code, const char *message)
{
	struct flow *f = user;
	if (code == -ECONNREFUSED)
		unreachable(f, false);
	else if (code != 0 && code != -ECANCELED && code != -ECONNRESET)
		unreachable(f, true);
	flow_free(f);
}

static const struct hull_stream_ops flow_ops = {.data = udp_on_data, .eof = udp_on_eof, .closed = udp_on_closed};

/* --- from the sandbox --- */

static void sweep_fired(struct hull_timer *t)
{
	uint64_t now = hull_uptime_ms();
	for (size_t i = 0; i < BUCKETS; i++) {
		for (struct flow *f = table[i], *next; f; f = next) {
			next = f->next;
			if (now - f->used_ms > IDLE_S * 1000ULL)
				hull_wire_reset(hull_wire, f->stream.id, ETIMEDOUT, "idle"); /* frees f */
		}
	}
	if (flows > 0)
		hull_timer_start(t, SWEEP_MS, sweep_fired);
}

static struct flow *udp_begin(int fd, const union hull_sockaddr *from)
{
	union hull_sockaddr to;
	struct flow *f = flows < FLOWS_MAX && udp_original(from, &to) == 0 ? calloc(1, sizeof(*f)) : NULL;
	if (!f)
		return NULL;
	f->stream.ops = &flow_ops;
	f->socket = fd;
	f->from = *from;
	f->next = *slot(from);
	*slot(from) = f;
	if (flows++ == 0)
		hull_timer_start(&sweep, SWEEP_MS, sweep_fired);
	if (hull_link_ask(HULL_SVC_DATAGRAM, &to, f, &f->stream.id) == 0)
		return f;
	unreachable(f, true);
	flow_free(f);
	return NULL;
}

static void udp_ready(struct hull_watch *w, uint32_t events)
{
	static uint8_t p[2 + 65536];
	for (int i = 0; i < PACKETS_MAX; i++) {
		union hull_sockaddr from;
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(w->fd, p + 2, sizeof(p) - 2, MSG_DONTWAIT, &from.any, &len);
		if (n < 0 && errno != ECONNREFUSED && errno != EHOSTUNREACH)
			return;
		struct flow *f = n < 0 || n > HULL_NET_DATAGRAM ? NULL : udp_find(&from);
		if (!f && n >= 0 && n <= HULL_NET_DATAGRAM)
			f = udp_begin(w->fd, &from);
		if (!f)
			continue;
		f->used_ms = hull_uptime_ms();
		p[0] = (uint8_t)n;
		p[1] = (uint8_t)(n >> 8);
		/* All of it or nothing, and never more than credit and queue have room for. */
		if (hull_wire_writable(hull_wire, f->stream.id) >= (size_t)n + 2)
			hull_wire_write(hull_wire, f->stream.id, HULL_CHANNEL_MAIN, p, (size_t)n + 2);
	}
}

void hull_udp_start(void)
{
	static const int families[] = {AF_INET, AF_INET6};
	for (int i = 0; i < 2; i++) {
		struct hull_error err = {0};
		int fd = hull_link_socket(families[i], SOCK_DGRAM, HULL_PORT_UDP, &err);
		if (fd < 0 || hull_watch_add(&sockets[i], fd, EPOLLIN, udp_ready) < 0)
			hull_say("network: %s", err.msg);
	}
}
