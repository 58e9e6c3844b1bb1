/* SPDX-License-Identifier: Apache-2.0 */
/* Ids handed to the guest, for inodes and handles; see table.c. */
#ifndef HULL_SHARE_TABLE_H
#define HULL_SHARE_TABLE_H

#include <stdint.h>

/* Ids handed to the guest: slot in the low half, a count of the slot's use in the high half. The count starts at
 * random, so that ids of a server that died mean nothing to its successor. */
struct share_slot {
	void *p;
	uint32_t count;
	uint32_t next_free;
};
struct share_table {
	struct share_slot *slots;
	uint32_t used, cap, max, live, free_head;
	uint32_t seed;
};

void share_table_init(struct share_table *t, uint32_t max);
void share_table_free(struct share_table *t);
uint64_t share_table_add(struct share_table *t, void *p); /* 0 when full or out of memory */
/* Only in one that nothing was added to yet: with this very id, 0 when that cannot be; then `adopted`, once. */
uint64_t share_table_put(struct share_table *t, uint64_t id, void *p);
void share_table_adopted(struct share_table *t);
void *share_table_get(const struct share_table *t, uint64_t id);
void share_table_remove(struct share_table *t, uint64_t id);

#endif
