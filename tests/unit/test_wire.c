/* SPDX-License-Identifier: Apache-2.0 */
/* The wire, stream by stream: a stream's life, flow control, limits, turns. */
#include "wire_rig.h"

#include "base/cleanup.h"

#define W HULL_WIRE_WINDOW

/* --- a stream's life --- */

static void test_life(void **state)
{
	struct end host;
	struct end guest;
	pair_init(&host, &guest);
	uint32_t id = must_open(&host, 2, "argv");
	assert_int_equal(id, 1);
	assert_int_equal(hull_wire_write(host.w, id, 0, "early", 5), 5);
	pump(&host, &guest);
	assert_log(&guest, "open:1:2:argv data:1:0:early");
	assert_int_equal(hull_wire_write(guest.w, id, 0, "x", 1), -ENOTCONN);
	assert_int_equal(hull_wire_message(guest.w, id, "x", 1), -ENOTCONN);
	assert_int_equal(hull_wire_accept(guest.w, id, "pid", 3), 0);
	assert_int_equal(hull_wire_accept(guest.w, id, "pid", 3), -EINVAL);
	assert_int_equal(hull_wire_write(guest.w, id, 1, "err", 3), 3);
	assert_int_equal(hull_wire_message(guest.w, id, "exit", 4), 0);
	assert_int_equal(hull_wire_eof(guest.w, id), 0);
	assert_int_equal(hull_wire_eof(guest.w, id), -EPIPE);
	assert_int_equal(hull_wire_write(guest.w, id, 0, "x", 1), -EPIPE);
	pump(&host, &guest);
	assert_log(&host, "accepted:1:pid data:1:1:err message:1:exit eof:1");
	assert_int_equal(hull_wire_write(host.w, id, 0, "late", 4), 4); /* half-closed the other way only */
	assert_int_equal(hull_wire_eof(host.w, id), 0);
	assert_log(&host, "closed:1:0:");
	pump(&host, &guest);
	assert_log(&guest, "data:1:0:late eof:1 closed:1:0:");
	assert_int_equal(hull_wire_write(host.w, id, 0, "x", 1), -ENOENT);
	assert_int_equal(hull_wire_streams(host.w) + hull_wire_streams(guest.w), 0);
	/* The guest's streams are even. */
	id = must_open(&guest, 16, "a");
	assert_int_equal(id, 2);
	pump(&host, &guest);
	assert_int_equal(hull_wire_refuse(host.w, id, -ECONNREFUSED, "no such host"), 0);
	assert_log(&host, "open:2:16:a closed:2:-125:refused");
	pump(&host, &guest);
	assert_log(&guest, "closed:2:-111:no such host");
	end_free(&host);
	end_free(&guest);
}

static void test_reset(void **state)
{
	struct end host;
	struct end guest;
	pair_init(&host, &guest);
	guest.auto_accept = true;
	uint32_t id = must_open(&host, 2, "");
	pump(&host, &guest);
	end_log(&host);
	end_log(&guest);
	/* Both reset at once, with data crossing: each learns of its own end only, and nobody objects. */
	assert_int_equal(hull_wire_write(guest.w, id, 0, "abc", 3), 3);
	assert_int_equal(hull_wire_reset(host.w, id, ECANCELED, "went away"), 0);
	assert_int_equal(hull_wire_reset(guest.w, id, EIO, NULL), 0);
	pump(&host, &guest);
	assert_log(&host, "closed:1:-125:reset by this side");
	assert_log(&guest, "closed:1:-125:reset by this side");
	/* Before it was accepted, the opener may reset too. */
	guest.auto_accept = false;
	id = must_open(&host, 2, "");
	assert_int_equal(hull_wire_reset(host.w, id, EINTR, "no"), 0);
	pump(&host, &guest);
	assert_log(&guest, "open:3:2: closed:3:-4:no");
	assert_int_equal(hull_wire_accept(guest.w, id, NULL, 0), -ENOENT);
	end_free(&host);
	end_free(&guest);
}

static void test_user_pointers(void **state)
{
	struct end host;
	struct end guest;
	int mark;
	pair_init(&host, &guest);
	uint32_t id;
	assert_int_equal(hull_wire_open(host.w, 1, NULL, 0, &mark, &id), 0);
	assert_ptr_equal(hull_wire_user(host.w, id), &mark);
	pump(&host, &guest);
	assert_null(hull_wire_user(guest.w, id));
	hull_wire_set_user(guest.w, id, &mark);
	assert_ptr_equal(hull_wire_user(guest.w, id), &mark);
	assert_null(hull_wire_user(guest.w, 99));
	hull_wire_set_user(guest.w, 99, &mark);
	end_free(&host);
	end_free(&guest);
}

