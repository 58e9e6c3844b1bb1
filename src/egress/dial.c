/* SPDX-License-Identifier: Apache-2.0 */
/* Connecting to the first of several addresses that answers (RFC 8305); see dial.h.
 *
 * The addresses are tried one after the other, the families in turn. The next attempt starts when the last has failed,
 * or after DIAL_AGAIN_MS. The first that connects wins; the others are closed. When all have failed, the error is that
 * of the first. At most DIAL_AT_ONCE attempts are in flight: after DIAL_DROP_MS the oldest is given up for the next
 * one. So a name with many addresses does not take many descriptors, and addresses that never answer do not block the
 * others. */
#include "egress/internal.h"
#include "egress/dial.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

static void next(struct dial *d);

static void stop(struct dial *d)
{
	for (size_t i = 0; i < d->count; i++) {
		loop_socket_close(d->tries[i]);
		d->tries[i] = NULL;
	}
	loop_timer_free(d->alarm);
	d->alarm = NULL;
	d->active = false;
}

void dial_cancel(struct dial *d)
{
	if (d->active)
		stop(d);
}

static void failed(struct dial *d, int error)
{
	if (!d->error)
		d->error = error;
}

static void on_ready(struct loop_socket *s, int events)
{
	struct dial *d = s->owner;
	size_t i = 0;
	while (d->tries[i] != s)
		i++;
	int error = 0;
	socklen_t n = sizeof(error);
	if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
		error = errno;
	if (error == 0) {
		/* SO_ERROR was read by an earlier event, or it is not connected yet. */
		struct sockaddr_storage peer;
		n = sizeof(peer);
		if (getpeername(s->fd, (struct sockaddr *)&peer, &n) < 0)
			return;
		int fd = fcntl(s->fd, F_DUPFD_CLOEXEC, 0);
		struct hull_addr addr = d->addrs[i];
		stop(d);
		d->done(d, fd < 0 ? -errno : fd, &addr);
		return;
	}
	failed(d, -error);
	loop_socket_close(s);
	d->tries[i] = NULL;
	d->under_way--;
	next(d);
}

static int try(struct dial *d, size_t i)
{
	struct sockaddr_storage to;
	socklen_t n = hull_addr_to(&d->addrs[i], d->port, &to);
	int fd = socket(d->addrs[i].family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	int on = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	if (connect(fd, (struct sockaddr *)&to, n) < 0 && errno != EINPROGRESS) {
		int r = -errno;
		close(fd);
		return r;
	}
	d->tries[i] = loop_socket_new(&d->g->loop, fd, d, on_ready);
	if (!d->tries[i])
		return -ENOMEM;
	loop_socket_watch(d->tries[i], UV_WRITABLE);
	d->under_way++;
	return 0;
}

static void on_alarm(void *owner)
{
	next(owner);
}

static void drop_oldest(struct dial *d)
{
	size_t i = 0;
	while (!d->tries[i])
		i++;
	loop_socket_close(d->tries[i]);
	d->tries[i] = NULL;
	d->under_way--;
	failed(d, -ETIMEDOUT);
}

static void next(struct dial *d)
{
	loop_timer_free(d->alarm);
	d->alarm = NULL;
	while (d->next < d->count) {
		if (d->under_way >= DIAL_AT_ONCE)
			drop_oldest(d);
		int r = try(d, d->next++);
		if (r < 0) {
			failed(d, r);
			continue;
		}
		if (d->next < d->count)
			d->alarm = loop_timer_new(
				&d->g->loop, d->under_way < DIAL_AT_ONCE ? DIAL_AGAIN_MS : DIAL_DROP_MS, d, on_alarm);
		return;
	}
	if (d->under_way)
		return;
	stop(d);
	d->done(d, d->error ? d->error : -EHOSTUNREACH, NULL);
}

/* The first stays first; behind it the other family, and so on in turn. */
static void interleave(struct dial *d, const struct hull_addr *a, size_t n)
{
	bool used[ADDRS_MAX] = {0};
	int family = n ? a[0].family : 0;
	for (size_t k = 0; k < n; k++) {
		size_t pick = n;
		for (size_t i = 0; i < n && pick == n; i++)
			if (!used[i] && a[i].family == family)
				pick = i;
		for (size_t i = 0; i < n && pick == n; i++)
			if (!used[i])
				pick = i;
		used[pick] = true;
		d->addrs[d->count++] = a[pick];
		family = a[pick].family == AF_INET ? AF_INET6 : AF_INET;
	}
}

void dial_start(struct egress *g, struct dial *d, const struct hull_addr *addrs, size_t n, uint16_t port)
{
	d->g = g;
	d->count = d->next = d->under_way = 0;
	d->error = 0;
	d->port = port;
	d->active = true;
	interleave(d, addrs, n < ADDRS_MAX ? n : ADDRS_MAX);
	next(d);
}
