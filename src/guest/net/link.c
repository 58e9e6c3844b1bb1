/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses, sockets on the addresses of hull0, and streams to addresses; see link.h. IP_FREEBIND: they can be bound before hull0 is there. */
#include "guest/net/link.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "guest/core/core.h"
#include "wire/args.h"
#include "wire/service.h"

#include <arpa/inet.h>
#include <string.h>

enum { BACKLOG = 4096 };

const char *hull_sockaddr_text(const union hull_sockaddr *a, char *out)
{
	const void *p = a->any.sa_family == AF_INET6 ? (const void *)&a->six.sin6_addr : &a->four.sin_addr;
	if (!inet_ntop(a->any.sa_family, p, out, INET6_ADDRSTRLEN))
		out[0] = '\0';
	return out;
}

bool hull_sockaddr_same(const union hull_sockaddr *a, const union hull_sockaddr *b)
{
	if (a->any.sa_family != b->any.sa_family)
		return false;
	if (a->any.sa_family == AF_INET6)
		return memcmp(&a->six.sin6_addr, &b->six.sin6_addr, sizeof(a->six.sin6_addr)) == 0;
	return a->four.sin_addr.s_addr == b->four.sin_addr.s_addr;
}

void hull_link_address(int family, uint16_t port, union hull_sockaddr *out)
{
	memset(out, 0, sizeof(*out));
	out->any.sa_family = (sa_family_t)family;
	if (family == AF_INET6) {
		inet_pton(AF_INET6, HULL_LINK_ADDRESS6, &out->six.sin6_addr);
		out->six.sin6_port = htons(port);
	} else {
		inet_pton(AF_INET, HULL_LINK_ADDRESS4, &out->four.sin_addr);
		out->four.sin_port = htons(port);
	}
}

int hull_link_socket(int family, int type, uint16_t port, struct hull_error *err)
{
	union hull_sockaddr a;
	int one = 1;
	_cleanup_close_ int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	hull_link_address(family, port, &a);
	if (fd >= 0) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (family == AF_INET6) {
			setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
			setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &one, sizeof(one));
		} else {
			setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one));
		}
	}
	if (fd < 0 || bind(fd, &a.any, hull_sockaddr_len(&a)) < 0 || (type == SOCK_STREAM && listen(fd, BACKLOG) < 0))
		return hull_fail_errno(err, "cannot listen on port %u of %s", port, HULL_LINK);
	return hull_steal_fd(&fd);
}

int hull_link_ask(uint8_t service, const union hull_sockaddr *to, void *user, uint32_t *stream)
{
	_cleanup_(hull_buf_free) struct hull_buf args = {0};
	char text[INET6_ADDRSTRLEN];
	int r = hull_args_put_str(&args, HULL_TAG_ADDRESS, hull_sockaddr_text(to, text));
	if (r == 0)
		r = hull_args_put_u32(&args, HULL_TAG_PORT, hull_sockaddr_port(to));
	return r < 0 ? r : hull_port_ask(service, &args, user, stream);
}
