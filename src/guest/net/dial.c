/* SPDX-License-Identifier: Apache-2.0 */
/* The service dial: a connection from the host to a TCP port or a unix socket inside the guest.
 *
 * PATH connects to a unix socket, PORT (with ADDRESS, a literal, default 127.0.0.1) to a TCP port. The stream is
 * accepted once the connection stands. The default address tries ::1 after 127.0.0.1, as programs that listen on
 * "localhost" bind to either. Half-closes pass both ways; a broken connection resets the stream. PROTOCOL 17 is a UDP
 * port; dial_udp.c has that.
 *
 * A path is the host's choice and may lead into a workspace, whose answers only PID 1 itself can fetch; and connect(2)
 * waits while the other end's queue is full. So a child makes that call, on a socket that both have. */
#include "guest/net/net.h"

#include "base/cleanup.h"
#include "guest/core/child.h"
#include "guest/core/core.h"
#include "guest/core/pump.h"
#include "guest/machine/machine.h"
#include "guest/net/link.h"
#include "wire/args.h"
#include "wire/service.h"
#include "wire/wire.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

struct dial {
	struct hull_stream stream;
	struct hull_watch connecting;
	struct hull_child child; /* connects to a path */
	struct hull_watch told;  /* what it says */
	int told_fd;
	int fd; /* while connecting; then it is out's, and in has a duplicate */
	bool try_v6;
	uint16_t port;
	struct hull_in in;
	struct hull_out out;
};

static int start_connect(struct dial *d, const struct sockaddr *addr, socklen_t len);

/* The child is done, or has nothing to do any more. */
static void end_child(struct dial *d)
{
	if (d->child.pid > 0)
		kill(d->child.pid, SIGKILL);
	hull_child_forget(&d->child);
	hull_watch_del(&d->told);
	if (d->told_fd >= 0)
		close(hull_steal_fd(&d->told_fd));
}

static void dial_free(struct dial *d)
{
	end_child(d);
	hull_watch_del(&d->connecting);
	if (d->fd >= 0)
		close(d->fd);
	hull_in_close(&d->in);
	hull_out_close(&d->out);
	free(d);
}

static void dial_out_ended(struct hull_out *o, int error)
{
	struct dial *d = container_of(o, struct dial, out);
	if (!d->stream.id)
		return;
	if (error)
		hull_wire_reset(hull_wire, d->stream.id, error, strerror(error)); /* frees d */
	else
		hull_wire_eof(hull_wire, d->stream.id);
}

static void in_finished(struct hull_in *in)
{
	shutdown(in->fd, SHUT_WR);
	hull_in_close(in);
}

static void connected(struct dial *d)
{
	int one = 1;
	int fd = hull_steal_fd(&d->fd);
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	int r = copy < 0 ? -errno : 0;
	hull_watch_del(&d->connecting);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* no TCP, no harm */
	bool eof = d->in.eof;
	if (r == 0) {
		/* Bytes that came while connecting are waiting in `in`. */
		struct hull_buf early = d->in.pending;
		d->in.pending = (struct hull_buf){0};
		hull_in_start(&d->in, copy, d->stream.id);
		d->in.finish = in_finished;
		hull_wire_accept(hull_wire, d->stream.id, NULL, 0);
		r = hull_out_start(&d->out, fd, d->stream.id, HULL_CHANNEL_MAIN, dial_out_ended);
		if (early.len)
			hull_in_data(&d->in, hull_buf_bytes(&early), early.len);
		hull_buf_free(&early);
		if (eof)
			hull_in_eof(&d->in);
	} else {
		close(fd);
	}
	if (r < 0)
		hull_wire_reset(hull_wire, d->stream.id, -r, strerror(-r));
}

