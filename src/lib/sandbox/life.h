/* SPDX-License-Identifier: Apache-2.0 */
/* Starting and ending sandboxes: what all that is done to one has in common. See life.c. */
#ifndef HULL_LIB_SANDBOX_LIFE_H
#define HULL_LIB_SANDBOX_LIFE_H

#include "lib/handle.h"

/* Read the sandbox's file; an unknown name suggests the closest one there is. */
int life_load(const struct hull *h, const char *name, struct hull_sandbox *out, struct hull_error *err);
/* Start it unless it runs: 1 when it was running, 0 when its keeper answers now. -EINTR when given up. envp =
 * environment of the keeper, NULL = ours. */
int life_start(const struct hull *h, const char *name, char *const *envp, struct hull_error *err);
/* The same with HULL_KEEPER_LEASE in envp: it runs for as long as *lease is open, and is killed with this process. */
int life_start_leased(const struct hull *h, const char *name, char *const *envp, int *lease, struct hull_error *err);
/* A connected control socket, of a sandbox that was started if need be. */
int life_connect(const struct hull *h, const char *name, struct hull_error *err);
/* Stop it: grace_ms for the guest to shut down, or kill it (grace_ms < 0). Returns once the keeper is gone. */
int life_stop(const struct hull *h, const char *name, int grace_ms, struct hull_error *err);
/* Kill whatever holds it, however broken, and remove it. */
int life_remove(const struct hull *h, const char *name, struct hull_error *err);

#endif
