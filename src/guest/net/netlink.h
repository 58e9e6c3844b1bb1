/* SPDX-License-Identifier: Apache-2.0 */
/* Netlink, by hand: requests to the kernel put together attribute by attribute, and what it answers.
 *
 * An attribute is a length, a type and a value, padded to four bytes; rtnetlink's `struct rtattr` and nfnetlink's
 * `struct nlattr` are the same. */
#ifndef HULL_GUEST_NETLINK_H
#define HULL_GUEST_NETLINK_H

#include "base/bytes.h"

#include <stddef.h>
#include <stdint.h>
#include <linux/netlink.h>

/* One request. */
union hull_netlink {
	struct nlmsghdr h;
	uint8_t bytes[512];
};

/* Begin one whose own header, behind netlink's, is `head`; NLM_F_REQUEST is added to the flags. */
void hull_netlink_begin(union hull_netlink *m, uint16_t type, uint16_t flags, const void *head, size_t n);
/* Add an attribute; its offset, 0 when it does not fit. One that holds others is added without a value, and closed by
 * hull_netlink_end() after they were added. A request in which something did not fit is not sent (-EMSGSIZE). */
size_t hull_netlink_add(union hull_netlink *m, uint16_t type, const void *p, size_t n);
void hull_netlink_end(union hull_netlink *m, size_t nested);

/* Send it; 0 or -errno. */
int hull_netlink_send(int fd, const union hull_netlink *m, int flags);
/* Send it, and take the kernel's word on it (NLM_F_ACK): 0 or -errno. `flags` of recv(2): the answer is there when
 * send() returns, so MSG_DONTWAIT will do. */
int hull_netlink_ask(int fd, const union hull_netlink *m, int flags);

/* The value of the first attribute of a type at the cursor's level; an empty cursor when there is none. */
struct hull_cur hull_netlink_find(struct hull_cur c, uint16_t type);

#endif
