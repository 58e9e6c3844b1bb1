/* SPDX-License-Identifier: Apache-2.0 */
/* The wire as a whole: epochs, restarts, versions, calls from inside events, death, and how bytes are cut. */
#include "wire_rig.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "wire/args.h"
#include "wire/service.h"

#include <poll.h>
#include <sys/socket.h>

/* --- epochs --- */

static void test_new_epoch(void **state)
{
	struct end host;
	struct end guest;
	pair_init(&host, &guest);
	guest.auto_accept = true;
	uint32_t id = must_open(&host, 2, "");
	must_open(&guest, 16, "");
	pump(&host, &guest);
	end_log(&host);
	end_log(&guest);
	/* Old frames are under way in both directions, one of them partly sent. */
	hull_wire_write(host.w, id, 0, "old", 3);
	hull_wire_write(guest.w, id, 0, "old", 3);
	must_open(&guest, 17, "old");
	pump_some(&host, &guest, 5, 5);
	assert_int_equal(hull_wire_hello(host.w, 8), 0);
	assert_int_equal(hull_wire_streams(host.w), 0);
	const char *log = end_log(&host);
	assert_non_null(strstr(log, "closed:1:-104:"));
	assert_non_null(strstr(log, "closed:2:-104:"));
	uint32_t fresh = must_open(&host, 2, "new"); /* not waiting for the answer */
	assert_int_not_equal(fresh, id);
	pump_some(&guest, &host, SIZE_MAX, SIZE_MAX);
	assert_log(&host, "");
	pump(&host, &guest);
	log = end_log(&guest);
	assert_non_null(strstr(log, "data:1:0:old")); /* its frame was begun before the new epoch */
	const char *hello = strstr(log, "hello:1:8 open:3:2:new");
	assert_non_null(hello);
	assert_null(strstr(hello, "closed"));
	assert_int_equal(guest.closed, 3);
	assert_log(&host, "hello:1:8 accepted:3:");
	/* Two HELLOs in a row: only the last one's answer counts. */
	assert_int_equal(hull_wire_hello(host.w, 9), 0);
	pump_some(&host, &guest, SIZE_MAX, SIZE_MAX);
	assert_int_equal(hull_wire_hello(host.w, 10), 0);
	end_log(&host);
	pump(&host, &guest);
	assert_log(&host, "hello:1:10");
	end_free(&host);
	end_free(&guest);
}

static void test_restart(void **state)
{
	struct end guest;
	struct hull_buf b = {0};
	struct hull_error err = {0};
	end_init(&guest, HULL_WIRE_GUEST);
	frame_hello(&b, 1, 5);
	frame_put(&b, 1, HULL_WIRE_OPEN, 0, "\2", 1);
	frame_put(&b, 1, HULL_WIRE_DATA, 0, "0123456789", 10);
	assert_int_equal(hull_wire_feed(guest.w, hull_buf_bytes(&b), b.len - 4, &err), 0); /* amid a frame */
	hull_buf_drain(&b, b.len);
	end_take(&guest, 3, 3, NULL); /* and amid one of ours */
	end_log(&guest);
	assert_int_equal(hull_wire_restart(guest.w), 0);
	assert_log(&guest, "closed:1:-104:the wire was reopened");
	const uint8_t *p;
	assert_int_equal(hull_wire_output(guest.w, &p), 0);
	frame_hello(&b, 1, 6);
	frame_put(&b, 1, HULL_WIRE_OPEN, 0, "\2", 1);
	assert_int_equal(feed_frames(&guest, &b, &err), 0);
	assert_log(&guest, "hello:1:6 open:1:2:");
	assert_int_equal(hull_wire_output(guest.w, &p), HULL_WIRE_HEADER + 20);
	/* A dead wire lives again. */
	frame_put(&b, 1, 77, 0, NULL, 0);
	assert_int_equal(feed_frames(&guest, &b, &err), -EPROTO);
	assert_true(hull_wire_dead(guest.w));
	assert_int_equal(hull_wire_restart(guest.w), 0);
	assert_false(hull_wire_dead(guest.w));
	end_log(&guest);
	frame_hello(&b, 1, 7);
	assert_int_equal(feed_frames(&guest, &b, &err), 0);
	assert_log(&guest, "hello:1:7");
	hull_buf_free(&b);
	end_free(&guest);
}

