/* SPDX-License-Identifier: Apache-2.0 */
/* See netlink.h. */
#include "guest/net/netlink.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

static const uint32_t INVALID = UINT32_MAX; /* as the length of a request */

/* n bytes more, zero as far as they are padding. */
static uint8_t *room(union hull_netlink *m, size_t n)
{
	size_t at = m->h.nlmsg_len, padded = NLMSG_ALIGN(n);
	if (n > sizeof(m->bytes) || at > sizeof(m->bytes) - padded) {
		m->h.nlmsg_len = INVALID;
		return NULL;
	}
	memset(m->bytes + at, 0, padded);
	m->h.nlmsg_len += (uint32_t)padded;
	return m->bytes + at;
}

void hull_netlink_begin(union hull_netlink *m, uint16_t type, uint16_t flags, const void *head, size_t n)
{
	m->h = (struct nlmsghdr){
		.nlmsg_len = NLMSG_HDRLEN, .nlmsg_type = type, .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags)};
	uint8_t *at = room(m, n);
	if (at)
		memcpy(at, head, n);
}

size_t hull_netlink_add(union hull_netlink *m, uint16_t type, const void *p, size_t n)
{
	const struct nlattr a = {.nla_type = type, .nla_len = (uint16_t)(NLA_HDRLEN + n)};
	uint8_t *at = n <= sizeof(m->bytes) ? room(m, NLA_HDRLEN + n) : room(m, SIZE_MAX);
	if (!at)
		return 0;
	memcpy(at, &a, sizeof(a));
	if (n)
		memcpy(at + NLA_HDRLEN, p, n);
	return (size_t)(at - m->bytes);
}

void hull_netlink_end(union hull_netlink *m, size_t nested)
{
	struct nlattr a;
	if (m->h.nlmsg_len == INVALID)
		return;
	memcpy(&a, m->bytes + nested, sizeof(a));
	a.nla_len = (uint16_t)(m->h.nlmsg_len - nested);
	memcpy(m->bytes + nested, &a, sizeof(a));
}

int hull_netlink_send(int fd, const union hull_netlink *m, int flags)
{
	if (m->h.nlmsg_len == INVALID)
		return -EMSGSIZE;
	return send(fd, m->bytes, m->h.nlmsg_len, flags) < 0 ? -errno : 0;
}

int hull_netlink_ask(int fd, const union hull_netlink *m, int flags)
{
	struct {
		struct nlmsghdr h;
		struct nlmsgerr e;
		uint8_t rest[sizeof(m->bytes)]; /* our own request, which the kernel repeats */
	} answer;
	int r = hull_netlink_send(fd, m, 0);
	ssize_t n = r < 0 ? r : recv(fd, &answer, sizeof(answer), flags);
	if (n < 0)
		return r < 0 ? r : -errno;
	if (n < (ssize_t)(sizeof(answer.h) + sizeof(answer.e.error)) || answer.h.nlmsg_type != NLMSG_ERROR)
		return -EPROTO;
	return answer.e.error;
}

struct hull_cur hull_netlink_find(struct hull_cur c, uint16_t type)
{
	while (hull_cur_left(&c) >= NLA_HDRLEN) {
		uint16_t len = hull_cur_le16(&c);
		uint16_t t = hull_cur_le16(&c) & NLA_TYPE_MASK;
		const uint8_t *p = len < NLA_HDRLEN ? NULL : hull_cur_take(&c, len - (size_t)NLA_HDRLEN);
		if (!p)
			break;
		if (t == type)
			return hull_cur_make(p, len - (size_t)NLA_HDRLEN);
		size_t pad = NLA_ALIGN(len) - (size_t)len;
		hull_cur_take(&c, pad < hull_cur_left(&c) ? pad : hull_cur_left(&c));
	}
	return hull_cur_make("", 0);
}
