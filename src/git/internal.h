/* SPDX-License-Identifier: Apache-2.0 */
/* Private to git/. */
#ifndef HULL_GIT_INTERNAL_H
#define HULL_GIT_INTERNAL_H

#include "git/git.h"

#include <sys/types.h>

/* Append a file of a repository, which is untrusted, to `out` (NUL-terminated after its len): 1. 0 when it is not there
 * or not a regular file; symlinks are not followed. */
int hull_git_read(const char *dir, const char *name, size_t max, struct hull_buf *out, struct hull_error *err);

/* Append the ids in the text of a file `shallow`, which is changed, as lines: `before` and the id. 0 or -ENOMEM. */
int hull_git_shallow_ids(char *text, const char *before, struct hull_buf *out);

/* The path in a file of one line, after `prefix`, resolved relative to `dir`; NULL when there is none. Owned by the
 * caller. */
char *hull_git_path_in(const char *dir, const char *name, const char *prefix);

/* The repository of the work tree whose top is the real path `top`, or that is at `top` itself (a bare one): 1 and its
 * paths, where `common` may be the same as `own`; 0 when there is nothing of that sort. -EINVAL when a `.git` or
 * `commondir` leads out of `top` to a repository that does not lead back. */
int hull_git_repository(const char *top, struct hull_git_worktree *out, struct hull_error *err);

/* Where git runs, and what of it it may write. */
struct hull_git_at {
	const char *dir;                /* in a work tree; or NULL and: */
	const struct hull_git_own *own; /* a repository by its own directory */
	bool writes;                    /* all of the repository's directory */
	const char *incoming;           /* new objects go to this directory, below own's, and nowhere else */
};

/* jail.c: start git in its jail with the standard descriptors given; its pidfd is the caller's. */
int hull_git_start(const struct hull_git_at *at, const char *const *args, int in, int out, int words, pid_t *pid,
		   int *pidfd, struct hull_error *err);

/* What has been read of one of a program's outputs. */
struct hull_git_taken {
	int fd;
	struct hull_buf *into; /* NULL = nobody wants it */
	size_t most;
	bool cut; /* there was more, which is thrown away */
};

/* run.c: a git that runs. */
struct hull_git_child {
	pid_t pid;
	int pidfd;
	int out_fd;              /* where its output goes, borrowed; -1 = to `out` */
	int stop_fd, peer_fd;    /* as in struct hull_git_own */
	unsigned long long used; /* its processor time when it was last looked at */
	struct hull_git_taken out, words;
	struct hull_buf said; /* what words reads */
};
/* out_fd: where it writes, or -1: what it writes is read into *out. */
int hull_git_child_start(struct hull_git_child *c, const struct hull_git_at *at, const char *const *args, int in_fd,
			 struct hull_buf *out, int out_fd, struct hull_error *err);
/* Write bytes to its input, `fd`, which is non-blocking, reading its output meanwhile. -EPIPE when it has closed its
 * input, -EDEADLK when it hangs, -ECANCELED. */
int hull_git_child_feed(struct hull_git_child *c, int fd, const void *p, size_t n, struct hull_error *err);
/* After how long without any progress a git is ended, in ms; tests have less patience. */
extern int hull_git_stall_ms;
/* Until it has ended, or it is killed at once. Its exit code, or -errno; -EDEADLK when it hung, -ECANCELED. */
int hull_git_child_end(struct hull_git_child *c, bool kill_it, struct hull_error *err);

#endif
