/* SPDX-License-Identifier: Apache-2.0 */
/* Directories that appear whole or not at all, and go the same way.
 *
 * One is made under a scratch name (a prefix and six random characters), which its maker holds a flock on, and one
 * rename gives it its name. One that goes is renamed to a scratch name first. The lock ends with its process, so that
 * whoever comes by can tell leftovers from work under way by trying it: that is what a sweep does. */
#ifndef HULL_BASE_SCRATCH_H
#define HULL_BASE_SCRATCH_H

#include "base/error.h"

#include <stdbool.h>

struct hull_scratch {
	char *path; /* PARENT/PREFIXxxxxxx */
	int fd;     /* holds its flock */
};

/* Make one below parent, which is there. It sweeps nothing. */
int hull_scratch_make(const char *parent, const char *prefix, struct hull_scratch *out, struct hull_error *err);
/* Give it its name below parent; -EEXIST when that is taken. With `replace` what has the name goes away. It must not be
 * empty: a file system without RENAME_NOREPLACE replaces an empty directory. */
int hull_scratch_commit(struct hull_scratch *s, const char *parent, const char *name, bool replace,
			struct hull_error *err);
/* Remove it unless it was committed. Fit for _cleanup_. */
void hull_scratch_drop(struct hull_scratch *s);

/* Remove parent/name, at once as far as anybody can see. A missing one is -ENOENT. It needs no space on the disk. */
int hull_scratch_remove(const char *parent, const char *name, const char *prefix, struct hull_error *err);

/* Remove the leftovers with this prefix below parent. */
void hull_scratch_sweep(const char *parent, const char *prefix);
/* What that would remove: `found` is called with the descriptor of parent and a name there, which is held meanwhile. */
void hull_scratch_each(const char *parent, const char *prefix, void (*found)(void *ctx, int root, const char *name),
		       void *ctx);

#endif
