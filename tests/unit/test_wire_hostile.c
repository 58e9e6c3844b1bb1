/* SPDX-License-Identifier: Apache-2.0 */
/* The wire against a peer that breaks the rules: every violation ends the wire with a message and closes each stream
 * once, what merely crossed on the way is ignored, and no flood grows our memory past the limits. */
#include "wire_rig.h"

#include "base/bytes.h"
#include "wire/args.h"
#include "wire/internal.h"

#define W HULL_WIRE_WINDOW

/* Frames in a table: type, stream, flags, payload. A test's guest has HELLO and these streams behind it:
 *   1 open and accepted, 3 open and not accepted, 5 ended, 2 opened by the guest, 4 the same and accepted. */
struct frame {
	uint32_t stream;
	uint8_t type;
	uint8_t flags;
	size_t n;
	const char *p;
};

static void guest_with_streams(struct end *guest)
{
	struct hull_buf b = {0};
	end_init(guest, HULL_WIRE_GUEST);
	frame_hello(&b, 1, 1);
	for (uint32_t id = 1; id <= 5; id += 2)
		frame_put(&b, id, HULL_WIRE_OPEN, 0, "\2", 1);
	frame_put(&b, 5, HULL_WIRE_RESET, 0, "\1\0\0\0", 4);
	assert_int_equal(feed_frames(guest, &b, NULL), 0);
	assert_int_equal(hull_wire_accept(guest->w, 1, NULL, 0), 0);
	assert_int_equal(must_open(guest, 16, ""), 2);
	assert_int_equal(must_open(guest, 16, ""), 4);
	frame_put(&b, 4, HULL_WIRE_ACCEPT, 0, NULL, 0);
	assert_int_equal(feed_frames(guest, &b, NULL), 0);
	assert_int_equal(hull_wire_streams(guest->w), 4);
	hull_buf_free(&b);
	end_log(guest);
}

static const char zeros[HULL_WIRE_PAYLOAD_MAX + 1];

