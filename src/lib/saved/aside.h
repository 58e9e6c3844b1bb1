/* SPDX-License-Identifier: Apache-2.0 */
/* Temporary runtime directories for the machines of builds. See aside.c. */
#ifndef HULL_LIB_SAVED_ASIDE_H
#define HULL_LIB_SAVED_ASIDE_H

#include "base/error.h"
#include "store/store.h"

/* Make one for a build of this kind ("seed", "template"), whose only sandbox has the same name; sweeps first. Returns
 * its path, owned by the caller, and the descriptor that locks it. */
int aside_make(const struct hull_paths *p, const char *kind, char **path, struct hull_error *err);
/* Remove those of builds that were killed. */
void aside_sweep(const struct hull_paths *p);
/* Remove a tree by its path; a missing one is not an error. */
int aside_remove(const char *path, struct hull_error *err);

#endif
