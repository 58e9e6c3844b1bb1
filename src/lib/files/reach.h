/* SPDX-License-Identifier: Apache-2.0 */
/* Directories of the host as a person names them, where a guest may have put symlinks on the way: see reach.c. */
#ifndef HULL_LIB_FILES_REACH_H
#define HULL_LIB_FILES_REACH_H

#include "store/store.h"

struct reach {
	char *path;  /* real, without a symlink; owned. Its last component may not exist */
	int type;    /* S_IFDIR..., 0 = there is nothing */
	bool shared; /* it lies in a directory that a sandbox may write in */
};

/* Resolve `path`, if what sandboxes write in can be told; `whole`: a symlink at its end is followed as well. In the
 * directories that sandboxes may write in no symlink is followed: -ELOOP. */
int reach_path(const struct hull_paths *p, const char *path, bool whole, struct reach *out, struct hull_error *err);
/* The same, `whole`, where directories that a sandbox is about to have (a list as in sandbox.json, NULL = none) count
 * as such, read-only ones too: they may come from a stranger. */
int reach_given(const struct hull_paths *p, char *const *given, const char *path, struct reach *out,
		struct hull_error *err);
/* realpath(3) of what is there, owned by the caller. A symlink in what sandboxes write in is not followed: -ELOOP.
 * Where there is none on the way, it does not matter whether that can be told. */
int reach_real(const struct hull_paths *p, const char *path, char **out, struct hull_error *err);
/* The same for what is copied to, `whole`; but where the path itself, whatever slashes and "/." follow, is a symlink to
 * a directory, or to nothing, it is followed with `follow` only: -ELOOP. A sandbox that is gone, or no longer has the
 * directory, may have left it. */
int reach_dest(const struct hull_paths *p, const char *path, bool follow, struct reach *out, struct hull_error *err);
/* The paths below a directory (real) that sandboxes may write in, relative to it; free with hull_strv_free(). */
int reach_shared_below(const struct hull_paths *p, const char *dir, char ***out, struct hull_error *err);
void reach_free(struct reach *r);
/* Open a directory that reach_path() found; no symlink is followed any more, whoever has put one there since. */
int reach_open(const char *path, struct hull_error *err);

#endif
