/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that are not answered yet: a first packet (SYN) that would leave by hull0 is held in the kernel until the
 * host has connected, so that connect(2) of a program means what it says. hold.c tells how. */
#ifndef HULL_GUEST_HOLD_H
#define HULL_GUEST_HOLD_H

#include "guest/net/link.h"

/* What becomes of a connection that is held. The program sees... */
enum hull_hold {
	HULL_HOLD_GO,         /* a connection, to the relay */
	HULL_HOLD_REFUSED,    /* ECONNREFUSED */
	HULL_HOLD_PROHIBITED, /* EHOSTUNREACH (IPv4), EACCES (IPv6) */
	HULL_HOLD_NO_WAY,     /* EHOSTUNREACH */
	HULL_HOLD_FORGET,     /* nothing of this packet, which is one too many */
};

/* The queue of the rules' is read from here on, each held connection told once. Say on the console when there is none:
 * then the kernel lets them through, and the relay's socket takes them before the host is asked. */
void hull_hold_start(void (*held)(uint32_t id, const union hull_sockaddr *from, const union hull_sockaddr *to));
void hull_hold_answer(uint32_t id, enum hull_hold what);
/* What stands for a code that the host refused a connection with (a negative errno). */
enum hull_hold hull_hold_of(int code);

/* Where a packet that begins a connection comes from and goes to; false when it is none. (hold_packet.c) */
bool hull_hold_parse(const uint8_t *p, size_t n, union hull_sockaddr *from, union hull_sockaddr *to);

#endif
