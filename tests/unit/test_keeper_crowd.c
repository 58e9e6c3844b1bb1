/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper's limits: who has to wait or is turned away, and that a sandbox can be stopped all the same. See
 * keeper_rig.h. */
#include "keeper_rig.h"

/* However many are connected, it can be looked at and stopped, and those who cannot be served are told why. */
static void test_too_many_clients(void **state)
{
	struct world *w = *state;
	until(w, w->k->guest->configured);
	int idle[CLIENTS_MAX + CLIENTS_RESERVED];
	for (size_t i = 0; i < CLIENTS_MAX + CLIENTS_RESERVED; i++) {
		idle[i] = dial(w, "control.sock");
		until(w, w->k->clients->count == i + 1);
	}
	struct peer *c = client(w, 0);
	struct end *e = exec(c, "echo");
	until(w, e->closed);
	assert_int_equal(e->code, -EAGAIN);
	assert_non_null(strstr(e->message, "256 clients are connected to box already"));
	e = request(c, "{\"do\":\"wait\",\"for\":\"docker\"}");
	until(w, e->closed);
	assert_non_null(strstr(answer(e), "too many clients"));
	e = request(c, "{\"do\":\"status\"}");
	until(w, e->closed);
	assert_non_null(strstr(answer(e), "\"state\":\"running\""));
	/* One of the spare ones that asked nothing made room; none of the others had to. */
	assert_int_equal(w->k->clients->count, CLIENTS_MAX + CLIENTS_RESERVED);
	char text[512];
	while (recv(idle[CLIENTS_MAX], text, sizeof(text), MSG_DONTWAIT) > 0)
		; /* the keeper's HELLO */
	assert_int_equal(recv(idle[CLIENTS_MAX], text, sizeof(text), MSG_DONTWAIT), 0);
	while (recv(idle[0], text, sizeof(text), MSG_DONTWAIT) > 0)
		;
	assert_int_equal(recv(idle[0], text, sizeof(text), MSG_DONTWAIT), -1);
	e = request(c, "{\"do\":\"stop\",\"grace_ms\":1234}");
	until(w, w->shutdown_seen);
	/* They keep coming: who waits for the stop stays. */
	int more[2 * CLIENTS_RESERVED];
	for (size_t i = 0; i < 2 * CLIENTS_RESERVED; i++) {
		more[i] = dial(w, "control.sock");
		settle(w);
	}
	w->k->events->machine_ended(w->k, 0, "");
	until(w, e->closed);
	assert_non_null(strstr(answer(e), "\"stopped\":true"));
	for (size_t i = 0; i < CLIENTS_MAX + CLIENTS_RESERVED; i++)
		close(idle[i]);
	for (size_t i = 0; i < 2 * CLIENTS_RESERVED; i++)
		close(more[i]);
}

/* However many wait for something else. */
static void test_too_many_waiters(void **state)
{
	struct world *w = *state;
	until(w, w->k->guest->configured);
	w->k->service->waiter_count += WAITERS_MAX; /* as many as that */
	struct peer *c = client(w, 0);
	struct end *e = request(c, "{\"do\":\"wait\",\"for\":\"docker\"}");
	until(w, e->closed);
	assert_non_null(strstr(answer(e), "too many requests"));
	e = request(c, "{\"do\":\"stop\",\"grace_ms\":1234}");
	until(w, w->shutdown_seen);
	w->k->events->machine_ended(w->k, 0, "");
	until(w, e->closed);
	assert_non_null(strstr(answer(e), "\"stopped\":true"));
	w->k->service->waiter_count -= WAITERS_MAX;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_too_many_clients, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_many_waiters, setup, teardown),
	};
	return cmocka_run_group_tests_name("keeper_crowd", tests, NULL, NULL);
}
