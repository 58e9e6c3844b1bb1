/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses; see addr.h. */
#include "policy/addr.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <string.h>

struct range {
	uint8_t b[16];
	unsigned bits;
	const char *what;
};

#define PRIVATE    "a private address"
#define LOOPBACK   "a loopback address"
#define LINK_LOCAL "a link-local address"
#define METADATA   "a cloud metadata address"
#define MULTICAST  "a multicast or broadcast address"
#define RESERVED   "a reserved address"

/* The first that matches counts. The networks for documentation (192.0.2.0/24...) are nobody's: some use them as if
 * they were public, and there is nothing to protect. */
static const struct range v4[] = {
	{{169, 254, 169, 254}, 32, METADATA},
	{{169, 254, 170, 2}, 32, METADATA},
	{{168, 63, 129, 16}, 32, METADATA},
	{{100, 100, 100, 200}, 32, METADATA},
	{{192, 0, 0, 192}, 32, METADATA},
	{{0}, 8, "an address of this host"},
	{{10}, 8, PRIVATE},
	{{100, 64}, 10, "a carrier's private address"},
	{{127}, 8, LOOPBACK},
	{{169, 254}, 16, LINK_LOCAL},
	{{172, 16}, 12, PRIVATE},
	{{192, 0, 0}, 24, RESERVED},
	{{192, 88, 99}, 24, RESERVED},
	{{192, 168}, 16, PRIVATE},
	{{198, 18}, 15, RESERVED},
	{{224}, 4, MULTICAST},
	{{255, 255, 255, 255}, 32, MULTICAST},
	{{240}, 4, RESERVED},
};

static const struct range v6[] = {
	{{0xfd, 0x00, 0x0e, 0xc2}, 32, METADATA},
	{{[15] = 0}, 128, "an address of this host"},
	{{[15] = 1}, 128, LOOPBACK},
	{{0xfc}, 7, PRIVATE},
	{{0xfe, 0x80}, 10, LINK_LOCAL},
	{{0xfe, 0xc0}, 10, PRIVATE},
	{{0xff}, 8, MULTICAST},
	{{0x20, 0x01, 0x00, 0x00}, 23, RESERVED}, /* Teredo, benchmarks, ORCHID... */
	{{0x20, 0x01, 0x0d, 0xb8}, 32, RESERVED},
	{{0x3f, 0xff}, 20, RESERVED},
};

static const struct hull_addr global6 = {AF_INET6, {0x20}}; /* 2000::/3 is what is handed out at all */

/* Where an IPv6 address carries an IPv4 address: /96 prefixes with it at the end, 6to4 with it behind 16 bits. */
static const struct {
	uint8_t b[16];
	unsigned bits, at;
} embedded[] = {
	{{[10] = 0xff, [11] = 0xff}, 96, 12}, /* ::ffff:a.b.c.d, mapped */
	{{[8] = 0xff, [9] = 0xff}, 96, 12},   /* ::ffff:0:a.b.c.d, translated */
	{{0x00, 0x64, 0xff, 0x9b}, 96, 12},   /* 64:ff9b::a.b.c.d, NAT64 */
	{{0x20, 0x02}, 16, 2},                /* 2002:a.b.c.d::, 6to4 */
};

static bool prefix(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned bytes = bits / 8;
	if (memcmp(a, b, bytes) != 0)
		return false;
	unsigned rest = bits % 8;
	return rest == 0 || ((a[bytes] ^ b[bytes]) >> (8 - rest)) == 0;
}

/* All ways to read an IPv4 address out of an IPv6 address, by the bytes where it lies. Beside those above: the local
 * NAT64 prefix with the four lengths of RFC 6052 that fit it, Teredo with its server and the inverted client, the old
 * "compatible" form, and ISATAP below any prefix. */
