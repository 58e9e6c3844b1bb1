/* SPDX-License-Identifier: Apache-2.0 */
/* A growable byte buffer that can be drained from the front, and never overflows.
 *
 * Bytes live in data[head .. head+len). Appending grows the allocation (doubling) or slides the bytes down to the
 * front, whichever is cheaper. All sizes are checked; running out of memory is -ENOMEM, never a crash. */
#ifndef HULL_BASE_BUF_H
#define HULL_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

struct hull_buf {
	uint8_t *data; /* owned */
	size_t head;   /* first live byte */
	size_t len;    /* number of live bytes */
	size_t cap;    /* bytes allocated */
};

/* Start of the live bytes (valid until the next append). */
static inline uint8_t *hull_buf_bytes(const struct hull_buf *b)
{
	return b->data ? b->data + b->head : b->data; /* NULL + 0 is undefined in C */
}
/* Make room for n more bytes and return where they go, without counting them in; NULL when out of memory. */
uint8_t *hull_buf_room(struct hull_buf *b, size_t n);
/* Count in n bytes that were written to what hull_buf_room(b, >= n) returned. */
void hull_buf_added(struct hull_buf *b, size_t n);
/* Append; 0 or -ENOMEM. */
int hull_buf_add(struct hull_buf *b, const void *p, size_t n);
int hull_buf_addstr(struct hull_buf *b, const char *s);
__attribute__((format(printf, 2, 3))) int hull_buf_addf(struct hull_buf *b, const char *fmt, ...);
int hull_buf_le16(struct hull_buf *b, uint16_t v);
int hull_buf_le32(struct hull_buf *b, uint32_t v);
int hull_buf_le64(struct hull_buf *b, uint64_t v);
/* Drop n bytes from the front; n is capped at len. An empty buffer above 64 KiB gives its memory back. */
void hull_buf_drain(struct hull_buf *b, size_t n);
/* Give everything back; the buffer may be used again. Fit for _cleanup_(hull_buf_free). */
void hull_buf_free(struct hull_buf *b);

#endif