static void test_violations(void **state)
{
	static const struct {
		const char *what;
		struct frame f[3];
	} cases[] = {
		{"type 0", {{1, 0, 0, 0, NULL}}},
		{"type 10", {{1, 10, 0, 0, NULL}}},
		{"type 255", {{1, 255, 0, 0, NULL}}},
		{"HELLO on a stream", {{1, HULL_WIRE_HELLO, 0, 20, "HULLWIRE\1\0\0\0\1\0\0\0\0\0\0\0"}}},
		{"HELLO too short", {{0, HULL_WIRE_HELLO, 0, 19, zeros}}},
		{"HELLO without magic", {{0, HULL_WIRE_HELLO, 0, 20, zeros}}},
		{"HELLO 1 too long", {{0, HULL_WIRE_HELLO, 0, 21, "HULLWIRE\1\0\0\0\1\0\0\0\0\0\0\0\0"}}},
		{"stream 0", {{0, HULL_WIRE_DATA, 0, 1, "x"}}},
		{"flags of OPEN", {{7, HULL_WIRE_OPEN, 2, 1, "x"}}},
		{"flags of DATA", {{1, HULL_WIRE_DATA, 16, 1, "x"}}},
		{"flags of EOF", {{1, HULL_WIRE_EOF, 1, 0, NULL}}},
		{"OPEN without service", {{7, HULL_WIRE_OPEN, 0, 0, NULL}}},
		{"DATA too long", {{1, HULL_WIRE_DATA, 0, HULL_WIRE_PAYLOAD_MAX + 1, zeros}}},
		{"DATA empty", {{1, HULL_WIRE_DATA, 0, 0, NULL}}},
		{"MESSAGE too long", {{1, HULL_WIRE_MESSAGE, 0, HULL_WIRE_MESSAGE_MAX + 1, zeros}}},
		{"MESSAGE empty", {{1, HULL_WIRE_MESSAGE, 0, 0, NULL}}},
		{"CREDIT too short", {{2, HULL_WIRE_CREDIT, 0, 3, zeros}}},
		{"CREDIT too long", {{2, HULL_WIRE_CREDIT, 0, 5, zeros}}},
		{"CREDIT of nothing", {{2, HULL_WIRE_CREDIT, 0, 4, zeros}}},
		{"CREDIT above the window", {{2, HULL_WIRE_CREDIT, 0, 4, "\1\0\0\0"}}},
		{"CREDIT of 4 GiB", {{2, HULL_WIRE_CREDIT, 0, 4, "\xff\xff\xff\xff"}}},
		{"EOF with payload", {{1, HULL_WIRE_EOF, 0, 1, "x"}}},
		{"RESET without code", {{1, HULL_WIRE_RESET, 0, 3, zeros}}},
		{"RESET too long", {{1, HULL_WIRE_RESET, 0, HULL_WIRE_MESSAGE_MAX + 1, zeros}}},
		{"REFUSE without code", {{2, HULL_WIRE_REFUSE, 0, 0, NULL}}},
		{"OPEN of an open id", {{1, HULL_WIRE_OPEN, 0, 1, "x"}}},
		{"OPEN of an ended id", {{5, HULL_WIRE_OPEN, 0, 1, "x"}}},
		{"OPEN of a lower id", {{9, HULL_WIRE_OPEN, 0, 1, "x"}, {7, HULL_WIRE_OPEN, 0, 1, "x"}}},
		{"OPEN of our parity", {{8, HULL_WIRE_OPEN, 0, 1, "x"}}},
		{"OPEN of our stream", {{2, HULL_WIRE_OPEN, 0, 1, "x"}}},
		{"OPEN amid another", {{7, HULL_WIRE_OPEN, HULL_WIRE_MORE, 1, "x"}, {9, HULL_WIRE_OPEN, 0, 1, "x"}}},
		{"DATA amid its OPEN", {{7, HULL_WIRE_OPEN, HULL_WIRE_MORE, 1, "x"}, {7, HULL_WIRE_DATA, 0, 1, "x"}}},
		{"OPEN going on after RESET",
		 {{7, HULL_WIRE_OPEN, HULL_WIRE_MORE, 1, "x"},
		  {7, HULL_WIRE_RESET, 0, 4, "\1\0\0\0"},
		  {7, HULL_WIRE_OPEN, 0, 1, "x"}}},
		{"DATA of a stream that never was", {{7, HULL_WIRE_DATA, 0, 1, "x"}}},
		{"DATA of ours that never was", {{6, HULL_WIRE_DATA, 0, 1, "x"}}},
		{"RESET of a stream that never was", {{7, HULL_WIRE_RESET, 0, 4, zeros}}},
		{"ACCEPT of its own stream", {{1, HULL_WIRE_ACCEPT, 0, 0, NULL}}},
		{"REFUSE of its own stream", {{1, HULL_WIRE_REFUSE, 0, 4, zeros}}},
		{"ACCEPT twice", {{4, HULL_WIRE_ACCEPT, 0, 0, NULL}}},
		{"REFUSE after ACCEPT", {{4, HULL_WIRE_REFUSE, 0, 4, zeros}}},
		{"DATA before ACCEPT", {{2, HULL_WIRE_DATA, 0, 1, "x"}}},
		{"MESSAGE before ACCEPT", {{2, HULL_WIRE_MESSAGE, 0, 1, "x"}}},
		{"EOF before ACCEPT", {{2, HULL_WIRE_EOF, 0, 0, NULL}}},
		{"DATA after EOF", {{1, HULL_WIRE_EOF, 0, 0, NULL}, {1, HULL_WIRE_DATA, 0, 1, "x"}}},
		{"MESSAGE after EOF", {{1, HULL_WIRE_EOF, 0, 0, NULL}, {1, HULL_WIRE_MESSAGE, 0, 1, "x"}}},
		{"EOF twice", {{1, HULL_WIRE_EOF, 0, 0, NULL}, {1, HULL_WIRE_EOF, 0, 0, NULL}}},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct end guest;
		struct hull_buf b = {0};
		struct hull_error err = {0};
		guest_with_streams(&guest);
		for (size_t k = 0; k < 3 && (k == 0 || cases[i].f[k].stream); k++) {
			const struct frame *f = &cases[i].f[k];
			frame_put(&b, f->stream, f->type, f->flags, f->p, f->n);
		}
		unsigned closed_before = guest.closed;
		if (feed_frames(&guest, &b, &err) != -EPROTO)
			fail_msg("%s was taken", cases[i].what);
		assert_true(err.msg[0] != '\0');
		assert_true(hull_wire_dead(guest.w));
		assert_in_range(guest.closed - closed_before, 4, 5);
		assert_int_equal(hull_wire_streams(guest.w), 0);
		/* Dead for good, and harmless. */
		const uint8_t *p;
		unsigned closed = guest.closed;
		assert_int_equal(hull_wire_output(guest.w, &p), 0);
		hull_wire_sent(guest.w, 10);
		struct hull_error again = {0};
		assert_int_equal(hull_wire_feed(guest.w, "x", 1, &again), -EPROTO);
		assert_string_equal(again.msg, err.msg);
		end_free(&guest);
		assert_int_equal(guest.closed, closed);
		hull_buf_free(&b);
	}
}

