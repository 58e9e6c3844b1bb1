/* SPDX-License-Identifier: Apache-2.0 */
/* The jobs of a stopped sandbox, from the files its keeper left. See jobs.c. */
#ifndef HULL_LIB_COMMAND_JOBS_H
#define HULL_LIB_COMMAND_JOBS_H

#include "store/store.h"

#include <jansson.h>

/* The contents of all jobs/ID.json as an array, oldest first, in the format of the keeper's "jobs"; owned by the
 * caller. */
json_t *jobs_read(const struct hull_paths *p, const char *name, struct hull_error *err);
/* The content of one of these files; NULL when it is missing or damaged. */
json_t *jobs_load(const char *path);

#endif
