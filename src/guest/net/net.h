/* SPDX-License-Identifier: Apache-2.0 */
/* The network that is not there: the guest has no card, and what would leave it becomes streams to the host.
 *
 *     net.c     the link hull0 and its routes        nft.c   the rules that send what would leave by it to us
 *     hold.c    connections not answered yet         relay.c   TCP        dns.c   questions        udp.c   datagrams
 *     dial.c    the other way: connections from the host to sockets in the guest
 *
 * link.h has the numbers, addresses and sockets that these share (link.c). docs/internals/guest.md tells the whole. */
#ifndef HULL_GUEST_NET_H
#define HULL_GUEST_NET_H

#include <stddef.h>
#include <stdint.h>

/* Start it all, before the root's programs. It goes on beside the rest of the boot. */
void hull_net_start(void);
/* Call `ready` once the network is up, or has failed to be: at once when that is so already. */
void hull_net_when_ready(void (*ready)(void));
/* The service dial. */
void hull_dial_open(uint32_t stream, const uint8_t *args, size_t len);

#endif