static void test_reserved_bits(void **state)
{
	struct end guest;
	guest_with_streams(&guest);
	for (unsigned byte = 6; byte < 8; byte++) {
		uint8_t raw[12] = {1, 0, 0, 0, HULL_WIRE_EOF};
		raw[byte] = 1;
		assert_int_equal(hull_wire_feed(guest.w, raw, sizeof(raw), NULL), -EPROTO);
	}
	end_free(&guest);
}

static void test_before_hello(void **state)
{
	struct hull_buf b = {0};
	struct end host;
	struct end guest;
	end_init(&guest, HULL_WIRE_GUEST);
	frame_put(&b, 1, HULL_WIRE_OPEN, 0, "\2", 1);
	assert_int_equal(feed_frames(&guest, &b, NULL), -EPROTO);
	end_free(&guest);
	/* The host's side: a guest that speaks unasked, before its HELLO, with a wrong epoch, or says HELLO twice. */
	end_init(&host, HULL_WIRE_HOST);
	frame_hello(&b, 1, 1);
	assert_int_equal(feed_frames(&host, &b, NULL), -EPROTO);
	end_free(&host);
	end_init(&host, HULL_WIRE_HOST);
	hull_wire_hello(host.w, 1);
	frame_put(&b, 2, HULL_WIRE_OPEN, 0, "\2", 1);
	assert_int_equal(feed_frames(&host, &b, NULL), -EPROTO);
	end_free(&host);
	end_init(&host, HULL_WIRE_HOST);
	hull_wire_hello(host.w, 1);
	frame_hello(&b, 1, 2);
	assert_int_equal(feed_frames(&host, &b, NULL), -EPROTO);
	end_free(&host);
	end_init(&host, HULL_WIRE_HOST);
	hull_wire_hello(host.w, 1);
	frame_hello(&b, 1, 1);
	frame_hello(&b, 1, 1);
	assert_int_equal(feed_frames(&host, &b, NULL), -EPROTO);
	end_free(&host);
	hull_buf_free(&b);
}

