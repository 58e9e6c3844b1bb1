/* SPDX-License-Identifier: Apache-2.0 */
/* Makes a sandbox from a hull_create_spec. See create.c and reuse.c. */
#ifndef HULL_LIB_SANDBOX_CREATE_H
#define HULL_LIB_SANDBOX_CREATE_H

#include "git/git.h"
#include "lib/handle.h"

/* A request whose paths have been resolved. */
struct create {
	const struct hull_create_spec *spec;
	const char *agent; /* borrowed */
	char **paths;      /* absolute, "PATH", "PATH:ro", "PATH:git"; owned; may be NULL */
	char **links;      /* the user's names for those paths, LINK and TARGET in turn; owned */
	/* with a clone: the directory in the repository to start in; owned, otherwise NULL */
	char *workdir;
	struct hull_git_repo repo; /* with a clone */
};

/* Apply the spec with defaults: sets all of s except name and image. */
int create_fill(const struct create *c, struct hull_sandbox *s, struct hull_error *err);

/* The paths that it will have, including the cloned repository: a list as in sandbox.json, owned. */
int create_given(const struct hull *h, const struct hull_create_spec *spec, char ***paths, struct hull_error *err);

/* reuse.c: wait until no other process searches for, or makes, the same sandbox. Returns a descriptor that excludes
 * others while it is open. */
int reuse_turn(const struct hull *h, const struct create *c, struct hull_error *err);
/* The sandbox made earlier for the same request: its name in *name, owned, or NULL when there is none. -EEXIST when it
 * was made with other settings. */
int reuse_find(const struct hull *h, const struct create *c, char **name, struct hull_error *err);

/* git_identity.c: the host user's name and email for git, from the user's own configuration, never a repository's; NULL
 * if unset. Owned by the caller. */
void git_identity(char **name, char **email);

#endif
