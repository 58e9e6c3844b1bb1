/* SPDX-License-Identifier: Apache-2.0 */
/* The first packets of connections that hull-init holds: where they come from and go to, and what a refusal becomes. And
 * netlink, in which it speaks of them with the kernel. */
#include "guest/net/hold.h"
#include "guest/net/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t four[] = {0x45, 0,  0, 60, 1,   2,  0x40, 0, 64,   6,    0,    0,
			       198,  19, 0, 1,  198, 18, 1,    2, 0x9c, 0x40, 0x15, 0x38};
static const uint8_t six[44] = {0x60, [6] = 6, [8] = 0xfd, [23] = 1, [24] = 0xfd, [39] = 2, 0x9c, 0x40, 0x01, 0xbb};

static void packets(void **state)
{
	union hull_sockaddr from, to, want = {0};
	assert_true(hull_hold_parse(four, sizeof(four), &from, &to));
	want.four.sin_family = AF_INET;
	want.four.sin_port = htons(5432);
	inet_pton(AF_INET, "198.18.1.2", &want.four.sin_addr);
	assert_memory_equal(&to.four, &want.four, sizeof(want.four));
	assert_int_equal(ntohs(from.four.sin_port), 40000);
	assert_true(hull_hold_parse(six, sizeof(six), &from, &to));
	assert_int_equal(to.any.sa_family, AF_INET6);
	assert_int_equal(ntohs(to.six.sin6_port), 443);
	assert_int_equal(to.six.sin6_addr.s6_addr[15], 2);
	assert_int_equal(from.six.sin6_addr.s6_addr[15], 1);
	/* Options push the ports back. */
	uint8_t long_head[28] = {0x46, [9] = 6, [24] = 0, 1, 0, 2};
	assert_true(hull_hold_parse(long_head, sizeof(long_head), &from, &to));
	assert_int_equal(ntohs(to.four.sin_port), 2);
}

static void no_packets(void **state)
{
	union hull_sockaddr from, to;
	uint8_t b[64] = {0};
	/* Every length that is too short is no packet. The memory is exact, for the sanitizer's sake. */
	for (size_t n = 0; n < sizeof(six); n++) {
		uint8_t *p = malloc(n ? n : 1);
		assert_non_null(p);
		memcpy(p, six, n);
		assert_false(hull_hold_parse(p, n, &from, &to));
		if (n < sizeof(four)) {
			memcpy(p, four, n);
			assert_false(hull_hold_parse(p, n, &from, &to));
		}
		free(p);
	}
	memcpy(b, four, sizeof(four));
	b[9] = 17; /* UDP */
	assert_false(hull_hold_parse(b, sizeof(four), &from, &to));
	memcpy(b, four, sizeof(four));
	b[0] = 0x44; /* a head that is shorter than one */
	assert_false(hull_hold_parse(b, sizeof(four), &from, &to));
	b[0] = 0x4f; /* and one that is longer than the packet */
	assert_false(hull_hold_parse(b, sizeof(four), &from, &to));
	memcpy(b, four, sizeof(four));
	b[7] = 1; /* a later fragment */
	assert_false(hull_hold_parse(b, sizeof(four), &from, &to));
	memcpy(b, six, sizeof(six));
	b[6] = 0; /* an extension header */
	assert_false(hull_hold_parse(b, sizeof(six), &from, &to));
}

static void codes(void **state)
{
	assert_int_equal(hull_hold_of(-EACCES), HULL_HOLD_PROHIBITED);
	assert_int_equal(hull_hold_of(-ECONNREFUSED), HULL_HOLD_REFUSED);
	assert_int_equal(hull_hold_of(-ENOSYS), HULL_HOLD_REFUSED); /* no network at all */
	assert_int_equal(hull_hold_of(-EAGAIN), HULL_HOLD_REFUSED);
	assert_int_equal(hull_hold_of(-EHOSTUNREACH), HULL_HOLD_NO_WAY);
	assert_int_equal(hull_hold_of(-ETIMEDOUT), HULL_HOLD_NO_WAY);
	/* Nothing lets a refused connection go on. */
	for (int code = -200; code <= 200; code++)
		assert_int_not_equal(hull_hold_of(code), HULL_HOLD_GO);
}

/* What is put together is found again, nested and padded; what does not fit is not sent. */
static void netlink(void **state)
{
	union hull_netlink m;
	uint8_t head[4] = {1, 2, 3, 4}, big[600] = {0};
	hull_netlink_begin(&m, 7, NLM_F_ACK, head, sizeof(head));
	assert_int_equal(m.h.nlmsg_flags, NLM_F_REQUEST | NLM_F_ACK);
	hull_netlink_add(&m, 1, "abcde", 5);
	size_t nested = hull_netlink_add(&m, 2 | NLA_F_NESTED, NULL, 0);
	hull_netlink_add(&m, 3, "x", 1);
	hull_netlink_add(&m, 4, "yz", 2);
	hull_netlink_end(&m, nested);
	hull_netlink_add(&m, 5, "end", 3);
	assert_int_equal(m.h.nlmsg_len, NLMSG_HDRLEN + 4 + 12 + (4 + 8 + 8) + 8);
	size_t skip = NLMSG_HDRLEN + sizeof(head);
	struct hull_cur all = hull_cur_make(m.bytes + skip, m.h.nlmsg_len - skip);
	struct hull_cur one = hull_netlink_find(all, 1), last = hull_netlink_find(all, 5);
	struct hull_cur deep = hull_netlink_find(hull_netlink_find(all, 2), 4), none = hull_netlink_find(all, 3);
	assert_int_equal(hull_cur_left(&one), 5);
	assert_memory_equal(hull_cur_take(&one, 5), "abcde", 5);
	assert_int_equal(hull_cur_left(&deep), 2);
	assert_memory_equal(hull_cur_take(&deep, 2), "yz", 2);
	assert_memory_equal(hull_cur_take(&last, 3), "end", 3);
	assert_int_equal(hull_cur_left(&none), 0);
	/* A length that leads outside ends the search. */
	m.bytes[skip] = 0xff;
	one = hull_netlink_find(all, 1);
	assert_int_equal(hull_cur_left(&one), 0);
	hull_netlink_add(&m, 6, big, sizeof(big));
	hull_netlink_add(&m, 7, "x", 1);
	hull_netlink_end(&m, nested);
	assert_int_equal(hull_netlink_send(-1, &m, 0), -EMSGSIZE);
	assert_int_equal(hull_netlink_ask(-1, &m, 0), -EMSGSIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packets),
		cmocka_unit_test(netlink),
		cmocka_unit_test(no_packets),
		cmocka_unit_test(codes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
