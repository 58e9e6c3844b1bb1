/* SPDX-License-Identifier: Apache-2.0 */
/* What `hull prune` removes: chosen in one place, for the verb that does it and the one that tells how much that is.
 * See prunable.c. */
#ifndef HULL_LIB_SAVED_PRUNABLE_H
#define HULL_LIB_SAVED_PRUNABLE_H

#include "store/store.h"

enum prunable_where { PRUNABLE_TEMPLATE, PRUNABLE_LEFT_TEMPLATES, PRUNABLE_LEFT_SANDBOX, PRUNABLE_LEFT_SNAPSHOTS };

struct prunable {
	enum prunable_where where; /* a template, or what an interrupted command left in such a directory */
	char *name;                /* of a template; else the path below HULL_HOME */
	const char *reason;
	uint64_t stored; /* bytes by the template's own account; those of a leftover are its size */
	uint64_t size;   /* bytes that go free on the disk, by store/usage.h */
};
struct prunable_list {
	struct prunable *items;
	size_t count;
};

/* With `all` as `hull prune --all` has it. Removes and makes nothing. */
int prunable_find(const struct hull_paths *p, bool all, struct prunable_list *out, struct hull_error *err);
/* Take away everything that an interrupted command left, and no template. */
void prunable_sweep(const struct hull_paths *p);
void prunable_free(struct prunable_list *list); /* members; fit for _cleanup_ */

#endif