static void test_crossing_frames_are_ignored(void **state)
{
	struct end guest;
	struct hull_buf b = {0};
	guest_with_streams(&guest);
	assert_int_equal(hull_wire_reset(guest.w, 1, EIO, ""), 0);
	assert_int_equal(hull_wire_reset(guest.w, 2, EIO, ""), 0);
	end_log(&guest);
	static const uint32_t ended[] = {1, 2, 5};
	for (size_t i = 0; i < 3; i++) {
		frame_put(&b, ended[i], HULL_WIRE_ACCEPT, 0, NULL, 0);
		frame_put(&b, ended[i], HULL_WIRE_DATA, 0, zeros, HULL_WIRE_PAYLOAD_MAX);
		frame_put(&b, ended[i], HULL_WIRE_MESSAGE, 0, "x", 1);
		frame_u32(&b, ended[i], HULL_WIRE_CREDIT, 12345);
		frame_put(&b, ended[i], HULL_WIRE_EOF, 0, NULL, 0);
		frame_u32(&b, ended[i], HULL_WIRE_RESET, 5);
	}
	assert_int_equal(feed_frames(&guest, &b, NULL), 0);
	assert_log(&guest, "");
	/* Credit for a stream whose EOF we have sent is no offence either. */
	assert_int_equal(hull_wire_write(guest.w, 4, 0, "abc", 3), 3);
	assert_int_equal(hull_wire_eof(guest.w, 4), 0);
	frame_u32(&b, 4, HULL_WIRE_CREDIT, 3);
	assert_int_equal(feed_frames(&guest, &b, NULL), 0);
	assert_log(&guest, "credit:4:3");
	hull_buf_free(&b);
	end_free(&guest);
}

static void test_more_data_than_credit(void **state)
{
	struct end guest;
	struct hull_buf b = {0};
	struct hull_error err = {0};
	guest_with_streams(&guest);
	guest.quiet = true;
	for (unsigned i = 0; i < W / HULL_WIRE_PAYLOAD_MAX; i++)
		frame_put(&b, 1, HULL_WIRE_DATA, 0, zeros, HULL_WIRE_PAYLOAD_MAX);
	assert_int_equal(feed_frames(&guest, &b, &err), 0);
	/* Granted, but not told: the peer cannot know of it, and may not use it. */
	assert_int_equal(hull_wire_grant(guest.w, 1, W), 0);
	frame_put(&b, 1, HULL_WIRE_DATA, 0, "x", 1);
	assert_int_equal(feed_frames(&guest, &b, &err), -EPROTO);
	assert_non_null(strstr(err.msg, "credit"));
	assert_int_equal(guest.data_bytes, W);
	hull_buf_free(&b);
	end_free(&guest);
}

static void test_codes_and_messages_of_the_peer(void **state)
{
	struct end guest;
	struct hull_buf b = {0};
	guest_with_streams(&guest);
	frame_put(&b, 1, HULL_WIRE_RESET, 0, "\xff\xff\xff\xff", 4);
	frame_put(&b, 2, HULL_WIRE_REFUSE, 0, "\0\0\0\0", 4);
	frame_put(&b, 4, HULL_WIRE_RESET, 0, "\x20\0\0\0cut\0here", 12);
	assert_int_equal(feed_frames(&guest, &b, NULL), 0);
	assert_log(&guest, "closed:1:-5: closed:2:-5: closed:4:-32:cut");
	char *long_text = malloc(10000);
	memset(long_text, 'a', 9999);
	long_text[9999] = '\0';
	end_take(&guest, SIZE_MAX, SIZE_MAX, NULL);
	assert_int_equal(hull_wire_refuse(guest.w, 3, ENOENT, long_text), 0);
	assert_int_equal(end_take(&guest, SIZE_MAX, SIZE_MAX, NULL), HULL_WIRE_HEADER + 4 + WIRE_TEXT_MAX);
	free(long_text);
	hull_buf_free(&b);
	end_free(&guest);
}

/* --- floods --- */

