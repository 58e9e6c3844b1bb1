/* SPDX-License-Identifier: Apache-2.0 */
/* The jobs of a sandbox that does not run, as its keeper left them. See jobs.c. */
#ifndef HULL_LIB_COMMAND_JOBS_H
#define HULL_LIB_COMMAND_JOBS_H

#include "store/store.h"

#include <jansson.h>

/* An array of what jobs/ID.json say, oldest first, as the keeper's "jobs" has it; owned by the caller. */
json_t *jobs_read(const struct hull_paths *p, const char *name, struct hull_error *err);
/* What one of these files says, or NULL: it is not there, or damaged. */
json_t *jobs_load(const char *path);

#endif
