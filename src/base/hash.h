/* SPDX-License-Identifier: Apache-2.0 */
/* FNV-1a, 64 bits: for hash tables and derived names. Not collision-resistant: an attacker who chooses the input can
 * construct collisions. Stored and visible values (user ids, directories in /tmp) are derived from it, so it never
 * changes. */
#ifndef HULL_BASE_HASH_H
#define HULL_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HULL_HASH_START UINT64_C(0xcbf29ce484222325)

/* `h` is HULL_HASH_START, a seed, or the hash of the preceding input. */
static inline uint64_t hull_hash(uint64_t h, const void *p, size_t n)
{
	const uint8_t *at = p;
	for (size_t i = 0; i < n; i++)
		h = (h ^ at[i]) * UINT64_C(0x100000001b3);
	return h;
}

/* Includes the NUL, so that {"a", "bc"} and {"ab", "c"} differ. */
static inline uint64_t hull_hash_str(uint64_t h, const char *s)
{
	return hull_hash(h, s, strlen(s) + 1);
}

#endif
