/* SPDX-License-Identifier: Apache-2.0 */
/* DNS messages: which questions go to the host, what is answered here, and the bytes of answers. */
#include "guest/net/dns_message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct packet {
	uint8_t p[1024];
	size_t n;
};

static void put(struct packet *k, const void *p, size_t n)
{
	assert_true(k->n + n <= sizeof(k->p));
	memcpy(k->p + k->n, p, n);
	k->n += n;
}

static void put16(struct packet *k, unsigned v)
{
	put(k, (uint8_t[]){(uint8_t)(v >> 8), (uint8_t)v}, 2);
}

/* "example.com" as labels. */
static void put_name(struct packet *k, const char *name)
{
	while (*name) {
		size_t n = strcspn(name, ".");
		put(k, (uint8_t[]){(uint8_t)n}, 1);
		put(k, name, n);
		name += n + (name[n] == '.');
	}
	put(k, "", 1);
}

static struct packet question(const char *name, unsigned type)
{
	struct packet k = {0};
	put16(&k, 0x1234);
	put16(&k, 0x0100);
	put16(&k, 1);
	put(&k, (uint8_t[6]){0}, 6);
	put_name(&k, name);
	put16(&k, type);
	put16(&k, 1);
	return k;
}

static void add_opt(struct packet *k, unsigned size, unsigned version)
{
	k->p[11]++;
	put(k, "", 1);
	put16(k, 41);
	put16(k, size);
	put16(k, version);
	put16(k, 0x8000);
	put16(k, 0);
}

static unsigned be16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static int parse(const struct packet *k, struct hull_dns_query *q, enum hull_dns_rcode *rcode)
{
	return hull_dns_parse(k->p, k->n, q, rcode);
}

static void asks_for_addresses(void **state)
{
	struct hull_dns_query q;
	enum hull_dns_rcode rcode;
	struct packet k = question("Deb.Example.COM", 1);
	assert_int_equal(parse(&k, &q, &rcode), HULL_DNS_ASK);
	assert_string_equal(q.name, "Deb.Example.COM");
	assert_int_equal(q.qtype, 1);
	assert_int_equal(q.id, 0x1234);
	assert_true(q.rd);
	assert_false(q.edns);
	assert_int_equal(q.size, 512);
	k = question("_x-1.example.com", 28);
	add_opt(&k, 1232, 0);
	assert_int_equal(parse(&k, &q, &rcode), HULL_DNS_ASK);
	assert_true(q.edns);
	assert_int_equal(q.size, 1232);
	assert_int_equal(q.qtype, 28);
}

static void edns_sizes_are_bounded(void **state)
{
	struct hull_dns_query q;
	enum hull_dns_rcode rcode;
	struct packet k = question("a", 1);
	add_opt(&k, 65535, 0);
	assert_int_equal(parse(&k, &q, &rcode), HULL_DNS_ASK);
	assert_int_equal(q.size, 4096);
	k = question("a", 1);
	add_opt(&k, 1, 0);
	assert_int_equal(parse(&k, &q, &rcode), HULL_DNS_ASK);
	assert_int_equal(q.size, 512);
	k = question("a", 1);
	add_opt(&k, 1232, 1);
	assert_int_equal(parse(&k, &q, &rcode), HULL_DNS_ANSWER);
	assert_int_equal(rcode, HULL_DNS_BADVERS);
	uint8_t out[512];
	size_t n = hull_dns_build(&q, rcode, NULL, out, sizeof(out));
	assert_int_equal(out[3] & 15, 0);           /* the low bits of 16 */
	assert_int_equal(out[n - 11 + 5], 16 >> 4); /* and the high ones, in OPT */
}

