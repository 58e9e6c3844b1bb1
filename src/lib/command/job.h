/* SPDX-License-Identifier: Apache-2.0 */
/* Detached jobs: `exec -d` and `run -d -- COMMAND`. */
#ifndef HULL_LIB_COMMAND_JOB_H
#define HULL_LIB_COMMAND_JOB_H

#include "lib/client.h"

/* Starts the job in a running sandbox once its guest accepts commands. *id = its id, owned by the caller. */
int job_begin(const struct hull *h, const char *name, const struct hull_exec_spec *spec, char **id,
	      struct hull_error *err);

#endif
