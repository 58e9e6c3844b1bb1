/* SPDX-License-Identifier: Apache-2.0 */
/* See args.h. */
#include "wire/args.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { FIELD_HEADER = 6 };

int hull_args_put(struct hull_buf *b, uint16_t tag, const void *p, size_t n)
{
	if (n > UINT32_MAX - FIELD_HEADER)
		return -EMSGSIZE;
	/* All or nothing: half a field would make the whole list unreadable. */
	if (!hull_buf_room(b, FIELD_HEADER + n))
		return -ENOMEM;
	int r = hull_buf_le16(b, tag);
	if (r == 0)
		r = hull_buf_le32(b, (uint32_t)n);
	if (r == 0)
		r = hull_buf_add(b, p, n);
	return r;
}

int hull_args_put_str(struct hull_buf *b, uint16_t tag, const char *s)
{
	return hull_args_put(b, tag, s, strlen(s));
}

int hull_args_put_u32(struct hull_buf *b, uint16_t tag, uint32_t v)
{
	uint8_t raw[4];
	for (unsigned i = 0; i < sizeof(raw); i++)
		raw[i] = (uint8_t)(v >> (8 * i));
	return hull_args_put(b, tag, raw, sizeof(raw));
}

int hull_args_put_u64(struct hull_buf *b, uint16_t tag, uint64_t v)
{
	uint8_t raw[8];
	for (unsigned i = 0; i < sizeof(raw); i++)
		raw[i] = (uint8_t)(v >> (8 * i));
	return hull_args_put(b, tag, raw, sizeof(raw));
}

bool hull_args_next(struct hull_cur *cur, struct hull_arg *out)
{
	if (cur->bad || hull_cur_left(cur) == 0)
		return false;
	out->tag = hull_cur_le16(cur);
	out->n = hull_cur_le32(cur);
	out->p = hull_cur_take(cur, out->n);
	return !cur->bad;
}

uint32_t hull_arg_u32(const struct hull_arg *a)
{
	struct hull_cur cur = hull_cur_make(a->p, a->n);
	return a->n == 4 ? hull_cur_le32(&cur) : 0;
}

uint64_t hull_arg_u64(const struct hull_arg *a)
{
	struct hull_cur cur = hull_cur_make(a->p, a->n);
	return a->n == 8 ? hull_cur_le64(&cur) : 0;
}

char *hull_arg_str(const struct hull_arg *a)
{
	if (a->n && memchr(a->p, 0, a->n))
		return NULL;
	char *s = malloc(a->n + 1);
	if (!s)
		return NULL;
	if (a->n)
		memcpy(s, a->p, a->n);
	s[a->n] = '\0';
	return s;
}