static void answered_without_the_host(void **state)
{
	static const struct {
		unsigned type;
		enum hull_dns_rcode rcode;
	} cases[] = {{12, HULL_DNS_NOERROR},  {15, HULL_DNS_NOERROR},  {16, HULL_DNS_NOERROR},
		     {33, HULL_DNS_NOERROR},  {65, HULL_DNS_NOERROR},  {255, HULL_DNS_NOERROR},
		     {252, HULL_DNS_REFUSED}, {251, HULL_DNS_REFUSED}, {999, HULL_DNS_NOERROR}};
	struct hull_dns_query q;
	enum hull_dns_rcode rcode;
	struct packet k;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		k = question("example.com", cases[i].type);
		assert_int_equal(parse(&k, &q, &rcode), HULL_DNS_ANSWER);
		assert_int_equal(rcode, cases[i].rcode);
	}
	k = question("example.com", 1);
	k.p[k.n - 1] = 3; /* CHAOS */
	assert_int_equal(parse(&k, &q, &rcode), HULL_DNS_ANSWER);
	assert_int_equal(rcode, HULL_DNS_REFUSED);
	k = question("example.com", 1);
	k.p[2] = 0x28; /* UPDATE */
	assert_int_equal(parse(&k, &q, &rcode), HULL_DNS_ANSWER);
	assert_int_equal(rcode, HULL_DNS_NOTIMP);
	k = question("", 1);
	assert_int_equal(parse(&k, &q, &rcode), HULL_DNS_ANSWER);
	assert_int_equal(rcode, HULL_DNS_NOERROR);
	/* Labels that would need escapes are no host's: a dot within a label must not make another name. */
	static const char *const odd[] = {"a\\b", "a b", "a@b", "caf\xc3\xa9", "a\x01", "a\"b"};
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		k = question(odd[i], 1);
		assert_int_equal(parse(&k, &q, &rcode), HULL_DNS_ANSWER);
		assert_int_equal(rcode, HULL_DNS_NXDOMAIN);
	}
	k = question("axb", 1);
	k.p[14] = '.';
	assert_int_equal(parse(&k, &q, &rcode), HULL_DNS_ANSWER);
	assert_int_equal(rcode, HULL_DNS_NXDOMAIN);
	k = question("axb", 1);
	k.p[14] = '\0';
	assert_int_equal(parse(&k, &q, &rcode), HULL_DNS_ANSWER);
	assert_int_equal(rcode, HULL_DNS_NXDOMAIN);
}

static void malformed(void **state)
{
	struct hull_dns_query q;
	enum hull_dns_rcode rcode;
	struct packet k = question("example.com", 1);
	for (size_t n = 0; n < k.n; n++) {
		int r = hull_dns_parse(k.p, n, &q, &rcode);
		if (n < 12) {
			assert_int_equal(r, HULL_DNS_DROP);
		} else {
			assert_int_equal(r, HULL_DNS_ANSWER);
			assert_int_equal(rcode, HULL_DNS_FORMERR);
			assert_int_equal(q.question_len, 0);
		}
	}
	k.p[2] |= 0x80; /* an answer, not a question */
	assert_int_equal(parse(&k, &q, &rcode), HULL_DNS_DROP);
	k = question("example.com", 1);
	k.p[5] = 2;
	assert_int_equal(parse(&k, &q, &rcode), HULL_DNS_ANSWER);
	assert_int_equal(rcode, HULL_DNS_FORMERR);
	k = question("example.com", 1);
	k.p[12] = 0xc0; /* a pointer, to itself */
	k.p[13] = 12;
	assert_int_equal(parse(&k, &q, &rcode), HULL_DNS_ANSWER);
	assert_int_equal(rcode, HULL_DNS_FORMERR);
	k = question("example.com", 1);
	k.p[12] = 64; /* longer than a label can be */
	assert_int_equal(parse(&k, &q, &rcode), HULL_DNS_ANSWER);
	assert_int_equal(rcode, HULL_DNS_FORMERR);
}

