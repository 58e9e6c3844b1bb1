/* SPDX-License-Identifier: Apache-2.0 */
/* Making a sandbox of a hull_create_spec. See create.c and reuse.c. */
#ifndef HULL_LIB_SANDBOX_CREATE_H
#define HULL_LIB_SANDBOX_CREATE_H

#include "git/git.h"
#include "lib/handle.h"

/* What is asked for, with its paths made real. */
struct create {
	const struct hull_create_spec *spec;
	const char *agent;         /* borrowed */
	char **paths;              /* absolute, "PATH", "PATH:ro", "PATH:git"; owned; may be NULL */
	char **links;              /* names of those by which the person knows them, LINK and TARGET in turn; owned */
	char *workdir;             /* with a clone: the directory of the repository to start in; owned, else NULL */
	struct hull_git_repo repo; /* with a clone */
};

/* What the spec asks for, the defaults filled in: all of s but its name and its image. */
int create_fill(const struct create *c, struct hull_sandbox *s, struct hull_error *err);

/* The paths that it will have, and the repository that it clones: a list as in sandbox.json, owned. */
int create_given(const struct hull *h, const struct hull_create_spec *spec, char ***paths, struct hull_error *err);

/* reuse.c: wait until nobody else looks for, or makes, what is asked for: a descriptor that keeps others off while it is
 * open. */
int reuse_turn(const struct hull *h, const struct create *c, struct hull_error *err);
/* The one that was made for the same before: its name in *name, owned, or NULL when there is none. -EEXIST when it was
 * made in another way. */
int reuse_find(const struct hull *h, const struct create *c, char **name, struct hull_error *err);

/* git_identity.c: the host user's name and email for git, from their own configuration and no repository's; NULL where
 * there is none. Owned by the caller. */
void git_identity(char **name, char **email);

#endif