static void test_too_many_streams(void **state)
{
	struct end guest;
	struct hull_buf b = {0};
	struct hull_buf out = {0};
	end_init_config(&guest, &(struct hull_wire_config){.side = HULL_WIRE_GUEST, .max_inbound = 2});
	frame_hello(&b, 1, 1);
	frame_put(&b, 1, HULL_WIRE_OPEN, 0, "\2", 1);
	frame_put(&b, 3, HULL_WIRE_OPEN, 0, "\2", 1);
	assert_int_equal(feed_frames(&guest, &b, NULL), 0);
	end_take(&guest, SIZE_MAX, SIZE_MAX, NULL);
	end_log(&guest);
	/* The third is refused at its first fragment, the rest of it and what was sent behind it are skipped. */
	for (unsigned i = 0; i < 100; i++)
		frame_put(&b, 5, HULL_WIRE_OPEN, i < 99 ? HULL_WIRE_MORE : 0, zeros, HULL_WIRE_PAYLOAD_MAX);
	frame_put(&b, 5, HULL_WIRE_DATA, 0, "x", 1);
	frame_put(&b, 5, HULL_WIRE_EOF, 0, NULL, 0);
	assert_int_equal(feed_frames(&guest, &b, NULL), 0);
	assert_int_equal(guest.w->opening_args.cap, 0);
	assert_log(&guest, "");
	end_take(&guest, SIZE_MAX, SIZE_MAX, &out);
	struct hull_cur c = hull_cur_make(hull_buf_bytes(&out), out.len);
	assert_int_equal(hull_cur_le32(&c), 5);
	assert_int_equal(hull_cur_u8(&c), HULL_WIRE_REFUSE);
	hull_cur_take(&c, 7);
	assert_int_equal(hull_cur_le32(&c), EAGAIN);
	/* One ends, another may begin. */
	frame_u32(&b, 1, HULL_WIRE_RESET, 5);
	frame_put(&b, 7, HULL_WIRE_OPEN, 0, "\2", 1);
	assert_int_equal(feed_frames(&guest, &b, NULL), 0);
	assert_log(&guest, "closed:1:-5: open:7:2:");
	hull_buf_free(&b);
	hull_buf_free(&out);
	end_free(&guest);
}

static void test_open_without_end(void **state)
{
	struct end guest;
	struct hull_buf b = {0};
	guest_with_streams(&guest);
	int r = 0;
	unsigned frames = 0;
	while (r == 0 && frames++ < 1000) {
		frame_put(&b, 7, HULL_WIRE_OPEN, HULL_WIRE_MORE, zeros, HULL_WIRE_PAYLOAD_MAX);
		r = feed_frames(&guest, &b, NULL);
		assert_true(guest.w->opening_args.cap <= 2 * (HULL_WIRE_ARGS_MAX + HULL_WIRE_PAYLOAD_MAX));
	}
	assert_int_equal(r, -EPROTO);
	assert_int_equal(frames, HULL_WIRE_ARGS_MAX / HULL_WIRE_PAYLOAD_MAX + 1);
	hull_buf_free(&b);
	end_free(&guest);
}

/* A peer that asks and never reads: refusals, HELLO answers, credit. */
static void flood_and_never_read(const struct frame *f, size_t count, bool counting_ids)
{
	struct end guest;
	struct hull_buf b = {0};
	struct hull_error err = {0};
	guest_with_streams(&guest);
	guest.quiet = guest.auto_accept = guest.auto_grant = true;
	guest.w->config.queue_max_control = 1 << 20; /* the real limit takes longer */
	int r = 0;
	uint32_t id = 7;
	for (unsigned i = 0; i < 200000 && r == 0; i++) {
		for (size_t k = 0; k < count; k++)
			frame_put(&b, f[k].stream == 7 ? id : f[k].stream, f[k].type, f[k].flags, f[k].p, f[k].n);
		if (counting_ids)
			id += 2;
		r = feed_frames(&guest, &b, &err);
		const uint8_t *p;
		hull_wire_output(guest.w, &p); /* the owner would send, but the peer's side is full */
		assert_true(guest.w->out.cap <= 4 << 20);
		assert_true(hull_wire_streams(guest.w) <= 110);
	}
	assert_int_equal(r, -ENOBUFS);
	assert_non_null(strstr(err.msg, "does not read"));
	hull_buf_free(&b);
	end_free(&guest);
}

static void test_asks_and_never_reads(void **state)
{
	const struct frame opens[] = {{7, HULL_WIRE_OPEN, 0, 1, "\2"}};
	const struct frame open_and_reset[] = {{7, HULL_WIRE_OPEN, 0, 1, "\2"}, {7, HULL_WIRE_RESET, 0, 4, zeros}};
	const struct frame hellos[] = {{0, HULL_WIRE_HELLO, 0, 20, "HULLWIRE\1\0\0\0\1\0\0\0\0\0\0\0"}};
	flood_and_never_read(opens, 1, true);
	flood_and_never_read(open_and_reset, 2, true);
	flood_and_never_read(hellos, 1, false);
}

