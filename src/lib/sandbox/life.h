/* SPDX-License-Identifier: Apache-2.0 */
/* Starts and stops sandboxes; shared by all operations on one. See life.c. */
#ifndef HULL_LIB_SANDBOX_LIFE_H
#define HULL_LIB_SANDBOX_LIFE_H

#include "lib/handle.h"

/* Read the sandbox's file; for an unknown name, suggest the closest existing one. */
int life_load(const struct hull *h, const char *name, struct hull_sandbox *out, struct hull_error *err);
/* Start it unless it runs: 1 = it was running, 0 = its keeper now answers. -EINTR when cancelled. envp = environment of
 * the keeper, NULL = ours. */
int life_start(const struct hull *h, const char *name, char *const *envp, struct hull_error *err);
/* The same with HULL_KEEPER_LEASE in envp: it runs while *lease is open, and is killed when this process ends. */
int life_start_leased(const struct hull *h, const char *name, char *const *envp, int *lease, struct hull_error *err);
/* A connected control socket; starts the sandbox if necessary. */
int life_connect(const struct hull *h, const char *name, struct hull_error *err);
/* Stop it: the guest has grace_ms to shut down; grace_ms < 0 kills it. Returns once the keeper has ended. */
int life_stop(const struct hull *h, const char *name, int grace_ms, struct hull_error *err);
/* Kill the holder of its lock, in any state, and remove it. */
int life_remove(const struct hull *h, const char *name, struct hull_error *err);

#endif
