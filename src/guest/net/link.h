/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's side of the network that is not there: numbers that its parts share. docs/internals/guest.md tells the whole.
 *
 * net.c makes the link hull0 and its routes, nft.c has the rules that send what would leave by it to us, hold.c holds
 * TCP connections until the host has made them, relay.c takes them, dns.c the questions, udp.c the other datagrams. All
 * listen on hull0's own addresses only, on ports above the range that the kernel gives out, so that every port is free
 * for what runs in the sandbox. */
#ifndef HULL_GUEST_LINK_H
#define HULL_GUEST_LINK_H

#include "base/error.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#define HULL_LINK          "hull0"
#define HULL_LINK_ADDRESS4 "198.19.0.1" /* HULL_NET_GUEST4 and HULL_NET_GUEST6 without their lengths */
#define HULL_LINK_ADDRESS6 "fd68:756c:6c00:1::1"
#define HULL_PORT_DNS      61053 /* the rules send port 53 here */
#define HULL_PORT_RELAY    61080
#define HULL_PORT_UDP      61081
/* The queue of connections that are held (hold.c), and the marks of what is to be rejected, for the length of the way
 * from one chain to the next. */
#define HULL_QUEUE           61080
#define HULL_MARK_REFUSED    0x48756c01
#define HULL_MARK_PROHIBITED 0x48756c02
#define HULL_MARK_NO_WAY     0x48756c03

union hull_sockaddr {
	struct sockaddr any;
	struct sockaddr_in four;
	struct sockaddr_in6 six;
};

static inline socklen_t hull_sockaddr_len(const union hull_sockaddr *a)
{
	return a->any.sa_family == AF_INET6 ? sizeof(a->six) : sizeof(a->four);
}
static inline uint16_t hull_sockaddr_port(const union hull_sockaddr *a)
{
	/* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): the kernel filled it */
	return ntohs(a->any.sa_family == AF_INET6 ? a->six.sin6_port : a->four.sin_port);
}
/* The address without its port, as inet_ntop(3) writes it, into out (INET6_ADDRSTRLEN bytes); returns out. */
const char *hull_sockaddr_text(const union hull_sockaddr *a, char *out);
/* The same address, ports aside. */
bool hull_sockaddr_same(const union hull_sockaddr *a, const union hull_sockaddr *b);
/* hull0's address of a family, with this port. */
void hull_link_address(int family, uint16_t port, union hull_sockaddr *out);
/* A non-blocking socket bound to hull0's address, whether hull0 is there yet or not; for SOCK_STREAM it listens. */
int hull_link_socket(int family, int type, uint16_t port, struct hull_error *err);

/* Ask the host for a stream of this service to an address. `user` begins with a struct hull_stream, whose id is *stream.
 * 0 or -errno. */
int hull_link_ask(uint8_t service, const union hull_sockaddr *to, void *user, uint32_t *stream);

/* The rules, for `nft -f -`, in this order (nft.c). */
extern const char hull_nft_local[];
extern const char hull_nft_forwarded[];

/* Once the rules of hull_nft_local are there. */
void hull_relay_hold(void);
/* Each listens, or says on the console why not. */
void hull_relay_start(void);
void hull_dns_start(void);
void hull_udp_start(void);

/* Accept the stream with a UDP socket connected to `to`, or refuse it. try_v6: ::1 when nobody listens on `to`. */
void hull_dial_udp_open(uint32_t stream, const union hull_sockaddr *to, bool try_v6);

#endif
