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
			http_go_on(&h);
		} else if (e == HTTP_BAD) {
			break;
		}
	}
	http_free(&h);
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	http_look(data, size);
	if (digest(data, size, size + 1) != digest(data, size, 7))
		abort();
	return 0;
}
