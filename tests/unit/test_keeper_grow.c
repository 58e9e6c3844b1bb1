/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper while the disk of a running sandbox is made larger: the engine first, then what is written down, then the
 * guest. See keeper_rig.h. */
#include "keeper_rig.h"

static uint64_t resized; /* what the engine was asked for; 0 = nothing */

static int fake_grow(struct keeper *k, uint64_t bytes, struct hull_error *err)
{
	resized = bytes;
	return 0;
}

static void up(struct world *w)
{
	static struct machine_ops ops;
	ops = FAKE;
	ops.grow = fake_grow;
	w->k->machine_ops = &ops;
	resized = 0;
	until(w, w->k->guest->configured);
}

/* The size that the guest was told by GROW; 0 = it was not. */
static uint64_t told(struct world *w)
{
	const struct hull_buf *b = &end_of(&w->guest, w->control)->messages;
	struct hull_cur cur = hull_cur_make(hull_buf_bytes(b), b->len);
	while (hull_cur_left(&cur) > 0) {
		uint32_t n = hull_cur_le32(&cur);
		const uint8_t *m = hull_cur_take(&cur, n);
		struct hull_cur one = hull_cur_make(m + 1, n - 1);
		struct hull_arg a;
		if (m[0] == HULL_MSG_GROW && hull_args_next(&one, &a) && a.tag == HULL_TAG_DISK_BYTES)
			return hull_arg_u64(&a);
	}
	return 0;
}

static void say_grown(struct world *w, uint32_t code, const char *text)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	uint8_t kind = HULL_MSG_GROWN;
	hull_buf_add(&b, &kind, 1);
	hull_args_put_u32(&b, HULL_TAG_ERRNO, code);
	hull_args_put_str(&b, HULL_TAG_TEXT, text);
	assert_int_equal(hull_wire_message(w->guest.wire, w->control, hull_buf_bytes(&b), b.len), 0);
}

#define GROW_TO_32M "{\"do\":\"grow\",\"bytes\":33554432}"

static void test_grows(void **state)
{
	struct world *w = *state;
	up(w);
	struct peer *c = client(w, 0);
	struct end *e = request(c, GROW_TO_32M);
	until(w, resized == 32 << 20);
	/* A second one while it is under way. */
	struct end *second = request(c, "{\"do\":\"grow\",\"bytes\":67108864}");
	until(w, second->closed);
	assert_non_null(strstr(answer(second), "already"));
	assert_int_equal(told(w), 0);
	/* An answer to what was not asked yet. */
	say_grown(w, 0, "");
	settle(w);
	assert_false(e->closed);
	grow_resized(w->k, NULL);
	until(w, told(w) == 32 << 20);
	assert_false(e->closed);
	/* What is written down is what the next start goes by. */
	struct hull_sandbox sb;
	struct hull_error err;
	assert_int_equal(hull_sandbox_load(&w->k->paths, w->k->sb.name, &sb, &err), 0);
	assert_int_equal(sb.disk, 32 << 20);
	hull_sandbox_free(&sb);
	say_grown(w, 0, "");
	until(w, e->closed);
	assert_string_equal(answer(e), "{}");
	assert_int_equal(w->k->grow->bytes, 0);
}

static void test_refusals(void **state)
{
	struct world *w = *state;
	static const char *const bad[] = {"{\"do\":\"grow\"}", "{\"do\":\"grow\",\"bytes\":-1}",
					  "{\"do\":\"grow\",\"bytes\":1048576}", "{\"do\":\"grow\",\"bytes\":33554433}",
					  "{\"do\":\"grow\",\"bytes\":9000000000000000000}"};
	up(w);
	struct peer *c = client(w, 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct end *e = request(c, bad[i]);
		until(w, e->closed);
		assert_non_null(strstr(answer(e), "\"error\""));
	}
	assert_int_equal(resized, 0);
	assert_int_equal(w->k->sb.disk, 16 << 20);
}

/* The engine cannot: nothing has changed. The guest cannot: the size stands, and the next start grows the rest. */
static void test_failures(void **state)
{
	struct world *w = *state;
	up(w);
	struct peer *c = client(w, 0);
	struct end *e = request(c, GROW_TO_32M);
	until(w, resized);
	grow_resized(w->k, "no room");
	until(w, e->closed);
	assert_non_null(strstr(answer(e), "no room"));
	assert_int_equal(w->k->sb.disk, 16 << 20);
	assert_int_equal(told(w), 0);

	e = request(c, GROW_TO_32M);
	until(w, w->k->grow->bytes);
	grow_resized(w->k, NULL);
	until(w, told(w));
	say_grown(w, EIO, "bad \033superblock");
	until(w, e->closed);
	assert_non_null(strstr(answer(e), "the next start grows it"));
	assert_null(strchr(answer(e), '\033'));
	assert_int_equal(w->k->sb.disk, 32 << 20);
	/* An answer that nobody waits for, and one that makes no sense. */
	say_grown(w, 0, "");
	settle(w);
	assert_int_equal(w->k->life.phase, PHASE_RUNNING);
}

/* A guest that never answers is given up, and what it says then is not an answer. */
static void test_silent_guest(void **state)
{
	struct world *w = *state;
	up(w);
	w->k->grow->wait_ms = 30;
	struct end *e = request(client(w, 0), GROW_TO_32M);
	until(w, resized);
	grow_resized(w->k, NULL);
	until(w, e->closed);
	assert_non_null(strstr(answer(e), "the next start grows it"));
	assert_int_equal(w->k->grow->bytes, 0);
	say_grown(w, 0, "");
	settle(w);
	assert_int_equal(w->k->sb.disk, 32 << 20);
}

/* A guest that never answers does not hold up the end. */
static void test_stops_meanwhile(void **state)
{
	struct world *w = *state;
	up(w);
	struct peer *c = client(w, 0);
	struct end *e = request(c, GROW_TO_32M);
	until(w, resized);
	grow_resized(w->k, NULL);
	w->k->events->stop(w->k, 0);
	until(w, e->closed);
	assert_non_null(strstr(answer(e), "\"error\""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_grows, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failures, setup, teardown),
		cmocka_unit_test_setup_teardown(test_silent_guest, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stops_meanwhile, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
