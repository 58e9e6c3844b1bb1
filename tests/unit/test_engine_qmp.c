/* SPDX-License-Identifier: Apache-2.0 */
/* The QMP client, fed whole, byte by byte, and with what QEMU should never say. */
#include "engine/qmp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct heard {
	int major, minor;
	int ready;
	int events;
	char event[64];
	uint64_t replied;
	char error[64];
};

static void on_greeting(void *ctx, int major, int minor, int micro)
{
	struct heard *h = ctx;
	(void)micro;
	h->major = major;
	h->minor = minor;
}

static void on_ready(void *ctx)
{
	((struct heard *)ctx)->ready++;
}

static void on_event(void *ctx, const char *name, const json_t *data)
{
	struct heard *h = ctx;
	(void)data;
	h->events++;
	strncpy(h->event, name, sizeof(h->event) - 1);
}

static void on_reply(void *ctx, uint64_t id, const json_t *result, const char *error)
{
	struct heard *h = ctx;
	(void)result;
	h->replied = id;
	strncpy(h->error, error ? error : "", sizeof(h->error) - 1);
}

static const struct hull_qmp_ops ops = {
	.greeting = on_greeting, .ready = on_ready, .event = on_event, .reply = on_reply};

static const char greeting[] = "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 2, \"minor\": 0, \"major\": 10}, "
			       "\"package\": \"\"}, \"capabilities\": [\"oob\"]}}\r\n";

static void expect_output(struct hull_qmp *q, const char *want)
{
	const uint8_t *p;
	size_t n = hull_qmp_output(q, &p);
	assert_int_equal(n, strlen(want));
	if (n)
		assert_memory_equal(p, want, n);
	hull_qmp_sent(q, n);
}

static void test_session(void **state)
{
	(void)state;
	struct heard h = {0};
	struct hull_qmp *q = hull_qmp_new(&ops, &h);
	static const char rest[] = "{\"event\": \"RESUME\"}\n"
				   "{\"return\": {}, \"id\": 0}\n"
				   "\n"
				   "{\"return\": {}, \"id\": 1}\n"
				   "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}, \"id\": 2}\n";
	uint64_t id;
	assert_int_equal(hull_qmp_command(q, "stop", NULL, &id), 0);
	assert_int_equal(id, 1);
	expect_output(q, ""); /* held back */
	assert_int_equal(hull_qmp_feed(q, greeting, strlen(greeting), NULL), 0);
	assert_int_equal(h.major, 10);
	expect_output(q, "{\"execute\": \"qmp_capabilities\", \"id\": 0}\n");
	for (size_t i = 0; rest[i]; i++)
		assert_int_equal(hull_qmp_feed(q, rest + i, 1, NULL), 0);
	assert_int_equal(h.ready, 1);
	assert_true(hull_qmp_ready(q));
	expect_output(q, "{\"execute\": \"stop\", \"id\": 1}\n");
	assert_int_equal(h.events, 1);
	assert_string_equal(h.event, "RESUME");
	assert_int_equal(h.replied, 2);
	assert_string_equal(h.error, "no");
	hull_qmp_free(q);
}

static void test_nonsense(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"hello\n",
		"[]\n",
		"{}\n",
		"{\"QMP\": 1}\n",
		"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": \"x\", \"minor\": 0, \"major\": 10}}}}\n",
		"{\"return\": {}}\n",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct heard h = {0};
		struct hull_error err = {0};
		struct hull_qmp *q = hull_qmp_new(&ops, &h);
		assert_int_equal(hull_qmp_feed(q, bad[i], strlen(bad[i]), &err), -EPROTO);
		assert_true(err.msg[0]);
		/* Dead: nothing more is heard, nothing more is said. */
		assert_int_equal(hull_qmp_feed(q, greeting, strlen(greeting), &err), 0);
		assert_int_equal(h.major, 0);
		assert_int_equal(hull_qmp_command(q, "stop", NULL, NULL), -EPIPE);
		expect_output(q, "");
		hull_qmp_free(q);
	}
	struct heard h = {0};
	struct hull_qmp *q = hull_qmp_new(&ops, &h);
	assert_int_equal(hull_qmp_feed(q, greeting, strlen(greeting), NULL), 0);
	static const char refusal[] = "{\"error\": {\"desc\": 3}, \"id\": 0}\n";
	assert_int_equal(hull_qmp_feed(q, refusal, strlen(refusal), NULL), -EPROTO);
	hull_qmp_free(q);
}

static void test_long_line(void **state)
{
	(void)state;
	struct hull_error err = {0};
	struct heard h = {0};
	struct hull_qmp *q = hull_qmp_new(&ops, &h);
	char part[4096];
	int r = 0;
	size_t fed = 0;
	memset(part, ' ', sizeof(part));
	while (r == 0 && fed < 2 * HULL_QMP_LINE_MAX) {
		r = hull_qmp_feed(q, part, sizeof(part), &err);
		fed += sizeof(part);
	}
	assert_int_equal(r, -EPROTO);
	assert_true(fed <= HULL_QMP_LINE_MAX + sizeof(part));
	hull_qmp_free(q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_session),
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_long_line),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
