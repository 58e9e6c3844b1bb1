/* SPDX-License-Identifier: Apache-2.0 */
/* The streams of a wire by id: a hash table with chains that doubles when it is full, so that finding one among ten
 * thousand costs what finding one among ten does. Multiply-shift hashing with a random multiplier. */
#include "wire/internal.h"

#include <stdlib.h>
#include <sys/random.h>

enum { FIRST_BITS = 4, MOST_BITS = 24 };

void table_init(struct table *t, const void *salt)
{
	*t = (struct table){0};
	if (getrandom(&t->multiplier, sizeof(t->multiplier), GRND_NONBLOCK) != (ssize_t)sizeof(t->multiplier))
		t->multiplier = (uintptr_t)salt * 0x9e3779b97f4a7c15u; /* early in a guest's boot */
	t->multiplier |= 1;
}

static struct stream **bucket(const struct table *t, uint32_t id)
{
	return &t->buckets[(id * t->multiplier) >> (64 - t->bits)];
}

struct stream *table_find(const struct table *t, uint32_t id)
{
	if (!t->buckets)
		return NULL;
	struct stream *s = *bucket(t, id);
	while (s && s->id != id)
		s = s->chain;
	return s;
}

static void insert(struct table *t, struct stream *s)
{
	struct stream **b = bucket(t, s->id);
	s->chain = *b;
	*b = s;
}

static int grow(struct table *t)
{
	struct table old = *t;
	unsigned bits = old.buckets ? old.bits + 1 : FIRST_BITS;
	struct stream **buckets = calloc((size_t)1 << bits, sizeof(struct stream *));
	if (!buckets)
		return -ENOMEM;
	t->buckets = buckets;
	t->bits = bits;
	for (size_t i = 0; old.buckets && i < (size_t)1 << old.bits; i++)
		for (struct stream *s = old.buckets[i], *next; s; s = next) {
			next = s->chain;
			insert(t, s);
		}
	free(old.buckets);
	return 0;
}

int table_add(struct table *t, struct stream *s)
{
	if (!t->buckets || (t->count >= (size_t)1 << t->bits && t->bits < MOST_BITS)) {
		int r = grow(t);
		if (r < 0 && !t->buckets) /* a table that cannot grow only gets slower */
			return r;
	}
	insert(t, s);
	t->count++;
	return 0;
}

void table_remove(struct table *t, struct stream *s)
{
	struct stream **at = bucket(t, s->id);
	while (*at != s)
		at = &(*at)->chain;
	*at = s->chain;
	s->chain = NULL;
	t->count--;
}

struct stream *table_take_all(struct table *t)
{
	struct stream *all = NULL;
	for (size_t i = 0; t->buckets && i < (size_t)1 << t->bits; i++)
		for (struct stream *s = t->buckets[i], *next; s; s = next) {
			next = s->chain;
			s->chain = all;
			all = s;
		}
	free(t->buckets);
	t->buckets = NULL;
	t->count = 0;
	return all;
}

void table_free(struct table *t)
{
	free(t->buckets);
	t->buckets = NULL;
}
