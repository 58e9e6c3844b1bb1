/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's end of the wire: the virtio-console port org.hull.wire. Which service gets which stream: guest/service.c.
 *
 * The port is a byte stream that the host may close and open again (a template is restored, the keeper reconnects).
 * While the host is away the kernel reports a hang-up for as long as it lasts, so the port is then watched
 * edge-triggered: the next event is the host coming back. That event and the bytes travel on different queues and may
 * overtake each other, so being away changes nothing by itself: the host's HELLO does. After an absence, and after
 * bytes that broke the protocol, a read that starts with a HELLO starts the wire anew, whatever frame was half-read
 * before (the kernel never joins bytes of two connections in one read). */
#include "guest/core/core.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/debug.h"
#include "guest/core/loop.h"
#include "guest/core/uevent.h"
#include "wire/args.h"
#include "wire/service.h"
#include "wire/wire.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <string.h>

enum {
	STREAMS_MAX = 16384,
	PORT_WAIT_MS = 15000,
	READ_CHUNK = 64 * 1024,
	READ_MOST = 4096,        /* the kernel gives at most a page at a time */
	FLUSH_MAX = 1024 * 1024, /* per turn of the loop, so that a fast host cannot keep us from everything else */
};

struct hull_wire *hull_wire;
static const struct hull_port_ops *port_ops;
static struct hull_watch port_watch;
static int port_fd = -1;
static bool host_present;
static bool was_away; /* the host has been away since the last bytes came */
static bool lost;     /* what comes is skipped, up to the next HELLO */

/* --- the wire's events --- */

static void on_open(void *ctx, uint32_t stream, uint8_t service, const uint8_t *args, size_t len)
{
	port_ops->open(stream, service, args, len);
}

static void port_on_accepted(void *ctx, uint32_t stream, void *user, const uint8_t *args, size_t len)
{
	struct hull_stream *s = user;
	if (s && s->ops->accepted)
		s->ops->accepted(s, args, len);
}

static void port_on_data(void *ctx, uint32_t stream, void *user, unsigned channel, const uint8_t *p, size_t n)
{
	struct hull_stream *s = user;
	if (s && s->ops->data)
		s->ops->data(s, channel, p, n);
	else
		hull_wire_grant(hull_wire, stream, n);
}

static void port_on_message(void *ctx, uint32_t stream, void *user, const uint8_t *p, size_t n)
{
	struct hull_stream *s = user;
	if (s && s->ops->message)
		s->ops->message(s, p, n);
}

static void port_on_writable(void *ctx, uint32_t stream, void *user)
{
	struct hull_stream *s = user;
	if (s && s->ops->writable)
		s->ops->writable(s);
}

static void port_on_eof(void *ctx, uint32_t stream, void *user)
{
	struct hull_stream *s = user;
	if (s && s->ops->eof)
		s->ops->eof(s);
}

static void port_on_closed(void *ctx, uint32_t stream, void *user, int code, const char *message)
{
	struct hull_stream *s = user;
	if (s)
		s->ops->closed(s, code, message);
}

static void on_hello(void *ctx, uint32_t version, uint64_t epoch)
{
	static bool before;
	if (before)
		port_ops->hello_again();
	before = true;
}

static int new_wire(struct hull_error *err)
{
	static const struct hull_wire_config config = {
		.side = HULL_WIRE_GUEST, .name = "keeper", .max_inbound = STREAMS_MAX};
	static const struct hull_wire_ops ops = {
		.hello = on_hello,
		.open = on_open,
		.accepted = port_on_accepted,
		.data = port_on_data,
		.message = port_on_message,
		.writable = port_on_writable,
		.eof = port_on_eof,
		.closed = port_on_closed,
	};
	hull_wire = hull_wire_new(&config, &ops, NULL);
	return hull_wire ? 0 : hull_fail(err, -ENOMEM, "out of memory for the wire");
}

/* When frames are traced: a number into the arguments of an OPEN, by which its stream is found in every log. */
static int add_trace(struct hull_buf *args)
{
	static uint32_t last;
	if (!hull_debug_on(HULL_AREA_WIRE, HULL_LEVEL_TRACE))
		return 0;
	if (!last)
		last = (uint32_t)hull_uptime_ms() << 8; /* others' numbers are random */
	return hull_args_put_u32(args, HULL_TAG_TRACE, ++last);
}

int hull_port_ask(uint8_t service, struct hull_buf *args, void *user, uint32_t *stream)
{
	int r = !hull_wire || hull_shutting_down() ? -ENETDOWN : add_trace(args);
	return r < 0 ? r : hull_wire_open(hull_wire, service, hull_buf_bytes(args), args->len, user, stream);
}

/* --- bytes --- */

static void flush(void)
{
	const uint8_t *p;
	size_t n, sent = 0;
	bool blocked = false;
	if (!host_present)
		return;
	while (sent < FLUSH_MAX && (n = hull_wire_output(hull_wire, &p)) > 0) {
		ssize_t w = write(port_fd, p, n);
		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0) {
			blocked = true;
			break;
		}
		sent += (size_t)w;
		hull_wire_sent(hull_wire, (size_t)w);
	}
	blocked = blocked || sent >= FLUSH_MAX;
	hull_watch_mod(&port_watch, EPOLLIN | (blocked ? EPOLLOUT : 0U));
}

