/* SPDX-License-Identifier: Apache-2.0 */
/* Saved machines, for the functions that make them and start from them. See saved.c. */
#ifndef HULL_LIB_SAVED_SAVED_H
#define HULL_LIB_SAVED_SAVED_H

#include "image/image.h"
#include "lib/handle.h"
#include "snapshot/snapshot.h"

/* Let the keeper of the running sandbox `name` save it into an empty directory. paused_ms may be NULL. */
int saved_take(const struct hull *h, const char *name, const char *dir, bool end, double *paused_ms,
	       struct hull_error *err);
/* Have it saved under that name in that directory. */
int saved_as(const struct hull *h, const char *sandbox, const char *parent, const char *as, bool replace,
	     double *paused_ms, struct hull_error *err);
/* Make s, whose name, agent, env and paths are set, from the saved machine in home/rel: the settings of the machine are
 * copied from there, its disk is cloned, and the first start restores it. */
int saved_sandbox(const struct hull *h, const char *rel, struct hull_sandbox *s, struct hull_error *err);
/* Drop the memory that the next start of a stopped sandbox would restore, so that it boots. */
int saved_forget(const struct hull *h, const char *name, struct hull_error *err);

/* The template for s, whose machine settings are filled in: its name below templates/, owned by the caller. Builds it,
 * with progress, if it does not exist. *name = NULL, with a note why, when there is none and s must boot. -errno only
 * when cancelled. */
int template_for(const struct hull *h, const struct hull_sandbox *s, char **name, struct hull_error *err);
/* File name of the initramfs that a machine would boot with now; owned by the caller. */
int template_initramfs(char **name, struct hull_error *err);

#endif