static const struct {
	uint8_t b[16], mask[16];
	uint8_t at[4];
	uint8_t flip;
} readings[] = {
	{{[10] = 0xff, [11] = 0xff}, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", {12, 13, 14, 15}, 0},
	{{[8] = 0xff, [9] = 0xff}, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", {12, 13, 14, 15}, 0},
	{{0}, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", {12, 13, 14, 15}, 0},
	{"\x00\x64\xff\x9b", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", {12, 13, 14, 15}, 0},
	{"\x00\x64\xff\x9b\x00\x01", "\xff\xff\xff\xff\xff\xff", {6, 7, 9, 10}, 0},
	{"\x00\x64\xff\x9b\x00\x01", "\xff\xff\xff\xff\xff\xff", {7, 9, 10, 11}, 0},
	{"\x00\x64\xff\x9b\x00\x01", "\xff\xff\xff\xff\xff\xff", {9, 10, 11, 12}, 0},
	{"\x00\x64\xff\x9b\x00\x01", "\xff\xff\xff\xff\xff\xff", {12, 13, 14, 15}, 0},
	{"\x20\x02", "\xff\xff", {2, 3, 4, 5}, 0},
	{"\x20\x01\x00\x00", "\xff\xff\xff\xff", {4, 5, 6, 7}, 0},
	{"\x20\x01\x00\x00", "\xff\xff\xff\xff", {12, 13, 14, 15}, 0xff},
	{{[10] = 0x5e, [11] = 0xfe}, {[8] = 0xfd, [9] = 0xff, [10] = 0xff, [11] = 0xff}, {12, 13, 14, 15}, 0},
};

bool hull_addr_embedded(const struct hull_addr *a, unsigned i, struct hull_addr *out)
{
	if (a->family != AF_INET6)
		return false;
	for (size_t k = 0; k < sizeof(readings) / sizeof(*readings); k++) {
		bool fits = true;
		for (int n = 0; n < 16; n++)
			fits = fits && ((a->b[n] ^ readings[k].b[n]) & readings[k].mask[n]) == 0;
		if (!fits || i-- > 0)
			continue;
		*out = (struct hull_addr){.family = AF_INET};
		for (int n = 0; n < 4; n++)
			out->b[n] = a->b[readings[k].at[n]] ^ readings[k].flip;
		return true;
	}
	return false;
}

static void unmap(struct hull_addr *a)
{
	if (a->family != AF_INET6 || !prefix(a->b, embedded[0].b, 96))
		return;
	struct hull_addr v = {.family = AF_INET};
	memcpy(v.b, a->b + 12, 4);
	*a = v;
}

bool hull_addr_parse(const char *s, struct hull_addr *out)
{
	struct hull_addr a = {0};
	if (inet_pton(AF_INET, s, a.b) == 1)
		a.family = AF_INET;
	else if (inet_pton(AF_INET6, s, a.b) == 1)
		a.family = AF_INET6;
	else
		return false;
	unmap(&a);
	*out = a;
	return true;
}

bool hull_addr_from(const struct sockaddr *sa, struct hull_addr *out)
{
	struct hull_addr a = {.family = sa->sa_family};
	if (sa->sa_family == AF_INET)
		memcpy(a.b, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
	else if (sa->sa_family == AF_INET6)
		memcpy(a.b, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, 16);
	else
		return false;
	unmap(&a);
	*out = a;
	return true;
}

socklen_t hull_addr_to(const struct hull_addr *a, uint16_t port, struct sockaddr_storage *out)
{
	memset(out, 0, sizeof(*out));
	if (a->family == AF_INET) {
		struct sockaddr_in *in = (struct sockaddr_in *)(void *)out;
		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, a->b, 4);
		return sizeof(*in);
	}
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)out;
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	memcpy(&in6->sin6_addr, a->b, 16);
	return sizeof(*in6);
}

char *hull_addr_text(const struct hull_addr *a, char out[HULL_ADDR_TEXT])
{
	if (!a->family || !inet_ntop(a->family, a->b, out, HULL_ADDR_TEXT))
		out[0] = '\0';
	return out;
}

bool hull_addr_equal(const struct hull_addr *a, const struct hull_addr *b)
{
	return a->family == b->family && memcmp(a->b, b->b, a->family == AF_INET ? 4 : 16) == 0;
}

bool hull_addr_in(const struct hull_addr *a, const struct hull_addr *net, unsigned bits)
{
	return a->family == net->family && prefix(a->b, net->b, bits);
}

static const char *kind_of(const struct range *t, size_t n, const uint8_t *b)
{
	for (size_t i = 0; i < n; i++)
		if (prefix(b, t[i].b, t[i].bits))
			return t[i].what;
	return NULL;
}

const char *hull_addr_special(const struct hull_addr *a)
{
	if (a->family == AF_INET)
		return kind_of(v4, sizeof(v4) / sizeof(*v4), a->b);
	if (a->family != AF_INET6)
		return RESERVED;
	for (size_t i = 0; i < sizeof(embedded) / sizeof(*embedded); i++)
		if (prefix(a->b, embedded[i].b, embedded[i].bits))
			return kind_of(v4, sizeof(v4) / sizeof(*v4), a->b + embedded[i].at);
	const char *what = kind_of(v6, sizeof(v6) / sizeof(*v6), a->b);
	if (!what && !hull_addr_in(a, &global6, 3))
		what = RESERVED;
	/* Below a public prefix, too (ISATAP). */
	struct hull_addr inner;
	for (unsigned i = 0; !what && hull_addr_embedded(a, i, &inner); i++)
		what = kind_of(v4, sizeof(v4) / sizeof(*v4), inner.b);
	return what;
}

bool hull_net_special(const struct hull_addr *net, unsigned bits)
{
	if (net->family == AF_INET) {
		for (size_t i = 0; i < sizeof(v4) / sizeof(*v4); i++)
			if (bits >= v4[i].bits && prefix(net->b, v4[i].b, v4[i].bits))
				return true;
		return false;
	}
	for (size_t i = 0; i < sizeof(embedded) / sizeof(*embedded); i++)
		if (bits >= embedded[i].bits && prefix(net->b, embedded[i].b, embedded[i].bits)) {
			unsigned inner = embedded[i].at * 8;
			struct hull_addr v = {.family = AF_INET};
			memcpy(v.b, net->b + embedded[i].at, 4);
			return bits > inner && hull_net_special(&v, bits - inner > 32 ? 32 : bits - inner);
		}
	for (size_t i = 0; i < sizeof(v6) / sizeof(*v6); i++)
		if (bits >= v6[i].bits && prefix(net->b, v6[i].b, v6[i].bits))
			return true;
	if (bits >= 3 && !hull_addr_in(net, &global6, 3))
		return true;
	/* ISATAP: the IPv4 address at the end, which the network has to give as far as that one's range. */
	struct hull_addr inner;
	return bits > 96 && hull_addr_embedded(net, 0, &inner) && hull_net_special(&inner, bits - 96);
}
