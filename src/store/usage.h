/* SPDX-License-Identifier: Apache-2.0 */
/* What files really take on the host's disk: allocated blocks, so that holes count nothing. See usage.c.
 *
 * A file with several hard links counts once in everything that is added to one hull_usage. Blocks that files share by
 * reflink count in each of them: with reflinks the sum is an upper bound. */
#ifndef HULL_STORE_USAGE_H
#define HULL_STORE_USAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hull_usage_link;

/* Begins as {0}. */
struct hull_usage {
	/* Count what is freed when all that is added goes: a file with several hard links counts when the last of them
	 * is added. */
	bool freed;
	bool incomplete; /* something could not be measured: the figures are lower bounds */
	char **problems; /* a line for each file that was not measured; NULL-terminated, or NULL */
	struct hull_usage_link *links;
	size_t link_count;
};

/* The bytes that dirfd/name and all below it take, without what was added before. Only directories are opened, and no
 * symlink is followed, not even `name`. `shown` is its path in the problems. What cannot be read, or vanishes while
 * it is looked at, is a problem and the rest is measured; only the former makes it incomplete. */
uint64_t hull_usage_add(struct hull_usage *u, int dirfd, const char *name, const char *shown);
/* For a caller that reads a directory itself: its descriptor (close-on-exec), or -errno with a problem added. */
int hull_usage_open(struct hull_usage *u, int dirfd, const char *name, const char *shown);
void hull_usage_free(struct hull_usage *u); /* members; fit for _cleanup_ */

#endif
