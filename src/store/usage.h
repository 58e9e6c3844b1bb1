/* SPDX-License-Identifier: Apache-2.0 */
/* Disk usage of files: allocated blocks, so holes count nothing. See usage.c.
 *
 * A file with several hard links counts once per hull_usage. Blocks shared by reflink count in each file: with reflinks
 * the sum is an upper bound. */
#ifndef HULL_STORE_USAGE_H
#define HULL_STORE_USAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hull_usage_link;

/* Begins as {0}. */
struct hull_usage {
	/* Count the space that removal frees: a file with several hard links counts when its last link is added. */
	bool freed;
	bool incomplete; /* something could not be measured: the figures are lower bounds */
	char **problems; /* a line for each file that was not measured; NULL-terminated, or NULL */
	struct hull_usage_link *links;
	size_t link_count;
};

/* Bytes used by dirfd/name and everything below it, except files counted before. Opens directories only and follows no
 * symlink, not even `name`. `shown` is its path in the problems. An entry that cannot be read, or that vanishes during
 * the walk, is a problem; the rest is measured. Only unreadable ones make the result incomplete. */
uint64_t hull_usage_add(struct hull_usage *u, int dirfd, const char *name, const char *shown);
/* For a caller that reads a directory itself: its descriptor (close-on-exec), or -errno after adding a problem. */
int hull_usage_open(struct hull_usage *u, int dirfd, const char *name, const char *shown);
void hull_usage_free(struct hull_usage *u); /* members; fit for _cleanup_ */

#endif
