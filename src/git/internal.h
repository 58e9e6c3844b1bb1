/* What the files of src/git share. */
#ifndef HULL_GIT_INTERNAL_H
#define HULL_GIT_INTERNAL_H

#include "git/git.h"

#include <sys/types.h>

/* The path that a file of one line holds, behind `prefix`, made absolute from `dir`, and real; NULL when there is none.
 * Owned by the caller. */
char *hull_git_path_in(const char *dir, const char *name, const char *prefix);

/* The repository of the work tree whose top is the real path `top`, or that is at `top` itself (a bare one): 1 and its
 * paths, where `common` may be the same as `own`; 0 when there is nothing of that sort. -EINVAL when a `.git` or
 * `commondir` leads out of `top` to a repository that does not lead back. */
int hull_git_repository(const char *top, struct hull_git_worktree *out, struct hull_error *err);

/* jail.c: start git in its jail for the repository that `dir` is in, with the standard descriptors given; its pidfd is
 * the caller's. */
int hull_git_start(const char *dir, bool writes, const char *const *args, int in, int out, int words, pid_t *pid,
		   int *pidfd, struct hull_error *err);

#endif
