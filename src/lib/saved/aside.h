/* SPDX-License-Identifier: Apache-2.0 */
/* Runtime directories of machines that are started aside, for the length of a build. See aside.c. */
#ifndef HULL_LIB_SAVED_ASIDE_H
#define HULL_LIB_SAVED_ASIDE_H

#include "base/error.h"
#include "store/store.h"

/* Make one for a build of this kind ("seed", "template"), whose one sandbox has that name too; sweeps first. Its path,
 * owned by the caller, and the descriptor that holds it. */
int aside_make(const struct hull_paths *p, const char *kind, char **path, struct hull_error *err);
/* Take away those of builds that were killed. */
void aside_sweep(const struct hull_paths *p);
/* Remove a tree by its path; what is not there is no error. */
int aside_remove(const char *path, struct hull_error *err);

#endif