static void test_open_arguments(void **state)
{
	struct end host;
	struct end guest;
	pair_init(&host, &guest);
	static const size_t sizes[] = {0,
				       1,
				       HULL_WIRE_PAYLOAD_MAX - 1,
				       HULL_WIRE_PAYLOAD_MAX,
				       2 * HULL_WIRE_PAYLOAD_MAX - 1,
				       HULL_WIRE_ARGS_MAX};
	_cleanup_free_ char *args = malloc(HULL_WIRE_ARGS_MAX + 1);
	memset(args, 'a', HULL_WIRE_ARGS_MAX + 1);
	uint32_t id;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char want[64];
		assert_int_equal(hull_wire_open(host.w, 9, args, sizes[i], NULL, &id), 0);
		pump_by(&host, &guest, 4099);
		if (sizes[i] > 64)
			snprintf(want, sizeof(want), "open:%u:9:%zu", id, sizes[i]);
		else
			snprintf(want, sizeof(want), "open:%u:9:%.*s", id, (int)sizes[i], args);
		assert_log(&guest, want);
		assert_int_equal(guest.last_open, id);
	}
	assert_int_equal(hull_wire_open(host.w, 9, args, HULL_WIRE_ARGS_MAX + 1, NULL, &id), -EMSGSIZE);
	/* A burst of large ones is held back before it fills the memory, and then goes on. */
	int r;
	unsigned taken = 0;
	while ((r = hull_wire_open(host.w, 9, args, HULL_WIRE_ARGS_MAX, NULL, &id)) == 0)
		taken++;
	assert_int_equal(r, -EAGAIN);
	assert_in_range(taken, 1, 4);
	pump(&host, &guest);
	assert_int_equal(hull_wire_open(host.w, 9, args, HULL_WIRE_ARGS_MAX, NULL, &id), 0);
	end_free(&host);
	end_free(&guest);
}

static void test_limits_of_calls(void **state)
{
	struct end host;
	struct end guest;
	end_init(&host, HULL_WIRE_HOST);
	end_init(&guest, HULL_WIRE_GUEST);
	uint32_t id;
	assert_int_equal(hull_wire_open(host.w, 1, NULL, 0, NULL, &id), -ENOTCONN);
	assert_int_equal(hull_wire_open(guest.w, 1, NULL, 0, NULL, &id), -ENOTCONN);
	assert_int_equal(hull_wire_hello(guest.w, 1), -EINVAL);
	assert_int_equal(hull_wire_hello(host.w, 1), 0);
	assert_int_equal(hull_wire_hello(host.w, 1), -EINVAL);
	pump(&host, &guest);
	guest.auto_accept = true;
	id = must_open(&host, 1, "");
	static char big[HULL_WIRE_PAYLOAD_MAX + 1];
	assert_int_equal(hull_wire_write(host.w, id, 16, "x", 1), -EINVAL);
	assert_int_equal(hull_wire_message(host.w, id, big, 0), -EMSGSIZE);
	assert_int_equal(hull_wire_message(host.w, id, big, HULL_WIRE_MESSAGE_MAX + 1), -EMSGSIZE);
	assert_int_equal(hull_wire_message(host.w, id, big, HULL_WIRE_MESSAGE_MAX), 0);
	assert_int_equal(hull_wire_accept(host.w, id, NULL, 0), -EINVAL);
	assert_int_equal(hull_wire_refuse(host.w, id, 1, NULL), -EINVAL);
	assert_int_equal(hull_wire_relay(host.w, id, 0, big, sizeof(big)), 0);
	guest.quiet = true;
	pump(&host, &guest);
	assert_int_equal(guest.data_bytes, sizeof(big));
	uint32_t other = must_open(&guest, 1, "");
	pump(&host, &guest);
	assert_int_equal(hull_wire_accept(host.w, other, big, sizeof(big)), -EMSGSIZE);
	assert_int_equal(hull_wire_accept(host.w, other, big, sizeof(big) - 1), 0);
	pump(&host, &guest);
	end_free(&host);
	end_free(&guest);
}

/* --- flow control --- */

