/* SPDX-License-Identifier: Apache-2.0 */
/* Ids for the guest: a slot number with a count of the slot's uses, so that an id whose object is gone is never
 * mistaken for the object that has its slot now. Not locked; the owner's lock covers it. */
#include "share/table.h"

#include <stdlib.h>
#include <sys/random.h>

enum { NO_SLOT = UINT32_MAX };

void share_table_init(struct share_table *t, uint32_t max)
{
	*t = (struct share_table){.max = max, .free_head = NO_SLOT};
	if (getrandom(&t->seed, sizeof t->seed, 0) != sizeof t->seed)
		t->seed = 1;
	t->seed &= 0x3fffffff; /* ids stay far from 2^64, which some clients treat as special */
}

void share_table_free(struct share_table *t)
{
	free(t->slots);
	*t = (struct share_table){.free_head = NO_SLOT};
}

uint64_t share_table_add(struct share_table *t, void *p)
{
	uint32_t i = t->free_head;
	if (t->live >= t->max)
		return 0;
	if (i != NO_SLOT) {
		t->free_head = t->slots[i].next_free;
	} else {
		if (t->used == t->cap) {
			uint32_t cap = t->cap ? t->cap * 2 : 256;
			struct share_slot *slots = reallocarray(t->slots, cap, sizeof *slots);
			if (!slots)
				return 0;
			t->slots = slots;
			t->cap = cap;
		}
		i = t->used++;
		t->slots[i] = (struct share_slot){.count = t->seed};
	}
	struct share_slot *s = &t->slots[i];
	s->p = p;
	s->count = (s->count + 1) & 0x7fffffff;
	t->live++;
	/* Slot 0 gives low half 1, which is the root's whole id (FUSE_ROOT_ID) only when the count is 0. */
	if (s->count == 0)
		s->count = 1;
	return (uint64_t)s->count << 32 | (i + 1);
}

uint64_t share_table_put(struct share_table *t, uint64_t id, void *p)
{
	uint32_t i = (uint32_t)id - 1, count = (uint32_t)(id >> 32);
	if (i >= t->max || count == 0 || count > 0x7fffffff || (i < t->used && t->slots[i].p))
		return 0;
	if (i >= t->cap) {
		uint32_t cap = i + 256 > 2 * t->cap ? i + 256 : 2 * t->cap;
		struct share_slot *slots = reallocarray(t->slots, cap, sizeof *slots);
		if (!slots)
			return 0;
		t->slots = slots;
		t->cap = cap;
	}
	while (t->used <= i)
		t->slots[t->used++] = (struct share_slot){.count = t->seed};
	t->slots[i].p = p;
	t->slots[i].count = count;
	t->live++;
	return id;
}

void share_table_adopted(struct share_table *t)
{
	t->free_head = NO_SLOT;
	for (uint32_t i = t->used; i-- > 0;)
		if (!t->slots[i].p) {
			t->slots[i].next_free = t->free_head;
			t->free_head = i;
		}
}

static struct share_slot *slot_of(const struct share_table *t, uint64_t id)
{
	uint32_t i = (uint32_t)id - 1;
	if (i >= t->used || !t->slots[i].p || t->slots[i].count != id >> 32)
		return NULL;
	return &t->slots[i];
}

void *share_table_get(const struct share_table *t, uint64_t id)
{
	struct share_slot *s = slot_of(t, id);
	return s ? s->p : NULL;
}

void share_table_remove(struct share_table *t, uint64_t id)
{
	struct share_slot *s = slot_of(t, id);
	if (!s)
		return;
	s->p = NULL;
	s->next_free = t->free_head;
	t->free_head = (uint32_t)(s - t->slots);
	t->live--;
}
