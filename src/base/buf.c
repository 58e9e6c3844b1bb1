/* SPDX-License-Identifier: Apache-2.0 */
/* See buf.h. */
#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEEP_WHEN_EMPTY = 64 * 1024, FIRST_ALLOCATION = 256 };

uint8_t *hull_buf_room(struct hull_buf *b, size_t n)
{
	size_t need;
	if (__builtin_add_overflow(b->len, n, &need))
		return NULL;
	if (b->data && b->cap - b->head >= need)
		return b->data + b->head + b->len;
	/* Sliding costs len bytes of copying; worth it while at most half of the allocation is live. */
	if (b->data && b->cap >= need && b->len <= b->cap / 2) {
		memmove(b->data, b->data + b->head, b->len);
		b->head = 0;
		return b->data + b->len;
	}
	size_t cap = b->cap ? b->cap : FIRST_ALLOCATION;
	while (cap < need)
		if (__builtin_mul_overflow(cap, (size_t)2, &cap))
			return NULL;
	uint8_t *data = malloc(cap);
	if (!data)
		return NULL;
	if (b->data)
		memcpy(data, b->data + b->head, b->len);
	free(b->data);
	b->data = data;
	b->cap = cap;
	b->head = 0;
	return b->data + b->len;
}

void hull_buf_added(struct hull_buf *b, size_t n)
{
	b->len += n;
}

int hull_buf_add(struct hull_buf *b, const void *p, size_t n)
{
	if (n == 0)
		return 0;
	uint8_t *to = hull_buf_room(b, n);
	if (!to)
		return -ENOMEM;
	memcpy(to, p, n);
	b->len += n;
	return 0;
}

int hull_buf_addstr(struct hull_buf *b, const char *s)
{
	return hull_buf_add(b, s, strlen(s));
}

int hull_buf_addf(struct hull_buf *b, const char *fmt, ...)
{
	va_list ap;
	va_list again;
	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	int r = -ENOMEM;
	uint8_t *to = n < 0 ? NULL : hull_buf_room(b, (size_t)n + 1);
	if (to) {
		vsnprintf((char *)to, (size_t)n + 1, fmt, again);
		b->len += (size_t)n;
		r = 0;
	}
	va_end(again);
	return r;
}

int hull_buf_le16(struct hull_buf *b, uint16_t v)
{
	uint8_t raw[2] = {(uint8_t)v, (uint8_t)(v >> 8)};
	return hull_buf_add(b, raw, sizeof(raw));
}

int hull_buf_le32(struct hull_buf *b, uint32_t v)
{
	uint8_t raw[4];
	for (unsigned i = 0; i < sizeof(raw); i++)
		raw[i] = (uint8_t)(v >> (8 * i));
	return hull_buf_add(b, raw, sizeof(raw));
}

int hull_buf_le64(struct hull_buf *b, uint64_t v)
{
	uint8_t raw[8];
	for (unsigned i = 0; i < sizeof(raw); i++)
		raw[i] = (uint8_t)(v >> (8 * i));
	return hull_buf_add(b, raw, sizeof(raw));
}

void hull_buf_drain(struct hull_buf *b, size_t n)
{
	if (n > b->len)
		n = b->len;
	b->head += n;
	b->len -= n;
	if (b->len == 0) {
		b->head = 0;
		if (b->cap > KEEP_WHEN_EMPTY)
			hull_buf_free(b);
	}
}

void hull_buf_free(struct hull_buf *b)
{
	free(b->data);
	*b = (struct hull_buf){0};
}