static void test_credit(void **state)
{
	struct end host;
	struct end guest;
	pair_init(&host, &guest);
	host.quiet = guest.quiet = true;
	guest.auto_accept = true;
	static char bytes[2 * W];
	uint32_t id = must_open(&host, 2, "");
	size_t sent = 0;
	ssize_t n;
	while ((n = hull_wire_write(host.w, id, 0, bytes, sizeof(bytes))) > 0) {
		sent += (size_t)n;
		pump(&host, &guest);
	}
	assert_int_equal(sent, W);
	assert_int_equal(guest.data_bytes, W);
	assert_int_equal(hull_wire_relay(host.w, id, 0, bytes, 1), -EAGAIN);
	/* Nothing was consumed: there is no credit, however often one looks. */
	pump(&host, &guest);
	assert_int_equal(hull_wire_writable(host.w, id), 0);
	/* Small grants of an empty window go out at once; together as one frame. */
	host.quiet = false;
	assert_int_equal(hull_wire_grant(guest.w, id, 100), 0);
	assert_int_equal(hull_wire_grant(guest.w, id, 50), 0);
	pump(&host, &guest);
	assert_log(&host, "credit:1:150 writable:1");
	assert_int_equal(hull_wire_writable(host.w, id), 150);
	/* More than was received is capped: the window is never exceeded. */
	assert_int_equal(hull_wire_grant(guest.w, id, SIZE_MAX), 0);
	pump(&host, &guest);
	assert_int_equal(hull_wire_writable(host.w, id), W);
	assert_int_equal(hull_wire_grant(guest.w, id, 1), 0);
	/* With a window nearly full a small grant is held back, and goes out when it is needed. */
	assert_int_equal(hull_wire_write(host.w, id, 0, bytes, 1000), 1000);
	pump(&host, &guest);
	end_log(&host);
	assert_int_equal(hull_wire_grant(guest.w, id, 1000), 0);
	pump(&host, &guest);
	assert_log(&host, "");
	assert_int_equal(hull_wire_write(host.w, id, 0, bytes, W / 2), W / 2);
	pump(&host, &guest);
	assert_log(&host, "credit:1:1000");
	/* After the peer's EOF there is nothing to grant. */
	assert_int_equal(hull_wire_eof(host.w, id), 0);
	pump(&host, &guest);
	assert_int_equal(hull_wire_grant(guest.w, id, W / 2), 0);
	pump(&host, &guest);
	assert_log(&host, "");
	end_free(&host);
	end_free(&guest);
}

/* A stream without credit does not hold up the others. */
static void test_no_head_of_line_blocking(void **state)
{
	struct end host;
	struct end guest;
	pair_init(&host, &guest);
	guest.auto_accept = true;
	host.quiet = guest.quiet = true;
	static char bytes[W];
	uint32_t stuck = must_open(&host, 2, "");
	uint32_t free_one = must_open(&host, 2, "");
	while (hull_wire_write(host.w, stuck, 0, bytes, sizeof(bytes)) > 0)
		pump(&host, &guest);
	guest.quiet = false;
	end_log(&guest);
	assert_int_equal(hull_wire_write(host.w, free_one, 0, "through", 7), 7);
	pump(&host, &guest);
	assert_log(&guest, "data:3:0:through");
	end_free(&host);
	end_free(&guest);
}

static unsigned writable_calls[64];
static void refill(struct end *e, uint32_t stream)
{
	static char bytes[2 * W]; /* always more than it takes */
	writable_calls[stream / 2 % 64]++;
	hull_wire_write(e->w, stream, 0, bytes, sizeof(bytes));
}

/* Streams that wait for room in the queue get their turns, and one that does not wait is not called. */
static void test_fair_turns(void **state)
{
	enum { STREAMS = 20 };
	struct end host;
	struct end guest;
	pair_init(&host, &guest);
	host.quiet = guest.quiet = true;
	guest.auto_accept = guest.auto_grant = true;
	host.on_writable = refill;
	memset(writable_calls, 0, sizeof(writable_calls));
	for (unsigned i = 0; i < STREAMS; i++) {
		uint32_t id = must_open(&host, 2, "");
		refill(&host, id);
		writable_calls[id / 2 % 64] = 0;
	}
	uint32_t idle = must_open(&host, 2, "");
	for (unsigned i = 0; i < 200; i++) {
		pump_some(&host, &guest, 100000, 50000);
		pump_some(&guest, &host, SIZE_MAX, 50000);
	}
	unsigned least = writable_calls[0];
	unsigned most = writable_calls[0];
	for (unsigned i = 1; i < STREAMS; i++) {
		least = writable_calls[i] < least ? writable_calls[i] : least;
		most = writable_calls[i] > most ? writable_calls[i] : most;
	}
	assert_true(least > 10);
	assert_true(most <= 2 * least);
	assert_int_equal(writable_calls[idle / 2 % 64], 0);
	end_free(&host);
	end_free(&guest);
}