static void dial_failed(struct dial *d, int error)
{
	if (d->try_v6 && error == ECONNREFUSED) {
		struct sockaddr_in6 six = {
			.sin6_family = AF_INET6, .sin6_port = htons(d->port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
		d->try_v6 = false;
		hull_watch_del(&d->connecting);
		close(hull_steal_fd(&d->fd));
		int r = start_connect(d, (struct sockaddr *)&six, sizeof(six));
		if (r == 0)
			return;
	}
	hull_wire_refuse(hull_wire, d->stream.id, error, strerror(error)); /* frees d */
}

static void connect_ready(struct hull_watch *w, uint32_t events)
{
	struct dial *d = container_of(w, struct dial, connecting);
	int error = 0;
	socklen_t n = sizeof(error);
	if (getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
		error = errno;
	if (error)
		dial_failed(d, error);
	else
		connected(d);
}

/* 0: under way or done; -errno: d is as it was, without a descriptor. */
static int start_connect(struct dial *d, const struct sockaddr *addr, socklen_t len)
{
	_cleanup_close_ int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, addr, len) < 0 && errno != EINPROGRESS)
		return -errno;
	/* Also when it stands already: the answer then comes from the loop, with the stream's user set. */
	int r = hull_watch_add(&d->connecting, fd, EPOLLOUT, connect_ready);
	if (r < 0)
		return r;
	d->fd = hull_steal_fd(&fd);
	return 0;
}

/* --- by a path --- */

static void dial_child_ended(struct hull_child *c, int status)
{
	/* The pipe has said it all, or is about to. */
}

struct launch {
	int fd;
	struct sockaddr_un addr;
};

static void dial_run(void *ctx, int status_fd)
{
	const struct launch *l = ctx;
	hull_child_keep(l->fd, status_fd);
	hull_put("/proc/self/oom_score_adj", "0");
	if (connect(l->fd, (const struct sockaddr *)&l->addr, sizeof(l->addr)) < 0)
		hull_spawn_fail(status_fd, HULL_STAGE_EXEC);
	_exit(0);
}

/* It said why not, or it is gone: then the socket tells. */
static void child_told(struct hull_watch *w, uint32_t events)
{
	struct dial *d = container_of(w, struct dial, told);
	struct hull_spawn_failure f = {0};
	struct sockaddr_un peer;
	socklen_t len = sizeof(peer);
	ssize_t n = read(d->told_fd, &f, sizeof(f));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	end_child(d);
	if (n != (ssize_t)sizeof(f))
		f.error = getpeername(d->fd, (struct sockaddr *)&peer, &len) < 0 ? ECONNREFUSED : 0;
	if (f.error)
		dial_failed(d, f.error);
	else if (fcntl(d->fd, F_SETFL, O_NONBLOCK) < 0)
		dial_failed(d, errno);
	else
		connected(d);
}

static int start_path(struct dial *d, const char *path)
{
	struct hull_error err = {0};
	struct launch l = {.addr.sun_family = AF_UNIX};
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	l.fd = fd;
	strcpy(l.addr.sun_path, path);
	int r = hull_spawn(&d->child, -1, dial_run, &l, &d->told_fd, dial_child_ended, &err);
	if (r < 0)
		return r;
	fcntl(d->told_fd, F_SETFL, O_NONBLOCK);
	r = hull_watch_add(&d->told, d->told_fd, EPOLLIN, child_told);
	if (r == 0)
		d->fd = hull_steal_fd(&fd);
	return r;
}

/* --- the stream's events --- */

static void dial_on_data(void *user, unsigned channel, const uint8_t *p, size_t n)
{
	struct dial *d = user;
	if (d->fd >= 0) { /* not connected yet; bounded by the window */
		if (hull_buf_add(&d->in.pending, p, n) < 0)
			hull_wire_reset(hull_wire, d->stream.id, ENOMEM, "out of memory in the sandbox");
		return;
	}
	hull_in_data(&d->in, p, n);
}

static void dial_on_writable(void *user)
{
	struct dial *d = user;
	hull_out_resume(&d->out);
}

static void dial_on_eof(void *user)
{
	struct dial *d = user;
	if (d->fd >= 0)
		d->in.eof = true;
	else
		hull_in_eof(&d->in);
}

static void dial_on_closed(void *user, int code, const char *message)
{
	struct dial *d = user;
	d->stream.id = 0;
	d->in.stream = 0;
	hull_buf_free(&d->in.pending);
	dial_free(d);
}

static const struct hull_stream_ops dial_ops = {
	.data = dial_on_data,
	.writable = dial_on_writable,
	.eof = dial_on_eof,
	.closed = dial_on_closed,
};

/* What is asked for. */
struct target {
	char *path, *address; /* owned; NULL = none */
	uint32_t port, protocol;
	union hull_sockaddr at; /* without a path */
	bool try_v6;
};

static void target_free(struct target *t)
{
	free(t->path);
	free(t->address);
}

static int target_read(const uint8_t *args, size_t len, struct target *t, struct hull_error *err)
{
	struct hull_cur cur = hull_cur_make(args, len);
	struct hull_arg a;
	while (hull_args_next(&cur, &a)) {
		if (a.tag == HULL_TAG_PATH && !t->path)
			t->path = hull_arg_str(&a);
		else if (a.tag == HULL_TAG_ADDRESS && !t->address)
			t->address = hull_arg_str(&a);
		else if (a.tag == HULL_TAG_PORT)
			t->port = hull_arg_u32(&a);
		else if (a.tag == HULL_TAG_PROTOCOL)
			t->protocol = hull_arg_u32(&a);
	}
	if (cur.bad)
		return hull_fail(err, -EINVAL, "the request is malformed");
	if (t->path) {
		if (t->path[0] != '/' || strlen(t->path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
			return hull_fail(err, -EINVAL, "%s is no path of a unix socket: absolute, at most %zu bytes",
					 t->path, sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
		return 0;
	}
	if (t->protocol && t->protocol != IPPROTO_TCP && t->protocol != IPPROTO_UDP)
		return hull_fail(err, -EINVAL, "protocol %u is neither TCP (6) nor UDP (17)", t->protocol);
	if (t->port == 0 || t->port > 65535)
		return hull_fail(err, -EINVAL, "%u is not a port", t->port);
	t->try_v6 = !t->address || strcmp(t->address, "localhost") == 0;
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)t->port)};
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)t->port)};
	if (inet_pton(AF_INET, t->try_v6 ? "127.0.0.1" : t->address, &four.sin_addr) == 1)
		t->at.four = four;
	else if (inet_pton(AF_INET6, t->address, &six.sin6_addr) == 1)
		t->at.six = six;
	else
		return hull_fail(err, -EINVAL, "%s is not an IP address", t->address);
	return 0;
}