static void test_resync_after_restore(void **state)
{
	struct end host;
	struct hull_buf b = {0};
	struct hull_error err = {0};
	static const uint64_t epoch = 0x1122334455667788;
	for (size_t cut = 0; cut < 60; cut++) {
		end_init_config(&host, &(struct hull_wire_config){.side = HULL_WIRE_HOST, .resync = true});
		assert_int_equal(hull_wire_hello(host.w, epoch), 0);
		/* The rest of an old frame, an old HELLO, whole old frames, half of one; then the answer. */
		frame_put(&b, 4, HULL_WIRE_DATA, 0, "0123456789", 10);
		frame_hello(&b, 1, 99);
		frame_put(&b, 4, HULL_WIRE_DATA, 0, "0123456789", 10);
		hull_buf_drain(&b, cut);
		frame_hello(&b, 1, epoch);
		frame_put(&b, 2, HULL_WIRE_OPEN, 0, "\x10", 1);
		for (size_t i = 0; i < b.len; i++)
			assert_int_equal(hull_wire_feed(host.w, hull_buf_bytes(&b) + i, 1, &err), 0);
		hull_buf_drain(&b, b.len);
		assert_non_null(strstr(end_log(&host), "hello:1:1234605616436508552"));
		end_free(&host);
	}
	/* It does not search for ever. */
	static uint8_t noise[65536];
	end_init_config(&host, &(struct hull_wire_config){.side = HULL_WIRE_HOST, .resync = true});
	hull_wire_hello(host.w, epoch);
	int r = 0;
	unsigned rounds = 0;
	while (r == 0 && rounds++ < 1000)
		r = hull_wire_feed(host.w, noise, sizeof(noise), &err);
	assert_int_equal(r, -EPROTO);
	assert_true(rounds < 100);
	end_free(&host);
	hull_buf_free(&b);
}

static void test_versions(void **state)
{
	struct end host;
	struct end guest;
	struct hull_buf b = {0};
	struct hull_error err = {0};
	end_init(&host, HULL_WIRE_HOST);
	hull_wire_hello(host.w, 3);
	frame_hello(&b, 2, 3);
	assert_int_equal(feed_frames(&host, &b, &err), -EPROTO);
	assert_non_null(strstr(err.msg, "version 2"));
	assert_non_null(strstr(err.msg, "version 1"));
	assert_non_null(strstr(err.msg, "rebuild the image"));
	assert_non_null(strstr(err.msg, "restart the sandbox"));
	end_free(&host);
	/* A guest answers a version it does not speak with its own, skips what follows, and waits for a better HELLO.
	 */
	end_init(&guest, HULL_WIRE_GUEST);
	frame_hello(&b, 9, 3);
	frame_put(&b, 1, HULL_WIRE_OPEN, 0, "\2", 1);
	assert_int_equal(feed_frames(&guest, &b, &err), 0);
	assert_log(&guest, "");
	struct hull_buf answer = {0};
	struct hull_buf wanted = {0};
	end_take(&guest, SIZE_MAX, SIZE_MAX, &answer);
	frame_hello(&wanted, 1, 3);
	assert_int_equal(answer.len, wanted.len);
	assert_memory_equal(hull_buf_bytes(&answer), hull_buf_bytes(&wanted), wanted.len);
	frame_hello(&b, 1, 4);
	assert_int_equal(feed_frames(&guest, &b, &err), 0);
	assert_log(&guest, "hello:1:4");
	end_free(&guest);
	hull_buf_free(&answer);
	hull_buf_free(&wanted);
	hull_buf_free(&b);
}

/* --- reentrancy --- */

