/* SPDX-License-Identifier: Apache-2.0 */
/* Validates host paths for a sandbox: see place.c. */
#ifndef HULL_LIB_SANDBOX_PLACE_H
#define HULL_LIB_SANDBOX_PLACE_H

#include "lib/handle.h"

/* Resolve "PATH" or "PATH:ro" from the user to the real path, owned by the caller. It is a directory, or a file that is
 * mounted read-only. A symlink that a sandbox may have made is not followed: the sandbox could choose what it, or
 * another one, is given. */
int place_parse(const struct hull_paths *p, const char *word, char **path, bool *readonly, struct hull_error *err);
/* The user's name for the path if it contains a symlink: absolute, suitable for a link in the sandbox; otherwise NULL.
 * `real` is the result of place_parse(). Owned by the caller. */
char *place_link(const char *word, const char *real);
/* May it be mounted at its own path in a sandbox? `entries` are the existing ones ("PATH", "PATH:ro", "PATH:git"). */
int place_check(const struct hull_paths *p, const char *path, char *const *entries, struct hull_error *err);
/* Is it outside all directories that the sandbox needs? Part of place_check(). */
int place_allowed(const char *path, struct hull_error *err);
/* Nothing may be mounted inside a clone (NULL = none) or over it. */
int place_beside_clone(const char *path, const char *clone, struct hull_error *err);
/* If `path`, which is in the list or about to be added, is a linked worktree of a repository that no entry contains:
 * add the parts of the repository that git needs ("PATH:git": writable, except for files that git would execute). 1
 * when something was added. */
int place_worktree(const struct hull *h, const char *path, bool readonly, char ***entries, struct hull_error *err);

#endif