static int dial_start(struct dial *d, const struct target *t, struct hull_error *err)
{
	int r;
	if (t->path) {
		r = start_path(d, t->path);
		return r < 0 ? hull_fail(err, r, "%s: %s", t->path, strerror(-r)) : 0;
	}
	d->port = (uint16_t)t->port;
	d->try_v6 = t->try_v6;
	r = start_connect(d, &t->at.any, hull_sockaddr_len(&t->at));
	return r < 0 ? hull_fail(err, r, "port %u: %s", t->port, strerror(-r)) : 0;
}

void hull_dial_open(uint32_t stream, const uint8_t *args, size_t len)
{
	struct hull_error err = {0};
	_cleanup_(target_free) struct target t = {0};
	hull_reclaim_touch();
	if (target_read(args, len, &t, &err) < 0) {
		hull_wire_refuse(hull_wire, stream, -err.code, err.msg);
		return;
	}
	if (!t.path && t.protocol == IPPROTO_UDP) {
		hull_dial_udp_open(stream, &t.at, t.try_v6);
		return;
	}
	struct dial *d = calloc(1, sizeof(*d));
	if (!d) {
		hull_wire_refuse(hull_wire, stream, ENOMEM, "out of memory in the sandbox");
		return;
	}
	d->stream = (struct hull_stream){.ops = &dial_ops, .id = stream};
	d->fd = d->told_fd = -1;
	if (dial_start(d, &t, &err) < 0) {
		hull_wire_refuse(hull_wire, stream, -err.code, err.msg);
		dial_free(d);
		return;
	}
	hull_wire_set_user(hull_wire, stream, d);
}
