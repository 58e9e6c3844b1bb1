/* SPDX-License-Identifier: Apache-2.0 */
/* Selects what `hull prune` removes: used by prune itself and by df, which shows the amount. See prunable.c. */
#ifndef HULL_LIB_SAVED_PRUNABLE_H
#define HULL_LIB_SAVED_PRUNABLE_H

#include "store/store.h"

enum prunable_where { PRUNABLE_TEMPLATE, PRUNABLE_LEFT_TEMPLATES, PRUNABLE_LEFT_SANDBOX, PRUNABLE_LEFT_SNAPSHOTS };

struct prunable {
	enum prunable_where where; /* a template, or a leftover of an interrupted command */
	char *name;                /* name of a template; otherwise the path below HULL_HOME */
	const char *reason;
	uint64_t stored; /* size as the template records it; for a leftover its measured size */
	uint64_t size;   /* bytes of disk space that its removal frees, by store/usage.h */
};
struct prunable_list {
	struct prunable *items;
	size_t count;
};

/* `all` as in `hull prune --all`. Does not change anything. */
int prunable_find(const struct hull_paths *p, bool all, struct prunable_list *out, struct hull_error *err);
/* Remove all leftovers of interrupted commands, and no template. */
void prunable_sweep(const struct hull_paths *p);
void prunable_free(struct prunable_list *list); /* members; fit for _cleanup_ */

#endif
