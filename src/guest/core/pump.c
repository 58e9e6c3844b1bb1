/* SPDX-License-Identifier: Apache-2.0 */
/* See pump.h. */
#include "guest/core/pump.h"

#include "base/cleanup.h"
#include "guest/core/core.h"
#include "wire/wire.h"

#include <fcntl.h>
#include <unistd.h>

/* Two frames with their headers: the port takes 32 KiB at a time, and a rest of a few bytes would cost as much to hand
 * over as those. */
enum { CHUNK = 2 * (HULL_WIRE_PAYLOAD_MAX - HULL_WIRE_HEADER) };
static uint8_t chunk[CHUNK];

static void out_end(struct hull_out *o, int error)
{
	hull_out_close(o);
	o->ended(o, error);
}

/* One read and its write. 1 = passed something on, 0 = nothing there now, -1 = ended, -2 = no credit. */
static int out_step(struct hull_out *o, size_t max)
{
	size_t room = o->stream ? hull_wire_writable(hull_wire, o->stream) : sizeof(chunk);
	if (room == 0)
		return -2;
	if (room > max)
		room = max;
	if (room > sizeof(chunk))
		room = sizeof(chunk);
	ssize_t n = read(o->fd, chunk, room);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		/* EIO: the last program on the terminal has closed it. */
		out_end(o, n < 0 && errno != EIO ? errno : 0);
		return -1;
	}
	o->passed += (size_t)n;
	if (o->stream)
		hull_wire_write(hull_wire, o->stream, o->channel, chunk, (size_t)n);
	return 1;
}

static void out_ready(struct hull_watch *w, uint32_t events)
{
	struct hull_out *o = container_of(w, struct hull_out, watch);
	/* A hang-up cannot be masked, so to wait for credit is not to watch. */
	if (out_step(o, SIZE_MAX) == -2)
		hull_watch_del(w);
}

int hull_out_start(struct hull_out *o, int fd, uint32_t stream, unsigned channel,
		   void (*ended)(struct hull_out *o, int error))
{
	*o = (struct hull_out){.fd = fd, .open = true, .stream = stream, .channel = channel, .ended = ended};
	int r = hull_watch_add(&o->watch, fd, EPOLLIN, out_ready);
	if (r < 0)
		hull_out_close(o);
	return r;
}

void hull_out_resume(struct hull_out *o)
{
	if (o->open && o->watch.fd < 0)
		hull_watch_add(&o->watch, o->fd, EPOLLIN, out_ready);
}

void hull_out_attach(struct hull_out *o, uint32_t stream)
{
	o->stream = stream;
	hull_watch_del(&o->watch);
}

void hull_out_discard(struct hull_out *o)
{
	o->stream = 0;
	hull_out_resume(o);
}

bool hull_out_drain(struct hull_out *o, size_t max)
{
	while (o->open && max > 0) {
		size_t before = o->passed;
		int r = out_step(o, max);
		if (r == -2)
			return false;
		if (r <= 0)
			break;
		max -= o->passed - before;
	}
	return true;
}

void hull_out_close(struct hull_out *o)
{
	if (!o->open)
		return;
	hull_watch_del(&o->watch);
	close(o->fd);
	o->fd = -1;
	o->open = false;
}

static void pump_grant(struct hull_in *in, size_t n)
{
	if (in->stream && n > 0)
		hull_wire_grant(hull_wire, in->stream, n);
}

static void in_fail(struct hull_in *in)
{
	pump_grant(in, in->pending.len);
	hull_buf_free(&in->pending);
	in->failed = true;
	hull_watch_del(&in->watch);
}

/* Write what can be written; bytes taken. */
static size_t in_write(struct hull_in *in, const uint8_t *p, size_t n)
{
	size_t done = 0;
	while (done < n) {
		ssize_t w = write(in->fd, p + done, n - done);
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0 && errno != EAGAIN)
			in->failed = true;
		if (w <= 0)
			break;
		done += (size_t)w;
	}
	return done;
}

static void in_finish(struct hull_in *in)
{
	if (in->finish)
		in->finish(in);
	else
		hull_in_close(in);
}

static void in_ready(struct hull_watch *w, uint32_t events)
{
	struct hull_in *in = container_of(w, struct hull_in, watch);
	size_t n = in_write(in, hull_buf_bytes(&in->pending), in->pending.len);
	hull_buf_drain(&in->pending, n);
	pump_grant(in, n);
	if (in->failed) {
		in_fail(in);
	} else if (in->pending.len == 0) {
		hull_watch_del(w);
		if (in->eof)
			in_finish(in);
	}
}

int hull_in_start(struct hull_in *in, int fd, uint32_t stream)
{
	*in = (struct hull_in){.fd = fd, .open = true, .stream = stream, .watch.fd = -1};
	return 0;
}

void hull_in_data(struct hull_in *in, const uint8_t *p, size_t n)
{
	size_t done = 0;
	if (!in->open || in->failed) {
		pump_grant(in, n);
		return;
	}
	if (in->pending.len == 0)
		done = in_write(in, p, n);
	pump_grant(in, done);
	if (in->failed) {
		pump_grant(in, n - done);
		return;
	}
	if (done == n)
		return;
	if (hull_buf_add(&in->pending, p + done, n - done) < 0) {
		in_fail(in);
		pump_grant(in, n - done);
		return;
	}
	if (in->watch.fd < 0 && hull_watch_add(&in->watch, in->fd, EPOLLOUT, in_ready) < 0)
		in_fail(in);
}

void hull_in_eof(struct hull_in *in)
{
	in->eof = true;
	if (in->open && in->pending.len == 0)
		in_finish(in);
}

void hull_in_close(struct hull_in *in)
{
	if (!in->open)
		return;
	hull_watch_del(&in->watch);
	pump_grant(in, in->pending.len);
	hull_buf_free(&in->pending);
	close(in->fd);
	in->fd = -1;
	in->open = false;
}
