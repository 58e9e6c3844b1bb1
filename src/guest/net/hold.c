/* SPDX-License-Identifier: Apache-2.0 */
/* Holding a connection's first packet until the host has answered; see hold.h.
 *
 *     SYN -> rule `queue` -> netlink -> hull_hold_answer() -> mark -> the next chain:
 *                                                                     turn it to the relay, or reject it
 *
 * The rules (nft.c) hand each SYN that would leave by hull0 to us, through nfnetlink_queue, before anything else is
 * done about it. What the host says decides: accepted, the packet goes on as if nothing had been and is turned to the
 * relay's socket; refused, it goes on with a mark, for which the next chain sends the reset or the ICMP error, so that
 * the kernel makes them and containers get theirs too. The program waits in connect(2), for as long as the host takes.
 *
 * The queue is a netlink socket, spoken to by hand. Without it (a kernel without the module, a queue that is full) the
 * rules let everything through, and the relay asks the host about connections it has taken, as it can do as well. */
#include "guest/net/hold.h"

#include "base/cleanup.h"
#include "guest/core/core.h"
#include "guest/core/loop.h"

#include <arpa/inet.h>
#include <string.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>

enum { MESSAGE = 128, COPIED = 128, WAITING_MAX = 4096, READS_MAX = 64, RECEIVE = 1 << 20 };

static struct hull_watch queue = {.fd = -1};
static void (*on_held)(uint32_t id, const union hull_sockaddr *from, const union hull_sockaddr *to);

struct message {
	struct nlmsghdr h;
	struct nfgenmsg g;
	uint8_t rest[MESSAGE];
};

static struct message hold_start(uint16_t type, bool ack)
{
	return (struct message){.h = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct nfgenmsg)),
				      .nlmsg_type = (uint16_t)(NFNL_SUBSYS_QUEUE << 8 | type),
				      .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | (ack ? NLM_F_ACK : 0))},
				.g = {.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0, .res_id = htons(HULL_QUEUE)}};
}

static void hold_add(struct message *m, uint16_t type, const void *p, size_t n)
{
	struct nlattr a = {.nla_len = (uint16_t)(NLA_HDRLEN + n), .nla_type = type};
	uint8_t *at = (uint8_t *)m + m->h.nlmsg_len;
	memcpy(at, &a, sizeof(a));
	memcpy(at + NLA_HDRLEN, p, n);
	m->h.nlmsg_len += (uint32_t)NLA_ALIGN(NLA_HDRLEN + n);
}

void hull_hold_answer(uint32_t id, enum hull_hold what)
{
	struct nfqnl_msg_verdict_hdr verdict = {.verdict = htonl(what == HULL_HOLD_FORGET ? NF_DROP : NF_ACCEPT),
						.id = htonl(id)};
	static const uint32_t marks[] = {[HULL_HOLD_REFUSED] = HULL_MARK_REFUSED,
					 [HULL_HOLD_PROHIBITED] = HULL_MARK_PROHIBITED,
					 [HULL_HOLD_NO_WAY] = HULL_MARK_NO_WAY};
	struct message m = hold_start(NFQNL_MSG_VERDICT, false);
	hold_add(&m, NFQA_VERDICT_HDR, &verdict, sizeof(verdict));
	if (what == HULL_HOLD_REFUSED || what == HULL_HOLD_PROHIBITED || what == HULL_HOLD_NO_WAY) {
		uint32_t mark = htonl(marks[what]);
		hold_add(&m, NFQA_MARK, &mark, sizeof(mark));
	}
	/* The kernel carries it out before this returns; what it does not know any more was dropped. */
	if (send(queue.fd, &m, m.h.nlmsg_len, MSG_DONTWAIT) < 0 && errno != ENOENT)
		hull_say("network: a held connection cannot be answered: %s", strerror(errno));
}