/* Credit the peer was not told of cannot be used, so data alone cannot go on for ever either. */
static void test_data_without_reading_credit(void **state)
{
	struct end guest;
	struct hull_buf b = {0};
	guest_with_streams(&guest);
	guest.quiet = true;
	guest.auto_grant = true;
	int r = 0;
	unsigned frames = 0;
	while (r == 0 && frames++ < 1000) {
		frame_put(&b, 1, HULL_WIRE_DATA, 0, zeros, HULL_WIRE_PAYLOAD_MAX);
		r = feed_frames(&guest, &b, NULL); /* and no output is asked for */
	}
	assert_int_equal(r, -EPROTO);
	assert_int_equal(frames, W / HULL_WIRE_PAYLOAD_MAX + 1);
	hull_buf_free(&b);
	end_free(&guest);
}

/* --- arguments --- */

static void test_args(void **state)
{
	struct hull_buf b = {0};
	assert_int_equal(hull_args_put_str(&b, 1, "make"), 0);
	assert_int_equal(hull_args_put_str(&b, 1, ""), 0);
	assert_int_equal(hull_args_put_u32(&b, 6, 0xdeadbeef), 0);
	assert_int_equal(hull_args_put_u64(&b, 17, 0x1122334455667788), 0);
	assert_int_equal(hull_args_put(&b, 19, "a\0b", 3), 0);
	struct hull_cur c = hull_cur_make(hull_buf_bytes(&b), b.len);
	struct hull_arg a;
	assert_true(hull_args_next(&c, &a));
	assert_int_equal(a.tag, 1);
	char *s = hull_arg_str(&a);
	assert_string_equal(s, "make");
	free(s);
	assert_true(hull_args_next(&c, &a));
	s = hull_arg_str(&a);
	assert_string_equal(s, "");
	free(s);
	assert_true(hull_args_next(&c, &a));
	assert_int_equal(hull_arg_u32(&a), 0xdeadbeef);
	assert_int_equal(hull_arg_u64(&a), 0);
	assert_true(hull_args_next(&c, &a));
	assert_int_equal(hull_arg_u64(&a), 0x1122334455667788);
	assert_int_equal(hull_arg_u32(&a), 0);
	assert_true(hull_args_next(&c, &a));
	assert_null(hull_arg_str(&a));
	assert_int_equal(a.n, 3);
	assert_false(hull_args_next(&c, &a));
	assert_false(c.bad);
	/* Cut anywhere but between fields, the list is bad, and says so. */
	static const size_t ends[] = {0, 10, 16, 26, 40, 49};
	for (size_t cut = 0; cut <= b.len; cut++) {
		bool whole = false;
		for (size_t i = 0; i < 6; i++)
			whole |= ends[i] == cut;
		c = hull_cur_make(hull_buf_bytes(&b), cut);
		while (hull_args_next(&c, &a))
			;
		assert_int_equal(c.bad, !whole);
	}
	static const uint8_t lies[] = {1, 0, 0xff, 0xff, 0xff, 0xff, 'x'};
	c = hull_cur_make(lies, sizeof(lies));
	assert_false(hull_args_next(&c, &a));
	assert_true(c.bad);
	hull_buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_violations),
		cmocka_unit_test(test_reserved_bits),
		cmocka_unit_test(test_before_hello),
		cmocka_unit_test(test_crossing_frames_are_ignored),
		cmocka_unit_test(test_more_data_than_credit),
		cmocka_unit_test(test_codes_and_messages_of_the_peer),
		cmocka_unit_test(test_too_many_streams),
		cmocka_unit_test(test_open_without_end),
		cmocka_unit_test(test_asks_and_never_reads),
		cmocka_unit_test(test_data_without_reading_credit),
		cmocka_unit_test(test_args),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
