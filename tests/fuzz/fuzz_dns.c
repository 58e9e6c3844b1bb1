/* SPDX-License-Identifier: Apache-2.0 */
/* DNS questions out of any bytes: what is taken has a name without escapes, and every answer fits and says the same
 * question again. */
#include "guest/net/dns_message.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct hull_dns_addresses a = {.count = HULL_DNS_ANSWERS_MAX, .ttl = 1};
	struct hull_dns_query q, again;
	enum hull_dns_rcode rcode = HULL_DNS_NOERROR;
	int r = hull_dns_parse(data, size, &q, &rcode);
	if (r == HULL_DNS_DROP)
		return 0;
	if (r == HULL_DNS_ASK && (!q.name[0] || strlen(q.name) > HULL_DNS_NAME_MAX || strpbrk(q.name, "\\ \t\"") ||
				  (q.qtype != HULL_DNS_A && q.qtype != HULL_DNS_AAAA)))
		abort();
	if (q.size < HULL_DNS_UDP_MIN || q.size > HULL_DNS_UDP_MAX || q.question_len > sizeof(q.question))
		abort();
	size_t caps[] = {HULL_DNS_UDP_MIN, q.size, HULL_DNS_UDP_MAX};
	for (size_t i = 0; i < 3; i++) {
		uint8_t *out = malloc(caps[i]);
		if (!out)
			abort();
		size_t n = hull_dns_build(&q, rcode, &a, out, caps[i]);
		if (n < HULL_DNS_HEADER + q.question_len || n > caps[i])
			abort();
		out[2] &= 0x7f; /* as if it was asked */
		if (r == HULL_DNS_ASK &&
		    (hull_dns_parse(out, n, &again, &rcode) != HULL_DNS_ASK || strcmp(again.name, q.name) != 0))
			abort();
		rcode = HULL_DNS_NOERROR;
		free(out);
	}
	return 0;
}
