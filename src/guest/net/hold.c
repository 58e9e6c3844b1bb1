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
#include "guest/net/netlink.h"

#include <arpa/inet.h>
#include <string.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>

enum { COPIED = 128, WAITING_MAX = 4096, READS_MAX = 64, RECEIVE = 1 << 20 };

static struct hull_watch queue = {.fd = -1};
static void (*on_held)(uint32_t id, const union hull_sockaddr *from, const union hull_sockaddr *to);

static void hold_begin(union hull_netlink *m, uint16_t type, uint16_t flags)
{
	const struct nfgenmsg general = {
		.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0, .res_id = htons(HULL_QUEUE)};
	hull_netlink_begin(m, (uint16_t)(NFNL_SUBSYS_QUEUE << 8 | type), flags, &general, sizeof(general));
}

void hull_hold_answer(uint32_t id, enum hull_hold what)
{
	struct nfqnl_msg_verdict_hdr verdict = {.verdict = htonl(what == HULL_HOLD_FORGET ? NF_DROP : NF_ACCEPT),
						.id = htonl(id)};
	static const uint32_t marks[] = {[HULL_HOLD_REFUSED] = HULL_MARK_REFUSED,
					 [HULL_HOLD_PROHIBITED] = HULL_MARK_PROHIBITED,
					 [HULL_HOLD_NO_WAY] = HULL_MARK_NO_WAY};
	union hull_netlink m;
	hold_begin(&m, NFQNL_MSG_VERDICT, 0);
	hull_netlink_add(&m, NFQA_VERDICT_HDR, &verdict, sizeof(verdict));
	if (what == HULL_HOLD_REFUSED || what == HULL_HOLD_PROHIBITED || what == HULL_HOLD_NO_WAY) {
		uint32_t mark = htonl(marks[what]);
		hull_netlink_add(&m, NFQA_MARK, &mark, sizeof(mark));
	}
	/* The kernel carries it out before this returns; what it does not know any more was dropped. */
	int r = hull_netlink_send(queue.fd, &m, MSG_DONTWAIT);
	if (r < 0 && r != -ENOENT)
		hull_say("network: a held connection cannot be answered: %s", strerror(-r));
}

/* One message of the kernel's: it wrote it, only the packet inside is a program's. */
static void packet(const uint8_t *p, size_t n)
{
	size_t head = NLMSG_LENGTH(sizeof(struct nfgenmsg));
	if (n < head)
		return;
	struct hull_cur all = hull_cur_make(p + head, n - head);
	struct hull_cur about = hull_netlink_find(all, NFQA_PACKET_HDR), held = hull_netlink_find(all, NFQA_PAYLOAD);
	union hull_sockaddr from, to;
	uint32_t id;
	size_t len = hull_cur_left(&held);
	const uint8_t *number = hull_cur_take(&about, sizeof(id));
	if (!number)
		return;
	memcpy(&id, number, sizeof(id));
	id = ntohl(id);
	if (hull_hold_parse(hull_cur_take(&held, len), len, &from, &to))
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

static int bind_queue(int fd)
{
	struct nfqnl_msg_config_cmd bind = {.command = NFQNL_CFG_CMD_BIND};
	struct nfqnl_msg_config_params params = {.copy_range = htonl(COPIED), .copy_mode = NFQNL_COPY_PACKET};
	uint32_t length = htonl(WAITING_MAX), open = htonl(NFQA_CFG_F_FAIL_OPEN);
	union hull_netlink m;
	hold_begin(&m, NFQNL_MSG_CONFIG, NLM_F_ACK);
	hull_netlink_add(&m, NFQA_CFG_CMD, &bind, sizeof(bind));
	int r = hull_netlink_ask(fd, &m, MSG_DONTWAIT);
	if (r < 0)
		return r;
	hold_begin(&m, NFQNL_MSG_CONFIG, NLM_F_ACK);
	hull_netlink_add(&m, NFQA_CFG_PARAMS, &params, sizeof(params));
	hull_netlink_add(&m, NFQA_CFG_QUEUE_MAXLEN, &length, sizeof(length));
	hull_netlink_add(&m, NFQA_CFG_FLAGS, &open, sizeof(open));
	hull_netlink_add(&m, NFQA_CFG_MASK, &open, sizeof(open));
	return hull_netlink_ask(fd, &m, MSG_DONTWAIT);
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
