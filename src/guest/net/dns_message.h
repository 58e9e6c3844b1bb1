/* SPDX-License-Identifier: Apache-2.0 */
/* DNS messages (RFC 1035, EDNS of RFC 6891): one question in, one answer out. No I/O, no memory of its own.
 *
 * The bytes come from any program in the sandbox; they are read through base/bytes.h. A question's name is taken apart
 * label by label: compression pointers have nowhere to point before the first name, so they are malformed there. The
 * answer repeats the question's bytes as they came, case included. */
#ifndef HULL_GUEST_DNS_MESSAGE_H
#define HULL_GUEST_DNS_MESSAGE_H

#include "base/bytes.h"

#include <netinet/in.h>

enum {
	HULL_DNS_HEADER = 12,
	HULL_DNS_NAME_MAX = 253,     /* in presentation form */
	HULL_DNS_QUESTION_MAX = 259, /* 255 of name, type, class */
	HULL_DNS_UDP_MIN = 512,      /* what anybody takes */
	HULL_DNS_UDP_MAX = 4096,     /* the most we send, and take, in a datagram */
	HULL_DNS_ANSWERS_MAX = 32,
};

enum { HULL_DNS_A = 1, HULL_DNS_AAAA = 28, HULL_DNS_OPT = 41, HULL_DNS_IXFR = 251, HULL_DNS_AXFR = 252 };

enum hull_dns_rcode {
	HULL_DNS_NOERROR = 0,
	HULL_DNS_FORMERR = 1,
	HULL_DNS_SERVFAIL = 2,
	HULL_DNS_NXDOMAIN = 3,
	HULL_DNS_NOTIMP = 4,
	HULL_DNS_REFUSED = 5,
	HULL_DNS_BADVERS = 16,
};

struct hull_dns_query {
	uint16_t id;
	uint8_t opcode;
	bool rd, cd;
	bool edns;
	size_t size; /* what the asker takes in a datagram */
	uint16_t qtype;
	uint8_t question[HULL_DNS_QUESTION_MAX]; /* as it came */
	size_t question_len;                     /* 0 when there was none to be made out */
	char name[HULL_DNS_NAME_MAX + 1];        /* without the final dot; "" is the root */
};

/* What to do with the message: 0 = ask for q->name and q->qtype (A or AAAA), > 0 = answer now with *rcode and no
 * records, < 0 = no answer at all: this is no question. */
enum { HULL_DNS_ASK = 0, HULL_DNS_ANSWER = 1, HULL_DNS_DROP = -1 };
int hull_dns_parse(const void *p, size_t n, struct hull_dns_query *q, enum hull_dns_rcode *rcode);

struct hull_dns_addresses {
	size_t count;
	uint32_t ttl;
	uint8_t bytes[HULL_DNS_ANSWERS_MAX][16]; /* 4 of them used for an A */
};
/* Build the answer into out, at most cap bytes (at least HULL_DNS_UDP_MIN); the length. What does not fit is left out
 * whole, and the answer marked as cut (TC). addresses may be NULL. */
size_t hull_dns_build(const struct hull_dns_query *q, enum hull_dns_rcode rcode,
		      const struct hull_dns_addresses *addresses, uint8_t *out, size_t cap);

#endif
