/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes of what a workspace's relay keeps by node, and by name in a node. */
#ifndef HULL_GUEST_HASH_H
#define HULL_GUEST_HASH_H

#include "base/hash.h"

#include <stddef.h>
#include <stdint.h>

/* 24 bits. */
static inline uint64_t hull_hash_node(uint64_t node)
{
	return node * 0x9e3779b97f4a7c15U >> 40;
}

/* 32 bits. */
static inline uint64_t hull_hash_name(uint64_t dir, const char *name, size_t n)
{
	uint64_t h = hull_hash(dir * 0x9e3779b97f4a7c15U, name, n);
	return ((h ^ h >> 32) * 0x9e3779b97f4a7c15U) >> 32;
}

#endif
