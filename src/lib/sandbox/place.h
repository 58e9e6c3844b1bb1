/* SPDX-License-Identifier: Apache-2.0 */
/* Paths of the host that a sandbox is to have: see place.c. */
#ifndef HULL_LIB_SANDBOX_PLACE_H
#define HULL_LIB_SANDBOX_PLACE_H

#include "lib/handle.h"

/* "PATH" or "PATH:ro" as a person wrote it, to the real path, owned by the caller. It is a directory, or a file and
 * read-only. A symlink that a sandbox may have made is not followed: it would choose what it, or another, is given. */
int place_parse(const struct hull_paths *p, const char *word, char **path, bool *readonly, struct hull_error *err);
/* The name by which the person knows it, when a symlink is on the way: absolute, fit to be made in a sandbox; else
 * NULL. `real` is what place_parse() made of the word. Owned by the caller. */
char *place_link(const char *word, const char *real);
/* May it be mounted at its own place in a sandbox? `entries` are those it has already ("PATH", "PATH:ro",
 * "PATH:git"). */
int place_check(const struct hull_paths *p, const char *path, char *const *entries, struct hull_error *err);
/* Is it a place that the sandbox does not need for itself? Part of place_check(). */
int place_allowed(const char *path, struct hull_error *err);
/* Nothing may be mounted in a clone (NULL = there is none), nor over it. */
int place_beside_clone(const char *path, const char *clone, struct hull_error *err);
/* When `path`, which is in the list or about to come to it, is a linked worktree of a repository that nothing in the
 * list has: add what git needs of that ("PATH:git": writable but for what git would run). 1 when something was added.
 */
int place_worktree(const struct hull *h, const char *path, bool readonly, char ***entries, struct hull_error *err);

#endif
