/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses: parsed strictly, compared, and told what they are.
 *
 * "Special" is every address that is not a plain public host: private, loopback, link-local, metadata, multicast,
 * reserved, and IPv6 forms that carry such an IPv4 address inside (mapped, translated, 6to4, ISATAP). The gateway
 * connects to one only when a rule names it. The table is a list of what is public for IPv6 and of what is not for
 * IPv4: what nobody thought of is special. */
#ifndef HULL_POLICY_ADDR_H
#define HULL_POLICY_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

enum { HULL_ADDR_TEXT = INET6_ADDRSTRLEN + 1 };

struct hull_addr {
	int family;    /* AF_INET or AF_INET6; 0 = none */
	uint8_t b[16]; /* network order; 4 bytes for AF_INET */
};

/* Exactly what inet_pton(3) takes: no decimal, octal, hex or short spellings. An IPv4-mapped IPv6 address becomes the
 * IPv4 address that it is. False for anything else. */
bool hull_addr_parse(const char *s, struct hull_addr *out);
/* From a sockaddr_in or sockaddr_in6 (mapped ones as above); false for other families. */
bool hull_addr_from(const struct sockaddr *sa, struct hull_addr *out);
socklen_t hull_addr_to(const struct hull_addr *a, uint16_t port, struct sockaddr_storage *out);
char *hull_addr_text(const struct hull_addr *a, char out[HULL_ADDR_TEXT]);
bool hull_addr_equal(const struct hull_addr *a, const struct hull_addr *b);
bool hull_addr_in(const struct hull_addr *a, const struct hull_addr *net, unsigned bits);
/* The IPv4 addresses that an IPv6 address may stand for on its way (NAT64, 6to4, Teredo, ISATAP...): the i-th of them,
 * or false when there are no more. One address may be read in several ways. */
bool hull_addr_embedded(const struct hull_addr *a, unsigned i, struct hull_addr *out);
/* What kind of special address it is ("a private address", ...), or NULL for a public one. Static string. */
const char *hull_addr_special(const struct hull_addr *a);
/* Is the whole network special, of one kind? Then a rule with it names special addresses on purpose; 0.0.0.0/0 does
 * not. */
bool hull_net_special(const struct hull_addr *net, unsigned bits);

#endif
