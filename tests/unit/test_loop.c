/* SPDX-License-Identifier: Apache-2.0 */
/* The wire on a libuv loop: two ends of a socketpair in one loop, and children that die. */
#include "loop/loop.h"

#include "base/cleanup.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { MANY = 600 * 1024 };

struct side {
	struct loop_link link;
	struct loop_stream stream;
	size_t received, rounds;
	uint64_t epoch;
	bool opened, accepted, eof, closed, gone, freed;
	int gone_code, closed_code;
	char message[64];
	bool grants; /* what it receives */
};

struct world {
	struct loop loop;
	uint8_t scratch[16 * 1024];
	struct side host, guest;
	unsigned idle;
};

/* --- both sides --- */

static struct side *side_of(struct loop_stream *s)
{
	return container_of(s, struct side, stream);
}

static void on_accepted(struct loop_stream *s, const uint8_t *args, size_t len)
{
	side_of(s)->accepted = true;
}

static void on_data(struct loop_stream *s, unsigned channel, const uint8_t *p, size_t n)
{
	side_of(s)->received += n;
	if (side_of(s)->grants)
		loop_stream_grant(s, n);
}

static void on_message(struct loop_stream *s, const uint8_t *p, size_t n)
{
	memcpy(side_of(s)->message, p, n);
}

static void on_eof(struct loop_stream *s)
{
	side_of(s)->eof = true;
}

static void on_closed(struct loop_stream *s, int code, const char *message)
{
	side_of(s)->closed = true;
	side_of(s)->closed_code = code;
}

static const struct loop_stream_ops OPS = {
	.accepted = on_accepted, .data = on_data, .message = on_message, .eof = on_eof, .closed = on_closed};
static const struct loop_stream_ops DEAF = {.accepted = on_accepted, .closed = on_closed};

static void on_opened(struct loop_link *l, uint32_t stream, uint8_t service, const uint8_t *args, size_t len)
{
	struct side *s = container_of(l, struct side, link);
	s->opened = true;
	loop_stream_adopt(&s->stream, l, stream);
	loop_stream_accept(&s->stream, NULL);
}

static void on_hello(struct loop_link *l, uint64_t epoch)
{
	container_of(l, struct side, link)->epoch = epoch;
}

static void on_gone(struct loop_link *l, int code, const char *why)
{
	struct side *s = container_of(l, struct side, link);
	s->gone = true;
	s->gone_code = code;
	loop_link_close(l);
}

static void on_freed(struct loop_link *l)
{
	container_of(l, struct side, link)->freed = true;
}

static void on_idle(struct loop *loop)
{
	((struct world *)loop->owner)->idle++;
}

/* --- the rig --- */

static void turn(struct world *w, unsigned times)
{
	while (times--)
		uv_run(&w->loop.uv, UV_RUN_NOWAIT);
}

