/* SPDX-License-Identifier: Apache-2.0 */
/* The two transports: a /dev/fuse descriptor, and a byte stream with the same messages.
 *
 * The device keeps messages apart by itself and wakes one reader per request, so all threads read it at once. In the
 * stream a message ends where its header says, so one thread at a time reads a whole one; a header with an impossible
 * length leaves no way to find the next message, and ends the stream.
 *
 * Threads wait for the stream in epoll, one-shot: bytes wake one of them, and until it has read a message and armed the
 * descriptor again, no other. (With a lock around the reading, whoever gives it up wakes the next, which then only
 * waits: a switch of threads for every request, half of the time that a small one takes.) */
#include "share/share.h"

#include "base/cleanup.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

/* --- /dev/fuse --- */

static ssize_t device_receive(void *ctx, void *buf, size_t cap)
{
	for (;;) {
		ssize_t n = read(*(const int *)ctx, buf, cap);
		if (n >= 0)
			return n;
		if (errno == ENODEV)
			return 0;
		/* ENOENT: the request was interrupted before it was read. */
		if (errno != EINTR && errno != EAGAIN && errno != ENOENT)
			return -errno;
	}
}

static int device_send(void *ctx, const struct iovec *iov, int count)
{
	for (;;) {
		if (writev(*(const int *)ctx, iov, count) >= 0)
			return 0;
		if (errno != EINTR)
			return -errno;
	}
}

struct hull_share_transport hull_share_device(int *fd)
{
	return (struct hull_share_transport){.receive = device_receive, .send = device_send, .ctx = fd};
}

/* --- byte stream --- */

struct hull_share_stream {
	int in, out, epoll;
	int over; /* an eventfd: readable, for all threads and for good, when the stream has ended */
	pthread_mutex_t writing;
	atomic_bool ended;
	bool broken;
};

struct hull_share_stream *hull_share_stream_new(int in, int out)
{
	struct hull_share_stream *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	struct epoll_event armed = {.events = EPOLLIN | EPOLLONESHOT}, end = {.events = EPOLLIN};
	s->in = in;
	s->out = out;
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	s->over = eventfd(0, EFD_CLOEXEC);
	if (s->epoll < 0 || s->over < 0 || epoll_ctl(s->epoll, EPOLL_CTL_ADD, in, &armed) < 0 ||
	    epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->over, &end) < 0) {
		hull_closep(&s->epoll);
		hull_closep(&s->over);
		free(s);
		return NULL;
	}
	pthread_mutex_init(&s->writing, NULL);
	return s;
}

void hull_share_stream_free(struct hull_share_stream *s)
{
	if (!s)
		return;
	close(s->epoll);
	close(s->over);
	pthread_mutex_destroy(&s->writing);
	free(s);
}

static ssize_t read_full(int fd, uint8_t *p, size_t n)
{
	size_t got = 0;
	while (got < n) {
		ssize_t r = read(fd, p + got, n - got);
		if (r == 0)
			break;
		if (r < 0 && errno != EINTR)
			return -errno;
		if (r > 0)
			got += (size_t)r;
	}
	return (ssize_t)got;
}

static ssize_t read_message(struct hull_share_stream *s, uint8_t *buf, size_t cap)
{
	struct fuse_in_header h;
	ssize_t n = read_full(s->in, buf, sizeof h);
	if (n <= 0)
		return n;
	memcpy(&h, buf, sizeof h);
	if ((size_t)n < sizeof h || h.len < sizeof h || h.len > cap)
		return -EPROTO;
	ssize_t rest = read_full(s->in, buf + sizeof h, h.len - sizeof h);
	if (rest < 0)
		return rest;
	return (size_t)rest == h.len - sizeof h ? (ssize_t)h.len : -EPROTO;
}

static ssize_t stream_receive(void *ctx, void *buf, size_t cap)
{
	struct hull_share_stream *s = ctx;
	struct epoll_event event, armed = {.events = EPOLLIN | EPOLLONESHOT};
	int r;
	while ((r = epoll_wait(s->epoll, &event, 1, -1)) < 0 && errno == EINTR)
		;
	if (r < 0)
		return -errno;
	if (atomic_load(&s->ended))
		return 0;
	ssize_t n = read_message(s, buf, cap);
	if (n > 0)
		return epoll_ctl(s->epoll, EPOLL_CTL_MOD, s->in, &armed) < 0 ? -errno : n;
	/* The first to see the end reports it, the others just end. */
	atomic_store(&s->ended, true);
	uint64_t one = 1;
	if (write(s->over, &one, sizeof one) != sizeof one)
		return -EIO;
	return n;
}

static int stream_send(void *ctx, const struct iovec *iov, int count)
{
	struct hull_share_stream *s = ctx;
	struct iovec v[4];
	int e = 0;
	int at = 0;
	if (count > 4)
		return -EINVAL;
	memcpy(v, iov, (size_t)count * sizeof *v);
	pthread_mutex_lock(&s->writing);
	while (!s->broken && at < count) {
		ssize_t n = writev(s->out, v + at, count - at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			e = -errno;
			s->broken = true; /* half a message may be out: nothing can follow it */
			break;
		}
		for (; at < count && (size_t)n >= v[at].iov_len; at++)
			n -= (ssize_t)v[at].iov_len;
		if (at < count) {
			v[at].iov_base = (char *)v[at].iov_base + n;
			v[at].iov_len -= (size_t)n;
		}
	}
	if (s->broken && e == 0)
		e = -EPIPE;
	pthread_mutex_unlock(&s->writing);
	return e;
}

struct hull_share_transport hull_share_stream_transport(struct hull_share_stream *s)
{
	return (struct hull_share_transport){.receive = stream_receive, .send = stream_send, .ctx = s, .paced = true};
}
