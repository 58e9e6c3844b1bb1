/* SPDX-License-Identifier: Apache-2.0 */
/* Saved machines, for the verbs that make them and start from them. See saved.c. */
#ifndef HULL_LIB_SAVED_SAVED_H
#define HULL_LIB_SAVED_SAVED_H

#include "image/image.h"
#include "lib/handle.h"
#include "snapshot/snapshot.h"

/* Have the keeper of `name`, which runs, save it into an empty directory. paused_ms may be NULL. */
int saved_take(const struct hull *h, const char *name, const char *dir, bool end, double *paused_ms,
	       struct hull_error *err);
/* Have it saved under that name in that directory. */
int saved_as(const struct hull *h, const char *sandbox, const char *parent, const char *as, bool replace,
	     double *paused_ms, struct hull_error *err);
/* Make s, whose name, agent, env and paths are set, of the saved machine in home/rel: what shapes the machine is taken
 * from there, its disk is cloned, and its first start restores it. */
int saved_sandbox(const struct hull *h, const char *rel, struct hull_sandbox *s, struct hull_error *err);
/* Forget what the next start of a sandbox that does not run would restore, so that it boots. */
int saved_forget(const struct hull *h, const char *name, struct hull_error *err);

/* The template that s, filled in as far as the machine goes, starts from: its name below templates/, owned by the
 * caller. Built when there is none yet, with progress. *name = NULL, with a note why, when it cannot be had and s
 * should boot. -errno only when called off. */
int template_for(const struct hull *h, const struct hull_sandbox *s, char **name, struct hull_error *err);
/* File name of the initramfs that a machine would be booted with now; owned by the caller. */
int template_initramfs(char **name, struct hull_error *err);
/* Take away the runtime directories of builds that were killed. */
void template_sweep(const struct hull_paths *p);

#endif