static void test_queue_is_bounded(void **state)
{
	struct end host;
	struct end guest;
	pair_init(&host, &guest);
	host.quiet = true;
	static char bytes[W];
	size_t taken = 0;
	for (unsigned i = 0; i < 50; i++) {
		uint32_t id = must_open(&host, 2, "");
		taken += (size_t)hull_wire_write(host.w, id, 0, bytes, sizeof(bytes));
		assert_true(hull_wire_writable(host.w, id) == 0);
	}
	assert_in_range(taken, 512 * 1024 - HULL_WIRE_PAYLOAD_MAX, 512 * 1024 + HULL_WIRE_PAYLOAD_MAX);
	/* A relay passes on what it got against credit all the same. */
	assert_int_equal(hull_wire_relay(host.w, 99, 0, bytes, 1000), 0);
	end_free(&host);
	end_free(&guest);
}

/* One-byte writes share frames; what the owner has seen is not touched. */
static void test_small_writes_share_frames(void **state)
{
	struct end host;
	struct end guest;
	pair_init(&host, &guest);
	guest.auto_accept = true;
	uint32_t a = must_open(&host, 2, "");
	uint32_t b = must_open(&host, 2, "");
	end_take(&host, SIZE_MAX, SIZE_MAX, NULL);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(hull_wire_write(host.w, a, 0, "x", 1), 1);
	const uint8_t *p;
	assert_int_equal(hull_wire_output(host.w, &p), HULL_WIRE_HEADER + 100);
	assert_int_equal(hull_wire_write(host.w, a, 0, "y", 1), 1); /* shown: a frame of its own */
	assert_int_equal(hull_wire_output(host.w, &p), 2 * HULL_WIRE_HEADER + 101);
	assert_int_equal(p[8], 100);
	hull_wire_sent(host.w, 2 * HULL_WIRE_HEADER + 101);
	hull_wire_write(host.w, a, 0, "1", 1);
	hull_wire_write(host.w, b, 0, "2", 1);
	hull_wire_write(host.w, b, 1, "3", 1);
	hull_wire_write(host.w, b, 1, "4", 1);
	assert_int_equal(hull_wire_output(host.w, &p), 3 * HULL_WIRE_HEADER + 4);
	end_free(&host);
	end_free(&guest);
}

static void test_ten_thousand_streams(void **state)
{
	enum { STREAMS = 12000 };
	struct end host;
	struct end guest;
	end_init(&host, HULL_WIRE_HOST);
	end_init_config(&guest, &(struct hull_wire_config){.side = HULL_WIRE_GUEST, .max_inbound = STREAMS});
	hull_wire_hello(host.w, 1);
	host.quiet = guest.quiet = guest.auto_accept = guest.auto_grant = true;
	for (unsigned i = 0; i < STREAMS; i++) {
		uint32_t id = must_open(&host, 2, "x");
		assert_int_equal(id, 2 * i + 1);
		if (i % 1000 == 0)
			pump(&host, &guest);
	}
	pump(&host, &guest);
	assert_int_equal(hull_wire_streams(guest.w), STREAMS);
	for (unsigned i = 0; i < STREAMS; i++)
		assert_int_equal(hull_wire_write(host.w, 2 * i + 1, 0, "0123456789", 10), 10);
	pump(&host, &guest);
	assert_int_equal(guest.data_bytes, 10 * STREAMS);
	for (unsigned i = 0; i < STREAMS; i++)
		assert_int_equal(i % 3 ? hull_wire_reset(host.w, 2 * i + 1, EIO, "") : hull_wire_eof(host.w, 2 * i + 1),
				 0);
	pump(&host, &guest);
	assert_int_equal(hull_wire_streams(guest.w), STREAMS / 3);
	assert_int_equal(guest.closed, STREAMS - STREAMS / 3);
	end_free(&host);
	end_free(&guest);
	assert_int_equal(host.closed, STREAMS);
	assert_int_equal(guest.closed, STREAMS);
}

static void test_output_event_comes_once(void **state)
{
	struct end host;
	struct end guest;
	pair_init(&host, &guest);
	size_t before = host.outputs;
	uint32_t id = must_open(&host, 2, "");
	hull_wire_write(host.w, id, 0, "x", 1);
	assert_int_equal(host.outputs, before + 1);
	end_take(&host, SIZE_MAX, SIZE_MAX, NULL);
	hull_wire_write(host.w, id, 0, "x", 1);
	assert_int_equal(host.outputs, before + 2);
	end_free(&host);
	end_free(&guest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_life),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_user_pointers),
		cmocka_unit_test(test_open_arguments),
		cmocka_unit_test(test_limits_of_calls),
		cmocka_unit_test(test_credit),
		cmocka_unit_test(test_no_head_of_line_blocking),
		cmocka_unit_test(test_fair_turns),
		cmocka_unit_test(test_queue_is_bounded),
		cmocka_unit_test(test_small_writes_share_frames),
		cmocka_unit_test(test_ten_thousand_streams),
		cmocka_unit_test(test_output_event_comes_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