static void side_open(struct world *w, struct side *s, int fd, enum hull_wire_side side)
{
	const struct hull_wire_config config = {.side = side, .max_inbound = 4, .queue_max_control = 64 * 1024};
	struct hull_error err;
	s->grants = true;
	s->stream.ops = &OPS;
	s->link.owner = s;
	s->link.gone = on_gone;
	s->link.opened = on_opened;
	s->link.hello = on_hello;
	s->link.freed = on_freed;
	assert_int_equal(loop_link_open(&w->loop, &s->link, fd, true, &config, &err), 0);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct hull_error err;
	int pair[2];
	assert_non_null(w);
	w->loop.scratch = w->scratch;
	w->loop.scratch_size = sizeof(w->scratch);
	w->loop.owner = w;
	w->loop.idle = on_idle;
	assert_int_equal(loop_init(&w->loop, &err), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	side_open(w, &w->host, pair[0], HULL_WIRE_HOST);
	side_open(w, &w->guest, pair[1], HULL_WIRE_GUEST);
	*state = w;
	return 0;
}

static void close_handle(uv_handle_t *handle, void *unused)
{
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

static int teardown(void **state)
{
	struct world *w = *state;
	loop_link_close(&w->host.link);
	loop_link_close(&w->guest.link);
	uv_walk(&w->loop.uv, close_handle, NULL);
	uv_run(&w->loop.uv, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&w->loop.uv), 0);
	free(w);
	return 0;
}

static void connect_sides(struct world *w)
{
	assert_int_equal(hull_wire_hello(w->host.link.wire, 42), 0);
	assert_int_equal(loop_stream_open(&w->host.stream, &w->host.link, 7, NULL), 0);
	turn(w, 8);
	assert_true(w->guest.opened && w->host.accepted);
	assert_int_equal(w->guest.epoch, 42);
}

/* --- links and streams --- */

static void streams_pass_both_ways(void **state)
{
	struct world *w = *state;
	connect_sides(w);
	loop_stream_write(&w->host.stream, 0, "hello", 5);
	loop_stream_message(&w->guest.stream, "world", 6);
	loop_stream_eof(&w->host.stream);
	turn(w, 4);
	assert_int_equal(w->guest.received, 5);
	assert_string_equal(w->host.message, "world");
	assert_true(w->guest.eof && !w->guest.closed);
	loop_stream_eof(&w->guest.stream);
	turn(w, 4);
	assert_true(w->host.closed && w->guest.closed);
	assert_int_equal(w->host.closed_code, 0);
	assert_int_equal(w->host.stream.id, 0);
	assert_true(w->idle > 0);
	/* Harmless on a stream that is not open. */
	loop_stream_grant(&w->host.stream, 1);
	loop_stream_eof(&w->host.stream);
	loop_stream_reset(&w->host.stream, EIO, "");
	assert_int_equal(loop_stream_room(&w->host.stream), 0);
	assert_int_equal(loop_stream_write(&w->host.stream, 0, "x", 1), -ENOENT);
}

/* A reader that does not grant stops its writer after a window; one without `data` grants everything. */
static void credit_bounds_a_writer(void **state)
{
	struct world *w = *state;
	static const uint8_t block[4096];
	connect_sides(w);
	w->guest.grants = false;
	size_t sent = 0;
	for (unsigned i = 0; i < 400; i++) {
		ssize_t n = loop_stream_write(&w->host.stream, 0, block, sizeof(block));
		sent += n > 0 ? (size_t)n : 0;
		turn(w, 1);
	}
	assert_int_equal(sent, HULL_WIRE_WINDOW);
	assert_int_equal(w->guest.received, HULL_WIRE_WINDOW);
	w->guest.stream.ops = &DEAF;
	loop_stream_grant(&w->guest.stream, HULL_WIRE_WINDOW);
	for (unsigned i = 0; i < 4000 && sent < MANY; i++) {
		ssize_t n = loop_stream_write(&w->host.stream, 0, block, sizeof(block));
		sent += n > 0 ? (size_t)n : 0;
		turn(w, 1);
	}
	assert_true(sent >= MANY);
}

/* What does not fit into the window waits in the buffer; on a stream that is not open all of it does. */
static void a_buffer_is_pushed_by_and_by(void **state)
{
	struct world *w = *state;
	static const uint8_t block[HULL_WIRE_WINDOW + 1000];
	_cleanup_(hull_buf_free) struct hull_buf out = {0};
	connect_sides(w);
	w->guest.grants = false;
	assert_int_equal(hull_buf_add(&out, block, sizeof(block)), 0);
	loop_stream_push(&w->host.stream, 0, &out);
	assert_int_equal(out.len, 1000);
	turn(w, 200);
	assert_int_equal(w->guest.received, HULL_WIRE_WINDOW);
	loop_stream_grant(&w->guest.stream, HULL_WIRE_WINDOW);
	turn(w, 4);
	loop_stream_push(&w->host.stream, 0, &out);
	assert_int_equal(out.len, 0);
	turn(w, 4);
	assert_int_equal(w->guest.received, sizeof(block));
	loop_stream_reset(&w->host.stream, EIO, "");
	assert_int_equal(hull_buf_add(&out, block, 10), 0);
	loop_stream_push(&w->host.stream, 0, &out);
	assert_int_equal(out.len, 10);
}

static void a_held_link_sends_what_was_queued(void **state)
{
	struct world *w = *state;
	connect_sides(w);
	loop_stream_message(&w->host.stream, "before", 7);
	loop_link_hold(&w->host.link);
	loop_stream_message(&w->host.stream, "after", 6);
	turn(w, 4);
	assert_string_equal(w->guest.message, "before");
	loop_link_release(&w->host.link);
	turn(w, 4);
	assert_string_equal(w->guest.message, "after");
}

static void a_corked_loop_sends_nothing(void **state)
{
	struct world *w = *state;
	connect_sides(w);
	w->loop.corked = true;
	loop_stream_message(&w->host.stream, "secret", 7);
	turn(w, 4);
	assert_false(loop_link_flush(&w->host.link));
	assert_string_equal(w->guest.message, "");
	w->loop.corked = false;
	turn(w, 4);
	assert_string_equal(w->guest.message, "secret");
}

static void the_end_of_a_peer_ends_its_streams(void **state)
{
	struct world *w = *state;
	connect_sides(w);
	loop_link_close(&w->guest.link);
	loop_link_close(&w->guest.link); /* twice is fine */
	assert_true(w->guest.closed);
	assert_int_equal(w->guest.closed_code, -ECONNRESET);
	turn(w, 4);
	assert_true(w->guest.freed && !w->guest.gone);
	assert_true(w->host.gone && w->host.freed && w->host.closed);
	assert_int_equal(w->host.gone_code, 0);
	assert_int_equal(loop_stream_open(&w->host.stream, &w->host.link, 7, NULL), -EPIPE);
}

/* What the peer wrote before it closed with something unread is still read. */
static void last_words_are_read(void **state)
{
	struct world *w = *state;
	connect_sides(w);
	loop_stream_message(&w->host.stream, "unread", 7);
	loop_link_flush(&w->host.link);
	loop_stream_message(&w->guest.stream, "last", 5);
	loop_link_flush(&w->guest.link);
	loop_link_close(&w->guest.link);
	turn(w, 4);
	assert_string_equal(w->host.message, "last");
	assert_true(w->host.gone);
}

static void nonsense_ends_the_link(void **state)
{
	struct world *w = *state;
	char nonsense[64];
	memset(nonsense, 0xff, sizeof(nonsense));
	assert_int_equal(send(w->host.link.fd, nonsense, sizeof(nonsense), 0), sizeof(nonsense));
	turn(w, 2);
	assert_true(w->guest.gone && w->guest.freed);
	assert_int_equal(w->guest.gone_code, -EPROTO);
}

/* A peer that asks and never reads does not fill our memory. */
static void a_peer_that_never_reads_is_disconnected(void **state)
{
	struct world *w = *state;
	uint8_t text[HULL_WIRE_MESSAGE_MAX] = {0};
	connect_sides(w);
	uv_poll_stop(&w->guest.link.poll);
	for (unsigned i = 0; i < 400 && !w->host.gone; i++) {
		loop_stream_message(&w->host.stream, text, sizeof(text));
		turn(w, 1);
	}
	assert_true(w->host.gone && w->host.closed);
	assert_int_equal(w->host.gone_code, -EPROTO);
}

/* A stream between two sockets: what comes in on one goes out on the other, and credit follows what was written. */
static void a_stream_carries_a_socket(void **state)
{
	struct world *w = *state;
	int in[2], out[2], small = 4096;
	static uint8_t block[64 * 1024];
	struct hull_buf waiting = {0};
	connect_sides(w);
	w->guest.grants = false;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, in), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, out), 0);
	setsockopt(out[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	assert_int_equal(loop_stream_fill(&w->loop, &w->host.stream, in[1]), -EAGAIN); /* nothing is there */
	size_t sent = 0;
	for (unsigned i = 0; i < 200; i++) {
		ssize_t n = write(in[0], block, sizeof(block));
		ssize_t r = loop_stream_fill(&w->loop, &w->host.stream, in[1]);
		assert_true(r > 0 || r == -EAGAIN);
		sent += r > 0 ? (size_t)r : 0;
		turn(w, 1);
		assert_true(n > 0 || errno == EAGAIN);
	}
	assert_int_equal(sent, HULL_WIRE_WINDOW); /* no room: the rest stays in the socket */
	assert_int_equal(w->guest.received, HULL_WIRE_WINDOW);
	/* The far socket takes some; as much is granted. */
	assert_int_equal(hull_buf_add(&waiting, block, sizeof(block)), 0);
	assert_int_equal(loop_stream_drain(&w->guest.stream, &waiting, out[0]), 0);
	size_t written = sizeof(block) - waiting.len;
	assert_true(written > 0 && waiting.len > 0);
	close(out[1]);
	assert_true(loop_stream_drain(&w->guest.stream, &waiting, out[0]) < 0);
	hull_buf_free(&waiting);
	turn(w, 4);
	if (written >= HULL_WIRE_WINDOW / 4) /* smaller grants are sent together */
		assert_true(loop_stream_room(&w->host.stream) > 0);
	close(in[0]);
	w->guest.grants = true;
	loop_stream_grant(&w->guest.stream, HULL_WIRE_WINDOW);
	turn(w, 4);
	ssize_t r;
	while ((r = loop_stream_fill(&w->loop, &w->host.stream, in[1])) > 0 || r == -EAGAIN)
		turn(w, 2);
	assert_int_equal(r, 0); /* the end */
	close(in[1]);
	close(out[0]);
}

/* --- sockets and timers --- */

static void on_ready(struct loop_socket *s, int events)
{
	*(int *)s->owner |= events;
	loop_socket_watch(s, 0);
}

static void on_expired(void *owner)
{
	(*(int *)owner)++;
}

static void sockets_and_timers(void **state)
{
	struct world *w = *state;
	int pair[2], events = 0, fired = 0;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	struct loop_socket *s = loop_socket_new(&w->loop, pair[0], &events, on_ready);
	assert_non_null(s);
	assert_int_equal(write(pair[1], "x", 1), 1);
	turn(w, 2);
	assert_int_equal(events, 0); /* watched for nothing */
	loop_socket_watch(s, UV_READABLE);
	turn(w, 2);
	assert_int_equal(events, UV_READABLE);
	loop_socket_reset(s);
	loop_socket_close(NULL);
	close(pair[1]);
	/* A descriptor that cannot be watched is closed all the same. */
	int dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_null(loop_socket_new(&w->loop, dir, &events, on_ready));
	assert_int_equal(fcntl(dir, F_GETFD), -1);
	struct loop_timer *t = loop_timer_new(&w->loop, 0, &fired, on_expired);
	struct loop_timer *never = loop_timer_new(&w->loop, 0, &fired, on_expired);
	loop_timer_free(never);
	loop_timer_free(NULL);
	turn(w, 4);
	assert_int_equal(fired, 1);
	loop_timer_free(t);
}

/* --- children --- */

struct kid {
	struct loop_child child;
	bool exited, freed;
	int status;
};

static void on_exited(struct loop_child *c, int status)
{
	struct kid *k = container_of(c, struct kid, child);
	assert_int_equal(c->pid, 0);
	k->exited = true;
	k->status = status;
}

static void on_child_freed(struct loop_child *c)
{
	container_of(c, struct kid, child)->freed = true;
}

static pid_t kid_start(struct world *w, struct kid *k, int code)
{
	struct hull_error err;
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when the test fails */
		if (code < 0)
			pause();
		_exit(code);
	}
	k->child.exited = on_exited;
	k->child.freed = on_child_freed;
	assert_int_equal(loop_child_watch(&w->loop, &k->child, pid, pidfd_open(pid, 0), &err), 0);
	return pid;
}