/* The header of a HELLO and the magic behind it. */
static bool starts_with_hello(const uint8_t *p, size_t n)
{
	static const uint8_t hello[] = {0,   0,   0,   0,  HULL_WIRE_HELLO, 0, 0, 0, 20, 0, 0, 0, 'H', 'U', 'L', 'L',
					'W', 'I', 'R', 'E'};
	return n >= sizeof(hello) && memcmp(p, hello, sizeof(hello)) == 0;
}

static void port_take(const uint8_t *p, size_t n)
{
	struct hull_error err = {0};
	if ((was_away || lost) && starts_with_hello(p, n)) {
		hull_wire_restart(hull_wire);
		lost = false;
	}
	was_away = false;
	if (lost || hull_wire_feed(hull_wire, p, n, &err) == 0)
		return;
	hull_wire_restart(hull_wire);
	lost = true;
	hull_say("the wire waits for a new HELLO: %s", err.msg);
}

static void host_left(void)
{
	hull_watch_mod(&port_watch, EPOLLIN | EPOLLOUT | EPOLLET);
	host_present = false;
	was_away = true;
}

/* What is there, up to READ_CHUNK, is taken as one: a page at a time would be a write a page for whom it goes to. */
static void port_ready(struct hull_watch *w, uint32_t events)
{
	static uint8_t chunk[READ_CHUNK];
	size_t have = 0;
	while ((events & EPOLLIN) && have + READ_MOST <= sizeof(chunk)) {
		ssize_t n = read(port_fd, chunk + have, READ_MOST);
		if (n > 0) {
			if (have > 0 && starts_with_hello(chunk + have, (size_t)n)) {
				port_take(chunk, have); /* perhaps of another connection */
				memmove(chunk, chunk + have, (size_t)n);
				have = 0;
			}
			have += (size_t)n;
			/* The end of a burst, most likely; should there be more, the next turn has it. */
			if (n < READ_MOST && !(events & (EPOLLHUP | EPOLLERR)))
				break;
			continue;
		}
		if (n == 0 || (errno != EAGAIN && errno != EINTR))
			events |= EPOLLHUP;
		break;
	}
	if (have > 0)
		port_take(chunk, have);
	if (events & (EPOLLHUP | EPOLLERR))
		host_left();
	else
		host_present = true; /* the hook after the batch sends what is queued and sets the watch right */
}

void hull_port_flush(int ms)
{
	const uint8_t *p;
	uint64_t deadline = hull_uptime_ms() + (uint64_t)ms;
	while (host_present && hull_wire_output(hull_wire, &p) > 0 && hull_uptime_ms() < deadline) {
		struct pollfd f = {.fd = port_fd, .events = POLLOUT};
		if (poll(&f, 1, ms) <= 0 || (f.revents & (POLLHUP | POLLERR)))
			break;
		flush();
	}
}

static bool port_found(void *dev)
{
	return hull_find_port(HULL_WIRE_PORT_NAME, dev, 64);
}

/* We and the port's interrupts on one CPU. The port's locks are held while the host is told, which leaves the guest; an
 * interrupt on another CPU then spins for one, and each PAUSE of a spinning CPU that is emulated takes the emulator's
 * own lock, for which the one that holds the port's is waiting: it made every round trip several times as long.
 * Children run anywhere (hull_spawn). What cannot be done here costs time only. */
static void keep_together(const char *dev)
{
	char path[128];
	cpu_set_t first;
	CPU_ZERO(&first);
	CPU_SET(0, &first);
	sched_setaffinity(0, sizeof(first), &first);
	snprintf(path, sizeof(path), "/sys/class/virtio-ports/%.32s/device/../msi_irqs", strrchr(dev, '/') + 1);
	_cleanup_closedir_ DIR *d = opendir(path);
	for (const struct dirent *e; d && (e = readdir(d));) {
		snprintf(path, sizeof(path), "/proc/irq/%.16s/smp_affinity_list", e->d_name);
		if (e->d_name[0] != '.')
			hull_put(path, "0");
	}
}

int hull_port_open(const struct hull_port_ops *ops, struct hull_error *err)
{
	char dev[64];
	port_ops = ops;
	if (!hull_wait_device(port_found, dev, PORT_WAIT_MS))
		return hull_fail(err, -ENODEV, "no virtio-console port named %s appeared: the host cannot be reached",
				 HULL_WIRE_PORT_NAME);
	int r = new_wire(err);
	if (r < 0)
		return r;
	port_fd = open(dev, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (port_fd < 0)
		return hull_fail_errno(err, "cannot open the wire's port %s", dev);
	r = hull_watch_add(&port_watch, port_fd, EPOLLIN | EPOLLOUT | EPOLLET, port_ready);
	if (r < 0)
		return hull_fail(err, r, "cannot watch the wire's port: %s", strerror(-r));
	keep_together(dev);
	hull_loop_after(flush);
	return 0;
}
