/* SPDX-License-Identifier: Apache-2.0 */
/* The one checked accessor for untrusted bytes: a cursor that never reads past its end.
 *
 * Every read checks the bounds. A read past the end returns zeros (or NULL) and marks the cursor bad; all later reads
 * fail too. So a parser reads all fields and then checks `bad` once. Integers are little-endian. */
#ifndef HULL_BASE_BYTES_H
#define HULL_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hull_cur {
	const uint8_t *p;
	const uint8_t *end;
	bool bad;
};

static inline struct hull_cur hull_cur_make(const void *p, size_t n)
{
	return (struct hull_cur){.p = (const uint8_t *)p, .end = n ? (const uint8_t *)p + n : p, .bad = false};
}
static inline size_t hull_cur_left(const struct hull_cur *c)
{
	return (size_t)(c->end - c->p);
}
/* The next n bytes (borrowed from the cursor's memory); NULL and bad if there are fewer. */
static inline const uint8_t *hull_cur_take(struct hull_cur *c, size_t n)
{
	if (c->bad || n > hull_cur_left(c)) {
		c->bad = true;
		c->p = c->end;
		return NULL;
	}
	const uint8_t *p = c->p;
	c->p += n;
	return p;
}
static inline uint64_t hull_cur_le(struct hull_cur *c, unsigned bytes)
{
	const uint8_t *p = hull_cur_take(c, bytes);
	uint64_t v = 0;
	for (unsigned i = 0; p && i < bytes; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}
static inline uint8_t hull_cur_u8(struct hull_cur *c)
{
	return (uint8_t)hull_cur_le(c, 1);
}
static inline uint16_t hull_cur_le16(struct hull_cur *c)
{
	return (uint16_t)hull_cur_le(c, 2);
}
static inline uint32_t hull_cur_le32(struct hull_cur *c)
{
	return (uint32_t)hull_cur_le(c, 4);
}
static inline uint64_t hull_cur_le64(struct hull_cur *c)
{
	return hull_cur_le(c, 8);
}

#endif
