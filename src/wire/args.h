/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments of OPEN, ACCEPT and MESSAGE: a list of tagged fields, {u16 tag, u32 length, bytes}.
 *
 * Fields may repeat (argv, env) and come in any order; an unknown tag is skipped, so that a newer peer can say more.
 * Strings are not NUL-terminated on the wire. Reading never goes past the end (bytes.h). */
#ifndef HULL_WIRE_ARGS_H
#define HULL_WIRE_ARGS_H

#include "base/buf.h"
#include "base/bytes.h"

int hull_args_put(struct hull_buf *b, uint16_t tag, const void *p, size_t n);
int hull_args_put_str(struct hull_buf *b, uint16_t tag, const char *s);
int hull_args_put_u32(struct hull_buf *b, uint16_t tag, uint32_t v);
int hull_args_put_u64(struct hull_buf *b, uint16_t tag, uint64_t v);

struct hull_arg {
	uint16_t tag;
	const uint8_t *p; /* borrowed */
	size_t n;
};
/* The next field; false at the end or when malformed (then cur->bad). */
bool hull_args_next(struct hull_cur *cur, struct hull_arg *out);
/* The field as an integer (0 when it is not exactly 4, or 8, bytes long) or as an owned NUL-terminated string (NULL
 * when out of memory or when it contains a NUL byte). */
uint32_t hull_arg_u32(const struct hull_arg *a);
uint64_t hull_arg_u64(const struct hull_arg *a);
char *hull_arg_str(const struct hull_arg *a);

#endif
