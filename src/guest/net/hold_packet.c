/* SPDX-License-Identifier: Apache-2.0 */
/* The first packet of a TCP connection, as programs and containers of the sandbox make it; see hold.h. Extension
 * headers of IPv6 are not followed: a packet that has some is none to be held. */
#include "guest/net/hold.h"

#include <string.h>

enum { IP4_HEAD = 20, IP6_HEAD = 40, TCP_PORTS = 4, TCP = 6 };

bool hull_hold_parse(const uint8_t *p, size_t n, union hull_sockaddr *from, union hull_sockaddr *to)
{
	memset(from, 0, sizeof(*from));
	memset(to, 0, sizeof(*to));
	if (n >= IP4_HEAD && p[0] >> 4 == 4) {
		size_t head = (size_t)(p[0] & 15) * 4;
		bool fragment = (p[6] & 0x1f) || p[7];
		if (p[9] != TCP || fragment || head < IP4_HEAD || n < head + TCP_PORTS)
			return false;
		from->any.sa_family = to->any.sa_family = AF_INET;
		memcpy(&from->four.sin_addr, p + 12, 4);
		memcpy(&to->four.sin_addr, p + 16, 4);
		memcpy(&from->four.sin_port, p + head, 2);
		memcpy(&to->four.sin_port, p + head + 2, 2);
		return true;
	}
	if (n >= IP6_HEAD + TCP_PORTS && p[0] >> 4 == 6 && p[6] == TCP) {
		from->any.sa_family = to->any.sa_family = AF_INET6;
		memcpy(&from->six.sin6_addr, p + 8, 16);
		memcpy(&to->six.sin6_addr, p + 24, 16);
		memcpy(&from->six.sin6_port, p + IP6_HEAD, 2);
		memcpy(&to->six.sin6_port, p + IP6_HEAD + 2, 2);
		return true;
	}
	return false;
}

enum hull_hold hull_hold_of(int code)
{
	switch (code) {
	case -EACCES:
	case -EPERM:
		return HULL_HOLD_PROHIBITED;
	case -EHOSTUNREACH:
	case -ENETUNREACH:
	case -ENETDOWN:
	case -ENOENT:
	case -ETIMEDOUT:
		return HULL_HOLD_NO_WAY;
	default:
		return HULL_HOLD_REFUSED;
	}
}
