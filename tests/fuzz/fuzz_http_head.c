/* SPDX-License-Identifier: Apache-2.0 */
/* Requests in two cuts: in one piece, and in pieces of seven bytes. What is found must be the same. */
#include "egress/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t digest(const uint8_t *data, size_t size, size_t step)
{
	struct http h = {0};
	uint64_t sum = 14695981039346656037u;
	for (size_t i = 0; i < size;) {
		size_t used = 0, give = size - i < step ? size - i : step;
		enum http_event e = http_feed(&h, data + i, give, &used);
		if (used > give)
			abort();
		i += used;
		if (e == HTTP_HEAD) {
			for (const char *c = h.method; *c; c++)
				sum = (sum ^ (uint8_t)*c) * 1099511628211u;
			for (const char *c = h.path; *c; c++)
				sum = (sum ^ (uint8_t)*c) * 1099511628211u;
			sum = (sum ^ i) * 1099511628211u;
			if (h.target_at + strlen(h.target) > h.head.len)
				abort();
			size_t before = h.head.len;
			http_strip_upgrade(&h);
			if (h.head.len > before || h.upgrade)
				abort();
			http_go_on(&h);
		} else if (e == HTTP_BAD) {
			break;
		}
	}
	http_free(&h);
	return sum;
}

static void authority(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size), host[HULL_HOST_MAX + 2];
	uint16_t port;
	struct hull_addr a;
	if (text && http_authority_split(text, host, &port) && strlen(host) > strlen(text))
		abort();
	/* What means one host means no other. */
	if (text && http_authority_is(text, "a.test", 80) &&
	    (http_authority_is(text, "b.test", 80) ||
	     (hull_addr_parse("10.0.0.1", &a) && http_authority_is_addr(text, &a, 80))))
		abort();
	free(text);
}

/* An answer, once given, is not taken back when more bytes come. */
static void look(const uint8_t *data, size_t size)
{
	enum http_look whole = http_look(data, size);
	for (size_t n = 0; n < size && n < 256; n++) {
		enum http_look part = http_look(data, n);
		if (part != HTTP_MAYBE && part != whole)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	look(data, size);
	authority(data, size);
	if (digest(data, size, size + 1) != digest(data, size, 7))
		abort();
	return 0;
}