static void longest_names(void **state)
{
	/* Three labels of 63 and one of 61 are 255 bytes on the wire, and 253 to read. */
	char name[300];
	struct hull_dns_query q;
	enum hull_dns_rcode rcode;
	memset(name, 'a', sizeof(name));
	name[63] = name[127] = name[191] = '.';
	name[253] = '\0';
	struct packet k = question(name, 1);
	assert_int_equal(parse(&k, &q, &rcode), HULL_DNS_ASK);
	assert_string_equal(q.name, name);
	assert_int_equal(q.question_len, HULL_DNS_QUESTION_MAX);
	uint8_t out[512];
	struct hull_dns_addresses a = {.count = 1};
	assert_true(hull_dns_build(&q, HULL_DNS_NOERROR, &a, out, sizeof(out)) > 12 + 259);
	name[253] = 'a';
	name[254] = '\0';
	k = question(name, 1);
	assert_int_equal(parse(&k, &q, &rcode), HULL_DNS_ANSWER);
	assert_int_equal(rcode, HULL_DNS_FORMERR);
	/* And as many labels as there can be. */
	for (int i = 0; i < 253; i++)
		name[i] = i % 2 ? '.' : 'b';
	name[253] = '\0';
	k = question(name, 1);
	assert_int_equal(parse(&k, &q, &rcode), HULL_DNS_ASK);
	assert_string_equal(q.name, name);
}

static void answers(void **state)
{
	struct hull_dns_query q;
	enum hull_dns_rcode rcode;
	uint8_t out[4096];
	struct packet k = question("example.com", 1);
	assert_int_equal(parse(&k, &q, &rcode), HULL_DNS_ASK);
	struct hull_dns_addresses a = {.count = 1, .ttl = 300, .bytes = {{198, 18, 0, 7}}};
	size_t n = hull_dns_build(&q, HULL_DNS_NOERROR, &a, out, sizeof(out));
	static const uint8_t record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 198, 18, 0, 7};
	assert_int_equal(n, k.n + sizeof(record));
	assert_int_equal(be16(out), 0x1234);
	assert_int_equal(be16(out + 2), 0x8180);
	assert_int_equal(be16(out + 4), 1);
	assert_int_equal(be16(out + 6), 1);
	assert_memory_equal(out + 12, k.p + 12, k.n - 12);
	assert_memory_equal(out + k.n, record, sizeof(record));

	k = question("example.com", 28);
	add_opt(&k, 1232, 0);
	assert_int_equal(parse(&k, &q, &rcode), HULL_DNS_ASK);
	a = (struct hull_dns_addresses){.count = 2, .ttl = 1, .bytes = {{0xfd}, {0xfe}}};
	n = hull_dns_build(&q, HULL_DNS_NOERROR, &a, out, sizeof(out));
	assert_int_equal(n, k.n + (size_t)2 * 28);
	assert_int_equal(be16(out + 6), 2);
	assert_int_equal(be16(out + 10), 1);
	assert_int_equal(out[n - 11], 0); /* OPT is last: the root's name, type 41 */
	assert_int_equal(be16(out + n - 10), 41);

	n = hull_dns_build(&q, HULL_DNS_NXDOMAIN, &a, out, sizeof(out));
	assert_int_equal(be16(out + 6), 0);
	assert_int_equal(out[3] & 15, HULL_DNS_NXDOMAIN);
}

static void too_long_an_answer_is_cut(void **state)
{
	struct hull_dns_query q;
	enum hull_dns_rcode rcode;
	uint8_t out[512];
	struct packet k = question("example.com", 28);
	struct hull_dns_addresses a = {.count = 32};
	assert_int_equal(parse(&k, &q, &rcode), HULL_DNS_ASK);
	size_t n = hull_dns_build(&q, HULL_DNS_NOERROR, &a, out, q.size);
	assert_int_equal(n, k.n);
	assert_int_equal(be16(out + 2) & 0x0200, 0x0200);
	assert_int_equal(be16(out + 6), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(asks_for_addresses),
		cmocka_unit_test(edns_sizes_are_bounded),
		cmocka_unit_test(answered_without_the_host),
		cmocka_unit_test(malformed),
		cmocka_unit_test(longest_names),
		cmocka_unit_test(answers),
		cmocka_unit_test(too_long_an_answer_is_cut),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
