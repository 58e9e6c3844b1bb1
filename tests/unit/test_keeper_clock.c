/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's clock is told, measured and corrected, and never by a timer. See keeper_rig.h and keeper/guest/clock.c.
 */
#include "keeper_rig.h"

static const int64_t SECOND = 1000000000;

static bool right(const struct world *w)
{
	return w->clock_error < SECOND / 100 && w->clock_error > -SECOND / 100;
}

static void test_told_when_configured(void **state)
{
	struct world *w = *state;
	w->clock_error = 3 * SECOND;
	until(w, w->times >= 2 && right(w));
	assert_true(w->times <= 4);
}

/* A machine that was paused runs again: the clock is behind, or (the host's was set back) ahead. */
static void test_told_when_it_runs_again(void **state)
{
	struct world *w = *state;
	until(w, w->times > 0);
	settle(w);
	static const int64_t errors[] = {SECOND, -5 * SECOND, 100 * SECOND};
	for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++) {
		w->clock_error = errors[i];
		w->k->events->machine_runs(w->k);
		until(w, right(w));
	}
}

/* Between a save's "be quiet" and its end nothing may be sent; then the time is. */
static void test_told_after_a_save(void **state)
{
	struct world *w = *state;
	until(w, w->times > 0);
	settle(w);
	assert_int_equal(guest_quiesce(w->k, false), 0);
	settle(w);
	unsigned before = w->times;
	w->k->events->machine_runs(w->k);
	settle(w);
	assert_int_equal(w->times, before);
	w->clock_error = SECOND;
	guest_release(w->k);
	until(w, right(w));
}

static void test_told_to_a_guest_at_work(void **state)
{
	struct world *w = *state;
	until(w, w->times > 0);
	settle(w);
	unsigned before = w->times;
	struct peer *c = client(w, 0);
	struct end *e = exec(c, "job");
	until(w, e->closed);
	assert_int_equal(w->times, before); /* it was told lately */
	w->k->clock->last_ms -= 61 * 1000;
	w->clock_error = SECOND;
	e = exec(c, "job");
	until(w, e->closed && right(w));
	/* And by what it sends by itself. */
	w->k->clock->last_ms -= 61 * 1000;
	w->clock_error = SECOND;
	say_docker(w, "ready", "");
	until(w, right(w));
}

/* One that answers nonsense, or without being asked, is not asked for ever. */
static void test_nonsense(void **state)
{
	struct world *w = *state;
	until(w, w->times > 0);
	settle(w);
	unsigned before = w->times;
	for (int i = 0; i < 10; i++) {
		_cleanup_(hull_buf_free) struct hull_buf b = {0};
		uint8_t kind = HULL_MSG_CLOCK;
		hull_buf_add(&b, &kind, 1);
		hull_args_put_u64(&b, HULL_TAG_TIME_NS, i ? UINT64_MAX : 0);
		hull_args_put_u64(&b, HULL_TAG_GUEST_NS, UINT64_MAX - (uint64_t)i);
		hull_wire_message(w->guest.wire, w->control, hull_buf_bytes(&b), b.len);
	}
	settle(w);
	assert_int_equal(w->times, before);
	w->clock_stuck = true;
	w->k->events->machine_runs(w->k);
	settle(w);
	assert_true(w->times - before <= 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_told_when_configured, setup, teardown),
		cmocka_unit_test_setup_teardown(test_told_when_it_runs_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_told_after_a_save, setup, teardown),
		cmocka_unit_test_setup_teardown(test_told_to_a_guest_at_work, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nonsense, setup, teardown),
	};
	return cmocka_run_group_tests_name("keeper_clock", tests, NULL, NULL);
}
