/* SPDX-License-Identifier: Apache-2.0 */
/* A rig for hull-egress: this process is its keeper, on a socketpair, and the world that it connects to, on loopback.
 *
 * hull-egress runs as a process of its own with a resolver of the test's. Tests step (turn) until what they wait for is
 * so; the deadline is only there to fail a test that would hang. */
#ifndef HULL_TESTS_EGRESS_RIG_H
#define HULL_TESTS_EGRESS_RIG_H

#include "egress/egress.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "wire/args.h"
#include "wire/service.h"
#include "wire/wire.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <jansson.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#define UNUSED __attribute__((unused)) static

enum { ENDS = 4096, DEADLINE_S = 60 };

struct end {
	uint32_t id;
	bool used, accepted, eof, closed, opened_by_peer;
	bool stalled; /* grants nothing */
	int code;
	char message[1100];
	uint8_t service;
	struct hull_buf in, args, out;
	size_t received;
	bool keep; /* keep the bytes in `in` */
};

struct rig {
	pid_t pid;
	int fd, asked; /* asked: a line for each name the resolver was asked for */
	struct hull_wire *wire;
	struct end ends[ENDS];
	size_t count;
	struct end *control;
	struct hull_buf lines; /* of the control stream */
	struct hull_buf names; /* the resolver was asked for */
	bool dead;
};

UNUSED struct end *end_of(struct rig *r, uint32_t id)
{
	for (size_t i = r->count; i-- > 0;)
		if (r->ends[i].id == id)
			return &r->ends[i];
	assert_true(r->count < ENDS);
	struct end *e = &r->ends[r->count++];
	e->id = id;
	e->used = e->keep = true;
	return e;
}

UNUSED void on_open(void *ctx, uint32_t id, uint8_t service, const uint8_t *args, size_t len)
{
	struct rig *r = ctx;
	struct end *e = end_of(r, id);
	e->opened_by_peer = true;
	e->service = service;
	hull_buf_add(&e->args, args, len);
	hull_wire_set_user(r->wire, id, e);
	assert_int_equal(service, HULL_SVC_DIAL); /* it opens nothing else */
}

UNUSED void on_accepted(void *ctx, uint32_t id, void *user, const uint8_t *args, size_t len)
{
	struct end *e = user;
	e->accepted = true;
	hull_buf_add(&e->args, args, len);
}

UNUSED void on_data(void *ctx, uint32_t id, void *user, unsigned channel, const uint8_t *p, size_t n)
{
	struct rig *r = ctx;
	struct end *e = user;
	e->received += n;
	if (e == r->control)
		hull_buf_add(&r->lines, p, n);
	else if (e->keep)
		hull_buf_add(&e->in, p, n);
	if (!e->stalled)
		hull_wire_grant(r->wire, id, n);
}

UNUSED void on_eof(void *ctx, uint32_t id, void *user)
{
	((struct end *)user)->eof = true;
}

UNUSED void push(struct rig *r, struct end *e)
{
	while (e->out.len > 0 && !e->closed) {
		ssize_t n = hull_wire_write(r->wire, e->id, 0, hull_buf_bytes(&e->out), e->out.len);
		if (n <= 0)
			return;
		hull_buf_drain(&e->out, (size_t)n);
	}
}

UNUSED void on_writable(void *ctx, uint32_t id, void *user)
{
	push(ctx, user);
}

UNUSED void on_closed(void *ctx, uint32_t id, void *user, int code, const char *message)
{
	struct end *e = user;
	if (!e)
		return;
	e->closed = true;
	e->code = code;
	snprintf(e->message, sizeof(e->message), "%s", message);
}