static void reset_it(struct end *e, uint32_t stream)
{
	assert_int_equal(hull_wire_reset(e->w, stream, EIO, "enough"), 0);
	assert_int_equal(hull_wire_grant(e->w, stream, 1), -ENOENT);
}
static void eof_it(struct end *e, uint32_t stream)
{
	assert_int_equal(hull_wire_eof(e->w, stream), 0);
}
static void feed_it(struct end *e, uint32_t stream)
{
	assert_int_equal(hull_wire_feed(e->w, "x", 1, NULL), -EBUSY);
}
static void restart_it(struct end *e, uint32_t stream)
{
	assert_int_equal(hull_wire_restart(e->w), 0);
}
static void say_hello_again(struct end *e, uint32_t stream)
{
	assert_int_equal(hull_wire_hello(e->w, 1000), 0);
}
static void open_another(struct end *e, uint32_t stream)
{
	uint32_t id;
	hull_wire_open(e->w, 5, "z", 1, NULL, &id);
}

static void test_calls_inside_events(void **state)
{
	struct end host;
	struct end guest;
	pair_init(&host, &guest);
	_cleanup_free_ char *args = calloc(1, 100000);
	uint32_t id;
	/* Reset inside its own open (of many fragments), data, and EOF event. */
	guest.on_open = reset_it;
	assert_int_equal(hull_wire_open(host.w, 2, args, 100000, NULL, &id), 0);
	pump(&host, &guest);
	assert_log(&guest, "open:1:2:100000 closed:1:-125:reset by this side");
	assert_log(&host, "closed:1:-5:enough");
	guest.on_open = NULL;
	guest.auto_accept = true;
	guest.on_data = reset_it;
	id = must_open(&host, 2, "");
	hull_wire_write(host.w, id, 0, "a", 1);
	hull_wire_message(host.w, id, "b", 1);
	hull_wire_write(host.w, id, 0, "c", 1);
	pump(&host, &guest);
	assert_log(&guest, "open:3:2: data:3:0:a closed:3:-125:reset by this side");
	guest.on_data = feed_it;
	guest.on_eof = reset_it;
	id = must_open(&host, 2, "");
	hull_wire_write(host.w, id, 0, "a", 1);
	hull_wire_eof(host.w, id);
	pump(&host, &guest);
	assert_log(&guest, "open:5:2: data:5:0:a eof:5 closed:5:-125:reset by this side");
	/* EOF answered with EOF. */
	guest.on_data = NULL;
	guest.on_eof = eof_it;
	id = must_open(&host, 2, "");
	hull_wire_eof(host.w, id);
	pump(&host, &guest);
	assert_log(&guest, "open:7:2: eof:7 closed:7:0:");
	/* A new stream out of the end of an old one; also when all end at once. */
	end_log(&host);
	host.on_closed = open_another;
	id = must_open(&host, 2, "");
	hull_wire_reset(host.w, id, EIO, "");
	assert_int_equal(hull_wire_streams(host.w), 1);
	assert_int_equal(hull_wire_hello(host.w, 8), 0);
	host.on_closed = NULL;
	end_log(&guest);
	pump(&host, &guest);
	assert_non_null(strstr(end_log(&guest), "hello:1:8 open:13:5:z"));
	/* A new epoch out of a data event of the old one. */
	id = must_open(&host, 2, "");
	pump(&host, &guest);
	host.on_data = say_hello_again;
	hull_wire_write(guest.w, id, 0, "one", 3);
	hull_wire_write(guest.w, id, 1, "two", 3);
	end_log(&host);
	pump(&host, &guest);
	const char *log = end_log(&host);
	assert_non_null(strstr(log, "data:15:0:one closed:"));
	assert_null(strstr(log, "two"));
	assert_non_null(strstr(log, "hello:1:1000"));
	host.on_data = NULL;
	end_free(&host);
	/* A restart out of an event: the rest of what was fed is dropped. */
	struct hull_buf b = {0};
	guest.on_open = restart_it;
	guest.auto_accept = false;
	frame_hello(&b, 1, 1);
	frame_put(&b, 1, HULL_WIRE_OPEN, 0, "\2", 1);
	frame_put(&b, 1, HULL_WIRE_DATA, 0, "x", 1);
	end_log(&guest);
	assert_int_equal(feed_frames(&guest, &b, NULL), 0);
	assert_log(&guest, "hello:1:1 open:1:2: closed:1:-104:the wire was reopened");
	hull_buf_free(&b);
	end_free(&guest);
}

