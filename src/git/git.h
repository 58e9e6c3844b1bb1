/* SPDX-License-Identifier: Apache-2.0 */
/* Git repositories of the host: what a sandbox's private clone is made of, and the remote by which it is fetched from.
 *
 * Everything is done by the user's git in the user's repository, as the user: no library reads a repository here. What
 * the repository says may be hostile, so git runs in a jail in which it can start no other program (jail.c). Its
 * environment is made anew, so that a hook or an alias that calls hull does not lead elsewhere (GIT_DIR...).
 *
 * A clone crosses as one byte stream, from the host to the guest only. Nobody in the guest asks for objects, so nothing
 * crosses but what is chosen here: the commits of local branches, tags and what is known of origin's branches. Lines of
 * text, an empty one, then a bundle (git-bundle(1)) unless the repository has no commits:
 *
 *   format sha1|sha256
 *   head refs/heads/NAME          or: detached ID
 *   born                          when there is a commit at HEAD
 *   origin URL                    without credentials
 *   upstream refs/heads/NAME      what HEAD's branch follows at origin
 *   origin-head refs/remotes/...  origin's main branch
 *   name TEXT, email TEXT         the author that commits here have
 *   shallow ID                    history ends here; repeated
 *   bundle                        one follows
 *
 * Not with it: uncommitted changes, untracked and ignored files, stashes, other remotes' branches, hooks, all other
 * configuration, submodules. */
#ifndef HULL_GIT_GIT_H
#define HULL_GIT_GIT_H

#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>

struct hull_git_repo {
	char *top;        /* real path of the work tree's top; owned */
	bool uncommitted; /* there are changes or files that no commit has */
	bool submodules;
};
/* Find the repository that contains the directory `path`. -EINVAL when there is none, or none with a work tree; -ENOENT
 * when git is not installed. */
int hull_git_inspect(const char *path, struct hull_git_repo *out, struct hull_error *err);
void hull_git_repo_free(struct hull_git_repo *r); /* the members */

struct hull_git_worktree {
	char *common; /* the repository that it is a worktree of; owned, as the other one */
	char *own;    /* this worktree's own directory: common/worktrees/NAME */
};
/* Is the directory `path` the top of a linked worktree? 1 and its repository, or 0. -EINVAL when it claims to be one
 * that the repository does not have. All paths are real. */
int hull_git_worktree(const char *path, struct hull_git_worktree *out, struct hull_error *err);
void hull_git_worktree_free(struct hull_git_worktree *w); /* the members */

/* Write the stream of the repository at `top` to a descriptor. */
int hull_git_send(const char *top, int fd, struct hull_error *err);

/* Give the repository the remote hull-NAME. -EEXIST when it has one of that name that is not ours. */
int hull_git_remote_add(const char *top, const char *sandbox, struct hull_error *err);
/* Remove it, if it is ours. *kept: fetched commits that no branch or tag contains are kept. 0 when there is none. */
int hull_git_remote_remove(const char *top, const char *sandbox, bool *kept, struct hull_error *err);

/* url without user and password where they are credentials; owned by the caller. */
char *hull_git_plain_url(const char *url);

/* Run a built-in command of git in its jail, for the repository that contains `dir`, read-only, and wait for it. Its
 * output is appended to *out, at most OUT_MAX bytes, or goes to out_fd. in_fd is its input, -1 = none. Returns its exit
 * code, or -errno. If that is not 0, err has git's message. */
int hull_git_run(const char *dir, const char *const *args, int in_fd, struct hull_buf *out, int out_fd,
		 struct hull_error *err);
/* The same for a command that changes the repository: only its own directory (.git) is writable. */
int hull_git_change(const char *dir, const char *const *args, int in_fd, struct hull_error *err);
enum { HULL_GIT_OUT_MAX = 64 << 20, HULL_GIT_WORDS_MAX = 64 << 10 };

/* A repository by its own directory, for git-remote-hull: git, which the user has started there, says which ($GIT_DIR).
 */
struct hull_git_own {
	char *dir;     /* real paths; owned */
	char *common;  /* what its worktrees share; may be the same */
	char *objects; /* where its objects are */
	int stop_fd;   /* readable = end a git that runs; -1 = never */
	int peer_fd;   /* hung up = likewise; -1 = never */
};
/* `objects` is $GIT_OBJECT_DIRECTORY, or NULL. */
int hull_git_own_open(const char *dir, const char *objects, struct hull_git_own *out, struct hull_error *err);
void hull_git_own_free(struct hull_git_own *o); /* the members */
/* As hull_git_run, in it; -ECANCELED when it was ended (stop_fd, peer_fd). */
int hull_git_own_run(const struct hull_git_own *o, const char *const *args, int in_fd, struct hull_buf *out, int out_fd,
		     struct hull_error *err);
/* Append the ids at which its history ends, if it is shallow, as lines. */
int hull_git_own_shallow(const struct hull_git_own *o, struct hull_buf *out, struct hull_error *err);

/* incoming.c: store an untrusted pack in a repository: written in pieces, verified as a whole, and only then visible.
 */
struct hull_git_incoming;
int hull_git_incoming_begin(const struct hull_git_own *o, struct hull_git_incoming **out, struct hull_error *err);
int hull_git_incoming_add(struct hull_git_incoming *i, const void *p, size_t n, struct hull_error *err);
/* *keep: the file to be removed when references to the objects are there, NULL when there is none; owned by the
 * caller. */
int hull_git_incoming_end(struct hull_git_incoming *i, char **keep, struct hull_error *err);
void hull_git_incoming_free(struct hull_git_incoming *i); /* a pack that was not completed leaves nothing */
static inline void hull_git_incoming_freep(struct hull_git_incoming **i)
{
	hull_git_incoming_free(*i);
}

/* The message of a program that failed with `code`: its first "fatal:" or "error:", otherwise its last line; printable.
 */
int hull_git_complain(struct hull_buf *words, bool cut, int code, struct hull_error *err);

#endif