/* One turn: move bytes; waits at most ms for something to do. */
UNUSED void turn(struct rig *r, int ms)
{
	static uint8_t bytes[256 * 1024];
	const uint8_t *p;
	size_t n;
	struct pollfd pfd[2] = {{.fd = r->fd, .events = POLLIN}, {.fd = r->asked, .events = POLLIN}};
	while ((n = hull_wire_output(r->wire, &p)) > 0) {
		ssize_t w = send(r->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (w <= 0) {
			if (w < 0 && errno != EAGAIN)
				r->dead = true;
			pfd[0].events |= POLLOUT;
			break;
		}
		hull_wire_sent(r->wire, (size_t)w);
	}
	if (r->dead)
		return;
	if (poll(pfd, 2, ms) <= 0)
		return;
	if (pfd[1].revents & POLLIN) {
		ssize_t got = read(r->asked, bytes, sizeof(bytes));
		if (got > 0)
			hull_buf_add(&r->names, bytes, (size_t)got);
	}
	if (pfd[0].revents & (POLLIN | POLLHUP)) {
		ssize_t got = recv(r->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
		struct hull_error err = {0};
		if (got == 0 || (got < 0 && errno != EAGAIN))
			r->dead = true;
		else if (got > 0 && hull_wire_feed(r->wire, bytes, (size_t)got, &err) < 0)
			fail_msg("it broke the wire protocol: %s", err.msg);
	}
}

UNUSED time_t now_s(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

#define until(r, cond)                                                           \
	do {                                                                     \
		time_t end_ = now_s() + DEADLINE_S;                              \
		while (!(cond)) {                                                \
			turn((r), 20);                                           \
			if (now_s() > end_)                                      \
				fail_msg("line %d: never: %s", __LINE__, #cond); \
		}                                                                \
	} while (0)

UNUSED bool has_text(const struct hull_buf *b, const char *s)
{
	const void *p = hull_buf_bytes(b);
	return p && b->len && memmem(p, b->len, s, strlen(s)) != NULL;
}

/* --- saying --- */

UNUSED struct end *open_stream(struct rig *r, uint8_t service, const struct hull_buf *args)
{
	assert_true(r->count < ENDS);
	struct end *e = &r->ends[r->count++];
	e->used = e->keep = true;
	e->service = service;
	assert_int_equal(hull_wire_open(r->wire, service, hull_buf_bytes(args), args->len, e, &e->id), 0);
	return e;
}

UNUSED struct end *open_to(struct rig *r, uint8_t service, const char *address, uint32_t port)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	hull_args_put_str(&b, HULL_TAG_ADDRESS, address);
	hull_args_put_u32(&b, HULL_TAG_PORT, port);
	return open_stream(r, service, &b);
}

UNUSED struct end *open_tcp(struct rig *r, const char *address, uint32_t port)
{
	return open_to(r, HULL_SVC_CONNECT, address, port);
}

UNUSED struct end *ask_name(struct rig *r, const char *name, uint32_t type)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	hull_args_put_str(&b, HULL_TAG_NAME, name);
	hull_args_put_u32(&b, HULL_TAG_QTYPE, type);
	struct end *e = open_stream(r, HULL_SVC_RESOLVE, &b);
	hull_wire_eof(r->wire, e->id);
	return e;
}

UNUSED void say(struct rig *r, struct end *e, const void *p, size_t n)
{
	hull_buf_add(&e->out, p, n);
	push(r, e);
}

UNUSED void say_text(struct rig *r, struct end *e, const char *s)
{
	say(r, e, s, strlen(s));
}

UNUSED void tell(struct rig *r, json_t *j)
{
	char *text = json_dumps(j, JSON_COMPACT);
	say_text(r, r->control, text);
	say_text(r, r->control, "\n");
	free(text);
	json_decref(j);
}

/* Drop the lines so far, set the policy, wait until it is in force. */
UNUSED void set_policy(struct rig *r, const char *text)
{
	hull_buf_drain(&r->lines, r->lines.len);
	tell(r, json_pack("{s:{s:s,s:n}}", "policy", "global", text, "sandbox"));
	until(r, has_text(&r->lines, "{\"policy\":") && hull_buf_bytes(&r->lines)[r->lines.len - 1] == '\n');
}

/* A field of an ACCEPT, owned, or NULL. */
UNUSED char *field(const struct end *e, uint16_t tag)
{
	struct hull_cur cur = hull_cur_make(hull_buf_bytes(&e->args), e->args.len);
	struct hull_arg a;
	while (hull_args_next(&cur, &a))
		if (a.tag == tag)
			return hull_arg_str(&a);
	return NULL;
}

/* --- life --- */

static int asked_pipe = -1;
static unsigned rig_fresh_ms; /* for how long an answer is used; 0 = as long as usual */
/* The test's names; count or -errno. */
static int test_resolve(const char *name, struct hull_addr *out, size_t max);

UNUSED int hook_resolve(const char *name, struct hull_addr *out, size_t max)
{
	dprintf(asked_pipe, "%s\n", name);
	return test_resolve(name, out, max);
}

UNUSED void rig_start_with(struct rig *r, json_t *start)
{
	int pair[2], ask[2];
	memset(r, 0, sizeof(*r));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(pipe2(ask, O_CLOEXEC), 0);
	r->pid = fork();
	assert_true(r->pid >= 0);
	if (r->pid == 0) {
		const struct egress_hooks hooks = {.resolve = hook_resolve, .fresh_ms = rig_fresh_ms};
		/* Nothing of the test's world may be held open by it. */
		int wire = fcntl(pair[1], F_DUPFD, 100), names = fcntl(ask[1], F_DUPFD, 100);
		dup2(wire, 3);
		dup2(names, 4);
		close_range(5, ~0u, 0);
		asked_pipe = 4;
		signal(SIGPIPE, SIG_IGN);
		if (egress_confine(NULL) < 0)
			_exit(99);
		_exit(egress_main(3, &hooks));
	}
	close(pair[1]);
	close(ask[1]);
	r->fd = pair[0];
	r->asked = ask[0];
	static const struct hull_wire_ops ops = {
		.open = on_open,
		.accepted = on_accepted,
		.data = on_data,
		.eof = on_eof,
		.writable = on_writable,
		.closed = on_closed,
	};
	struct hull_wire_config config = {
		.side = HULL_WIRE_HOST, .max_inbound = 2048, .queue_high = 8 << 20, .queue_max_control = 64 << 20};
	r->wire = hull_wire_new(&config, &ops, r);
	assert_int_equal(hull_wire_hello(r->wire, 42), 0);
	struct hull_buf none = {0};
	r->control = open_stream(r, HULL_SVC_EGRESS, &none);
	tell(r, start);
}

UNUSED void rig_start(struct rig *r, const char *policy)
{
	rig_start_with(r, json_pack("{s:{s:s}}", "start", "sandbox", "box"));
	set_policy(r, policy);
	assert_true(has_text(&r->lines, "\"ok\":true"));
}

UNUSED void rig_end(struct rig *r)
{
	int status = -1;
	close(r->fd);
	waitpid(r->pid, &status, 0);
	if (!WIFEXITED(status) || WEXITSTATUS(status) > 1)
		fail_msg("hull-egress ended with status %x", status);
	close(r->asked);
	hull_wire_free(r->wire);
	for (size_t i = 0; i < r->count; i++) {
		hull_buf_free(&r->ends[i].in);
		hull_buf_free(&r->ends[i].out);
		hull_buf_free(&r->ends[i].args);
	}
	hull_buf_free(&r->lines);
	hull_buf_free(&r->names);
}

/* --- the world --- */

/* Listen on a loopback address; the port in *port. */
UNUSED int world_listen(const char *ip, uint16_t *port, int type)
{
	struct hull_addr a;
	struct sockaddr_storage at;
	assert_true(hull_addr_parse(ip, &a));
	socklen_t n = hull_addr_to(&a, *port, &at);
	int fd = socket(a.family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	assert_int_equal(bind(fd, (struct sockaddr *)&at, n), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 1500), 0);
	n = sizeof(at);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
	*port = ntohs(a.family == AF_INET ? ((struct sockaddr_in *)(void *)&at)->sin_port
					  : ((struct sockaddr_in6 *)(void *)&at)->sin6_port);
	return fd;
}

/* A listener that answers no connection until world_dig_out(): its queue is full. */
struct hole {
	int listener, filler;
};
UNUSED struct hole world_hole(const char *ip, uint16_t *port)
{
	struct hull_addr a;
	struct sockaddr_storage at;
	struct hole h;
	assert_true(hull_addr_parse(ip, &a));
	h.listener = world_listen(ip, port, SOCK_STREAM);
	assert_int_equal(listen(h.listener, 0), 0);
	socklen_t n = hull_addr_to(&a, *port, &at);
	h.filler = socket(a.family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(h.filler, (struct sockaddr *)&at, n), 0);
	return h;
}
/* Connections under way come through, when the kernel next asks. */
UNUSED void world_dig_out(const struct hole *h)
{
	close(accept4(h->listener, NULL, NULL, SOCK_CLOEXEC));
}
UNUSED void world_hole_end(const struct hole *h)
{
	close(h->listener);
	close(h->filler);
}

UNUSED int world_accept(struct rig *r, int listener)
{
	int fd = -1;
	until(r, (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0);
	return fd;
}

/* Read until `want` is in what came from fd. */
UNUSED void world_expect(struct rig *r, int fd, struct hull_buf *got, const char *want)
{
	char b[4096];
	ssize_t n;
	until(r, ((n = recv(fd, b, sizeof(b), MSG_DONTWAIT)) > 0 && hull_buf_add(got, b, (size_t)n) == 0 &&
		  has_text(got, want)) ||
			 has_text(got, want));
}

UNUSED void world_say(int fd, const char *s)
{
	assert_int_equal(send(fd, s, strlen(s), MSG_NOSIGNAL), (ssize_t)strlen(s));
}

/* The lowest descriptor that process does not have open. */
UNUSED unsigned lowest_free(pid_t pid)
{
	for (unsigned fd = 0;; fd++) {
		char path[64], to[256];
		snprintf(path, sizeof(path), "/proc/%d/fd/%u", (int)pid, fd);
		if (readlink(path, to, sizeof(to)) < 0)
			return fd;
	}
}

#endif
