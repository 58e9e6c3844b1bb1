/* SPDX-License-Identifier: Apache-2.0 */
/* Names in a writable share that cannot be changed; see guard.c. */
#ifndef HULL_SHARE_GUARD_H
#define HULL_SHARE_GUARD_H

#include "base/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct hull_share;
struct share_inode;
struct share_key;

enum { SHARE_GUARDS_MAX = 256 }; /* guarded names and their ancestors */

struct share_guard {
	uint64_t dev, ino; /* of the directory */
	char *name;
	atomic_bool final; /* read-only from here down; else an ancestor, which only keeps its name */
	/* Which step of which path this is, and which one leads to it; the same for all directories that have been
	 * there. Under the lock. */
	uint32_t place, up;
};

/* 0; -EROFS when the name is guarded itself, -EBUSY when something below it is. */
int share_guarded(const struct hull_share *sh, const struct share_inode *dir, const char *name);
/* An inode is entered at a name: is it read-only there? Under the lock. */
bool share_guard_enter(struct hull_share *sh, const struct share_inode *dir, const char *name,
		       const struct share_key *key);
int share_guards_init(struct hull_share *sh, struct hull_error *err);
void share_guards_free(struct hull_share *sh);

#endif