/* Freed with streams open: each is closed once, and calls from there do nothing. */
static void test_free_closes(void **state)
{
	struct end host;
	struct end guest;
	pair_init(&host, &guest);
	must_open(&host, 2, "");
	must_open(&host, 2, "");
	host.on_closed = open_another;
	end_free(&host);
	assert_int_equal(host.closed, 2);
	end_free(&guest);
}

/* A wire that dies outside of feed leaves the streams alone until the owner comes to look. */
static void test_death_outside_feed(void **state)
{
	struct end host;
	struct end guest;
	end_init_config(&host, &(struct hull_wire_config){.side = HULL_WIRE_HOST, .queue_max_control = 10000});
	hull_wire_hello(host.w, 1);
	uint32_t id = must_open(&host, 2, "");
	static char text[1000];
	int r = 0;
	unsigned sent = 0;
	size_t outputs = host.outputs;
	while ((r = hull_wire_message(host.w, id, text, sizeof(text))) == 0)
		assert_true(++sent < 20);
	assert_int_equal(r, -EPIPE);
	assert_true(hull_wire_dead(host.w));
	assert_int_equal(host.closed, 0);
	assert_int_equal(host.outputs, outputs + 1);
	const uint8_t *p;
	assert_int_equal(hull_wire_output(host.w, &p), 0);
	assert_int_equal(host.closed, 1);
	struct hull_error err = {0};
	assert_int_equal(hull_wire_feed(host.w, "x", 1, &err), -ENOBUFS);
	assert_non_null(strstr(err.msg, "does not read"));
	assert_int_equal(hull_wire_open(host.w, 1, NULL, 0, NULL, &id), -EPIPE);
	assert_int_equal(hull_wire_write(host.w, id, 0, "x", 1), -EPIPE);
	assert_int_equal(hull_wire_hello(host.w, 9), -EPIPE);
	end_init(&guest, HULL_WIRE_GUEST);
	end_free(&host);
	end_free(&guest);
}

/* --- over a socket pair --- */

static void exchange(struct end *e, int fd, bool readable, bool writable)
{
	uint8_t raw[3000];
	const uint8_t *p;
	ssize_t n;
	if (writable && (n = (ssize_t)hull_wire_output(e->w, &p)) > 0) {
		n = send(fd, p, (size_t)n, MSG_NOSIGNAL);
		assert_true(n > 0 || errno == EAGAIN);
		if (n > 0)
			hull_wire_sent(e->w, (size_t)n);
	}
	if (readable && (n = read(fd, raw, sizeof(raw))) > 0)
		assert_int_equal(hull_wire_feed(e->w, raw, (size_t)n, NULL), 0);
}