/* One message of the kernel's: it wrote it, only the packet inside is a program's. */
static void packet(const uint8_t *p, size_t n)
{
	const uint8_t *payload = NULL;
	size_t len = 0, at = NLMSG_LENGTH(sizeof(struct nfgenmsg));
	uint32_t id = 0;
	bool known = false;
	while (at + NLA_HDRLEN <= n) {
		struct nlattr a;
		memcpy(&a, p + at, sizeof(a));
		if (a.nla_len < NLA_HDRLEN || a.nla_len > n - at)
			break;
		const uint8_t *value = p + at + NLA_HDRLEN;
		size_t size = a.nla_len - (size_t)NLA_HDRLEN;
		if ((a.nla_type & NLA_TYPE_MASK) == NFQA_PACKET_HDR && size >= sizeof(id)) {
			memcpy(&id, value, sizeof(id));
			id = ntohl(id);
			known = true;
		} else if ((a.nla_type & NLA_TYPE_MASK) == NFQA_PAYLOAD) {
			payload = value;
			len = size;
		}
		at += NLA_ALIGN(a.nla_len);
	}
	union hull_sockaddr from, to;
	if (!known)
		return;
	if (payload && hull_hold_parse(payload, len, &from, &to))
		on_held(id, &from, &to);
	else
		hull_hold_answer(id, HULL_HOLD_GO);
}

static void hold_ready(struct hull_watch *w, uint32_t events)
{
	static uint8_t b[4096] __attribute__((aligned(8)));
	for (int i = 0; i < READS_MAX; i++) {
		ssize_t n = recv(w->fd, b, sizeof(b), MSG_DONTWAIT);
		if (n < 0 && (errno == ENOBUFS || errno == EINTR))
			continue; /* some were lost: the rules let them through, or they come again */
		if (n < 0)
			return;
		for (size_t at = 0; at + NLMSG_HDRLEN <= (size_t)n;) {
			struct nlmsghdr h;
			memcpy(&h, b + at, sizeof(h));
			if (h.nlmsg_len < NLMSG_HDRLEN || h.nlmsg_len > (size_t)n - at)
				break;
			if (h.nlmsg_type == (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET))
				packet(b + at, h.nlmsg_len);
			at += NLMSG_ALIGN(h.nlmsg_len);
		}
	}
}

/* Send, and wait for the kernel's word on it, which is there when send() returns. */
static int hold_ask(int fd, const struct message *m)
{
	struct {
		struct nlmsghdr h;
		struct nlmsgerr e;
		uint8_t rest[MESSAGE];
	} answer;
	if (send(fd, m, m->h.nlmsg_len, 0) < 0)
		return -errno;
	ssize_t n = recv(fd, &answer, sizeof(answer), MSG_DONTWAIT);
	if (n < 0)
		return -errno;
	if (n < (ssize_t)(sizeof(answer.h) + sizeof(answer.e.error)) || answer.h.nlmsg_type != NLMSG_ERROR)
		return -EPROTO;
	return answer.e.error;
}

static int bind_queue(int fd)
{
	struct nfqnl_msg_config_cmd bind = {.command = NFQNL_CFG_CMD_BIND};
	struct nfqnl_msg_config_params params = {.copy_range = htonl(COPIED), .copy_mode = NFQNL_COPY_PACKET};
	uint32_t length = htonl(WAITING_MAX), open = htonl(NFQA_CFG_F_FAIL_OPEN);
	struct message m = hold_start(NFQNL_MSG_CONFIG, true);
	hold_add(&m, NFQA_CFG_CMD, &bind, sizeof(bind));
	int r = hold_ask(fd, &m);
	if (r < 0)
		return r;
	m = hold_start(NFQNL_MSG_CONFIG, true);
	hold_add(&m, NFQA_CFG_PARAMS, &params, sizeof(params));
	hold_add(&m, NFQA_CFG_QUEUE_MAXLEN, &length, sizeof(length));
	hold_add(&m, NFQA_CFG_FLAGS, &open, sizeof(open));
	hold_add(&m, NFQA_CFG_MASK, &open, sizeof(open));
	return hold_ask(fd, &m);
}

void hull_hold_start(void (*held)(uint32_t id, const union hull_sockaddr *from, const union hull_sockaddr *to))
{
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_NETFILTER);
	int size = RECEIVE;
	int r = fd < 0 ? -errno : bind_queue(fd);
	if (r == 0) {
		on_held = held;
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
		r = hull_watch_add(&queue, fd, EPOLLIN, hold_ready);
	}
	if (r < 0) {
		hull_say("network: connections are taken before the host has made them (nfnetlink_queue): %s",
			 strerror(-r));
		return;
	}
	(void)hull_steal_fd(&fd);
}
