/* SPDX-License-Identifier: Apache-2.0 */
/* Resolves host paths on which a guest may have placed symlinks: see reach.c. */
#ifndef HULL_LIB_FILES_REACH_H
#define HULL_LIB_FILES_REACH_H

#include "store/store.h"

struct reach {
	char *path;  /* without symlinks; owned. Its last component may not exist */
	int type;    /* S_IFDIR..., 0 = does not exist */
	bool shared; /* it lies in a directory that a sandbox may write to */
};

/* Resolves `path`. Fails if the directories that sandboxes may write to cannot be determined. `whole`: also follow a
 * symlink at its end. Inside those directories no symlink is followed: -ELOOP. */
int reach_path(const struct hull_paths *p, const char *path, bool whole, struct reach *out, struct hull_error *err);
/* Like reach_path() with `whole`. The directories of `given` (a list as in sandbox.json; NULL = none), which a sandbox
 * is about to get, count as writable, read-only ones too: their content may be a stranger's. */
int reach_given(const struct hull_paths *p, char *const *given, const char *path, struct reach *out,
		struct hull_error *err);
/* realpath(3) of an existing path, owned by the caller. A symlink in a directory that sandboxes may write to is not
 * followed: -ELOOP. A path without symlinks resolves even if those directories cannot be determined. */
int reach_real(const struct hull_paths *p, const char *path, char **out, struct hull_error *err);
/* Like reach_path() with `whole`, for a copy's destination. If the path itself, without trailing slashes and "/.", is a
 * symlink to a directory or a dangling one, it is followed only with `follow`: -ELOOP. A sandbox that was removed, or
 * no longer has the directory, may have left it. */
int reach_dest(const struct hull_paths *p, const char *path, bool follow, struct reach *out, struct hull_error *err);
/* The paths below a directory (real) that sandboxes may write to, relative to it; free with hull_strv_free(). */
int reach_shared_below(const struct hull_paths *p, const char *dir, char ***out, struct hull_error *err);
void reach_free(struct reach *r);
/* Opens a directory resolved by reach_path(), refusing symlinks that appeared since. */
int reach_open(const char *path, struct hull_error *err);

#endif