static void test_over_a_socketpair(void **state)
{
	enum { TOTAL = 3 << 20 };
	int fds[2];
	struct end ends[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	end_init(&ends[0], HULL_WIRE_HOST);
	end_init(&ends[1], HULL_WIRE_GUEST);
	for (unsigned i = 0; i < 2; i++)
		ends[i].quiet = ends[i].auto_accept = ends[i].auto_grant = true;
	hull_wire_hello(ends[0].w, 1);
	uint32_t id = must_open(&ends[0], 2, "");
	static char bytes[100000];
	size_t left = TOTAL;
	while (ends[1].data_bytes < TOTAL) {
		size_t n = left < sizeof(bytes) ? left : sizeof(bytes);
		ssize_t took = n ? hull_wire_write(ends[0].w, id, 0, bytes, n) : 0;
		assert_true(took >= 0);
		left -= (size_t)took;
		struct pollfd polls[2];
		for (unsigned i = 0; i < 2; i++) {
			const uint8_t *p;
			short events = hull_wire_output(ends[i].w, &p) ? POLLIN | POLLOUT : POLLIN;
			polls[i] = (struct pollfd){.fd = fds[i], .events = events};
		}
		assert_true(poll(polls, 2, 10000) > 0);
		for (unsigned i = 0; i < 2; i++)
			exchange(&ends[i], fds[i], polls[i].revents & POLLIN, polls[i].revents & POLLOUT);
	}
	assert_int_equal(ends[1].data_bytes, TOTAL);
	for (unsigned i = 0; i < 2; i++) {
		close(fds[i]);
		end_free(&ends[i]);
	}
}

/* --- how bytes are cut --- */

/* All kinds of frames, host to guest. */
static void script(struct hull_buf *b)
{
	_cleanup_free_ char *args = calloc(1, 400);
	frame_hello(b, 1, 42);
	frame_put(b, 1, HULL_WIRE_OPEN, 0, "\2abc", 4);
	frame_put(b, 3, HULL_WIRE_OPEN, HULL_WIRE_MORE, args, 300);
	frame_put(b, 1, HULL_WIRE_DATA, 0, "hello", 5);
	frame_put(b, 3, HULL_WIRE_OPEN, 0, args, 100);
	frame_put(b, 1, HULL_WIRE_MESSAGE, 0, "resize", 6);
	frame_put(b, 3, HULL_WIRE_DATA, 7, "x", 1);
	frame_put(b, 3, HULL_WIRE_RESET, 0, "\5\0\0\0why", 7);
	frame_put(b, 3, HULL_WIRE_DATA, 0, "ignored", 7);
	frame_put(b, 1, HULL_WIRE_EOF, 0, NULL, 0);
}
static const char script_log[] = "hello:1:42 open:1:2:abc data:1:0:hello open:3:0:399 message:1:resize data:3:7:x "
				 "closed:3:-5:why eof:1";

static void test_every_cut(void **state)
{
	struct hull_buf b = {0};
	struct hull_error err = {0};
	script(&b);
	for (size_t cut = 0; cut <= b.len; cut++) {
		struct end guest;
		end_init(&guest, HULL_WIRE_GUEST);
		guest.auto_accept = true;
		assert_int_equal(hull_wire_feed(guest.w, hull_buf_bytes(&b), cut, &err), 0);
		assert_int_equal(hull_wire_feed(guest.w, hull_buf_bytes(&b) + cut, b.len - cut, &err), 0);
		assert_log(&guest, script_log);
		end_free(&guest);
		/* Cut off for good: every stream that began also ends. */
		end_init(&guest, HULL_WIRE_GUEST);
		assert_int_equal(hull_wire_feed(guest.w, hull_buf_bytes(&b), cut, &err), 0);
		size_t streams = hull_wire_streams(guest.w);
		unsigned before = guest.closed;
		end_free(&guest);
		assert_int_equal(guest.closed, before + streams);
	}
	struct end guest;
	end_init(&guest, HULL_WIRE_GUEST);
	for (size_t i = 0; i < b.len; i++)
		assert_int_equal(hull_wire_feed(guest.w, hull_buf_bytes(&b) + i, 1, &err), 0);
	assert_log(&guest, script_log);
	end_free(&guest);
	hull_buf_free(&b);
}

/* --- docs/internals/wire.md, section 9 --- */

static const uint8_t example_host[] = {
	0,    0,    0,    0,    1,    0,    0,    0,    0x14, 0, 0, 0,                                  /* HELLO */
	0x48, 0x55, 0x4c, 0x4c, 0x57, 0x49, 0x52, 0x45, 1,    0, 0, 0, 8,    7,    6,    5, 4, 3, 2, 1, /* */
	1,    0,    0,    0,    2,    0,    0,    0,    0x0a, 0, 0, 0, 2,    1,    0,    3, 0, 0, 0, 0x63,
	0x61, 0x74,                                                                      /* OPEN */
	1,    0,    0,    0,    5,    0,    0,    0,    3,    0, 0, 0, 0x68, 0x69, 0x0a, /* DATA */
	1,    0,    0,    0,    8,    0,    0,    0,    0,    0, 0, 0,                   /* EOF */
};
static const uint8_t example_guest[] = {
	0,    0,    0,    0,    1,    0,    0,    0,    0x14, 0, 0, 0,                                     /* HELLO */
	0x48, 0x55, 0x4c, 0x4c, 0x57, 0x49, 0x52, 0x45, 1,    0, 0, 0, 8,    7,    6,    5, 4, 3, 2,    1, /* */
	1,    0,    0,    0,    3,    0,    0,    0,    0x0a, 0, 0, 0, 9,    0,    4,    0, 0, 0, 0x2a, 0,
	0,    0,                                                                         /* ACCEPT */
	1,    0,    0,    0,    5,    0,    0,    0,    3,    0, 0, 0, 0x68, 0x69, 0x0a, /* DATA */
	1,    0,    0,    0,    6,    0,    0,    0,    0x0b, 0, 0, 0, 0x30, 0x0a, 0,    4, 0, 0, 0,    0,
	0,    0,    0,                                                 /* MESSAGE */
	1,    0,    0,    0,    8,    0,    0,    0,    0,    0, 0, 0, /* EOF */
};

static void test_documented_example(void **state)
{
	struct end host;
	struct end guest;
	struct hull_buf args = {0};
	struct hull_buf out = {0};
	end_init(&host, HULL_WIRE_HOST);
	end_init(&guest, HULL_WIRE_GUEST);
	uint32_t id;
	hull_wire_hello(host.w, 0x0102030405060708);
	hull_args_put_str(&args, HULL_TAG_ARGV, "cat");
	hull_wire_open(host.w, HULL_SVC_EXEC, hull_buf_bytes(&args), args.len, NULL, &id);
	hull_wire_write(host.w, id, HULL_CHANNEL_MAIN, "hi\n", 3);
	hull_wire_eof(host.w, id);
	end_take(&host, SIZE_MAX, SIZE_MAX, &out);
	assert_int_equal(out.len, sizeof(example_host));
	assert_memory_equal(hull_buf_bytes(&out), example_host, out.len);
	hull_buf_drain(&args, args.len);
	hull_buf_drain(&out, out.len);
	assert_int_equal(hull_wire_feed(guest.w, example_host, sizeof(example_host), NULL), 0);
	hull_args_put_u32(&args, HULL_TAG_PID, 42);
	hull_wire_accept(guest.w, id, hull_buf_bytes(&args), args.len);
	hull_buf_drain(&args, args.len);
	hull_wire_write(guest.w, id, HULL_CHANNEL_MAIN, "hi\n", 3);
	hull_buf_add(&args, &(uint8_t){HULL_MSG_EXIT}, 1);
	hull_args_put_u32(&args, HULL_TAG_STATUS, 0);
	hull_wire_message(guest.w, id, hull_buf_bytes(&args), args.len);
	hull_wire_eof(guest.w, id);
	end_take(&guest, SIZE_MAX, SIZE_MAX, &out);
	assert_int_equal(out.len, sizeof(example_guest));
	assert_memory_equal(hull_buf_bytes(&out), example_guest, out.len);
	assert_int_equal(hull_wire_feed(host.w, example_guest, sizeof(example_guest), NULL), 0);
	assert_int_equal(hull_wire_streams(host.w) + hull_wire_streams(guest.w), 0);
	hull_buf_free(&args);
	hull_buf_free(&out);
	end_free(&host);
	end_free(&guest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_new_epoch),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_resync_after_restore),
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_calls_inside_events),
		cmocka_unit_test(test_free_closes),
		cmocka_unit_test(test_death_outside_feed),
		cmocka_unit_test(test_over_a_socketpair),
		cmocka_unit_test(test_every_cut),
		cmocka_unit_test(test_documented_example),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