static void until(struct world *w, const bool *what)
{
	while (!*what)
		uv_run(&w->loop.uv, UV_RUN_ONCE);
}

static void children_are_reaped(void **state)
{
	struct world *w = *state;
	struct kid k = {0}, killed = {0}, ended = {0};
	pid_t pid = kid_start(w, &k, 7);
	until(w, &k.freed);
	assert_true(k.exited && WIFEXITED(k.status) && WEXITSTATUS(k.status) == 7);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), -1);
	loop_child_kill(&k.child); /* harmless */
	loop_child_end(&k.child, 1000);

	kid_start(w, &killed, -1);
	loop_child_kill(&killed.child);
	until(w, &killed.freed);
	assert_true(killed.exited && WIFSIGNALED(killed.status) && WTERMSIG(killed.status) == SIGKILL);

	pid = kid_start(w, &ended, -1);
	loop_child_end(&ended.child, 10 * 1000);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), -1); /* gone already */
	until(w, &ended.freed);
	assert_false(ended.exited);
}

static void restarts_grow_patient_and_end(void **state)
{
	struct loop_restarts r = {.calm_ms = 1000, .delay_ms = 100, .delay_max = 500};
	const int64_t delays[] = {0, 100, 200, 400, 500, 500};
	for (size_t i = 0; i < sizeof(delays) / sizeof(*delays); i++) {
		loop_restarts_started(&r, 10 * i);
		assert_int_equal(loop_restarts_failed(&r, 10 * i + 5), delays[i]);
	}
	loop_restarts_started(&r, 100);
	assert_int_equal(loop_restarts_failed(&r, 2000), 0); /* it had lived long enough */

	struct loop_restarts few = {.calm_ms = 1000, .most = 2};
	assert_int_equal(loop_restarts_failed(&few, 1), 0);
	assert_int_equal(loop_restarts_failed(&few, 2), 0);
	assert_int_equal(loop_restarts_failed(&few, 3), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(streams_pass_both_ways, setup, teardown),
		cmocka_unit_test_setup_teardown(credit_bounds_a_writer, setup, teardown),
		cmocka_unit_test_setup_teardown(a_buffer_is_pushed_by_and_by, setup, teardown),
		cmocka_unit_test_setup_teardown(a_held_link_sends_what_was_queued, setup, teardown),
		cmocka_unit_test_setup_teardown(a_corked_loop_sends_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(the_end_of_a_peer_ends_its_streams, setup, teardown),
		cmocka_unit_test_setup_teardown(last_words_are_read, setup, teardown),
		cmocka_unit_test_setup_teardown(nonsense_ends_the_link, setup, teardown),
		cmocka_unit_test_setup_teardown(a_peer_that_never_reads_is_disconnected, setup, teardown),
		cmocka_unit_test_setup_teardown(a_stream_carries_a_socket, setup, teardown),
		cmocka_unit_test_setup_teardown(sockets_and_timers, setup, teardown),
		cmocka_unit_test_setup_teardown(children_are_reaped, setup, teardown),
		cmocka_unit_test(restarts_grow_patient_and_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
